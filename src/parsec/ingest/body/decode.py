"""Bytes to events: the body shapes of docs/api.md, one verdict per event.

In: a whole body, after decompression. Out: chunks of it, each an amount of work that other requests can wait for; some
are empty, a turn for others in a long search. Errors: Rejected when the body as a whole is refused, with any chunk:
offer nothing before the last one was read. Next: parsec.ingest.normalize.

1. Each byte belongs to one event, one verdict, or the white space and brackets between them.
2. The fast path and the slow path give the same events. The slow path starts only where the fast one failed, for one
   slice, and finds the ends of values by parsec.ingest.body.scan.
3. Beside the body this holds one slice as objects, or max_events + 1 items.
"""

from collections.abc import Generator, Iterator, Sequence

from parsec.core.errors import Rejected
from parsec.ingest.body.array import ArrayReader
from parsec.ingest.body.batch import HEAD, batch_array, batch_of
from parsec.ingest.body.fast_path import (
    EVENT_DECODER,
    QUICK_BYTES,
    SLICE_BYTES,
    UNREADABLE,
    Chunk,
    Event,
    Fault,
    Fields,
    Item,
    Tally,
    is_utf8,
    quick_array,
)
from parsec.ingest.body.scan import WHITESPACE, ending, more_keys, skip_blank, value_end
from parsec.ingest.body.slow_path import MAX_FIELDS, TOO_MANY_KEYS, fields_of, read_value
from parsec.ingest.body.stream import BOM, OPENING, RUNS_A_TURN, StreamReader, in_turns, is_broken
from parsec.ingest.body.unsupported import unsupported_body


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
    if body[start] not in OPENING or body[start + 1 : start + 2] == b"\0":
        error = unsupported_body(body)
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
    """One body on its way: the shapes that are one value, or begin with an array. `at` is its first byte."""

    def __init__(self, body: bytes, at: int, end: int, tally: Tally, message_names: Sequence[str]) -> None:
        self.body = body
        self.at = at
        self.end = end
        self.tally = tally
        self.message_names = message_names

    def read(self) -> Iterator[Chunk]:
        first = self.body[self.at]
        if first == ord("[") and self._begins_array():
            yield from self._array(self.body, self.at, self.end)
        elif first == ord("{"):
            yield from self._objects()
        else:
            yield from self._stream(self.body, self.at, self.end)
        if not self.tally.taken:
            raise Rejected("no_events", "The body contains no event; send one or more events as JSON.")

    def _begins_array(self) -> bool:
        """Whether "[" begins an array of events rather than a line of text, such as "[12:00] started"."""
        at = skip_blank(self.body, self.at + 1, self.end)
        if self.body[at : at + 1] in (b"{", b"[", b"]", b""):
            return True
        stop = value_end(self.body, at, self.end)
        item = read_value(self.body[at:stop]) if stop is not None else None
        return item is not None and not is_broken(item)

    def _array(self, body: bytes, at: int, end: int) -> Iterator[Chunk]:
        """Of this body, or of a batch in it; then what follows the array, or its damage."""
        array = ArrayReader(body, at, end, self.tally)
        for chunk in array.read():
            first = chunk.items[0]
            if array.damaged and array.at == end and self.tally.taken == 1 and isinstance(first, Fault):
                raise Rejected(first.code, first.message)
            yield chunk
        yield from self._stream(body, array.at, end, loose=array.damaged)

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
                yield from self._stream(self.body, self.at, self.end)
                return
            inner = batch_of(item, self.message_names) if not isinstance(item, Fault) else None
            if isinstance(inner, Fault):
                raise Rejected(inner.code, inner.message, field=inner.field)
            if inner is not None:
                item, array = None, inner
        if item is not None:
            yield from self.tally.chunk([item], end - start)
        elif array is not None:
            yield from self._array(array, 0, len(array))

    def _whole_object(self, text: bytes) -> Generator[Chunk, None, Fields | Fault]:
        """The fields of a body that is one object. Raises one of UNREADABLE."""
        if len(text) > QUICK_BYTES and (yield from in_turns(more_keys(text, MAX_FIELDS, RUNS_A_TURN), self.tally)):
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
        return (yield from in_turns(ending(self.body, at, self.end, RUNS_A_TURN), self.tally))

    def _stream(self, body: bytes, at: int, end: int, *, loose: bool = False) -> Iterator[Chunk]:
        return StreamReader(body, at, end, self.tally, self.message_names, loose=loose).read()
