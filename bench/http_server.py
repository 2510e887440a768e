"""What the HTTP server costs: CPU microseconds of its process for a request and for the delivery of one event.

`python bench/http_server.py [--rounds N] [--seconds S] [--loop uvloop|asyncio]` starts the server as a process of its own on
loopback, over TLS and in the clear, and loads it from this one. CPU time is the kernel's (/proc/PID/schedstat): unlike
requests per second it does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import ipaddress
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import ngh2
import uvloop

from tiphys.net.http import Frame, Request, Response, Sink
from tiphys.net.server import Server
from tiphys.net.tls import client_context, server_context

BODY = b"x" * 2048
EVENT = b'{"type":"MODIFIED","object":' + b"x" * 870 + b"}\n"
JSON = ("content-type", "application/json")
LARGE = [b"x" * 6700] * 5000

# The server's process.


class Application:
    """GET / is 2 KiB, /watch an open stream, /emit?n sends n events to all of them, /large a list of 33.5 MB."""

    def __init__(self) -> None:
        self.sinks: set[Sink] = set()

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        if request.path == "/":
            return Response(200, [JSON, ("cache-control", "no-cache, private"), ("audit-id", "0")], BODY)
        if request.path == "/watch":
            return Response(200, [JSON], start=self.watch)
        if request.path == "/large":
            return Response(200, [JSON], LARGE)
        return self.emit(int(request.target.partition("?")[2]))

    def watch(self, sink: Sink) -> None:
        self.sinks.add(sink)
        sink.on_close = lambda: self.sinks.discard(sink)

    async def emit(self, count: int) -> Response:
        for _ in range(count):
            frame = Frame(EVENT)
            for sink in self.sinks:
                sink.write(frame)
            await asyncio.sleep(0)
            while any(sink.pending_bytes > 1 << 20 for sink in self.sinks):
                await asyncio.sleep(0.001)
        return Response(200, body=b"%d" % len(self.sinks))


async def serve(folder: Path, *, tls: bool) -> None:
    context = server_context(str(folder / "crt"), str(folder / "key"), str(folder / "crt")) if tls else None
    server = Server(Application(), ssl_context=context)
    address = await server.listen(host="127.0.0.1", port=0)
    print(address.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    begun = time.perf_counter()
    await server.shutdown(grace_seconds=5)
    print(f"{(time.perf_counter() - begun) * 1000:.0f}", flush=True)


# The load.


class H1Load(asyncio.Protocol):
    """Asks again whenever an answer is whole; knows its size after the first one."""

    def __init__(self, request: bytes, *, repeat: bool = True) -> None:
        self.request = request
        self.repeat = repeat
        self.answer_size = 0
        self.received = 0
        self.answers = 0
        self.bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        if not self.repeat:
            return
        self.received += len(data)
        if not self.answer_size:
            head, _, _ = data.partition(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.answer_size = len(head) + 4 + int(length)
        if self.received >= self.answer_size:
            self.received -= self.answer_size
            self.answers += 1
            self.transport.write(self.request)  # type: ignore[attr-defined]


class H2Load(asyncio.Protocol):
    """Keeps a number of streams open on one connection."""

    def __init__(self, path: bytes, streams: int, *, repeat: bool = True) -> None:
        self.head = [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":authority", b"localhost"),
            (b":path", path),
        ]
        self.streams = streams
        self.repeat = repeat
        self.answers = 0
        self.bytes = 0
        self.engine = ngh2.Connection(ngh2.Role.CLIENT, ngh2.Configuration(peer_max_concurrent_streams=250))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.engine.initiate_connection({ngh2.Setting.INITIAL_WINDOW_SIZE: 1 << 24})
        self.engine.set_local_window_size(1 << 26)
        for _ in range(self.streams):
            self.engine.send_request(self.head, end_stream=True)
        self.send()

    def send(self) -> None:
        self.transport.write(self.engine.data_to_send())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.engine.receive_data(data)
        for event in self.engine.events():
            if isinstance(event, ngh2.DataReceived):
                self.bytes += len(event.data)
            elif isinstance(event, ngh2.StreamClosed):
                self.answers += 1
                if self.repeat:
                    self.engine.send_request(self.head, end_stream=True)
        self.send()


Load = H1Load | H2Load


@dataclass
class Target:
    """The running server, seen from the load."""

    process: asyncio.subprocess.Process
    port: int
    tls: bool
    folder: Path

    def cpu_seconds(self) -> float:
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    def resident_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def context(self, alpn: str) -> ssl.SSLContext | None:
        return client_context(ca_file=str(self.folder / "crt"), alpn=[alpn]) if self.tls else None

    async def load(self, make: Callable[[], Load], connections: int) -> list[Load]:
        loop = asyncio.get_running_loop()
        context = self.context("h2" if isinstance(make(), H2Load) else "http/1.1")
        loads: list[Load] = []
        for _ in range(connections):
            _, protocol = await loop.create_connection(make, "127.0.0.1", self.port, ssl=context)
            loads.append(protocol)
        return loads


def h1_request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: application/json\r\n\r\n".encode()


def close(loads: list[Load]) -> None:
    for load in loads:
        load.data_received = lambda data: None  # type: ignore[method-assign]
        load.transport.close()  # type: ignore[attr-defined]


async def requests(
    target: Target, make: Callable[[], Load], connections: int, seconds: float
) -> tuple[float, float]:
    """CPU microseconds for a request, and requests a second."""
    loads = await target.load(make, connections)
    await asyncio.sleep(0.2)
    answers, cpu, begun = sum(load.answers for load in loads), target.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(seconds)
    answers = sum(load.answers for load in loads) - answers
    result = (target.cpu_seconds() - cpu) / answers * 1e6, answers / (time.perf_counter() - begun)
    close(loads)
    return result


async def deliveries(
    target: Target, make: Callable[[], Load], connections: int, streams: int, events: int
) -> tuple[float, float, float]:
    """CPU microseconds for one delivery, deliveries a second, KiB of memory for an idle watch."""
    before = target.resident_kib()
    loads = await target.load(make, connections)
    await asyncio.sleep(0.3)
    memory = (target.resident_kib() - before) / (connections * streams)
    (control,) = await target.load(lambda: H1Load(h1_request(f"/emit?{events}"), repeat=False), 1)
    received, cpu, begun = sum(load.bytes for load in loads), target.cpu_seconds(), time.perf_counter()
    while sum(load.bytes for load in loads) - received < connections * streams * events * len(EVENT):
        await asyncio.sleep(0.01)
    seconds = time.perf_counter() - begun
    count = connections * streams * events
    result = (target.cpu_seconds() - cpu) / count * 1e6, count / seconds, memory
    close([*loads, control])
    await asyncio.sleep(0.1)
    return result


async def large(target: Target, make: Callable[[], Load], seconds: float) -> tuple[float, float]:
    """CPU milliseconds for a list of 33.5 MB, and the 99th percentile in ms of small requests next to two of them."""
    loads = await target.load(make, 2)
    (probe,) = await target.load(lambda: H1Load(h1_request("/"), repeat=True), 1)
    await asyncio.sleep(0.2)
    size, cpu, begun = sum(load.bytes for load in loads), target.cpu_seconds(), time.perf_counter()
    answers = probe.answers
    await asyncio.sleep(seconds)
    lists = (sum(load.bytes for load in loads) - size) / sum(map(len, LARGE))
    mean_latency = (time.perf_counter() - begun) / max(1, probe.answers - answers)
    result = (target.cpu_seconds() - cpu) / max(lists, 0.01) * 1e3, mean_latency * 1e3
    close([*loads, probe])
    return result


@asynccontextmanager
async def running(folder: Path, loop: str, *, tls: bool) -> AsyncIterator[Target]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", str(folder), "--loop", loop, *(["--tls"] if tls else []),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    yield Target(process, int(await process.stdout.readline()), tls, folder)
    process.stdin.close()
    await process.wait()


async def shutdown_milliseconds(folder: Path, loop: str, *, tls: bool) -> float:
    """How long it takes to end 200 open watches, half of them on HTTP/1.1."""
    async with running(folder, loop, tls=tls) as target:
        await target.load(lambda: H1Load(h1_request("/watch"), repeat=False), 100)
        await target.load(lambda: H2Load(b"/watch", 50, repeat=False), 2)
        await asyncio.sleep(0.2)
        assert target.process.stdin is not None
        assert target.process.stdout is not None
        target.process.stdin.close()
        return float(await target.process.stdout.readline())


def write_certificate(folder: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), today, today + datetime.timedelta(days=1)
    )
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    builder = builder.add_extension(names, critical=False).add_extension(
        x509.BasicConstraints(True, None), critical=True
    )
    (folder / "crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key").write_bytes(key.private_bytes(*encoding))


def median(rounds: list[tuple[float, ...]]) -> list[float]:
    return [statistics.median(values) for values in zip(*rounds, strict=True)]


async def measure(folder: Path, arguments: argparse.Namespace) -> None:
    seconds, rounds = arguments.seconds, range(arguments.rounds)
    for tls in (True, False):
        wire = "TLS" if tls else "clear"
        async with running(folder, arguments.loop, tls=tls) as target:
            h1_get, h2_get = (lambda: H1Load(h1_request("/"))), (lambda: H2Load(b"/", 8))
            for protocol, make, connections in (("h1", h1_get, 32), ("h2", h2_get, 4)):
                cpu, rate = median([await requests(target, make, connections, seconds) for _ in rounds])
                print(f"{wire:5} {protocol} GET 2 KiB      {cpu:7.1f} us CPU   {rate:9.0f} /s")
            h1_watch, h2_watch = (
                (lambda: H1Load(h1_request("/watch"), repeat=False)),
                (lambda: H2Load(b"/watch", 100, repeat=False)),
            )
            for protocol, make, connections, streams, events in (
                ("h1", h1_watch, 200, 1, 100),
                ("h2", h2_watch, 5, 100, 200),
            ):
                results = median(
                    [await deliveries(target, make, connections, streams, events) for _ in rounds]
                )
                print(
                    f"{wire:5} {protocol} delivery       {results[0]:7.1f} us CPU   {results[1]:9.0f} /s   {results[2]:5.1f} KiB a watch"
                )
            h1_large, h2_large = (lambda: H1Load(h1_request("/large"))), (lambda: H2Load(b"/large", 1))
            for protocol, make in (("h1", h1_large), ("h2", h2_large)):
                cpu, latency = median([await large(target, make, seconds) for _ in rounds])
                print(
                    f"{wire:5} {protocol} list 33.5 MB   {cpu:7.1f} ms CPU   {latency:9.2f} ms for a small GET beside two of them"
                )
        print(
            f"{wire:5}    200 watches end in {await shutdown_milliseconds(folder, arguments.loop, tls=tls):.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--serve", type=Path)
    parser.add_argument("--tls", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve is not None:
        factory = uvloop.new_event_loop if arguments.loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve(arguments.serve, tls=arguments.tls))
        return
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        write_certificate(Path(name))
        runner.run(measure(Path(name), arguments))


if __name__ == "__main__":
    main()
