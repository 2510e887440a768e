"""componentstatuses: deprecated, but `kubectl get cs` still asks. Nothing of them is stored, so they have no resourceVersion."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.apiserver.call import Call
from tiphys.apiserver.records import Record, encode_stored
from tiphys.apiserver.selection import read_selection
from tiphys.apiserver.views import ListMeta, many
from tiphys.machinery import errors
from tiphys.net.http import Response

_NAMES = ("controller-manager", "etcd-0", "scheduler")


async def component_status(call: Call) -> Response:
    records = [_record(name, call.server.component_health(name)) for name in _NAMES]
    view = call.server.reads.view(call)
    headers = [("content-type", view.content_type)]
    if call.info.verb == "list":
        matches = read_selection(call.row, call.request.query, call.info.name).matches
        chosen = records if matches is None else [record for record in records if matches(record)]
        return Response(200, headers, many(view, chosen, ListMeta(0)))
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
    return Record(name, "", name, 0, encode_stored(status))
