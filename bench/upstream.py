"""Upstream's control plane on this machine, from the binaries on PATH: what our figures are printed beside.

Each program has a directory and a port of its own on loopback; certificates are made as ours are. The command lines are what kubeadm
would write, as far as a control plane without nodes needs it; they are pure, so that they can be read and tested where the
binaries are not to be had.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from bench.processes import Started, free_port, started, status_of
from tiphys.client import kubeconfig
from tiphys.cluster.pki import Authority, Leaf

SERVER_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "localhost",
    "127.0.0.1",
    "10.96.0.1",
)
LEAVES = (
    Leaf("apiserver", "kube-apiserver", names=SERVER_NAMES),
    Leaf("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
    Leaf("admin", "kubernetes-admin", ("system:masters",)),
    Leaf("kube-scheduler", "system:kube-scheduler"),
    Leaf("kube-controller-manager", "system:kube-controller-manager"),
)
CLIENTS = ("admin", "kube-scheduler", "kube-controller-manager")


@dataclass(frozen=True, slots=True)
class EtcdPlace:
    directory: Path
    client_port: int
    peer_port: int


def etcd_command(place: EtcdPlace) -> list[str]:
    """One member, every write synced: its defaults."""
    client, peer = (f"http://127.0.0.1:{port}" for port in (place.client_port, place.peer_port))
    return [
        "etcd",
        "--name=bench",
        f"--data-dir={place.directory / 'data'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=bench={peer}",
        "--logger=zap",
        "--log-level=warn",
    ]


def apiserver_command(pki: Path, port: int, etcd_port: int) -> list[str]:
    """Service accounts are not asked for of pods: nobody makes them where no controller manager runs."""
    return [
        "kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={pki}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=Node,RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        "--allow-privileged=true",
    ]


def scheduler_command(pki: Path, port: int) -> list[str]:
    config = pki / "kube-scheduler.kubeconfig"
    return [
        "kube-scheduler",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=true",
    ]


def controller_manager_command(pki: Path, port: int) -> list[str]:
    config = pki / "kube-controller-manager.kubeconfig"
    return [
        "kube-controller-manager",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={pki}",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=true",
    ]


class Upstream:
    """etcd and kube-apiserver once for the requests; others for as long as a row needs them."""

    name = "upstream"

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._stack = ExitStack()

    @contextmanager
    def etcd(self, directory: Path) -> Iterator[Started]:
        """Answering, over whatever was stored last time."""
        directory.mkdir(parents=True, exist_ok=True)
        place = EtcdPlace(directory, free_port(), free_port())
        with started("etcd", etcd_command(place), directory, place.client_port) as process:
            process.wait_for(lambda: status_of(place.client_port, "/health") == 200)
            yield process

    @contextmanager
    def apiserver(self, etcd_port: int, port: int) -> Iterator[Started]:
        """Just started; whose certificates are in scratch/pki."""
        make_certificates(self._pki, port)
        command = apiserver_command(self._pki, port, etcd_port)
        with started("kube-apiserver", command, self.scratch, port) as process:
            yield process

    @contextmanager
    def control_plane(self) -> Iterator[dict[str, int]]:
        """Pids of one that has nothing to do: of all of it that is on PATH."""
        with ExitStack() as stack:
            etcd = stack.enter_context(self.etcd(self.scratch / "idle"))
            apiserver = stack.enter_context(self.apiserver(etcd.port, free_port()))
            apiserver.wait_for_readyz()
            pids = {"etcd": etcd.pid, "kube-apiserver": apiserver.pid}
            for command in (
                scheduler_command(self._pki, free_port()),
                controller_manager_command(self._pki, free_port()),
            ):
                if shutil.which(command[0]):
                    process = stack.enter_context(started(command[0], command, self.scratch, 0))
                    pids[command[0]] = process.pid
            yield pids

    @cached_property
    def kubeconfig(self) -> Path:
        """Of the API server that requests go to; it is there from now on."""
        etcd = self._stack.enter_context(self.etcd(self.scratch / "requests"))
        apiserver = self._stack.enter_context(self.apiserver(etcd.port, free_port()))
        apiserver.wait_for_readyz()
        # A start makes the files of its own port: these connections keep theirs.
        kept = self.scratch / "requests" / "kubeconfig"
        kept.write_bytes((self._pki / "admin.kubeconfig").read_bytes())
        return kept

    @property
    def _pki(self) -> Path:
        return self.scratch / "pki"

    def close(self) -> None:
        self._stack.close()


def make_certificates(pki: Path, port: int) -> None:
    """Certificates, unless they are there, and a kubeconfig for every client of the API server at this port."""
    from cryptography.hazmat.primitives import serialization

    authority = Authority(pki, datetime.now(UTC))
    authority.ensure(LEAVES)
    key = serialization.load_pem_private_key(
        authority.ensure_signing_key("service-account").read_bytes(), None
    )
    (pki / "service-account.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    for client in CLIENTS:
        access = kubeconfig.Access(
            server=f"https://127.0.0.1:{port}",
            certificate_authority=authority.certificate_file.read_bytes(),
            client_certificate=authority.certificate(client).read_bytes(),
            client_key=authority.key(client).read_bytes(),
        )
        kubeconfig.save(pki / f"{client}.kubeconfig", kubeconfig.make(client, access))
