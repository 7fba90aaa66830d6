"""What the writer, the readers and the trimming of one open log share."""

from pathlib import Path

import msgspec

from parsec.adapters.log.files import Files
from parsec.adapters.log.index import SegmentIndex
from parsec.adapters.log.quarantine import Quarantine
from parsec.adapters.log.state import State


class LogContext(msgspec.Struct, frozen=True):
    """`directory` holds the segments."""

    log_id: str
    files: Files
    directory: Path
    index: SegmentIndex
    state: State
    aside: Quarantine
