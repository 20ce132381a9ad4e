/* SPDX-License-Identifier: MIT
 * Reading the history. */
#include "store/history.h"

#include "store/db.h"
#include "store/jobs.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

#include <libpq-fe.h>
#include <stdlib.h>

bool history_exists(struct db *db, int64_t deadline, bool *exists, struct error *error)
{
    PGresult *result = db_read(db, &SQL_HAS_HISTORY, NULL, deadline, error);
    *exists = result && bool_named(result, "has_history");
    PQclear(result);
    return !error->status;
}

bool store_has_history(struct store *store, int64_t deadline, bool *has_history,
                       struct error *error)
{
    bool known = history_exists(store->db, deadline, has_history, error);
    store->had_history = known && *has_history;
    return known;
}

/* ---- repeats ---- */

/* What the action has changed; one row without a migration where there is none. */
static bool add_repeated(const PGresult *result, struct changes *changes, struct opt_int64 *at,
                         struct error *error)
{
    const struct change_columns columns = change_columns_of(result);
    const struct opt_int64 known = changes->action_id;
    for (int row = 0; row < PQntuples(result); row++) {
        struct opt_int64 action_id = opt_int64_at(result, row, PQfnumber(result, "action_id"));
        bool is_other = known.given && known.value != action_id.value;
        if (PQgetisnull(result, row, columns.id) || is_other)
            continue;
        changes->repeated = true;
        changes->action_id = action_id;
        *at = time_at(result, row, PQfnumber(result, "at"));
        if (!change_list_add(&changes->done, result, &columns, row, error))
            return false;
    }
    return true;
}

bool history_find_repeated(struct store *store, const struct action_request *request,
                           struct changes *changes, struct opt_int64 *at, int64_t *seen,
                           struct error *error)
{
    struct number numbers[2];
    const char *const params[SQL_REPEATED_PARAMS] = {
        [SQL_REPEATED_CORRELATION_ID] = request->correlation_id,
        [SQL_REPEATED_ACTION] = store_action_name(request->kind),
        [SQL_REPEATED_ACTOR] = request->actor,
        [SQL_REPEATED_TOKEN_ID] = request->token_id,
        [SQL_REPEATED_ID] = request->id ? number(&numbers[0], *request->id) : NULL,
        [SQL_REPEATED_UNDOES] = request->undoes ? number(&numbers[1], *request->undoes) : NULL,
    };
    PGresult *result = db_read(store->db, &SQL_REPEATED, params, request->deadline, error);
    if (!result)
        return false;
    *seen = integer_at(result, 0, PQfnumber(result, "seen"));
    bool good = add_repeated(result, changes, at, error);
    PQclear(result);
    return good;
}

/* ---- pauses ---- */

/* The columns of sql/paused_by.sql. */
enum {
    PAUSES_ID,
    PAUSES_AT,
    PAUSES_ACTOR,
    PAUSES_REASON,
};

static bool has_paused(const struct migrations *migrations)
{
    for (size_t i = 0; i < migrations->count; i++) {
        if (migrations->rows[i].status == MIGRATION_PAUSED)
            return true;
    }
    return false;
}

/* Both ascend by id. The migrations were read before: one that has been changed since has another
 * updated_at, and the pause is not this state's. */
static void merge_pauses(const PGresult *pauses, struct migrations *migrations)
{
    size_t i = 0;
    for (int row = 0; row < PQntuples(pauses); row++) {
        int64_t id = integer_at(pauses, row, PAUSES_ID);
        struct opt_int64 at = time_at(pauses, row, PAUSES_AT);
        while (i < migrations->count && migrations->rows[i].id < id)
            i++;
        if (i == migrations->count)
            return;
        struct migration *m = &migrations->rows[i];
        if (m->id != id || m->status != MIGRATION_PAUSED || !m->updated_at.given || !at.given ||
            m->updated_at.value != at.value)
            continue;
        m->paused_at = at;
        m->paused_by = str_view_at(pauses, row, PAUSES_ACTOR);
        m->pause_reason = str_view_at(pauses, row, PAUSES_REASON);
    }
}

bool history_add_pauses(struct store *store, const int64_t *id, int64_t deadline,
                        struct migrations *migrations, struct error *error)
{
    bool has_history;
    struct number number_of_id;
    const char *const params[SQL_PAUSED_BY_PARAMS] = {[SQL_PAUSED_BY_ID] =
                                                          id ? number(&number_of_id, *id) : NULL};
    if (!has_paused(migrations))
        return true;
    if (!store_has_history(store, deadline, &has_history, error))
        return false;
    if (!has_history)
        return true;
    migrations->pauses = db_read(store->db, &SQL_PAUSED_BY, params, deadline, error);
    if (migrations->pauses)
        merge_pauses(migrations->pauses, migrations);
    else if (error->is_setup) /* it has gone since */
        error_free(error);
    return !error->status;
}

/* ---- a page ---- */

/* The most rows of a page, which are changes: enough for fifty actions on all migrations of a
 * registry, and a few megabytes. One action never has more. */
#define PAGE_ROWS 10000

/* The columns of sql/history_page.sql. */
enum {
    PAGE_ID,
    PAGE_AT,
    PAGE_ACTION,
    PAGE_ACTOR,
    PAGE_TOKEN_ID,
    PAGE_REMOTE_ADDR,
    PAGE_CORRELATION_ID,
    PAGE_REASON,
    PAGE_UNDOES,
    PAGE_MIGRATION_ID,
    PAGE_NAME,
    PAGE_PREVIOUS_STATUS,
    PAGE_STATUS,
};

static struct recorded_action action_at(const PGresult *result, int row)
{
    return (struct recorded_action){
        .id = integer_at(result, row, PAGE_ID),
        .at = time_at(result, row, PAGE_AT),
        .action = str_view_at(result, row, PAGE_ACTION),
        .actor = str_view_at(result, row, PAGE_ACTOR),
        .token_id = str_view_at(result, row, PAGE_TOKEN_ID),
        .remote_addr = str_view_at(result, row, PAGE_REMOTE_ADDR),
        .correlation_id = str_view_at(result, row, PAGE_CORRELATION_ID),
        .reason = str_view_at(result, row, PAGE_REASON),
        .undoes = opt_int64_at(result, row, PAGE_UNDOES),
    };
}

static struct recorded_change change_at(const PGresult *result, int row)
{
    return (struct recorded_change){
        .migration_id = integer_at(result, row, PAGE_MIGRATION_ID),
        .name = str_view_at(result, row, PAGE_NAME),
        .previous_status = integer_at(result, row, PAGE_PREVIOUS_STATUS),
        .status = integer_at(result, row, PAGE_STATUS),
    };
}

/* Groups the rows by action. */
static void read_rows(const PGresult *result, struct history_page *page)
{
    for (int row = 0; row < PQntuples(result); row++) {
        int64_t id = integer_at(result, row, PAGE_ID);
        if (page->count == 0 || page->actions[page->count - 1].id != id) {
            page->actions[page->count] = action_at(result, row);
            page->actions[page->count++].changes = page->changes + row;
        }
        if (PQgetisnull(result, row, PAGE_MIGRATION_ID))
            continue;
        page->changes[row] = change_at(result, row);
        page->actions[page->count - 1].change_count++;
    }
}

/* One action more than asked for says that there are more; the last of very many rows is cut off,
 * and left to the next page. */
static bool read_page(PGresult *result, int64_t n, struct history_page *page, struct error *error)
{
    size_t rows = (size_t)PQntuples(result);
    page->result = result;
    page->actions = calloc(rows + 1, sizeof *page->actions);
    page->changes = calloc(rows + 1, sizeof *page->changes);
    if (!page->actions || !page->changes)
        return error_out_of_memory(error);
    read_rows(result, page);
    page->more = rows == PAGE_ROWS || page->count > (size_t)n;
    if (rows == PAGE_ROWS && page->count > 1)
        page->count--;
    if (page->count > (size_t)n)
        page->count = (size_t)n;
    return true;
}

/* An empty page of a migration that there is; else a 404. */
static bool check_migration(struct store *store, int64_t id, int64_t deadline, struct error *error)
{
    struct jobs none;
    bool good = store_jobs(store, id, NULL, NULL, 1, deadline, &none, error);
    store_jobs_free(&none);
    return good;
}

bool history_read(struct store *store, const int64_t *id, const int64_t *last, int64_t n,
                  int64_t deadline, struct history_page *page, struct error *error)
{
    bool has_history;
    struct number numbers[4];
    *page = (struct history_page){0};
    if (!store_has_history(store, deadline, &has_history, error))
        return false;
    if (!has_history)
        return error_no_history(error);
    const char *const params[SQL_HISTORY_PAGE_PARAMS] = {
        [SQL_HISTORY_PAGE_ID] = id ? number(&numbers[0], *id) : NULL,
        [SQL_HISTORY_PAGE_LAST] = last ? number(&numbers[1], *last) : NULL,
        [SQL_HISTORY_PAGE_N] = number(&numbers[2], n),
        [SQL_HISTORY_PAGE_MOST] = number(&numbers[3], PAGE_ROWS),
    };
    PGresult *result = db_read(store->db, &SQL_HISTORY_PAGE, params, deadline, error);
    if (!result || !read_page(result, n, page, error))
        return false;
    return page->count > 0 || !id || check_migration(store, *id, deadline, error);
}

void history_page_free(struct history_page *page)
{
    PQclear(page->result);
    free(page->actions);
    free(page->changes);
    *page = (struct history_page){0};
}
