"""Which plugins there are: a CredentialProviderConfig of kubelet.config.k8s.io, in a file or in the files of a directory.

`tiphys up --image-credential-provider-config` and `--image-credential-provider-bin-dir` name file and programs, as kubelet's flags
do; what is wrong with them is told in upstream's words before anything starts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from tiphys.machinery import yaml
from tiphys.machinery.fields import FieldError, aggregate
from tiphys.machinery.fields import Path as FieldPath
from tiphys.machinery.frozen import frozen
from tiphys.machinery.names import qualified_name
from tiphys.machinery.quoting import parse_duration, quote

GROUP, KIND = "kubelet.config.k8s.io", "CredentialProviderConfig"
VERSIONS = ("v1", "v1alpha1", "v1beta1")
PLUGIN_VERSIONS = tuple(f"credentialprovider.kubelet.k8s.io/{version}" for version in VERSIONS)
SERVICE_ACCOUNT, TOKEN = "ServiceAccount", "Token"
_SUFFIXES = (".json", ".yaml", ".yml")
_PROVIDERS = FieldPath("providers")
_FIELDS: Mapping[str, type] = {
    "name": str,
    "matchImages": list,
    "defaultCacheDuration": str,
    "apiVersion": str,
    "args": list,
    "env": list,
    "tokenAttributes": dict,
}
_TOKEN_FIELDS: Mapping[str, type] = {
    "serviceAccountTokenAudience": str,
    "cacheType": str,
    "requireServiceAccount": bool,
    "requiredServiceAccountAnnotationKeys": list,
    "optionalServiceAccountAnnotationKeys": list,
}

Object = Mapping[str, Any]


class BadProviders(Exception):
    """What is wrong with a configuration of plugins, in a line."""


@frozen
class TokenAttributes:
    """The plugin is given a token of the pod's service account. `cache_type`: for whom its answer is kept, the account or the token."""

    audience: str
    cache_type: str
    is_account_required: bool
    required_annotations: tuple[str, ...] = ()
    optional_annotations: tuple[str, ...] = ()


@frozen
class Provider:
    """One plugin. `api_version`: in which it is asked and must answer."""

    name: str
    match_images: tuple[str, ...]
    default_cache_seconds: float
    api_version: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    token: TokenAttributes | None = None


@frozen
class ProviderSettings:
    """`digest`: of the files, for who wants to know which ones a node goes by."""

    directory: Path
    providers: tuple[Provider, ...]
    digest: str = ""


def read(config: str, programs: str) -> ProviderSettings | None:
    """Reads and checks; None when there are to be none. `programs`: the directory where they are. Raises BadProviders."""
    if not config and not programs:
        return None
    if not programs or not Path(programs).exists():
        raise BadProviders(f"plugin binary directory {programs} did not exist")
    if not config:
        raise BadProviders("credential provider config path is empty")
    directory = Path(programs)
    digest = hashlib.sha256()
    rows: list[Object] = []
    for file in _files(Path(config)):
        try:
            data = file.read_bytes()
        except OSError as error:
            raise BadProviders(f'unable to read file "{file}": {error.strerror}') from None
        digest.update(len(data).to_bytes(8, "big") + data)
        try:
            rows += _decoded(data)
        except (BadProviders, yaml.YAMLError) as error:
            raise BadProviders(f'error decoding config "{file}": {error}') from None
    names = [row.get("name") or "" for row in rows]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise BadProviders(f"duplicate provider name {quote(name)} found in configuration file(s)")
    errors = _problems(rows)
    if errors:
        raise BadProviders(f"failed to validate credential provider config: {aggregate(errors)}")
    for name in names:
        _check_program(directory / name)
    return ProviderSettings(directory, tuple(map(_provider, rows)), f"sha256:{digest.hexdigest()}")


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and not file.is_dir())
    except OSError as error:
        raise BadProviders(f'unable to access path "{path}": {error.strerror}') from None
    if not found:
        raise BadProviders(f'no configuration files found in directory "{path}"')
    return found


def _check_program(program: Path) -> None:
    if not program.exists():
        raise BadProviders(f"plugin binary executable {program} did not exist")
    if program.is_dir() or not os.access(program, os.X_OK):
        raise BadProviders(f"error inspecting binary executable {program}: permission denied")


# Reading


def _decoded(data: bytes) -> list[Object]:
    document = yaml.load(data)
    if not isinstance(document, dict):
        raise BadProviders("it is no object")
    version, kind = document.get("apiVersion") or "", document.get("kind") or ""
    group, _, of_group = version.partition("/")
    if kind != KIND or group != GROUP or of_group not in VERSIONS:
        raise BadProviders(f"no kind {quote(kind)} is registered for version {quote(version)}")
    unknown = sorted(set(document) - {"apiVersion", "kind", "providers"})
    found = document.get("providers") or []
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BadProviders("providers must be a list of objects")
    for at, row in enumerate(found):
        unknown += _check(row, _FIELDS, f"providers[{at}]")
        unknown += _check(row.get("tokenAttributes") or {}, _TOKEN_FIELDS, f"providers[{at}].tokenAttributes")
        _check_lists(row, f"providers[{at}]")
    if unknown:
        told = ", ".join(f"unknown field {quote(name)}" for name in unknown)
        raise BadProviders(f"strict decoding error: {told}")
    return found


def _check(row: Object, kinds: Mapping[str, type], path: str) -> list[str]:
    """The fields that there are not. Raises BadProviders for values of another type."""
    for name, value in row.items():
        wanted = kinds.get(name)
        if wanted is not None and value is not None and not isinstance(value, wanted):
            raise BadProviders(f"{path}.{name} must be of another type than {type(value).__name__}")
    duration = row.get("defaultCacheDuration")
    if duration is not None:
        try:
            parse_duration(duration)
        except ValueError:
            raise BadProviders(f"time: invalid duration {quote(duration)}") from None
    return [f"{path}.{name}" for name in row if name not in kinds]


def _check_lists(row: Object, path: str) -> None:
    keys = ("requiredServiceAccountAnnotationKeys", "optionalServiceAccountAnnotationKeys")
    token = row.get("tokenAttributes") or {}
    for name, entries in (
        *((name, row.get(name)) for name in ("matchImages", "args")),
        *((name, token.get(name)) for name in keys),
    ):
        if not all(isinstance(entry, str) for entry in entries or ()):
            raise BadProviders(f"{path}: {name} must be a list of strings")
    for variable in row.get("env") or ():
        is_one = isinstance(variable, dict) and set(variable) <= {"name", "value"}
        if not is_one or not all(isinstance(text, str) for text in variable.values()):
            raise BadProviders(f"{path}: env must be a list of names and values")


def _provider(row: Object) -> Provider:
    token = row.get("tokenAttributes")
    return Provider(
        row["name"],
        tuple(row["matchImages"]),
        parse_duration(row["defaultCacheDuration"]),
        row["apiVersion"],
        tuple(row.get("args") or ()),
        {variable.get("name", ""): variable.get("value", "") for variable in row.get("env") or ()},
        None if token is None else _token(token),
    )


def _token(row: Object) -> TokenAttributes:
    return TokenAttributes(
        row["serviceAccountTokenAudience"],
        row["cacheType"],
        row["requireServiceAccount"],
        tuple(row.get("requiredServiceAccountAnnotationKeys") or ()),
        tuple(row.get("optionalServiceAccountAnnotationKeys") or ()),
    )


# What upstream's validation asks, in its words


def _problems(rows: Sequence[Object]) -> list[FieldError]:
    if not rows:
        return [FieldError.required(_PROVIDERS, "at least 1 item in plugins is required")]
    return [error for row in rows for error in _problems_of(row)]


def _problems_of(row: Object) -> Iterable[FieldError]:
    name, version = row.get("name") or "", row.get("apiVersion") or ""
    for is_so, text in (
        ("/" in name, "contain '/'"),
        (" " in name, "contain spaces"),
        (name == ".", "be '.'"),
        (name == "..", "be '..'"),
    ):
        if is_so:
            yield FieldError.invalid(_PROVIDERS.child("name"), name, f"provider name cannot {text}")
    if not version:
        yield FieldError.required(_PROVIDERS.child("apiVersion"))
    elif version not in PLUGIN_VERSIONS:
        yield FieldError.not_supported(_PROVIDERS.child("apiVersion"), version, PLUGIN_VERSIONS)
    if not row.get("matchImages"):
        detail = "at least 1 item in matchImages is required"
        yield FieldError.required(_PROVIDERS.child("matchImages"), detail)
    for image in row.get("matchImages") or ():
        if "%" in image or " " in image.partition("/")[0]:
            detail = f"match image is invalid: parse {quote(f'https://{image}')}: invalid URL"
            yield FieldError.invalid(_PROVIDERS.child("matchImages"), image, detail)
    duration = row.get("defaultCacheDuration")
    if duration is None:
        yield FieldError.required(_PROVIDERS.child("defaultCacheDuration"))
    elif parse_duration(duration) < 0:
        detail = "must be greater than or equal to 0"
        yield FieldError.invalid(_PROVIDERS.child("defaultCacheDuration"), duration, detail)
    if row.get("tokenAttributes") is not None:
        yield from _token_problems(row["tokenAttributes"], version)


def _token_problems(token: Object, version: str) -> Iterable[FieldError]:
    path = _PROVIDERS.child("tokenAttributes")
    if not token.get("serviceAccountTokenAudience"):
        yield FieldError.required(path.child("serviceAccountTokenAudience"))
    if token.get("requireServiceAccount") is None:
        yield FieldError.required(path.child("requireServiceAccount"))
    if version != PLUGIN_VERSIONS[0]:
        detail = f"tokenAttributes is only supported for {PLUGIN_VERSIONS[0]} API version"
        yield FieldError.forbidden(path, detail)
    required = token.get("requiredServiceAccountAnnotationKeys") or ()
    optional = token.get("optionalServiceAccountAnnotationKeys") or ()
    if required and token.get("requireServiceAccount") is False:
        detail = "requireServiceAccount cannot be false when requiredServiceAccountAnnotationKeys is set"
        yield FieldError.forbidden(path.child("requiredServiceAccountAnnotationKeys"), detail)
    yield from _key_problems(path.child("requiredServiceAccountAnnotationKeys"), required)
    yield from _key_problems(path.child("optionalServiceAccountAnnotationKeys"), optional)
    both = sorted({*required} & {*optional})
    if both:
        yield FieldError.invalid(path, both, "annotation keys cannot be both required and optional")
    kind, kinds = token.get("cacheType") or "", (SERVICE_ACCOUNT, TOKEN)
    if not kind:
        detail = "cacheType is required to be set when tokenAttributes is specified. Supported values are: "
        yield FieldError.required(path.child("cacheType"), detail + ", ".join(kinds))
    elif kind not in kinds:
        yield FieldError.not_supported(path.child("cacheType"), kind, kinds)


def _key_problems(path: FieldPath, keys: Sequence[str]) -> Iterable[FieldError]:
    for at, key in enumerate(keys):
        for problem in qualified_name(key.lower()):
            yield FieldError.invalid(path, key, problem)
        if key in keys[:at]:
            yield FieldError.duplicate(path, key)
