"""What is wrong with priority classes and groups of pods (`pkg/apis/scheduling/validation`)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, immutable, one_of, required_name
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import name as name_of

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PREFIX = "system-"
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_SPEC = Path("spec")
_TEMPLATES_LIMIT = 8


def priority_class(new: Object, old: Object | None) -> Errors:
    name, value, policy = name_of(new), new.get("value") or 0, new.get("preemptionPolicy")
    errors: Errors = []
    if old is None and name.startswith(SYSTEM_PREFIX):
        fault = _system_class(name, value, is_default=bool(new.get("globalDefault")))
        if fault:
            detail = (
                f"priority class names with 'system-' prefix are reserved for system use only. error: {fault}"
            )
            errors.append(FieldError.forbidden(Path("metadata", "name"), detail))
    elif old is None and value > HIGHEST_USER_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        errors.append(FieldError.forbidden(Path("value"), detail))
    if policy is not None:
        errors += one_of(policy, ("Never", "PreemptLowerPriority"), Path("preemptionPolicy"))
    if old is None:
        return errors
    if value != (old.get("value") or 0):
        # The words of the path are upstream's.
        errors.append(FieldError.forbidden(Path("Value"), "may not be changed in an update."))
    return errors + immutable(policy, old.get("preemptionPolicy"), Path("preemptionPolicy"))


def _system_class(name: str, value: int, *, is_default: bool) -> str:
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if value != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""


def workload(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    if old is not None:
        return immutable(spec, old.get("spec") or {}, _SPEC)
    templates, here = spec.get("podGroupTemplates") or [], _SPEC.child("podGroupTemplates")
    errors: Errors = []
    if not templates:
        errors.append(FieldError.required(here, "must have at least one item"))
    if len(templates) > _TEMPLATES_LIMIT:
        errors.append(FieldError.too_many(here, len(templates), _TEMPLATES_LIMIT))
    seen: set[str] = set()
    for position, template in enumerate(templates):
        place, name = here.index(position), template.get("name") or ""
        errors += required_name(names.dns1123_label, name, place.child("name"))
        if name in seen:
            errors.append(FieldError.duplicate(place, name))
        seen.add(name)
        errors += _policy(template.get("schedulingPolicy") or {}, place.child("schedulingPolicy"))
    return errors


def pod_group(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    if old is not None:
        return immutable(spec, old.get("spec") or {}, _SPEC)
    errors = _policy(spec.get("schedulingPolicy") or {}, _SPEC.child("schedulingPolicy"))
    workload = (spec.get("podGroupTemplateRef") or {}).get("workload")
    if workload is None:
        return errors
    here = _SPEC.child("podGroupTemplateRef", "workload")
    errors += required_name(names.dns1123_subdomain, workload.get("workloadName"), here.child("workloadName"))
    return errors + required_name(
        names.dns1123_label, workload.get("podGroupTemplateName"), here.child("podGroupTemplateName")
    )


def _policy(policy: Object, path: Path) -> Errors:
    chosen = [field for field in ("basic", "gang") if policy.get(field) is not None]
    if len(chosen) != 1:
        detail = "must specify one of: `basic`, `gang`"
        if chosen:
            detail = "must specify exactly one of: `basic`, `gang`"
        return [FieldError.invalid(path, policy, detail)]
    if chosen == ["gang"] and (policy["gang"].get("minCount") or 0) < 1:
        here = path.child("gang", "minCount")
        count = policy["gang"].get("minCount") or 0
        return [FieldError.invalid(here, count, "must be greater than or equal to 1")]
    return []
