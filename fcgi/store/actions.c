/* SPDX-License-Identifier: MIT
 * An action, pass by pass. */
#include "store/actions.h"

#include "base/clock.h"
#include "store/action_private.h"
#include "store/db.h"
#include "store/history.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"
#include "store/worker_state.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Where the columns of a pass stand; -1 where the statement has none. */
struct columns {
    struct change_columns change;
    int changed, held, overtaken, action_id, at, later, error_code;
};

/* How many passes a dry run makes, to see whether a migration is held for longer than a moment. */
#define DRY_RUN_PASSES 5

const char *store_action_name(enum action_kind kind)
{
    static const char *const names[] = {
        [ACTION_PAUSE] = "pause", [ACTION_RESUME] = "resume", [ACTION_RESTART] = "restart"};
    return names[kind];
}

/* ---- what a pass did ---- */

/* A 409 that says what the state allows. */
static bool refuse_state(int64_t id, int64_t status, struct error *error)
{
    const char *allowed = "no action is possible";
    if (status == MIGRATION_PAUSED)
        allowed = "it can only be resumed";
    else if (status == MIGRATION_FAILED)
        allowed = "it can only be restarted";
    return error_state_conflict(error, id, store_status_name(status), allowed);
}

/* A single migration that the pass did not change: success where its state is the one that is asked
 * for, else a 409. */
static bool judge_untouched(const struct action *action, int64_t id, int64_t status,
                            struct error *error)
{
    struct changes *changes = action->changes;
    bool right = status == MIGRATION_ACTIVE || status == MIGRATION_RUNNING ||
                 (status == MIGRATION_PAUSED && action->request->kind != ACTION_RESTART);
    /* Success, too, where an earlier pass has changed it and the end of a worker's run has then
     * finished or failed it. */
    if (!right && changes->done.count == 0)
        return refuse_state(id, status, error);
    changes->untouched = (struct opt_int64){true, status};
    return true;
}

static bool read_untouched(const struct action *action, const PGresult *result,
                           const struct columns *columns, int row, struct error *error)
{
    struct changes *changes = action->changes;
    int64_t id = integer_at(result, row, columns->change.id);
    int64_t status = integer_at(result, row, columns->change.previous_status);
    if (action->request->id)
        return judge_untouched(action, id, status, error);
    if (!action->request->undoes || change_list_has(&changes->done, id))
        return true;
    if (!change_list_add(&changes->left, result, &columns->change, row, error))
        return false;
    for (size_t i = 0; i < changes->left.count; i++) {
        if (changes->left.rows[i].id == id)
            changes->left.rows[i].later = opt_int64_at(result, row, columns->later);
    }
    return true;
}

static bool read_row(struct action *action, const PGresult *result, const struct columns *columns,
                     int row, struct error *error)
{
    struct changes *changes = action->changes;
    if (integer_at(result, row, columns->held) != 0) {
        action->was_held = true;
        action->overtaken = integer_at(result, row, columns->overtaken) != 0;
        return change_list_add(&changes->held, result, &columns->change, row, error);
    }
    if (integer_at(result, row, columns->changed) == 0)
        return read_untouched(action, result, columns, row, error);
    action->changed++;
    if (integer_at(result, row, columns->change.previous_status) == MIGRATION_RUNNING)
        action->was_running = true;
    if (!action->at.given)
        action->at = time_at(result, row, columns->at);
    if (!changes->action_id.given)
        changes->action_id = opt_int64_at(result, row, columns->action_id);
    changes->error_code = opt_int64_at(result, row, columns->error_code);
    return change_list_add(&changes->done, result, &columns->change, row, error);
}

static bool refuse_undo(const struct action_request *request, struct error *error)
{
    static const char expected[] = "the id of a pause in the history";
    return request->undoes_in_body
               ? error_invalid_body(error, "the member 'action_id' must be %s", expected)
               : error_parameter_value(error, "action_id", expected);
}

static bool read_pass(struct action *action, const PGresult *result, struct error *error)
{
    const struct action_request *request = action->request;
    const struct columns columns = {
        .change = change_columns_of(result),
        .changed = PQfnumber(result, "changed"),
        .held = PQfnumber(result, "held"),
        .overtaken = PQfnumber(result, "overtaken"),
        .action_id = PQfnumber(result, "action_id"),
        .at = PQfnumber(result, "at"),
        .later = PQfnumber(result, "later"),
        .error_code = PQfnumber(result, "error_code"),
    };
    action->changed = 0;
    action->was_running = false;
    action->overtaken = false;
    change_list_clear(&action->changes->held);
    change_list_clear(&action->changes->left);
    if (request->dry_run)
        change_list_clear(&action->changes->done);
    if (request->id && PQntuples(result) == 0)
        return request->kind == ACTION_RESTART ? error_restart_id_not_found(error, *request->id)
                                               : error_id_not_found(error, *request->id);
    if (request->undoes && PQntuples(result) == 0)
        return refuse_undo(request, error);
    for (int row = 0; row < PQntuples(result); row++) {
        if (!read_row(action, result, &columns, row, error))
            return false;
    }
    return true;
}

/* ---- a pass ---- */

static bool check_history(struct action *action, struct error *error)
{
    const struct action_request *request = action->request;
    if (!store_has_history(action->store, request->deadline, &action->has_history, error))
        return false;
    return action->has_history || !request->undoes || error_no_history(error);
}

/* Sends the same without a record, where the history has been removed since it was seen. The
 * refused statement has changed nothing. */
static PGresult *send_again(struct action *action, struct error *error)
{
    struct error refused = *error;
    *error = (struct error){0};
    if (!check_history(action, error) || action->has_history) {
        if (!error->status)
            *error = refused;
        else
            error_free(&refused);
        return NULL;
    }
    error_free(&refused);
    return action_send(action, error);
}

/* A dry run that was lost on the way has changed nothing. */
static void forget_outcome(struct error *error)
{
    char reason[sizeof error->reason];
    memcpy(reason, error->reason, sizeof reason);
    error_free(error);
    error_unavailable(error, "%s", reason);
}

/* One statement, which changes the migrations that can be locked now, and reports those that are
 * held. */
static bool pass(struct action *action, struct error *error)
{
    PGresult *result = action_send(action, error);
    if (!result && action->has_history && error->is_setup)
        result = send_again(action, error);
    bool good = result && read_pass(action, result, error);
    PQclear(result);
    if (action->request->dry_run && error->outcome_unknown)
        forget_outcome(error);
    /* It has run, and there was no memory to note what it changed. */
    if (result && !good && error->status == 503 && !action->request->dry_run)
        error_outcome_unknown(error);
    return good;
}

/* ---- waiting ---- */

/* Sleeps for `*ms`, which grows with each call. False when the time is over. */
static bool wait_a_moment(const struct action *action, int64_t *ms)
{
    /* Some is left for the last look and the answer. */
    int64_t left = action->request->deadline - clock_ms() - 100;
    if (left <= 0)
        return false;
    const struct timespec moment = {0, (long)(*ms < left ? *ms : left) * 1000000};
    nanosleep(&moment, NULL);
    *ms = *ms < 50 ? *ms * 2 : *ms;
    return true;
}

/* Sends the next look along with the statement before it, in one round trip. */
static void look_along(const struct action *action)
{
    db_send_along(action->store->db, &SQL_WORKER);
}

static bool look(struct action *action, struct error *error)
{
    if (!worker_state_read(action->store, action->request->deadline, &action->worker, error))
        return false;
    action->changes->job_in_flight = action->worker.in_run;
    return true;
}

/* Looks at the worker until it can undo nothing, with at least one look, after the last pass. False
 * on error, or with `unsettled` set, when the time is over. */
static bool settle(struct action *action, struct error *error)
{
    int64_t ms = 2;
    do {
        if (!look(action, error))
            return false;
        action->changes->unsettled = action->request->kind == ACTION_PAUSE &&
                                     !action->was_running && worker_state_may_undo(&action->worker);
        if (!action->changes->unsettled)
            return true;
    } while (wait_a_moment(action, &ms));
    return error_held(error, "a worker in a run may set a paused migration running");
}

/* ---- repeats ---- */

/* Looks for an earlier request that this one repeats; what that one did counts as done. */
static bool find_repeated(struct action *action, struct error *error)
{
    if (!action->has_history || !action->request->may_be_repeat)
        return true;
    return history_find_repeated(action->store, action->request, action->changes, &action->at,
                                 &action->seen, error);
}

/* What has been done under the action's id: an equal request may have done a part of it, or all. */
static bool read_back(struct action *action, struct error *error)
{
    struct changes *changes = action->changes;
    bool did_some = changes->done.count > 0;
    bool was_repeat = changes->repeated;
    if (!find_repeated(action, error))
        return false;
    if (did_some)
        changes->repeated = was_repeat;
    return true;
}

/* ---- the whole action ---- */

/* Changes what is meant, pass by pass, until a pass leaves nothing out.
 *
 * A pause is done when a pass finds nothing left to do, and between it and the pass before, the
 * worker was seen to be able to undo nothing: no later run can either, as it finds them paused.
 * The look before the first pass does not count: what that pass finds paused, another caller may
 * have paused after it. */
static bool change_all(struct action *action, struct error *error)
{
    const struct changes *changes = action->changes;
    bool pausing = action->request->kind == ACTION_PAUSE;
    int64_t ms = 2;
    bool settled = !pausing;
    for (;;) {
        if (!settled)
            look_along(action);
        if (!pass(action, error))
            return false;
        if (action->overtaken) {
            if (!find_repeated(action, error))
                return false;
            continue;
        }
        if (changes->held.count > 0 && !wait_a_moment(action, &ms))
            return error_held(error, "%zu migrations are held by another transaction",
                              changes->held.count);
        if (settled && changes->held.count == 0 && (!pausing || action->changed == 0))
            return true;
        if (!settle(action, error))
            return false;
        settled = true;
    }
}

/* Reports what would change. A migration that is held only for a moment, as by another dry run,
 * does not count as held. */
static bool change_nothing(struct action *action, struct error *error)
{
    int64_t ms = 2;
    for (int i = 0; i < DRY_RUN_PASSES; i++) {
        if (!pass(action, error))
            return false;
        if (action->changes->held.count == 0 || !wait_a_moment(action, &ms))
            break;
    }
    return true;
}

static bool act(struct action *action, struct error *error)
{
    /* The look comes next, unless an earlier request is searched first. */
    if (!action->request->may_be_repeat || !action->store->had_history)
        look_along(action);
    if (!check_history(action, error))
        return false;
    if (action->request->dry_run)
        return look(action, error) && change_nothing(action, error);
    if (action->has_history && action->request->may_be_repeat)
        look_along(action);
    if (!find_repeated(action, error) || !look(action, error) || !change_all(action, error))
        return false;
    /* The same request may have been under way in another thread or process. */
    const struct changes *changes = action->changes;
    bool did_all = changes->done.count > 0 && !changes->repeated && !action->was_held;
    return did_all || read_back(action, error);
}

bool store_act(struct store *store, const struct action_request *request, struct changes *changes,
               struct error *error)
{
    struct action action = {.request = request, .store = store, .changes = changes};
    *changes = (struct changes){0};
    bool good = act(&action, error);
    db_send_along(store->db, NULL);
    worker_state_free(&action.worker);
    return good;
}
