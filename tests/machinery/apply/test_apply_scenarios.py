"""Who owns what after a row of writes. The rows follow upstream's (merge/*_test.go of its merge library, KEP-555)."""

import json
from typing import Any

import pytest
from apply_stage import Stage, built_in, canonical, custom

from tiphys.machinery.apply import RESET_SPEC, RESET_STATUS, Target, differs_only_in_times
from tiphys.machinery.apply.fieldset import FieldSet
from tiphys.machinery.apply.shapes import Shape
from tiphys.machinery.errors import StatusError

DEPLOYMENT = built_in("apps/v1.Deployment", "apps/v1", ignored=RESET_STATUS)
POD = built_in("core/v1.Pod", "v1", ignored=RESET_STATUS)
POD_STATUS = built_in("core/v1.Pod", "v1", ignored=RESET_SPEC, subresource="status")
CONFIG_MAP = built_in("core/v1.ConfigMap", "v1")
SERVICE = built_in("core/v1.Service", "v1", ignored=RESET_STATUS)
NESTED = custom("""
listOfLists: &keyed
  type: array
  x-kubernetes-list-type: map
  x-kubernetes-list-map-keys: [name]
  items:
    type: object
    properties:
      name: {type: string}
      value: {type: array, x-kubernetes-list-type: set, items: {type: string}}
set: {type: array, x-kubernetes-list-type: set, items: {type: string}}
mapOfMaps: {type: object, additionalProperties: {type: object, additionalProperties: {type: string}}}
struct: {type: object, properties: {name: {type: string}, value: {type: integer}}}
""")


def item(name: str, **below: FieldSet) -> FieldSet:
    return {
        f'k:{{"name":"{name}"}}': {
            ".": {},
            "f:name": {},
            **{f"f:{key}": fields for key, fields in below.items()},
        }
    }


def value(*names: str) -> FieldSet:
    return {f'v:"{name}"': {} for name in names}


def conflicting(stage: Stage, manager: str, body: str) -> list[str]:
    with pytest.raises(StatusError) as raised:
        stage.apply(manager, body)
    return [cause["field"] for cause in raised.value.causes]


class TestTwoAppliers:
    def test_each_owns_what_it_says(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1', b: '2'}")
        stage.apply("two", "{data: {c: '3'}, metadata: {labels: {x: y}}}")
        assert stage.content == {"data": {"a": "1", "b": "2", "c": "3"}}
        assert stage.owners == {
            "one": {"f:data": {"f:a": {}, "f:b": {}}},
            "two": {"f:data": {"f:c": {}}, "f:metadata": {"f:labels": {"f:x": {}}}},
        }

    def test_entries_have_upstream_form(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "{data: {b: '1', a: '1'}, metadata: {labels: {x: y}}}")
        assert json.dumps(stage.entries) == json.dumps(
            [
                {
                    "manager": "one",
                    "operation": "Apply",
                    "apiVersion": "v1",
                    "time": "2026-11-22T12:00:01Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:data": {"f:a": {}, "f:b": {}},
                        "f:metadata": {"f:labels": {"f:x": {}}},
                    },
                }
            ]
        )

    def test_the_same_value_is_shared(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1'}")
        stage.apply("two", "data: {a: '1'}")
        assert stage.owners == {"one": {"f:data": {"f:a": {}}}, "two": {"f:data": {"f:a": {}}}}

    def test_another_value_is_a_conflict(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1', b: '1'}")
        assert conflicting(stage, "two", "data: {a: '2', b: '1', c: '2'}") == [".data.a"]

    def test_force_takes_over(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1', b: '1'}")
        stage.apply("two", "data: {a: '2'}", force=True)
        assert stage.content == {"data": {"a": "2", "b": "1"}}
        assert stage.owners == {"one": {"f:data": {"f:b": {}}}, "two": {"f:data": {"f:a": {}}}}

    def test_who_loses_everything_is_forgotten(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1'}")
        stage.apply("two", "data: {a: '2'}", force=True)
        assert stage.owners == {"two": {"f:data": {"f:a": {}}}}

    def test_one_owner_of_two_gives_up(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1', b: '1'}")
        stage.apply("two", "data: {a: '1'}")
        stage.apply("one", "data: {b: '1'}")
        assert stage.content == {"data": {"a": "1", "b": "1"}}
        assert stage.owners == {"one": {"f:data": {"f:b": {}}}, "two": {"f:data": {"f:a": {}}}}

    def test_the_last_owner_gives_up(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1', b: '1'}")
        stage.apply("two", "data: {a: '1'}")
        stage.apply("one", "data: {b: '1'}")
        stage.apply("two", "")
        assert stage.content == {"data": {"b": "1"}}
        assert stage.owners == {"one": {"f:data": {"f:b": {}}}}

    def test_a_name_without_anything_owns_nothing(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "")
        assert stage.entries == []
        assert "managedFields" not in stage.object["metadata"]

    def test_giving_up_everything_keeps_the_object(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "{data: {a: '1'}, metadata: {labels: {x: y}}}")
        stage.apply("one", "")
        assert stage.content == {}
        assert stage.object["metadata"] == {"name": "x", "namespace": "default", "uid": "6b0e"}


class TestKeyedLists:
    def test_elements_are_owned_apart(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "listOfLists: [{name: a}, {name: b}]")
        stage.apply("two", "listOfLists: [{name: c}]")
        stage.apply("one", "listOfLists: [{name: a}]")
        assert stage.content == {"listOfLists": [{"name": "a"}, {"name": "c"}]}
        assert stage.owners == {"one": {"f:listOfLists": item("a")}, "two": {"f:listOfLists": item("c")}}

    def test_a_shared_element_stays(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "listOfLists: [{name: a}, {name: b}, {name: c}]")
        stage.apply("two", "listOfLists: [{name: c}, {name: d}]")
        stage.apply("one", "listOfLists: [{name: a}]")
        assert stage.content == {"listOfLists": [{"name": "a"}, {"name": "c"}, {"name": "d"}]}

    def test_a_shared_element_keeps_what_others_set_in_it(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "listOfLists: [{name: a}, {name: b, value: [c]}]")
        stage.apply("two", "listOfLists: [{name: b, value: [d]}]")
        stage.update("controller", "listOfLists: [{name: a}, {name: b, value: [c, d, e]}]")
        stage.apply("one", "listOfLists: [{name: a}]")
        assert stage.content == {"listOfLists": [{"name": "a"}, {"name": "b", "value": ["d", "e"]}]}
        assert stage.owners == {
            "one": {"f:listOfLists": item("a")},
            "two": {"f:listOfLists": item("b", value=value("d"))},
            "controller": {"f:listOfLists": {'k:{"name":"b"}': {"f:value": value("e")}}},
        }

    def test_an_element_goes_with_what_updaters_set_in_it(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "listOfLists: [{name: a}, {name: b, value: [c]}]")
        stage.apply("two", "listOfLists: [{name: a, value: [b]}]")
        stage.update("controller", "listOfLists: [{name: a, value: [b]}, {name: b, value: [c, d]}]")
        stage.apply("one", "listOfLists: [{name: a}]")
        assert stage.content == {"listOfLists": [{"name": "a", "value": ["b"]}]}
        assert stage.owners == {
            "one": {"f:listOfLists": item("a")},
            "two": {"f:listOfLists": item("a", value=value("b"))},
        }

    def test_another_key_is_another_element(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "listOfLists: [{name: a, value: [b, c]}]")
        stage.apply("one", "listOfLists: [{name: b, value: [a, c]}]")
        assert stage.content == {"listOfLists": [{"name": "b", "value": ["a", "c"]}]}
        assert stage.owners == {"one": {"f:listOfLists": item("b", value=value("a", "c"))}}

    def test_conflict_inside(self) -> None:
        stage = Stage(POD)
        stage.apply("one", "spec: {containers: [{name: a, image: i, env: [{name: E, value: v}]}]}")
        body = "spec: {containers: [{name: a, image: j, env: [{name: E, value: w}, {name: F, value: w}]}]}"
        assert conflicting(stage, "two", body) == [
            '.spec.containers[name="a"].image',
            '.spec.containers[name="a"].env[name="E"].value',
        ]


class TestDefaultedKeys:
    PORT = 'k:{"port":80,"protocol":"TCP"}'

    def test_left_out(self) -> None:
        stage = Stage(SERVICE)
        stage.apply("one", "spec: {ports: [{port: 80}, {port: 80, protocol: UDP}]}")
        assert stage.owners == {
            "one": {
                "f:spec": {
                    "f:ports": {
                        self.PORT: {".": {}, "f:port": {}},
                        'k:{"port":80,"protocol":"UDP"}': {".": {}, "f:port": {}, "f:protocol": {}},
                    }
                }
            }
        }

    def test_said_by_one_and_left_out_by_the_other(self) -> None:
        stage = Stage(SERVICE)
        stage.apply("one", "spec: {ports: [{port: 80, protocol: TCP, name: foo}]}")
        assert conflicting(stage, "two", "spec: {ports: [{port: 80, name: bar}]}") == [
            '.spec.ports[port=80,protocol="TCP"].name'
        ]
        stage.apply("two", "spec: {ports: [{port: 80, targetPort: web}]}")
        assert stage.content == {
            "spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "foo", "targetPort": "web"}]}
        }

    def test_default_fills_in_what_was_left_out(self) -> None:
        """The default comes after applying: the key that was left out is not owned, and is none the less the same."""
        stage = Stage(SERVICE)
        stage.apply("one", "spec: {ports: [{port: 80}]}")
        assert stage.live is not None
        stage.live["spec"]["ports"][0]["protocol"] = "TCP"
        stage.apply("one", "spec: {ports: [{port: 80, name: web}]}")
        assert stage.content == {"spec": {"ports": [{"port": 80, "protocol": "TCP", "name": "web"}]}}
        stage.apply("one", "spec: {}")
        assert stage.content == {"spec": {}}

    def test_nested_with_several_defaults(self) -> None:
        book = custom("""
        book:
          type: array
          x-kubernetes-list-type: map
          x-kubernetes-list-map-keys: [chapter, section]
          items:
            type: object
            properties:
              chapter: {type: integer, default: 1}
              section: {type: string, default: A}
              sentences:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [page, line]
                items:
                  type: object
                  properties:
                    page: {type: number, default: 2.0}
                    line: {type: integer, default: 3}
                    text: {type: string}
        """)
        stage = Stage(book)
        stage.apply("one", "book: [{sentences: [{text: blah}]}]")
        stage.apply("one", "book: [{sentences: [{text: blah, page: 2}]}]")
        assert stage.content == {"book": [{"sentences": [{"text": "blah", "page": 2}]}]}
        line = 'k:{"line":3,"page":2}'
        assert stage.owners == {
            "one": {
                "f:book": {
                    'k:{"chapter":1,"section":"A"}': {
                        ".": {},
                        "f:sentences": {line: {".": {}, "f:page": {}, "f:text": {}}},
                    }
                }
            }
        }


class TestSets:
    def test_removed_across_applies(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "set: [a, b, c, d]")
        stage.apply("one", "set: [a, c, e]")
        assert stage.content == {"set": ["a", "c", "e"]}
        assert stage.owners == {"one": {"f:set": value("a", "c", "e")}}

    def test_an_updater_keeps_its_elements(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "set: [a, c]")
        stage.update("controller", "set: [a, b, c, d]")
        stage.apply("one", "set: [a, aprime, c, cprime]")
        assert stage.content == {"set": ["a", "b", "aprime", "c", "d", "cprime"]}
        assert stage.owners == {
            "one": {"f:set": value("a", "aprime", "c", "cprime")},
            "controller": {"f:set": value("b", "d")},
        }

    def test_order_is_nobodys(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "set: [a, b, c, d]")
        stage.update("controller", "set: [a, d, c, b]")
        assert list(stage.owners) == ["one"]
        stage.apply("one", "set: [a, b, c, d]")
        assert stage.content == {"set": ["a", "b", "c", "d"]}

    def test_duplicates_of_an_updater(self) -> None:
        stage = Stage(NESTED)
        stage.update("updater", "set: ['1', '1', '3', '4']")
        assert stage.owners == {"updater": {"f:set": {".": {}, **value("1", "3", "4")}}}
        assert conflicting(stage, "applier", "set: ['1']") == ['.set[="1"]']
        stage.apply("other", "set: ['5']")
        assert stage.content == {"set": ["1", "1", "3", "4", "5"]}
        stage.apply("applier", "set: ['1']", force=True)
        assert stage.content == {"set": ["1", "3", "4", "5"]}
        assert stage.owners["updater"] == {"f:set": {".": {}, **value("3", "4")}}

    def test_a_duplicate_removed(self) -> None:
        stage = Stage(NESTED)
        stage.update("one", "set: ['1', '1', '3']")
        stage.update("two", "set: ['1', '3']")
        assert stage.owners == {"one": {"f:set": {".": {}, **value("3")}}, "two": {"f:set": value("1")}}


class TestDuplicateElements:
    def test_they_are_owned_as_one(self) -> None:
        stage = Stage(NESTED)
        stage.update("one", "listOfLists: [{name: a}, {name: b}]")
        stage.update("two", "listOfLists: [{name: a}, {name: a, value: [x]}, {name: b}]")
        assert stage.owners == {
            "one": {"f:listOfLists": {".": {}, **item("b")}},
            "two": {"f:listOfLists": {'k:{"name":"a"}': {}}},
        }

    def test_an_applier_that_gives_them_up_leaves_them(self) -> None:
        stage = Stage(NESTED)
        stage.apply("applier", "listOfLists: [{name: a}, {name: b}]")
        stage.update("updater", "listOfLists: [{name: a}, {name: a, value: [x]}, {name: b}]")
        stage.apply("applier", "listOfLists: [{name: b}]")
        assert stage.content == {"listOfLists": [{"name": "a"}, {"name": "a", "value": ["x"]}, {"name": "b"}]}


class TestStructsAndMaps:
    def test_remove_all(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "struct: {name: a, value: 1}")
        stage.apply("one", "")
        assert (stage.content, stage.entries) == ({}, [])

    @pytest.mark.parametrize("given_up", ["", "struct: {}", "struct: null"])
    def test_what_an_updater_added_stays(self, given_up: str) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "struct: {name: a}")
        stage.update("controller", "struct: {name: a, value: 1}")
        stage.apply("one", given_up)
        assert stage.content == {"struct": {"value": 1}}

    def test_what_an_updater_took_over_stays(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "struct: {name: a}")
        stage.update("controller", "struct: {name: b, value: 1}")
        stage.apply("one", "struct: null")
        assert stage.content == {"struct": {"name": "b", "value": 1}}

    def test_maps_of_maps(self) -> None:
        stage = Stage(NESTED)
        stage.apply("one", "mapOfMaps: {a: {b: x, c: y}}")
        stage.apply("one", "mapOfMaps: {a: {a: x, c: z}}")
        assert stage.content == {"mapOfMaps": {"a": {"a": "x", "c": "z"}}}
        assert stage.owners == {"one": {"f:mapOfMaps": {"f:a": {".": {}, "f:a": {}, "f:c": {}}}}}

    def test_atomic_maps_are_taken_as_a_whole(self) -> None:
        stage = Stage(POD)
        stage.apply("one", "spec: {nodeSelector: {a: b}, tolerations: [{key: a}]}")
        body = "spec: {nodeSelector: {a: b, c: d}, tolerations: [{key: a}]}"
        assert conflicting(stage, "two", body) == [".spec.nodeSelector"]
        stage.apply("two", "spec: {nodeSelector: {c: d}}", force=True)
        assert stage.content["spec"]["nodeSelector"] == {"c": "d"}
        assert stage.owners == {
            "one": {"f:spec": {"f:tolerations": {}}},
            "two": {"f:spec": {"f:nodeSelector": {}}},
        }

    def test_granular_labels(self) -> None:
        stage = Stage(POD)
        stage.update("creator", "metadata: {labels: {a: '1'}}")
        stage.apply("one", "metadata: {labels: {b: '2'}}")
        stage.apply("one", "")
        assert stage.object["metadata"]["labels"] == {"a": "1"}


class TestWithoutSchema:
    def test_maps_are_granular_and_lists_atomic(self) -> None:
        stage = Stage(custom(None))
        stage.apply("one", "{a: 1, b: {c: {d: 2, e: [1, 2, 3], f: [{name: n}]}}}")
        stage.update("two", "{a: 1, b: {c: {d: 3, e: [1], f: [{name: m}]}}, g: 5}")
        body = "{a: 2, b: {c: {d: 2, e: [3], f: [{name: n}]}}}"
        assert conflicting(stage, "one", body) == [".b.c.d", ".b.c.e", ".b.c.f"]
        stage.apply("one", body, force=True)
        assert stage.content == {"a": 2, "b": {"c": {"d": 2, "e": [3], "f": [{"name": "n"}]}}, "g": 5}

    def test_three_owners_of_nested_maps(self) -> None:
        stage = Stage(custom(None))
        stage.apply("apply-one", "{a: {b: null}, c: {d: null}}")
        stage.apply("apply-two", "{a: null, c: {d: null}}")
        stage.update("controller-one", "{a: {b: {c: null}}, c: {d: {e: null}}}")
        stage.update("controller-two", "{a: {b: {c: {d: null}}}, c: {d: {e: {f: null}}}}")
        stage.update("controller-one", "{a: {b: {c: {d: {e: null}}}}, c: {d: {e: {f: {g: null}}}}}")
        stage.apply("apply-one", "")
        # Of `a` only what apply-two applied is left: an empty map.
        assert not stage.content["a"]
        assert stage.content["c"] == {"d": {"e": {"f": {"g": None}}}}
        assert stage.owners == {
            "apply-two": {"f:a": {}, "f:c": {".": {}, "f:d": {}}},
            "controller-one": {"f:c": {"f:d": {"f:e": {".": {}, "f:f": {"f:g": {}}}}}},
            "controller-two": {"f:c": {"f:d": {"f:e": {"f:f": {}}}}},
        }

    def test_metadata_is_known_all_the_same(self) -> None:
        stage = Stage(custom(None))
        stage.apply("one", "{metadata: {labels: {a: b}, finalizers: [z]}, x: {y: 1}}")
        assert stage.owners == {
            "one": {
                "f:metadata": {"f:finalizers": value("z"), "f:labels": {"f:a": {}}},
                "f:x": {".": {}, "f:y": {}},
            }
        }


class TestUpdates:
    def test_a_creator_owns_all_it_sent(self) -> None:
        stage = Stage(POD)
        stage.update(
            "kubectl-create",
            """
            metadata: {labels: {app: a}, annotations: {x: y}, generateName: p-}
            spec:
              containers:
              - name: c
                image: i
                ports: [{containerPort: 80, protocol: TCP}]
                env: [{name: E, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
              restartPolicy: Always
              securityContext: {}
              volumes: [{name: v, emptyDir: {}}]
            status: {phase: Pending}
            """,
        )
        assert stage.entries == [
            {
                "manager": "kubectl-create",
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-11-22T12:00:01Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {
                        "f:annotations": {".": {}, "f:x": {}},
                        "f:generateName": {},
                        "f:labels": {".": {}, "f:app": {}},
                    },
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"c"}': {
                                ".": {},
                                "f:env": {
                                    ".": {},
                                    'k:{"name":"E"}': {
                                        ".": {},
                                        "f:name": {},
                                        "f:valueFrom": {".": {}, "f:fieldRef": {}},
                                    },
                                },
                                "f:image": {},
                                "f:name": {},
                                "f:ports": {
                                    ".": {},
                                    'k:{"containerPort":80,"protocol":"TCP"}': {
                                        ".": {},
                                        "f:containerPort": {},
                                        "f:protocol": {},
                                    },
                                },
                            }
                        },
                        "f:restartPolicy": {},
                        "f:securityContext": {},
                        "f:volumes": {
                            ".": {},
                            'k:{"name":"v"}': {".": {}, "f:emptyDir": {}, "f:name": {}},
                        },
                    },
                },
            }
        ]

    def test_who_changes_a_field_owns_it(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.update("one", "data: {a: '1', b: '1'}")
        stage.update("two", "data: {a: '2', b: '1'}")
        assert stage.owners == {
            "one": {"f:data": {".": {}, "f:b": {}}},
            "two": {"f:data": {"f:a": {}}},
        }

    def test_updates_steal_from_appliers(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("applier", "data: {a: '1', b: '1'}")
        stage.update("updater", "data: {a: '2', b: '1'}")
        assert stage.owners == {"applier": {"f:data": {"f:b": {}}}, "updater": {"f:data": {"f:a": {}}}}
        assert conflicting(stage, "applier", "data: {a: '1'}") == [".data.a"]

    def test_what_is_removed_is_nobodys(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("applier", "data: {a: '1', b: '1'}")
        stage.update("updater", "data: {b: '1'}")
        assert stage.owners == {"applier": {"f:data": {"f:b": {}}}}

    def test_own_fields_add_up(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.update("one", "data: {a: '1'}")
        stage.update("one", "data: {a: '1', b: '2'}")
        stage.update("one", "data: {b: '2', c: '3'}")
        assert stage.owners == {"one": {"f:data": {".": {}, "f:b": {}, "f:c": {}}}}

    def test_time_moves_only_with_a_change_of_ones_own(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.update("one", "data: {a: '1', b: '1'}")
        stage.update("two", "data: {a: '2', b: '1'}")
        stage.update("two", "data: {a: '2', b: '1'}")
        assert stage.entry("one")["time"] == "2026-11-22T12:00:01Z"
        assert stage.entry("two")["time"] == "2026-11-22T12:00:02Z"
        stage.update("two", "data: {a: '3', b: '1'}")
        assert stage.entry("two")["time"] == "2026-11-22T12:00:04Z"

    def test_nothing_changed_is_the_same_list(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.update("one", "data: {a: '1'}")
        entries = stage.entries
        new = stage.update("two", "data: {a: '1'}")
        assert new["metadata"]["managedFields"] is entries

    def test_what_the_server_keeps_is_never_owned(self) -> None:
        stage = Stage(CONFIG_MAP)
        metadata = """{metadata: {uid: u, resourceVersion: '1', generation: 1, creationTimestamp: t, selfLink: s,
            deletionTimestamp: t, finalizers: [f]}}"""
        stage.update("one", metadata)
        assert stage.owners == {
            "one": {"f:metadata": {"f:deletionTimestamp": {}, "f:finalizers": {".": {}, **value("f")}}}
        }

    def test_same_name_applies_and_updates(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("me", "data: {a: '1'}")
        stage.update("me", "data: {a: '1', b: '2'}")
        assert [(entry["operation"], entry["fieldsV1"]) for entry in stage.entries] == [
            ("Apply", {"f:data": {"f:a": {}}}),
            ("Update", {"f:data": {"f:b": {}}}),
        ]

    def test_eleven_updaters(self) -> None:
        stage = Stage(CONFIG_MAP)
        data: dict[str, str] = {}
        for number in range(11):
            data[f"k{number:02}"] = "v"
            stage.update(f"m{number:02}", {"data": data})
        assert len(stage.entries) == 10
        ancient = stage.entry("ancient-changes")
        assert ancient["time"] == "2026-11-22T12:00:02Z"
        assert ancient["fieldsV1"] == {"f:data": {".": {}, "f:k00": {}, "f:k01": {}}}


class TestSubresources:
    def test_status_has_owners_of_its_own(self) -> None:
        stage = Stage(POD)
        stage.update("creator", "spec: {hostname: h}")
        stage.update("kubelet", "{spec: {hostname: h}, status: {phase: Running}}", target=POD_STATUS)
        assert stage.entry("kubelet")["subresource"] == "status"
        assert stage.owners == {
            "creator": {"f:spec": {"f:hostname": {}}},
            "kubelet": {"f:status": {"f:phase": {}}},
        }

    def test_the_same_manager_by_two_paths(self) -> None:
        stage = Stage(POD)
        stage.update("m", "spec: {hostname: h}")
        stage.update("m", "{spec: {hostname: h}, status: {phase: Running}}", target=POD_STATUS)
        assert [(each.get("subresource"), each["fieldsV1"]) for each in stage.entries] == [
            (None, {"f:spec": {"f:hostname": {}}}),
            ("status", {"f:status": {"f:phase": {}}}),
        ]

    def test_what_a_path_resets_is_neither_won_nor_lost(self) -> None:
        stage = Stage(POD)
        stage.update("creator", "{spec: {hostname: h}, status: {phase: Pending}}")
        stage.update("kubelet", "{spec: {hostname: other}, status: {phase: Running}}", target=POD_STATUS)
        assert stage.owners == {
            "creator": {"f:spec": {"f:hostname": {}}},
            "kubelet": {"f:status": {"f:phase": {}}},
        }
        stage.apply("me", "{metadata: {labels: {a: b}}, status: {phase: Failed}}")
        assert stage.owners["me"] == {"f:metadata": {"f:labels": {"f:a": {}}}}
        assert stage.owners["kubelet"] == {"f:status": {"f:phase": {}}}

    def test_apply_to_status(self) -> None:
        stage = Stage(POD)
        stage.update("creator", "spec: {hostname: h}")
        body = "status: {conditions: [{type: Ready, status: 'True'}]}"
        stage.apply("me", body, target=POD_STATUS)
        assert stage.entry("me") == {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-11-22T12:00:02Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:status": {"f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:status": {}, "f:type": {}}}}
            },
            "subresource": "status",
        }


class TestForgettingOwners:
    @pytest.mark.parametrize("empty", [[], [{}]])
    def test_reset(self, empty: list[Any]) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1'}")
        stage.update("two", {"data": {"a": "1"}, "metadata": {"managedFields": empty}})
        assert "managedFields" not in stage.object["metadata"]

    def test_then_updates_are_not_tracked(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1'}")
        stage.update("two", {"data": {"a": "1"}, "metadata": {"managedFields": []}})
        stage.update("two", "data: {a: '2'}")
        assert "managedFields" not in stage.object["metadata"]

    def test_until_somebody_applies(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1'}")
        stage.update("two", {"data": {"a": "1", "b": "1"}, "metadata": {"managedFields": []}})
        assert conflicting(stage, "three", "data: {a: '2'}") == [".data.a"]
        stage.apply("three", "data: {a: '1'}")
        assert stage.owners == {
            "before-first-apply": {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
            "three": {"f:data": {"f:a": {}}},
        }
        assert stage.entry("before-first-apply")["operation"] == "Update"
        stage.apply("three", "")
        assert stage.content == {"data": {"a": "1", "b": "1"}}

    def test_rewritten_entries_count(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.update("one", "data: {a: '1', b: '1'}")
        entries = canonical(stage.entries)
        entries[0]["manager"] = "renamed"
        entries[0]["operation"] = "Apply"
        entries[0]["fieldsV1"] = {"f:data": {"f:b": {}, "f:a": {".": {}}}}
        stage.update("two", {"data": {"a": "1", "b": "1"}, "metadata": {"managedFields": entries}})
        assert stage.owners == {"renamed": {"f:data": {"f:a": {}, "f:b": {}}}}
        assert list(stage.owners["renamed"]["f:data"]) == ["f:a", "f:b"]

    def test_nonsense_is_ignored(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.update("one", "data: {a: '1'}")
        before = stage.entries
        stage.update("two", {"data": {"a": "1"}, "metadata": {"managedFields": [{"manager": "x"}]}})
        assert stage.entries == before

    def test_not_by_a_subresource(self) -> None:
        stage = Stage(POD)
        stage.update("one", "spec: {hostname: h}")
        before = stage.entries
        stage.update("two", {"spec": {"hostname": "h"}, "metadata": {"managedFields": []}}, target=POD_STATUS)
        assert stage.entries == before


class TestNoOperation:
    def test_the_same_again_is_the_same_object(self) -> None:
        stage = Stage(POD)
        body = "{metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: i, env: [{name: E}]}]}}"
        stage.apply("one", body)
        live = stage.live
        assert stage.apply("one", body) is live

    def test_nulls_and_defaults_differ_only_in_times(self) -> None:
        stage = Stage(POD)
        body = "{metadata: {creationTimestamp: null}, spec: {hostname: h, volumes: null}}"
        stage.apply("one", body)
        assert stage.live is not None
        stage.live["spec"]["restartPolicy"] = "Always"
        live = stage.live
        assert stage.apply("one", body) is live

    def test_a_new_owner_is_a_change(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("one", "data: {a: '1'}")
        old = stage.object
        new = stage.apply("two", "data: {a: '1'}")
        assert not differs_only_in_times(new, old)
        assert new["data"] is old["data"]


class TestKubectl:
    """From client-side apply, which left an annotation, to server-side apply."""

    @staticmethod
    def client_side(stage: Stage, **data: str) -> None:
        applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data}
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied) + "\n"}
        stage.update("kubectl-client-side-apply", {"metadata": {"annotations": annotations}, "data": data})

    def last_applied(self, stage: Stage) -> str:
        text: str = stage.object["metadata"]["annotations"][
            "kubectl.kubernetes.io/last-applied-configuration"
        ]
        return text

    def test_takes_over_what_it_applied_itself(self) -> None:
        stage = Stage(CONFIG_MAP)
        self.client_side(stage, a="1", b="1")
        stage.apply("kubectl", "data: {a: '2'}")
        assert stage.content == {"data": {"a": "2", "b": "1"}}
        assert stage.owners["kubectl"] == {"f:data": {"f:a": {}}}
        assert "f:a" not in stage.owners["kubectl-client-side-apply"]["f:data"]

    def test_brings_the_annotation_up_to_date(self) -> None:
        stage = Stage(CONFIG_MAP)
        self.client_side(stage, a="1")
        stage.apply("kubectl", "data: {a: '<2>'}")
        assert self.last_applied(stage) == (
            '{"apiVersion":"v1","data":{"a":"\\u003c2\\u003e"},"kind":"ConfigMap",'
            '"metadata":{"name":"x","namespace":"default"}}\n'
        )

    def test_not_what_others_changed_since(self) -> None:
        stage = Stage(CONFIG_MAP)
        self.client_side(stage, a="1", b="1")
        annotations = stage.object["metadata"]["annotations"]
        stage.update("other", {"metadata": {"annotations": annotations}, "data": {"a": "3", "b": "1"}})
        assert conflicting(stage, "kubectl", "data: {a: '2', b: '2'}") == [".data.a"]

    def test_other_names_are_no_kubectl(self) -> None:
        stage = Stage(CONFIG_MAP)
        self.client_side(stage, a="1")
        assert conflicting(stage, "me", "data: {a: '2'}") == [".data.a"]
        before = self.last_applied(stage)
        stage.apply("me", "data: {b: '2'}")
        assert self.last_applied(stage) == before

    @pytest.mark.parametrize("text", ["nonsense", "[]", '{"apiVersion": "v2", "data": {"a": "1"}}', ""])
    def test_an_annotation_that_says_nothing(self, text: str) -> None:
        stage = Stage(CONFIG_MAP)
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": text}
        stage.update("old", {"metadata": {"annotations": annotations}, "data": {"a": "1"}})
        assert conflicting(stage, "kubectl", "data: {a: '2'}") == [".data.a"]

    def test_no_annotation_is_made(self) -> None:
        stage = Stage(CONFIG_MAP)
        stage.apply("kubectl", "data: {a: '1'}")
        stage.apply("kubectl", "data: {a: '2'}")
        assert "annotations" not in stage.object["metadata"]


VERSIONED = """
struct: {type: object, properties: {name: {type: string}, scalar_%s: {type: string}}}
list:
  type: array
  x-kubernetes-list-type: map
  x-kubernetes-list-map-keys: [name]
  items: {type: object, properties: {name: {type: string}, scalar_%s: {type: string}}}
"""
SHAPES: dict[str, Shape] = {
    f"example.com/v{n}": custom(VERSIONED.replace("%s", f"v{n}")).shape for n in (1, 2, 3)
}


def convert(obj: dict[str, Any], api_version: str) -> tuple[dict[str, Any], Shape] | None:
    """Every version calls a field after itself."""
    if api_version not in SHAPES:
        return None
    content = {name: value for name, value in obj.items() if name != "metadata"}
    text = json.dumps(content).replace(f"scalar_{obj['apiVersion'][-2:]}", f"scalar_{api_version[-2:]}")
    converted = {**json.loads(text), "metadata": obj["metadata"], "apiVersion": api_version}
    return converted, SHAPES[api_version]


def version(number: int) -> Target:
    api_version = f"example.com/v{number}"
    return Target(api_version=api_version, kind="Thing", shape=SHAPES[api_version], convert=convert)


NUMBERS = [(one, two, three) for one in (1, 2, 3) for two in (1, 2, 3) for three in (1, 3)]


class TestVersions:
    """The object is stored in v3; each writes in a version of its own."""

    @pytest.mark.parametrize(("one", "two", "three"), NUMBERS)
    def test_the_sole_owner_unsets_in_another_version(self, one: int, two: int, three: int) -> None:
        stage = Stage(version(3))
        stage.apply("a", f"struct: {{name: a, scalar_v{one}: x}}", target=version(one))
        stage.apply("a", "struct: {name: a}", target=version(two))
        assert stage.content == {"struct": {"name": "a"}}
        assert stage.owners == {"a": {"f:struct": {"f:name": {}}}}
        assert stage.entry("a")["apiVersion"] == f"example.com/v{two}"

    @pytest.mark.parametrize(("one", "two", "three"), NUMBERS)
    def test_a_field_shared_across_versions_stays(self, one: int, two: int, three: int) -> None:
        stage = Stage(version(3))
        stage.apply("a", f"struct: {{name: a, scalar_v{one}: x}}", target=version(one))
        stage.apply("b", f"struct: {{scalar_v{two}: x}}", target=version(two))
        stage.apply("a", "struct: {name: a}", target=version(three))
        assert stage.content == {"struct": {"name": "a", "scalar_v3": "x"}}
        assert stage.owners == {
            "a": {"f:struct": {"f:name": {}}},
            "b": {"f:struct": {f"f:scalar_v{two}": {}}},
        }

    @pytest.mark.parametrize(("one", "two", "three"), NUMBERS)
    def test_elements_across_versions(self, one: int, two: int, three: int) -> None:
        stage = Stage(version(3))
        stage.apply("a", f"list: [{{name: a}}, {{name: b, scalar_v{one}: x}}]", target=version(one))
        stage.apply("b", "list: [{name: b}, {name: c}]", target=version(two))
        stage.apply("a", "list: [{name: a}]", target=version(three))
        assert stage.content == {"list": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}

    @pytest.mark.parametrize(("one", "two", "three"), NUMBERS)
    def test_an_updater_takes_a_field_in_another_version(self, one: int, two: int, three: int) -> None:
        stage = Stage(version(3))
        stage.apply("a", f"struct: {{name: a, scalar_v{one}: x}}", target=version(one))
        stage.update("u", f"struct: {{name: a, scalar_v{two}: y}}", target=version(two))
        assert stage.owners == {
            "a": {"f:struct": {"f:name": {}}},
            "u": {"f:struct": {f"f:scalar_v{two}": {}}},
        }
        with pytest.raises(StatusError) as raised:
            stage.apply("a", f"struct: {{scalar_v{three}: z}}", target=version(three))
        assert raised.value.causes[0]["field"] == f".struct.scalar_v{two}"
        assert raised.value.causes[0]["message"] == f'conflict with "u" using example.com/v{two}'

    def test_owners_in_a_version_that_is_no_more_are_forgotten(self) -> None:
        stage = Stage(version(3))
        stage.apply("a", "struct: {name: a}", target=version(1))
        assert stage.live is not None
        stage.live["metadata"]["managedFields"][0]["apiVersion"] = "example.com/v0"
        stage.apply("b", "struct: {name: b}", target=version(2))
        assert list(stage.owners) == ["b"]


class TestSchemaChanges:
    GRANULAR = custom(
        "s: {type: object, properties: {a: {type: string}, b: {type: string}}}", schema_changes=True
    )
    ATOMIC = custom(
        "s: {type: object, x-kubernetes-map-type: atomic, properties: {a: {type: string}, b: {type: string}}}",
        schema_changes=True,
    )

    def test_granular_to_atomic(self) -> None:
        stage = Stage(self.GRANULAR)
        stage.apply("one", "s: {a: x}")
        stage.target = self.ATOMIC
        assert conflicting(stage, "two", "s: {b: y}") == [".s"]
        stage.apply("two", "s: {b: y}", force=True)
        assert stage.content == {"s": {"b": "y"}}
        assert stage.owners == {"two": {"f:s": {}}}

    def test_atomic_to_granular(self) -> None:
        stage = Stage(self.ATOMIC)
        stage.apply("one", "s: {a: x, b: x}")
        stage.target = self.GRANULAR
        assert conflicting(stage, "two", "s: {b: y}") == [".s.b"]
        stage.apply("two", "s: {b: y}", force=True)
        assert stage.content == {"s": {"a": "x", "b": "y"}}
        assert stage.owners == {"one": {"f:s": {".": {}, "f:a": {}}}, "two": {"f:s": {"f:b": {}}}}
