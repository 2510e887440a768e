"""AuthorizationConfiguration: what `--authorization-config` says, checked as upstream checks it.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#using-configuration-file-for-authorization
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from functools import cache
from pathlib import Path as File
from typing import TYPE_CHECKING, Any

from tiphys.apiserver.authorization.webhook import WebhookSettings
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import parse_duration

if TYPE_CHECKING:
    from tiphys.machinery.cel import Environment, Program

Object = dict[str, Any]
API_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
_KIND = "AuthorizationConfiguration"
TYPES = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
_MOST_CONDITIONS = 64
_FIELDS = {
    "": "apiVersion kind authorizers",
    "authorizers": "type name webhook",
    "authorizers.webhook": "authorizedTTL cacheAuthorizedRequests unauthorizedTTL cacheUnauthorizedRequests timeout "
    "subjectAccessReviewVersion matchConditionSubjectAccessReviewVersion failurePolicy connectionInfo matchConditions",
    "authorizers.webhook.connectionInfo": "type kubeConfigFile",
    "authorizers.webhook.matchConditions": "expression",
}
_LISTS = frozenset({"authorizers", "authorizers.webhook.matchConditions"})
_DEFAULTS = {"authorizedTTL": "5m", "unauthorizedTTL": "30s"}


@frozen
class Entry:
    """One authorizer; of a Webhook, how to ask it and the kubeconfig that says where."""

    type: str
    name: str
    webhook: WebhookSettings = field(default_factory=WebhookSettings)
    kubeconfig: str = ""


def read(document: Any) -> tuple[tuple[Entry, ...], list[str]]:
    """The authorizers in their order, and what is wrong, each in a line."""
    problems = list(_shape(document))
    if problems:
        return (), problems
    reader = _Reader()
    entries = reader.entries(document.get("authorizers") or [])
    return entries, [str(error) for error in reader.errors]


def _shape(document: Any) -> Iterator[str]:
    if not isinstance(document, dict):
        yield "the file is not an object"
    elif document.get("kind") != _KIND or document.get("apiVersion") not in API_VERSIONS:
        yield f'no kind "{document.get("kind")}" is registered for version "{document.get("apiVersion")}"'
    elif unknown := list(_unknown(document, "", "")):
        yield f"strict decoding error: {', '.join(unknown)}"


def _unknown(value: Any, place: str, shown: str) -> Iterator[str]:
    if place in _LISTS and not isinstance(value, list):
        yield f'"{shown}" must be a list'
        return
    items = [(f"{shown}[{n}]", each) for n, each in enumerate(value)] if place in _LISTS else [(shown, value)]
    for where, item in items:
        if not isinstance(item, dict):
            yield f'"{where}" must be an object'
            continue
        for name, inner in item.items():
            path, below = (
                (f"{where}.{name}" if where else str(name)),
                (f"{place}.{name}" if place else str(name)),
            )
            if name not in _FIELDS[place].split():
                yield f'unknown field "{path}"'
            elif below in _FIELDS and inner is not None:
                yield from _unknown(inner, below, path)
            elif below not in _FIELDS and not isinstance(inner, bool if name.startswith("cache") else str):
                yield f'"{path}" has a value of another type'


class _Reader:
    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def entries(self, section: list[Object]) -> tuple[Entry, ...]:
        root, found = Path("authorizers"), []
        if not section:
            self.errors.append(FieldError.required(root, "at least one authorization mode must be defined"))
        types: set[str] = set()
        seen_names: set[str] = set()
        for position, each in enumerate(section):
            path, kind, name = root.index(position), each.get("type") or "", each.get("name") or ""
            if not kind:
                self.errors.append(FieldError.required(path.child("type")))
                continue
            if kind not in TYPES:
                self.errors.append(FieldError.not_supported(path.child("type"), kind, TYPES))
                continue
            if kind in types and kind != "Webhook":
                self.errors.append(FieldError.duplicate(path.child("type"), kind))
                continue
            types.add(kind)
            self._name(name, seen_names, path.child("name"))
            seen_names.add(name)
            found.append(self._entry(each, kind, name, path))
        return tuple(found)

    def _name(self, name: str, seen: set[str], path: Path) -> None:
        if not name:
            self.errors.append(FieldError.required(path))
        elif name in seen:
            self.errors.append(FieldError.duplicate(path, name))
        elif problems := names.dns1123_subdomain(name):
            self._invalid(path, name, f"authorizer name is invalid: {', '.join(problems)}")

    def _entry(self, each: Object, kind: str, name: str, path: Path) -> Entry:
        webhook = each.get("webhook")
        if kind != "Webhook":
            if webhook is not None:
                self._invalid(path.child("webhook"), "non-null", "may only be specified when type=Webhook")
            return Entry(kind, name)
        if webhook is None:
            self.errors.append(FieldError.required(path.child("webhook"), "required when type=Webhook"))
            return Entry(kind, name)
        # Upstream's paths lack the `webhook` part.
        timeout = self._seconds(webhook, "timeout", path)
        if timeout > 30:
            self._invalid(path.child("timeout"), webhook["timeout"], "must be > 0s and <= 30s")
        authorized, unauthorized = (
            self._seconds({**_DEFAULTS, **webhook}, name, path) if webhook.get(switch, True) else 0.0
            for name, switch in (
                ("authorizedTTL", "cacheAuthorizedRequests"),
                ("unauthorizedTTL", "cacheUnauthorizedRequests"),
            )
        )
        version = self._one_of(webhook, "subjectAccessReviewVersion", ("v1", "v1beta1"), path)
        conditions = webhook.get("matchConditions") or []
        if conditions and not webhook.get("matchConditionSubjectAccessReviewVersion"):
            where = path.child("matchConditionSubjectAccessReviewVersion")
            self.errors.append(FieldError.required(where, "required if match conditions are specified"))
        elif webhook.get("matchConditionSubjectAccessReviewVersion"):
            self._one_of(webhook, "matchConditionSubjectAccessReviewVersion", ("v1",), path)
        policy = self._one_of(webhook, "failurePolicy", ("NoOpinion", "Deny"), path)
        programs = self._conditions(conditions, path.child("matchConditions"))
        kubeconfig = self._connection(webhook.get("connectionInfo") or {}, path.child("connectionInfo"))
        settings = WebhookSettings(
            timeout_seconds=timeout,
            authorized_seconds=authorized,
            unauthorized_seconds=unauthorized,
            version=version,
            denies_on_failure=policy == "Deny",
            conditions=programs,
        )
        return Entry(kind, name, settings, kubeconfig)

    def _seconds(self, webhook: Object, name: str, path: Path) -> float:
        text = webhook.get(name) or ""
        try:
            seconds = parse_duration(text) if text else 0.0
        except ValueError as error:
            self._invalid(path.child(name), text, str(error))
            return 1.0
        if not seconds:
            self.errors.append(FieldError.required(path.child(name)))
        elif seconds < 0:
            rule = "must be > 0s and <= 30s" if name == "timeout" else "must be > 0s"
            self._invalid(path.child(name), text, rule)
        return seconds

    def _one_of(self, webhook: Object, name: str, known: tuple[str, ...], path: Path) -> str:
        found: str = webhook.get(name) or ""
        if not found:
            self.errors.append(FieldError.required(path.child(name)))
        elif found not in known:
            self.errors.append(FieldError.not_supported(path.child(name), found, known))
        return found

    def _connection(self, section: Object, path: Path) -> str:
        kind, file = section.get("type") or "", section.get("kubeConfigFile") or ""
        where = path.child("kubeConfigFile")
        if not kind:
            self.errors.append(FieldError.required(path.child("type")))
        elif kind == "InClusterConfig":
            self._invalid(path.child("type"), kind, "the server does not run in a pod: use KubeConfigFile")
        elif kind != "KubeConfigFile":
            known = ("InClusterConfig", "KubeConfigFile")
            self.errors.append(FieldError.not_supported(path.child("type"), kind, known))
        elif not file:
            self.errors.append(FieldError.required(where))
        elif not File(file).is_absolute():
            self._invalid(where, file, "must be an absolute path")
        elif not File(file).exists():
            self._invalid(where, file, f"error loading file: stat {file}: no such file or directory")
        elif not File(file).is_file():
            self._invalid(where, file, "must be a regular file")
        return file

    def _conditions(self, section: list[Object], root: Path) -> tuple[Program, ...]:
        from tiphys.machinery.cel import BOOL, DYN, CelError

        if len(section) > _MOST_CONDITIONS:
            self.errors.append(FieldError.too_many(root, len(section), _MOST_CONDITIONS))
            return ()
        found: dict[str, Program] = {}
        for position, condition in enumerate(section):
            path, text = root.index(position).child("expression"), condition.get("expression") or ""
            if not text.strip():
                self.errors.append(FieldError.required(path))
            elif text in found:
                self.errors.append(FieldError.duplicate(path, text))
            else:
                try:
                    program = found[text] = environment().compile(text)
                except CelError as error:
                    self._invalid(path, text, f"compilation failed: {error}")
                    continue
                if program.type not in (BOOL, DYN):
                    self._invalid(path, text, "must evaluate to bool")
        return tuple(found.values())

    def _invalid(self, path: Path, value: Any, detail: str) -> None:
        self.errors.append(FieldError.invalid(path, value, detail))


@cache
def environment() -> Environment:
    """What conditions see: `request`, a SubjectAccessReviewSpec."""
    from tiphys.machinery.cel import STRING, Environment, list_of, map_of, object_type

    def selector(kind: str) -> Any:
        requirement = object_type(
            f"kubernetes.{kind}SelectorRequirement",
            {"key": STRING, "operator": STRING, "values": list_of(STRING)},
            escapes=False,
        )
        return object_type(
            f"kubernetes.{kind}SelectorAttributes",
            {"rawSelector": STRING, "requirements": list_of(requirement)},
            escapes=False,
        )

    words = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
    resource = object_type(
        "kubernetes.ResourceAttributes",
        {
            **dict.fromkeys(words, STRING),
            "fieldSelector": selector("Field"),
            "labelSelector": selector("Label"),
        },
        escapes=False,
    )
    path = object_type("kubernetes.NonResourceAttributes", {"path": STRING, "verb": STRING}, escapes=False)
    spec = {
        "resourceAttributes": resource,
        "nonResourceAttributes": path,
        "user": STRING,
        "groups": list_of(STRING),
        "extra": map_of(STRING, list_of(STRING)),
        "uid": STRING,
    }
    return Environment({"request": object_type("kubernetes.SubjectAccessReviewSpec", spec, escapes=False)})
