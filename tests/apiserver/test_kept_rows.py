"""A row that was kept is the row made anew, whatever stands in the object and however late it is shown."""

from __future__ import annotations

import operator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Object

from tiphys.api.columns import Later, since
from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in
from tiphys.apiserver.records import Record, encode_stored, with_version
from tiphys.apiserver.tables import INCLUDE, Ages, TablePrinter
from tiphys.apiserver.views import ListMeta, TableView
from tiphys.machinery.meta import format_time

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = {row.kind: row for row in built_in() if not row.virtual and row.stored is None}
MARKED = f"{Later.MARK}{format_time(BEGIN)}{Later.MARK}"

seconds = st.one_of(st.integers(0, 200), st.integers(0, 400_000_000))
times = seconds.map(lambda after: format_time(BEGIN + timedelta(seconds=after)))
texts = st.one_of(st.sampled_from(["", Later.MARK, MARKED, '"],"\\', "é\t\u2028"]), st.text(max_size=8))


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Object]:
    """Any of these fields, and any of them not."""
    return st.fixed_dictionaries({}, optional=fields)


states = some(
    terminated=some(reason=texts, finishedAt=times, exitCode=st.integers(0, 2)),
    waiting=some(reason=texts),
    running=some(startedAt=times),
)
containers = some(
    name=st.just("c"),
    ready=st.booleans(),
    restartCount=st.integers(0, 3),
    state=states,
    lastState=some(terminated=some(finishedAt=times)),
)
metadata = st.fixed_dictionaries(
    {"name": st.just("x")},
    optional={
        "creationTimestamp": times,
        "deletionTimestamp": times,
        "labels": st.dictionaries(texts, texts, max_size=2),
        "managedFields": st.just([{"manager": "me", "operation": "Update", "fieldsV1": {}}]),
    },
)
BODIES: dict[str, st.SearchStrategy[Object]] = {
    "Pod": some(
        spec=st.just({"containers": [{"name": "c"}]}),
        status=some(
            phase=st.sampled_from(["Pending", "Running", "Failed"]),
            reason=texts,
            containerStatuses=st.lists(containers, max_size=2),
            podIPs=st.just([{"ip": "10.0.0.1"}]),
        ),
    ),
    "Event": some(
        message=texts,
        reason=texts,
        firstTimestamp=times,
        lastTimestamp=times,
        eventTime=times,
        series=some(lastObservedTime=times, count=st.integers(0, 3)),
    ),
    "Job": some(spec=st.just({"completions": 1}), status=some(startTime=times, completionTime=times)),
    "CronJob": some(spec=some(schedule=texts), status=some(lastScheduleTime=times)),
    "ConfigMap": some(data=st.dictionaries(texts, texts, max_size=2)),
}


def stored(row: Resource, body: Object) -> Record:
    obj = {"kind": row.kind, "apiVersion": row.api_version, **body}
    return Record("/registry/x", "", "x", 7, with_version(encode_stored(obj), 7))


def shown(printer: TablePrinter, record: Record, now: datetime) -> Object:
    row: Object = orjson.loads(b"".join(printer.rows([record], Ages(now))).removesuffix(b","))
    return row


@pytest.mark.parametrize("kind", BODIES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_kept_and_made_anew(kind: str, data: st.DataObject) -> None:
    row = ROWS[kind]
    record = stored(row, {"metadata": data.draw(metadata), **data.draw(BODIES[kind])})
    printer = TablePrinter(row, include=data.draw(st.sampled_from(INCLUDE)))
    for after in data.draw(st.lists(seconds, min_size=1, max_size=3)):
        now = BEGIN + timedelta(seconds=after)
        assert shown(printer, record, now) == orjson.loads(printer.row(record.printable, now))


def test_a_row_with_our_marks_in_it_is_not_kept() -> None:
    """It would show another time in place of what the object says."""
    created = {"name": "x", "creationTimestamp": format_time(BEGIN)}
    for message, kept in (("said", True), (MARKED, False), (Later.MARK, False)):
        record = stored(
            ROWS["Event"], {"metadata": created, "firstTimestamp": format_time(BEGIN), "message": message}
        )
        row = shown(TablePrinter(ROWS["Event"]), record, BEGIN)
        assert row["cells"][6] == message.strip()
        assert (record.printed is not None) is kept


def test_all_times_of_a_row_go_on() -> None:
    restarted = {
        "restartCount": 2,
        "lastState": {"terminated": {"finishedAt": format_time(BEGIN + timedelta(seconds=60))}},
    }
    pod = {
        "metadata": {"name": "x", "creationTimestamp": format_time(BEGIN)},
        "spec": {"containers": [{}]},
        "status": {"containerStatuses": [restarted]},
    }
    record = stored(ROWS["Pod"], pod)
    for minutes, cells in ((2, ["2 (60s ago)", "2m"]), (5, ["2 (4m ago)", "5m"])):
        row = shown(TablePrinter(ROWS["Pod"]), record, BEGIN + timedelta(minutes=minutes))
        assert row["cells"][3:5] == cells
        assert record.printed is not None


def test_equal_endings_are_kept_once() -> None:
    first, second = (
        stored(ROWS["Pod"], {"metadata": {"name": "x", "creationTimestamp": format_time(BEGIN)}})
        for _ in range(2)
    )
    for record in (first, second):
        shown(TablePrinter(ROWS["Pod"]), record, BEGIN)
    assert first.printed is not None
    assert second.printed is not None
    assert first.printed[1] is second.printed[1]
    assert first.printed[3] is second.printed[3]
    assert first.printed[4] is second.printed[4]


@pytest.mark.parametrize("count", [0, 1, 2, 40, 400])
@pytest.mark.parametrize("bytes_each", [10, 300, 90_000])
def test_a_long_table_is_whole(count: int, bytes_each: int) -> None:
    records = [
        stored(ROWS["ConfigMap"], {"metadata": {"name": f"x{number}", "labels": {"a": "b" * bytes_each}}})
        for number in range(min(count, 4_000_000 // bytes_each))
    ]
    view = TableView(TablePrinter(ROWS["ConfigMap"]), lambda: BEGIN)
    table = orjson.loads(b"".join(view.parts(records, ListMeta(7))))
    assert [row["cells"][0] for row in table["rows"]] == [f"x{number}" for number in range(len(records))]


def test_columns_cannot_ask_a_later_now_but_for_ages() -> None:
    later = Later()
    assert since(format_time(BEGIN), later) == MARKED
    assert since(None, later) == "<unknown>"
    assert later.asked == 1
    for wrong in (operator.sub, operator.lt, operator.le, operator.gt, operator.ge):
        for pair in ((later, BEGIN), (BEGIN, later)):
            with pytest.raises(TypeError):
                wrong(*pair)
