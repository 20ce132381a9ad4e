-- When a migration was last started, and when it finished.

ALTER TABLE batched_background_migrations
    ADD COLUMN started_at timestamptz,
    ADD COLUMN finished_at timestamptz;
