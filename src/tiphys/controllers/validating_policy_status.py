"""Writes into the status of ValidatingAdmissionPolicies what a type checker finds in their expressions.

Upstream: `pkg/controller/validatingadmissionpolicystatus`. A policy is looked at once a generation. Built-in kinds are known here; of
others (custom resources, aggregated ones) the API server is asked for discovery and OpenAPI.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING

from tiphys.client.cache import View
from tiphys.client.client import Client
from tiphys.client.resources import VALIDATINGADMISSIONPOLICIES
from tiphys.client.transport import APPLY_PATCH, Object
from tiphys.controllers.actions import NOTHING, Patch, Plan
from tiphys.controllers.runner import Controller
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupVersionKind, GroupVersionResource

if TYPE_CHECKING:
    from tiphys.machinery.cel import Type

NAME = "validatingadmissionpolicy-status-controller"


@frozen
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
    from tiphys.controllers.policy_kinds import learn

    kinds, types = await learn(policy.get("spec") or {}, client)
    return Observed(due=True, kinds=kinds, types=types)


def plan(policy: Object, observed: Observed, now: datetime) -> Plan:
    if not observed.due:
        return NOTHING
    from tiphys.api.admissionregistration.type_checking import check, kinds_of, param_kind_of

    spec, types = policy.get("spec") or {}, observed.types
    kinds = [(kind, types[kind]) for kind in kinds_of(spec, observed.kinds) if kind in types]
    params = param_kind_of(spec)
    warnings = check(spec, kinds, types.get(params) if params is not None else None)
    status = {
        "observedGeneration": policy["metadata"]["generation"],
        "typeChecking": {"expressionWarnings": warnings} if warnings else {},
    }
    row, name = VALIDATINGADMISSIONPOLICIES, policy["metadata"]["name"]
    applied = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": name}, "status": status}
    patch = Patch(row, name, applied, content_type=APPLY_PATCH, subresource="status", manager=NAME)
    return Plan((patch,), reason="the policy has changed")


CONTROLLER = Controller(
    name=NAME,
    kind=VALIDATINGADMISSIONPOLICIES,
    observe=observe,
    plan=plan,
    gather=gather,
)
