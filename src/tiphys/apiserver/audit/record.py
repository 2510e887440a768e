"""One request as the audit log tells of it, gathered while it is on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from tiphys.apiserver.audit.policy import Level, Verdict
from tiphys.machinery.meta import format_micro_time
from tiphys.net.http import Request, Response

if TYPE_CHECKING:
    from tiphys.apiserver.call import Call

Object = dict[str, Any]
_NAMES = ("name", "namespace", "uid", "resourceVersion")
_AGENT_LENGTH = 1024


@dataclass(slots=True)
class Record:
    """`identifier` is the request's Audit-ID; objects are kept when the level asks for them."""

    identifier: str
    verdict: Verdict
    received: datetime
    annotations: dict[str, str] = field(default_factory=dict)
    request_object: Any = None
    is_over: bool = False
    """The request was refused for want of a place to write it down: nothing more is written of it."""
    attempted: str = ""
    """Of who was not let in: what he showed."""
    stored: Awaitable[bool] | None = None
    """What the answer waits for before it is sent: its event is on its way to somebody."""
    named: dict[str, str] = field(default_factory=dict)
    """What the object that was sent says of itself: name, uid, namespace and resourceVersion."""

    def note_names(self, body: Any) -> None:
        """At every level. A name that the server makes up stands in the answer only."""
        metadata = body.get("metadata") if isinstance(body, dict) else None
        if isinstance(metadata, dict):
            self.named = {name: value for name in _NAMES if isinstance(value := metadata.get(name), str)}

    @property
    def wants_request(self) -> bool:
        return self.verdict.level >= Level.REQUEST

    @property
    def wants_response(self) -> bool:
        return self.verdict.level >= Level.REQUEST_RESPONSE


def event(call: Call, record: Record, stage: str, now: datetime, response: Response | None) -> Object:
    """The Event of a stage. `response` None: there is none yet."""
    request, verdict = call.request, record.verdict
    made: Object = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": verdict.level.word,
        "auditID": record.identifier,
        "stage": stage,
        "requestURI": request.target,
        "verb": call.info.verb,
        "user": (call.impersonator or call.user).to_dict(),
    }
    if call.impersonator is not None:
        made["impersonatedUser"] = call.user.to_dict()
    made["sourceIPs"] = source_addresses(call)
    if request.headers.get("user-agent"):
        made["userAgent"] = _shortened(request.headers["user-agent"])
    if call.info.is_resource:
        made["objectRef"] = _reference(call, record)
    if response is not None:
        made["responseStatus"] = _status(response)
        if record.attempted:
            made["responseStatus"] = {"metadata": {}, "message": record.attempted, "code": response.status}
    if record.wants_request and record.request_object is not None:
        made["requestObject"] = _shown(record.request_object, verdict)
    if response is not None and record.wants_response and response.start is None:
        answered = _answer(response)
        if answered is not None:
            made["responseObject"] = _shown(answered, verdict)
    made["requestReceivedTimestamp"] = format_micro_time(record.received)
    made["stageTimestamp"] = format_micro_time(now)
    if record.annotations and stage != "RequestReceived":
        made["annotations"] = record.annotations
    return made


def attempted(request: Request) -> str:
    """What a request shows to say whose it is."""
    scheme, _, shown = request.headers.get("authorization", "").strip().partition(" ")
    methods: list[str] = [each for each in ("basic", "bearer") if shown and scheme.lower() == each]
    if request.query.get("access_token", ("",))[0].strip():
        methods.append("access_token")
    if request.connection.peer_certificate is not None:
        methods.append("x509")
    if not methods:
        return "Authentication failed, no credentials provided"
    return f"Authentication failed, attempted: {', '.join(methods)}"


def _shortened(agent: str) -> str:
    return agent if len(agent) <= _AGENT_LENGTH else f"{agent[:_AGENT_LENGTH]}...TRUNCATED"


def source_addresses(call: Call) -> list[str]:
    """Whence it came: what proxies say of it, then the peer itself."""
    forwarded = call.request.headers.get("x-forwarded-for", "")
    found = [part.strip() for part in forwarded.split(",") if part.strip()]
    if not found and call.request.headers.get("x-real-ip"):
        found = [call.request.headers["x-real-ip"]]
    address = call.request.connection.peer_address.host
    if address and (not found or found[-1] != address):
        found.append(address)
    return found


def _reference(call: Call, record: Record) -> Object:
    info, named = call.info, record.named
    values = {
        "resource": info.resource,
        "namespace": info.namespace or named.get("namespace", ""),
        "name": info.name or named.get("name", ""),
        "uid": named.get("uid", ""),
        "apiGroup": info.group,
        "apiVersion": info.version,
        "resourceVersion": named.get("resourceVersion", ""),
        "subresource": info.subresource,
    }
    return {name: value for name, value in values.items() if value}


def _status(response: Response) -> Object:
    status: Object = {"metadata": {}, "code": response.status}
    if response.status >= 400:
        answered = _answer(response)
        if isinstance(answered, dict) and answered.get("kind") == "Status":
            for name in ("status", "message", "reason", "details"):
                if name in answered:
                    status[name] = answered[name]
    return status


def _answer(response: Response) -> Any:
    """The answer's body, when it is JSON that is at hand; None: a stream, or something else."""
    headers = dict(response.headers)
    if not headers.get("content-type", "").startswith("application/json") or "content-encoding" in headers:
        return None
    body = response.body
    if isinstance(body, Sequence) and not isinstance(body, bytes):
        body = b"".join(body)
    try:
        return orjson.loads(body) if isinstance(body, bytes) and body else None
    except orjson.JSONDecodeError:
        return None


def _shown(value: Any, verdict: Verdict) -> Any:
    return without_managed_fields(value) if verdict.omits_managed_fields else value


def without_managed_fields(value: Any) -> Any:
    """An object or a list of objects without who owns which fields."""
    if not isinstance(value, dict):
        return value
    metadata = value.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        value = {
            **value,
            "metadata": {name: each for name, each in metadata.items() if name != "managedFields"},
        }
    if isinstance(value.get("items"), list):
        value = {**value, "items": [without_managed_fields(item) for item in value["items"]]}
    return value
