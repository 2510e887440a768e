"""Which flow schema a request belongs to, and how it is told apart from others of the same schema. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from hashlib import sha256
from typing import Any

from tiphys.apiserver.call import User
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery.frozen import frozen

Object = dict[str, Any]
Test = Callable[[User, RequestInfo], bool]
BY_USER, BY_NAMESPACE = "ByUser", "ByNamespace"
_ALL = "*"
_ACCOUNT = "system:serviceaccount:"


@frozen
class Schema:
    """A FlowSchema, ready to be matched."""

    name: str
    uid: str
    level: str
    precedence: int
    distinguisher: str
    matches: Test
    users: frozenset[str]
    """Those of whom it speaks by name, where these are not service accounts."""

    def flow(self, user: User, info: RequestInfo) -> str:
        """What tells flows of this schema apart."""
        if self.distinguisher == BY_USER:
            return user.name
        return info.namespace if self.distinguisher == BY_NAMESPACE else ""


def schema(obj: Object) -> Schema:
    """Compiles a FlowSchema."""
    spec, metadata = obj["spec"], obj["metadata"]
    rules = [_rule(rule) for rule in spec.get("rules") or ()]
    return Schema(
        metadata["name"],
        metadata.get("uid", ""),
        spec["priorityLevelConfiguration"]["name"],
        spec["matchingPrecedence"],
        (spec.get("distinguisherMethod") or {}).get("type", ""),
        lambda user, info: any(rule(user, info) for rule in rules),
        frozenset(
            subject["user"]["name"]
            for rule in spec.get("rules") or ()
            for subject in rule.get("subjects") or ()
            if subject["kind"] == "User"
        ),
    )


def in_order(schemas: Iterable[Schema]) -> list[Schema]:
    """As they are tried: by precedence, then by name."""
    return sorted(schemas, key=lambda one: (one.precedence, one.name))


def match(schemas: Sequence[Schema], user: User, info: RequestInfo) -> Schema:
    """The first that matches; the last one, catch-all, takes what matches none."""
    for one in schemas:
        if one.matches(user, info):
            return one
    return schemas[-1]


def is_spoken_of(user: User, named: Container[str]) -> bool:
    """Whether what a user is called may decide which schema is theirs. `named`: the users of all schemas."""
    return user.name in named or user.name.startswith(_ACCOUNT)


def hash_of(schema_name: str, flow: str) -> int:
    """What a flow's hand of queues is dealt by."""
    return int.from_bytes(sha256(f"{schema_name}\0{flow}".encode()).digest()[:8], "little")


def _rule(rule: Object) -> Test:
    subjects = [_subject(subject) for subject in rule.get("subjects") or ()]
    resources = [_resource(each) for each in rule.get("resourceRules") or ()]
    paths = [_path(each) for each in rule.get("nonResourceRules") or ()]

    def matches(user: User, info: RequestInfo) -> bool:
        if not any(subject(user) for subject in subjects):
            return False
        return any(each(info) for each in (resources if info.is_resource else paths))

    return matches


def _subject(subject: Object) -> Callable[[User], bool]:
    kind = subject["kind"]
    if kind == "User":
        name = subject["user"]["name"]
        return lambda user: name in (_ALL, user.name)
    if kind == "Group":
        group = subject["group"]["name"]
        return lambda user: group == _ALL or group in user.groups
    account = subject["serviceAccount"]
    prefix = f"{_ACCOUNT}{account['namespace']}:"
    if account["name"] == _ALL:
        return lambda user: user.name.startswith(prefix)
    return lambda user: user.name == prefix + account["name"]


def _among(values: Sequence[str]) -> Callable[[str], bool]:
    if _ALL in values:
        return lambda value: True
    known = frozenset(values)
    return lambda value: value in known


def _resource(rule: Object) -> Callable[[RequestInfo], bool]:
    verb, group, resource = (_among(rule.get(field) or ()) for field in ("verbs", "apiGroups", "resources"))
    namespace, cluster = _among(rule.get("namespaces") or ()), bool(rule.get("clusterScope"))

    def matches(info: RequestInfo) -> bool:
        name = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        inside = namespace(info.namespace) if info.namespace else cluster
        return inside and verb(info.verb) and group(info.group) and resource(name)

    return matches


def _path(rule: Object) -> Callable[[RequestInfo], bool]:
    verb, urls = _among(rule.get("verbs") or ()), rule.get("nonResourceURLs") or ()

    def matches(info: RequestInfo) -> bool:
        return verb(info.verb) and any(
            url in (_ALL, info.path) or (url.endswith("*") and info.path.startswith(url.rstrip("*")))
            for url in urls
        )

    return matches
