"""The control plane's process: API server, scheduler and controllers in one event loop over one copy of the cluster's state.

Started by the supervisor with the path of a settings file, ended by SIGTERM: watches end cleanly, the leases are left, the
store is closed. Components that run here get an in-process transport; that is chosen here and nowhere else.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from tiphys.api.scheme import OPTIONAL_GROUPS
from tiphys.apiserver import flags
from tiphys.apiserver.aggregation.identity import FrontProxy
from tiphys.apiserver.authorization.reconcile import reconcile
from tiphys.apiserver.bootstrap import bootstrap, publish_authentication_config
from tiphys.apiserver.config_reloads import server_identity
from tiphys.apiserver.identity_lease import IdentityLease
from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.pipeline import too_large
from tiphys.apiserver.server import BODY_LIMIT_BYTES, APIServer
from tiphys.apiserver.service_accounts import legacy_claims
from tiphys.apiserver.service_dialer import Connect
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcessTransport
from tiphys.cluster.blueprint import FRONT_PROXY, SEGMENT_PORT
from tiphys.cluster.cluster_info import publish
from tiphys.cluster.components import Components
from tiphys.cluster.control_plane_settings import ControlPlaneSettings
from tiphys.cluster.grants import grants
from tiphys.cluster.process_metrics import ProcessMetrics
from tiphys.cluster.running_certificates import RunningCertificates
from tiphys.controllers.catalog import Options
from tiphys.machinery.clock import SystemClock
from tiphys.machinery.metrics import Registry
from tiphys.net.client import HTTPClient
from tiphys.net.dial import dial
from tiphys.net.server import Server
from tiphys.store.interface import Store, StoreError

log = logging.getLogger("tiphys")


def open_store(settings: ControlPlaneSettings) -> Store:
    """The store that the settings name. Raises StoreError with a cure."""
    if not settings.database:
        from tiphys.store.memory import MemoryStore

        return MemoryStore(after=int(SystemClock().now().timestamp() * 1_000_000))
    from tiphys.store.sqlite import SQLiteStore

    Path(settings.database).parent.mkdir(parents=True, exist_ok=True)
    return SQLiteStore(settings.database)


def kubelet_clients(
    settings: ControlPlaneSettings, context: ssl.SSLContext
) -> Callable[[str, str, int], HTTPClient]:
    """Clients for kubelets, one for each address, with the API server's own client certificate."""
    clients: dict[tuple[str, int], HTTPClient] = {}

    def client(node: str, host: str, port: int) -> HTTPClient:
        del node
        known = clients.get((host, port))
        if known is None:
            known = clients[host, port] = HTTPClient(
                f"https://{host}:{port}", ssl_context=context, dial=_dialer(settings, host, port)
            )
        return known

    return client


def _dialer(
    settings: ControlPlaneSettings, host: str, port: int
) -> Callable[[], asyncio.Future[socket.socket]] | None:
    if not settings.segment_namespace:
        return None
    from tiphys.kubelet.runtimes.network_namespace import connect

    namespace = Path(settings.segment_namespace)
    return lambda: connect(namespace, host, port)  # type: ignore[return-value]


def cluster_connect(settings: ControlPlaneSettings) -> Connect:
    """How the API server connects to what Services stand for: pods and nodes through the segment, the world as it is."""
    if not settings.segment_namespace:
        return dial
    from tiphys.kubelet.runtimes.network_namespace import connect

    namespace = Path(settings.segment_namespace)
    nodes = ipaddress.ip_network(f"{settings.segment_address}/24", strict=False)
    networks = (nodes, ipaddress.ip_network(settings.cluster_cidr))

    async def connect_to(host: str, port: int) -> socket.socket:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return await dial(host, port)
        if any(address in network for network in networks):
            return await connect(namespace, host, port)
        return await dial(host, port)

    return connect_to


def front_proxy(settings: ControlPlaneSettings) -> FrontProxy | None:
    """The API server's identity towards extension API servers, if it has been given one."""
    pki = Path(settings.pki, "front-proxy")
    if not pki.exists():
        return None
    certificate, key = (pki / f"{FRONT_PROXY}.{kind}" for kind in ("crt", "key"))
    return FrontProxy(certificate.read_bytes(), key.read_bytes(), (pki / "ca.crt").read_bytes())


class ControlPlane:
    """Everything in this process, in the order in which it is started."""

    def __init__(self, settings: ControlPlaneSettings) -> None:
        self._settings = settings
        # One process, one registry: every component's metrics are served by the API server.
        self._metrics = Registry()
        ProcessMetrics(self._metrics, Path("/proc/self"))

    async def run(self, stop: asyncio.Event) -> None:
        settings = self._settings
        store = open_store(settings)
        signing_key = Path(settings.pki, "service-account.key").read_bytes()
        server_settings = flags.apply(
            Settings(
                signing_key,
                service_cidr=settings.service_cidr,
                front_proxy=front_proxy(settings),
                optional_groups=OPTIONAL_GROUPS,
                client_ca=Path(settings.pki, "ca.crt").read_bytes(),
                identity=server_identity(socket.gethostname()),
            ),
            settings.apiserver_args,
        )
        certificates = RunningCertificates(Path(settings.pki), SystemClock())
        apiserver = APIServer(
            store,
            server_settings,
            metrics=self._metrics,
            kubelet_client=kubelet_clients(settings, certificates.for_kubelets()),
            connect=cluster_connect(settings),
        )
        listener = Server(
            apiserver.handle,
            ssl_context=certificates.for_clients(server_settings.requestheader_client_ca_file),
            body_limit_bytes=BODY_LIMIT_BYTES,
            on_too_large=too_large,
        )
        port = await self._listen(listener)
        apiserver.advertised = f"{settings.segment_address or settings.host}:{port}"
        apiserver.start()
        apiserver.spawn(certificates.follow())
        await bootstrap(apiserver, endpoint_host=settings.segment_address, endpoint_port=SEGMENT_PORT)
        apiserver.spawn(IdentityLease(apiserver, socket.gethostname()).run())
        await reconcile(apiserver, grants(settings.simulated_nodes))
        await self._publish_cluster_facts(apiserver)
        components = self._components(apiserver)
        components.start()
        certificates.followers.append(partial(self._exchange_authorities, apiserver, components))
        _publish_port(Path(settings.port_file), port)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        await stop.wait()
        await apiserver.drain()
        await components.stop()
        await apiserver.close()
        await listener.shutdown(grace_seconds=2.0)
        await store.close()

    async def _listen(self, listener: Server) -> int:
        settings = self._settings
        port = (await listener.listen(host=settings.host, port=settings.port)).port
        if settings.segment_namespace:
            from tiphys.kubelet.runtimes.network_namespace import listen

            await listener.listen(
                sock=listen(Path(settings.segment_namespace), settings.segment_address, SEGMENT_PORT)
            )
        return port

    async def _publish_cluster_facts(self, apiserver: APIServer) -> None:
        """For those who join: at an address that other machines reach, where there is one. And where names are known."""
        settings = self._settings
        segment = f"{settings.segment_address}:{SEGMENT_PORT}"
        server = f"https://{segment if settings.segment_address else apiserver.advertised}"
        administrator = InProcessTransport(LocalAPI(apiserver), "kubernetes-admin", ("system:masters",))
        client = Client(administrator)
        await publish(client, server, Path(settings.pki, "ca.crt").read_text())
        if settings.nodes:
            from tiphys.cluster import dns_service

            await dns_service.publish(client, settings.nodes)

    async def _exchange_authorities(self, apiserver: APIServer, components: Components) -> None:
        """Tells of another authority wherever in the cluster its certificate stands."""
        pki = Path(self._settings.pki)
        apiserver.take_identities((pki / "ca.crt").read_bytes(), front_proxy(self._settings))
        await publish_authentication_config(apiserver)
        await self._publish_cluster_facts(apiserver)
        await components.exchange_authority((pki / "ca.crt").read_text())

    def _components(self, apiserver: APIServer) -> Components:
        settings = self._settings
        options = Options(
            root_ca=Path(settings.pki, "ca.crt").read_text(),
            cluster_cidr=settings.cluster_cidr,
            signing_certificate_file=f"{settings.pki}/ca.crt",
            signing_key_file=f"{settings.pki}/ca.key",
            nodes=settings.nodes,
            token=lambda account, secret: apiserver.signer.sign(legacy_claims(account, secret)),
        )
        return Components(
            LocalAPI(apiserver),
            SystemClock(),
            options,
            settings.controllers.split(","),
            metrics=self._metrics,
            identity=f"{socket.gethostname()}_{uuid5(NAMESPACE_URL, settings.pki)}",
        )


def _publish_port(path: Path, port: int) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_text(str(port))
    unfinished.replace(path)


async def _main(settings: ControlPlaneSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await ControlPlane(settings).run(stop)


def main() -> None:
    """python -m tiphys.cluster.control_plane SETTINGS"""
    logging.basicConfig(
        level=os.environ.get("TIPHYS_LOG", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    settings = ControlPlaneSettings.read(Path(sys.argv[1]))
    import uvloop

    try:
        uvloop.run(_main(settings))
    except (StoreError, ConfigurationError, flags.FlagError) as error:
        sys.exit(f"tiphys: {error}")


if __name__ == "__main__":
    main()
