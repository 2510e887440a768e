"""Rows of Tables are kept with their records: nobody can tell, whatever the time is and however an object changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from minimal import minimal
from served import Client, Object

from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in
from tiphys.apiserver.customresources.columns import table_of
from tiphys.apiserver.records import Record, encode_stored, with_version
from tiphys.apiserver.tables import INCLUDE, Ages, TablePrinter
from tiphys.machinery.meta import format_time
from tiphys.testing.clock import FakeClock

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = CREATED + timedelta(seconds=30)
AFTER = (timedelta(seconds=40), timedelta(minutes=4), timedelta(minutes=4), timedelta(days=3))
KINDS = [row for row in built_in() if not row.virtual and row.stored is None]
PODS_ROW = next(row for row in KINDS if row.kind == "Pod")
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
POD: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
OWNERS = [
    {"manager": "me", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}
]
RESTARTED = {
    "phase": "Failed",
    "containerStatuses": [
        {"restartCount": 2, "lastState": {"terminated": {"finishedAt": format_time(STARTED)}}, "state": {}}
    ],
}
STATUSES = [
    {},
    RESTARTED,
    {"startTime": format_time(STARTED)},
    {"startTime": format_time(STARTED), "completionTime": format_time(STARTED), "phase": "Succeeded"},
    {"lastScheduleTime": format_time(CREATED)},
]


def record_of(obj: Object) -> Record:
    return Record("/registry/x", "", obj["metadata"]["name"], 7, with_version(encode_stored(obj), 7))


def ships(columns: list[Object]) -> TablePrinter:
    table = table_of(columns)
    return TablePrinter(
        Resource(group="e", version="v1", kind="Ship", plural="ships", namespaced=True, table=table)
    )


def shown(printer: TablePrinter, record: Record, now: datetime) -> Object:
    row: Object = orjson.loads(b"".join(printer.rows([record], Ages(now))).removesuffix(b","))
    return row


def made_anew(printer: TablePrinter, record: Record, now: datetime) -> Object:
    row: Object = orjson.loads(printer.row(record.printable, now))
    return row


@pytest.mark.parametrize("include", INCLUDE)
@pytest.mark.parametrize("kind", KINDS, ids=lambda row: f"{row.api_version}-{row.kind}")
def test_a_kept_row_is_the_row_made_anew(kind: Resource, include: str) -> None:
    printer = TablePrinter(kind, include=include)
    for owners in (OWNERS, []):
        for status in STATUSES:
            obj = minimal(kind)
            obj["metadata"] |= {"creationTimestamp": format_time(CREATED), "managedFields": owners}
            record = record_of({**obj, "status": status} if status else obj)
            for after in AFTER:
                assert shown(printer, record, CREATED + after) == made_anew(printer, record, CREATED + after)
            assert record.printed is not None


@pytest.mark.parametrize(
    "path", [".metadata.creationTimestamp", ".spec.since", ".spec.words", ".metadata.name"]
)
@pytest.mark.parametrize("since", [format_time(CREATED), format_time(STARTED), "never"])
def test_dates_in_columns_of_custom_resources(path: str, since: str) -> None:
    columns = [
        {"name": "Number", "type": "integer", "jsonPath": ".spec.number"},
        {"name": "When", "type": "date", "jsonPath": path},
        {"name": "Words", "type": "string", "jsonPath": ".spec.words"},
    ]
    record = record_of(
        {
            "kind": "Ship",
            "apiVersion": "example.com/v1",
            "metadata": {"name": "s", "creationTimestamp": format_time(CREATED)},
            "spec": {"since": since, "number": 3, "words": '"],\u00e9\t'},
        }
    )
    printer = ships(columns)
    for after in AFTER:
        assert shown(printer, record, CREATED + after) == made_anew(printer, record, CREATED + after)
    assert record.printed is not None


def test_another_table_of_the_same_record_is_another_row() -> None:
    """As when the columns of a definition change."""
    record = record_of(
        {"kind": "Ship", "apiVersion": "e/v1", "metadata": {"name": "s"}, "spec": {"a": 1, "b": 2}}
    )
    for field in ("a", "b", "a"):
        columns = [{"name": "X", "type": "integer", "jsonPath": f".spec.{field}"}]
        assert shown(ships(columns), record, CREATED)["cells"] == ["s", {"a": 1, "b": 2}[field]]


def test_bytes_that_this_server_would_not_write_are_read_all_the_same() -> None:
    data = b'{"kind":"Pod","apiVersion":"v1","metadata":{ "name":"\\u0070","resourceVersion":"7"},"spec":{}}'
    record = Record("/registry/core/pods/default/p", "default", "p", 7, data)
    row = shown(TablePrinter(PODS_ROW), record, CREATED)
    assert row["object"]["metadata"] == {"name": "p", "resourceVersion": "7"}


async def test_a_table_is_of_now(client: Client, clock: FakeClock) -> None:
    await client.create(PODS, POD)
    for age in ("0s", "5s", "10s"):
        (row,) = (await client.get(PODS, accept=TABLE))["rows"]
        assert row["cells"][:5] == ["p", "0/1", "Pending", "0", age]
        await clock.advance(5)
    await client.patch(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    (row,) = (await client.get(PODS, accept=TABLE))["rows"]
    assert row["cells"][2] == "Running"


@pytest.mark.parametrize("owners", [OWNERS, []], ids=["owned", "unowned"])
def test_what_was_just_written_keeps_its_row_as_what_was_read_does(owners: list[Object]) -> None:
    obj = {
        "kind": "Pod",
        "apiVersion": "v1",
        **POD,
        "metadata": {"name": "p", "labels": {"a": "b"}, "managedFields": owners},
    }
    record = record_of(obj)
    record.take(obj)
    row = shown(TablePrinter(PODS_ROW), record, CREATED)
    assert record.printed is not None
    assert row == made_anew(TablePrinter(PODS_ROW), record_of(obj), CREATED)


def test_who_prints_keeps_the_row_and_no_decoded_object() -> None:
    record = record_of({"kind": "Pod", "apiVersion": "v1", **POD})
    shown(TablePrinter(PODS_ROW), record, CREATED)
    assert record.printed is not None
    assert record.peek() is not record.peek()
