"""The table of entries and the marks of the tests agree."""

from entries import API_MACHINERY, APPS, AUTH, CLI, NETWORK, NODE, OPEN, STORAGE, waits
from report import held

ENTRIES = API_MACHINERY | CLI | NODE | STORAGE | AUTH | APPS | NETWORK
SIZES = (99, 17, 106, 91, 10, 60, 47)
"""How many entries the suite of v1.36 has in each group."""


def test_every_mark_names_an_entry() -> None:
    strange = {name: places for name, places in held().items() if name not in ENTRIES}
    assert not strange, "a codename without its group and [Conformance], as in tests/conformance/entries.py"


def test_every_entry_has_a_test_or_waits_for_something() -> None:
    places = held()
    assert tuple(map(len, (API_MACHINERY, CLI, NODE, STORAGE, AUTH, APPS, NETWORK))) == SIZES
    assert [name for name in ENTRIES if name not in places and not waits(name)] == []


def test_nothing_waits_for_what_is_there() -> None:
    places = held()
    over = [begin for begin in OPEN if all(name in places for name in ENTRIES if name.startswith(begin))]
    assert not over, f"take these out of OPEN, tests/conformance/entries.py: {over}"
