"""What can be wrong with a patch, and the Status that upstream answers with."""

from typing import Any

from tiphys.machinery.errors import (
    StatusError,
    bad_request,
    generic_server_response,
    request_entity_too_large,
)


class PatchError(Exception):
    """The patch is well formed but does not apply to this document: 422."""

    def status(self) -> StatusError:
        # Upstream hides the cause behind a fixed sentence; it is kept as the cause of the exception for our log.
        return generic_server_response(422, "", server_message=str(self))


class BadPatchError(PatchError):
    """The patch is malformed: 400 with the text."""

    def status(self) -> StatusError:
        return bad_request(str(self))


class PatchTooLargeError(PatchError):
    """The patch would do too much: 413 with the text."""

    def status(self) -> StatusError:
        return request_entity_too_large(str(self))


class StrategicPatchError(PatchError):
    """A strategic patch that its own rules forbid. Upstream has no reason for it and answers 500 with the text."""

    def status(self) -> StatusError:
        return StatusError(500, "", str(self))


def patch_status(error: PatchError) -> StatusError:
    """The StatusError for a patch that failed."""
    status = error.status()
    status.__cause__ = error
    return status


def json_kind(value: Any) -> str:
    """The kind of a JSON value in the words of Go's decoder."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "object"
