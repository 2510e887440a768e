"""Definitions of custom resources."""

import pytest

KIND = "apiextensions.k8s.io/v1 CustomResourceDefinition"
NAME = "ships.example.com"
SCHEMA = {"openAPIV3Schema": {"type": "object"}}
V1 = {"name": "v1", "served": True, "storage": True, "schema": SCHEMA}


def definition(*versions, **change):
    names = {"plural": "ships", "kind": "Ship"}
    spec = {
        "group": "example.com",
        "names": names,
        "scope": "Namespaced",
        "versions": list(versions or (V1,)),
    }
    return {"spec": {**spec, **change}}


def named(**change):
    return definition(names={"plural": "ships", "kind": "Ship", **change})


def test_what_it_is_given(written):
    obj = written(KIND, definition(), name=NAME)
    assert obj["spec"]["names"] == {
        "plural": "ships",
        "kind": "Ship",
        "singular": "ship",
        "listKind": "ShipList",
    }
    assert obj["spec"]["conversion"] == {"strategy": "None"}
    assert obj["status"] == {"acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]}


def test_a_version_that_was_stored_is_remembered(written):
    old = written(KIND, definition(), name=NAME)
    newer = {**V1, "name": "v2"}
    new = written(
        KIND, {**definition({**V1, "storage": False}, newer), "status": old["status"]}, name=NAME, old=old
    )
    assert new["status"]["storedVersions"] == ["v1", "v2"]


COLUMN = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (definition(), []),
        (definition({**V1, "additionalPrinterColumns": [COLUMN]}), []),
        (definition(scope=""), ["spec.scope: Required value"]),
        (
            definition(scope="Local"),
            ['spec.scope: Unsupported value: "Local": supported values: "Cluster", "Namespaced"'],
        ),
        (
            definition({**V1, "schema": None}),
            ["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
        ),
        (
            definition({**V1, "schema": {"openAPIV3Schema": {"type": "string"}}}),
            ['spec.validation.openAPIV3Schema.type: Invalid value: "string": must be object at the root'],
        ),
        (
            definition({**V1, "additionalPrinterColumns": [{"name": "A", "type": "text", "jsonPath": "a"}]}),
            [
                'spec.versions[0].additionalPrinterColumns[0].type: Invalid value: "text": must be one of integer,number,string,boolean,date',
                'spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: "a": must be a simple json path starting with .',
            ],
        ),
        (
            definition({**V1, "deprecationWarning": "old"}),
            [
                'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions'
            ],
        ),
        (
            definition(
                {
                    **V1,
                    "subresources": {
                        "scale": {"specReplicasPath": ".replicas", "statusReplicasPath": ".status.replicas"}
                    },
                }
            ),
            [
                'spec.versions[0].subresources.scale.specReplicasPath: Invalid value: ".replicas": should be a json path under .spec'
            ],
        ),
        (
            named(listKind="Ship"),
            ['spec.names.listKind: Invalid value: "Ship": kind and listKind may not be the same'],
        ),
        (
            definition(conversion={"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
            ["spec.conversion.webhook: Forbidden: should not be set when strategy is not set to Webhook"],
        ),
        (
            definition(conversion={"strategy": "Webhook"}),
            [
                "spec.conversion.webhook.clientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.webhook.conversionReviewVersions: Required value",
            ],
        ),
    ],
)
def test_definitions(refusals, fields, messages):
    assert refusals(KIND, fields, name=NAME) == messages


@pytest.mark.parametrize("versions", [(V1, {**V1, "name": "v2"}), ({**V1, "storage": False},)])
def test_one_version_is_stored(refusals, versions):
    found = refusals(KIND, definition(*versions), name=NAME)
    assert any(text.endswith("must have exactly one version marked as storage version") for text in found)


def test_versions_have_names_of_their_own(refusals):
    found = refusals(KIND, definition(V1, {**V1, "storage": False}), name=NAME)
    assert [text.rpartition(": ")[2] for text in found] == ["must contain unique version names"]


def test_the_name_is_made_of_two(refusals):
    assert refusals(KIND, definition(), name="boats.example.com") == [
        'metadata.name: Invalid value: "boats.example.com": must be spec.names.plural+"."+spec.group'
    ]


def test_groups_of_kubernetes_are_protected(refusals):
    fields, name = definition(group="x.k8s.io"), "ships.x.k8s.io"
    (found,) = refusals(KIND, fields, name=name)
    assert found.startswith(
        "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups"
    )
    for value in ("https://github.com/kubernetes/kubernetes/pull/1", "unapproved, experimental"):
        assert refusals(KIND, fields, name=name, annotations={"api-approved.kubernetes.io": value}) == []


def test_what_stays(written, refusals):
    from tiphys.api.apiextensions import validation

    old = written(KIND, definition(), name=NAME)
    renamed = {**old, "spec": {**old["spec"], "scope": "Cluster"}}
    assert validation.custom_resource_definition(renamed, old) == []
    old["status"]["conditions"] = [{"type": "Established", "status": "True"}]
    assert [error.field for error in validation.custom_resource_definition(renamed, old)] == ["spec.scope"]


def test_a_stored_version_must_stay_in_the_list(written):
    from tiphys.api.apiextensions import validation

    old = written(KIND, definition(), name=NAME)
    fields = {**definition({**V1, "name": "v2"}), "status": old["status"]}
    new = written(KIND, fields, name=NAME, old=old)
    (found,) = validation.custom_resource_definition(new, old)
    assert found.field == "status.storedVersions[0]"
    assert found.detail.startswith("missing from spec.versions; v1 was previously a storage version")
