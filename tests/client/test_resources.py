"""The short rows of clients call their kinds as the server's rows do."""

from __future__ import annotations

from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in
from tiphys.client import resources


def test_the_short_rows_are_called_as_the_servers() -> None:
    named = {name: row for name, row in vars(resources).items() if isinstance(row, Resource)}
    assert len(named) > 20
    for name, row in named.items():
        found = built_in().by_resource(row.group, row.version, row.plural)
        assert found is not None, name
        assert (row.kind, row.namespaced, row.list_kind) == (found.kind, found.namespaced, found.list_kind), (
            name
        )
        assert name == row.plural.upper()
