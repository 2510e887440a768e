"""Operations written down as an OpenAPI v2 document ("swagger"): all groups in one."""

from __future__ import annotations

from typing import Any

from tiphys.api.scheme import Scheme
from tiphys.api.types import TYPES
from tiphys.apiserver.openapi.naming import definition_name, naming
from tiphys.apiserver.openapi.operations import STRING, Operation, all_documents, operations_of
from tiphys.apiserver.openapi.parameters import Parameter
from tiphys.apiserver.openapi.paths import paths_of, reasons
from tiphys.machinery.schema.openapi import definitions_v2

Document = dict[str, Any]


def document(scheme: Scheme, *, version: str) -> Document:
    """The whole document. `version` is the server's ("v1.36.2")."""
    operations = [each for name in all_documents(scheme) for each in operations_of(scheme, name) or ()]
    structs = {name: TYPES.struct(name) for each in operations for name in each.types()}
    shared: Document = {}
    paths = paths_of(operations, _operation, lambda parameter: _parameter(parameter, shared))
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths,
        "definitions": definitions_v2(structs.values(), naming(scheme)),
        "parameters": shared,
        "securityDefinitions": {
            "BearerToken": {
                "description": "Bearer token authentication",
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
        "consumes": operation.consumes,
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
