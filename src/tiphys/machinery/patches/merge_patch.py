"""JSON merge patch, RFC 7386: an object merges key by key, null removes, everything else replaces."""

from typing import Any

from tiphys.machinery.patches.errors import BadPatchError, json_kind


def apply_merge_patch(document: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The patched document. BadPatchError when the patch is no object (it would replace the whole document)."""
    if not isinstance(patch, dict):
        raise BadPatchError(
            f"error decoding patch: json: cannot unmarshal {json_kind(patch)}"
            " into Go value of type map[string]interface {}"
        )
    return _merge(document, patch)


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            old = merged.get(key)
            merged[key] = _merge(old if isinstance(old, dict) else {}, value)
        else:
            merged[key] = value
    return merged
