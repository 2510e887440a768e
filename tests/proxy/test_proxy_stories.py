"""A Service's part of a node's packet filter, as a pure function: Services and EndpointSlices in, elements and chains out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiphys.proxy import rules
from tiphys.proxy.backends import Place
from tiphys.proxy.ruleset import Ruleset, merged
from tiphys.testing.golden import check_story, stories

FOLDER = Path(__file__).parent / "stories"
NODE = {"node": "n1", "zone": "east", "addresses": ["10.90.0.11"]}


@pytest.mark.parametrize("path", stories(FOLDER), ids=lambda path: path.stem)
def test_story(path: Path, *, update_golden: bool) -> None:
    check_story(path, tell, update=update_golden)


def tell(story: dict[str, Any]) -> dict[str, Any]:
    """`endpoints` are written short: one slice for each service, of `address/port` and what is said of it."""
    given = {**NODE, **story.get("node", {})}
    node = rules.Node(Place(given["node"], given["zone"]), tuple(given["addresses"]))
    parts = []
    for service in story["services"]:
        metadata = {"namespace": "default", **service["metadata"]}
        slices = [slice_of(short) for short in story["slices"] if short["service"] == metadata["name"]]
        parts.append(rules.part_of({**service, "metadata": metadata}, slices, node))
    return describe(merged(parts))


def slice_of(short: dict[str, Any]) -> dict[str, Any]:
    ports = [{"name": "", "protocol": "TCP", **port} for port in short["ports"]]
    return {"addressType": "IPv4", "ports": ports, "endpoints": [endpoint_of(each) for each in short["of"]]}


def endpoint_of(short: dict[str, Any]) -> dict[str, Any]:
    """`at`: address; `is`: ready (the default), starting, ending or gone; `for`: hints."""
    ready, serving, terminating = {
        "ready": (True, True, False),
        "starting": (False, False, False),
        "ending": (False, True, True),
        "gone": (False, False, True),
    }[short.get("is", "ready")]
    conditions = {"ready": ready, "serving": serving, "terminating": terminating}
    endpoint = {"addresses": [short["at"]], "conditions": conditions, "nodeName": short.get("node", "n1")}
    return {**endpoint, **({"hints": short["for"]} if "for" in short else {})}


def describe(ruleset: Ruleset) -> dict[str, Any]:
    return {
        "elements": {
            name: [f"{key} : {value}" if value else key for key, value in elements.items()]
            for name, elements in ruleset.elements.items()
        },
        "sets": {name: " ".join(declared) for name, declared in ruleset.sets.items()},
        "chains": {name: list(made) for name, (_, made) in ruleset.chains.items()},
    }
