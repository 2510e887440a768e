"""Which group versions are served: all but those that `--runtime-config` switches off (docs/decisions/0034-served-groups.md).

The switches of a stage come first, then those of a version, then those of a resource, whatever their order; of two that say the same
thing the last counts. What is not served may still be what objects are stored as.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from tiphys.api.apps.defaults import stateful_set_with_max_unavailable
from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme, built_in
from tiphys.apiserver.features import MAX_UNAVAILABLE_STATEFUL_SET, is_on
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.machinery.gvk import GroupVersion

STAGES: Mapping[str, str] = {
    "api/all": r"v\d+((alpha|beta)\d+)?",
    "api/ga": r"v\d+",
    "api/beta": r"v\d+beta\d+",
    "api/alpha": r"v\d+alpha\d+",
}
"""In the order in which they count, each with what its versions look like."""


def served_scheme(settings: Settings) -> Scheme:
    """All built-in kinds; those that are switched off are known and not served. Raises ConfigurationError."""
    scheme = built_in(*settings.optional_groups)
    _open_gates(scheme, settings)
    told = dict(settings.runtime_config)
    if not told:
        return scheme
    _check(told, scheme)
    own = set(built_in().group_versions()) if told.keys() & STAGES.keys() else set()
    for row in list(scheme):
        if not _is_served(row, told, has_stage=row.group_version in own):
            scheme.hide(row.gvr)
    return scheme


def _open_gates(scheme: Scheme, settings: Settings) -> None:
    """Kinds that have a field more when a gate is on."""
    row = scheme.by_resource("apps", "v1", "statefulsets")
    if row is not None and is_on(settings, MAX_UNAVAILABLE_STATEFUL_SET):
        scheme.add(replace(row, prepare=None, defaults=stateful_set_with_max_unavailable))


def _is_served(row: Resource, told: Mapping[str, str], *, has_stage: bool) -> bool:
    """`has_stage`: it is upstream's API server that serves it, too; what another serves there is no concern of its stages."""
    is_on = True
    for name, pattern in STAGES.items():
        if has_stage and name in told and re.fullmatch(pattern, row.version):
            # Without stable versions no server starts, upstream's neither.
            is_on = told[name] == "true" or bool(re.fullmatch(STAGES["api/ga"], row.version))
    version = f"{row.group}/{row.version}"
    for key in (version, f"{version}/{row.plural}"):
        if key in told:
            is_on = told[key] == "true"
    return is_on


def _check(told: Mapping[str, str], scheme: Scheme) -> None:
    known = set(scheme.group_versions())
    groups = {each.group for each in known}
    named = [key.split("/") for key in told if key not in STAGES]
    unknown = list(dict.fromkeys(group for group, *_ in named if group not in groups))
    if unknown:
        raise ConfigurationError(f"--runtime-config: unknown api groups {','.join(unknown)}")
    for group, version, *_ in named:
        if GroupVersion(group, version) not in known:
            raise ConfigurationError(
                f"--runtime-config: group version {group}/{version} that has not been registered"
            )
