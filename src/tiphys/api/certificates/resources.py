"""The kinds of the certificates.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource, Subresource

RESOURCES = (
    Resource(
        group="certificates.k8s.io",
        version="v1",
        kind="CertificateSigningRequest",
        plural="certificatesigningrequests",
        namespaced=False,
        short_names=("csr",),
        subresources=(
            Subresource("approval"),
            Subresource("status"),
        ),
        type="certificates/v1.CertificateSigningRequest",
        generation_on=(),
    ),
    Resource(
        group="certificates.k8s.io",
        version="v1beta1",
        kind="ClusterTrustBundle",
        plural="clustertrustbundles",
        namespaced=False,
        type="certificates/v1beta1.ClusterTrustBundle",
        generation_on=(),
    ),
    Resource(
        group="certificates.k8s.io",
        version="v1beta1",
        kind="PodCertificateRequest",
        plural="podcertificaterequests",
        namespaced=True,
        subresources=(Subresource("status"),),
        type="certificates/v1beta1.PodCertificateRequest",
        generation_on=(),
    ),
    Resource(
        group="certificates.k8s.io",
        version="v1alpha1",
        kind="ClusterTrustBundle",
        plural="clustertrustbundles",
        namespaced=False,
        type="certificates/v1alpha1.ClusterTrustBundle",
        generation_on=(),
    ),
)
