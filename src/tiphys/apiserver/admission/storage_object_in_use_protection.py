"""StorageObjectInUseProtection: claims, volumes and attribute classes get a finalizer, which keeps them for as long as they are in use.

The protection controllers take it away again (`controllers/protection.py`).
"""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, Attributes

FINALIZERS = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}
PROTECTED = tuple(f"{plural}.{group}" if group else plural for group, plural in FINALIZERS)


class StorageObjectInUseProtection:
    name = "StorageObjectInUseProtection"

    def admit(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or attributes.subresource:
            return
        finalizer = FINALIZERS.get((attributes.row.group, attributes.row.plural))
        if finalizer is None:
            return
        assert attributes.object is not None
        metadata = attributes.object["metadata"]
        finalizers = metadata.get("finalizers") or []
        if finalizer not in finalizers:
            metadata["finalizers"] = [*finalizers, finalizer]
