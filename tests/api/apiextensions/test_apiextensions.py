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


OLD = {**V1, "name": "v1beta1", "storage": False}
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
                'spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string',
                'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "a": must be a simple json path starting with .',
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
                'spec.subresources.scale.specReplicasPath: Invalid value: ".replicas": should be a json path under .spec'
            ],
        ),
        (
            definition({**V1, "deprecated": True, "deprecationWarning": ""}),
            ['spec.versions[0].deprecationWarning: Invalid value: "": must not be an empty string'],
        ),
        (
            definition({**V1, "deprecated": True, "deprecationWarning": "é\t"}),
            [
                'spec.versions[0].deprecationWarning: Invalid value: "é\\t": must only contain printable UTF-8 characters; non-printable character found at index 2'
            ],
        ),
        (
            definition(
                conversion={
                    "strategy": "Webhook",
                    "webhook": {
                        "clientConfig": {"url": "https://a.example"},
                        "conversionReviewVersions": ["v9", "v9"],
                    },
                }
            ),
            [
                'spec.conversion.conversionReviewVersions[1]: Invalid value: "v9": duplicate version',
                'spec.conversion.conversionReviewVersions: Invalid value: ["v9","v9"]: must include at least one of v1, v1beta1',
            ],
        ),
        (
            definition(
                {**V1, "additionalPrinterColumns": [COLUMN]},
                {**OLD, "additionalPrinterColumns": [{**COLUMN, "format": "time"}]},
            ),
            [
                'spec.versions[1].additionalPrinterColumns[0].format: Invalid value: "time": must be one of byte,date,date-time,double,float,int32,int64,password'
            ],
        ),
        (
            definition(
                preserveUnknownFields=True,
                conversion={
                    "strategy": "Webhook",
                    "webhook": {
                        "clientConfig": {"url": "https://a.example"},
                        "conversionReviewVersions": ["v1"],
                    },
                },
            ),
            [
                'spec.conversion.strategy: Invalid value: "Webhook": must be None if spec.preserveUnknownFields is true',
                "spec.preserveUnknownFields: Invalid value: true: must be set to false in order to create or update custom resource definitions",
            ],
        ),
        (
            named(listKind="Ship"),
            ['spec.names.listKind: Invalid value: "Ship": kind and listKind may not be the same'],
        ),
        (
            definition(conversion={"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
            [
                "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook"
            ],
        ),
        (
            definition(conversion={"strategy": "Webhook"}),
            [
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ],
        ),
    ],
)
def test_definitions(refusals, fields, messages):
    assert refusals(KIND, fields, name=NAME) == messages


FIELDS = {"size": {"type": "integer"}, "crew": {"type": "array", "items": {"type": "string"}}}
FIELDS |= {f"f{number}": {"type": "string"} for number in range(9)}
SPEC = {"type": "object", "properties": FIELDS}
LISTED = {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC, "metadata": {"type": "object"}}}}
ALLOWED = "Enum string fields and strings with formats are allowed."


def selectable(*paths):
    return [{"jsonPath": path} for path in paths]


@pytest.mark.parametrize(
    ("paths", "messages"),
    [
        ([".spec.size", ".spec.f1"], []),
        ([""], ["spec.selectableFields[0].jsonPath: Required value"]),
        (
            [".spec.none"],
            [
                'spec.selectableFields[0].jsonPath: Invalid value: ".spec.none": is an invalid path: does not refer to a valid field'
            ],
        ),
        (
            [".spec['size']"],
            [
                "spec.selectableFields[0].jsonPath: Invalid value: \".spec['size']\": is an invalid path: array notation is not allowed"
            ],
        ),
        (
            [".spec.crew"],
            [
                'spec.selectableFields[0].jsonPath: Invalid value: ".spec.crew": must point to a field of type string, boolean or integer. '
                + ALLOWED
            ],
        ),
        (
            [".metadata"],
            [
                'spec.selectableFields[0].jsonPath: Invalid value: ".metadata": must not point to fields in metadata',
                'spec.selectableFields[0].jsonPath: Invalid value: ".metadata": must point to a field of type string, boolean or integer. '
                + ALLOWED,
            ],
        ),
        (
            [".spec.size", ".spec.size"],
            ['spec.selectableFields[1].jsonPath: Duplicate value: ".spec.size"'],
        ),
        (
            [f".spec.f{number}" for number in range(9)],
            ["spec.selectableFields: Too many: 9: must have at most 8 items"],
        ),
    ],
)
def test_fields_that_may_be_selected(refusals, paths, messages):
    fields = definition({**V1, "schema": LISTED, "selectableFields": selectable(*paths)})
    assert refusals(KIND, fields, name=NAME) == messages


def test_fields_that_one_version_alone_selects(refusals):
    version = {**OLD, "schema": LISTED, "selectableFields": selectable(".spec.crew")}
    (found,) = refusals(KIND, definition({**V1, "schema": LISTED}, version), name=NAME)
    assert found.startswith("spec.versions[1].selectableFields[0].jsonPath: Invalid value")


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
