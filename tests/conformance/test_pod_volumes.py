"""What the suite asks of volumes: ConfigMaps, Secrets, the downward API and projections of them, emptyDirs and parts of volumes.

One cluster with real containers; all pods are made at once, and each test looks at its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_cluster import running, wait_for
from volume_cases import (
    AMOUNTS,
    COMBINED,
    FOREVER,
    IN_GROUP,
    MAPPED,
    NOT_ROOT,
    PATIENCE_SECONDS,
    POD_NAME,
    PRIVATE,
    RACERS,
    Case,
    Object,
    World,
    amount,
    config_map,
    downward,
    empty,
    expression,
    named,
    objects,
    part,
    projected_config_map,
    projected_downward,
    projected_secret,
    race,
    reads,
    secret,
    shared_pair,
    text_of,
    twice,
    writes,
)

pytestmark = pytest.mark.real

CASES = [
    pytest.param(
        reads("configmap-plain", config_map(), "data-1", "value-1 644 0:0"),
        id="configmap-plain",
        marks=pytest.mark.conformance("ConfigMap should be consumable from pods in volume [NodeConformance]"),
    ),
    pytest.param(
        reads("configmap-mode", config_map(defaultMode=0o400), "data-1", "value-1 400 0:0"),
        id="configmap-mode",
        marks=pytest.mark.conformance(
            "ConfigMap should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("configmap-mapped", config_map(MAPPED), "path/to/data-2", "value-2 644 0:0"),
        id="configmap-mapped",
        marks=pytest.mark.conformance(
            "ConfigMap should be consumable from pods in volume with mappings [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("configmap-item-mode", config_map(PRIVATE), "path/to/data-2", "value-2 400 0:0"),
        id="configmap-item-mode",
        marks=pytest.mark.conformance(
            "ConfigMap should be consumable from pods in volume with mappings and Item mode set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("configmap-non-root", config_map(), "data-1", "value-1 644 0:0", NOT_ROOT),
        id="configmap-non-root",
        marks=pytest.mark.conformance(
            "ConfigMap should be consumable from pods in volume as non-root [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("configmap-mapped-non-root", config_map(MAPPED), "path/to/data-2", "value-2 644 0:0", NOT_ROOT),
        id="configmap-mapped-non-root",
        marks=pytest.mark.conformance(
            "ConfigMap should be consumable from pods in volume with mappings as non-root [NodeConformance]"
        ),
    ),
    pytest.param(
        twice("configmap-twice", config_map()),
        id="configmap-twice",
        marks=pytest.mark.conformance(
            "ConfigMap should be consumable in multiple volumes in the same pod [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("projected-configmap-plain", projected_config_map(), "data-1", "value-1 644 0:0"),
        id="projected-configmap-plain",
        marks=pytest.mark.conformance(
            "Projected configMap should be consumable from pods in volume [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-configmap-mode", projected_config_map(defaultMode=0o400), "data-1", "value-1 400 0:0"
        ),
        id="projected-configmap-mode",
        marks=pytest.mark.conformance(
            "Projected configMap should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-configmap-mapped", projected_config_map(MAPPED), "path/to/data-2", "value-2 644 0:0"
        ),
        id="projected-configmap-mapped",
        marks=pytest.mark.conformance(
            "Projected configMap should be consumable from pods in volume with mappings [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-configmap-item-mode",
            projected_config_map(PRIVATE),
            "path/to/data-2",
            "value-2 400 0:0",
        ),
        id="projected-configmap-item-mode",
        marks=pytest.mark.conformance(
            "Projected configMap should be consumable from pods in volume with mappings and Item mode set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("projected-configmap-non-root", projected_config_map(), "data-1", "value-1 644 0:0", NOT_ROOT),
        id="projected-configmap-non-root",
        marks=pytest.mark.conformance(
            "Projected configMap should be consumable from pods in volume as non-root [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-configmap-mapped-non-root",
            projected_config_map(MAPPED),
            "path/to/data-2",
            "value-2 644 0:0",
            NOT_ROOT,
        ),
        id="projected-configmap-mapped-non-root",
        marks=pytest.mark.conformance(
            "Projected configMap should be consumable from pods in volume with mappings as non-root [NodeConformance]"
        ),
    ),
    pytest.param(
        twice("projected-configmap-twice", projected_config_map()),
        id="projected-configmap-twice",
        marks=pytest.mark.conformance(
            "Projected configMap should be consumable in multiple volumes in the same pod [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("secret-plain", secret(), "data-1", "value-1 644 0:0"),
        id="secret-plain",
        marks=pytest.mark.conformance("Secrets should be consumable from pods in volume [NodeConformance]"),
    ),
    pytest.param(
        reads("secret-mode", secret(defaultMode=0o400), "data-1", "value-1 400 0:0"),
        id="secret-mode",
        marks=pytest.mark.conformance(
            "Secrets should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("secret-mapped", secret(MAPPED), "path/to/data-2", "value-2 644 0:0"),
        id="secret-mapped",
        marks=pytest.mark.conformance(
            "Secrets should be consumable from pods in volume with mappings [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("secret-item-mode", secret(PRIVATE), "path/to/data-2", "value-2 400 0:0"),
        id="secret-item-mode",
        marks=pytest.mark.conformance(
            "Secrets should be consumable from pods in volume with mappings and Item Mode set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("secret-group", secret(defaultMode=0o440), "data-1", "value-1 440 0:1001", IN_GROUP),
        id="secret-group",
        marks=pytest.mark.conformance(
            "Secrets should be consumable from pods in volume as non-root with defaultMode and fsGroup set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        twice("secret-twice", secret()),
        id="secret-twice",
        marks=pytest.mark.conformance(
            "Secrets should be consumable in multiple volumes in a pod [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("projected-secret-plain", projected_secret(), "data-1", "value-1 644 0:0"),
        id="projected-secret-plain",
        marks=pytest.mark.conformance(
            "Projected secret should be consumable from pods in volume [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("projected-secret-mode", projected_secret(defaultMode=0o400), "data-1", "value-1 400 0:0"),
        id="projected-secret-mode",
        marks=pytest.mark.conformance(
            "Projected secret should be consumable from pods in volume with defaultMode set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("projected-secret-mapped", projected_secret(MAPPED), "path/to/data-2", "value-2 644 0:0"),
        id="projected-secret-mapped",
        marks=pytest.mark.conformance(
            "Projected secret should be consumable from pods in volume with mappings [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("projected-secret-item-mode", projected_secret(PRIVATE), "path/to/data-2", "value-2 400 0:0"),
        id="projected-secret-item-mode",
        marks=pytest.mark.conformance(
            "Projected secret should be consumable from pods in volume with mappings and Item Mode set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-secret-group",
            projected_secret(defaultMode=0o440),
            "data-1",
            "value-1 440 0:1001",
            IN_GROUP,
        ),
        id="projected-secret-group",
        marks=pytest.mark.conformance(
            "Projected secret should be consumable from pods in volume as non-root with defaultMode and fsGroup set [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        twice("projected-secret-twice", projected_secret()),
        id="projected-secret-twice",
        marks=pytest.mark.conformance(
            "Projected secret should be consumable in multiple volumes in a pod [NodeConformance]"
        ),
    ),
    pytest.param(
        Case(
            "binary",
            [config_map(name="binary")],
            "cat /v0/text; echo; od -An -tx1 /v0/dump",
            "hello 00 01 fe ff",
        ),
        id="binary",
        marks=pytest.mark.conformance(
            "ConfigMap binary data should be reflected in volume [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("downward-name", downward(POD_NAME), "podname", "downward-name 644 0:0"),
        id="downward-name",
        marks=pytest.mark.conformance("Downward API volume should provide podname only [NodeConformance]"),
    ),
    pytest.param(
        reads("downward-mode", downward(POD_NAME, defaultMode=0o400), "podname", "downward-mode 400 0:0"),
        id="downward-mode",
        marks=pytest.mark.conformance(
            "Downward API volume should set DefaultMode on files [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "downward-item-mode",
            downward({**POD_NAME, "mode": 0o400}),
            "podname",
            "downward-item-mode 400 0:0",
        ),
        id="downward-item-mode",
        marks=pytest.mark.conformance(
            "Downward API volume should set mode on item file [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("downward-limits-cpu", downward(amount("limits.cpu")), "amount", "2 644 0:0", own=AMOUNTS),
        id="downward-limits-cpu",
        marks=pytest.mark.conformance(
            "Downward API volume should provide container's cpu limit [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "downward-limits-memory",
            downward(amount("limits.memory")),
            "amount",
            "67108864 644 0:0",
            own=AMOUNTS,
        ),
        id="downward-limits-memory",
        marks=pytest.mark.conformance(
            "Downward API volume should provide container's memory limit [NodeConformance]"
        ),
    ),
    pytest.param(
        reads("downward-requests-cpu", downward(amount("requests.cpu")), "amount", "1 644 0:0", own=AMOUNTS),
        id="downward-requests-cpu",
        marks=pytest.mark.conformance(
            "Downward API volume should provide container's cpu request [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "downward-requests-memory",
            downward(amount("requests.memory")),
            "amount",
            "33554432 644 0:0",
            own=AMOUNTS,
        ),
        id="downward-requests-memory",
        marks=pytest.mark.conformance(
            "Downward API volume should provide container's memory request [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "downward-allocatable-cpu", downward(amount("limits.cpu")), "amount", "ALLOCATABLE-cpu 644 0:0"
        ),
        id="downward-allocatable-cpu",
        marks=pytest.mark.conformance(
            "Downward API volume should provide node allocatable (cpu) as default cpu limit if the limit is not set [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "downward-allocatable-memory",
            downward(amount("limits.memory")),
            "amount",
            "ALLOCATABLE-memory 644 0:0",
        ),
        id="downward-allocatable-memory",
        marks=pytest.mark.conformance(
            "Downward API volume should provide node allocatable (memory) as default memory limit if the limit is not set [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-downward-name",
            projected_downward(POD_NAME),
            "podname",
            "projected-downward-name 644 0:0",
        ),
        id="projected-downward-name",
        marks=pytest.mark.conformance("Projected downwardAPI should provide podname only [NodeConformance]"),
    ),
    pytest.param(
        reads(
            "projected-downward-mode",
            projected_downward(POD_NAME, defaultMode=0o400),
            "podname",
            "projected-downward-mode 400 0:0",
        ),
        id="projected-downward-mode",
        marks=pytest.mark.conformance(
            "Projected downwardAPI should set DefaultMode on files [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-downward-item-mode",
            projected_downward({**POD_NAME, "mode": 0o400}),
            "podname",
            "projected-downward-item-mode 400 0:0",
        ),
        id="projected-downward-item-mode",
        marks=pytest.mark.conformance(
            "Projected downwardAPI should set mode on item file [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-downward-limits-cpu",
            projected_downward(amount("limits.cpu")),
            "amount",
            "2 644 0:0",
            own=AMOUNTS,
        ),
        id="projected-downward-limits-cpu",
        marks=pytest.mark.conformance(
            "Projected downwardAPI should provide container's cpu limit [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-downward-limits-memory",
            projected_downward(amount("limits.memory")),
            "amount",
            "67108864 644 0:0",
            own=AMOUNTS,
        ),
        id="projected-downward-limits-memory",
        marks=pytest.mark.conformance(
            "Projected downwardAPI should provide container's memory limit [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-downward-requests-cpu",
            projected_downward(amount("requests.cpu")),
            "amount",
            "1 644 0:0",
            own=AMOUNTS,
        ),
        id="projected-downward-requests-cpu",
        marks=pytest.mark.conformance(
            "Projected downwardAPI should provide container's cpu request [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-downward-requests-memory",
            projected_downward(amount("requests.memory")),
            "amount",
            "33554432 644 0:0",
            own=AMOUNTS,
        ),
        id="projected-downward-requests-memory",
        marks=pytest.mark.conformance(
            "Projected downwardAPI should provide container's memory request [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-downward-allocatable-cpu",
            projected_downward(amount("limits.cpu")),
            "amount",
            "ALLOCATABLE-cpu 644 0:0",
        ),
        id="projected-downward-allocatable-cpu",
        marks=pytest.mark.conformance(
            "Projected downwardAPI should provide node allocatable (cpu) as default cpu limit if the limit is not set [NodeConformance]"
        ),
    ),
    pytest.param(
        reads(
            "projected-downward-allocatable-memory",
            projected_downward(amount("limits.memory")),
            "amount",
            "ALLOCATABLE-memory 644 0:0",
        ),
        id="projected-downward-allocatable-memory",
        marks=pytest.mark.conformance(
            "Projected downwardAPI should provide node allocatable (memory) as default memory limit if the limit is not set [NodeConformance]"
        ),
    ),
    pytest.param(
        Case(
            "combined",
            [COMBINED],
            "for f in podname secret config; do cat /v0/$f; echo; done",
            "combined value-1 value-1",
        ),
        id="combined",
        marks=pytest.mark.conformance(
            "Projected combined should project all components that make up the projection API [Projection] [NodeConformance]"
        ),
    ),
    pytest.param(
        Case(
            "two-kinds", [config_map(), secret()], "cat /v0/data-1; echo; cat /v1/data-1", "value-1 value-1"
        ),
        id="two-kinds",
        marks=pytest.mark.conformance("EmptyDir wrapper volumes should not conflict"),
    ),
    pytest.param(
        writes("empty-root-0644-tmpfs", "0644", "tmpfs", {}),
        id="empty-root-0644-tmpfs",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (root,0644,tmpfs) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-root-0644-default", "0644", "default", {}),
        id="empty-root-0644-default",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (root,0644,default) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-root-0666-tmpfs", "0666", "tmpfs", {}),
        id="empty-root-0666-tmpfs",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (root,0666,tmpfs) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-root-0666-default", "0666", "default", {}),
        id="empty-root-0666-default",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (root,0666,default) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-root-0777-tmpfs", "0777", "tmpfs", {}),
        id="empty-root-0777-tmpfs",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (root,0777,tmpfs) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-root-0777-default", "0777", "default", {}),
        id="empty-root-0777-default",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (root,0777,default) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-non-root-0644-tmpfs", "0644", "tmpfs", NOT_ROOT),
        id="empty-non-root-0644-tmpfs",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (non-root,0644,tmpfs) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-non-root-0644-default", "0644", "default", NOT_ROOT),
        id="empty-non-root-0644-default",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (non-root,0644,default) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-non-root-0666-tmpfs", "0666", "tmpfs", NOT_ROOT),
        id="empty-non-root-0666-tmpfs",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (non-root,0666,tmpfs) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-non-root-0666-default", "0666", "default", NOT_ROOT),
        id="empty-non-root-0666-default",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (non-root,0666,default) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-non-root-0777-tmpfs", "0777", "tmpfs", NOT_ROOT),
        id="empty-non-root-0777-tmpfs",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (non-root,0777,tmpfs) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        writes("empty-non-root-0777-default", "0777", "default", NOT_ROOT),
        id="empty-non-root-0777-default",
        marks=pytest.mark.conformance(
            "EmptyDir volumes should support (non-root,0777,default) [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        Case("empty-mode-default", [empty("default")], "stat -c %a /v0", "777"),
        id="empty-mode-default",
        marks=pytest.mark.conformance(
            "EmptyDir volumes volume on default medium should have the correct mode [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        Case("empty-mode-tmpfs", [empty("tmpfs")], "stat -c %a /v0; stat -f -c %T /v0", "1777 tmpfs"),
        id="empty-mode-tmpfs",
        marks=pytest.mark.conformance(
            "EmptyDir volumes volume on tmpfs should have the correct mode [LinuxOnly] [NodeConformance]"
        ),
    ),
    pytest.param(
        part("subpath-configmap", config_map(), "data-1", "/part", "value-1"),
        id="subpath-configmap",
        marks=pytest.mark.conformance(
            "Subpath Atomic writer volumes should support subpaths with configmap pod"
        ),
    ),
    pytest.param(
        part("subpath-secret", secret(), "data-1", "/part", "value-1"),
        id="subpath-secret",
        marks=pytest.mark.conformance(
            "Subpath Atomic writer volumes should support subpaths with secret pod"
        ),
    ),
    pytest.param(
        part("subpath-downward", downward(POD_NAME), "podname", "/part", "subpath-downward"),
        id="subpath-downward",
        marks=pytest.mark.conformance(
            "Subpath Atomic writer volumes should support subpaths with downward pod"
        ),
    ),
    pytest.param(
        part("subpath-projected", projected_config_map(), "data-1", "/part", "value-1"),
        id="subpath-projected",
        marks=pytest.mark.conformance(
            "Subpath Atomic writer volumes should support subpaths with projected pod"
        ),
    ),
    pytest.param(
        part("subpath-existing", config_map(), "data-1", "/etc/passwd", "value-1"),
        id="subpath-existing",
        marks=pytest.mark.conformance(
            "Subpath Atomic writer volumes should support subpaths with configmap pod with mountPath of existing file"
        ),
    ),
    pytest.param(
        expression(
            "subpath-expression",
            "$(POD_NAME)/x",
            "touch /v0/here; ls -R /whole",
            "/whole: subpath-expression /whole/subpath-expression: x /whole/subpath-expression/x: here",
        ),
        id="subpath-expression",
        marks=pytest.mark.conformance(
            "Variable Expansion should allow substituting values in a volume subpath"
        ),
    ),
    pytest.param(
        Case(
            "image",
            [{"image": {"reference": "docker.io/library/busybox:latest", "pullPolicy": "Always"}}],
            "/v0/bin/busybox echo from the volume",
            "from the volume",
        ),
        id="image",
        marks=pytest.mark.conformance(
            "ImageVolume should succeed with pod and pull policy of Always [LinuxOnly] [MinimumKubeletVersion:1.35]"
        ),
    ),
]
CHANGES = {
    "configmap": [config_map(name=name, optional=True) for name in ("deleted", "updated", "created")],
    "secret": [secret(name=name, optional=True) for name in ("deleted", "updated", "created")],
    "projected-configmap": [
        projected_config_map(name=name, optional=True) for name in ("deleted", "updated", "created")
    ],
    "projected-secret": [
        projected_secret(name=name, optional=True) for name in ("deleted", "updated", "created")
    ],
}
METADATA = [
    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
    {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
]
WAITING = [
    *(Case(f"follows-{name}", volumes, FOREVER) for name, volumes in CHANGES.items()),
    Case("follows-downward", [downward(*METADATA)], FOREVER),
    Case("follows-projected-downward", [projected_downward(*METADATA)], FOREVER),
    expression("bad-absolute", "$(ABSOLUTE)", "true"),
    expression("bad-backticks", "$(DOTS)", "true"),
    expression("bad-at-first", "$(NOTE)", "echo started; touch /v0/here; ls /whole"),
    expression("writes-parts", "$(POD_NAME)", f"echo mine > /v0/file; {FOREVER}"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    for cluster in running(tmp_path_factory.mktemp("volumes"), "volumes"):
        world = World(cluster)
        wait_for(world.has_account, "a service account")
        world.create(*objects())
        cases = [parameters.values[0] for parameters in CASES] + WAITING
        world.create(*(case.pod for case in cases), shared_pair())  # type: ignore[attr-defined]
        yield world


@pytest.fixture(scope="module")
def allocatable(world: World) -> Object:
    [node] = world.cluster.get("nodes")["items"]
    found: Object = node["status"]["allocatable"]
    return found


@pytest.mark.parametrize("case", CASES)
def test_what_a_container_finds(world: World, allocatable: Object, case: Case) -> None:
    memory = int(allocatable["memory"].removesuffix("Ki")) * 1024
    expected = case.expected.replace("ALLOCATABLE-cpu", allocatable["cpu"])
    assert world.output(case.name) == expected.replace("ALLOCATABLE-memory", str(memory))


@pytest.mark.conformance(
    "Secrets should be able to mount in a volume regardless of a different secret existing with same name in different namespace [NodeConformance]"
)
def test_a_secret_is_that_of_the_pods_namespace(world: World) -> None:
    assert world.output("secret-plain").startswith("0 value-1 ")


@pytest.mark.conformance("EmptyDir volumes pod should support shared volumes between containers")
def test_two_containers_share_a_volume(world: World) -> None:
    assert world.output("two-containers") == "hello from sub"


@pytest.fixture(scope="module")
def changed(world: World) -> dict[str, float]:
    """All objects are changed at once; how long each pod took to show it."""
    for name in CHANGES:
        world.wait_for_running(f"follows-{name}")
        assert world.read(f"follows-{name}", "/v0/key") == "there"
        assert world.read(f"follows-{name}", "/v1/key") == "old"
        assert world.read(f"follows-{name}", "/v2/key") == ""
    world.create(*(named(kind, "created", **text_of(kind, key="new")) for kind in ("ConfigMap", "Secret")))
    world.cluster.kubectl("delete", "configmap/deleted", "secret/deleted")
    for kind in ("ConfigMap", "Secret"):
        patch = json.dumps(text_of(kind, key="newer"))
        world.cluster.kubectl("patch", f"{kind.lower()}/updated", "-p", patch)
    return {
        name: world.until_read(f"follows-{name}", "/v1/key", lambda text: text == "newer") for name in CHANGES
    }


FOLLOWERS = [
    pytest.param(
        "configmap",
        marks=[
            pytest.mark.conformance("ConfigMap updates should be reflected in volume [NodeConformance]"),
            pytest.mark.conformance(
                "ConfigMap optional updates should be reflected in volume [NodeConformance]"
            ),
        ],
    ),
    pytest.param(
        "projected-configmap",
        marks=[
            pytest.mark.conformance(
                "Projected configMap updates should be reflected in volume [NodeConformance]"
            ),
            pytest.mark.conformance(
                "Projected configMap optional updates should be reflected in volume [NodeConformance]"
            ),
        ],
    ),
    pytest.param(
        "secret",
        marks=pytest.mark.conformance(
            "Secrets optional updates should be reflected in volume [NodeConformance]"
        ),
    ),
    pytest.param(
        "projected-secret",
        marks=pytest.mark.conformance(
            "Projected secret optional updates should be reflected in volume [NodeConformance]"
        ),
    ),
]


@pytest.mark.parametrize("name", FOLLOWERS)
def test_volumes_follow_their_objects(world: World, changed: dict[str, float], name: str) -> None:
    assert name in changed
    world.until_read(f"follows-{name}", "/v0/key", lambda text: text == "")
    world.until_read(f"follows-{name}", "/v2/key", lambda text: text == "new")


def follow_metadata(world: World, name: str, verb: str, what: str) -> None:
    world.wait_for_running(name)
    world.cluster.kubectl(verb, "pod", name, "sea=rough")
    world.until_read(name, f"/v0/{what}", lambda text: 'sea="rough"' in text.split("\n"))


@pytest.mark.conformance("Downward API volume should update labels on modification [NodeConformance]")
def test_labels(world: World) -> None:
    follow_metadata(world, "follows-downward", "label", "labels")


@pytest.mark.conformance("Downward API volume should update annotations on modification [NodeConformance]")
def test_annotations(world: World) -> None:
    follow_metadata(world, "follows-downward", "annotate", "annotations")


@pytest.mark.conformance("Projected downwardAPI should update labels on modification [NodeConformance]")
def test_projected_labels(world: World) -> None:
    follow_metadata(world, "follows-projected-downward", "label", "labels")


@pytest.mark.conformance("Projected downwardAPI should update annotations on modification [NodeConformance]")
def test_projected_annotations(world: World) -> None:
    follow_metadata(world, "follows-projected-downward", "annotate", "annotations")


IMMUTABLE = [
    pytest.param(
        "ConfigMap",
        marks=pytest.mark.conformance("ConfigMap should be immutable if `immutable` field is set"),
    ),
    pytest.param(
        "Secret", marks=pytest.mark.conformance("Secrets should be immutable if `immutable` field is set")
    ),
]


@pytest.mark.parametrize("kind", IMMUTABLE)
def test_what_is_immutable_never_changes(world: World, kind: str) -> None:
    def patch(content: Object, *, is_allowed: bool = True) -> None:
        result = world.cluster.kubectl(
            "patch", f"{kind.lower()}/fixed", "-p", json.dumps(content), check=False
        )
        assert (result.returncode == 0) == is_allowed, result.stderr

    world.create(named(kind, "fixed", **text_of(kind, key="1")))
    patch(text_of(kind, key="2"))
    patch({"immutable": True})
    patch(text_of(kind, key="3"), is_allowed=False)
    patch({"immutable": False}, is_allowed=False)
    patch({"metadata": {"labels": {"l": "x"}}})
    world.cluster.kubectl("delete", f"{kind.lower()}/fixed")


# Parts that the environment names


@pytest.mark.conformance(
    "Variable Expansion should fail substituting values in a volume subpath with absolute path"
)
def test_an_absolute_part(world: World) -> None:
    assert world.waiting("bad-absolute")["message"] == "error SubPath `/tmp` must not be an absolute path"


@pytest.mark.conformance(
    "Variable Expansion should fail substituting values in a volume subpath with backticks"
)
def test_a_part_above_the_volume(world: World) -> None:
    said = world.waiting("bad-backticks")["message"]
    assert said == "unable to provision SubPath `..`: must not contain '..'"


@pytest.mark.conformance(
    "Variable Expansion should verify that a failing subpath expansion can be modified during the lifecycle of a container [Slow]"
)
def test_a_part_that_gets_a_name_later(world: World) -> None:
    assert world.waiting("bad-at-first")["message"] == "missing value for NOTE"
    world.cluster.kubectl("annotate", "pod", "bad-at-first", "note=at-last")
    assert world.output("bad-at-first") == "started at-last"


@pytest.mark.conformance("Variable Expansion should succeed in writing subpaths in container")
def test_what_is_written_into_a_part_is_in_the_whole(world: World) -> None:
    world.wait_for_running("writes-parts")
    world.until_read("writes-parts", "/whole/writes-parts/file", lambda text: text == "mine\n")


@pytest.mark.conformance(
    "EmptyDir wrapper volumes should not cause race condition when used for configmaps [Serial]"
)
def test_many_volumes_at_once(world: World) -> None:
    world.create(race())
    asked = ("pods", "-l", "name=race")

    def are_running() -> bool:
        found = world.cluster.get(*asked)["items"]
        return len(found) == RACERS and all(pod["status"]["phase"] == "Running" for pod in found)

    wait_for(are_running, "the race is over", seconds=PATIENCE_SECONDS, interval_seconds=0.5)
    names = {pod["metadata"]["name"] for pod in world.cluster.get(*asked)["items"]}
    events = world.cluster.get("events", "--field-selector", "reason=FailedMount")["items"]
    assert [event["message"] for event in events if event["involvedObject"]["name"] in names] == []


# At last


def test_nothing_is_left_of_pods_that_are_gone(world: World) -> None:
    world.cluster.kubectl("delete", "rc", "race", "--cascade=background", "--ignore-not-found")
    world.cluster.kubectl("delete", "pods", "--all", "--wait", timeout=PATIENCE_SECONDS)
    name = world.cluster.name
    pods = Path(world.cluster.home, "tiphys", name, "nodes", f"{name}-node-1", "kubelet", "pods")
    wait_for(lambda: not list(pods.iterdir()), "directories of pods are removed", seconds=PATIENCE_SECONDS)
