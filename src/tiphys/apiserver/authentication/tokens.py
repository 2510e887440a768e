"""What the readers of bearer tokens have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tiphys.apiserver.call import User
from tiphys.machinery.frozen import frozen

Audiences = tuple[str, ...]


class TokenError(Exception):
    """Why a token is not valid, in upstream's words; the caller of the API sees it in a TokenReview only."""


@frozen
class Authenticated:
    """Whose token it is. `audiences`: which of those that were asked for it is meant for; None: it says nothing of that,
    and is meant for this server. `annotations` are for the audit log, `warning` is for the user."""

    user: User
    audiences: Audiences | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    warning: str = ""


Found = Authenticated | None
TokenReader = Callable[[str, Audiences], "Found | Awaitable[Found]"]
"""(token, audiences that are asked for) → whose it is; None: somebody else's kind of token. Raises TokenError. What must ask
elsewhere returns an awaitable of the same."""
