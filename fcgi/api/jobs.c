/* SPDX-License-Identifier: MIT
 * A page of a migration's jobs. */
#include "api/jobs.h"

#include "api/row_json.h"
#include "base/json.h"
#include "http/query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_USUAL 100
#define PAGE_MOST  1000

struct page {
    int64_t n;
    struct opt_int64 last;
    struct opt_int64 status;
};

/* A whole number from 1 to `most`; the value stays where the parameter is not given. */
static bool read_number(struct call *call, const char *name, int64_t most, const char *allowed,
                        struct opt_int64 *number)
{
    char value[64];
    char *end;
    if (!query_value(call->query, name, value, sizeof value))
        return true;
    errno = 0;
    long long parsed = strtoll(value, &end, 10);
    size_t digits = strspn(value + (*value == '-'), "0123456789");
    if (digits == 0 || *end)
        return error_parameter_type(&call->error, name, "an integer");
    if (errno == ERANGE || parsed < 1 || parsed > most)
        return error_parameter_value(&call->error, name, allowed);
    *number = (struct opt_int64){true, parsed};
    return true;
}

static bool read_status(struct call *call, struct opt_int64 *status)
{
    char value[64];
    if (!query_value(call->query, "status", value, sizeof value))
        return true;
    for (int64_t i = JOB_ACTIVE; i <= JOB_FAILED; i++) {
        if (strcmp(value, store_job_status_name(i)) == 0) {
            *status = (struct opt_int64){true, i};
            return true;
        }
    }
    return error_parameter_value(&call->error, "status", "one of active, finished, failed");
}

static bool read_page(struct call *call, struct page *page)
{
    struct opt_int64 n = {true, PAGE_USUAL};
    *page = (struct page){0};
    if (!read_number(call, "n", PAGE_MOST, "from 1 to 1000", &n) ||
        !read_number(call, "last", INT64_MAX, "a job's id, from 1 to 9223372036854775807",
                     &page->last) ||
        !read_status(call, &page->status))
        return false;
    page->n = n.value;
    return true;
}

/* The Link header of RFC 8288, as the registry's own lists give it. */
static void link_next(struct call *call, const struct page *page, int64_t last)
{
    snprintf(call->link, sizeof call->link, "<%s?n=%" PRId64 "&last=%" PRId64 "%s%s>; rel=\"next\"",
             call->path, page->n, last, page->status.given ? "&status=" : "",
             page->status.given ? store_job_status_name(page->status.value) : "");
}

bool jobs_page(struct call *call)
{
    struct page page;
    struct jobs jobs;
    if (!read_page(call, &page) ||
        !store_jobs(call->store, call->id, page.last.given ? &page.last.value : NULL,
                    page.status.given ? &page.status.value : NULL, page.n, call->deadline, &jobs,
                    &call->error))
        return false;
    struct json_object *list = json_object_new_array_ext((int)jobs.count + 1);
    for (size_t i = 0; i < jobs.count; i++)
        json_append(&list, row_json_job(&jobs.rows[i]));
    call->body = json_object_new_object();
    json_add(&call->body, "jobs", list);
    if (jobs.more)
        link_next(call, &page, jobs.last);
    store_jobs_free(&jobs);
    return true;
}
