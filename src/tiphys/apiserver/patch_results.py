"""What a patch has made of an object, in canonical form, or what is wrong with it in the words that upstream has for patches."""

from __future__ import annotations

import re
from itertools import compress, repeat
from operator import is_not
from typing import Any, NamedTuple

from tiphys.api.resource import Object, Schema
from tiphys.apiserver.call import Call
from tiphys.apiserver.options import IGNORE, STRICT, field_validation
from tiphys.machinery import errors
from tiphys.machinery.apply import Target
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupKind, GroupVersionKind
from tiphys.machinery.quoting import go_json, go_print
from tiphys.machinery.schema import DecodeError

_MISMATCH = re.compile(
    r"json: cannot unmarshal (\w+)(?: [^ ]+)? into Go (?:struct field [^ ]+|value) of type ([^ ]+)"
)
_GO_KINDS = {"array": "slice", "number": "int64", "object": "map"}
_ABSENT: Any = object()


@frozen
class Form:
    """What is patched: the object itself, or what a subresource shows of it."""

    kind: GroupVersionKind
    schema: Schema
    target: Target


class Said(NamedTuple):
    """What the client sent."""

    complaints: list[str]
    """What a strict reader says about the patch itself."""
    strategic: Object | None
    """The patch, when it is a strategic merge patch: upstream shows it where something is wrong."""


def patched(call: Call, form: Form, states: tuple[Object, Object], said: Said) -> Object:
    """The second of two states, the object after a patch. Raises 422."""
    old, new = states
    owners = old["metadata"].get("managedFields")
    metadata = new.get("metadata")
    keeps = owners is not None and isinstance(metadata, dict) and metadata.get("managedFields") is owners
    part = _changed(form.schema, old, new, with_owners=not keeps)
    try:
        result = form.schema.check(part)
    except DecodeError as error:
        detail = str(error) if said.strategic is None else _from_unstructured(str(error))
        raise _invalid(new, said, detail) from None
    mode = field_validation(call)
    if mode != IGNORE and (said.complaints or result.complaints):
        found = [*said.complaints, *result.complaints]
        if mode == STRICT:
            raise _invalid(new, said, f"strict decoding error: {', '.join(found)}")
        for complaint in found:
            call.warn(complaint)
    whole = _joined(form, new, part, result.object)
    if keeps:
        whole["metadata"]["managedFields"] = owners
    elif (
        isinstance(metadata, dict) and metadata.get("managedFields") == []
    ):  # forgets them: the one empty list that counts
        whole["metadata"]["managedFields"] = []
    return whole


def applied_object(form: Form, live: Object | None, new: Object) -> Object:
    """The object after an apply. Its owners are ours: nobody need look at them again."""
    part = _changed(form.schema, live, new, with_owners=False)
    try:
        result = form.schema.check(part)
    except DecodeError as error:
        metadata, version = new["metadata"], form.kind.group_version
        name = f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}"
        # Upstream has no reason for it, hence 500.
        text = f"failed to convert new object ({name}; {form.kind}) to proper version ({version}): {error}"
        raise errors.StatusError(500, "", text) from None
    whole = _joined(form, new, part, result.object)
    if "managedFields" in new["metadata"]:
        whole["metadata"]["managedFields"] = new["metadata"]["managedFields"]
    return whole


def _changed(schema: Schema, old: Object | None, new: Object, *, with_owners: bool) -> Object:
    """What of an object must be looked at: the rest is what it was, and was looked at when it came."""
    if old is None or schema.struct is None:
        part = dict(new)
    else:
        part = dict(compress(new.items(), map(is_not, map(old.get, new, repeat(_ABSENT)), new.values())))
    metadata = part.get("metadata")
    if not with_owners and isinstance(metadata, dict):
        part["metadata"] = metadata = dict(metadata)
        metadata.pop("managedFields", None)
    return part


def _joined(form: Form, new: Object, part: Object, checked: Object) -> Object:
    whole = {**new, **checked}
    for name in part.keys() - checked.keys():
        del whole[name]
    whole["kind"], whole["apiVersion"] = form.kind.kind, form.kind.api_version
    if whole.get("metadata") is new.get("metadata") is not None:
        whole["metadata"] = {**whole["metadata"]}  # it is about to get its owners back
    return whole


def _invalid(new: Object, said: Said, detail: str) -> errors.StatusError:
    """Upstream shows a strategic merge patch itself, of the others what they make of the object."""
    shown = go_json(new) if said.strategic is None else go_print(said.strategic)
    found = errors.FieldError.invalid(errors.Path("patch"), shown, detail)
    return errors.invalid(GroupKind("", ""), "", [found])


def _from_unstructured(complaint: str) -> str:
    """A wrong type in the words of the converter that upstream sends strategic patches through."""
    match = _MISMATCH.fullmatch(complaint)
    if match is None:
        return complaint
    found, wanted = match.groups()
    kind = _GO_KINDS.get(found, found)
    if wanted.startswith("[]"):
        return f"cannot restore slice from {kind}"
    if wanted.startswith("map["):
        return f"cannot restore map from {kind}"
    return f"cannot restore struct from: {kind}" if "." in wanted else f"unrecognized type: {wanted}"
