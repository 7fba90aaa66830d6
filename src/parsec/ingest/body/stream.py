"""Values after one another: on lines, on the same line, or pretty-printed over several lines.

In: a body, or what follows an array in it. Out: chunks, with verdicts on invalid values. Errors:
Rejected(too_many_events, invalid_json), with any chunk. Next: parsec.ingest.body.array.

1. A bad value costs itself where brackets and strings tell its end, else the rest of its line.
2. A value may go on over lines if none of these begins with an object or array in its first column, or if the whole is
   JSON; the latter is tried until it fails once, because it may search the rest of the body.
3. Time is linear in the bytes: each of them is in at most one search of each kind.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar, cast

from parsec.core.errors import Rejected
from parsec.ingest.body.array import ArrayReader
from parsec.ingest.body.batch import batch_of, damaged_array, may_hold_batch
from parsec.ingest.body.fast_path import (
    SLICE_BYTES,
    SLOW_SLICE_BYTES,
    UNREADABLE,
    Chunk,
    Event,
    Fault,
    Fields,
    Item,
    Tally,
    quick_array,
    quick_lines,
)
from parsec.ingest.body.scan import WHITESPACE, ending, next_object, skip_blank, value_end
from parsec.ingest.body.slow_path import broken, read_fields, read_value

BOM = b"\xef\xbb\xbf"
OPENING = b"{["
RUNS_A_TURN = 500
"""Runs of brackets that are scanned at a time: about a millisecond of work."""

T = TypeVar("T")
_BETWEEN = re.compile(rb"[ \t\r\n,\]]*+(?:\}[ \t\r\n]*+\Z)?+")


def in_turns(search: Generator[None, None, T], tally: Tally) -> Generator[Chunk, None, T]:
    """A long search, with empty chunks in between."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            return cast("T", end.value)
        yield Chunk(tally.taken, [], 0)


class StreamReader:
    """One stream on its way. `at` is the first byte that is in no chunk yet. `loose`: this is the rest of a damaged
    array, so commas and closing brackets stand between and behind its events."""

    def __init__(
        self, body: bytes, at: int, end: int, tally: Tally, message_names: Sequence[str], *, loose: bool = False
    ) -> None:
        self.at = at
        self._body = body
        self._end = end
        self._tally = tally
        self._message_names = message_names
        self._loose = loose
        self._damaged = False  # a value that went on over lines never ended
        self._items: list[Item] = []
        self._begin = at  # of the chunk that these will be

    def read(self) -> Iterator[Chunk]:
        self.at = skip_blank(self._body, self.at, self._end)
        while self.at < self._end:
            start = self._begin = self.at
            stop = self._slice_end(start)
            items = None if self._loose else quick_lines(self._body[start:stop])
            if items is None or (items and type(items[0]) is not Event and may_hold_batch(items)):
                yield from self._slowly(stop)
            else:
                self.at = stop
                yield from self._tally.chunk(items, stop - start)

    def _slice_end(self, start: int) -> int:
        if self._end - start <= SLICE_BYTES:
            return self._end
        line = self._body.rfind(b"\n", start, start + SLICE_BYTES)
        return line + 1 if line >= 0 else self._line_end(start + SLICE_BYTES)

    def _line_end(self, at: int) -> int:
        """After the line break."""
        line = self._body.find(b"\n", at, self._end)
        return self._end if line < 0 else line + 1

    def _slowly(self, stop: int) -> Iterator[Chunk]:
        """Value by value, from a line to the end of one at `stop` or behind it."""
        while self.at < stop:
            yield from self._line()
            if self.at - self._begin >= SLOW_SLICE_BYTES:
                yield from self._flush()
        yield from self._flush()

    def _flush(self) -> Iterator[Chunk]:
        items, self._items = self._items, []
        size, self._begin = self.at - self._begin, self.at
        if not self._tally.taken and len(items) == 1 and self.at >= self._end:
            (only,) = items
            if isinstance(only, Fault) and is_broken(only):  # the body is one value
                raise Rejected(only.code, only.message)
        yield from self._tally.chunk(items, size)

    def _line(self) -> Iterator[Chunk]:
        """The values of a line, or one verdict on it; with those that go on, also what follows these on their line."""
        end = self._line_end(self.at)
        may_go_on = self._body[self.at] in OPENING
        of_line = len(self._items)
        whole = self._whole_line(end)
        if whole is not None:
            self._items += whole
            self._tally.empty += not whole
            self._tally.check(self._items)
            self.at = end
            return
        while (at := self._skip(self.at, end)) < end:
            found, self.at = yield from self._value(at, end, may_go_on)
            self._items += found
            self._tally.empty += not found
            self._tally.check(self._items)
            if self.at > end:
                end = self._line_end(self.at)
            if self.at - self._begin >= SLOW_SLICE_BYTES and found and not isinstance(found[-1], Fault):
                yield from self._flush()
                of_line = -1  # there is an event on it
        if of_line >= 0:
            self._items[of_line:] = _one_verdict(self._items[of_line:])
        self.at = end

    def _skip(self, at: int, end: int) -> int:
        """Over white space, and in a damaged array over what stands between and behind its elements."""
        found = _BETWEEN.match(self._body, at, end) if self._loose else None
        at = found.end() if found else skip_blank(self._body, at, end)
        return at + len(BOM) if self._body.startswith(BOM, at, end) else at

    def _whole_line(self, end: int) -> list[Item] | None:
        """The events of a line that is one sound value, as most are."""
        text = self._body[self.at : end].strip(WHITESPACE).removeprefix(BOM)
        try:
            if text.startswith(b"["):
                return quick_array(text)
            return self._top(read_fields(text), text) if text.startswith(b"{") else None
        except UNREADABLE:
            return None

    def _value(self, at: int, end: int, may_go_on: bool) -> Generator[Chunk, None, tuple[list[Item], int]]:
        """The events of the value at `at`, on a line that ends at `end`, and where to go on."""
        body = self._body
        opens = body[at] in OPENING
        stop = yield from in_turns(ending(body, at, end, RUNS_A_TURN), self._tally)
        if stop is None and opens and may_go_on and end < self._end:
            stop = yield from self._end_on_another_line(at)
        if stop is None:
            shown = repr(body[at : min(at + 40, end)].rstrip(WHITESPACE).decode("utf-8", "backslashreplace"))
            found: list[Item] = [broken(f"{shown} does not begin a value, or a bracket or quote in it is left open")]
            only_opens = opens and skip_blank(body, at + 1, end) == end
            return found, self._before_next_object(at) if only_opens else end
        if body[at] == ord("["):
            found, is_damaged = self._array(body, at, stop)
            return found, max(stop, end) if is_damaged else stop
        text = body[at:stop]
        found = self._top(read_value(text), text)
        return found, stop if opens or not is_broken(found[0]) else end

    def _end_on_another_line(self, at: int) -> Generator[Chunk, None, int | None]:
        limit = next_object(self._body, at, self._end)
        stop = value_end(self._body, at, limit)
        if stop is not None or limit == self._end or self._damaged:
            return stop
        stop = yield from in_turns(ending(self._body, at, self._end, RUNS_A_TURN), self._tally)
        if stop is not None and not is_broken(read_value(self._body[at:stop])):
            return stop
        self._damaged = True
        return None

    def _before_next_object(self, at: int) -> int:
        """The end of the line before that of the next object or array."""
        found = next_object(self._body, at, self._end)
        return found - 1 if found < self._end else found

    def _top(self, item: Fields | Fault, text: bytes) -> list[Item]:
        """A value that stands in no array: an event, or a batch of them."""
        if not isinstance(item, Fault):
            inner = batch_of(item, self._message_names) if "events" in item else None
        else:
            inner = damaged_array(text) if "events" not in self._message_names else None
        if isinstance(inner, bytes):
            return self._array(inner, 0, len(inner))[0]
        return [item if inner is None else inner]

    def _array(self, body: bytes, at: int, stop: int) -> tuple[list[Item], bool]:
        """The events of an array among other values, or of a batch; and whether its end is uncertain."""
        inner = ArrayReader(body, at, stop, self._tally.ahead(self._items))
        return [item for chunk in inner.read() for item in chunk.items], inner.damaged


def is_broken(item: Item) -> bool:
    return isinstance(item, Fault) and item.code == "invalid_json"


def _one_verdict(found: list[Item]) -> list[Item]:
    """Of a line: words that are no event need one verdict for all of them."""
    broken_ones = [item for item in found if is_broken(item)]
    return broken_ones[:1] if broken_ones and all(isinstance(item, Fault) for item in found) else found
