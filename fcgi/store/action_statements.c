/* SPDX-License-Identifier: MIT
 * The statements of an action, and their parameters. */
#include "store/action_private.h"

#include "base/text.h"
#include "store/db.h"
#include "store/row.h"
#include "store/sql.h"
#include "store/store_private.h"

/* The values of all parameters, each by its name in the statements. */
struct values {
    const char *id, *worker, *at, *dry_run, *undoes, *repeat_of, *action_id, *seen;
    struct number numbers[4];
    char moment[32];
};

/* True where the pass may begin an action that an equal request may have begun meanwhile. */
static bool begins_action(const struct action *action)
{
    return action->has_history && action->request->may_be_repeat && !action->request->dry_run &&
           !action->changes->action_id.given;
}

static void set_values(const struct action *action, struct values *values)
{
    const struct action_request *request = action->request;
    const struct opt_int64 *action_id = &action->changes->action_id;
    *values = (struct values){.worker = action->worker.xids,
                              .dry_run = request->dry_run ? "true" : "false"};
    if (request->id)
        values->id = number(&values->numbers[0], *request->id);
    if (request->undoes)
        values->undoes = number(&values->numbers[1], *request->undoes);
    if (action_id->given)
        values->action_id = number(&values->numbers[2], action_id->value);
    if (begins_action(action))
        values->seen = number(&values->numbers[3], action->seen);
    if (action->changes->repeated)
        values->repeat_of = values->action_id;
    if (action->at.given && text_rfc3339(action->at.value, values->moment))
        values->at = values->moment;
}

/* A dry run takes locks, which a read-only transaction may not. */
static PGresult *send_change(const struct action *action, const struct sql *sql,
                             const char *const *params, struct error *error)
{
    const char *const of_request[SQL_LOCK_REQUEST_PARAMS] = {[SQL_LOCK_REQUEST_CORRELATION_ID] =
                                                                 action->request->correlation_id};
    const struct db_lock lock = {&SQL_LOCK_REQUEST, of_request};
    return db_change(action->store->db, begins_action(action) ? &lock : NULL, sql, params,
                     action->request->deadline, error);
}

/* What every plain statement takes, and every recorded one beside it. */
#define PLAIN(name)                                                                                \
    [SQL_##name##_ID] = v.id, [SQL_##name##_AT] = v.at, [SQL_##name##_DRY_RUN] = v.dry_run
#define RECORD(name)                                                                               \
    [SQL_##name##_AT] = v.at, [SQL_##name##_DRY_RUN] = v.dry_run,                                  \
    [SQL_##name##_ACTION_ID] = v.action_id, [SQL_##name##_SEEN] = v.seen,                          \
    [SQL_##name##_ACTOR] = request->actor, [SQL_##name##_TOKEN_ID] = request->token_id,            \
    [SQL_##name##_REMOTE_ADDR] = request->remote_addr,                                             \
    [SQL_##name##_CORRELATION_ID] = request->correlation_id,                                       \
    [SQL_##name##_REASON] = request->reason
#define RECORDED(name)                                                                             \
    RECORD(name), [SQL_##name##_ID] = v.id, [SQL_##name##_REPEAT_OF] = v.repeat_of,                \
                  [SQL_##name##_ACTION] = store_action_name(request->kind)

static PGresult *send_plain(const struct action *action, struct error *error)
{
    struct values v;
    set_values(action, &v);
    const char *const pause[SQL_PAUSE_PARAMS] = {PLAIN(PAUSE), [SQL_PAUSE_WORKER] = v.worker};
    const char *const resume[SQL_RESUME_PARAMS] = {PLAIN(RESUME)};
    const char *const restart[SQL_RESTART_PARAMS] = {PLAIN(RESTART)};
    const char *const first[SQL_RESTART_FIRST_PARAMS] = {PLAIN(RESTART_FIRST)};
    switch (action->request->kind) {
    case ACTION_PAUSE:
        return send_change(action, &SQL_PAUSE, pause, error);
    case ACTION_RESUME:
        return send_change(action, &SQL_RESUME, resume, error);
    default:
        return action->worker.has_error_code
                   ? send_change(action, &SQL_RESTART, restart, error)
                   : send_change(action, &SQL_RESTART_FIRST, first, error);
    }
}

static PGresult *send_resume_recorded(const struct action *action, const struct values *values,
                                      struct error *error)
{
    const struct values v = *values;
    const struct action_request *request = action->request;
    const char *const undo[SQL_UNDO_PARAMS] = {RECORD(UNDO), [SQL_UNDO_UNDOES] = v.undoes};
    const char *const resume[SQL_RESUME_RECORDED_PARAMS] = {RECORDED(RESUME_RECORDED)};
    return request->undoes ? send_change(action, &SQL_UNDO, undo, error)
                           : send_change(action, &SQL_RESUME_RECORDED, resume, error);
}

static PGresult *send_restart_recorded(const struct action *action, const struct values *values,
                                       struct error *error)
{
    const struct values v = *values;
    const struct action_request *request = action->request;
    const char *const restart[SQL_RESTART_RECORDED_PARAMS] = {RECORDED(RESTART_RECORDED)};
    const char *const first[SQL_RESTART_FIRST_RECORDED_PARAMS] = {RECORDED(RESTART_FIRST_RECORDED)};
    return action->worker.has_error_code
               ? send_change(action, &SQL_RESTART_RECORDED, restart, error)
               : send_change(action, &SQL_RESTART_FIRST_RECORDED, first, error);
}

static PGresult *send_recorded(const struct action *action, struct error *error)
{
    struct values v;
    const struct action_request *request = action->request;
    set_values(action, &v);
    const char *const pause[SQL_PAUSE_RECORDED_PARAMS] = {
        RECORDED(PAUSE_RECORDED), [SQL_PAUSE_RECORDED_WORKER] = v.worker};
    switch (request->kind) {
    case ACTION_PAUSE:
        return send_change(action, &SQL_PAUSE_RECORDED, pause, error);
    case ACTION_RESUME:
        return send_resume_recorded(action, &v, error);
    default:
        return send_restart_recorded(action, &v, error);
    }
}

/* An undo reads the history, so that it has no statement without. */
PGresult *action_send(const struct action *action, struct error *error)
{
    bool recorded = action->has_history && (!action->request->dry_run || action->request->undoes);
    return recorded ? send_recorded(action, error) : send_plain(action, error);
}
