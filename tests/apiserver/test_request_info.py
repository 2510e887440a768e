"""What a request asks for, read from its method, path and query."""

import pytest

from tiphys.apiserver.requests import PATH_LIMIT_CHARACTERS, query_bool, read_request
from tiphys.net.http import parse_query

CASES = [
    # method, target, (verb, group, version, namespace, resource, subresource, name)
    ("GET", "/api/v1/pods", ("list", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/namespaces/a/pods", ("list", "", "v1", "a", "pods", "", "")),
    ("HEAD", "/api/v1/namespaces/a/pods/p", ("get", "", "v1", "a", "pods", "", "p")),
    ("GET", "/api/v1/namespaces/a/pods/p/log", ("get", "", "v1", "a", "pods", "log", "p")),
    ("POST", "/api/v1/namespaces/a/pods/p/exec", ("create", "", "v1", "a", "pods", "exec", "p")),
    (
        "PUT",
        "/apis/apps/v1/namespaces/a/deployments/d",
        ("update", "apps", "v1", "a", "deployments", "", "d"),
    ),
    ("PATCH", "/api/v1/nodes/n/status", ("patch", "", "v1", "", "nodes", "status", "n")),
    ("DELETE", "/api/v1/nodes/n", ("delete", "", "v1", "", "nodes", "", "n")),
    ("DELETE", "/api/v1/nodes", ("deletecollection", "", "v1", "", "nodes", "", "")),
    ("GET", "/api/v1/namespaces", ("list", "", "v1", "", "namespaces", "", "")),
    ("GET", "/api/v1/namespaces/a", ("get", "", "v1", "a", "namespaces", "", "a")),
    ("PUT", "/api/v1/namespaces/a/finalize", ("update", "", "v1", "a", "namespaces", "finalize", "a")),
    ("GET", "/api/v1/namespaces/a/status", ("get", "", "v1", "a", "namespaces", "status", "a")),
    ("GET", "/api/v1/pods?watch=true", ("watch", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/pods?watch", ("watch", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/pods?watch=0", ("list", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/watch/pods", ("watch", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/watch/namespaces/a/pods/p", ("watch", "", "v1", "a", "pods", "", "p")),
    ("GET", "/api/v1/namespaces/a/services/s/proxy/x/y", ("get", "", "v1", "a", "services", "proxy", "s")),
    ("GET", "/api/v1/watch", ("list", "", "v1", "", "watch", "", "")),
    ("DELETE", "/api/v1/watch/pods", ("", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/watch/pods?fieldSelector=metadata.name=a", ("watch", "", "v1", "", "pods", "", "")),
    ("GET", "//api//v1/namespaces/a//pods/p/", ("get", "", "v1", "a", "pods", "", "p")),
    ("GET", "api/v1/pods", ("list", "", "v1", "", "pods", "", "")),
    ("GET", "api//v1/pods", ("list", "", "v1", "", "pods", "", "")),
    ("GET", "/apis/apps/v1/namespaces/a/", ("get", "apps", "v1", "a", "namespaces", "", "a")),
    ("OPTIONS", "/api/v1/pods", ("", "", "v1", "", "pods", "", "")),
]


@pytest.mark.parametrize(("method", "target", "expected"), CASES)
def test_resources(method: str, target: str, expected: tuple[str, ...]) -> None:
    path, _, query = target.partition("?")
    info = read_request(method, path, parse_query(query))
    assert info.is_resource
    found = (info.verb, info.group, info.version, info.namespace, info.resource, info.subresource, info.name)
    assert found == expected


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/apis/apps/v1/",
        "/api/v1//",
        "*",
        "",
        "/healthz",
        "/x/y/z",
    ],
)
def test_other_paths_keep_the_method_as_verb(path: str) -> None:
    info = read_request("GET", path, {})
    assert (info.is_resource, info.verb, info.path) == (False, "get", path)


def test_what_becomes_of_one_request_does_not_show_in_the_next() -> None:
    first = read_request("GET", "/api/v1/namespaces/a", {})
    first.namespace, first.verb, first.name = "", "watch", "b"
    again = read_request("DELETE", "/api/v1/namespaces/a", {})
    assert (again.namespace, again.verb, again.name) == ("a", "delete", "a")


def test_a_long_path_is_read_like_any_other() -> None:
    name = "x" * 2 * PATH_LIMIT_CHARACTERS
    for verb, method in (("get", "GET"), ("update", "PUT")):
        info = read_request(method, f"/api/v1/namespaces/a/pods/{name}/status", {})
        assert (info.verb, info.namespace, info.name, info.subresource) == (verb, "a", name, "status")


def test_what_a_proxy_passes_on_is_behind_the_subresource() -> None:
    info = read_request("GET", "/api/v1/nodes/n/proxy/logs/x", {})
    assert info.parts == ("nodes", "n", "proxy", "logs", "x")


def test_a_field_selector_that_names_one_object_names_it_for_authorization_too() -> None:
    query = {"watch": ["1"], "fieldSelector": ["metadata.name=one"]}
    assert read_request("GET", "/api/v1/namespaces/a/secrets", query).name == "one"


@pytest.mark.parametrize("text", ["", "1", "t", "T", "true", "TRUE", "True", "yes"])
def test_booleans_that_are_true(text: str) -> None:
    assert query_bool({"watch": [text]}, "watch")


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False"])
def test_booleans_that_are_false(text: str) -> None:
    assert not query_bool({"watch": [text]}, "watch")


def test_a_boolean_that_is_not_there_is_false() -> None:
    assert not query_bool({}, "watch")
