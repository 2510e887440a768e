"""Upstream's columns: the command lines, and the way through all of it with programs of the same names that stand in for upstream's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rows.store import creation
from bench.upstream import (
    EtcdPlace,
    apiserver_command,
    controller_manager_command,
    etcd_command,
    make_certificates,
    scheduler_command,
)
from tiphys.client import kubeconfig

ROOT = Path(__file__).parent.parent.parent

ETCD = f"""#!{sys.executable}
import http.server, sys

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
http.server.HTTPServer(("127.0.0.1", int(options["listen-client-urls"].rpartition(":")[2])), Health).serve_forever()
"""
APISERVER = f"""#!{sys.executable}
import sys
from pathlib import Path
from tiphys.cluster.control_plane import main
from tiphys.cluster.control_plane_settings import ControlPlaneSettings

options = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
pki = Path(options["tls-cert-file"]).parent
settings = ControlPlaneSettings(
    pki=str(pki), database="", host=options["bind-address"], port=int(options["secure-port"]), port_file=str(pki / "port")
)
(pki / "settings.json").write_text(settings.text())
sys.argv = ["control_plane", str(pki / "settings.json")]
main()
"""


@pytest.mark.slow
def test_rows_have_upstreams_figures_where_its_programs_are_on_path(tmp_path: Path) -> None:
    for name, text in (("etcd", ETCD), ("kube-apiserver", APISERVER)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench",
            "--only",
            "watchers",
            "--only",
            "apiserver process",
            "--no-containers",
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in result.stdout.splitlines()[-2:]]
    assert [row[0] for row in rows] == [
        "apiserver process start to first /readyz 200",
        "one write to 200 watchers, p99",
    ]
    for row in rows:
        _, ours, goal, upstream, ratio = row
        assert ours
        assert goal.startswith("≤")
        assert upstream.split()[1] in ("s", "ms")
        assert ratio.endswith(" x")


def test_a_program_that_does_not_start_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name in ("etcd", "kube-apiserver"):
        (tmp_path / name).write_text("#!/bin/sh\necho no disk today >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "store alone", "--no-containers"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("| store alone")
    assert last.endswith("upstream not measured: etcd does not come up: no disk today")


def test_etcd_is_one_member_on_loopback_that_syncs() -> None:
    command = etcd_command(EtcdPlace(Path("/e"), 1001, 1002))
    assert command[0] == "etcd"
    assert "--data-dir=/e/data" in command
    assert "--listen-client-urls=http://127.0.0.1:1001" in command
    assert "--initial-cluster=bench=http://127.0.0.1:1002" in command
    assert not any("unsafe" in word for word in command)


def test_the_apiserver_is_told_of_etcd_certificates_and_authorization() -> None:
    command = apiserver_command(Path("/p"), 1003, 1001)
    assert command[0] == "kube-apiserver"
    for word in (
        "--etcd-servers=http://127.0.0.1:1001",
        "--bind-address=127.0.0.1",
        "--secure-port=1003",
        "--tls-cert-file=/p/apiserver.crt",
        "--client-ca-file=/p/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--service-account-signing-key-file=/p/service-account.key",
    ):
        assert word in command


@pytest.mark.parametrize("command", [scheduler_command, controller_manager_command])
def test_other_components_find_it_by_a_kubeconfig_of_their_own(command: object) -> None:
    words = command(Path("/p"), 1004)  # type: ignore[operator]
    assert f"--kubeconfig=/p/{words[0]}.kubeconfig" in words
    assert "--bind-address=127.0.0.1" in words
    assert "--secure-port=1004" in words


def test_certificates_are_made_once_and_the_kubeconfigs_follow_the_port(tmp_path: Path) -> None:
    make_certificates(tmp_path, 1)
    before = (tmp_path / "apiserver.crt").read_bytes()
    make_certificates(tmp_path, 2)
    assert (tmp_path / "apiserver.crt").read_bytes() == before
    assert kubeconfig.access(tmp_path / "admin.kubeconfig").server == "https://127.0.0.1:2"
    assert (tmp_path / "service-account.pub").read_text().startswith("-----BEGIN PUBLIC KEY-----")


def test_a_creation_is_what_etcd_reads() -> None:
    """etcd's rpc.proto: TxnRequest{compare: [{target: MOD, key: "k", mod_revision: 0}], success: [{request_put: {key: "k", value: "v"}}]}."""
    assert (
        creation(b"k", b"v") == b"\x0a\x07\x10\x02\x1a\x01k\x30\x00" + b"\x12\x08\x12\x06\x0a\x01k\x12\x01v"
    )
