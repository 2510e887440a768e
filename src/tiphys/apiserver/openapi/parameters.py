"""Query and path parameters of the API's operations, as data: the generic ones in a table, the others from `…Options` types."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.machinery.frozen import frozen
from tiphys.machinery.schema import Field, ListOf, Scalar, ScalarKind, Struct

_TYPES = {
    ScalarKind.STRING: "string",
    ScalarKind.BOOL: "boolean",
    ScalarKind.INT32: "integer",
    ScalarKind.INT64: "integer",
}


@frozen
class Parameter:
    """`where` is "query" or "path"; a path parameter is always required. `shared`: v2 may refer to it by its name."""

    name: str
    type: str
    description: str
    where: str = "query"
    shared: bool = False


NAME = Parameter("name", "string", "Name of the object.", "path")
NAMESPACE = Parameter("namespace", "string", "Namespace of the object.", "path", shared=True)
PATH = Parameter("path", "string", "Path that the request is passed on to.", "path", shared=True)
PRETTY = Parameter("pretty", "string", 'If "true", the answer is indented.', shared=True)

# kubectl looks for these two by name in the operation itself, so v2 never refers to them.
DRY_RUN = Parameter(
    "dryRun", "string", "All: go through every step of the request, but keep nothing of what it changes."
)
FIELD_VALIDATION = Parameter(
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields in the body: Ignore drops them silently, Warn drops them with a warning, "
    "Strict refuses the request.",
)
FIELD_MANAGER = Parameter(
    "fieldManager", "string", "Who makes the change, for metadata.managedFields.", shared=True
)
FORCE = Parameter(
    "force", "boolean", "For apply: take over fields that other managers own with other values.", shared=True
)

WRITING = (DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION)
PATCHING = (*WRITING, FORCE)
DELETING = (
    DRY_RUN,
    Parameter(
        "gracePeriodSeconds",
        "integer",
        "Seconds that the object is given to end; zero deletes it at once. Left out: the default of its kind.",
        shared=True,
    ),
    Parameter(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Delete an object that can no longer be read from the store, past its finalizers.",
        shared=True,
    ),
    Parameter(
        "orphanDependents",
        "boolean",
        "Deprecated, use propagationPolicy: whether dependents stay.",
        shared=True,
    ),
    Parameter(
        "propagationPolicy",
        "string",
        "What becomes of dependents: Orphan keeps them, Background deletes them later, Foreground deletes them first.",
        shared=True,
    ),
)
_SELECTING = (
    Parameter(
        "continue",
        "string",
        "The token of the page before: the list goes on where that page ended, at the same revision.",
        shared=True,
    ),
    Parameter("fieldSelector", "string", "Only objects whose fields match.", shared=True),
    Parameter("labelSelector", "string", "Only objects whose labels match.", shared=True),
    Parameter(
        "limit", "integer", "At most so many objects; the rest is had with a continue token.", shared=True
    ),
    Parameter(
        "resourceVersion",
        "string",
        "The revision of the list, or the one after which a watch begins; resourceVersionMatch says how it is meant.",
        shared=True,
    ),
    Parameter(
        "resourceVersionMatch", "string", "Exact or NotOlderThan: how resourceVersion is meant.", shared=True
    ),
    Parameter(
        "sendInitialEvents",
        "boolean",
        "Of a watch: begin with an ADDED event for everything that is there, then a bookmark that says so.",
        shared=True,
    ),
    Parameter("shardSelector", "string", "Only the objects of one shard.", shared=True),
    Parameter("timeoutSeconds", "integer", "How long a list may take or a watch may last.", shared=True),
)
LISTING = (
    Parameter(
        "allowWatchBookmarks",
        "boolean",
        "Whether the watch may send BOOKMARK events, which carry only a resourceVersion.",
        shared=True,
    ),
    *_SELECTING,
    Parameter("watch", "boolean", "Watch the objects for changes instead of listing them.", shared=True),
)
DELETING_MANY = (*DELETING, *_SELECTING)


def of_options(struct: Struct, descriptions: str) -> tuple[Parameter, ...]:
    """One query parameter for every plain field of an options type; a list is a parameter that may be repeated."""
    return tuple(
        Parameter(name, _TYPES[kind], field.description or f"{descriptions}: {name}.")
        for name, field in struct.fields.items()
        if name not in ("kind", "apiVersion") and (kind := _scalar(field)) in _TYPES
    )


def _scalar(field: Field) -> ScalarKind | None:
    type_ = field.type.item if isinstance(field.type, ListOf) else field.type
    return type_.kind if isinstance(type_, Scalar) else None


def ordered(parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    return tuple(sorted(parameters, key=lambda parameter: (parameter.name, parameter.where)))
