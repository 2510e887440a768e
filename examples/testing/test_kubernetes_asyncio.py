"""kubernetes-asyncio: a rollout that a coroutine starts and another one watches; the cluster is awaited, too."""

import asyncio

from kubernetes_asyncio import client, config, watch

from tiphys.testing import Cluster


async def roll_out(api: client.AppsV1Api, namespace: str, image: str) -> list[str]:
    """Sets the image and follows the rollout; the messages of the Progressing condition on the way."""
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}}
    patched = await api.patch_namespaced_deployment("web", namespace, patch)
    seen: list[str] = []
    events = watch.Watch().stream(
        api.list_namespaced_deployment, namespace, resource_version=patched.metadata.resource_version
    )
    async with events:
        async for event in events:
            deployment = event["object"]
            for condition in deployment.status.conditions or []:
                if condition.type == "Progressing" and condition.message not in seen:
                    seen.append(condition.message)
            status = deployment.status
            if (
                status.observed_generation == patched.metadata.generation
                and status.updated_replicas == 2
                and (status.replicas == status.available_replicas == 2)
            ):
                return seen
    return seen


async def _scenario() -> None:
    async with Cluster() as cluster, cluster.namespace() as namespace:
        await config.load_kube_config(str(namespace.kubeconfig))
        async with client.ApiClient() as connection:
            api = client.AppsV1Api(connection)
            labels = {"app": "web"}
            container = client.V1Container(name="web", image="nginx:1")
            deployment = client.V1Deployment(
                metadata=client.V1ObjectMeta(name="web"),
                spec=client.V1DeploymentSpec(
                    replicas=2,
                    selector=client.V1LabelSelector(match_labels=labels),
                    template=client.V1PodTemplateSpec(
                        metadata=client.V1ObjectMeta(labels=labels),
                        spec=client.V1PodSpec(containers=[container]),
                    ),
                ),
            )
            await api.create_namespaced_deployment(namespace.name, deployment)
            await cluster.wait_for("deployment/web", "Available", namespace=namespace.name)
            seen = await roll_out(api, namespace.name, "nginx:2")
            assert any("is progressing" in message or "has successfully" in message for message in seen)
            pods = await cluster.list("pods", namespace=namespace.name)
            running = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
            assert {pod["spec"]["containers"][0]["image"] for pod in running} == {"nginx:2"}


def test_a_rollout() -> None:
    asyncio.run(_scenario())
