"""The options of a write, in its query: `dryRun`, `fieldManager`, `fieldValidation`, `force`. The rules and words are upstream's."""

from __future__ import annotations

from tiphys.apiserver.call import Call
from tiphys.machinery import errors
from tiphys.machinery.apply import validate_field_manager
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.gvk import GroupKind

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
_OF_FIELDS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_OF_DELETION = {"delete": "DeleteOptions", "deletecollection": "DeleteOptions"}


def check_options(call: Call, *, applies: bool) -> None:
    """Refuses (422) options that make no sense. `applies`: the request is a server-side apply."""
    query, verb = call.request.query, call.info.verb
    found: list[FieldError] = []
    kind = _OF_FIELDS.get(verb)
    if kind is not None:
        if verb == "patch" and not applies and "force" in query:
            found.append(FieldError.forbidden(Path("force"), "may not be specified for non-apply patch"))
        found += validate_field_manager(query.get("fieldManager", ("",))[0], applies=applies)
    else:
        kind = _OF_DELETION.get(verb)
    if kind is None:
        return
    found += validate_dry_run(query.get("dryRun"))
    if verb in _OF_FIELDS and (mode := field_validation(call)) not in (STRICT, WARN, IGNORE):
        found.append(FieldError.not_supported(Path("fieldValidation"), mode, (IGNORE, STRICT, WARN)))
    if found:
        raise refused(kind, found)


def refused(options: str, found: list[FieldError]) -> errors.StatusError:
    return errors.invalid(GroupKind("meta.k8s.io", options), "", found)


def validate_dry_run(wanted: list[str] | None) -> list[FieldError]:
    """What is wrong with a `dryRun` other than "All"."""
    if not wanted or set(wanted) == {"All"}:
        return []
    return [FieldError.not_supported(Path("dryRun"), wanted, ("All",))]


def field_validation(call: Call) -> str:
    """What to do about unknown and repeated fields."""
    return call.request.query.get("fieldValidation", ("",))[0] or WARN
