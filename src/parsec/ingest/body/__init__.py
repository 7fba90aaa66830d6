"""The bytes of a request to events, in chunks."""
