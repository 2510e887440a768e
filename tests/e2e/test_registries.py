"""Images from real registries, with and without a password, through the node's mirror into pods; as kubectl shows it."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from e2e_cluster import Cluster, wait_for
from registries import PASSWORD, PRIVATE, PUBLIC, USER, CredentialPlugins, Registry

from tiphys.cluster.namespaces import find_node

pytestmark = pytest.mark.real

MIRROR = "127.0.0.83"


@pytest.fixture(scope="module")
def registries(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Registry, Registry]]:
    name = cluster.get("nodes")["items"][0]["metadata"]["name"]
    node = find_node(next((cluster.home / "tiphys" / cluster.name).rglob(f"nodes/{name}")))
    assert node is not None
    directory = tmp_path_factory.mktemp("registries")
    made = (
        Registry(node, directory / "public", PUBLIC),
        Registry(node, directory / "private", PRIVATE, is_private=True),
    )
    for registry in made:
        registry.start()
    yield made
    for registry in made:
        registry.stop()


class Pods:
    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def run(self, name: str, image: str, *secrets: str, policy: str = "Always", **spec: Any) -> None:
        container = {
            "name": "main",
            "image": image,
            "imagePullPolicy": policy,
            "command": ["sleep", "3600"],
        }
        if secrets:
            spec["imagePullSecrets"] = [{"name": secret} for secret in secrets]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
        }
        self.apply(pod)

    def apply(self, obj: Any) -> None:
        self.cluster.kubectl("create", "-n", self.namespace, "-f", "-", input=json.dumps(obj))

    def secret(self, name: str, server: str, password: str) -> None:
        self.cluster.kubectl(
            "create", "secret", "docker-registry", name, "-n", self.namespace,
            f"--docker-server={server}", f"--docker-username={USER}", f"--docker-password={password}",
        )  # fmt: skip

    def status(self, name: str) -> Any:
        pod = self.cluster.get("pod", name, "-n", self.namespace)
        return (pod["status"].get("containerStatuses") or [{"state": {}}])[0]

    def running(self, name: str) -> Any:
        def is_running() -> Any:
            status = self.status(name)
            return status if "running" in status["state"] else None

        return wait_for(is_running, f"pod {name} runs; {self.status(name)}")

    def waiting(self, name: str, reason: str) -> str:
        def message() -> Any:
            waiting = self.status(name)["state"].get("waiting") or {}
            return waiting.get("message") if waiting.get("reason") == reason else None

        return str(wait_for(message, f"pod {name} waits for {reason}"))

    def pull_failure(self, name: str) -> str:
        """Why it has no image. It waits for ErrImagePull for two seconds only, and then for the next try."""

        def message() -> Any:
            waiting = self.status(name)["state"].get("waiting") or {}
            if waiting.get("reason") not in ("ErrImagePull", "ImagePullBackOff"):
                return None
            return str(waiting["message"]).rpartition(": ErrImagePull: ")[2]

        return str(wait_for(message, f"the image of pod {name} is not pulled"))

    def events(self, name: str) -> list[tuple[str, str]]:
        selector = f"involvedObject.name={name}"
        items = self.cluster.get("events", "-n", self.namespace, "--field-selector", selector)["items"]
        return [(event["reason"], event["message"]) for event in items]

    def told(self, name: str, reason: str, text: str) -> None:
        wait_for(
            lambda: any(found == reason and text in message for found, message in self.events(name)),
            f"the event {reason}: {text}",
        )


@pytest.fixture
def pods(cluster: Cluster, namespace: str) -> Pods:
    return Pods(cluster, namespace)


def test_an_image_of_a_registry_is_kept_and_a_rebuilt_one_found(
    pods: Pods, registries: tuple[Registry, Registry]
) -> None:
    registry, image = registries[0], f"{PUBLIC}/argo/ship:v1"
    first = registry.push("argo/ship", "v1", note="first")
    pods.run("first", image)
    assert pods.running("first")["imageID"] == f"{PUBLIC}/argo/ship@{first}"
    pods.told("first", "Pulling", f'Pulling image "{image}"')
    pods.told("first", "Pulled", f'Successfully pulled image "{image}" in ')

    second = registry.push("argo/ship", "v1", note="second")
    pods.run("second", image)
    assert pods.running("second")["imageID"] == f"{PUBLIC}/argo/ship@{second}"
    pods.run("by-digest", f"{PUBLIC}/argo/ship@{first}")
    assert pods.running("by-digest")["imageID"] == f"{PUBLIC}/argo/ship@{first}"

    registry.stop()
    pods.run("offline", image)
    assert pods.running("offline")["imageID"] == f"{PUBLIC}/argo/ship@{second}"
    listed = pods.cluster.tiphys("image", "ls", "--name", pods.cluster.name).stdout
    assert f"\t{image}\t{second}" in listed
    told = pods.cluster.tiphys("image", "rm", image, "--name", pods.cluster.name).stderr
    assert f"removed {image}" in told
    pods.run("removed", image)
    assert "connection refused" in pods.pull_failure("removed")
    registry.start()


def test_what_a_registry_does_not_have(pods: Pods, registries: tuple[Registry, Registry]) -> None:
    del registries
    pods.run("unknown", f"{PUBLIC}/argo/unknown:v1")
    message = pods.pull_failure("unknown")
    pods.told("unknown", "Failed", "Error: ErrImagePull")
    assert message.startswith("rpc error: code = NotFound desc = failed to pull and unpack image")
    assert MIRROR not in message
    backing_off = pods.waiting("unknown", "ImagePullBackOff")
    assert backing_off == f'Back-off pulling image "{PUBLIC}/argo/unknown:v1": ErrImagePull: {message}'
    pods.told("unknown", "Failed", "Error: ImagePullBackOff")


def test_a_private_image_is_for_pods_that_show_a_secret(
    pods: Pods, registries: tuple[Registry, Registry]
) -> None:
    image = f"{PRIVATE}/argo/fleece:v1"
    digest = registries[1].push("argo/fleece", "v1")
    pods.secret("wrong", PRIVATE, "wrong")
    pods.secret("right", "127.0.0.*:5000", PASSWORD)

    pods.run("without", image)
    message = pods.pull_failure("without")
    assert "401 Unauthorized" in message
    assert PRIVATE in message
    assert MIRROR not in message

    pods.run("several", image, "missing", "wrong", "right")
    assert pods.running("several")["imageID"] == f"{PRIVATE}/argo/fleece@{digest}"
    text = (
        "Unable to retrieve some image pull secrets (missing); attempting to pull the image may not succeed."
    )
    pods.told("several", "FailedToRetrieveImagePullSecret", text)

    # It is on the node now, and still not for those who show nothing.
    pods.run("later", image, policy="IfNotPresent")
    assert "401 Unauthorized" in pods.pull_failure("later")
    pods.run("never", image, policy="Never")
    absent = f'Container image "{image}" is not present with pull policy of Never'
    assert pods.waiting("never", "ErrImageNeverPull") == absent
    pods.run("again", image, "right", policy="IfNotPresent")
    pods.running("again")
    present = f'Container image "{image}" already present on machine and can be accessed by the pod'
    pods.told("again", "Pulled", present)


def test_secrets_of_the_service_account(pods: Pods, registries: tuple[Registry, Registry]) -> None:
    registries[1].push("argo/crew", "v1")
    pods.secret("right", f"{PRIVATE}/argo", PASSWORD)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "crew"},
        "imagePullSecrets": [{"name": "right"}],
    }
    pods.apply(account)
    pods.run("crew", f"{PRIVATE}/argo/crew:v1", serviceAccountName="crew")
    pods.running("crew")


def test_an_image_name_that_is_none(pods: Pods) -> None:
    pods.run("bad", "Busybox:latest")
    message = pods.waiting("bad", "InvalidImageName")
    assert message.startswith(
        'Failed to apply default image tag "Busybox:latest": couldn\'t parse image name'
    )
    pods.told("bad", "InspectFailed", "Failed to apply default image tag")
    pods.told("bad", "Failed", "Error: InvalidImageName")


def test_the_nodes_own_credentials_are_for_all_its_pods(
    pods: Pods, registries: tuple[Registry, Registry]
) -> None:
    registries[1].push("argo/open", "v1")
    image, directory = f"{PRIVATE}/argo/open:v1", registries[1].node.directory / "kubelet"
    auth = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {f"{PRIVATE}/argo/open": {"auth": auth}}}))
    pods.run("open", image)
    pods.running("open")
    (directory / "config.json").unlink()
    # Whom it was pulled for were all.
    pods.run("after", image, policy="IfNotPresent")
    pods.running("after")


# Plugins that have credentials


def test_a_plugin_of_the_node_knows_the_password(
    pods: Pods, registries: tuple[Registry, Registry], credential_plugins: CredentialPlugins
) -> None:
    registries[1].push("plain/ship", "v1", note="of a plugin")
    registries[1].push("bare/ship", "v1", note="of none")
    image = f"{PRIVATE}/plain/ship:v1"
    pods.run("plugin", image)
    pods.run("no-plugin", f"{PRIVATE}/bare/ship:v1")
    assert "running" in pods.running("plugin")["state"]
    pods.pull_failure("no-plugin")
    [asked, *_] = credential_plugins.asked("plain")
    assert asked["image"] == f"{PRIVATE}/plain/ship"
    assert "serviceAccountToken" not in asked
    # What was had so is for all pods of the node, and nobody is asked for it.
    before = len(credential_plugins.asked("plain"))
    pods.run("other", image, policy="IfNotPresent")
    assert "running" in pods.running("other")["state"]
    assert len(credential_plugins.asked("plain")) == before


def test_a_plugin_is_given_a_token_of_the_pods_account(
    pods: Pods, registries: tuple[Registry, Registry], credential_plugins: CredentialPlugins
) -> None:
    plugins = credential_plugins
    registries[1].push("accounted/ship", "v1", note="of an account")
    image = f"{PRIVATE}/accounted/ship:v1"
    # Whom tokens may be for an administrator says.
    rule = {
        "verbs": ["request-serviceaccounts-token-audience"],
        "apiGroups": [""],
        "resources": [plugins.AUDIENCE],
    }
    role = {"metadata": {"name": "registry-audience"}, "rules": [rule]}
    pods.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", **role})
    to_all = ("clusterrolebinding", "registry-audience", "--clusterrole=registry-audience")
    pods.cluster.kubectl("create", *to_all, "--group=system:nodes")
    metadata = {"name": "sailor", "annotations": {plugins.ROLE: "puller"}}
    pods.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    pods.run("sailor", image, serviceAccountName="sailor")
    assert "running" in pods.running("sailor")["state"]
    [asked] = plugins.asked("accounted")
    assert asked["serviceAccountAnnotations"] == {plugins.ROLE: "puller"}
    claims = jwt_claims(asked["serviceAccountToken"])
    assert claims["aud"] == [plugins.AUDIENCE]
    assert claims["sub"] == f"system:serviceaccount:{pods.namespace}:sailor"
    assert claims["kubernetes.io"]["pod"]["name"] == "sailor"
    # It is here, but for this account only.
    pods.run("passenger", image, policy="IfNotPresent")
    pods.run("second", image, policy="IfNotPresent", serviceAccountName="sailor")
    assert "running" in pods.running("second")["state"]
    pods.pull_failure("passenger")
    # Nobody was asked on behalf of an account that does not say so.
    asked_for = {jwt_claims(each["serviceAccountToken"])["sub"] for each in plugins.asked("accounted")}
    assert asked_for == {f"system:serviceaccount:{pods.namespace}:sailor"}


def jwt_claims(token: str) -> Any:
    part = token.split(".")[1]
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
