"""Field errors in upstream's words."""

import pytest

from tiphys.machinery.fields import FieldError, Path, aggregate

SPEC = Path("spec")


def test_paths_name_children_indices_and_keys() -> None:
    containers = SPEC.child("containers")
    assert str(containers.index(0).child("env").key("HOME")) == "spec.containers[0].env[HOME]"
    assert str(SPEC.child("a", "b")) == "spec.a.b"
    assert str(containers) == "spec.containers"


def test_a_path_from_nowhere_starts_with_its_first_child() -> None:
    assert str(Path()) == "<nil>"
    assert str(Path().child("metadata")) == "metadata"


@pytest.mark.parametrize(
    ("error", "text", "kind"),
    [
        (FieldError.required(SPEC), "Required value", "FieldValueRequired"),
        (
            FieldError.required(SPEC, "name or generateName is required"),
            "Required value: name or generateName is required",
            "FieldValueRequired",
        ),
        (FieldError.invalid(SPEC, "x", "no"), 'Invalid value: "x": no', "FieldValueInvalid"),
        (FieldError.invalid(SPEC, -1, "no"), "Invalid value: -1: no", "FieldValueInvalid"),
        (FieldError.invalid(SPEC, None, "no"), "Invalid value: null: no", "FieldValueInvalid"),
        (FieldError.invalid(SPEC, {"a": "b"}, "no"), 'Invalid value: {"a":"b"}: no', "FieldValueInvalid"),
        (
            FieldError.type_invalid(SPEC, 1, "must be string"),
            "Invalid value: 1: must be string",
            "FieldValueTypeInvalid",
        ),
        (
            FieldError.not_supported(SPEC, "x", ["a", "b"]),
            'Unsupported value: "x": supported values: "a", "b"',
            "FieldValueNotSupported",
        ),
        (FieldError.not_supported(SPEC, "x", []), 'Unsupported value: "x"', "FieldValueNotSupported"),
        (FieldError.duplicate(SPEC, "x"), 'Duplicate value: "x"', "FieldValueDuplicate"),
        (FieldError.forbidden(SPEC, "not now"), "Forbidden: not now", "FieldValueForbidden"),
        (FieldError.not_found(SPEC, "vol"), 'Not found: "vol"', "FieldValueNotFound"),
        (FieldError.too_long(SPEC, 63), "Too long: may not be more than 63 bytes", "FieldValueTooLong"),
        (FieldError.too_long(SPEC, 1), "Too long: may not be more than 1 byte", "FieldValueTooLong"),
        (FieldError.too_long(SPEC, -1), "Too long: value is too long", "FieldValueTooLong"),
        (
            FieldError.too_long_characters(SPEC, 2),
            "Too long: may not be more than 2 characters",
            "FieldValueTooLong",
        ),
        (FieldError.too_short(SPEC, "", 1), "Too short: must be at least 1 character", "FieldValueTooShort"),
        (FieldError.too_many(SPEC, 3, 2), "Too many: 3: must have at most 2 items", "FieldValueTooMany"),
        (FieldError.too_many(SPEC, -1, 1), "Too many: must have at most 1 item", "FieldValueTooMany"),
        (FieldError.too_few(SPEC, 0, 1), "Too few: 0: must have at least 1 item", "FieldValueTooFew"),
        (FieldError.internal(SPEC, "boom"), "Internal error: boom", "InternalError"),
    ],
)
def test_messages(error: FieldError, text: str, kind: str) -> None:
    assert error.body() == text
    assert str(error) == f"spec: {text}"
    assert error.kind == kind


def test_several_errors_stand_in_brackets_and_equal_ones_once() -> None:
    one, two = FieldError.required(SPEC), FieldError.forbidden(SPEC, "no")
    assert aggregate([one]) == "spec: Required value"
    assert aggregate([one, two, one]) == "[spec: Required value, spec: Forbidden: no]"
