"""Operations written down as an OpenAPI v2 document ("swagger"): all groups in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.api.types import TYPES
from tiphys.apiserver.openapi import custom
from tiphys.apiserver.openapi.contents import FIXED, documents, group_operation, operations_of
from tiphys.apiserver.openapi.naming import definition_name, naming
from tiphys.apiserver.openapi.operations import STRING, Operation
from tiphys.apiserver.openapi.parameters import Parameter
from tiphys.apiserver.openapi.paths import paths_of, reasons
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupVersion
from tiphys.machinery.schema.openapi import definitions_v2

Document = dict[str, Any]


@frozen
class Piece:
    """What some group versions, of this server or of another, bring to the whole."""

    paths: Document
    definitions: Document
    parameters: Document


def built_in_piece(scheme: Scheme) -> Piece:
    """Of everything but custom resources."""
    versions = dict.fromkeys(row.group_version for row in scheme if row.schema is None)
    names = sorted([*FIXED, *documents(versions)])
    operations = [each for name in names for each in operations_of(scheme, name) or ()]
    structs = {name: TYPES.struct(name) for each in operations for name in each.types()}
    shared: Document = {}
    paths = paths_of(operations, _operation, lambda parameter: _parameter(parameter, shared))
    return Piece(paths, definitions_v2(structs.values(), naming(scheme)), shared)


def custom_piece(scheme: Scheme, version: GroupVersion, rows: Sequence[Resource]) -> Piece:
    """Of the custom resources of one group version; what they refer to beyond is in the built-in piece."""
    name = f"apis/{version.group}/{version.version}"
    operations = [*(operations_of(scheme, name, rows) or ()), group_operation(version.group)]
    paths = paths_of(operations, _operation, lambda parameter: _parameter(parameter, {}))
    definitions: Document = {}
    for row in rows:
        definitions |= custom.definitions(row, is_v3=False)
    return Piece(paths, definitions, {})


def document(scheme: Scheme, *, version: str) -> Document:
    """The whole document of the built-in kinds. `version` is the server's ("v1.36.2")."""
    piece = built_in_piece(scheme)
    return {
        **head(version),
        "paths": piece.paths,
        "definitions": piece.definitions,
        "parameters": piece.parameters,
        **TAIL,
    }


def head(version: str) -> Document:
    return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": version}}


TAIL: Document = {
    "securityDefinitions": {
        "BearerToken": {
            "description": "Bearer Token authentication",
            "type": "apiKey",
            "name": "authorization",
            "in": "header",
        }
    },
    "security": [{"BearerToken": []}],
}


def _parameter(parameter: Parameter, shared: Document) -> Document:
    if parameter.shared:
        shared.setdefault(parameter.name, _own(parameter))
        return {"$ref": f"#/parameters/{parameter.name}"}
    return _own(parameter)


def _own(parameter: Parameter) -> Document:
    written: Document = {
        "uniqueItems": True,
        "type": parameter.type,
        "description": parameter.description,
        "name": parameter.name,
        "in": parameter.where,
    }
    if parameter.where == "path":
        written["required"] = True
    return written


def _operation(operation: Operation, own: list[Document]) -> Document:
    if operation.body:
        own = [_body(operation), *own]
    written: Document = {
        "description": operation.description,
        **({"consumes": operation.consumes} if operation.consumes else {}),
        "produces": operation.produces,
        "schemes": ["https"],
        "tags": [operation.tag],
        "operationId": operation.identifier,
        "responses": {
            str(code): {"description": reasons(code), **_schema(name)}
            for code, name in operation.responses.items()
        },
    }
    if own:
        written["parameters"] = own
    return written


def _body(operation: Operation) -> Document:
    written: Document = {"name": "body", "in": "body", **_schema(operation.body)}
    if operation.body_required:
        written["required"] = True
    return written


def _schema(name: str) -> Document:
    if not name:
        return {}
    if name == STRING:
        return {"schema": {"type": "string"}}
    return {"schema": {"$ref": f"#/definitions/{definition_name(name)}"}}
