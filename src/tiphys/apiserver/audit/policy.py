"""An audit policy (audit.k8s.io/v1): the first rule that matches a request says how much of it is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from tiphys.apiserver.call import User
from tiphys.apiserver.config_forms import misfits
from tiphys.apiserver.requests import RequestInfo
from tiphys.apiserver.settings import ConfigurationError
from tiphys.machinery import yaml
from tiphys.machinery.frozen import frozen
from tiphys.machinery.yaml_lines import placed

STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_VERSIONS = ("audit.k8s.io/v1",)
_RULE = {
    "level": str,
    "users": [str],
    "userGroups": [str],
    "verbs": [str],
    "resources": [{"group": str, "resources": [str], "resourceNames": [str]}],
    "namespaces": [str],
    "nonResourceURLs": [str],
    "omitStages": [str],
    "omitManagedFields": bool,
}
_FORM = {
    "apiVersion": str,
    "kind": str,
    "metadata": dict,
    "rules": [_RULE],
    "omitStages": [str],
    "omitManagedFields": bool,
}


class Level(IntEnum):
    """Each one includes what the ones before it have."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3

    @property
    def word(self) -> str:
        return _WORDS[self]


_WORDS = {
    Level.NONE: "None",
    Level.METADATA: "Metadata",
    Level.REQUEST: "Request",
    Level.REQUEST_RESPONSE: "RequestResponse",
}
_LEVELS = {word: level for level, word in _WORDS.items()}


@frozen
class Verdict:
    level: Level
    omitted_stages: frozenset[str] = frozenset()
    omits_managed_fields: bool = False


NOTHING = Verdict(Level.NONE)


@frozen
class Policy:
    rules: Sequence[Mapping[str, Any]]
    omitted_stages: frozenset[str] = frozenset()
    omits_managed_fields: bool = False

    def judge(self, user: User, info: RequestInfo) -> Verdict:
        """How much of a request is written down."""
        for rule in self.rules:
            if _matches(rule, user, info):
                own = rule.get("omitManagedFields")
                return Verdict(
                    _LEVELS[rule["level"]],
                    self.omitted_stages | frozenset(rule.get("omitStages") or ()),
                    self.omits_managed_fields if own is None else bool(own),
                )
        return NOTHING


def _matches(rule: Mapping[str, Any], user: User, info: RequestInfo) -> bool:
    if rule.get("users") and user.name not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(user.groups):
        return False
    if rule.get("verbs") and info.verb not in rule["verbs"]:
        return False
    if rule.get("namespaces") or rule.get("resources"):
        return info.is_resource and _matches_resource(rule, info)
    if rule.get("nonResourceURLs"):
        return not info.is_resource and any(_matches_path(url, info.path) for url in rule["nonResourceURLs"])
    return True


def _matches_path(url: str, path: str) -> bool:
    if url == "*" or url == path:
        return True
    return url.endswith("*") and path.startswith(url.rstrip("*"))


def _matches_resource(rule: Mapping[str, Any], info: RequestInfo) -> bool:
    if rule.get("namespaces") and info.namespace not in rule["namespaces"]:
        return False
    if not rule.get("resources"):
        return True
    combined = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    spellings = {combined, "*"}
    if info.subresource:
        spellings |= {f"*/{info.subresource}", f"{info.resource}/*"}
    for each in rule["resources"]:
        if each.get("group", "") != info.group:
            continue
        if not each.get("resources"):
            return True
        if spellings & set(each["resources"]):
            names = each.get("resourceNames")
            if not names or info.name in names:
                return True
    return False


# Reading


def read_policy(path: Path) -> Policy:
    """Raises ConfigurationError with the place in the file's structure and the reason."""
    try:
        text = path.read_bytes()
        loaded = yaml.load(text)
    except OSError as error:
        raise ConfigurationError(f"--audit-policy-file: {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--audit-policy-file: {path}: {_one_line(error)}") from None
    problem = next(_problems(loaded), None)
    if problem is not None:
        raise ConfigurationError(f"--audit-policy-file: {path}: {placed(text, problem)}")
    return Policy(
        tuple(loaded["rules"]),
        frozenset(loaded.get("omitStages") or ()),
        bool(loaded.get("omitManagedFields")),
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _problems(policy: Any) -> Iterator[str]:
    if not isinstance(policy, dict):
        yield "it is no object"
        return
    if policy.get("apiVersion") not in _VERSIONS or policy.get("kind") != "Policy":
        yield f"it is {policy.get('kind')} of {policy.get('apiVersion')}, not a Policy of {_VERSIONS[0]}"
    yield from misfits(policy, _FORM)
    yield from _stage_problems(policy.get("omitStages"), "omitStages")
    rules = policy.get("rules")
    if not isinstance(rules, list) or not rules:
        yield "rules: Required value: a policy has at least one rule"
        return
    for position, rule in enumerate(rules):
        yield from _rule_problems(rule, f"rules[{position}]")


def _rule_problems(rule: Any, where: str) -> Iterator[str]:
    if not isinstance(rule, dict):
        yield f"{where}: Required value"
        return
    level = rule.get("level")
    if not level:
        yield f"{where}.level: Required value"
    elif level not in _LEVELS:
        yield f'{where}.level: Unsupported value: "{level}": supported values: "None", "Metadata", "Request", "RequestResponse"'
    yield from _stage_problems(rule.get("omitStages"), f"{where}.omitStages")
    urls = rule.get("nonResourceURLs") or []
    if urls and (rule.get("resources") or rule.get("namespaces")):
        yield f"{where}.nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs"
    for url in urls:
        if url != "*" and not str(url).startswith("/"):
            yield f'{where}.nonResourceURLs: Invalid value: "{url}": non-resource URL rules must begin with a "/" character'
        elif "*" in str(url)[:-1]:
            yield f'{where}.nonResourceURLs: Invalid value: "{url}": non-resource URL wildcards "*" must be the final character of the rule'
    for position, each in enumerate(rule.get("resources") or ()):
        if isinstance(each, dict) and each.get("resourceNames") and not each.get("resources"):
            yield f"{where}.resources[{position}].resourceNames: Invalid value: using resourceNames requires at least one resource"


def _stage_problems(stages: Any, where: str) -> Iterator[str]:
    for stage in stages or ():
        if stage not in STAGES:
            yield f'{where}: Unsupported value: "{stage}": supported values: {", ".join(STAGES)}'
