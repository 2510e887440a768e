"""The entries of containerStatuses and its siblings: what one container is, was, and waits for. Pure; facts are upstream's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tiphys.kubelet import spec
from tiphys.kubelet.seen import Seen, SeenContainer, Waiting
from tiphys.kubelet.spec import Kind, Object
from tiphys.machinery import meta

Entry = dict[str, Any]
RUNTIME_NAME = "containerd"
_UNKNOWN_EXIT_CODE = 137
_EPOCH = "1970-01-01T00:00:00Z"


def container_statuses(
    pod: Object, kind: Kind, seen: Seen, waiting: Mapping[str, Waiting], *, has_ended: bool
) -> list[Entry]:
    """One entry for each container of the spec, in its order.

    `has_ended`: nothing of the pod runs any more; what should have run and left no trace has failed.
    """
    has_vanished = has_ended and _was_initialized(pod, seen)
    return [
        _entry(pod, container, kind, seen, waiting.get(container["name"]), has_ended=has_vanished)
        for container in spec.containers(pod, kind)
    ]


def _was_initialized(pod: Object, seen: Seen) -> bool:
    """Its main containers had their turn."""
    init = [seen.newest(container["name"]) for container in spec.containers(pod, "init")]
    if all(life is not None and life.has_exited and life.status.exit_code == 0 for life in init):
        return True
    return any(seen.newest(container["name"]) for container in spec.containers(pod))


def container_id(id: str) -> str:
    return f"{RUNTIME_NAME}://{id}"


def _entry(
    pod: Object, container: Object, kind: Kind, seen: Seen, why: Waiting | None, *, has_ended: bool
) -> Entry:
    name = container["name"]
    lives = seen.named(name)
    reported = spec.reported_status(pod, name)
    if not lives and reported is not None and spec.is_finished(pod):
        return dict(reported)
    state, last = _states(pod, container, kind, lives, why)
    if has_ended and "terminated" not in state:
        state = {"terminated": _not_located()}
    newest = lives[0] if lives else None
    started, ready = _health(newest, kind, container, seen)
    entry: Entry = {
        "name": name,
        "state": state,
        "lastState": last or _reported_last(reported, newest),
        "ready": ready,
        "restartCount": newest.status.attempt if newest else (reported or {}).get("restartCount", 0),
        "image": newest.status.image if newest else container.get("image", ""),
        "imageID": newest.status.image_ref if newest else "",
        "started": started,
    }
    if newest is not None:
        entry["containerID"] = container_id(newest.status.id)
    return {**entry, **_granted(container, kind)}


def _states(
    pod: Object, container: Object, kind: Kind, lives: list[SeenContainer], why: Waiting | None
) -> tuple[Entry, Entry]:
    """The state, and the last state: that of the life before, or of this one when it waits for its restart."""
    if not lives:
        return {"waiting": _waiting(why or _not_begun(pod, kind))}, {}
    newest, *earlier = lives
    ended = next((life for life in lives if life.has_exited), None)
    if newest.status.state == "Running":
        last = {"terminated": _terminated(ended)} if ended else {}
        return {"running": {"startedAt": _time(newest.status.started_at)}}, last
    if newest.has_exited:
        terminated = {"terminated": _terminated(newest)}
        if why is not None:
            return {"waiting": _waiting(why)}, terminated
        previous = next((life for life in earlier if life.has_exited), None)
        return terminated, {"terminated": _terminated(previous)} if previous else {}
    last = {"terminated": _terminated(ended)} if ended else {}
    return {"waiting": _waiting(why or Waiting("ContainerCreating"))}, last


def _not_begun(pod: Object, kind: Kind) -> Waiting:
    initializes = kind == "init" or (kind == "main" and bool(spec.containers(pod, "init")))
    return Waiting("PodInitializing" if initializes else "ContainerCreating")


def _waiting(why: Waiting) -> Entry:
    return {"reason": why.reason, **({"message": why.message} if why.message else {})}


def _terminated(container: SeenContainer) -> Entry:
    status = container.status
    entry: Entry = {
        "exitCode": status.exit_code,
        "reason": status.reason or ("Completed" if status.exit_code == 0 else "Error"),
        "startedAt": _time(status.started_at),
        "finishedAt": _time(status.finished_at),
        "containerID": container_id(status.id),
    }
    return {**entry, "message": status.message} if status.message else entry


def _not_located() -> Entry:
    return {
        "exitCode": _UNKNOWN_EXIT_CODE,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
    }


def _time(moment: datetime | None) -> str:
    return meta.format_time(moment) if moment else _EPOCH


def _reported_last(reported: Object | None, newest: SeenContainer | None) -> Entry:
    """A last state that the runtime has forgotten meanwhile."""
    if reported is None:
        return {}
    last: Entry = reported.get("lastState") or {}
    is_same_life = newest is not None and reported.get("containerID") == container_id(newest.status.id)
    return last if newest is None or is_same_life else {}


def _health(newest: SeenContainer | None, kind: Kind, container: Object, seen: Seen) -> tuple[bool, bool]:
    """(started, ready). An ordinary init container is ready when it has succeeded."""
    if newest is None:
        return False, False
    status = newest.status
    is_running = status.state == "Running"
    if kind == "init" and not spec.is_sidecar(container):
        return is_running, status.state == "Exited" and status.exit_code == 0
    health = seen.health.get(status.id)
    started = is_running and (health is None or health.started)
    return started, started and kind != "ephemeral" and (health is None or health.ready)


def _granted(container: Object, kind: Kind) -> Entry:
    """What it was given: resources and volumes."""
    granted: Entry = {}
    resources = container.get("resources") or {}
    if kind != "ephemeral":
        granted["resources"] = {
            name: resources[name] for name in ("limits", "requests") if resources.get(name)
        }
        if resources.get("requests"):
            granted["allocatedResources"] = resources["requests"]
    mounts = [_mount(mount) for mount in container.get("volumeMounts") or ()]
    return {**granted, "volumeMounts": mounts} if mounts else granted


def _mount(mount: Object) -> Entry:
    entry = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        deeply = (mount.get("recursiveReadOnly") or "Disabled") != "Disabled"
        return {**entry, "readOnly": True, "recursiveReadOnly": "Enabled" if deeply else "Disabled"}
    return entry
