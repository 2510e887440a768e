"""What a node has (capacity), and what of it pods may ask for (allocatable). Pure; upstream's `nodestatus` MachineInfo and Node Allocatable."""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.eviction.thresholds import MEMORY_AVAILABLE, NODEFS_AVAILABLE
from tiphys.kubelet.machine import Machine
from tiphys.machinery.quantity import BINARY_SI, ZERO, Quantity, from_value, parse

HUGE_PAGES = "hugepages-"
_EVICTION_RESOURCES = {MEMORY_AVAILABLE: "memory", NODEFS_AVAILABLE: "ephemeral-storage"}


def capacity(machine: Machine, configuration: KubeletConfiguration) -> dict[str, Quantity]:
    found = {
        "cpu": from_value(machine.cpus),
        "memory": from_value(machine.memory_bytes, BINARY_SI),
        "pods": from_value(_pods(machine.cpus, configuration)),
        **{
            f"{HUGE_PAGES}{size}": from_value(amount, BINARY_SI)
            for size, amount in machine.huge_page_bytes.items()
        },
    }
    if configuration.local_storage_capacity_isolation:
        found["ephemeral-storage"] = from_value(machine.disk_bytes, BINARY_SI)
    return dict(sorted(found.items()))


def _pods(cpus: int, configuration: KubeletConfiguration) -> int:
    if configuration.pods_per_core:
        return min(cpus * configuration.pods_per_core, configuration.max_pods)
    return configuration.max_pods


def allocatable(capacity: Mapping[str, Quantity], configuration: KubeletConfiguration) -> dict[str, Quantity]:
    """Less what is reserved, and what must stay free lest pods be evicted; memory less all huge pages, too."""
    kept = eviction_reserves(capacity, configuration)
    found = {}
    for name, amount in capacity.items():
        reserved = (configuration.kube_reserved, configuration.system_reserved, kept)
        for reserve in reserved:
            amount = amount - reserve.get(name, ZERO)
        found[name] = amount
    for name, amount in capacity.items():
        if name.startswith(HUGE_PAGES):
            found["memory"] = found["memory"] - amount
    return {name: max(amount, Quantity(0, amount.family)) for name, amount in found.items()}


def reserved(capacity: Mapping[str, Quantity], configuration: KubeletConfiguration) -> dict[str, Quantity]:
    """What the node keeps of it for itself, and what must stay free."""
    found: dict[str, Quantity] = {}
    kept = eviction_reserves(capacity, configuration)
    for reserve in (configuration.kube_reserved, configuration.system_reserved, kept):
        for name, amount in reserve.items():
            found[name] = found[name] + amount if name in found else amount
    return found


def eviction_reserves(
    capacity: Mapping[str, Quantity], configuration: KubeletConfiguration
) -> dict[str, Quantity]:
    """What the hard thresholds want to be left over."""
    found = {}
    for threshold in configuration.thresholds:
        name = _EVICTION_RESOURCES.get(threshold.signal, "")
        if threshold.is_hard and name in capacity:
            found[name] = from_value(threshold.amount.of(capacity[name].value), BINARY_SI)
    return found


def is_extended(name: str) -> bool:
    """A resource that Kubernetes itself knows nothing of: of a domain that is somebody's own."""
    domain, slash, _ = name.partition("/")
    return bool(slash) and not domain.endswith("kubernetes.io") and not name.startswith("requests.")


def texts(amounts: Mapping[str, Quantity]) -> dict[str, str]:
    """As an object has them."""
    return {name: str(amount) for name, amount in amounts.items()}


def quantities(amounts: Mapping[str, str] | None) -> dict[str, Quantity]:
    return {name: parse(amount) for name, amount in (amounts or {}).items()}
