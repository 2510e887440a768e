"""What client libraries do besides plain verbs: dynamic discovery, elections, exec, logs, tables, chunks. Nothing here may be able to tell."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kr8s
import lightkube
import pytest
from kr8s.objects import Pod as Kr8sPod
from kubernetes import client, config, dynamic, utils
from kubernetes.stream import stream
from kubernetes_asyncio import client as async_client
from kubernetes_asyncio import config as async_config
from kubernetes_asyncio.stream import WsApiClient
from lightkube.resources.core_v1 import Pod as LightPod

from tiphys.testing import Cluster, Namespace

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def namespace(thread_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    with thread_cluster.namespace(request.node.name) as made:
        yield made
    thread_cluster.pods.forget()


@pytest.fixture
def official(namespace: Namespace) -> client.ApiClient:
    return config.new_client_from_config(str(namespace.kubeconfig))


@pytest.fixture
def pod(namespace: Namespace, thread_cluster: Cluster) -> str:
    """One that says two lines and answers `cat`."""
    thread_cluster.pods.behave(
        "p", logs=["one", "two"], answers={"cat x": ("content\n", 0), "fail": ("no\n", 3)}
    )
    namespace.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "labels": {"app": "p"}},
            "spec": {"containers": [{"name": "main", "image": "busybox"}]},
        }
    )
    namespace.wait_for("pod/p")
    return "p"


class TestOfficial:
    def test_manifests_are_created(self, official: client.ApiClient, namespace: Namespace) -> None:
        utils.create_from_yaml(official, str(EXAMPLES / "03-deployment.yaml"), namespace=namespace.name)
        assert namespace.list("deployments")

    def test_the_dynamic_client_discovers(self, official: client.ApiClient, namespace: Namespace) -> None:
        found = dynamic.DynamicClient(official)
        deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
        configs = found.resources.get(api_version="v1", kind="ConfigMap")
        configs.create(body={"metadata": {"name": "c"}, "data": {"a": "b"}}, namespace=namespace.name)
        configs.server_side_apply(
            body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"c": "d"}},
            namespace=namespace.name, field_manager="dynamic",
        )  # fmt: skip
        assert dict(configs.get(name="c", namespace=namespace.name).data) == {"a": "b", "c": "d"}
        assert deployments.get(namespace=namespace.name).items == []
        names = {resource.name for resource in deployments.subresources.values()}
        assert names >= {"deployments/scale", "deployments/status"}

    def test_lists_come_in_chunks(self, official: client.ApiClient, namespace: Namespace) -> None:
        namespace.load(
            [
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{number}"}}
                for number in range(5)
            ]
        )
        api, seen, token = client.CoreV1Api(official), [], None
        while token != "":
            page = api.list_namespaced_secret(namespace.name, limit=2, _continue=token)
            seen += [item.metadata.name for item in page.items]
            token = page.metadata._continue or ""
        assert seen == [f"s{number}" for number in range(5)]

    def test_commands_run_in_pods(self, official: client.ApiClient, namespace: Namespace, pod: str) -> None:
        api = client.CoreV1Api(official)
        said = stream(
            api.connect_get_namespaced_pod_exec, pod, namespace.name, command=["cat", "x"],
            stdout=True, stderr=True, stdin=False, tty=False,
        )  # fmt: skip
        assert said == "content\n"
        session = stream(
            api.connect_get_namespaced_pod_exec, pod, namespace.name, command=["fail"],
            stdout=True, stderr=True, stdin=False, tty=False, _preload_content=False,
        )  # fmt: skip
        session.run_forever(timeout=20)
        assert (session.read_stdout(), session.returncode) == ("no\n", 3)

    def test_logs_are_read(self, official: client.ApiClient, namespace: Namespace, pod: str) -> None:
        api = client.CoreV1Api(official)
        assert api.read_namespaced_pod_log(pod, namespace.name) == "one\ntwo\n"
        assert api.read_namespaced_pod_log(pod, namespace.name, tail_lines=1) == "two\n"

    def test_reviews_and_evictions(self, official: client.ApiClient, namespace: Namespace, pod: str) -> None:
        review = client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(
                resource_attributes=client.V1ResourceAttributes(verb="delete", resource="pods")
            )
        )
        assert client.AuthorizationV1Api(official).create_self_subject_access_review(review).status.allowed
        eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod, namespace=namespace.name))
        client.CoreV1Api(official).create_namespaced_pod_eviction(pod, namespace.name, eviction)
        namespace.wait_gone(f"pod/{pod}", 40)

    def test_scale_and_status(
        self, official: client.ApiClient, namespace: Namespace, thread_cluster: Cluster
    ) -> None:
        utils.create_from_yaml(official, str(EXAMPLES / "03-deployment.yaml"), namespace=namespace.name)
        (name,) = (found["metadata"]["name"] for found in namespace.list("deployments"))
        namespace.wait_for(f"deployment/{name}", lambda found: found["status"]["availableReplicas"] == 3)
        thread_cluster.clock.rest()
        api = client.AppsV1Api(official)
        scale = api.read_namespaced_deployment_scale(name, namespace.name)
        scale.spec.replicas = 1
        assert api.replace_namespaced_deployment_scale(name, namespace.name, scale).spec.replicas == 1
        namespace.wait_for(f"deployment/{name}", lambda found: found["status"]["readyReplicas"] == 1)


async def test_asyncio_commands_run_in_pods(namespace: Namespace, pod: str) -> None:
    configuration = async_client.Configuration()
    await async_config.load_kube_config(str(namespace.kubeconfig), client_configuration=configuration)
    async with WsApiClient(configuration) as connection:
        said = await async_client.CoreV1Api(connection).connect_get_namespaced_pod_exec(
            pod, namespace.name, command=["cat", "x"], stdout=True, stderr=True, stdin=False, tty=False
        )
    assert said == "content\n"


async def test_asyncio_watches_many_at_once(namespace: Namespace) -> None:
    configuration = async_client.Configuration()
    await async_config.load_kube_config(str(namespace.kubeconfig), client_configuration=configuration)
    async with async_client.ApiClient(configuration) as connection:
        api = async_client.CoreV1Api(connection)

        async def follow() -> list[str]:
            from kubernetes_asyncio import watch

            seen: list[str] = []
            async with watch.Watch().stream(api.list_namespaced_config_map, namespace.name) as events:
                async for event in events:
                    name = event["object"].metadata.name
                    if name != "kube-root-ca.crt":
                        seen.append(f"{event['type']} {name}")
                    if len(seen) == 3:
                        return seen
            return seen

        watching = [asyncio.create_task(follow()) for _ in range(5)]
        body: dict[str, Any] = {"metadata": {"name": "c"}}
        await api.create_namespaced_config_map(namespace.name, body)
        await api.patch_namespaced_config_map("c", namespace.name, {"data": {"a": "b"}})
        await api.delete_namespaced_config_map("c", namespace.name)
        for position in range(3):
            await api.create_namespaced_config_map(namespace.name, {"metadata": {"name": f"c{position}"}})
        assert all(len(seen) == 3 for seen in await asyncio.wait_for(asyncio.gather(*watching), 30))


class TestKr8s:
    def test_pods_are_talked_to(self, namespace: Namespace, pod: str) -> None:
        api = kr8s.api(kubeconfig=str(namespace.kubeconfig))
        found = Kr8sPod.get(pod, namespace=namespace.name, api=api)
        assert list(found.logs()) == ["one", "two"]
        assert found.exec(["cat", "x"]).stdout == b"content\n"
        found.label({"team": "a"})
        assert [each.name for each in api.get("pods", namespace=namespace.name, label_selector="team=a")] == [
            pod
        ]
        assert {"pods", "deployments"} <= {entry["name"] for entry in api.api_resources()}

    def test_a_pod_is_made_and_waited_for(self, namespace: Namespace) -> None:
        api = kr8s.api(kubeconfig=str(namespace.kubeconfig))
        made = Kr8sPod.gen(name="q", image="nginx", ports=[80])
        made.api = api
        made.namespace = namespace.name
        made.create()
        made.wait("condition=Ready", timeout=30)
        made.delete()
        made.wait("delete", timeout=60)


class TestLightkube:
    def test_logs_and_many_objects(self, namespace: Namespace, pod: str) -> None:
        light = lightkube.Client(
            lightkube.KubeConfig.from_file(namespace.kubeconfig), namespace=namespace.name
        )
        assert "".join(light.log(pod)) == "one\ntwo\n"
        assert [found.metadata.name for found in light.list(LightPod, chunk_size=1)] == [pod]
        ready = light.wait(LightPod, pod, for_conditions=["Ready"])
        assert ready.status.phase == "Running"
        light.deletecollection(LightPod, grace_period=0)
        namespace.wait_gone(f"pod/{pod}")


def test_log_following_ends_with_the_pod(
    official: client.ApiClient, namespace: Namespace, pod: str, thread_cluster: Cluster
) -> None:
    lines: list[str] = []
    answer = client.CoreV1Api(official).read_namespaced_pod_log(
        pod, namespace.name, follow=True, _preload_content=False
    )
    thread = threading.Thread(target=lambda: lines.extend(line.decode().strip() for line in answer.stream()))
    thread.start()
    thread_cluster.pods.log(pod, "three", namespace=namespace.name)
    namespace.delete(f"pod/{pod}", grace_period_seconds=1)
    thread.join(30)
    assert not thread.is_alive()
    assert "\n".join(lines).splitlines() == ["one", "two", "three"]
