"""A start is mostly importing: what a cluster does not need before somebody uses it is not imported."""

import json
import subprocess
import sys

PROGRAM = """
import json, ssl, sys, urllib.request
from tiphys.testing import Cluster
with Cluster() as cluster:
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    for path in ("/version", "/api?timeout=32s"):
        request = urllib.request.Request(cluster.server + path, headers=cluster.user("u", ["system:masters"]).headers)
        urllib.request.urlopen(request, context=context).read()
    cluster.wait_for("node/node-1")
    print(json.dumps(sorted(sys.modules)))
"""
NOT_NEEDED = (
    "tiphys.machinery.cel.parser",
    "tiphys.machinery.structural.schema",
    "tiphys.store.sqlite",
    "apsw",
    "grpc",
    "google.protobuf",
    "yaml",
    "hypothesis",
    "ngh2",
)


def test_a_start_imports_no_more_than_it_needs() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert "tiphys.apiserver.server" in imported
    assert imported.isdisjoint(NOT_NEEDED), sorted(imported.intersection(NOT_NEEDED))
