"""`Cluster`: a whole Kubernetes control plane for a test, over memory, on loopback, ready in a fraction of a second.

    with Cluster() as cluster:
        subprocess.run(["kubectl", "get", "nodes"], env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)})

Any client works, for it is a real HTTPS port. Nothing is left when the block ends: no thread, no process, no file. Several clusters in one
process do not see each other. docs/testing.md is the page for newcomers.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tiphys.machinery.frozen import frozen
from tiphys.testing.access import Identity, make_kubeconfig, write_kubeconfig
from tiphys.testing.controls import Clock, Controllers, Faults, Nodes, Pods
from tiphys.testing.links import ProcessLink, ThreadLink
from tiphys.testing.namespace import Namespace
from tiphys.testing.plan import Plan
from tiphys.testing.scope import Scope

if TYPE_CHECKING:
    from tiphys.testing.asynchronous import AsyncCluster
    from tiphys.testing.requests import RecordedRequest


@frozen
class Snapshot:
    """The state of a cluster at one moment; only that cluster can go back to it."""

    name: str


class Cluster(Scope):
    """A control plane that is not started yet: use it as a context manager (also `async with`), or call `start` and `stop`.

    `nodes`: how many simulated ones, or their names; 0 for none, as envtest has. `controllers`: upstream's `--controllers`
    ("*,-garbage-collector-controller", "" for none). `subprocess`: in a process of its own, which costs more to start and takes no time from the test's
    own threads. `speed` and `start_time`: see `clock`; with `speed=0` the cluster's time stands still and nothing in it ever sleeps.
    """

    def __init__(
        self,
        *,
        nodes: int | Sequence[str] = 1,
        controllers: str | Sequence[str] = "*",
        scheduler: bool = True,
        subprocess: bool = False,
        speed: float = 1.0,
        start_time: datetime | None = None,
        port: int = 0,
    ) -> None:
        if start_time is not None and start_time.tzinfo is None:
            start_time = start_time.replace(tzinfo=UTC)
        names = [f"node-{number + 1}" for number in range(nodes)] if isinstance(nodes, int) else list(nodes)
        switches = controllers if isinstance(controllers, str) else ",".join(controllers)
        self._options = {
            "nodes": tuple(names),
            "controllers": switches,
            "scheduler": scheduler,
            "speed": speed,
            "start": start_time.isoformat() if start_time else "",
            "port": port,
        }
        self._kind: type[ThreadLink] | type[ProcessLink] = ProcessLink if subprocess else ThreadLink
        self._directory: Path | None = None
        self._port = 0
        super().__init__(_NotStarted())

    # Life

    def start(self) -> Self:
        """Returns once the API answers; controllers and nodes come up meanwhile."""
        if self._directory is not None:
            raise RuntimeError("the cluster is running already")
        directory = Path(tempfile.mkdtemp(prefix="tiphys-test-"))
        link = self._kind(Plan(directory=str(directory), **self._options))  # type: ignore[arg-type]
        try:
            self._port = link.start()["port"]
        except BaseException:
            link.stop()
            shutil.rmtree(directory, ignore_errors=True)
            raise
        self._directory, self.link = directory, link
        _running.add(self)
        return self

    def stop(self) -> None:
        """Ends it and takes its files away. Harmless when repeated."""
        directory, self._directory = self._directory, None
        if directory is None:
            return
        _running.discard(self)
        link, self.link = self.link, _NotStarted()
        try:
            link.stop()
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            self._forget()

    def _forget(self) -> None:
        for name in ("pods", "nodes", "controllers", "faults", "clock", "aio", "_admin", "kubeconfig"):
            self.__dict__.pop(name, None)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> AsyncCluster:
        await asyncio.to_thread(self.start)
        return self.aio

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def directory(self) -> Path:
        """Where its files are: certificates, kubeconfigs, logs of pods."""
        if self._directory is None:
            raise RuntimeError("the cluster is not running: use it in a `with` block, or start() it")
        return self._directory

    # Where it is, and how to come in

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def ca_file(self) -> Path:
        return self.directory / "pki" / "ca.crt"

    @cached_property
    def _admin(self) -> dict[str, str]:
        pki = self.directory / "pki"
        return {
            "certificate": (pki / "admin.crt").read_text(),
            "key": (pki / "admin.key").read_text(),
        }

    @cached_property
    def kubeconfig(self) -> Path:
        """The administrator's (system:masters)."""
        return write_kubeconfig(self.directory / "kubeconfig", self.kubeconfig_dict())

    def kubeconfig_dict(self, *, namespace: str = "default") -> dict[str, Any]:
        """The same as a dictionary, with another namespace to begin in if wanted."""
        return make_kubeconfig(self.server, self.ca_file.read_text(), namespace=namespace, **self._admin)

    def user(self, name: str, groups: Sequence[str] = ()) -> Identity:
        """Somebody with a token, and a certificate unless a name is longer than X.509 allows (64). They may do what roles say."""
        made = self._call("user", name=name, groups=list(groups))
        return self._identity(name, **made)

    def service_account(
        self, name: str, namespace: str = "default", *, expiration_seconds: int = 3600
    ) -> Identity:
        """A service account (made if it is not there) with a token of its own."""
        token = self._call(
            "service_account_token", name=name, namespace=namespace, seconds=expiration_seconds
        )
        return self._identity(f"system:serviceaccount:{namespace}:{name}", token=token)

    def _identity(self, name: str, *, token: str, certificate: str = "", key: str = "") -> Identity:
        config = make_kubeconfig(
            self.server, self.ca_file.read_text(), certificate=certificate, key=key, token=token
        )
        number = len(list(self.directory.glob("kubeconfig-*"))) + 1
        path = write_kubeconfig(self.directory / f"kubeconfig-{number}", config)
        return Identity(name, token, path, certificate, key)

    # Namespaces and state

    @contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[Namespace]:
        """A namespace with a name of its own, ready for pods; gone with all that is in it when the block ends."""
        made = Namespace.make(self.link, self.directory, prefix, self.kubeconfig_dict)
        try:
            yield made
        finally:
            made.remove()

    def snapshot(self) -> Snapshot:
        """The state of all objects now."""
        return Snapshot(self._call("snapshot"))

    def restore(self, snapshot: Snapshot) -> int:
        """Everything as it was: what is new goes, what is gone comes back with its uid; how many objects that were.

        It happens at once and through the watches; resourceVersions go on rising, so a stale write is a conflict. Time does not go back.
        """
        changed: int = self._call("restore", name=snapshot.name)
        return changed

    # What else can be done to it

    @cached_property
    def clock(self) -> Clock:
        return Clock(self.link)

    @cached_property
    def pods(self) -> Pods:
        return Pods(self.link)

    @cached_property
    def nodes(self) -> Nodes:
        return Nodes(self.link)

    @cached_property
    def controllers(self) -> Controllers:
        return Controllers(self.link)

    @cached_property
    def faults(self) -> Faults:
        return Faults(self.link)

    @cached_property
    def aio(self) -> AsyncCluster:
        """The same, to be awaited: for what takes its time."""
        from tiphys.testing.asynchronous import AsyncCluster

        return AsyncCluster(self)

    def requests(self, *, internal: bool = False, **patterns: str) -> list[RecordedRequest]:
        """Who asked what, oldest first: `requests(verb="patch", resource="widgets", user="*my-operator")`.

        Patterns are about user, verb, method, path, group, resource, subresource, namespace, name, user_agent, acting_as. `internal`: also what the control plane
        and the simulated nodes asked themselves. The newest 20,000 are kept.
        """
        from tiphys.testing.requests import RecordedRequest

        found = self._call("requests", patterns=patterns, internal=internal)
        return [RecordedRequest(**asked) for asked in found]

    def forget_requests(self) -> None:
        self._call("forget_requests")


class _NotStarted:
    """The link of a cluster that does not run."""

    def start(self) -> dict[str, Any]:
        raise RuntimeError("not a real link")

    def call(self, method: str, **arguments: Any) -> Any:
        raise RuntimeError("the cluster is not running: use it in a `with` block, or start() it")

    def stop(self) -> None:
        pass


_running: weakref.WeakSet[Cluster] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """For tests that forget to."""
    for cluster in list(_running):
        cluster.stop()
