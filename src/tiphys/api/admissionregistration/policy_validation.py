"""What is wrong with admission policies and their bindings, but for the expressions themselves.

Upstream also compiles each CEL expression here (`pkg/apis/admissionregistration/validation`).
"""

from __future__ import annotations

from tiphys.api.admissionregistration.webhook_validation import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    match_conditions,
    optional,
    rule_with_operations,
)
from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    dns_subdomain,
    label_selector,
    one_of,
    required_name,
    required_one_of,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

_SPEC = Path("spec")
_ACTIONS = ("Audit", "Deny", "Warn")
_NOT_FOUND_ACTIONS = ("Allow", "Deny")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_ONE_OF_NAME_AND_SELECTOR = "one of name or selector must be specified"


def validating_policy(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = _policy(spec)
    validations, audits = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not audits:
        detail = "validations or auditAnnotations must contain at least one item"
        errors += [
            FieldError.required(_SPEC.child(field), detail) for field in ("validations", "auditAnnotations")
        ]
    for position, validation in enumerate(validations):
        errors += _validation(validation, _SPEC.child("validations").index(position))
    for position, audit in enumerate(audits):
        here = _SPEC.child("auditAnnotations").index(position)
        errors += required_name(names.qualified_name, audit.get("key"), here.child("key"))
        errors += _expression(audit, "valueExpression", here)
    return errors


def _policy(spec: Object) -> Errors:
    """What validating and mutating policies share."""
    errors: Errors = []
    policy, here = spec.get("failurePolicy"), _SPEC.child("failurePolicy")
    errors += [FieldError.required(here)] if policy is None else one_of(policy, FAILURE_POLICIES, here)
    if spec.get("paramKind") is not None:
        for field in ("apiVersion", "kind"):
            if not spec["paramKind"].get(field):
                errors.append(FieldError.required(_SPEC.child("paramKind", field)))
    constraints, here = spec.get("matchConstraints"), _SPEC.child("matchConstraints")
    if constraints is None:
        errors.append(FieldError.required(here))
    else:
        errors += _match_resources(constraints, here)
        if not constraints.get("resourceRules"):
            errors.append(FieldError.required(here.child("resourceRules")))
    conditions, params = spec.get("matchConditions") or [], spec.get("paramKind") is not None
    errors += match_conditions(conditions, _SPEC.child("matchConditions"), params=params)
    return errors + _variables(spec.get("variables") or [])


def _variables(variables: list[Object]) -> Errors:
    errors: Errors = []
    for position, variable in enumerate(variables):
        here, name = _SPEC.child("variables").index(position), variable.get("name") or ""
        if not name:
            errors.append(FieldError.required(here.child("name"), "name is not specified"))
        elif names.c_identifier(name):
            errors.append(FieldError.invalid(here.child("name"), name, "name is not a valid CEL identifier"))
        errors += _expression(variable, "expression", here)
    return errors


def _expression(holder: Object, field: str, path: Path) -> Errors:
    if (holder.get(field) or "").strip():
        return []
    return [FieldError.required(path.child(field), f"{field} is not specified")]


def _validation(validation: Object, path: Path) -> Errors:
    errors = _expression(validation, "expression", path)
    message = validation.get("message") or ""
    if message and not message.strip():
        detail = "message must be non-empty if specified"
        errors.append(FieldError.invalid(path.child("message"), message, detail))
    elif "\n" in message.strip():
        detail = "message must not contain line breaks"
        errors.append(FieldError.invalid(path.child("message"), message, detail))
    elif not message and "\n" in (validation.get("expression") or "").strip():
        detail = "message must be specified if expression contains line breaks"
        errors.append(FieldError.required(path.child("message"), detail))
    return errors + optional(validation, "reason", _REASONS, path)


def _match_resources(resources: Object, path: Path) -> Errors:
    errors = optional(resources, "matchPolicy", MATCH_POLICIES, path)
    for field in ("namespaceSelector", "objectSelector"):
        if resources.get(field) is None:
            errors.append(FieldError.required(path.child(field)))
        else:
            errors += label_selector(resources[field], path.child(field))
    for field in ("resourceRules", "excludeResourceRules"):
        for position, rule in enumerate(resources.get(field) or ()):
            here = path.child(field).index(position)
            errors += rule_with_operations(rule, here)
            errors += _resource_names(rule.get("resourceNames") or [], here.child("resourceNames"))
    return errors


def _resource_names(values: list[str], path: Path) -> Errors:
    errors: Errors = []
    for position, value in enumerate(values):
        errors += [
            FieldError.invalid(path.index(position), value, text) for text in names.path_segment_name(value)
        ]
        if values.index(value) < position:
            errors.append(FieldError.duplicate(path.index(position), value))
    return errors


def mutating_policy(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = _policy(spec)
    mutations, here = spec.get("mutations") or [], _SPEC.child("mutations")
    if not mutations:
        errors.append(FieldError.required(here, "mutations must contain at least one item"))
    for position, mutation in enumerate(mutations):
        errors += _mutation(mutation, here.index(position))
    policy = spec.get("reinvocationPolicy")
    return errors + required_one_of(policy, ("IfNeeded", "Never"), _SPEC.child("reinvocationPolicy"))


def _mutation(mutation: Object, path: Path) -> Errors:
    kind = mutation.get("patchType")
    errors = required_one_of(kind, ("ApplyConfiguration", "JSONPatch"), path.child("patchType"))
    expected = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}.get(kind or "")
    if expected is None:
        return errors
    if mutation.get(expected) is None:
        errors.append(
            FieldError.required(path.child(expected), f"must be specified when patchType is {kind}")
        )
    else:
        errors += _expression(mutation[expected], "expression", path.child(expected))
    for field in ("applyConfiguration", "jsonPatch"):
        if field != expected and mutation.get(field) is not None:
            detail = f"must not be specified when patchType is {kind}"
            errors.append(FieldError.invalid(path.child(field), mutation[field], detail))
    return errors


# Bindings


def validating_binding(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = _binding(spec)
    actions, here = spec.get("validationActions") or [], _SPEC.child("validationActions")
    if not actions:
        return [*errors, FieldError.required(here, "at least one validation action is required")]
    for position, action in enumerate(actions):
        errors += one_of(action, _ACTIONS, here.index(position))
        if actions.index(action) < position:
            errors.append(FieldError.duplicate(here.index(position), action))
    if "Deny" in actions and "Warn" in actions:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information "
            "in the API response and headers serves no purpose)"
        )
        errors.append(FieldError.invalid(here, actions, detail))
    return errors


def mutating_binding(new: Object, old: Object | None) -> Errors:
    return _binding(new.get("spec") or {})


def _binding(spec: Object) -> Errors:
    name, here = spec.get("policyName") or "", _SPEC.child("policyName")
    errors = dns_subdomain(name, here) if name else [FieldError.required(here)]
    if spec.get("paramRef") is not None:
        errors += _parameters(spec["paramRef"], _SPEC.child("paramRef"))
    if spec.get("matchResources") is not None:
        errors += _match_resources(spec["matchResources"], _SPEC.child("matchResources"))
    return errors


def _parameters(reference: Object, path: Path) -> Errors:
    name, selector = reference.get("name"), reference.get("selector")
    errors: Errors = []
    if name:
        errors += [
            FieldError.invalid(path.child("name"), name, text) for text in names.path_segment_name(name)
        ]
        if selector is not None:
            errors.append(
                FieldError.forbidden(path.child("name"), "name and selector are mutually exclusive")
            )
    if selector is not None:
        errors += label_selector(selector, path.child("selector"))
    elif not name:
        errors.append(FieldError.required(path, _ONE_OF_NAME_AND_SELECTOR))
    action, here = reference.get("parameterNotFoundAction"), path.child("parameterNotFoundAction")
    if action is None:
        errors.append(FieldError.required(here))
    else:
        errors += one_of(action, _NOT_FOUND_ACTIONS, here)
    return errors
