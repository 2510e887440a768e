"""Webhook configurations for tests, and answers of webhooks."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

import orjson
from served import Client, Object
from webhook_server import Webhook

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
VALIDATING = f"{ADMISSION}/validatingwebhookconfigurations"
MUTATING = f"{ADMISSION}/mutatingwebhookconfigurations"
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
Patch = list[Object]


def rule(resources: str = "configmaps", operations: str = "CREATE", **more: Any) -> Object:
    """`apiGroups` and `apiVersions` are those of the core, unless they are given."""
    return {
        "operations": operations.split(),
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": resources.split(),
        **more,
    }


def webhook_entry(config: Object, name: str = "check.example.com", *rules: Object, **more: Any) -> Object:
    return {
        "name": name,
        "clientConfig": config,
        "rules": list(rules or (rule(),)),
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }


async def register(
    client: Client, where: str, *webhooks: Object, name: str = "hooks", **labels: str
) -> Object:
    return await client.create(
        where, {"metadata": {"name": name, "labels": labels}, "webhooks": list(webhooks)}
    )


def respond(review: Object, **response: Any) -> Object:
    kept = {name: review[name] for name in ("kind", "apiVersion")}
    return {**kept, "response": {"uid": review["request"]["uid"], **response}}


def allow(review: Object, **more: Any) -> Object:
    return respond(review, allowed=True, **more)


def deny(message: str = "", **status: Any) -> Callable[[Object], Object]:
    if message:
        status["message"] = message
    return lambda review: respond(review, allowed=False, **({"status": status} if status else {}))


def patch(*operations: Object) -> Callable[[Object], Object]:
    return lambda review: allow(review, patch=encoded(list(operations)), patchType="JSONPatch")


def patch_if(holds: Callable[[Object], bool], *operations: Object) -> Callable[[Object], Object]:
    made = patch(*operations)
    return lambda review: made(review) if holds(review["request"]["object"]) else allow(review)


def encoded(operations: Any) -> str:
    return base64.b64encode(orjson.dumps(operations)).decode()


def add(path: str, value: Any) -> Object:
    return {"op": "add", "path": path, "value": value}


def config_map(name: str = "a", **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data or {"a": "b"}}


def pod(name: str = "a", **more: Any) -> Object:
    spec = {"containers": [{"name": "c", "image": "i"}]}
    return {"metadata": {"name": name}, "spec": {**spec, **copy.deepcopy(more)}}


def requests(hook: Webhook) -> list[Object]:
    return [review["request"] for review in hook.reviews]
