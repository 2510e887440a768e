"""The order of a list after a strategic merge patch.

What the patch names comes in the patch's order, what only the server has keeps the server's; the two are woven
together by where the elements stood on the server. An element that is new to the server goes before the rest.
"""

from typing import Any

from tiphys.machinery.patches.errors import StrategicPatchError
from tiphys.machinery.quoting import go_print


def key_of(element: Any, merge_key: str) -> Any:
    """What names an element: the value of its merge key, or itself where there is none (plain values)."""
    if not merge_key:
        return element
    if not isinstance(element, dict):
        raise StrategicPatchError(
            f"expected a map[string]interface {{}}, but received a {type(element).__name__}"
        )
    if merge_key not in element:
        raise StrategicPatchError(
            f"map: {go_print(element)} does not contain declared merge key: {merge_key}"
        )
    key = element[merge_key]
    if isinstance(key, dict | list):
        raise StrategicPatchError(f"map: {go_print(element)} has no plain value at merge key: {merge_key}")
    return key


def arrange(elements: list[Any], wanted: list[Any], server: list[Any], merge_key: str) -> list[Any]:
    """`elements` in the order `wanted`, and those it does not name where they stood in `server`."""
    wanted_places = _places(wanted, merge_key)
    server_places = _places(server, merge_key)
    keyed = [(key_of(element, merge_key), element) for element in elements]
    named = sorted(
        (pair for pair in keyed if pair[0] in wanted_places), key=lambda pair: wanted_places[pair[0]]
    )
    rest = [pair for pair in keyed if pair[0] not in wanted_places]
    if not named or not rest:
        return [element for _, element in named or rest]
    return _weave(named, rest, server_places)


def _places(elements: list[Any], merge_key: str) -> dict[Any, int]:
    places: dict[Any, int] = {}
    for place, element in enumerate(elements):
        places.setdefault(key_of(element, merge_key), place)
    return places


def _weave(named: list[tuple[Any, Any]], rest: list[tuple[Any, Any]], server: dict[Any, int]) -> list[Any]:
    """Take from `rest` only what stood before the next of `named` on the server."""
    woven: list[Any] = []
    waiting = iter(rest)
    candidate = next(waiting, None)
    for key, element in named:
        place = server.get(key, -1)
        while candidate is not None and server.get(candidate[0], place) < place:
            woven.append(candidate[1])
            candidate = next(waiting, None)
        woven.append(element)
    while candidate is not None:
        woven.append(candidate[1])
        candidate = next(waiting, None)
    return woven
