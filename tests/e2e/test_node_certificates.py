"""A node whose first certificates are nearly over gets new ones through the API, by itself, and goes on serving."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e_cluster import Cluster, running, wait_for

from tiphys.cluster import blueprint
from tiphys.cluster import layout as places
from tiphys.cluster.pki import LEAF_DAYS, Authority
from tiphys.machinery import yaml

pytestmark = pytest.mark.real
NODE = "rotate-node-1"


@pytest.fixture
def rotating(tmp_path: Path) -> Iterator[Cluster]:
    yield from running(tmp_path, "rotate")


def age(home: Path, part: float) -> None:
    """Makes the node's certificates as they would be when so much of their life is over, without `up` minding."""
    layout = places.find_layout(home, "rotate")
    assert layout is not None
    now = datetime.now(UTC)
    authority = Authority(layout.pki, now - timedelta(days=part * LEAF_DAYS))
    for leaf in blueprint.leaves(places.read_config(layout)):
        if leaf.file.startswith("kubelet-"):
            note = layout.pki / f"{leaf.file}.for"
            note.unlink()
            authority.ensure([leaf])
            said = note.read_text().split("\n")
            note.write_text(f"{said[0]}\n{(now + timedelta(days=LEAF_DAYS)).isoformat()}\n")


def test_a_node_renews_its_certificates_and_goes_on(rotating: Cluster) -> None:
    home = rotating.home / "tiphys"
    rotating.tiphys("down", "--name", "rotate")
    age(home, 0.91)
    rotating.tiphys("up", "--name", "rotate")
    directory = home / "rotate" / "nodes" / NODE / "kubelet" / "pki"
    files = [directory / f"kubelet-{kind}-current.pem" for kind in ("client", "server")]
    wait_for(lambda: all(path.exists() for path in files), "both certificates")
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    requests = rotating.get("csr")["items"]
    assert sorted(each["spec"]["signerName"] for each in requests) == [
        "kubernetes.io/kube-apiserver-client-kubelet",
        "kubernetes.io/kubelet-serving",
    ]
    assert {each["spec"]["username"] for each in requests} == {f"system:node:{NODE}"}
    shown = json.loads(rotating.tiphys("certs", "show", "--name", "rotate", "-o", "json").stdout)
    assert {f"nodes/{NODE}/kubelet/pki/{path.name}" for path in files} <= {each["file"] for each in shown}
    # The listener and the client have them within seconds, and nothing was started again for it.
    log = home / "rotate" / "logs" / f"kubelet-{NODE}.log"
    wait_for(lambda: log.read_text().count("has been loaded") >= 2, "they are loaded")
    rotating.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/healthz")
    assert {
        each["restarts"] for each in json.loads((home / "rotate" / "run" / "running.json").read_text())
    } == {0}
    # And the next time it begins with them.
    rotating.tiphys("down", "--name", "rotate")
    rotating.tiphys("up", "--name", "rotate")
    rotating.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=300s")
    assert len(rotating.get("csr")["items"]) == 2
    # Another authority is known everywhere in the cluster, again without anything being started for it.
    before = authorities(rotating)
    rotating.tiphys("certs", "rotate", "--ca", "--name", "rotate")
    now = [(home / "rotate" / "pki" / part / "ca.crt").read_text() for part in ("", "front-proxy")]
    assert now != before[:2]
    wait_for(lambda: authorities(rotating) == [*now, now[0], now[0]], "the new authority, wherever it stands")
    rotating.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/healthz")


def authorities(cluster: Cluster) -> list[str]:
    """What the cluster says of its own: to other API servers (of clients, of this server), to pods, to those who join."""
    told = cluster.get("configmap", "extension-apiserver-authentication", "-n", "kube-system")["data"]
    pods = cluster.get("configmap", "kube-root-ca.crt", "-n", "default")["data"]["ca.crt"]
    joining = yaml.load(cluster.get("configmap", "cluster-info", "-n", "kube-public")["data"]["kubeconfig"])
    encoded = joining["clusters"][0]["cluster"]["certificate-authority-data"]
    return [
        told["client-ca-file"],
        told["requestheader-client-ca-file"],
        pods,
        base64.b64decode(encoded).decode(),
    ]
