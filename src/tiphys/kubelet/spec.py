"""What a pod's spec says, as questions that the kubelet asks it. Pure; a Pod is a plain dict with the API's defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from tiphys.machinery import meta

Object = Mapping[str, Any]
Kind = Literal["init", "main", "ephemeral"]

DEFAULT_GRACE_SECONDS = 30
_FIELDS: Mapping[Kind, str] = {
    "init": "initContainers",
    "main": "containers",
    "ephemeral": "ephemeralContainers",
}


def containers(pod: Object, kind: Kind = "main") -> Sequence[Object]:
    return pod["spec"].get(_FIELDS[kind]) or ()


def all_containers(pod: Object) -> Iterator[Object]:
    """Init, main and ephemeral containers, in this order; no two share a name."""
    for kind in _FIELDS:
        yield from containers(pod, kind)


def find_container(pod: Object, name: str) -> Object | None:
    return next((container for container in all_containers(pod) if container["name"] == name), None)


def is_sidecar(container: Object, kind: Kind = "init") -> bool:
    """An init container that is kept running beside the main ones (KEP-753)."""
    return kind == "init" and container.get("restartPolicy") == "Always"


def sidecars(pod: Object) -> list[Object]:
    return [container for container in containers(pod, "init") if is_sidecar(container)]


def is_passing(pod: Object, container: Object) -> bool:
    """An init container that has ended when the next container begins."""
    return any(each["name"] == container["name"] and not is_sidecar(each) for each in containers(pod, "init"))


def restart_policy(pod: Object) -> str:
    return pod["spec"].get("restartPolicy") or "Always"


def should_restart(pod: Object, container: Object, kind: Kind, exit_code: int) -> bool:
    """Whether a container that ended with this code is started again.

    A container's own policy and rules (KEP-5307) win over the pod's. An init container of a pod that always restarts is done
    when it succeeds; an ephemeral one never comes back.
    """
    if kind == "ephemeral":
        return False
    if matching_rule(container, exit_code) is not None:
        return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    if kind == "init" and not is_sidecar(container):
        return policy != "Never" and exit_code != 0
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def matching_rule(container: Object, exit_code: int) -> Object | None:
    """The first of its restartPolicyRules that is about this exit code; each of them restarts something."""
    for rule in container.get("restartPolicyRules") or ():
        if _covers(rule.get("exitCodes") or {}, exit_code):
            return rule  # type: ignore[no-any-return]
    return None


def is_restartable(pod: Object, container: Object) -> bool:
    """Whether a container that the kubelet ends, for its probes, is started again (upstream looks at no rules here)."""
    return (container.get("restartPolicy") or restart_policy(pod)) != "Never"


def _covers(exit_codes: Mapping[str, Any], exit_code: int) -> bool:
    is_listed = exit_code in (exit_codes.get("values") or ())
    return {"In": is_listed, "NotIn": not is_listed}.get(exit_codes.get("operator") or "", False)


def grace_seconds(pod: Object) -> float:
    """How long its containers may take to end: what the deletion grants, else what the spec asks for; a second at least."""
    granted = meta.metadata(pod).get("deletionGracePeriodSeconds")
    if granted is None:
        granted = pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    return float(max(granted, 1))


def uses_host_network(pod: Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def is_finished(pod: Object) -> bool:
    """Its status says Succeeded or Failed: it never runs again."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def described(pod: Object) -> str:
    """ "web_default(5c2b81f2-…)", as upstream's messages name a pod."""
    return f"{meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})"


def reported_status(pod: Object, name: str) -> Object | None:
    """What the API says of one container."""
    status = pod.get("status") or {}
    fields = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    return next(
        (entry for field in fields for entry in status.get(field) or () if entry["name"] == name), None
    )


# Who a pod is

CONFIG_SOURCE = "kubernetes.io/config.source"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000


def is_static(pod: Object) -> bool:
    """It comes from a file of the node, not from the API; or it is how the API shows such a one."""
    annotations = meta.annotations(pod)
    return CONFIG_MIRROR in annotations or annotations.get(CONFIG_SOURCE, "api") != "api"


def is_critical(pod: Object) -> bool:
    """The node does not do without it."""
    return is_static(pod) or priority(pod) >= SYSTEM_CRITICAL_PRIORITY


def priority(pod: Object) -> int:
    return int(pod["spec"].get("priority") or 0)
