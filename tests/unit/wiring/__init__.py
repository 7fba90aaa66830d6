"""Unit tests of parsec.wiring."""
