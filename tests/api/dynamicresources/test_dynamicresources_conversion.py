"""resource.k8s.io/v1beta1 and v1 say the same in two forms."""

from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.dynamicresources import conversion

REQUEST_FIELDS = {
    "deviceClassName": st.just("gpu.example.com"),
    "selectors": st.just([{"cel": {"expression": "true"}}]),
    "allocationMode": st.sampled_from(["ExactCount", "All"]),
    "count": st.integers(1, 9),
    "adminAccess": st.booleans(),
    "tolerations": st.just([{"operator": "Exists"}]),
}
names = st.sampled_from(["a", "b", "c"])
exact = st.fixed_dictionaries({"name": names}, optional=REQUEST_FIELDS)
first_available = names.map(lambda name: {"name": name, "firstAvailable": [{"name": "x"}]})
requests = st.lists(exact | first_available, max_size=3)


def v1beta1(kind, spec):
    return {"kind": kind, "apiVersion": "resource.k8s.io/v1beta1", "metadata": {"name": "x"}, "spec": spec}


def test_a_flat_request_becomes_exact():
    flat = {"name": "r", "deviceClassName": "c", "count": 2}
    claim = v1beta1("ResourceClaim", {"devices": {"requests": [flat]}})
    stored = conversion.RESOURCE_CLAIM.to_stored(claim)
    assert stored["apiVersion"] == "resource.k8s.io/v1"
    assert stored["spec"]["devices"]["requests"] == [
        {"name": "r", "exactly": {"deviceClassName": "c", "count": 2}}
    ]


def test_a_device_loses_its_basic():
    device = {"name": "d", "basic": {"attributes": {"model": {"string": "x"}}}}
    stored = conversion.RESOURCE_SLICE.to_stored(v1beta1("ResourceSlice", {"devices": [device]}))
    assert stored["spec"]["devices"] == [{"name": "d", "attributes": {"model": {"string": "x"}}}]
    assert conversion.RESOURCE_SLICE.from_stored(stored)["spec"]["devices"] == [device]


@given(requests)
def test_claims_there_and_back(requests):
    claim = v1beta1("ResourceClaim", {"devices": {"requests": requests}})
    assert conversion.RESOURCE_CLAIM.from_stored(conversion.RESOURCE_CLAIM.to_stored(claim)) == claim


@given(requests)
def test_templates_there_and_back(requests):
    template = v1beta1("ResourceClaimTemplate", {"spec": {"devices": {"requests": requests}}})
    there = conversion.RESOURCE_CLAIM_TEMPLATE.to_stored(template)
    assert conversion.RESOURCE_CLAIM_TEMPLATE.from_stored(there) == template


def test_empty_specs_stay_empty():
    for kind, way in (
        ("ResourceClaim", conversion.RESOURCE_CLAIM),
        ("ResourceClaimTemplate", conversion.RESOURCE_CLAIM_TEMPLATE),
        ("ResourceSlice", conversion.RESOURCE_SLICE),
    ):
        assert way.to_stored(v1beta1(kind, {}))["spec"] == {}
