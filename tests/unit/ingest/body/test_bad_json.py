"""The explanation of text that is not JSON."""

import pytest

from parsec.ingest.body.fast_path import Fault
from parsec.ingest.body.slow_path import read_value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a":NaN}', "NaN is not a JSON number; send null or a string, at byte 5: '{\"a\":NaN}'."),
        (b'{"a":nan}', "nan is not a JSON number"), (b'{"a":-NaN}', "-NaN is not a JSON number"),
        (b'{"a":[1,Infinity]}', "Infinity is not a JSON number; send null or a string, at byte 8:"),
        (b'{"a":-Infinity}', "-Infinity is not a JSON number; send null or a string, at byte 5:"),
        (b'{"a":{"b":inf}}', "inf is not a JSON number"), (b'{"a":None}', "None is not JSON; write null, at byte 5"),
        (b'{"a":True}', "True is not JSON; write true"), (b'{"a":undefined}', "undefined is not JSON; write null"),
        (b"{'a':1}", "a single quote; write double quotes, at byte 1"),
        (b'{"a":1,}', "a comma before the closing"), (b'{"a":[1,]}', "a comma before the closing"),
        (b"{a:1}", "a name without"),
        (b'{"a":"x\ty"}', "a control character; in a string write it as \\u0009, elsewhere remove it, at byte 7"),
        (b'{"a":"\0"}', "write it as \\u0000"), (b'{"a":01}', "leading zeros"), (b'{"a":1/*x*/}', "a comment"),
        (b'{"a":1e}', "an invalid number"), (b'{"a":+1}', "an invalid number"), (b'{"a":.5}', "an invalid number"),
        (b"NaN", "NaN is not a JSON number"), (b"nan", "nan is not a JSON number"), (b"None", "None is not JSON"),
        (b"\0", "elsewhere remove it"), (b'{"a":1 "b":2}', "expected ',' or '}', at byte 7"),
        (b'{"a":"x', "it ends before it is complete"), (b'{"a":' + b"x" * 1000 + b"}", "at byte 5: '{\"a\":xxxxx"),
        (b'{"a":"' + b"x" * 1000 + b'","b":NaN}', "NaN is not a JSON number; send null or a string, at byte 1012"),
    ],
)  # fmt: skip
def test_the_text_at_the_byte_is_named(text: bytes, said: str) -> None:
    fault = read_value(text)
    assert isinstance(fault, Fault)
    assert fault.code == "invalid_json"
    assert said in fault.message
    assert len(fault.message) < 250
