"""Parsec: a log ingest pipeline. Start reading at docs/life-of-an-event.md."""

__version__ = "0.1.0"
