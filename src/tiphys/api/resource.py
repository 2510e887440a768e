"""The form of a kind: one row says all that the API server must know to serve it.

A row names a kind in the words that a CustomResourceDefinition uses, so that built-in kinds and custom resources are one
code path. Its fields are a block in `api/<group>/<version>.types`; its defaults, validation and printed columns are the
functions the row names. docs/add-a-kind.md is the checklist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from tiphys.machinery.errors import FieldError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import (
    GroupKind,
    GroupResource,
    GroupVersion,
    GroupVersionKind,
    GroupVersionResource,
)

if TYPE_CHECKING:
    from tiphys.machinery.apply.shapes import Granular
    from tiphys.machinery.patches import PatchSchema
    from tiphys.machinery.schema import CheckResult, Struct

Object = dict[str, Any]
Default = Callable[[Object], None]
"""Fills in what the client left out; changes the object in place. Must be idempotent."""
Validate = Callable[[Object, Object | None], list[FieldError]]
"""(new, old or None on create) → what is wrong. Metadata is checked by the generic registry, not here."""
Prepare = Callable[[Object, Object | None], None]
"""(new, old or None on create): drops or keeps what this request may not change; in place, before validation."""
FieldGetter = Callable[[Object], str]

EVERYTHING = ("*",)
"""For `generation_on`: every field but apiVersion, kind and metadata."""
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
GET_UPDATE = ("get", "patch", "update")


class Schema(Protocol):
    """Which fields a kind has: a block of a types file (`types.py`), or what a CustomResourceDefinition says."""

    @property
    def struct(self) -> Struct | None:
        """The block. None: the fields are known at run time only, so that there is no protobuf (415, 406)."""

    @property
    def patch(self) -> PatchSchema | None:
        """How lists merge in strategic merge patches. None: it takes none (415)."""

    @property
    def shape(self) -> Granular:
        """How appliers own the parts of an object."""

    @property
    def openapi(self) -> Object | None:
        """What clients are told about the fields when `struct` is None: the OpenAPI v3 schema of the
        CustomResourceDefinition, or None when it has none that may be shown."""

    def check(self, obj: Object, *, duplicates_source: bytes | None = None) -> CheckResult:
        """The canonical form of an object and what is wrong with its fields: as `machinery.schema.check`."""


class Reading(Protocol):
    """How what lies in the store becomes an object of one version of a kind that was made at run time.

    Such objects are kept as they were written: in any version that ever was the stored one, with the fields of that day's
    schema. So they are judged when they are read, and a program outside may have to be asked.
    """

    def read(self, obj: Object) -> Object | None:
        """A stored object, which is given away, in this version, pruned and with defaults. None: `convert` knows."""

    async def convert(self, objects: Sequence[Object]) -> list[Object]:
        """As `read`, of those for which it gives None, all at once. Raises StatusError."""

    async def write(self, obj: Object) -> Object:
        """An object of this version, which stays as it is, in the version to be stored. Raises StatusError."""

    def in_version(self, obj: Object, api_version: str) -> Object:
        """An object as it is in another version: for who owns its fields there. Raises Unconverted."""


class Unconverted(Exception):
    """A webhook must be asked before this can go on: await `resolve` (which raises StatusError), and try again."""

    def __init__(self, resolve: Callable[[], Awaitable[None]]) -> None:
        super().__init__("the object must be converted first")
        self.resolve = resolve


@frozen
class Rules:
    """What a write must obey."""

    prepare: Prepare | None = None
    validate: Validate | None = None
    raises_generation: bool = True
    """Whether a change of what the kind's `generation_on` names raises the generation. A binding does not."""


@frozen
class Subresource:
    """A path below an object. `status` and `scale` are generic; the others have a handler in `apiserver/subresources/`."""

    name: str
    verbs: tuple[str, ...] = GET_UPDATE
    kind: GroupVersionKind | None = None
    """The kind of its body; None: the parent's own."""
    rules: Rules | None = None
    """What a write of the object through this path obeys instead of the kind's own `prepare` and `validate`: a binding
    sets the node's name, which no other update of a pod may. None: the kind's own. (`status` has its own fields below.)"""
    resets: tuple[str, ...] = ("spec",)
    """What a write through this path leaves as it was, whatever it says: `metadata` means labels, annotations, finalizers
    and owner references. Nobody comes to own it here. (Upstream: GetResetFields of the strategy.)"""
    writes: tuple[str, ...] = ()
    """Where only a few fields can be written, these: `spec.containers.*.resources`. Then `resets` does not count."""


STATUS_ONLY = Subresource("status", resets=("metadata", "spec"))
"""The status of most newer kinds: not even labels can be written there."""


@frozen
class Column:
    """One printed column: what `kubectl get` heads it with. priority 1 is shown by `-o wide` only."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


@frozen
class Table:
    """Printed columns and the function that fills one row: `cells(obj, now)` gives one value a column."""

    columns: tuple[Column, ...]
    cells: Callable[[Object, datetime], list[Any]]
    conditions: Callable[[Object], list[Object]] | None = None
    """What a row says of its object beside the cells (TableRowCondition: that a pod is over)."""


@frozen
class ScalePaths:
    """Where `/scale` finds its numbers, as in a CustomResourceDefinition's `subresources.scale`."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    selector: str = ".spec.selector"
    """A LabelSelector, a plain map of labels (ReplicationController), or a string; printed as a string in Scale. "": none."""


@frozen
class Conversion:
    """For a version that is not the stored one: both take and return a whole object and may share parts of the input."""

    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]


_NAME_OF = attrgetter("name")


@frozen(kw_only=True)
class Resource:
    """One kind in one version. Rows of the same group and plural are versions of one resource."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    singular: str = ""
    kind_of_list: str = ""
    """ "": the kind and "List"."""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    type: str = ""
    """Its block in a types file, "core/v1.Pod"."""
    schema: Schema | None = None
    """Its fields, when no types file has them. Read it by `types.schema_of`."""
    stored: GroupVersionKind | None = None
    """The version kept in the store when it is not this one (then `conversion` is set unless the shapes are the same)."""
    conversion: Conversion | None = None
    reading: Reading | None = None
    """In place of `conversion`, for a kind that was made at run time; it also marks such a kind."""
    warnings: tuple[str, ...] = ()
    """Go with every answer: the version is deprecated."""
    terminating: bool = False
    """The kind itself is being deleted: nothing new of it is created (405)."""
    table: Table | None = None
    defaults: Default | None = None
    status_defaults: Default | None = None
    """What `defaults` do where nothing but the status can lack any. None: it is not known apart."""
    prepare: Prepare | None = None
    validate: Validate | None = None
    advise: Callable[[Object, Object | None], Iterable[str]] | None = None
    """(new, old or None on create) → what the client is warned of although it is allowed."""
    prepare_status: Prepare | None = None
    validate_status: Validate | None = None
    name_errors: Callable[[str], list[str]] | None = None
    """What is wrong with a name of this kind; None: a DNS subdomain."""
    generation_on: tuple[str, ...] = ("spec",)
    """A change of one of these top-level fields raises metadata.generation; empty: the kind has no generation. EVERYTHING."""
    selectable_fields: Mapping[str, FieldGetter] = field(default_factory=dict)
    """Field selectors beyond metadata.name and metadata.namespace."""
    scale: ScalePaths | None = None
    graceful_deletion_seconds: Callable[[Object], int | None] | None = None
    """The grace period of a delete without one of its own; None: this kind is deleted at once."""
    orphans_dependents: str = ""
    """A delete that does not say what becomes of dependents leaves them, and the client is warned so; "": they go in the background."""
    note_caller: Callable[[Object, Mapping[str, Any]], None] | None = None
    note_time: Callable[[Object, Object, datetime], None] | None = None
    """Fills in the times that an update left to the server: (new, old, now)."""
    """Writes into a new object who made it (a UserInfo: username, uid, groups, extra), over whatever the client wrote there."""
    status_on_create: bool = False
    """A create may bring a status (nodes); otherwise it is dropped for kinds with a status subresource."""
    returns_deleted: bool = False
    """A DELETE that removes the object is answered with the object (pods, services) instead of a Status."""
    holds_deletion: Callable[[Object], bool] | None = None
    """Beyond metadata.finalizers: what else keeps a dying object (a namespace's spec.finalizers)."""
    mark_deleted: Callable[[Object], Object] | None = None
    """What else changes when an object is marked for deletion (a namespace's phase); returns a new object."""
    create_on_update: bool = False
    """A PUT of a name that does not exist creates it (leases, endpoints, …)."""
    unconditional_update: bool = True
    """A PUT may leave resourceVersion out."""
    resets: tuple[str, ...] | None = None
    """What a write of the object itself leaves as it was. None: its status, when that is a subresource, else nothing."""
    virtual: bool = False
    """Nothing is stored: a create is answered by a handler (reviews, bindings)."""

    @property
    def group_version(self) -> GroupVersion:
        return GroupVersion(self.group, self.version)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def gvr(self) -> GroupVersionResource:
        return GroupVersionResource(self.group, self.version, self.plural)

    @property
    def group_kind(self) -> GroupKind:
        return GroupKind(self.group, self.kind)

    @property
    def group_resource(self) -> GroupResource:
        return GroupResource(self.group, self.plural)

    @property
    def list_kind(self) -> str:
        return self.kind_of_list or f"{self.kind}List"

    @property
    def singular_name(self) -> str:
        return self.singular or self.kind.lower()

    @property
    def has_status(self) -> bool:
        """Its status is a subresource. (Asked with every write: hence not by `subresource`.)"""
        return "status" in map(_NAME_OF, self.subresources)

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, or None."""
        for candidate in self.subresources:
            if candidate.name == name:
                return candidate
        return None
