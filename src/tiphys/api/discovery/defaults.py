"""Defaults of endpoint slices (`pkg/apis/discovery/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, items, part
from tiphys.api.resource import Object


def endpoint_slice(obj: Object) -> None:
    for endpoint in items(obj, "endpoints"):
        part(endpoint, "conditions")
    for port in items(obj, "ports"):
        if port.get("name") is None:
            port["name"] = ""
        fill(port, protocol="TCP")
