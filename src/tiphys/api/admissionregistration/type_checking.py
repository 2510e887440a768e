"""Type checking of validating policies: what their expressions would meet in the kinds that they name (`typechecking.go`).

It changes nothing about what a policy does: the findings stand in its status. Rules with wildcards are left out, and no more than
ten kinds a rule are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiphys.api.admissionregistration.expressions import environment
from tiphys.api.admissionregistration.policy_expressions import kept_type
from tiphys.api.resource import Object
from tiphys.machinery.cel import DYN, CelError, Environment, Type, object_type
from tiphys.machinery.cel.library import KUBERNETES
from tiphys.machinery.cel.library.authorizer import AUTHORIZER
from tiphys.machinery.gvk import GroupVersionKind, GroupVersionResource, parse_api_version

KINDS_LIMIT = 10


def resources_of(spec: Object) -> list[list[GroupVersionResource]]:
    """The resources that the rules of a policy name, one list a rule, in the order in which they are looked at."""
    return [_named(rule) for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ()]


def _named(rule: Object) -> list[GroupVersionResource]:
    groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
    if any("*" in each for each in (*groups, *versions)):
        return []
    resources = [each for each in rule.get("resources") or () if "*" not in each and "/" not in each]
    return [
        GroupVersionResource(group, version, resource)
        for group in sorted(groups)
        for version in sorted(versions)
        for resource in sorted(resources)
    ]


def kinds_of(spec: Object, served: Mapping[GroupVersionResource, GroupVersionKind]) -> list[GroupVersionKind]:
    """The kinds to check against, in order."""
    found: set[GroupVersionKind] = set()
    for resources in resources_of(spec):
        kinds = [served[each] for each in resources if each in served]
        found.update(kinds[:KINDS_LIMIT])
        if len(kinds) >= KINDS_LIMIT:
            break
    return sorted(found)


def param_kind_of(spec: Object) -> GroupVersionKind | None:
    kind = spec.get("paramKind")
    if kind is None:
        return None
    try:
        return parse_api_version(kind.get("apiVersion") or "").with_kind(kind.get("kind") or "")
    except ValueError:
        return None


def check(spec: Object, kinds: Sequence[tuple[GroupVersionKind, Type]], params: Type | None) -> list[Object]:
    """ExpressionWarnings for what does not fit. `params` None: the type of the parameters is not known."""
    checkers = [(kind, _environment(spec, this, params)) for kind, this in kinds]
    warnings: list[Object] = []
    for position, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            if text := validation.get(field):
                found = list(_complaints(text, checkers))
                if found:
                    place = f"spec.validations[{position}].{field}"
                    warnings.append({"fieldRef": place, "warning": "\n".join(found)})
    return warnings


def _complaints(text: str, checkers: Iterable[tuple[GroupVersionKind, Environment]]) -> Iterable[str]:
    for kind, checker in checkers:
        try:
            checker.check(text)
        except CelError as error:
            yield f"{kind}: {error}\n"


def _environment(spec: Object, this: Type, params: Type | None) -> Environment:
    base = environment().variables
    variables: dict[str, Type] = {
        "object": this,
        "oldObject": this,
        **{name: base[name] for name in ("request", "namespaceObject", "authorizer")},
    }
    if params is not None:
        variables["params"] = params
    composed: dict[str, Type] = {}
    for variable in spec.get("variables") or ():
        made = _made({**variables, "variables": object_type("kubernetes.variables", composed, escapes=False)})
        composed[variable["name"]] = _type_of(made, variable["expression"])
    return _made({**variables, "variables": object_type("kubernetes.variables", composed, escapes=False)})


def _made(variables: Mapping[str, Any]) -> Environment:
    return Environment(variables, libraries=(*KUBERNETES, AUTHORIZER))


def _type_of(checker: Environment, text: str) -> Type:
    try:
        return kept_type(checker.check(text).type)
    except CelError:
        return DYN
