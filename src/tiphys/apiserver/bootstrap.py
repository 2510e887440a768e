"""What is there before anybody asks: namespaces, priority classes, the API server's own Service, the APIServices of its groups.

Run once after every start and harmless to repeat: what exists is left as it is.
"""

from __future__ import annotations

from typing import Any

from tiphys.apiserver.aggregation.identity import CONFIG_MAP, authentication_config
from tiphys.apiserver.authorization.reconcile import reconcile
from tiphys.apiserver.server import APIServer
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_already_exists

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_PRIORITY_CLASSES = (
    ("system-cluster-critical", 2000000000, "For pods that the cluster needs, on whichever node they run."),
    ("system-node-critical", 2000001000, "For pods that a node needs and that must not be moved from it."),
)


async def bootstrap(server: APIServer, *, endpoint_host: str = "", endpoint_port: int = 0) -> None:
    """Creates what is missing. `endpoint_*`: where pods reach this API server behind the `kubernetes` Service, if they can."""
    for name in NAMESPACES:
        await _ensure(server, "", "v1", "namespaces", {"metadata": {"name": name}})
    await reconcile(server)
    for name, value, description in _PRIORITY_CLASSES:
        await _ensure(
            server,
            "scheduling.k8s.io",
            "v1",
            "priorityclasses",
            {"metadata": {"name": name}, "value": value, "description": description},
        )
    if server.upkeep is not None:
        await server.upkeep.maintain()
    await _ensure_service_network(server)
    await _ensure(server, "", "v1", "services", _service(server), "default")
    await server.addresses.repair()
    server.addresses.start()
    await server.aggregator.registration.sync()
    await server.token_tracking.start()
    await publish_authentication_config(server)
    if endpoint_host:
        await _publish_endpoint(server, endpoint_host, endpoint_port)
    server.bootstrapped = True


async def publish_authentication_config(server: APIServer) -> None:
    """For extension servers: whom this server believes. Again, when that has changed."""
    config = authentication_config(server.settings)
    if config:
        made = {"metadata": {"name": CONFIG_MAP}, "data": config}
        await _replace(server, "", "configmaps", made, "kube-system")


async def _ensure(
    server: APIServer, group: str, version: str, plural: str, obj: dict[str, Any], namespace: str = ""
) -> None:
    row = server.scheme.by_resource(group, version, plural)
    assert row is not None
    if server.writes.cache(group, plural).get(namespace, obj["metadata"]["name"]) is not None:
        return
    call = server.internal_call(row, namespace, "")
    try:
        await server.writes.create(call, {"kind": row.kind, "apiVersion": row.api_version, **obj})
    except StatusError as error:
        if not is_already_exists(error):
            raise


async def _ensure_service_network(server: APIServer) -> None:
    """The ServiceCIDR of the server's own network. It is ready from the start: the first Services cannot wait."""
    group, plural = "networking.k8s.io", "servicecidrs"
    spec = {"cidrs": [str(server.service_network)]}
    await _ensure(server, group, "v1", plural, {"metadata": {"name": "kubernetes"}, "spec": spec})
    row = server.scheme.by_resource(group, "v1", plural)
    assert row is not None
    call = server.internal_call(row, "", "kubernetes", subresource="status")

    def ready(old: dict[str, Any]) -> dict[str, Any]:
        if meta.find_condition(meta.conditions(old), "Ready") is not None:
            return old
        message = "Kubernetes default Service CIDR is ready"
        condition = {"type": "Ready", "status": "True", "reason": "", "message": message}
        condition["lastTransitionTime"] = meta.format_time(server.clock.now())
        return {**old, "status": {"conditions": [condition]}}

    await server.writes.update(call, ready)


def _service(server: APIServer) -> dict[str, Any]:
    address = str(server.service_network.network_address + 1)
    return {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }


async def _publish_endpoint(server: APIServer, host: str, port: int) -> None:
    """Endpoints and EndpointSlice of the `kubernetes` Service; they follow when the address changes."""
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    await _replace(
        server,
        "",
        "endpoints",
        {
            "metadata": {"name": "kubernetes", "labels": labels},
            "subsets": [{"addresses": [{"ip": host}], "ports": ports}],
        },
    )
    await _replace(
        server,
        "discovery.k8s.io",
        "endpointslices",
        {
            "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
            "ports": ports,
        },
    )


async def _replace(
    server: APIServer, group: str, plural: str, obj: dict[str, Any], namespace: str = "default"
) -> None:
    await _ensure(server, group, "v1", plural, obj, namespace)
    row = server.scheme.by_resource(group, "v1", plural)
    assert row is not None
    call = server.internal_call(row, namespace, obj["metadata"]["name"])
    wanted = {name: value for name, value in obj.items() if name != "metadata"}
    await server.writes.update(call, lambda old: {**old, **wanted})
