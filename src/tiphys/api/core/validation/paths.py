"""Paths inside volumes, which must not lead out of them."""

from __future__ import annotations

from tiphys.api.validation import Errors
from tiphys.machinery.errors import FieldError, Path

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def no_backsteps(value: str, path: Path) -> Errors:
    if ".." in value and ".." in value.split("/"):
        return [FieldError.invalid(path, value, "must not contain '..'")]
    return []


def local_descending_path(value: str, path: Path) -> Errors:
    """A relative path that never goes up."""
    errors: Errors = []
    if value.startswith("/"):
        errors.append(FieldError.invalid(path, value, "must be a relative path"))
    return errors + no_backsteps(value, path)


def local_non_reserved_path(value: str, path: Path) -> Errors:
    """As above, and it does not look like what the kubelet uses itself (`..data`)."""
    errors = local_descending_path(value, path)
    if value.startswith("..") and not value.startswith("../"):
        errors.append(FieldError.invalid(path, value, "must not start with '..'"))
    return errors


def file_mode(mode: int | None, path: Path) -> Errors:
    if mode is None or 0 <= mode <= 0o777:
        return []
    return [FieldError.invalid(path, mode, FILE_MODE)]
