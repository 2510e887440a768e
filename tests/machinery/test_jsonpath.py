"""JSONPath in Kubernetes' dialect."""

from typing import Any

import pytest

from tiphys.machinery.jsonpath import JSONPathError, parse_json_path

DOCUMENT: dict[str, Any] = {
    "metadata": {"name": "x", "labels": {"app.io/name": "web"}, "none": None},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True", "count": 3, "ok": True},
            {"type": "Odd)", "status": "False", "count": 5, "ok": False},
        ]
    },
    "list": [1, 2, 3, 4],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".metadata.name", ["x"]),
        ("{.metadata.name}", ["x"]),
        ("$.metadata.name", ["x"]),
        (".metadata['name']", ["x"]),
        (".metadata.none", [None]),
        (".metadata.labels.app\\.io/name", ["web"]),
        (".metadata.labels['app\\.io/name']", ["web"]),
        (".metadata.labels.*", ["web"]),
        (".list[0]", [1]),
        (".list[-1]", [4]),
        (".list[4]", []),
        (".list[-5]", []),
        (".list[1:3]", [2, 3]),
        (".list[:2]", [1, 2]),
        (".list[::2]", [1, 3]),
        (".list[-2:]", [3, 4]),
        (".list[*]", [1, 2, 3, 4]),
        (".list[0,2]", [1, 3]),
        (".status.conditions[0]['type', 'status']", ["Ready", "True"]),
        (".status.conditions[*].type", ["Ready", "Odd)"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Ready')].status", ["True"]),
        ('.status.conditions[?(@.type == "Odd)")].status', ["False"]),
        ('.status.conditions[?(@.type!="Ready")].status', ["False"]),
        (".status.conditions[?(@.count>3)].type", ["Odd)"]),
        (".status.conditions[?(@.count>=3.0)].count", [3, 5]),
        (".status.conditions[?(@.count<4)].count", [3]),
        (".status.conditions[?(@.ok==true)].count", [3]),
        (".status.conditions[?(@.count==true)].count", []),
        (".status.conditions[?(@.count=='3')].count", []),
        (".status.conditions[?(@.ok)].count", [3, 5]),
        (".status.conditions[?(@.missing)].count", []),
        ("..type", ["Ready", "Odd)"]),
        (".missing.deeper", []),
        (".metadata.name.deeper", []),
        (".metadata[0]", []),
        (".list.name", []),
    ],
)
def test_finding(path: str, found: list[Any]) -> None:
    assert parse_json_path(path).find(DOCUMENT) == found


def test_the_first_value() -> None:
    assert parse_json_path(".list[*]").first(DOCUMENT) == 1
    assert parse_json_path(".missing").first(DOCUMENT) is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("metadata.name", "unrecognized identifier metadata"),
        (".a[", "unterminated array"),
        (".a[x]", "invalid array index x"),
        (".a[]", "invalid array index "),
        (".a[-]", "invalid array index -"),
        (".a[0:2:0]", "invalid array index 0:2:0"),
        (".a[?(@.b", "unterminated filter"),
        (".a[?(@.b=='c)]", "unterminated filter"),
        (".a[?(@.b==1)x", "unclosed array expect ]"),
        (".a[?(@.b=1)]", "unrecognized filter operator ="),
        ("....a", "invalid multiple recursive descent"),
        ("%", "unrecognized character in action: U+0025 '%'"),
    ],
)
def test_what_is_no_path(path: str, message: str) -> None:
    with pytest.raises(JSONPathError) as caught:
        parse_json_path(path)
    assert str(caught.value) == message
