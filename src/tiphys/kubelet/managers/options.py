"""What a KubeletConfiguration says of the resource managers, and what upstream's kubelet would not start with, in its words. Pure.

Options of policies are as old as v1.36 has them: alpha ones are known by name and need a feature gate that is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tiphys.kubelet.managers.hints import POLICIES
from tiphys.machinery.quantity import ZERO, Quantity
from tiphys.machinery.quoting import quote

if TYPE_CHECKING:
    from tiphys.kubelet.configuration import KubeletConfiguration

CPU_POLICIES, MEMORY_POLICIES = ("none", "static"), ("None", "Static")
SCOPES = ("container", "pod")
FULL_CORES, SPREAD_NUMA, STRICT, BY_CACHE = (
    "full-pcpus-only",
    "distribute-cpus-across-numa",
    "strict-cpu-reservation",
    "prefer-align-cpus-by-uncorecache",
)
CLOSEST, MOST_NODES = "prefer-closest-numa-nodes", "max-allowable-numa-nodes"
_ALPHA = ("align-by-socket", "distribute-cpus-across-cores")
DEFAULT_MOST_NODES = 8
"""More of them make too many choices."""
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def is_true(options: Mapping[str, str], name: str) -> bool:
    return options.get(name) in _TRUE


def most_nodes(options: Mapping[str, str]) -> int:
    return int(options.get(MOST_NODES, DEFAULT_MOST_NODES))


def problems(found: KubeletConfiguration) -> list[str]:
    """Of the managers of CPUs, of topology and of memory."""
    if problem := _reserved_cpus_problem(found.reserved_system_cpus):
        return [problem]
    problems = [*_cpu_problems(found), *_topology_problems(found)]
    if found.memory_manager_policy not in MEMORY_POLICIES:
        problems.append(f"unknown policy: {quote(found.memory_manager_policy)}")
    return problems


def _cpu_problems(found: KubeletConfiguration) -> list[str]:
    policy, options = found.cpu_manager_policy, found.cpu_manager_policy_options
    if policy not in CPU_POLICIES:
        return [f"unknown policy: {quote(policy)}"]
    if policy == "none":
        if not options:
            return []
        listed = " ".join(f"{name}:{value}" for name, value in sorted(options.items()))
        return [f"new none policy error: None policy: received unsupported options=map[{listed}]"]
    if not reserved_cpu(found):
        return ["[cpumanager] unable to determine reserved CPU resources for static policy"]
    problem = next((told for each in options if (told := _cpu_option_problem(each, options[each]))), "")
    if not problem and is_true(options, BY_CACHE) and is_true(options, SPREAD_NUMA):
        problem = f"static policy options {BY_CACHE} and {SPREAD_NUMA} can not be used at the same time"
    return [f"new static policy error: {problem}"] if problem else []


def _cpu_option_problem(name: str, value: str) -> str:
    if name in _ALPHA:
        return f"CPU Manager Policy Alpha-level Options not enabled, but option {quote(name)} provided"
    if name not in (FULL_CORES, SPREAD_NUMA, STRICT, BY_CACHE):
        return f"unknown CPU Manager Policy option: {quote(name)}"
    return _boolean_problem(name, value)


def _boolean_problem(name: str, value: str) -> str:
    if value in (*_TRUE, *_FALSE):
        return ""
    return f"bad value for option {quote(name)}: strconv.ParseBool: parsing {quote(value)}: invalid syntax"


def reserved_cpu(found: KubeletConfiguration) -> Quantity:
    """Of kube and system together."""
    return found.kube_reserved.get("cpu", ZERO) + found.system_reserved.get("cpu", ZERO)


def _topology_problems(found: KubeletConfiguration) -> list[str]:
    found_problems = []
    policy, scope = found.topology_manager_policy, found.topology_manager_scope
    if policy not in POLICIES:
        listed = " ".join(map(quote, POLICIES))
        name = "topologyManagerPolicy (--topology-manager-policy)"
        found_problems.append(f"invalid configuration: {name} {quote(policy)} must be one of: [{listed}]")
    if scope not in SCOPES:
        name = "topologyManagerScope (--topology-manager-scope)"
        listed = ", or ".join(map(quote, SCOPES))
        found_problems.append(f"invalid configuration: {name} {quote(scope)} must be one of: {listed}")
    for name, value in found.topology_manager_policy_options.items():
        if problem := _topology_option_problem(name, value):
            found_problems.append(problem)
    return found_problems


def _topology_option_problem(name: str, value: str) -> str:
    if name == CLOSEST:
        return _boolean_problem(name, value)
    if name != MOST_NODES:
        return f"unknown Topology Manager Policy option: {quote(name)}"
    if not value.isdecimal():
        told = f"strconv.Atoi: parsing {quote(value)}: invalid syntax"
        return f"unable to convert policy option to integer {quote(name)}: {told}"
    if int(value) < DEFAULT_MOST_NODES:
        return f"the minimum value of {quote(name)} should not be less than {DEFAULT_MOST_NODES}"
    return ""


def _reserved_cpus_problem(cpus: str) -> str:
    for word in cpus.replace("-", ",").split(",") if cpus else ():
        if not word.isdecimal():
            told = f"strconv.Atoi: parsing {quote(word)}: invalid syntax"
            return f"unable to parse reserved-cpus list: {told}"
    return ""
