"""subPath: one file or directory of a volume, mounted in place of the whole; never anything outside the volume."""

from __future__ import annotations

from pathlib import Path


class BadSubPath(Exception):
    """It leads out of the volume, or cannot be made; the message is fit for the container's status."""


def resolve(volume: Path, sub_path: str) -> Path:
    """The real path of what is to be mounted; a directory is made when there is nothing yet. Raises BadSubPath.

    Symbolic links inside the volume may have been laid by a container: they are followed only to where they stay inside.
    """
    parts = Path(sub_path).parts
    if Path(sub_path).is_absolute() or ".." in parts:
        raise BadSubPath(f'failed to prepare subPath "{sub_path}": it must be relative and not contain ".."')
    root = volume.resolve()
    target = root.joinpath(*parts)
    if not _is_inside(target.resolve(), root):
        raise BadSubPath(f'failed to prepare subPath "{sub_path}": it leads out of the volume')
    if not target.exists():
        try:
            target.mkdir(parents=True, mode=0o750)
        except OSError as error:
            raise BadSubPath(
                f'failed to create subPath directory for volumeMount "{sub_path}": {error}'
            ) from error
    return target.resolve()


def _is_inside(path: Path, root: Path) -> bool:
    return path == root or root in path.parents
