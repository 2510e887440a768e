"""The real kubectl against a real HTTPS server. No controller and no node is there: what is tested is the API."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import yaml
from https import PATIENCE_SECONDS, Secure, secure_server

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: busybox, command: [sleep, "3600"]}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(tmp_path_factory.mktemp("cluster"), signing_key) as running:
        yield running


@pytest.fixture
def namespace(cluster: Secure, request: pytest.FixtureRequest) -> str:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:50].strip("-")
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("create", "serviceaccount", "default", "-n", name)
    return name


def test_versions_and_resources(cluster: Secure) -> None:
    assert "Server Version: v1.36." in cluster.kubectl("version")
    listed = cluster.kubectl("api-resources")
    rows = {line.split()[0]: line.split() for line in listed.splitlines()}
    assert rows["deployments"] == ["deployments", "deploy", "apps/v1", "true", "Deployment"]
    assert rows["nodes"][-3:] == ["v1", "false", "Node"]
    assert len(rows) > 60
    assert "apps/v1\n" in cluster.kubectl("api-versions")


def test_explain_reads_both_forms_of_openapi(cluster: Secure) -> None:
    told = cluster.kubectl("explain", "deployment.spec.strategy", "--recursive")
    assert "KIND:       Deployment" in told
    assert "VERSION:    v1" in told
    assert "FIELD: strategy <DeploymentStrategy>" in told
    assert "    maxSurge\t<IntOrString>" in told
    assert "containers\t<[]Container> -required-" in cluster.kubectl("explain", "pod.spec")
    assert 'field "nope" does not exist' in cluster.kubectl("explain", "pod.nope", fails=True)
    older = cluster.kubectl("explain", "hpa.spec", "--api-version=autoscaling/v1")
    assert "maxReplicas" in older


def test_create_typed_objects(cluster: Secure, namespace: str) -> None:
    """These commands are made of typed clients: their bodies are protobuf."""
    here = ("-n", namespace)
    assert "created" in cluster.kubectl(
        "create", "deployment", "web", "--image=busybox", *here, "--", "sleep", "9"
    )
    assert "created" in cluster.kubectl("create", "configmap", "c", "--from-literal=a=b", *here)
    assert "created" in cluster.kubectl("create", "secret", "generic", "s", "--from-literal=p=w", *here)
    assert "created" in cluster.kubectl("create", "service", "clusterip", "web", "--tcp=80:8080", *here)
    assert "created" in cluster.kubectl("create", "job", "j", "--image=busybox", *here)
    assert "created" in cluster.kubectl("create", "role", "r", "--verb=get", "--resource=pods", *here)
    assert "created" in cluster.kubectl("run", "p", "--image=busybox", *here)
    assert "exposed" in cluster.kubectl("expose", "deployment", "web", "--port=81", "--name=web2", *here)
    token = cluster.kubectl("create", "token", "default", *here)
    assert token.count(".") == 2
    shown = cluster.kubectl("get", "deploy,svc,cm,secret", *here)
    assert "deployment.apps/web   0/1" in shown
    assert "ClusterIP" in shown
    assert "error" in cluster.kubectl("create", "configmap", "c", *here, fails=True)


def test_get_in_every_form(cluster: Secure, namespace: str) -> None:
    here = ("-n", namespace)
    cluster.kubectl("apply", "-f", "-", *here, stdin=DEPLOYMENT)
    table = cluster.kubectl("get", "deployments", *here).splitlines()
    assert table[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert "CONTAINERS" in cluster.kubectl("get", "deploy", "-o", "wide", *here)
    assert orjson.loads(cluster.kubectl("get", "deploy", "web", "-o", "json", *here))["spec"]["replicas"] == 2
    assert (
        yaml.safe_load(cluster.kubectl("get", "deploy", "web", "-o", "yaml", *here))["kind"] == "Deployment"
    )
    assert cluster.kubectl("get", "deploy/web", "-o", "name", *here) == "deployment.apps/web\n"
    assert cluster.kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}", *here) == "2"
    assert "web" in cluster.kubectl("get", "deploy", "-l", "app=web", "--show-labels", *here)
    assert "No resources found" in cluster.kubectl("get", "deploy", "-l", "app=other", *here)
    assert "web" in cluster.kubectl("get", "deploy", "-A", "--field-selector=metadata.name=web")
    assert 'deployments.apps "nope" not found' in cluster.kubectl("get", "deploy", "nope", *here, fails=True)
    assert 'the server doesn\'t have a resource type "ship"' in cluster.kubectl(
        "get", "ship", *here, fails=True
    )


def test_apply_diff_and_edit_in_place(cluster: Secure, namespace: str) -> None:
    here = ("-n", namespace)
    assert cluster.kubectl("apply", "-f", "-", *here, stdin=DEPLOYMENT) == "deployment.apps/web created\n"
    assert cluster.kubectl("apply", "-f", "-", *here, stdin=DEPLOYMENT) == "deployment.apps/web unchanged\n"
    changed = DEPLOYMENT.replace("replicas: 2", "replicas: 3")
    assert "+  replicas: 3" in cluster.kubectl("diff", "-f", "-", *here, stdin=changed, fails=True)
    assert cluster.kubectl("apply", "-f", "-", *here, stdin=changed) == "deployment.apps/web configured\n"
    cluster.kubectl("set", "image", "deployment/web", "main=nginx", *here)
    cluster.kubectl("scale", "deployment/web", "--replicas=5", *here)
    found = orjson.loads(cluster.kubectl("get", "deploy", "web", "-o", "json", *here))
    assert found["spec"]["replicas"] == 5
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx"
    typo = changed.replace("replicas:", "replica:")
    refused = cluster.kubectl("apply", "-f", "-", *here, stdin=typo, fails=True)
    assert 'strict decoding error: unknown field "spec.replica"' in refused
    warned = cluster.kubectl("apply", "-f", "-", "--validate=warn", *here, stdin=typo)
    assert 'Warning: unknown field "spec.replica"' in warned
    assert "(server dry run)" in cluster.kubectl(
        "apply", "-f", "-", "--dry-run=server", *here, stdin=DEPLOYMENT
    )


@pytest.mark.parametrize("kind", ["strategic", "merge", "json"])
def test_patch(cluster: Secure, kind: str) -> None:
    name = f"patched-{kind}"
    cluster.kubectl("create", "configmap", name, "--from-literal=a=1")
    body = '[{"op":"add","path":"/data/b","value":"2"}]' if kind == "json" else '{"data":{"b":"2"}}'
    assert "patched" in cluster.kubectl("patch", "configmap", name, "--type", kind, "-p", body)
    assert cluster.kubectl("get", "cm", name, "-o", "jsonpath={.data}") == '{"a":"1","b":"2"}'


def test_label_annotate_replace_delete(cluster: Secure, namespace: str) -> None:
    here = ("-n", namespace)
    cluster.kubectl("create", "configmap", "c", *here)
    assert "labeled" in cluster.kubectl("label", "cm", "c", "team=blue", *here)
    assert "annotated" in cluster.kubectl("annotate", "cm", "c", "note=hello", *here)
    assert "unlabeled" in cluster.kubectl("label", "cm", "c", "team-", *here)
    text = cluster.kubectl("get", "cm", "c", "-o", "yaml", *here)
    assert "replaced" in cluster.kubectl("replace", "-f", "-", *here, stdin=text + "data: {x: z}\n")
    assert "deleted" in cluster.kubectl("delete", "cm", "c", *here)
    assert "NotFound" in cluster.kubectl("get", "cm", "c", *here, fails=True)
    cluster.kubectl("create", "configmap", "d", *here)
    assert "deleted" in cluster.kubectl("delete", "cm", "--all", "--wait=false", *here)


def test_wait_for_a_condition(cluster: Secure, namespace: str) -> None:
    here = ("-n", namespace)
    cluster.kubectl("run", "p", "--image=busybox", *here)
    command, environment = cluster.command("wait", "pod/p", "--for=condition=Ready", "--timeout=300s", *here)
    waiting = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    ready = '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}'
    cluster.kubectl("patch", "pod", "p", "--subresource=status", "--type=merge", "-p", ready, *here)
    said, _ = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert (waiting.returncode, said) == (0, "pod/p condition met\n")
    assert "condition met" in cluster.kubectl(
        "wait", "pod/p", "--for=jsonpath={.status.phase}=Running", *here
    )


def test_watch_prints_what_happens(cluster: Secure, namespace: str, tmp_path: Path) -> None:
    here = ("-n", namespace)
    command, environment = cluster.command("get", "configmaps", "-w", "--output-watch-events", *here)
    out = tmp_path / "out"
    with out.open("w") as file:
        watching = subprocess.Popen(command, env=environment, stdout=file)
    try:
        # Each is done when the one before is seen: who starts to watch late is shown what there is then.
        for word, change in (
            ("ADDED", ("create", "configmap", "seen")),
            ("MODIFIED", ("label", "cm", "seen", "a=b")),
            ("DELETED", ("delete", "cm", "seen")),
        ):
            cluster.kubectl(*change, *here)
            end = time.monotonic() + PATIENCE_SECONDS
            while word not in out.read_text() and time.monotonic() < end:
                time.sleep(0.02)
    finally:
        watching.kill()
        watching.wait()
    lines = [line.split()[:2] for line in out.read_text().splitlines()]
    assert lines == [["EVENT", "NAME"], ["ADDED", "seen"], ["MODIFIED", "seen"], ["DELETED", "seen"]]


def test_large_lists_come_in_pages(cluster: Secure, namespace: str) -> None:
    many = "\n---\n".join(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{n:03}}}" for n in range(60))
    cluster.kubectl("create", "-f", "-", "-n", namespace, stdin=many)
    shown = cluster.kubectl("get", "cm", "-o", "name", "--chunk-size=7", "-n", namespace)
    assert len(shown.splitlines()) == 60


def test_raw_paths_and_permissions(cluster: Secure) -> None:
    assert cluster.kubectl("get", "--raw", "/readyz") == "ok"
    assert cluster.kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "kubernetes-admin" in cluster.kubectl("auth", "whoami")
    assert "system:masters" in cluster.kubectl("auth", "whoami", "-o", "json")


def test_an_older_kubectl(cluster: Secure) -> None:
    older = Path("/usr/bin/kubectl")
    if not older.exists():
        pytest.skip("there is no other kubectl on this machine")
    command, environment = cluster.command("get", "namespaces", "-o", "name", program=older)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert "namespace/default" in done.stdout
    command, environment = cluster.command("explain", "pod.spec.containers", program=older)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert "imagePullPolicy" in done.stdout
