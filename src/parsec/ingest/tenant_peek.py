"""Whose events a body holds, without reading more of them: a tenth of the work of decoding.

In: a body. Out: the tenants that its events name, as they are spelled, or none where the shape is not a usual one.
Errors: none. Next: parsec.ingest.rate_limits.

Asked only while somebody is over a limit, so that a flood whose requests name their tenant in each event is refused for
little. What this cannot read is read in full and refused then.
"""

import msgspec

from parsec.ingest.body.fast_path import QUICK_BYTES, UNREADABLE


class _Named(msgspec.Struct, gc=False):
    tenant_id: str = ""


class _Body(msgspec.Struct, gc=False):
    tenant_id: str = ""
    events: list[_Named] = []


_ARRAY = msgspec.json.Decoder(list[_Named])
_OBJECT = msgspec.json.Decoder(_Body)
_LINES = msgspec.json.Decoder(_Named)


def names_in(body: bytes) -> set[str]:
    """Of an array, a batch, one event or lines of events; of none when it is large, which is read in parts anyway."""
    if len(body) > QUICK_BYTES:
        return set()
    try:
        if body.startswith(b"["):
            return {one.tenant_id for one in _ARRAY.decode(body)}
        try:
            whole = _OBJECT.decode(body)
        except msgspec.DecodeError:
            return {one.tenant_id for one in _LINES.decode_lines(body)}
        return {whole.tenant_id, *(one.tenant_id for one in whole.events)}
    except UNREADABLE:
        return set()
