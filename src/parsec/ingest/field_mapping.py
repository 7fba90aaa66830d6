"""Field mapping: which fields of an event hold its message, timestamp and so on, by the address of the request.

In: a query string such as `message_field=log,msg&tenant_id=acme`. Out: a FieldMap. Errors: Rejected(unknown_parameter,
invalid_parameter) and those of parsec.api.event_rules for constants. Next: parsec.ingest.normalize.

`<field>_field` lists names to try in order; the standard name is tried last unless listed. A name with dots is also a
path into nested objects, unless a field has the literal name. `tenant_id`, `source` and `severity` apply to events that
have none, `severity_numbers` to severities that are numbers, `ack` to the request. Unknown fields of an event move into
its metadata (`join`).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl

import msgspec

from parsec.api.event_rules import (
    SEVERITY_NAMES,
    SOURCES,
    TENANTS,
    Cache,
    check_key_count,
    check_metadata,
    require_object,
    too_large,
)
from parsec.core.errors import Rejected
from parsec.core.severity import SCALES, Scale
from parsec.ingest.body.fast_path import NO_METADATA, UNREADABLE, Fields

AckMode = Literal["durable", "enqueued"]
"""What an answer waits for: the log, or no more than the queue."""

STANDARD = ("id", "tenant_id", "timestamp", "severity", "source", "message", "metadata")
PARAMETERS = {
    "id_field": "id", "tenant_field": "tenant_id", "timestamp_field": "timestamp", "severity_field": "severity",
    "source_field": "source", "message_field": "message",
}  # fmt: skip
CONSTANTS = {"tenant_id": TENANTS, "source": SOURCES, "severity": SEVERITY_NAMES}
SCALES_OF_NAMES: dict[str, Scale] = {"severitynumber": "otel", "severity_number": "otel", "levelno": "python"}
"""Fields that hold numbers of one scale only."""
CHOICES = {"ack": get_args(AckMode), "severity_numbers": SCALES}
MAX_NAMES = 16
MAX_NAME_CHARS = 256
_MAX_CACHED_BYTES = 2048


class FieldMap(msgspec.Struct, frozen=True):
    """Names to try in order for each field, and defaults for events that have none ('' for no default).

    `standard_only`: no listed name is another standard field or a path into one, so that the lists do not matter to an
    event with standard fields only. `renames`: there are lists. `canonical`: all parameters but the tenant, in one
    order; part of derived ids.
    """

    id: tuple[str, ...] = ("id",)
    tenant_id: tuple[str, ...] = ("tenant_id",)
    timestamp: tuple[str, ...] = ("timestamp",)
    severity: tuple[str, ...] = ("severity",)
    source: tuple[str, ...] = ("source",)
    message: tuple[str, ...] = ("message",)
    default_tenant_id: str = ""
    default_source: str = ""
    default_severity: str = ""
    standard_only: bool = True
    renames: bool = False
    canonical: str = ""
    severity_numbers: Scale | None = None
    ack: AckMode = "durable"

    @staticmethod
    def parse(query_string: bytes) -> "FieldMap":
        """Parsed once per distinct query string. Raises Rejected."""
        return _parse_cached(query_string) if len(query_string) <= _MAX_CACHED_BYTES else _parse(query_string)


PLAIN = FieldMap()


def _parse(query_string: bytes) -> FieldMap:
    if not query_string:
        return PLAIN
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise Rejected("invalid_parameter", "The query string is not percent-encoded UTF-8.") from None
    lists: dict[str, tuple[str, ...]] = {}
    constants: dict[str, str] = {}
    words: dict[str, str] = {}
    for name, text in pairs:
        if name in lists or name in constants or name in words:
            remedy = "list names with commas between" if name in PARAMETERS else "give it once"
            raise Rejected("invalid_parameter", f"`{name}` is given twice; {remedy}.", field=name)
        if name in CHOICES:
            words[name] = _word(name, text)
        elif name in PARAMETERS:
            lists[name] = _names(name, text)
        elif name in CONSTANTS:
            constants[name] = _constant(name, text)
        else:
            known = ", ".join(sorted({*PARAMETERS, *CONSTANTS, *CHOICES}))
            message = f"Unknown parameter `{name[:64]}`. Valid parameters: {known}."
            raise Rejected("unknown_parameter", message, field=name[:64])
    tried = {PARAMETERS[name]: names for name, names in lists.items()}
    values: dict[str, Any] = words | {f: names if f in names else (*names, f) for f, names in tried.items()}
    scale = next((SCALES_OF_NAMES[name] for name in _last_parts(lists) if name in SCALES_OF_NAMES), None)
    values.setdefault("severity_numbers", scale)
    values |= {f"default_{name}": value for name, value in constants.items()}
    touched = any(_touches_standard(field, name) for field, names in tried.items() for name in names)
    return FieldMap(
        **values, standard_only=not touched, renames=bool(lists), canonical=_canonical(lists, constants, words)
    )


_parse_cached = lru_cache(maxsize=256)(_parse)


def _canonical(lists: dict[str, tuple[str, ...]], constants: dict[str, str], words: dict[str, str]) -> str:
    values = {name: ",".join(names) for name, names in lists.items()} | constants | words
    return "".join(f"\0{name}={values[name]}" for name in sorted(values) if name not in ("tenant_id", "ack"))


def _names(parameter: str, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if len(names) > MAX_NAMES or not all(0 < len(name) <= MAX_NAME_CHARS for name in names):
        raise Rejected(
            "invalid_parameter",
            f"`{parameter}` must list 1 to {MAX_NAMES} names of 1 to {MAX_NAME_CHARS} characters, with commas between.",
            field=parameter,
        )
    return names


def _last_parts(lists: dict[str, tuple[str, ...]]) -> list[str]:
    """Of the names to try for the severity, in lower case."""
    return [name.rpartition(".")[2].lower() for name in lists.get("severity_field", ())]


def _word(name: str, text: str) -> str:
    if text not in CHOICES[name]:
        raise Rejected("invalid_parameter", f"`{name}` must be {' or '.join(CHOICES[name])}.", field=name)
    return text


def _constant(name: str, text: str) -> str:
    if not text.strip():
        raise Rejected("invalid_parameter", f"`{name}` is blank; leave it out or give it a value.", field=name)
    return CONSTANTS[name][text]


def _touches_standard(field: str, name: str) -> bool:
    return name != field and name.partition(".")[0] in STANDARD


_TEXT = msgspec.json.Decoder(str)
_FIELDS = msgspec.json.Decoder(Fields)
_BYTES = msgspec.json.Decoder(list[Annotated[int, msgspec.Meta(ge=0, le=255)]])
_NOTHING = frozenset((b"null", b'""'))
_STANDARD = frozenset(STANDARD)


def pick(fields: Fields, names: Sequence[str], used: set[str]) -> bytes:
    """The JSON of the first of `names` that is there and neither null nor ""; empty if none is.

    Its name is added to `used`, unless it is a path: the value at a path also stays in its place.
    """
    for name in names:
        raw = fields.get(name)
        if raw is not None:
            text = bytes(raw)
            if text not in _NOTHING:
                used.add(name)
                return text
        elif "." in name and (raw := nested(fields, name)) is not None:
            text = bytes(raw)
            if text not in _NOTHING:
                return text
    return b""


def pick_text(fields: Fields, names: Sequence[str], field: str, used: set[str]) -> str:
    """The same as a string. Raises Rejected if it is not one."""
    text = pick(fields, names, used)
    return read_string(text, field) if text else ""


def read_string(text: bytes, field: str) -> str:
    """The string that `text`, JSON, holds. Raises Rejected if it is not a string."""
    try:
        return _TEXT.decode(text)
    except msgspec.ValidationError:
        shown = text[:40].decode("utf-8", "replace")
        raise Rejected(f"invalid_{field}", f"{field} must be a string, not {shown}.", field=field) from None


def is_null(fields: Fields, names: Sequence[str]) -> bool:
    """Whether one of `names` is there as null."""
    return any(bytes(fields.get(name, b"")) == b"null" for name in names)


def message_text(text: bytes) -> str:
    """The message of a JSON value: a string unchanged; a list of bytes, as journald sends, decoded, with \\xNN for
    bytes that are not UTF-8; any other value as JSON."""
    if text.startswith(b'"'):
        return _TEXT.decode(text)
    if text.startswith(b"["):
        try:
            return bytes(_BYTES.decode(text)).decode("utf-8", "backslashreplace")
        except msgspec.ValidationError:
            pass
    return text.decode()


def unknown_fields(fields: Fields, used: set[str]) -> Fields:
    """All fields but those used, for the metadata; standard ones only if they are neither null nor ""."""
    return {
        name: raw
        for name, raw in fields.items()
        if name not in used and (name not in _STANDARD or (name != "metadata" and bytes(raw) not in _NOTHING))
    }


def nested(fields: Fields, path: str) -> msgspec.Raw | None:
    """By a path of names; each step must be an object."""
    *steps, last = path.split(".")
    for step in steps:
        raw = fields.get(step)
        if raw is None or not bytes(raw).startswith(b"{"):
            return None
        try:
            fields = _FIELDS.decode(raw)
        except UNREADABLE:
            return None
    return fields.get(last)


_NO_METADATA_TEXT = bytes(NO_METADATA)
_NO_FIELDS: Fields = {}
_NAMES = msgspec.json.Decoder(Fields)
_ENCODER = msgspec.json.Encoder()
_KEYS = Cache(lambda name: b",%b:" % _ENCODER.encode(name))


def check(text: bytes, max_bytes: int) -> bytes:
    """The metadata of one event, on one line. Raises Rejected."""
    if len(text) > 4 * max_bytes:
        raise too_large(max_bytes)  # leaving out white space cannot make it small enough
    check_metadata(text)
    return msgspec.json.format(text, indent=-1) if b"\n" in text or b"\r" in text else text


def join(own: bytes, unknown: Fields, max_bytes: int) -> bytes:
    """`own`, the metadata as sent, followed by the unknown fields of its event, unchecked. Raises Rejected.

    An unknown field with a name that `own` has, too, gets underscores in front until its name is free.
    """
    require_object(own)
    check_key_count(len(unknown))
    if len(own) > 4 * max_bytes:
        raise too_large(max_bytes)
    taken = _NAMES.decode(own) if own != _NO_METADATA_TEXT else _NO_FIELDS
    if not taken.keys().isdisjoint(unknown):
        unknown = dict(zip(_free_names(taken, unknown), unknown.values(), strict=True))
    parts: list[bytes | msgspec.Raw] = [own[:-1]] if taken else []
    for name, raw in unknown.items():
        parts += (_KEYS[name], raw)
    parts.append(b"}")
    text = b"".join(parts)
    return text if taken else b"{" + text[1:]


def _free_names(taken: Fields, unknown: Fields) -> list[str]:
    used = taken.keys() | unknown.keys()
    names = []
    for name in unknown:
        free = name
        if name in taken:
            while free in used:
                free = "_" + free
            used.add(free)
        names.append(free)
    return names
