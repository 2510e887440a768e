"""What clients ask is written down; and a test lets it go wrong, as a network or an API server would."""

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tiphys.testing import Cluster, Identity, Namespace


class Asker:
    """A client over one connection, which does not try again."""

    def __init__(self, cluster: Cluster, who: Identity) -> None:
        context = ssl.create_default_context(cafile=str(cluster.ca_file))
        host, port = cluster.server.removeprefix("https://").split(":")
        self._connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
        self._headers = {**who.headers, "content-type": "application/json", "user-agent": "asker/1"}

    def open(self, method: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, self._headers)
        return self._connection.getresponse()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.open(method, path, body)
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def asker(cluster: Cluster) -> Iterator[Asker]:
    made = Asker(cluster, cluster.user("asker", ["system:masters"]))
    cluster.forget_requests()
    yield made
    made.close()
    cluster.faults.clear()


@pytest.fixture
def configs(namespace: Namespace) -> str:
    namespace.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
    return f"/api/v1/namespaces/{namespace}/configmaps"


def test_requests_are_written_down(
    cluster: Cluster, asker: Asker, configs: str, namespace: Namespace
) -> None:
    asker.ask("PUT", f"{configs}/c", {"metadata": {"name": "c"}, "data": {"a": "b"}})
    asker.ask("GET", f"{configs}?limit=1")
    asker.ask("GET", f"{configs}/none")
    written = [
        (asked.verb, asked.resource, asked.name, asked.status) for asked in cluster.requests(user="asker")
    ]
    assert written == [
        ("update", "configmaps", "c", 200),
        ("list", "configmaps", "", 200),
        ("get", "configmaps", "none", 404),
    ]
    (put,) = cluster.requests(verb="update", resource="configmaps", user_agent="asker/*")
    assert put.json()["data"] == {"a": "b"}
    assert put.namespace == namespace.name
    assert cluster.requests(user="asker", verb="list")[0].query == "limit=1"
    assert not cluster.requests(user="system:*", path=f"*{namespace}*")
    assert cluster.requests(user="kubernetes-admin", internal=True, verb="create", resource="configmaps")


def test_a_conflict_comes_once_in_upstream_s_words(cluster: Cluster, asker: Asker, configs: str) -> None:
    cluster.faults.add(verb="update", resource="configmaps", code=409, times=1)
    body = {"metadata": {"name": "c"}, "data": {"a": "b"}}
    status, answer = asker.ask("PUT", f"{configs}/c", body)
    assert (status, answer["reason"]) == (409, "Conflict")
    assert answer["message"] == (
        'Operation cannot be fulfilled on configmaps "c": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert asker.ask("PUT", f"{configs}/c", body)[0] == 200
    assert [asked.fault for asked in cluster.requests(verb="update", user="asker")] == [True, False]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(401, "Unauthorized"), (404, "NotFound"), (429, "TooManyRequests"), (500, "InternalError"),
     (503, "ServiceUnavailable"), (504, "Timeout"), (403, "Forbidden")],
)  # fmt: skip
def test_errors_have_their_reasons(
    cluster: Cluster, asker: Asker, configs: str, code: int, reason: str
) -> None:
    with cluster.faults.add(path=f"{configs}*", code=code):
        status, answer = asker.ask("GET", configs)
    assert (status, answer["kind"], answer["reason"], answer["code"]) == (code, "Status", reason, code)
    assert asker.ask("GET", configs)[0] == 200


def test_a_client_is_asked_to_come_back_later(cluster: Cluster, asker: Asker, configs: str) -> None:
    cluster.faults.add(user="asker", code=429, retry_after_seconds=7, message="not now")
    answer = asker.open("GET", configs)
    assert answer.getheader("retry-after") == "7"
    assert json.loads(answer.read())["message"] == "not now"


def test_a_write_can_be_done_although_the_answer_is_an_error(
    cluster: Cluster, asker: Asker, configs: str, namespace: Namespace
) -> None:
    cluster.faults.add(verb="create", code=504, after=True)
    assert asker.ask("POST", configs, {"metadata": {"name": "made"}})[0] == 504
    assert namespace.get("cm/made")


def test_a_connection_is_cut_off_without_an_answer(cluster: Cluster, asker: Asker, configs: str) -> None:
    with cluster.faults.add(method="GET", disconnect=True), pytest.raises(ConnectionError):
        asker.ask("GET", configs)
    asker.close()
    assert asker.ask("GET", configs)[0] == 200


def test_an_answer_can_be_slow_by_the_cluster_s_time(cluster: Cluster, asker: Asker, configs: str) -> None:
    cluster.faults.add(user="asker", delay_seconds=3600)
    done = threading.Event()
    thread = threading.Thread(target=lambda: (asker.ask("GET", configs), done.set()))
    thread.start()
    while not cluster.requests(user="asker"):
        pass
    assert not done.is_set()
    cluster.clock.advance(3600)
    thread.join(30)
    assert done.is_set()


def test_faults_can_be_rare(cluster: Cluster, asker: Asker, configs: str) -> None:
    cluster.faults.add(user="asker", code=500, probability=0.5)
    seen = [asker.ask("GET", configs)[0] for _ in range(60)]
    assert 10 < seen.count(500) < 50
    assert seen.count(200) == 60 - seen.count(500)


def test_the_control_plane_is_met_only_by_name(cluster: Cluster, asker: Asker, namespace: Namespace) -> None:
    cluster.faults.add(resource="configmaps", code=500)
    namespace.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}})
    cluster.faults.add(user="kubernetes-admin", resource="configmaps", code=503)
    with pytest.raises(Exception, match="currently unable"):
        namespace.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}})


@pytest.mark.parametrize("how", ["close", "abort", "expire"])
def test_watches_end_as_they_do(cluster: Cluster, asker: Asker, configs: str, how: Any) -> None:
    listed = asker.ask("GET", configs)[1]["metadata"]["resourceVersion"]
    watch = asker.open("GET", f"{configs}?watch=1&resourceVersion={listed}")
    changed = cluster.patch("cm/c", {"data": {"a": "b"}}, namespace=configs.split("/")[4])
    assert cluster.faults.end_watches(how) >= 1
    if how == "abort":
        with pytest.raises((http.client.IncompleteRead, ConnectionError, ssl.SSLError)):
            watch.read()
    else:
        events = [json.loads(line) for line in watch.read().splitlines()]
        assert events[0]["object"]["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]
        assert [event["object"].get("code") for event in events[1:]] == ([410] if how == "expire" else [])
    asker.close()
    again = asker.open("GET", f"{configs}?watch=1&resourceVersion={listed}")
    event = json.loads(again.readline())
    assert event["type"] == ("ERROR" if how == "expire" else "MODIFIED")
