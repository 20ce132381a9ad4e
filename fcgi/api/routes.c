/* SPDX-License-Identifier: MIT
 * The API as one table. A new route is a row here, its handler, and a path in
 * page/openapi.json. */
#include "api/routes.h"

#include "api/actions.h"
#include "api/health.h"
#include "api/history.h"
#include "api/jobs.h"
#include "api/list.h"
#include "api/page.h"

/* What the routes take besides the path. */
#define LIST_PARAMS    PARAM(PARAM_STATES)
#define JOBS_PARAMS    (PARAM(PARAM_N) | PARAM(PARAM_LAST_JOB) | PARAM(PARAM_JOB_STATUS))
#define HISTORY_PARAMS (PARAM(PARAM_N) | PARAM(PARAM_LAST_ACTION))
#define ACTION_PARAMS  (PARAM(PARAM_REASON) | PARAM(PARAM_DRY_RUN))
#define RESUME_PARAMS  (ACTION_PARAMS | PARAM(PARAM_ACTION_ID)) /* of all: an undo */

static const struct route api[] = {
    {"GET", "background-migrations", ACCESS_READ, list_all, LIST_PARAMS},
    {"GET", "background-migrations/{id}", ACCESS_READ, list_one, 0},
    {"POST", "background-migrations/pause", ACCESS_WRITE, actions_pause, ACTION_PARAMS},
    {"POST", "background-migrations/resume", ACCESS_WRITE, actions_resume, RESUME_PARAMS},
    {"GET", "bbm/status", ACCESS_READ, list_all, LIST_PARAMS},
    {"POST", "bbm/pause", ACCESS_WRITE, actions_pause, ACTION_PARAMS},
    {"POST", "bbm/resume", ACCESS_WRITE, actions_resume, RESUME_PARAMS},
    {"POST", "restart/{id}", ACCESS_WRITE, actions_restart, ACTION_PARAMS},
    {"POST", "background-migrations/{id}/pause", ACCESS_WRITE, actions_pause, ACTION_PARAMS},
    {"POST", "background-migrations/{id}/resume", ACCESS_WRITE, actions_resume, ACTION_PARAMS},
    {"POST", "background-migrations/{id}/restart", ACCESS_WRITE, actions_restart, ACTION_PARAMS},
    {"GET", "background-migrations/{id}/jobs", ACCESS_READ, jobs_page, JOBS_PARAMS},
    {"GET", "background-migrations/{id}/actions", ACCESS_READ, history_actions, HISTORY_PARAMS},
    {"GET", "bbm/actions", ACCESS_READ, history_actions, HISTORY_PARAMS},
    {"GET", "bbm", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/page.css", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/page.js", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/client.js", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/text.js", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/list.js", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/one.js", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/panels.js", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/act.js", ACCESS_NONE, page_get, 0},
    {"GET", "bbm/openapi.json", ACCESS_NONE, page_get, 0},
};

/* For monitoring; outside the bases, and under no prefix. */
static const struct route operational[] = {
    {"GET", "/-/liveness", ACCESS_NONE, health_liveness, 0},
    {"GET", "/-/readiness", ACCESS_NONE, health_readiness, 0},
    {"GET", "/-/metrics", ACCESS_NONE, health_metrics, 0},
};

static handler *const coalesced[] = {list_all, list_one, NULL};

const struct routes api_routes = {
    .api = api,
    .api_count = sizeof api / sizeof api[0],
    .operational = operational,
    .operational_count = sizeof operational / sizeof operational[0],
    .coalesced = coalesced,
};
