"""What is wrong with flow schemas and priority levels (`pkg/apis/flowcontrol/validation`)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, dns_label, dns_subdomain, one_of
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import name as name_of

_SPEC = Path("spec")
_PRECEDENCE_LIMIT = 10000
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_RESOURCE_VERBS = ("*", *_VERBS)
_NON_RESOURCE_VERBS = ("*", "delete", "get", "head", "options", "patch", "post", "put")
_SUBJECT_KINDS = ("ServiceAccount", "Group", "User")
_SUBJECT_FIELDS = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}
_METHODS = ("ByNamespace", "ByUser")
_QUEUES_LIMIT = 10_000_000
_ONLY_EXEMPT = "only the schema named 'exempt' may have matchingPrecedence 1"


def flow_schema(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = _precedence(spec.get("matchingPrecedence") or 0, name_of(new))
    method = spec.get("distinguisherMethod")
    if method is not None:
        errors += one_of(method.get("type"), _METHODS, _SPEC.child("distinguisherMethod", "type"))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    here = _SPEC.child("priorityLevelConfiguration", "name")
    errors += (
        dns_subdomain(level, here)
        if level
        else [FieldError.required(here, "must reference a priority level")]
    )
    for position, rule in enumerate(spec.get("rules") or ()):
        errors += _rule(rule, _SPEC.child("rules").index(position))
    return errors


def _precedence(value: int, name: str) -> Errors:
    here = _SPEC.child("matchingPrecedence")
    if value <= 0:
        return [FieldError.invalid(here, value, "must be a positive value")]
    if value > _PRECEDENCE_LIMIT:
        return [FieldError.invalid(here, value, f"must not be greater than {_PRECEDENCE_LIMIT}")]
    if value == 1 and name != "exempt":
        return [FieldError.invalid(here, value, _ONLY_EXEMPT)]
    return []


def _rule(rule: Object, path: Path) -> Errors:
    subjects, here = rule.get("subjects") or [], path.child("subjects")
    errors = [] if subjects else [FieldError.required(here, "subjects must contain at least one value")]
    for position, subject in enumerate(subjects):
        errors += _subject(subject, here.index(position))
    resources, others = rule.get("resourceRules") or [], rule.get("nonResourceRules") or []
    if not resources and not others:
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        errors.append(FieldError.required(path, detail))
    for position, each in enumerate(resources):
        errors += _resource_rule(each, path.child("resourceRules").index(position))
    for position, each in enumerate(others):
        errors += _non_resource_rule(each, path.child("nonResourceRules").index(position))
    return errors


def _subject(subject: Object, path: Path) -> Errors:
    kind = subject.get("kind") or ""
    field = _SUBJECT_FIELDS.get(kind)
    if field is None:
        return [FieldError.not_supported(path.child("kind"), kind, _SUBJECT_KINDS)]
    errors: Errors = []
    if subject.get(field) is None:
        errors.append(
            FieldError.required(path.child(field), f"{field} is required when subject kind is '{kind}'")
        )
    elif not subject[field].get("name"):
        errors.append(FieldError.required(path.child(field, "name")))
    elif kind == "ServiceAccount" and not subject[field].get("namespace"):
        errors.append(
            FieldError.required(path.child(field, "namespace"), "must specify namespace for service account")
        )
    for other_kind, other in _SUBJECT_FIELDS.items():
        if other != field and subject.get(other) is not None:
            detail = f"{other} is forbidden when subject kind is not '{other_kind}'"
            errors.append(FieldError.forbidden(path.child(other), detail))
    return errors


def _verbs(verbs: list[str], allowed: tuple[str, ...], path: Path) -> Errors:
    if not verbs:
        return [FieldError.required(path, "verbs must contain at least one value")]
    if "*" in verbs:
        return _alone(verbs, "verbs", path)
    unknown = [verb for verb in verbs if verb not in allowed]
    return [FieldError.not_supported(path, verbs, sorted(allowed))] if unknown else []


def _alone(values: list[str], noun: str, path: Path) -> Errors:
    if "*" not in values or len(values) == 1:
        return []
    return [FieldError.invalid(path, values, f"if '*' is present, must not specify other {noun}")]


def _resource_rule(rule: Object, path: Path) -> Errors:
    errors = _verbs(rule.get("verbs") or [], _RESOURCE_VERBS, path.child("verbs"))
    for field, noun, one in (
        ("apiGroups", "api groups", "api group"),
        ("resources", "resources", "resource"),
    ):
        values, here = rule.get(field) or [], path.child(field)
        if not values:
            errors.append(FieldError.required(here, f"resource rules must supply at least one {one}"))
        else:
            errors += _alone(values, noun, here)
    namespaces, here = rule.get("namespaces") or [], path.child("namespaces")
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        return [*errors, FieldError.required(here, detail)]
    if "*" in namespaces:
        return errors + _alone(namespaces, "namespaces", here)
    for position, namespace in enumerate(namespaces):
        errors += dns_label(namespace, here.index(position))
    return errors


def _non_resource_rule(rule: Object, path: Path) -> Errors:
    errors = _verbs(rule.get("verbs") or [], _NON_RESOURCE_VERBS, path.child("verbs"))
    urls, here = rule.get("nonResourceURLs") or [], path.child("nonResourceURLs")
    if not urls:
        return [*errors, FieldError.required(here, "nonResourceURLs must contain at least one value")]
    if "*" in urls:
        return errors + _alone(urls, "non-resource URLs", here)
    for position, url in enumerate(urls):
        errors += _url(url, here.index(position))
    return errors


def _url(url: str, path: Path) -> Errors:
    if not url:
        return [FieldError.invalid(path, url, "must not be empty")]
    if url == "/":
        return []
    if not url.startswith("/"):
        return [FieldError.invalid(path, url, "must start with slash")]
    if " " in url:
        return [FieldError.invalid(path, url, "must not contain white-space")]
    if "//" in url:
        return [FieldError.invalid(path, url, "must not contain double slash")]
    if "*" in url.removesuffix("/*"):
        detail = "wildcards can only do suffix matching after a slash"
        return [FieldError.invalid(path, url, detail)]
    return []


# Priority levels


def priority_level_configuration(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    here = _SPEC.child("limited")
    errors: Errors = []
    if kind == "Exempt":
        if limited is not None:
            errors.append(FieldError.forbidden(here, "must be nil if the type is not Limited"))
        return errors if exempt is None else errors + _shares(exempt, _SPEC.child("exempt"))
    if kind != "Limited":
        return [FieldError.not_supported(_SPEC.child("type"), kind, ("Exempt", "Limited"))]
    if exempt is not None:
        errors.append(FieldError.forbidden(_SPEC.child("exempt"), "must be nil if the type is Limited"))
    if limited is None:
        return [*errors, FieldError.required(here, "must not be empty when type is Limited")]
    errors += _shares(limited, here)
    return errors + _response(limited.get("limitResponse") or {}, here.child("limitResponse"))


def _shares(limits: Object, path: Path) -> Errors:
    shares, lendable = limits.get("nominalConcurrencyShares"), limits.get("lendablePercent")
    borrowing = limits.get("borrowingLimitPercent")
    errors: Errors = []
    if shares is not None and shares < 0:
        detail = "must be a non-negative integer"
        errors.append(FieldError.invalid(path.child("nominalConcurrencyShares"), shares, detail))
    if lendable is not None and not 0 <= lendable <= 100:
        detail = "must be between 0 and 100, inclusive"
        errors.append(FieldError.invalid(path.child("lendablePercent"), lendable, detail))
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        errors.append(FieldError.invalid(path.child("borrowingLimitPercent"), borrowing, detail))
    return errors


def _response(response: Object, path: Path) -> Errors:
    kind, queuing, here = response.get("type") or "", response.get("queuing"), path.child("queuing")
    if kind == "Reject":
        if queuing is None:
            return []
        detail = "must be nil if limited.limitResponse.type is not Limited"
        return [FieldError.forbidden(here, detail)]
    if kind != "Queue":
        return [FieldError.not_supported(path.child("type"), kind, ("Queue", "Reject"))]
    if queuing is None:
        return [FieldError.required(here, "must not be empty if limited.limitResponse.type is Limited")]
    return _queuing(queuing, here)


def _queuing(queuing: Object, path: Path) -> Errors:
    errors: Errors = []
    sizes = {field: queuing.get(field) or 0 for field in ("queueLengthLimit", "queues", "handSize")}
    for field, size in sizes.items():
        if size <= 0:
            errors.append(FieldError.invalid(path.child(field), size, "must be positive"))
    if sizes["queues"] > _QUEUES_LIMIT:
        detail = f"must not be greater than {_QUEUES_LIMIT}"
        errors.append(FieldError.invalid(path.child("queues"), sizes["queues"], detail))
    if sizes["handSize"] > sizes["queues"]:
        detail = f"should not be greater than queues ({sizes['queues']})"
        errors.append(FieldError.invalid(path.child("handSize"), sizes["handSize"], detail))
    return errors
