"""`limitedResources`: what may be used only where a quota is about it."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.core.quotas.amounts import written
from tiphys.api.core.quotas.evaluators import Wanted, evaluator_of
from tiphys.apiserver.admission.configuration import BadConfiguration
from tiphys.apiserver.admission.quota.decision import Quota, Refused, charges
from tiphys.apiserver.admission.quota.limits import read_limits
from tiphys.machinery.gvk import GroupResource
from tiphys.testing.clock import FakeClock

NOW = FakeClock().now()
HEAD = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration"}
CRITICAL = {"scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical", "x"]}
LIMITS = read_limits(
    {
        **HEAD,
        "limitedResources": [
            {"resource": "pods", "matchScopes": [CRITICAL]},
            {"resource": "pods", "matchContains": ["example.com/d"]},
        ],
    }
)


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}], **spec}}


def quota(hard: dict[str, str], **spec: Any) -> Quota:
    used = dict.fromkeys(hard, "0")
    status = {"hard": hard, "used": used}
    return Quota.of({"metadata": {"name": "q"}, "spec": spec, "status": status})


def asked(obj: dict[str, Any], *quotas: Quota) -> dict[str, dict[str, str]]:
    evaluator = evaluator_of(GroupResource("", "pods"))
    found = charges(quotas, Wanted("CREATE", "", obj), evaluator, LIMITS, NOW)
    return {name: written(amounts) for name, amounts in found.items()}


def test_a_scope_that_no_quota_is_about() -> None:
    critical = pod(priorityClassName="x")
    with pytest.raises(Refused) as refused:
        asked(critical, quota({"pods": "9"}))
    assert refused.value.cause == (
        "insufficient quota to match these scopes: [{PriorityClass In [system-node-critical x]}]"
    )
    assert not refused.value.forbidden
    about = quota({"pods": "9"}, scopeSelector={"matchExpressions": [CRITICAL]})
    assert asked(critical, about) == {"q": {"pods": "1"}}
    assert asked(pod()) == {}


def test_a_resource_that_no_quota_is_about() -> None:
    devices = pod(containers=[{"name": "c", "resources": {"requests": {"example.com/d": "1"}}}])
    with pytest.raises(Refused) as refused:
        asked(devices, quota({"pods": "9"}))
    assert refused.value.cause == "insufficient quota to consume: requests.example.com/d"
    assert refused.value.forbidden
    about = quota({"requests.example.com/d": "2"})
    assert asked(devices, about) == {"q": {"requests.example.com/d": "1"}}


BROKEN = (
    ({"kind": "Other", "apiVersion": HEAD["apiVersion"]}, "it is Other of apiserver.config.k8s.io/v1, not a"),
    ({"limitedResources": []}, "it is None of None"),
    ({**HEAD, "limitedResources": [{}]}, r"limitedResources\[0\].resource: Required value"),
)


@pytest.mark.parametrize(("document", "message"), BROKEN)
def test_a_configuration_that_is_wrong(document: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfiguration, match=message):
        read_limits(document)


def test_no_configuration_limits_nothing() -> None:
    assert read_limits(None) == ()
