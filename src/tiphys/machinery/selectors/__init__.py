"""Choosing objects by their labels, by their fields, and nodes by both.

Selectors are immutable and compiled when they are made: parse once, match often.
"""

from tiphys.machinery.selectors.errors import SelectorError
from tiphys.machinery.selectors.fields import (
    EVERY_FIELD,
    FieldRequirement,
    FieldSelector,
    parse_field_selector,
)
from tiphys.machinery.selectors.labels import (
    EVERYTHING,
    NOTHING,
    LabelSelector,
    Operator,
    Requirement,
    label_selector_from_dict,
    label_selector_from_set,
    parse_label_selector,
)
from tiphys.machinery.selectors.nodes import NodeSelector, NodeSelectorTerm

__all__ = [
    "EVERYTHING",
    "EVERY_FIELD",
    "NOTHING",
    "FieldRequirement",
    "FieldSelector",
    "LabelSelector",
    "NodeSelector",
    "NodeSelectorTerm",
    "Operator",
    "Requirement",
    "SelectorError",
    "label_selector_from_dict",
    "label_selector_from_set",
    "parse_field_selector",
    "parse_label_selector",
]
