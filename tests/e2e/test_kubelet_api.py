"""The kubelet's own HTTPS API on a real node: who gets in from inside the node's network, and what the API server passes on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from e2e_cluster import Cluster, wait_for
from weather import component

pytestmark = pytest.mark.real
NAMESPACE = "kubelet-api"
SCRAPER = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: scraper, namespace: kubelet-api}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: kubelet-api-scraper}
rules:
- {apiGroups: [""], resources: [nodes/pods, nodes/metrics, nodes/statusz], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: kubelet-api-scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: kubelet-api-scraper}
subjects: [{kind: ServiceAccount, name: scraper, namespace: kubelet-api}]
"""


@dataclass
class Node:
    """The node, and curl inside its network."""

    cluster: Cluster
    name: str
    address: str
    token: str

    def curl(self, path: str, *options: str, url: str = "") -> tuple[int, str]:
        """(status, body)."""
        authority = self.cluster.home / "tiphys" / self.cluster.name / "pki" / "ca.crt"
        pid = component(self.cluster, "kubelet")
        command = [
            "nsenter",
            f"--target={pid}",
            "--net",
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "60",
        ]
        command += ["--cacert", str(authority), "--write-out", "\n%{http_code}", *options]
        done = subprocess.run(
            [*command, f"{url or f'https://{self.address}:10250'}{path}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        body, _, code = done.stdout.rpartition("\n")
        return int(code), body

    def as_scraper(self, path: str, *options: str) -> tuple[int, str]:
        return self.curl(path, "--header", f"Authorization: Bearer {self.token}", *options)

    def proxied(self, path: str, *, check: bool = True) -> str:
        """Through the API server, as the administrator."""
        found = self.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{self.name}/proxy/{path}", check=check)
        return found.stdout if check else found.stderr


@pytest.fixture(scope="module")
def node(cluster: Cluster) -> Iterator[Node]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "-f", "-", input=SCRAPER)
    account = ("get", "serviceaccount", "default", "-n", NAMESPACE)
    wait_for(lambda: cluster.kubectl(*account, check=False).returncode == 0, "the default service account")
    script = "echo hello; sleep 86400"
    cluster.kubectl("run", "web", "--image=busybox", "-n", NAMESPACE, "--", "sh", "-c", script)
    cluster.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=300s", "-n", NAMESPACE)
    [item] = cluster.get("nodes")["items"]
    [address] = [each["address"] for each in item["status"]["addresses"] if each["type"] == "InternalIP"]
    token = cluster.kubectl("create", "token", "scraper", "-n", NAMESPACE).stdout.strip()
    yield Node(cluster, item["metadata"]["name"], address, token)
    for kind, name in (("clusterrolebinding", "kubelet-api-scraper"), ("clusterrole", "kubelet-api-scraper")):
        cluster.kubectl("delete", kind, name)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def names(pods: dict[str, Any]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods["items"]}


def test_who_does_not_say_who_he_is(node: Node) -> None:
    """The certificate is one for the node's address, or curl would not go on."""
    for path in ("/pods", "/healthz", "/metrics", "/logs/", "/exec/kubelet-api/web/web?command=id&output=1"):
        assert node.curl(path) == (401, "Unauthorized"), path
    assert node.curl("/pods", "--header", "Authorization: Bearer nonsense") == (401, "Unauthorized")
    assert (
        node.curl("/pods", "--header", "X-Remote-User: admin", "--header", "X-Remote-Group: system:masters")[
            0
        ]
        == 401
    )


def test_what_an_account_may_and_what_not(node: Node) -> None:
    user = f"system:serviceaccount:{NAMESPACE}:scraper"
    code, text = node.as_scraper("/pods")
    assert code == 200
    assert "web" in names(json.loads(text))
    assert node.as_scraper("/metrics")[0] == 200
    assert node.as_scraper("/healthz") == (
        403,
        f"Forbidden (user={user}, verb=get, resource=nodes, subresource(s)=[healthz proxy])",
    )
    refused = f"Forbidden (user={user}, verb=create, resource=nodes, subresource(s)=[proxy])"
    assert node.as_scraper("/run/kubelet-api/web/web?cmd=id", "--request", "POST") == (403, refused)
    refused = f"Forbidden (user={user}, verb=get, resource=nodes, subresource(s)=[log])"
    assert node.as_scraper("/logs/") == (403, refused)


def test_a_client_certificate_says_who_somebody_is(node: Node) -> None:
    pki = node.cluster.home / "tiphys" / node.cluster.name / "pki"
    admin = ("--cert", str(pki / "admin.crt"), "--key", str(pki / "admin.key"))
    code, text = node.curl("/runningpods/", *admin)
    assert code == 200
    assert "web" in names(json.loads(text))
    assert node.curl("/healthz?verbose", *admin) == (
        200,
        "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n",
    )
    code, text = node.curl(f"/checkpoint/{NAMESPACE}/web/web", "--request", "POST", *admin)
    assert code == 500
    assert text.startswith(f"checkpointing of {NAMESPACE}/web/web failed (rpc error: code = Unimplemented")
    assert node.curl("/pods", "--request", "POST", *admin) == (405, "405: Method Not Allowed")


def test_what_is_asked_on_the_node_itself(node: Node) -> None:
    assert node.curl("/healthz", url="http://127.0.0.1:10248") == (200, "ok")
    assert node.curl("/pods", url="http://127.0.0.1:10248")[0] == 404


def test_what_the_api_server_passes_on(node: Node) -> None:
    assert node.proxied("healthz") == "ok"
    assert node.proxied("healthz/syncloop") == "ok"
    assert "web" in names(json.loads(node.proxied("pods")))
    running = json.loads(node.proxied("runningpods/"))
    assert "web" in names(running)
    shown = json.loads(node.proxied("configz"))["kubeletconfig"]
    assert shown["containerLogMaxSize"] == "10Mi"
    assert node.proxied(f"containerLogs/{NAMESPACE}/web/web") == "hello\n"
    [directory] = [line for line in node.proxied("logs/pods/").splitlines() if f"{NAMESPACE}_web_" in line]
    path = directory.split('"')[1]
    assert node.proxied(f"logs/pods/{path}web/0.log").endswith(" stdout F hello\n")
    missing = node.proxied("nothing/here", check=False)
    assert "the server could not find the requested resource" in missing


def test_a_command_without_streams(node: Node) -> None:
    done = node.cluster.kubectl(
        "create",
        "--raw",
        f"/api/v1/nodes/{node.name}/proxy/run/{NAMESPACE}/web/web?cmd=echo+over+here",
        "-f",
        "/dev/null",
    )
    assert done.stdout == "over here\n"


def test_the_api_server_may_do_no_more_than_its_role_says(node: Node) -> None:
    """system:kubelet-api-admin has no nodes/checkpoint, as upstream's."""
    path = f"/api/v1/nodes/{node.name}/proxy/checkpoint/{NAMESPACE}/web/web"
    refused = node.cluster.kubectl("create", "--raw", path, "-f", "/dev/null", check=False)
    user = "kube-apiserver-kubelet-client"
    assert (
        f"Forbidden (user={user}, verb=create, resource=nodes, subresource(s)=[checkpoint])" in refused.stderr
    )


def test_nothing_but_logs_is_below_logs(node: Node) -> None:
    for path in ("logs/pods/../../../etc/passwd", "logs/pods/%2e%2e/%2e%2e/etc/passwd", "logs//etc/passwd"):
        assert "the server could not find the requested resource" in node.proxied(path, check=False), path


def test_what_its_process_tells_of_itself(node: Node) -> None:
    flags = node.proxied("flagz").splitlines()
    assert f"hostname-override={node.name}" in flags
    assert "max-pods=110" in flags
    code, text = node.as_scraper("/statusz")
    assert (code, text.splitlines()[1]) == (200, "kubelet statusz")
    user = f"system:serviceaccount:{NAMESPACE}:scraper"
    refused = f"Forbidden (user={user}, verb=get, resource=nodes, subresource(s)=[configz])"
    assert node.as_scraper("/flagz") == (403, refused)
    # The role that upstream gives its API server for kubelets leaves this one out.
    assert "subresource(s)=[statusz]" in node.proxied("statusz", check=False)
