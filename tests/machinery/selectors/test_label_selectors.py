"""Label selectors: grammar, messages, matching."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.selectors import (
    EVERYTHING,
    NOTHING,
    LabelSelector,
    Operator,
    Requirement,
    SelectorError,
    label_selector_from_dict,
    label_selector_from_set,
    parse_label_selector,
)

REQUIREMENT = "unable to parse requirement: "


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        ("a=b", "a=b"),
        ("a==b", "a==b"),
        ("a!=b", "a!=b"),
        (" a = b ", "a=b"),
        ("a=", "a="),
        ("a=,b=", "a=,b="),
        ("b=1,a=2", "a=2,b=1"),
        ("a", "a"),
        ("!a", "!a"),
        ("! a , b", "!a,b"),
        ("a>1", "a>1"),
        ("a<10", "a<10"),
        ("x in (foo,,baz),y,z notin ()", "x in (,baz,foo),y,z notin ()"),
        ("x in (b, a,a)", "x in (a,b)"),
        ("x in (,)", "x in ()"),
        ("x in (a,)", "x in (,a)"),
        ("x in (,a)", "x in (,a)"),
        ("in in (in,notin)", "in in (in,notin)"),
        ("notin=in", "notin=in"),
        ("example.com/a in (b)", "example.com/a in (b)"),
    ],
)
def test_parsing(text: str, canonical: str) -> None:
    selector = parse_label_selector(text)
    assert str(selector) == canonical
    assert parse_label_selector(canonical) == selector


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,", "found '', expected: identifier after ','"),
        ("a=b,,c", "found ',', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("(a)", "found '(', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("!", f"{REQUIREMENT}found '', expected: identifier"),
        ("a b", f"{REQUIREMENT}found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=(b)", f"{REQUIREMENT}found '(', expected: identifier"),
        ("a in b", f"{REQUIREMENT}found 'b' expected: '('"),
        ("a in (=)", f"{REQUIREMENT}found '=', expected: ',', ')' or identifier"),
        ("a in (a b)", f"{REQUIREMENT}found 'b', expected: ',' or ')'"),
        ("a in (a", f"{REQUIREMENT}found '', expected: ',' or ')'"),
        ("a in (,", f"{REQUIREMENT}found '', expected: ',', or identifier"),
        (
            "a>x",
            f"{REQUIREMENT}values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "a%=x",
            f"{REQUIREMENT}<nil>: Invalid value: \"a%\": name part must consist of alphanumeric characters, '-', '_' "
            "or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
            "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            "a=" + "x" * 64,
            f'{REQUIREMENT}values[0][a]: Invalid value: "{"x" * 64}": must be no more than 63 bytes',
        ),
    ],
)
def test_parse_errors(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_label_selector(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("", [{}, {"a": "b"}], []),
        ("a=b", [{"a": "b"}, {"a": "b", "c": "d"}], [{}, {"a": "c"}, {"b": "a"}]),
        ("a=", [{"a": ""}], [{}, {"a": "x"}]),
        ("a!=b", [{}, {"a": "c"}], [{"a": "b"}]),
        ("a", [{"a": ""}, {"a": "x"}], [{}, {"b": ""}]),
        ("!a", [{}, {"b": ""}], [{"a": ""}]),
        ("a in (b,c)", [{"a": "b"}, {"a": "c"}], [{}, {"a": "d"}]),
        ("a notin (b,c)", [{}, {"a": "d"}], [{"a": "b"}, {"a": "c"}]),
        (
            "a>5",
            [{"a": "6"}, {"a": "+10"}],
            [{}, {"a": "5"}, {"a": "x"}, {"a": "9223372036854775808"}, {"a": "1_0"}],
        ),
        ("a<5", [{"a": "4"}, {"a": "-10"}], [{}, {"a": "5"}]),
        ("a=b,c=d", [{"a": "b", "c": "d"}], [{"a": "b"}, {"c": "d"}]),
        ("a=b,a=c", [], [{"a": "b"}, {"a": "c"}, {}]),
        ("a=b,!c", [{"a": "b"}], [{"a": "b", "c": ""}, {}]),
    ],
)
def test_matching(text: str, matching: list[dict[str, str]], others: list[dict[str, str]]) -> None:
    matches = parse_label_selector(text).matches
    assert [labels for labels in matching + others if matches(labels)] == matching


def test_everything_and_nothing() -> None:
    assert EVERYTHING.matches({})
    assert EVERYTHING.selects_everything
    assert not NOTHING.matches({})
    assert not NOTHING.selects_everything
    assert NOTHING != EVERYTHING
    assert NOTHING.with_requirements(Requirement("a", Operator.EXISTS)) is NOTHING


def test_exact_values_serve_as_keys_of_an_index() -> None:
    selector = parse_label_selector("a=1,b in (2),c in (3,4),d!=5,e")
    assert [selector.exact(key) for key in "abcdef"] == ["1", "2", None, None, None, None]


def test_more_requirements_make_another_selector() -> None:
    one = parse_label_selector("b=1")
    two = one.with_requirements(Requirement("a", Operator.EXISTS))
    assert (str(one), str(two)) == ("b=1", "a,b=1")


def test_from_an_object() -> None:
    selector = label_selector_from_dict(
        {
            "matchLabels": {"tier": "front"},
            "matchExpressions": [
                {"key": "app", "operator": "In", "values": ["b", "a"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "new", "operator": "Exists", "values": None},
                {"key": "env", "operator": "NotIn", "values": ["dev"]},
            ],
        }
    )
    assert str(selector) == "app in (a,b),env notin (dev),new,!old,tier=front"
    assert selector.matches({"tier": "front", "app": "a", "new": ""})
    assert label_selector_from_dict(None) is NOTHING
    assert label_selector_from_dict({}) is EVERYTHING
    assert label_selector_from_dict({"matchLabels": None, "matchExpressions": []}) is EVERYTHING
    assert str(label_selector_from_set({"b": "2", "a": "1"})) == "a=1,b=2"
    assert label_selector_from_set(None).selects_everything


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"key": "a", "operator": "Gt", "values": ["1"]}, '"Gt" is not a valid label selector operator'),
        (
            {"key": "a", "operator": "In", "values": []},
            "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            {"key": "a", "operator": "Exists", "values": ["x"]},
            'values: Invalid value: ["x"]: values set must be empty for exists and does not exist',
        ),
    ],
)
def test_bad_objects(expression: dict[str, object], message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        label_selector_from_dict({"matchExpressions": [expression]})
    assert str(caught.value) == message


KEYS = st.from_regex(r"([a-z]{1,3}\.io/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,3}[A-Za-z0-9])?", fullmatch=True)
VALUES = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,3}[A-Za-z0-9])?)?", fullmatch=True)
REQUIREMENTS = st.one_of(
    st.builds(
        lambda key, operator: Requirement(key, operator),
        KEYS,
        st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST]),
    ),
    st.builds(
        lambda key, operator, value: Requirement(key, operator, (value,)),
        KEYS,
        st.sampled_from([Operator.EQUALS, Operator.DOUBLE_EQUALS, Operator.NOT_EQUALS]),
        VALUES,
    ),
    st.builds(
        lambda key, operator, values: Requirement(key, operator, tuple(sorted(values))),
        KEYS,
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.sets(VALUES, min_size=1, max_size=4),
    ),
    st.builds(
        lambda key, operator, bound: Requirement(key, operator, (str(bound),)),
        KEYS,
        st.sampled_from([Operator.GREATER_THAN, Operator.LESS_THAN]),
        st.integers(0, 100),
    ),
)


@given(st.lists(REQUIREMENTS, max_size=4))
def test_what_is_written_reads_as_the_same(requirements: list[Requirement]) -> None:
    selector = LabelSelector(requirements)
    assert parse_label_selector(str(selector)) == selector


SMALL_KEYS, SMALL_VALUES = st.sampled_from("ab"), st.sampled_from(["", "1", "2"])


@given(
    st.lists(
        st.builds(
            lambda key, operator, value: Requirement(key, operator, (value,)),
            SMALL_KEYS,
            st.sampled_from([Operator.EQUALS, Operator.NOT_EQUALS, Operator.IN, Operator.NOT_IN]),
            SMALL_VALUES,
        ),
        max_size=4,
    ),
    st.dictionaries(SMALL_KEYS, SMALL_VALUES),
)
def test_the_compiled_match_is_all_of_its_requirements(
    requirements: list[Requirement], labels: dict[str, str]
) -> None:
    selector = LabelSelector(requirements)
    assert selector.matches(labels) == all(each.matches(labels) for each in requirements)


@given(st.text("ab=!(), in<>", max_size=12))
def test_any_text_is_either_understood_or_refused(text: str) -> None:
    try:
        selector = parse_label_selector(text)
    except SelectorError:
        return
    assert parse_label_selector(str(selector)) == selector
