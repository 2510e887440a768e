"""What the suite asks of service accounts where pods run: tokens that are mounted, and the root certificate in every namespace.

One cluster with real containers; both pods are made at once.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from e2e_cluster import running, wait_for
from pod_world import BUSYBOX, Object, PodWorld, pod

pytestmark = pytest.mark.real

MOUNTED = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKENS = "/var/run/secrets/tokens"
SECONDS = 7200
FILES = ("token", "ca.crt", "namespace")


def _reader(file: str) -> Object:
    return {
        "name": file.replace(".", "-"),
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["cat", f"{MOUNTED}/{file}"],
    }


TOKEN = {"path": "mine", "expirationSeconds": SECONDS, "audience": "me"}
PODS = [
    # Three containers, each reads one of the files.
    pod("automounted", containers=[_reader(file) for file in FILES], automountServiceAccountToken=None),
    pod(
        "projected",
        f"cat {TOKENS}/mine; echo; stat -c %a {TOKENS}/..data/mine",
        own={"volumeMounts": [{"name": "tokens", "mountPath": TOKENS}]},
        volumes=[{"name": "tokens", "projected": {"sources": [{"serviceAccountToken": TOKEN}]}}],
    ),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodWorld]:
    for cluster in running(tmp_path_factory.mktemp("accounts"), "accounts"):
        found = PodWorld(cluster)
        found.wait_for_account()
        found.create(*PODS)
        yield found


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


@pytest.mark.conformance("ServiceAccounts should mount an API token into pods")
def test_a_pod_finds_token_authority_and_namespace(world: PodWorld) -> None:
    made = world.until("automounted", lambda pod: pod["status"]["phase"] in ("Succeeded", "Failed"))
    assert made["status"]["phase"] == "Succeeded"
    said = {file: world.kubectl("logs", "automounted", "-c", file.replace(".", "-")).stdout for file in FILES}
    assert said["namespace"] == "default"
    root = world.cluster.get("configmap", "kube-root-ca.crt", "-n", "default")
    assert said["ca.crt"] == root["data"]["ca.crt"]
    claims = claims_of(said["token"])
    assert claims["sub"] == "system:serviceaccount:default:default"
    bound = claims["kubernetes.io"]
    assert bound["pod"] == {"name": "automounted", "uid": made["metadata"]["uid"]}
    assert bound["node"]["name"] == made["spec"]["nodeName"]
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": said["token"]},
    }
    answer = json.loads(world.kubectl("create", "-f", "-", "-o", "json", input=json.dumps(review)).stdout)
    assert answer["status"]["authenticated"] is True
    assert answer["status"]["user"]["username"] == claims["sub"]


@pytest.mark.conformance("ServiceAccounts should mount projected service account token")
def test_a_pod_finds_a_token_as_it_asks_for(world: PodWorld) -> None:
    token, mode = world.output("projected").split()
    claims = claims_of(token)
    assert claims["aud"] == ["me"]
    assert claims["exp"] - claims["iat"] == SECONDS
    assert claims["iat"] <= time.time() < claims["exp"]
    assert mode == "644"


@pytest.mark.conformance("ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace")
def test_the_root_certificate_is_in_every_namespace_and_stays(world: PodWorld) -> None:
    at = ("configmap", "kube-root-ca.crt", "-n", "anew")

    def data() -> Object | None:
        found = world.cluster.kubectl("get", *at, "-o", "json", check=False)
        return json.loads(found.stdout) if found.returncode == 0 else None

    def is_good() -> Object | None:
        found = data()
        return found if found is not None and found["data"] == published["data"] else None

    published = world.cluster.get("configmap", "kube-root-ca.crt", "-n", "kube-system")
    world.cluster.kubectl("create", "namespace", "anew")
    first = wait_for(is_good, "the root certificate in a new namespace")
    world.cluster.kubectl("delete", *at)
    again = wait_for(is_good, "it comes back")
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    world.cluster.kubectl("patch", *at, "-p", '{"data": {"ca.crt": "forged", "more": "x"}}')
    mended = wait_for(is_good, "it is mended")
    assert mended["metadata"]["uid"] == again["metadata"]["uid"]
