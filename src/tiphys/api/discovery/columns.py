"""Printed columns of endpoint slices. Names, order and cells are upstream's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tiphys.api.columns import AGE, NAME, UNSET, age, list_with_more
from tiphys.api.resource import Column, Object, Table
from tiphys.machinery.meta import name


def _cells(obj: Object, now: datetime) -> list[Any]:
    ports = [_port(port) for port in obj.get("ports") or ()]
    addresses = [
        address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()
    ]
    return [
        name(obj),
        obj.get("addressType") or "",
        list_with_more(ports) or UNSET,
        list_with_more(addresses) or UNSET,
        age(obj, now),
    ]


def _port(port: Object) -> str:
    """Its number, or its name, or all."""
    number = port.get("port")
    return str(number) if number is not None else port.get("name") or "*"


ENDPOINT_SLICE = Table(
    (
        NAME,
        Column("AddressType", description="Kind of the addresses."),
        Column("Ports", description="Ports of each endpoint."),
        Column("Endpoints", description="Addresses of the endpoints."),
        AGE,
    ),
    _cells,
)
