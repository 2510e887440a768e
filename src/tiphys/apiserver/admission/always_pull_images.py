"""AlwaysPullImages: who uses an image shows each time that they may pull it, also where a node has it already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.machinery.fields import FieldError, Path, aggregate

ALWAYS = "Always"
_SPEC = Path("spec")


class AlwaysPullImages:
    name = "AlwaysPullImages"

    def admit(self, attributes: Attributes) -> None:
        if not _concerns(attributes):
            return
        assert attributes.object is not None
        for place, field, _ in _places(attributes.object):
            place[field] = ALWAYS

    def validate(self, attributes: Attributes) -> None:
        if not _concerns(attributes):
            return
        assert attributes.object is not None
        wrong = [
            FieldError.not_supported(path, place.get(field, ""), [ALWAYS])
            for place, field, path in _places(attributes.object)
            if place.get(field) != ALWAYS
        ]
        if wrong:
            raise attributes.forbidden(aggregate(wrong))


def _concerns(attributes: Attributes) -> bool:
    """New pods, and those that get other images: what runs already is left alone."""
    if attributes.operation not in (CREATE, UPDATE) or not attributes.is_for("", "pods"):
        return False
    if attributes.old is None:
        return True
    assert attributes.object is not None
    return not _images(attributes.object) <= _images(attributes.old)


def _containers(pod: Object) -> Iterator[tuple[dict[str, Any], Path]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for position, container in enumerate(pod["spec"].get(field) or ()):
            yield container, _SPEC.child(field).index(position)


def _images(pod: Object) -> set[str]:
    return {container.get("image", "") for container, _ in _containers(pod)}


def _places(pod: Object) -> Iterator[tuple[dict[str, Any], str, Path]]:
    """Where a policy stands: the object, its field, and the path of that."""
    for container, path in _containers(pod):
        yield container, "imagePullPolicy", path.child("imagePullPolicy")
    for position, volume in enumerate(pod["spec"].get("volumes") or ()):
        if volume.get("image") is not None:
            yield (
                volume["image"],
                "pullPolicy",
                _SPEC.child("volumes").index(position).child("image", "pullPolicy"),
            )
