"""What is wrong with admission policies and their bindings (`pkg/apis/admissionregistration/validation`)."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.api.admissionregistration.policy_expressions import (
    BOOLEAN,
    OBJECT,
    PATCH,
    TEXT,
    TEXT_OR_NULL,
    Expression,
    Expressions,
)
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
    required_one_of,
)
from tiphys.machinery import names
from tiphys.machinery.cel.names import RESERVED
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.gvk import parse_api_version

_SPEC = Path("spec")
_ACTIONS = ("Audit", "Deny", "Warn")
_NOT_FOUND_ACTIONS = ("Allow", "Deny")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_AUDIT_ANNOTATIONS_LIMIT = 20
_VALUE_EXPRESSION_BYTES = 5 * 1024
_PATCHES = {"ApplyConfiguration": ("applyConfiguration", OBJECT), "JSONPatch": ("jsonPatch", PATCH)}
_ONE_OF_NAME_AND_SELECTOR = "one of name or selector must be specified"


def validating_policy(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    expressions = _expressions(spec)
    errors = _policy(spec, old, expressions)
    validations, audits = spec.get("validations") or [], spec.get("auditAnnotations") or []
    if not validations and not audits:
        detail = "validations or auditAnnotations must contain at least one item"
        errors += [
            FieldError.required(_SPEC.child(field), detail) for field in ("validations", "auditAnnotations")
        ]
    for position, validation in enumerate(validations):
        errors += _validation(validation, expressions, _SPEC.child("validations").index(position))
    return errors + _audit_annotations(new, audits, expressions)


def _expressions(spec: Object) -> Expressions:
    return Expressions(params=spec.get("paramKind") is not None, composed=bool(spec.get("variables")))


def _audit_annotations(policy: Object, audits: list[Object], expressions: Expressions) -> Errors:
    errors: Errors = []
    path, policy_name = _SPEC.child("auditAnnotations"), policy["metadata"].get("name", "")
    if len(audits) > _AUDIT_ANNOTATIONS_LIMIT:
        detail = f"must not have more than {_AUDIT_ANNOTATIONS_LIMIT} auditAnnotations"
        errors.append(FieldError.invalid(path, audits, detail))
    seen: set[str] = set()
    for position, audit in enumerate(audits):
        here, key = path.index(position), audit.get("key") or ""
        whole = f"{policy_name}/{key}"
        errors += [FieldError.invalid(here.child("key"), whole, text) for text in names.qualified_name(whole)]
        text, at = audit.get("valueExpression") or "", here.child("valueExpression")
        if not text.strip():
            errors.append(FieldError.required(at, "valueExpression is not specified"))
        elif len(text.strip().encode()) > _VALUE_EXPRESSION_BYTES:
            errors.append(
                FieldError.required(at, f"must not exceed {_VALUE_EXPRESSION_BYTES} bytes in length")
            )
        else:
            errors += _compiled(expressions.compile(text.strip(), TEXT_OR_NULL), text, at)
        if key in seen:
            errors.append(FieldError.duplicate(here.child("key"), key))
        seen.add(key)
    return errors


def _policy(spec: Object, old: Object | None, expressions: Expressions) -> Errors:
    """What validating and mutating policies share."""
    errors: Errors = []
    policy, here = spec.get("failurePolicy"), _SPEC.child("failurePolicy")
    errors += [FieldError.required(here)] if policy is None else one_of(policy, FAILURE_POLICIES, here)
    if spec.get("paramKind") is not None:
        errors += _param_kind(spec["paramKind"], _SPEC.child("paramKind"))
    constraints, here = spec.get("matchConstraints"), _SPEC.child("matchConstraints")
    if constraints is None:
        errors.append(FieldError.required(here))
    else:
        errors += _match_resources(constraints, here)
        if not constraints.get("resourceRules"):
            errors.append(FieldError.required(here.child("resourceRules")))
    before = (old or {}).get("spec") or {}
    if old is None or any(spec.get(field) != before.get(field) for field in ("paramKind", "matchConditions")):
        conditions, params = spec.get("matchConditions") or [], spec.get("paramKind") is not None
        errors += match_conditions(conditions, _SPEC.child("matchConditions"), params=params)
    return errors + _variables(spec.get("variables") or [], expressions)


def _param_kind(kind: Object, path: Path) -> Errors:
    errors: Errors = []
    version, here = kind.get("apiVersion") or "", path.child("apiVersion")
    if not version:
        errors.append(FieldError.required(here))
    else:
        errors += _api_version(version, here)
    name = kind.get("kind") or ""
    if not name:
        errors.append(FieldError.required(path.child("kind")))
    elif faults := names.dns1035_label(name.lower()):
        detail = f"may have mixed case, but should otherwise match: {','.join(faults)}"
        errors.append(FieldError.invalid(path.child("kind"), name, detail))
    return errors


def _api_version(text: str, path: Path) -> Errors:
    try:
        group, version = parse_api_version(text)
    except ValueError as error:
        return [FieldError.invalid(path, text, str(error))]
    errors: Errors = []
    if group and (faults := names.dns1123_subdomain(group)):
        errors.append(FieldError.invalid(path, group, ",".join(faults)))
    if not version:
        errors.append(FieldError.invalid(path, text, "version must be specified"))
    elif faults := names.dns1035_label(version):
        errors.append(FieldError.invalid(path, version, ",".join(faults)))
    return errors


def _variables(variables: list[Object], expressions: Expressions) -> Errors:
    errors: Errors = []
    for position, variable in enumerate(variables):
        here, name = _SPEC.child("variables").index(position), variable.get("name") or ""
        if not name.strip():
            errors.append(FieldError.required(here.child("name"), "name is not specified"))
        elif not _is_identifier(name):
            errors.append(FieldError.invalid(here.child("name"), name, "name is not a valid CEL identifier"))
        text, at = variable.get("expression") or "", here.child("expression")
        if not text.strip():
            errors.append(FieldError.required(at, "expression is not specified"))
        else:
            errors += _compiled(expressions.variable(name, text), text, at)
    return errors


def _is_identifier(name: str) -> bool:
    return not names.c_identifier(name) and name not in RESERVED


def _expression(
    text: str | None, results: Sequence[str], expressions: Expressions, path: Path, *, patches: bool = False
) -> Errors:
    if not (text or "").strip():
        return [FieldError.required(path, "expression is not specified")]
    assert text is not None
    return _compiled(expressions.compile(text, results, patches=patches), text, path)


def _compiled(made: Expression, text: str, path: Path) -> Errors:
    return [FieldError.invalid(path, text, made.error)] if made.error else []


def _validation(validation: Object, expressions: Expressions, path: Path) -> Errors:
    errors = _expression(validation.get("expression"), BOOLEAN, expressions, path.child("expression"))
    text, here = validation.get("messageExpression") or "", path.child("messageExpression")
    if text and not text.strip():
        errors.append(FieldError.invalid(here, text, "must be non-empty if specified"))
    elif text:
        errors += _compiled(expressions.compile(text, TEXT, authorizer=False), text, here)
    message, here = validation.get("message") or "", path.child("message")
    if message and not message.strip():
        errors.append(FieldError.invalid(here, message, "message must be non-empty if specified"))
    elif "\n" in message.strip() or "\r" in message.strip():
        errors.append(FieldError.invalid(here, message, "message must not contain line breaks"))
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
    expressions = _expressions(spec)
    errors = _policy(spec, old, expressions)
    mutations, here = spec.get("mutations") or [], _SPEC.child("mutations")
    if not mutations:
        errors.append(FieldError.required(here, "mutations must contain at least one item"))
    for position, mutation in enumerate(mutations):
        errors += _mutation(mutation, expressions, here.index(position))
    policy = spec.get("reinvocationPolicy")
    return errors + required_one_of(policy, ("IfNeeded", "Never"), _SPEC.child("reinvocationPolicy"))


def _mutation(mutation: Object, expressions: Expressions, path: Path) -> Errors:
    kind = mutation.get("patchType")
    errors = required_one_of(kind, tuple(_PATCHES), path.child("patchType"))
    if kind not in _PATCHES:
        return errors
    expected, results = _PATCHES[kind]
    if mutation.get(expected) is None:
        errors.append(
            FieldError.required(path.child(expected), f"must be specified when patchType is {kind}")
        )
    else:
        text, here = mutation[expected].get("expression"), path.child(expected, "expression")
        errors += _expression(text, results, expressions, here, patches=True)
    for field, _ in _PATCHES.values():
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
        # Upstream misspells it.
        errors += _match_resources(spec["matchResources"], _SPEC.child("matchResouces"))
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
        if name:
            errors.append(
                FieldError.forbidden(path.child("selector"), "name and selector are mutually exclusive")
            )
    elif not name:
        errors.append(FieldError.required(path, _ONE_OF_NAME_AND_SELECTOR))
    action, here = reference.get("parameterNotFoundAction"), path.child("parameterNotFoundAction")
    if action is None:
        errors.append(FieldError.required(here))
    else:
        errors += one_of(action, _NOT_FOUND_ACTIONS, here)
    return errors
