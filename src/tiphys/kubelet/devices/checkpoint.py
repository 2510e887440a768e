"""Which container has which devices, kept on disk so that a kubelet that comes back gives none of them away twice."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from tiphys.kubelet.devices.inventory import Grant, Inventory

log = logging.getLogger(__name__)

NAME = "kubelet_internal_checkpoint"


def write(path: Path, inventory: Inventory) -> None:
    entries = [
        {"pod": uid, "container": container, "resource": resource, "grant": asdict(grant)}
        for (uid, container), grants in inventory.grants.items()
        for resource, grant in grants.items()
    ]
    content = {"resources": sorted(inventory.amounts()), "grants": entries}
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(json.dumps(content))
    unfinished.replace(path)


def read(path: Path, inventory: Inventory) -> list[str]:
    """Fills the inventory; the resources that plugins had told of. What cannot be read is as if it were not there."""
    try:
        content = json.loads(path.read_text())
        for entry in content["grants"]:
            holder = (entry["pod"], entry["container"])
            inventory.grant(holder, entry["resource"], _grant(entry["grant"]))
        return list(content["resources"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("cannot read %s: %s", path, error)
        return []


def _grant(entry: dict[str, object]) -> Grant:
    def rows(name: str) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(row) for row in entry[name])  # type: ignore[attr-defined]

    found = {**entry, "ids": tuple(entry["ids"]), "mounts": rows("mounts"), "devices": rows("devices")}  # type: ignore[arg-type]
    return Grant(**found)  # type: ignore[arg-type]
