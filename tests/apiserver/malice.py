"""Requests that nobody in their right mind sends, drawn from a random source: the same seed makes the same ones."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from served import JSON_PATCH, MERGE_PATCH, PROTOBUF, STRATEGIC

APPLY = "application/apply-patch+yaml"
JSON = "application/json"
LEAVES = [
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, -(2**63), 1e300, 0.1, "", "a", "x" * 300, "1", "80%", "1Gi", "-1Gi", "null", "\0", "é",
    "10.0.0.1", "2026-01-01T00:00:00Z", "9999-99-99T99:99:99Z", "a/b", "..", "$(x)", "\ud7ff", "default", "web", {}, [], [{}], [None], {"": ""},
]  # fmt: skip
KEYS = [
    "",
    "a",
    "name",
    "metadata",
    "spec",
    "status",
    "kind",
    "apiVersion",
    "labels",
    "items",
    "$patch",
    "f:x",
    "k:{}",
    "é",
    "x" * 70,
]


@dataclass
class Sent:
    """One request; `repr` of it is what a failing test prints."""

    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Dice:
    """Draws of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def often(self, chance: float) -> bool:
        return self.random.random() < chance

    def one(self, values: Any) -> Any:
        return self.random.choice(values)

    def some(self, values: Any, most: int) -> list[Any]:
        return [self.one(values) for _ in range(self.random.randint(0, most))]

    def value(self, depth: int = 3) -> Any:
        if depth and self.often(0.15):
            return {self.one(KEYS): self.value(depth - 1) for _ in range(self.random.randint(0, 3))}
        if depth and self.often(0.15):
            return [self.value(depth - 1) for _ in range(self.random.randint(0, 3))]
        return self.one(LEAVES)

    def text(self, alphabet: str, most: int) -> str:
        return "".join(self.some(alphabet, most))

    def mutated(self, value: Any, chance: float = 0.08) -> Any:
        """Mostly as it was: some places are others, missing, twice or elsewhere."""
        if self.often(chance):
            return self.value()
        if isinstance(value, dict):
            changed = {
                key: self.mutated(inner, chance) for key, inner in value.items() if not self.often(chance / 3)
            }
            if self.often(chance):
                changed[self.one(KEYS)] = self.value()
            return changed
        if isinstance(value, list):
            made = [self.mutated(inner, chance) for inner in value]
            return made * 2 if self.often(chance) else made
        return value

    def garbled(self, data: bytes, most: int = 4) -> bytes:
        """Bytes with some others, some missing and some twice."""
        found = bytearray(data)
        for _ in range(self.random.randint(1, most)):
            at = self.random.randrange(len(found)) if found else 0
            how = self.one("xyzcd")
            if how == "c":
                del found[at : at + self.random.randint(1, 8)]
            elif how == "d":
                found[at:at] = found[at : at + self.random.randint(1, 40)]
            elif found:
                found[at] = self.one([0, 1, 0x7F, 0x80, 0xFF, self.random.randrange(256)])
        return bytes(found)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def pointer(dice: Dice, value: Any) -> Any:
    path = list(dice.one(places(value)))
    if dice.often(0.3):
        path.append(
            dice.one(["-", "0", "-1", "99999999999999999999", "a", "", "~", "~1", "01", "managedFields"])
        )
    text = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return text if dice.often(0.95) else dice.value()


def json_patch(dice: Dice, obj: Any) -> Any:
    operations = []
    for _ in range(dice.random.randint(1, 30 if dice.often(0.1) else 4)):
        operation = {
            "op": dice.one(["add", "remove", "replace", "move", "copy", "copy", "test"]),
            "path": pointer(dice, obj), "from": pointer(dice, obj), "value": dice.value(),
        }  # fmt: skip
        operations.append({key: value for key, value in operation.items() if not dice.often(0.05)})
    return operations if dice.often(0.97) else dice.value()


DIRECTIVES = ["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "$setElementOrder/x", "$deleteFromPrimitiveList/containers", "$setElementOrder/ports"]  # fmt: skip


def strategic(dice: Dice, obj: Any) -> Any:
    """A part of an object, with directives anywhere."""
    if isinstance(obj, dict):
        made = {key: strategic(dice, inner) for key, inner in obj.items() if dice.often(0.6)}
        if dice.often(0.2):
            made[dice.one(DIRECTIVES)] = dice.one(
                [
                    "delete",
                    "replace",
                    "merge",
                    "x",
                    None,
                    [],
                    ["a"],
                    [{"name": "c"}],
                    [{}],
                    [None],
                    dice.value(),
                ]
            )
        return made if dice.often(0.95) else dice.value()
    if isinstance(obj, list):
        return [strategic(dice, inner) for inner in obj if dice.often(0.8)] + (
            [dice.value()] if dice.often(0.1) else []
        )
    return obj if dice.often(0.8) else dice.value()


def fields_v1(dice: Dice, obj: Any) -> Any:
    """Something like the record of who owns what of an object."""
    made: dict[str, Any] = {}
    if isinstance(obj, dict):
        for key, inner in obj.items():
            if dice.often(0.5):
                made[f"f:{key}"] = fields_v1(dice, inner)
    elif isinstance(obj, list):
        for inner in obj:
            prefix = dice.one(["k:", "v:", "i:", "f:", "x:", ""])
            made[
                prefix
                + dice.one(
                    [orjson.dumps(inner).decode(), "0", "{", '{"name":1}', '{"name":"c"}', "99999999999"]
                )
            ] = fields_v1(dice, inner)
    if dice.often(0.1):
        made[dice.one([".", "", "f:", "k:{}", "v:", "i:-1", "é", "f:a"])] = dice.one(
            [{}, None, 1, [], {".": {}}]
        )
    return made if dice.often(0.97) else dice.value()


def managed(dice: Dice, obj: Any) -> Any:
    entry = {
        "manager": dice.one(["a", "m", "", "x" * 129, "kubectl", None]),
        "operation": dice.one(["Apply", "Update", "Update", "Delete", "", None]),
        "apiVersion": dice.one(["apps/v1", "v1", "apps/v1beta9", "x/y/z", "", None]),
        "fieldsType": dice.one(["FieldsV1", "FieldsV1", "FieldsV2", "", None]),
        "fieldsV1": fields_v1(dice, obj),
        "time": dice.one(["2026-01-01T00:00:00Z", None, "", "x", 1]),
        "subresource": dice.one(["", "status", "scale", "x"]),
    }  # fmt: skip
    return [dice.mutated(entry, 0.03) for _ in range(dice.random.randint(0, 3))]


def patch(dice: Dice, target: str, obj: Any) -> Sent:
    kind = dice.one([JSON_PATCH, STRATEGIC, MERGE_PATCH, APPLY])
    if kind == JSON_PATCH:
        body: Any = json_patch(dice, obj)
    elif kind == STRATEGIC:
        body = strategic(dice, obj)
    else:
        body = dice.mutated(obj, dice.one([0.005, 0.02, 0.05]))
    if dice.often(0.2) and isinstance(body, dict) and isinstance(body.get("metadata"), dict):
        body["metadata"]["managedFields"] = managed(dice, obj)
    query = {
        "fieldManager": dice.one(["m", "m", "", "a", "x" * 200, "\0"]), "force": dice.one(["true", "false", "", "x"]),
        "fieldValidation": dice.one(["Strict", "Warn", "Ignore", "", "x"]), "dryRun": dice.one(["", "", "All", "x"]),
    }  # fmt: skip
    chosen = {
        key: value
        for key, value in query.items()
        if value and dice.often(0.5 if key != "fieldManager" else 0.9)
    }
    return Sent("PATCH", f"{target}?{urlencode(chosen)}", orjson.dumps(body), {"content_type": kind})


# Lists


def selector(dice: Dice, fields: list[str]) -> str:
    if dice.often(0.2):
        return dice.text("ab=!,()<>in notx./-_ é\\\"'", 30)
    parts = []
    for _ in range(dice.random.randint(0, 4)):
        key, value = (
            dice.one([*fields, "a", "x/y", "-", "a" * 70]),
            dice.one(["", "a", "b c", "1", "\\,", "a" * 70, "é"]),
        )
        parts.append(
            dice.one(
                [
                    f"{key}={value}",
                    f"{key}=={value}",
                    f"{key}!={value}",
                    f"{key} in ({value},{value})",
                    f"{key} notin ()",
                    key,
                    f"!{key}",
                    f"{key}>{value}",
                    f"{key}<1",
                ]
            )
        )
    return ",".join(parts)


FIELDS = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "status.phase",
    "type",
    "involvedObject.kind",
    "spec.replicas",
    "spec",
]
TABLES = [
    "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    f"{PROTOBUF};as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/yaml;as=Table;v=v1;g=meta.k8s.io",
]  # fmt: skip
MEDIA = [JSON, "application/yaml", PROTOBUF, "application/cbor", "text/html", "*/*", "application/*", "", ";", ",", "a/b;q=0", "application/json;q=x", "application/json;stream=watch", f"{PROTOBUF};stream=watch", "application/json;as=;v=;g=", "é/é", "/" * 50, *TABLES]  # fmt: skip


def header(dice: Dice) -> str:
    text = ",".join(dice.some(MEDIA, 3)) if dice.often(0.7) else dice.one(MEDIA)
    return (
        dice.garbled(text.encode()).decode("latin-1").replace("\n", "").replace("\r", "")
        if dice.often(0.1)
        else text
    )


def token(dice: Dice, real: str) -> str:
    if dice.often(0.4):
        raw = {
            "v": dice.one(["meta.k8s.io/v1", "x", None]),
            "rv": dice.one([-1, 0, 1, 5, 10**9, "1", None]),
            "start": dice.one(["", "a", "../x", "\0", "default/a", None, "/"]),
        }
        return (
            base64.urlsafe_b64encode(orjson.dumps(dice.mutated(raw)))
            .decode()
            .rstrip("=" if dice.often(0.9) else "")
        )
    return dice.garbled(real.encode()).decode("latin-1")


def listing(dice: Dice, target: str, real_token: str) -> Sent:
    options = {
        "labelSelector": selector(dice, ["a"]), "fieldSelector": selector(dice, FIELDS),
        "limit": dice.one(["0", "1", "2", "-1", "x", str(2**63), ""]), "continue": token(dice, real_token),
        "resourceVersion": dice.one(["", "0", "1", "5", str(2**64), "-1", "x"]), "resourceVersionMatch": dice.one(["", "Exact", "NotOlderThan", "x"]),
        "timeoutSeconds": dice.one(["0", "1", "-1", "x", str(2**40)]), "watch": dice.one(["1", "true", "false", "0", "x", ""]),
        "allowWatchBookmarks": dice.one(["1", "x", ""]), "sendInitialEvents": dice.one(["true", "false", "x", ""]),
        "pretty": dice.one(["true", "x"]), "includeObject": dice.one(["Object", "None", "Metadata", "x"]), "shardSelector": dice.text("shard()=ox0f,'objectmeta.uid", 30),
    }  # fmt: skip
    chosen = [(key, value) for key, value in options.items() if dice.often(0.2)]
    method = dice.one(["GET", "GET", "GET", "GET", "DELETE"])
    return Sent(
        method, f"{target}?{urlencode(chosen + chosen[:1], quote_via=quote)}", b"", {"accept": header(dice)}
    )


# Definitions and expressions

TYPES = ["object", "array", "string", "integer", "number", "boolean", "", "null", "x"]
RULES = [
    "self", "oldSelf", "self.a", "self.b", "self.items", "size(self)", "has(self.a)", "self == oldSelf", "1", "0u", "1.5", "'a'", "b'a'", "null", "[1, 2]", "{'a': 1}", "true",
    "quantity('1Gi')", "duration('1h')", "timestamp('2026-01-01T00:00:00Z')", "ip('10.0.0.1')", "url('http://x')", "self.a.matches('(a+)+$')", "optional.none()", "x", "type(self)", "dyn(self)",
]  # fmt: skip
SHAPES = ["{0} == {1}", "{0} + {1}", "{0} / {1}", "{0} % {1}", "{0} && {1}", "{0} ? {1} : {0}", "{0}[{1}]", "{0} in {1}", "-{0}", "!{0}", "{0}.all(x, {1})", "{0}.map(x, {1})", "{0}.exists_one(x, {1})", "string({0})", "int({0})", "size({0}) > size({1})", "{0}.sum()", "{0}.find({1})", "{0}.split({1})", "cel.bind(x, {0}, {1})", "{0}.format([{1}])", "{0}.orValue({1})", "{0}?.a", "({0}", "{0}.{1}", "{0}.isSorted()", "{0}.lowerAscii()"]  # fmt: skip


def expression(dice: Dice, depth: int = 3) -> str:
    if depth == 0 or dice.often(0.3):
        return str(dice.one(RULES))
    return str(dice.one(SHAPES)).format(expression(dice, depth - 1), expression(dice, depth - 1))


def schema(dice: Dice, depth: int = 3) -> Any:
    made: dict[str, Any] = {"type": dice.one(TYPES[:6] if dice.often(0.95) else TYPES)}
    kind = made["type"]
    if kind == "object" and depth:
        if dice.often(0.7):
            made["properties"] = {
                name: schema(dice, depth - 1)
                for name in dice.some(["a", "b", "items", "é", "metadata", "x-y"], 3)
            }
        elif dice.often(0.7):
            made["additionalProperties"] = dice.one([True, False, schema(dice, depth - 1)])
    if kind == "array":
        made["items"] = schema(dice, max(depth - 1, 0))
    extras = {
        "default": dice.value(), "enum": [dice.value() for _ in range(2)], "pattern": dice.one(["^a+$", "(", "(a+)+$", "[", r"\p{L}", "(?=a)", "a{1000}{1000}"]), "format": dice.one(["date", "int32", "uuid", "x", "byte"]),
        "minimum": dice.value(), "maxItems": dice.one([0, 5, -1, 2**40]), "maxLength": dice.one([0, 5, -1]), "required": dice.some(["a", "b", "z"], 2), "nullable": dice.one([True, False]),
        "x-kubernetes-preserve-unknown-fields": dice.one([True, False]), "x-kubernetes-int-or-string": dice.one([True, False]), "x-kubernetes-embedded-resource": True,
        "x-kubernetes-list-type": dice.one(["map", "set", "atomic", "x"]), "x-kubernetes-list-map-keys": dice.some(["a", "b"], 2), "x-kubernetes-map-type": dice.one(["atomic", "granular", "x"]),
        "x-kubernetes-validations": [{"rule": expression(dice), **({"messageExpression": expression(dice)} if dice.often(0.3) else {}), **({"fieldPath": dice.one([".a", ".", "a", ".b.c", "['x']"])} if dice.often(0.2) else {}), **({"optionalOldSelf": True} if dice.often(0.2) else {})} for _ in range(2)],
        "allOf": [dice.value()], "anyOf": [{"required": ["a"]}, {"minLength": 1}], "not": {"type": "string"}, "oneOf": [], "multipleOf": dice.one([0, 0.1, -1, 2]), "uniqueItems": True, "$ref": "#/x", "title": dice.value(),
    }  # fmt: skip
    for key, value in extras.items():
        if dice.often(0.07):
            made[key] = value
    return made if dice.often(0.99) else dice.value()


def instance(dice: Dice, of: Any) -> Any:
    """Something that may fit a schema."""
    if not isinstance(of, dict) or dice.often(0.1):
        return dice.value()
    kind = of.get("type")
    if kind == "object":
        properties = of.get("properties")
        return (
            {name: instance(dice, inner) for name, inner in properties.items()}
            if isinstance(properties, dict)
            else {"k": dice.value()}
        )
    if kind == "array":
        return [instance(dice, of.get("items")) for _ in range(dice.random.randint(0, 3))]
    return (
        {"string": "aaab", "integer": 3, "number": 1.5, "boolean": True}.get(kind)
        if isinstance(kind, str)
        else None
    )
