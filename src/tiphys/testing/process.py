"""python -m tiphys.testing.process PLAN: a control plane for tests in a process of its own, for `links.ProcessLink`.

Calls come in on standard input, answers go out on standard output, one JSON text a line; what is printed goes to standard error. The
end of standard input is the end of the process: nothing is left when the test has gone, however it went.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING, Any

from tiphys.testing.links import error_text
from tiphys.testing.plan import Plan

if TYPE_CHECKING:
    from tiphys.testing.control_plane import ControlPlane

LINE_BYTES = 1 << 30


async def serve(plan: Plan, answers: int) -> None:
    """Until standard input ends."""
    from tiphys.testing.control_plane import ControlPlane

    loop = asyncio.get_running_loop()
    control_plane = ControlPlane(plan)
    try:
        _tell(answers, {"id": 0, "result": await control_plane.start()})
    except Exception as error:
        _tell(answers, {"id": 0, "error": error_text(error)})
        return
    gc.collect()
    gc.freeze()
    gc.enable()
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    calls: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = loop.create_task(_answer(control_plane, json.loads(line), answers))
        calls.add(task)
        task.add_done_callback(calls.discard)
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await control_plane.stop()


async def _answer(control_plane: ControlPlane, call: dict[str, Any], answers: int) -> None:
    try:
        result = await getattr(control_plane, call["method"])(**call["arguments"])
        _tell(answers, {"id": call["id"], "result": result})
    except Exception as error:
        logging.getLogger("tiphys.testing").debug("%s failed", call["method"], exc_info=error)
        _tell(answers, {"id": call["id"], "error": error_text(error)})


def _tell(answers: int, answer: dict[str, Any]) -> None:
    line = json.dumps(answer).encode() + b"\n"
    while line:
        line = line[os.write(answers, line) :]


def main() -> None:
    # Until it runs: of what is imported nothing is garbage, and looking costs an eighth of a start.
    gc.disable()
    import uvloop

    logging.basicConfig(
        level=os.environ.get("TIPHYS_LOG", "WARNING"),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # Ctrl-C at a terminal is for the test; it ends us by closing our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)
    plan = Plan(**json.loads(sys.argv[1]))
    try:
        uvloop.run(serve(plan, answers))
    finally:
        # Whoever started us may have been killed.
        shutil.rmtree(plan.directory, ignore_errors=True)


if __name__ == "__main__":
    main()
