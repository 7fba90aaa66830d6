-- What the counts of a partition were before the range at `committed`, and the first day on which anything stored from
-- there on, up to the next mark, may leave the table: parsec audit recounts from the oldest mark whose rows are all there.
CREATE TABLE IF NOT EXISTS ledger_marks
(
    log_id LowCardinality(String),
    partition UInt32,
    start UInt64,
    committed UInt64,
    stored UInt64,
    duplicate UInt64,
    dead UInt64,
    lost UInt64,
    expires_from UInt32,
    time DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(time)
ORDER BY (log_id, partition, committed)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    old_parts_lifetime = 30;
