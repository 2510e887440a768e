"""What the kinds look like that policies name: built-in ones are known, of others the API server is asked.

Used by `validating_policy_status`, which imports it (and with it, CEL) for the first policy that it looks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from tiphys.api.admissionregistration.type_checking import param_kind_of, resources_of
from tiphys.api.scheme import Scheme, built_in
from tiphys.api.types import TYPES, schema_of
from tiphys.client.client import Client
from tiphys.client.transport import Object
from tiphys.machinery.cel.types import Field, Type
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.gvk import GroupVersion, GroupVersionKind, GroupVersionResource
from tiphys.machinery.schema.expressions import expression_type
from tiphys.machinery.structural.declarations import declare

Kinds = dict[GroupVersionResource, GroupVersionKind]
Types = dict[GroupVersionKind, Type]
_scheme = cache(built_in)


async def learn(spec: Object, client: Client) -> tuple[Kinds, Types]:
    """What the resources of a policy's rules are, and the types of their kinds and of the policy's parameters.

    What is not served is left out. Raises StatusError when the server cannot say.
    """
    scheme = _scheme()
    kinds: Kinds = {}
    types: Types = {}
    params = param_kind_of(spec)
    named = [each for resources in resources_of(spec) for each in resources]
    wanted = {each.group_version for each in named} | ({params.group_version} if params else set())
    for version in sorted(wanted - set(scheme.group_versions())):
        await _ask(client, version, kinds, types)
    for each in named:
        row = scheme.by_resource(*each)
        if row is not None:
            kinds[each] = row.gvk
    for kind in {*kinds.values(), *([params] if params else [])}:
        known = _built_in_type(scheme, kind)
        if known is not None:
            types[kind] = known
    return kinds, types


def _built_in_type(scheme: Scheme, kind: GroupVersionKind) -> Type | None:
    row = scheme.by_kind(kind)
    struct = schema_of(row).struct if row is not None else None
    return expression_type(struct) if struct is not None else None


async def _ask(
    client: Client,
    version: GroupVersion,
    kinds: Kinds,
    types: Types,
) -> None:
    """Learns from the server what it serves in a group version that is not built in."""
    try:
        listed = await client.transport.request("GET", f"/apis/{version}")
        document = await client.transport.request("GET", f"/openapi/v3/apis/{version}")
    except StatusError as error:
        if is_not_found(error):
            return
        raise
    for entry in listed.get("resources") or ():
        if "/" not in entry["name"]:
            kinds[version.with_resource(entry["name"])] = version.with_kind(entry["kind"])
    for kind, schema in _published((document.get("components") or {}).get("schemas") or {}):
        made = declare(schema, kind.kind, is_resource=True)
        if made is not None:
            types[kind] = _with_metadata(made.type)


def _published(schemas: Mapping[str, Any]) -> Iterable[tuple[GroupVersionKind, Any]]:
    for schema in schemas.values():
        for each in schema.get("x-kubernetes-group-version-kind") or ():
            if "metadata" in (schema.get("properties") or {}):
                yield GroupVersionKind(each["group"], each["version"], each["kind"]), schema


def _with_metadata(this: Type) -> Type:
    metadata = Field("metadata", expression_type(TYPES.struct("meta/v1.ObjectMeta")))
    return Type(this.kind, this.name, fields={**this.fields, "metadata": metadata}, python=this.python)
