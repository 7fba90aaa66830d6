"""What the error says about text that is no JSON."""

import pytest

from parsec.ingest.body.fast_path import Fault
from parsec.ingest.body.slow_path import read_value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a":NaN}', "NaN is no JSON number; send null or a string, at byte 5: '{\"a\":NaN}'."),
        (b'{"a":nan}', "nan is no JSON number"), (b'{"a":-NaN}', "-NaN is no JSON number"),
        (b'{"a":[1,Infinity]}', "Infinity is no JSON number; send null or a string, at byte 8:"),
        (b'{"a":-Infinity}', "-Infinity is no JSON number; send null or a string, at byte 5:"),
        (b'{"a":{"b":inf}}', "inf is no JSON number"), (b'{"a":None}', "None is no JSON; write null, at byte 5"),
        (b'{"a":True}', "True is no JSON; write true"), (b'{"a":undefined}', "undefined is no JSON; write null"),
        (b"{'a':1}", "a single quote; JSON takes double quotes only, at byte 1"),
        (b'{"a":1,}', "a comma too many"), (b'{"a":[1,]}', "a comma too many"), (b"{a:1}", "a name without"),
        (b'{"a":"x\ty"}', "a control character in a string; write it as \\u0009, at byte 7"),
        (b'{"a":"\0"}', "write it as \\u0000"), (b'{"a":01}', "leading zeros"), (b'{"a":1/*x*/}', "a comment"),
        (b'{"a":1e}', "a number that JSON does not have"), (b'{"a":1 "b":2}', "expected ',' or '}', at byte 7"),
        (b'{"a":"x', "it ends before it is complete"), (b'{"a":' + b"x" * 1000 + b"}", "at byte 5: '{\"a\":xxxxx"),
        (b'{"a":"' + b"x" * 1000 + b'","b":NaN}', "NaN is no JSON number; send null or a string, at byte 1012"),
    ],
)  # fmt: skip
def test_the_text_at_the_byte_is_named(text: bytes, said: str) -> None:
    fault = read_value(text)
    assert isinstance(fault, Fault)
    assert fault.code == "invalid_json"
    assert said in fault.message
    assert len(fault.message) < 250
