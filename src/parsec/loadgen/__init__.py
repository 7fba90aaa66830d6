"""The load generator behind parsec bench."""
