"""componentstatuses: deprecated, but `kubectl get cs` still asks."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.apiserver.call import Call
from tiphys.apiserver.records import Record, encode_stored, with_version
from tiphys.apiserver.views import ListMeta, many
from tiphys.machinery import errors
from tiphys.net.http import Response

_NAMES = ("controller-manager", "etcd-0", "scheduler")


async def component_status(call: Call) -> Response:
    records = [_record(name, call.server.component_health(name)) for name in _NAMES]
    view = call.server.reads.view(call)
    headers = [("content-type", view.content_type)]
    if call.info.verb == "list":
        return Response(200, headers, many(view, records, ListMeta(0)))
    for record in records:
        if record.name == call.info.name:
            return Response(200, headers, view.one(record))
    raise errors.not_found(call.row.group_resource, call.info.name)


def _record(name: str, message: str) -> Record:
    status: Object = {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [
            {"type": "Healthy", "status": "True" if message == "ok" else "False", "message": message}
        ],
    }
    return Record(name, "", name, 0, with_version(encode_stored(status), 0))
