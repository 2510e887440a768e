import json

from tiphys.kubelet.streaming.status import execution_failure, exit_status, plain_message


def test_success() -> None:
    assert exit_status(0) == {"metadata": {}, "status": "Success"}
    assert plain_message(json.dumps(exit_status(0)).encode()) == b""


def test_the_exit_code_is_a_cause() -> None:
    status = exit_status(3)
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
    assert plain_message(json.dumps(status).encode()) == (
        b"command terminated with non-zero exit code: command terminated with exit code 3"
    )


def test_a_failure_to_run_is_an_internal_error() -> None:
    status = execution_failure("no such file")
    assert (status["code"], status["reason"]) == (500, "InternalError")
    assert status["message"] == "Internal error occurred: error executing command in container: no such file"
