"""Every operation of the API, read off the rows of the scheme: path, method, what goes in and what comes out.

Version-neutral data, which `v2.py` and `v3.py` write down. Paths, operation identifiers and actions are upstream's
(apiserver `endpoints/installer.go`, kube-openapi): client generators turn the identifiers into method names, and kubectl looks
operations up by their `x-kubernetes-action` and `x-kubernetes-group-version-kind`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field

from tiphys.api.resource import Resource, Subresource
from tiphys.api.scheme import Scheme
from tiphys.api.types import TYPES, schema_of
from tiphys.apiserver import patching
from tiphys.apiserver.negotiation import SERVED, WITHOUT_PROTOBUF
from tiphys.apiserver.openapi import parameters
from tiphys.apiserver.openapi.parameters import Parameter
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupVersionKind

ANY = ("*/*",)
WATCHED = (*SERVED, "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
JSON_ONLY = ("application/json",)
STRING = "string"
"""In place of a type's name: a body that is no object."""
DEFINED = "#"
"""Begins the name of a definition that no types file has: of a custom resource."""
STATUS, WATCH_EVENT = "meta/v1.Status", "meta/v1.WatchEvent"
DELETE_OPTIONS, PATCH = "meta/v1.DeleteOptions", "meta/v1.Patch"
_CONNECT_METHODS = {"get": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}


@frozen(kw_only=True)
class Operation:
    """`responses` maps codes to the names of types in `api/*/*.types`, to STRING, or to "" for nothing."""

    path: str
    method: str
    identifier: str
    tag: str
    description: str
    action: str = ""
    kind: GroupVersionKind | None = None
    parameters: tuple[Parameter, ...] = ()
    body: str = ""
    body_required: bool = True
    consumes: tuple[str, ...] = ANY
    produces: tuple[str, ...] = SERVED
    responses: Mapping[int, str] = field(default_factory=dict)

    def types(self) -> Iterator[str]:
        """The names of the types that a document with this operation must define."""
        for name in (self.body, *self.responses.values()):
            if name not in ("", STRING) and not name.startswith(DEFINED):
                yield name


def camel_group(group: str) -> str:
    """ "FlowcontrolApiserver" of "flowcontrol.apiserver.k8s.io", "CertManagerIo" of "cert-manager.io", "Core" of ""."""
    stem = group.removesuffix(".k8s.io") or "core"
    return "".join(word[:1].upper() + word[1:] for word in re.split("[^a-zA-Z0-9]", stem))


def tag_of(group: str, version: str = "") -> str:
    camel = camel_group(group)
    stem = camel[:1].lower() + camel[1:]
    return f"{stem}_{version}" if version else stem


def resource_operations(scheme: Scheme, row: Resource) -> Iterator[Operation]:
    """What can be done with a kind: its collection, its objects, their subresources, and the old watch paths."""
    writer = _RowOperations(scheme, row)
    yield from writer.collection()
    yield from writer.item()
    yield from writer.watches()
    for subresource in row.subresources:
        yield from writer.subresource(subresource)


class _RowOperations:
    def __init__(self, scheme: Scheme, row: Resource) -> None:
        self._scheme = scheme
        self._row = row
        self._root = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
        self._scope = "/namespaces/{namespace}" if row.namespaced else ""
        self._in_path = (parameters.NAMESPACE,) if row.namespaced else ()
        version = row.version[:1].upper() + row.version[1:]
        self._stem = camel_group(row.group) + version
        self._noun = f"Namespaced{row.kind}" if row.namespaced else row.kind
        self._collection = f"{self._root}{self._scope}/{row.plural}"
        self._item = f"{self._collection}/{{name}}"
        self._type = row.type or f"{DEFINED}{custom_name(row)}"
        self._list = f"{self._type}List" if row.type else f"{DEFINED}{custom_name(row, row.list_kind)}"
        self._served = SERVED if row.schema is None else WITHOUT_PROTOBUF

    def _make(
        self,
        path: str,
        method: str,
        verb: str,
        description: str,
        *,
        noun: str = "",
        kind: GroupVersionKind | None = None,
        parameters: tuple[Parameter, ...] = (),
        body: str = "",
        body_required: bool = True,
        consumes: tuple[str, ...] = ANY,
        produces: tuple[str, ...] = (),
        action: str,
        responses: Mapping[int, str],
    ) -> Operation:
        return Operation(
            path=path,
            method=method,
            identifier=f"{verb}{self._stem}{noun or self._noun}",
            tag=tag_of(self._row.group, self._row.version),
            description=description,
            action=action,
            kind=kind or self._row.gvk,
            parameters=parameters,
            body=body,
            body_required=body_required,
            consumes=consumes,
            produces=produces or self._served,
            responses={**responses, 401: ""},
        )

    # Collections

    def collection(self) -> Iterator[Operation]:
        row, path = self._row, self._collection
        common = (*self._in_path, parameters.PRETTY)
        if "list" in row.verbs:
            yield self._listing(path, self._noun, common)
            if row.namespaced:
                everywhere = f"{self._root}/{row.plural}"
                yield self._listing(everywhere, f"{row.kind}ForAllNamespaces", (parameters.PRETTY,))
        if "create" in row.verbs:
            yield self._creating(path, f"Create {_article(row.kind)}.", self._type, common)
        if "deletecollection" in row.verbs:
            yield self._make(
                path,
                "delete",
                "delete",
                f"Delete every {row.kind} that a list with the same options shows.",
                noun=f"Collection{self._noun}",
                parameters=(*common, *parameters.DELETING_MANY),
                body=DELETE_OPTIONS,
                body_required=False,
                action="deletecollection",
                responses={200: STATUS},
            )

    def _watched(self) -> tuple[str, ...]:
        return WATCHED if self._row.schema is None else (*WITHOUT_PROTOBUF, "application/json;stream=watch")

    def _patches(self) -> tuple[str, ...]:
        has_strategic = schema_of(self._row).patch is not None
        return tuple(each for each in patching.ACCEPTED if has_strategic or each != patching.STRATEGIC)

    def _listing(self, path: str, noun: str, common: tuple[Parameter, ...]) -> Operation:
        watched = " or watch" if "watch" in self._row.verbs else ""
        return self._make(
            path,
            "get",
            "list",
            f"List{watched} objects of kind {self._row.kind}.",
            noun=noun,
            parameters=(*common, *parameters.LISTING),
            produces=self._watched(),
            action="list",
            responses={200: self._list},
        )

    def _creating(
        self,
        path: str,
        description: str,
        type_name: str,
        common: tuple[Parameter, ...],
        *,
        noun: str = "",
        kind: GroupVersionKind | None = None,
    ) -> Operation:
        return self._make(
            path,
            "post",
            "create",
            description,
            noun=noun,
            kind=kind,
            parameters=(*common, *parameters.WRITING),
            body=type_name,
            action="post",
            responses={200: type_name, 201: type_name, 202: type_name},
        )

    # Objects

    def item(self) -> Iterator[Operation]:
        row, path = self._row, self._item
        yield from self._get_put_patch(path, self._type, set(row.verbs))
        if "delete" in row.verbs:
            answer = self._type if row.returns_deleted else STATUS
            yield self._make(
                path,
                "delete",
                "delete",
                f"Delete {_article(row.kind)}.",
                parameters=(*self._of_one(), *parameters.DELETING),
                body=DELETE_OPTIONS,
                body_required=False,
                action="delete",
                responses={200: answer, 202: answer},
            )

    def _of_one(self) -> tuple[Parameter, ...]:
        return (parameters.NAME, *self._in_path, parameters.PRETTY)

    def _get_put_patch(
        self,
        path: str,
        type_name: str,
        verbs: set[str],
        *,
        part: str = "",
        kind: GroupVersionKind | None = None,
    ) -> Iterator[Operation]:
        """Reading, replacing and patching an object, or the part of it that a subresource is."""
        what = f"{part} of one {self._row.kind}" if part else f"one {self._row.kind}"
        noun, common = self._noun + part.capitalize(), self._of_one()
        if "get" in verbs:
            yield self._make(
                path,
                "get",
                "read",
                f"Read {what}.",
                noun=noun,
                kind=kind,
                parameters=common,
                action="get",
                responses={200: type_name},
            )
        if "update" in verbs:
            yield self._make(
                path,
                "put",
                "replace",
                f"Replace {what}.",
                noun=noun,
                kind=kind,
                parameters=(*common, *parameters.WRITING),
                body=type_name,
                action="put",
                responses={200: type_name, 201: type_name},
            )
        if "patch" in verbs:
            yield self._make(
                path,
                "patch",
                "patch",
                f"Change parts of {what}.",
                noun=noun,
                kind=kind,
                parameters=(*common, *parameters.PATCHING),
                body=PATCH,
                consumes=self._patches(),
                action="patch",
                responses={200: type_name, 201: type_name},
            )

    # The old way to watch

    def watches(self) -> Iterator[Operation]:
        row = self._row
        if "watch" not in row.verbs or row.schema is not None:
            return  # upstream writes no such paths down for custom resources
        below = f"{self._root}/watch"
        yield self._watching(
            f"{below}{self._scope}/{row.plural}", "watchlist", f"{self._noun}List", self._in_path
        )
        one = (parameters.NAME, *self._in_path)
        yield self._watching(f"{below}{self._scope}/{row.plural}/{{name}}", "watch", self._noun, one)
        if row.namespaced:
            yield self._watching(f"{below}/{row.plural}", "watchlist", f"{row.kind}ListForAllNamespaces", ())

    def _watching(self, path: str, action: str, noun: str, in_path: tuple[Parameter, ...]) -> Operation:
        what = "one object" if action == "watch" else "objects"
        return self._make(
            path,
            "get",
            "watch",
            f"Watch {what} of kind {self._row.kind}. Deprecated: use the watch parameter of a list instead.",
            noun=noun,
            parameters=(*in_path, parameters.PRETTY, *parameters.LISTING),
            produces=self._watched(),
            action=action,
            responses={200: WATCH_EVENT},
        )

    # Subresources

    def subresource(self, each: Subresource) -> Iterator[Operation]:
        path = f"{self._item}/{each.name}"
        type_name = type_of(self._scheme, each.kind) if each.kind else self._type
        if each.kind is not None and each.kind.kind.endswith("Options"):
            yield from self._connections(path, each, each.kind, type_name)
        elif each.name == "log":
            yield self._log(path)
        elif "create" in each.verbs:
            noun = self._noun + each.name.capitalize()
            description = f"Create {each.name} of {_article(self._row.kind)}."
            yield self._creating(path, description, type_name, self._of_one(), noun=noun, kind=each.kind)
        else:
            yield from self._get_put_patch(path, type_name, set(each.verbs), part=each.name, kind=each.kind)

    def _log(self, path: str) -> Operation:
        options = parameters.of_options(TYPES.struct("core/v1.PodLogOptions"), "Option of the log")
        return self._make(
            path,
            "get",
            "read",
            f"Read log of one {self._row.kind}.",
            noun=f"{self._noun}Log",
            parameters=(*self._of_one(), *options),
            produces=("text/plain", *SERVED),
            action="get",
            responses={200: STRING},
        )

    def _connections(
        self, path: str, each: Subresource, kind: GroupVersionKind, type_name: str
    ) -> Iterator[Operation]:
        methods = [_CONNECT_METHODS[verb] for verb in each.verbs]
        options = parameters.of_options(TYPES.struct(type_name), f"Option of {each.name}")
        common = (parameters.NAME, *self._in_path, *options)
        endings = [("", common)]
        if each.name == "proxy":
            methods += ["head", "options"]
            endings.append(("WithPath", (*common, parameters.PATH)))
        for ending, with_path in endings:
            below = "/{path}" if ending else ""
            for method in methods:
                yield self._make(
                    path + below,
                    method,
                    "connect",
                    f"Connect to {each.name} of {_article(self._row.kind)} by {method.upper()}.",
                    noun=f"{method.capitalize()}{self._noun}{each.name.capitalize()}{ending}",
                    kind=kind,
                    parameters=with_path,
                    produces=ANY,
                    action="connect",
                    responses={200: STRING},
                )


def type_of(scheme: Scheme, kind: GroupVersionKind) -> str:
    """The type of a kind that is only a body: it stands in the types file of its group and version."""
    for row in scheme:
        if row.group == kind.group and row.version == kind.version and row.type:
            return f"{row.type.rpartition('.')[0]}.{kind.kind}"
    raise LookupError(f"no types of {kind}")


def custom_name(row: Resource, kind: str = "") -> str:
    """ "io.cert-manager.v1.Certificate": what the definition of a custom resource is called."""
    return ".".join([*reversed(row.group.split(".")), row.version, kind or row.kind])


def _article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'AEIOU' else 'a'} {noun}"
