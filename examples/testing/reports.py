"""An operator on kopf: a Deployment annotated with example.com/report has a ConfigMap that tells its size; a timer would be one line more."""

import os
from typing import Any

import kopf
from kubernetes import client, config

ANNOTATION = "example.com/report"
registry = kopf.OperatorRegistry()


@kopf.on.login(registry=registry)
def login(**_: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**_)


def core_v1() -> client.CoreV1Api:
    """The client looks at $KUBECONFIG only when it is imported."""
    return client.CoreV1Api(config.new_client_from_config(os.environ["KUBECONFIG"]))


@kopf.on.create("apps", "v1", "deployments", annotations={ANNOTATION: kopf.PRESENT}, registry=registry)
@kopf.on.update("apps", "v1", "deployments", annotations={ANNOTATION: kopf.PRESENT}, registry=registry)
def report(spec: kopf.Spec, name: str, namespace: str, **_: Any) -> dict[str, int]:
    """The ConfigMap is the Deployment's child, and goes with it."""
    api = core_v1()
    wanted = {"metadata": {"name": f"{name}-report"}, "data": {"replicas": str(spec["replicas"])}}
    kopf.adopt(wanted)
    try:
        api.create_namespaced_config_map(namespace, wanted)
    except client.ApiException as error:
        if error.status != 409:
            raise
        api.patch_namespaced_config_map(f"{name}-report", namespace, wanted)
    return {"replicas": spec["replicas"]}


@kopf.on.delete("apps", "v1", "deployments", annotations={ANNOTATION: kopf.PRESENT}, registry=registry)
def say_goodbye(name: str, namespace: str, **_: Any) -> None:
    """Until this is through, kopf's finalizer keeps the Deployment."""
    goodbye = {"metadata": {"name": f"{name}-was-here"}}
    core_v1().create_namespaced_config_map(namespace, goodbye)
