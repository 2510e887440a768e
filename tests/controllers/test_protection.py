"""What is in use stays although somebody deletes it: over the whole loop, and on the API server with its admission."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.client.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, VOLUMEATTRIBUTESCLASSES
from tiphys.controllers import pv_protection, pvc_protection, vac_protection
from tiphys.controllers.pvc_protection import uses
from tiphys.testing.world import World

CLAIM = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"]}


@pytest.fixture
async def guarded(world: World) -> World:
    await world.start(pvc_protection.CONTROLLER, pv_protection.CONTROLLER, vac_protection.CONTROLLER)
    return world


def names(world: World, resource: Any) -> list[str]:
    return [obj["metadata"]["name"] for obj in world.api.objects(resource)]


def finalizers(world: World, resource: Any) -> Any:
    return [obj["metadata"].get("finalizers") for obj in world.api.objects(resource)]


def pod(name: str, claim: str, **spec: Any) -> dict[str, Any]:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"volumes": volumes, **spec}}


async def test_a_claim_stays_while_a_pod_on_a_node_uses_it(guarded: World) -> None:
    for name in ("used", "free"):
        guarded.api.put(
            PERSISTENTVOLUMECLAIMS, {"metadata": {"name": name, "namespace": "default"}, "spec": CLAIM}
        )
    guarded.api.put(PODS, pod("p", "used", nodeName="n"))
    guarded.api.put(PODS, pod("waiting", "free"))
    await guarded.settle()
    assert finalizers(guarded, PERSISTENTVOLUMECLAIMS) == [[pvc_protection.FINALIZER]] * 2
    for name in ("used", "free"):
        await guarded.client.delete(PERSISTENTVOLUMECLAIMS, name, "default")
    await guarded.settle()
    assert names(guarded, PERSISTENTVOLUMECLAIMS) == ["used"]
    written = guarded.api.resource_version
    await guarded.settle()
    assert guarded.api.resource_version == written
    await guarded.client.delete(PODS, "p", "default", grace_period_seconds=0)
    await guarded.settle()
    assert names(guarded, PERSISTENTVOLUMECLAIMS) == []


async def test_a_volume_stays_while_it_is_bound(guarded: World) -> None:
    guarded.api.put(PERSISTENTVOLUMES, {"metadata": {"name": "v"}, "spec": {}, "status": {"phase": "Bound"}})
    await guarded.settle()
    await guarded.client.delete(PERSISTENTVOLUMES, "v")
    await guarded.settle()
    assert names(guarded, PERSISTENTVOLUMES) == ["v"]
    guarded.api.put(
        PERSISTENTVOLUMES, {**guarded.api.objects(PERSISTENTVOLUMES)[0], "status": {"phase": "Released"}}
    )
    await guarded.settle()
    assert names(guarded, PERSISTENTVOLUMES) == []


async def test_a_class_stays_while_a_claim_or_a_volume_names_it(guarded: World) -> None:
    for name in ("gold", "silver", "bronze"):
        guarded.api.put(VOLUMEATTRIBUTESCLASSES, {"metadata": {"name": name}, "driverName": "d"})
    volume = {"metadata": {"name": "v"}, "spec": {"volumeAttributesClassName": "gold"}}
    guarded.api.put(PERSISTENTVOLUMES, volume)
    claim = {"metadata": {"name": "c", "namespace": "default"}, "spec": CLAIM}
    status = {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "silver"}}
    guarded.api.put(PERSISTENTVOLUMECLAIMS, {**claim, "status": status})
    await guarded.settle()
    for name in ("gold", "silver", "bronze"):
        await guarded.client.delete(VOLUMEATTRIBUTESCLASSES, name)
    await guarded.settle()
    assert names(guarded, VOLUMEATTRIBUTESCLASSES) == ["gold", "silver"]
    found = guarded.api.objects(PERSISTENTVOLUMES)[0]
    guarded.api.put(PERSISTENTVOLUMES, {**found, "spec": {}})
    await guarded.client.delete(PERSISTENTVOLUMECLAIMS, "c", "default")
    await guarded.settle()
    assert names(guarded, VOLUMEATTRIBUTESCLASSES) == []


def test_who_uses_an_ephemeral_claim() -> None:
    volumes = [{"name": "v", "ephemeral": {}}]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": True}
    claim = {"metadata": {"name": "p-v", "namespace": "n", "ownerReferences": [owner]}}
    running = {
        "metadata": {"name": "p", "namespace": "n", "uid": "1"},
        "spec": {"nodeName": "a", "volumes": volumes},
    }
    assert uses(running, claim)
    assert not uses({**running, "spec": {"volumes": volumes}}, claim)
    assert not uses({**running, "metadata": {**running["metadata"], "uid": "2"}}, claim)
    gone = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}
    assert not uses({**running, "metadata": {**running["metadata"], **gone}}, claim)
    ending = {**gone, "deletionGracePeriodSeconds": 30}
    assert uses({**running, "metadata": {**running["metadata"], **ending}}, claim)
