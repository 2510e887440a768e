"""A kubelet renews its certificates through the API: in time, for itself only, without closing anything, and quietly."""

from __future__ import annotations

import asyncio
import base64
import ssl
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from served import Client as Caller
from served import running

from tiphys.apiserver.authorization.reconcile import reconcile
from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.server import APIServer
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcessTransport
from tiphys.cluster import blueprint
from tiphys.cluster.components import Components
from tiphys.cluster.grants import grants
from tiphys.cluster.kubelet_process import access, certificate_managers, client_pair, serving_pair
from tiphys.cluster.kubelet_settings import KubeletSettings
from tiphys.cluster.layout import ClusterConfig
from tiphys.cluster.pki import LEAF_DAYS, Authority
from tiphys.controllers.catalog import Options
from tiphys.controllers.certificates.serving_approval import is_of_own_node
from tiphys.kubelet.certificate_metrics import CertificateMetrics
from tiphys.kubelet.certificates import (
    CLIENT_SIGNER,
    PATIENCE_SECONDS,
    SERVING_SIGNER,
    CertificateManager,
    Refused,
    Template,
    make_request,
    renewal_time,
    signing_request,
)
from tiphys.machinery.metrics import Registry
from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.net.tls import server_context, subject_of, validity_of
from tiphys.net.tls_files import Pair, WatchedFiles
from tiphys.testing.clock import FakeClock

NODE, ADDRESS = "node-1", "127.0.0.1"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNING, APPROVING = (f"certificatesigningrequest-{name}-controller" for name in ("signing", "approving"))
SERVING_APPROVING = "kubelet-serving-approving-controller"


@dataclass
class Place:
    """A node whose certificates are some days old, and the control plane beside it."""

    server: APIServer
    clock: FakeClock
    settings: KubeletSettings
    authority: Authority
    counted: Registry = field(default_factory=Registry)

    @property
    def managers(self) -> list[CertificateManager]:
        user, groups = f"system:node:{NODE}", ("system:nodes", "system:authenticated")
        client = Client(InProcessTransport(LocalAPI(self.server), user, groups))
        pairs = {"client": client_pair(self.settings), "server": serving_pair(self.settings)}
        counted = CertificateMetrics(self.counted, self.clock, **pairs)
        return certificate_managers(self.settings, client, self.clock, counted)

    @contextmanager
    def renewing(self) -> Iterator[None]:
        tasks = [asyncio.get_running_loop().create_task(each.run()) for each in self.managers]
        yield
        for task in tasks:
            task.cancel()

    async def requests(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await Caller(self.server).get(CSRS))["items"]
        return found

    def controllers(self, *names: str) -> Components:
        options = Options(
            signing_certificate_file=str(self.authority.certificate_file),
            signing_key_file=str(self.authority.key("ca")),
            nodes={NODE: ADDRESS},
        )
        return Components(LocalAPI(self.server), self.clock, options, list(names), scheduler=False)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with aged(tmp_path, 0.91) as made:
        yield made


@asynccontextmanager
async def aged(tmp_path: Path, part: float) -> AsyncIterator[Place]:
    """So much of the life of the node's certificates is over."""
    now = datetime.now(UTC)
    authority = Authority(tmp_path / "pki", now - timedelta(days=part * LEAF_DAYS))
    config = ClusterConfig("default", 1, "sqlite", "containerd", 6443, 1)
    leaves = [leaf for leaf in blueprint.leaves(config) if leaf.file.startswith("kubelet-")]
    authority.ensure(leaves)
    key = authority.ensure_signing_key("service-account").read_bytes()
    settings = KubeletSettings(
        node=NODE,
        nodes=[NODE],
        runtime="containerd",
        server="https://127.0.0.1:6443",
        pki=str(tmp_path / "pki"),
        certificate=f"kubelet-{NODE}",
        serving=f"kubelet-{NODE}-serving",
        address=ADDRESS,
        directory=str(tmp_path / "node"),
        cgroup="/t",
        images=str(tmp_path),
    )
    clock = FakeClock(now)
    async with running(clock, key) as server:
        await reconcile(server, grants())
        yield Place(server, clock, settings, authority)


def certificate(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


async def test_nothing_is_asked_for_before_70_percent_of_a_life_are_over(tmp_path: Path) -> None:
    async with aged(tmp_path, 0.68) as place:
        with place.renewing():
            await place.clock.advance(timedelta(days=0.01 * LEAF_DAYS).total_seconds())
            assert await place.requests() == []


async def test_both_are_renewed_when_their_time_has_come(place: Place) -> None:
    components = place.controllers(SIGNING, APPROVING, SERVING_APPROVING)
    components.start()
    with place.renewing():
        await place.clock.advance(1200)
        asked = await place.requests()
        await place.clock.advance(3600)
        assert len(await place.requests()) == len(asked) == 2, "once each, and then it is quiet"
    await components.stop()
    ends = {CLIENT_SIGNER: client_pair(place.settings), SERVING_SIGNER: serving_pair(place.settings)}
    for csr in asked:
        assert csr["metadata"]["name"].startswith("csr-")
        assert csr["spec"]["username"] == f"system:node:{NODE}"
        assert [each["reason"] for each in csr["status"]["conditions"]] == ["AutoApproved"]
        renewed = ends[csr["spec"]["signerName"]].renewed
        assert certificate(renewed) == x509.load_pem_x509_certificate(
            base64.b64decode(csr["status"]["certificate"])
        )
        assert stat.S_IMODE(Path(renewed).stat().st_mode) == 0o600
        assert stat.S_IMODE(Path(renewed).parent.stat().st_mode) == 0o700
    client, serving = (certificate(each.renewed) for each in ends.values())
    usage = x509.ExtendedKeyUsage
    assert list(client.extensions.get_extension_for_class(usage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert list(serving.extensions.get_extension_for_class(usage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    names = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [NODE, ADDRESS]
    assert access(place.settings).client_key == Path(ends[CLIENT_SIGNER].renewed).read_bytes()


async def test_a_kubelet_renews_what_its_configuration_says(place: Place) -> None:
    of = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    assert len(place.managers) == 2
    place.settings = replace(place.settings, configuration={**of, "serverTLSBootstrap": False})
    assert len(place.managers) == 1
    place.settings = replace(
        place.settings, configuration={**of, "rotateCertificates": False, "serverTLSBootstrap": False}
    )
    assert place.managers == []


async def test_the_listener_stays_and_shows_the_new_one(place: Place) -> None:
    pair = serving_pair(place.settings)
    context = server_context(*pair.current())
    files = WatchedFiles(context, pair)
    server = Server(lambda request: _answer(request), ssl_context=context)
    port = (await server.listen(host=ADDRESS, port=0)).port
    before = await _shown(port)
    components = place.controllers(SIGNING, SERVING_APPROVING)
    components.start()
    renewing = asyncio.get_running_loop().create_task(place.managers[1].renew())
    await place.clock.advance(20)
    await renewing
    assert files.look()
    assert not files.look()
    after = await _shown(port)
    assert after != before
    assert after == certificate(pair.renewed)
    await components.stop()
    # Whoever rotates all certificates by hand is believed: the younger one counts.
    Authority(Path(place.settings.pki), datetime.now(UTC)).renew(all_of_them=True)
    assert files.look()
    assert await _shown(port) == certificate(pair.cert_file)
    await server.shutdown(grace_seconds=0)


def _answer(request: Request) -> Response:
    return Response(200)


async def _shown(port: int) -> x509.Certificate:
    pem = await asyncio.to_thread(ssl.get_server_certificate, (ADDRESS, port))
    return x509.load_pem_x509_certificate(pem.encode())


async def test_what_is_denied_is_said_and_tried_again_later(place: Place) -> None:
    renewing = asyncio.get_running_loop().create_task(place.managers[1].renew())
    await place.clock.advance(0)
    (csr,) = await place.requests()
    denial = {"type": "Denied", "status": "True", "reason": "No", "message": "not you"}
    path = f"{CSRS}/{csr['metadata']['name']}/approval"
    await Caller(place.server).put(path, {**csr, "status": {"conditions": [denial]}})
    await place.clock.advance(20)
    with pytest.raises(Refused, match=r"csr-\w+ is denied \(No: not you\)"):
        await renewing
    assert not Path(serving_pair(place.settings).renewed).exists()


async def test_a_request_that_nobody_decides_about_is_given_up_and_not_repeated_in_a_storm(
    place: Place,
) -> None:
    with place.renewing():
        await place.clock.advance(4 * PATIENCE_SECONDS)
    page = place.counted.render().decode()
    for name in ("certificate_manager_client_expiration", "server_expiration"):
        assert int(page.partition(f"\nkubelet_{name}_renew_errors ")[2].split("\n")[0]) >= 2
    assert 4 <= len(await place.requests()) <= 10, "two managers, each with a request at a time"


def test_a_control_plane_leaves_the_nodes_certificates_to_them(tmp_path: Path) -> None:
    config = ClusterConfig("default", 1, "sqlite", "containerd", 6443, 1)
    now = datetime.now(UTC)
    Authority(tmp_path, now).ensure(blueprint.leaves(config))
    late = now + timedelta(days=LEAF_DAYS - 10)
    made = Authority(tmp_path, late).renew(spare="system:nodes")
    # The node's services have no certificate of the node.
    assert sorted(made) == ["admin", "apiserver", "apiserver-kubelet-client", "cluster-dns", "kube-proxy"]
    assert Authority(tmp_path, late).renew() == ["kubelet-node-1-serving", "kubelet-node-1"]
    serving = certificate(str(tmp_path / "kubelet-node-1-serving.crt"))
    usage = serving.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, (NODE, ADDRESS, "10.96.0.1")),
        ({}, ("kubernetes.default", ADDRESS)),
        ({"username": "system:node:node-2"}, (NODE, ADDRESS)),
        ({"username": "jane"}, (NODE, ADDRESS)),
        ({"groups": ["system:authenticated"]}, (NODE, ADDRESS)),
        ({"signerName": CLIENT_SIGNER}, (NODE, ADDRESS)),
        ({"usages": ["digital signature", "server auth", "client auth"]}, (NODE, ADDRESS)),
    ],
)
def test_what_is_not_approved_by_itself(change: dict[str, Any], names: tuple[str, ...]) -> None:
    asks = {"username": f"system:node:{NODE}", "groups": ["system:nodes", "system:authenticated"]}

    def csr(names: tuple[str, ...], **change: Any) -> dict[str, Any]:
        template = Template(SERVING_SIGNER, NODE, names)
        made = signing_request(template, make_request(template)[1])
        return {**made, "spec": {**made["spec"], **asks, **change}}

    nodes = {NODE: ADDRESS, "node-2": "10.0.0.2"}
    assert is_of_own_node(csr((NODE, ADDRESS)), nodes)
    assert not is_of_own_node(csr((NODE, ADDRESS)), {"node-2": ADDRESS})
    assert not is_of_own_node(csr(names, **change), nodes)


def test_renewals_are_spread_between_70_and_90_percent() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 11, tzinfo=UTC)
    days = [(renewal_time(start, end, Random(seed)) - start).days for seed in range(200)]
    assert min(days) == 70
    assert max(days) == 89


def test_the_life_of_a_certificate_is_read_without_a_library(tmp_path: Path) -> None:
    now = datetime(2049, 12, 31, 12, 30, 1, tzinfo=UTC)  # it ends in 2050, which is written in another form
    authority = Authority(tmp_path, now)
    authority.ensure([])
    text = authority.certificate_file.read_text()
    assert validity_of(text) == (now - timedelta(minutes=5), now + timedelta(days=3650))
    assert validity_of("some words before\n" + text)[0].year == 2049
    der = ssl.PEM_cert_to_DER_cert(text)
    assert subject_of(der).common_name == "kubernetes"
    with pytest.raises(ValueError, match="not a certificate"):
        validity_of("no certificate")


def test_of_two_pairs_the_younger_counts_and_a_missing_one_does_not(tmp_path: Path) -> None:
    given, key, renewed = (str(tmp_path / name) for name in ("a.crt", "a.key", "own.pem"))
    pair = Pair(given, key, renewed)
    Path(given).touch()
    assert pair.current() == (given, key)
    Path(renewed).touch()
    assert pair.current() == (renewed, renewed)
    assert Pair(given, key).current() == (given, key)
