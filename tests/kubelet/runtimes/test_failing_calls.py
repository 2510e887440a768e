"""What becomes of calls that containerd refuses, with a server that says what a test makes it say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.interface import DeadlineExceeded, NotFound, RuntimeFailure, Unavailable
from tiphys.net.grpc import Code, GRPCError
from tiphys.net.grpc_server import GRPCServer


class Refusing:
    """Answers StopContainer with these errors, one after the other, and then well."""

    def __init__(self, *errors: GRPCError) -> None:
        self._errors = list(errors)
        self.asked = 0

    async def __call__(self, request: bytes) -> bytes:
        self.asked += 1
        if self._errors:
            raise self._errors.pop(0)
        return b""


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[ContainerdRuntime]:
    made = ContainerdRuntime(str(tmp_path / "s"))
    yield made
    await made.close()


async def stop(runtime: ContainerdRuntime, socket: Path, *errors: GRPCError) -> int:
    """How often it was asked."""
    refusing = Refusing(*errors)
    server = GRPCServer({"/runtime.v1.RuntimeService/StopContainer": refusing})
    await server.listen(socket)
    try:
        await runtime.stop_container("c", 1)
    finally:
        await server.stop()
    return refusing.asked


async def test_a_shim_that_ends_by_itself_meanwhile(runtime: ContainerdRuntime, tmp_path: Path) -> None:
    hung_up = GRPCError(Code.UNKNOWN, 'failed to kill container "c": ttrpc: closed: unknown')
    assert await stop(runtime, tmp_path / "s", hung_up) == 2


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (Code.UNKNOWN, "failed to kill", RuntimeFailure),
        (Code.UNKNOWN, "server is not initialized yet", Unavailable),
        (Code.UNAVAILABLE, "going", Unavailable),
        (Code.DEADLINE_EXCEEDED, "too slow", DeadlineExceeded),
    ],
)
async def test_failures_in_our_words(
    runtime: ContainerdRuntime, tmp_path: Path, code: Code, details: str, kind: type[RuntimeFailure]
) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        await stop(runtime, tmp_path / "s", GRPCError(code, details))
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.code) == (details, code.label)


async def test_what_is_gone_is_stopped(runtime: ContainerdRuntime, tmp_path: Path) -> None:
    assert await stop(runtime, tmp_path / "s", GRPCError(Code.NOT_FOUND, "no such container")) == 1
    assert isinstance(wire.failure(GRPCError(Code.NOT_FOUND, "")), NotFound)


async def test_nobody_answers(runtime: ContainerdRuntime) -> None:
    with pytest.raises(Unavailable, match="no such file or directory"):
        await runtime.version()
