"""A body of any shape, read from its first byte to its last in pieces: one object, a batch, an array, lines, or values.

In: a body that is not blank, from parsec.ingest.decode, whose invariants hold here. Out: pieces; some hold nothing and
are a turn for others in a long search. Errors: Rejected, at any piece, for the body as a whole.
Next: parsec.ingest.normalize.
"""

import re
from collections.abc import Generator, Iterator
from typing import TypeVar, cast

import msgspec

from parsec.core.errors import Rejected
from parsec.ingest.event import (
    MAX_FIELDS,
    QUICK_BYTES,
    TOO_MANY_KEYS,
    UNREADABLE,
    Fault,
    Fields,
    Item,
    batch_array,
    broken,
    fields_of,
    quick_array,
    quick_event,
    quick_lines,
    read_fields,
    read_value,
)
from parsec.ingest.scan import WHITESPACE, ending, more_keys, skip_blank, value_end

SLICE_BYTES = 128 << 10
"""About a millisecond of work."""

CAREFUL_BYTES = 32 << 10
"""About as much, event by event."""

RUNS_A_TURN = 500
"""About as much, of brackets that are only looked at."""

BOM = b"\xef\xbb\xbf"

T = TypeVar("T")

_BATCH_HEAD = re.compile(rb'\{[ \t\r\n]*+"events"[ \t\r\n]*+:[ \t\r\n]*+(?=\[)')
_SEAM = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+(?=\{)")


class Piece(msgspec.Struct, frozen=True):
    """Consecutive items; `first_index` counts from the start of the body, `size_bytes` is what they took in it."""

    first_index: int
    items: list[Item]
    size_bytes: int


class BodyReader:
    """One body on its way. `at` is the first byte that is in no piece yet, `taken` counts the items before it.

    `empty` counts the values that held no event: they cost time as events do, and no more of them may be.
    """

    def __init__(self, body: bytes, at: int, end: int, max_events: int, taken: int = 0, empty: int = 0) -> None:
        self.body = body
        self.at = at
        self.end = end
        self.max_events = max_events
        self.taken = taken
        self.empty = empty

    def read(self) -> Iterator[Piece]:
        first = self.body[self.at]
        if first == ord("["):
            yield from self.array()
            yield from self._tail()
        elif first == ord("{"):
            yield from self._objects()
        else:
            yield from self._tail()
        if not self.taken:
            raise Rejected("no_events", "The body holds no event; send one event or several as JSON.")

    def _piece(self, items: list[Item], size_bytes: int) -> Iterator[Piece]:
        self._limit(items)
        if items:
            first = self.taken
            self.taken += len(items)
            yield Piece(first, items, size_bytes)

    def _limit(self, items: list[Item]) -> None:
        """Asked while items are collected, so that a flood of tiny ones never becomes a long list."""
        if self.taken + len(items) > self.max_events or self.empty > self.max_events:
            message = f"The body holds more than {self.max_events} events or empty arrays; send several requests."
            raise Rejected("too_many_events", message, status=413)

    # One JSON object, a batch object, or objects after one another.

    def _objects(self) -> Iterator[Piece]:
        start, end = self.at, self.end
        text = self.body[start:end] if self.body.startswith(BOM) else self.body
        item: Item | None = quick_event(text)
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
            yield from self._piece([item], end - start)
        elif array is not None:
            inner = BodyReader(array, 0, len(array), self.max_events)
            yield from inner.array()
            self.taken = inner.taken

    def _whole_object(self, text: bytes) -> Generator[Piece, None, Fields | Fault]:
        """The fields of the one object that is all there is. Raises one of UNREADABLE."""
        if len(text) > QUICK_BYTES and (yield from self._in_turns(more_keys(text, MAX_FIELDS, RUNS_A_TURN))):
            return TOO_MANY_KEYS
        return fields_of(text)

    def _damaged_batch(self) -> Generator[Piece, None, bytes | None]:
        """The array of a batch object that cannot be read whole, perhaps for one bad event in it."""
        head = _BATCH_HEAD.match(self.body, self.at, self.end)
        stop = (yield from self._value_end(head.end())) if head else None
        if head is None or stop is None or self.body[stop : self.end].strip(WHITESPACE) != b"}":
            return None
        return self.body[head.end() : stop]

    def _value_end(self, at: int) -> Generator[Piece, None, int | None]:
        """Where a value ends that may be all there is."""
        return (yield from self._in_turns(ending(self.body, at, self.end, RUNS_A_TURN)))

    def _in_turns(self, search: Generator[None, None, T]) -> Generator[Piece, None, T]:
        """A long search, with pieces of nothing in between."""
        while True:
            try:
                next(search)
            except StopIteration as end:
                return cast("T", end.value)
            yield Piece(self.taken, [], 0)

    def _several_or_broken(self) -> Iterator[Piece]:
        """Lines, objects after one another, or one object that is broken: its first line then says which."""
        body, at, end = self.body, self.at, self.end
        stop = yield from self._value_end(at)
        line = body.find(b"\n", at, end)
        lines = line >= 0 and body[at + 1 : line].strip(WHITESPACE) != b""
        if lines and (stop is None or stop <= line):
            yield from self._lines()
            return
        if stop is None:
            raise _broken_body("it ends before it is complete, or a bracket or quote is left open", at)
        item = read_value(body[at:stop])
        if not isinstance(item, Fault) or item.code != "invalid_json":
            yield from self._tail()
        elif lines:
            yield from self._lines()
        else:
            raise Rejected(item.code, item.message)

    # A JSON array.

    def array(self) -> Iterator[Piece]:
        """From its opening bracket to its closing one, in slices that end between two events."""
        first = self.at + 1
        closed = self.body.endswith(b"]", first, self.end)
        self.at = first
        done = False
        while not done:
            start = self.at
            stop = self.end - 1
            seam = None
            if stop - start > SLICE_BYTES:
                seam = _SEAM.search(self.body, start + SLICE_BYTES, min(stop, start + 2 * SLICE_BYTES))
            if seam is not None:
                stop = seam.start() + 1  # a guess: the slice proves it by being valid JSON
            items = self._quick_slice(start, stop) if closed else None
            if items is None:
                items, done = self._elements(may_be_empty=start == first)
            else:
                done = seam is None
                self.at = self.end if seam is None else seam.end()
            yield from self._piece(items, self.at - start)

    def _quick_slice(self, start: int, stop: int) -> list[Item] | None:
        if stop - start > 2 * SLICE_BYTES:
            return None
        return quick_array(b"[%b]" % self.body[start:stop])

    def _elements(self, may_be_empty: bool) -> tuple[list[Item], bool]:
        """About a slice of elements, one by one, and whether the closing bracket was passed."""
        body, end = self.body, self.end
        items: list[Item] = []
        until = self.at + CAREFUL_BYTES
        at = skip_blank(body, self.at, end)
        if may_be_empty and body.startswith(b"]", at, end):
            self.at = at + 1
            return items, True
        while True:
            index = self.taken + len(items)
            stop = value_end(body, at, end)
            if stop is None:
                raise _broken_body(f"event {index} does not begin or does not end", at)
            item = read_value(body[at:stop])
            if isinstance(item, Fault) and item.code == "invalid_json":
                raise Rejected(item.code, f"{item.message} It is event {index} of the array.")
            items.append(item)
            self._limit(items)
            at = skip_blank(body, stop, end)
            mark = body[at : at + 1] if at < end else b""
            if mark not in (b",", b"]"):
                raise _broken_body(f"after event {index} comes neither a comma nor the closing bracket", at)
            self.at = at = at + 1 if mark == b"]" else skip_blank(body, at + 1, end)
            if mark == b"]" or at >= until:
                return items, mark == b"]"

    # Lines.

    def _lines(self) -> Iterator[Piece]:
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
                items = self._careful_lines(chunk)
            self.at = stop
            yield from self._piece(items, stop - start)

    def _careful_lines(self, chunk: bytes) -> list[Item]:
        items: list[Item] = []
        for line in chunk.split(b"\n"):
            text = line.strip(WHITESPACE)
            if text:
                self._line(text, items)
                self._limit(items)
        return items

    def _line(self, text: bytes, items: list[Item]) -> None:
        try:
            items.append(read_fields(text))
        except UNREADABLE:
            array = quick_array(text) if text.startswith(b"[") else None
            if array is not None:
                items += array
                self.empty += not array
            else:
                values = BodyReader(text, 0, len(text), self.max_events, self.taken + len(items), self.empty)
                items += values._values(len(text))
                self.empty = values.empty

    # Values after one another, however they are laid out.

    def _tail(self) -> Iterator[Piece]:
        """What is left: lines if its first value fits one, else values until one is broken."""
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
            items = self._values(start + CAREFUL_BYTES)
            if not self.taken and len(items) == 1 and isinstance(items[0], Fault) and items[0].code == "invalid_json":
                raise Rejected(items[0].code, items[0].message)
            yield from self._piece(items, self.at - start)

    def _values(self, until: int) -> list[Item]:
        """Of `until` bytes or a little more. One verdict covers all from the first broken value on, since its end is
        anyone's guess."""
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
            self.empty += not found
            self._limit(items)
            self.at = stop
            if found and isinstance(found[-1], Fault) and found[-1].code == "invalid_json":
                break
        self.at = self.end
        return items

    def _inner_array(self, at: int, stop: int, before: list[Item]) -> list[Item]:
        """The events of an array that is a line, or one of several values; one verdict if it is broken."""
        inner = BodyReader(self.body, at, stop, self.max_events, self.taken + len(before))
        items: list[Item] = []
        try:
            for piece in inner.array():
                items += piece.items
        except Rejected as error:
            if error.code != "invalid_json":
                raise
            return [Fault(error.code, None, error.message)]
        return items


def _refuse_mixed_batch(item: Fields | Fault) -> None:
    """An object with an array `events` and no message is meant as a batch, so nothing else may stand in it."""
    if isinstance(item, Fault) or "message" in item or not bytes(item.get("events", b"")).startswith(b"["):
        return
    other = next((name for name in item if name != "events"), "events")[:64]
    raise Rejected(
        "unknown_field",
        f"{other!r} stands beside `events`. What all events share goes into the address (?tenant_id=, ?source=, "
        "?severity=) or the header X-Tenant-ID, the rest into each event.",
        field=other,
    )


def _shown(body: bytes, at: int, end: int) -> str:
    return repr(body[at : min(end, at + 40)].decode("utf-8", "backslashreplace"))


def _broken_body(why: str, at: int) -> Rejected:
    return Rejected("invalid_json", f"The body is not valid JSON: {why} (at byte {at}).")
