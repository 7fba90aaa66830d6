"""From the bytes of a request to durable envelopes."""
