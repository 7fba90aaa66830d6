"""The TLS certificate of the listener, reloaded when its files change.

In: PEM files of a certificate (with its chain) and its key. Out: an SSL context to listen with. Errors: Fatal at the
start; later an unusable pair is logged, and the previous one stays in use. Next: parsec.web.http1.server.

New connections use the new pair; open ones go on. The listener keeps one context, whose SNI callback passes each
handshake to the newest context, so that no handshake sees half of a pair.
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
        self.listening.sni_callback = self._use_newest

    def reload_if_changed(self) -> None:
        """Load the files again if they have changed."""
        if not any([file.changed() for file in self._watched]):  # noqa: C419 (check each of them)
            return
        try:
            self._newest = self._load()
        except Fatal as error:
            _log.error("The TLS certificate cannot be reloaded; the previous one stays in use.", why=str(error))
        else:
            _log.info("TLS certificate reloaded.", file=str(self._files[0]))

    def _use_newest(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
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
            raise Fatal(
                f"The certificate {certificate} with the key {key} cannot be used: {_why(error)}. "
                "Check PARSEC_TLS_CERTIFICATE and PARSEC_TLS_KEY."
            ) from error
        return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.lower().replace("_", " ") if error.reason else "not PEM, or the key has a password"
    return error.strerror or str(error)
