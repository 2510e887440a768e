"""Runtime classes."""

KIND = "node.k8s.io/v1 RuntimeClass"


def test_runtime_classes(refusals):
    assert refusals(KIND, {"handler": "runc", "overhead": {"podFixed": {"cpu": "10m"}}}) == []
    assert [text.split(":")[0] for text in refusals(KIND, {"handler": "Run C"})] == ["handler"]
    assert refusals(KIND, {"handler": "kata"}, old={"handler": "runc"}) == [
        'handler: Invalid value: "kata": field is immutable'
    ]
    scheduling = {"nodeSelector": {"a b": "c"}}
    found = refusals(KIND, {"handler": "runc", "scheduling": scheduling})
    assert [text.split(":")[0] for text in found] == ["scheduling.nodeSelector"]
