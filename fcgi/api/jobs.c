/* SPDX-License-Identifier: MIT
 * A page of a migration's jobs. */
#include "api/jobs.h"

#include "api/row_json.h"
#include "base/json.h"
#include "store/jobs.h"

#include <inttypes.h>
#include <stdio.h>

/* The Link header of RFC 8288, as the registry's own lists give it. */
static void link_next(struct call *call, int64_t last)
{
    const struct params *params = &call->params;
    snprintf(call->link, sizeof call->link, "<%s?n=%" PRId64 "&last=%" PRId64 "%s%s>; rel=\"next\"",
             call->path, params->n, last, params->status.given ? "&status=" : "",
             params->status.given ? store_job_status_name(params->status.value) : "");
}

bool jobs_page(struct call *call)
{
    const struct params *params = &call->params;
    struct jobs jobs;
    if (!store_jobs(call->store, call->id, params->last.given ? &params->last.value : NULL,
                    params->status.given ? &params->status.value : NULL, params->n, call->deadline,
                    &jobs, &call->error))
        return false;
    struct json_object *list = json_object_new_array_ext((int)jobs.count + 1);
    for (size_t i = 0; i < jobs.count; i++)
        json_append(&list, json_flat(row_json_job(&jobs.rows[i])));
    call->body = json_object_new_object();
    json_add(&call->body, "jobs", list);
    if (jobs.more)
        link_next(call, jobs.last);
    store_jobs_free(&jobs);
    return true;
}
