"""What disks, file systems and people do to the files of a stopped Parsec, at places a seed decides."""

from pathlib import Path
from random import Random

PAGE = 4096


def segments(data_dir: Path) -> list[Path]:
    """The log's segments, oldest first."""
    return sorted((data_dir / "segments").glob("*.log"))


def set_aside(data_dir: Path) -> list[Path]:
    """Every damaged file, or piece of one, that Parsec has put beside."""
    return sorted(data_dir.rglob("*.corrupt"))


def flip_bit(path: Path, chance: Random) -> None:
    """One bit becomes another."""
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, chance: Random) -> None:
    """The file ends anywhere before its end."""
    with path.open("r+b") as file:
        file.truncate(chance.randrange(path.stat().st_size))


def zero_page(path: Path, chance: Random) -> None:
    """One whole page reads as zeros."""
    size = path.stat().st_size
    at = chance.randrange(max(size // PAGE, 1)) * PAGE
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(min(PAGE, size - at)))


def overwrite(path: Path, chance: Random) -> None:
    """As many random bytes as there were bytes."""
    path.write_bytes(chance.randbytes(path.stat().st_size))


def delete(path: Path, chance: Random) -> None:
    """The file is gone."""
    path.unlink()


def flip_bit_at(path: Path, byte: int, bit: int = 0) -> None:
    """This one."""
    with path.open("r+b") as file:
        file.seek(byte)
        (value,) = file.read(1)
        file.seek(byte)
        file.write(bytes([value ^ 1 << bit]))


def compressed_blocks(path: Path) -> list[int]:
    """Where each compressed block of a file of the store begins: a checksum of 16 bytes, a method, two lengths."""
    data, blocks, at = path.read_bytes(), [], 0
    while at + 25 <= len(data):
        blocks.append(at)
        at += 16 + int.from_bytes(data[at + 17 : at + 21], "little")
    return blocks
