"""Libraries of functions. Those of KUBERNETES are in every environment."""

from __future__ import annotations

from tiphys.machinery.cel.library.form import Library

KUBERNETES: tuple[Library, ...] = ()

__all__ = ["KUBERNETES", "Library"]
