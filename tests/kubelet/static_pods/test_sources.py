"""A directory and a URL as they change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.static_pods.sources import FileSource, configured
from tiphys.machinery.clock import SystemClock
from tiphys.net.http import Request, Response
from tiphys.net.server import Server

MANIFEST = "{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {containers: [{name: c, image: i}]}}"
PATIENCE_SECONDS = 60.0


class Followed:
    def __init__(self) -> None:
        self.names: list[str] = []
        self.updates = asyncio.Event()

    def update(self, pods: Any) -> None:
        self.names = [pod["metadata"]["name"] for pod in pods]
        self.updates.set()

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.names != list(names):
                self.updates.clear()
                await self.updates.wait()


class Directory:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self.source = FileSource(path, "n", SystemClock(), self.problems.append, check_seconds=1000.0)

    def write(self, file: str, name: str) -> None:
        (self.path / file).write_text(MANIFEST % name)


@pytest.fixture
async def tasks() -> AsyncIterator[list[asyncio.Task[None]]]:
    started: list[asyncio.Task[None]] = []
    yield started
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)


def test_files_in_their_order_without_hidden_ones(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    directory.write("b.yaml", "b")
    directory.write("a.json", "a")
    directory.write(".c.yaml.swp", "c")
    (tmp_path / "sub").mkdir()
    assert [pod["metadata"]["name"] for pod in directory.source.look()] == ["a-n", "b-n"]
    assert directory.problems == [f"{tmp_path}/sub: not recursing into manifest path"]


def test_one_file_and_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert Directory(tmp_path / "none").source.look() == []
    directory = Directory(tmp_path)
    directory.write("one.yaml", "one")
    alone = FileSource(tmp_path / "one.yaml", "n", SystemClock(), directory.problems.append)
    assert [pod["metadata"]["name"] for pod in alone.look()] == ["one-n"]


async def test_changes_are_followed(tmp_path: Path, tasks: list[asyncio.Task[None]]) -> None:
    directory, followed = Directory(tmp_path), Followed()
    tasks.append(asyncio.create_task(directory.source.follow(followed.update)))
    await followed.until()
    directory.write("a.yaml", "a")
    await followed.until("a-n")
    (tmp_path / "b.yaml.part").write_text(MANIFEST % "b")
    (tmp_path / "b.yaml.part").rename(tmp_path / "b.yaml")
    await followed.until("a-n", "b-n")
    directory.write("a.yaml", "another")
    await followed.until("another-n", "b-n")
    (tmp_path / "b.yaml").unlink()
    await followed.until("another-n")


async def test_a_file_that_breaks_is_told_of_once_and_stands_until_all_are_looked_at_anyway(
    tmp_path: Path, tasks: list[asyncio.Task[None]]
) -> None:
    directory, followed = Directory(tmp_path), Followed()
    directory.write("a.yaml", "a")
    tasks.append(asyncio.create_task(directory.source.follow(followed.update)))
    await followed.until("a-n")
    (tmp_path / "a.yaml").write_text("kind: [")
    directory.write("b.yaml", "b")
    await followed.until("a-n", "b-n")
    assert [pod["metadata"]["name"] for pod in directory.source.look()] == ["b-n"]
    [problem] = directory.problems
    assert problem.startswith(f"{tmp_path}/a.yaml: couldn't parse as pod(")


async def test_a_url_with_headers(tasks: list[asyncio.Task[None]]) -> None:
    answers = [MANIFEST % "a", MANIFEST % "a", "", MANIFEST % "b"]
    asked: list[str] = []

    def handle(request: Request) -> Response:
        asked.append(f"{request.target} {request.headers.get('x-token')}")
        text = answers.pop(0) if len(answers) > 1 else answers[0]
        return Response(200, [("content-type", "application/yaml")], text.encode())

    server, followed = Server(handle), Followed()
    port = (await server.listen(host="127.0.0.1", port=0)).port
    settings = KubeletConfiguration.parse(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "staticPodURL": f"http://127.0.0.1:{port}/pods?of=n",
            "staticPodURLHeader": {"X-Token": ["t"]},
            "httpCheckFrequency": "10ms",
        }
    )
    assert "t" not in settings.document()["staticPodURLHeader"]["X-Token"]
    [source] = configured(settings, "n", None, SystemClock(), print)
    assert source.look() is None
    tasks.append(asyncio.create_task(source.follow(followed.update)))
    await followed.until("a-n")
    await followed.until()
    await followed.until("b-n")
    assert asked[0] == "/pods?of=n t"
    for task in tasks:
        task.cancel()
    await server.shutdown(grace_seconds=0)


def test_the_directory_of_the_configuration_comes_first(tmp_path: Path) -> None:
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    chosen = KubeletConfiguration.parse({**head, "staticPodPath": str(tmp_path)})
    Directory(tmp_path).write("a.yaml", "a")
    [source] = configured(chosen, "n", tmp_path / "other", SystemClock(), print)
    assert [pod["metadata"]["name"] for pod in source.look() or ()] == ["a-n"]
