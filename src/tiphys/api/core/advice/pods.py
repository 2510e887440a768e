"""What pods and their templates may say but better would not: warnings of a creation (upstream's `pkg/api/pod/warnings.go`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tiphys.api.resource import Object
from tiphys.machinery import names
from tiphys.machinery.fields import Path
from tiphys.machinery.quantity import canonical, parse
from tiphys.machinery.quoting import quote

Advise = Callable[[Object, Object | None], list[str]]
DEPRECATED_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
SHOWN = {"storageos": "storageOS"}
"""Fields that upstream names otherwise than the API."""
_POD_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_CONTAINER_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_NO_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_NOTHING_MATCHES = "a null labelSelector results in matching no pod"
_WHOLE_BYTES = ("memory", "ephemeral-storage")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def pod(new: Object, old: Object | None) -> list[str]:
    """Of a creation only: people seldom update pods, but kubelets and others often."""
    if old is not None:
        return []
    return [*_name(new, "the Pod's hostname"), *warnings(new, Path(), is_template=False)]


def workload(*where: str, names_pods: bool) -> Advise:
    """Of a kind with a pod template there. `names_pods`: with its own name."""
    path = Path(*where)

    def advise(new: Object, old: Object | None) -> list[str]:
        if old is not None and old.get(where[0]) == new.get(where[0]):
            return []
        found = _name(new, "Pod names and hostnames") if names_pods and old is None else []
        template: Any = new
        for field in where:
            template = template.get(field) or {}
        return [*found, *warnings(template, path, is_template=True)]

    return advise


def _name(obj: Object, what: str) -> list[str]:
    problems = names.dns1123_label(obj["metadata"].get("name", ""))
    if not problems:
        return []
    return [
        f"metadata.name: this is used in {what}, which can result in surprising behavior; "
        f"a DNS label is recommended: [{' '.join(problems)}]"
    ]


def warnings(template: Object, at: Path, *, is_template: bool) -> list[str]:
    """Of a pod or a pod template, which stands at a path."""
    spec, annotations = (
        template.get("spec") or {},
        (template.get("metadata") or {}).get("annotations") or {},
    )
    path = at.child("spec")
    return [
        *_placement(spec, path),
        *(
            f"{at.child('metadata', 'annotations').key(key)}: {message}"
            for key, message in _ANNOTATIONS.items()
            if key in annotations
        ),
        *_volumes(spec.get("volumes") or (), path.child("volumes")),
        *_repeated(spec, path),
        *_fractions(spec.get("overhead") or {}, path.child("overhead")),
        *_profiles(spec, annotations, at, is_template=is_template),
        *_containers(spec, path),
        *_ports(spec, path),
        *_grace(spec, path),
        *_affinity(spec.get("affinity") or {}, path.child("affinity")),
    ]


def _placement(spec: Object, path: Path) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        if key in DEPRECATED_NODE_LABELS:
            yield f"{path.child('nodeSelector').key(key)}: {DEPRECATED_NODE_LABELS[key]}"
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    at = path.child("affinity", "nodeAffinity")
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = at.child("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    for index, term in enumerate(required.get("nodeSelectorTerms") or ()):
        yield from node_selector_term(term, terms.index(index))
    terms = at.child("preferredDuringSchedulingIgnoredDuringExecution")
    for index, term in enumerate(affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        yield from node_selector_term(term.get("preference") or {}, terms.index(index).child("preference"))
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        here = path.child("topologySpreadConstraints").index(index)
        key = constraint.get("topologyKey", "")
        if key in DEPRECATED_NODE_LABELS:
            yield f"{here.child('topologyKey')}: {key} is {DEPRECATED_NODE_LABELS[key]}"
        if constraint.get("labelSelector") is None:
            yield f"{here.child('labelSelector')}: {_NOTHING_MATCHES}"


def node_selector_term(term: Object, path: Path) -> Iterator[str]:
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        key = expression.get("key", "")
        if key in DEPRECATED_NODE_LABELS:
            where = path.child("matchExpressions").index(index).child("key")
            yield f"{where}: {key} is {DEPRECATED_NODE_LABELS[key]}"


def _volumes(volumes: Iterable[Object], path: Path) -> Iterator[str]:
    for index, volume in enumerate(volumes):
        for kind, message in _VOLUMES.items():
            if volume.get(kind) is not None:
                yield f"{path.index(index).child(SHOWN.get(kind, kind))}: {message}"
        claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if claim is not None:
            where = path.index(index).child("ephemeral", "volumeClaimTemplate", "spec")
            yield from claim_spec(claim.get("spec") or {}, where)


def claim_spec(spec: Object, path: Path) -> Iterator[str]:
    """Of a PersistentVolumeClaim's spec."""
    resources = spec.get("resources") or {}
    for field in ("requests", "limits"):
        where = path.child("resources", field)
        yield from _fractions(resources.get(field) or {}, where, ("storage",))


def _repeated(spec: Object, path: Path) -> Iterator[str]:
    for field, key, word in (("hostAliases", "ip", "ip"), ("imagePullSecrets", "name", "name")):
        seen = set()
        for index, item in enumerate(spec.get(field) or ()):
            value = item.get(key, "")
            if value in seen:
                yield f"{path.child(field).index(index).child(key)}: duplicate {word} {quote(value)}"
            seen.add(value)
    for index, item in enumerate(spec.get("imagePullSecrets") or ()):
        if not item.get("name"):
            yield f'{path.child("imagePullSecrets").index(index).child("name")}: invalid empty name ""'


def _fractions(
    amounts: Mapping[str, Any], path: Path, resources: tuple[str, ...] = _WHOLE_BYTES
) -> Iterator[str]:
    for resource in resources:
        if resource in amounts and parse(amounts[resource]).milli % 1000:
            shown = quote(canonical(amounts[resource]))
            yield f"{path.key(resource)}: fractional byte value {shown} is invalid, must be an integer"


def _profiles(spec: Object, annotations: Mapping[str, str], at: Path, *, is_template: bool) -> Iterator[str]:
    """Annotations that were fields' forerunners."""
    if not annotations:
        return
    where, security = at.child("metadata", "annotations"), spec.get("securityContext") or {}
    if _POD_SECCOMP in annotations and security.get("seccompProfile") is None:
        yield f"{where.key(_POD_SECCOMP)}: {_NO_SECCOMP}"
    for field in _CONTAINERS:
        for container in spec.get(field) or ():
            own = container.get("securityContext") or {}
            key = _CONTAINER_SECCOMP + container.get("name", "")
            if key in annotations and own.get("seccompProfile") is None:
                yield f"{where.key(key)}: {_NO_SECCOMP}"
            key = _APP_ARMOR + container.get("name", "")
            has_field = (own.get("appArmorProfile") or security.get("appArmorProfile")) is not None
            if is_template and key in annotations and not has_field:
                yield f'{where.key(key)}: deprecated since v1.30; use the "appArmorProfile" field instead'


def _each_container(spec: Object, path: Path) -> Iterator[tuple[Object, Path]]:
    for field in _CONTAINERS:
        for index, container in enumerate(spec.get(field) or ()):
            yield container, path.child(field).index(index)


def _containers(spec: Object, path: Path) -> Iterator[str]:
    for container, here in _each_container(spec, path):
        resources = container.get("resources")
        if resources:
            for resource in _WHOLE_BYTES:
                for field in ("limits", "requests"):
                    where = here.child("resources", field)
                    yield from _fractions(resources.get(field) or {}, where, (resource,))
        seen = set()
        for index, variable in enumerate(container.get("env") or ()):
            name = variable.get("name", "")
            if name in seen and _hides(variable, f"$({name})"):
                where = here.child("env").index(index)
                yield f"{where}: hides previous definition of {quote(name)}, which may be dropped when using apply"
            seen.add(name)


def _hides(variable: Object, reference: str) -> bool:
    """Not when the new value contains the old one and more."""
    value = variable.get("value") or ""
    return variable.get("valueFrom") is not None or value == reference or reference not in value


def _ports(spec: Object, path: Path) -> Iterator[str]:
    seen: dict[tuple[Any, Any], list[tuple[Object, Path]]] = {}
    for container, here in _each_container(spec, path):
        for index, port in enumerate(container.get("ports") or ()):
            where = here.child("ports").index(index)
            others = seen.setdefault((port.get("containerPort"), port.get("protocol")), [])
            for other, place in others:
                if word := _overlap(port, other):
                    yield f"{where}: {word} port definition with {place}"
            others.append((port, where))


def _overlap(port: Object, other: Object) -> str:
    ours, theirs = port.get("hostPort") or 0, other.get("hostPort") or 0
    address, their_address = port.get("hostIP") or "", other.get("hostIP") or ""
    if (ours, address) == (theirs, their_address):
        return "duplicate"
    if not ours or not theirs:
        return "overlapping"
    return "dangerously ambiguous" if ours == theirs and bool(address) != bool(their_address) else ""


def _grace(spec: Object, path: Path) -> Iterator[str]:
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        where = path.child("terminationGracePeriodSeconds")
        yield f"{where}: must be >= 0; negative values are invalid and will be treated as 1"


def _affinity(affinity: Object, path: Path) -> Iterator[str]:
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        for field, inside in (
            ("requiredDuringSchedulingIgnoredDuringExecution", ()),
            ("preferredDuringSchedulingIgnoredDuringExecution", ("podAffinityTerm",)),
        ):
            for index, each in enumerate(rules.get(field) or ()):
                term = each.get("podAffinityTerm") or {} if inside else each
                if term.get("labelSelector") is None:
                    where = path.child(kind, field).index(index).child(*inside, "labelSelector")
                    yield f"{where}: {_NOTHING_MATCHES}"
