"""From CRI messages to the kubelet's dataclasses. Pure. CRI's times are nanoseconds since 1970, 0 for "not yet"."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tiphys.kubelet.runtimes.interface import (
    Container,
    ContainerState,
    ContainerStatus,
    ContainerUser,
    FilesystemUsage,
    Image,
    Mount,
    MountPropagation,
    RuntimeCondition,
    RuntimeHandler,
    RuntimeStatus,
    Sandbox,
    SandboxState,
    SandboxStatus,
)
from tiphys.net.grpc_messages import Message

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONTAINER_STATES: tuple[ContainerState, ...] = ("Created", "Running", "Exited", "Unknown")
SANDBOX_STATES: tuple[SandboxState, ...] = ("Ready", "NotReady")
PROPAGATIONS: tuple[MountPropagation, ...] = ("None", "HostToContainer", "Bidirectional")
NODE_NAMESPACE = 2


def moment(nanoseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=nanoseconds // 1000)


def moment_if_any(nanoseconds: int) -> datetime | None:
    return moment(nanoseconds) if nanoseconds > 0 else None


def runtime_status(answer: Message) -> RuntimeStatus:
    has_features = answer.HasField("features")
    return RuntimeStatus(
        [
            RuntimeCondition(condition.type, condition.status, condition.reason, condition.message)
            for condition in answer.status.conditions
        ],
        [
            RuntimeHandler(
                handler.name, handler.features.recursive_read_only_mounts, handler.features.user_namespaces
            )
            for handler in answer.runtime_handlers
        ],
        answer.features.supplemental_groups_policy if has_features else None,
    )


def sandbox(answer: Message) -> Sandbox:
    return Sandbox(**_sandbox_fields(answer))


def sandbox_status(answer: Message) -> SandboxStatus:
    first = answer.network.ip
    more = [address.ip for address in answer.network.additional_ips]
    options = answer.linux.namespaces.options
    return SandboxStatus(
        **_sandbox_fields(answer),
        ips=(first, *more) if first else (),
        host_network=options.network == NODE_NAMESPACE,
    )


def _sandbox_fields(answer: Message) -> dict[str, Any]:
    return {
        "id": answer.id,
        "name": answer.metadata.name,
        "namespace": answer.metadata.namespace,
        "uid": answer.metadata.uid,
        "attempt": answer.metadata.attempt,
        "state": SANDBOX_STATES[answer.state],
        "created_at": moment(answer.created_at),
        "labels": dict(answer.labels),
        "annotations": dict(answer.annotations),
        "runtime_handler": answer.runtime_handler,
    }


def container(answer: Message) -> Container:
    return Container(
        id=answer.id,
        sandbox_id=answer.pod_sandbox_id,
        name=answer.metadata.name,
        attempt=answer.metadata.attempt,
        state=CONTAINER_STATES[answer.state],
        created_at=moment(answer.created_at),
        image=answer.image.image,
        image_ref=answer.image_ref,
        labels=dict(answer.labels),
        annotations=dict(answer.annotations),
    )


def container_status(answer: Message) -> ContainerStatus:
    return ContainerStatus(
        id=answer.id,
        name=answer.metadata.name,
        attempt=answer.metadata.attempt,
        state=CONTAINER_STATES[answer.state],
        created_at=moment(answer.created_at),
        started_at=moment_if_any(answer.started_at),
        finished_at=moment_if_any(answer.finished_at),
        exit_code=answer.exit_code,
        reason=_reason(answer),
        message=answer.message,
        image=answer.image.image,
        image_ref=answer.image_ref,
        log_path=answer.log_path,
        labels=dict(answer.labels),
        annotations=dict(answer.annotations),
        mounts=tuple(_mount(mount) for mount in answer.mounts),
        user=_user(answer.user.linux) if answer.HasField("user") and answer.user.HasField("linux") else None,
    )


def _user(answer: Message) -> ContainerUser:
    return ContainerUser(answer.uid, answer.gid, tuple(answer.supplemental_groups))


def _reason(answer: Message) -> str:
    """containerd's reason, save where it blames memory for what was not memory's doing.

    After an out-of-memory kill anywhere in the pod it marks every container of the cgroup, even one that ended well later.
    Only a container that was killed (137 = 128 + SIGKILL) ran out of memory.
    """
    state = CONTAINER_STATES[answer.state]
    if state != "Exited":
        return "" if answer.reason == "OOMKilled" else str(answer.reason)
    if answer.reason == "OOMKilled" and answer.exit_code != 137:
        return "Completed" if answer.exit_code == 0 else "Error"
    return str(answer.reason)


def _mount(answer: Message) -> Mount:
    return Mount(
        container_path=answer.container_path,
        host_path=answer.host_path,
        read_only=answer.readonly,
        propagation=PROPAGATIONS[answer.propagation],
    )


def image(answer: Message) -> Image:
    return Image(
        id=answer.id,
        repo_tags=tuple(answer.repo_tags),
        repo_digests=tuple(answer.repo_digests),
        size_bytes=answer.size,
        user=answer.uid.value if answer.HasField("uid") else None,
        username=answer.username,
        pinned=answer.pinned,
    )


def filesystem(answer: Message) -> FilesystemUsage:
    return FilesystemUsage(
        mountpoint=answer.fs_id.mountpoint,
        used_bytes=answer.used_bytes.value,
        inodes_used=answer.inodes_used.value,
        time=moment(answer.timestamp),
    )
