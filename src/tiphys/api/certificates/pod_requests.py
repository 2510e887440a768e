"""What is wrong with a signer's answer to a PodCertificateRequest (`ValidatePodCertificateRequestStatusUpdate`).

That the certificate is for the key of the request is left to signers: the whole API is behind a gate that is off in v1.36.
"""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.validation import Errors
from tiphys.machinery.errors import FieldError, Path

_VERDICTS = ("Issued", "Denied", "Failed")
_STATUS = Path("status")
_ONE = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
_TIMES = (
    ("notBefore", "must be present and consistent with the issued certificate"),
    ("notAfter", "must be present and consistent with the issued certificate"),
    ("beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
)


def status(new: Object, old: Object | None) -> Errors:
    found, before = new.get("status") or {}, (old or {}).get("status") or {}
    errors = _conditions(found)
    if errors:
        return errors
    if _verdict(before):
        detail = "immutable after PodCertificateRequest is issued, denied, or failed"
        return [] if found == before else [FieldError.invalid(_STATUS, found, detail)]
    verdict = _verdict(found)
    if verdict in ("Denied", "Failed"):
        detail = "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
        rest = {name for name, value in found.items() if value and name != "conditions"}
        return [FieldError.invalid(_STATUS, found, detail)] if rest else []
    return _issued(found) if verdict == "Issued" else []


def _conditions(found: Object) -> Errors:
    errors: Errors = []
    verdicts = 0
    for position, condition in enumerate(found.get("conditions") or ()):
        here = _STATUS.child("conditions", f"[{position}]")
        kind, value = condition.get("type", ""), condition.get("status", "")
        if kind not in _VERDICTS:
            errors.append(FieldError.not_supported(here.child("type"), kind, _VERDICTS))
            continue
        verdicts += 1
        if verdicts > 1:
            errors.append(FieldError.invalid(here.child("type"), kind, _ONE))
        if value != "True":
            errors.append(FieldError.not_supported(here.child("status"), value, ("True",)))
    return errors


def _verdict(found: Object) -> str:
    return next((each["type"] for each in found.get("conditions") or () if each["type"] in _VERDICTS), "")


def _issued(found: Object) -> Errors:
    chain, here = found.get("certificateChain") or "", _STATUS.child("certificateChain")
    if "-----BEGIN " not in chain:
        return [
            FieldError.invalid(here, chain, "issued certificate chain must contain at least one certificate")
        ]
    kinds = {line for line in chain.splitlines() if line.startswith("-----BEGIN ")}
    if kinds != {"-----BEGIN CERTIFICATE-----"}:
        detail = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
        return [FieldError.invalid(here, chain, detail)]
    return [
        FieldError.required(_STATUS.child(name), detail) for name, detail in _TIMES if not found.get(name)
    ]
