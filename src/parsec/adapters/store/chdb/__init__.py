"""chDB, which is ClickHouse as a library, and what its files need to survive a crash."""
