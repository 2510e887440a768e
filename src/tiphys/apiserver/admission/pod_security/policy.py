"""What a namespace asks of its pods: a level and a version to enforce, to audit and to warn of, from its labels.

https://kubernetes.io/docs/concepts/security/pod-security-admission/#pod-security-admission-labels-for-namespaces
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from tiphys.machinery.fields import FieldError, Path
from tiphys.machinery.frozen import frozen

PREFIX = "pod-security.kubernetes.io/"
PRIVILEGED, BASELINE, RESTRICTED = LEVELS = ("privileged", "baseline", "restricted")
LATEST = -1
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")
_LABELS = Path("metadata", "labels")


@frozen
class LevelVersion:
    """`version` is the x of v1.x, or LATEST."""

    level: str = PRIVILEGED
    version: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.version == LATEST else f'v1.{self.version}'}"

    @property
    def is_privileged(self) -> bool:
        return self.level == PRIVILEGED

    def equals(self, other: LevelVersion) -> bool:
        """They ask the same of a pod."""
        return self == other or (self.is_privileged and other.is_privileged)


@frozen
class Policy:
    enforce: LevelVersion = LevelVersion()
    audit: LevelVersion = LevelVersion()
    warn: LevelVersion = LevelVersion()

    def mode(self, name: str) -> LevelVersion:
        found: LevelVersion = getattr(self, name)
        return found

    @property
    def is_privileged(self) -> bool:
        return self.enforce.level == self.audit.level == self.warn.level == PRIVILEGED

    def equals(self, other: Policy) -> bool:
        return all(self.mode(name).equals(other.mode(name)) for name in MODES)


MODES = ("enforce", "audit", "warn")


class BadValue(ValueError):
    """Of a level or a version; the message says what there is."""


def parse_level(text: str) -> str:
    if text not in LEVELS:
        raise BadValue(f"must be one of {', '.join(LEVELS)}")
    return text


def parse_version(text: str) -> int:
    if text == "latest":
        return LATEST
    match = _VERSION.fullmatch(text)
    if match is None:
        raise BadValue('must be "latest" or "v1.x"')
    return int(match[1])


def policy_of(labels: Mapping[str, str], defaults: Policy) -> tuple[Policy, list[FieldError]]:
    """There is always a policy: with a label that makes no sense it is the strictest, or no word at all in an audit or a warning."""
    policy, errors = defaults, list[FieldError]()
    if not any(label.startswith(PREFIX) for label in labels):
        return policy, errors
    for mode in MODES:
        asked = policy.mode(mode)
        level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
        if level is not None:
            try:
                asked = replace(asked, level=parse_level(level))
            except BadValue as error:
                asked = replace(asked, level=RESTRICTED if mode == "enforce" else PRIVILEGED)
                errors.append(FieldError.invalid(_LABELS.key(PREFIX + mode), level, str(error)))
        if version is not None:
            try:
                asked = replace(asked, version=parse_version(version))
            except BadValue as error:
                asked = replace(asked, version=LATEST)
                errors.append(FieldError.invalid(_LABELS.key(f"{PREFIX}{mode}-version"), version, str(error)))
        policy = replace(policy, **{mode: asked})
    return policy, errors
