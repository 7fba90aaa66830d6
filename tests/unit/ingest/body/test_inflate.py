"""Inflating: formats, members, bounds, damage."""

import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from parsec.core.errors import Rejected
from parsec.ingest.body import inflate
from parsec.ingest.body.inflate import inflater

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b'{"message":"hello"}\n' * 5000
LIMIT = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    codec = zlib.compressobj(wbits=-15)
    return codec.compress(data) + codec.flush()


FORMS = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "DEFLATE": raw_deflate(TEXT),
    " zstd ": zstd.compress(TEXT),
    "identity": TEXT,
    "": TEXT,
}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
}


def inflated(encoding: str | None, data: bytes, step: int, limit: int = LIMIT) -> bytes:
    one = inflater(encoding, limit)
    plain = b"".join(part for at in range(0, len(data), step) for part in one.feed(data[at : at + step]))
    one.finish()
    return plain


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("encoding", FORMS)
def test_every_format_comes_back_whole_however_it_is_cut(encoding: str, step: int) -> None:
    assert inflated(encoding, FORMS[encoding], step) == TEXT


def test_no_header_means_no_encoding() -> None:
    assert inflated(None, b"abc", 2) == b"abc"


@pytest.mark.parametrize("step", [1, 50, 1 << 20])
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_members_after_one_another_are_one_body(encoding: str, step: int) -> None:
    pack = COMPRESSED[encoding]
    assert inflated(encoding, pack(b"one,") + pack(b"") + pack(b"two"), step) == b"one,two"


def test_zeros_after_a_gzip_member_are_padding() -> None:
    assert inflated("gzip", gzip.compress(b"one,") + bytes(600) + gzip.compress(b"two") + bytes(3), 100) == b"one,two"


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(encoding: str) -> None:
    data = COMPRESSED[encoding](bytes(1000))
    assert inflated(encoding, data, 10, limit=1000) == bytes(1000)
    with pytest.raises(Rejected) as refused:
        inflated(encoding, data, 10, limit=999)
    assert (refused.value.code, refused.value.status) == ("payload_too_large", 413)


def test_plain_bytes_are_counted_too() -> None:
    with pytest.raises(Rejected, match="larger than 10 bytes"):
        inflated("", b"12345678901", 4, limit=10)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_bomb_is_refused_before_it_inflates(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    kept = inflate.Inflater._count

    def count(self: inflate.Inflater, size: int) -> None:
        made.append(size)
        kept(self, size)

    monkeypatch.setattr(inflate.Inflater, "_count", count)
    with pytest.raises(Rejected) as refused:
        inflated(encoding, COMPRESSED[encoding](bytes(50 << 20)), 64 << 10, limit=LIMIT)
    assert refused.value.code == "payload_too_large"
    assert 0 < sum(made) <= LIMIT + 1


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_body_that_ends_early_is_damaged(encoding: str, step: int) -> None:
    data = COMPRESSED[encoding](TEXT)
    for kept in (1, 5, len(data) // 2, len(data) - 1):
        with pytest.raises(Rejected) as refused:
            inflated(encoding, data[:kept], step)
        assert (refused.value.code, refused.value.status) == ("invalid_encoding", 400)


@pytest.mark.parametrize(
    "data", [b"not compressed at all", gzip.compress(TEXT)[:-6] + b"xxxxxx", gzip.compress(TEXT) + b"garbage"]
)
@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_damage_is_named(encoding: str, data: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        inflated(encoding, data, 1 << 20)
    assert refused.value.code == "invalid_encoding"
    assert refused.value.field == "Content-Encoding"


def test_an_empty_body_is_empty_whatever_its_encoding() -> None:
    assert inflated("gzip", b"", 1) == b""


def test_a_zstd_window_of_more_than_eight_mebibytes_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 24, zstd.CompressionParameter.content_size_flag: 0}
    codec = zstd.ZstdCompressor(options=options)
    data = codec.compress(bytes(1000)) + codec.flush()
    with pytest.raises(Rejected) as refused:
        inflated("zstd", data, 1 << 20)
    assert refused.value.code == "invalid_encoding"


def test_a_flood_of_empty_members_is_refused() -> None:
    one = gzip.compress(b"")
    assert inflated("gzip", one * inflate.MAX_MEMBERS, 1 << 16) == b""
    with pytest.raises(Rejected, match="members"):
        inflated("gzip", one * (inflate.MAX_MEMBERS + 1), 1 << 16)


@pytest.mark.parametrize("encoding", ["br", "compress", "gzip, gzip", "zip"])
def test_other_encodings_are_refused_with_what_exists(encoding: str) -> None:
    with pytest.raises(Rejected, match="gzip, zstd, deflate") as refused:
        inflater(encoding, LIMIT)
    assert (refused.value.code, refused.value.status) == ("unsupported_encoding", 415)


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_bomb_comes_in_small_parts_each_made_when_it_is_asked_for(encoding: str) -> None:
    one = inflater(encoding, 100 << 20)
    bomb = COMPRESSED[encoding](bytes(50 << 20))
    tracemalloc.start()
    try:
        sizes = [len(part) for part in one.feed(bomb)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 50 << 20
    assert max(sizes) <= inflate.PART_BYTES
    one.finish()
    assert peak < 2 << 20


def test_bytes_that_inflate_to_nothing_are_counted() -> None:
    frame = b"\x50\x2a\x4d\x18" + (LIMIT * 2).to_bytes(4, "little")  # zstd skips what it announces
    with pytest.raises(Rejected) as refused:
        inflated("zstd", zstd.compress(b"[]") + frame + bytes(LIMIT * 2), 1000)
    assert refused.value.code == "payload_too_large"
    with pytest.raises(Rejected) as refused:
        inflated("gzip", gzip.compress(b"[]") + bytes(LIMIT * 2), 1000)
    assert refused.value.code == "payload_too_large"


@pytest.mark.parametrize("encoding", COMPRESSED)
def test_what_grows_a_lot_is_noticed_before_it_is_large(encoding: str) -> None:
    bomb, logs = inflater(encoding, 100 << 20), inflater(encoding, 100 << 20)
    parts = bomb.feed(COMPRESSED[encoding](bytes(50 << 20)))
    before = 0
    while not bomb.swells():
        before += len(next(parts))
    assert before <= 512 << 10
    lines = b"".join(b'{"id":"%032x","message":"GET /users/%d 200"}\n' % (n * 7919**9, n) for n in range(20_000))
    for _ in logs.feed(COMPRESSED[encoding](lines)):
        assert not logs.swells()
