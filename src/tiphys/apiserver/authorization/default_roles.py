"""Reads `default.roles`: the roles and bindings that every cluster begins with. The form of the file stands at its top."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tiphys.apiserver.authorization.interface import Rule
from tiphys.apiserver.authorization.rbac import GROUP

Object = dict[str, Any]

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ADDED_TO = "rbac.authorization.k8s.io/aggregate-to-"
_CONTROLLER = "system:controller:"


@dataclass(slots=True)
class Defaults:
    """Objects by plural: clusterroles, roles, clusterrolebindings, rolebindings."""

    objects: dict[str, list[Object]] = field(
        default_factory=lambda: {
            plural: [] for plural in ("clusterroles", "roles", "clusterrolebindings", "rolebindings")
        }
    )

    def rules_of(self, cluster_role: str) -> list[Rule]:
        """The rules of one of the cluster roles."""
        for role in self.objects["clusterroles"]:
            if role["metadata"]["name"] == cluster_role:
                rules: list[Rule] = role["rules"]
                return rules
        raise LookupError(cluster_role)


@cache
def defaults() -> Defaults:
    """Everything in the file, and the bindings of the controllers' roles."""
    text = Path(__file__).with_name("default.roles").read_text(encoding="utf-8")
    return read(text)


def read(text: str) -> Defaults:
    found = Defaults()
    role: Object = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("  "):
            role["rules"].append(_rule(line.strip()))
        elif " -> " in line:
            _add_binding(found, line)
        else:
            role = _add_role(found, line)
    return found


def _metadata(name: str) -> Object:
    namespace, slash, own = name.partition("/")
    metadata: Object = {"name": own if slash else name}
    if slash:
        metadata["namespace"] = namespace
    return {**metadata, "annotations": {AUTOUPDATE: "true"}, "labels": dict(_LABELS)}


def _add_role(found: Defaults, line: str) -> Object:
    name, *marks = line.split()
    role: Object = {"metadata": _metadata(name), "rules": []}
    consists = [mark[1:] for mark in marks if mark[0] == "<"]
    if consists:
        selectors = [{"matchLabels": {_ADDED_TO + other: "true"}} for other in consists]
        role["aggregationRule"] = {"clusterRoleSelectors": selectors}
    for mark in marks:
        if mark[0] == "+":
            role["metadata"]["labels"][_ADDED_TO + mark[1:]] = "true"
    found.objects["roles" if "/" in name else "clusterroles"].append(role)
    if name.startswith(_CONTROLLER):
        account = name.removeprefix(_CONTROLLER)
        _add_binding(found, f"{name} -> ClusterRole {name}: account:kube-system/{account}")
    return role


def _rule(text: str) -> Rule:
    verbs, rest = text.split(": ", 1)
    if rest.startswith(("/", "*")) and ": " not in rest:
        return {"nonResourceURLs": rest.split(), "verbs": verbs.split()}
    groups, what = rest.split(": ", 1)
    resources, _, names = what.partition(" = ")
    rule: Rule = {
        "apiGroups": ["" if group == "core" else group for group in groups.split(",")],
        "resources": resources.split(),
        "verbs": verbs.split(),
    }
    if names:
        rule["resourceNames"] = names.split()
    return rule


def _add_binding(found: Defaults, line: str) -> None:
    name, rest = line.split(" -> ")
    role, _, subjects = rest.partition(": ")
    kind, _, role_name = role.rstrip(":").partition(" ")
    binding: Object = {
        "metadata": _metadata(name),
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role_name},
        "subjects": [_subject(each) for each in subjects.split()],
    }
    found.objects["rolebindings" if "/" in name else "clusterrolebindings"].append(binding)


def _subject(text: str) -> Object:
    kind, _, name = text.partition(":")
    if kind == "account":
        namespace, _, account = name.partition("/")
        return {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    return {"kind": {"user": "User", "group": "Group"}[kind], "apiGroup": GROUP, "name": name}
