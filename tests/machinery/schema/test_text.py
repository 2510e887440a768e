"""The `.types` form: what it says, and the errors of a text that breaks it."""

import pytest

from tiphys.machinery.schema import (
    ListOf,
    MapOf,
    Reference,
    Scalar,
    ScalarKind,
    Struct,
    Types,
    TypesError,
    Union,
    struct_of,
)

TEXT = """\
# Facts about things.

object Thing  -- something to look at
  1   metadata    meta/v1.ObjectMeta!
  2   parts       [Part]      map=a,b merge=a   -- what it is made of -- all of it
  3   names       {[string]}
  4   count       int32?
  5   *           Common
  6   strategy    Part        retainKeys
  7   tags        [string]    set merge
  8   selector    {string}    atomic
  9   rules       [string]    atomic always
  0   local       string

type Part atomic
  union type one=One two=Two
  union - three=Three
  1   type        string
  2   inner       Part

type Common
  # the last one
  1   shared      string
"""


def types(text: str = TEXT) -> Types:
    return Types({"things/v1": text, "meta/v1": "type ObjectMeta\n  1 name string\n"}.get)


def thing() -> Struct:
    return types().struct("things/v1.Thing")


def test_a_row_says_number_name_type_and_how_lists_merge() -> None:
    parts = thing().fields["parts"]
    assert (parts.number, parts.list_type, parts.map_keys) == (2, "map", ("a", "b"))
    assert (parts.patch_strategies, parts.merge_key) == (("merge",), "a")
    assert isinstance(parts.type, ListOf)
    assert isinstance(parts.type.item, Reference)
    assert parts.type.item.name == "things/v1.Part"


def test_types_nest() -> None:
    assert thing().fields["names"].type == MapOf(ListOf(Scalar(ScalarKind.STRING)))


def test_markers_tell_required_from_pointer_from_neither() -> None:
    fields = thing().fields
    assert (fields["metadata"].required, fields["metadata"].pointer) == (True, False)
    assert (fields["count"].required, fields["count"].pointer) == (False, True)
    assert [name for name, field in fields.items() if field.keeps_zero] == ["metadata", "count", "rules"]


def test_the_words_after_a_type() -> None:
    fields = thing().fields
    assert fields["strategy"].patch_strategies == ("retainKeys",)
    assert (fields["tags"].list_type, fields["tags"].patch_strategies) == ("set", ("merge",))
    assert fields["selector"].map_type == "atomic"
    assert (fields["rules"].list_type, fields["rules"].always) == ("atomic", True)


def test_an_object_has_kind_and_api_version_and_the_fields_of_what_it_inlines() -> None:
    assert list(thing().fields)[:3] == ["kind", "apiVersion", "metadata"]
    assert thing().fields["shared"].number == 1
    assert [field.name for field in thing().own_fields].count("") == 1


def test_the_head_of_a_block() -> None:
    part = types().struct("things/v1.Part")
    assert part.map_type == "atomic"
    assert not part.is_object
    assert part.unions == (Union("type", {"one": "One", "two": "Two"}), Union("", {"three": "Three"}))


def test_descriptions_stand_behind_two_dashes() -> None:
    assert thing().description == "something to look at"
    assert thing().fields["parts"].description == "what it is made of -- all of it"


def test_types_refer_to_each_other_across_files_and_in_circles() -> None:
    meta = struct_of(thing().fields["metadata"].type)
    part = types().struct("things/v1.Part")
    assert meta is not None
    assert list(meta.fields) == ["name"]
    assert struct_of(part.fields["inner"].type) is part


def test_names_for_go() -> None:
    assert (thing().go_name, thing().short_name, thing().group_version) == ("v1.Thing", "Thing", "things/v1")


def test_a_block_is_read_only_when_it_is_needed() -> None:
    broken = types(TEXT + "\ntype Broken\n  1 a nonsense\n")
    assert broken.struct("things/v1.Part").fields
    assert broken.names("things/v1") == (
        "things/v1.Thing",
        "things/v1.Part",
        "things/v1.Common",
        "things/v1.Broken",
    )
    with pytest.raises(TypesError, match=r"things/v1\.types line 26: Broken: unknown type 'nonsense'"):
        broken.struct("things/v1.Broken")


def test_a_type_is_found_only_once() -> None:
    known = types()
    assert known.struct("things/v1.Part") is known.struct("things/v1.Part")


@pytest.mark.parametrize("name", ["things/v1.Nothing", "nothing/v1.Thing", "Thing"])
def test_what_is_not_there_is_a_lookup_error(name: str) -> None:
    with pytest.raises(LookupError):
        types().struct(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  1 a string\n", "things/v1.types line 1: a file begins with"),
        ("type A\n  1 a\n", "things/v1.types line 2: A: not `<number> <name> <type> <attributes>`: '1 a'"),
        ("type A\n\n  x a string\n", "things/v1.types line 3: A: not"),
        ("type A\n  1 a string wrong\n", "things/v1.types line 2: A: unknown attribute 'wrong'"),
        ("type A\n  1 a string set\n", "things/v1.types line 2: A: unknown attribute 'set'"),
        ("type A\n  1 a [string\n", "things/v1.types line 2: A: unknown type '[string'"),
        ("type A\n  1 a []\n", "things/v1.types line 2: A: unknown type ''"),
        ("type A strange\n", "things/v1.types line 1: A: unknown attribute 'strange'"),
        ("type A\n\ntype A\n", "things/v1.types line 3: A is there twice"),
    ],
)
def test_a_text_that_breaks_the_form_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(TypesError) as caught:
        types(text).struct("things/v1.A")
    assert message in str(caught.value)


def test_only_a_struct_can_be_inlined() -> None:
    with pytest.raises(LookupError, match="only a struct can be inlined"):
        _ = types("type A\n  1 * string\n").struct("things/v1.A").fields
