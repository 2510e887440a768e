"""What managers have given to whom, on disk in upstream's form, so that a kubelet that comes back takes nothing away.

`cpu_manager_state` and `memory_manager_state`. Every kubelet writes them, whatever its policies: a policy of a node changes only when the
file is removed, for pods that run were placed by the old one. Loaded by every kubelet: imports little.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tiphys.machinery.quoting import quote

log = logging.getLogger(__name__)

CPU_STATE, MEMORY_STATE = "cpu_manager_state", "memory_manager_state"
CPU, MEMORY = "CPU", "memory"
"""Managers, as messages call them."""
Content = dict[str, Any]
Entries = Mapping[str, Mapping[str, Any]]
"""By the uid of the pod, then by container: its CPUs, or its blocks of memory."""
_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


class CannotStart(Exception):
    """Why the kubelet of a node does not begin: a person must look."""


class BadState(Exception):
    """What was kept does not fit what is configured, or the machine."""


def read_none(directory: Path) -> None:
    """Of a node without such policies. Raises CannotStart."""
    read_cpus(directory / CPU_STATE, "none")
    read_memory(directory / MEMORY_STATE, "None")


def read_cpus(path: Path, policy: str) -> tuple[str, Entries]:
    """The shared CPUs and who has some alone; of a new node "" and none, written down at once. Raises CannotStart."""
    content = _read(path, policy, CPU, _printed_cpus)
    if content is None:
        write_cpus(path, policy, "", {})
        return "", {}
    return content.get("defaultCpuSet", ""), content.get("entries") or {}


def write_cpus(path: Path, policy: str, shared: str, entries: Entries) -> None:
    _write(path, {"policyName": policy, "defaultCpuSet": shared, **_entries(entries)}, _printed_cpus)


def read_memory(path: Path, policy: str) -> Content | None:
    """None: of a new node. Raises CannotStart."""
    content = _read(path, policy, MEMORY, _printed_memory)
    if content is None:
        write_memory(path, policy, {}, {})
    return content


def write_memory(path: Path, policy: str, machine: Mapping[str, Any], entries: Entries) -> None:
    content = {"policyName": policy, "machineState": dict(machine), **_entries(entries)}
    _write(path, content, _printed_memory)


def _entries(entries: Entries) -> Content:
    ordered = {uid: dict(sorted(containers.items())) for uid, containers in sorted(entries.items())}
    return {"entries": ordered} if ordered else {}


def _read(path: Path, policy: str, manager: str, printed: Callable[[Content], str]) -> Content | None:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise refusal(path, manager, str(error)) from None
    if not isinstance(content, dict) or not _is_intact(content, printed):
        raise refusal(path, manager, "checkpoint is corrupted")
    kept = content.get("policyName", "")
    if kept != policy:
        told = f"configured policy {quote(policy)} differs from state checkpoint policy {quote(kept)}"
        raise refusal(path, manager, told)
    return content


def _is_intact(content: Content, printed: Callable[[Content], str]) -> bool:
    try:
        return content.get("checksum", 0) in (0, checksum(printed(content)))
    except (KeyError, TypeError, AttributeError):
        return False


def refusal(path: Path, manager: str, problem: str) -> CannotStart:
    return CannotStart(
        f"start {manager.lower()} manager error: could not restore state from checkpoint: {problem}, please drain "
        f"this node and delete the {manager} manager checkpoint file {quote(str(path))} before restarting Kubelet"
    )


def _write(path: Path, content: Content, printed: Callable[[Content], str]) -> None:
    content["checksum"] = checksum(printed(content))
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_text(json.dumps(content, separators=(",", ":")))
        os.chmod(unfinished, 0o600)
        unfinished.replace(path)
    except OSError as error:
        log.warning("cannot write %s: %s", path, error)


# Upstream's checksum is FNV-1a, 32 bits, of how Go prints the structures.


def checksum(text: str) -> int:
    value = _FNV_OFFSET
    for byte in text.encode():
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return value


def _map(entries: Mapping[str, Any], value: Callable[[Any], str] = str) -> str:
    return f"map[{' '.join(f'{name}:{value(entries[name])}' for name in sorted(entries))}]"


def _printed_cpus(content: Content) -> str:
    entries = _map(content.get("entries") or {}, _map)
    return (
        f"(*state.CPUManagerCheckpoint){{PolicyName:(string){content.get('policyName', '')} "
        f"DefaultCPUSet:(string){content.get('defaultCpuSet', '')} "
        f"Entries:(map[string]map[string]string){entries} Checksum:(checksum.Checksum)0}}"
    )


def _printed_memory(content: Content) -> str:
    def of_container(blocks: list[Any]) -> str:
        return f"[{' '.join(map(_block, blocks))}]"

    entries = _map(content.get("entries") or {}, lambda containers: _map(containers, of_container))
    return (
        f"(*state.MemoryManagerCheckpoint){{PolicyName:(string){content.get('policyName', '')} "
        f"MachineState:(state.NUMANodeMap){_map(content.get('machineState') or {}, _node)} "
        f"Entries:(state.ContainerMemoryAssignments){entries} Checksum:(checksum.Checksum)0}}"
    )


def _node(node: Mapping[str, Any]) -> str:
    return (
        f"<*>{{NumberOfAssignments:(int){node['numberOfAssignments']} "
        f"MemoryMap:(map[v1.ResourceName]*state.MemoryTable){_map(node['memoryMap'], _table)} "
        f"Cells:([]int)[{' '.join(map(str, node['cells']))}]}}"
    )


def _table(table: Mapping[str, Any]) -> str:
    return (
        f"<*>{{TotalMemSize:(uint64){table['total']} SystemReserved:(uint64){table['systemReserved']} "
        f"Allocatable:(uint64){table['allocatable']} Reserved:(uint64){table['reserved']} Free:(uint64){table['free']}}}"
    )


def _block(block: Mapping[str, Any]) -> str:
    nodes = " ".join(map(str, block["numaAffinity"]))
    return f"{{NUMAAffinity:([]int)[{nodes}] Type:(v1.ResourceName){block['type']} Size:(uint64){block['size']}}}"
