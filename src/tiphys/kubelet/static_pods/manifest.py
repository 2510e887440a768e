"""From a manifest to the pod that a node runs because of it. Pure.

As upstream (`pkg/kubelet/config`): the name gets the node's, the uid is a digest of where the manifest lies and what it says (so that
a changed file is another pod), unknown fields are passed over, and what needs the API server (secrets, claims, …) is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from tiphys.api.resource import Resource
from tiphys.api.types import TYPES
from tiphys.kubelet.spec import CONFIG_SOURCE
from tiphys.machinery import meta, names, yaml
from tiphys.machinery.fields import aggregate
from tiphys.machinery.frozen import frozen
from tiphys.machinery.schema import DecodeError
from tiphys.machinery.schema.decoding import Decoder

CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_SEEN = "kubernetes.io/config.seen"
PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
"""Of the classes that every cluster has; others are only known to the API server."""
TOLERATE_ALL = {"operator": "Exists", "effect": "NoExecute"}

Object = dict[str, Any]


class BadManifest(ValueError):
    """No pod can be made of it; the text says why, in one line."""


@frozen
class Origin:
    """`kind` is the value of the annotation kubernetes.io/config.source; `location`: a path or URL."""

    kind: Literal["file", "http"]
    location: str
    node: str


def read_pod(data: bytes, origin: Origin, now: datetime) -> Object:
    """The one pod of a file. Raises BadManifest."""
    document = _document(data)
    if document.get("kind") != "Pod" or document.get("apiVersion") != "v1":
        raise BadManifest(f"couldn't parse as pod({_told(document)}), please check config file")
    return static_pod(document, origin, now)


def read_pods(data: bytes, origin: Origin, now: datetime) -> list[Object]:
    """A pod, or all of a list. Raises BadManifest."""
    document = _document(data)
    if document.get("kind") in ("PodList", "List") and document.get("apiVersion") == "v1":
        head = {"apiVersion": "v1", "kind": "Pod"}
        return [static_pod({**head, **item}, origin, now) for item in document.get("items") or ()]
    return [read_pod(data, origin, now)]


def _document(data: bytes) -> Object:
    try:
        document, _ = yaml.load_lenient(data)
    except yaml.YAMLError as error:
        raise BadManifest(f"couldn't parse as pod({error}), please check config file") from None
    if not isinstance(document, dict):
        raise BadManifest("couldn't parse as pod(it is no object), please check config file")
    return document


def _told(document: Object) -> str:
    if not document.get("kind"):
        return "Object 'Kind' is missing"
    return f"invalid pod: {document.get('kind')} of {document.get('apiVersion')}"


def static_pod(document: Object, origin: Origin, now: datetime) -> Object:
    """Checked, with defaults, bound to the node. Raises BadManifest."""
    try:
        # The server's quick check costs 8 MB, which a few manifests are not worth.
        pod: Object = json.loads(json.dumps(Decoder().decode(TYPES.struct("core/v1.Pod"), document)))
    except (DecodeError, RecursionError) as error:
        raise BadManifest(f"couldn't parse as pod({error}), please check config file") from None
    metadata = pod.setdefault("metadata", {})
    spec = pod.setdefault("spec", {})
    pod.pop("status", None)
    if not metadata.get("name"):
        raise BadManifest("invalid pod: name is needed for the pod")
    metadata["uid"] = metadata.get("uid") or _digest(pod, origin)
    metadata["name"] = f"{metadata['name']}-{origin.node.lower()}"
    metadata.setdefault("namespace", "default")
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        CONFIG_HASH: metadata["uid"],
        CONFIG_SEEN: now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        CONFIG_SOURCE: origin.kind,
    }
    spec["nodeName"] = origin.node
    if origin.kind == "file" and TOLERATE_ALL not in (spec.get("tolerations") or ()):
        spec["tolerations"] = [*(spec.get("tolerations") or ()), dict(TOLERATE_ALL)]
    _settle(pod)
    pod["status"]["startTime"] = meta.format_time(now)
    return pod


def _digest(pod: Object, origin: Origin) -> str:
    text = f"host:{origin.node} {origin.kind}:{origin.location} {json.dumps(pod, sort_keys=True)}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _server_row() -> Resource:
    """The API server's rules of pods, which a node without manifests never loads."""
    from tiphys.api.core.resources import RESOURCES

    return next(row for row in RESOURCES if row.plural == "pods")


def _settle(pod: Object) -> None:
    """Defaults and checks as the API server's. Raises BadManifest."""
    row = _server_row()
    assert row.defaults is not None
    assert row.prepare is not None
    assert row.validate is not None
    for what in references(pod["spec"]):
        raise BadManifest(f"static pods may not reference {what}")
    metadata = pod["metadata"]
    problems = [*names.dns1123_subdomain(metadata["name"]), *names.dns1123_label(metadata["namespace"])]
    if problems:
        raise BadManifest(f"invalid pod: {problems[0]}")
    row.defaults(pod)
    row.prepare(pod, None)
    errors = row.validate(pod, None)
    if errors:
        raise BadManifest(f"invalid pod: {aggregate(errors)}")
    name = pod["spec"].get("priorityClassName")
    if name in PRIORITIES:
        pod["spec"]["priority"] = PRIORITIES[name]


def references(spec: Mapping[str, Any]) -> Iterator[str]:
    """Kinds of what a pod needs of the API."""
    if spec.get("serviceAccountName") or spec.get("serviceAccount"):
        yield "serviceaccounts"
    if spec.get("imagePullSecrets"):
        yield "secrets"
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            yield from _of_environment(container)
    if spec.get("resourceClaims"):
        yield "resourceclaims"
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)


_ENVIRONMENT = {
    "secretRef": "secrets",
    "secretKeyRef": "secrets",
    "configMapRef": "configmaps",
    "configMapKeyRef": "configmaps",
}
_VOLUMES = {
    "secret": "secrets",
    "configMap": "configmaps",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims",
    "clusterTrustBundle": "clustertrustbundles",
    "serviceAccountToken": "serviceaccounts",
    "podCertificate": "podcertificaterequests",
}


def _of_environment(container: Mapping[str, Any]) -> Iterator[str]:
    sources = [*(container.get("envFrom") or ())]
    sources += [variable.get("valueFrom") or {} for variable in container.get("env") or ()]
    for source in sources:
        yield from (_ENVIRONMENT[name] for name in source if name in _ENVIRONMENT)


def _of_volume(volume: Mapping[str, Any]) -> Iterator[str]:
    for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
        yield from (_VOLUMES[name] for name in source if name in _VOLUMES)
    if (volume.get("csi") or {}).get("nodePublishSecretRef"):
        yield "secrets"
