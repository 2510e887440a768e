"""PersistentVolumeClaimResize: only bound claims of a class that allows it grow."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import UPDATE, Attributes
from tiphys.machinery.quantity import Quantity, parse


class PersistentVolumeClaimResize:
    name = "PersistentVolumeClaimResize"

    def validate(self, attributes: Attributes) -> None:
        if attributes.operation != UPDATE or not attributes.is_for("", "persistentvolumeclaims"):
            return
        assert attributes.object is not None
        assert attributes.old is not None
        if _size(attributes.object) <= _size(attributes.old):
            return
        if (attributes.old.get("status") or {}).get("phase") != "Bound":
            raise attributes.forbidden("Only bound persistent volume claims can be expanded")
        name = attributes.object["spec"].get("storageClassName")
        record = attributes.objects.cache("storage.k8s.io", "storageclasses").get("", name) if name else None
        if record is None or not record.object.get("allowVolumeExpansion"):
            raise attributes.forbidden(
                "only dynamically provisioned pvc can be resized and "
                "the storageclass that provisions the pvc must support resize"
            )


def _size(claim: Object) -> Quantity:
    requests = (claim["spec"].get("resources") or {}).get("requests") or {}
    return parse(requests.get("storage", "0"))
