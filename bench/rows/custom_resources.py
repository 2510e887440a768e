"""Kinds that are made at run time: how soon one can be used, and what many of them cost."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.cluster import Ours
from bench.processes import Started, resident_mib
from bench.table import Figure, NotMeasured, Row, once
from tiphys.net.tls import client_context

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "bench.example.com"
MANY = 500
USES = 20
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
SETTLE_SECONDS = 8.0
PATIENCE_SECONDS = 30.0

Object = dict[str, Any]


class API:
    """One connection of an administrator."""

    def __init__(self, process: Started) -> None:
        pki = process.directory / "pki"
        context = client_context(
            ca_file=str(pki / "ca.crt"),
            cert_file=str(pki / "admin.crt"),
            key_file=str(pki / "admin.key"),
            alpn=("http/1.1",),
        )
        self._connection = http.client.HTTPSConnection("127.0.0.1", process.port, context=context)

    def ask(
        self, method: str, path: str, body: Object | None = None, accept: str = "application/json"
    ) -> tuple[int, bytes]:
        headers = {"accept": accept, "content-type": "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


@contextmanager
def api(ours: Ours) -> Iterator[tuple[Started, API]]:
    with ours.apiserver() as process:
        process.wait_for_readyz()
        connection = API(process)
        try:
            yield process, connection
        finally:
            connection.close()


def field(depth: int) -> Object:
    """A schema of the size that operators have: some ten kB."""
    if depth == 0:
        return {"type": "string", "description": "One of many fields, with a sentence about what it is for."}
    fields = {f"field{number}": field(depth - 1) for number in range(5)}
    return {"type": "object", "description": "A part of what is wanted.", "properties": fields}


def definition(number: int) -> Object:
    plural, kind = f"things{number}", f"Thing{number}"
    schema = {"type": "object", "properties": {"spec": field(3), "status": field(1)}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [version],
        },
    }


def make(connection: API, number: int) -> float:
    """Seconds from sending a definition until its kind is served."""
    path = f"/apis/{GROUP}/v1/namespaces/default/things{number}"
    begun = time.perf_counter()
    status, body = connection.ask("POST", DEFINITIONS, definition(number))
    if status != 201:
        raise NotMeasured(body.decode()[:300])
    while connection.ask("GET", path)[0] != 200:
        if time.perf_counter() - begun > PATIENCE_SECONDS:
            raise NotMeasured("a kind cannot be used")
    return time.perf_counter() - begun


@once
def many(ours: Ours) -> tuple[float, float, float]:
    """(seconds until a kind can be used, MiB that many add, seconds of the first discovery after one more)"""
    with api(ours) as (process, connection):
        uses = [make(connection, number) for number in range(USES)]
        time.sleep(SETTLE_SECONDS)
        before = resident_mib(process.pid)
        for number in range(USES, USES + MANY):
            make(connection, number)
        time.sleep(SETTLE_SECONDS)
        added = resident_mib(process.pid) - before
        make(connection, USES + MANY)
        begun = time.perf_counter()
        status, _ = connection.ask("GET", "/apis", accept=AGGREGATED)
        if status != 200:
            raise NotMeasured("there is no discovery")
        return statistics.median(uses), added, time.perf_counter() - begun


@once
def restarted(ours: Ours) -> float:
    """Seconds until a server is ready that has them all in its store."""
    many(ours)
    with ours.apiserver() as process:
        return process.wait_for_readyz()


ROWS = [
    Row("new kind: usable after", "ms", lambda ours: Figure(many(ours)[0] * 1e3), goal=200),
    Row(f"{MANY} new kinds: memory", "MiB", lambda ours: Figure(many(ours)[1]), goal=150),
    Row(
        f"{MANY} new kinds: discovery after one more",
        "ms",
        lambda ours: Figure(many(ours)[2] * 1e3),
        goal=50,
    ),
    Row(f"{MANY} new kinds: start to ready", "s", lambda ours: Figure(restarted(ours))),
]
