"""What certificates a cluster has, and making them anew by hand: `tiphys certs`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tiphys.cluster import blueprint
from tiphys.cluster import layout as places
from tiphys.cluster.contexts import write_kubeconfigs
from tiphys.cluster.layout import ClusterError, Layout
from tiphys.cluster.locks import exclusive
from tiphys.cluster.pki import Authority
from tiphys.machinery.frozen import frozen


@frozen
class Shown:
    file: str
    subject: str
    expires: datetime
    issuer: str


def show(layout: Layout) -> list[Shown]:
    """Every certificate in the cluster's files: the authorities, the leaves, and those that nodes have renewed."""
    from cryptography import x509

    found = []
    own = sorted((layout.data / "nodes").glob("*/kubelet/pki/*.pem"))
    for path in (
        *sorted(layout.pki.rglob("*.crt"), key=lambda path: (path.name != "ca.crt", str(path))),
        *own,
    ):
        try:
            first, *more = x509.load_pem_x509_certificates(path.read_bytes())
        except ValueError as error:
            raise ClusterError(f"{path} is damaged: {error}", "make them anew: tiphys certs rotate") from None
        name = str(path.relative_to(layout.pki if path.is_relative_to(layout.pki) else layout.data))
        # Behind an authority stands the one before it; behind a leaf what only proves it.
        for each in (first, *more) if path.name == "ca.crt" else (first,):
            subject, issuer = each.subject.rfc4514_string(), each.issuer.rfc4514_string()
            found.append(Shown(name, subject, each.not_valid_after_utc, issuer))
    return found


def rotate(layout: Layout, name: str, home: Path, environment: Mapping[str, str], *, ca: bool) -> list[str]:
    """Makes all leaves anew, or with `ca` the authorities too; which files. Running processes take them within seconds."""
    config = places.read_config(layout)
    with exclusive(places.cluster_lock(home, name)):
        made = []
        for directory in (layout.pki, layout.front_proxy):
            authority = Authority(directory, datetime.now(UTC))
            try:
                done = authority.rotate_authority() if ca else authority.renew(all_of_them=True)
            except (OSError, ValueError) as error:
                raise ClusterError(
                    f"the certificates in {directory} are damaged: {error}",
                    "restore them, or start anew with down --purge",
                ) from None
            prefix = "" if directory == layout.pki else f"{directory.name}/"
            made += [f"{prefix}{file}.crt" for file in (*(["ca"] if ca else []), *done)]
        port = _port(layout) or config.api_port
        problem = write_kubeconfigs(layout, config, port, environment)
    if problem is not None:
        raise ClusterError(f"your kubeconfig stays as it is: {problem}", f"use {layout.kubeconfig}")
    return made


def _port(layout: Layout) -> int:
    try:
        return int(blueprint.port_file(layout).read_text())
    except (OSError, ValueError):
        return 0
