"""Defaults of API services (kube-aggregator `pkg/apis/apiregistration/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object

SERVICE_PORT = 443


def api_service(obj: Object) -> None:
    service = part(obj, "spec").get("service")
    if service is not None:
        fill(service, port=SERVICE_PORT)
    part(obj, "status")
