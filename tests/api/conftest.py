"""What the tests of the groups share: an object goes the way of a write (defaults, prepare, validate)."""

import copy

import pytest

from tiphys.api.scheme import built_in
from tiphys.machinery.gvk import GroupVersionKind, parse_api_version

SCHEME = built_in()


def _row(kind):
    api_version, _, name = kind.partition(" ")
    group, version = parse_api_version(api_version)
    row = SCHEME.by_kind(GroupVersionKind(group, version, name))
    assert row is not None, kind
    return row


def _written(kind, fields, *, name="x", old=None, **metadata):
    row = _row(kind)
    obj = {
        "kind": row.kind,
        "apiVersion": row.api_version,
        "metadata": {"name": name, "uid": "u-1", **metadata},
        **copy.deepcopy(fields),
    }
    if row.namespaced:
        obj["metadata"].setdefault("namespace", "default")
    if row.defaults is not None:
        row.defaults(obj)
    if row.prepare is not None:
        row.prepare(obj, old)
    return obj


@pytest.fixture
def written():
    """(kind "batch/v1 Job", fields beside metadata, name=, old=, …metadata) → the object as it would be validated."""
    return _written


@pytest.fixture
def refusals():
    """The same → the messages of its validation, as text; [] means it is good."""

    def judge(kind, fields, *, old=None, **metadata):
        row = _row(kind)
        before = None if old is None else _written(kind, old, **metadata)
        new = _written(kind, fields, old=before, **metadata)
        kept = copy.deepcopy((new, before))
        found = [str(error) for error in row.validate(new, before)]
        assert (new, before) == kept, "validation changes nothing"
        return found

    return judge
