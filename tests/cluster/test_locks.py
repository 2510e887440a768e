"""Locks of commands: free again whatever happens to their holder."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiphys.cluster.locks import exclusive

STEP_SECONDS = 1e-6
MOMENTS = 600


@pytest.fixture
def interrupts() -> Iterator[None]:
    """The alarm is Ctrl-C."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def is_free(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_an_interrupt_at_any_moment_leaves_no_lock(tmp_path: Path, interrupts: None) -> None:
    """Looked at while the interrupt is still on its way up, where commands clean up."""
    path = tmp_path / ".lock"
    for moment in range(1, MOMENTS):
        try:
            signal.setitimer(signal.ITIMER_REAL, moment * STEP_SECONDS)
            with exclusive(path):
                while True:
                    time.sleep(0)
        except KeyboardInterrupt:
            assert is_free(path), f"after {moment} steps"


def test_who_waits_is_told_for_whom(tmp_path: Path) -> None:
    path, told, entered = tmp_path / "a.lock", [], threading.Event()

    def second() -> None:
        with exclusive(path, told.append):
            entered.set()

    with exclusive(path):
        waiting = threading.Thread(target=second)
        waiting.start()
        while not told:
            pass
        assert not entered.is_set()
    waiting.join(60)
    assert entered.is_set()
    assert told == [str(os.getpid())]


def test_a_lock_that_was_removed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with exclusive(path):
        path.unlink()
        with exclusive(path):
            assert not is_free(path)
    assert is_free(path)
