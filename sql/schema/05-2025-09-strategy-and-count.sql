-- How batches are made (NULL: serial keyset), and the estimate that progress is computed from.

ALTER TABLE batched_background_migrations
    ADD COLUMN batching_strategy text,
    ADD COLUMN total_tuple_count bigint;
