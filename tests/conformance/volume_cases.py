"""Pods that look at their volumes and say what they find, what they refer to, and the cluster that they are in."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from e2e_cluster import Cluster, wait_for
from kubernetes import client as official
from kubernetes import config

BUSYBOX = "docker.io/library/busybox:latest"
PATIENCE_SECONDS = 300.0
FOREVER = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"
Object = dict[str, Any]


# Volumes

MAPPED = {"items": [{"key": "data-2", "path": "path/to/data-2"}]}
PRIVATE = {"items": [{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]}
POD_NAME = {"path": "podname", "fieldRef": {"fieldPath": "metadata.name"}}
NOT_ROOT = {"securityContext": {"runAsUser": 1000}}
IN_GROUP = {"securityContext": {"runAsUser": 1000, "fsGroup": 1001}}
AMOUNTS = {
    "resources": {"limits": {"cpu": "1250m", "memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}}
}


def config_map(chosen: Object | None = None, name: str = "shared", **fields: Any) -> Object:
    return {"configMap": {"name": name, **(chosen or {}), **fields}}


def secret(chosen: Object | None = None, name: str = "shared", **fields: Any) -> Object:
    return {"secret": {"secretName": name, **(chosen or {}), **fields}}


def projected_config_map(chosen: Object | None = None, name: str = "shared", **fields: Any) -> Object:
    optional = {"optional": fields.pop("optional")} if "optional" in fields else {}
    return {"projected": {"sources": [{"configMap": {"name": name, **(chosen or {}), **optional}}], **fields}}


def projected_secret(chosen: Object | None = None, name: str = "shared", **fields: Any) -> Object:
    optional = {"optional": fields.pop("optional")} if "optional" in fields else {}
    return {"projected": {"sources": [{"secret": {"name": name, **(chosen or {}), **optional}}], **fields}}


def downward(*items: Object, **fields: Any) -> Object:
    return {"downwardAPI": {"items": list(items), **fields}}


def projected_downward(*items: Object, **fields: Any) -> Object:
    return {"projected": {"sources": [{"downwardAPI": {"items": list(items)}}], **fields}}


def amount(resource: str) -> Object:
    return {"path": "amount", "resourceFieldRef": {"containerName": "main", "resource": resource}}


def empty(medium: str) -> Object:
    return {"emptyDir": {"medium": "Memory"} if medium == "tmpfs" else {}}


COMBINED = {
    "projected": {
        "sources": [
            {"downwardAPI": {"items": [POD_NAME]}},
            {"secret": {"name": "shared", "items": [{"key": "data-1", "path": "secret"}]}},
            {"configMap": {"name": "shared", "items": [{"key": "data-1", "path": "config"}]}},
        ]
    }
}


# Pods


@dataclass(frozen=True)
class Case:
    """A pod whose container sees `volumes` at /v0, /v1, …; what its script says, with single spaces for all white space."""

    name: str
    volumes: list[Object]
    script: str
    expected: str = ""
    spec: Object = field(default_factory=dict)
    own: Object = field(default_factory=dict)
    mounts: list[Object] = field(default_factory=list)
    """More than one of each volume, or otherwise."""

    @property
    def pod(self) -> Object:
        mounts = [{"name": f"v{index}", "mountPath": f"/v{index}"} for index in range(len(self.volumes))]
        container = {
            "name": "main",
            "image": BUSYBOX,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", self.script],
            "volumeMounts": self.mounts or mounts,
            **self.own,
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                "volumes": [{"name": f"v{index}", **volume} for index, volume in enumerate(self.volumes)],
                "containers": [container],
                **self.spec,
            },
        }


def reads(
    name: str, volume: Object, path: str, expected: str, spec: Object | None = None, own: Object | None = None
) -> Case:
    """One file: what is in it, its mode, its owner and group. Nobody may write it, whoever mounts it how, and as whomever he runs."""
    script = f"cat /v0/{path}; echo; stat -L -c '%a %u:%g' /v0/{path}; if touch /v0/new 2>/dev/null; then echo new; fi"
    user = ((spec or {}).get("securityContext") or {}).get("runAsUser", 0)
    script, expected = f"id -u; {script}", f"{user} {expected}"
    return Case(name, [volume], script, expected, spec or {}, own or {})


def twice(name: str, volume: Object) -> Case:
    return Case(name, [volume, volume], "cat /v0/data-1; echo; cat /v1/data-1", "value-1 value-1")


def writes(name: str, mode: str, medium: str, spec: Object) -> Case:
    script = f"umask 0; echo mine > /v0/f; chmod {mode} /v0/f; cat /v0/f; stat -c '%a %u' /v0/f; grep -c ' /v0 tmpfs ' /proc/mounts"
    user = 1000 if spec else 0
    return Case(
        name, [empty(medium)], f"{script}; true", f"mine {int(mode)} {user} {int(medium == 'tmpfs')}", spec
    )


def part(name: str, volume: Object, path: str, at: str, expected: str) -> Case:
    return Case(
        name, [volume], f"cat {at}", expected, mounts=[{"name": "v0", "mountPath": at, "subPath": path}]
    )


def expression(name: str, path: str, script: str, expected: str = "") -> Case:
    """A part of an emptyDir that the environment names, and the whole of it."""
    mounts = [
        {"name": "v0", "mountPath": "/v0", "subPathExpr": path},
        {"name": "v0", "mountPath": "/whole"},
    ]
    env = [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['note']"}}},
        {"name": "ABSOLUTE", "value": "/tmp"},
        {"name": "DOTS", "value": ".."},
    ]
    return Case(name, [empty("default")], script, expected, own={"env": env}, mounts=mounts)


RACERS, MAPS_OF_A_RACE = 5, 50


def shared_pair() -> Object:
    """Two containers of one pod that share a directory."""
    case = Case("two-containers", [empty("default")], "until cat /v0/file 2>/dev/null; do sleep 0.1; done")
    pod = case.pod
    [main] = pod["spec"]["containers"]
    sub = {
        **main,
        "name": "sub",
        "command": ["sh", "-c", "echo hello from sub > /v0/.tmp; mv /v0/.tmp /v0/file"],
    }
    pod["spec"]["containers"].append(sub)
    return pod


def named(kind: str, name: str, namespace: str = "default", **content: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **content}


def text_of(kind: str, **values: str) -> Object:
    if kind == "ConfigMap":
        return {"data": values}
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


def objects() -> list[Object]:
    found = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}}]
    for kind in ("ConfigMap", "Secret"):
        found += [
            named(kind, "shared", **text_of(kind, **{"data-1": "value-1", "data-2": "value-2"})),
            named(kind, "deleted", **text_of(kind, key="there")),
            named(kind, "updated", **text_of(kind, key="old")),
        ]
    dump = base64.b64encode(bytes([0, 1, 254, 255])).decode()
    found.append(named("ConfigMap", "binary", data={"text": "hello"}, binaryData={"dump": dump}))
    found.append(named("Secret", "shared", "elsewhere", **text_of("Secret", **{"data-1": "not this one"})))
    found += [
        named("ConfigMap", f"race-{index}", data={"data-1": "value-1"}) for index in range(MAPS_OF_A_RACE)
    ]
    return found


def race() -> Object:
    case = Case("race", [config_map(name=f"race-{index}") for index in range(MAPS_OF_A_RACE)], FOREVER)
    template = {
        "metadata": {"labels": {"name": "race"}},
        "spec": {**case.pod["spec"], "restartPolicy": "Always"},
    }
    spec = {"replicas": RACERS, "selector": {"name": "race"}, "template": template}
    return named("ReplicationController", "race", spec=spec)


# The world


@dataclass
class World:
    cluster: Cluster

    def create(self, *objects: Object) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.cluster.kubectl("create", "-f", "-", input=text)

    def has_account(self) -> bool:
        return self.cluster.kubectl("get", "serviceaccount", "default", check=False).returncode == 0

    @cached_property
    def api(self) -> official.CoreV1Api:
        """For what is asked often: without starting kubectl each time."""
        path = self.cluster.home / "tiphys" / self.cluster.name / "kubeconfig"
        return official.CoreV1Api(config.new_client_from_config(str(path)))

    def until(self, name: str, is_so: Callable[[Object], Any]) -> Object:
        def look() -> Object | None:
            answer = self.api.read_namespaced_pod(name, "default", _preload_content=False)
            pod: Object = json.loads(answer.data)
            return pod if is_so(pod) else None

        found: Object = wait_for(look, f"{name} is so", seconds=PATIENCE_SECONDS, interval_seconds=0.2)
        return found

    def output(self, name: str) -> str:
        """All that its main container said, once the pod is through, with single spaces."""
        pod = self.until(name, lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
        said = str(self.api.read_namespaced_pod_log(name, "default", container="main"))
        assert pod["status"]["phase"] == "Succeeded", (said, pod["status"])
        return " ".join(said.split())

    def wait_for_running(self, name: str) -> None:
        self.until(name, lambda pod: pod["status"]["phase"] == "Running")

    def read(self, name: str, path: str) -> str:
        """Empty when it is not there."""
        return self.cluster.kubectl("exec", name, "--", "cat", path, check=False).stdout

    def until_read(self, name: str, path: str, is_so: Callable[[str], bool]) -> float:
        """How long it took."""
        began = time.monotonic()
        wait_for(lambda: is_so(self.read(name, path)), f"{path} of {name} is so", seconds=PATIENCE_SECONDS)
        return time.monotonic() - began

    def waiting(self, name: str) -> Object:
        def look(pod: Object) -> Object | None:
            statuses = pod["status"].get("containerStatuses") or [{}]
            found: Object = statuses[0].get("state", {}).get("waiting") or {}
            return found if found.get("reason") == "CreateContainerConfigError" else None

        found = look(self.until(name, look))
        assert found is not None
        return found
