<?php
// What list.php and one.php share: the connection, which outlives the request, the statement, and
// how a row reads as JSON. Fields and progress are the registry's own; what this service adds to them
// is left out, and no token is asked for.
declare(strict_types=1);

const STATUS = ['paused', 'active', 'finished', 'failed', 'running'];

const MIGRATIONS = '
    SELECT m.id, m.name, m.status, m.job_signature_name, m.table_name, m.column_name, m.batch_size,
           m.min_value, m.max_value, m.batching_strategy, m.total_tuple_count, m.failure_error_code,
           j.finished_jobs
      FROM public.batched_background_migrations AS m
     CROSS JOIN LATERAL (
           SELECT count(*) AS finished_jobs
             FROM public.batched_background_migration_jobs
            WHERE batched_background_migration_id = m.id AND status = 2) AS j';

function database(): PDO
{
    return new PDO(getenv('BENCH_DSN'), getenv('BENCH_USER'), getenv('BENCH_PASSWORD'), [
        PDO::ATTR_PERSISTENT => true,
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
        // False: PDO prepares, executes and deallocates, three round trips for each request. A
        // statement does not outlive the request, as the connection does.
        PDO::ATTR_EMULATE_PREPARES => getenv('BENCH_PREPARES') === 'emulated',
    ]);
}

function migration(array $row): array
{
    $migration = [
        'id' => $row['id'],
        'name' => $row['name'],
        'status' => STATUS[$row['status']] ?? 'unknown',
        'job_signature_name' => $row['job_signature_name'],
        'target_table' => $row['table_name'],
        'target_column' => $row['column_name'],
        'batch_size' => $row['batch_size'],
        'min_value' => $row['min_value'],
        'max_value' => $row['max_value'],
        'batching_strategy' => $row['batching_strategy'] ?? '',
        'finished_jobs' => $row['finished_jobs'],
    ];
    $total = $row['total_tuple_count'];
    if ($total !== null) {
        $migration['total_tuple_count'] = $total;
    }
    if ($row['failure_error_code'] !== null) {
        $migration['error_code'] = $row['failure_error_code'];
    }
    if ($row['status'] === 2) {
        $migration['progress'] = 100;
        $migration['capped'] = false;
    } elseif ($total > 0) {
        $done = min($row['finished_jobs'] * $row['batch_size'], $total) / $total * 100;
        $migration['progress'] = min($done, 99.9);
        $migration['capped'] = $done >= 100;
    }
    return $migration;
}

function answer(array $body): void
{
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    echo json_encode($body, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_THROW_ON_ERROR);
}
