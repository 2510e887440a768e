"""PodSecurity at work: what is refused, warned of and noted, in which namespace, and what a configuration changes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from served import Client, running

from tiphys.apiserver.settings import ConfigurationError
from tiphys.machinery import yaml
from tiphys.testing.clock import FakeClock

NAMESPACES = "/api/v1/namespaces"
PREFIX = "pod-security.kubernetes.io/"
PRIVILEGED = {"securityContext": {"privileged": True}}
VIOLATION = 'privileged (container "c" must not set securityContext.privileged=true)'
BARE = (
    'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
    'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
    'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
    'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)


def template(**container: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **container}]}


def pod(name: str, **container: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": template(**container)}


async def namespace(client: Client, name: str, **levels: str) -> str:
    labels = {PREFIX + mode.replace("_", "-"): level for mode, level in levels.items()}
    await client.create(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
    path = f"{NAMESPACES}/{name}"
    await client.create(f"{path}/serviceaccounts", {"metadata": {"name": "default"}})
    return path


async def test_pods_are_held_to_the_level_of_their_namespace(client: Client) -> None:
    path = await namespace(client, "strict", enforce="restricted")
    answer = await client.call("POST", f"{path}/pods", pod("p"))
    assert answer.status == 403
    assert answer.body["reason"] == "Forbidden"
    assert answer.body["details"] == {"name": "p", "kind": "pods"}
    assert (
        answer.body["message"] == f'pods "p" is forbidden: violates PodSecurity "restricted:latest": {BARE}'
    )
    assert not answer.warnings

    path = await namespace(client, "basic", enforce="baseline", enforce_version="v1.30")
    await client.create(f"{path}/pods", pod("p"))
    answer = await client.call("POST", f"{path}/pods", pod("q", **PRIVILEGED))
    assert (
        answer.body["message"] == f'pods "q" is forbidden: violates PodSecurity "baseline:v1.30": {VIOLATION}'
    )


async def test_warnings_of_pods_and_of_templates(client: Client) -> None:
    path = await namespace(client, "n", enforce="privileged", warn="baseline")
    answer = await client.call("POST", f"{path}/pods", pod("p", **PRIVILEGED))
    told = orjson.dumps(f'would violate PodSecurity "baseline:latest": {VIOLATION}').decode()
    assert (answer.status, answer.warnings) == (201, (f"299 - {told}",))
    labels = {"metadata": {"labels": {"a": "b"}}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {**labels, "spec": template(**PRIVILEGED)}}
    job = {"template": {"spec": {**template(**PRIVILEGED), "restartPolicy": "Never"}}}
    cases = {
        f"/apis/apps/v1/namespaces/n/{plural}": spec
        for plural in ("deployments", "replicasets", "daemonsets")
    } | {
        "/apis/apps/v1/namespaces/n/statefulsets": {**spec, "serviceName": "s"},
        f"{path}/replicationcontrollers": {"template": spec["template"]},
        "/apis/batch/v1/namespaces/n/jobs": job,
        "/apis/batch/v1/namespaces/n/cronjobs": {"schedule": "* * * * *", "jobTemplate": {"spec": job}},
    }
    for target, body in cases.items():
        answer = await client.call("POST", target, {"metadata": {"name": "d"}, "spec": body})
        assert (answer.status, answer.warnings) == (201, (f"299 - {told}",)), target


async def test_templates_are_never_refused(client: Client) -> None:
    path = await namespace(client, "n", enforce="baseline")
    body = {"metadata": {"name": "t"}, "template": {"spec": template(**PRIVILEGED)}}
    answer = await client.call("POST", f"{path}/podtemplates", body)
    assert (answer.status, answer.warnings) == (201, ())


async def test_updates_are_looked_at_when_they_change_what_runs(client: Client) -> None:
    path = await namespace(client, "n")
    await client.create(f"{path}/pods", pod("p", **PRIVILEGED))
    await client.patch(path, {"metadata": {"labels": {f"{PREFIX}enforce": "baseline"}}})
    await client.patch(f"{path}/pods/p", {"metadata": {"labels": {"a": "b"}}})
    await client.patch(f"{path}/pods/p/status", {"status": {"phase": "Running"}})
    change = {"spec": template(image="other", **PRIVILEGED)}
    answer = await client.call(
        "PATCH", f"{path}/pods/p", change, content_type="application/strategic-merge-patch+json"
    )
    assert answer.status == 403
    assert answer.body["message"].startswith('pods "p" is forbidden: violates PodSecurity "baseline:latest"')
    added = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "i", **PRIVILEGED}]}}
    await client.create(f"{path}/pods", pod("q"))
    target = f"{path}/pods/q/ephemeralcontainers"
    answer = await client.call("PATCH", target, added, content_type="application/strategic-merge-patch+json")
    assert (answer.status, '(container "debug" must not' in answer.body["message"]) == (403, True)


async def test_labels_of_namespaces(client: Client) -> None:
    labels = {f"{PREFIX}enforce": "strict"}
    answer = await client.call("POST", NAMESPACES, {"metadata": {"name": "n", "labels": labels}})
    assert answer.status == 422
    assert answer.body["message"] == (
        f'Namespace "n" is invalid: metadata.labels[{PREFIX}enforce]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted"
    )


async def test_a_stricter_level_tells_of_pods_that_are_there(client: Client) -> None:
    path = await namespace(client, "n")
    for name in ("b", "a", "c"):
        await client.create(f"{path}/pods", pod(name, **PRIVILEGED))
    await client.create(f"{path}/pods", pod("good"))

    async def label(level: str) -> list[str]:
        body = {"metadata": {"labels": {f"{PREFIX}enforce": level}}}
        answer = await client.call("PATCH", path, body, content_type="application/merge-patch+json")
        assert answer.status == 200
        return [orjson.loads(warning.removeprefix("299 - ")) for warning in answer.warnings]

    assert await label("baseline") == [
        'existing pods in namespace "n" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): privileged",
    ]
    rest = (
        "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
    )
    assert await label("restricted") == [
        'existing pods in namespace "n" violate the new PodSecurity enforce level "restricted:latest"',
        f"a (and 2 other pods): privileged, {rest}",
        f"good: {rest}",
    ]
    assert await label("baseline") == []
    assert await label("privileged") == []


# Told by a file

CONFIGURED: dict[str, Any] = {
    "apiVersion": "pod-security.admission.config.k8s.io/v1",
    "kind": "PodSecurityConfiguration",
    "defaults": {"enforce": "baseline", "audit": "restricted", "audit-version": "v1.30"},
    "exemptions": {"usernames": ["root"], "namespaces": ["free"], "runtimeClasses": ["kata"]},
}
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "rules": [{"level": "Request", "verbs": ["create"]}],
}


def write(directory: Path, configuration: dict[str, Any]) -> str:
    plugins = [{"name": "PodSecurity", "configuration": configuration}]
    whole = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}
    (directory / "admission.yaml").write_bytes(yaml.dump(whole))
    return str(directory / "admission.yaml")


@pytest.fixture
async def told(clock: FakeClock, signing_key: bytes, tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "audit.yaml").write_bytes(yaml.dump(AUDIT))
    files = {
        "admission_control_config_file": write(tmp_path, CONFIGURED),
        "audit_policy_file": str(tmp_path / "audit.yaml"),
        "audit_log_path": str(tmp_path / "log"),
    }
    async with running(clock, signing_key, **files) as server:
        yield Client(server)


async def test_defaults_and_exemptions(told: Client, tmp_path: Path) -> None:
    body = {"metadata": {"name": "kata"}, "handler": "kata"}
    await told.create("/apis/node.k8s.io/v1/runtimeclasses", body)
    path = await namespace(told, "n")
    answer = await told.call("POST", f"{path}/pods", pod("refused", **PRIVILEGED))
    assert answer.body["message"] == (
        f'pods "refused" is forbidden: violates PodSecurity "baseline:latest": {VIOLATION}'
    )
    await told.create(f"{path}/pods", pod("bare"))
    await told.as_user("root", "system:masters").create(f"{path}/pods", pod("root", **PRIVILEGED))
    of_class = pod("class", **PRIVILEGED)
    of_class["spec"]["runtimeClassName"] = "kata"
    await told.create(f"{path}/pods", of_class)
    free = {"metadata": {"name": "free", "labels": {f"{PREFIX}enforce": "restricted"}}}
    answer = await told.call("POST", NAMESPACES, free)
    assert answer.warnings == (
        '299 - "namespace \\"free\\" is exempt from Pod Security, and the policy (enforce=restricted:latest) will be ignored"',
    )
    await told.create(f"{NAMESPACES}/free/serviceaccounts", {"metadata": {"name": "default"}})
    await told.create(f"{NAMESPACES}/free/pods", pod("free", **PRIVILEGED))
    await told.create(
        NAMESPACES,
        {
            "metadata": {
                "name": "open",
                "labels": {f"{PREFIX}{mode}": "privileged" for mode in ("enforce", "audit")},
            }
        },
    )
    await told.create(f"{NAMESPACES}/open/serviceaccounts", {"metadata": {"name": "default"}})
    await told.create(f"{NAMESPACES}/open/pods", pod("open", **PRIVILEGED))

    noted = {
        event["requestObject"]["metadata"]["name"]: {
            key.removeprefix(PREFIX): value
            for key, value in event.get("annotations", {}).items()
            if key.startswith(PREFIX)
        }
        for event in map(orjson.loads, (tmp_path / "log").read_bytes().splitlines())
        if event["objectRef"]["resource"] == "pods" and event["stage"] == "ResponseComplete"
    }
    assert noted == {
        "refused": {
            "enforce-policy": "baseline:latest",
            "audit-violations": f'would violate PodSecurity "restricted:v1.30": {VIOLATION}, {BARE}',
        },
        "bare": {
            "enforce-policy": "baseline:latest",
            "audit-violations": f'would violate PodSecurity "restricted:v1.30": {BARE}',
        },
        "root": {"exempt": "user"},
        "class": {"exempt": "runtimeClass"},
        "free": {"exempt": "namespace"},
        "open": {"enforce-policy": "privileged:latest"},
    }
    counted = (await told.call("GET", "/metrics")).raw.decode()
    series = [line for line in counted.splitlines() if line.startswith("pod_security_")]
    audited = 'mode="audit",policy_level="restricted",policy_version="v1.30"'
    assert any(audited in line and line.endswith(" 2") for line in series)
    assert (
        'pod_security_exemptions_total{request_operation="create",resource="pod",subresource=""} 3' in series
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"kind": "Other"},
            "it is Other of pod-security.admission.config.k8s.io/v1, not a PodSecurityConfiguration",
        ),
        ({"odd": 1}, 'unknown field "odd"'),
        ({"defaults": {"enforced": "x"}}, 'unknown field "defaults.enforced"'),
        (
            {"defaults": {"enforce": "x"}},
            'defaults.enforce: Invalid value: "x": must be one of privileged, baseline, restricted',
        ),
        (
            {"defaults": {"warn-version": "1"}},
            'defaults.warn-version: Invalid value: "1": must be "latest" or "v1.x"',
        ),
        (
            {"exemptions": {"namespaces": ["A"]}},
            'exemptions.namespaces[0]: Invalid value: "A": a lowercase RFC 1123',
        ),
        ({"exemptions": {"usernames": ["a", "a"]}}, 'exemptions.usernames[1]: Duplicate value: "a"'),
        ({"exemptions": {"usernames": [""]}}, "exemptions.usernames[0]: Required value"),
    ],
)
async def test_bad_configurations_are_refused_in_a_line(
    clock: FakeClock, signing_key: bytes, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    file = write(tmp_path, {**CONFIGURED, **change})
    with pytest.raises(ConfigurationError) as raised:
        async with running(clock, signing_key, admission_control_config_file=file):
            raise AssertionError("it started")
    assert re.match(
        f"--admission-control-config-file: {file}: line [0-9]+: PodSecurity: {re.escape(complaint)}",
        str(raised.value),
    )
    assert "\n" not in str(raised.value)
