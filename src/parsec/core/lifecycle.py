"""Where a process is in its life; set by the service, read by the web layer."""

from typing import Literal

Phase = Literal["starting", "ready", "stopping"]


class Lifecycle:
    """One per process. `phase` is written by the main thread only."""

    def __init__(self) -> None:
        self.phase: Phase = "starting"
