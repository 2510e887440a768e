"""Operations written down as OpenAPI v3: an index, and one document per group version (KEP-2896)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.api.types import TYPES
from tiphys.apiserver.openapi import custom
from tiphys.apiserver.openapi.contents import operations_of
from tiphys.apiserver.openapi.naming import definition_name, naming
from tiphys.apiserver.openapi.operations import STRING, Operation
from tiphys.apiserver.openapi.parameters import Parameter
from tiphys.apiserver.openapi.paths import paths_of, reasons
from tiphys.machinery.schema import Struct
from tiphys.machinery.schema.openapi import schemas_v3

Document = dict[str, Any]


def document(
    scheme: Scheme, name: str, *, version: str, rows: Sequence[Resource] | None = None
) -> Document | None:
    """The document of "apis/apps/v1" and the like; None when there is none. `version` is the server's; `rows` those of the
    group version, when the caller knows them."""
    operations = operations_of(scheme, name, rows)
    if operations is None:
        return None
    structs = {each: TYPES.struct(each) for operation in operations for each in operation.types()}
    schemas = schemas_v3((*structs.values(), *_in_custom(rows)), naming(scheme)) if structs else {}
    for row in rows or ():
        if row.schema is not None:
            schemas |= custom.definitions(row, is_v3=True)
    security = {
        "description": "Bearer token authentication",
        "type": "apiKey",
        "name": "authorization",
        "in": "header",
    }
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": version},
        "paths": paths_of(operations, _operation, _parameter),
        "components": {"schemas": schemas, "securitySchemes": {"BearerToken": security}},
        "security": [{"BearerToken": []}],
    }


def _in_custom(rows: Sequence[Resource] | None) -> list[Struct]:
    """The types that definitions of custom resources refer to."""
    if not any(row.schema is not None for row in rows or ()):
        return []
    return [TYPES.struct("meta/v1.ObjectMeta"), TYPES.struct("meta/v1.ListMeta")]


def _parameter(parameter: Parameter) -> Document:
    written: Document = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": {"type": parameter.type, "uniqueItems": True},
    }
    if parameter.where == "path":
        written["required"] = True
    return written


def _operation(operation: Operation, own: list[Document]) -> Document:
    written: Document = {
        "tags": [operation.tag],
        "description": operation.description,
        "operationId": operation.identifier,
    }
    if own:
        written["parameters"] = own
    if operation.body:
        schema = _schema(operation.body)
        body: Document = {"content": {media: {"schema": schema} for media in operation.consumes}}
        written["requestBody"] = {**body, "required": True} if operation.body_required else body
    written["responses"] = {
        str(code): _response(operation, code, name) for code, name in operation.responses.items()
    }
    return written


def _response(operation: Operation, code: int, name: str) -> Document:
    written: Document = {"description": reasons(code)}
    if name:
        schema = _schema(name)
        written["content"] = {media: {"schema": schema} for media in operation.produces}
    return written


def _schema(name: str) -> Document:
    if name == STRING:
        return {"type": "string"}
    return {"$ref": f"#/components/schemas/{definition_name(name)}"}
