"""A real cluster in which a module makes all its pods at once, and looks at each of them then."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e_cluster import Cluster, wait_for

BUSYBOX = "docker.io/library/busybox:latest"
PATIENCE_SECONDS = 300.0
Object = dict[str, Any]


@dataclass
class PodWorld:
    """A cluster, and the pods that were made in it."""

    cluster: Cluster
    namespace: str = "default"

    @classmethod
    def beside_others(cls, cluster: Cluster, namespace: str) -> Iterator[PodWorld]:
        """In a namespace of its own, which goes at the end, of a cluster that others use."""
        cluster.kubectl("create", "namespace", namespace)
        world = cls(cluster, namespace)
        world.wait_for_account()
        yield world
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.cluster.kubectl("-n", self.namespace, *arguments, **options)

    @property
    def kubelet_directory(self) -> Path:
        name = self.cluster.name
        return self.cluster.home / "tiphys" / name / "nodes" / f"{name}-node-1" / "kubelet"

    def create(self, *objects: Object) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("create", "-f", "-", input=text)

    def wait_for_account(self) -> None:
        asked = ("get", "serviceaccount", "default")
        wait_for(lambda: self.kubectl(*asked, check=False).returncode == 0, "a service account")

    def pod(self, name: str) -> Object:
        found: Object = self.cluster.get("pod", name, "-n", self.namespace)
        return found

    def until(self, name: str, is_so: Callable[[Object], Any]) -> Object:
        def look() -> Object | None:
            pod = self.pod(name)
            return pod if is_so(pod) else None

        found: Object = wait_for(look, f"{name} is so", seconds=PATIENCE_SECONDS, interval_seconds=0.3)
        return found

    def output(self, name: str) -> str:
        """All that its only container said, once it is through."""
        pod = self.until(name, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
        said: str = self.kubectl("logs", name).stdout
        assert pod["status"]["phase"] == "Succeeded", (said, pod["status"])
        return said

    def until_log(self, name: str, container: str, text: str) -> str:
        def look() -> str | None:
            said = self.kubectl("logs", name, "-c", container, check=False).stdout
            return said if text in said else None

        found: str = wait_for(look, f"{text} in the log of {name}", seconds=PATIENCE_SECONDS)
        return found

    def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, message)"""
        about = f"involvedObject.name={name}"
        found = self.cluster.get("events", "--field-selector", about, "-n", self.namespace)
        return [(event["reason"], event["message"]) for event in found["items"]]

    def until_told(self, name: str, reason: str, message: str) -> None:
        """Events come after what they tell of."""
        wait_for(
            lambda: (reason, message) in self.events(name),
            f"{reason} of {name}: {message}",
            seconds=PATIENCE_SECONDS,
            interval_seconds=0.3,
        )

    def until_event(self, name: str, reason: str) -> str:
        def look() -> str | None:
            return next((message for found, message in self.events(name) if found == reason), None)

        found: str = wait_for(look, f"{reason} of {name}", seconds=PATIENCE_SECONDS, interval_seconds=0.3)
        return found


def pod(name: str, script: str = "", *, own: Object | None = None, **spec: Any) -> Object:
    """`own`: fields of its container; `script` empty: what the image wants."""
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        **({"command": ["sh", "-c", script]} if script else {}),
        **(own or {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [container],
            **spec,
        },
    }


def fields_of(text: str) -> dict[str, str]:
    """Of /proc/<pid>/status."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
