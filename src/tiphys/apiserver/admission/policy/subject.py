"""What the expressions of policies look at: one request, shown to each policy in the version that it asked for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from tiphys.api.admissionregistration.policy_expressions import Expression
from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.authorizer import Questions
from tiphys.apiserver.admission.matching import Match, in_version
from tiphys.apiserver.admission.request import admission_request, namespace_of
from tiphys.machinery import errors
from tiphys.machinery.cel.references import variables_of
from tiphys.machinery.gvk import GroupResource, GroupVersionKind

_NAMESPACE = GroupVersionKind("", "v1", "Namespace")


def described(expressions: Iterable[Expression | None]) -> frozenset[str]:
    """The variables that expressions look at: the others need not be made."""
    programs = (each.program for each in expressions if each is not None)
    return frozenset(name for each in programs if each is not None for name in variables_of(each.node))


def asks_somebody(uses: frozenset[str]) -> bool:
    """Whether expressions that look at these may have to wait for an authorizer."""
    return "authorizer" in uses or "authorizer.requestResource" in uses


class Subject:
    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self._request: tuple[Match, Object] | None = None

    @cached_property
    def questions(self) -> Questions:
        return Questions(self.attributes.call)

    async def bindings(self, match: Match, uses: frozenset[str]) -> dict[str, Any]:
        """Values for `uses`, and for `object`. What nobody looks at is not made."""
        attributes = self.attributes
        as_sent = match.kind == attributes.kind
        found: dict[str, Any] = {
            "object": attributes.object if as_sent else await in_version(attributes, match, attributes.object)
        }
        if "oldObject" in uses:
            found["oldObject"] = (
                attributes.old if as_sent else await in_version(attributes, match, attributes.old)
            )
        if "namespaceObject" in uses:
            found["namespaceObject"] = self.namespace()
        if "request" in uses:
            found["request"] = self.request(match)
        if "authorizer" in uses:
            found["authorizer"] = self.questions.authorizer
        if "authorizer.requestResource" in uses:
            row = attributes.row
            found["authorizer.requestResource"] = self.questions.request_resource(
                row.group, row.plural, attributes.subresource, namespace_of(attributes), attributes.name
            )
        return found

    def request(self, match: Match) -> Object:
        """The same for all policies that see the request in one version, one after another."""
        known = self._request
        if known is None or known[0] is not match:
            known = self._request = match, admission_request(self.attributes, match)
        return known[1]

    def namespace(self) -> Object | None:
        """The namespace of the request; None for what is in none, and for a namespace itself. Raises 404."""
        attributes = self.attributes
        if not attributes.namespace or attributes.kind == _NAMESPACE:
            return None
        record = attributes.objects.cache("", "namespaces").get("", attributes.namespace)
        if record is None:
            raise errors.not_found(GroupResource("", "namespaces"), attributes.namespace)
        return record.object
