"""YAML as Kubernetes reads it: YAML 1.1's booleans and octals, but no dates, no duplicate keys, and JSON's types only.

sigs.k8s.io/yaml turns YAML into JSON first; so do we. The C loader of PyYAML does the parsing (imported at first use).
"""

from __future__ import annotations

from typing import Any


class YAMLError(ValueError):
    """The text is no YAML, or says something that JSON cannot."""


def load(text: bytes | str) -> Any:
    """The one document in a text, as JSON types. Raises YAMLError."""
    documents = load_all(text)
    if len(documents) > 1:
        raise YAMLError("expected a single document in the stream")
    return documents[0] if documents else None


def load_all(text: bytes | str) -> list[Any]:
    """Every document in a text."""
    import yaml

    try:
        return list(yaml.load_all(text, Loader=_loader()))
    except yaml.YAMLError as error:
        raise YAMLError(f"error converting YAML to JSON: {_one_line(error)}") from None


def dump(value: Any) -> bytes:
    """One document, keys in the order that they have."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: bytes = yaml.dump(
        value, Dumper=dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, encoding="utf-8"
    )
    return text


def _one_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or problem is None:
        return f"yaml: {' '.join(str(error).split())}"
    return f"yaml: line {mark.line + 1}: {problem}"


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
            if key in result:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key "{key}" already set in map', key_node.start_mark
                )
            result[key] = loader.construct_object(value_node, deep=True)
        return result

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    _LOADER.append(Loader)
    return Loader


def _key(node: Any, loader: Any) -> str:
    """JSON has string keys only: `y`, `1` and `null` keep the text they were written with."""
    if node.id != "scalar":
        raise YAMLError("error converting YAML to JSON: a map has a key that is not a scalar")
    return str(node.value)
