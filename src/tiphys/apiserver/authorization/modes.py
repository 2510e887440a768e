"""The authorizers by the names of `--authorization-mode`."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.apiserver.authorization.chain import Authorizers
from tiphys.apiserver.authorization.default_roles import defaults
from tiphys.apiserver.authorization.interface import (
    ALLOWED,
    Authorizer,
    Decision,
    Lookup,
    Rules,
    Verdict,
)
from tiphys.apiserver.authorization.node import NodeAuthorizer
from tiphys.apiserver.authorization.rbac import RBAC
from tiphys.apiserver.authorization.rules import EVERYTHING
from tiphys.apiserver.call import User
from tiphys.apiserver.requests import RequestInfo


class AlwaysAllow:
    def authorize(self, user: User, info: RequestInfo) -> Decision:
        return ALLOWED

    def rules(self, user: User, namespace: str) -> Rules:
        return Rules(EVERYTHING)


class AlwaysDeny:
    def authorize(self, user: User, info: RequestInfo) -> Decision:
        return Decision(Verdict.NO_OPINION, "Everything is forbidden.")

    def rules(self, user: User, namespace: str) -> Rules:
        return Rules()


def authorizers(modes: Sequence[str], lookup: Lookup, rbac: RBAC) -> Authorizers:
    """One for each mode, in order; `flags.py` has checked the names."""

    def make(mode: str) -> Authorizer:
        if mode == "Node":
            return NodeAuthorizer(lookup, lambda: defaults().rules_of("system:node"))
        if mode == "RBAC":
            return rbac
        return AlwaysAllow() if mode == "AlwaysAllow" else AlwaysDeny()

    return Authorizers([make(mode) for mode in modes])
