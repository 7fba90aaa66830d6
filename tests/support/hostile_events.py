"""Events that were meant to hurt, with the verdict of each: tests send them by every way there is."""

from tests.support.ingesting import compact, event, with_text

DEEP = b"[" * 100_000 + b"]" * 100_000
HUGE = b"9" * 5000

KEPT = {
    "1e400": b'{"n":1e400}',
    "integers of any length": b'{"n":123456789012345678901234567890,"m":' + HUGE + b"}",
    "floats digit by digit": b'{"n":0.1000000000000000055511151231257827,"m":1.50,"z":-0.0}',
    "NUL": b'{"\\u0000":"a\\u0000b"}',
    "empty names": b'{"":{"":""}}',
    "duplicate names": b'{"a":1,"a":{"a":2,"a":3}}',
    "a dotted name beside a path": b'{"a.b":1,"a":{"b":2}}',
    "nulls in arrays": b'{"a":[null,1,"x",{}]}',
    "whole surrogate pairs": b'{"a":"\\ud83d\\ude00"}',
    "what looks like half a pair": b'{"a":"\\\\ud800"}',
    "non-characters": b'{"a":"\xef\xbf\xbe\xef\xb7\x90"}',
    "32 levels": b'{"a":' * 32 + b"1" + b"}" * 32,
}
"""Metadata that comes back byte for byte."""

REFUSED = {
    "half a pair in metadata": (with_text("metadata", b'{"a":"\\ud800"}'), "invalid_unicode"),
    "half a pair in a name": (with_text("metadata", b'{"\\udc00":1}'), "invalid_unicode"),
    "half a pair in the message": (with_text("message", b'"\\ud800\\u0041"'), "invalid_unicode"),
    "two halves the wrong way round": (with_text("odd", b'"\\ude00\\ud83d"'), "invalid_unicode"),
    "bytes that are not UTF-8 in metadata": (with_text("metadata", b'{"a":"\xff"}'), "invalid_utf8"),
    "bytes that are not UTF-8 in a name": (with_text("metadata", b'{"\xc3(":1}'), "invalid_utf8"),
    "bytes that are not UTF-8 in the message": (with_text("message", b'"a\xf0\x9f"'), "invalid_utf8"),
    "a surrogate in UTF-8": (with_text("odd", b'"\xed\xa0\x80"'), "invalid_utf8"),
    "an overlong form": (with_text("odd", b'"\xc0\xaf"'), "invalid_utf8"),
    "100,000 levels in metadata": (with_text("metadata", b'{"a":' + DEEP + b"}"), "too_deep"),
    "100,000 levels in an unknown field": (with_text("odd", DEEP), "too_deep"),
    "33 levels by an unknown field": (with_text("odd", b"[" * 32 + b"]" * 32), "too_deep"),
    "100,000 objects as an event": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep"),
    "a name of 1 MB": (with_text("metadata", b'{"' + b"k" * 1_000_000 + b'":1}'), "event_too_large"),
    "an unknown name of 1 MB": (compact(event() | {"k" * 1_000_000: 1}), "event_too_large"),
    "a message of 1 MB": (compact(event(message="m" * 1_000_000)), "event_too_large"),
    "an id of 1 MB": (compact(event(id="i" * 1_000_000)), "invalid_id"),
    "a source of 1 MB": (compact(event(source="s" * 1_000_000)), "invalid_source"),
    "a tenant of 1 MB": (compact(event(tenant_id="t" * 1_000_000)), "invalid_tenant_id"),
    "a severity of 1 MB": (compact(event(severity="s" * 1_000_000)), "event_too_large"),
    "a timestamp of 1 MB": (compact(event(timestamp="1" * 1_000_000)), "invalid_timestamp"),
    "a timestamp of 5000 digits": (with_text("timestamp", HUGE), "invalid_timestamp"),
    "a timestamp of 1e400": (with_text("timestamp", b"1e400"), "invalid_timestamp"),
    "257 names": (compact(event(metadata={str(n): n for n in range(257)})), "too_many_keys"),
    "257 unknown names": (compact(event() | {str(n): n for n in range(257)}), "too_many_keys"),
    "year 1": (compact(event(timestamp="0001-01-01T00:00:00Z")), "invalid_timestamp"),
    "year 1969": (compact(event(timestamp="1969-12-31T23:59:59Z")), "invalid_timestamp"),
    "year 9999": (compact(event(timestamp="9999-12-31T23:59:59Z")), "timestamp_in_future"),
    "a negative number": (compact(event(timestamp=-1)), "invalid_timestamp"),
    "an array for an event": (b"[[]]"[1:3], "not_an_object"),
}
"""Events of which each is refused alone of all, with this code."""

BROKEN = {
    "NaN": with_text("metadata", b'{"a":NaN}'),
    "Infinity": with_text("metadata", b'{"a":-Infinity}'),
    "a bare NUL": with_text("metadata", b'{"a":"\x00"}'),
    "a bare NUL in the message": with_text("message", b'"\x00"'),
    "a leading zero": with_text("metadata", b'{"a":01}'),
    "a trailing comma": with_text("metadata", b'{"a":1,}'),
    "single quotes": with_text("metadata", b"{'a':1}"),
    "a comment": with_text("metadata", b'{"a":1/*x*/}'),
    "cut in a string": compact(event())[:60],
    "cut behind a colon": b'{"message":',
    "an unknown escape": with_text("message", b'"\\x41"'),
    "a half escape": with_text("message", b'"\\u12"'),
}
"""Not JSON: a verdict of its own on a line and in an array, whose end it is if it is cut."""
