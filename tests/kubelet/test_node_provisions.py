"""A kubelet with a real disk below it and simulated containers: what pods refer to, how it reaches them, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from node_world import NODE, StrategicAPI

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.reflector import Reflector
from tiphys.client.resources import (
    CONFIGMAPS,
    EVENTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
)
from tiphys.client.transport import Object
from tiphys.kubelet.assembly import assemble
from tiphys.kubelet.cgroups import Cgroups
from tiphys.kubelet.files import Files
from tiphys.kubelet.kubelet import Dispatcher, Kubelet
from tiphys.kubelet.node_itself import NodeParts
from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    RuntimeCondition,
    SandboxConfig,
    Unavailable,
)
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.volumes.mounting import NoMounter
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError
from tiphys.testing.clock import FakeClock


class TokenAPI(StrategicAPI):
    """Gives out numbered tokens that are good for an hour."""

    tokens = 0
    are_refused = False

    def _post_subresource(self, where: Any, content: Object) -> Object:
        if where[3] != "token":
            return super()._post_subresource(where, content)
        if self.are_refused:
            raise StatusError(500, "InternalError", "no tokens today")
        self.tokens += 1
        expiry = self._clock.now() + timedelta(seconds=content["spec"]["expirationSeconds"])
        status = {"token": f"token {self.tokens}", "expirationTimestamp": meta.format_time(expiry)}
        return {**content, "status": status}


class Remembering(SimulatedRuntime):
    """Keeps what it was asked to make."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.configs: list[ContainerConfig] = []
        self.sandboxes: list[SandboxConfig] = []
        self.is_down = False

    async def run_sandbox(self, config: SandboxConfig) -> str:
        self.sandboxes.append(config)
        return await super().run_sandbox(config)

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        self.configs.append(config)
        return await super().create_container(sandbox_id, config, sandbox)

    async def status(self) -> list[RuntimeCondition]:
        if self.is_down:
            raise Unavailable("connection refused")
        return await super().status()


async def at_once(work: Callable[..., Any], /, *arguments: Any) -> Any:
    return work(*arguments)


class DiskNode:
    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.api = TokenAPI(clock=self.clock)
        self.client = Client(self.api)
        self.runtime = Remembering(self.clock)
        self.files = Files(directory / "kubelet")
        self.files.directory.mkdir(parents=True)
        self.cgroups = directory / "cgroup"
        (self.cgroups / "cpu").mkdir(parents=True)
        (self.cgroups / "cpu" / "cgroup.procs").touch()
        self.kubelet: Kubelet = None  # type: ignore[assignment]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        pods = Reflector(self.client, PODS, clock=self.clock)
        services = Reflector(self.client, SERVICES, clock=self.clock)
        self._tasks = [asyncio.create_task(reflector.run()) for reflector in (pods, services)]
        await pods.wait_synced()
        await services.wait_synced()
        self.kubelet = assemble(
            NodeParts(NODE, ("10.0.0.1",), 10250, "/t/node-1", self.files),
            self.client,
            self.runtime,
            pods.cache,
            services=services.cache,
            recorder=EventRecorder(self.client, "kubelet", clock=self.clock, host=NODE),
            clock=self.clock,
            cgroups=Cgroups(self.cgroups),
            mounter=NoMounter(),
            in_thread=at_once,
        )
        dispatcher = Dispatcher()
        dispatcher.add(self.kubelet)
        pods.cache.add_handler(dispatcher.changed)
        self._tasks.append(asyncio.create_task(self.kubelet.run()))
        await self.settle()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def settle(self, seconds: float = 0.01) -> None:
        await self.clock.advance(seconds)
        for _ in range(20):
            await self.clock.advance(0)

    def create(self, container: Object | None = None, **spec: Any) -> Object:
        image = {"name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent"}
        return self.api.put(
            PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
                "spec": {"nodeName": NODE, "containers": [{**image, **(container or {})}], **spec},
                "status": {"phase": "Pending"},
            },
        )

    def put(self, resource: Any, name: str, **content: Any) -> None:
        metadata = {"name": name, "namespace": "default"}
        self.api.put(resource, {"apiVersion": "v1", "kind": resource.kind, "metadata": metadata, **content})

    @property
    def pod(self) -> Object:
        return self.api.objects(PODS)[0]

    @property
    def waiting(self) -> Object:
        found: Object = self.pod["status"]["containerStatuses"][0]["state"].get("waiting", {})
        return found

    def events(self, reason: str) -> list[str]:
        return [event["message"] for event in self.api.objects(EVENTS) if event["reason"] == reason]

    def volume(self, kind: str, name: str) -> Path:
        return self.files.volume(meta.uid(self.pod), kind, name)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[DiskNode]:
    node = DiskNode(tmp_path)
    await node.start()
    yield node
    await node.stop()


MOUNTED = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
CONFIG_VOLUME = {
    "container": MOUNTED,
    "volumes": [{"name": "v", "configMap": {"name": "cfg"}}],
}


async def test_what_a_container_is_given(node: DiskNode) -> None:
    node.put(SERVICES, "kubernetes", spec={"clusterIP": "10.96.0.1", "ports": [{"port": 443}]})
    node.put(SECRETS, "sec", data={"p": "eA=="})
    await node.settle()
    node.create(
        {
            "command": ["echo", "$(P)"],
            "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "p"}}}],
            "terminationMessagePath": "/dev/termination-log",
            "volumeMounts": [{"name": "d", "mountPath": "/d", "subPath": "inner"}],
            "resources": {"limits": {"cpu": "500m"}},
        },
        volumes=[{"name": "d", "emptyDir": {}}],
    )
    await node.settle()
    assert node.pod["status"]["phase"] == "Running"
    [config], [sandbox] = node.runtime.configs, node.runtime.sandboxes
    assert config.command == ("echo", "x")
    assert dict(config.env)["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    mounts = {mount.container_path: Path(mount.host_path) for mount in config.mounts}
    assert mounts["/d"] == (node.volume("emptyDir", "d") / "inner").resolve()
    assert "\tweb\n" in mounts["/etc/hosts"].read_text()
    assert mounts["/dev/termination-log"].read_text() == ""
    assert Path(sandbox.log_directory).is_dir()
    assert sandbox.cgroup_parent == f"/t/node-1/kubepods/burstable/pod{meta.uid(node.pod)}"
    quota = node.cgroups / f"cpu{sandbox.cgroup_parent}" / "cpu.cfs_quota_us"
    assert quota.read_text() == "50000"


async def test_a_config_map_that_appears_is_all_that_was_missing(node: DiskNode) -> None:
    node.create(CONFIG_VOLUME["container"], volumes=CONFIG_VOLUME["volumes"])
    await node.settle()
    assert node.pod["status"]["phase"] == "Pending"
    assert node.waiting == {"reason": "ContainerCreating"}
    assert node.events("FailedMount") == [
        'MountVolume.SetUp failed for volume "v" : configmap "cfg" not found'
    ]
    node.put(CONFIGMAPS, "cfg", data={"a": "1"})
    await node.settle()
    assert node.pod["status"]["phase"] == "Running"
    assert (node.volume("configMap", "v") / "a").read_text() == "1"


async def test_a_config_map_that_changes_changes_in_the_container(node: DiskNode) -> None:
    node.put(CONFIGMAPS, "cfg", data={"a": "1"})
    node.create(CONFIG_VOLUME["container"], volumes=CONFIG_VOLUME["volumes"])
    await node.settle()
    node.put(CONFIGMAPS, "cfg", data={"b": "2"})
    await node.settle()
    path = node.volume("configMap", "v")
    assert (path / "b").read_text() == "2"
    assert not (path / "a").exists()
    assert len(node.runtime.configs) == 1


async def test_a_config_map_that_goes_leaves_its_files_and_what_runs_in_peace(node: DiskNode) -> None:
    node.put(CONFIGMAPS, "cfg", data={"a": "1"})
    node.create(CONFIG_VOLUME["container"], volumes=CONFIG_VOLUME["volumes"])
    await node.settle()
    await node.client.delete(CONFIGMAPS, "cfg", "default")
    await node.settle()
    assert node.events("FailedMount") == [
        'MountVolume.SetUp failed for volume "v" : configmap "cfg" not found'
    ]
    assert (node.volume("configMap", "v") / "a").read_text() == "1"
    [sandbox] = await node.runtime.list_sandboxes()
    [container] = await node.runtime.list_containers(sandbox.id)
    await node.runtime.stop_container(container.id, 0)
    await node.settle(11)
    assert len(node.runtime.configs) == 2, "it is started again all the same"


async def test_what_can_never_change_is_not_watched(node: DiskNode) -> None:
    node.put(CONFIGMAPS, "cfg", data={"a": "1"}, immutable=True)
    node.create(CONFIG_VOLUME["container"], volumes=CONFIG_VOLUME["volumes"])
    await node.settle()
    assert (node.volume("configMap", "v") / "a").read_text() == "1"
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("watch configmaps")] == []


async def test_labels_that_change_change_in_the_container(node: DiskNode) -> None:
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    node.create(MOUNTED, volumes=[{"name": "v", "downwardAPI": {"items": items}}])
    await node.settle()
    assert (node.volume("downwardAPI", "v") / "labels").read_text() == 'app="web"'
    await node.client.patch(PODS, "web", {"metadata": {"labels": {"app": "shop"}}}, "default")
    await node.settle()
    assert (node.volume("downwardAPI", "v") / "labels").read_text() == 'app="shop"'


async def test_only_what_may_change_is_looked_at_again(node: DiskNode, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("v", "host")]
    host = {"name": "host", "hostPath": {"path": str(tmp_path / "own"), "type": "Directory"}}
    unused = {"name": "unused", "emptyDir": {}}
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    volumes = [{"name": "v", "downwardAPI": {"items": items}}, host, unused]
    node.create({"volumeMounts": mounts}, volumes=volumes)
    await node.settle()
    assert not node.volume("emptyDir", "unused").exists()
    (tmp_path / "own").rmdir()
    container = {"name": "debug", "image": "busybox", "volumeMounts": [{"name": "unused", "mountPath": "/u"}]}
    changed = {**node.pod, "spec": {**node.pod["spec"], "ephemeralContainers": [container]}}
    changed["metadata"] = {**changed["metadata"], "labels": {"app": "shop"}}
    node.api.put(PODS, changed)
    await node.settle()
    assert (node.volume("downwardAPI", "v") / "labels").read_text() == 'app="shop"'
    assert node.volume("emptyDir", "unused").is_dir()
    assert node.events("FailedMount") == []
    assert [config.name for config in node.runtime.configs] == ["main", "debug"]


async def test_a_claim_for_one_pod_at_a_time_and_for_one_group(node: DiskNode, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    node.put(PERSISTENTVOLUMECLAIMS, "data", spec={"volumeName": "pv"}, status={"phase": "Bound"})
    [claim] = node.api.objects(PERSISTENTVOLUMECLAIMS)
    spec = {
        "accessModes": ["ReadWriteOncePod"],
        "claimRef": {"uid": meta.uid(claim)},
        "hostPath": {"path": str(tmp_path / "own")},
    }
    metadata = {"name": "pv", "annotations": {"pv.beta.kubernetes.io/gid": "1234"}}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}
    node.api.put(PERSISTENTVOLUMES, volume)
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    node.create(MOUNTED, volumes=volumes)
    await node.settle()
    assert node.pod["status"]["phase"] == "Running"
    assert node.runtime.configs[0].security.supplemental_groups == (1234,)
    other = {
        **node.pod,
        "metadata": {"name": "other", "namespace": "default"},
        "status": {"phase": "Pending"},
    }
    node.api.put(PODS, other)
    await node.settle()
    [said] = node.events("FailedMount")
    assert said.endswith("is already in use by another pod")
    for setting in node.cgroups.rglob("*.*"):
        setting.unlink()
    await node.client.delete(PODS, "web", "default")
    await node.settle(40)
    assert node.pod["status"]["phase"] == "Running"


async def test_an_environment_that_cannot_be_made_is_tried_again(node: DiskNode) -> None:
    node.create({"envFrom": [{"configMapRef": {"name": "cfg"}}]})
    await node.settle()
    assert node.waiting == {"reason": "CreateContainerConfigError", "message": 'configmap "cfg" not found'}
    assert node.events("Failed") == ['Error: configmap "cfg" not found']
    node.put(CONFIGMAPS, "cfg", data={"A": "1"})
    await node.settle()
    assert dict(node.runtime.configs[0].env)["A"] == "1"


async def test_an_annotation_that_was_missing_is_seen_at_once(node: DiskNode) -> None:
    field = {"fieldRef": {"fieldPath": "metadata.annotations['part']"}}
    node.create(
        {
            "env": [{"name": "PART", "valueFrom": field}],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "$(PART)"}],
        },
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    await node.settle(20)
    assert node.waiting == {"reason": "CreateContainerConfigError", "message": "missing value for PART"}
    await node.client.patch(PODS, "web", {"metadata": {"annotations": {"part": "x"}}}, "default")
    await node.settle()
    assert (node.volume("emptyDir", "v") / "x").is_dir()


async def test_a_token_is_renewed_after_four_fifths_of_its_life(node: DiskNode) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    node.create(MOUNTED, volumes=[{"name": "v", "projected": {"sources": [source]}}])
    await node.settle()
    token = node.volume("projected", "v") / "token"
    assert token.read_text() == "token 1"
    await node.settle(2870)
    assert token.read_text() == "token 1"
    await node.settle(15)
    assert token.read_text() == "token 2"
    assert node.api.tokens == 2


async def test_an_old_token_is_better_than_none(node: DiskNode) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    node.create(MOUNTED, volumes=[{"name": "v", "projected": {"sources": [source]}}])
    await node.settle()
    node.api.are_refused = True
    await node.settle(3000)
    assert node.events("FailedMount") == []
    await node.settle(700)
    assert node.events("FailedMount") == [
        'MountVolume.SetUp failed for volume "v" : failed to fetch token: no tokens today'
    ]
    node.api.are_refused = False
    await node.settle(60)
    assert (node.volume("projected", "v") / "token").read_text() == "token 2"


async def test_a_root_user_where_none_may_be(node: DiskNode) -> None:
    node.create({"securityContext": {"runAsNonRoot": True}})
    await node.settle()
    assert node.waiting["reason"] == "CreateContainerConfigError"
    assert "image will run as root" in node.waiting["message"]


async def test_a_deletion_leaves_nothing_on_the_disk(node: DiskNode) -> None:
    node.put(CONFIGMAPS, "cfg", data={"a": "1"})
    node.create(CONFIG_VOLUME["container"], volumes=CONFIG_VOLUME["volumes"])
    await node.settle()
    assert list(node.files.logs.iterdir())
    for setting in node.cgroups.rglob("cpu.*"):
        setting.unlink()  # the kernel's go with their directory
    await node.client.delete(PODS, "web", "default")
    await node.settle()
    assert node.api.objects(PODS) == []
    assert list(node.files.logs.iterdir()) == []
    assert list(node.files.pods.iterdir()) == []
    assert list(node.cgroups.rglob("pod*")) == []


async def test_what_pods_left_that_went_while_nobody_looked(tmp_path: Path) -> None:
    node = DiskNode(tmp_path)
    (node.files.pods / "ghost" / "volumes" / "emptyDir" / "v").mkdir(parents=True)
    (node.files.logs / "default_ghost_ghost").mkdir(parents=True)
    (node.cgroups / "cpu/t/node-1/kubepods/besteffort/podghost").mkdir(parents=True)
    await node.start()
    assert list(node.files.pods.iterdir()) == []
    assert list(node.files.logs.iterdir()) == []
    assert list(node.cgroups.rglob("pod*")) == []
    await node.stop()


async def test_a_runtime_that_is_down_makes_the_node_not_ready(node: DiskNode) -> None:
    def ready() -> Object:
        found = meta.find_condition(meta.conditions(node.api.objects(NODES)[0]), "Ready")
        assert found is not None
        return found

    assert ready()["status"] == "True"
    node.runtime.is_down = True
    await node.settle(25)
    assert ready()["status"] == "True", "it may just be starting again"
    await node.settle(20)
    assert (ready()["status"], ready()["reason"]) == ("False", "KubeletNotReady")
    assert ready()["message"] == "container runtime is down"
    node.runtime.is_down = False
    await node.settle(11)
    assert ready()["status"] == "True"


async def test_objects_that_no_pod_refers_to_are_not_watched(node: DiskNode) -> None:
    node.put(CONFIGMAPS, "cfg", data={"a": "1"})
    node.create(CONFIG_VOLUME["container"], volumes=CONFIG_VOLUME["volumes"])
    await node.settle()
    watching = [task for task in asyncio.all_tasks() if task.get_name().startswith("watch configmaps")]
    assert len(watching) == 1
    for setting in node.cgroups.rglob("cpu.*"):
        setting.unlink()
    await node.client.delete(PODS, "web", "default")
    await node.settle()
    assert watching[0].done()


async def test_what_a_resolver_does_not_take_is_told_once(node: DiskNode) -> None:
    servers = [f"192.0.2.{number}" for number in range(4)]
    node.create(dnsPolicy="None", dnsConfig={"nameservers": servers})
    await node.settle()
    [sandbox] = node.runtime.sandboxes
    assert sandbox.dns is not None
    assert sandbox.dns.servers == tuple(servers[:3])
    assert node.events("DNSConfigForming") == [
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        "the applied nameserver line is: 192.0.2.0 192.0.2.1 192.0.2.2"
    ]


async def test_a_name_that_the_kernel_does_not_take(node: DiskNode) -> None:
    node.create(hostname="h" * 60, subdomain="sub", setHostnameAsFQDN=True)
    await node.settle()
    assert node.runtime.sandboxes == []
    assert node.waiting == {"reason": "ContainerCreating"}
    [message] = set(node.events("FailedCreatePodSandBox"))
    assert message.startswith("Failed to create pod sandbox: failed to construct FQDN from pod hostname")


async def test_an_ephemeral_container_whose_target_is_nowhere(node: DiskNode) -> None:
    node.create()
    await node.settle()
    wanted = {"name": "debugger", "image": "busybox", "targetContainerName": "other"}
    node.api.put(PODS, {**node.pod, "spec": {**node.pod["spec"], "ephemeralContainers": [wanted]}})
    await node.settle()
    [entry] = node.pod["status"]["ephemeralContainerStatuses"]
    message = "unable to find target container other"
    assert entry["state"]["waiting"] == {"reason": "CreateContainerConfigError", "message": message}
    assert f"Error: {message}" in node.events("Failed")


async def test_variables_from_a_file_that_is_not_there_yet(node: DiskNode) -> None:
    reference = {"volumeName": "v", "path": "config.env", "key": "DB"}
    env = [{"name": "DB", "valueFrom": {"fileKeyRef": reference}}]
    init = {"name": "init", "image": "busybox", "command": ["true"], **MOUNTED}
    node.create({"env": env}, volumes=[{"name": "v", "emptyDir": {}}], initContainers=[init])
    await node.settle()
    message = "couldn't parse env file"
    assert node.waiting == {"reason": "CreateContainerConfigError", "message": message}
    (node.volume("emptyDir", "v") / "config.env").write_text("DB='address'\n")
    await node.settle(2)
    _, config = node.runtime.configs
    assert dict(config.env)["DB"] == "address"
