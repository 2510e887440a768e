"""pods/ephemeralcontainers: containers that join a running pod for a look (`kubectl debug`)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call
from tiphys.apiserver.patching import form_of, read_patch
from tiphys.net.http import Response


async def ephemeral_containers(call: Call) -> Response:
    from tiphys.apiserver.handlers import show

    row = call.row
    if call.info.verb == "get":
        found = call.server.reads.get(call)
        return found if isinstance(found, Response) else await found
    if call.info.verb == "update":
        sent = read_object(call, row.gvk, schema_of(row))
        record, _ = await call.server.writes.update(call, lambda old: _only_these(old, sent))
        return show(call, record)
    patch = read_patch(call, form_of(call))

    def change(old: Object) -> Object:
        return _only_these(old, patch.change(old))

    record, _ = await call.server.writes.update(call, change, owned=patch.applies)
    return show(call, record)


def _only_these(old: Object, new: Object) -> Object:
    """Everything but spec.ephemeralContainers stays as it was."""
    spec = dict(old["spec"])
    wanted = (new.get("spec") or {}).get("ephemeralContainers")
    if wanted:
        spec["ephemeralContainers"] = wanted
    else:
        spec.pop("ephemeralContainers", None)
    given = new.get("metadata") or {}
    metadata = {**old["metadata"], "resourceVersion": given.get("resourceVersion")}
    for name in ("uid", "managedFields"):
        if name in given:
            metadata[name] = given[name]
    return {**old, "metadata": metadata, "spec": spec}
