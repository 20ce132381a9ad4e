-- One run of a worker for the demo: what the registry's own does about once a minute, on the sample's
-- rows. deploy/demo/run repeats it. It takes advisory lock 1, chooses a migration, marks it, adds a job or
-- retries a failed one, works for two seconds, and commits.
DO $worker$
DECLARE
    m public.batched_background_migrations;
    job public.batched_background_migration_jobs;
    last_value bigint;
    jobs bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1) THEN
        RETURN;
    END IF;
    SELECT * INTO m FROM public.batched_background_migrations
        WHERE status IN (1, 4) ORDER BY status DESC, id LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF m.status = 1 THEN
        UPDATE public.batched_background_migrations
            SET status = 4, failure_error_code = NULL, updated_at = now(), started_at = now() WHERE id = m.id;
    END IF;
    SELECT max(max_value), count(*) INTO last_value, jobs
        FROM public.batched_background_migration_jobs WHERE batched_background_migration_id = m.id;
    IF m.total_tuple_count IS NULL OR m.total_tuple_count = 0 THEN
        m.total_tuple_count := 20 * m.batch_size;
        UPDATE public.batched_background_migrations SET total_tuple_count = m.total_tuple_count WHERE id = m.id;
    END IF;
    -- The sample has no rows to migrate: a migration is at its end once its jobs have seen as many as
    -- it counts.
    IF jobs * m.batch_size < m.total_tuple_count AND (last_value IS NULL OR last_value < m.max_value OR m.max_value = 0) THEN
        INSERT INTO public.batched_background_migration_jobs
            (batched_background_migration_id, min_value, max_value, started_at)
            VALUES (m.id, coalesce(last_value, 0) + 1, coalesce(last_value, 0) + m.batch_size, now())
            RETURNING * INTO job;
    ELSE
        SELECT * INTO job FROM public.batched_background_migration_jobs
            WHERE batched_background_migration_id = m.id AND status = 3 ORDER BY id LIMIT 1;
        IF NOT FOUND THEN
            UPDATE public.batched_background_migrations
                SET status = 2, updated_at = now(), finished_at = now() WHERE id = m.id;
            RETURN;
        ELSIF job.attempts >= 5 THEN
            UPDATE public.batched_background_migrations
                SET status = 3, failure_error_code = 4, updated_at = now() WHERE id = m.id;
            RETURN;
        END IF;
    END IF;
    UPDATE public.batched_background_migration_jobs SET attempts = attempts + 1 WHERE id = job.id;
    PERFORM pg_sleep(2);
    IF random() < 0.1 THEN
        UPDATE public.batched_background_migration_jobs
            SET status = 3, failure_error_code = 0, updated_at = now() WHERE id = job.id;
    ELSE
        UPDATE public.batched_background_migration_jobs
            SET status = 2, updated_at = now(), finished_at = now() WHERE id = job.id;
    END IF;
END
$worker$;
