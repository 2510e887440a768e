"""Fields of certificate requests and trust bundles that field selectors may name."""

from __future__ import annotations

from tiphys.api.core.selectable import field_of
from tiphys.api.resource import FieldGetter

SIGNER: dict[str, FieldGetter] = {"spec.signerName": field_of("spec", "signerName")}
POD_CERTIFICATE_REQUEST: dict[str, FieldGetter] = {
    **SIGNER,
    "spec.podName": field_of("spec", "podName"),
    "spec.nodeName": field_of("spec", "nodeName"),
}
