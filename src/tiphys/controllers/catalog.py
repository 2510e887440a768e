"""All controllers by upstream's names, what they may be told, and as whom they act.

A controller is imported when it is started: a control plane with three of them loads three. `--controllers` works as upstream's:
`*` is all that are on by default, `name` switches one on, `-name` switches one off.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from importlib import import_module
from types import ModuleType
from typing import Any

from tiphys.client.client import Client
from tiphys.client.reflector import Informers
from tiphys.client.transport import Object
from tiphys.controllers.runner import Controller, Runner
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen


@frozen
class Options:
    """What controllers are told besides the cluster's state."""

    root_ca: str = ""
    """The PEM certificates that pods shall trust for the API server."""
    cluster_cidr: str = "10.244.0.0/16"
    node_cidr_mask_size: int = 24
    signing_certificate_file: str = ""
    """The authority that signs certificate requests, and its key; empty: nobody does."""
    signing_key_file: str = ""
    signing_seconds: float = 365 * 24 * 3600.0
    """The longest life of what is signed."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """The nodes that this cluster made itself, and their addresses: they get server certificates without being asked about."""
    token: Callable[[Object, str], str] | None = None
    """(service account, name of a secret) → the token to be kept there; None: nobody signs any."""
    legacy_token_seconds: float = 365 * 24 * 3600.0
    """So long may a token that nobody asked for be unused."""
    started: datetime | None = None
    """When the control plane came up: what happened before that nobody was there to see."""


@frozen
class Entry:
    """`module` has CONTROLLER, or `make(options)` where the controller must be told something.

    A module with `run(informers, clock=, client=)` has a loop of its own. `account`: the service account in kube-system (and the role system:controller:<account>) that it acts as; "": the controller manager itself.
    """

    name: str
    module: str
    account: str
    default: bool = True
    hands_out_authority: bool = False
    """Writes `Options.root_ca` into objects: it begins anew when that has changed."""


CATALOG = (
    Entry("deployment-controller", "deployment", "deployment-controller"),
    Entry("replicaset-controller", "replicaset", "replicaset-controller"),
    Entry("replicationcontroller-controller", "replicationcontroller", "replication-controller"),
    Entry("daemonset-controller", "daemonset", "daemon-set-controller"),
    Entry("statefulset-controller", "statefulset", "statefulset-controller"),
    Entry("job-controller", "jobs.job", "job-controller"),
    Entry("cronjob-controller", "jobs.cronjob", "cronjob-controller"),
    Entry("ttl-after-finished-controller", "jobs.ttl", "ttl-after-finished-controller"),
    Entry("disruption-controller", "disruption", "disruption-controller"),
    Entry("endpoints-controller", "endpoints", "endpoint-controller"),
    Entry("endpointslice-controller", "endpointslice", "endpointslice-controller"),
    Entry(
        "endpointslice-mirroring-controller", "endpointslice_mirroring", "endpointslicemirroring-controller"
    ),
    Entry("service-cidr-controller", "servicecidrs", "service-cidrs-controller"),
    Entry("persistentvolumeclaim-protection-controller", "pvc_protection", "pvc-protection-controller"),
    Entry("persistentvolume-protection-controller", "pv_protection", "pv-protection-controller"),
    Entry(
        "volumeattributesclass-protection-controller",
        "vac_protection",
        "volumeattributesclass-protection-controller",
    ),
    Entry("serviceaccount-controller", "serviceaccount", "service-account-controller"),
    Entry("serviceaccount-token-controller", "token_secrets", "", hands_out_authority=True),
    Entry(
        "legacy-serviceaccount-token-cleaner-controller",
        "legacy_token_cleaner",
        "legacy-service-account-token-cleaner",
    ),
    Entry("bootstrap-signer-controller", "bootstrap.signer", "bootstrap-signer", default=False),
    Entry("token-cleaner-controller", "bootstrap.cleaner", "token-cleaner", default=False),
    Entry(
        "root-ca-certificate-publisher-controller",
        "root_ca_publisher",
        "root-ca-cert-publisher",
        hands_out_authority=True,
    ),
    Entry("node-ipam-controller", "node_ipam", "node-controller"),
    Entry("node-lifecycle-controller", "node_lifecycle", "node-controller"),
    Entry("taint-eviction-controller", "taint_eviction", "node-controller"),
    Entry("pod-garbage-collector-controller", "pod_gc", "pod-garbage-collector"),
    Entry("namespace-controller", "namespace", "namespace-controller"),
    Entry("resourcequota-controller", "resourcequota", "resourcequota-controller"),
    Entry("garbage-collector-controller", "garbage.collector", "generic-garbage-collector"),
    Entry(
        "clusterrole-aggregation-controller", "cluster_role_aggregation", "clusterrole-aggregation-controller"
    ),
    Entry(
        "validatingadmissionpolicy-status-controller",
        "validating_policy_status",
        "validatingadmissionpolicy-status-controller",
    ),
    Entry("certificatesigningrequest-signing-controller", "certificates.signing", "certificate-controller"),
    Entry(
        "certificatesigningrequest-approving-controller", "certificates.approving", "certificate-controller"
    ),
    Entry("certificatesigningrequest-cleaner-controller", "certificates.cleaning", "certificate-controller"),
    # Not upstream's: decision 0030.
    Entry("kubelet-serving-approving-controller", "certificates.serving_approval", "certificate-controller"),
)

BY_NAME = {entry.name: entry for entry in CATALOG}


def make(name: str, options: Options) -> Controller[Any]:
    """The controller of that name. LookupError when there is none, or when it has a loop of its own."""
    module = _module(name)
    if hasattr(module, "CONTROLLER"):
        controller: Controller[Any] = module.CONTROLLER
        return controller
    if not hasattr(module, "make"):
        raise LookupError(f"{name} has a loop of its own: start it with `run`")
    factory: Callable[[Options], Controller[Any]] = module.make
    return factory(options)


def run(
    name: str, options: Options, informers: Informers, *, clock: Clock, client: Client
) -> Coroutine[Any, Any, None]:
    """The work of the controller of that name, to be made a task; it ends by cancellation."""
    options = replace(options, started=options.started or clock.now())
    module = _module(name)
    if hasattr(module, "run"):
        work: Coroutine[Any, Any, None] = module.run(informers, clock=clock, client=client)
        return work
    return Runner(make(name, options), informers, clock=clock, client=client).run()


def _module(name: str) -> ModuleType:
    if name not in BY_NAME:
        raise LookupError(f"there is no controller {name!r}; there are: {', '.join(sorted(BY_NAME))}")
    return import_module(f"tiphys.controllers.{BY_NAME[name].module}")


def enabled(switches: Sequence[str] = ("*",), entries: Iterable[Entry] = CATALOG) -> list[Entry]:
    """The entries that `--controllers` switches on, in the order of the catalog."""
    entries = list(entries)
    known = {entry.name for entry in entries}
    for switch in switches:
        if switch.removeprefix("-") not in known | {"*"}:
            raise LookupError(f"there is no controller {switch.removeprefix('-')!r}")
    return [entry for entry in entries if _is_on(entry, switches)]


def _is_on(entry: Entry, switches: Sequence[str]) -> bool:
    if entry.name in switches:
        return True
    if f"-{entry.name}" in switches:
        return False
    return "*" in switches and entry.default
