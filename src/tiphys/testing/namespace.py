"""A namespace of its own for every test, and nothing left of it afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from tiphys.testing.access import write_kubeconfig
from tiphys.testing.links import Link
from tiphys.testing.scope import Scope

ACCOUNT_SECONDS = 5.0
GRACE_SECONDS = 2.0
"""So long finalizers have to do their work; then everything is taken away."""


class Namespace(Scope):
    """`str()` of it is its name; it can do with objects what a Cluster can, within itself."""

    def __init__(
        self, link: Link, name: str, directory: Path, make_kubeconfig: Callable[..., Mapping[str, Any]]
    ) -> None:
        super().__init__(link, name)
        self._directory = directory
        self._make_kubeconfig = make_kubeconfig

    @classmethod
    def make(
        cls, link: Link, directory: Path, prefix: str, make_kubeconfig: Callable[..., Mapping[str, Any]]
    ) -> Namespace:
        """Creates it, and waits for its default service account if there is a controller for that."""
        made = cls(link, f"{_label(prefix)}-{secrets.token_hex(3)}", directory, make_kubeconfig)
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.name}}
        link.call("create", obj=obj, namespace="").result()
        if "serviceaccount-controller" in link.call("controllers").result():
            made.wait_for("serviceaccount/default", lambda account: True, ACCOUNT_SECONDS)
        return made

    @property
    def name(self) -> str:
        return self._namespace

    def __str__(self) -> str:
        return self._namespace

    def __repr__(self) -> str:
        return f"Namespace({self._namespace!r})"

    @cached_property
    def kubeconfig(self) -> Path:
        """The administrator's, with this namespace as the one to begin in."""
        config = self._make_kubeconfig(namespace=self._namespace)
        return write_kubeconfig(self._directory / f"kubeconfig.{self._namespace}", config)

    def remove(self) -> None:
        """Deletes it properly; what hangs on finalizers that nobody serves is taken away after a moment."""
        self.delete(f"namespace/{self.name}")
        with suppress(TimeoutError):
            self.wait_gone(f"namespace/{self.name}", GRACE_SECONDS)
            return
        self._call("erase_namespace", name=self.name)


def _label(prefix: str) -> str:
    """As much of a test's name as a namespace's name can hold (RFC 1123: 63 letters, digits and dashes)."""
    text = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in prefix.lower())
    return text.strip("-")[:50].strip("-") or "test"
