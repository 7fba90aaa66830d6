"""Formats of other loggers and services, converted to events. Pure functions.

In: one decoded JSON object. Out: events with the fields of POST /ingest; all other fields are in `metadata`, unchanged
and under their own names. Each module has related formats; `detect` lists all. Next: parsec.api.formats.detect.
"""
