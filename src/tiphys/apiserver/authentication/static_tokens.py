"""Tokens in a file (`--token-auth-file`): lines of token,user,uid and, in quotes, groups; read once at the start."""

from __future__ import annotations

import csv
from pathlib import Path

from tiphys.apiserver.authentication.tokens import Audiences, Authenticated
from tiphys.apiserver.call import User

_AUTHENTICATED = "system:authenticated"


class BadTokenFile(Exception):
    """One line: the file, the line's number, what is wrong."""


def read_token_file(path: Path) -> dict[str, User]:
    """Token → user. Raises BadTokenFile."""
    found: dict[str, User] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadTokenFile(f"{path}: cannot be read: {error}") from None
    for number, row in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), 1):
        if not row:
            continue
        if len(row) < 3:
            raise BadTokenFile(
                f"{path}:{number}: a line needs at least 3 columns (token,user,uid), this one has {len(row)}"
            )
        token, name, uid = (value.strip() for value in row[:3])
        if not token or not name:
            raise BadTokenFile(f"{path}:{number}: the token and the user must not be empty")
        if token in found:
            raise BadTokenFile(f"{path}:{number}: this token stands in the file twice")
        groups = [group.strip() for group in row[3].split(",") if group.strip()] if len(row) > 3 else []
        found[token] = User(name, (*groups, _AUTHENTICATED), uid)
    return found


class StaticTokens:
    """A TokenReader over them."""

    def __init__(self, users: dict[str, User]) -> None:
        self._users = users

    def __call__(self, token: str, audiences: Audiences) -> Authenticated | None:
        del audiences
        user = self._users.get(token)
        return None if user is None else Authenticated(user)
