"""Parse and print sizes and times as people write them: 64MiB, 10m, 1.5h.

In: a text and its unit. Out: a number of bytes or seconds, and back. Errors: ValueError with the valid form.
"""

import re
from typing import Literal

Unit = Literal["bytes", "seconds", "milliseconds", ""]

_SIZES = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
          "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}  # fmt: skip
_TIMES = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_NO_UNITS = {"": 1}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", re.ASCII)
_EXAMPLES: dict[Unit, str] = {
    "bytes": "a size such as 64MiB",
    "seconds": "a time such as 10m",
    "milliseconds": "a number such as 100",
    "": "a number such as 100",
}
_PRINTED_SIZES = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_PRINTED_TIMES = (("d", 86400), ("h", 3600), ("m", 60))


def parse_quantity(text: str, unit: Unit) -> float:
    """The number in bytes, in seconds, or without a unit. Whole numbers of any length stay exact."""
    match = _QUANTITY.fullmatch(text)
    if not match:
        raise ValueError(f"must be {_EXAMPLES[unit]}")
    number = float(match[1]) if "." in match[1] else int(match[1])
    scale: float | None
    if unit == "bytes":
        scale = _SIZES.get(match[2].upper())
    elif unit == "seconds":
        scale = _TIMES.get(match[2])
    else:
        scale = _NO_UNITS.get(match[2])
    if scale is None:
        raise ValueError(f"has an unknown unit {match[2]!r}; write {_EXAMPLES[unit]}")
    return number * scale


def show_quantity(value: object, unit: Unit) -> str:
    """A value in its shortest form: 64MiB, 10m, 8080. `parse_quantity` reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and unit != "seconds":
        value = int(value)
    if not isinstance(value, int | float) or unit not in ("bytes", "seconds"):
        return str(value)
    for name, size in _PRINTED_SIZES if unit == "bytes" else _PRINTED_TIMES:
        if value >= size and value % size == 0:
            return f"{value // size:.0f}{name}"
    if unit == "bytes":
        return str(value)
    return f"{value:.15g}s"
