"""One request on its way through the pipeline: what each step adds, and what the next ones read."""

from __future__ import annotations

from asyncio import Task
from dataclasses import field
from typing import TYPE_CHECKING, Any

from tiphys.apiserver.negotiation import AS_IS, Representation
from tiphys.apiserver.requests import RequestInfo, read_request
from tiphys.machinery.frozen import frozen
from tiphys.net.http import Request

if TYPE_CHECKING:
    from tiphys.api.resource import Object, Resource, Subresource
    from tiphys.apiserver.audit.record import Record
    from tiphys.apiserver.server import APIServer
    from tiphys.machinery.clock import Timer
    from tiphys.net.http import Response


@frozen
class User:
    """Who asks. The names are those of authentication.k8s.io UserInfo."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        info: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            info["uid"] = self.uid
        if self.extra:
            info["extra"] = self.extra
        return info


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Call:
    """Filled in by the steps of `pipeline.py`, in their order."""

    # What most calls never differ in is a default of the class: one is made for every request.

    user: User = ANONYMOUS
    impersonator: User | None = None
    """Who asks in truth, when they act as `user`."""
    audit: Record | None = None
    """What the audit log tells of it, if anything."""
    notes: tuple[tuple[str, str], ...] = ()
    """What the audit log is to be told of the credentials, once it begins."""
    row: Resource = None  # type: ignore[assignment]
    """Set for every resource request before a handler sees it."""
    subresource: Subresource | None = None
    representation: Representation = AS_IS
    statement: Object | None = None
    """What it is answered, where that is no stored object but a Status or a review."""
    received_at = 0.0
    excused_seconds = 0.0
    """What of its time was not the server's fault: waiting for a seat, for webhooks."""
    timer: Timer | None = None
    late: Task[Response] | None = None
    """The task that should have answered by now."""
    seat: Any = None
    """What the server's gate gave it, until it is answered."""
    initializing = False
    """A watch that is still sending what it begins with: who does that gives the seat back."""

    def __init__(self, server: APIServer, request: Request) -> None:
        self.server = server
        self.request = request
        query = request.query
        self.info: RequestInfo = read_request(request.method, request.path, query)
        self.dry_run = "dryRun" in query and "All" in query["dryRun"]
        self.warnings: list[str] = []
        self.timeout_seconds = server.request_timeout_seconds
        """How long the answer may take; long-running requests may take longer."""

    def note_body(self, body: Any, *, is_object: bool = False) -> None:
        """Shows the audit log what was sent. `is_object`: what is written there, and no patch or options."""
        record = self.audit
        if record is None:
            return
        if is_object:
            record.note_names(body)
        if record.wants_request and record.request_object is None:
            record.request_object = body

    def annotate(self, key: str, value: str) -> None:
        """Says something to the audit log, the first word on a key counting."""
        if self.audit is not None:
            self.audit.annotations.setdefault(key, value)

    def warn(self, text: str) -> None:
        """Adds a `Warning: 299` header to the answer; each text once."""
        if text and text not in self.warnings:
            self.warnings.append(text)
