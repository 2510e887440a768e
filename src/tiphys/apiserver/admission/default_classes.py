"""DefaultStorageClass and DefaultIngressClass: what names no class of its own gets the one that is marked as the default."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, Attributes, Objects

_DEFAULT_STORAGE = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_DEFAULT_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)


class DefaultStorageClass:
    name = "DefaultStorageClass"

    def admit(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or not attributes.is_for("", "persistentvolumeclaims"):
            return
        claim = attributes.object
        assert claim is not None
        annotations = claim["metadata"].get("annotations") or {}
        # An empty name is a choice, too: no class.
        if "volume.beta.kubernetes.io/storage-class" in annotations or "storageClassName" in claim["spec"]:
            return
        name = _default(attributes.objects, ("storage.k8s.io", "storageclasses"), _DEFAULT_STORAGE)
        if name is not None:
            claim["spec"]["storageClassName"] = name


class DefaultIngressClass:
    name = "DefaultIngressClass"

    def admit(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or not attributes.is_for("networking.k8s.io", "ingresses"):
            return
        ingress = attributes.object
        assert ingress is not None
        annotations = ingress["metadata"].get("annotations") or {}
        if "kubernetes.io/ingress.class" in annotations or "ingressClassName" in ingress["spec"]:
            return
        name = _default(attributes.objects, ("networking.k8s.io", "ingressclasses"), _DEFAULT_INGRESS)
        if name is not None:
            ingress["spec"]["ingressClassName"] = name


def _default(objects: Objects, resource: tuple[str, str], marks: tuple[str, ...]) -> str | None:
    """The newest of the classes that are marked; of equally old ones the first by name."""
    marked = [
        record
        for record in objects.cache(*resource).records.values()
        if any((record.object["metadata"].get("annotations") or {}).get(mark) == "true" for mark in marks)
    ]
    marked.sort(key=lambda record: record.name)
    marked.sort(key=lambda record: str(record.object["metadata"]["creationTimestamp"]), reverse=True)
    return marked[0].name if marked else None
