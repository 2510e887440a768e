"""namespaces/finalize: the namespace controller takes its finalizer out of spec.finalizers."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call
from tiphys.net.http import Response


async def finalize_namespace(call: Call) -> Response:
    from tiphys.apiserver.handlers import show

    sent = read_object(call, call.row.gvk, schema_of(call.row))

    def change(old: Object) -> Object:
        spec = dict(old.get("spec") or {})
        finalizers = (sent.get("spec") or {}).get("finalizers")
        if finalizers:
            spec["finalizers"] = finalizers
        else:
            spec.pop("finalizers", None)
        version = (sent.get("metadata") or {}).get("resourceVersion") or old["metadata"]["resourceVersion"]
        return {**old, "metadata": {**old["metadata"], "resourceVersion": version}, "spec": spec}

    record, _ = await call.server.writes.update(call, change)
    return show(call, record)
