"""Bytes to events: the shapes of design section 4, one verdict per event.

In: a whole body, after decompression. Out: pieces of it, each an amount of work that other requests can wait for.
Errors: Rejected when the body as a whole is refused, at any piece: offer nothing before the last one was read.
What is not a usual small body is read by parsec.ingest.body.reader. Next: parsec.ingest.normalize.

1. Each byte belongs to one event, one verdict, or the white space and brackets between them.
2. The quick ways of parsec.ingest.body.fast_path and the careful one give the same events. The careful one starts
   only where a quick one failed, for one slice, and finds the ends of values by parsec.ingest.body.scan.
3. What is held beside the body is one slice as objects, or max_events + 1 items.
"""

from collections.abc import Iterator

from parsec.core.errors import Rejected
from parsec.ingest.body.chunk import SLICE_BYTES, Chunk, Tally
from parsec.ingest.body.fast_path import Item, quick_array, quick_event
from parsec.ingest.body.reader import BOM, BodyReader
from parsec.ingest.body.scan import WHITESPACE, skip_blank


def pieces(body: bytes, max_events: int) -> Iterator[Chunk]:
    """Raises Rejected(no_events, too_many_events, invalid_json, invalid_utf8, unknown_field)."""
    items = _quick_body(body)
    if items and len(items) <= max_events:
        return iter((Chunk(0, items, len(body)),))
    start = len(BOM) if body.startswith(BOM) else 0
    end = len(body)
    if body[-1:] in WHITESPACE:
        end = max(start, len(body.rstrip(WHITESPACE)))
    start = skip_blank(body, start, end)
    if start == end:
        raise Rejected("no_events", "The body is empty; send one event or several as JSON.")
    if body[start] in b"\x00\xfe\xff" or body[start + 1 : start + 2] == b"\0":
        seen = f"byte {start} is 0x{body[start]:02x}"
        message = f"The body is not UTF-8 (it looks like UTF-16 or binary: {seen}); send JSON in UTF-8."
        raise Rejected("invalid_utf8", message)
    return BodyReader(body, start, end, Tally(max_events)).read()


def _quick_body(body: bytes) -> list[Item] | None:
    """A small body that is nothing but one event or one array: what `BodyReader` would find, at half the price."""
    if len(body) > SLICE_BYTES:
        return None
    first = body[:1]
    if first == b"[":
        return quick_array(body)
    event = quick_event(body) if first == b"{" else None
    return [event] if event is not None else None
