"""What may be used only where a quota is about it: the plugin's configuration (`limitedResources`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.api.core.quotas.scopes import Requirement
from tiphys.apiserver.admission.configuration import BadConfiguration, Configuration
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupResource

_NEWEST = "apiserver.config.k8s.io/v1"
_KINDS = {
    _NEWEST: "ResourceQuotaConfiguration",
    "resourcequota.admission.k8s.io/v1": "Configuration",
    "resourcequota.admission.k8s.io/v1beta1": "Configuration",
    "resourcequota.admission.k8s.io/v1alpha1": "Configuration",
}


@frozen
class Limited:
    """`match_contains`: parts of the names that are limited. `match_scopes`: which objects are."""

    resource: GroupResource
    match_contains: tuple[str, ...] = ()
    match_scopes: tuple[Requirement, ...] = ()


def read_limits(configuration: Configuration | None) -> tuple[Limited, ...]:
    """The limits in the configuration of the plugin. Raises BadConfiguration."""
    if configuration is None:
        return ()
    kind, version = configuration.get("kind"), configuration.get("apiVersion")
    if kind is None or _KINDS.get(version or "") != kind:
        raise BadConfiguration(f"it is {kind} of {version}, not a ResourceQuotaConfiguration of {_NEWEST}")
    entries = configuration.get("limitedResources") or ()
    return tuple(_limited(entry, position) for position, entry in enumerate(entries))


def _limited(entry: Mapping[str, Any], position: int) -> Limited:
    if not entry.get("resource"):
        raise BadConfiguration(f"limitedResources[{position}].resource: Required value")
    return Limited(
        GroupResource(entry.get("apiGroup") or "", entry["resource"]),
        tuple(entry.get("matchContains") or ()),
        tuple(dict(scope) for scope in entry.get("matchScopes") or ()),
    )
