/* SPDX-License-Identifier: MIT
 *
 * sql: the statements of sql/, compiled in by the Makefile (sql/embed.awk).
 *
 * Each file is a struct sql, and each of its :variables a position among the parameters:
 *
 *     const char *params[SQL_JOBS_PARAMS] = {[SQL_JOBS_ID] = "7"};
 *
 * A position that a statement does not have does not compile.
 */
#ifndef BBM_SQL_H
#define BBM_SQL_H

struct sql {
    const char *name; /* under which it is prepared; NULL: it never is */
    const char *text; /* with $1, $2, … */
    int params;       /* how many */
    int number;       /* below SQL_STATEMENTS */
};

#include "sql_statements.h" // IWYU pragma: export

#endif
