"""Node selectors: the terms of node affinity and of volumes (component-helpers `nodeaffinity`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.machinery.fields import FieldError, Path
from tiphys.machinery.selectors.errors import SelectorError
from tiphys.machinery.selectors.fields import EVERY_FIELD, FieldRequirement, FieldSelector
from tiphys.machinery.selectors.labels import LabelSelector, Operator, Requirement, requirement

_LABEL_OPERATORS = {
    "In": Operator.IN,
    "NotIn": Operator.NOT_IN,
    "Exists": Operator.EXISTS,
    "DoesNotExist": Operator.DOES_NOT_EXIST,
    "Gt": Operator.GREATER_THAN,
    "Lt": Operator.LESS_THAN,
}
_FIELD_OPERATORS = {"In": "=", "NotIn": "!="}


class NodeSelectorTerm:
    """Conditions on a node's labels and fields that must all hold. A term with none matches nothing.

    `errors` are the faults found; a term that has any matches nothing.
    """

    __slots__ = ("_empty", "errors", "fields", "labels")

    def __init__(self, term: Mapping[str, Any], path: Path) -> None:
        expressions = term.get("matchExpressions") or ()
        fields = term.get("matchFields") or ()
        self._empty = not expressions and not fields
        self.errors: list[str] = []
        self.labels = self._parse_labels(expressions, path.child("matchExpressions"))
        self.fields = self._parse_fields(fields, path.child("matchFields"))

    def _parse_labels(self, expressions: Sequence[Mapping[str, Any]], path: Path) -> LabelSelector:
        requirements: list[Requirement] = []
        for index, expression in enumerate(expressions):
            place, name = path.index(index), expression.get("operator", "")
            if name not in _LABEL_OPERATORS:
                error = FieldError.not_supported(place.child("operator"), name, _LABEL_OPERATORS)
                self.errors.append(str(error))
                continue
            values = expression.get("values") or ()
            try:
                requirements.append(
                    requirement(expression.get("key", ""), _LABEL_OPERATORS[name], values, place)
                )
            except SelectorError as error:
                self.errors.append(str(error))
        return LabelSelector(requirements)

    def _parse_fields(self, expressions: Sequence[Mapping[str, Any]], path: Path) -> FieldSelector:
        requirements: list[FieldRequirement] = []
        for index, expression in enumerate(expressions):
            place, name = path.index(index), expression.get("operator", "")
            values = expression.get("values") or []
            if name not in _FIELD_OPERATORS:
                error = FieldError.not_supported(place.child("operator"), name, _FIELD_OPERATORS)
                self.errors.append(str(error))
            elif len(values) != 1:
                error = FieldError.invalid(place.child("values"), values, "must have one element")
                self.errors.append(str(error))
            else:
                requirements.append(
                    FieldRequirement(expression.get("key", ""), _FIELD_OPERATORS[name], values[0])
                )
        return FieldSelector(requirements) if requirements else EVERY_FIELD

    def matches(self, labels: Mapping[str, str], name: str) -> bool:
        """`labels` and `name` of the node; the name is the only field that nodes offer (`metadata.name`)."""
        if self._empty or self.errors or not self.labels.matches(labels):
            return False
        return self.fields.matches(lambda field: name if field == "metadata.name" else "")


class NodeSelector:
    """A `v1.NodeSelector`: one of its terms must match. No terms match nothing.

    Faults do not raise: a pod whose selector was stored by an older version must still be told why it stays
    pending. They are in `errors`, and the terms that have them match nothing.
    """

    __slots__ = ("errors", "terms")

    def __init__(self, selector: Mapping[str, Any], path: Path | None = None) -> None:
        place = (path or Path()).child("nodeSelectorTerms")
        terms = selector.get("nodeSelectorTerms") or ()
        self.terms = [NodeSelectorTerm(term, place.index(index)) for index, term in enumerate(terms)]
        self.errors = [error for term in self.terms for error in term.errors]

    def matches(self, labels: Mapping[str, str], name: str) -> bool:
        return any(term.matches(labels, name) for term in self.terms)
