"""What is wrong with a job or a cron job. Wording and places are upstream's (`pkg/apis/batch/validation`)."""

from __future__ import annotations

import copy

from tiphys.api.batch import schedule as schedules
from tiphys.api.batch.policies import pod_failure_policy, success_policy
from tiphys.api.batch.prepare import CONTROLLER_UID, JOB_NAME, LEGACY_CONTROLLER_UID, LEGACY_JOB_NAME
from tiphys.api.core.validation.pod_specs import pod_template
from tiphys.api.resource import Object
from tiphys.api.validation import (
    NO_MATCH,
    Errors,
    domain_prefixed_path,
    immutable,
    label_selector,
    non_negative,
    required_one_of,
    template_labels,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import is_condition_true
from tiphys.machinery.meta import name as name_of
from tiphys.machinery.meta import uid as uid_of
from tiphys.machinery.selectors import SelectorError, label_selector_from_dict

_SPEC = Path("spec")
_INDEXED = "Indexed"
_NEEDS_INDEXES = "requires indexed completion mode"
_PARALLELISM_LIMIT = 100_000
_COMPLETIONS_SOFT_LIMIT = 100_000
_LIMIT_ABOVE_SOFT_LIMIT = 10_000
_MANAGED_BY_LIMIT = 63
_CRON_JOB_NAME_LIMIT = 52
_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")


def job(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = _generated_selector(new, spec, old)
    errors += _job_spec(spec, _SPEC)
    errors += _selected_template(spec)
    completions = spec.get("completions") or 0
    if spec.get("completionMode") == _INDEXED and completions > 0:
        hostname = f"{name_of(new)}-{completions - 1}"
        if names.dns1123_label(hostname):
            detail = f"will not able to create pod with invalid DNS label: {hostname}"
            errors.append(FieldError.invalid(Path("metadata", "name"), name_of(new), detail))
    return errors if old is None else errors + _job_update(spec, old)


def _generated_selector(job: Object, spec: Object, old: Object | None) -> Errors:
    """The labels that make the job's pods its own, unless the client chose them."""
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    name, uid = name_of(job), uid_of(job)
    expected = {LEGACY_CONTROLLER_UID: uid, LEGACY_JOB_NAME: name, CONTROLLER_UID: uid, JOB_NAME: name}
    errors: Errors = [] if uid else [FieldError.required(Path("metadata", "uid"))]
    labels = template_labels(spec.get("template"))
    before = {} if old is None else template_labels((old.get("spec") or {}).get("template"))
    place = Path("spec", "template", "metadata", "labels")
    for key in (CONTROLLER_UID, JOB_NAME, LEGACY_CONTROLLER_UID, LEGACY_JOB_NAME):
        if key in (CONTROLLER_UID, JOB_NAME) and old is not None and key not in before:
            continue  # jobs from before 1.27 lack these two
        detail = f"must be '{expected[key]}'"
        if key not in labels:
            errors.append(FieldError.required(place.key(key), detail))
        elif labels[key] != expected[key]:
            errors.append(FieldError.invalid(place.key(key), dict(labels), detail))
    try:
        generated = label_selector_from_dict(spec["selector"]).matches(expected)
    except SelectorError:
        return errors
    if not generated:
        errors.append(
            FieldError.invalid(_SPEC.child("selector"), spec["selector"], "`selector` not auto-generated")
        )
    return errors


def _selected_template(spec: Object) -> Errors:
    selector, here = spec.get("selector"), _SPEC.child("selector")
    errors = [FieldError.required(here)] if selector is None else label_selector(selector, here)
    labels = template_labels(spec.get("template"))
    try:
        matches = label_selector_from_dict(selector).matches(labels)
    except SelectorError:
        return errors
    if not matches:
        place = _SPEC.child("template", "metadata", "labels")
        errors.append(FieldError.invalid(place, dict(labels), NO_MATCH))
    return errors


def _job_spec(spec: Object, path: Path) -> Errors:
    errors: Errors = []
    for field in _COUNTS:
        errors += non_negative(spec.get(field), path.child(field))
    errors += _managed_by(spec.get("managedBy"), path.child("managedBy"))
    errors += _completion_mode(spec, path)
    template = spec.get("template") or {}
    if spec.get("podFailurePolicy") is not None:
        errors += pod_failure_policy(spec, path.child("podFailurePolicy"))
    if spec.get("successPolicy") is not None:
        errors += _success_policy(spec, path.child("successPolicy"))
    errors += _replacement(spec, path.child("podReplacementPolicy"))
    errors += pod_template(template, path.child("template"))
    return errors + _restart_policy(spec, template, path.child("template", "spec", "restartPolicy"))


def _managed_by(manager: str | None, path: Path) -> Errors:
    if manager is None:
        return []
    errors = domain_prefixed_path(manager, path)
    if len(manager) > _MANAGED_BY_LIMIT:
        errors.append(FieldError.too_long(path, _MANAGED_BY_LIMIT))
    return errors


def _completion_mode(spec: Object, path: Path) -> Errors:
    mode = spec.get("completionMode")
    if mode == _INDEXED:
        return _indexed(spec, path)
    errors: Errors = []
    if mode not in (None, "NonIndexed"):
        errors.append(FieldError.not_supported(path.child("completionMode"), mode, ("NonIndexed", "Indexed")))
    for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(field) is not None:
            errors.append(FieldError.invalid(path.child(field), spec[field], _NEEDS_INDEXES))
    return errors


def _indexed(spec: Object, path: Path) -> Errors:
    completions = spec.get("completions")
    if completions is None:
        return [FieldError.required(path.child("completions"), "when completion mode is Indexed")]
    errors: Errors = []
    parallelism, failed = spec.get("parallelism"), spec.get("maxFailedIndexes")
    if parallelism is not None and parallelism > _PARALLELISM_LIMIT:
        detail = f"must be less than or equal to {_PARALLELISM_LIMIT} when completion mode is Indexed"
        errors.append(FieldError.invalid(path.child("parallelism"), parallelism, detail))
    here = path.child("maxFailedIndexes")
    if failed is not None and failed > completions:
        errors.append(FieldError.invalid(here, failed, "must be less than or equal to completions"))
    if failed is not None and failed > _PARALLELISM_LIMIT:
        errors.append(FieldError.invalid(here, failed, f"must be less than or equal to {_PARALLELISM_LIMIT}"))
    if spec.get("backoffLimitPerIndex") is None:
        if failed is not None:
            place = path.child("backoffLimitPerIndex")
            errors.append(FieldError.required(place, "when maxFailedIndexes is specified"))
    elif completions > _COMPLETIONS_SOFT_LIMIT:
        errors += _many_indexes(parallelism, failed, path)
    return errors


def _many_indexes(parallelism: int | None, failed: int | None, path: Path) -> Errors:
    errors: Errors = []
    if failed is None:
        detail = f"must be specified when completions is above {_COMPLETIONS_SOFT_LIMIT}"
        errors.append(FieldError.required(path.child("maxFailedIndexes"), detail))
    for field, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if value is not None and value > _LIMIT_ABOVE_SOFT_LIMIT:
            detail = (
                f"must be less than or equal to {_LIMIT_ABOVE_SOFT_LIMIT} when completions are above "
                f"{_COMPLETIONS_SOFT_LIMIT} and used with backoff limit per index"
            )
            errors.append(FieldError.invalid(path.child(field), value, detail))
    return errors


def _success_policy(spec: Object, path: Path) -> Errors:
    policy = spec["successPolicy"]
    if spec.get("completionMode") != _INDEXED:
        return [FieldError.invalid(path, policy, _NEEDS_INDEXES)]
    return success_policy(policy, spec.get("completions") or 0, path)


def _replacement(spec: Object, path: Path) -> Errors:
    policy = spec.get("podReplacementPolicy")
    allowed = ("Failed", "TerminatingOrFailed") if spec.get("podFailurePolicy") is None else ("Failed",)
    return [] if policy is None or policy in allowed else [FieldError.not_supported(path, policy, allowed)]


def _restart_policy(spec: Object, template: Object, path: Path) -> Errors:
    policy = (template.get("spec") or {}).get("restartPolicy") or ""
    if policy in ("", "Always"):  # what it is when nobody says anything
        return [FieldError.required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [FieldError.not_supported(path, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        return [FieldError.invalid(path, policy, detail)]
    return []


# Updates


def _job_update(spec: Object, old: Object) -> Errors:
    before = old.get("spec") or {}
    errors = _completions_update(spec, before)
    errors += immutable(spec.get("selector"), before.get("selector"), _SPEC.child("selector"))
    errors += _template_update(spec, old)
    for field in _FIXED:
        errors += immutable(spec.get(field), before.get(field), _SPEC.child(field))
    return errors


def _completions_update(spec: Object, before: Object) -> Errors:
    """An indexed job may grow and shrink, completions and parallelism together."""
    completions, here = spec.get("completions"), _SPEC.child("completions")
    if completions == before.get("completions"):
        return []
    if spec.get("completionMode") != _INDEXED:
        return immutable(completions, before.get("completions"), here)
    if completions is None:
        return [FieldError.required(here, "cannot set completions to nil")]
    if completions != spec.get("parallelism"):
        return [FieldError.invalid(here, completions, "can only be modified in tandem with spec.parallelism")]
    return []


def _template_update(spec: Object, old: Object) -> Errors:
    """The template stays; while a job is suspended and no pod of it runs, a queue may say where its pods go and what they get."""
    template, before = spec.get("template") or {}, (old.get("spec") or {}).get("template") or {}
    status = old.get("status") or {}
    rests = is_condition_true(status.get("conditions"), "Suspended") and not status.get("active")
    is_free = status.get("startTime") is None or rests
    if (old.get("spec") or {}).get("suspend") and is_free and template != before:
        before = _with_resources(_with_scheduling(before, template), template)
    return immutable(template, before, _SPEC.child("template"))


def _with_scheduling(before: Object, template: Object) -> Object:
    merged = copy.deepcopy(before)
    for holder, source, fields in (
        (merged.setdefault("metadata", {}), template.get("metadata") or {}, ("labels", "annotations")),
        (
            merged.setdefault("spec", {}),
            template.get("spec") or {},
            ("nodeSelector", "tolerations", "schedulingGates"),
        ),
    ):
        for field in fields:
            _take(holder, source, field)
    affinity, wanted = (
        dict(each.get("affinity") or {}) for each in (merged["spec"], template.get("spec") or {})
    )
    _take(affinity, wanted, "nodeAffinity")
    if affinity or "affinity" in (template.get("spec") or {}):
        merged["spec"]["affinity"] = affinity
    else:
        merged["spec"].pop("affinity", None)
    return merged


def _with_resources(before: Object, template: Object) -> Object:
    for field in ("initContainers", "containers"):
        wanted = (template.get("spec") or {}).get(field) or ()
        for container, source in zip(before["spec"].get(field) or (), wanted, strict=False):
            _take(container, source, "resources")
    return before


def _take(holder: Object, source: Object, field: str) -> None:
    if field in source:
        holder[field] = source[field]
    else:
        holder.pop(field, None)


# Cron jobs


def cron_job(new: Object, old: Object | None) -> Errors:
    errors: Errors = []
    name = name_of(new)
    if old is None and len(name) > _CRON_JOB_NAME_LIMIT:  # the job's name has eleven more
        errors.append(
            FieldError.invalid(Path("metadata", "name"), name, "must be no more than 52 characters")
        )
    spec = new.get("spec") or {}
    before = (old or {}).get("spec") or {}
    errors += _schedule(spec, zone_allowed="TZ" in (before.get("schedule") or ""))
    if spec.get("schedule") and spec.get("timeZone") not in (None, before.get("timeZone")):
        errors += _time_zone(spec["timeZone"], _SPEC.child("timeZone"))
    errors += non_negative(spec.get("startingDeadlineSeconds"), _SPEC.child("startingDeadlineSeconds"))
    errors += required_one_of(
        spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"), _SPEC.child("concurrencyPolicy")
    )
    errors += _job_template(spec.get("jobTemplate") or {}, _SPEC.child("jobTemplate", "spec"))
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        errors += non_negative(spec.get(field), _SPEC.child(field))
    return errors


def _schedule(spec: Object, *, zone_allowed: bool) -> Errors:
    text, zone, here = spec.get("schedule") or "", spec.get("timeZone"), _SPEC.child("schedule")
    if not text:
        return [FieldError.required(here)]
    errors: Errors = []
    try:
        schedules.parse(text)
    except ValueError as error:
        errors.append(FieldError.invalid(here, text, str(error)))
    if "TZ" in text and not zone_allowed:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        errors.append(FieldError.invalid(here, text, detail))
    elif "TZ" in text and zone is not None:
        detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        errors.append(FieldError.invalid(here, text, detail))
    return errors


def _time_zone(zone: str, path: Path) -> Errors:
    from zoneinfo import ZoneInfo  # costs more to import than a cron job is worth at start-up

    if not zone:
        return [FieldError.invalid(path, zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        return [FieldError.invalid(path, zone, detail)]
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):  # malformed, a directory, unknown
        return [FieldError.invalid(path, zone, f"unknown time zone {zone}")]
    return []


def _job_template(template: Object, path: Path) -> Errors:
    spec = template.get("spec") or {}
    errors = _job_spec(spec, path)
    if spec.get("selector") is not None:
        detail = "`selector` will be auto-generated"
        errors.append(FieldError.invalid(path.child("selector"), spec["selector"], detail))
    if spec.get("manualSelector"):
        errors.append(FieldError.not_supported(path.child("manualSelector"), True, ("nil", "false")))
    return errors
