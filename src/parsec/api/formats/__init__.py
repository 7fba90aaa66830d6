"""Formats of others: how the events of known loggers and services become ours. Pure functions, for clients and intake.

In: one decoded JSON object of a format. Out: events with our fields. A field that becomes one of ours moves; all others
are in `metadata`, unchanged and under their own names. Each module has the functions of related formats; `detect` knows
all of them. Next: parsec.api.formats.detect.
"""
