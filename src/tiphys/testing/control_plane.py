"""A control plane for tests on the event loop that it is started on: API server over memory, controllers, scheduler, simulated nodes.

`Cluster` runs one in a thread of its own, `process.py` one in a process of its own. All that a test may do to it is a method here, with
plain data going in and out, so that both are used in the same way.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import asdict, replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from tiphys.api.scheme import OPTIONAL_GROUPS
from tiphys.apiserver.authentication.static_tokens import StaticTokens
from tiphys.apiserver.bootstrap import NAMESPACES, bootstrap
from tiphys.apiserver.call import User
from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.pipeline import too_large
from tiphys.apiserver.server import BODY_LIMIT_BYTES
from tiphys.apiserver.service_accounts import legacy_claims
from tiphys.apiserver.settings import Settings
from tiphys.client.inprocess import InProcessTransport
from tiphys.cluster.components import Components
from tiphys.cluster.pki import Authority, Leaf
from tiphys.controllers.catalog import Options, enabled
from tiphys.kubelet.runtimes.behaviour import Behaviour, Behaviours
from tiphys.machinery.errors import expired
from tiphys.net.client import HTTPClient
from tiphys.net.server import Server
from tiphys.net.tls import client_context, server_context
from tiphys.store.memory import MemoryStore
from tiphys.testing import state
from tiphys.testing.moving_clock import MovingClock
from tiphys.testing.objects import ADMINISTRATOR, ADMINISTRATORS, Objects
from tiphys.testing.plan import Plan
from tiphys.testing.requests import Fault, ObservedAPIServer

HOST = "127.0.0.1"
CLUSTER_CIDR = "10.128.0.0/9"
X509_NAME_LENGTH = 64
"""RFC 5280, ub-common-name and ub-organization-name."""


class ControlPlane:
    """Made on its loop; `start`, then anything, then `stop`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._directory = Path(plan.directory)
        start = datetime.fromisoformat(plan.start) if plan.start else None
        self._clock = MovingClock(speed=plan.speed, start=start)
        self._behaviours = Behaviours()
        self._snapshots: dict[str, state.Snapshot] = {}
        self._users: dict[str, User] = {}
        self._kubelets: dict[tuple[str, int], HTTPClient] = {}
        self._names = 0

    async def start(self) -> dict[str, Any]:
        """Returns once the API answers: `port`. LookupError for a controller that there is not, OSError for a port that is taken."""
        entries = enabled(self._switches)
        authority = self._authority = Authority(self._directory / "pki", datetime.now().astimezone())
        authority.ensure(
            [
                Leaf("apiserver", "kube-apiserver", names=(HOST, "localhost", "kubernetes.default.svc")),
                Leaf("kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
                Leaf("admin", ADMINISTRATOR, ("system:masters",)),
            ]
        )
        key = authority.ensure_signing_key("service-account").read_bytes()
        self._store = MemoryStore()
        self._clock.progress = lambda: self._store.revision
        server = self._server = ObservedAPIServer(
            self._store,
            Settings(key, optional_groups=OPTIONAL_GROUPS),
            kubelet_client=self._kubelet_client,
            clock=self._clock,
        )
        server.observe()
        server.token_readers.append(StaticTokens(self._users))
        self._tls = server_context(
            str(authority.certificate("apiserver")),
            str(authority.key("apiserver")),
            str(authority.certificate_file),
        )
        self._listener = Server(
            server.handle, ssl_context=self._tls, body_limit_bytes=BODY_LIMIT_BYTES, on_too_large=too_large
        )
        port = (await self._listener.listen(host=HOST, port=self._plan.port)).port
        server.advertised = f"{HOST}:{port}"
        server.start()
        await bootstrap(server)
        self._local = LocalAPI(server)
        self._objects = Objects(self._local, server.scheme, self._clock)
        if any(entry.name == "serviceaccount-controller" for entry in entries):
            # The controller's work, which it will find done: a test's first pod must not come too early.
            for namespace in NAMESPACES:
                account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
                await self._objects.create(account, namespace)
        self._start_components()
        if self._plan.speed == 0:
            # A wait moves such a time on, and must not do so before everything is there.
            await self._adding
        return {"port": port}

    @property
    def _switches(self) -> list[str]:
        return [switch for switch in self._plan.controllers.split(",") if switch]

    def _start_components(self) -> None:
        authority = self._authority
        options = Options(
            root_ca=authority.certificate_file.read_text(),
            cluster_cidr=CLUSTER_CIDR,
            signing_certificate_file=str(authority.certificate_file),
            signing_key_file=str(authority.key("ca")),
            token=lambda account, secret: self._server.signer.sign(legacy_claims(account, secret)),
        )
        self._components = Components(
            self._local,
            self._clock,
            options,
            self._switches,
            scheduler=self._plan.scheduler,
        )
        self._components.start()
        self._nodes: Any = None
        self._adding = asyncio.get_running_loop().create_task(self.add_nodes(list(self._plan.nodes)))

    async def stop(self) -> None:
        self._adding.cancel()
        await asyncio.gather(self._adding, return_exceptions=True)
        if self._nodes is not None:
            await self._nodes.close()
        await self._components.stop()
        for client in self._kubelets.values():
            await client.close()
        await self._server.close()
        await self._listener.shutdown(grace_seconds=0.2)
        await self._store.close()
        self._clock.close()

    def _kubelet_client(self, node: str, host: str, port: int) -> HTTPClient:
        del node
        if (host, port) not in self._kubelets:
            authority = self._authority
            context = client_context(
                ca_file=str(authority.certificate_file),
                cert_file=str(authority.certificate("kubelet-client")),
                key_file=str(authority.key("kubelet-client")),
            )
            self._kubelets[host, port] = HTTPClient(f"https://{host}:{port}", ssl_context=context)
        return self._kubelets[host, port]

    # Who may come in

    async def user(self, name: str, groups: list[str]) -> dict[str, str]:
        """A token for a user, and a certificate (PEM texts) if X.509 has room for the names."""
        token = secrets.token_urlsafe(24)
        self._users[token] = User(name, (*groups, "system:authenticated"))
        if any(len(text) > X509_NAME_LENGTH for text in (name, *groups)):
            return {"token": token}
        self._names += 1
        file = f"user-{self._names}"
        self._authority.ensure([Leaf(file, name, tuple(groups))])
        return {
            "certificate": self._authority.certificate(file).read_text(),
            "key": self._authority.key(file).read_text(),
            "token": token,
        }

    async def service_account_token(self, name: str, namespace: str, seconds: int) -> str:
        """Of an account that is made if it is not there."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        await self._objects.load(account, namespace)
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        transport = InProcessTransport(self._local, ADMINISTRATOR, ADMINISTRATORS)
        answer = await transport.request("POST", path, body=request)
        return str(answer["status"]["token"])

    # Objects

    async def get(self, kind: str, name: str, namespace: str) -> Any:
        return await self._objects.get(kind, name, namespace)

    async def list_objects(self, kind: str, namespace: str, selector: str) -> Any:
        return await self._objects.list_objects(kind, namespace, selector)

    async def create(self, obj: dict[str, Any], namespace: str) -> Any:
        return await self._objects.create(obj, namespace)

    async def load(self, objects: list[dict[str, Any]], namespace: str) -> Any:
        return [await self._objects.load(obj, namespace) for obj in objects]

    async def patch(self, **what: Any) -> Any:
        return await self._objects.patch(**what)

    async def delete(self, kind: str, name: str, namespace: str, options: dict[str, Any]) -> Any:
        return await self._objects.delete(kind, name, namespace, options)

    async def kind_of(self, obj: dict[str, Any]) -> str:
        return self._objects.kind_of(obj)

    async def changed(self, **what: Any) -> Any:
        return await self._objects.changed(**what)

    async def erase_namespace(self, name: str) -> int:
        return await state.erase_namespace(self._store, name)

    # Time

    async def advance(self, seconds: float) -> None:
        await self._clock.advance(seconds)

    async def set_speed(self, speed: float) -> None:
        self._clock.speed = speed

    async def now(self) -> str:
        return self._clock.now().isoformat()

    async def rest(self) -> None:
        await self._clock.rest()

    # State

    async def snapshot(self) -> str:
        await self._clock.rest()
        self._names += 1
        name = f"snapshot-{self._names}"
        self._snapshots[name] = state.take(self._store)
        return name

    async def restore(self, name: str) -> int:
        if name not in self._snapshots:
            raise LookupError(f"there is no {name} of this cluster")
        await self._clock.rest()
        changed = await state.put_back(self._store, self._snapshots[name])
        await self._clock.rest()
        return changed

    # Bad weather

    async def add_fault(self, fault: dict[str, Any]) -> int:
        return self._server.faults.add(Fault(**fault))

    async def remove_fault(self, number: int) -> None:
        self._server.faults.remove(number)

    async def clear_faults(self) -> None:
        self._server.faults.clear()

    async def end_watches(self, how: str) -> int:
        """`close` ends every client's watch properly, `abort` cuts it off, `expire` tells it 410 and forgets history."""
        streams = list(self._server.reads.streams)
        if how == "expire":
            await self._store.compact(self._store.revision)
            self._server.cache.forget_history()
        for stream in streams:
            if how == "expire":
                stream.error(expired("The resourceVersion for the provided watch is too old.").status())
            elif how == "abort":
                stream.abort()
            else:
                stream.close()
        return len(streams)

    async def requests(self, patterns: dict[str, str], internal: bool) -> Any:  # noqa: FBT001
        return [
            asdict(asked)
            for asked in self._server.seen
            if (internal or not asked.internal) and asked.matches(patterns)
        ]

    async def forget_requests(self) -> None:
        self._server.seen.clear()

    # Parts

    async def controllers(self) -> Any:
        return self._components.running

    async def switch_on(self, name: str) -> None:
        self._components.switch_on(name)

    async def switch_off(self, name: str) -> None:
        await self._components.switch_off(name)

    async def add_nodes(self, names: list[str]) -> None:
        if not names:
            return
        # A hundred milliseconds of importing, in which somebody may already ask the API something.
        made = await asyncio.to_thread(import_module, "tiphys.testing.nodes")
        if self._nodes is None:
            logs = self._directory / "pods"
            self._nodes = made.Nodes(self._local, self._clock, self._behaviours, self._tls, logs)
        await self._nodes.add(names)

    async def power(self, name: str, on: bool) -> None:  # noqa: FBT001
        nodes = await self._known_nodes()
        await (nodes.power_on(name) if on else nodes.power_off(name))

    async def remove_node(self, name: str) -> None:
        await (await self._known_nodes()).remove(name)

    async def nodes(self) -> Any:
        nodes = await self._known_nodes() if self._plan.nodes else self._nodes
        return [(name, name in nodes.powered) for name in nodes.names] if nodes else []

    async def _known_nodes(self) -> Any:
        await self._adding
        if self._nodes is None:
            raise LookupError("this cluster has no nodes")
        return self._nodes

    # Pods

    async def behave(self, behaviour: dict[str, Any]) -> int:
        made = Behaviour(**behaviour)
        if made.logs is not None:
            made = replace(made, logs=tuple(made.logs))
        if made.answers is not None:
            made = replace(made, answers={line: (text, code) for line, (text, code) in made.answers.items()})
        return self._behaviours.add(made)

    async def forget_behaviour(self, number: int) -> None:
        self._behaviours.remove(number)

    async def clear_behaviours(self) -> None:
        self._behaviours.clear()

    async def end_containers(
        self, namespace: str, pod: str, container: str, exit_code: int, reason: str
    ) -> None:
        for runtime, id in (await self._known_nodes()).running(namespace, pod, container):
            runtime.end_container(id, exit_code, reason)

    async def write_log(self, namespace: str, pod: str, container: str, text: str) -> None:
        for runtime, id in (await self._known_nodes()).running(namespace, pod, container):
            for line in text.splitlines():
                runtime.append_log(id, line)
