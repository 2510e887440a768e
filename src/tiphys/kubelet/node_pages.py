"""Pages of the kubelet's API about the node itself: its health, its pods, its configuration, its logs."""

from __future__ import annotations

import html
import mimetypes
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from tiphys.kubelet import labels
from tiphys.kubelet.access import Refusal
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.runtimes.interface import Container, Runtime, Sandbox
from tiphys.kubelet.spec import Object
from tiphys.net.http import Request, Response

CHECKS = ("ping", "log", "syncloop")
"""What is looked at is that this loop answers: there is one for everything."""
BLOCK_BYTES = 256 * 1024
_TEXT = [("content-type", "text/plain; charset=utf-8")]
_JSON = [("content-type", "application/json")]
_PAGE = [("content-type", "text/html; charset=utf-8")]


def health(request: Request, check: str) -> Response:
    """`/healthz`, and `/healthz/<check>`. Raises Refusal for a check that there is not."""
    if check and check not in CHECKS:
        raise Refusal(404, "404: Page Not Found")
    if check or "verbose" not in request.query:
        return Response(200, [*_TEXT, ("x-content-type-options", "nosniff")], b"ok")
    lines = [*(f"[+]{name} ok" for name in CHECKS), "healthz check passed", ""]
    return Response(200, [*_TEXT, ("x-content-type-options", "nosniff")], "\n".join(lines).encode())


def configuration(settings: KubeletConfiguration) -> Response:
    return Response(200, _JSON, orjson.dumps({"kubeletconfig": settings.document()}))


def pod_list(pods: Iterable[Object]) -> Response:
    items = [
        {name: value for name, value in pod.items() if name not in ("apiVersion", "kind")} for pod in pods
    ]
    return Response(
        200, _JSON, orjson.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
    )


async def running_pods(runtime: Runtime) -> list[Object]:
    """What the runtime runs, whatever the API says of it: names, and no more than the runtime knows."""
    running: dict[str, list[Container]] = {}
    for container in await runtime.list_containers():
        if container.state == "Running":
            running.setdefault(container.sandbox_id, []).append(container)
    return [
        _running_pod(sandbox, running[sandbox.id])
        for sandbox in await runtime.list_sandboxes()
        if sandbox.id in running and labels.POD_UID in sandbox.labels
    ]


def _running_pod(sandbox: Sandbox, containers: Iterable[Container]) -> dict[str, Any]:
    return {
        "metadata": {
            "name": sandbox.name,
            "namespace": sandbox.namespace,
            "uid": sandbox.uid,
            "creationTimestamp": None,
        },
        "spec": {
            "containers": [
                {"name": container.name, "image": container.image, "resources": {}}
                for container in containers
            ]
        },
        "status": {},
    }


async def node_log(request: Request, places: Mapping[str, Path]) -> Response:
    """A file or a directory's page below /logs/, as Go's file server shows them. Nothing outside of the places, be it by a link."""
    if request.method not in ("GET", "HEAD"):
        raise Refusal(405, "405: Method Not Allowed", (("Allow", "GET"),))
    path = request.path.removeprefix("/logs")
    words = [word for word in path.split("/") if word not in ("", ".")]
    if not path.startswith("/"):
        return Response(301, [("location", "/logs/")])
    if not words:
        return _directory({name: place.is_dir() for name, place in places.items() if place.exists()})
    place = places.get(words[0])
    found = _inside(place, words[1:]) if place is not None and ".." not in words else None
    if found is None:
        raise Refusal(404, "404 page not found\n")
    if found.is_dir():
        if not path.endswith("/"):
            return Response(301, [("location", f"{words[-1]}/")])
        return _directory({entry.name: entry.is_dir() for entry in found.iterdir()})
    kind, encoding = mimetypes.guess_type(found.name)
    if encoding == "gzip":
        kind = "application/gzip"
    headers = [("content-type", kind or "text/plain; charset=utf-8")]
    return Response(200, headers, b"" if request.method == "HEAD" else _pieces(found))


def _inside(place: Path, words: list[str]) -> Path | None:
    try:
        root = place.resolve(strict=True)
        found = root.joinpath(*words).resolve(strict=True)
    except (OSError, ValueError):
        return None
    is_ordinary = found.is_dir() or found.is_file()
    return found if is_ordinary and (found == root or root in found.parents) else None


def _directory(entries: Mapping[str, bool]) -> Response:
    names = sorted(f"{name}/" if is_directory else name for name, is_directory in entries.items())
    links = [f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names]
    head = '<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n'
    return Response(200, _PAGE, f"{head}{''.join(links)}</pre>\n".encode())


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(BLOCK_BYTES):
            yield piece
