"""Feature gates: what is not yet for everybody, and can be switched on (`--feature-gates`).

A gate is here when something depends on it. Others are refused, as flags are: nobody shall believe that something is switched on
that is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tiphys.apiserver.settings import Settings

ALPHA, BETA = "alpha", "beta"
POD_CERTIFICATE_REQUEST = "PodCertificateRequest"
MAX_UNAVAILABLE_STATEFUL_SET = "MaxUnavailableStatefulSet"
GATES: Mapping[str, tuple[str, bool]] = {
    MAX_UNAVAILABLE_STATEFUL_SET: (BETA, False),
    POD_CERTIFICATE_REQUEST: (BETA, False),
}
"""Each with its stage in v1.36, and whether it is on by itself."""
_ALL = {"AllAlpha": ALPHA, "AllBeta": BETA}
KNOWN: Sequence[str] = (*_ALL, *GATES)


def is_on(settings: Settings, gate: str) -> bool:
    """The last word about a gate counts; before any about itself, one about all of its stage."""
    told = dict(settings.feature_gates)
    stage, default = GATES[gate]
    if gate in told:
        return told[gate] == "true"
    for name, all_of in _ALL.items():
        if all_of == stage and name in told:
            return told[name] == "true"
    return default
