"""From the durable log to the store, exactly once. Only parsec.process.loop knows the order of the steps."""
