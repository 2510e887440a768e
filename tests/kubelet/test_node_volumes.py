"""Programs that the kubelet starts to mount something."""

from __future__ import annotations

import pytest

from tiphys.kubelet import node_volumes


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 3"], (3, "out\nerr")),
        (["true"], (0, "")),
        (["/no/such/program"], (127, "/no/such/program: No such file or directory")),
    ],
)
async def test_a_program_ends_and_says_why(command: list[str], answer: tuple[int, str]) -> None:
    assert await node_volumes.run(command) == answer


async def test_a_program_that_does_not_end_is_ended() -> None:
    assert await node_volumes.run(["sleep", "1000"], limit_seconds=0.05) == (
        124,
        "sleep did not end within 0 s",
    )
