"""Writes into the status of ValidatingAdmissionPolicies what a type checker finds in their expressions.

Upstream: `pkg/controller/validatingadmissionpolicystatus`. A policy is looked at once a generation. Built-in kinds are known here; of
others (custom resources, aggregated ones) the API server is asked for discovery and OpenAPI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from tiphys.api.admissionregistration.type_checking import check, kinds_of, param_kind_of, resources_of
from tiphys.api.scheme import Scheme, built_in
from tiphys.api.types import TYPES, schema_of
from tiphys.client.cache import View
from tiphys.client.client import Client
from tiphys.client.resources import VALIDATINGADMISSIONPOLICIES
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Plan, UpdateStatus
from tiphys.controllers.runner import Controller
from tiphys.machinery.cel.types import Field, Type
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.gvk import GroupVersion, GroupVersionKind, GroupVersionResource
from tiphys.machinery.schema.expressions import expression_type
from tiphys.machinery.structural.declarations import declare

if TYPE_CHECKING:
    from collections.abc import Iterable

_scheme = cache(built_in)


@dataclass(frozen=True, slots=True)
class Observed:
    """What the resources of a policy are, and what their kinds look like. `due`: this generation has not been looked at."""

    due: bool
    kinds: Mapping[GroupVersionResource, GroupVersionKind] = field(default_factory=dict)
    types: Mapping[GroupVersionKind, Type] = field(default_factory=dict)


def observe(policy: Object, view: View) -> Observed:
    status = policy.get("status") or {}
    return Observed(due=policy["metadata"].get("generation", 0) > status.get("observedGeneration", 0))


async def gather(policy: Object, observed: Observed, client: Client) -> Observed:
    """Adds the kinds that the policy names."""
    if not observed.due:
        return observed
    spec, scheme = policy.get("spec") or {}, _scheme()
    kinds: dict[GroupVersionResource, GroupVersionKind] = {}
    types: dict[GroupVersionKind, Type] = {}
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
    return Observed(due=True, kinds=kinds, types=types)


def _built_in_type(scheme: Scheme, kind: GroupVersionKind) -> Type | None:
    row = scheme.by_kind(kind)
    struct = schema_of(row).struct if row is not None else None
    return expression_type(struct) if struct is not None else None


async def _ask(
    client: Client,
    version: GroupVersion,
    kinds: dict[GroupVersionResource, GroupVersionKind],
    types: dict[GroupVersionKind, Type],
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


def plan(policy: Object, observed: Observed, now: datetime) -> Plan:
    if not observed.due:
        return NOTHING
    spec, types = policy.get("spec") or {}, observed.types
    kinds = [(kind, types[kind]) for kind in kinds_of(spec, observed.kinds) if kind in types]
    params = param_kind_of(spec)
    warnings = check(spec, kinds, types.get(params) if params is not None else None)
    status = {
        **(policy.get("status") or {}),
        "observedGeneration": policy["metadata"]["generation"],
        "typeChecking": {"expressionWarnings": warnings} if warnings else {},
    }
    changed = {**policy, "status": status}
    return Plan((UpdateStatus(VALIDATINGADMISSIONPOLICIES, changed),), reason="the policy has changed")


CONTROLLER = Controller(
    name="validatingadmissionpolicy-status-controller",
    kind=VALIDATINGADMISSIONPOLICIES,
    observe=observe,
    plan=plan,
    gather=gather,
)
