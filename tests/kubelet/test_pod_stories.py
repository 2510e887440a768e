"""Pods as pure functions: what is seen of one, what is planned, and what its status then says.

A story gives the pod (metadata and whatever is missing of the spec are filled in) and, under `seen`, what the kubelet sees in short
forms (see `_seen`). What comes out is the plan's actions in order, when to look again, and the status. `then` may replace parts of
`given` to tell several moments of one life.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet.admission import Rejection
from tiphys.kubelet.allocation import Refusal
from tiphys.kubelet.labels import CONTAINER_HASH
from tiphys.kubelet.plan import Plan, plan
from tiphys.kubelet.runtimes.interface import ContainerStatus, ContainerUser, SandboxStatus
from tiphys.kubelet.seen import Health, ImageState, Problem, Resize, Seen, SeenContainer, Sentence
from tiphys.kubelet.status import Reason, pod_status
from tiphys.machinery import meta
from tiphys.machinery.retry import CrashLoop
from tiphys.testing.golden import check_story, stories

FOLDER = Path(__file__).parent / "stories"
NOW = "2026-01-01T12:00:00Z"
START = "2026-01-01T11:59:00Z"
Object = dict[str, Any]


@pytest.mark.parametrize("path", stories(FOLDER), ids=lambda path: path.stem)
def test_pod_story(path: Path, *, update_golden: bool) -> None:
    check_story(path, tell, update=update_golden)


def tell(story: Object) -> list[Object]:
    """One entry for each moment: the first as given, each later one with what has changed by then."""
    told = []
    moment: Object = {}
    for given in story["moments"]:
        moment = {**moment, **given}
        told.append(_tell(moment))
    return told


def _tell(moment: Object) -> Object:
    pod, now = _pod(moment), meta.parse_time(moment.get("now", NOW))
    seen = _seen(moment.get("seen") or {})
    decided = plan(pod, seen, now)
    status = pod_status(pod, seen, Reason(decided.waiting, decided.ending), ["10.0.0.1"], now)
    told: Object = {"moment": moment["moment"], "actions": [_action(action) for action in decided.actions]}
    return {**told, **_outlook(decided), "status": _short_status(status)}


def _outlook(decided: Plan) -> Object:
    told: Object = {}
    if decided.requeue_after_seconds is not None:
        told["look_again_after_seconds"] = decided.requeue_after_seconds
    if decided.is_done:
        told["is_done"] = True
    return told


def _action(action: Any) -> str:
    values = {
        field.name: getattr(action, field.name)
        for field in fields(action)
        if getattr(action, field.name) != field.default
    }
    return " ".join([type(action).__name__, *(f"{name}={value}" for name, value in values.items())])


def _short_status(status: Object) -> Object:
    told: Object = {name: status[name] for name in ("phase", "reason", "message", "podIP") if name in status}
    told["conditions"] = {
        condition["type"]: " ".join(
            filter(None, (condition["status"], condition.get("reason"), condition.get("message")))
        )
        for condition in status.get("conditions", ())
        if condition["type"] != "PodScheduled"
    }
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        if field in status:
            told[field] = {entry["name"]: _short_entry(entry) for entry in status[field]}
    return told


def _short_entry(entry: Object) -> Object:
    told: Object = {"state": entry["state"]}
    if entry["lastState"]:
        told["lastState"] = entry["lastState"]
    if "user" in entry:
        told["user"] = entry["user"]
    if entry.get("containerID", f"containerd://{entry['name']}-{entry['restartCount']}") != (
        f"containerd://{entry['name']}-{entry['restartCount']}"
    ):
        told["containerID"] = entry["containerID"]
    flags = [name for name in ("started", "ready") if entry[name]]
    return {**told, "restartCount": entry["restartCount"], **({"is": ", ".join(flags)} if flags else {})}


# What goes in


def _pod(moment: Object) -> Object:
    given = moment["pod"]
    metadata = {
        "name": "web",
        "namespace": "default",
        "uid": "u1",
        "generation": 1,
        **given.get("metadata", {}),
    }
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in given["spec"].get(kind) or ():
            container.setdefault("image", "busybox")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"terminationGracePeriodSeconds": 30, **given["spec"]},
        "status": {"phase": "Pending", "startTime": START, **given.get("status", {})},
    }


def _seen(short: Object) -> Seen:
    """`sandboxes` and `containers` newest first; `volumes: true` when they are ready; the rest by Seen's own names."""
    return Seen(
        sandboxes=tuple(_sandbox(box) for box in short.get("sandboxes") or ()),
        containers=tuple(
            _container(entry, order) for order, entry in enumerate(short.get("containers") or ())
        ),
        images={name: _image(image) for name, image in (short.get("images") or {}).items()},
        crash_loops={
            name: CrashLoop(delay_seconds=seconds, restarted=_time(restarted))
            for name, (seconds, restarted) in (short.get("crash_loops") or {}).items()
        },
        container_problems={
            name: _problem(problem) for name, problem in (short.get("container_problems") or {}).items()
        },
        sandbox_problem=_problem(short["sandbox_problem"]) if "sandbox_problem" in short else None,
        volumes_problem=_problem(short["volumes_problem"]) if "volumes_problem" in short else None,
        are_volumes_ready=short.get("volumes", False),
        health={id: Health(**health) for id, health in (short.get("health") or {}).items()},
        stopping={id: meta.parse_time(moment) for id, moment in (short.get("stopping") or {}).items()},
        starting=frozenset(short.get("starting") or ()),
        replaced=frozenset(short.get("replaced") or ()),
        attempts=short.get("attempts") or {},
        resize=_resize(short["resize"]) if "resize" in short else None,
        stopped_sandboxes=frozenset(short.get("stopped_sandboxes") or ()),
        rejection=Rejection(*short["rejection"]) if "rejection" in short else None,
        sentence=_sentence(short["sentence"]) if "sentence" in short else None,
        is_gone=short.get("is_gone", False),
        is_clean=short.get("is_clean", False),
        are_files_gone=short.get("are_files_gone", False),
    )


def _sentence(short: Object) -> Sentence:
    conditions = tuple(short.get("conditions") or ())
    return Sentence(short["reason"], short["message"], short.get("grace_seconds"), conditions)


def _resize(short: Object) -> Resize:
    given = dict(short)
    if "pending" in given:
        given["pending"] = Refusal(*given["pending"])
    if "retry_at" in given:
        given["retry_at"] = meta.parse_time(given["retry_at"])
    return Resize(**given)


def _sandbox(box: Object) -> SandboxStatus:
    attempt = box.get("attempt", 0)
    state = box.get("state", "Ready")
    return SandboxStatus(
        id=box["id"],
        name="web",
        namespace="default",
        uid="u1",
        attempt=attempt,
        state=state,
        created_at=meta.parse_time(START),
        labels={},
        annotations={},
        ips=("10.1.0.2",) if state == "Ready" else (),
    )


def _container(entry: Object, order: int) -> SeenContainer:
    state = entry.get("state", "Running")
    has_exited = state == "Exited"
    exit_code = entry.get("exit", 0)
    status = ContainerStatus(
        id=entry.get("id", f"{entry['name']}-{entry.get('attempt', 0)}"),
        name=entry["name"],
        attempt=entry.get("attempt", 0),
        state=state,
        created_at=meta.parse_time(START),
        started_at=None if state == "Created" else meta.parse_time(entry.get("started", START)),
        finished_at=meta.parse_time(entry.get("finished", "2026-01-01T11:59:55Z")) if has_exited else None,
        exit_code=exit_code,
        reason=entry.get("reason", ("Completed" if exit_code == 0 else "Error") if has_exited else ""),
        message=entry.get("message", ""),
        image="docker.io/library/busybox:latest",
        image_ref="docker.io/library/busybox@sha256:1",
        log_path="",
        labels={},
        annotations={CONTAINER_HASH: entry["hash"]} if "hash" in entry else {},
        user=ContainerUser(**entry["user"]) if "user" in entry else None,
    )
    del order
    return SeenContainer(entry.get("sandbox", "s0"), status)


def _image(image: Any) -> ImageState:
    if isinstance(image, dict):
        problem = _problem(image["problem"]) if "problem" in image else None
        return ImageState(problem=problem, is_pulling=image.get("is_pulling", False))
    return ImageState(image)


def _problem(problem: list[str]) -> Problem:
    reason, message, retry_at = problem
    return Problem(reason, message, meta.parse_time(retry_at))


def _time(text: str | None) -> datetime | None:
    return meta.parse_time(text) if text else None
