"""An operator on kopf: a Tenant is a Deployment of its size, and tells in its status when that is available."""

import os
from typing import Any

import kopf
from kubernetes import client, config

registry = kopf.OperatorRegistry()
TENANTS = ("example.com", "v1", "tenants")


@kopf.on.login(registry=registry)
def login(**given: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**given)


def connect() -> client.ApiClient:
    """The client looks at $KUBECONFIG only when it is imported."""
    return config.new_client_from_config(os.environ["KUBECONFIG"])


@kopf.on.create(*TENANTS, registry=registry)
@kopf.on.update(*TENANTS, registry=registry)
def deploy(spec: kopf.Spec, name: str, namespace: str, patch: kopf.Patch, **_: Any) -> None:
    """The Deployment is the Tenant's child, and goes with it."""
    api = client.AppsV1Api(connect())
    labels = {"tenant": name}
    wanted = {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": spec["size"],
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": spec["image"]}]},
            },
        },
    }
    kopf.adopt(wanted)
    try:
        api.create_namespaced_deployment(namespace, wanted)
    except client.ApiException as error:
        if error.status != 409:
            raise
        api.patch_namespaced_deployment(name, namespace, wanted)
    patch.status["phase"] = "Deploying"


@kopf.on.event("apps", "v1", "deployments", labels={"tenant": kopf.PRESENT}, registry=registry)
def follow(body: kopf.Body, namespace: str, labels: kopf.Labels, **_: Any) -> None:
    """From the Deployment's state to the Tenant's."""
    status = body.get("status", {})
    is_ready = status.get("observedGeneration") == body["metadata"]["generation"] and (
        status.get("availableReplicas", 0) == body["spec"]["replicas"] == status.get("replicas", 0)
    )
    if is_ready:
        api = client.CustomObjectsApi(connect())
        state = {"status": {"phase": "Ready", "size": body["spec"]["replicas"]}}
        api.patch_namespaced_custom_object_status(
            "example.com", "v1", namespace, "tenants", labels["tenant"], state
        )


@kopf.on.delete(*TENANTS, registry=registry)
def say_goodbye(name: str, namespace: str, **_: Any) -> None:
    """Until this is through, kopf's finalizer keeps the Tenant."""
    goodbye = {"metadata": {"name": f"{name}-was-here"}}
    client.CoreV1Api(connect()).create_namespaced_config_map(namespace, goodbye)
