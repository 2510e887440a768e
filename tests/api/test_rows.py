"""docs/add-a-kind.md as a test: every row has what the list asks for, and nothing about a kind hangs loose."""

import copy
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tiphys.api.columns import DEFAULT_TABLE
from tiphys.api.scheme import BUILT_IN_GROUPS, OPTIONAL_GROUPS, built_in
from tiphys.api.types import TYPES
from tiphys.machinery.schema import check

API = Path(__file__).parents[2] / "src" / "tiphys" / "api"
DOCUMENT = Path(__file__).parents[2] / "docs" / "add-a-kind.md"
ROWS = list(built_in(*OPTIONAL_GROUPS))
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

# Objects that are only bodies of requests and answers: no row of their own.
BODIES = re.compile(
    r"(List|Options|Review|Status|Scale|Eviction|TokenRequest|SerializedReference|RangeAllocation)$"
)


def named(row):
    return f"{row.group or 'core'}/{row.version}.{row.kind}"


def blocks(group_version):
    """Kinds that a types file declares as objects."""
    text = (API / f"{group_version}.types").read_text()
    return set(re.findall(r"^object (\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_the_type_of_a_row_is_a_block(row):
    file, _, kind = row.type.partition(".")
    assert kind == row.kind
    assert kind in blocks(file), f"declare `object {kind}` in src/tiphys/api/{file}.types"
    assert TYPES.struct(row.type) is not None


@pytest.mark.parametrize("folder", [*BUILT_IN_GROUPS, *OPTIONAL_GROUPS])
def test_every_object_has_a_row_or_is_a_body(folder):
    rows = {row.type for row in ROWS}
    for file in sorted((API / folder).glob("*.types")):
        group_version = f"{folder}/{file.stem}"
        loose = {
            kind
            for kind in blocks(group_version)
            if f"{group_version}.{kind}" not in rows and not BODIES.search(kind)
        }
        assert not loose, f"add a row for {sorted(loose)} to src/tiphys/api/{folder}/resources.py"


def test_the_list_names_what_exists():
    text = DOCUMENT.read_text()
    for path in re.findall(r"`(src/tiphys/[\w/.]+\.py|tests/[\w/.]+\.py)`", text):
        assert (API.parents[2] / path).is_file(), f"docs/add-a-kind.md names {path}"


def test_names_of_rows_are_told_apart():
    assert len({row.gvr for row in ROWS}) == len(ROWS)
    short = [name for row in {row.group_resource: row for row in ROWS}.values() for name in row.short_names]
    assert sorted(short) == sorted(set(short)) or {name for name in short if short.count(name) > 1} <= {"ev"}


@pytest.mark.parametrize("row", [row for row in ROWS if row.defaults is not None], ids=named)
def test_defaults_of_an_empty_object_are_idempotent(row):
    obj = {"metadata": {"name": "x"}}
    row.defaults(obj)
    again = copy.deepcopy(obj)
    row.defaults(again)
    assert again == obj


@pytest.mark.parametrize("row", [row for row in ROWS if row.defaults is not None], ids=named)
def test_a_defaulted_object_needs_no_second_look(row):
    """What we add is in the form in which it is stored: the next write of the object passes the fast gate."""
    template = {"metadata": {"labels": {"app": "web"}}, "spec": copy.deepcopy(POD_SPEC)}
    specs = {"Pod": template["spec"], "Service": {"ports": [{"port": 80}]}, "LimitRange": {}, "Node": {}}
    selected = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    specs |= dict.fromkeys(("Deployment", "DaemonSet", "ReplicaSet"), selected)
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    specs["StatefulSet"] = {**selected, "volumeClaimTemplates": [claim]}
    specs["ReplicationController"] = {"template": template}
    obj = {"apiVersion": row.api_version, "kind": row.kind, "metadata": {"name": "x"}}
    if row.kind in specs:
        obj["spec"] = specs[row.kind]
    row.defaults(obj)
    result = check(TYPES.struct(row.type), obj)
    assert result.object == obj
    assert result.complaints == ()


POD_SPEC = {
    "containers": [
        {
            "name": "web",
            "image": "nginx",
            "ports": [{"containerPort": 80}],
            "livenessProbe": {"grpc": {"port": 1}},
            "resources": {"limits": {"cpu": "1"}},
        }
    ],
    "volumes": [
        {"name": "scratch"},
        {"name": "host", "hostPath": {"path": "/x"}},
        {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
    ],
}


@pytest.mark.parametrize("row", [row for row in ROWS if row.table is not None], ids=named)
def test_every_column_has_its_cell(row):
    table = row.table
    assert len(table.cells({"metadata": {"name": "x"}}, NOW)) == len(table.columns)
    assert all(column.description for column in table.columns)
    assert [column for column in table.columns if column.format == "name"], "one column is the name"


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_fields_that_can_be_selected_are_text(row):
    for field, get in row.selectable_fields.items():
        assert isinstance(get({"metadata": {"name": "x"}}), str), field


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_an_empty_object_is_judged_not_crashed_at(row):
    if row.validate is None or row.virtual:
        return
    obj = {"metadata": {"name": "x", "namespace": "default"}}
    if row.defaults is not None:
        row.defaults(obj)
    if row.prepare is not None:
        row.prepare(obj, None)
    assert isinstance(row.validate(obj, None), list)
    assert isinstance(row.validate(copy.deepcopy(obj), obj), list)
    if row.validate_status is not None:
        assert isinstance(row.validate_status(copy.deepcopy(obj), obj), list)


def test_kinds_without_columns_print_their_time():
    assert built_in().by_resource("", "v1", "limitranges").table is None
    assert [column.name for column in DEFAULT_TABLE.columns] == ["Name", "Created At"]


def test_a_binding_obeys_rules_of_its_own():
    """It sets the node's name, which no other update of a pod may, and the user wants nothing new by it."""
    rules = built_in().by_resource("", "v1", "pods").subresource("binding").rules
    assert (rules.prepare, rules.validate, rules.raises_generation) == (None, None, False)
