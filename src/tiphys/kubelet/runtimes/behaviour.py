"""What simulated containers do, told by rules: fail, crash, be slow, be unready, write a log, answer a command.

    behaviours = Behaviours()
    behaviours.add(Behaviour(pod="web-*", run_seconds=5, exit_code=1, lives=2))      # crashes twice, then runs
    behaviours.add(Behaviour(image="*/broken:*", pull_error="manifest unknown"))

A rule says which containers it is about (patterns as in a shell) and what they do; a field that is None says nothing about it.
Of the rules that are about a container, the newest that says something about a field decides it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import Any

from tiphys.machinery.frozen import frozen


@frozen(kw_only=True)
class Behaviour:
    """One rule. `pull_*` look at the image only, for a node pulls for all of its pods."""

    pod: str = "*"
    namespace: str = "*"
    container: str = "*"
    image: str = "*"
    """With or without what images of Docker's library may leave out: "nginx", "nginx:latest", "docker.io/library/nginx:latest"."""
    lives: int | None = None
    """Only for so many first lives of a container; later ones are as other rules say."""

    start_seconds: float | None = None
    run_seconds: float | None = None
    """How long it runs before it exits by itself."""
    exit_code: int | None = None
    reason: str | None = None
    """Of its end, "OOMKilled" for instance."""
    ready: bool | None = None
    ready_after_seconds: float | None = None
    """Unready for so long after each start."""
    cpu: str | None = None
    memory: str | None = None
    """What it uses, as quantities: "250m", "64Mi"."""
    logs: tuple[str, ...] | None = None
    """What every life writes when it starts, one entry a line."""
    answers: Mapping[str, tuple[str, int]] | None = None
    """What commands in the container say: a pattern of the command line → (output, exit code)."""
    pull_seconds: float | None = None
    pull_error: str | None = None
    """Why the image cannot be had; "" makes it available again."""

    @property
    def ends(self) -> tuple[float, int] | None:
        """(seconds, exit code), if it says that the container ends."""
        if self.run_seconds is None and self.exit_code is None:
            return None
        return self.run_seconds or 0.0, self.exit_code or 0

    def answer(self, command_line: str) -> tuple[str, int] | None:
        for pattern, answer in (self.answers or {}).items():
            if fnmatchcase(command_line, pattern):
                return answer
        return None


_SAYS = tuple(
    field.name
    for field in fields(Behaviour)
    if field.name not in ("pod", "namespace", "container", "image", "lives")
)


def is_image(whole_name: str, pattern: str) -> bool:
    """Whether a pattern means an image of this normalized name."""
    short = whole_name.removeprefix("docker.io/").removeprefix("library/")
    return any(fnmatchcase(name, pattern) for name in (whole_name, short, short.removesuffix(":latest")))


class Behaviours:
    """The rules of one cluster. `on_change` is called after each change."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._rules: dict[int, Behaviour] = {}
        self._next = 0

    def add(self, rule: Behaviour) -> int:
        """The number by which `remove` knows it."""
        self._next += 1
        self._rules[self._next] = rule
        self.on_change()
        return self._next

    def remove(self, number: int) -> None:
        self._rules.pop(number, None)
        self.on_change()

    def clear(self) -> None:
        self._rules.clear()
        self.on_change()

    def of_container(self, pod: tuple[str, str], container: str, image: str, attempt: int) -> Behaviour:
        """What one life of a container does; `pod` is (namespace, name)."""
        return self._merged(
            lambda rule: (
                fnmatchcase(pod[1], rule.pod)
                and fnmatchcase(pod[0], rule.namespace)
                and fnmatchcase(container, rule.container)
                and is_image(image, rule.image)
                and (rule.lives is None or attempt < rule.lives)
            )
        )

    def of_image(self, image: str) -> Behaviour:
        return self._merged(lambda rule: is_image(image, rule.image))

    def _merged(self, concerns: Callable[[Behaviour], bool]) -> Behaviour:
        said: dict[str, Any] = {}
        for rule in reversed(self._rules.values()):
            if concerns(rule):
                for name in _SAYS:
                    value = getattr(rule, name)
                    if value is not None:
                        said.setdefault(name, value)
        return Behaviour(**said)
