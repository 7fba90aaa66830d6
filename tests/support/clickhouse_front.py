"""A ClickHouse server for tests: the HTTP interface as clickhouse-connect uses it, in front of chDB.

    python -m tests.support.clickhouse_front PORT DIRECTORY

Runs in a process of its own, so that several others can share one store and none of them holds the engine.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tests.support.process import free_port

ROOT = Path(__file__).parents[2]
_TRANSPORT = frozenset({
    "query", "database", "session_id", "session_timeout", "query_id", "compress", "decompress", "wait_end_of_query",
    "client_protocol_version", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
    "enable_http_compression", "buffer_size", "default_format", "role", "quota_key",
    "cancel_http_readonly_queries_on_client_close",
})  # fmt: skip
_NAME = re.compile(r'name="([^"]*)"')
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_INSERT = re.compile(r"(?s)(INSERT\s+INTO\s+.*?\))\s+(SETTINGS\s+.*?\s+)?FORMAT\s+Native\s*$", re.IGNORECASE)


def _form(content_type: str, body: bytes) -> dict[str, str]:
    """The plain values of a form."""
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    values = {}
    for part in message.walk():
        name = _NAME.search(part.get("Content-Disposition", ""))
        content = part.get_payload(decode=True)
        if name and isinstance(content, bytes):
            values[name[1]] = content.decode()
    return values


class Handler(BaseHTTPRequestHandler):
    """One connection, with a connection to the engine of its own."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body that is written after its head would wait 40 ms
    connection_string = ""
    _engine: Any = None
    _database = ""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""

    def finish(self) -> None:
        super().finish()
        if self._engine is not None:
            self._engine.close()

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, body: bytes) -> None:
        address = urlsplit(self.path)
        asked = dict(parse_qsl(address.query, keep_blank_values=True))
        if self.headers.get("Content-Type", "").startswith(
            "multipart/form-data"
        ):  # many values, as the driver sends them
            asked |= _form(self.headers["Content-Type"], body)
            body = b""
        if address.path == "/ping":
            self._reply(200, b"Ok.\n")
            return
        sql = asked.get("query", "")
        if not sql and body.startswith(b"INSERT") and b"FORMAT Native\n" in body:
            head, _, body = body.partition(b"\n")
            sql = head.decode()
        elif not sql:
            sql, body = body.decode(), b""
        elif body and not _INSERT.match(sql.strip()):
            sql, body = f"{sql}\n{body.decode()}", b""
        try:
            self._reply(200, self._ask(sql.strip().rstrip(";"), body, asked))
        except Exception as error:  # noqa: BLE001 (a server answers, whatever happens)
            text = str(error)
            text = text[max(text.find("Code: "), 0) :]
            code = re.match(r"Code: (\d+)", text)
            self._reply(500, text.encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "1002"})

    def _ask(self, sql: str, body: bytes, asked: dict[str, str]) -> bytes:
        if self._engine is None:
            import chdb

            self._engine = chdb.connect(self.connection_string)
        database = asked.get("database") or "default"
        if database != self._database:
            self._engine.query(f"USE `{database}`")
            self._database = database
        settings = {name: value for name, value in asked.items() if name not in _TRANSPORT and name[:6] != "param_"}
        parameters = {name[6:]: value for name, value in asked.items() if name.startswith("param_")}
        read_only = settings.pop("readonly", None)
        if read_only and not re.match(r"(?i)\s*(SELECT|WITH|SHOW|DESCRIBE|EXPLAIN)", sql):
            raise RuntimeError("Code: 164. DB::Exception: Cannot execute query in readonly mode. (READONLY)")
        for name, value in settings.items():
            self._engine.query(f"SET {name} = '{value}'")
        try:
            if insert := _INSERT.match(sql):
                return self._insert(insert, body)
            found = _FORMAT.search(sql)
            form = found[1] if found else asked.get("default_format", "TabSeparated")
            self._format = form
            plain = sql[: found.start()] if found else sql
            return bytes(self._engine.query(plain, form, params=parameters).bytes())
        finally:
            for name in settings:
                self._engine.query(f"SET {name} = DEFAULT")

    def _insert(self, insert: re.Match[str], body: bytes) -> bytes:
        file = os.memfd_create("front")
        try:
            os.write(file, body)
            source = f"/proc/self/fd/{file}"
            self._engine.query(f"{insert[1]} FROM INFILE '{source}' COMPRESSION 'none' {insert[2] or ''} FORMAT Native")
        finally:
            os.close(file)
        return b""

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Summary", "{}")
        self.send_header("X-ClickHouse-Timezone", "UTC")
        if status == 200 and body:
            self.send_header("X-ClickHouse-Format", getattr(self, "_format", "TabSeparated"))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Front(NamedTuple):
    """Where it is, and its process."""

    url: str
    process: subprocess.Popen[bytes]

    def pause(self) -> None:
        """It takes connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def clickhouse_front(directory: Path) -> Iterator[Front]:
    """A running one, with nothing in it."""
    port = free_port()
    command = [sys.executable, "-m", "tests.support.clickhouse_front", str(port), str(directory)]
    with (directory.parent / f"{directory.name}.front.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the front ended"
                assert time.monotonic() < end, "the front does not answer"
                time.sleep(0.05)
        yield Front(f"http://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Serves until it is killed."""
    from parsec.adapters.store.chdb.engine import ChdbEngine

    ChdbEngine(Path(sys.argv[2]))  # imports the engine without pyarrow
    import chdb

    Handler.connection_string = sys.argv[2]
    keeper = chdb.connect(sys.argv[2])  # the engine stays open between two requests
    keeper.query("SELECT 1")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
