"""Who a test is to the cluster: certificates, tokens and kubeconfigs of its users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiphys.machinery.frozen import frozen


@frozen
class Identity:
    """One user. A service account has no certificate, and nobody with a very long name."""

    name: str
    token: str
    kubeconfig: Path
    """A file for any client; its namespace is "default"."""
    certificate: str = ""
    key: str = ""
    """PEM."""

    @property
    def headers(self) -> Mapping[str, str]:
        """For requests by hand."""
        return {"Authorization": f"Bearer {self.token}"}


def make_kubeconfig(
    server: str, ca: str, *, certificate: str = "", key: str = "", token: str = "", namespace: str = "default"
) -> dict[str, Any]:
    """As kubectl and all clients read it, everything inside."""
    from tiphys.client.kubeconfig import Access, make

    access = Access(
        server=server,
        certificate_authority=ca.encode(),
        client_certificate=certificate.encode(),
        client_key=key.encode(),
        token="" if certificate else token,
        namespace=namespace,
    )
    return make("tiphys", access)


def write_kubeconfig(path: Path, config: Mapping[str, Any]) -> Path:
    """Only for the owner's eyes. JSON is YAML, and quicker to write."""
    import json

    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))
    return path
