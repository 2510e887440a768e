"""metrics.k8s.io/v1beta1, served in this process: what `kubectl top` and autoscalers ask for (KEP-118). Words are metrics-server's.

A metrics-server that somebody installs comes first: its APIService names a Service, and then requests go there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tiphys.api.resource import Object
from tiphys.apiserver.call import Call
from tiphys.apiserver.records import Record, encode_stored
from tiphys.apiserver.selection import read_selection
from tiphys.apiserver.subresources.kubelets import address_of
from tiphys.apiserver.usage.readings import NodeReading, node_metrics, pod_metrics
from tiphys.apiserver.usage.scraper import Kubelet, Scraper
from tiphys.apiserver.views import ListMeta, many
from tiphys.machinery import errors, meta
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupResource
from tiphys.net.http import Response

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

_NODES, _PODS = GroupResource("", "nodes"), GroupResource("", "pods")
_NODE_METRICS = GroupResource("metrics.k8s.io", "nodemetrics")
_POD_METRICS = GroupResource("metrics.k8s.io", "podmetrics")


def scraper(server: APIServer) -> Scraper:
    """Of the nodes of the server's cluster."""

    def kubelets() -> Iterator[Kubelet]:
        for record in server.writes.cache("", "nodes").records.values():
            status = record.object.get("status") or {}
            try:
                found = address_of(record.name, status)
            except StatusError:
                continue
            client = server.kubelet_client(found.node, found.host, found.port)
            yield Kubelet(found.node, client, meta.is_condition_true(status.get("conditions") or (), "Ready"))

    return Scraper(kubelets, server.clock, server.spawn)


async def usage_of_nodes(call: Call) -> Response:
    server, name = call.server, _name(call)
    nodes = server.writes.cache("", "nodes")
    if name and nodes.get("", name) is None:
        raise errors.not_found(_NODES, name)
    selection = read_selection(call.row, call.request.query, name)
    found = [
        record for record in nodes.records.values() if selection.matches is None or selection.matches(record)
    ]
    await server.usage.want([record.name for record in found], lambda node, reading: True)
    now, objects = server.clock.now(), []
    for record in found:
        reading = server.usage.reading(record.name)
        obj = node_metrics(record.object, reading, now) if reading is not None else None
        if obj is not None:
            objects.append(obj)
    if name and not objects:
        raise errors.not_found(_NODE_METRICS, name)
    return _answer(call, objects)


async def usage_of_pods(call: Call) -> Response:
    server, namespace, name = call.server, call.info.namespace, _name(call)
    pods = server.writes.cache("", "pods")
    if name and pods.get(namespace, name) is None:
        raise errors.not_found(_PODS, name)
    selection = read_selection(call.row, call.request.query, name)
    found = [
        record
        for record in pods.records.values()
        if namespace in ("", record.namespace)
        and (selection.matches is None or selection.matches(record))
        and _runs(record.object)
    ]
    by_node: dict[str, list[Record]] = {}
    for record in found:
        by_node.setdefault(record.object["spec"]["nodeName"], []).append(record)

    def is_known(node: str, reading: NodeReading) -> bool:
        return all((record.namespace, record.name) in reading.pods for record in by_node[node])

    await server.usage.want(by_node, is_known)
    now, objects = server.clock.now(), []
    for record in found:
        reading = server.usage.reading(record.object["spec"]["nodeName"])
        obj = pod_metrics(record.object, reading, now) if reading is not None else None
        if obj is not None:
            objects.append(obj)
    if name and not objects:
        raise errors.not_found(_POD_METRICS, f"{namespace}/{name}")
    return _answer(call, objects)


def _name(call: Call) -> str:
    """Of the one that is asked for; a list has one, too, when its selector names it."""
    return call.info.name if call.info.verb == "get" else ""


def _runs(pod: Object) -> bool:
    status = pod.get("status") or {}
    return status.get("phase") == "Running" and bool((pod.get("spec") or {}).get("nodeName"))


def _answer(call: Call, objects: list[Object]) -> Response:
    records = [
        Record(meta.name(obj), meta.namespace(obj), meta.name(obj), 0, encode_stored(obj)) for obj in objects
    ]
    view = call.server.reads.view(call)
    headers = [("content-type", view.content_type)]
    if call.info.verb == "list":
        return Response(200, headers, many(view, records, ListMeta(0)))
    return Response(200, headers, view.one(records[0]))
