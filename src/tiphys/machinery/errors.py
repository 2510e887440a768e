"""Everything that can go wrong in the API, as a `v1 Status`.

A StatusError is raised where the fault is known and becomes an HTTP answer in one place. There is one function
for each of upstream's constructors (apimachinery `api/errors`), with its wording, code, reason and details.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.machinery.fields import FieldError, FieldErrorKind, Path, aggregate
from tiphys.machinery.gvk import GroupKind, GroupResource
from tiphys.machinery.quoting import quote

__all__ = [
    "FieldError",
    "FieldErrorKind",
    "Path",
    "StatusError",
    "already_exists",
    "apply_conflict",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "forbidden_path",
    "forbidden_resource",
    "generate_name_conflict",
    "generic_server_response",
    "gone",
    "internal_error",
    "invalid",
    "is_already_exists",
    "is_conflict",
    "is_expired",
    "is_forbidden",
    "is_invalid",
    "is_not_found",
    "is_timeout",
    "is_too_many_requests",
    "method_not_supported",
    "not_acceptable",
    "not_found",
    "request_entity_too_large",
    "resource_version_too_large",
    "retry_after_seconds",
    "server_timeout",
    "service_unavailable",
    "timeout",
    "too_many_requests",
    "unauthorized",
    "unknown",
    "unsupported_media_type",
]

OBJECT_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
_NO_RESOURCE = GroupResource("", "")


class StatusError(Exception):
    """An answer other than success. `details` is a StatusDetails dict or None; `headers` go with the answer."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = dict(headers or {})
        delay = (details or {}).get("retryAfterSeconds", 0)
        if delay:
            self.headers.setdefault("Retry-After", str(delay))

    def status(self) -> dict[str, Any]:
        """The `v1 Status` object to send."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body

    @classmethod
    def from_status(cls, status: Mapping[str, Any]) -> "StatusError":
        """The error that a server sent."""
        return cls(
            status.get("code", 0), status.get("reason", ""), status.get("message", ""), status.get("details")
        )

    @property
    def causes(self) -> list[dict[str, Any]]:
        causes: list[dict[str, Any]] = (self.details or {}).get("causes") or []
        return causes


def _details(target: GroupResource | GroupKind, name: str = "", **more: Any) -> dict[str, Any]:
    """StatusDetails without empty fields. `kind` holds the resource for most reasons: upstream's oddity, kept."""
    fields = {"name": name, "group": target.group, "kind": target[1], **more}
    return {field: value for field, value in fields.items() if value}


def not_found(resource: GroupResource, name: str) -> StatusError:
    return StatusError(404, "NotFound", f"{resource} {quote(name)} not found", _details(resource, name))


def already_exists(resource: GroupResource, name: str) -> StatusError:
    return StatusError(
        409, "AlreadyExists", f"{resource} {quote(name)} already exists", _details(resource, name)
    )


def generate_name_conflict(
    resource: GroupResource, name: str, *, retry_after_seconds: int = 0
) -> StatusError:
    message = (
        f"{resource} {quote(name)} already exists, "
        "the server was not able to generate a unique name for the object"
    )
    details = _details(resource, name, retryAfterSeconds=retry_after_seconds)
    return StatusError(409, "AlreadyExists", message, details)


def conflict(resource: GroupResource, name: str, cause: str = OBJECT_MODIFIED) -> StatusError:
    message = f"Operation cannot be fulfilled on {resource} {quote(name)}: {cause}"
    return StatusError(409, "Conflict", message, _details(resource, name))


def apply_conflict(causes: list[dict[str, Any]], message: str) -> StatusError:
    return StatusError(409, "Conflict", message, {"causes": causes} if causes else {})


def invalid(kind: GroupKind, name: str, errors: Sequence[FieldError]) -> StatusError:
    message = f"{kind} {quote(name)} is invalid"
    if errors:
        message = f"{message}: {aggregate(errors)}"
    causes = [{"reason": str(error.kind), "message": error.body(), "field": error.field} for error in errors]
    return StatusError(422, "Invalid", message, _details(kind, name, causes=causes))


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    return StatusError(401, "Unauthorized", message or "not authorized")


def forbidden(resource: GroupResource, name: str, cause: str) -> StatusError:
    """403 with a cause, such as an admission rule's. Empty `resource`: a path outside the API."""
    if not any(resource):
        message = f"forbidden: {cause}"
    elif not name:
        message = f"{resource} is forbidden: {cause}"
    else:
        message = f"{resource} {quote(name)} is forbidden: {cause}"
    return StatusError(403, "Forbidden", message, _details(resource, name))


def forbidden_resource(
    user: str,
    verb: str,
    resource: GroupResource,
    *,
    subresource: str = "",
    namespace: str = "",
    name: str = "",
    reason: str = "",
) -> StatusError:
    """403 of the authorizer. `user` is the name, "system:anonymous" for nobody; `reason` is the authorizer's."""
    target = f"{resource.resource}/{subresource}" if subresource else resource.resource
    scope = f"in the namespace {quote(namespace)}" if namespace else "at the cluster scope"
    cause = f"User {quote(user)} cannot {verb} resource {quote(target)} in API group {quote(resource.group)} {scope}"
    return forbidden(resource, name, f"{cause}: {reason}" if reason else cause)


def forbidden_path(user: str, verb: str, path: str, *, reason: str = "") -> StatusError:
    """403 of the authorizer for a path outside the API, such as "/metrics"; `verb` is lower case ("get")."""
    cause = f"User {quote(user)} cannot {verb} path {quote(path)}"
    return forbidden(_NO_RESOURCE, "", f"{cause}: {reason}" if reason else cause)


def method_not_supported(resource: GroupResource, action: str) -> StatusError:
    message = f"{action} is not supported on resources of kind {quote(str(resource))}"
    return StatusError(405, "MethodNotAllowed", message, _details(resource))


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    message = (
        "the body of the request was in an unknown format - "
        f"accepted media types include: {', '.join(accepted)}"
    )
    return StatusError(415, "UnsupportedMediaType", message)


def gone(message: str) -> StatusError:
    return StatusError(410, "Gone", message)


def expired(message: str) -> StatusError:
    """410 for a resourceVersion or a continue token that has been compacted away."""
    return StatusError(410, "Expired", message)


def resource_version_too_large(wanted: int, current: int, *, retry_after_seconds: int = 1) -> StatusError:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    error = timeout(
        f"Too large resource version: {wanted}, current: {current}", retry_after_seconds=retry_after_seconds
    )
    error.details = {"causes": causes, **(error.details or {})}
    return error


def request_entity_too_large(message: str) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def timeout(message: str, *, retry_after_seconds: int = 0) -> StatusError:
    """504: the server gave up; the operation may still complete."""
    details = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    return StatusError(504, "Timeout", f"Timeout: {message}", details)


def server_timeout(resource: GroupResource, operation: str, *, retry_after_seconds: int = 0) -> StatusError:
    """500 that asks the client to try again."""
    message = (
        f"The {operation} operation against {resource} could not be completed at this time, please try again."
    )
    details = _details(resource, operation, retryAfterSeconds=retry_after_seconds)
    return StatusError(500, "ServerTimeout", message, details)


def too_many_requests(message: str, *, retry_after_seconds: int = 0) -> StatusError:
    details = {"retryAfterSeconds": retry_after_seconds} if retry_after_seconds else {}
    return StatusError(429, "TooManyRequests", message, details)


def internal_error(cause: str | BaseException) -> StatusError:
    details = {"causes": [{"message": str(cause)}]}
    return StatusError(500, "InternalError", f"Internal error occurred: {cause}", details)


def unknown(message: str) -> StatusError:
    """500 without a reason: what upstream answers when something fails that it has no status for."""
    return StatusError(500, "", message)


def service_unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)


# What a client makes of an answer that is no Status: code -> (reason, message). None: the server's own text.
_GENERIC: dict[int, tuple[str, str | None]] = {
    400: ("BadRequest", "the server rejected our request for an unknown reason"),
    401: ("Unauthorized", "the server has asked for the client to provide credentials"),
    403: ("Forbidden", None),
    404: ("NotFound", "the server could not find the requested resource"),
    405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
    406: ("NotAcceptable", None),
    409: ("Conflict", "the server reported a conflict"),
    415: ("UnsupportedMediaType", None),
    422: ("Invalid", "the server rejected our request due to an error in our request"),
    429: (
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
    ),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: (
        "Timeout",
        "the server was unable to return a response in the time allotted, "
        "but may still be processing the request",
    ),
}
_NOT_ACCEPTABLE = "the server was unable to respond with a content type that the client supports"


def generic_server_response(
    code: int,
    method: str,
    resource: GroupResource = _NO_RESOURCE,
    name: str = "",
    server_message: str = "",
    *,
    retry_after_seconds: int = 0,
    unexpected: bool = False,
) -> StatusError:
    """The error for an answer that is not a Status. `method` is the HTTP method; `unexpected` adds a cause."""
    reason, message = _generic_reason(code, method, server_message)
    if any(resource):
        message = f"{message} ({' '.join(filter(None, [method.lower(), str(resource), name]))})"
    causes = [{"reason": "UnexpectedServerResponse", "message": server_message}] if unexpected else []
    details = _details(resource, name, causes=causes, retryAfterSeconds=retry_after_seconds)
    return StatusError(code, reason, message, details)


def _generic_reason(code: int, method: str, server_message: str) -> tuple[str, str]:
    if code == 409 and method == "POST":
        return "AlreadyExists", "the server reported a conflict"
    if code == 406 and server_message in ("", "unknown"):
        return "NotAcceptable", _NOT_ACCEPTABLE
    if code in _GENERIC:
        reason, message = _GENERIC[code]
        return reason, server_message if message is None else message
    if code >= 500:
        text = f"an error on the server ({quote(server_message)}) has prevented the request from succeeding"
        return "InternalError", text
    return "", f"the server responded with the status code {code} but did not return more information"


_KNOWN_REASONS = {reason for reason, _ in _GENERIC.values()} | {
    "AlreadyExists",
    "Expired",
    "Gone",
    "InternalError",
    "RequestEntityTooLarge",
    "ServerTimeout",
    "StoreReadError",
}


def _is(error: BaseException | None, reason: str, code: int) -> bool:
    """The reason decides; the code only where the reason is none that we know."""
    if not isinstance(error, StatusError):
        return False
    return error.reason == reason or (error.code == code and error.reason not in _KNOWN_REASONS)


def is_not_found(error: BaseException | None) -> bool:
    return _is(error, "NotFound", 404)


def is_already_exists(error: BaseException | None) -> bool:
    return isinstance(error, StatusError) and error.reason == "AlreadyExists"


def is_conflict(error: BaseException | None) -> bool:
    return _is(error, "Conflict", 409)


def is_invalid(error: BaseException | None) -> bool:
    return _is(error, "Invalid", 422)


def is_forbidden(error: BaseException | None) -> bool:
    return _is(error, "Forbidden", 403)


def is_timeout(error: BaseException | None) -> bool:
    return _is(error, "Timeout", 504)


def is_expired(error: BaseException | None) -> bool:
    """410 in either form: a watcher must list again."""
    return isinstance(error, StatusError) and (error.reason == "Expired" or _is(error, "Gone", 410))


def is_too_many_requests(error: BaseException | None) -> bool:
    return isinstance(error, StatusError) and (error.reason == "TooManyRequests" or error.code == 429)


def retry_after_seconds(error: BaseException | None) -> int | None:
    """How long the server asks to wait, or None where it does not ask."""
    if not isinstance(error, StatusError) or error.details is None:
        return None
    seconds: int = error.details.get("retryAfterSeconds", 0)
    return seconds if seconds > 0 or error.reason == "ServerTimeout" else None
