"""The kinds of the certificates.k8s.io group."""

from __future__ import annotations

from tiphys.api.certificates import columns, defaults, selectable
from tiphys.api.resource import Resource, Subresource
from tiphys.machinery import names
from tiphys.machinery.gvk import GroupVersionKind

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
        defaults=defaults.certificate_signing_request,
        name_errors=names.path_segment_name,
        selectable_fields=selectable.SIGNER,
        table=columns.CERTIFICATE_SIGNING_REQUEST,
        generation_on=(),
    ),
    Resource(
        group="certificates.k8s.io",
        version="v1beta1",
        kind="ClusterTrustBundle",
        plural="clustertrustbundles",
        namespaced=False,
        type="certificates/v1beta1.ClusterTrustBundle",
        selectable_fields=selectable.SIGNER,
        table=columns.CLUSTER_TRUST_BUNDLE,
        unconditional_update=False,
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
        defaults=defaults.pod_certificate_request,
        selectable_fields=selectable.POD_CERTIFICATE_REQUEST,
        table=columns.POD_CERTIFICATE_REQUEST,
        unconditional_update=False,
        generation_on=(),
    ),
    Resource(
        group="certificates.k8s.io",
        version="v1alpha1",
        kind="ClusterTrustBundle",
        plural="clustertrustbundles",
        namespaced=False,
        type="certificates/v1alpha1.ClusterTrustBundle",
        stored=GroupVersionKind("certificates.k8s.io", "v1beta1", "ClusterTrustBundle"),
        selectable_fields=selectable.SIGNER,
        table=columns.CLUSTER_TRUST_BUNDLE,
        unconditional_update=False,
        generation_on=(),
    ),
)
