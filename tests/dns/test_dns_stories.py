"""What the cluster's DNS says of names, as a pure function: Services and EndpointSlices in, records out, written as dig does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tiphys.client.cache import Cache, View
from tiphys.client.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from tiphys.dns import message, records
from tiphys.testing.golden import check_story, stories

FOLDER = Path(__file__).parent / "stories"
TYPES = {
    name: getattr(message, name) for name in ("A", "AAAA", "ANY", "CNAME", "NS", "PTR", "SOA", "SRV", "TXT")
}
NAMES = {number: name for name, number in TYPES.items()}


@pytest.mark.parametrize("path", stories(FOLDER), ids=lambda path: path.stem)
def test_story(path: Path, *, update_golden: bool) -> None:
    check_story(path, tell, update=update_golden)


def tell(story: dict[str, Any]) -> dict[str, Any]:
    view = view_of(story)
    told: dict[str, Any] = {}
    for question in story["questions"]:
        name, _, type = question.partition(" ")
        found = records.resolve(name, TYPES[type], view, records.Zone())
        told[question] = "somebody else knows" if found is None else describe(found)
    return told


def view_of(story: dict[str, Any]) -> View:
    """Services and slices are in the namespace `shop` unless said otherwise."""
    view = View([Cache(kind) for kind in (SERVICES, ENDPOINTSLICES, NAMESPACES)])
    for name in ("shop", "kube-system"):
        view.cache(NAMESPACES).apply("ADDED", {"metadata": {"name": name, "resourceVersion": "1"}})
    for kind, given in ((SERVICES, story.get("services", ())), (ENDPOINTSLICES, story.get("slices", ()))):
        for obj in given:
            metadata = {"namespace": "shop", "resourceVersion": "7", **obj["metadata"]}
            view.cache(kind).apply("ADDED", {**obj, "metadata": metadata})
    return view


def describe(found: records.Found) -> dict[str, Any]:
    answer = found.answer
    told: dict[str, Any] = {"code": {0: "NOERROR", 3: "NXDOMAIN"}[answer.code]}
    for section in ("answers", "authority", "additional"):
        written = [text_of(record) for record in getattr(answer, section)]
        told |= {section: written} if written else {}
    return told | ({"alias": found.alias} if found.alias else {})


def text_of(record: message.Record) -> str:
    data = record.data
    words = [str(word) for word in data] if isinstance(data, tuple) else [str(data)]
    return " ".join([record.name, str(record.ttl), NAMES[record.type], *words])
