"""What both versions of OpenAPI have in common: operations gathered by path, parameters of all of them moved to the path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from tiphys.apiserver.openapi.operations import Operation
from tiphys.apiserver.openapi.parameters import Parameter, ordered

Document = dict[str, Any]
Write = Callable[[Operation, list[Document]], Document]
"""(operation, its own parameters as written) → the operation as written."""


def paths_of(
    operations: Iterable[Operation], write: Write, parameter: Callable[[Parameter], Document]
) -> Document:
    """The `paths` of a document, sorted."""
    by_path: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_path[operation.path].append(operation)
    return {path: _item(by_path[path], write, parameter) for path in sorted(by_path)}


def _item(operations: list[Operation], write: Write, parameter: Callable[[Parameter], Document]) -> Document:
    common = set.intersection(*(set(each.parameters) for each in operations))
    item: Document = {}
    for each in operations:
        own = [parameter(one) for one in ordered(each.parameters) if one not in common]
        written = write(each, own)
        if each.kind is not None:
            written["x-kubernetes-action"] = each.action
            written["x-kubernetes-group-version-kind"] = {
                "group": each.kind.group,
                "version": each.kind.version,
                "kind": each.kind.kind,
            }
        item[each.method] = written
    if common:
        item["parameters"] = [parameter(one) for one in ordered(common)]
    return item


def reasons(code: int) -> str:
    """ "Created" of 201."""
    return HTTPStatus(code).phrase
