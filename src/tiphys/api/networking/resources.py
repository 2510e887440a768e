"""The kinds of the networking.k8s.io group."""

from __future__ import annotations

from tiphys.api.networking import defaults
from tiphys.api.resource import Resource, Subresource
from tiphys.machinery.gvk import GroupVersionKind

RESOURCES = (
    Resource(
        group="networking.k8s.io",
        version="v1",
        kind="IngressClass",
        plural="ingressclasses",
        namespaced=False,
        type="networking/v1.IngressClass",
        defaults=defaults.ingress_class,
    ),
    Resource(
        group="networking.k8s.io",
        version="v1",
        kind="Ingress",
        plural="ingresses",
        namespaced=True,
        short_names=("ing",),
        subresources=(Subresource("status"),),
        type="networking/v1.Ingress",
        defaults=defaults.ingress,
    ),
    Resource(
        group="networking.k8s.io",
        version="v1",
        kind="IPAddress",
        plural="ipaddresses",
        namespaced=False,
        short_names=("ip",),
        type="networking/v1.IPAddress",
        generation_on=(),
    ),
    Resource(
        group="networking.k8s.io",
        version="v1",
        kind="NetworkPolicy",
        plural="networkpolicies",
        namespaced=True,
        short_names=("netpol",),
        type="networking/v1.NetworkPolicy",
        defaults=defaults.network_policy,
    ),
    Resource(
        group="networking.k8s.io",
        version="v1",
        kind="ServiceCIDR",
        plural="servicecidrs",
        namespaced=False,
        subresources=(Subresource("status"),),
        type="networking/v1.ServiceCIDR",
        defaults=defaults.service_cidr,
        generation_on=(),
    ),
    Resource(
        group="networking.k8s.io",
        version="v1beta1",
        kind="IPAddress",
        plural="ipaddresses",
        namespaced=False,
        short_names=("ip",),
        type="networking/v1beta1.IPAddress",
        stored=GroupVersionKind("networking.k8s.io", "v1", "IPAddress"),
        generation_on=(),
    ),
    Resource(
        group="networking.k8s.io",
        version="v1beta1",
        kind="ServiceCIDR",
        plural="servicecidrs",
        namespaced=False,
        subresources=(Subresource("status"),),
        type="networking/v1beta1.ServiceCIDR",
        stored=GroupVersionKind("networking.k8s.io", "v1", "ServiceCIDR"),
        defaults=defaults.service_cidr,
        generation_on=(),
    ),
)
