"""Live events for subscribers."""
