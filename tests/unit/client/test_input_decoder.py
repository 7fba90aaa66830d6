"""Compressed and encoded inputs are read; other binary data is refused by name."""

import bz2
import gzip
import io
import lzma
import os
import sqlite3
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.client.binary_types import binary_type
from parsec.client.input_decoder import InputDecoder
from parsec.core.errors import Rejected

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"one\ntwo \xc3\xa9\n" * 5_000


def read(content: bytes, step: int = 1 << 16, *, is_text: bool = False) -> tuple[bytes, str]:
    """What is read, and the problem."""
    decoder = InputDecoder((content[at : at + step] for at in range(0, len(content), step)), is_text=is_text)
    found = b"".join(chunk or b"" for chunk in decoder.chunks())
    return found, decoder.problem


def skippable(content: bytes) -> bytes:
    return b"\x5a\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


def zst(text: bytes) -> bytes:
    """As the command zstd writes it, with a checksum."""
    return zstd.compress(text, options={zstd.CompressionParameter.checksum_flag: 1})


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "gzip": gzip.compress,
    "gzip, two members": lambda text: gzip.compress(text[:1_000]) + gzip.compress(text[1_000:]),
    "gzip, a member a line": lambda text: b"".join(gzip.compress(line) for line in text.splitlines(keepends=True)),
    "gzip, padded": lambda text: gzip.compress(text[:7]) + bytes(600) + gzip.compress(text[7:]) + bytes(600),
    "zstd": zst,
    "zstd, two frames": lambda text: zst(text[:9]) + skippable(b"x" * 40) + zst(text[9:]),
    "zstd, skippable first": lambda text: skippable(b"head") + zst(text),
    "UTF-16LE": lambda text: b"\xff\xfe" + text.decode().encode("utf-16-le"),
    "UTF-16BE": lambda text: b"\xfe\xff" + text.decode().encode("utf-16-be"),
    "UTF-32": lambda text: text.decode().encode("utf-32"),
    "gzip of UTF-16": lambda text: gzip.compress(text.decode().encode("utf-16")),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("step", [7, 4096, 1 << 20])
def test_every_packing_gives_the_same_text(packing: str, step: int) -> None:
    assert read(PACKINGS[packing](TEXT), step) == (TEXT, "")


@pytest.mark.parametrize("packing", [name for name in PACKINGS if name != "as it is"])
@pytest.mark.parametrize("text", [b"", b"x", b'{"a":1}\n'])
def test_short_inputs_are_read_too(packing: str, text: bytes) -> None:
    assert read(PACKINGS[packing](text), 1)[0] == text


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_truncated_file_is_read_up_to_its_end_and_reported(name: str) -> None:
    whole = PACKINGS[name](os.urandom(300_000).hex().encode())
    found, problem = read(whole[:-1_000])
    assert len(found) > 10_000
    assert problem == f"the {name} data is truncated; everything before its end was sent"


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_damaged_file_gives_what_came_before(name: str) -> None:
    first = PACKINGS[name](b"first\n")
    second = bytearray(PACKINGS[name](os.urandom(300_000).hex().encode()))
    second[300:340] = bytes(40)
    found, problem = read(first + bytes(second))
    assert found.startswith(b"first\n")
    assert problem.startswith(f"the {name} data is damaged (")


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_small_file_with_a_wrong_checksum_gives_nearly_all(name: str) -> None:
    packed = PACKINGS[name](TEXT)
    found, problem = read(packed[:-4] + bytes(byte ^ 1 for byte in packed[-4:]))
    assert TEXT.startswith(found)
    assert len(found) > len(TEXT) - (9 << 10)
    assert "damaged" in problem


@pytest.mark.parametrize("packing", ["gzip", "zstd", "zstd, skippable first", "UTF-16LE", "UTF-16BE", "UTF-32"])
def test_a_pause_within_the_first_bytes_decides_nothing(packing: str) -> None:
    content = PACKINGS[packing](TEXT)
    decoder = InputDecoder(iter([content[:1], None, content[1:2], None, content[2:3], None, content[3:]]))
    assert b"".join(chunk or b"" for chunk in decoder.chunks()) == TEXT


def test_what_follows_the_last_member_is_named() -> None:
    assert read(gzip.compress(b"a\n") + b"plain") == (
        b"a\n",
        "the data after the gzip data is in another format, and was not sent",
    )


def test_a_cut_character_is_named() -> None:
    found, problem = read(b"\xff\xfea\0b")
    assert (found.decode(), problem) == ("a\ufffd", "the UTF-16 text ends in the middle of a character")


def test_half_a_pair_of_utf_16_is_replaced() -> None:
    assert read(b"\xff\xfe\x00\xd8a\0")[0].decode() == "\ufffda"


def test_an_error_of_the_disk_ends_the_input() -> None:
    def chunks() -> Iterable[bytes | None]:
        yield b"one\n"
        raise OSError(5, "Input/output error")

    decoder = InputDecoder(iter(chunks()))
    assert b"".join(chunk or b"" for chunk in decoder.chunks()) == b"one\n"
    assert decoder.problem == "reading failed: Input/output error"


@pytest.mark.parametrize("packing", ["as it is", "gzip", "zstd"])
def test_pauses_stay_where_they_are(packing: str) -> None:
    first, second = PACKINGS[packing](b"one\n"), PACKINGS[packing](b"two\n")
    decoder = InputDecoder(iter([None, first, None, second, None]))
    assert [chunk for chunk in decoder.chunks() if chunk != b""] == [b"one\n", None, b"two\n", None]


def test_a_bomb_is_read_in_small_parts() -> None:
    bomb = gzip.compress(bytes(50 << 20).replace(b"\0", b"x"))
    decoder = InputDecoder(iter([bomb]))
    sizes = [len(chunk or b"") for chunk in decoder.chunks()]
    assert (sum(sizes), max(sizes)) == (50 << 20, 8 << 10)


def archive(kind: str) -> bytes:
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w") as packed:
            packed.writestr("app.log", "one\n")
    else:
        with tarfile.open(fileobj=content, mode="w") as packed_tar:
            packed_tar.addfile(tarfile.TarInfo("app.log"))
    return content.getvalue()


def database(tmp_path: Path) -> bytes:
    with sqlite3.connect(tmp_path / "db") as made:
        made.execute("CREATE TABLE t (a)")
    made.close()
    return (tmp_path / "db").read_bytes()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (bz2.compress(TEXT), "bzip2 data"),
        (lzma.compress(TEXT), "xz data"),
        (archive("zip"), "a zip archive"),
        (archive("tar"), "a tar archive"),
        (gzip.compress(archive("tar")), "a tar archive"),
        (gzip.compress(gzip.compress(TEXT)), "gzip data within the compressed data"),
        (b"PAR1\x15\x04\x15\x10\x15", "a Parquet file"),
        (b"Obj\x01\x04\x14avro.codec\x08null", "an Avro file"),
        (Path(sys.executable).resolve().read_bytes()[:4096], "a program (ELF)"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
        (b"ElfFile\0\0\0\0\0", "a Windows event log (.evtx)"),
        (b"LPKSHHRH\0\0\0\0\x01\x00", "a journal of systemd"),
        (TEXT.decode().encode("utf-16-le"), "UTF-16LE text without a byte order mark"),
        (TEXT.decode().encode("utf-16-be"), "UTF-16BE text without a byte order mark"),
        (bytes(range(256)) * 4, "binary data of an unknown type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_binary_data_is_refused_by_name(content: bytes, name: str) -> None:
    with pytest.raises(Rejected) as refused:
        read(content)
    assert refused.value.code == "not_text"
    assert refused.value.message.startswith(f"it looks like {name}, which cannot be sent; ")


def test_a_database_is_refused_even_as_text(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="SQLite"):
        read(database(tmp_path), is_text=True)
    assert read(bytes(range(256)) * 4, is_text=True)[0] == bytes(range(256)) * 4


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"BZh9 is how bzip2 begins\n",
        b"PK\n",
        b"MZ\n",
        b"MZ \xfcber\n",  # ISO 8859-1
        b"%PDF-1.7 was printed\n",
        b"caf\xe9 ferm\xe9\n",  # ISO 8859-1
        "\u30ed\u30b0\u30a4\u30f3\u5931\u6557\n".encode("shift-jis"),
        "\u043e\u0448\u0438\u0431\u043a\u0430\n".encode("cp1251"),
        bytes(4096) + b"after a power cut\n",
        b"\x1b[31mERROR\x1b[0m red\n",
        b"bell \x07\n",
        b"\xff two\n",
        "\u767b\u5f55\u5931\u8d25".encode() * 200,  # the first bytes end within a character
    ],
)
def test_text_is_never_refused(text: bytes) -> None:
    assert read(text)[0] == text


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=600))
def test_no_text_in_utf_8_looks_binary(text: str) -> None:
    assert binary_type(text.encode()) is None
