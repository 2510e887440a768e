"""Which of an API's versions is preferred: v2 before v1, before v1beta2, before v1alpha1, before names of no such form.

The order is upstream's (apimachinery `version.CompareKubeAwareVersionStrings`); discovery and custom resources go by it.
"""

from __future__ import annotations

import re
from functools import lru_cache

_FORM = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")
_STAGES = {"": 0, "beta": 1, "alpha": 2}
Preference = tuple[int, int, int, int, str]


@lru_cache(maxsize=4096)
def preference(version: str) -> Preference:
    """A key to sort versions by, the preferred one first."""
    found = _FORM.fullmatch(version)
    if found is None:
        return (1, 0, 0, 0, version)
    major, stage, minor = found.groups()
    return (0, _STAGES[stage or ""], -int(major), -int(minor or 0), "")
