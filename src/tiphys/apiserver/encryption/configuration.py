"""The file of `--encryption-provider-config`: read, judged by upstream's rules in upstream's words, and nothing else."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tiphys.api.validation import Errors
from tiphys.apiserver.config_forms import misfits
from tiphys.machinery import yaml
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import parse_duration
from tiphys.machinery.yaml_lines import placed

_VERSION, _KIND = "apiserver.config.k8s.io/v1", "EncryptionConfiguration"
PROVIDERS = ("aesgcm", "aescbc", "secretbox", "identity", "kms")
_KEY_SIZES = {"aesgcm": (16, 24, 32), "aescbc": (16, 24, 32), "secretbox": (32,)}
_WITHOUT_PATHS = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")
_DEFAULT_TIMEOUT_SECONDS = 3.0
_KEYS = {"keys": [{"name": str, "secret": str}]}
_KMS = {"apiVersion": str, "name": str, "cachesize": int, "endpoint": str, "timeout": str}
_PROVIDERS = {"aesgcm": _KEYS, "aescbc": _KEYS, "secretbox": _KEYS, "identity": {}, "kms": _KMS}
_FORM = {
    "apiVersion": str,
    "kind": str,
    "resources": [{"resources": [str], "providers": [_PROVIDERS]}],
}
ANY = ("*", "*")
GroupResource = tuple[str, str]
"""("apps", "deployments"); either may be "*"."""


class BadConfiguration(Exception):
    """One line: what is wrong with the file."""


@frozen
class Key:
    name: str
    secret: bytes


@frozen
class Provider:
    """`kind` is one of PROVIDERS. Of kms: `name`, `socket_path` and `timeout_seconds`; of the others but identity: `keys`."""

    kind: str
    keys: tuple[Key, ...] = ()
    name: str = ""
    socket_path: str = ""
    timeout_seconds: float = _DEFAULT_TIMEOUT_SECONDS


@frozen
class Entry:
    resources: tuple[GroupResource, ...]
    providers: tuple[Provider, ...]


def parse(text: str) -> list[Entry]:
    """The entries of a configuration. Raises BadConfiguration."""
    try:
        read = yaml.load(text)
    except yaml.YAMLError as error:
        raise BadConfiguration(" ".join(str(error).split())) from None
    if not isinstance(read, dict):
        raise BadConfiguration("it is not an EncryptionConfiguration")
    if (read.get("apiVersion"), read.get("kind")) != (_VERSION, _KIND):
        found = f"{read.get('apiVersion')}, Kind={read.get('kind')}"
        raise BadConfiguration(f"got unexpected config type: {found}; expected {_VERSION}, Kind={_KIND}")
    shown = list(misfits(read, _FORM))
    if not shown:
        shown = [str(problem) for problem in validate(read)]
    if shown:
        shown = [placed(text, problem) for problem in shown]
        raise BadConfiguration(shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]")
    return [
        Entry(
            tuple(map(group_resource, entry["resources"])),
            tuple(_provider(each) for each in entry["providers"]),
        )
        for entry in read["resources"]
    ]


def group_resource(text: str) -> GroupResource:
    resource, _, group = text.partition(".")
    return group, resource


def _provider(read: dict[str, Any]) -> Provider:
    (kind, settings), *_ = read.items()
    if kind == "identity":
        return Provider(kind)
    if kind == "kms":
        timeout = _seconds(settings)
        return Provider(kind, (), settings["name"], urlsplit(settings["endpoint"]).path, timeout)
    keys = (Key(each["name"], base64.b64decode(each["secret"])) for each in settings["keys"])
    return Provider(kind, tuple(keys))


def _seconds(kms: dict[str, Any]) -> float:
    return parse_duration(kms["timeout"]) if kms.get("timeout") else _DEFAULT_TIMEOUT_SECONDS


# Rules


def validate(configuration: dict[str, Any]) -> Errors:
    root = Path("resources")
    entries = configuration.get("resources")
    if not entries:
        return [FieldError.required(root, "at least one resources is required")]
    errors: Errors = []
    names: set[str] = set()
    for position, entry in enumerate(entries):
        resources, providers = entry.get("resources") or [], entry.get("providers") or []
        here = root.index(position).child("resources")
        if not resources:
            errors.append(FieldError.required(here, f"at least one {here} is required"))
        errors += _overlap(resources, here) + _names(resources, here)
        here = root.index(position).child("providers")
        if not providers:
            errors.append(FieldError.required(here, f"at least one {here} is required"))
        for number, provider in enumerate(providers):
            errors += _check_provider(provider, here.index(number), names)
    return errors


def _overlap(resources: list[str], path: Path) -> Errors:
    parsed = [group_resource(each) for each in resources]
    errors: Errors = []
    if len(set(parsed)) < len(parsed):
        detail = "the same resource cannot be specified multiple times"
        errors.append(FieldError.invalid(path, resources, detail))
    distinct = list(dict.fromkeys(parsed))
    groups = [group for group, _ in distinct]
    wide = any(resource == "*" and groups.count(group) > 1 for group, resource in distinct)
    if wide or (ANY in distinct and len(distinct) > 1):
        detail = (
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they "
            "will be masked"
        )
        errors.append(FieldError.invalid(path, resources, detail))
    return errors


def _names(resources: list[str], path: Path) -> Errors:
    return [
        FieldError.invalid(path.index(position), each, detail)
        for position, each in enumerate(resources)
        if (detail := _name_problem(each))
    ]


def _name_problem(text: str) -> str:
    group, resource = group_resource(text)
    if text != text.lower():
        return "resource name should not contain capital letters"
    if text == "*":
        return "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
    if text in _WITHOUT_PATHS:
        return "resources which do not have REST API/s cannot be encrypted"
    if group == "events.k8s.io":
        return (
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the "
            "config file"
        )
    if group == "extensions":
        return "'extensions' group has been removed and cannot be used for encryption"
    if group == "*" and resource != "*":
        return "encrypting the same resource across groups is not supported"
    return ""


def _check_provider(provider: dict[str, Any], path: Path, names: set[str]) -> Errors:
    kinds = [kind for kind in PROVIDERS if provider.get(kind) is not None]
    if not kinds:
        detail = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity"
        return [FieldError.invalid(path, "<omitted>", detail)]
    if len(kinds) > 1 or len(provider) > 1:
        detail = (
            "more than one provider specified in a single element, should split into different list elements"
        )
        return [FieldError.invalid(path, "<omitted>", detail)]
    kind = kinds[0]
    if kind == "identity":
        return []
    settings, here = provider[kind], path.child(kind)
    if kind == "kms":
        return _check_kms(settings, here, names)
    keys = settings.get("keys") or []
    if not keys:
        return [FieldError.required(here.child("keys"), "at least one keys is required")]
    errors: Errors = []
    for position, key in enumerate(keys):
        errors += _check_key(key, here.child("keys").index(position), _KEY_SIZES[kind])
    return errors


def _check_key(key: dict[str, Any], path: Path, sizes: tuple[int, ...]) -> Errors:
    errors: Errors = []
    if not key.get("name"):
        errors.append(FieldError.required(path.child("name"), "name is a mandatory field for a key"))
    here, encoded = path.child("secret"), key.get("secret")
    if not encoded:
        return [*errors, FieldError.required(here, "secret is a mandatory field for a key")]
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return [*errors, FieldError.invalid(here, "REDACTED", "secrets must be base64 encoded")]
    if len(secret) not in sizes:
        wanted = " ".join(map(str, sizes))
        detail = f"secret is not of the expected length, got {len(secret)}, expected one of [{wanted}]"
        errors.append(FieldError.invalid(here, "REDACTED", detail))
    return errors


def _check_kms(kms: dict[str, Any], path: Path, names: set[str]) -> Errors:
    rules: tuple[Callable[[dict[str, Any], Path], Errors], ...] = (
        _check_timeout,
        _check_endpoint,
        _check_version,
    )
    errors = _check_kms_name(kms, path.child("name"), names)
    names.add(kms.get("name") or "")
    for rule in rules:
        errors += rule(kms, path)
    return errors


def _check_kms_name(kms: dict[str, Any], path: Path, names: set[str]) -> Errors:
    name = kms.get("name") or ""
    errors: Errors = []
    if not name:
        errors.append(FieldError.required(path, "name is a mandatory field for a provider"))
    if ":" in name:
        detail = f"invalid KMS provider name {name}, must not contain ':'"
        errors.append(FieldError.invalid(path, name, detail))
    if name in names:
        detail = f"duplicate KMS provider name {name}, names must be unique"
        errors.append(FieldError.invalid(path, name, detail))
    return errors


def _check_timeout(kms: dict[str, Any], path: Path) -> Errors:
    here, detail = path.child("timeout"), "timeout should be a positive value"
    try:
        good = _seconds(kms) > 0
    except ValueError:
        good = False
    return [] if good else [FieldError.invalid(here, str(kms.get("timeout")), detail)]


def _check_endpoint(kms: dict[str, Any], path: Path) -> Errors:
    here, endpoint = path.child("endpoint"), kms.get("endpoint") or ""
    if not endpoint:
        return [FieldError.invalid(here, "", "endpoint is a mandatory field for a kms")]
    scheme = urlsplit(endpoint).scheme
    if scheme == "unix":
        return []
    detail = f'unsupported scheme "{scheme}" for KMS provider, only unix is supported'
    return [FieldError.invalid(here, endpoint, detail)]


def _check_version(kms: dict[str, Any], path: Path) -> Errors:
    """Version 1 is refused as by upstream with its feature gate as it is by default."""
    version = kms.get("apiVersion") or "v1"
    if version == "v2":
        if kms.get("cachesize") is None:
            return []
        return [
            FieldError.invalid(path.child("cachesize"), kms["cachesize"], "cachesize is not supported in v2")
        ]
    detail = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported"
    if version == "v1":
        detail = (
            "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  "
            "Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature."
        )
    return [FieldError.invalid(path.child("apiVersion"), version, detail)]
