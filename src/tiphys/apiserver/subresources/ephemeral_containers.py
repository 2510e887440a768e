"""pods/ephemeralcontainers: containers that join a running pod for a look (`kubectl debug`)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.bodies import check_fields, read_object
from tiphys.apiserver.call import Call
from tiphys.apiserver.patching import read_patch
from tiphys.net.http import Response


async def ephemeral_containers(call: Call) -> Response:
    from tiphys.apiserver.handlers import show

    row = call.row
    if call.info.verb == "get":
        return call.server.reads.get(call)
    if call.info.verb == "update":
        sent = read_object(call, row.gvk, schema_of(row))
        record, _ = await call.server.writes.update(call, lambda old: _only_these(old, sent))
        return show(call, record)
    patch = read_patch(call)

    def change(old: Object) -> Object:
        new = check_fields(call, patch(old), row.gvk, schema_of(row))
        return _only_these(old, new)

    record, _ = await call.server.writes.update(call, change)
    return show(call, record)


def _only_these(old: Object, new: Object) -> Object:
    """Everything but spec.ephemeralContainers stays as it was."""
    spec = dict(old["spec"])
    wanted = (new.get("spec") or {}).get("ephemeralContainers")
    if wanted:
        spec["ephemeralContainers"] = wanted
    else:
        spec.pop("ephemeralContainers", None)
    version = (new.get("metadata") or {}).get("resourceVersion")
    return {**old, "metadata": {**old["metadata"], "resourceVersion": version}, "spec": spec}
