"""Where a node is told of pods without the API server: a directory (or file) of manifests, and a URL.

A source hands all of its pods over whenever they may have changed. Made with the kubelet, and runs until it is cancelled.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.static_pods.manifest import BadManifest, Origin, read_pod, read_pods
from tiphys.kubelet.watching import DirectoryWatch
from tiphys.machinery.clock import Clock
from tiphys.net.client import HTTPClient, HTTPClientError

log = logging.getLogger(__name__)

CHECK_SECONDS = 20.0
"""As upstream: so often they are looked at even if nothing says that they have changed."""
SETTLE_SECONDS = 0.2
"""A file is written in pieces: what is read after such a pause is whole."""
URL_TIMEOUT_SECONDS = 10.0
TOLD_FAILURES = 3

Object = dict[str, Any]
Update = Callable[[Sequence[Object]], None]
Complain = Callable[[str], None]
"""Tells of a manifest that is none, in one line."""


class Source(Protocol):
    kind: str

    def look(self) -> Sequence[Object] | None:
        """What can be known at once, at the start; None: nothing yet."""

    async def follow(self, update: Update) -> None: ...


def configured(
    settings: KubeletConfiguration, node: str, manifests: Path | None, clock: Clock, complain: Complain
) -> list[Source]:
    """Those of a node. `manifests`: where they are unless the configuration says it."""
    found: list[Source] = []
    path = Path(settings.static_pod_path) if settings.static_pod_path else manifests
    if path is not None:
        seconds = settings.file_check_frequency_seconds
        found.append(FileSource(path, node, clock, complain, check_seconds=seconds))
    if settings.static_pod_url:
        url, headers = settings.static_pod_url, settings.static_pod_url_header
        seconds = settings.http_check_frequency_seconds
        found.append(URLSource(url, node, clock, headers=headers, check_seconds=seconds))
    return found


class FileSource:
    """`complain` is told once of each thing that is wrong."""

    kind = "file"

    def __init__(
        self,
        path: Path,
        node: str,
        clock: Clock,
        complain: Complain,
        *,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._path = path
        self._node = node
        self._clock = clock
        self._complain = complain
        self._check_seconds = check_seconds
        self._read: dict[Path, Object] = {}
        self._data: dict[Path, bytes] = {}
        """What `_read` was read from."""
        self._problems: dict[str, str] = {}

    def look(self) -> Sequence[Object]:
        return self._look(patient=False)

    def _look(self, *, patient: bool) -> Sequence[Object]:
        """Every file's pod. `patient`: one that cannot be read any more may just be being written: what it said stands."""
        found: dict[Path, Object] = {}
        problems: dict[str, str] = {}
        for path in self._paths(problems):
            try:
                data = path.read_bytes()
                if self._data.get(path) == data and path in self._read:
                    found[path] = self._read[path]
                else:
                    origin = Origin("file", str(path), self._node)
                    found[path] = read_pod(data, origin, self._clock.now())
                    self._data[path] = data
            except (BadManifest, OSError) as error:
                problems[str(path)] = str(error)
                if patient and path in self._read:
                    found[path] = self._read[path]
        for what, why in problems.items():
            if self._problems.get(what) != why:
                self._complain(f"{what}: {why}")
        self._read, self._problems = found, problems
        self._data = {path: data for path, data in self._data.items() if path in found}
        return list(found.values())

    def _paths(self, problems: dict[str, str]) -> list[Path]:
        if self._path.is_dir():
            try:
                entries = sorted(path for path in self._path.iterdir() if not path.name.startswith("."))
            except OSError as error:
                problems[str(self._path)] = str(error)
                return []
            problems |= {str(path): "not recursing into manifest path" for path in entries if path.is_dir()}
            return [path for path in entries if path.is_file()]
        return [self._path] if self._path.is_file() else []

    async def follow(self, update: Update) -> None:
        watch: DirectoryWatch | None = None
        watched: tuple[int, int] | None = None
        try:
            while True:
                identity = self._identity()
                if watch is None or identity != watched:
                    if watch is not None:
                        watch.close()
                    watch, watched = DirectoryWatch(self._directory), identity
                update(self._look(patient=False))
                while await watch.changed(self._check_seconds):
                    await self._clock.sleep(SETTLE_SECONDS)
                    update(self._look(patient=True))
        finally:
            if watch is not None:
                watch.close()

    @property
    def _directory(self) -> Path:
        return self._path.parent if self._path.is_file() else self._path

    def _identity(self) -> tuple[int, int] | None:
        """Of the directory: another one of the same name must be watched anew."""
        try:
            state = self._directory.stat()
        except OSError:
            return None
        return state.st_dev, state.st_ino


class URLSource:
    """A pod or a list of pods, asked for again and again."""

    kind = "http"

    def __init__(
        self,
        url: str,
        node: str,
        clock: Clock,
        *,
        headers: Mapping[str, Sequence[str]] | None = None,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = [(name, value) for name, values in (headers or {}).items() for value in values]
        self._node = node
        self._clock = clock
        self._check_seconds = check_seconds
        context = ssl.create_default_context() if parts.scheme == "https" else None
        self._client = HTTPClient(f"{parts.scheme}://{parts.netloc}", ssl_context=context)
        self._data = b""
        self._failures = 0

    def look(self) -> None:
        return None

    async def follow(self, update: Update) -> None:
        try:
            while True:
                try:
                    await self._ask(update)
                    if self._failures:
                        log.info("successfully read pods from %s", self._url)
                    self._failures = 0
                except (BadManifest, HTTPClientError) as error:
                    self._failures += 1
                    if self._failures <= TOLD_FAILURES:
                        log.warning("failed to read pods from URL: %s", error)
                await self._clock.sleep(self._check_seconds)
        finally:
            await self._client.close()

    async def _ask(self, update: Update) -> None:
        answer = await self._client.request(
            "GET", self._target, self._headers, timeout_seconds=URL_TIMEOUT_SECONDS
        )
        if answer.status != 200:
            raise BadManifest(f"{self._url}: {answer.status}")
        if not answer.body:
            update([])
            raise BadManifest(f"zero-length data received from {self._url}")
        if answer.body != self._data:
            self._data = answer.body
            update(read_pods(answer.body, Origin("http", self._url, self._node), self._clock.now()))
