"""What is wrong with roles and bindings (`pkg/apis/rbac/validation`)."""

from __future__ import annotations

from tiphys.api.rbac.defaults import GROUP
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, dns_subdomain, label_selector, one_of, required_name
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

_RULES = Path("rules")
_SUBJECTS = Path("subjects")
_ROLE_REF = Path("roleRef")
_SUBJECT_KINDS = ("ServiceAccount", "User", "Group")


def role(new: Object, old: Object | None) -> Errors:
    errors: Errors = []
    for position, rule in enumerate(new.get("rules") or ()):
        errors += _rule(rule, _RULES.index(position), namespaced=True)
    return errors


def cluster_role(new: Object, old: Object | None) -> Errors:
    errors: Errors = []
    for position, rule in enumerate(new.get("rules") or ()):
        errors += _rule(rule, _RULES.index(position), namespaced=False)
    aggregation = new.get("aggregationRule")
    return errors if aggregation is None else errors + _aggregation(aggregation)


def _aggregation(rule: Object) -> Errors:
    selectors, here = rule.get("clusterRoleSelectors") or [], Path("aggregationRule", "clusterRoleSelectors")
    if not selectors:
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        return [FieldError.required(here, detail)]
    errors: Errors = []
    for position, selector in enumerate(selectors):
        errors += label_selector(selector, here.index(position))
    return errors


def _rule(rule: Object, path: Path, *, namespaced: bool) -> Errors:
    errors: Errors = []
    if not rule.get("verbs"):
        errors.append(FieldError.required(path.child("verbs"), "verbs must contain at least one value"))
    urls, here = rule.get("nonResourceURLs") or [], path.child("nonResourceURLs")
    if urls:
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            errors.append(FieldError.invalid(here, urls, detail))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(FieldError.invalid(here, urls, detail))
        return errors
    if not rule.get("apiGroups"):
        detail = "resource rules must supply at least one api group"
        errors.append(FieldError.required(path.child("apiGroups"), detail))
    if not rule.get("resources"):
        detail = "resource rules must supply at least one resource"
        errors.append(FieldError.required(path.child("resources"), detail))
    return errors


def role_binding(new: Object, old: Object | None) -> Errors:
    return _binding(new, old, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(new: Object, old: Object | None) -> Errors:
    return _binding(new, old, ("ClusterRole",), namespaced=False)


def _binding(new: Object, old: Object | None, kinds: tuple[str, ...], *, namespaced: bool) -> Errors:
    reference = new.get("roleRef") or {}
    errors = one_of(reference.get("apiGroup"), (GROUP,), _ROLE_REF.child("apiGroup"))
    errors += one_of(reference.get("kind"), kinds, _ROLE_REF.child("kind"))
    errors += required_name(names.path_segment_name, reference.get("name"), _ROLE_REF.child("name"))
    for position, subject in enumerate(new.get("subjects") or ()):
        errors += _subject(subject, _SUBJECTS.index(position), namespaced=namespaced)
    if old is not None and reference != old.get("roleRef"):
        # Who may bind was checked for the role that was there first.
        errors.append(FieldError.invalid(_ROLE_REF, reference, "cannot change roleRef"))
    return errors


def _subject(subject: Object, path: Path, *, namespaced: bool) -> Errors:
    name, group, kind = (subject.get(field) or "" for field in ("name", "apiGroup", "kind"))
    errors: Errors = [] if name else [FieldError.required(path.child("name"))]
    if kind == "ServiceAccount":
        if name:
            errors += dns_subdomain(name, path.child("name"))
        errors += one_of(group, ("",), path.child("apiGroup"))
        if not namespaced and not subject.get("namespace"):
            errors.append(FieldError.required(path.child("namespace")))
    elif kind in ("User", "Group"):
        errors += one_of(group, (GROUP,), path.child("apiGroup"))
    else:
        errors.append(FieldError.not_supported(path.child("kind"), kind, _SUBJECT_KINDS))
    return errors
