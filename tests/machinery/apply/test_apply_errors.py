"""What is refused, in upstream's words."""

from typing import Any

import pytest
from apply_stage import START, Stage, built_in, custom

from tiphys.machinery.apply import apply
from tiphys.machinery.errors import StatusError

DEPLOYMENT = built_in("apps/v1.Deployment", "apps/v1")
POD = built_in("core/v1.Pod", "v1")


def refused(body: dict[str, Any], target: Any = DEPLOYMENT) -> StatusError:
    with pytest.raises(StatusError) as raised:
        apply(target, None, body, "me", force=False, now=START)
    return raised.value


def unfit(spec: dict[str, Any], target: Any = DEPLOYMENT) -> str:
    body = {
        "apiVersion": target.api_version,
        "kind": target.kind,
        "metadata": {"name": "x", "namespace": "d"},
        "spec": spec,
    }
    error = refused(body, target)
    assert (error.code, error.reason) == (500, "")
    return error.message


@pytest.mark.parametrize(
    ("version", "kind", "said"),
    [
        ("apps/v1", "Pod", "apps/v1, Kind=Pod"),
        ("v1", "Pod", "/v1, Kind=Pod"),
        ("apps/v1beta1", "Deployment", "apps/v1beta1, Kind=Deployment"),
        (None, None, "/, Kind="),
    ],
)
def test_another_kind(version: str | None, kind: str | None, said: str) -> None:
    error = refused({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}})
    assert (error.code, error.reason, error.message) == (400, "BadRequest", f"invalid object type: {said}")


@pytest.mark.parametrize("value", [[], [{}], [{"manager": "m"}]])
def test_managed_fields_are_not_applied(value: Any) -> None:
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "managedFields": value}}
    error = refused(body)
    assert (error.code, error.message) == (400, "metadata.managedFields must be nil")


WHERE = "failed to create typed patch object (d/x; apps/v1, Kind=Deployment): "
CONTAINER = '.spec.template.spec.containers[name="a"]'


def pod_spec(**container: Any) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"name": "a", **container}]}}}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"foo": 1}, ".spec.foo: field not declared in schema"),
        (
            {"replicas": "3"},
            '.spec.replicas: expected numeric (int or float), got &value.valueUnstructured{Value:"3"}',
        ),
        ({"paused": "no"}, '.spec.paused: expected boolean, got &value.valueUnstructured{Value:"no"}'),
        (
            pod_spec(env=[{"name": "A", "value": 1}]),
            CONTAINER + '.env[name="A"].value: expected string, got &value.valueUnstructured{Value:1}',
        ),
        (
            pod_spec(image={"a": True}),
            CONTAINER
            + '.image: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"a":true}}',
        ),
        (pod_spec(env={"a": "b"}), CONTAINER + ".env: expected list, got &{map[a:b]}"),
        (pod_spec(resources=["x"]), CONTAINER + ".resources: expected map, got &{[x]}"),
        (pod_spec(command="sh"), CONTAINER + ".command: expected list, got &{sh}"),
        (
            pod_spec(command=["sh", 1]),
            CONTAINER + ".command[1]: expected string, got &value.valueUnstructured{Value:1}",
        ),
        (
            pod_spec(env=[{"name": "A"}, {"name": "A"}]),
            CONTAINER + '.env: duplicate entries for key [name="A"]',
        ),
        (
            pod_spec(ports=[{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]),
            CONTAINER + '.ports: duplicate entries for key [containerPort=80,protocol="TCP"]',
        ),
        (
            pod_spec(env=[{"value": "A"}]),
            CONTAINER
            + '.env: element 0: associative list with keys has an element that omits all key fields ["name"] '
            "(and doesn't have default values for any key fields)",
        ),
        (
            pod_spec(env=["A"]),
            CONTAINER + ".env: element 0: associative list with keys may not have non-map elements",
        ),
        (
            pod_spec(env=[None]),
            CONTAINER + ".env: element 0: associative list with keys may not have a null element",
        ),
        (
            {"foo": 1, "bar": 2},
            "errors:\n  .spec.foo: field not declared in schema\n  .spec.bar: field not declared in schema",
        ),
        (
            {"selector": {"matchLabels": {"a": 1}}},
            ".spec.selector.matchLabels.a: expected string, got &value.valueUnstructured{Value:1}",
        ),
        ({"selector": {"match": {}}}, ".spec.selector.match: field not declared in schema"),
    ],
)
def test_unfit(spec: dict[str, Any], message: str) -> None:
    assert unfit(spec) == WHERE + message


def test_the_core_group_has_no_name() -> None:
    assert unfit({"foo": 1}, POD).startswith("failed to create typed patch object (d/x; /v1, Kind=Pod): ")


SETS = custom("s: {type: array, x-kubernetes-list-type: set, items: {type: string}}")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["a", "a"], '.s: duplicate entries for key [="a"]'),
        ([{}], ".s: element 0: associative list without keys has an element that's a map type"),
        ([[]], ".s: element 0: not supported: associative list with lists as elements"),
        ([None], ".s: element 0: associative list without keys has an element that's an explicit null"),
        ([1], ".s[=1]: expected string, got &value.valueUnstructured{Value:1}"),
    ],
)
def test_unfit_sets(items: list[Any], message: str) -> None:
    error = refused(
        {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "s": items}, SETS
    )
    assert error.message.endswith(f"): {message}")


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": None, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}},
        pod_spec(resources={"limits": {"cpu": 1, "memory": "1Gi"}}),
        pod_spec(env=[{"name": "A", "valueFrom": None}]),
    ],
)
def test_fit(spec: dict[str, Any]) -> None:
    """Numbers pass for quantities, nulls for everything."""
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}
    assert apply(DEPLOYMENT, None, body, "me", force=False, now=START)["metadata"]["managedFields"]


class TestConflicts:
    def conflict(self, stage: Stage, body: str) -> StatusError:
        before = stage.live
        with pytest.raises(StatusError) as raised:
            stage.apply("me", body)
        assert stage.live is before
        assert (raised.value.code, raised.value.reason) == (409, "Conflict")
        return raised.value

    def test_one(self) -> None:
        stage = Stage(DEPLOYMENT)
        stage.update("kubectl-client-side-apply", "spec: {replicas: 1}")
        error = self.conflict(stage, "spec: {replicas: 2}")
        assert error.message == (
            "Apply failed with 1 conflict: "
            'conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
        )
        assert error.causes == [
            {
                "reason": "FieldManagerConflict",
                "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
                "field": ".spec.replicas",
            }
        ]

    def test_several(self) -> None:
        stage = Stage(DEPLOYMENT)
        stage.update("updater", f"spec: {{replicas: 1, template: {pod_spec(image='i')['template']}}}")
        stage.apply("applier", "metadata: {labels: {app: a}}")
        error = self.conflict(
            stage,
            f"{{metadata: {{labels: {{app: b}}}}, spec: {{replicas: 2, template: {pod_spec(image='j')['template']}}}}}",
        )
        assert error.message == (
            "Apply failed with 3 conflicts: "
            'conflicts with "applier":\n'
            "- .metadata.labels.app\n"
            'conflicts with "updater" using apps/v1:\n'
            "- .spec.replicas\n"
            '- .spec.template.spec.containers[name="a"].image'
        )
        assert [cause["field"] for cause in error.causes] == [
            ".metadata.labels.app",
            ".spec.replicas",
            '.spec.template.spec.containers[name="a"].image',
        ]

    def test_subresource(self) -> None:
        stage = Stage(POD)
        stage.update("creator", "spec: {hostname: h}")
        stage.update(
            "x",
            "{spec: {hostname: h}, status: {phase: Running}}",
            target=built_in("core/v1.Pod", "v1", subresource="status"),
        )
        error = self.conflict(stage, "status: {phase: Failed}")
        assert error.message == (
            'Apply failed with 1 conflict: conflict with "x" with subresource "status" using v1: .status.phase'
        )
