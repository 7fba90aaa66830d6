"""The phase of the process: set by parsec.service, shown by /health and /readyz."""

from typing import Literal

Phase = Literal["starting", "ready", "stopping"]


class Lifecycle:
    """One per process. Only the main thread writes `phase`."""

    def __init__(self) -> None:
        self.phase: Phase = "starting"
