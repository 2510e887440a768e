"""Which representation a client wants: media type, and whether objects, a Table or only their metadata."""

from __future__ import annotations

from functools import lru_cache

from tiphys.machinery import errors
from tiphys.machinery.frozen import frozen

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
SERVED = (JSON, YAML, PROTOBUF)
WITHOUT_PROTOBUF = (JSON, YAML)
_TRANSFORMS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})


@frozen
class Representation:
    """`transform` is "" for the objects themselves, else "Table", "PartialObjectMetadata" or its list."""

    media_type: str = JSON
    transform: str = ""
    version: str = "v1"


AS_IS = Representation()


@lru_cache(maxsize=256)
def accepted(accept: str, served: tuple[str, ...] = SERVED, *, tables: bool = True) -> Representation:
    """The best representation for an Accept header. Raises a 406 StatusError when none of its clauses can be served.

    `tables`: whether there are columns for what is served."""
    if not accept or accept == "*/*" or accept == JSON:
        return AS_IS
    for clause in clauses_by_weight(accept):
        found = _represent(*clause, served)
        if found is not None and found.transform == "Table" and not tables:
            continue
        if found is not None:
            return found
    raise errors.not_acceptable(served)


def clauses_by_weight(accept: str) -> list[tuple[str, dict[str, str]]]:
    weighted: list[tuple[float, str, dict[str, str]]] = []
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        options = dict(parameter.partition("=")[::2] for parameter in parameters if "=" in parameter)
        try:
            weight = float(options.pop("q", "1"))
        except ValueError:
            weight = 1.0
        weighted.append((weight, media.lower(), options))
    weighted.sort(key=lambda item: -item[0])
    return [(media, options) for weight, media, options in weighted if weight > 0]


def _represent(media: str, options: dict[str, str], served: tuple[str, ...]) -> Representation | None:
    if media in ("*/*", "application/*"):
        media = JSON
    transform = options.get("as", "")
    if media not in served and not (media == PROTOBUF and transform.startswith("PartialObjectMetadata")):
        return None  # metadata has protobuf, whatever it is of
    if not transform:
        return Representation(media)
    version = options.get("v", "")
    if transform not in _TRANSFORMS or options.get("g") != "meta.k8s.io" or version not in ("v1", "v1beta1"):
        return None
    if transform == "Table" and media == PROTOBUF:
        return None
    return Representation(media, transform, version)
