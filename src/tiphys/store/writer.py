"""Where the blocking calls of a store run: on the event loop while the disk is quick, else in a thread of their own.

Handing a batch to a thread and back costs 40-80 µs of CPU per write under load (the interpreter's lock changes hands),
about as much as the write itself; but a commit on the loop keeps every reader and watcher waiting for the disk. So the
store measures its disk and chooses.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Literal, TypeVar

Mode = Literal["adaptive", "inline", "thread"]
Result = TypeVar("Result")
Done = Callable[[Result | None, Exception | None], None]

SLOW_COMMIT_SECONDS = 0.002
"""A commit that keeps the loop longer than this belongs in a thread: others notice it more than the hand-over."""
SECONDS_PER_WRITE = 0.00001
"""What copying one more write into the log adds to a commit on any disk; it is not the disk's slowness."""
LARGE_BATCH = 256
"""More writes than this keep the loop for several milliseconds on any disk; beside that, a hand-over costs nothing."""
COMMITS_INLINE = 8
"""How many commits on the loop make a judgement: few, since each may be slow."""
COMMITS_THREADED = 64


class WriterChoice:
    """Whether the next commit runs inline, by the commits before it."""

    def __init__(self, mode: Mode) -> None:
        self.inline = mode != "thread"
        self._adaptive = mode == "adaptive"
        self._recent: list[float] = []

    def runs_inline(self, writes: int) -> bool:
        return self.inline and (writes <= LARGE_BATCH or not self._adaptive)

    def observe(self, seconds: float, writes: int) -> None:
        """A commit of so many writes kept its caller waiting for so long."""
        if not self._adaptive:
            return
        self._recent.append(seconds - writes * SECONDS_PER_WRITE)
        if len(self._recent) >= (COMMITS_INLINE if self.inline else COMMITS_THREADED):
            self.inline = self._typical() < SLOW_COMMIT_SECONDS
            self._recent.clear()

    def _typical(self) -> float:
        # In the thread, the clock also counts the wait for the interpreter's lock: the quicker quarter tells the disk.
        return sorted(self._recent)[len(self._recent) // (2 if self.inline else 4)]


class Worker:
    """One thread that runs blocking calls in the order given; it starts with the first and ends with `close`.

    It is a daemon: a process that ends without `close` is no worse off than one that is killed.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], Result], done: Done[Result]) -> None:
        """Run `call` in the thread, then `done(result, None)` or `done(None, error)` on the running loop."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            result, error = None, None
            try:
                result = call()
            except Exception as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(done, result, error)
            except RuntimeError:
                pass  # the loop was closed without closing the store: nobody is left to be told

        self._calls.put(run)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Finish the calls that wait, and end the thread."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()
            self._thread = None

    def _serve(self) -> None:
        while (run := self._calls.get()) is not None:
            run()
