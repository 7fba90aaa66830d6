"""Words that every part shares: events, errors, time. Imports nothing of Parsec."""
