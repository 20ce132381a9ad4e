<?php
// One migration: one.php?id=7
declare(strict_types=1);

require __DIR__ . '/migration.php';

$statement = database()->prepare(MIGRATIONS . ' WHERE m.id = :id');
$statement->execute(['id' => $_GET['id']]);
$row = $statement->fetch();
if ($row === false) {
    http_response_code(404);
    answer(['errors' => [['code' => 'BBM_ID_NOT_FOUND', 'message' => 'provided BBM Id has not been found']]]);
} else {
    answer(['migration' => migration($row)]);
}
