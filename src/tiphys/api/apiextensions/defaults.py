"""Defaults of custom resource definitions (apiextensions-apiserver `pkg/apis/apiextensions/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object

WEBHOOK_PORT = 443


def custom_resource_definition(obj: Object) -> None:
    spec = part(obj, "spec")
    names = part(spec, "names")
    kind = names.get("kind") or ""
    if kind:
        fill(names, singular=kind.lower(), listKind=f"{kind}List")
    conversion = part(spec, "conversion")
    fill(conversion, strategy="None")
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None:
        fill(service, port=WEBHOOK_PORT)
