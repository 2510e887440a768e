"""RestartAllContainers (KEP-5532): a container whose end matches such a rule takes the whole pod back to its beginning, in its sandbox.

What shows that it is under way is the ended container itself: it is removed last, so a kubelet that comes back goes on. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.kubelet import spec
from tiphys.kubelet.actions import RemoveContainer
from tiphys.kubelet.seen import Seen, SeenContainer
from tiphys.kubelet.spec import Object

RESTART_ALL = "RestartAllContainers"


def may_happen(pod: Object) -> bool:
    return any(
        rule.get("action") == RESTART_ALL
        for container in _restarted(pod)
        for rule in container.get("restartPolicyRules") or ()
    )


def _restarted(pod: Object) -> Iterator[Object]:
    yield from spec.containers(pod, "init")
    yield from spec.containers(pod)


def is_under_way(pod: Object, seen: Seen) -> bool:
    return any(_is_source(pod, container) for container in _newest(pod, seen))


def _newest(pod: Object, seen: Seen) -> list[SeenContainer]:
    found = (seen.newest(container["name"]) for container in _restarted(pod))
    return [container for container in found if container is not None]


def _is_source(pod: Object, container: SeenContainer) -> bool:
    if not container.has_exited:
        return False
    found = spec.find_container(pod, container.status.name)
    rule = spec.matching_rule(found, container.status.exit_code) if found else None
    return rule is not None and rule.get("action") == RESTART_ALL


def alive(pod: Object, seen: Seen) -> list[SeenContainer]:
    """Those that must be ended first."""
    names = {container["name"] for container in _restarted(pod)}
    return [
        container for container in seen.containers if container.is_alive and container.status.name in names
    ]


def removals(pod: Object, seen: Seen) -> list[RemoveContainer]:
    """What has ended goes: first what did not cause it, and then what did."""
    names = {container["name"] for container in _restarted(pod)}
    ended = [container.status for container in seen.containers if container.status.name in names]
    sources = {container.status.id for container in _newest(pod, seen) if _is_source(pod, container)}
    first = [status for status in ended if status.id not in sources]
    return [RemoveContainer(status.id, status.name, status.id in sources) for status in first or ended]
