"""Which function answers which verb: the generic verbs of every kind, and the subresources that have their own.

A subresource that is neither `status` nor `scale` is one entry in SUBRESOURCES and one file in `subresources/`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tiphys.api.resource import Object
from tiphys.api.types import schema_of
from tiphys.apiserver.bodies import content_type, read_object, read_options_body
from tiphys.apiserver.call import Call
from tiphys.apiserver.options import check_options, refused, validate_dry_run
from tiphys.apiserver.patching import APPLY, form_of, read_patch
from tiphys.apiserver.records import Record
from tiphys.apiserver.registry.deletion import DeleteOptions, deleted_status, read_delete_options
from tiphys.apiserver.registry.metadata import check_name
from tiphys.apiserver.registry.paging import read_options
from tiphys.apiserver.responses import statement
from tiphys.apiserver.selection import read_selection
from tiphys.apiserver.subresources import SUBRESOURCES, VIRTUAL
from tiphys.apiserver.views import ListMeta, many
from tiphys.machinery import errors
from tiphys.net.http import Response

_NAMED = frozenset({"get", "update", "patch", "delete"})
"""Verbs of one object; the others are those of a collection."""
Handler = Callable[[Call], Response | Awaitable[Response]]


def serve(call: Call) -> Response | Awaitable[Response]:
    """The last step of the pipeline."""
    info, row = call.info, call.row
    check_options(call, applies=info.verb == "patch" and content_type(call) == APPLY)
    if row.namespaced and info.name and not info.namespace and info.verb in _NAMED:
        raise errors.generic_server_response(404, call.request.method)
    if call.subresource is not None:
        if info.verb not in call.subresource.verbs and info.subresource != "proxy":
            raise not_allowed(call)
        own = SUBRESOURCES.get((row.group, row.plural, info.subresource)) or SUBRESOURCES.get(
            ("", "", info.subresource)
        )
        if own is None and call.subresource.kind is not None:
            # Its body is not the object's: the generic verbs would read, or even delete, the object itself.
            raise errors.StatusError(501, "", f"{row.plural}/{info.subresource} is not served")
        return own(call) if own is not None else _GENERIC[info.verb](call)
    if info.verb not in row.verbs or not _fits_path(call):
        raise not_allowed(call)
    return VIRTUAL[row.plural](call) if row.virtual else _GENERIC[info.verb](call)


def _fits_path(call: Call) -> bool:
    """One object has a name; a new one has none yet, but the namespace in which it shall be."""
    info = call.info
    if info.verb == "create":
        return not info.name and (bool(info.namespace) or not call.row.namespaced)
    return bool(info.name) or info.verb not in _NAMED


def not_allowed(call: Call) -> errors.StatusError:
    """405: the path is there, the method is not."""
    if call.row.reading is not None:
        return errors.method_not_supported(call.row.group_resource, call.info.verb)
    return errors.generic_server_response(405, call.request.method)


def _get(call: Call) -> Response | Awaitable[Response]:
    return call.server.reads.get(call)


def _list(call: Call) -> Response | Awaitable[Response]:
    return call.server.reads.list_objects(call)


def _watch(call: Call) -> Response | Awaitable[Response]:
    return call.server.reads.watch(call)


async def _create(call: Call) -> Response:
    if call.row.terminating:
        refused = errors.method_not_supported(call.row.group_resource, call.info.verb)
        refused.message = "create not allowed while custom resource definition is terminating"
        raise refused
    obj = read_object(call, call.row.gvk, schema_of(call.row))
    return show(call, await call.server.writes.create(call, obj), 201)


def show(call: Call, record: Record, status: int = 200) -> Response:
    """One object as the client wants to see it."""
    view = call.server.reads.view(call)
    return Response(status, [("content-type", view.content_type)], view.one(record))


async def _update(call: Call) -> Response:
    row, info = call.row, call.info
    obj = read_object(call, row.gvk, schema_of(row))
    check_name(obj, row, info.name, info.namespace)

    def change(old: Object) -> Object:
        return _with_status(call, old, obj) if info.subresource == "status" else obj

    create = (lambda: obj) if row.create_on_update and not info.subresource else None
    record, created = await call.server.writes.update(call, change, create=create)
    return show(call, record, 201 if created else 200)


def _with_status(call: Call, old: Object, new: Object) -> Object:
    """A write to /status changes the status, and of metadata what is not the user's intent."""
    changed = {**old, "metadata": {**new["metadata"]}}
    reset = {"ownerReferences"}
    if not old["metadata"].get("deletionTimestamp"):
        reset.add("finalizers")
    resets = call.subresource.resets if call.subresource is not None else ()
    if "metadata" in resets:
        reset |= {"labels", "annotations", "finalizers"}
    elif "metadata.labels" in resets:
        reset.add("labels")
    for kept in reset:
        if kept in old["metadata"]:
            changed["metadata"][kept] = old["metadata"][kept]
        else:
            changed["metadata"].pop(kept, None)
    if "status" in new:
        changed["status"] = new["status"]
    else:
        changed.pop("status", None)
    return changed


async def _patch(call: Call) -> Response:
    row, info = call.row, call.info
    patch = read_patch(call, form_of(call))

    def change(old: Object) -> Object:
        new = patch.change(old)
        check_name(new, row, info.name, info.namespace)
        return _with_status(call, old, new) if info.subresource == "status" else new

    create = None if info.subresource else patch.create
    record, created = await call.server.writes.update(call, change, create=create, owned=patch.applies)
    return show(call, record, 201 if created else 200)


def delete_options(call: Call) -> DeleteOptions:
    """The options of a DELETE, from its body or its query."""
    body = read_options_body(call, "DeleteOptions") if call.request.body.strip() else {}
    found = validate_dry_run(body.get("dryRun"))
    if found:
        raise refused("DeleteOptions", found)
    options = read_delete_options(body, call.request.query)
    if not options.tells_of_dependents:
        call.warn(call.row.orphans_dependents)
    return options


async def _delete(call: Call) -> Response:
    options = delete_options(call)
    writes = call.server.writes
    record = writes.find(call.row, call.info.namespace, call.info.name)
    deleted = await writes.delete(call, record, options)
    if deleted.gone and not call.row.returns_deleted:
        return statement(call, deleted_status(call.row, deleted.record.object))
    status = 202 if not deleted.gone and options.orphan_dependents is False else 200
    return show(call, deleted.record, status)


async def _delete_collection(call: Call) -> Response:
    """Deletes what a list with the same options would show; answers with that list."""
    options = delete_options(call)
    reads, writes, row = call.server.reads, call.server.writes, call.row
    selection = read_selection(row, call.request.query)
    found = reads.select(call, read_options(call.request.query, watch=False), selection)
    listed, _ = found if isinstance(found, tuple) else await found
    gone: list[Record] = []
    for record in listed:
        try:
            gone.append((await writes.delete(call, record, options)).record)
        except errors.StatusError as error:
            if not errors.is_not_found(error):
                raise
    view = reads.view(call)
    revision = call.server.cache.revision
    return Response(200, [("content-type", view.content_type)], many(view, gone, ListMeta(revision)))


_GENERIC: dict[str, Handler] = {
    "get": _get,
    "list": _list,
    "watch": _watch,
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "deletecollection": _delete_collection,
}
