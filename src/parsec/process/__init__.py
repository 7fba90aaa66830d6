"""From the durable log to the store, exactly once. The order of the steps is known to parsec.process.loop alone."""
