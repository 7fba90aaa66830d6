"""The certificate of the listener, read again when its files change.

In: files of a certificate (with its chain) and a key, in PEM. Out: an SSL context to listen with. Errors: Fatal at the
start; later a pair that cannot be used leaves the one before in use.

A new pair is for new connections; those that are open go on. The listener's context stays the same object for as long
as it listens, and hands each handshake on to the newest one, so that no handshake meets half of a pair.
"""

import ssl
from pathlib import Path

import structlog

from parsec.core.errors import Fatal
from parsec.core.file_watch import WatchedFile

_log = structlog.get_logger(__name__)


class Tls:
    """Used on the event loop."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises Fatal."""
        self._files = (certificate, key)
        self._watched = [WatchedFile(file) for file in self._files]
        self.listening = self._newest = self._load()
        self.listening.sni_callback = self._hand_on

    def look(self) -> None:
        """Reads the files again if they have changed."""
        if not any([file.changed() for file in self._watched]):  # noqa: C419 (each is to look)
            return
        try:
            self._newest = self._load()
        except Fatal as error:
            _log.error("The certificate stays as it was.", why=str(error))
        else:
            _log.info("Certificate taken over.", file=str(self._files[0]))

    def _hand_on(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._files
        try:
            # A key under a password would be asked for on a terminal, where a service has none.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except OSError as error:  # ssl's errors, too
            raise Fatal(f"the certificate {certificate} with the key {key} cannot be used: {_why(error)}") from error
        return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.lower().replace("_", " ") if error.reason else "not PEM, or the key has a password"
    return error.strerror or str(error)
