"""YAML as Kubernetes reads it: YAML 1.1's booleans and octals, but no dates, no duplicate keys, and JSON's types only.

sigs.k8s.io/yaml turns YAML into JSON first; so do we. The C loader of PyYAML does the parsing (imported at first use).
"""

from __future__ import annotations

import math
import re
from typing import Any

DEPTH_LIMIT = 200
"""Deeper documents are refused: libyaml's composer recurses on the C stack and would take the process with it."""
NODE_LIMIT = 1_000_000
"""With aliases written out; a few lines of them can stand for any number of nodes."""


class YAMLError(ValueError):
    """The text is no YAML, or says something that JSON cannot."""


def load(text: bytes | str) -> Any:
    """The one document in a text, as JSON types. Raises YAMLError."""
    documents = load_all(text)
    if len(documents) > 1:
        raise YAMLError("expected a single document in the stream")
    return documents[0] if documents else None


def load_lenient(text: bytes | str) -> tuple[Any, list[str]]:
    """The first document in a text, and where keys stand twice in one map: the last one counts. Raises YAMLError."""
    repeated: list[str] = []
    documents = _load(text, repeated)
    return (documents[0] if documents else None), repeated


def load_all(text: bytes | str) -> list[Any]:
    """Every document in a text."""
    return _load(text, None)


def _load(text: bytes | str, repeated: list[str] | None) -> list[Any]:
    import yaml

    try:
        _check_shape(text)
        loader = _loader()(text)
        loader.repeated = repeated
        documents = []
        try:
            while loader.check_data():
                documents.append(loader.get_data())
        finally:
            loader.dispose()
        return documents
    except YAMLError:
        raise
    except (ValueError, OverflowError) as error:  # a number that is none, such as `!!int x`
        raise YAMLError(f"error converting YAML to JSON: yaml: {error}") from None
    except yaml.YAMLError as error:
        raise YAMLError(f"error converting YAML to JSON: {_one_line(error)}") from None


def _check_shape(text: bytes | str) -> None:
    """Measures depth and size by the events of a text, before anything is built from it."""
    import yaml

    open_nodes: list[
        tuple[str | None, int, int]
    ] = []  # (anchor, nodes before it, depth of the deepest below it)
    anchors: dict[str | None, tuple[int, int]] = {}  # (nodes, depth)
    nodes = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        below = 0
        if isinstance(event, yaml.AliasEvent):
            size, below = anchors.get(event.anchor, (1, 1))
            nodes += size
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, nodes, 0))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before, deepest = open_nodes.pop()
            below = deepest + 1
            if anchor is not None:
                anchors[anchor] = (nodes - before, below)
        if open_nodes and below > open_nodes[-1][2]:
            open_nodes[-1] = (*open_nodes[-1][:2], below)
        if len(open_nodes) + below > DEPTH_LIMIT:
            raise YAMLError("error converting YAML to JSON: yaml: exceeded max depth")
        if nodes > NODE_LIMIT:
            raise YAMLError("error converting YAML to JSON: yaml: document contains excessive aliasing")


def dump(value: Any) -> bytes:
    """One document, keys in alphabetical order, as upstream writes it."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: bytes = yaml.dump(
        value, Dumper=dumper, sort_keys=True, allow_unicode=True, default_flow_style=False, encoding="utf-8"
    )
    return text


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or problem is None:
        return f"yaml: {' '.join(str(error).split())}"
    return f"yaml: line {mark.line + 1}: {problem}"


_TAG = "tag:yaml.org,2002:"
_LOADER: list[Any] = []


def _loader() -> Any:
    """A loader without timestamps, with string keys, that refuses a key given twice."""
    if _LOADER:
        return _LOADER[0]
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }

    def mapping(loader: Any, node: Any) -> dict[str, Any]:
        loader.flatten_mapping(node)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node, loader)
            if key in result and loader.repeated is not None:
                loader.repeated.append(f'line {key_node.start_mark.line + 1}: key "{key}" already set in map')
            elif key in result:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key "{key}" already set in map', key_node.start_mark
                )
            result[key] = loader.construct_object(value_node, deep=True)
        return result

    def sequence(loader: Any, node: Any) -> list[Any]:
        return [loader.construct_object(each, deep=True) for each in node.value]

    construct = yaml.SafeLoader.yaml_constructors
    own = {
        "map": mapping,
        "seq": sequence,
        "bool": _boolean,
        "int": _integer,
        "float": _float,
        "binary": _binary,
    }
    kept = {tag: construct[f"{_TAG}{tag}"] for tag in ("null", "str")}
    # Sets, ordered maps and whatever else JSON does not have are refused like unknown tags.
    Loader.yaml_constructors = {f"{_TAG}{tag}": each for tag, each in (kept | own).items()}
    Loader.add_constructor(None, construct[None])
    Loader.add_implicit_resolver(
        f"{_TAG}bool", re.compile("[yYnN]$"), list("yYnN")
    )  # as Go, other than PyYAML
    _LOADER.append(Loader)
    return Loader


def _boolean(loader: Any, node: Any) -> bool:
    value: bool | None = {**loader.bool_values, "y": True, "n": False}.get(node.value.lower())
    if value is None:
        raise YAMLError(f"error converting YAML to JSON: yaml: {node.value!r} is no boolean")
    return value


def _integer(loader: Any, node: Any) -> int | float | str:
    if ":" in node.value:
        return str(node.value)  # Go knows no numbers to the base of 60
    number: int = loader.construct_yaml_int(node)
    return number if -(1 << 63) <= number < 1 << 64 else float(number)


def _float(loader: Any, node: Any) -> float | str:
    if ":" in node.value:
        return str(node.value)
    number: float = loader.construct_yaml_float(node)
    if not math.isfinite(number):
        raise YAMLError(f"error converting YAML to JSON: json: unsupported value: {node.value}")
    return number


def _binary(loader: Any, node: Any) -> str:
    data: bytes = loader.construct_yaml_binary(node)
    return data.decode(errors="replace")


def _key(node: Any, loader: Any) -> str:
    """JSON has string keys only: booleans become "true" and "false", numbers and null keep the text they were written with."""
    if node.id != "scalar":
        raise YAMLError("error converting YAML to JSON: a map has a key that is not a scalar")
    if node.tag == f"{_TAG}bool":
        return str(_boolean(loader, node)).lower()
    return str(node.value)
