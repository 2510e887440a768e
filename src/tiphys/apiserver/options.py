"""The options of a write, in its query: `dryRun`, `fieldManager`, `fieldValidation`, `force`. The rules and words are upstream's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from tiphys.apiserver.call import Call
from tiphys.machinery import errors
from tiphys.machinery.apply import validate_field_manager
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.gvk import GroupKind
from tiphys.net.http import parse_query

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
_OF_FIELDS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_KINDS = {**_OF_FIELDS, "delete": "DeleteOptions", "deletecollection": "DeleteOptions"}
REMEMBERED_CHARACTERS = 250
"""What is wrong with a query is remembered for some of them, of no more characters."""


def check_options(call: Call, *, applies: bool) -> None:
    """Refuses (422) options that make no sense. `applies`: the request is a server-side apply."""
    verb, query = call.info.verb, call.request.query
    kind = _KINDS.get(verb)
    if kind is None or not (query or applies):
        return
    text = call.request.target.partition("?")[2]
    if len(text) <= REMEMBERED_CHARACTERS:
        found = _known_faults(text, verb, applies=applies)
    else:
        found = _faults(query, verb, applies=applies)
    if found:
        raise refused(kind, list(found))


@lru_cache(maxsize=1000)
def _known_faults(text: str, verb: str, *, applies: bool) -> tuple[FieldError, ...]:
    """A client says the same with every request."""
    return _faults(parse_query(text), verb, applies=applies)


def _faults(query: Mapping[str, list[str]], verb: str, *, applies: bool) -> tuple[FieldError, ...]:
    found: list[FieldError] = []
    if verb in _OF_FIELDS:
        if verb == "patch" and not applies and "force" in query:
            found.append(FieldError.forbidden(Path("force"), "may not be specified for non-apply patch"))
        found += validate_field_manager(query.get("fieldManager", ("",))[0], applies=applies)
    found += validate_dry_run(query.get("dryRun"))
    mode = query.get("fieldValidation", ("",))[0] or WARN
    if verb in _OF_FIELDS and mode not in (STRICT, WARN, IGNORE):
        found.append(FieldError.not_supported(Path("fieldValidation"), mode, (IGNORE, STRICT, WARN)))
    return tuple(found)


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
