"""Role-based access control: roles, and bindings of roles to users, groups and service accounts.

Bindings are indexed by their subjects as the cache tells of them. What a user may do is put together when the user first
asks, as a table of (verb, group, resource), and forgotten when any role or binding changes; so a decision is a few look-ups,
however many roles there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tiphys.apiserver.authorization.interface import NO_OPINION, Decision, Lookup, Rule, Rules, Verdict
from tiphys.apiserver.authorization.rules import quoted, url_matches
from tiphys.apiserver.cache import DELETED, Event
from tiphys.apiserver.call import User
from tiphys.apiserver.records import Record
from tiphys.apiserver.requests import RequestInfo

GROUP = "rbac.authorization.k8s.io"
_ACCOUNT = "system:serviceaccount:"
_REMEMBERED = 1024
Subject = tuple[str, str]
"""("User", name), ("Group", name) or ("ServiceAccount", "namespace/name")."""


_Grant = str | dict[str, str]
"""Why it is allowed: for any name, or for those that are named, each with its reason."""


class _Table:
    """The rules that hold in one place (the whole cluster, or one namespace)."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._resources: dict[tuple[str, str, str], list[_Grant]] = {}
        self._paths: list[tuple[frozenset[str], str, str]] = []

    def add(self, rule: Rule, reason: str) -> None:
        self.rules.append(rule)
        verbs = rule.get("verbs") or ()
        names = rule.get("resourceNames")
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for verb in verbs:
                    found = self._resources.setdefault((verb, group, resource), [])
                    if names:
                        _add_names(found, names, reason)
                    else:
                        found.append(reason)
        for url in rule.get("nonResourceURLs") or ():
            self._paths.append((frozenset(verbs), url, reason))

    def allow(self, info: RequestInfo) -> str | None:
        """Why a request is allowed; None: it is not."""
        if not info.is_resource:
            return self._allow_path(info)
        found = self._resources
        for resource in _spellings(info):
            for group in (info.group, "*"):
                for verb in (info.verb, "*"):
                    for grant in found.get((verb, group, resource), ()):
                        reason = grant if isinstance(grant, str) else grant.get(info.name)
                        if reason is not None:
                            return reason
        return None

    def _allow_path(self, info: RequestInfo) -> str | None:
        for verbs, url, reason in self._paths:
            if (info.verb in verbs or "*" in verbs) and url_matches(url, info.path):
                return reason
        return None


def _add_names(found: list[_Grant], names: Iterable[str], reason: str) -> None:
    """Neighbours that name names are looked up as one: a thousand rules of a name each cost no more than one of a thousand names."""
    last = found[-1] if found else None
    if not isinstance(last, dict):
        last = {}
        found.append(last)
    for name in names:
        last.setdefault(name, reason)


def _spellings(info: RequestInfo) -> tuple[str, ...]:
    if not info.subresource:
        return (info.resource, "*")
    return (f"{info.resource}/{info.subresource}", f"*/{info.subresource}", "*")


@dataclass(slots=True)
class _Grants:
    """All that one user may do. `errors`: roles that are bound and do not exist, by where."""

    cluster: _Table = field(default_factory=_Table)
    namespaces: dict[str, _Table] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)

    def problems(self, namespace: str) -> list[str]:
        here = self.errors.get(namespace, []) if namespace else []
        return [*self.errors.get("", []), *here]


class RBAC:
    """The authorizer. It begins to listen to the caches when it is first asked."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._bindings: dict[Subject, dict[str, Record]] | None = None
        self._grants: dict[tuple[str, tuple[str, ...]], _Grants] = {}

    # Answers

    def authorize(self, user: User, info: RequestInfo) -> Decision:
        grants = self._of(user)
        reason = grants.cluster.allow(info)
        if reason is None and info.namespace:
            table = grants.namespaces.get(info.namespace)
            reason = table.allow(info) if table is not None else None
        if reason is not None:
            return Decision(Verdict.ALLOW, reason)
        problems = grants.problems(info.namespace)
        return Decision(Verdict.NO_OPINION, f"RBAC: {joined(problems)}") if problems else NO_OPINION

    def rules(self, user: User, namespace: str) -> Rules:
        grants = self._of(user)
        table = grants.namespaces.get(namespace) if namespace else None
        rules = [*grants.cluster.rules, *(table.rules if table is not None else ())]
        problems = grants.problems(namespace)
        return Rules(rules, bool(problems), joined(problems) if problems else "")

    def role_rules(self, role_ref: dict[str, str], namespace: str) -> list[Rule] | None:
        """The rules of the role that a binding names; None when there is no such role."""
        plural = "clusterroles" if role_ref.get("kind") == "ClusterRole" else "roles"
        within = namespace if plural == "roles" else ""
        record = self._lookup(GROUP, plural).get(within, role_ref.get("name", ""))
        return None if record is None else list(record.object.get("rules") or ())

    # What a user may do

    def _of(self, user: User) -> _Grants:
        if self._bindings is None:
            self._bindings = self._listen()
        grants = self._grants.get((user.name, user.groups))
        if grants is None:
            if len(self._grants) >= _REMEMBERED:
                self._grants.clear()
            grants = self._grants[user.name, user.groups] = self._gather(user, self._bindings)
        return grants

    def _gather(self, user: User, bindings: dict[Subject, dict[str, Record]]) -> _Grants:
        grants = _Grants()
        seen: set[str] = set()
        for subject in _subjects_of(user):
            for key, record in bindings.get(subject, {}).items():
                if key not in seen:
                    seen.add(key)
                    self._add(grants, record, subject)
        return grants

    def _add(self, grants: _Grants, record: Record, subject: Subject) -> None:
        namespace, reference = record.namespace, record.object["roleRef"]
        rules = self.role_rules(reference, namespace)
        if rules is None:
            missing = f'{reference["kind"].lower()}.{GROUP} "{reference["name"]}" not found'
            grants.errors.setdefault(namespace, []).append(missing)
            return
        table = grants.namespaces.setdefault(namespace, _Table()) if namespace else grants.cluster
        reason = f"RBAC: allowed by {_binding_text(record)} of {reference['kind']} {_q(reference['name'])} to {_subject_text(subject)}"
        for rule in rules:
            table.add(rule, reason)

    # Following changes

    def _listen(self) -> dict[Subject, dict[str, Record]]:
        bindings: dict[Subject, dict[str, Record]] = {}
        for plural in ("clusterroles", "roles"):
            self._lookup(GROUP, plural).watch(_Listener(lambda event: self._grants.clear()))
        for plural in ("clusterrolebindings", "rolebindings"):
            cache = self._lookup(GROUP, plural)
            for record in cache.records.values():
                _index(bindings, record)
            cache.watch(_Listener(self._binding_changed))
        return bindings

    def _binding_changed(self, event: Event) -> None:
        assert self._bindings is not None
        if event.previous is not None:
            for subject in _subjects(event.previous):
                self._bindings.get(subject, {}).pop(event.previous.key, None)
        if event.type != DELETED:
            _index(self._bindings, event.record)
        self._grants.clear()


class _Listener:
    namespace = ""

    def __init__(self, changed: Callable[[Event], None]) -> None:
        self._changed = changed

    def deliver(self, event: Event) -> None:
        self._changed(event)


def _index(bindings: dict[Subject, dict[str, Record]], record: Record) -> None:
    for subject in _subjects(record):
        bindings.setdefault(subject, {})[record.key] = record


def _subjects(record: Record) -> Iterator[Subject]:
    for subject in record.object.get("subjects") or ():
        kind, name = subject.get("kind", ""), subject.get("name", "")
        if kind == "ServiceAccount":
            name = f"{subject.get('namespace') or record.namespace}/{name}"
        yield kind, name


def _subjects_of(user: User) -> Iterator[Subject]:
    yield "User", user.name
    for group in user.groups:
        yield "Group", group
    if user.name.startswith(_ACCOUNT):
        yield "ServiceAccount", user.name.removeprefix(_ACCOUNT).replace(":", "/", 1)


def joined(problems: Iterable[str]) -> str:
    """Errors as upstream's aggregates print them: each once, in brackets when there are several."""
    found = list(dict.fromkeys(problems))
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]"


def _q(text: str) -> str:
    return quoted((text,))


def _binding_text(record: Record) -> str:
    if record.namespace:
        return f"RoleBinding {_q(f'{record.name}/{record.namespace}')}"
    return f"ClusterRoleBinding {_q(record.name)}"


def _subject_text(subject: Subject) -> str:
    kind, name = subject
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        name = f"{account}/{namespace}"
    return f"{kind} {_q(name)}"
