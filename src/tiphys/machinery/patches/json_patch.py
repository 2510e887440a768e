"""JSON patch, RFC 6902: a list of operations on places named by JSON pointers (RFC 6901).

Where upstream's library (evanphx/json-patch v4) differs from the RFC, we follow upstream, for its clients' sake:
`replace` of a missing key of an object adds it, `test` of a missing key against null passes, and a negative index
counts from the end.
"""

import re
from collections.abc import Callable
from typing import Any

from tiphys.machinery.patches.errors import BadPatchError, PatchError, PatchTooLargeError, json_kind

MAX_OPERATIONS = 10_000
# What all `copy` operations of a patch may add together: the limit of a request's body.
COPY_LIMIT_BYTES = 3 * 1024 * 1024

_DECODE = "error decoding patch: json: cannot unmarshal"
_INDEX = re.compile(r"[+-]?[0-9]{1,10}")
_MISSING = object()


def apply_json_patch(document: Any, patch: Any) -> Any:
    """The patched document. BadPatchError: malformed; PatchTooLargeError: too many operations; PatchError: no fit."""
    operations = _decode(patch)
    editor = _Editor(document)
    for operation in operations:
        name = operation.get("op")
        action = _ACTIONS.get("unknown" if name is None else name)
        if action is None:
            raise PatchError(f"Unexpected kind: {'unknown' if name is None else name}")
        action(editor, operation)
    return editor.root


def _decode(patch: Any) -> list[dict[str, Any]]:
    if not isinstance(patch, list):
        raise BadPatchError(f"{_DECODE} {json_kind(patch)} into Go value of type []handlers.jsonPatchOp")
    if len(patch) > MAX_OPERATIONS:
        raise PatchTooLargeError(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
        )
    for operation in patch:
        if not isinstance(operation, dict):
            kind = json_kind(operation)
            raise BadPatchError(f"{_DECODE} {kind} into Go value of type handlers.jsonPatchOp")
        for field in ("op", "path", "from"):
            value = operation.get(field, "")
            if not isinstance(value, str) and value is not None:
                raise BadPatchError(
                    f"{_DECODE} {json_kind(value)} into Go struct field jsonPatchOp.{field} of type string"
                )
    return patch


class _Editor:
    """The document while it changes: a container is copied the first time that something in it changes."""

    def __init__(self, document: Any) -> None:
        self.root = document
        self.copied_bytes = 0
        self._own: dict[int, Any] = {}  # containers that we made, by id; holding them keeps the ids unique

    def find(self, pointer: str) -> tuple[Any, str] | None:
        """The container of a place and its key there, or None when there is no such container."""
        keys = _split(pointer)
        if not keys:
            return None
        container = self.root
        for key in keys[:-1]:
            container = _child(container, key)
            if not isinstance(container, dict | list):
                return None
        return container, keys[-1]

    def writable(self, pointer: str) -> tuple[Any, str] | None:
        """As `find`, with every container on the way made our own."""
        if self.find(pointer) is None:
            return None
        keys = _split(pointer)
        container = self.root = self._owned(self.root)
        for key in keys[:-1]:
            place = _place(container, key)
            container[place] = self._owned(container[place])
            container = container[place]
        return container, keys[-1]

    def _owned(self, container: Any) -> Any:
        if id(container) in self._own:
            return container
        copy = container.copy()
        self._own[id(copy)] = copy
        return copy

    def share(self, value: Any) -> Any:
        """A value that will stand in two places: neither place may change it in place any more."""
        self._own.clear()
        return value


def _split(pointer: str) -> list[str]:
    """The decoded keys of a pointer. What stands before the first slash is ignored, as upstream does."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _place(container: Any, key: str) -> Any:
    return key if isinstance(container, dict) else _index(key, len(container))


def _index(key: str, size: int) -> int:
    """The index in a list of `size` places. PatchError when it is no number or outside."""
    if _INDEX.fullmatch(key) is None:
        raise PatchError(f'strconv.Atoi: parsing "{key}": invalid syntax')
    index = int(key)
    if not -size <= index < size:
        raise PatchError(f"Unable to access invalid index: {index}: invalid index referenced")
    return index % size


def _child(container: Any, key: str) -> Any:
    """The value at `key`, or _MISSING. Never fails: a path that leads nowhere is told by the caller."""
    if isinstance(container, dict):
        return container.get(key, _MISSING)
    try:
        return container[_index(key, len(container))]
    except PatchError:
        return _MISSING


def _read(container: Any, key: str) -> Any:
    """The value at `key`; _MISSING for a key that an object has not; PatchError for a bad index."""
    if isinstance(container, dict):
        return container.get(key, _MISSING)
    return container[_index(key, len(container))]


def _insert(container: Any, key: str, value: Any) -> None:
    if isinstance(container, dict):
        container[key] = value
    elif key == "-":
        container.append(value)
    else:
        # One place more than there are elements: inserting at the end is allowed.
        container.insert(_index(key, len(container) + 1), value)


def _delete(container: Any, key: str) -> None:
    if isinstance(container, list):
        del container[_index(key, len(container))]
    elif key in container:
        del container[key]
    else:
        raise PatchError(f"Unable to remove nonexistent key: {key}: missing value")


def _path(operation: dict[str, Any], field: str = "path") -> str:
    path = operation.get(field)
    if not isinstance(path, str):
        name = operation["op"]
        raise PatchError(f"{name} operation failed to decode {field}: missing value")
    return path


def _target(found: tuple[Any, str] | None, complaint: str) -> tuple[Any, str]:
    if found is None:
        raise PatchError(f"{complaint}: missing value")
    return found


def _add(editor: _Editor, operation: dict[str, Any]) -> None:
    path = _path(operation)
    _put(editor, path, operation.get("value"), f'add operation does not apply: doc is missing path: "{path}"')


def _put(editor: _Editor, path: str, value: Any, complaint: str, action: str = "add") -> None:
    container, key = _target(editor.writable(path), complaint)
    try:
        _insert(container, key, value)
    except PatchError as error:
        raise PatchError(f"error in {action} for path: '{path}': {error}") from None


def _remove(editor: _Editor, operation: dict[str, Any]) -> None:
    path = _path(operation)
    complaint = f'remove operation does not apply: doc is missing path: "{path}"'
    container, key = _target(editor.writable(path), complaint)
    try:
        _delete(container, key)
    except PatchError as error:
        raise PatchError(f"error in remove for path: '{path}': {error}") from None


def _replace(editor: _Editor, operation: dict[str, Any]) -> None:
    path = _path(operation)
    complaint = "replace operation does not apply: doc is missing"
    container, key = _target(editor.writable(path), f"{complaint} path: {path}")
    try:
        container[_place(container, key)] = operation.get("value")
    except PatchError:
        raise PatchError(f"{complaint} key: {path}: missing value") from None


def _move(editor: _Editor, operation: dict[str, Any]) -> None:
    source, path = _path(operation, "from"), _path(operation)
    complaint = "move operation does not apply: doc is missing"
    container, key = _target(editor.writable(source), f"{complaint} from path: {source}")
    try:
        value = _read(container, key)
        _delete(container, key)
    except PatchError as error:
        raise PatchError(f"error in move for path: '{key}': {error}") from None
    _put(editor, path, value, f"{complaint} destination path: {path}", "move")


def _copy(editor: _Editor, operation: dict[str, Any]) -> None:
    source, path = _path(operation, "from"), _path(operation)
    complaint = "copy operation does not apply: doc is missing"
    container, key = _target(editor.find(source), f"{complaint} from path: {source}")
    try:
        value = _read(container, key)
    except PatchError as error:
        raise PatchError(f"error in copy for from: '{source}': {error}") from None
    value = None if value is _MISSING else editor.share(value)
    _count_copy(editor, value)
    _put(editor, path, value, f"{complaint} destination path: {path}", "copy")


def _count_copy(editor: _Editor, value: Any) -> None:
    """Copies share, so they cost nothing here; written out as JSON they could fill any memory."""
    import json

    editor.copied_bytes += len(json.dumps(value, separators=(",", ":")))
    if editor.copied_bytes > COPY_LIMIT_BYTES:
        raise PatchError(
            f"Unable to complete the copy, the accumulated size increase of copy is {editor.copied_bytes},"
            f" exceeding the limit {COPY_LIMIT_BYTES}"
        )


def _test(editor: _Editor, operation: dict[str, Any]) -> None:
    path = _path(operation)
    complaint = f"test operation does not apply: is missing path: {path}"
    container, key = _target(editor.find(path), complaint)
    try:
        value = _read(container, key)
    except PatchError as error:
        raise PatchError(f"error in test for path: '{path}': {error}") from None
    if not json_equal(None if value is _MISSING else value, operation.get("value")):
        raise PatchError(f"testing value {path} failed: test failed")


_ACTIONS: dict[str, Callable[[_Editor, dict[str, Any]], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}


def json_equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1 (which Python's == would say), 1 is 1.0."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(json_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(json_equal, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
