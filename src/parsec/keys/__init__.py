"""API keys: their form, the file with their hashes, and the callers that they stand for."""
