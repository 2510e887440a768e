"""kubeconfigs of a cluster: the administrator's own file, and a context in the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tiphys.client import kubeconfig
from tiphys.client.kubeconfig import KubeconfigError
from tiphys.cluster.layout import ClusterConfig, Layout
from tiphys.cluster.pki import Authority


def context_name(name: str) -> str:
    return f"tiphys-{name}"


def write_kubeconfigs(
    layout: Layout, config: ClusterConfig, port: int, environment: Mapping[str, str]
) -> str | None:
    """Writes ours, and puts its context into the user's; why the user's could not be changed, if so.

    The user's file may be read-only, or no YAML: that is no reason to have no cluster.
    """
    authority = Authority(layout.pki, datetime.now(UTC))
    access = kubeconfig.Access(
        server=f"https://127.0.0.1:{port}",
        certificate_authority=authority.certificate_file.read_bytes(),
        client_certificate=authority.certificate("admin").read_bytes(),
        client_key=authority.key("admin").read_bytes(),
    )
    own = kubeconfig.make(context_name(config.name), access)
    kubeconfig.save(layout.kubeconfig, own)
    path = kubeconfig.default_path(environment)
    return _problem(path, lambda: kubeconfig.merge_into(path, own))


def forget_context(name: str, environment: Mapping[str, str]) -> str | None:
    """Takes the context out of the user's kubeconfig; why it could not, if so."""
    for path in kubeconfig.paths(environment):
        if (problem := _problem(path, partial(kubeconfig.remove_from, path, context_name(name)))) is not None:
            return problem
    return None


def _problem(path: Path, change: Callable[[], None]) -> str | None:
    try:
        change()
    except KubeconfigError as error:
        return str(error)
    except OSError as error:
        return f"cannot write {path}: {error.strerror}"
    return None
