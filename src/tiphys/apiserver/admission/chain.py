"""The admission chain: the list of rules that every write passes, read from top to bottom.

First every plugin may change the object, then (after defaults and the kind's own validation) every plugin may refuse it. The
names, the order and what is on by default are upstream's; `--enable-admission-plugins` and `--disable-admission-plugins` switch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from tiphys.apiserver.admission.always import AlwaysAdmit, AlwaysDeny
from tiphys.apiserver.admission.always_pull_images import AlwaysPullImages
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    ClusterTrustBundleAttest,
)
from tiphys.apiserver.admission.configuration import BadConfiguration, Configuration, refusal
from tiphys.apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from tiphys.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from tiphys.apiserver.admission.deny_service_external_ips import DenyServiceExternalIPs
from tiphys.apiserver.admission.event_rate_limit import EventRateLimit
from tiphys.apiserver.admission.extended_resource_toleration import ExtendedResourceToleration
from tiphys.apiserver.admission.image_policy_webhook import ImagePolicyWebhook
from tiphys.apiserver.admission.limit_pod_hard_anti_affinity_topology import LimitPodHardAntiAffinityTopology
from tiphys.apiserver.admission.limit_ranger import LimitRanger
from tiphys.apiserver.admission.namespace_exists import NamespaceAutoProvision, NamespaceExists
from tiphys.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from tiphys.apiserver.admission.node_restriction import NodeRestriction
from tiphys.apiserver.admission.owner_references_permission_enforcement import (
    OwnerReferencesPermissionEnforcement,
)
from tiphys.apiserver.admission.persistent_volume_claim_resize import PersistentVolumeClaimResize
from tiphys.apiserver.admission.plans import Plan, Plans, run
from tiphys.apiserver.admission.pod_node_selector import PodNodeSelector
from tiphys.apiserver.admission.pod_security.plugin import TEMPLATED, PodSecurity
from tiphys.apiserver.admission.pod_toleration_restriction import PodTolerationRestriction
from tiphys.apiserver.admission.pod_topology_labels import PodTopologyLabels
from tiphys.apiserver.admission.policy.plugins import MutatingAdmissionPolicy, ValidatingAdmissionPolicy
from tiphys.apiserver.admission.priority import Priority
from tiphys.apiserver.admission.quota.plugin import ResourceQuota
from tiphys.apiserver.admission.runtime_class import RuntimeClass
from tiphys.apiserver.admission.service_account import ServiceAccount
from tiphys.apiserver.admission.storage_object_in_use_protection import (
    PROTECTED,
    StorageObjectInUseProtection,
)
from tiphys.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from tiphys.apiserver.admission.webhook.mutating import MutatingAdmissionWebhook
from tiphys.apiserver.admission.webhook.validating import ValidatingAdmissionWebhook
from tiphys.machinery.frozen import frozen


@frozen
class Row:
    """One plugin. `default`: whether it is on when nobody says otherwise.

    `configured`: `make` takes the plugin's part of the AdmissionConfiguration, None when it has none. `only`: the resources that
    it has anything to say about, with what lies below them; empty: all.
    """

    name: str
    make: Callable[..., Any]
    only: tuple[str, ...] = ()
    default: bool = True
    configured: bool = False


SIGNING = ("certificatesigningrequests.certificates.k8s.io",)
PLUGINS: tuple[Row, ...] = (
    Row("AlwaysAdmit", AlwaysAdmit, default=False),
    Row("NamespaceAutoProvision", NamespaceAutoProvision, default=False),
    Row("NamespaceLifecycle", NamespaceLifecycle),
    Row("NamespaceExists", NamespaceExists, default=False),
    Row("LimitPodHardAntiAffinityTopology", LimitPodHardAntiAffinityTopology, ("pods",), default=False),
    Row("LimitRanger", LimitRanger, ("pods", "persistentvolumeclaims")),
    Row("ServiceAccount", ServiceAccount, ("pods",)),
    Row("NodeRestriction", NodeRestriction),
    Row("TaintNodesByCondition", TaintNodesByCondition, ("nodes",)),
    Row("AlwaysPullImages", AlwaysPullImages, ("pods",), default=False),
    Row("ImagePolicyWebhook", ImagePolicyWebhook, ("pods",), default=False, configured=True),
    Row("PodSecurity", PodSecurity, ("pods", "namespaces", *TEMPLATED), configured=True),
    Row("PodNodeSelector", PodNodeSelector, ("pods",), default=False, configured=True),
    Row("Priority", Priority, ("pods", "priorityclasses.scheduling.k8s.io")),
    Row("DefaultTolerationSeconds", DefaultTolerationSeconds, ("pods",)),
    Row("PodTolerationRestriction", PodTolerationRestriction, ("pods",), default=False, configured=True),
    Row("EventRateLimit", EventRateLimit, ("events",), default=False, configured=True),
    Row("ExtendedResourceToleration", ExtendedResourceToleration, ("pods",), default=False),
    Row("DefaultStorageClass", DefaultStorageClass, ("persistentvolumeclaims",)),
    Row("StorageObjectInUseProtection", StorageObjectInUseProtection, PROTECTED),
    Row("OwnerReferencesPermissionEnforcement", OwnerReferencesPermissionEnforcement, default=False),
    Row("PersistentVolumeClaimResize", PersistentVolumeClaimResize, ("persistentvolumeclaims",)),
    Row("RuntimeClass", RuntimeClass, ("pods",)),
    Row("CertificateApproval", CertificateApproval, SIGNING),
    Row("CertificateSigning", CertificateSigning, (*SIGNING, "podcertificaterequests.certificates.k8s.io")),
    Row("ClusterTrustBundleAttest", ClusterTrustBundleAttest, ("clustertrustbundles.certificates.k8s.io",)),
    Row("CertificateSubjectRestriction", CertificateSubjectRestriction, SIGNING),
    Row("DefaultIngressClass", DefaultIngressClass, ("ingresses.networking.k8s.io",)),
    Row("DenyServiceExternalIPs", DenyServiceExternalIPs, ("services",), default=False),
    Row("PodTopologyLabels", PodTopologyLabels, ("pods", "bindings")),
    # What changes objects by itself stands above: those that ask others see what all of them have made of the object.
    Row("MutatingAdmissionPolicy", MutatingAdmissionPolicy),
    Row("MutatingAdmissionWebhook", MutatingAdmissionWebhook, configured=True),
    Row("ValidatingAdmissionPolicy", ValidatingAdmissionPolicy),
    Row("ValidatingAdmissionWebhook", ValidatingAdmissionWebhook, configured=True),
    Row("ResourceQuota", ResourceQuota, configured=True),
    Row("AlwaysDeny", AlwaysDeny, default=False),
)


class UnknownPlugin(Exception):
    """A name in a switch that no plugin has."""


class Chain:
    """The plugins that are switched on, in order, of one server. Raises UnknownPlugin and ConfigurationError."""

    def __init__(
        self,
        *,
        enable: Iterable[str] = (),
        disable: Iterable[str] = (),
        configurations: Mapping[str, Configuration] | None = None,
    ) -> None:
        self._chosen = [(row, _make(row, configurations or {})) for row in enabled(enable, disable)]
        self._plans: dict[tuple[str, ...], Plans] = {}
        self._revision = -1
        for _, plugin in self._chosen:
            if hasattr(plugin, "follow"):
                plugin.follow(self._plan_anew)

    async def close(self) -> None:
        """Ends the connections that plugins keep."""
        for _, plugin in self._chosen:
            if hasattr(plugin, "close"):
                await plugin.close()

    def admit(self, attributes: Attributes) -> Awaitable[None]:
        plans = attributes.plans = self._plans_of(attributes)
        plan = plans.admit
        return run(plan, attributes) if plan.steps else plan.pass_by()

    def validate(self, attributes: Attributes) -> Awaitable[None]:
        plans = attributes.plans
        if plans is None or plans.validate.retired:
            plans = self._plans_of(attributes)
        plan = plans.validate
        return run(plan, attributes) if plan.steps else plan.pass_by()

    def _plans_of(self, attributes: Attributes) -> Plans:
        """What the plugins do to such a request, until something changes that they go by."""
        row = attributes.row
        revision = attributes.call.server.scheme.revision
        if revision != self._revision:  # a rule may speak of another version of the same objects
            self._plan_anew()
            self._revision = revision
        key = (attributes.operation, row.group, row.version, row.plural, attributes.subresource)
        known = self._plans.get(key)
        if known is None:
            known = Plans(self._make("admit", attributes), self._make("validate", attributes))
            self._plans[key] = known
        return known

    def _make(self, kind: str, attributes: Attributes) -> Plan:
        row = attributes.row
        resource = f"{row.plural}.{row.group}" if row.group else row.plural
        plugins = [
            (plugin.name, getattr(made, kind) if _is_concerned(made, kind, attributes) else None)
            for plugin, made in self._chosen
            if hasattr(made, kind) and (not plugin.only or resource in plugin.only)
        ]
        metrics = attributes.call.server.admission_metrics
        plan = Plan(kind, attributes.operation, plugins, metrics)
        metrics.plans[plan] = None
        return plan

    def _plan_anew(self) -> None:
        """Another plugin may have something to say from now on."""
        for plans in self._plans.values():
            plans.admit.retire()
            plans.validate.retire()
        self._plans.clear()


def _is_concerned(plugin: Any, kind: str, attributes: Attributes) -> bool:
    return not hasattr(plugin, "concerns") or plugin.concerns(kind, attributes)


def _make(row: Row, configurations: Mapping[str, Configuration]) -> Any:
    if not row.configured:
        return row.make()
    try:
        return row.make(configurations.get(row.name))
    except BadConfiguration as error:
        raise refusal(row.name, configurations.get(row.name), str(error)) from None


def enabled(enable: Iterable[str], disable: Iterable[str]) -> list[Row]:
    """The rows that the two flags leave, in the order of the chain."""
    on, off = set(enable), set(disable)
    unknown = (on | off) - {row.name for row in PLUGINS}
    if unknown:
        raise UnknownPlugin(f"unknown admission plugin {', '.join(sorted(unknown))}")
    return [row for row in PLUGINS if row.name not in off and (row.default or row.name in on)]
