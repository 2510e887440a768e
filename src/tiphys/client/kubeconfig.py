"""kubeconfig files (`v1 Config`): which cluster, as whom. Read, written, and merged without losing what others put there.

The rules are kubectl's: $KUBECONFIG, else ~/.kube/config; `*-data` fields are base64 and win over the file they stand
beside; relative file names are relative to the kubeconfig.
"""

from __future__ import annotations

import base64
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiphys.machinery.frozen import frozen

Config = dict[str, Any]
_SECTIONS = ("clusters", "users", "contexts")
LOCK_SECONDS = 2.0


class KubeconfigError(Exception):
    """A kubeconfig that cannot be used; the message names the file and what is missing."""


@frozen
class Access:
    """What one context of a kubeconfig gives: certificates and keys are PEM bytes; all may be empty."""

    server: str
    certificate_authority: bytes = b""
    client_certificate: bytes = b""
    client_key: bytes = b""
    token: str = ""
    token_file: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    namespace: str = "default"


def paths(environment: Mapping[str, str]) -> list[Path]:
    """Where kubectl reads: every name in $KUBECONFIG, else ~/.kube/config."""
    names = [name for name in environment.get("KUBECONFIG", "").split(os.pathsep) if name]
    home = environment.get("HOME") or str(Path.home())
    return [Path(name) for name in names] or [Path(home) / ".kube" / "config"]


def default_path(environment: Mapping[str, str]) -> Path:
    """Where kubectl writes what is new: the first of its files that exists, else the last."""
    candidates = paths(environment)
    return next((path for path in candidates if path.exists()), candidates[-1])


def load(path: Path) -> Config:
    """The file as a dict. KubeconfigError when it cannot be read or is no kubeconfig."""
    import yaml  # who only makes one needs none

    try:
        config = yaml.safe_load(path.read_text())
    except OSError as error:
        raise KubeconfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"{path} is not YAML: {error}") from error
    if config is None:
        return {}
    if not isinstance(config, dict) or not all(_is_list_of_named(config.get(name)) for name in _SECTIONS):
        raise KubeconfigError(f"{path} is not a kubeconfig")
    return config


def _is_list_of_named(section: object) -> bool:
    return section is None or (
        isinstance(section, list) and all(isinstance(entry, dict) and "name" in entry for entry in section)
    )


def access(path: Path, context: str = "") -> Access:
    """What the named context (default: current-context) says."""
    config = load(path)
    chosen = context or config.get("current-context") or ""
    entry = _named(config, "contexts", chosen, path)["context"]
    cluster = _named(config, "clusters", entry.get("cluster", ""), path)["cluster"]
    user = _named(config, "users", entry["user"], path)["user"] if entry.get("user") else {}
    if not cluster.get("server"):
        raise KubeconfigError(f"{path}: cluster {entry['cluster']!r} has no server")
    return Access(
        server=cluster["server"],
        certificate_authority=_data(cluster, "certificate-authority", path),
        client_certificate=_data(user or {}, "client-certificate", path),
        client_key=_data(user or {}, "client-key", path),
        token=(user or {}).get("token") or "",
        token_file=(user or {}).get("tokenFile") or "",
        insecure_skip_tls_verify=bool(cluster.get("insecure-skip-tls-verify")),
        tls_server_name=cluster.get("tls-server-name") or "",
        namespace=entry.get("namespace") or "default",
    )


def make(name: str, given: Access) -> Config:
    """A kubeconfig with one cluster, one user and one context, all called `name`, everything inside the file."""
    cluster: dict[str, Any] = {"server": given.server}
    if given.certificate_authority:
        cluster["certificate-authority-data"] = _encode(given.certificate_authority)
    if given.insecure_skip_tls_verify:
        cluster["insecure-skip-tls-verify"] = True
    if given.tls_server_name:
        cluster["tls-server-name"] = given.tls_server_name
    user: dict[str, Any] = {}
    if given.client_certificate:
        user["client-certificate-data"] = _encode(given.client_certificate)
        user["client-key-data"] = _encode(given.client_key)
    if given.token:
        user["token"] = given.token
    if given.token_file:
        user["tokenFile"] = given.token_file
    context = {"cluster": name, "user": name}
    if given.namespace != "default":
        context["namespace"] = given.namespace
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
        "preferences": {},
    }


def merge(existing: Config, added: Config, *, make_current: bool = True) -> Config:
    """`existing` with the entries of `added` put in or replaced by name; everything else is kept as it is."""
    merged: Config = {"apiVersion": "v1", "kind": "Config", **existing}
    for section in _SECTIONS:
        names = {entry["name"] for entry in added.get(section) or ()}
        kept = [entry for entry in existing.get(section) or () if entry.get("name") not in names]
        merged[section] = [*kept, *(added.get(section) or ())]
    if make_current or not existing.get("current-context"):
        merged["current-context"] = added.get("current-context", "")
    return merged


def remove(existing: Config, name: str) -> Config:
    """`existing` without the cluster, user and context of that name."""
    rest = dict(existing)
    for section in _SECTIONS:
        rest[section] = [entry for entry in existing.get(section) or () if entry.get("name") != name]
    if existing.get("current-context") == name:
        rest["current-context"] = ""
    return rest


def save(path: Path, config: Config) -> None:
    """Replaces the file in one step, readable only by its owner: a reader never sees half of it."""
    import yaml

    # A symbolic link (a dotfile manager's) stays a link: what it points to is replaced.
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            yaml.safe_dump(config, file, sort_keys=False, default_flow_style=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def merge_into(path: Path, added: Config, *, make_current: bool = True) -> None:
    """Puts a kubeconfig's entries into the file at `path`, which need not exist. KubeconfigError, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(path):
        save(path, merge(load(path) if path.exists() else {}, added, make_current=make_current))


def remove_from(path: Path, name: str) -> None:
    """Takes the entries of that name out of the file, if there is one. KubeconfigError, OSError."""
    if not path.exists() or remove(existing := load(path), name) == existing:
        return
    with _locked(path):
        save(path, remove(load(path), name))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """kubectl's own way of taking turns: a file beside the kubeconfig that exists while somebody changes it."""
    lock = Path(f"{path}.lock")
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise KubeconfigError(f"{lock} exists: if nobody is changing {path}, remove it") from None
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _named(config: Config, section: str, name: str, path: Path) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            found: dict[str, Any] = entry
            return found
    raise KubeconfigError(f"{path} has no {section.removesuffix('s')} {name!r}")


def _data(entry: Mapping[str, Any], field: str, path: Path) -> bytes:
    if entry.get(f"{field}-data"):
        try:
            return base64.b64decode(entry[f"{field}-data"], validate=True)
        except ValueError as error:
            raise KubeconfigError(f"{path}: {field}-data is not base64") from error
    if not entry.get(field):
        return b""
    file: Path = path.parent / entry[field]
    try:
        return file.read_bytes()
    except OSError as error:
        raise KubeconfigError(f"cannot read {file}, the {field} of {path}: {error.strerror}") from error


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
