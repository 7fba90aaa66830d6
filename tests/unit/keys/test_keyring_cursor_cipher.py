"""A sealed text comes back as it was, from the same secret only, and as nothing once a bit of it differs."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.keys.keyring import CursorCipher

SEAL = CursorCipher(b"secret")


@given(st.text(max_size=300))
def test_what_was_sealed_is_opened_by_the_same_secret_only(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    assert SEAL.decrypt(SEAL.encrypt(text)) == CursorCipher(b"secret").decrypt(SEAL.encrypt(text)) == text
    assert CursorCipher(b"another").decrypt(SEAL.encrypt(text)) is None


@given(st.integers(0, 8 * 30), st.sampled_from(["", "a", "offset 41", "offset 4711"]))
def test_no_bit_may_differ(bit: int, text: str) -> None:
    sealed = SEAL.encrypt(text)
    whole = bytearray(base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4)))
    whole[bit // 8 % len(whole)] ^= 1 << bit % 8
    assert SEAL.decrypt(base64.urlsafe_b64encode(whole).decode().rstrip("=")) is None


def test_nothing_shows_and_neighbours_look_unlike() -> None:
    one, other = (base64.urlsafe_b64decode(SEAL.encrypt(f"the offset is {n}.") + "==") for n in (1, 2))
    assert b"offset" not in one
    assert sum(a == b for a, b in zip(one, other, strict=True)) < 5
    assert SEAL.encrypt("x") == SEAL.encrypt("x")


@pytest.mark.parametrize("text", ["", "x", "-", "é", "=" * 8, "a" * 5000, "A" * 21, "\x00"])
def test_what_was_never_sealed_is_nothing(text: str) -> None:
    assert SEAL.decrypt(text) is None
