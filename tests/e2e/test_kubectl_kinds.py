"""Every kind that can be made: `kubectl describe` tells of it without an error, and `kubectl get` prints its columns."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from e2e_cluster import Cluster, wait_for
from minimal import minimal, name_of

from tiphys.api.columns import DEFAULT_TABLE
from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in

ROWS = [*{row.group_resource: row for row in reversed([*built_in()]) if not row.virtual}.values()][::-1]
"""Each resource once, in its preferred version."""
RULING = ("limitranges", "resourcequotas")
NO_REQUEST = "CertificateSigningRequest"
"""Its minimal form is nothing that kubectl can parse; kubectl/access.txt has a real one."""


def _named(row: Resource) -> str:
    return f"{row.plural}.{row.version}.{row.group}" if row.group else row.plural


def _name(row: Resource) -> str:
    """Events are the same objects in both groups."""
    return "other" if row.group == "events.k8s.io" else name_of(row)


@pytest.fixture(scope="module")
def everything(hollow: Cluster) -> Iterator[Cluster]:
    """A cluster with one object of every kind, in the namespace `default`."""
    account = ("get", "serviceaccount", "default")
    wait_for(lambda: hollow.kubectl(*account, check=False).returncode == 0, "the default service account")
    # What would hold the others to its rules comes last, and goes first.
    order = sorted(ROWS, key=lambda row: row.plural in RULING or row.group == "admissionregistration.k8s.io")
    for row in order:
        hollow.kubectl("create", "-f", "-", input=json.dumps(minimal(row, name=_name(row))))
    yield hollow
    for row in reversed(order):
        hollow.kubectl("delete", _named(row), _name(row), "--wait=false", "--ignore-not-found")


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind != NO_REQUEST], ids=_named)
def test_it_is_described(everything: Cluster, row: Resource) -> None:
    told = everything.kubectl("describe", _named(row), _name(row))
    assert not [line for line in told.stderr.splitlines() if not line.startswith("Warning: ")]
    lines = told.stdout.splitlines()
    assert lines[0].split() == ["Name:", _name(row)]
    errors = [line for line in lines if "<error" in line or "<unknown type>" in line]
    assert errors == [] or row.kind == "Ingress"  # its service is not there, and kubectl says so


@pytest.mark.parametrize("row", ROWS, ids=_named)
def test_its_columns_are_printed(everything: Cluster, row: Resource) -> None:
    columns = [column.name.upper() for column in (row.table or DEFAULT_TABLE).columns]
    listed = everything.kubectl("get", _named(row), "-o", "wide").stdout.splitlines()
    assert " ".join(listed[0].split()) == " ".join(columns)
    assert any(_name(row) in line.split() for line in listed[1:])
