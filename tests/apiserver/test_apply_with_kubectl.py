"""`kubectl apply`, client-side and server-side, and the way from one to the other. The API only: no controller runs."""

from collections.abc import Iterator

import orjson
import pytest
from https import Secure, secure_server

LAST = "kubectl.kubernetes.io/last-applied-configuration"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(tmp_path_factory.mktemp("cluster"), signing_key) as running:
        yield running


def config_map(name: str, **data: str) -> str:
    return orjson.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
    ).decode()


def managers(cluster: Secure, name: str) -> list[str]:
    path = "{range .metadata.managedFields[*]}{.manager}={.operation} {end}"
    return cluster.kubectl(
        "get", "configmap", name, "-o", f"jsonpath={path}", "--show-managed-fields"
    ).split()


def test_server_side_apply_and_its_conflicts(cluster: Secure) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    assert cluster.kubectl(*apply, stdin=config_map("a", x="1", y="1")) == "configmap/a serverside-applied\n"
    assert managers(cluster, "a") == ["kubectl=Apply"]
    assert "unchanged" not in cluster.kubectl(*apply, stdin=config_map("a", x="1", y="1"))
    told = cluster.kubectl(*apply, "--field-manager=team", stdin=config_map("a", x="2"), fails=True)
    assert 'error: Apply failed with 1 conflict: conflict with "kubectl": .data.x' in told
    assert "Please review the fields above--they currently have other managers" in told
    forced = cluster.kubectl(
        *apply, "--field-manager=team", "--force-conflicts", stdin=config_map("a", x="2")
    )
    assert forced == "configmap/a serverside-applied\n"
    assert managers(cluster, "a") == ["kubectl=Apply", "team=Apply"]
    assert cluster.kubectl("get", "configmap", "a", "-o", "jsonpath={.data}") == '{"x":"2","y":"1"}'
    dry = cluster.kubectl(*apply, "--dry-run=server", "--force-conflicts", stdin=config_map("a", x="3"))
    assert dry == "configmap/a serverside-applied (server dry run)\n"
    assert cluster.kubectl("get", "configmap", "a", "-o", "jsonpath={.data.x}") == "2"
    with_owners = cluster.kubectl("get", "configmap", "a", "-o", "yaml", "--show-managed-fields")
    assert "  managedFields:\n" in with_owners
    assert "managedFields" not in cluster.kubectl("get", "configmap", "a", "-o", "yaml")


def test_an_unknown_field_is_refused(cluster: Secure) -> None:
    body = config_map("wrong").replace('"data"', '"date"')
    told = cluster.kubectl("apply", "--server-side", "-f", "-", stdin=body, fails=True)
    assert (
        "failed to create typed patch object (default/wrong; /v1, Kind=ConfigMap): .date: field not declared in schema"
        in told
    )


def test_from_client_side_apply_to_server_side(cluster: Secure) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=config_map("b", x="1", y="1"))
    assert managers(cluster, "b") == ["kubectl-client-side-apply=Update"]
    viewed = cluster.kubectl("apply", "view-last-applied", "configmap/b", "-o", "json")
    assert orjson.loads(viewed)["data"] == {"x": "1", "y": "1"}
    # kubectl moves what it owned by client-side apply to the applier first, so that what goes is gone.
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=config_map("b", x="2"))
    assert cluster.kubectl("get", "configmap", "b", "-o", "jsonpath={.data}") == '{"x":"2"}'
    # The annotation has an applier of its own, as kubectl wants it for the way back.
    assert managers(cluster, "b") == ["kubectl=Apply", "kubectl-last-applied=Apply"]
    viewed = cluster.kubectl("apply", "view-last-applied", "configmap/b", "-o", "json")
    assert orjson.loads(viewed)["data"] == {"x": "2"}
    # And back: a client-side apply goes on from there.
    cluster.kubectl("apply", "-f", "-", stdin=config_map("b", z="1"))
    assert cluster.kubectl("get", "configmap", "b", "-o", "jsonpath={.data}") == '{"z":"1"}'


def test_the_annotation_of_client_side_apply(cluster: Secure) -> None:
    cluster.kubectl("create", "-f", "-", stdin=config_map("c", x="1"))
    assert managers(cluster, "c") == ["kubectl-create=Update"]
    set_ = ("apply", "set-last-applied", "-f", "-")
    assert "no last-applied-configuration annotation found" in cluster.kubectl(
        *set_, stdin=config_map("c", x="1"), fails=True
    )
    cluster.kubectl(*set_, "--create-annotation", stdin=config_map("c", x="1"))
    found = cluster.kubectl(
        "get",
        "configmap",
        "c",
        "-o",
        f"jsonpath={{.metadata.annotations.{LAST.replace('.', chr(92) + '.')}}}",
    )
    assert orjson.loads(found)["data"] == {"x": "1"}
    cluster.kubectl("label", "configmap", "c", "a=b")
    cluster.kubectl("annotate", "configmap", "c", "a=b")
    assert set(managers(cluster, "c")) == {
        "kubectl-create=Update",
        "kubectl=Update",
        "kubectl-label=Update",
        "kubectl-annotate=Update",
    }


def test_other_commands_name_themselves(cluster: Secure) -> None:
    cluster.kubectl("create", "deployment", "web", "--image=nginx")
    cluster.kubectl("scale", "deployment", "web", "--replicas=3")
    cluster.kubectl("set", "image", "deployment/web", "nginx=nginx:2")
    path = "{range .metadata.managedFields[*]}{.manager}/{.subresource} {end}"
    found = cluster.kubectl("get", "deployment", "web", "-o", f"jsonpath={path}", "--show-managed-fields")
    assert set(found.split()) == {"kubectl/scale", "kubectl-create/", "kubectl-set/"}
    cluster.kubectl(
        "apply",
        "--server-side",
        "--subresource=status",
        "-f",
        "-",
        stdin="""
{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"status":{"replicas":3}}""",
    )
    assert cluster.kubectl("get", "deployment", "web", "-o", "jsonpath={.status.replicas}") == "3"
