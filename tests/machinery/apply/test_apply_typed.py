"""What an object sets, and what differs: by the tables of upstream's merge library."""

from typing import Any

import pytest
import yaml
from apply_stage import custom, custom_shape

from tiphys.api.types import TYPES
from tiphys.machinery.apply import shape_of
from tiphys.machinery.apply.fieldset import FieldSet
from tiphys.machinery.apply.reconcile import reconcile
from tiphys.machinery.apply.typed import compare, fields_of

GRAB_BAG = custom("""
numeric: {type: number}
string: {type: string}
bool: {type: boolean}
setStr: {type: array, x-kubernetes-list-type: set, items: {type: string}}
setBool: {type: array, x-kubernetes-list-type: set, items: {type: boolean}}
setNumeric: {type: array, x-kubernetes-list-type: set, items: {type: number}}
color: {type: object, x-kubernetes-map-type: atomic, properties: {R: {type: integer}}}
waves: {type: object, x-kubernetes-map-type: atomic, additionalProperties: {type: integer}}
args: {type: array, items: {type: object, properties: {key: {type: string}}}}
list:
  type: array
  x-kubernetes-list-type: map
  x-kubernetes-list-map-keys: [key, id]
  items:
    type: object
    properties:
      key: {type: string}
      id: {type: integer}
      value: {type: object, additionalProperties: {type: string}}
labels: {type: object, additionalProperties: {type: string}}
maps: {type: object, additionalProperties: {type: object, additionalProperties: {type: string}}}
struct: {type: object, properties: {name: {type: string}, value: {type: integer}}}
any: {x-kubernetes-preserve-unknown-fields: true}
""").shape
A1 = 'k:{"id":1,"key":"a"}'
A2 = 'k:{"id":2,"key":"a"}'


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ("{numeric: 1}", {"f:numeric": {}}),
        ("{numeric: 3.14}", {"f:numeric": {}}),
        ("{bool: false}", {"f:bool": {}}),
        ("{string: null}", {"f:string": {}}),
        ("{setStr: [b, a]}", {"f:setStr": {'v:"a"': {}, 'v:"b"': {}}}),
        ("{setBool: [true, false]}", {"f:setBool": {"v:false": {}, "v:true": {}}}),
        ("{setNumeric: [10, 9, 3.5]}", {"f:setNumeric": {"v:3.5": {}, "v:9": {}, "v:10": {}}}),
        ("{setStr: []}", {}),
        ("{setStr: null}", {"f:setStr": {}}),
        ("{color: {}}", {"f:color": {}}),
        ("{color: null}", {"f:color": {}}),
        ("{color: {R: 1}}", {"f:color": {}}),
        ("{waves: {IR: 1}}", {"f:waves": {}}),
        ("{args: []}", {"f:args": {}}),
        ("{args: [{key: a}, {key: a}]}", {"f:args": {}}),
        ("{list: []}", {}),
        (
            "{list: [{key: a, id: 1, value: {x: y}}]}",
            {"f:list": {A1: {".": {}, "f:id": {}, "f:key": {}, "f:value": {"f:x": {}}}}},
        ),
        (
            "{list: [{key: a, id: 2}, {key: a, id: 1}]}",
            {"f:list": {A1: {".": {}, "f:id": {}, "f:key": {}}, A2: {".": {}, "f:id": {}, "f:key": {}}}},
        ),
        ("{list: [{key: a, id: 1, value: {x: y}}, {key: a, id: 1}]}", {"f:list": {A1: {}}}),
        ("{labels: {}}", {"f:labels": {}}),
        ("{labels: {b: x, a: y}}", {"f:labels": {"f:a": {}, "f:b": {}}}),
        ("{labels: {b: null}}", {"f:labels": {"f:b": {}}}),
        ("{maps: {a: {b: c}, d: {}}}", {"f:maps": {"f:a": {".": {}, "f:b": {}}, "f:d": {}}}),
        ("{struct: {}}", {"f:struct": {}}),
        ("{struct: null}", {"f:struct": {}}),
        ("{struct: {name: a}}", {"f:struct": {"f:name": {}}}),
        ("{any: {a: {b: [1]}}}", {"f:any": {"f:a": {".": {}, "f:b": {}}}}),
        ("{any: [{a: 1}]}", {"f:any": {}}),
        ("{any: 1}", {"f:any": {}}),
    ],
)
def test_what_is_applied(value: str, fields: FieldSet) -> None:
    found = fields_of(GRAB_BAG, yaml.safe_load(value))
    assert found == fields
    assert _order(found) == _order(fields)


def _order(fields: FieldSet) -> list[Any]:
    return [(name, _order(branch)) for name, branch in fields.items()]


@pytest.mark.parametrize(
    ("old", "new", "changed", "removed"),
    [
        ("{numeric: 1}", "{numeric: 1}", {}, {}),
        ("{numeric: 1}", "{numeric: 2}", {"f:numeric": {}}, {}),
        ("{}", "{numeric: 1}", {"f:numeric": {}}, {}),
        ("{numeric: 1}", "{}", {}, {"f:numeric": {}}),
        # What comes into being counts together with what is in it.
        ("{}", "{labels: {a: b}}", {"f:labels": {".": {}, "f:a": {}}}, {}),
        ("{labels: {a: b}}", "{}", {}, {"f:labels": {".": {}, "f:a": {}}}),
        ("{labels: {a: b}}", "{labels: {a: b, c: d}}", {"f:labels": {"f:c": {}}}, {}),
        ("{labels: {}}", "{labels: {a: b}}", {"f:labels": {"f:a": {}}}, {}),
        ("{labels: null}", "{labels: {a: b}}", {"f:labels": {"f:a": {}}}, {}),
        ("{labels: {a: b}}", "{labels: {}}", {}, {"f:labels": {"f:a": {}}}),
        ("{labels: {a: b}}", "{labels: null}", {}, {"f:labels": {"f:a": {}}}),
        ("{labels: null}", "{labels: {}}", {"f:labels": {}}, {}),
        (
            "{struct: {name: a, value: 1}}",
            "{struct: {name: b}}",
            {"f:struct": {"f:name": {}}},
            {"f:struct": {"f:value": {}}},
        ),
        ("{color: {R: 1}}", "{color: {R: 2}}", {"f:color": {}}, {}),
        ("{args: [{key: a}]}", "{args: []}", {"f:args": {}}, {}),
        ("{setStr: [a, b]}", "{setStr: [b, c]}", {"f:setStr": {'v:"c"': {}}}, {"f:setStr": {'v:"a"': {}}}),
        ("{}", "{setStr: [a]}", {"f:setStr": {".": {}, 'v:"a"': {}}}, {}),
        ("{setStr: [a, b]}", "{setStr: [b, a]}", {}, {}),
        (
            "{list: [{key: a, id: 1}]}",
            "{list: [{key: a, id: 1, value: {x: y}}, {key: a, id: 2}]}",
            {"f:list": {A1: {"f:value": {".": {}, "f:x": {}}}, A2: {".": {}, "f:id": {}, "f:key": {}}}},
            {},
        ),
        # Elements that cannot be told from each other count as one.
        ("{setStr: [a]}", "{setStr: [a, a]}", {"f:setStr": {'v:"a"': {}}}, {"f:setStr": {'v:"a"': {}}}),
        ("{setStr: [a, a]}", "{setStr: [a]}", {"f:setStr": {'v:"a"': {}}}, {"f:setStr": {'v:"a"': {}}}),
        ("{setStr: [a, a]}", "{setStr: [a, a]}", {}, {}),
        (
            "{list: [{key: a, id: 1}, {key: a, id: 1, value: {x: y}}]}",
            "{list: [{key: a, id: 1}, {key: a, id: 1, value: {x: z}}]}",
            {"f:list": {A1: {}}},
            {},
        ),
        (
            "{list: [{key: a, id: 1}]}",
            "{list: [{key: a, id: 1}, {key: a, id: 1}]}",
            {"f:list": {A1: {}}},
            {"f:list": {A1: {".": {}, "f:id": {}, "f:key": {}}}},
        ),
        # Without a schema, a value may change its kind.
        ("{any: 1}", "{any: {a: 1}}", {"f:any": {".": {}, "f:a": {}}}, {}),
        ("{any: {a: 1}}", "{any: 1}", {"f:any": {}}, {"f:any": {"f:a": {}}}),
        ("{any: {a: 1}}", "{any: [1]}", {"f:any": {}}, {"f:any": {"f:a": {}}}),
        ("{any: [1]}", "{any: [2]}", {"f:any": {}}, {}),
    ],
)
def test_differences(old: str, new: str, changed: FieldSet, removed: FieldSet) -> None:
    assert compare(GRAB_BAG, yaml.safe_load(old), yaml.safe_load(new)) == (changed, removed)


def test_objects_that_go_holds_by_value_do_not_come_into_being() -> None:
    """A Deployment has a spec, a template and a list of containers from the start; pointers and maps it has not."""
    deployment = shape_of(TYPES.struct("apps/v1.Deployment"))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    new = {"spec": {"template": template, "strategy": {"rollingUpdate": {"maxSurge": 1}}}}
    assert compare(deployment, {}, new).changed == {
        "f:spec": {
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:image": {}, "f:name": {}}}},
            },
        }
    }


def test_built_in_list_types() -> None:
    pod = shape_of(TYPES.struct("core/v1.Pod"))
    spec = {
        "containers": [
            {"name": "c", "ports": [{"containerPort": 80}], "command": ["a"], "securityContext": {}}
        ],
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a"}],
        "topologySpreadConstraints": [{"topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
        "imagePullSecrets": [{}],
    }
    metadata = {
        "finalizers": ["b", "a"],
        "ownerReferences": [{"uid": "u", "name": "o", "kind": "K", "apiVersion": "v1"}],
    }
    assert fields_of(pod, {"metadata": metadata, "spec": spec}) == {
        "f:metadata": {
            "f:finalizers": {'v:"a"': {}, 'v:"b"': {}},
            "f:ownerReferences": {'k:{"uid":"u"}': {}},
        },
        "f:spec": {
            "f:containers": {
                'k:{"name":"c"}': {
                    ".": {},
                    "f:command": {},
                    "f:name": {},
                    "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    "f:securityContext": {},
                }
            },
            "f:imagePullSecrets": {'k:{"name":""}': {}},
            "f:nodeSelector": {},
            "f:tolerations": {},
            "f:topologySpreadConstraints": {
                'k:{"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule"}': {
                    ".": {},
                    "f:topologyKey": {},
                    "f:whenUnsatisfiable": {},
                }
            },
        },
    }


def test_types_that_refer_to_themselves() -> None:
    crd = shape_of(TYPES.struct("apiextensions/v1.CustomResourceDefinition"))
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(20):
        deep = {"type": "object", "properties": {"a": deep}}
    version = {"name": "v1", "schema": {"openAPIV3Schema": deep}}
    assert fields_of(crd, {"spec": {"versions": [version]}}) == {"f:spec": {"f:versions": {}}}


class TestReconcile:
    GRANULAR = {
        "type": "object",
        "properties": {
            "s": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
        },
    }
    ATOMIC = {
        "type": "object",
        "properties": {
            "s": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "properties": {"a": {"type": "string"}},
            }
        },
    }
    VALUE = {"s": {"a": "1", "b": "2"}}

    def test_to_atomic(self) -> None:
        shape = custom_shape(self.ATOMIC)
        assert reconcile(shape, {"f:s": {"f:a": {}}}, self.VALUE, expand=True) == {"f:s": {}}

    def test_to_granular(self) -> None:
        shape = custom_shape(self.GRANULAR)
        whole = {"f:s": {".": {}, "f:a": {}, "f:b": {}}}
        assert reconcile(shape, {"f:s": {}}, self.VALUE, expand=True) == whole
        assert reconcile(shape, {"f:s": {}}, self.VALUE, expand=False) == {"f:s": {}}

    def test_what_fits_is_not_copied(self) -> None:
        fields = {"f:s": {"f:a": {}}}
        assert reconcile(custom_shape(self.GRANULAR), fields, self.VALUE, expand=True) is fields
