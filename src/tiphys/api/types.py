"""The types of all built-in kinds: `TYPES.struct("core/v1.Pod")`. The facts are in `api/<group>/<version>.types`."""

from __future__ import annotations

from pathlib import Path

from tiphys.machinery.schema import Types

_HERE = Path(__file__).parent


def _load(group_version: str) -> str | None:
    path = _HERE / f"{group_version}.types"
    return path.read_text(encoding="utf-8") if path.is_file() else None


TYPES = Types(_load)


def group_versions() -> tuple[str, ...]:
    """The names of all files, "core/v1"; they include groups that only carry bodies (meta, admission)."""
    return tuple(sorted(f"{path.parent.name}/{path.stem}" for path in _HERE.glob("*/*.types")))
