"""Which kinds a server serves, asked of the server itself: for components that must treat all kinds alike."""

from __future__ import annotations

import asyncio
from typing import Any

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupResource, parse_api_version


class DiscoveryFailed(Exception):
    """Some groups did not answer (an aggregated API server is down). `found` are the kinds of the others."""

    def __init__(self, found: list[Resource], failures: dict[str, Exception]) -> None:
        texts = ", ".join(f"{group}: {error}" for group, error in sorted(failures.items()))
        super().__init__(f"unable to retrieve the complete list of server APIs: {texts}")
        self.found = found
        self.failures = failures


async def preferred_resources(client: Client, scheme: Scheme) -> list[Resource]:
    """Every resource once, in its group's preferred version: the scheme's row for a kind it knows, else one made up.

    Raises DiscoveryFailed when some groups fail, and what the transport raises when all do.
    """
    versions = await group_versions(client)
    answers = await asyncio.gather(
        *(_resources(client, version) for version in versions), return_exceptions=True
    )
    found: dict[GroupResource, Resource] = {}
    failures: dict[str, Exception] = {}
    for version, answer in zip(versions, answers, strict=True):
        if isinstance(answer, Exception):
            failures[version] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            for entry in answer:
                row = _row(version, entry, scheme)
                found.setdefault(row.group_resource, row)
    if failures:
        raise DiscoveryFailed(list(found.values()), failures)
    return list(found.values())


async def group_versions(client: Client) -> list[str]:
    """ "v1", "apps/v1"…: groups in the server's order, in each the preferred version first."""
    legacy = await client.transport.request("GET", "/api")
    groups = await client.transport.request("GET", "/apis")
    versions = list(legacy.get("versions") or ())
    for group in groups.get("groups") or ():
        preferred = (group.get("preferredVersion") or {}).get("groupVersion")
        named = [version["groupVersion"] for version in group.get("versions") or ()]
        versions += sorted(named, key=lambda version: version != preferred)
    return versions


async def _resources(client: Client, version: str) -> list[dict[str, Any]]:
    path = f"/apis/{version}" if "/" in version else f"/api/{version}"
    try:
        answer = await client.transport.request("GET", path)
    except StatusError as error:
        if error.code == 404:
            # The group went away between the two questions.
            return []
        raise
    return [entry for entry in answer.get("resources") or () if "/" not in entry["name"]]


def _row(version: str, entry: dict[str, Any], scheme: Scheme) -> Resource:
    parsed = parse_api_version(version)
    known = scheme.by_resource(parsed.group, parsed.version, entry["name"])
    if known is not None:
        return known
    return Resource(
        group=parsed.group,
        version=parsed.version,
        kind=entry["kind"],
        plural=entry["name"],
        singular=entry.get("singularName") or "",
        namespaced=bool(entry.get("namespaced")),
        verbs=tuple(entry.get("verbs") or ()),
    )
