"""What a client sends: canonical form, unknown and duplicate fields, wrong types."""

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from typed_objects import canonical_objects, careless_objects, sample

from tiphys.api.types import TYPES
from tiphys.machinery.schema import DecodeError, Struct, Types, check
from tiphys.machinery.schema.decoding import COMPLAINT_LIMIT, Decoder
from tiphys.machinery.schema.gate import gate

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "labels": {"app": "web"}, "creationTimestamp": "2026-11-22T10:00:00Z"},
    "spec": {
        "containers": [
            {
                "name": "web",
                "image": "busybox",
                "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": 8080}},
            }
        ],
        "terminationGracePeriodSeconds": 0,
    },
    "status": {},
}
SAMPLE = sample()


def pod_type() -> Struct:
    return TYPES.struct("core/v1.Pod")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The pod with another value at a path such as `spec.containers.0.name`."""
    pod = copy.deepcopy(POD)
    *way, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    place: Any = pod
    for name in way:
        place = place[name]
    place[last] = value
    return pod


def error_of(path: str, value: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        check(pod_type(), changed(path, value))
    return str(caught.value)


def complaints_of(source: str, struct: Struct | None = None) -> tuple[str, ...]:
    data = source.encode()
    return check(struct or pod_type(), orjson.loads(data), duplicates_source=data).complaints


def test_an_object_in_canonical_form_is_handed_back_itself() -> None:
    result = check(pod_type(), POD, duplicates_source=orjson.dumps(POD))
    assert result.object is POD
    assert result.complaints == ()


@pytest.mark.parametrize(
    ("path", "sent", "stored"),
    [
        ("spec.containers.0.resources.limits.cpu", 1, "1"),
        ("spec.containers.0.resources.limits.cpu", 0.5, "500m"),
        ("spec.containers.0.resources.limits.cpu", "1000m", "1"),
        ("spec.containers.0.resources.limits.cpu", None, "0"),
        ("spec.containers.0.resources.limits.memory", "2048Mi", "2Gi"),
        ("metadata.creationTimestamp", "2026-11-22T11:00:00.5+01:00", "2026-11-22T10:00:00Z"),
        ("metadata.labels.app", None, ""),
        ("metadata.labels.app", "", ""),
        ("spec.automountServiceAccountToken", False, False),
        ("spec.containers.0.livenessProbe.httpGet.port", "http", "http"),
        ("spec.securityContext", {}, {}),
        ("spec.containers.0.name", "", ""),
    ],
)
def test_values_come_out_as_a_round_trip_through_go_gives_them(path: str, sent: Any, stored: Any) -> None:
    assert check(pod_type(), changed(path, sent)).object == changed(path, stored)


@pytest.mark.parametrize(
    ("path", "empty"),
    [
        ("metadata.creationTimestamp", None),
        ("metadata.creationTimestamp", "0001-01-01T00:00:00Z"),
        ("metadata.generateName", ""),
        ("metadata.labels", {}),
        ("metadata.generation", 0),
        ("spec.hostNetwork", False),
        ("spec.volumes", []),
        ("spec.securityContext", None),
    ],
)
def test_what_go_leaves_out_is_dropped(path: str, empty: Any) -> None:
    parent, _, name = path.partition(".")
    assert name not in check(pod_type(), changed(path, empty)).object[parent]


def test_bytes_are_written_again_without_line_ends_and_stray_bits() -> None:
    secret = TYPES.struct("core/v1.Secret")
    data = check(secret, {"data": {"a": "QU\nI=", "b": "QR==", "c": None}}).object["data"]
    assert data == {"a": "QUI=", "b": "QQ==", "c": ""}


def test_the_given_object_is_not_changed() -> None:
    sent = changed("spec.volumes", [])
    before = copy.deepcopy(sent)
    check(pod_type(), sent)
    assert sent == before


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "spec.terminationGracePeriodSeconds",
            "x",
            "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            "spec.terminationGracePeriodSeconds",
            1.0,
            "json: cannot unmarshal number 1.0 into Go struct field "
            "PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            "spec.priority",
            2**31,
            "json: cannot unmarshal number 2147483648 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            "spec.priority",
            True,
            "json: cannot unmarshal bool into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            "spec.hostNetwork",
            "yes",
            "json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            "spec.containers",
            {},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "spec.containers.0",
            "web",
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container",
        ),
        (
            "spec.containers.0.name",
            3,
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string",
        ),
        (
            "metadata.labels.app",
            True,
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            "metadata.labels",
            [],
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        ("spec", [], "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            "metadata.creationTimestamp",
            5,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        ),
        (
            "metadata.creationTimestamp",
            "2020",
            'parsing time "2020" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "-"',
        ),
        (
            "spec.containers.0.livenessProbe.httpGet.port",
            1.5,
            "json: cannot unmarshal number 1.5 into Go struct field "
            "HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type int32",
        ),
        (
            "spec.containers.0.resources.limits.cpu",
            "lots",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "spec.containers.0.resources.limits.cpu",
            [],
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_a_wrong_type_is_refused_in_the_words_of_go(path: str, value: Any, message: str) -> None:
    assert error_of(path, value) == message


def test_an_object_must_be_an_object() -> None:
    with pytest.raises(DecodeError, match=r"json: cannot unmarshal array into Go value of type v1\.Pod"):
        check(pod_type(), [])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("QUI", 0),
        ("QU*=", 2),
        ("QUI=x", 4),
        ("Q", 0),
        ("QUJDQ===", 5),
        ("QQ=", 3),
        ("\nQU*=", 3),
        ("QUJD=", 4),
    ],
)
def test_wrong_base64_is_refused_with_its_place(text: str, place: int) -> None:
    with pytest.raises(DecodeError) as caught:
        check(TYPES.struct("core/v1.Secret"), {"data": {"a": text}})
    assert str(caught.value) == f"illegal base64 data at input byte {place}"


def test_unknown_and_duplicate_fields_are_told_in_the_order_of_the_document() -> None:
    source = (
        '{"kind":"Pod","spec":{"foo":{"bar":1,"bar":2},"dnsPolicy":"a","containers":[{"name":"a"},{"name":"b","nam":"c"}],'
        '"dnsPolicy":"b","nodeSelector":{"a":"b","a":"c"}},"Kind":"Pod","metadata":{"labels":{"unknown":"is fine"}}}'
    )
    assert complaints_of(source) == (
        'unknown field "spec.foo"',
        'unknown field "spec.containers[1].nam"',
        'duplicate field "spec.dnsPolicy"',
        'duplicate field "spec.nodeSelector.a"',
        'unknown field "Kind"',
    )


def test_unknown_fields_are_pruned_and_the_last_of_the_same_name_wins() -> None:
    source = b'{"spec":{"foo":1,"dnsPolicy":"a","dnsPolicy":"b"}}'
    result = check(pod_type(), orjson.loads(source), duplicates_source=source)
    assert result.object == {"spec": {"dnsPolicy": "b"}}


@pytest.mark.parametrize(
    "source",
    [
        '{"spec" : {"hostname":"a","hostname":"a"}}',
        '{"spec":{"hostname":"\\u0022:","hostname":"\\u0022:"}}',
        '{"spec":{"hostname":"a","hostnam\\u0065":"b"}}',
        '{"spec":{"hostname":"a","hostname":"a"}}\n',
    ],
)
def test_no_spelling_hides_a_duplicate(source: str) -> None:
    assert complaints_of(source) == ('duplicate field "spec.hostname"',)


def test_what_only_looks_like_a_duplicate_is_none() -> None:
    assert complaints_of('{"spec":{"hostname":"\\u0022hostname\\u0022:", "subdomain":"\\"a\\":"}}') == ()


@pytest.mark.parametrize("end", ["", "\n", " \r\n\t"])
def test_nothing_is_complained_of_what_is_written_as_it_was_read(end: str) -> None:
    assert complaints_of('{"spec":{"hostname":"\\"a\\":","subdomain":"b"}}' + end) == ()


def test_what_the_caller_added_after_reading_is_kept() -> None:
    source = b'{"spec":{"hostname":"a","hostname":"b"}}'
    obj = {"kind": "Pod", "apiVersion": "v1", **orjson.loads(source)}
    result = check(pod_type(), obj, duplicates_source=source)
    assert result.object == {"kind": "Pod", "apiVersion": "v1", "spec": {"hostname": "b"}}
    assert result.complaints == ('duplicate field "spec.hostname"',)


def test_without_the_source_duplicates_cannot_be_seen() -> None:
    assert check(pod_type(), orjson.loads(b'{"kind":"a","kind":"b"}')).complaints == ()


def test_each_complaint_comes_once_and_at_most_a_hundred_come() -> None:
    twice = '{"spec":{"foo":1,"foo":2}}'
    many = "{" + ",".join(f'"x{number}":1' for number in range(COMPLAINT_LIMIT + 5)) + "}"
    assert complaints_of(twice) == ('unknown field "spec.foo"',)
    assert len(complaints_of(many)) == COMPLAINT_LIMIT


def test_an_inlined_field_belongs_to_the_outer_object() -> None:
    result = check(SAMPLE, {"inner": "a", "Inline": {}})
    assert result.object == {"inner": "a"}
    assert result.complaints == ('unknown field "Inline"',)


def test_what_has_several_forms_is_taken_in_each_of_them() -> None:
    schema = {"schema": True, "schemas": [{"name": "a"}]}
    assert check(SAMPLE, schema).object == schema
    assert check(SAMPLE, {"schema": {"name": "a"}}).object == {"schema": {"name": "a"}}


def test_inside_several_forms_unknown_fields_are_pruned_without_a_word() -> None:
    # Upstream reads these types by hand, and its strict decoder does not see inside.
    result = check(SAMPLE, {"schema": {"name": "a", "foo": 1}})
    assert (result.object, result.complaints) == ({"schema": {"name": "a"}}, ())


def test_a_form_that_does_not_exist() -> None:
    with pytest.raises(DecodeError, match="boolean or JSON schema expected"):
        check(SAMPLE, {"schema": "x"})
    assert check(SAMPLE, {"schemas": "x"}).object == {}


def test_deep_nesting_is_refused() -> None:
    source = b'{"spec":' * 900 + b"1" + b"}" * 900
    part = Types({"a/v1": "type A\n  1 spec A\n"}.get).struct("a/v1.A")
    with pytest.raises(DecodeError):
        check(part, orjson.loads(source), duplicates_source=source)


@given(canonical_objects(SAMPLE))
@settings(max_examples=150, deadline=None)
def test_canonical_objects_stay_as_they_are(obj: dict[str, Any]) -> None:
    assert check(SAMPLE, obj).object == obj
    assert check(SAMPLE, obj, duplicates_source=orjson.dumps(obj)).complaints == ()


@given(careless_objects(SAMPLE))
@settings(max_examples=150, deadline=None)
def test_the_gate_passes_nothing_that_the_exact_decoder_would_change(obj: Any) -> None:
    if gate_of_sample(obj):
        decoder = Decoder()
        assert decoder.decode(SAMPLE, obj) == obj
        assert not decoder.complaints


@given(careless_objects(SAMPLE))
@settings(max_examples=150, deadline=None)
def test_checking_twice_changes_nothing_more(obj: Any) -> None:
    try:
        once = check(SAMPLE, obj).object
    except DecodeError:
        return
    again = check(SAMPLE, once)
    assert (again.object, again.complaints) == (once, ())


gate_of_sample = gate(SAMPLE)
