"""Namespaces, events and replication controllers."""

from __future__ import annotations

from tiphys.api.core.validation.pod_specs import pod_template
from tiphys.api.resource import Object
from tiphys.api.validation import (
    NO_MATCH,
    Errors,
    by_rule,
    dns_subdomain,
    non_negative,
    qualified_name,
    template_labels,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import is_deleting
from tiphys.machinery.meta import namespace as namespace_of

_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_SHORT_TEXT_LIMIT = 128
_NOTE_LIMIT = 1024


def namespace(new: Object, old: Object | None) -> Errors:
    return [] if old is not None else finalizers(new, old)


def finalizers(new: Object, old: Object | None) -> Errors:
    """`spec.finalizers`, on create and through `/finalize`."""
    errors: Errors = []
    for position, finalizer in enumerate((new.get("spec") or {}).get("finalizers") or ()):
        here = Path("spec", "finalizers")
        if old is not None:
            here = here.index(position)
        errors += by_rule(names.qualified_name, finalizer, here)
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(FieldError.invalid(here, finalizer, detail))
    return errors


def namespace_status(new: Object, old: Object | None) -> Errors:
    phase, here = (new.get("status") or {}).get("phase"), Path("status", "Phase")
    if is_deleting(new):
        if phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            return [FieldError.invalid(here, phase, detail)]
    elif phase != "Active":
        return [FieldError.invalid(here, phase, "may only be 'Active' if `deletionTimestamp` is empty")]
    return []


# Events


def event(new: Object, old: Object | None) -> Errors:
    """An event with `eventTime` is one of the new kind (events.k8s.io) and must say who reports what."""
    errors = _reported_event(new) if new.get("eventTime") else _event_namespace(new)
    return errors + dns_subdomain(namespace_of(new), Path("namespace"))


def _event_namespace(event: Object) -> Errors:
    involved, own = (event.get("involvedObject") or {}).get("namespace") or "", namespace_of(event)
    agrees = own == involved if involved else own in ("", "default")
    return [] if agrees else [_wrong_namespace(involved)]


def _wrong_namespace(involved: str) -> FieldError:
    here = Path("involvedObject", "namespace")
    return FieldError.invalid(here, involved, "does not match event.namespace")


def _reported_event(event: Object) -> Errors:
    involved = (event.get("involvedObject") or {}).get("namespace") or ""
    errors: Errors = []
    if not involved and namespace_of(event) not in ("default", "kube-system"):
        errors.append(_wrong_namespace(involved))
    component = event.get("reportingComponent") or ""
    if not component:
        errors.append(FieldError.required(Path("reportingComponent")))
    errors += qualified_name(component, Path("reportingComponent"))
    for field in ("reportingInstance", "action", "reason"):
        text = event.get(field) or ""
        if not text:
            errors.append(FieldError.required(Path(field)))
        errors += _at_most(text, _SHORT_TEXT_LIMIT, field)
    return errors + _at_most(event.get("message") or "", _NOTE_LIMIT, "message")


def _at_most(text: str, limit: int, field: str) -> Errors:
    if len(text.encode()) <= limit:
        return []
    return [FieldError.invalid(Path(field), "", f"can have at most {limit} characters")]


# Replication controllers


def replication_controller(new: Object, old: Object | None) -> Errors:
    spec, here = new.get("spec") or {}, Path("spec")
    selector, template = spec.get("selector") or {}, spec.get("template")
    errors = non_negative(spec.get("minReadySeconds"), here.child("minReadySeconds"))
    errors += non_negative(spec.get("replicas"), here.child("replicas"))
    if not selector:
        errors.append(FieldError.required(here.child("selector")))
    if template is None:
        return [*errors, FieldError.required(here.child("template"))]
    labels = template_labels(template)
    if selector and not selector.items() <= labels.items():
        place = here.child("template", "metadata", "labels")
        errors.append(FieldError.invalid(place, dict(labels), NO_MATCH))
    errors += pod_template(template, here.child("template"))
    return errors + always_restarted(template, here.child("template", "spec"), "ReplicationController")


def always_restarted(template: Object, path: Path, kind: str) -> Errors:
    """Pods of a controller that replaces them run for ever."""
    spec = template.get("spec") or {}
    errors: Errors = []
    if spec.get("restartPolicy") != "Always":
        here = path.child("restartPolicy")
        errors.append(FieldError.not_supported(here, spec.get("restartPolicy") or "", ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(FieldError.forbidden(path.child("activeDeadlineSeconds"), detail))
    return errors


def replication_controller_status(new: Object, old: Object | None) -> Errors:
    return replica_counts(new.get("status") or {}, Path("status"))


def replica_counts(status: Object, path: Path) -> Errors:
    """Counts that go together: none is negative, none is more than there are."""
    counted = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
    errors: Errors = []
    for field in counted:
        errors += non_negative(status.get(field), path.child(field))
    total, ready = status.get("replicas") or 0, status.get("readyReplicas") or 0
    for field in counted[1:4]:
        number = status.get(field) or 0
        if number > total:
            detail = "cannot be greater than status.replicas"
            errors.append(FieldError.invalid(path.child(field), number, detail))
    available = status.get("availableReplicas") or 0
    if available > ready:
        here = path.child("availableReplicas")
        errors.append(FieldError.invalid(here, available, "cannot be greater than readyReplicas"))
    return errors
