"""What came of one probe."""

from __future__ import annotations

from tiphys.machinery.frozen import frozen


@frozen
class ProbeResult:
    """`is_known` False: the handler itself broke; that counts neither way.

    A success that `warns` counts as one, and its message is told all the same.
    """

    succeeded: bool
    message: str = ""
    is_known: bool = True
    warns: bool = False


def broken(message: str) -> ProbeResult:
    return ProbeResult(succeeded=False, message=message, is_known=False)
