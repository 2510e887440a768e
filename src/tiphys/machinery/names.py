"""Names: which ones are allowed, and how generated ones are made.

Rules and messages are upstream's (apimachinery `api/validate/content` and `util/validation`, apiserver
`storage/names`). A validator answers with a list of messages; an empty list means that the value is good.
"""

from typing import Protocol

# No vowels and no digits that look like letters: a generated name never spells a word.
SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_SUFFIX_LENGTH = 5
GENERATED_NAME_LIMIT = 63


class Random(Protocol):
    """The part of `random.Random` that makes names."""

    def choices(self, population: str, *, k: int) -> list[str]: ...


def random_suffix(random: Random, length: int = GENERATED_SUFFIX_LENGTH) -> str:
    return "".join(random.choices(SAFE_ALPHABET, k=length))


def simple_generate(base: str, random: Random) -> str:
    """`generateName` plus five characters; the base is cut to 58 so that the name stays a DNS label."""
    return base[: GENERATED_NAME_LIMIT - GENERATED_SUFFIX_LENGTH] + random_suffix(random)


def safe_encode(text: str) -> str:
    """Each character of `text` as one of SAFE_ALPHABET (several share one: it only makes a hash presentable)."""
    return "".join(SAFE_ALPHABET[ord(character) % len(SAFE_ALPHABET)] for character in text)
