"""Image references, as far as the API server looks into them: which tag is asked for.

The grammar is the distribution project's (`reference` package): `[domain/]path[:tag][@algorithm:hex]`.
"""

from __future__ import annotations

import re
from functools import lru_cache

_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_HOST_COMPONENT}(?:\.{_HOST_COMPONENT})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*)"
    rf"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
NAME_LIMIT = 255


def image_tag(image: str) -> str:
    """The tag that `image` asks for: "latest" without tag and digest, "" for a digest alone or no reference at all."""
    match = _REFERENCE.fullmatch(image)
    if match is None or _IDENTIFIER.fullmatch(image) or len(match["name"]) > NAME_LIMIT:
        return ""
    if match["tag"]:
        return match["tag"]
    return "" if match["digest"] else "latest"


@lru_cache(maxsize=4096)
def default_pull_policy(image: str) -> str:
    """`imagePullPolicy` of a container that names none: a moving tag is pulled every time."""
    return "Always" if image_tag(image) == "latest" else "IfNotPresent"
