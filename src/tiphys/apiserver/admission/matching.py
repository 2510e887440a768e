"""Which requests a webhook or a policy is for: rules, and selectors of objects and of their namespaces.

The same for `rules` of webhooks and for `matchConstraints` and `matchResources` of policies (apiserver `plugin/webhook/predicates`,
`plugin/policy/matching`). What rules say of a kind of request is worked out once: then a write that nobody asked for costs
a look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiphys.api.resource import Object, Resource, Unconverted
from tiphys.api.scheme import Scheme
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.registry.versions import convert_from_stored, convert_to_stored
from tiphys.machinery import errors
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupResource, GroupVersionKind
from tiphys.machinery.selectors import LabelSelector, label_selector_from_dict

_NAMESPACES = GroupResource("", "namespaces")
_GROUP = "admissionregistration.k8s.io"
_CONFIGURATION = frozenset(
    {
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    }
)


@frozen
class Match:
    """The version of the resource that a rule names, and the kind of the object there."""

    row: Resource
    kind: GroupVersionKind


@frozen
class _Candidate:
    match: Match
    names: frozenset[str]
    """Empty: any."""


def configures_admission(row: Resource) -> bool:
    """Whether nobody may ever come between: a bad webhook or policy can always be removed."""
    return row.group == _GROUP and row.plural in _CONFIGURATION


class Criteria:
    """What one webhook, policy or binding asks for, read once.

    `rules` empty asks for everything, as bindings may; a webhook without rules is called for nothing (`needs_rules`).
    """

    def __init__(self, resources: Object, rules: Sequence[Object], *, needs_rules: bool = False) -> None:
        self._rules = rules
        self._excluded: Sequence[Object] = resources.get("excludeResourceRules") or ()
        self._everything = not rules and not needs_rules
        self._equivalent = resources.get("matchPolicy") == "Equivalent"
        self._namespaces = _selector(resources.get("namespaceSelector"))
        self._objects = _selector(resources.get("objectSelector"))
        self._revision = -1
        self._known: dict[Any, tuple[tuple[_Candidate, ...], tuple[_Candidate, ...]]] = {}

    def could_match(self, attributes: Attributes) -> bool:
        """Whether any request of this kind is asked for: the answer is the same until the scheme changes."""
        return bool(self._candidates(attributes)[0])

    def match(self, attributes: Attributes) -> Match | None:
        """None: the request is not asked for. Raises 404 when the labels of a namespace are needed that is not there."""
        wanted, excluded = self._candidates(attributes)
        if not wanted:
            return None
        found = _named(wanted, attributes.name)
        if found is None or (excluded and _named(excluded, attributes.name) is not None):
            return None
        if self._objects is not None and not _matches_object(self._objects, attributes):
            return None
        if self._namespaces is not None and not _matches_namespace(self._namespaces, attributes):
            return None
        return found

    def _candidates(self, attributes: Attributes) -> tuple[tuple[_Candidate, ...], tuple[_Candidate, ...]]:
        scheme = attributes.call.server.scheme
        if self._revision != scheme.revision:
            self._known.clear()
            self._revision = scheme.revision
        row = attributes.row
        key = (row.group, row.version, row.plural, attributes.subresource, attributes.operation)
        known = self._known.get(key)
        if known is None:
            wanted = self._read(self._rules, attributes, scheme)
            if self._everything:
                wanted = (_Candidate(Match(row, attributes.kind), frozenset()),)
            excluded = self._read(self._excluded, attributes, scheme) if wanted else ()
            known = self._known[key] = wanted, excluded
        return known

    def _read(
        self, rules: Sequence[Object], attributes: Attributes, scheme: Scheme
    ) -> tuple[_Candidate, ...]:
        """Matches of a kind of request: first of the version itself, then of others that mean the same objects."""
        row = attributes.row
        found = [
            _Candidate(Match(row, attributes.kind), frozenset(rule.get("resourceNames") or ()))
            for rule in rules
            if rule_matches(rule, row, attributes)
        ]
        others = equivalents(scheme, row, attributes.subresource) if self._equivalent else ()
        for rule in rules:
            for other in others:
                if rule_matches(rule, other, attributes):
                    kind = _kind_in(other, attributes)
                    found.append(_Candidate(Match(other, kind), frozenset(rule.get("resourceNames") or ())))
        return tuple(found)


def rule_matches(rule: Object, row: Resource, attributes: Attributes) -> bool:
    """Whether a RuleWithOperations names the request, were it of this row."""
    return (
        _holds(rule.get("operations"), attributes.operation)
        and _holds(rule.get("apiGroups"), row.group)
        and _holds(rule.get("apiVersions"), row.version)
        and _in_scope(rule.get("scope"), row)
        and any(_names(each, row.plural, attributes.subresource) for each in rule.get("resources") or ())
    )


def _holds(values: Iterable[str] | None, value: str) -> bool:
    return values is not None and any(each in ("*", value) for each in values)


def _in_scope(scope: str | None, row: Resource) -> bool:
    return scope in (None, "*") or (scope == "Namespaced") == row.namespaced


def _names(text: str, plural: str, subresource: str) -> bool:
    resource, _, below = text.partition("/")
    return resource in ("*", plural) and below in ("*", subresource)


def equivalents(scheme: Scheme, row: Resource, subresource: str = "") -> list[Resource]:
    """The other rows of the same objects: versions, and other groups that share the store."""
    if row.reading is not None:
        rows: Iterable[Resource] = scheme.versions(row.group, row.plural)
    else:
        stored = row.stored or row.gvk
        rows = (each for each in scheme if (each.stored or each.gvk) == stored and each.reading is None)
    return [
        each
        for each in rows
        if each.gvr != row.gvr and (not subresource or each.subresource(subresource) is not None)
    ]


def _kind_in(row: Resource, attributes: Attributes) -> GroupVersionKind:
    if attributes.kind == attributes.row.gvk:
        return row.gvk
    below = row.subresource(attributes.subresource)
    return below.kind if below is not None and below.kind is not None else attributes.kind


def _named(candidates: tuple[_Candidate, ...], name: str) -> Match | None:
    for candidate in candidates:
        if not candidate.names or name in candidate.names:
            return candidate.match
    return None


# Selectors


def _selector(selector: Object | None) -> LabelSelector | None:
    """None: everything is selected."""
    return label_selector_from_dict(selector) if selector else None


def _matches_object(selector: LabelSelector, attributes: Attributes) -> bool:
    """Before or after the change; what is only sent to an object (options) has no labels and is never selected."""
    return any(
        obj is not None and "metadata" in obj and selector.matches(_labels(obj))
        for obj in (attributes.object, attributes.old)
    )


def _labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _matches_namespace(selector: LabelSelector, attributes: Attributes) -> bool:
    """Objects of no namespace are always selected, a Namespace by its own labels."""
    if attributes.is_for("", "namespaces") and attributes.operation in (CREATE, UPDATE):
        return attributes.object is not None and selector.matches(_labels(attributes.object))
    if attributes.row.plural == "namespaces":
        name = attributes.name
    elif attributes.namespace:
        name = attributes.namespace
    else:
        return True
    record = attributes.objects.cache("", "namespaces").get("", name)
    if record is None:
        raise errors.not_found(_NAMESPACES, name)
    return selector.matches(record.labels)


# Versions


async def in_version(attributes: Attributes, match: Match, obj: Object | None) -> Object | None:
    """An object of the request in the version that matched; it may share parts with the original. Raises StatusError."""
    if obj is None or match.kind == attributes.kind or attributes.kind != attributes.row.gvk:
        return obj
    return await convert(attributes.row, match.row, obj)


async def convert(row: Resource, wanted: Resource, obj: Object) -> Object:
    """An object of one row as it is in another row of the same resource."""
    if row.reading is None:
        return convert_from_stored(wanted, convert_to_stored(row, obj))
    while True:
        try:
            return row.reading.in_version(obj, wanted.api_version)
        except Unconverted as missing:
            await missing.resolve()
