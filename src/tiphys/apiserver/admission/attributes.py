"""What an admission plugin is told of a request, and what it may change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.cache import ResourceCache
from tiphys.apiserver.call import Call, User
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupVersionKind

if TYPE_CHECKING:
    from tiphys.apiserver.admission.plans import Plans

Remembered = TypeVar("Remembered")
CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"


class Objects(Protocol):
    """The objects of the cluster, for plugins that look others up."""

    def cache(self, group: str, plural: str) -> ResourceCache: ...


@dataclass(slots=True)
class Attributes:
    """`object` is None for a deletion and may be changed in place by `admit`; `old` is None for a creation.

    Below an object, `object` is what was sent there: a Binding, a Scale, the options of an exec. `kind` says which.
    """

    call: Call
    operation: str
    row: Resource
    kind: GroupVersionKind
    namespace: str
    name: str
    user: User
    objects: Objects
    subresource: str = ""
    object: Object | None = None
    old: Object | None = None
    options: Mapping[str, Any] | None = None
    """Of a deletion: what its DeleteOptions say."""
    dry_run: bool = False
    plans: Plans | None = None
    """The chain's, of such requests."""
    changed: bool = False
    """Set by a plugin that has made another object of it, on the word of somebody outside: the server's own fields are then
    put right again."""
    again: bool = False
    """Whether this is the second round of those who may change the object (reinvocation)."""
    wants_again: bool = False
    """Set in the first round by a plugin that has changed the object so that the others should look again."""
    memory: dict[str, Any] | None = None
    """What plugins remember from the first round, by their names; made by the first of them."""
    when_over: tuple[Callable[[type[BaseException] | None], None], ...] = ()
    """Called once the write is over, with what went wrong: None when it is in the store."""

    def __enter__(self) -> None:
        """The write begins that plugins may wait for the end of."""

    def __exit__(self, kind: type[BaseException] | None, error: Any, where: Any) -> None:
        for over in self.when_over:
            over(kind)

    def recall(self, name: str, make: Callable[[], Remembered]) -> Remembered:
        """What a plugin remembers, made when it is first asked for."""
        if self.memory is None:
            self.memory = {}
        if name not in self.memory:
            self.memory[name] = make()
        remembered: Remembered = self.memory[name]
        return remembered

    def is_for(self, group: str, plural: str, subresource: str = "") -> bool:
        return self.row.plural == plural and self.row.group == group and self.subresource == subresource

    @property
    def called(self) -> str:
        """The name for messages: what shall be made up begins like this."""
        metadata = (self.object or {}).get("metadata") or {}
        return self.name or metadata.get("name") or metadata.get("generateName") or "Unknown"

    def forbidden(self, cause: str) -> StatusError:
        """403 as every plugin says it: `pods "a" is forbidden: …`."""
        return errors.forbidden(self.row.group_resource, self.called, cause)


class Plugin(Protocol):
    """One rule. `admit` may change the object, `validate` only look at it; both refuse by raising a StatusError.

    Either may be left out. What must wait (webhooks) returns an awaitable. Two more are looked for: `concerns(kind, attributes)`
    says whether it may have anything to say ("admit" or "validate") to any request of this operation on this resource (in this
    version, with this subresource), whoever asks and for whatever object; it is not asked again before it has called what
    `follow(changed)` gave it.
    """

    name: str


class Mutating(Plugin, Protocol):
    def admit(self, attributes: Attributes) -> Awaitable[None] | None: ...


class Validating(Plugin, Protocol):
    def validate(self, attributes: Attributes) -> Awaitable[None] | None: ...
