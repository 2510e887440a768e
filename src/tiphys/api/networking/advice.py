"""What ingresses may say but better would not."""

from __future__ import annotations

from tiphys.api.resource import Object

_CLASS = "kubernetes.io/ingress.class"


def ingress(new: Object, old: Object | None) -> list[str]:
    """Of a creation."""
    annotations = new["metadata"].get("annotations") or {}
    if (
        old is not None
        or _CLASS not in annotations
        or (new.get("spec") or {}).get("ingressClassName") is not None
    ):
        return []
    return [f"annotation \"{_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]
