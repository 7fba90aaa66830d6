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
from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar, cast

from parsec.core.errors import Rejected
from parsec.ingest.body.array import ArrayReader
from parsec.ingest.body.batch import HEAD, batch_array, batch_of, damaged_array, may_hold_batch
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
    is_utf8,
    quick_array,
    quick_lines,
)
from parsec.ingest.body.foreign import foreign
from parsec.ingest.body.scan import WHITESPACE, ending, more_keys, next_object, skip_blank, value_end
from parsec.ingest.body.slow_path import MAX_FIELDS, TOO_MANY_KEYS, broken, fields_of, read_fields, read_value

RUNS_A_TURN = 500
"""Runs of brackets that are scanned at a time: about a millisecond of work."""

BOM = b"\xef\xbb\xbf"

T = TypeVar("T")

_BETWEEN = re.compile(rb"[ \t\r\n,\]]*+(?:\}[ \t\r\n]*+\Z)?+")
_OPENING = b"{["


def chunks(body: bytes, max_events: int, message_names: Sequence[str] = ("message",)) -> Iterator[Chunk]:
    """`message_names`: of the field with the message, as the address maps it.

    Raises Rejected(no_events, too_many_events, invalid_json, invalid_utf8, invalid_encoding, unsupported_encoding,
    unknown_field).
    """
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
    if body[start] not in _OPENING or body[start + 1 : start + 2] == b"\0":
        error = foreign(body)
        if error is not None:
            raise error
    return BodyReader(body, start, end, Tally(max_events), message_names).read()


def _quick_event(text: bytes) -> Event | None:
    """An object with standard fields only; else None."""
    try:
        event = EVENT_DECODER.decode(text)
    except UNREADABLE:
        return None
    return event if text.isascii() or is_utf8(text) else None


class BodyReader:
    """One body on its way. `at` is the first byte that is in no chunk yet. `loose`: this is the rest of an array that
    is damaged, so commas and closing brackets stand between and behind its events."""

    def __init__(self, body: bytes, at: int, end: int, tally: Tally, message_names: Sequence[str]) -> None:
        self.body = body
        self.at = at
        self.end = end
        self.tally = tally
        self.message_names = message_names
        self.loose = False
        self._damaged = False  # a value had no end: from here on each line that begins with an object begins a value

    def read(self) -> Iterator[Chunk]:
        first = self.body[self.at]
        if first == ord("[") and self._begins_array():
            yield from self._array(self.body, self.at, self.end)
        elif first == ord("{"):
            yield from self._objects()
        else:
            yield from self._tail()
        if not self.tally.taken:
            raise Rejected("no_events", "The body contains no event; send one or more events as JSON.")

    def _begins_array(self) -> bool:
        """Whether "[" begins an array of events rather than a line of text, such as "[12:00] started"."""
        at = skip_blank(self.body, self.at + 1, self.end)
        if self.body[at : at + 1] in (b"{", b"[", b"]", b""):
            return True
        stop = value_end(self.body, at, self.end)
        item = read_value(self.body[at:stop]) if stop is not None else None
        return isinstance(item, Fault) and item.code != "invalid_json"

    def _array(self, body: bytes, at: int, end: int) -> Iterator[Chunk]:
        """Of this body, or of a batch in it; then what follows the array, or its damage."""
        array = ArrayReader(body, at, end, self.tally)
        for chunk in array.read():
            first = chunk.items[0]
            if array.damaged and array.at == end and self.tally.taken == 1 and isinstance(first, Fault):
                raise Rejected(first.code, first.message)
            yield chunk
        rest = BodyReader(body, array.at, end, self.tally, self.message_names)
        rest.loose = array.damaged
        yield from rest._tail()

    # One JSON object, a batch object, or objects after one another.

    def _objects(self) -> Iterator[Chunk]:
        start, end = self.at, self.end
        text = self.body[start:end] if self.body.startswith(BOM) else self.body
        item: Item | None = _quick_event(text)
        may_be_batch = item is None and "events" not in self.message_names
        array = batch_array(text) if may_be_batch else None
        if may_be_batch and array is None:
            array = yield from self._damaged_batch()
        if item is None and array is None:
            try:
                item = yield from self._whole_object(text)
            except UNREADABLE:
                yield from self._tail()
                return
            inner = batch_of(item, self.message_names) if not isinstance(item, Fault) else None
            if isinstance(inner, Fault):
                raise Rejected(inner.code, inner.message, field=inner.field)
            if inner is not None:
                item, array = None, inner
        self.at = end
        if item is not None:
            yield from self.tally.chunk([item], end - start)
        elif array is not None:
            yield from self._array(array, 0, len(array))

    def _whole_object(self, text: bytes) -> Generator[Chunk, None, Fields | Fault]:
        """The fields of a body that is one object. Raises one of UNREADABLE."""
        if len(text) > QUICK_BYTES and (yield from self._in_turns(more_keys(text, MAX_FIELDS, RUNS_A_TURN))):
            return TOO_MANY_KEYS
        return fields_of(text)

    def _damaged_batch(self) -> Generator[Chunk, None, bytes | None]:
        """The array of a batch object that cannot be decoded whole, perhaps because of one bad event in it."""
        head = HEAD.match(self.body, self.at, self.end)
        if head is None:
            return None
        stop = yield from self._value_end(head.end())
        if stop is not None and self.body[stop : self.end].strip(WHITESPACE) not in (b"}", b""):
            return None  # b"": a bracket is missing
        return self.body[head.end() : self.end if stop is None else stop]

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

    # Lines.

    def _lines(self, end: int) -> Iterator[Chunk]:
        while self.at < end:
            start = self.at
            stop = end
            if stop - start > SLICE_BYTES:
                line = self.body.rfind(b"\n", start, start + SLICE_BYTES)
                line = line if line >= 0 else self.body.find(b"\n", start + SLICE_BYTES, stop)
                stop = stop if line < 0 else line + 1
            chunk = self.body[start:stop]
            items = quick_lines(chunk)
            if items is None or (type(items[0]) is not Event and may_hold_batch(items)):
                items = self._slow_lines(chunk)
            self.at = stop
            yield from self.tally.chunk(items, stop - start)

    def _slow_lines(self, chunk: bytes) -> list[Item]:
        items: list[Item] = []
        for line in chunk.split(b"\n"):
            text = line.strip(WHITESPACE).removeprefix(BOM)
            if text:
                self._line(text, items)
                self.tally.check(items)
        return items

    def _line(self, text: bytes, items: list[Item]) -> None:
        """Adds the events of a line, or one verdict on it."""
        try:
            items += self._top(read_fields(text), text, items)
        except UNREADABLE:
            array = quick_array(text) if text.startswith(b"[") else None
            if array is None:
                inner = BodyReader(text, 0, len(text), self.tally.ahead(items), self.message_names)
                inner.loose = self.loose
                found = inner.values(len(text))
                self.tally.empty = inner.tally.empty
                items += _one_verdict(found)
            else:
                items += array
                self.tally.empty += not array

    # Values after one another, however they are laid out.

    def _tail(self) -> Iterator[Chunk]:
        """The rest: lines or values, as the first sound value tells. Bad lines before it do not decide."""
        body, end = self.body, self.end
        while (start := skip_blank(body, self.at, end)) < end:
            self.at = start
            if body[start] not in _OPENING and (after := next_object(body, start, end)) < end:
                yield from self._lines(after)
                continue
            stop = (yield from self._value_end(start)) if body[start] in _OPENING else None
            line = body.find(b"\n", start, end)
            is_broken = stop is None or _is_broken(read_value(body[start:stop]))
            if stop is not None and stop <= line and is_broken:
                yield from self._lines(line + 1)
            elif line >= 0 and (_begins_on_line(body[start:line]) if is_broken else stop is not None and stop <= line):
                yield from self._lines(end)
            else:
                yield from self._rest()

    def _rest(self) -> Iterator[Chunk]:
        while self.at < self.end:
            start = self.at
            items = self.values(start + SLOW_SLICE_BYTES)
            whole = items[0] if len(items) == 1 and not self.tally.taken else None
            if isinstance(whole, Fault) and _is_broken(whole) and self.at == self.end:
                raise Rejected(whole.code, whole.message)
            yield from self.tally.chunk(items, self.at - start)

    def values(self, until: int) -> list[Item]:
        """Up to byte `until` or a little beyond. A broken value that is no object or array, or has no end, is one
        verdict with all that follows, up to the next line that begins with an object."""
        body = self.body
        items: list[Item] = []
        while (at := self._skip(self.at)) < self.end:
            if at >= until:
                self.at = at
                return items
            limit = next_object(body, at, self.end) if self._damaged else self.end
            stop = value_end(body, at, limit)
            found, has_end = self._value(at, stop, items)
            items += found
            self.tally.empty += not found
            self.tally.check(items)
            self._damaged = self._damaged or not has_end
            self.at = stop if stop is not None and has_end else next_object(body, at, self.end)
        self.at = self.end
        return items

    def _value(self, at: int, stop: int | None, before: list[Item]) -> tuple[list[Item], bool]:
        """The events of one value, and whether it surely ends at `stop`."""
        if stop is None:
            why = "does not begin a value, or a bracket or quote in it is left open"
            return [broken(f"{_shown(self.body, at, self.end)} {why}")], False
        if self.body[at] == ord("["):
            return self._inner_array(self.body, at, stop, before)
        text = self.body[at:stop]
        found = self._top(read_value(text), text, before)
        is_broken = len(found) == 1 and _is_broken(found[0])
        return found, not is_broken or (self.body[at] in _OPENING and next_object(text, 0, len(text)) == len(text))

    def _skip(self, at: int) -> int:
        """Over white space, and in a damaged array over what stands between and behind its elements."""
        found = _BETWEEN.match(self.body, at, self.end) if self.loose else None
        return found.end() if found else skip_blank(self.body, at, self.end)

    def _top(self, item: Fields | Fault, text: bytes, before: list[Item]) -> list[Item]:
        """A value that stands in no array: an event, or a batch of them."""
        if not isinstance(item, Fault):
            inner = batch_of(item, self.message_names) if "events" in item else None
        else:
            inner = damaged_array(text) if "events" not in self.message_names else None
        if isinstance(inner, bytes):
            return self._inner_array(inner, 0, len(inner), before)[0]
        return [item if inner is None else inner]

    def _inner_array(self, body: bytes, at: int, stop: int, before: list[Item]) -> tuple[list[Item], bool]:
        """The events of an array that is a line, or one of several values, or those of a batch among these; and whether
        its end is certain."""
        inner = ArrayReader(body, at, stop, self.tally.ahead(before))
        return [item for chunk in inner.read() for item in chunk.items], not inner.damaged


def _is_broken(item: Item) -> bool:
    return isinstance(item, Fault) and item.code == "invalid_json"


def _begins_on_line(line: bytes) -> bool:
    """Whether there is more than the opening bracket on the first line of a value, unlike in pretty-printed JSON."""
    return line[1:].strip(WHITESPACE) != b"" or line[:1] not in (b"{", b"[")


def _one_verdict(found: list[Item]) -> list[Item]:
    """Of a line: words that are no event need one verdict for all of them."""
    broken_ones = [item for item in found if _is_broken(item)]
    return broken_ones[:1] if broken_ones and all(isinstance(item, Fault) for item in found) else found


def _shown(body: bytes, at: int, end: int) -> str:
    return repr(body[at : min(end, at + 40)].decode("utf-8", "backslashreplace"))
