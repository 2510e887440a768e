"""Which documents of v3 there are, and which operations stand in each: those of rows, and those that no row has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.apiserver.negotiation import SERVED
from tiphys.apiserver.openapi.operations import (
    JSON_ONLY,
    STRING,
    Operation,
    camel_group,
    resource_operations,
    tag_of,
)
from tiphys.machinery.gvk import GroupVersion

# What is no resource


def _looking(
    path: str, identifier: str, tag: str, description: str, answer: str, *, consumes: tuple[str, ...] = SERVED
) -> Operation:
    return Operation(
        path=path,
        method="get",
        identifier=identifier,
        tag=tag,
        description=description,
        consumes=consumes,
        produces=consumes or JSON_ONLY,
        responses={200: answer, 401: ""},
    )


def group_operation(group: str) -> Operation:
    """Of /apis/{group}/."""
    identifier = f"get{camel_group(group)}APIGroup"
    return _looking(
        f"/apis/{group}/", identifier, tag_of(group), "Tell the versions of a group.", "meta/v1.APIGroup"
    )


def version_operation(group: str, version: str) -> Operation:
    """Of /api/v1/ and /apis/{group}/{version}/."""
    path = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
    identifier = f"get{camel_group(group)}{version[:1].upper()}{version[1:]}APIResources"
    return _looking(
        path,
        identifier,
        tag_of(group, version),
        "Tell the resources of a version.",
        "meta/v1.APIResourceList",
    )


FIXED: Mapping[str, tuple[Operation, ...]] = {
    "api": (
        _looking(
            "/api/",
            "getCoreAPIVersions",
            "core",
            "Tell the versions of the core group.",
            "meta/v1.APIVersions",
        ),
    ),
    "apis": (_looking("/apis/", "getAPIVersions", "apis", "Tell the groups.", "meta/v1.APIGroupList"),),
    "version": (
        _looking(
            "/version/",
            "getCodeVersion",
            "version",
            "Tell the server's version.",
            "meta/v1.Info",
            consumes=JSON_ONLY,
        ),
    ),
    ".well-known/openid-configuration": (
        _looking(
            "/.well-known/openid-configuration/",
            "getServiceAccountIssuerOpenIDConfiguration",
            "WellKnown",
            "Tell how tokens of service accounts are verified (OpenID Connect discovery).",
            STRING,
            consumes=(),
        ),
    ),
    "openid/v1/jwks": (
        Operation(
            path="/openid/v1/jwks/",
            method="get",
            identifier="getServiceAccountIssuerOpenIDKeyset",
            tag="openid",
            description="Tell the public keys that verify tokens of service accounts (JSON Web Key Set).",
            consumes=(),
            produces=("application/jwk-set+json",),
            responses={200: STRING, 401: ""},
        ),
    ),
}
"""Operations that no row has, by the document of v3 in which they stand."""


def documents(versions: Iterable[GroupVersion]) -> dict[str, GroupVersion]:
    """The documents of v3 that group versions make: name → what it is of; the version is "" for a group's own."""
    found: dict[str, GroupVersion] = {}
    for each in versions:
        if each.group:
            found[f"apis/{each.group}"] = GroupVersion(each.group, "")
            found[f"apis/{each.group}/{each.version}"] = each
        else:
            found[f"api/{each.version}"] = each
    return found


def operations_of(
    scheme: Scheme, document: str, rows: Iterable[Resource] | None = None
) -> list[Operation] | None:
    """Everything that stands in one document of v3; None when there is no such document.

    `rows`: those of its group version, when the caller knows them.
    """
    if document in FIXED:
        return list(FIXED[document])
    meant = documents(scheme.group_versions()).get(document) if rows is None else _version_of(document)
    if meant is None:
        return None
    if not meant.version:
        return [group_operation(meant.group)]
    if rows is None:
        rows = [row for row in scheme if row.group_version == meant]
    found = [each for row in rows for each in resource_operations(scheme, row)]
    return [version_operation(meant.group, meant.version), *found]


def _version_of(document: str) -> GroupVersion:
    parts = document.split("/")
    return GroupVersion("", parts[1]) if parts[0] == "api" else GroupVersion(parts[1], "".join(parts[2:]))


def all_documents(scheme: Scheme) -> list[str]:
    return sorted([*FIXED, *documents(scheme.group_versions())])
