"""The kubelet's own HTTPS API: pods, logs, exec, attach, port-forward, and what the node tells of itself.

Paths and queries are upstream's (`pkg/kubelet/server`), so that either side can be replaced by upstream's. Mostly the API server asks;
whoever else may is `access.py`'s to say. One server serves all nodes of the process: a pod is on one of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from tiphys.api.core.kubelet_requests import NODE_HEADER
from tiphys.kubelet import node_pages, spec
from tiphys.kubelet.access import KubeletAccess, Refusal
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.log_source import LogGone, log_source
from tiphys.kubelet.logs import BadLogOptions, LogOptions, LogReader
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.kubelet.seen import SeenContainer
from tiphys.kubelet.sessions import serve_command, serve_port
from tiphys.kubelet.spec import Object
from tiphys.kubelet.streaming.channels import RemoteCommandStreams, StreamOptions
from tiphys.kubelet.streaming.idle import ended_when_idle
from tiphys.kubelet.streaming.port_forward import PortForwardConnection, upgrade_port_forward
from tiphys.kubelet.streaming.remote_command import upgrade_remote_command
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen
from tiphys.net.http import Request, Response

TEXT = [("content-type", "text/plain; charset=utf-8")]
_KUBELET_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_POD_PATHS = frozenset({"containerLogs", "exec", "attach", "portForward", "run", "checkpoint"})

Page = Callable[[Request], Awaitable[Response]]
"""Everything below one word of a path."""


@frozen
class _Route:
    methods: tuple[str, ...]
    words: tuple[int, ...]
    """How many words may follow the first one of the path."""
    serve: Callable[..., Awaitable[Response]]


class KubeletServer:
    """`handle` is the handler of a tiphys.net server with client certificates.

    `pages`: first word of a path → who answers there, for what others count and measure; `logs`: what is shown below /logs/;
    `answered(request, seconds)` is told of each answer.
    """

    def __init__(
        self,
        kubelets: Dispatcher,
        clock: Clock,
        access: KubeletAccess,
        *,
        configuration: KubeletConfiguration | None = None,
        pages: Mapping[str, Page] | None = None,
        logs: Mapping[str, Path] | None = None,
        answered: Callable[[Request, float], None] | None = None,
    ) -> None:
        self._kubelets = kubelets
        self._clock = clock
        self._access = access
        self._settings = configuration or KubeletConfiguration()
        self._pages = dict(pages or {})
        self._logs = dict(logs or {})
        self._answered = answered
        any_method = ("GET", "POST")
        self._routes: Mapping[str, _Route] = {
            "healthz": _Route(("GET",), (0, 1), self._health),
            "pods": _Route(("GET",), (0,), self._pods),
            "runningpods": _Route(("GET",), (0,), self._running_pods),
            "configz": _Route(("GET",), (0,), self._configuration),
            "containerLogs": _Route(("GET",), (3,), self._container_log),
            # With the uid of the pod before the container, too.
            "run": _Route(("POST",), (3, 4), self._run),
            "exec": _Route(any_method, (3, 4), self._exec),
            "attach": _Route(any_method, (3, 4), self._attach),
            "portForward": _Route(any_method, (2, 3), self._port_forward),
            "checkpoint": _Route(("POST",), (3,), self._checkpoint),
        }

    async def handle(self, request: Request) -> Response:
        began = self._clock.monotonic()
        try:
            first, *rest = request.path.strip("/").split("/")
            await self._access.check(request, self._node_of(request, first, rest))
            return await self._answer(request, first, rest)
        except Refusal as refusal:
            return Response(refusal.code, [*TEXT, *refusal.headers], str(refusal).encode())
        finally:
            if self._answered is not None:
                self._answered(request, self._clock.monotonic() - began)

    async def _answer(self, request: Request, first: str, rest: list[str]) -> Response:
        if first in self._pages:
            return await self._pages[first](request)
        if first == "logs":
            if not self._settings.enable_system_log_handler:
                raise Refusal(405, "logs endpoint is disabled.\n")
            return await node_pages.node_log(request, self._logs)
        route = self._routes.get(first)
        if route is None or len(rest) not in route.words or not all(rest):
            raise Refusal(404, "404: Page Not Found" if route else "404 page not found\n")
        if request.method not in route.methods:
            raise Refusal(405, "405: Method Not Allowed", (("Allow", ", ".join(route.methods)),))
        return await route.serve(request, *rest)

    def _node_of(self, request: Request, first: str, rest: list[str]) -> str:
        """Whose API it is that is asked; "" when it is that of several nodes."""
        names = [kubelet.host.node for kubelet in self._meant(request)]
        if first in _POD_PATHS and len(rest) > 1:
            found = self._kubelets.holder_of(rest[0], rest[1])
            if found is not None:
                return found[0].host.node
        return names[0] if len(names) == 1 else ""

    def _meant(self, request: Request) -> list[Kubelet]:
        """The one that is named, or all."""
        named = self._kubelets.find(request.headers.get(NODE_HEADER, ""))
        return [named] if named is not None else list(self._kubelets)

    def _find(self, namespace: str, name: str, message: str = "pod does not exist") -> tuple[Kubelet, Object]:
        found = self._kubelets.holder_of(namespace, name)
        if found is None:
            raise Refusal(404, message)
        return found

    # The node

    async def _health(self, request: Request, check: str = "") -> Response:
        return node_pages.health(request, check)

    async def _pods(self, request: Request) -> Response:
        return node_pages.pod_list([pod for kubelet in self._meant(request) for pod in kubelet.pods])

    async def _running_pods(self, request: Request) -> Response:
        return node_pages.pod_list(
            [
                pod
                for kubelet in self._meant(request)
                for pod in await node_pages.running_pods(kubelet.host.runtime)
            ]
        )

    async def _configuration(self, request: Request) -> Response:
        return node_pages.configuration(self._settings)

    # Logs

    async def _container_log(self, request: Request, namespace: str, name: str, container: str) -> Response:
        options = log_options(request, self._clock)
        kubelet, pod = self._find(namespace, name, f'pod "{name}" does not exist')
        if spec.find_container(pod, container) is None:
            raise Refusal(404, f'container "{container}" not found in pod "{name}"')
        try:
            life = log_source(kubelet, pod, container, previous=options.previous)
        except LogGone as gone:
            return Response(200, TEXT, str(gone).encode())
        path = life.status.log_path
        if not path:
            return Response(200, TEXT, b"")
        if not Path(path).exists():
            text = (
                f'failed to try resolving symlinks in path "{path}": lstat {path}: no such file or directory'
            )
            return Response(200, TEXT, text.encode())

        async def is_over() -> bool:
            worker = kubelet.worker(meta.uid(pod))
            lives = worker.view.containers if worker is not None else ()
            return not any(entry.status.id == life.status.id and entry.is_alive for entry in lives)

        return Response(200, TEXT, LogReader(Path(path), options, is_over)())

    # Commands and streams

    async def _run(self, request: Request, namespace: str, name: str, *rest: str) -> Response:
        kubelet, life = self._running(namespace, name, *rest)
        command = (request.query.get("cmd") or [""])[0].split(" ")
        try:
            result = await kubelet.host.runtime.exec_sync(life.status.id, command, 0)
        except RuntimeFailure as error:
            raise Refusal(500, error.message) from None
        if result.exit_code:
            said = (result.stdout + result.stderr).decode("utf-8", "replace")
            words = " ".join(command)
            raise Refusal(500, f"command '{words}' exited with {result.exit_code}: {said}")
        return Response(200, [("content-type", "application/json")], result.stdout + result.stderr)

    async def _exec(self, request: Request, namespace: str, name: str, *rest: str) -> Response:
        options = stream_options(request)
        kubelet, life = self._running(namespace, name, *rest)
        command = request.query.get("command") or []
        if not command:
            raise Refusal(400, "you must specify at least 1 command for the pod")
        runtime = kubelet.host.runtime

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

        return self._streaming(upgrade_remote_command(request, options, serve))

    async def _attach(self, request: Request, namespace: str, name: str, *rest: str) -> Response:
        options = stream_options(request)
        kubelet, life = self._running(namespace, name, *rest)
        runtime = kubelet.host.runtime

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

        return self._streaming(upgrade_remote_command(request, options, serve))

    async def _port_forward(self, request: Request, namespace: str, name: str, uid: str = "") -> Response:
        kubelet, pod = self._find(namespace, name)
        if uid and uid != meta.uid(pod):
            raise Refusal(404, "pod not found")
        worker = kubelet.worker(meta.uid(pod))
        sandbox = worker.see().sandbox if worker is not None else None
        if sandbox is None:
            raise Refusal(404, f'pod not found ("{name}_{namespace}")')
        runtime, sandbox_id = kubelet.host.runtime, sandbox.id

        async def serve(connection: PortForwardConnection) -> None:
            await serve_port(connection, runtime, sandbox_id)

        return self._streaming(upgrade_port_forward(request, serve))

    def _streaming(self, response: Response) -> Response:
        return ended_when_idle(
            response, self._clock, self._settings.streaming_connection_idle_timeout_seconds
        )

    async def _checkpoint(self, request: Request, namespace: str, name: str, container: str) -> Response:
        _, pod = self._find(namespace, name)
        if spec.find_container(pod, container) is None:
            raise Refusal(404, f"container {container} does not exist")
        # CRI has a call for it, which containerd 1.6 does not know.
        cause = "rpc error: code = Unimplemented desc = unknown method CheckpointContainer for service runtime.v1.RuntimeService"
        raise Refusal(500, f"checkpointing of {namespace}/{name}/{container} failed ({cause})")

    def _running(self, namespace: str, name: str, *rest: str) -> tuple[Kubelet, SeenContainer]:
        """`rest`: the container, perhaps behind the uid of the pod."""
        kubelet, pod = self._find(namespace, name)
        uid, container = rest if len(rest) == 2 else (meta.uid(pod), rest[0])
        worker = kubelet.worker(uid) if uid == meta.uid(pod) else None
        lives = worker.see().named(container) if worker is not None else []
        if not lives or lives[0].status.state != "Running":
            raise Refusal(404, f'container not found ("{container}")')
        return kubelet, lives[0]


def log_options(request: Request, clock: Clock) -> LogOptions:
    """Raises Refusal, in JSON although it is said to be text: as upstream."""
    query = dict(request.query)
    old = (query.get("tail") or [""])[0]
    if old:
        query["tailLines"] = [] if old == "all" else [old]
    try:
        options = LogOptions.from_query(query, clock.now())
    except BadLogOptions:
        raise Refusal(400, '{"message": "Unable to decode query."}') from None
    if not options.is_valid:
        raise Refusal(422, '{"message": "Invalid request."}')
    return options


def stream_options(request: Request) -> StreamOptions:
    """The kubelet's names for streams, in its queries. Raises Refusal."""
    query = {ours: request.query.get(theirs, []) for ours, theirs in _KUBELET_STREAMS.items()}
    try:
        return StreamOptions.from_query(query)
    except ValueError as error:
        raise Refusal(400, str(error)) from error
