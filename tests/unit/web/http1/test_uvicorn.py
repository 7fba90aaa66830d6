"""The parts of uvicorn that parsec.web.http1 inherits, overrides or relies on are those that were read and tested.

They are private, so a new version may change them without notice. When this test fails, compare each named part with
its previous version, adapt parsec.web.http1, run the system tests of connections, and write the new digests.
"""

import hashlib
import inspect
import tomllib
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from parsec.web.http1.fast_path import FastPathConnection

PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"
OWNERS = (HttpToolsProtocol, RequestResponseCycle, FlowControl, ServerState, uvicorn.Server, uvicorn.Config)

DIGESTS = {
    "HttpToolsProtocol.__init__": "4f0899941034",
    "HttpToolsProtocol.connection_made": "6efb565ff3d3",
    "HttpToolsProtocol.connection_lost": "c91a4c9bf2e2",
    "HttpToolsProtocol.eof_received": "5652627579a0",
    "HttpToolsProtocol.data_received": "010a7ae59a5d",
    "HttpToolsProtocol.on_message_begin": "96d377fdc7c2",
    "HttpToolsProtocol.on_url": "37be44e962b0",
    "HttpToolsProtocol.on_header": "65d62c044f61",
    "HttpToolsProtocol.on_headers_complete": "1ea8589acfad",
    "HttpToolsProtocol._should_upgrade": "8fcad1ab8e09",
    "HttpToolsProtocol._start_asgi_task": "9c08c2571ae9",
    "HttpToolsProtocol.on_body": "dba9c32aeba3",
    "HttpToolsProtocol.on_message_complete": "1fbad42dc31f",
    "HttpToolsProtocol.on_response_complete": "64e254f28e38",
    "HttpToolsProtocol.shutdown": "d7351fa33f00",
    "HttpToolsProtocol.pause_writing": "17a8fd215d96",
    "HttpToolsProtocol.resume_writing": "7844bbaa8cce",
    "RequestResponseCycle": "e67d470d435d",
    "FlowControl": "126debcdaa89",
    "ServerState": "f2260fbf1015",
    "Server.__init__": "c150b55284f7",
    "Server.serve": "112ef41af521",
    "Server._serve": "4575b7a50adf",
    "Server.startup": "2aa1d70a244b",
    "Server.main_loop": "afccb353a119",
    "Server.on_tick": "60ea49b06ccf",
    "Server.shutdown": "9b33c5056299",
    "Server._wait_tasks_to_complete": "17209be1e991",
    "Server.capture_signals": "e1bbcd4770d1",
    "Config.__init__": "98e927ea97a7",
    "Config.load": "92b7159dce10",
}
"""Digests of the source of classes and methods."""


@pytest.mark.parametrize("name", DIGESTS)
def test_a_part_of_uvicorn_is_the_one_that_was_tested(name: str) -> None:
    owner_name, _, method = name.partition(".")
    owner = next(each for each in OWNERS if each.__name__ == owner_name)
    source = inspect.getsource(getattr(owner, method) if method else owner)
    assert hashlib.sha256(source.encode()).hexdigest()[:12] == DIGESTS[name]


def test_each_method_of_uvicorns_protocol_that_ours_has_too_is_guarded() -> None:
    ours = {
        name for owner in FastPathConnection.__mro__ for name in vars(owner) if owner.__module__.startswith("parsec")
    }
    both = {name for name in ours & vars(HttpToolsProtocol).keys() if callable(getattr(HttpToolsProtocol, name))}
    assert {f"HttpToolsProtocol.{name}" for name in both} <= DIGESTS.keys()


def test_a_status_line_is_bytes_up_to_the_end_of_its_line() -> None:
    assert STATUS_LINE[429] == b"HTTP/1.1 429 Too Many Requests\r\n"


def test_the_tested_minor_version_is_the_only_one_allowed() -> None:
    major, minor = map(int, uvicorn.__version__.split(".")[:2])
    wanted = f"uvicorn>={major}.{minor},<{major}.{minor + 1}"
    assert wanted in tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"]
