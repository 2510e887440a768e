"""Bodies in slices."""

from hypothesis import given
from hypothesis import strategies as st

from tiphys.net.exchange import slices


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 16))
def test_slices_are_the_same_bytes_in_bounded_parts(pieces: list[bytes], size: int) -> None:
    parts = list(slices(pieces, size))
    assert b"".join(parts) == b"".join(pieces)
    assert all(len(part) <= size for part in parts)


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=50))
def test_small_pieces_are_joined(pieces: list[bytes]) -> None:
    parts = list(slices(pieces, 16))
    assert all(len(part) > 16 - 4 for part in parts[:-1])
