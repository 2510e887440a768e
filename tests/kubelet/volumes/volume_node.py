"""A node on a disk of the test's own, whose mounts are only remembered, and whose API is a dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tiphys.kubelet.downward import Surroundings
from tiphys.kubelet.files import Files
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.pod_volumes import prepare_volumes
from tiphys.kubelet.volumes.request import Kind, NoSuchObject, Services, Token
from tiphys.machinery.quantity import parse

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeMounter:
    """Remembers what is mounted."""

    mounted: dict[Path, tuple[str, str, list[str]]] = field(default_factory=dict)

    def mount(self, kind: str, source: str, directory: Path, options: Sequence[str] = ()) -> bool:
        if directory in self.mounted:
            return False
        self.mounted[directory] = (kind, source, list(options))
        return True

    def bind(
        self, file: int, target: Path, *, is_deeply_read_only: bool = False, is_shared: bool = False
    ) -> Path:
        raise AssertionError("only containers' mounts are bound")

    def unmount_below(self, directory: Path) -> None:
        for path in [path for path in self.mounted if directory in (path, *path.parents)]:
            del self.mounted[path]


@dataclass
class FakeLookups:
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    trust_bundles: list[Object] = field(default_factory=list)

    async def find(self, kind: Kind, name: str) -> Object | None:
        return self.objects.get((kind, name))

    async def fetch(self, kind: Kind, name: str) -> Object:
        if (kind, name) not in self.objects:
            raise NoSuchObject(f'{kind}s "{name}" not found')
        return self.objects[kind, name]

    async def bundles(self) -> Sequence[Object]:
        return self.trust_bundles

    async def token(self, wanted: Mapping[str, Any]) -> Token:
        return Token(f"token for {wanted.get('audience', 'the API')}", 2880.0)


@dataclass
class Node:
    files: Files
    mounter: FakeMounter = field(default_factory=FakeMounter)
    lookups: FakeLookups = field(default_factory=FakeLookups)
    allocatable: dict[str, str] = field(default_factory=lambda: {"cpu": "4"})
    commands: list[Sequence[str]] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    """How programs end that do not end well."""
    says: str = ""
    used: set[str] = field(default_factory=set)
    labels: dict[str, str] | None = None
    now: datetime = NOW

    @property
    def objects(self) -> dict[tuple[str, str], Object]:
        return self.lookups.objects

    @property
    def services(self) -> Services:
        async def run(command: Sequence[str]) -> tuple[int, str]:
            self.commands.append(command)
            return self.codes.get(command[0], 0), self.says

        allocatable = {name: parse(text) for name, text in self.allocatable.items()}
        around = Surroundings("node-1", ["10.0.0.1"], [], allocatable)
        is_used = self.used.__contains__
        return Services(self.lookups, around, self.mounter, run, self.now, is_used, self.labels)

    async def prepare(self, given: dict[str, Any]) -> Path:
        """The path of the pod's only volume."""
        outcome = await prepare_volumes(given, self.files, self.services)
        assert outcome.problems == ()
        [volume] = outcome.volumes.values()
        return volume.path

    async def problem(self, given: dict[str, Any]) -> str:
        """Why its only volume cannot be had."""
        outcome = await prepare_volumes(given, self.files, self.services)
        assert outcome.volumes == {}
        [problem] = outcome.problems
        assert problem.reason == "FailedMount"
        return problem.message


def pod(source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "labels": {"app": "web"}},
        "spec": {
            "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", **source}],
            **spec,
        },
    }
