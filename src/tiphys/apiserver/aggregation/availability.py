"""Whether the server of an APIService is there: the condition Available, its reasons and its words.

As upstream's remote available controller: first what the cluster's objects say, then a question to the server itself.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Literal

from tiphys.api.resource import Object
from tiphys.apiserver.aggregation.identity import AGGREGATOR, identity_headers
from tiphys.apiserver.relay import describe
from tiphys.apiserver.service_dialer import (
    ServiceDialer,
    ServiceNotFound,
    is_ready,
    port_name_of,
)
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupVersion
from tiphys.machinery.meta import format_time
from tiphys.machinery.quoting import quote
from tiphys.net.client import HTTPClient, HTTPClientError

PROBES = 5
"""So many ask at once, for a Service may have several endpoints of which some are gone; one that is answered is enough."""
PROBE_TIMEOUT_SECONDS = 5.0


@frozen
class Finding:
    """What the condition shall say."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


LOCAL = Finding("True", "Local", "Local APIServices are always available")
PASSED = Finding("True", "Passed", "all checks passed")


def look(reference: Object, dialer: ServiceDialer) -> Finding | None:
    """What is wrong with the Service of an APIService (its `spec.service`) by what objects say; None: nothing is."""
    namespace, name, port = reference["namespace"], reference["name"], reference.get("port") or 443
    where = f"service/{name} in {quote(namespace)}"
    try:
        service = dialer.service(namespace, name)
    except ServiceNotFound:
        return Finding("False", "ServiceNotFound", f"{where} is not present")
    if (service["spec"].get("type") or "ClusterIP") != "ClusterIP":
        return None
    port_name = port_name_of(service, port)
    if port_name is None:
        return Finding("False", "ServicePortError", f"{where} is not listening on port {port}")
    slices = dialer.slices(namespace, name)
    if not slices:
        return Finding("False", "EndpointsNotFound", f"cannot find endpointslices for {where}")
    if not any(_serves(each, port_name) for each in slices):
        message = f"endpointslices for {where} have no addresses with port name {quote(port_name)}"
        return Finding("False", "MissingEndpoints", message)
    return None


def _serves(endpoint_slice: Object, port_name: str) -> bool:
    ports = endpoint_slice.get("ports") or ()
    return any(map(is_ready, endpoint_slice.get("endpoints") or ())) and any(
        (port.get("name") or "") == port_name and port.get("port") for port in ports
    )


def path_of(version: GroupVersion) -> str:
    return f"/apis/{version}" if version.group else f"/api/{version.version}"


async def probe(client: HTTPClient, address: str, version: GroupVersion) -> Finding:
    """Asks the server for what every API server must have. `address`: how it is called in messages."""
    url = f"https://{address}{path_of(version)}"
    tasks = [asyncio.ensure_future(_ask(client, url, path_of(version))) for _ in range(PROBES)]
    problem = ""
    try:
        for done in asyncio.as_completed(tasks):
            problem = await done
            if not problem:
                return PASSED
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Finding("False", "FailedDiscoveryCheck", f"failing or missing response from {url}: {problem}")


async def _ask(client: HTTPClient, url: str, path: str) -> str:
    """What is wrong with the answer; "" when nothing is."""
    headers = identity_headers(AGGREGATOR)
    try:
        answer = await client.request("GET", path, headers, timeout_seconds=PROBE_TIMEOUT_SECONDS)
    except HTTPClientError as error:
        return f"Get {quote(url)}: {describe(error)}"
    if 200 <= answer.status < 300:
        return ""
    return f"bad status from {url}: {answer.status}"


def with_finding(service: Object, finding: Finding, now: datetime) -> Object | None:
    """The status that says so; None when it says so already. The time is that of the last change of status."""
    conditions: list[Object] = list((service.get("status") or {}).get("conditions") or ())
    old: Object = next((each for each in conditions if each.get("type") == "Available"), {})
    changed = old.get("status") != finding.status
    new = {
        "type": "Available",
        "status": finding.status,
        "lastTransitionTime": format_time(now) if changed else old.get("lastTransitionTime"),
        "reason": finding.reason,
        "message": finding.message,
    }
    if new == old:
        return None
    merged = [new if each is old else each for each in conditions] if old else [*conditions, new]
    return {**(service.get("status") or {}), "conditions": merged}
