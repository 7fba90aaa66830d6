"""chDB: ClickHouse as a library in this process, and the protection of its files."""
