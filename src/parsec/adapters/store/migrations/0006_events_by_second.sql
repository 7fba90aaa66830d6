-- replaces: events of 1, 3 without paths
-- Events in their second form, one row per stored position. Decision 0017 has the measurements; 0001 those of what stayed.
-- Rows of the first form are in events_before_6 until parsec.adapters.store.backfill has copied them.
--
-- attributes is what metadata is searched by. The engine makes it while inserting: a text stays a text, whatever it
-- looks like (the two settings of parsec.adapters.store.clickhouse go with each insert; mutations ignore them, so that
-- attributes must never be materialized by one), and a list keeps all its values. Where the engine cannot read the text,
-- attributes is empty, so nothing in metadata can fail an insert; for such rows the insert brings search_text.
-- paths: all paths of attributes, as a JSON list: few different ones, so that listing fields costs milliseconds.
CREATE TABLE IF NOT EXISTS events
(
    tenant_id LowCardinality(String),
    timestamp DateTime64(9, 'UTC') CODEC(GCD, ZSTD(1)),
    severity LowCardinality(String),
    source LowCardinality(String),
    message String CODEC(ZSTD(1)),
    metadata String CODEC(ZSTD(1)),
    id String CODEC(ZSTD(1)),
    received_at DateTime64(9, 'UTC') CODEC(Delta, ZSTD(1)),
    region LowCardinality(String),
    node LowCardinality(String),
    log_id LowCardinality(String),
    partition UInt32,
    offset UInt64 CODEC(Delta, ZSTD(1)),
    expires_on Date,
    search_text String EPHEMERAL,
    attributes JSON(max_dynamic_paths = 64, max_dynamic_types = 8)
        MATERIALIZED ifNull(
            accurateCastOrNull(
                if(empty(search_text), metadata, search_text), 'JSON(max_dynamic_paths = 64, max_dynamic_types = 8)'),
            CAST('{}', 'JSON(max_dynamic_paths = 64, max_dynamic_types = 8)'))
        CODEC(ZSTD(1)),
    paths LowCardinality(String) MATERIALIZED toJSONString(JSONAllPaths(attributes)),

    INDEX timestamp_minmax timestamp TYPE minmax GRANULARITY 1,
    INDEX received_at_minmax received_at TYPE minmax GRANULARITY 1,
    INDEX position_minmax (log_id, partition, offset) TYPE minmax GRANULARITY 1,
    INDEX source_set source TYPE set(100) GRANULARITY 1,
    INDEX id_bloom id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX message_words lower(message) TYPE text(tokenizer = 'splitByNonAlpha', posting_list_codec = 'bitpacking')
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
-- By second, then in the order of the log: neighbours look alike, and the newest events are still read first.
ORDER BY (tenant_id, toStartOfSecond(timestamp), log_id, partition, offset)
TTL expires_on
SETTINGS
    auto_statistics_types = '',
    -- Insert tokens are compared with this many blocks back; in a replicated table also for this long.
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    replicated_deduplication_window_seconds = 604800,
    -- A power cut: an insert is synced before it is acknowledged, a merge before its sources go.
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    old_parts_lifetime = 30,
    -- Merging is the larger half of an insert's price: fewer, wider steps, column by column.
    merge_selector_base = 16,
    max_bytes_to_merge_at_max_space_in_pool = 4294967296,
    vertical_merge_algorithm_min_rows_to_activate = 1,
    vertical_merge_algorithm_min_columns_to_activate = 1,
    vertical_merge_algorithm_min_bytes_to_activate = 0;
