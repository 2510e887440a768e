"""What upstream's validation asks of a KubeletConfiguration as a whole, in its words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tiphys.kubelet.eviction.thresholds import BadThreshold
from tiphys.kubelet.pulling import pull_problems
from tiphys.kubelet.sysctls import pattern_problem
from tiphys.machinery.quantity import Quantity
from tiphys.machinery.quoting import format_duration, quote

if TYPE_CHECKING:
    from tiphys.kubelet.configuration import KubeletConfiguration


def problems_of(found: KubeletConfiguration) -> list[str]:
    problems = [
        f"{name} ({flag}) {value} must not be a negative number"
        for name, flag, value in (
            ("maxPods", "--max-pods", found.max_pods),
            ("podsPerCore", "--pods-per-core", found.pods_per_core),
            ("registryBurst", "--registry-burst", found.registry_burst),
            ("registryPullQPS", "--registry-qps", found.registry_pull_qps),
        )
        if value < 0
    ]
    if found.node_status_max_images < -1:
        name = "nodeStatusMaxImages (--node-status-max-images)"
        problems.append(f"{name} {found.node_status_max_images} must be -1 or greater")
    problems += pull_problems(found.pull_limits, found.verification)
    problems += [*_image_problems(found), *_enforcement_problems(found), *_log_problems(found)]
    if not 1 <= (longest := found.crash_loop.cap_seconds) <= 300:
        told = f"(got: {longest:g} seconds) must be set between 1s and 300s"
        problems.append(f"CrashLoopBackOff.MaxContainerRestartPeriod {told}")
    problems = [f"invalid configuration: {problem}" for problem in problems]
    problems += [*_reserved_problems(found.kube_reserved), *_reserved_problems(found.system_reserved)]
    if found.has_managers or any(
        (
            found.cpu_manager_policy_options,
            found.topology_manager_policy_options,
            found.topology_manager_scope != "container",
        )
    ):
        from tiphys.kubelet.managers import options

        problems += options.problems(found)
    problems += [problem for each in found.allowed_unsafe_sysctls if (problem := pattern_problem(each))]
    try:
        _ = found.thresholds
    except BadThreshold as error:
        problems.append(str(error))
    return problems


def _image_problems(found: KubeletConfiguration) -> list[str]:
    high, low = found.image_gc_high_threshold_percent, found.image_gc_low_threshold_percent
    oldest, youngest = found.image_maximum_gc_age_seconds, found.image_minimum_gc_age_seconds
    high_name = "imageGCHighThresholdPercent (--image-gc-high-threshold)"
    low_name = "imageGCLowThresholdPercent (--image-gc-low-threshold)"
    problems = [
        f"{name} {value} must be between 0 and 100, inclusive"
        for name, value in ((high_name, high), (low_name, low))
        if not 0 <= value <= 100
    ]
    if low >= high:
        problems.append(f"{low_name} {low} must be less than {high_name} {high}")
    problems += [
        f"{name} {format_duration(value)} must not be negative"
        for name, value in (("imageMinimumGCAge", youngest), ("imageMaximumGCAge", oldest))
        if value < 0
    ]
    if 0 < oldest <= youngest:
        ages = f"{format_duration(oldest)} must be greater than imageMinimumGCAge {format_duration(youngest)}"
        problems.append(f"imageMaximumGCAge {ages}")
    return problems


def _log_problems(found: KubeletConfiguration) -> list[str]:
    files, seconds = found.container_log_max_files, found.container_log_monitor_interval_seconds
    problems = []
    if files <= 1:
        problems.append(f"containerLogMaxFiles {files} must be greater than 1")
    if seconds < 3:
        problems.append(
            "containerLogMonitorInterval must be a positive time duration greater than or equal to 3s"
        )
    return problems


_ENFORCEMENTS = ("pods", "none")


def _enforcement_problems(found: KubeletConfiguration) -> list[str]:
    """Of pods; the groups of system services are the machine's own business here."""
    name = "enforceNodeAllocatable (--enforce-node-allocatable)"
    wanted = found.enforce_node_allocatable
    problems = [
        f"option {quote(option)} specified for {name}. Valid options are {', '.join(map(quote, _ENFORCEMENTS))}"
        for option in wanted
        if option not in _ENFORCEMENTS
    ]
    if "none" in wanted and len(wanted) > 1:
        problems.append(f'{name} may not contain additional enforcements when "none" is specified')
    return problems


def _reserved_problems(reserved: Mapping[str, Quantity]) -> list[str]:
    problems = []
    for name, amount in reserved.items():
        if name not in ("cpu", "memory", "ephemeral-storage", "pid"):
            problems.append(f"cannot reserve {quote(name)} resource")
        elif amount.nanos < 0:
            problems.append(f"resource quantity for {quote(name)} cannot be negative: {amount}")
    return problems
