"""From v2 to v3: the documents of a server that knows only the old form (kube-openapi `openapiconv`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiphys.apiserver.openapi.merging import with_references
from tiphys.apiserver.openapi.v2 import Document, Piece

_OF_PARAMETER = frozenset({"name", "in", "description", "required"})
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch"})
_JSON = ("application/json",)


def document_v3(piece: Piece, *, title: str, version: str) -> Document:
    """One document of v3 with everything that is in a piece of v2."""
    converted = {
        "paths": {path: _item(item, piece.parameters) for path, item in piece.paths.items()},
        "components": {"schemas": piece.definitions},
    }

    def moved(reference: str) -> str:
        return reference.replace("#/definitions/", "#/components/schemas/", 1)

    return {
        "openapi": "3.0.0",
        "info": {"title": title, "version": version},
        **with_references(converted, moved),
    }


def _item(item: Document, shared: Document) -> Document:
    common = [_resolved(each, shared) for each in item.get("parameters") or ()]
    found: Document = {
        name: _operation(value, shared, common) if name in _METHODS else value
        for name, value in item.items()
        if name != "parameters"
    }
    plain = [_parameter(each) for each in common if each.get("in") != "body"]
    return {**found, "parameters": plain} if plain else found


def _resolved(parameter: Document, shared: Document) -> Document:
    name = parameter.get("$ref", "").removeprefix("#/parameters/")
    found: Document = shared.get(name, parameter)
    return found


def _operation(operation: Document, shared: Document, common: Iterable[Document]) -> Document:
    left_out = {"consumes", "produces", "schemes", "parameters", "responses"}
    found = {name: value for name, value in operation.items() if name not in left_out}
    own = [_resolved(each, shared) for each in operation.get("parameters") or ()]
    plain = [_parameter(each) for each in own if each.get("in") != "body"]
    if plain:
        found["parameters"] = plain
    bodies = [each for each in (*own, *common) if each.get("in") == "body"]
    if bodies:
        content = _content(bodies[0].get("schema"), operation.get("consumes"))
        found["requestBody"] = {
            "content": content,
            **({"required": True} if bodies[0].get("required") else {}),
        }
    found["responses"] = {
        code: _response(response, operation.get("produces"))
        for code, response in (operation.get("responses") or {}).items()
    }
    return found


def _parameter(parameter: Document) -> Document:
    """What says how a value looks stands in a schema of its own."""
    beside = {name: value for name, value in parameter.items() if name in _OF_PARAMETER}
    schema = {name: value for name, value in parameter.items() if name not in _OF_PARAMETER}
    return {**beside, "schema": schema}


def _response(response: Document, produces: list[str] | None) -> Document:
    found: Document = {"description": response.get("description", "")}
    if "schema" in response:
        found["content"] = _content(response["schema"], produces)
    return found


def _content(schema: Any, media_types: list[str] | None) -> Document:
    return {media: {"schema": schema} for media in media_types or _JSON}
