"""The question "may they?", and who may answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from tiphys.apiserver.cache import ResourceCache
from tiphys.apiserver.call import User
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery.frozen import frozen

Rule = dict[str, Any]
"""A PolicyRule of rbac.authorization.k8s.io/v1."""
Lookup = Callable[[str, str], ResourceCache]
"""(group, plural) → the objects of a resource."""


class Verdict(Enum):
    ALLOW = "allow"
    DENY = "deny"
    """Nobody is asked after this."""
    NO_OPINION = "no opinion"
    """The next one decides; when nobody allows it, it is refused."""


class Decision(NamedTuple):
    """`reason` is for people: it stands in the refusal, in reviews and in the audit log."""

    verdict: Verdict
    reason: str = ""

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOW


NO_OPINION = Decision(Verdict.NO_OPINION)
ALLOWED = Decision(Verdict.ALLOW)


@frozen
class Rules:
    """What somebody may do in a namespace, as far as it can be written down. `error`: why it may be incomplete."""

    rules: Sequence[Rule] = ()
    incomplete: bool = False
    error: str = ""


class Authorizer(Protocol):
    """One of the modes that `--authorization-mode` names. What must ask elsewhere returns an awaitable."""

    def authorize(self, user: User, info: RequestInfo) -> Decision | Awaitable[Decision]: ...

    def rules(self, user: User, namespace: str) -> Rules: ...
