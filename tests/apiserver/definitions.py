"""CustomResourceDefinitions for tests, and the paths of what they define."""

from __future__ import annotations

from typing import Any

from served import Client, Object, settle

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "stable.example.com"
TABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"

SPEC = {
    "type": "object",
    "properties": {
        "cronSpec": {"type": "string"},
        "image": {"type": "string", "default": "busybox"},
        "replicas": {"type": "integer"},
    },
}
STATUS = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "labelSelector": {"type": "string"},
        "ready": {"type": "boolean"},
    },
}


def version(name: str = "v1", *, storage: bool = True, served: bool = True, **more: Any) -> Object:
    schema = {"type": "object", "properties": {"spec": SPEC, "status": STATUS}}
    return {
        "name": name,
        "served": served,
        "storage": storage,
        "schema": {"openAPIV3Schema": schema},
        **more,
    }


def with_schema(schema: Object, name: str = "v1", **more: Any) -> Object:
    return {**version(name, **more), "schema": {"openAPIV3Schema": schema}}


def definition(
    *versions: Object, plural: str = "crontabs", kind: str = "CronTab", group: str = GROUP, **spec: Any
) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": list(versions) or [version()],
            **spec,
        },
    }


def tab(name: str = "a", *, version: str = "v1", **spec: Any) -> Object:
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"cronSpec": "* * * * *", **spec},
    }


async def define(client: Client, wanted: Object | None = None) -> Object:
    """Creates a definition and gives it back as it is once it is established."""
    made = await client.create(DEFINITIONS, wanted or definition())
    await settle()
    return await client.get(f"{DEFINITIONS}/{made['metadata']['name']}")


async def redefine(client: Client, wanted: Object) -> Object:
    """Replaces the spec of a definition."""
    target = f"{DEFINITIONS}/{wanted['metadata']['name']}"
    current = await client.get(target)
    changed = await client.put(target, {**current, "spec": wanted["spec"]})
    await settle()
    return changed


def conditions(found: Object) -> dict[str, tuple[str, str]]:
    return {
        each["type"]: (each["status"], each["reason"]) for each in found["status"].get("conditions") or ()
    }
