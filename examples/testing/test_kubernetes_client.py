"""A controller on the official Python client: every ConfigMap with the label gets a Secret of the same name."""

import threading
from collections.abc import Iterator

import pytest
from kubernetes import client, config, watch
from urllib3.exceptions import ProtocolError

from tiphys.testing import Cluster, Namespace

LABEL = "example.com/secret"


class SecretController:
    """Watches ConfigMaps of one namespace; resumes where a watch ended, begins anew when that is too old."""

    def __init__(self, api: client.CoreV1Api, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.stopped = threading.Event()
        self.watch = watch.Watch()

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self.follow()
            except client.ApiException as error:
                if error.status != 410:
                    raise
            except ProtocolError:
                if not self.stopped.is_set():  # `stop` shuts the connection
                    raise

    def stop(self) -> None:
        self.stopped.set()
        self.watch.stop()

    def follow(self) -> None:
        events = self.watch.stream(
            self.api.list_namespaced_config_map, self.namespace, label_selector=LABEL, timeout_seconds=5
        )
        for event in events:
            if self.stopped.is_set():
                return
            if event["type"] in ("ADDED", "MODIFIED"):
                self.reconcile(event["object"])

    def reconcile(self, source: client.V1ConfigMap) -> None:
        owner = client.V1OwnerReference(
            api_version="v1",
            kind="ConfigMap",
            name=source.metadata.name,
            uid=source.metadata.uid,
            controller=True,
        )
        wanted = client.V1Secret(
            metadata=client.V1ObjectMeta(name=source.metadata.name, owner_references=[owner]),
            string_data=source.data,
        )
        for _ in range(5):
            try:
                self.api.create_namespaced_secret(self.namespace, wanted)
                return
            except client.ApiException as error:
                if error.status != 409:
                    raise
            try:
                found = self.api.read_namespaced_secret(source.metadata.name, self.namespace)
                wanted.metadata.resource_version = found.metadata.resource_version
                self.api.replace_namespaced_secret(source.metadata.name, self.namespace, wanted)
                return
            except client.ApiException as error:
                if error.status != 409:
                    raise
                wanted.metadata.resource_version = None


@pytest.fixture
def api(tiphys: Namespace) -> client.CoreV1Api:
    return client.CoreV1Api(config.new_client_from_config(str(tiphys.kubeconfig)))


@pytest.fixture
def controller(api: client.CoreV1Api, tiphys: Namespace) -> Iterator[SecretController]:
    made = SecretController(api, tiphys.name)
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join()


def _config(name: str, **data: str) -> client.V1ConfigMap:
    metadata = client.V1ObjectMeta(name=name, labels={LABEL: "yes"})
    return client.V1ConfigMap(metadata=metadata, data=data or None)


def test_a_secret_follows(controller: SecretController, api: client.CoreV1Api, tiphys: Namespace) -> None:
    api.create_namespaced_config_map(tiphys.name, _config("a", password="one"))
    tiphys.wait_for("secret/a", "jsonpath={.data.password}=b25l")
    api.patch_namespaced_config_map("a", tiphys.name, {"data": {"password": "two"}})
    tiphys.wait_for("secret/a", "jsonpath={.data.password}=dHdv")
    api.delete_namespaced_config_map("a", tiphys.name)
    tiphys.wait_gone("secret/a")  # the garbage collector's work


def test_it_lives_through_conflicts_and_lost_watches(
    controller: SecretController, api: client.CoreV1Api, tiphys: Namespace, tiphys_cluster: Cluster
) -> None:
    with tiphys_cluster.faults.add(verb="update", resource="secrets", code=409, times=2):
        api.create_namespaced_config_map(tiphys.name, _config("a", password="one"))
        tiphys.wait_for("secret/a", "jsonpath={.data.password}")
        api.patch_namespaced_config_map("a", tiphys.name, {"data": {"password": "two"}})
        tiphys.wait_for("secret/a", "jsonpath={.data.password}=dHdv")
    tiphys_cluster.faults.end_watches("expire")
    api.patch_namespaced_config_map("a", tiphys.name, {"data": {"password": "three"}})
    tiphys.wait_for("secret/a", "jsonpath={.data.password}=dGhyZWU=")


def test_it_asks_for_no_more_than_it_may(
    controller: SecretController, api: client.CoreV1Api, tiphys: Namespace, tiphys_cluster: Cluster
) -> None:
    tiphys_cluster.forget_requests()
    api.create_namespaced_config_map(tiphys.name, _config("a", password="one"))
    tiphys.wait_for("secret/a", "jsonpath={.data.password}")
    asked = {
        (request.verb, request.resource)
        for request in tiphys_cluster.requests(namespace=tiphys.name, user_agent="OpenAPI-Generator*")
    }
    assert asked <= {
        ("create", "configmaps"),
        ("watch", "configmaps"),
        ("list", "configmaps"),
        ("create", "secrets"),
    }
