"""Node selectors: terms are alternatives, conditions within a term all hold."""

from typing import Any

import pytest

from tiphys.machinery.fields import Path
from tiphys.machinery.selectors import NodeSelector

ZONE = {"key": "zone", "operator": "In", "values": ["a"]}
BIG = {"key": "cores", "operator": "Gt", "values": ["4"]}
NAMED = {"key": "metadata.name", "operator": "In", "values": ["node-1"]}
NOT_NAMED = {"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}


def select(*terms: dict[str, Any]) -> NodeSelector:
    return NodeSelector({"nodeSelectorTerms": list(terms)})


@pytest.mark.parametrize(
    ("terms", "labels", "name", "matches"),
    [
        ([], {}, "node-1", False),
        ([{}], {}, "node-1", False),
        ([{"matchExpressions": [ZONE]}], {"zone": "a"}, "node-1", True),
        ([{"matchExpressions": [ZONE]}], {"zone": "b"}, "node-1", False),
        ([{"matchExpressions": [ZONE, BIG]}], {"zone": "a", "cores": "8"}, "node-1", True),
        ([{"matchExpressions": [ZONE, BIG]}], {"zone": "a", "cores": "4"}, "node-1", False),
        ([{"matchExpressions": [ZONE]}, {"matchExpressions": [BIG]}], {"cores": "8"}, "node-1", True),
        ([{"matchFields": [NAMED]}], {}, "node-1", True),
        ([{"matchFields": [NAMED]}], {}, "node-2", False),
        ([{"matchFields": [NOT_NAMED]}], {}, "node-2", True),
        ([{"matchFields": [NAMED], "matchExpressions": [ZONE]}], {}, "node-1", False),
        ([{}, {"matchFields": [NAMED]}], {}, "node-1", True),
    ],
)
def test_matching(terms: list[dict[str, Any]], labels: dict[str, str], name: str, matches: bool) -> None:
    assert select(*terms).matches(labels, name) is matches


def test_faults_are_kept_and_only_spoil_their_own_term() -> None:
    selector = NodeSelector(
        {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "a", "operator": "Like", "values": ["x"]}]},
                {"matchExpressions": [{"key": "a", "operator": "Lt", "values": ["x"]}]},
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a", "b"]}]},
                {"matchFields": [{"key": "metadata.name", "operator": "Exists"}]},
                {"matchFields": [NAMED]},
            ]
        },
        Path("spec"),
    )
    place = "spec.nodeSelectorTerms"
    assert selector.errors == [
        f'{place}[0].matchExpressions[0].operator: Unsupported value: "Like": '
        'supported values: "In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"',
        f'{place}[1].matchExpressions[0].values[0]: Invalid value: "x": '
        "for 'Gt', 'Lt' operators, the value must be an integer",
        f'{place}[2].matchFields[0].values: Invalid value: ["a","b"]: must have one element',
        f'{place}[3].matchFields[0].operator: Unsupported value: "Exists": supported values: "In", "NotIn"',
    ]
    assert selector.matches({"a": "1"}, "node-1")
    assert not selector.matches({"a": "1"}, "node-2")
