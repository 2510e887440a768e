"""How exec and attach end: the Status that goes down the error channel (remotecommand's `v4` and later)."""

import json
from typing import Any

__all__ = ["execution_failure", "exit_status", "plain_message"]

SUCCESS: dict[str, Any] = {"metadata": {}, "status": "Success"}


def exit_status(exit_code: int) -> dict[str, Any]:
    """The Status of a command that has ended: Success for 0, else the exit code as a cause, where clients look for it."""
    if exit_code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


def execution_failure(cause: str) -> dict[str, Any]:
    """The Status of a command that could not be run, or whose streams failed."""
    text = f"error executing command in container: {cause}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {text}",
        "reason": "InternalError",
        "details": {"causes": [{"message": text}]},
        "code": 500,
    }


def plain_message(status: bytes) -> bytes:
    """What protocols before `v4` send of a JSON Status: the message of a failure, nothing for success."""
    decoded = json.loads(status)
    if decoded.get("status") == "Success":
        return b""
    return str(decoded.get("message", "")).encode()
