"""What nobody may say in the status of a job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.batch import index_format
from tiphys.api.batch.job_status import job_status

START, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"


def conditions(*types):
    return [{"type": type, "status": "True"} for type in types]


def said(new, old=None, **spec):
    old = old or {}
    return [str(error) for error in job_status({"spec": spec, "status": new}, {"spec": spec, "status": old})]


COMPLETE = {
    "startTime": START,
    "completionTime": LATER,
    "conditions": conditions("SuccessCriteriaMet", "Complete"),
}


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (COMPLETE, None),
        ({"startTime": START, "conditions": conditions("FailureTarget", "Failed")}, None),
        ({"active": -1}, "status.active: Invalid value: -1: must be greater than or equal to 0"),
        ({"active": 1, "ready": 2}, "status.ready: Invalid value: 2: cannot set more ready pods than active"),
        ({**COMPLETE, "active": 1}, "status.active: Invalid value: 1: active>0 is invalid for finished job"),
        ({**COMPLETE, "terminating": 1}, "status.terminating: Invalid value: 1: terminating>0 is invalid for finished job"),
        ({**COMPLETE, "startTime": None}, "status.startTime: Required value: startTime is required for finished job"),
        ({**COMPLETE, "completionTime": None}, "status.completionTime: Required value: completionTime is required for Complete jobs"),
        ({"completionTime": LATER}, f'status.completionTime: Invalid value: "{LATER}": cannot set completionTime when there is no Complete=True condition'),
        ({**COMPLETE, "completionTime": START, "startTime": LATER}, f'status.completionTime: Invalid value: "{START}": completionTime cannot be set before startTime'),
        ({**COMPLETE, "conditions": conditions("Complete")}, "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
        ({"startTime": START, "conditions": conditions("Failed")}, "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition"),
        ({"conditions": conditions("SuccessCriteriaMet", "FailureTarget")}, "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
        ({"uncountedTerminatedPods": {"succeeded": ["a"], "failed": ["a"]}}, 'status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"'),
        ({"uncountedTerminatedPods": {"succeeded": [""]}}, 'status.uncountedTerminatedPods.succeeded[0]: Invalid value: "": must not be empty'),
        ({"completedIndexes": "0"}, 'status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode'),
        ({"failedIndexes": "0"}, 'status.failedIndexes: Invalid value: "0": cannot set non-null failedIndexes when backoffLimitPerIndex is null'),
    ],
)  # fmt: skip
def test_what_contradicts_itself(new, message):
    found = said({name: value for name, value in new.items() if value is not None})
    assert found == ([] if message is None else [message])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-2,4", None),
        ("9", 'too large index: "9"'),
        ("a", 'cannot convert string to integer for index: "a"'),
        ("2,1", "non-increasing order, previous: 2, current: 1"),
        ("2-1", "non-increasing order, previous: 2, current: 1"),
        ("0-1-2", "the fragment \"0-1-2\" violates the requirement that an index interval can have at most two parts separated by '-'"),
    ],
)  # fmt: skip
def test_indexes_have_a_form(text, message):
    found = said({"completedIndexes": text}, completionMode="Indexed", completions=5)
    expected = f'status.completedIndexes: Invalid value: "{text}": error parsing completedIndexes: {message}'
    assert found == ([] if message is None else [expected])


def test_an_index_fails_or_completes():
    found = said(
        {"completedIndexes": "0,3-5", "failedIndexes": "1,4"},
        completionMode="Indexed",
        completions=6,
        backoffLimitPerIndex=1,
    )
    detail = "failedIndexes and completedIndexes overlap at index: 4"
    assert found == [f'status.failedIndexes: Invalid value: "1,4": {detail}']


@given(*[st.frozensets(st.integers(0, 20))] * 2)
def test_what_two_sets_have_in_common(one, other):
    texts = [",".join(map(str, sorted(indexes))) for indexes in (one, other)]
    assert index_format.common(*(index_format.runs(text, 21) for text in texts)) == min(
        one & other, default=None
    )


@pytest.mark.parametrize(
    ("new", "old", "message"),
    [
        ({"failed": 1}, {"failed": 2}, "status.failed: Invalid value: 1: cannot decrease the failed counter"),
        ({}, {"succeeded": 2}, "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter"),
        ({}, {"conditions": conditions("FailureTarget")}, "status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition"),
        ({}, {"conditions": conditions("SuccessCriteriaMet")}, "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition"),
        ({**COMPLETE, "completionTime": "2026-01-01T02:00:00Z"}, COMPLETE, 'status.completionTime: Invalid value: "2026-01-01T02:00:00Z": completionTime cannot be mutated'),
        ({}, {"startTime": START}, "status.startTime: Required value: startTime cannot be removed for unsuspended job"),
        ({"startTime": LATER}, {"startTime": START, "conditions": conditions("Suspended")}, None),
    ],
)  # fmt: skip
def test_there_is_no_way_back(new, old, message):
    assert said(new, old) == ([] if message is None else [message])


def test_what_was_wrong_before_may_stay():
    wrong = {"startTime": START, "completionTime": LATER, "conditions": conditions("Complete")}
    assert said({**wrong, "succeeded": 1}, wrong) == []


def test_a_job_that_shrinks_has_fewer_successes():
    spec = {"completionMode": "Indexed", "completions": 1, "parallelism": 1}
    assert said({}, {"succeeded": 2}, **spec) == []
