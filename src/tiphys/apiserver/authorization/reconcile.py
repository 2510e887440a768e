"""Makes the default roles and bindings at every start, and mends those that have lost something.

What an administrator added stays; what was taken away comes back, unless the object says
`rbac.authorization.kubernetes.io/autoupdate: "false"`. A binding to another role is made anew, since a roleRef cannot change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.apiserver.authorization.default_roles import AUTOUPDATE, defaults
from tiphys.apiserver.authorization.rbac import GROUP
from tiphys.apiserver.authorization.rules import uncovered
from tiphys.apiserver.registry.deletion import DeleteOptions
from tiphys.apiserver.server import APIServer
from tiphys.machinery.errors import StatusError, is_already_exists

Object = dict[str, Any]


async def reconcile(server: APIServer, wanted: Mapping[str, Sequence[Object]] | None = None) -> None:
    """The default roles, or other `wanted` ones by plural. Raises StatusError when the store refuses."""
    for plural, objects in (defaults().objects if wanted is None else wanted).items():
        await asyncio.gather(*(_ensure(server, plural, obj) for obj in objects))


async def _ensure(server: APIServer, plural: str, wanted: Object) -> None:
    metadata = wanted["metadata"]
    namespace = metadata.get("namespace", "")
    row = server.scheme.by_resource(GROUP, "v1", plural)
    assert row is not None
    record = server.writes.cache(GROUP, plural).get(namespace, metadata["name"])
    if record is not None:
        mended = mend(record.object, wanted)
        if mended is record.object:
            return
        if mended is not None:
            call = server.internal_call(row, namespace, metadata["name"])
            await server.writes.update(call, lambda old: mend(old, wanted) or old)
            return
        call = server.internal_call(row, namespace, metadata["name"])
        await server.writes.delete(call, record, DeleteOptions())
    call = server.internal_call(row, namespace, "")
    try:
        await server.writes.create(
            call, {"kind": row.kind, "apiVersion": row.api_version, **wanted, "metadata": dict(metadata)}
        )
    except StatusError as error:
        if not is_already_exists(error):
            raise


def mend(found: Object, wanted: Object) -> Object | None:
    """What the object should be: itself when nothing is missing; None when it must be made anew."""
    given = found["metadata"].get("annotations") or {}
    if given.get(AUTOUPDATE) == "false":
        return found
    if "roleRef" in wanted and found["roleRef"] != wanted["roleRef"]:
        return None
    mended = {**found, "metadata": {**found["metadata"]}}
    for field in ("labels", "annotations"):
        if field in wanted["metadata"]:
            mended["metadata"][field] = {
                **wanted["metadata"][field],
                **(found["metadata"].get(field) or {}),
            }
    if "roleRef" in wanted:
        mended["subjects"] = _with_missing(found.get("subjects") or [], wanted["subjects"])
    elif "aggregationRule" in wanted:
        selectors = (found.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        all_selectors = _with_missing(selectors, wanted["aggregationRule"]["clusterRoleSelectors"])
        mended["aggregationRule"] = {"clusterRoleSelectors": all_selectors}
    else:
        mended["rules"] = _with_missing_rules(found.get("rules") or [], wanted["rules"])
    before = {**found, "subjects": found.get("subjects") or []} if "roleRef" in wanted else found
    return found if mended == before else mended


def _with_missing(found: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
    return [*found, *(each for each in wanted if each not in found)]


def _with_missing_rules(found: list[Object], wanted: Sequence[Object]) -> list[Object]:
    return [*found, *uncovered(found, wanted)] if uncovered(found, wanted) else found
