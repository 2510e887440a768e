"""The committed descriptor sets are those of their sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.net.compile_messages import descriptor_set, directories
from tiphys.net.grpc_messages import FILE


def test_all_sources_are_found() -> None:
    assert [path.name for path in directories()] == ["encryption", "devices", "cri"]


@pytest.mark.parametrize("directory", directories(), ids=lambda path: path.name)
def test_the_descriptor_set_is_that_of_the_sources(directory: Path) -> None:
    assert (directory / FILE).read_bytes() == descriptor_set(directory), "run: make messages"
