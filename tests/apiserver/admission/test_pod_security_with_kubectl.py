"""PodSecurity in the hands of the real kubectl: what it prints when a pod is refused, warned of, debugged, a namespace labelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from https import Secure, secure_server

PREFIX = "pod-security.kubernetes.io"
BARE = (
    'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
    'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
    'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
    'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(Path(tmp_path_factory.mktemp("server")), signing_key) as found:
        yield found


def test_pod_security(server: Secure) -> None:
    server.kubectl("run", "c", "--image=i")
    assert server.kubectl("label", "namespace", "default", f"{PREFIX}/enforce=restricted") == (
        'Warning: existing pods in namespace "default" violate the new PodSecurity enforce level "restricted:latest"\n'
        "Warning: c: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile\n"
        "namespace/default labeled\n"
    )
    server.kubectl("delete", "pod", "c", "--force", "--grace-period=0")
    refused = server.kubectl("run", "c", "--image=i", fails=True)
    assert refused == (
        f'Error from server (Forbidden): pods "c" is forbidden: violates PodSecurity "restricted:latest": {BARE}\n'
    )
    server.kubectl("label", "--overwrite", "namespace", "default", f"{PREFIX}/enforce=privileged")
    server.kubectl("label", "namespace", "default", f"{PREFIX}/warn=restricted")
    assert server.kubectl("run", "c", "--image=i") == (
        f'Warning: would violate PodSecurity "restricted:latest": {BARE}\npod/c created\n'
    )
    said = server.kubectl("label", "namespace", "default", f"{PREFIX}/audit=strict", fails=True)
    assert "must be one of privileged, baseline, restricted" in said
