"""State that one process keeps in its own memory."""
