"""The counting of quotas where no server is needed; with one, tests/apiserver/admission/test_resource_quota.py."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.controllers.resourcequota import needs_a_look, plan
from tiphys.testing.clock import FakeClock

NOW = FakeClock().now()


def quota(hard: dict[str, str], status: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": status or {}}


PLANS = (
    ("a new one", {"pods": "2"}, {}, {"pods": "1"}, {"pods": "1"}),
    ("nothing is counted yet", {"x.io/y": "2"}, {}, {}, {}),
    ("it is as it should be", {"pods": "2"}, {"hard": {"pods": "2"}, "used": {"pods": "1"}}, {"pods": "1"}, None),
    ("the same in other words", {"cpu": "1"}, {"hard": {"cpu": "1000m"}, "used": {"cpu": "0.5"}}, {"cpu": "500m"}, None),
    ("what nobody counts is kept", {"a/b": "2"}, {"hard": {}, "used": {"a/b": "1", "gone": "1"}}, {}, {"a/b": "1"}),
    ("less is used", {"pods": "2"}, {"hard": {"pods": "2"}, "used": {"pods": "1"}}, {"pods": "0"}, {"pods": "0"}),
    ("more is allowed", {"pods": "3"}, {"hard": {"pods": "2"}, "used": {"pods": "1"}}, {"pods": "1"}, {"pods": "1"}),
)  # fmt: skip


@pytest.mark.parametrize(("hard", "status", "counted", "used"), [row[1:] for row in PLANS], ids=[row[0] for row in PLANS])  # fmt: skip
def test_the_status_that_follows(hard: Any, status: Any, counted: Any, used: Any) -> None:
    planned = plan(quota(hard, status), counted, NOW)
    assert planned == (None if used is None else {"hard": hard, "used": used})


def test_only_changes_that_ask_for_it_are_looked_at() -> None:
    before = quota({"pods": "2"}, {"hard": {"pods": "2"}, "used": {"pods": "1"}})
    charged = quota({"pods": "2"}, {"hard": {"pods": "2"}, "used": {"pods": "2"}})
    assert not needs_a_look(before, charged)
    assert needs_a_look(before, quota({"pods": "3"}, before["status"]))
    assert needs_a_look(before, quota({"pods": "2"}, {"hard": {"pods": "9"}, "used": {"pods": "1"}}))
