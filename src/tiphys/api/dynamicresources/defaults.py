"""Defaults of device requests (`pkg/apis/resource/*/defaults.go`): one device of the class, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api.defaults import fill, items, part
from tiphys.api.resource import Default, Object

POOL_STATUS_LIMIT = 100


def _count(request: Object) -> None:
    fill(request, allocationMode="ExactCount")
    if request["allocationMode"] == "ExactCount" and not request.get("count"):
        request["count"] = 1
    _tolerations(request)


def _tolerations(holder: Object) -> None:
    for toleration in holder.get("tolerations") or ():
        fill(toleration, operator="Equal")


def _request(request: Object) -> None:
    exactly = request.get("exactly")
    if exactly is not None:
        _count(exactly)
    _alternatives(request)


def _flat_request(request: Object) -> None:
    """Of v1beta1: what is beside the name is the request, unless there are alternatives."""
    if not request.get("firstAvailable"):
        _count(request)
    _alternatives(request)


def _alternatives(request: Object) -> None:
    for alternative in request.get("firstAvailable") or ():
        _count(alternative)


def _claim_spec(spec: Object, request: Callable[[Object], None]) -> None:
    for each in part(spec, "devices").get("requests") or ():
        request(each)


def _claim(request: Callable[[Object], None]) -> Default:
    def default(obj: Object) -> None:
        _claim_spec(part(obj, "spec"), request)
        status = part(obj, "status")
        for result in ((status.get("allocation") or {}).get("devices") or {}).get("results") or ():
            _tolerations(result)
        for device in status.get("devices") or ():
            items(device, "conditions")

    return default


def _template(request: Callable[[Object], None]) -> Default:
    def default(obj: Object) -> None:
        spec = part(obj, "spec")
        part(spec, "metadata")
        _claim_spec(part(spec, "spec"), request)

    return default


resource_claim = _claim(_request)
resource_claim_template = _template(_request)
resource_claim_v1beta1 = _claim(_flat_request)
resource_claim_template_v1beta1 = _template(_flat_request)


def with_spec(obj: Object) -> None:
    """A device class, or a slice: it always shows its spec."""
    part(obj, "spec")


def pool_status_request(obj: Object) -> None:
    fill(part(obj, "spec"), limit=POOL_STATUS_LIMIT)
