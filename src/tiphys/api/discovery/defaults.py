"""Defaults of endpoint slices (`pkg/apis/discovery/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object


def endpoint_slice(obj: Object) -> None:
    for endpoint in obj.setdefault("endpoints", None) or ():
        part(endpoint, "conditions")
    for port in obj.setdefault("ports", None) or ():
        if port.get("name") is None:
            port["name"] = ""
        fill(port, protocol="TCP")
