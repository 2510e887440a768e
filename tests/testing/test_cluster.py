"""A control plane for tests, as its users have it: in a thread and in a process."""

import gc
import json
import os
import select
import signal
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tiphys.testing import Cluster, ClusterError, Identity, Namespace, StatusError

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx}]}
"""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wg]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


def pod(name: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "busybox"}], **spec},
    }


def ask(cluster: Cluster, path: str, identity: Identity | None = None) -> dict[str, object]:
    """What any client would do: HTTPS with the cluster's CA."""
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    request = urllib.request.Request(
        cluster.server + path, headers=dict(identity.headers) if identity else {}
    )
    with urllib.request.urlopen(request, context=context) as answer:
        found: dict[str, object] = json.loads(answer.read())
        return found


class TestObjects:
    def test_a_deployment_becomes_available(self, namespace: Namespace) -> None:
        namespace.load(WEB)
        web = namespace.wait_for("deployment/web", "Available")
        assert web["status"]["readyReplicas"] == 2
        assert len(namespace.list("po", selector="app=web")) == 2

    def test_a_manifest_is_a_path_yaml_or_objects(self, namespace: Namespace, tmp_path: Path) -> None:
        file = tmp_path / "web.yaml"
        file.write_text(WEB)
        namespace.load(file)
        namespace.load(str(file))
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
        namespace.load({"apiVersion": "v1", "kind": "List", "items": [config]})
        namespace.load([{**config, "data": {"b": "2"}}])
        found = namespace.get("cm/c")
        assert found is not None
        assert found["data"]["b"] == "2"
        with pytest.raises(ValueError, match="no Kubernetes object"):
            namespace.load("just: yaml")

    def test_what_is_not_there_is_none_and_what_is_refused_is_an_error(self, namespace: Namespace) -> None:
        assert namespace.get("cm/none") is None
        assert namespace.delete("cm/none") is False
        with pytest.raises(StatusError) as caught:
            namespace.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not A Name"}})
        assert caught.value.code == 422
        with pytest.raises(LookupError, match="no resource type 'nonsense'"):
            namespace.get("nonsense/x")
        with pytest.raises(ValueError, match="names no object"):
            namespace.get("cm")

    def test_an_object_is_patched_and_deleted(self, namespace: Namespace) -> None:
        created = namespace.create(pod("p"))
        namespace.patch(created, {"metadata": {"labels": {"a": "b"}}})
        namespace.patch("pod/p", {"status": {"message": "said"}}, subresource="status")
        namespace.wait_for("pod/p", "jsonpath={.metadata.labels.a}=b")
        assert namespace.delete("pod/p", grace_period_seconds=0)
        namespace.wait_gone("pod/p")


class TestWaiting:
    def test_conditions_are_words_paths_and_functions(self, namespace: Namespace) -> None:
        namespace.create(pod("p"))
        namespace.wait_for("pod/p")
        namespace.wait_for("pod/p", "condition=Ready")
        namespace.wait_for("pod/p", "jsonpath={.status.phase}=Running")
        namespace.wait_for("pod/p", "jsonpath=.spec.nodeName")
        namespace.wait_for("pod/p", lambda found: found["status"]["containerStatuses"][0]["ready"])
        assert len(namespace.wait_for_all("pods", lambda pods: len(pods) == 1)) == 1

    def test_a_wait_in_vain_tells_how_it_is_and_what_was_said(self, namespace: Namespace) -> None:
        namespace.create(pod("p", nodeSelector={"no": "where"}))
        namespace.wait_for("pod/p", "PodScheduled=False")
        with pytest.raises(TimeoutError) as caught:
            namespace.wait_for("pod/p", "Ready", 0.2)
        assert "pod/p" in str(caught.value)
        assert "condition Ready is True" in str(caught.value)
        assert "Unschedulable" in str(caught.value)

    def test_a_wait_for_nothing_says_so(self, namespace: Namespace) -> None:
        with pytest.raises(TimeoutError, match="there is no such object"):
            namespace.wait_for("pod/none", "Ready", 0.05)


class TestAccess:
    def test_any_client_gets_in_with_the_kubeconfig(self, cluster: Cluster) -> None:
        config = cluster.kubeconfig_dict(namespace="there")
        assert config["clusters"][0]["cluster"]["server"] == cluster.server
        assert config["contexts"][0]["context"]["namespace"] == "there"
        assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600

    def test_a_user_is_who_its_token_and_its_certificate_say(self, cluster: Cluster) -> None:
        alice = cluster.user("alice", ["system:masters"])
        found = ask(cluster, "/api/v1/namespaces/default", alice)
        assert found["kind"] == "Namespace"
        assert cluster.requests(user="alice", resource="namespaces")[-1].status == 200
        context = ssl.create_default_context(cafile=str(cluster.ca_file))
        certificate, key = cluster.directory / "alice.crt", cluster.directory / "alice.key"
        certificate.write_text(alice.certificate)
        key.write_text(alice.key)
        context.load_cert_chain(certificate, key)
        urllib.request.urlopen(f"{cluster.server}/api/v1/pods", context=context).close()
        assert cluster.requests(user="alice", resource="pods")[-1].verb == "list"

    def test_a_service_account_has_a_token(self, cluster: Cluster, namespace: Namespace) -> None:
        bot = cluster.service_account("bot", namespace.name)
        assert bot.name == f"system:serviceaccount:{namespace}:bot"
        assert ask(cluster, "/version", bot)["major"] == "1"
        assert cluster.requests(path="/version")[-1].user == bot.name

    def test_nobody_gets_in_with_a_made_up_token(self, cluster: Cluster) -> None:
        stranger = Identity("stranger", "made-up", cluster.kubeconfig)
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(cluster, "/api/v1/pods", stranger)
        assert caught.value.code == 401


class TestState:
    def test_a_restored_cluster_is_as_it_was(self, cluster: Cluster, namespace: Namespace) -> None:
        kept = namespace.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "1"}}
        )
        before = cluster.snapshot()
        namespace.patch("cm/kept", {"data": {"a": "2"}})
        namespace.load(WEB)
        namespace.wait_for("deployment/web", "Available")
        namespace.delete("cm/kept")
        assert cluster.restore(before) > 4
        found = namespace.get("cm/kept")
        assert found is not None
        assert (found["data"], found["metadata"]["uid"]) == ({"a": "1"}, kept["metadata"]["uid"])
        assert int(found["metadata"]["resourceVersion"]) > int(kept["metadata"]["resourceVersion"])
        assert namespace.get("deployment/web") is None
        namespace.wait_for_all("pods", lambda pods: not pods)
        namespace.load(WEB)
        namespace.wait_for("deployment/web", "Available")

    def test_custom_kinds_go_and_come_back(self, cluster: Cluster) -> None:
        before = cluster.snapshot()
        cluster.load(DEFINITION)
        widget = {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            "spec": {"a": 1},
        }
        made = cluster.create(widget)
        served = cluster.snapshot()
        cluster.restore(before)
        with pytest.raises(LookupError, match="no resource type"):
            cluster.get("widget/w")
        cluster.restore(served)
        cluster.wait_for("crd/widgets.example.com", "Established")
        assert cluster.wait_for("wg/w", lambda found: found)["metadata"]["uid"] == made["metadata"]["uid"]
        cluster.restore(before)

    def test_roles_and_addresses_are_put_back_too(self, cluster: Cluster, namespace: Namespace) -> None:
        reader = cluster.user(f"reader-of-{namespace}")
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        before = cluster.snapshot()
        subject = {"kind": "User", "name": reader.name, "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "reader"}, "roleRef": role, "subjects": [subject],
        }  # fmt: skip
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
        address = "10.96.77.77"
        for _ in range(2):
            namespace.load([binding, {**service, "spec": {"clusterIP": address, "ports": [{"port": 80}]}}])
            cluster.wait_for("clusterrole/view", lambda found: found["rules"])
            assert ask(cluster, path, reader)["kind"] == "ConfigMapList"
            cluster.restore(before)
            with pytest.raises(urllib.error.HTTPError) as caught:
                ask(cluster, path, reader)
            assert caught.value.code == 403

    def test_a_restore_of_what_has_not_changed_writes_nothing(
        self, cluster: Cluster, namespace: Namespace
    ) -> None:
        cluster.clock.rest()
        before = cluster.snapshot()
        assert cluster.restore(before) == 0

    def test_a_snapshot_is_of_one_cluster(self, thread_cluster: Cluster, process_cluster: Cluster) -> None:
        for _ in range(50):
            newest = thread_cluster.snapshot()
        with pytest.raises(LookupError):
            process_cluster.restore(newest)

    def test_a_namespace_goes_although_a_finalizer_holds_it(self, cluster: Cluster) -> None:
        with cluster.namespace() as namespace:
            held = {"name": "held", "finalizers": ["example.com/nobody"]}
            namespace.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})
        assert cluster.get(f"namespace/{namespace}") is None
        assert cluster.list("cm", namespace=namespace.name) == []


class TestTime:
    def test_a_lost_node_is_noticed_and_its_pods_are_evicted(self) -> None:
        with Cluster(nodes=2, speed=0) as cluster:
            cluster.create(pod("p", nodeName="node-2", terminationGracePeriodSeconds=5))
            cluster.wait_for("pod/p")
            begun = cluster.clock.now()
            cluster.nodes.power_off("node-2")
            assert cluster.nodes.powered == ["node-1"]
            cluster.wait_for("node/node-2", "Ready=Unknown", 600)
            lost = cluster.clock.now() - begun
            assert timedelta(seconds=40) <= lost <= timedelta(seconds=60)
            cluster.wait_for("pod/p", lambda found: found["metadata"]["deletionTimestamp"], 600)
            assert timedelta(seconds=330) <= cluster.clock.now() - begun <= timedelta(seconds=400)
            cluster.nodes.power_on("node-2")
            cluster.wait_for("node/node-2", "Ready", 600)

    def test_time_that_stands_still_does_not_run_away_before_all_is_there(self) -> None:
        """In a fresh process, where simulated nodes take their time to be imported."""
        code = (
            "from tiphys.testing import Cluster\n"
            "with Cluster(speed=0) as cluster: cluster.wait_for('node/node-1', 'Ready', 1)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_time_begins_when_the_test_says(self) -> None:
        with Cluster(nodes=0, speed=0, start_time=datetime(2030, 1, 1)) as cluster:
            assert cluster.clock.now() == datetime(2030, 1, 1, tzinfo=UTC)
            cluster.clock.advance(timedelta(days=1))
            assert cluster.clock.now() == datetime(2030, 1, 2, tzinfo=UTC)
            made = cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
            assert made["metadata"]["creationTimestamp"] == "2030-01-02T00:00:00Z"

    def test_a_running_clock_jumps(self, cluster: Cluster) -> None:
        before = cluster.clock.now()
        cluster.clock.advance(3600)
        assert cluster.clock.now() - before >= timedelta(hours=1)
        cluster.wait_for("node/node-1")


class TestParts:
    def test_controllers_are_switched_one_by_one(self) -> None:
        with Cluster(nodes=0, controllers=["deployment-controller"], scheduler=False) as cluster:
            assert cluster.controllers.running == ["deployment-controller"]
            cluster.load(WEB)
            cluster.wait_for_all("replicasets", len)
            assert cluster.list("pods") == []
            cluster.controllers.start("replicaset-controller")
            with pytest.raises(TimeoutError):
                cluster.wait_for_all("pods", len, 0.2)  # no service account, no pod
            cluster.controllers.start("serviceaccount-controller")
            cluster.clock.advance(60)
            cluster.wait_for_all("pods", lambda pods: len(pods) == 2)
            cluster.controllers.stop("replicaset-controller")
            cluster.delete(f"pod/{cluster.list('pods')[0]['metadata']['name']}")
            cluster.clock.advance(60)
            assert len(cluster.list("pods")) == 1
            with pytest.raises(LookupError):
                cluster.controllers.start("nonsense")

    def test_nodes_come_and_go(self) -> None:
        with Cluster(nodes=["a"]) as cluster:
            cluster.nodes.add("b", "c")
            assert cluster.nodes.names == ["a", "b", "c"]
            cluster.wait_for("node/c")
            cluster.nodes.remove("a")
            cluster.wait_gone("node/a")
            with pytest.raises(ValueError, match="already"):
                cluster.nodes.add("b")
            with pytest.raises(LookupError):
                cluster.nodes.power_on("z")

    def test_a_cluster_without_nodes_has_none(self) -> None:
        with Cluster(nodes=0) as cluster:
            assert cluster.nodes.names == []
            assert cluster.list("nodes") == []


def _children_of(parent: int, directory: Path) -> list[int]:
    """The control plane's processes that a process has started."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in pids if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def closing_process(pid: int) -> Iterator[int]:
    """A descriptor that is readable once the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.fixture(params=[False, True], ids=["thread", "process"])
def unstarted(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    cluster = Cluster(nodes=1, subprocess=request.param)
    yield cluster
    cluster.stop()


class TestLife:
    def test_nothing_is_left(self, unstarted: Cluster) -> None:
        threads, files = set(threading.enumerate()), set(Path("/proc/self/fd").iterdir())
        with unstarted as cluster:
            directory, port = cluster.directory, cluster.server
            cluster.create(pod("p"), namespace="kube-system")
            ask(cluster, "/version")
        assert set(threading.enumerate()) <= threads  # some of other tests may only now have ended
        assert (
            len(set(Path("/proc/self/fd").iterdir())) <= len(files) + 2
        )  # the event loop's own, once a process
        assert not directory.exists()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"{port}/version")

    def test_the_test_s_garbage_collector_is_as_it_was(self, unstarted: Cluster) -> None:
        with unstarted:
            assert gc.isenabled()
        gc.disable()
        try:
            with unstarted:
                assert not gc.isenabled()
        finally:
            gc.enable()

    def test_it_can_be_used_again(self, unstarted: Cluster) -> None:
        for _ in range(2):
            with unstarted as cluster:
                cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
                assert cluster.wait_for("node/node-1")

    def test_an_unstarted_one_says_so(self, unstarted: Cluster) -> None:
        with pytest.raises(RuntimeError, match="not running"):
            unstarted.list("pods")
        with pytest.raises(RuntimeError, match="not running"):
            _ = unstarted.kubeconfig

    def test_a_port_that_is_taken_is_an_error_and_leaves_nothing(
        self, cluster: Cluster, unstarted: Cluster
    ) -> None:
        port = int(cluster.server.rpartition(":")[2])
        with pytest.raises(Exception, match="in use"):
            Cluster(port=port).start()

    def test_a_control_plane_that_died_is_an_error(self) -> None:
        with Cluster(nodes=0, subprocess=True) as cluster:
            (child,) = _children_of(os.getpid(), cluster.directory)
            os.kill(child, signal.SIGKILL)
            with pytest.raises(ClusterError, match="has ended"):
                cluster.wait_for("cm/none", "Ready")

    def test_a_process_ends_when_its_test_is_killed(self, tmp_path: Path) -> None:
        code = (
            "import time; from tiphys.testing import Cluster\n"
            "cluster = Cluster(nodes=0, subprocess=True).start(); print(cluster.directory, flush=True); time.sleep(600)"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as test:
            assert test.stdout is not None
            directory = Path(test.stdout.readline().strip())
            (child,) = _children_of(test.pid, directory)
            test.kill()
        # It has no parent any more whose `wait` would tell of its end: the kernel's descriptor of it does.
        with closing_process(child) as ended:
            assert select.select([ended], [], [], 30)[0]
        assert not directory.exists()

    def test_several_in_one_process_do_not_see_each_other(self, cluster: Cluster) -> None:
        with Cluster(nodes=0) as other:
            other.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}})
            assert cluster.get("cm/mine") is None
            assert other.server != cluster.server

    async def test_it_is_awaited_in_a_coroutine(self, unstarted: Cluster) -> None:
        async with unstarted as cluster, cluster.namespace("Test It!") as namespace:
            assert namespace.name.startswith("test-it-")
            await cluster.load(WEB, namespace=namespace.name)
            web = await cluster.wait_for("deployment/web", "Available", namespace=namespace.name)
            assert web["metadata"]["namespace"] == str(namespace)
            before = await cluster.snapshot()
            await cluster.delete("deployment/web", namespace=namespace.name)
            await cluster.wait_gone("deployment/web", namespace=namespace.name)
            await cluster.restore(before)
            assert await cluster.get("deployment/web", namespace=namespace.name)
            await cluster.advance(1)
