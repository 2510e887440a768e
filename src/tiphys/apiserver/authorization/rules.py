"""What PolicyRules say: whether one covers a request, and whether some cover others (RBAC, "privilege escalation prevention")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product

import orjson

from tiphys.apiserver.authorization.interface import Rule
from tiphys.apiserver.requests import RequestInfo

EVERYTHING: tuple[Rule, ...] = (
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
)


def allows(rule: Rule, info: RequestInfo) -> bool:
    """Whether one rule covers a request."""
    if not _has(rule.get("verbs"), info.verb):
        return False
    if not info.is_resource:
        return any(url_matches(url, info.path) for url in rule.get("nonResourceURLs") or ())
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    names = rule.get("resourceNames")
    return (
        _has(rule.get("apiGroups"), info.group)
        and _covers_resource(rule.get("resources") or (), resource)
        and (not names or info.name in names)
    )


def url_matches(url: str, path: str) -> bool:
    """A path of a rule: `*`, `/healthz`, or `/healthz/*` for what begins so."""
    if url == "*" or url == path:
        return True
    return url.endswith("*") and path.startswith(url.rstrip("*"))


def _has(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and (value in values or "*" in values)


def _covers_resource(resources: Sequence[str], resource: str) -> bool:
    if "*" in resources or resource in resources:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in resources


# Covering


def uncovered(owned: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """What of the wanted rules the owned ones do not say, one verb of one resource a rule."""
    return [
        single
        for rule in wanted
        for single in _singles(rule)
        if not any(_covers(mine, single) for mine in owned)
    ]


def _singles(rule: Rule) -> Iterator[Rule]:
    """A rule taken apart: one verb, group, resource and name each."""
    verbs = rule.get("verbs") or ()
    for group, resource, verb in product(rule.get("apiGroups") or (), rule.get("resources") or (), verbs):
        single = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        names = rule.get("resourceNames") or ()
        if names:
            yield from ({**single, "resourceNames": [name]} for name in names)
        else:
            yield single
    for url, verb in product(rule.get("nonResourceURLs") or (), verbs):
        yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(owned: Rule, single: Rule) -> bool:
    if not _has(owned.get("verbs"), single["verbs"][0]):
        return False
    if "nonResourceURLs" in single:
        return any(
            url_matches(url, single["nonResourceURLs"][0]) for url in owned.get("nonResourceURLs") or ()
        )
    names = owned.get("resourceNames")
    return (
        _has(owned.get("apiGroups"), single["apiGroups"][0])
        and _covers_resource(owned.get("resources") or (), single["resources"][0])
        and (not names or set(single.get("resourceNames", ("",))) <= set(names))
    )


def compact(singles: Iterable[Rule]) -> list[Rule]:
    """Rules that differ only in their verb (and name none) become one."""
    merged: dict[bytes, Rule] = {}
    for single in singles:
        if "resourceNames" in single or "nonResourceURLs" in single:
            merged[orjson.dumps(single)] = single
            continue
        key = orjson.dumps([single["apiGroups"], single["resources"]])
        known = merged.setdefault(key, {**single, "verbs": []})
        known["verbs"] += [verb for verb in single["verbs"] if verb not in known["verbs"]]
    return list(merged.values())


def describe(rule: Rule) -> str:
    """A rule as refusals print it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`."""
    names = {
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "nonResourceURLs": "NonResourceURLs",
        "resourceNames": "ResourceNames",
        "verbs": "Verbs",
    }
    shown = (f"{title}:[{quoted(rule[name])}]" for name, title in names.items() if rule.get(name))
    return f"{{{', '.join(shown)}}}"


def quoted(words: Iterable[str]) -> str:
    """Words as Go's %q prints a list of them."""
    return " ".join(orjson.dumps(word).decode() for word in words)
