-- A batch may be worked off in smaller steps.

ALTER TABLE batched_background_migrations
    ADD COLUMN sub_batch_size integer NOT NULL DEFAULT 0;
