"""The entries of containerStatuses and its siblings: what one container is, was, and waits for. Pure; facts are upstream's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tiphys.kubelet import allocation, restarting_all, spec
from tiphys.kubelet.runtimes.interface import ContainerUser
from tiphys.kubelet.seen import Seen, SeenContainer, Waiting
from tiphys.kubelet.spec import Kind, Object
from tiphys.machinery import meta

Entry = dict[str, Any]
RUNTIME_NAME = "containerd"
_UNKNOWN_EXIT_CODE = 137
_TERMINATION_MESSAGES_BYTES = 12 * 1024
"""Of all containers of a pod together."""
_EPOCH = "1970-01-01T00:00:00Z"


def container_statuses(
    pod: Object, kind: Kind, seen: Seen, waiting: Mapping[str, Waiting], *, has_ended: bool
) -> list[Entry]:
    """One entry for each container of the spec: init containers in its order, others by name.

    `has_ended`: nothing of the pod runs any more; what should have run and left no trace has failed.
    """
    has_vanished = has_ended and _was_initialized(pod, seen)
    entries = [
        _entry(pod, container, kind, seen, waiting.get(container["name"]), has_ended=has_vanished)
        for container in spec.containers(pod, kind)
    ]
    return entries if kind == "init" else sorted(entries, key=lambda entry: str(entry["name"]))


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
    if kind == "init" and lives and not lives[0].has_exited and _is_final(pod, container, reported):
        return dict(reported or {})
    state, last = _states(pod, container, kind, seen, why) if lives else _forgotten(pod, kind, reported, why)
    if has_ended and "terminated" not in state:
        state = {"terminated": _not_located()}
    newest = lives[0] if lives else None
    started, ready = _health(newest, kind, container, seen)
    entry: Entry = {
        "name": name,
        "state": state,
        "lastState": last or _reported_last(reported, newest),
        "ready": ready,
        "restartCount": newest.status.attempt if newest else _restarts(pod, reported),
        "image": newest.status.image if newest else container.get("image", ""),
        "imageID": newest.status.image_ref if newest else "",
        "started": started,
    }
    if newest is not None:
        entry["containerID"] = container_id(newest.status.id)
        entry |= _resources(pod, container, newest, seen)
        if newest.status.user is not None:
            entry["user"] = {"linux": _user(newest.status.user)}
    elif reported and reported.get("containerID") and "terminated" in state:
        entry["containerID"] = reported["containerID"]
    if name in seen.devices:
        entry["allocatedResourcesStatus"] = list(seen.devices[name])
    mounts = [_mount(mount) for mount in container.get("volumeMounts") or ()]
    return {**entry, "volumeMounts": mounts} if mounts else entry


def _is_final(pod: Object, container: Object, reported: Object | None) -> bool:
    """The API takes no other state any more, although the container runs again: its sandbox was lost."""
    terminated = ((reported or {}).get("state") or {}).get("terminated")
    return (
        terminated is not None
        and not spec.is_sidecar(container)
        and spec.restart_policy(pod) != "Always"
        and not restarting_all.may_happen(pod)
        and not spec.should_restart(pod, container, "init", terminated["exitCode"])
    )


def _forgotten(pod: Object, kind: Kind, reported: Object | None, why: Waiting | None) -> tuple[Entry, Entry]:
    """The states of a container that the runtime does not know: it did not begin yet, or is there no more."""
    before: Entry = (reported or {}).get("state") or {}
    if "terminated" in before:
        return ({"waiting": _waiting(why)}, before) if why else (before, {})
    last: Entry = {"terminated": _LOST} if "running" in before else {}
    return {"waiting": _waiting(why or _not_begun(pod, kind))}, last


def _restarts(pod: Object, reported: Object | None) -> int:
    """Of a container that the runtime does not know: one more if it ran when it was last seen."""
    if reported is None:
        return 0
    was_running = "running" in (reported.get("state") or {})
    return int(reported.get("restartCount", 0)) + (was_running and not meta.is_deleting(pod))


def _states(
    pod: Object, container: Object, kind: Kind, seen: Seen, why: Waiting | None
) -> tuple[Entry, Entry]:
    """The state, and the last state: that of the life before, or of this one when it waits for its restart.

    A container whose postStart hook runs is shown as one that is being created.
    """
    limit = _TERMINATION_MESSAGES_BYTES // len(list(spec.all_containers(pod)))

    def ended(life: SeenContainer | None) -> Entry:
        return {"terminated": _terminated(life, limit)} if life else {}

    newest, *earlier = seen.named(container["name"])
    previous = next((life for life in earlier if life.has_exited), None)
    if why is None and newest.status.id in seen.replaced:
        # Terminated would be final where its policy does not restart it.
        why = _not_begun(pod, kind)
    if newest.has_exited:
        return ({"waiting": _waiting(why)}, ended(newest)) if why else (ended(newest), ended(previous))
    if newest.status.state == "Running" and newest.status.id not in seen.starting:
        return {"running": {"startedAt": _time(newest.status.started_at)}}, ended(previous)
    return {"waiting": _waiting(why or _not_begun(pod, kind))}, ended(previous)


def _not_begun(pod: Object, kind: Kind) -> Waiting:
    initializes = kind == "init" or (kind == "main" and bool(spec.containers(pod, "init")))
    return Waiting("PodInitializing" if initializes else "ContainerCreating")


def _waiting(why: Waiting) -> Entry:
    return {"reason": why.reason, **({"message": why.message} if why.message else {})}


def _terminated(container: SeenContainer, limit_bytes: int) -> Entry:
    status = container.status
    message = status.message.encode(errors="surrogateescape")[:limit_bytes].decode(errors="ignore")
    entry: Entry = {
        "exitCode": status.exit_code,
        "reason": status.reason or ("Completed" if status.exit_code == 0 else "Error"),
        "startedAt": _time(status.started_at),
        "finishedAt": _time(status.finished_at),
        "containerID": container_id(status.id),
    }
    return {**entry, "message": message} if message else entry


def _not_located() -> Entry:
    return {
        "exitCode": _UNKNOWN_EXIT_CODE,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
    }


_LOST = {
    "exitCode": _UNKNOWN_EXIT_CODE,
    "reason": "ContainerStatusUnknown",
    "message": "The container could not be located when the pod was deleted.  The container used to be Running",
}


def _time(moment: datetime | None) -> str:
    return meta.format_time(moment) if moment else _EPOCH


def _reported_last(reported: Object | None, newest: SeenContainer | None) -> Entry:
    """A last state that the runtime has forgotten meanwhile."""
    if reported is None:
        return {}
    state: Entry = reported.get("state") or {}
    is_same_life = newest is None or reported.get("containerID") == container_id(newest.status.id)
    if not is_same_life and "terminated" in state:
        return state
    last: Entry = reported.get("lastState") or {}
    return last


def _health(newest: SeenContainer | None, kind: Kind, container: Object, seen: Seen) -> tuple[bool, bool]:
    """(started, ready). An ordinary init container is ready when it has succeeded."""
    if newest is None:
        return False, False
    status = newest.status
    is_running = status.state == "Running"
    if kind == "init" and not spec.is_sidecar(container):
        return (
            is_running and status.id not in seen.starting,
            status.state == "Exited" and status.exit_code == 0,
        )
    health = seen.health.get(status.id)
    started = is_running and status.id not in seen.starting and (health is None or health.started)
    return started, started and kind != "ephemeral" and (health is None or health.ready)


def _resources(pod: Object, container: Object, newest: SeenContainer, seen: Seen) -> Entry:
    """What it was granted, and what it has: while it runs that may be something else, for a resize takes its time."""
    name = container["name"]
    if not any(each["name"] == name for each in allocation.resizable(pod)):
        return {}
    granted = container.get("resources") or {}
    actual = seen.resize.actual.get(newest.status.id) if seen.resize else None
    entry: Entry = {"resources": _amounts(granted if actual is None else actual)}
    if granted.get("requests"):
        entry["allocatedResources"] = granted["requests"]
    return entry


def _user(user: ContainerUser) -> Entry:
    groups = {"supplementalGroups": list(user.supplemental_groups)} if user.supplemental_groups else {}
    return {"uid": user.uid, "gid": user.gid, **groups}


def _amounts(resources: Object) -> Entry:
    return {kind: resources[kind] for kind in ("limits", "requests", "claims") if resources.get(kind)}


def _mount(mount: Object) -> Entry:
    entry = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        deeply = (mount.get("recursiveReadOnly") or "Disabled") != "Disabled"
        return {**entry, "readOnly": True, "recursiveReadOnly": "Enabled" if deeply else "Disabled"}
    return entry
