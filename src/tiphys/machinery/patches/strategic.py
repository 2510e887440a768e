"""Strategic merge patch: a merge patch that knows the kind's schema (apimachinery `util/strategicpatch`).

The schema says of each list whether it is replaced or merged by a key. Directives inside the patch say the rest:

    $patch: replace | delete             in an object: replace or empty it; in an element of a list: the same there
    $retainKeys: [a, b]                  keep only these keys of the object
    $setElementOrder/field: […]          the order that the list shall have
    $deleteFromPrimitiveList/field: […]  take these out of a list of plain values
"""

from itertools import chain
from typing import Any, Protocol

from tiphys.machinery.frozen import frozen
from tiphys.machinery.patches.errors import BadPatchError, PatchError, StrategicPatchError, json_kind
from tiphys.machinery.patches.order import arrange, key_of
from tiphys.machinery.quoting import go_print

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_SET_ORDER = "$setElementOrder"
_DELETE_FROM = "$deleteFromPrimitiveList"
_GO_TYPES = {
    "object": "map[string]interface {}",
    "array": "[]interface {}",
    "null": "%!s(<nil>)",
    "number": "int64",
}


class PatchSchema(Protocol):
    """What a patch must know of an object's type. For a map, `field` answers the same for every name."""

    def field(self, name: str) -> "PatchField | None":
        """None for an unknown field: objects merge, lists are replaced."""


@frozen
class PatchField:
    """`strategy` is a subset of {"merge", "replace", "retainKeys"}; `items` is the type of a list's elements,
    `value` the type of the field's object; `merge_key` names an element of a merged list of objects."""

    strategy: frozenset[str] = frozenset()
    merge_key: str = ""
    items: PatchSchema | None = None
    value: PatchSchema | None = None


_PLAIN = PatchField()
_SCALARS = frozenset({str, int, bool, float})
_OBJECT = frozenset({dict})


def apply_strategic_patch(document: dict[str, Any], patch: Any, schema: PatchSchema | None) -> dict[str, Any]:
    """The patched document. BadPatchError: malformed; StrategicPatchError or PatchError: it breaks a rule."""
    if not isinstance(patch, dict):
        raise BadPatchError(
            f"json: cannot unmarshal {json_kind(patch)} into Go value of type map[string]interface {{}}"
        )
    return _merge_object(document, patch, schema)


def _lookup(schema: PatchSchema | None, name: str) -> PatchField:
    return (schema.field(name) if schema is not None else None) or _PLAIN


# Objects


def _merge_object(
    original: dict[str, Any], patch: dict[str, Any], schema: PatchSchema | None
) -> dict[str, Any]:
    if "$" not in "".join(patch):  # no directives, as nearly always
        merged = dict(original)
        for key, value in patch.items():
            if type(value) in _SCALARS:
                merged[key] = value
            else:
                _merge_field(merged, key, value, schema)
        return merged
    if _PATCH in patch:
        return _replaced(patch)
    merged = _retained(original, patch) if _RETAIN_KEYS in patch else dict(original)
    ordered = set()
    for key, value in patch.items():
        if key.startswith(_SET_ORDER):
            name = _named(key, _SET_ORDER, "invalid patch format of setElementOrder list")
            _set_order(merged, patch, name, value, _lookup(schema, name))
            ordered.add(name)
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            _delete_from(merged, key, value)
        elif key not in ordered and key != _RETAIN_KEYS and not key.startswith(_SET_ORDER):
            _merge_field(merged, key, value, schema)
    return merged


def _merge_field(merged: dict[str, Any], key: str, value: Any, schema: PatchSchema | None) -> None:
    if value is None:
        merged.pop(key, None)
        return
    old = merged.get(key)
    if isinstance(value, dict):
        if isinstance(old, dict):
            field = _lookup(schema, key)
            merged[key] = (
                clean(value) if "replace" in field.strategy else _merge_object(old, value, field.value)
            )
        elif _PATCH in value:
            merged.pop(key, None)
        else:
            merged[key] = clean(value)
    elif isinstance(value, list):
        field = _lookup(schema, key)
        if isinstance(old, list) and "merge" in field.strategy:
            merged[key] = _merge_list(old, value, field)
        else:
            merged[key] = clean(value)
    else:
        merged[key] = value


def _replaced(patch: dict[str, Any]) -> dict[str, Any]:
    directive = patch[_PATCH]
    if directive == "delete":
        return {}
    if directive == "replace":
        return {
            key: clean(value) for key, value in patch.items() if key != _PATCH and not _is_dropped(key, value)
        }
    raise _bad_directive(directive, patch)


def _retained(original: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """`original` with nothing but the retained keys; every key that the patch sets must be one of them."""
    keys = patch[_RETAIN_KEYS]
    if not isinstance(keys, list):
        raise BadPatchError("invalid patch format of retainKeys")
    for key, value in patch.items():
        directive = key == _RETAIN_KEYS or key.startswith((_DELETE_FROM, _SET_ORDER))
        if value is not None and not directive and key not in keys:
            raise BadPatchError("invalid patch format of retainKeys")
    return {key: value for key, value in original.items() if key in keys}


def clean(value: Any) -> Any:
    """A value that enters the document as it is: without nulls in objects, and without directives."""
    if isinstance(value, dict):
        if "$" in "".join(value):
            return {key: clean(item) for key, item in value.items() if not _is_dropped(key, item)}
        return {
            key: item if type(item) in _SCALARS else clean(item)
            for key, item in value.items()
            if item is not None and not (isinstance(item, dict) and _PATCH in item)
        }
    if isinstance(value, list):
        return [clean(item) for item in value if not (isinstance(item, dict) and _PATCH in item)]
    return value


def _is_dropped(key: str, value: Any) -> bool:
    if value is None or key == _RETAIN_KEYS or key.startswith((_DELETE_FROM, _SET_ORDER)):
        return True
    return isinstance(value, dict) and _PATCH in value


def _named(key: str, prefix: str, complaint: str) -> str:
    """The field that a directive such as `$setElementOrder/containers` speaks of."""
    before, slash, name = key.partition("/")
    if before != prefix or not slash:
        raise BadPatchError(complaint)
    return name


# Lists


def _merge_list(original: list[Any], patch: list[Any], field: PatchField) -> list[Any]:
    if not patch:
        return original
    if _element_kind(original, patch) != "object":
        merged = list(dict.fromkeys([*original, *patch]))
        return arrange(merged, patch, original, "")
    if not field.merge_key:
        raise StrategicPatchError("cannot merge lists without merge key for struct")
    kept, changes, replaced = _split_directives(original, patch, field.merge_key)
    if replaced:
        return changes
    return arrange(_merge_elements(kept, changes, field), changes, kept, field.merge_key)


def _split_directives(
    original: list[Any], patch: list[Any], merge_key: str
) -> tuple[list[Any], list[Any], bool]:
    """What is left of `original`, the elements of `patch` without directives, and whether they replace everything."""
    changes: list[Any] = []
    deleted: list[Any] = []
    replace = False
    for element in patch:
        directive = element.get(_PATCH)
        if _PATCH not in element:
            changes.append(element)
        elif directive == "delete":
            deleted.append(key_of(element, merge_key))
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise StrategicPatchError("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_directive(directive, element)
    if replace:
        return [], clean(changes), True
    kept = [element for element in original if element.get(merge_key) not in deleted] if deleted else original
    return kept, changes, False


def _merge_elements(original: list[Any], patch: list[Any], field: PatchField) -> list[Any]:
    merged = list(original)
    places: dict[Any, int] = {}
    for place, element in enumerate(original):
        places.setdefault(key_of(element, field.merge_key), place)
    for element in patch:
        key = key_of(element, field.merge_key)
        if key in places:
            merged[places[key]] = _merge_object(merged[places[key]], element, field.items)
        else:
            places[key] = len(merged)
            merged.append(clean(element))
    return merged


def _element_kind(*lists: list[Any]) -> str:
    """The kind that all elements have. Errors: lists of lists, mixed kinds."""
    if _OBJECT.issuperset(map(type, chain(*lists))):
        return "object" if any(lists) else ""
    kinds = {json_kind(element) for elements in lists for element in elements}
    if "array" in kinds:
        raise PatchError("lists of lists are not supported")
    if len(kinds) > 1:
        raise StrategicPatchError(f"list element types are not identical: {go_print(list(lists))}")
    return kinds.pop() if kinds else ""


def _delete_from(merged: dict[str, Any], key: str, values: Any) -> None:
    name = _named(key, _DELETE_FROM, "invalid patch format of primitive list")
    old = merged.get(name)
    if values is None:
        merged.pop(name, None)
    elif isinstance(old, list) and isinstance(values, list):
        _element_kind(old, values)
        merged[name] = [value for value in old if value not in values]


def _set_order(
    merged: dict[str, Any], patch: dict[str, Any], name: str, order: Any, field: PatchField
) -> None:
    """Merge the list `name` of the patch, if it has one, and put the result in the wanted order."""
    order = _typed_list(order)
    old = _typed_list(merged[name]) if name in merged else None
    new = _typed_list(patch[name]) if name in patch else None
    if old is None and new is None:
        return
    _check_order(new or [], order, field.merge_key)
    if old is None or new is None:
        both: list[Any] = clean(new) if old is None else old
    else:
        both = _merge_list(old, new, field) if "merge" in field.strategy else clean(new)
    if _element_kind(both, order) == "object" and not field.merge_key:
        raise StrategicPatchError("cannot merge lists without merge key for struct")
    merged[name] = arrange(both, order, old or [], field.merge_key)


def _check_order(changes: list[Any], order: list[Any], merge_key: str) -> None:
    """What the patch sets must appear in the wanted order, in that order."""
    if not order or not changes:
        return
    wanted = iter([key_of(element, merge_key) for element in order])
    for element in changes:
        if isinstance(element, dict) and _PATCH in element:
            continue
        key = key_of(element, merge_key)
        if not any(key == candidate for candidate in wanted):
            raise StrategicPatchError(
                f"The order in patch list:\n{go_print(changes)}\n"
                f" doesn't match {_SET_ORDER} list:\n{go_print(order)}\n"
            )


def _typed_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        kind = json_kind(value)
        raise StrategicPatchError(f"expected a []interface {{}}, but received a {_GO_TYPES.get(kind, kind)}")
    return value


def _bad_directive(directive: Any, patch: dict[str, Any]) -> StrategicPatchError:
    return StrategicPatchError(f"unknown patch type: {go_print(directive)} in map: {go_print(patch)}")
