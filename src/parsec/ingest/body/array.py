"""A JSON array of events in slices: each on the fast path if it is sound, else event by event.

In: a body and the position of the array in it. Out: chunks, with a verdict on each invalid element. Errors:
Rejected(too_many_events), with any chunk. Next: parsec.ingest.normalize.

An element that is not JSON harms no other: brackets and strings tell where it ends, and a comma too many stands for an
element. Where they do not, or the comma after an element is missing, one verdict covers the rest, up to the next line
that begins with an object.
"""

import re
from collections.abc import Iterator

from parsec.ingest.body.fast_path import SLICE_BYTES, SLOW_SLICE_BYTES, Chunk, Fault, Item, Tally, quick_array
from parsec.ingest.body.scan import next_object, skip_blank, value_end
from parsec.ingest.body.slow_path import broken, read_value

_SEAM = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+(?=\{)")


class ArrayReader:
    """One array on its way. `at` is the first byte that is in no chunk yet; in the end, the one after the array, or
    after damage the beginning of the line with the next object. `damaged`: the array has no end that is known."""

    def __init__(self, body: bytes, at: int, end: int, tally: Tally) -> None:
        self.at = at
        self.damaged = False
        self._body = body
        self._end = end
        self._tally = tally

    def read(self) -> Iterator[Chunk]:
        """From its opening bracket to its closing one, in slices that end between two events."""
        first = self.at + 1
        closed = self._body.endswith(b"]", first, self._end)
        self.at = first
        done = False
        while not done:
            start = self.at
            stop = self._end - 1
            seam = None
            if stop - start > SLICE_BYTES:
                seam = _SEAM.search(self._body, start + SLICE_BYTES, min(stop, start + 2 * SLICE_BYTES))
            if seam is not None:
                stop = seam.start() + 1  # a guess: the slice proves it by being valid JSON
            is_slice = closed and stop - start <= 2 * SLICE_BYTES
            items = quick_array(b"[%b]" % self._body[start:stop]) if is_slice else None
            if items is None:
                items, done = self._elements(may_be_empty=start == first)
            else:
                done = seam is None
                self.at = self._end if seam is None else seam.end()
            yield from self._tally.chunk(items, self.at - start)

    def _elements(self, may_be_empty: bool) -> tuple[list[Item], bool]:
        """About a slice of elements, one by one, and whether the array has ended."""
        body, end = self._body, self._end
        items: list[Item] = []
        until = self.at + SLOW_SLICE_BYTES
        at = skip_blank(body, self.at, end)
        if may_be_empty and body.startswith(b"]", at, end):
            self.at = at + 1
            return items, True
        while True:
            begin = at
            if at < end and body[at] in b",]":
                item: Item = broken(f"a comma too many, at byte {at} of the body")
            else:
                stop = value_end(body, at, end)
                if stop is None:
                    return self._end_early(items, "an event that does not begin or does not end", at)
                item = read_value(body[at:stop])
                is_broken = isinstance(item, Fault) and item.code == "invalid_json"
                if is_broken and next_object(body, at, stop) < stop:
                    return self._end_early(items, "an event in which a quote or bracket may be left open", at)
                at = skip_blank(body, stop, end)
                if is_broken and body[at : min(at + 1, end)] not in (b",", b"]"):
                    return self._end_early(items, "an event that does not end where it should", begin)
            mark = body[at : at + 1] if at < end else b""
            items.append(item)
            self._tally.check(items)
            if mark not in (b",", b"]"):
                return self._end_early(items, "neither a comma nor the closing bracket", at, at - 1)
            self.at = at = at + 1 if mark == b"]" else skip_blank(body, at + 1, end)
            if mark == b"]" or at >= until:
                return items, mark == b"]"

    def _end_early(
        self, items: list[Item], why: str, at: int, search_from: int | None = None
    ) -> tuple[list[Item], bool]:
        """One verdict on what is left of the array, or of the lines before the next object."""
        self.damaged = True
        self.at = next_object(self._body, at if search_from is None else search_from, self._end)
        shown = self._body[at : min(at + 40, self._end)].decode("utf-8", "backslashreplace")
        return [*items, broken(f"{why}, at byte {at} of the body: {shown!r}")], True
