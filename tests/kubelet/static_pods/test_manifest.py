"""What a manifest becomes, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tiphys.kubelet.static_pods.manifest import BadManifest, Origin, read_pod, read_pods
from tiphys.machinery import yaml

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
FILE = Origin("file", "/manifests/web.yaml", "node-1")
URL = Origin("http", "http://example/pods", "node-1")
MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: main, image: busybox, nonsense: 1}]
"""


def pod(text: str = MANIFEST, origin: Origin = FILE) -> dict[str, Any]:
    return read_pod(text.encode(), origin, NOW)


def test_a_file_becomes_a_pod_of_the_node() -> None:
    made = pod()
    metadata, uid = made["metadata"], made["metadata"]["uid"]
    assert (metadata["name"], metadata["namespace"], len(uid)) == ("web-node-1", "default", 32)
    assert metadata["annotations"] == {
        "kubernetes.io/config.hash": uid,
        "kubernetes.io/config.seen": "2026-01-01T12:00:00.000000Z",
        "kubernetes.io/config.source": "file",
    }
    assert made["spec"]["nodeName"] == "node-1"
    assert {"operator": "Exists", "effect": "NoExecute"} in made["spec"]["tolerations"]
    assert made["spec"]["restartPolicy"] == "Always"
    [container] = made["spec"]["containers"]
    assert container["imagePullPolicy"] == "Always"
    assert "nonsense" not in container
    assert made["status"]["phase"] == "Pending"


def test_the_uid_says_what_the_file_says() -> None:
    assert pod()["metadata"]["uid"] == pod()["metadata"]["uid"]
    assert pod()["metadata"]["uid"] != pod(MANIFEST.replace("busybox", "busybox:2"))["metadata"]["uid"]
    assert (
        pod()["metadata"]["uid"]
        != pod(origin=Origin("file", "/manifests/b.yaml", "node-1"))["metadata"]["uid"]
    )
    assert pod(MANIFEST.replace("name: web,", "name: web, uid: my-own,"))["metadata"]["uid"] == "my-own"


def test_json_is_yaml() -> None:
    json = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"name":"c","image":"i"}]}}'
    assert pod(json)["metadata"]["name"] == "j-node-1"


def test_a_critical_pod_has_its_priority() -> None:
    assert pod(MANIFEST + "  priorityClassName: system-node-critical\n")["spec"]["priority"] == 2000001000


def test_a_url_may_give_many() -> None:
    item = yaml.load(MANIFEST)
    both = [{**item, "metadata": {"name": name}} for name in ("a", "b")]
    listed = yaml.dump({"apiVersion": "v1", "kind": "PodList", "items": both})
    pods = read_pods(listed, URL, NOW)
    assert [each["metadata"]["name"] for each in pods] == ["a-node-1", "b-node-1"]
    assert pods[0]["metadata"]["annotations"]["kubernetes.io/config.source"] == "http"
    assert "tolerations" not in pods[0]["spec"]
    assert len(read_pods(MANIFEST.encode(), URL, NOW)) == 1


VOLUME = "  volumes: [{name: v, %s}]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "couldn't parse as pod(error converting YAML to JSON"),
        ("hello", "couldn't parse as pod(it is no object), please check config file"),
        ("a: b", "couldn't parse as pod(Object 'Kind' is missing), please check config file"),
        ("apiVersion: v1\nkind: Service", "couldn't parse as pod(invalid pod: Service of v1)"),
        (MANIFEST.replace("name: web,", ""), "invalid pod: name is needed for the pod"),
        (MANIFEST.replace("name: web,", "name: We_b,"), "invalid pod: a lowercase RFC 1123 subdomain"),
        (MANIFEST.replace("name: main, ", ""), "invalid pod: spec.containers[0].name: Required value"),
        (MANIFEST.replace("[{name", "{{name"), "couldn't parse as pod("),
        (MANIFEST.replace("spec:", "spec: 7 #"), "couldn't parse as pod("),
        (MANIFEST + "  serviceAccountName: me\n", "static pods may not reference serviceaccounts"),
        (MANIFEST + "  imagePullSecrets: [{name: s}]\n", "static pods may not reference secrets"),
        (MANIFEST + VOLUME % "configMap: {name: c}", "static pods may not reference configmaps"),
        (
            MANIFEST + VOLUME % "projected: {sources: [{secret: {name: s}}]}",
            "static pods may not reference secrets",
        ),
        (
            MANIFEST + VOLUME % "persistentVolumeClaim: {claimName: c}",
            "static pods may not reference persistentvolumeclaims",
        ),
        (
            MANIFEST.replace("nonsense: 1", "envFrom: [{configMapRef: {name: c}}]"),
            "static pods may not reference configmaps",
        ),
    ],
)
def test_what_is_no_pod(text: str, problem: str) -> None:
    with pytest.raises(BadManifest) as caught:
        pod(text)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)
