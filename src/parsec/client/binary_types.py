"""Recognises binary data by its first bytes, so that it is refused by name with the way to convert it.

In: the first bytes of an input. Out: a name and a remedy, or None. Errors: none. Next: parsec.client.input_decoder.
"""

import codecs
from typing import NamedTuple


class BinaryType(NamedTuple):
    """`name` completes "it looks like"; `remedy` says what to do."""

    name: str
    remedy: str


HEAD_BYTES = 512
"""Enough for the signature of a tar archive, at byte 257."""
_TO_LINES = "convert it to JSON lines first"
_NOT_LOGS = "send the text it holds, if any"
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"BZh", "bzip2 data", "decompress it first: bzip2 -dc FILE | parsec send"),
    (0, b"\xfd7zXZ\0", "xz data", "decompress it first: xz -dc FILE | parsec send"),
    (0, b"\x04\x22\x4d\x18", "lz4 data", "decompress it first: lz4 -dc FILE | parsec send"),
    (0, b"\xff\x06\0\0sNaPpY", "snappy data", "decompress it first"),
    (0, b"LZIP", "lzip data", "decompress it first: lzip -dc FILE | parsec send"),
    (0, b"\x1f\x9d", "data of compress (.Z)", "decompress it first: zcat FILE | parsec send"),
    (0, b"\x1f\x8b", "gzip data within the compressed data", "decompress it twice: zcat FILE | zcat | parsec send"),
    (0, b"\x28\xb5\x2f\xfd", "zstd data within the compressed data", "decompress it twice"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "extract it first"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "extract it first"),
    *((0, b"PK" + kind, "a zip archive", "extract it first: unzip -p FILE | parsec send")
      for kind in (b"\3\4", b"\5\6", b"\7\x08")),
    (257, b"ustar", "a tar archive", "extract it first: tar -xOf FILE | parsec send"),
    (0, b"!<arch>\n", "an ar archive", "extract it first"),
    (0, b"PAR1", "a Parquet file", _TO_LINES),
    (0, b"Obj\x01", "an Avro file", _TO_LINES),
    (0, b"ORC", "an ORC file", _TO_LINES),
    (0, b"ARROW1", "an Arrow file", _TO_LINES),
    (0, b"SQLite format 3\0", "a SQLite database", _TO_LINES),
    (0, b"ElfFile\0", "a Windows event log (.evtx)", _TO_LINES),
    (0, b"LPKSHHRH", "a journal of systemd", "send its entries: journalctl -o json --file FILE | parsec send"),
    (0, b"\x89HDF\r\n", "an HDF5 file", _TO_LINES),
    (0, b"\xd4\xc3\xb2\xa1", "captured packets (pcap)", _NOT_LOGS),
    (0, b"\xa1\xb2\xc3\xd4", "captured packets (pcap)", _NOT_LOGS),
    (0, b"\x0a\x0d\x0d\x0a", "captured packets (pcapng)", _NOT_LOGS),
    (0, b"\x7fELF", "a program (ELF)", _NOT_LOGS),
    (0, b"MZ", "a program for Windows", _NOT_LOGS),
    (0, b"\xca\xfe\xba\xbe", "a program (Java class or Mach-O)", _NOT_LOGS),
    (0, b"\xcf\xfa\xed\xfe", "a program (Mach-O)", _NOT_LOGS),
    (0, b"%PDF-", "a PDF document", _NOT_LOGS),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an older Office", _NOT_LOGS),
    (0, b"\x89PNG\r\n", "a PNG image", _NOT_LOGS),
    (0, b"\xff\xd8\xff", "a JPEG image", _NOT_LOGS),
    (0, b"GIF8", "a GIF image", _NOT_LOGS),
)  # fmt: skip
_TEXT_CONTROLS = b"\t\n\r\x0b\f\b\x1b"
_CONTROLS = bytes(code for code in (*range(1, 32), 127) if code not in _TEXT_CONTROLS)
_MOST_CONTROLS = 0.03
"""Text in an 8-bit encoding has hardly any; data that look random have a tenth."""
_LEAST_WIDE = 16
_SHORT_SIGNATURE = 3


def binary_type(head: bytes, *, named_only: bool = False) -> BinaryType | None:
    """None: text, as far as the first bytes tell. `named_only`: only types with a signature; nothing is guessed."""
    head = head[:HEAD_BYTES]
    is_utf8 = _is_utf8(head)
    controls = sum(head.count(code) for code in _CONTROLS)
    if is_utf8 and not controls and not head.count(0):
        return None
    for at, mark, name, remedy in _SIGNATURES:
        # A short signature may begin a line in an 8-bit encoding, which has no zeros.
        if head.startswith(mark, at) and (len(mark) > _SHORT_SIGNATURE or controls or head.count(0)):
            return BinaryType(name, remedy)
    if named_only:
        return None
    wide = _wide(head)
    if wide is not None:
        remedy = f"convert it first: iconv -f {wide} -t UTF-8 FILE | parsec send"
        return BinaryType(f"{wide} text without a byte order mark", remedy)
    # Zeros alone prove nothing: a power cut leaves runs of them in text files.
    suspicious = controls if is_utf8 else controls + head.count(0)
    if suspicious > len(head) * _MOST_CONTROLS and (suspicious > 2 or not is_utf8):
        return BinaryType("binary data of an unknown type", "send text or JSON, or --text if it is text")
    return None


def _is_utf8(head: bytes) -> bool:
    """The last character may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _wide(head: bytes) -> str | None:
    """UTF-16 of mostly ASCII characters: every other byte is zero, and only those."""
    pairs = len(head) // 2
    if pairs < _LEAST_WIDE:
        return None
    even, odd = head[0 : 2 * pairs : 2].count(0), head[1 : 2 * pairs : 2].count(0)
    for zeros, others, name in ((odd, even, "UTF-16LE"), (even, odd, "UTF-16BE")):
        if zeros > pairs * 0.6 and others < pairs * 0.1:
            return name
    return None
