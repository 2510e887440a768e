"""UIDs of new objects: version 4 of RFC 9562, and none twice."""

from __future__ import annotations

from uuid import RFC_4122, UUID

from tiphys.apiserver.registry.metadata import random_uid

# More than are drawn together, so that every variant will have been among them.
MANY = 64 * 64


def test_uids_are_random_and_of_the_form_that_they_claim() -> None:
    drawn = [random_uid() for _ in range(MANY)]
    assert len(set(drawn)) == MANY
    for text in drawn:
        uid = UUID(text)
        assert str(uid) == text
        assert (uid.version, uid.variant) == (4, RFC_4122)
    for place in set(range(36)) - {8, 13, 14, 18, 23}:
        digits = {text[place] for text in drawn}
        assert digits == set("89ab" if place == 19 else "0123456789abcdef")
