"""State that several processes share through Redis."""
