"""Which version of a kind is kept. Discovery tells clients (storageVersionHash), and upgrades depend on it."""

import pytest

from tiphys.api.scheme import built_in

STORED_ELSEWHERE = {
    "events.k8s.io/v1 Event": "v1",
    "autoscaling/v1 HorizontalPodAutoscaler": "autoscaling/v2",
    "certificates.k8s.io/v1alpha1 ClusterTrustBundle": "certificates.k8s.io/v1beta1",
    "networking.k8s.io/v1beta1 IPAddress": "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1 ServiceCIDR": "networking.k8s.io/v1",
    "storage.k8s.io/v1beta1 VolumeAttributesClass": "storage.k8s.io/v1",
    "admissionregistration.k8s.io/v1 MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1beta1",
    "admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1beta1",
    "admissionregistration.k8s.io/v1alpha1 MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1beta1",
    "admissionregistration.k8s.io/v1alpha1 MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1beta1",
    "coordination.k8s.io/v1alpha2 LeaseCandidate": "coordination.k8s.io/v1beta1",
    "resource.k8s.io/v1beta2 DeviceClass": "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2 DeviceTaintRule": "resource.k8s.io/v1alpha3",
    "resource.k8s.io/v1beta2 ResourceClaim": "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2 ResourceClaimTemplate": "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2 ResourceSlice": "resource.k8s.io/v1",
    "resource.k8s.io/v1beta1 DeviceClass": "resource.k8s.io/v1",
    "resource.k8s.io/v1beta1 ResourceClaim": "resource.k8s.io/v1",
    "resource.k8s.io/v1beta1 ResourceClaimTemplate": "resource.k8s.io/v1",
    "resource.k8s.io/v1beta1 ResourceSlice": "resource.k8s.io/v1",
}
SCHEME = built_in()


def test_stored_versions_are_those_of_1_36():
    found = {
        f"{row.api_version} {row.kind}": row.stored.api_version for row in SCHEME if row.stored is not None
    }
    assert found == STORED_ELSEWHERE


@pytest.mark.parametrize("row", [row for row in SCHEME if row.stored], ids=lambda row: str(row.gvk))
def test_the_stored_version_is_served_and_stored_as_itself(row):
    stored = SCHEME.stored_row(row)
    assert stored.stored is None
    assert stored.namespaced == row.namespaced
    assert stored.generation_on == row.generation_on
    assert stored.returns_deleted == row.returns_deleted


def test_every_version_of_a_kind_is_stored_as_one():
    for row in SCHEME:
        stored = {SCHEME.stored_row(version).gvk for version in SCHEME.versions(row.group, row.plural)}
        assert len(stored) == 1, row.group_resource
