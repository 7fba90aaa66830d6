-- Records that could not become rows, by position: the same position again replaces.
CREATE TABLE IF NOT EXISTS dead_letters
(
    log_id LowCardinality(String),
    partition UInt32,
    offset UInt64,
    tenant_id LowCardinality(String),
    reason LowCardinality(String),
    stage LowCardinality(String),
    detail String CODEC(ZSTD(1)),
    raw String CODEC(ZSTD(1)),
    time DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'),
    expires_on Date
)
ENGINE = ReplacingMergeTree(time)
ORDER BY (log_id, partition, offset)
TTL expires_on
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    old_parts_lifetime = 30;
