/* SPDX-License-Identifier: MIT
 * PostgreSQL's error codes by what can be done about them. */
#include "store/sqlstate.h"

#include <stddef.h>
#include <string.h>

/* A code, or the first two characters of one for its whole class. What is not listed is
 * SQLSTATE_FATAL. A longer code goes before the class that it is in. */
static const struct {
    const char *prefix;
    enum sqlstate_class class;
    const char *remedy;
} codes[] = {
    {"08", SQLSTATE_TRANSIENT, NULL},    /* connection exception; PgBouncer's own refusals */
    {"22P05", SQLSTATE_ENCODING, NULL},  /* untranslatable character */
    {"25P03", SQLSTATE_TRANSIENT, NULL}, /* idle in transaction for too long */
    {"25P04", SQLSTATE_TRANSIENT, NULL}, /* transaction timeout (PostgreSQL 17) */
    /* Invalid transaction state: read-only, as a demoted primary is (25006), or a state in
     * which another client of a pooler left the session. */
    {"25", SQLSTATE_SESSION, NULL},
    {"28", SQLSTATE_TRANSIENT, "check database.user and database.password, and pg_hba.conf"},
    {"3D000", SQLSTATE_TRANSIENT, "check database.dbname"}, /* or it is being restored */
    {"3F000", SQLSTATE_SETUP, "check database.dbname: the registry's tables are not in it"},
    {"40", SQLSTATE_TRANSIENT, NULL}, /* transaction rollback: deadlock, serialization */
    {"42501", SQLSTATE_SETUP, "run sql/role.sql in the registry's database"},
    {"42P01", SQLSTATE_SETUP, "check database.dbname: the registry's tables are not in it"},
    {"53", SQLSTATE_TRANSIENT, NULL},    /* insufficient resources: connections, memory, disk */
    {"54000", SQLSTATE_TRANSIENT, NULL}, /* no more transaction numbers until it is vacuumed */
    {"55000", SQLSTATE_TRANSIENT, NULL}, /* the database takes no connections, for now */
    {"55006", SQLSTATE_TRANSIENT, NULL}, /* object in use */
    {"55P03", SQLSTATE_TRANSIENT, NULL}, /* lock not available in time */
    {"57", SQLSTATE_TRANSIENT, NULL},    /* operator intervention: shutdown, cancelled, starting */
    {"58", SQLSTATE_TRANSIENT, NULL},    /* system error: I/O */
    {"72000", SQLSTATE_TRANSIENT, NULL}, /* snapshot too old (until PostgreSQL 16) */
};

static size_t find(const char *sqlstate)
{
    size_t i = 0;
    while (i < sizeof codes / sizeof codes[0] &&
           strncmp(sqlstate, codes[i].prefix, strlen(codes[i].prefix)) != 0)
        i++;
    return i;
}

enum sqlstate_class sqlstate_class(const char *sqlstate)
{
    size_t i = find(sqlstate);
    return i < sizeof codes / sizeof codes[0] ? codes[i].class : SQLSTATE_FATAL;
}

const char *sqlstate_remedy(const char *sqlstate)
{
    size_t i = find(sqlstate);
    return i < sizeof codes / sizeof codes[0] ? codes[i].remedy : NULL;
}

bool sqlstate_outcome_unknown(const char *sqlstate)
{
    /* transaction_resolution_unknown, statement_completion_unknown */
    return strcmp(sqlstate, "08007") == 0 || strcmp(sqlstate, "40003") == 0;
}
