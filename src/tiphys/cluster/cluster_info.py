"""The ConfigMap `cluster-info` in kube-public, as kubeadm makes it: where the API server is and which authority is its own.

Anybody may read it. `bootstrap-signer-controller` adds a signature for every bootstrap token.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from tiphys.client.client import Client
from tiphys.client.resources import CONFIGMAPS
from tiphys.machinery.errors import StatusError, is_not_found

NAME, NAMESPACE = "cluster-info", "kube-public"


def kubeconfig(server: str, authority: str) -> str:
    """Without users: who reads it brings a token. `authority`: PEM."""
    return (
        "apiVersion: v1\n"
        "clusters:\n"
        "- cluster:\n"
        f"    certificate-authority-data: {b64encode(authority.encode()).decode()}\n"
        f"    server: {server}\n"
        '  name: ""\n'
        "contexts: null\n"
        'current-context: ""\n'
        "kind: Config\n"
        "users: null\n"
    )


async def publish(client: Client, server: str, authority: str) -> None:
    """Makes it, or mends it; signatures stay until the signer looks."""
    text = kubeconfig(server, authority)
    try:
        found = await client.get(CONFIGMAPS, NAME, NAMESPACE)
    except StatusError as error:
        if not is_not_found(error):
            raise
        await client.create(CONFIGMAPS, _new(text))
        return
    data = found.get("data") or {}
    if data.get("kubeconfig") != text:
        await client.update(CONFIGMAPS, {**found, "data": {**data, "kubeconfig": text}})


def _new(text: str) -> dict[str, Any]:
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"kubeconfig": text}}
