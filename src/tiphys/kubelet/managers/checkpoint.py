"""What the CPU manager has given to whom, on disk in upstream's form, so that a kubelet that comes back takes nothing away: `cpu_manager_state`.

Every kubelet writes it, whatever its policy: the policy of a node changes only when the file is removed, for pods that run were placed
by the old one. Loaded by every kubelet: imports little.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiphys.machinery.quoting import quote

log = logging.getLogger(__name__)

CPU_STATE = "cpu_manager_state"
Entries = Mapping[str, Mapping[str, str]]
"""By the uid of the pod, then by container: its CPUs."""
_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


class CannotStart(Exception):
    """Why the kubelet of a node does not begin: a person must look."""


class BadState(Exception):
    """What was kept does not fit what is configured, or the machine."""


def read(path: Path, policy: str) -> tuple[str, Entries]:
    """The shared CPUs and who has some alone; of a new node "" and none, written down at once. Raises CannotStart."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        write(path, policy, "", {})
        return "", {}
    except (OSError, ValueError) as error:
        raise refusal(path, str(error)) from None
    if not isinstance(content, dict) or content.get("checksum", 0) not in (0, _checksum(content)):
        raise refusal(path, "checkpoint is corrupted")
    kept = content.get("policyName", "")
    if kept != policy:
        told = f"configured policy {quote(policy)} differs from state checkpoint policy {quote(kept)}"
        raise refusal(path, told)
    return content.get("defaultCpuSet", ""), content.get("entries") or {}


def refusal(path: Path, problem: str) -> CannotStart:
    return CannotStart(
        f"start cpu manager error: could not restore state from checkpoint: {problem}, please drain this node and "
        f"delete the CPU manager checkpoint file {quote(str(path))} before restarting Kubelet"
    )


def write(path: Path, policy: str, shared: str, entries: Entries) -> None:
    content: dict[str, Any] = {"policyName": policy, "defaultCpuSet": shared}
    if entries:
        content["entries"] = {
            uid: dict(sorted(containers.items())) for uid, containers in sorted(entries.items())
        }
    content["checksum"] = _checksum(content)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_text(json.dumps(content, separators=(",", ":")))
        os.chmod(unfinished, 0o600)
        unfinished.replace(path)
    except OSError as error:
        log.warning("cannot write %s: %s", path, error)


def _checksum(content: Mapping[str, Any]) -> int:
    """Upstream's: FNV-1a, 32 bits, of how Go prints the structure."""
    entries = content.get("entries") or {}
    printed = " ".join(
        f"{uid}:map[{' '.join(f'{name}:{cpus}' for name, cpus in sorted(containers.items()))}]"
        for uid, containers in sorted(entries.items())
    )
    text = (
        f"(*state.CPUManagerCheckpoint){{PolicyName:(string){content.get('policyName', '')} "
        f"DefaultCPUSet:(string){content.get('defaultCpuSet', '')} "
        f"Entries:(map[string]map[string]string)map[{printed}] Checksum:(checksum.Checksum)0}}"
    )
    value = _FNV_OFFSET
    for byte in text.encode():
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return value
