"""A key can be told from what is none, and from one with a typo."""

import random
import re

import pytest

from parsec.core.clock import SystemRandom
from parsec.keys.key import hash_of, name_of, new_key
from tests.support.ingesting import CountingRandom


def test_a_new_key_has_a_name_and_is_like_no_other() -> None:
    made = {new_key(SystemRandom()) for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"parsec_[0-9a-z]{8}_[0-9A-Za-z]{49}", key) for key in made)
    assert all(name_of(key) == key[7:15] for key in made)


def test_a_typo_anywhere_is_seen() -> None:
    key = new_key(CountingRandom())
    drawn = random.Random(1)
    for place in range(len(key)):
        other = drawn.choice([c for c in "0123456789abcXYZ_" if c != key[place]])
        assert name_of(key[:place] + other + key[place + 1 :]) is None
        assert name_of(key[:place] + key[place + 1 :]) is None


@pytest.mark.parametrize("text", ["", "null", "parsec_", "parsec_" + "0" * 58, "ключ", "x" * 1_000_000])
def test_what_is_no_key_has_no_name(text: str) -> None:
    assert name_of(text) is None


def test_a_hash_tells_nothing_of_the_key() -> None:
    key = new_key(CountingRandom())
    assert re.fullmatch(r"[0-9a-f]{64}", hash_of(key))
    assert hash_of(key) != hash_of(new_key(SystemRandom()))
