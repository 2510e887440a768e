"""resource.k8s.io/v1beta1 wrote two things in another form: a request is flat there, and a device is below `basic`.

    v1beta1  requests: [{name, deviceClassName, …}]          devices: [{name, basic: {attributes, …}}]
    v1       requests: [{name, exactly: {deviceClassName, …}}]   devices: [{name, attributes, …}]

The other versions (v1beta2, v1alpha3) have the shapes of v1.
"""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api.resource import Conversion, Object

_OF_A_REQUEST = frozenset({"name", "firstAvailable"})
_V1, _V1BETA1 = "resource.k8s.io/v1", "resource.k8s.io/v1beta1"
Change = Callable[[Object], Object]


def request_to_v1(request: Object) -> Object:
    outer = {field: value for field, value in request.items() if field in _OF_A_REQUEST}
    exactly = {field: value for field, value in request.items() if field not in _OF_A_REQUEST}
    return {**outer, "exactly": exactly} if exactly else outer


def request_to_v1beta1(request: Object) -> Object:
    flat = {field: value for field, value in request.items() if field != "exactly"}
    return {**flat, **(request.get("exactly") or {})}


def device_to_v1(device: Object) -> Object:
    return {"name": device.get("name", ""), **(device.get("basic") or {})}


def device_to_v1beta1(device: Object) -> Object:
    basic = {field: value for field, value in device.items() if field != "name"}
    return {"name": device.get("name", ""), "basic": basic}


def _in_claim_spec(change: Change) -> Change:
    def convert(spec: Object) -> Object:
        devices = spec.get("devices")
        if not devices or not devices.get("requests"):
            return spec
        return {
            **spec,
            "devices": {**devices, "requests": [change(request) for request in devices["requests"]]},
        }

    return convert


def _in_slice_spec(change: Change) -> Change:
    def convert(spec: Object) -> Object:
        if not spec.get("devices"):
            return spec
        return {**spec, "devices": [change(device) for device in spec["devices"]]}

    return convert


def _in_template_spec(change: Change) -> Change:
    return lambda spec: {**spec, "spec": change(spec["spec"])} if spec.get("spec") else spec


def _of_spec(api_version: str, change: Change) -> Change:
    def convert(obj: Object) -> Object:
        converted = {**obj, "apiVersion": api_version}
        if obj.get("spec"):
            converted["spec"] = change(obj["spec"])
        return converted

    return convert


def _conversion(place: Callable[[Change], Change], there: Change, back: Change) -> Conversion:
    return Conversion(
        to_stored=_of_spec(_V1, place(there)),
        from_stored=_of_spec(_V1BETA1, place(back)),
    )


RESOURCE_CLAIM = _conversion(_in_claim_spec, request_to_v1, request_to_v1beta1)
RESOURCE_CLAIM_TEMPLATE = _conversion(
    lambda change: _in_template_spec(_in_claim_spec(change)), request_to_v1, request_to_v1beta1
)
RESOURCE_SLICE = _conversion(_in_slice_spec, device_to_v1, device_to_v1beta1)
