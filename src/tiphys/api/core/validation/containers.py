"""Containers of a pod: the long-running ones, those that run first, and those that join for a look."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tiphys.api.core.validation import environment
from tiphys.api.core.validation.paths import local_descending_path, no_backsteps
from tiphys.api.core.validation.probes import container_probes
from tiphys.api.core.validation.resources import container_requirements
from tiphys.api.core.validation.security import container_security_context
from tiphys.api.core.validation.volumes import PULL_POLICIES
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule, one_of, port_number, required_name, required_one_of
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.frozen import frozen

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE_READ_ONLY = ("Disabled", "Enabled", "IfPossible")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_RESTART_RULES_LIMIT = 20
_EXIT_CODES_LIMIT = 255
_ONLY_FOR_SIDECARS = "may not be set for init containers without restartPolicy=Always"
_PROBES = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
_NOT_EPHEMERAL = ("ports", "resources", *_PROBES, "resizePolicy", "restartPolicy", "restartPolicyRules")
NOT_FOR_EPHEMERAL = "cannot be set for an Ephemeral Container"


@frozen
class Surroundings:
    """What of a pod its containers are checked against."""

    volumes: Mapping[str, Object]
    claims: Collection[str]
    restart_policy: str
    grace_seconds: int | None
    host_users: bool


def containers(values: list[Object], pod: Surroundings, path: Path) -> Errors:
    if not values:
        return [FieldError.required(path)]
    errors: Errors = []
    seen: set[str] = set()
    for position, container in enumerate(values):
        here, name = path.index(position), container.get("name") or ""
        errors += _any_container(container, pod, here)
        if name in seen:
            errors.append(FieldError.duplicate(here.child("name"), name))
        seen.add(name)
        errors += container_probes(container, pod.grace_seconds, here)
        errors += _restart_policy(container, here)
    return errors + _host_port_conflicts(enumerate(values), path)


def init_containers(values: list[Object], others: list[Object], pod: Surroundings, path: Path) -> Errors:
    errors: Errors = []
    seen = {each.get("name") or "" for each in others}
    for position, container in enumerate(values):
        here, name = path.index(position), container.get("name") or ""
        errors += _any_container(container, pod, here)
        errors += _restart_policy(container, here)
        if name in seen:
            errors.append(FieldError.duplicate(here.child("name"), name))
        elif name:
            seen.add(name)
        # They run one after the other: ports can only be in each one's own way. (The place is upstream's.)
        errors += _host_port_conflicts([(0, container)], path)
        if container.get("restartPolicy") == "Always":
            errors += container_probes(container, pod.grace_seconds, here)
        else:
            wrong = [field for field in _PROBES if container.get(field) is not None]
            errors += [FieldError.forbidden(here.child(field), _ONLY_FOR_SIDECARS) for field in wrong]
    return errors


def ephemeral_containers(values: list[Object], others: list[Object], pod: Surroundings, path: Path) -> Errors:
    errors: Errors = []
    targets = {each.get("name") or "" for each in others}
    seen = set(targets)
    for position, container in enumerate(values):
        here, name = path.index(position), container.get("name") or ""
        errors += _any_container(container, pod, here)
        errors += image_without_padding(container, here)
        if name in seen:
            errors.append(FieldError.duplicate(here.child("name"), name))
        seen.add(name)
        target = container.get("targetContainerName")
        if target and target not in targets:
            errors.append(FieldError.not_found(here.child("targetContainerName"), target))
        wrong = [field for field in _NOT_EPHEMERAL if container.get(field)]
        errors += [FieldError.forbidden(here.child(field), NOT_FOR_EPHEMERAL) for field in wrong]
        errors += _no_sub_paths(container, here)
    return errors


def _no_sub_paths(container: Object, path: Path) -> Errors:
    return [
        FieldError.forbidden(path.child("volumeMounts").index(position).child(field), NOT_FOR_EPHEMERAL)
        for position, mount in enumerate(container.get("volumeMounts") or ())
        for field in ("subPath", "subPathExpr")
        if mount.get(field)
    ]


def _any_container(container: Object, pod: Surroundings, path: Path) -> Errors:
    errors = required_name(names.dns1123_label, container.get("name"), path.child("name"))
    if not container.get("image"):
        errors.append(FieldError.required(path.child("image")))
    if container.get("terminationMessagePolicy") not in ("File", "FallbackToLogsOnError"):
        allowed = ("File", "FallbackToLogsOnError")
        here = path.child("terminationMessagePolicy")
        errors += required_one_of(container.get("terminationMessagePolicy"), allowed, here)
    if container.get("imagePullPolicy") not in PULL_POLICIES:
        errors += required_one_of(
            container.get("imagePullPolicy"), PULL_POLICIES, path.child("imagePullPolicy")
        )
    if ports := container.get("ports"):
        errors += _ports(ports, path.child("ports"))
    if env := container.get("env"):
        errors += environment.variables(env, path.child("env"))
    if env_from := container.get("envFrom"):
        errors += environment.sources(env_from, path.child("envFrom"))
    if container.get("volumeMounts") or container.get("volumeDevices"):
        errors += _mounts(container, pod.volumes, path.child("volumeMounts"))
        errors += _devices(container, pod.volumes, path.child("volumeDevices"))
    if resources := container.get("resources"):
        errors += container_requirements(resources, pod.claims, path.child("resources"))
    if policies := container.get("resizePolicy"):
        errors += _resize_policies(policies, pod.restart_policy, path.child("resizePolicy"))
    if context := container.get("securityContext"):
        here = path.child("securityContext")
        errors += container_security_context(context, here, host_users=pod.host_users)
    return errors


def image_without_padding(container: Object, path: Path) -> Errors:
    """Of a pod, not of a template: old templates have such images."""
    image = container.get("image") or ""
    if image == image.strip():
        return []
    return [FieldError.invalid(path.child("image"), image, "must not have leading or trailing whitespace")]


# Ports


def _ports(ports: Iterable[Object], path: Path) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, port in enumerate(ports):
        here, name = path.index(position), port.get("name")
        if name:
            faults = by_rule(names.port_name, name, here.child("name"))
            if not faults and name in seen:
                faults = [FieldError.duplicate(here.child("name"), name)]
            errors += faults
            seen.add(name)
        number = port.get("containerPort")
        if not number:
            errors.append(FieldError.required(here.child("containerPort")))
        else:
            errors += port_number(number, here.child("containerPort"))
        if port.get("hostPort"):
            errors += port_number(port["hostPort"], here.child("hostPort"))
        if port.get("protocol") not in PROTOCOLS:
            errors += required_one_of(port.get("protocol"), PROTOCOLS, here.child("protocol"))
    return errors


def _host_port_conflicts(values: Iterable[tuple[int, Object]], path: Path) -> Errors:
    errors: Errors = []
    taken: set[str] = set()
    for position, container in values:
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if key in taken:
                here = path.index(position).child("ports").index(number).child("hostPort")
                errors.append(FieldError.duplicate(here, key))
            taken.add(key)
    return errors


# Volumes


def _mounts(container: Object, volumes: Mapping[str, Object], path: Path) -> Errors:
    errors: Errors = []
    devices = {each.get("name"): each.get("devicePath") for each in container.get("volumeDevices") or ()}
    places: set[str] = set()
    for position, mount in enumerate(container.get("volumeMounts") or ()):
        here = path.index(position)
        name, place = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(FieldError.required(here.child("name")))
        if name not in volumes:
            errors.append(FieldError.not_found(here.child("name"), name))
        if not place:
            errors.append(FieldError.required(here.child("mountPath")))
        if place in places:
            errors.append(FieldError.invalid(here.child("mountPath"), place, "must be unique"))
        places.add(place)
        if name in devices:
            detail = "must not already exist in volumeDevices"
            errors.append(FieldError.invalid(here.child("name"), name, detail))
        if place in devices.values():
            detail = "must not already exist as a path in volumeDevices"
            errors.append(FieldError.invalid(here.child("mountPath"), place, detail))
        if len(mount) > 2:
            errors += _mount_options(mount, container, volumes.get(name) or {}, here)
    return errors


def _mount_options(mount: Object, container: Object, volume: Object, path: Path) -> Errors:
    errors: Errors = []
    # Some places are those of the list, without its index: upstream's, kept.
    whole = Path(path.text[: path.text.rindex("[")])
    sub_path, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
    if sub_path:
        errors += local_descending_path(sub_path, whole.child("subPath"))
    if expression:
        if sub_path:
            detail = "subPathExpr and subPath are mutually exclusive"
            errors.append(FieldError.invalid(path.child("subPathExpr"), expression, detail))
        errors += local_descending_path(expression, whole.child("subPathExpr"))
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        errors += _propagation(propagation, container, whole.child("mountPropagation"))
    if mount.get("recursiveReadOnly") is not None:
        errors += _recursive_read_only(mount, whole.child("recursiveReadOnly"))
    return errors


def _propagation(value: str, container: Object, path: Path) -> Errors:
    errors = one_of(value, _PROPAGATIONS, path)
    if value == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        detail = "Bidirectional mount propagation is available only to privileged containers"
        errors.append(FieldError.forbidden(path, detail))
    return errors


def _recursive_read_only(mount: Object, path: Path) -> Errors:
    value = mount["recursiveReadOnly"]
    if value not in ("Enabled", "IfPossible"):
        return one_of(value, _RECURSIVE_READ_ONLY, path)
    errors: Errors = []
    if not mount.get("readOnly"):
        errors.append(FieldError.forbidden(path, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation") not in (None, "None"):
        detail = "may only be specified when mountPropagation is None or not specified"
        errors.append(FieldError.forbidden(path, detail))
    return errors


def _devices(container: Object, volumes: Mapping[str, Object], path: Path) -> Errors:
    errors: Errors = []
    mounts = {each.get("name"): each.get("mountPath") for each in container.get("volumeMounts") or ()}
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for position, device in enumerate(container.get("volumeDevices") or ()):
        here = path.index(position)
        name, place = device.get("name") or "", device.get("devicePath") or ""
        errors += _device_name(name, volumes.get(name), here.child("name"))
        errors += _device_path(place, here.child("devicePath"))
        for value, seen, taken, field, where in (
            (name, seen_names, mounts.keys(), "name", "must not already exist in volumeMounts"),
            (
                place,
                seen_paths,
                mounts.values(),
                "devicePath",
                "must not already exist as a path in volumeMounts",
            ),
        ):
            if value in seen:
                errors.append(FieldError.invalid(here.child(field), value, "must be unique"))
            if value in taken:
                errors.append(FieldError.invalid(here.child(field), value, where))
        seen_names.add(name)
        seen_paths.add(place)
    return errors


def _device_name(name: str, volume: Object | None, path: Path) -> Errors:
    errors: Errors = [] if name else [FieldError.required(path)]
    if volume is None:
        errors.append(FieldError.not_found(path, name))
    elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
        detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
        errors.append(FieldError.invalid(path, name, detail))
    return errors


def _device_path(place: str, path: Path) -> Errors:
    if not place:
        return [FieldError.required(path)]
    if no_backsteps(place, path):
        return [FieldError.invalid(path, place, "can not contain backsteps ('..')")]
    return []


# Restarts and resizes


def _restart_policy(container: Object, path: Path) -> Errors:
    """A container's own policy, and rules by exit code (KEP-5307)."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    errors: Errors = []
    if policy is not None:
        errors += one_of(policy, _RESTART_POLICIES, path.child("restartPolicy"))
    if not rules:
        return errors
    here = path.child("restartPolicyRules")
    if policy is None:
        detail = "must specify restartPolicy when restart rules are used"
        errors.append(FieldError.required(path.child("restartPolicy"), detail))
    if len(rules) > _RESTART_RULES_LIMIT:
        errors.append(FieldError.too_many(here, len(rules), _RESTART_RULES_LIMIT))
    for position, rule in enumerate(rules):
        errors += _restart_rule(rule, here.index(position))
    return errors


def _restart_rule(rule: Object, path: Path) -> Errors:
    errors = required_one_of(rule.get("action"), ("Restart", "RestartAllContainers"), path.child("action"))
    codes, here = rule.get("exitCodes"), path.child("exitCodes")
    if codes is None:
        return [*errors, FieldError.required(here, "must be specified")]
    errors += one_of(codes.get("operator"), ("In", "NotIn"), here.child("operator"))
    values = codes.get("values") or ()
    if len(values) > _EXIT_CODES_LIMIT:
        errors.append(FieldError.too_many(here.child("values"), len(values), _EXIT_CODES_LIMIT))
    return errors


def _resize_policies(policies: Iterable[Object], restart_policy: str, path: Path) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, policy in enumerate(policies):
        resource, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if resource in seen:
            errors.append(FieldError.duplicate(path.index(position), resource))
        seen.add(resource)
        errors += required_one_of(resource, ("cpu", "memory"), path)
        errors += required_one_of(restart, ("NotRequired", "RestartContainer"), path)
        if restart_policy == "Never" and restart != "NotRequired":
            detail = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            errors.append(FieldError.invalid(path, restart, detail))
    return errors
