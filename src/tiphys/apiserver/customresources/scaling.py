"""What /scale needs of a custom resource: numbers and a selector where the definition says they are."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.quoting import go_type

_LARGEST = (1 << 31) - 1


def validate(obj: Object, scale: Object) -> list[FieldError]:
    """Upstream's `ValidateScaleSpec` and `ValidateScaleStatus`."""
    found = [
        *_replicas(obj, scale["specReplicasPath"]),
        *_replicas(obj, scale["statusReplicasPath"]),
    ]
    selector = scale.get("labelSelectorPath")
    if selector:
        value = _get(obj, selector)
        if value is not None and not isinstance(value, str):
            found.append(FieldError.invalid(Path(selector), "", _mismatch(obj, selector, value, "string")))
    return found


def _replicas(obj: Object, path: str) -> list[FieldError]:
    value = _get(obj, path)
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int):
        return [FieldError.invalid(Path(path), 0, _mismatch(obj, path, value, "int64"))]
    if value < 0:
        return [FieldError.invalid(Path(path), value, "should be a non-negative integer")]
    if value > _LARGEST:
        return [FieldError.invalid(Path(path), value, f"should be less than or equal to {_LARGEST}")]
    return []


def _mismatch(obj: Object, path: str, value: Any, wanted: str) -> str:
    return f"{path} accessor error: {value} is of the type {go_type(value)}, expected {wanted}"


def _get(obj: Object, path: str) -> Any:
    value: Any = obj
    for name in path.removeprefix(".").split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value
