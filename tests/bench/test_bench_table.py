"""The table of benchmarks: which rows are chosen, and what a line of it says. Nothing is measured here."""

from __future__ import annotations

import pytest

from bench.__main__ import main
from bench.rows import ROWS
from bench.table import Beside, Figure, NotMeasured, Row, can_measure_upstream, is_met, line, once, select


def never(subject: object) -> Figure:
    raise AssertionError("nothing is measured here")


FAST = Row("get things", "/s", never, 15000, "more", beside=Beside(never, ("etcd", "kube-apiserver")))
SLOW = Row("up, containerd", "s", never, 2.0, needs_containers=True)
NEITHER = Row("store alone", "/s", never)


def cells(text: str) -> list[str]:
    return [cell.strip() for cell in text.strip("|").split("|")]


def test_rows_are_chosen_by_words_in_their_names() -> None:
    rows = [FAST, SLOW, NEITHER]
    assert select(rows, [], containers=True) == rows
    assert select(rows, ["STORE", "up,"], containers=True) == [SLOW, NEITHER]
    assert select(rows, [], containers=False) == [FAST, NEITHER]
    with pytest.raises(NotMeasured, match="there are: get things; store alone"):
        select(rows, ["containerd"], containers=False)


def test_a_line_says_what_was_measured_and_what_was_hoped_for() -> None:
    assert cells(line(SLOW, Figure(1.234, "five rounds"), None)) == [
        "up, containerd",
        "1.23 s (five rounds)",
        "≤ 2.00 s",
        "",
        "",
    ]
    assert cells(line(NEITHER, Figure(37319.4), None))[1:3] == ["37,319 /s", ""]


def test_a_goal_that_is_missed_is_marked() -> None:
    assert is_met(FAST, Figure(15000))
    assert not is_met(FAST, Figure(14999))
    assert is_met(SLOW, Figure(2.0))
    assert not is_met(SLOW, Figure(2.1))
    assert cells(line(SLOW, Figure(2.1), None))[2] == "≤ 2.00 s !"
    assert cells(line(FAST, Figure(15), None))[2] == "≥ 15,000 /s !"


def test_upstream_stands_beside_ours_with_the_ratio() -> None:
    assert cells(line(FAST, Figure(20000), Figure(8000, "p99 9 ms")))[3:] == ["8,000 /s (p99 9 ms)", "2.50 x"]


def test_upstream_is_measured_where_all_its_programs_are() -> None:
    paths = {"etcd": "/usr/bin/etcd", "kube-apiserver": "/usr/bin/kube-apiserver"}
    assert can_measure_upstream(FAST, paths.get)
    assert not can_measure_upstream(FAST, {"etcd": "/usr/bin/etcd"}.get)
    assert not can_measure_upstream(SLOW, paths.get)


def test_what_rows_share_is_measured_once_for_each_subject() -> None:
    asked: list[str] = []
    ask = once(asked.append)
    for subject in ("ours", "ours", "upstream"):
        ask(subject)
    assert asked == ["ours", "upstream"]


def test_every_row_has_a_name_of_its_own() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


def test_rows_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--no-containers", "--only", "watchers"]) == 0
    assert capsys.readouterr().out == "one write to 200 watchers, p99\n"
    assert main(["--only", "no such row"]) == 2
    assert "there are: up, existing" in capsys.readouterr().err
