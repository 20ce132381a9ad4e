<?php
// The registry's list as a legacy host would otherwise serve it: one script, one statement.
declare(strict_types=1);

require __DIR__ . '/migration.php';

$statement = database()->prepare(MIGRATIONS . ' ORDER BY m.id');
$statement->execute();
answer(['migrations' => array_map('migration', $statement->fetchAll())]);
