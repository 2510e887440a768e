"""Defaults of certificate requests (`pkg/apis/certificates/*/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object

POD_CERTIFICATE_SECONDS = 24 * 60 * 60


def certificate_signing_request(obj: Object) -> None:
    part(obj, "spec")
    part(obj, "status")


def pod_certificate_request(obj: Object) -> None:
    fill(part(obj, "spec"), maxExpirationSeconds=POD_CERTIFICATE_SECONDS)
    part(obj, "status")
