"""Real registries (Debian's docker-registry) inside a node, where containerd and the node's mirror reach them."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

from tiphys.cluster.images import host_busybox
from tiphys.cluster.namespaces import Node
from tiphys.kubelet.images.archive import open_archive
from tiphys.kubelet.images.build import ImageSource, write_archive
from tiphys.kubelet.runtimes import network_namespace
from tiphys.net.client import HTTPClient, HTTPClientError

USER, PASSWORD = "jason", "fleece"
# bcrypt of the password, as `htpasswd -B` writes it.
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuVIg2Ka4VVWU9p28pStP6YD6tUL0V8me\n"
PATIENCE_SECONDS = 180.0
PUBLIC, PRIVATE = "127.0.0.84:5000", "127.0.0.85:5000"
"""Where tests have theirs, in the node."""


class CredentialPlugins:
    """Plugins of a node that know the password, for two repositories of the private registry: for anybody's pods, and for those
    of a service account that says so."""

    AUDIENCE, ROLE = "argo", "example.com/role"

    def __init__(self, directory: Path, registry: str) -> None:
        self._directory, self._config = directory / "plugins", directory / "plugins.json"
        self._directory.mkdir(parents=True)
        version = "credentialprovider.kubelet.k8s.io/v1"
        answer = {
            "kind": "CredentialProviderResponse",
            "apiVersion": version,
            "cacheKeyType": "Image",
            "cacheDuration": "0s",
            "auth": {registry: {"username": USER, "password": PASSWORD}},
        }
        rows = []
        for name in ("plain", "accounted"):
            program = self._directory / name
            program.write_text(f"#!/bin/sh\ncat >> $0.log\ncat <<'END'\n{json.dumps(answer)}\nEND\n")
            program.chmod(0o755)
            images = [f"{registry}/{name}"]
            rows.append(
                {"name": name, "matchImages": images, "defaultCacheDuration": "1m", "apiVersion": version}
            )
        rows[1]["tokenAttributes"] = {
            "serviceAccountTokenAudience": self.AUDIENCE,
            "cacheType": "ServiceAccount",
            "requireServiceAccount": True,
            "requiredServiceAccountAnnotationKeys": [self.ROLE],
        }
        head = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        self._config.write_text(json.dumps({**head, "providers": rows}))

    @property
    def options(self) -> tuple[str, ...]:
        """Of `tiphys up`."""
        config, directory = str(self._config), str(self._directory)
        return "--image-credential-provider-config", config, "--image-credential-provider-bin-dir", directory

    def asked(self, name: str) -> list[dict[str, Any]]:
        log = self._directory / f"{name}.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


class Registry:
    """At `address` of the node's loopback; with `is_private`, only for who knows the password."""

    def __init__(self, node: Node, directory: Path, address: str, *, is_private: bool = False) -> None:
        self.address = address
        self.node = node
        self._directory = directory
        self._is_private = is_private
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "htpasswd").write_text(HTPASSWD)
        auth = {"htpasswd": {"realm": "argo", "path": str(directory / "htpasswd")}} if is_private else {}
        document = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}},
            "http": {"addr": address},
            **({"auth": auth} if auth else {}),
        }
        # JSON is YAML.
        (directory / "config.yml").write_text(json.dumps(document))

    def start(self) -> None:
        enter = ["nsenter", f"--net={self.node.network_namespace}"]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*enter, "docker-registry", "serve", str(self._directory / "config.yml")],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not asyncio.run(self._answers()):
            assert time.monotonic() < deadline, (self._directory / "log").read_text()
            assert self._process.poll() is None, (self._directory / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _client(self) -> HTTPClient:
        host, _, port = self.address.partition(":")

        async def dial() -> socket.socket:
            return await network_namespace.connect(self.node.network_namespace, host, int(port))

        return HTTPClient(f"http://{self.address}", dial=dial)

    async def _answers(self) -> bool:
        client = self._client()
        try:
            return (await client.request("GET", "/v2/", timeout_seconds=5)).status in (200, 401)
        except (HTTPClientError, OSError):
            return False
        finally:
            await client.close()

    def push(self, name: str, tag: str, *, note: str = "") -> str:
        """A busybox with that note in its environment; the digest of its manifest."""
        busybox = host_busybox()
        path = self._directory / "image.tar"
        config = {**busybox.config, "Env": [*busybox.config["Env"], f"NOTE={note}"]}
        write_archive(path, [ImageSource((f"{name}:{tag}",), busybox.layers, config)])
        return asyncio.run(self._push(path, name, tag))

    async def _push(self, path: Path, name: str, tag: str) -> str:
        client = self._client()
        basic = "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": basic} if self._is_private else {}
        with open_archive(path) as archive:
            target = archive.images[0].target
            for blob in archive.blobs:
                with blob.open() as file:
                    data = file.read()
                if blob.descriptor.digest == target.digest:
                    manifest = data
                    continue
                begun = await client.request("POST", f"/v2/{name}/blobs/uploads/", headers)
                assert begun.status == 202, begun
                where = begun.headers["location"].removeprefix(f"http://{self.address}")
                where += ("&" if "?" in where else "?") + f"digest={blob.descriptor.digest}"
                kind = {**headers, "Content-Type": "application/octet-stream"}
                assert (await client.request("PUT", where, kind, data)).status == 201
        kind = {**headers, "Content-Type": target.media_type}
        answer = await client.request("PUT", f"/v2/{name}/manifests/{tag}", kind, manifest)
        assert answer.status == 201, answer.body
        await client.close()
        return target.digest
