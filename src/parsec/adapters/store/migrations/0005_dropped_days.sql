-- Days of receipt that PARSEC_STORE_MAX_BYTES has taken from the store: noted before they go, for parsec audit.
CREATE TABLE IF NOT EXISTS dropped_days
(
    day UInt32,
    events UInt64,
    dead_letters UInt64,
    bytes UInt64,
    time DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = MergeTree
ORDER BY (day, time)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    old_parts_lifetime = 30;
-- The first day on which anything stored from a mark up to the next one was received. 0: nobody knows.
ALTER TABLE ledger_marks ADD COLUMN IF NOT EXISTS received_from UInt32 DEFAULT 0;
