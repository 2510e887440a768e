"""What workloads may say but better would not."""

from __future__ import annotations

from tiphys.api.core.advice.pods import claim_spec, workload
from tiphys.api.resource import Object
from tiphys.machinery.fields import Path

_TEMPLATE = workload("spec", "template", names_pods=False)
_HISTORY = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"


def stateful_set(new: Object, old: Object | None) -> list[str]:
    spec = new.get("spec") or {}
    if old is not None and old.get("spec") == spec:
        return []
    found = _TEMPLATE(new, old)
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        # The word at the end of an update's path is upstream's.
        where = Path("spec", "volumeClaimTemplates").index(index)
        found += claim_spec(claim.get("spec") or {}, where if old is None else where.child("Spec"))
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        found.append(_HISTORY)
    return found
