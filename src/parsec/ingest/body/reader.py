"""A body of any shape, read from its first byte to its last in pieces: one object, a batch, an array, lines, or values.

In: a body that is not blank, from parsec.ingest.body.decode, whose invariants hold here. Out: pieces; some hold
nothing and are a turn for others in a long search. Errors: Rejected, at any piece, for the body as a whole.
Next: parsec.ingest.normalize.
"""

import re
from collections.abc import Generator, Iterator
from typing import TypeVar, cast

from parsec.core.errors import Rejected
from parsec.ingest.body.array import ArrayReader, broken_body
from parsec.ingest.body.chunk import CAREFUL_BYTES, SLICE_BYTES, Chunk, Tally
from parsec.ingest.body.fast_path import (
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
from parsec.ingest.body.scan import WHITESPACE, ending, more_keys, skip_blank, value_end

RUNS_A_TURN = 500
"""Of brackets that are only looked at: about a millisecond of work."""

BOM = b"\xef\xbb\xbf"

T = TypeVar("T")

_BATCH_HEAD = re.compile(rb'\{[ \t\r\n]*+"events"[ \t\r\n]*+:[ \t\r\n]*+(?=\[)')


class BodyReader:
    """One body on its way. `at` is the first byte that is in no piece yet."""

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
            raise Rejected("no_events", "The body holds no event; send one event or several as JSON.")

    # One JSON object, a batch object, or objects after one another.

    def _objects(self) -> Iterator[Chunk]:
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
            yield from self.tally.piece([item], end - start)
        elif array is not None:
            yield from ArrayReader(array, 0, len(array), self.tally).read()

    def _whole_object(self, text: bytes) -> Generator[Chunk, None, Fields | Fault]:
        """The fields of the one object that is all there is. Raises one of UNREADABLE."""
        if len(text) > QUICK_BYTES and (yield from self._in_turns(more_keys(text, MAX_FIELDS, RUNS_A_TURN))):
            return TOO_MANY_KEYS
        return fields_of(text)

    def _damaged_batch(self) -> Generator[Chunk, None, bytes | None]:
        """The array of a batch object that cannot be read whole, perhaps for one bad event in it."""
        head = _BATCH_HEAD.match(self.body, self.at, self.end)
        stop = (yield from self._value_end(head.end())) if head else None
        if head is None or stop is None or self.body[stop : self.end].strip(WHITESPACE) != b"}":
            return None
        return self.body[head.end() : stop]

    def _value_end(self, at: int) -> Generator[Chunk, None, int | None]:
        """Where a value ends that may be all there is."""
        return (yield from self._in_turns(ending(self.body, at, self.end, RUNS_A_TURN)))

    def _in_turns(self, search: Generator[None, None, T]) -> Generator[Chunk, None, T]:
        """A long search, with pieces of nothing in between."""
        while True:
            try:
                next(search)
            except StopIteration as end:
                return cast("T", end.value)
            yield Chunk(self.tally.taken, [], 0)

    def _several_or_broken(self) -> Iterator[Chunk]:
        """Lines, objects after one another, or one object that is broken: its first line then says which."""
        body, at, end = self.body, self.at, self.end
        stop = yield from self._value_end(at)
        line = body.find(b"\n", at, end)
        lines = line >= 0 and body[at + 1 : line].strip(WHITESPACE) != b""
        if lines and (stop is None or stop <= line):
            yield from self._lines()
            return
        if stop is None:
            raise broken_body("it ends before it is complete, or a bracket or quote is left open", at)
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
                items = self._careful_lines(chunk)
            self.at = stop
            yield from self.tally.piece(items, stop - start)

    def _careful_lines(self, chunk: bytes) -> list[Item]:
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
            whole = items[0] if len(items) == 1 and not self.tally.taken else None
            if isinstance(whole, Fault) and whole.code == "invalid_json":
                raise Rejected(whole.code, whole.message)
            yield from self.tally.piece(items, self.at - start)

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
            for piece in inner.read():
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
