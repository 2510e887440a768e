"""What is wrong with certificate requests and trust bundles (`pkg/apis/certificates/validation`)."""

from __future__ import annotations

import binascii
from base64 import b64decode

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, dns_subdomain, immutable, required_name
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import name as name_of

_SPEC = Path("spec")
_CONDITIONS = Path("status", "conditions")
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_SHORTEST_SECONDS = 600
_SIGNER_LIMIT = 571
_UID_LIMIT = 128
_SHORTEST_POD_SECONDS, _OWN_POD_SECONDS, _POD_SECONDS = 3600, 86_400, 91 * 86_400
_KNOWN_USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)


def certificate_signing_request(new: Object, old: Object | None) -> Errors:
    if old is not None:
        return conditions(new, old)
    spec = new.get("spec") or {}
    errors = _request(spec.get("request") or "", _SPEC.child("request"))
    errors += _usages(spec.get("usages") or [], _SPEC.child("usages"))
    signer, here = spec.get("signerName") or "", _SPEC.child("signerName")
    if signer == _LEGACY_SIGNER:
        detail = "the legacy signerName is not allowed via this API version"
        errors.append(FieldError.invalid(here, signer, detail))
    else:
        errors += signer_name(signer, here)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST_SECONDS:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.append(FieldError.invalid(_SPEC.child("expirationSeconds"), seconds, detail))
    return errors


def _request(encoded: str, path: Path) -> Errors:
    """PEM inside base64. Whether the signature is good is the signer's to see."""
    try:
        text = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        text = b""
    if b"-----BEGIN CERTIFICATE REQUEST-----" in text:
        return []
    return [FieldError.invalid(path, encoded, "PEM block type must be CERTIFICATE REQUEST")]


def _usages(usages: list[str], path: Path) -> Errors:
    if not usages:
        return [FieldError.required(path)]
    errors: Errors = []
    for position, usage in enumerate(usages):
        if usage not in _KNOWN_USAGES:
            errors.append(FieldError.not_supported(path.index(position), usage, _KNOWN_USAGES))
        if usages.index(usage) < position:
            errors.append(FieldError.duplicate(path.index(position), usage))
    return errors


def signer_name(signer: str, path: Path) -> Errors:
    """`example.com/my-signer`"""
    if not signer:
        return [FieldError.required(path)]
    domain, slash, rest = signer.partition("/")
    if not slash or "/" in rest:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [FieldError.invalid(path, signer, detail)]
    errors: Errors = []
    for message in names.dns1123_subdomain(domain):
        errors.append(FieldError.invalid(path, domain, message))
    if not errors and "." not in domain:
        detail = "should be a domain with at least two segments separated by dots"
        errors.append(FieldError.invalid(path, domain, detail))
    for segment in rest.split("."):
        errors += [
            FieldError.invalid(path, rest, f'validating label "{segment}": {message}')
            for message in names.dns1123_subdomain(segment)
        ]
    if len(signer) > _SIGNER_LIMIT:
        errors.append(FieldError.too_long(path, _SIGNER_LIMIT))
    return errors


def conditions(new: Object, old: Object | None) -> Errors:
    """Of a request: a verdict is true or not there, and stays."""
    found = (new.get("status") or {}).get("conditions") or []
    errors: Errors = []
    types = [condition.get("type") or "" for condition in found]
    for position, condition in enumerate(found):
        here, kind = _CONDITIONS.index(position), types[position]
        if not kind:
            errors.append(FieldError.required(here.child("type")))
        if types.index(kind) < position:
            errors.append(FieldError.duplicate(here.child("type"), kind))
        if kind in ("Approved", "Denied", "Failed") and condition.get("status") != "True":
            status = condition.get("status") or ""
            errors.append(FieldError.not_supported(here.child("status"), status, ("True",)))
    if "Approved" in types and "Denied" in types:
        kind = "Denied" if types.index("Denied") > types.index("Approved") else "Approved"
        detail = "Approved and Denied conditions are mutually exclusive"
        errors.append(FieldError.invalid(_CONDITIONS.index(types.index(kind)).child("type"), kind, detail))
    before = {each.get("type") for each in ((old or {}).get("status") or {}).get("conditions") or ()}
    for kind in ("Approved", "Denied", "Failed"):
        if kind in before and kind not in types:
            detail = f'updates may not remove a condition of type "{kind}"'
            errors.append(FieldError.forbidden(_CONDITIONS, detail))
    return errors


def status(new: Object, old: Object | None) -> Errors:
    errors = conditions(new, old)
    before = ((old or {}).get("status") or {}).get("certificate")
    certificate = (new.get("status") or {}).get("certificate")
    if before and certificate != before:
        here = Path("status", "certificate")
        detail = "updates may not set certificate content if existing certificate content is not empty"
        errors.append(FieldError.invalid(here, "<certificate data>", detail))
    return errors


# Trust bundles


def cluster_trust_bundle(new: Object, old: Object | None) -> Errors:
    """A bundle of a signer bears its name: `example.com:mysigner:anything`."""
    spec = new.get("spec") or {}
    signer, here = spec.get("signerName") or "", _SPEC.child("signerName")
    errors = _bundle_name(name_of(new), signer) if old is None else []
    if signer:
        errors += signer_name(signer, here)
    bundle, place = spec.get("trustBundle") or "", _SPEC.child("trustBundle")
    if "-----BEGIN CERTIFICATE-----" not in bundle:
        errors.append(
            FieldError.invalid(place, "<value omitted>", "at least one trust anchor must be provided")
        )
    if old is not None:
        errors += immutable(signer, (old.get("spec") or {}).get("signerName") or "", here)
    return errors


def _bundle_name(name: str, signer: str) -> Errors:
    here = Path("metadata", "name")
    if not signer:
        if ":" in name:
            return [
                FieldError.invalid(
                    here, name, 'ClusterTrustBundle without signer name must not have ":" in its name'
                )
            ]
        return []
    prefix = signer.replace("/", ":", 1) + ":"
    if not name.startswith(prefix):
        return [
            FieldError.invalid(
                here, name, f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
            )
        ]
    return dns_subdomain(name.removeprefix(prefix), here)


def bundle_name_rule(name: str) -> list[str]:
    """What any bundle's name must be; the signer's part is checked with the signer at hand."""
    if ":" in name:
        return names.path_segment_name(name)
    return names.dns1123_subdomain(name)


def pod_certificate_request(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    if old is not None:
        return immutable(spec, old.get("spec") or {}, _SPEC)
    errors = signer_name(spec.get("signerName") or "", _SPEC.child("signerName"))
    for field, rule in (
        ("podName", names.dns1123_subdomain),
        ("serviceAccountName", names.dns1123_subdomain),
        ("nodeName", names.dns1123_subdomain),
    ):
        errors += required_name(rule, spec.get(field), _SPEC.child(field))
    for field in ("podUID", "serviceAccountUID", "nodeUID"):
        uid = spec.get(field) or ""
        if not uid:
            errors.append(FieldError.invalid(_SPEC.child(field), "", "must not be empty"))
        if len(uid) > _UID_LIMIT:
            errors.append(FieldError.too_long(_SPEC.child(field), _UID_LIMIT))
    return errors + _life(spec)


def _life(spec: Object) -> Errors:
    """Of a pod's certificate: three months at most, and of Kubernetes' own signers a day."""
    path, seconds = _SPEC.child("maxExpirationSeconds"), spec.get("maxExpirationSeconds")
    if seconds is None:
        return [FieldError.required(path, "must be set")]
    domain = (spec.get("signerName") or "").partition("/")[0]
    is_own = domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
    longest = _OWN_POD_SECONDS if is_own else _POD_SECONDS
    if _SHORTEST_POD_SECONDS <= seconds <= longest:
        return []
    return [FieldError.invalid(path, seconds, f"must be in the range [{_SHORTEST_POD_SECONDS}, {longest}]")]
