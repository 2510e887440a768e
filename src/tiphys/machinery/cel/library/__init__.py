"""Libraries of functions.

KUBERNETES are those of every expression in Kubernetes v1.36 (apiserver `pkg/cel/environment/base.go`), but for the
authorizer (`authorizer.AUTHORIZER`), for those who can answer it. EXTRAS are further ones of cel-go, for callers who want them.
"""

from __future__ import annotations

from tiphys.machinery.cel.library.addresses import ADDRESSES
from tiphys.machinery.cel.library.amounts import QUANTITIES
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.library.formats import NAMED_FORMATS
from tiphys.machinery.cel.library.images import IMAGES
from tiphys.machinery.cel.library.lists import LISTS, SETS
from tiphys.machinery.cel.library.numbers import ENCODERS, MATH
from tiphys.machinery.cel.library.texts import JSON_PATCH, REGEX, REVERSE, STRINGS
from tiphys.machinery.cel.library.urls import URLS
from tiphys.machinery.cel.library.versions import VERSIONS

KUBERNETES: tuple[Library, ...] = (
    URLS,
    REGEX,
    LISTS,
    QUANTITIES,
    STRINGS,
    SETS,
    ADDRESSES,
    NAMED_FORMATS,
    VERSIONS,
    IMAGES,
)
EXTRAS: tuple[Library, ...] = (MATH, ENCODERS, REVERSE, JSON_PATCH)

__all__ = ["EXTRAS", "JSON_PATCH", "KUBERNETES", "Library"]
