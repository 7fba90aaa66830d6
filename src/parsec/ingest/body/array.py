"""A JSON array of events in slices: each on the fast path if it is sound, else event by event.

In: a body and the position of the array in it. Out: chunks. Errors: Rejected(invalid_json, too_many_events), with any
chunk. Next: parsec.ingest.normalize.
"""

import re
from collections.abc import Iterator

from parsec.core.errors import Rejected
from parsec.ingest.body.fast_path import SLICE_BYTES, SLOW_SLICE_BYTES, Chunk, Fault, Item, Tally, quick_array
from parsec.ingest.body.scan import skip_blank, value_end
from parsec.ingest.body.slow_path import read_value

_SEAM = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+(?=\{)")


class ArrayReader:
    """One array on its way. `at` is the first byte that is in no chunk yet; in the end, the one after the array."""

    def __init__(self, body: bytes, at: int, end: int, tally: Tally) -> None:
        self.at = at
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
        """About a slice of elements, one by one, and whether the closing bracket was passed."""
        body, end = self._body, self._end
        items: list[Item] = []
        until = self.at + SLOW_SLICE_BYTES
        at = skip_blank(body, self.at, end)
        if may_be_empty and body.startswith(b"]", at, end):
            self.at = at + 1
            return items, True
        while True:
            index = self._tally.taken + len(items)
            stop = value_end(body, at, end)
            if stop is None:
                raise broken_body(f"event {index} does not begin or does not end", at)
            item = read_value(body[at:stop])
            if isinstance(item, Fault) and item.code == "invalid_json":
                raise Rejected(item.code, f"{item.message} It is event {index} of the array.")
            items.append(item)
            self._tally.check(items)
            at = skip_blank(body, stop, end)
            mark = body[at : at + 1] if at < end else b""
            if mark not in (b",", b"]"):
                raise broken_body(f"after event {index} comes neither a comma nor the closing bracket", at)
            self.at = at = at + 1 if mark == b"]" else skip_blank(body, at + 1, end)
            if mark == b"]" or at >= until:
                return items, mark == b"]"


def broken_body(why: str, at: int) -> Rejected:
    return Rejected("invalid_json", f"The body is not valid JSON: {why} (at byte {at}).")
