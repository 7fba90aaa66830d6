"""Shared by all packages: envelope, errors, clock, timestamps, units. Imports nothing else of Parsec."""
