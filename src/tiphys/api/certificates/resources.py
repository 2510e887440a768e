"""The kinds of the certificates.k8s.io group."""

from __future__ import annotations

from tiphys.api.certificates import columns, defaults, pod_requests, prepare, selectable, validation
from tiphys.api.resource import Resource, Rules, Subresource
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
            Subresource(
                "approval",
                rules=Rules(prepare.approval, validation.conditions),
                resets=("spec", "status.certificate"),
            ),
            Subresource("status", resets=("spec", "status.conditions")),
        ),
        type="certificates/v1.CertificateSigningRequest",
        defaults=defaults.certificate_signing_request,
        prepare=prepare.certificate_signing_request,
        note_caller=prepare.requested_by,
        note_time=prepare.condition_times,
        validate=validation.certificate_signing_request,
        prepare_status=prepare.status,
        resets=("spec", "status"),
        validate_status=validation.status,
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
        validate=validation.cluster_trust_bundle,
        name_errors=validation.bundle_name_rule,
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
        validate=validation.pod_certificate_request,
        validate_status=pod_requests.status,
        resets=(),
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
        validate=validation.cluster_trust_bundle,
        name_errors=validation.bundle_name_rule,
        selectable_fields=selectable.SIGNER,
        table=columns.CLUSTER_TRUST_BUNDLE,
        unconditional_update=False,
        generation_on=(),
    ),
)
