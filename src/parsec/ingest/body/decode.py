"""Bytes to events: the body shapes of docs/api.md, one verdict per event.

In: a whole body, after decompression. Out: chunks of it, each an amount of work that other requests can wait for; some
are empty, a turn for others in a long search. Errors: Rejected when the body as a whole is refused, with any chunk:
offer nothing before the last one was read. Next: parsec.ingest.normalize.

1. Each byte belongs to one event, one verdict, or the white space and brackets between them.
2. The fast path and the slow path give the same events. The slow path starts only where the fast one failed, for one
   slice, and finds the ends of values by parsec.ingest.body.scan.
3. Beside the body this holds one slice as objects, or max_events + 1 items.
"""

import re
from collections.abc import Generator, Iterator
from typing import TypeVar, cast

from parsec.core.errors import Rejected
from parsec.ingest.body.array import ArrayReader, broken_body
from parsec.ingest.body.fast_path import (
    EVENT_DECODER,
    QUICK_BYTES,
    SLICE_BYTES,
    SLOW_SLICE_BYTES,
    UNREADABLE,
    Chunk,
    Event,
    Fault,
    Fields,
    Item,
    Tally,
    batch_array,
    is_utf8,
    quick_array,
    quick_lines,
)
from parsec.ingest.body.scan import WHITESPACE, ending, more_keys, skip_blank, value_end
from parsec.ingest.body.slow_path import MAX_FIELDS, TOO_MANY_KEYS, broken, fields_of, read_fields, read_value

RUNS_A_TURN = 500
"""Runs of brackets that are scanned at a time: about a millisecond of work."""

BOM = b"\xef\xbb\xbf"

T = TypeVar("T")

_BATCH_HEAD = re.compile(rb'\{[ \t\r\n]*+"events"[ \t\r\n]*+:[ \t\r\n]*+(?=\[)')


def chunks(body: bytes, max_events: int) -> Iterator[Chunk]:
    """Raises Rejected(no_events, too_many_events, invalid_json, invalid_utf8, unknown_field)."""
    items: list[Item] | None = None
    if len(body) <= SLICE_BYTES:  # one event or one array and nothing else: as BodyReader reads it, at half the price
        if body.startswith(b"["):
            items = quick_array(body)
        elif body.startswith(b"{") and (event := _quick_event(body)) is not None:
            items = [event]
    if items and len(items) <= max_events:
        return iter((Chunk(0, items, len(body)),))
    start = len(BOM) if body.startswith(BOM) else 0
    end = len(body)
    if body[-1:] in WHITESPACE:
        end = max(start, len(body.rstrip(WHITESPACE)))
    start = skip_blank(body, start, end)
    if start == end:
        raise Rejected("no_events", "The body is empty; send one or more events as JSON.")
    if body[start] in b"\x00\xfe\xff" or body[start + 1 : start + 2] == b"\0":
        seen = f"byte {start} is 0x{body[start]:02x}"
        message = f"The body is not UTF-8 (it looks like UTF-16 or binary: {seen}); send JSON in UTF-8."
        raise Rejected("invalid_utf8", message)
    return BodyReader(body, start, end, Tally(max_events)).read()


def _quick_event(text: bytes) -> Event | None:
    """An object with standard fields only; else None."""
    try:
        event = EVENT_DECODER.decode(text)
    except UNREADABLE:
        return None
    return event if text.isascii() or is_utf8(text) else None


class BodyReader:
    """One body on its way. `at` is the first byte that is in no chunk yet."""

    def __init__(self, body: bytes, at: int, end: int, tally: Tally) -> None:
        self.body = body
        self.at = at
        self.end = end
        self.tally = tally

    def read(self) -> Iterator[Chunk]:
        first = self.body[self.at]
        if first == ord("["):
            array = ArrayReader(self.body, self.at, self.end, self.tally)
            yield from array.read()
            self.at = array.at
            yield from self._tail()
        elif first == ord("{"):
            yield from self._objects()
        else:
            yield from self._tail()
        if not self.tally.taken:
            raise Rejected("no_events", "The body contains no event; send one or more events as JSON.")

    # One JSON object, a batch object, or objects after one another.

    def _objects(self) -> Iterator[Chunk]:
        start, end = self.at, self.end
        text = self.body[start:end] if self.body.startswith(BOM) else self.body
        item: Item | None = _quick_event(text)
        array = batch_array(text) if item is None else None
        if item is None and array is None:
            array = yield from self._damaged_batch()
        if item is None and array is None:
            try:
                item = yield from self._whole_object(text)
            except UNREADABLE:
                yield from self._several_or_broken()
                return
            _refuse_mixed_batch(item)
        self.at = end
        if item is not None:
            yield from self.tally.chunk([item], end - start)
        elif array is not None:
            yield from ArrayReader(array, 0, len(array), self.tally).read()

    def _whole_object(self, text: bytes) -> Generator[Chunk, None, Fields | Fault]:
        """The fields of a body that is one object. Raises one of UNREADABLE."""
        if len(text) > QUICK_BYTES and (yield from self._in_turns(more_keys(text, MAX_FIELDS, RUNS_A_TURN))):
            return TOO_MANY_KEYS
        return fields_of(text)

    def _damaged_batch(self) -> Generator[Chunk, None, bytes | None]:
        """The array of a batch object that cannot be decoded whole, perhaps because of one bad event in it."""
        head = _BATCH_HEAD.match(self.body, self.at, self.end)
        stop = (yield from self._value_end(head.end())) if head else None
        if head is None or stop is None or self.body[stop : self.end].strip(WHITESPACE) != b"}":
            return None
        return self.body[head.end() : stop]

    def _value_end(self, at: int) -> Generator[Chunk, None, int | None]:
        """The end of a value that may be most of the body."""
        return (yield from self._in_turns(ending(self.body, at, self.end, RUNS_A_TURN)))

    def _in_turns(self, search: Generator[None, None, T]) -> Generator[Chunk, None, T]:
        """A long search, with empty chunks in between."""
        while True:
            try:
                next(search)
            except StopIteration as end:
                return cast("T", end.value)
            yield Chunk(self.tally.taken, [], 0)

    def _several_or_broken(self) -> Iterator[Chunk]:
        """Lines, objects after one another, or one broken object: the first line shows which."""
        body, at, end = self.body, self.at, self.end
        stop = yield from self._value_end(at)
        line = body.find(b"\n", at, end)
        lines = line >= 0 and body[at + 1 : line].strip(WHITESPACE) != b""
        if lines and (stop is None or stop <= line):
            yield from self._lines()
            return
        if stop is None:
            raise broken_body("it ends before it is complete, or a bracket or quote is left open", self.end)
        item = read_value(body[at:stop])
        if not isinstance(item, Fault) or item.code != "invalid_json":
            yield from self._tail()
        elif lines:
            yield from self._lines()
        else:
            raise Rejected(item.code, item.message)

    # Lines.

    def _lines(self) -> Iterator[Chunk]:
        while self.at < self.end:
            start = self.at
            stop = self.end
            if stop - start > SLICE_BYTES:
                line = self.body.rfind(b"\n", start, start + SLICE_BYTES)
                line = line if line >= 0 else self.body.find(b"\n", start + SLICE_BYTES, stop)
                stop = stop if line < 0 else line + 1
            chunk = self.body[start:stop]
            items = quick_lines(chunk)
            if items is None:
                items = self._slow_lines(chunk)
            self.at = stop
            yield from self.tally.chunk(items, stop - start)

    def _slow_lines(self, chunk: bytes) -> list[Item]:
        items: list[Item] = []
        for line in chunk.split(b"\n"):
            text = line.strip(WHITESPACE)
            if text:
                self._line(text, items)
                self.tally.check(items)
        return items

    def _line(self, text: bytes, items: list[Item]) -> None:
        try:
            items.append(read_fields(text))
        except UNREADABLE:
            array = quick_array(text) if text.startswith(b"[") else None
            if array is not None:
                items += array
                self.tally.empty += not array
            else:
                inner = self.tally.ahead(items)
                items += BodyReader(text, 0, len(text), inner)._values(len(text))
                self.tally.empty = inner.empty

    # Values after one another, however they are laid out.

    def _tail(self) -> Iterator[Chunk]:
        """The rest: lines if its first value ends on its first line, else values until one is broken."""
        start = self.at = skip_blank(self.body, self.at, self.end)
        if start == self.end:
            return
        line = self.body.find(b"\n", start, self.end)
        if line >= 0:
            stop = yield from self._value_end(start)
            if stop is None or stop <= line:
                yield from self._lines()
                return
        while self.at < self.end:
            start = self.at
            items = self._values(start + SLOW_SLICE_BYTES)
            whole = items[0] if len(items) == 1 and not self.tally.taken else None
            if isinstance(whole, Fault) and whole.code == "invalid_json":
                raise Rejected(whole.code, whole.message)
            yield from self.tally.chunk(items, self.at - start)

    def _values(self, until: int) -> list[Item]:
        """Up to byte `until` or a little beyond. One verdict covers all from the first broken value on, because its end
        is unknown."""
        items: list[Item] = []
        while (at := skip_blank(self.body, self.at, self.end)) < self.end:
            if at >= until:
                self.at = at
                return items
            stop = value_end(self.body, at, self.end)
            if stop is None:
                items.append(broken(f"{_shown(self.body, at, self.end)} does not begin or does not end a value"))
                break
            found = (
                self._inner_array(at, stop, items) if self.body[at] == ord("[") else [read_value(self.body[at:stop])]
            )
            items += found
            self.tally.empty += not found
            self.tally.check(items)
            self.at = stop
            if found and isinstance(found[-1], Fault) and found[-1].code == "invalid_json":
                break
        self.at = self.end
        return items

    def _inner_array(self, at: int, stop: int, before: list[Item]) -> list[Item]:
        """The events of an array that is a line, or one of several values; one verdict if it is broken."""
        inner = ArrayReader(self.body, at, stop, self.tally.ahead(before))
        items: list[Item] = []
        try:
            for chunk in inner.read():
                items += chunk.items
        except Rejected as error:
            if error.code != "invalid_json":
                raise
            return [Fault(error.code, None, error.message)]
        return items


def _refuse_mixed_batch(item: Fields | Fault) -> None:
    """An object with an array `events` and no message is a batch, which has no other fields."""
    if isinstance(item, Fault) or "message" in item or not bytes(item.get("events", b"")).startswith(b"["):
        return
    other = next((name for name in item if name != "events"), "events")[:64]
    raise Rejected(
        "unknown_field",
        f"A batch has the field `events` only, not {other!r}. Put values that all events share into the URL "
        "(?tenant_id=, ?source=, ?severity=) or the header X-Tenant-ID, and the rest into each event.",
        field=other,
    )


def _shown(body: bytes, at: int, end: int) -> str:
    return repr(body[at : min(end, at + 40)].decode("utf-8", "backslashreplace"))
