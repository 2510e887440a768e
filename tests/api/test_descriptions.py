"""What `kubectl explain` says of the built-in types: something of every type and field, and briefly."""

from collections.abc import Iterator

import pytest

from tiphys.api.types import TYPES, group_versions

LONGEST = 200
"""Characters; two lines of a terminal, about."""


def _descriptions(group_version: str) -> Iterator[tuple[str, str]]:
    """Names of types and fields with their descriptions, "core/v1.Pod.spec"."""
    for name in TYPES.names(group_version):
        struct = TYPES.struct(name)
        yield name, struct.description
        for field in struct.fields.values():
            yield f"{name}.{field.name}", field.description


@pytest.mark.parametrize("group_version", group_versions())
def test_every_type_and_field_is_described(group_version: str) -> None:
    silent = [name for name, text in _descriptions(group_version) if not text]
    assert not silent, f"write ` -- description` behind the rows of {silent}"


@pytest.mark.parametrize("group_version", group_versions())
def test_descriptions_are_brief_sentences(group_version: str) -> None:
    odd = [
        f"{name}: {text!r}"
        for name, text in _descriptions(group_version)
        if len(text) > LONGEST or not text.isprintable() or not text.endswith(".")
    ]
    assert not odd, f"one sentence of at most {LONGEST} characters on one line, with a full stop: {odd}"
