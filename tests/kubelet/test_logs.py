"""Reading containers' logs: the end of them, since a time, following them through rotations, and termination messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.kubelet.labels import TERMINATION_MESSAGE_PATH, TERMINATION_MESSAGE_POLICY
from tiphys.kubelet.log_lines import parse_line
from tiphys.kubelet.log_rotation import compress
from tiphys.kubelet.logs import BadLogOptions, LogOptions, LogReader
from tiphys.kubelet.runtimes.interface import ContainerStatus, Mount
from tiphys.kubelet.termination import termination_message

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 60.0


def line(number: int, text: str, *, stream: str = "stdout", tag: str = "F") -> bytes:
    """One a second."""
    moment = (START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000000001Z")
    return f"{moment} {stream} {tag} {text}\n".encode()


def write(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


async def read(path: Path, **options: Any) -> str:
    async def is_over() -> bool:
        return True

    pieces = LogReader(path, LogOptions(**options), is_over)()
    return b"".join([piece async for piece in pieces]).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    write(path, *(line(number, f"line {number}") for number in range(10)))
    return path


async def test_all_of_it(log: Path) -> None:
    assert await read(log) == "".join(f"line {number}\n" for number in range(10))


async def test_the_last_lines(log: Path) -> None:
    assert await read(log, tail_lines=2) == "line 8\nline 9\n"
    assert await read(log, tail_lines=0) == ""
    assert (await read(log, tail_lines=100)).startswith("line 0\n")


async def test_since_a_time(log: Path) -> None:
    assert (await read(log, since=START + timedelta(seconds=7))) == "line 7\nline 8\nline 9\n"
    assert await read(log, since=START + timedelta(seconds=60)) == ""
    assert (await read(log, since=START - timedelta(seconds=60))).startswith("line 0\n")


async def test_since_and_tail_together(log: Path) -> None:
    assert await read(log, since=START + timedelta(seconds=5), tail_lines=8) == "".join(
        f"line {number}\n" for number in range(5, 10)
    )


async def test_times_before_lines(log: Path) -> None:
    assert await read(log, tail_lines=1, timestamps=True) == "2026-01-01T00:00:09.000000001Z line 9\n"


async def test_so_many_bytes(log: Path) -> None:
    assert await read(log, limit_bytes=9) == "line 0\nli"


async def test_one_stream(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, line(0, "out"), line(1, "err", stream="stderr"))
    assert await read(path, stream="Stderr") == "err\n"
    assert await read(path, stream="Stdout") == "out\n"


async def test_a_line_in_parts_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, line(0, "first"), line(1, "a", tag="P"), line(2, "b", tag="P"), line(3, "c"), line(4, "last"))
    assert await read(path) == "first\nabc\nlast\n"
    assert await read(path, tail_lines=2) == "abc\nlast\n"
    assert await read(path, tail_lines=2, timestamps=True) == (
        "2026-01-01T00:00:01.000000001Z abc\n2026-01-01T00:00:04.000000001Z last\n"
    )


async def test_a_torn_line_is_shown_when_nobody_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, line(0, "whole"), line(1, "torn")[:-3])
    assert await read(path) == "whole\nto"
    write(path, b"rn\n", line(2, "x")[:25])
    assert await read(path) == "whole\ntorn\n"


async def test_a_torn_line_of_a_followed_log_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, line(0, "whole"), line(1, "torn")[:-3])
    followed = Followed(path)
    assert await followed.next() == "whole\n"
    write(path, b"rn\n")
    assert await followed.next() == "torn\n"


async def test_carriage_returns_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    texts = ["1%\r2%\r100%", "\r", "", "\x00\x1b[1m\x0b\x0c\x85"]
    write(path, *(line(number, text) for number, text in enumerate(texts)))
    assert await read(path) == "".join(f"{text}\n" for text in texts)
    assert await read(path, stream="Stdout") == "".join(f"{text}\n" for text in texts)
    assert await read(path, tail_lines=4) == await read(path)


async def test_what_is_no_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, line(0, "one"), b"noise\n", line(1, "pa", tag="P"), line(1, "rt"), line(2, "x", tag="F:tag"))
    assert await read(path) == "one\npart\nx\n"


async def test_times_have_nine_digits(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, b"2026-01-01T00:00:00.5Z stdout F a\n", b"2026-01-01T01:00:00+01:00 stderr F b\n")
    assert await read(path, timestamps=True) == (
        "2026-01-01T00:00:00.500000000Z a\n2026-01-01T01:00:00.000000000+01:00 b\n"
    )


async def test_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.touch()
    assert await read(path, tail_lines=5) == ""
    assert await read(path, since=START) == ""


async def test_a_log_larger_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, *(line(number, "x" * 1000 + str(number)) for number in range(500)))
    assert (await read(path)).count("\n") == 500
    assert (await read(path, tail_lines=200)).count("\n") == 200
    assert (await read(path, since=START + timedelta(seconds=450))).count("\n") == 50


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 300), max_size=40), tail=st.integers(0, 45), since=st.integers(-1, 41))
def test_whatever_the_lengths_of_lines(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], tail: int, since: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "0.log"
    path.touch()
    texts = [f"{number}" + "y" * length for number, length in enumerate(lengths)]
    write(path, *(line(number, text) for number, text in enumerate(texts)))
    found = asyncio.run(read(path, tail_lines=tail)).splitlines()
    assert found == (texts[-tail:] if tail else [])
    found = asyncio.run(read(path, since=START + timedelta(seconds=since))).splitlines()
    assert found == texts[max(since, 0) :]


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(
        st.tuples(
            st.sampled_from("FP"), st.sampled_from(["stdout", "stderr"]), st.text("ab \r:Z.", max_size=9)
        ),
        max_size=20,
    ),
    timestamps=st.booleans(),
)
def test_whole_blocks_at_once_and_line_by_line_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str, str]], *, timestamps: bool
) -> None:
    path = tmp_path_factory.mktemp("log") / "0.log"
    path.touch()
    lines = [line(at, text, stream=stream, tag=tag) for at, (tag, stream, text) in enumerate(entries)]
    write(path, *lines)
    wanted, at_start = "", True
    for at, (tag, _, text) in enumerate(entries):
        time = (START + timedelta(seconds=at)).strftime("%Y-%m-%dT%H:%M:%S.000000001Z ")
        wanted += (time if timestamps and at_start else "") + text + ("\n" if tag == "F" else "")
        at_start = tag == "F"
    assert asyncio.run(read(path, timestamps=timestamps)) == wanted


# Following


class Followed:
    """A log that is followed while it grows."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.is_over = False

        async def is_over() -> bool:
            return self.is_over

        self.pieces: AsyncIterator[bytes] = LogReader(path, LogOptions(follow=True, **options), is_over)()

    async def next(self) -> str:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await anext(self.pieces)).decode()

    async def rest(self) -> str:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return b"".join([piece async for piece in self.pieces]).decode()


async def test_new_lines_come_as_they_are_written(log: Path) -> None:
    followed = Followed(log, tail_lines=1)
    assert await followed.next() == "line 9\n"
    coming = asyncio.create_task(followed.next())
    await asyncio.sleep(0)
    write(log, line(10, "new"))
    assert await coming == "new\n"
    followed.is_over = True
    write(log, line(11, "last words"))
    assert await followed.rest() == "last words\n"


async def test_a_rotation_loses_nothing(log: Path) -> None:
    followed = Followed(log, tail_lines=0)
    coming = asyncio.create_task(followed.next())
    await asyncio.sleep(0)
    write(log, line(10, "before"))
    assert await coming == "before\n"
    write(log, line(11, "at the end of the old one"))
    log.rename(log.with_suffix(".log.20260101"))
    write(log, line(12, "in the new one"))
    assert await followed.next() == "at the end of the old one\n"
    assert await followed.next() == "in the new one\n"
    followed.is_over = True
    assert await followed.rest() == ""


async def test_a_reader_that_lags_behind_misses_no_rotated_file(log: Path) -> None:
    followed = Followed(log, tail_lines=1)
    assert await followed.next() == "line 9\n"
    for number in range(3):
        write(log, line(10 + number, f"life {number}"))
        log.rename(log.with_name(f"{log.name}.2026010{number}-000000"))
    write(log, line(20, "now"))
    log.with_name(f"{log.name}.20260101-000000.tmp").touch()
    assert [await followed.next() for _ in range(4)] == ["life 0\n", "life 1\n", "life 2\n", "now\n"]


async def test_a_rotated_file_that_was_compressed_meanwhile(log: Path) -> None:
    followed = Followed(log, tail_lines=1)
    assert await followed.next() == "line 9\n"
    write(log, line(10, "last of the first"))
    first = log.rename(log.with_name(f"{log.name}.20260101-000000"))
    write(log, line(11, "second"))
    log.rename(log.with_name(f"{log.name}.20260102-000000"))
    compress(first)
    write(log, line(12, "third"))
    assert [await followed.next() for _ in range(3)] == ["last of the first\n", "second\n", "third\n"]


async def test_a_limit_ends_a_followed_log(log: Path) -> None:
    followed = Followed(log, tail_lines=1, limit_bytes=3)
    assert await followed.rest() == "lin"


async def test_a_log_that_is_just_being_rotated(log: Path) -> None:
    """Between the old file's new name and the new file: the runtime makes that as soon as it is told."""
    log.rename(log.with_name(f"{log.name}.20260101-000000"))
    reading = asyncio.create_task(read(log))
    await asyncio.sleep(0)
    assert not reading.done()
    write(log, line(9, "new"))
    assert await asyncio.wait_for(reading, PATIENCE_SECONDS) == "new\n"


async def test_there_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await read(tmp_path / "none.log")


# Options and lines


def test_options_of_a_query() -> None:
    now = START + timedelta(hours=1)
    query = {"follow": ["true"], "tailLines": ["3"], "sinceSeconds": ["60"], "timestamps": ["1"]}
    options = LogOptions.from_query(query, now)
    assert (options.follow, options.tail_lines, options.timestamps, options.previous) == (
        True,
        3,
        True,
        False,
    )
    assert options.since == now - timedelta(seconds=60)
    at = LogOptions.from_query({"sinceTime": ["2026-01-01T00:00:00Z"]}, now)
    assert at.since == START
    bare = LogOptions.from_query({"follow": [""], "previous": ["false"], "sinceSeconds": [str(1 << 62)]}, now)
    assert (bare.follow, bare.previous) == (True, False)
    assert bare.since is not None
    assert bare.since < START


@pytest.mark.parametrize(
    ("query", "is_valid"),
    [
        ({}, True),
        ({"tailLines": ["0"], "limitBytes": ["1"], "sinceSeconds": ["1"]}, True),
        ({"tailLines": ["-1"]}, False),
        ({"limitBytes": ["0"]}, False),
        ({"sinceSeconds": ["0"]}, False),
        ({"stream": ["Stderr"]}, True),
        ({"stream": ["stderr"]}, False),
        ({"stream": ["Stderr"], "tailLines": ["1"]}, False),
        ({"stream": ["All"], "tailLines": ["1"]}, True),
    ],
)
def test_options_by_the_rules(query: dict[str, list[str]], is_valid: bool) -> None:
    assert LogOptions.from_query(query, START).is_valid is is_valid


@pytest.mark.parametrize(
    "query", [{"tailLines": ["x"]}, {"sinceTime": ["yesterday"]}, {"limitBytes": ["1.5"]}]
)
def test_options_that_make_no_sense(query: dict[str, list[str]]) -> None:
    with pytest.raises(BadLogOptions):
        LogOptions.from_query(query, START)


@pytest.mark.parametrize("text", [b"", b"nonsense\n", b"2026-01-01T00:00:00Z stdin F x\n"])
def test_what_is_no_line(text: bytes) -> None:
    assert parse_line(text) is None


def test_text_may_be_anything() -> None:
    entry = parse_line(b"2026-01-01T00:00:00Z stderr F a  b \xff\n")
    assert entry is not None
    assert (entry.stream, entry.data) == ("stderr", b"a  b \xff\n")


# Termination messages


def ended(tmp_path: Path, *, policy: str = "File", exit_code: int = 1) -> ContainerStatus:
    return ContainerStatus(
        id="1",
        name="c",
        attempt=0,
        state="Exited",
        created_at=START,
        started_at=START,
        finished_at=START,
        exit_code=exit_code,
        reason="Error",
        message="",
        image="",
        image_ref="",
        log_path=str(tmp_path / "0.log"),
        labels={},
        annotations={TERMINATION_MESSAGE_PATH: "/dev/t", TERMINATION_MESSAGE_POLICY: policy},
        mounts=(Mount("/dev/t", str(tmp_path / "message")),),
    )


def test_the_message_is_what_it_wrote(tmp_path: Path) -> None:
    (tmp_path / "message").write_text("x" * 5000)
    assert termination_message(ended(tmp_path)) == "x" * 4096


def test_without_a_message_the_log_may_serve(tmp_path: Path) -> None:
    write(tmp_path / "0.log", *(line(number, f"line {number}") for number in range(100)))
    assert termination_message(ended(tmp_path)) == ""
    text = termination_message(ended(tmp_path, policy="FallbackToLogsOnError"))
    assert text.endswith("line 98\nline 99\n")
    assert text.count("\n") == 80
    assert termination_message(ended(tmp_path, policy="FallbackToLogsOnError", exit_code=0)) == ""
