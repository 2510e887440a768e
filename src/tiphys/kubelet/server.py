"""The kubelet's own HTTPS API, which only the API server (and administrators) may use: logs, exec, attach, port-forward, pods.

Paths and queries are upstream's (`pkg/kubelet/server`), so that either side can be replaced by upstream's. One server serves all
nodes of the process: a pod is on one of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from tiphys.kubelet import spec
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.logs import BadLogOptions, LogOptions, LogReader
from tiphys.kubelet.seen import SeenContainer
from tiphys.kubelet.sessions import serve_command, serve_port
from tiphys.kubelet.spec import Object
from tiphys.kubelet.streaming.channels import RemoteCommandStreams, StreamOptions
from tiphys.kubelet.streaming.port_forward import PortForwardConnection, upgrade_port_forward
from tiphys.kubelet.streaming.remote_command import upgrade_remote_command
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.net.http import Request, Response
from tiphys.net.tls import subject_of

ADMINISTRATORS = "system:masters"
_TEXT = [("content-type", "text/plain; charset=utf-8")]
_KUBELET_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


class Refusal(Exception):
    """An answer other than success: its code and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class KubeletServer:
    """`handle` is the handler of a tiphys.net server with client certificates."""

    def __init__(self, kubelets: Dispatcher, clock: Clock) -> None:
        self._kubelets = kubelets
        self._clock = clock

    async def handle(self, request: Request) -> Response:
        try:
            return await self._route(request)
        except Refusal as refusal:
            return Response(refusal.code, _TEXT, f"{refusal}\n".encode())

    async def _route(self, request: Request) -> Response:
        what, *rest = request.path.strip("/").split("/")
        if what == "healthz":
            return Response(200, _TEXT, b"ok")
        check_access(request)
        if what == "pods" and not rest:
            return self._pods()
        routes: Mapping[tuple[str, int], Callable[..., Awaitable[Response]]] = {
            ("containerLogs", 3): self._logs,
            ("exec", 3): self._exec,
            ("attach", 3): self._attach,
            ("portForward", 2): self._port_forward,
            # With the uid of the pod before the container, as older clients ask.
            ("exec", 4): self._exec,
            ("attach", 4): self._attach,
            ("portForward", 3): self._port_forward,
        }
        route = routes.get((what, len(rest)))
        if route is None:
            raise Refusal(404, "404 page not found")
        return await route(request, *rest)

    def _pods(self) -> Response:
        items = [pod for kubelet in self._kubelets for pod in kubelet.pods]
        body = orjson.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
        return Response(200, [("content-type", "application/json")], body)

    def _find(self, namespace: str, name: str) -> tuple[Kubelet, Object]:
        found = self._kubelets.holder_of(namespace, name)
        if found is None:
            raise Refusal(404, f'pod "{name}" not found')
        return found

    # Logs

    async def _logs(self, request: Request, namespace: str, name: str, container: str) -> Response:
        kubelet, pod = self._find(namespace, name)
        if spec.find_container(pod, container) is None:
            raise Refusal(404, f'container "{container}" not found in pod "{name}"')
        try:
            options = LogOptions.from_query(request.query, self._clock.now())
        except BadLogOptions as error:
            raise Refusal(400, str(error)) from error
        life = log_source(kubelet, pod, container, previous=options.previous)

        async def is_over() -> bool:
            worker = kubelet.worker(meta.uid(pod))
            lives = worker.view.containers if worker is not None else ()
            return not any(entry.status.id == life.status.id and entry.is_alive for entry in lives)

        if not life.status.log_path or not Path(life.status.log_path).exists():
            return Response(200, _TEXT, b"")
        return Response(200, _TEXT, LogReader(Path(life.status.log_path), options, is_over)())

    # Streams

    async def _exec(self, request: Request, namespace: str, name: str, *rest: str) -> Response:
        command = request.query.get("command") or []
        if not command:
            raise Refusal(400, "you must specify at least 1 command for the pod")
        kubelet, life = self._running(namespace, name, rest[-1])
        runtime = kubelet.host.runtime
        options = stream_options(request)

        async def serve(streams: RemoteCommandStreams) -> None:
            await serve_command(
                streams,
                lambda: runtime.exec(
                    life.status.id,
                    command,
                    stdin=options.stdin,
                    stdout=options.stdout,
                    stderr=options.stderr,
                    tty=options.tty,
                ),
            )

        return upgrade_remote_command(request, options, serve)

    async def _attach(self, request: Request, namespace: str, name: str, *rest: str) -> Response:
        kubelet, life = self._running(namespace, name, rest[-1])
        runtime = kubelet.host.runtime
        options = stream_options(request)

        async def serve(streams: RemoteCommandStreams) -> None:
            await serve_command(
                streams,
                lambda: runtime.attach(
                    life.status.id,
                    stdin=options.stdin,
                    stdout=options.stdout,
                    stderr=options.stderr,
                    tty=options.tty,
                ),
            )

        return upgrade_remote_command(request, options, serve)

    async def _port_forward(self, request: Request, namespace: str, name: str, *_: str) -> Response:
        kubelet, pod = self._find(namespace, name)
        worker = kubelet.worker(meta.uid(pod))
        sandbox = worker.see().sandbox if worker is not None else None
        if sandbox is None:
            raise Refusal(404, f'pod "{name}" is not running')
        runtime, sandbox_id = kubelet.host.runtime, sandbox.id

        async def serve(connection: PortForwardConnection) -> None:
            await serve_port(connection, runtime, sandbox_id)

        return upgrade_port_forward(request, serve)

    def _running(self, namespace: str, name: str, container: str) -> tuple[Kubelet, SeenContainer]:
        kubelet, pod = self._find(namespace, name)
        worker = kubelet.worker(meta.uid(pod))
        lives = worker.see().named(container) if worker is not None else []
        if not lives or lives[0].status.state != "Running":
            raise Refusal(404, f'container not found ("{container}")')
        return kubelet, lives[0]


def check_access(request: Request) -> None:
    """The API server's own certificate, or an administrator's. Raises Refusal."""
    connection = request.connection
    if connection.peer_certificate is None:
        raise Refusal(401, "Unauthorized")
    if connection.context is None:
        connection.context = subject_of(connection.peer_certificate)
    if ADMINISTRATORS not in connection.context.organizations:
        user = connection.context.common_name
        raise Refusal(
            403, f"Forbidden (user={user}, verb={request.method.lower()}, resource=nodes, subresource=proxy)"
        )


def stream_options(request: Request) -> StreamOptions:
    """The kubelet's names for streams, in its queries. Raises Refusal."""
    query = {ours: request.query.get(theirs, []) for ours, theirs in _KUBELET_STREAMS.items()}
    try:
        return StreamOptions.from_query(query)
    except ValueError as error:
        raise Refusal(400, str(error)) from error


def log_source(kubelet: Kubelet, pod: Object, container: str, *, previous: bool) -> SeenContainer:
    """The life of the container whose log is meant. Raises Refusal in upstream's words."""
    worker = kubelet.worker(meta.uid(pod))
    entry = worker.reported(container) if worker is not None else None
    name = meta.name(pod)
    if entry is None or worker is None:
        raise Refusal(400, f'container "{container}" in pod "{name}" is not available')
    id = _container_id(entry, container, name, previous=previous)
    for life in worker.view.containers:
        if id.endswith(f"//{life.status.id}"):
            return life
    raise Refusal(400, f'container "{container}" in pod "{name}" is not available')


def _container_id(entry: Mapping[str, Any], container: str, pod: str, *, previous: bool) -> str:
    state, last = entry["state"], (entry.get("lastState") or {}).get("terminated") or {}
    if previous:
        if not last.get("containerID"):
            raise Refusal(400, f'previous terminated container "{container}" in pod "{pod}" not found')
        return str(last["containerID"])
    if "waiting" not in state and entry.get("containerID"):
        return str(entry["containerID"])
    if last.get("containerID"):
        return str(last["containerID"])
    reason = (state.get("waiting") or {}).get("reason", "")
    text = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)
    raise Refusal(400, f'container "{container}" in pod "{pod}" is waiting to start: {text}')
