/* SPDX-License-Identifier: MIT
 *
 * services: a request as the service's files see it, with routes and counters of the test's own.
 */
#ifndef BBM_UNIT_SERVICES_H
#define BBM_UNIT_SERVICES_H

#include "unit.h"

#include "base/buffer.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/service_private.h"

static struct reply reply;
static struct server_request services_fcgi;
static struct request_context x;

static const struct route services_read = {.method = "GET", .pattern = "r", .access = ACCESS_READ};
static const struct route services_write = {.method = "POST",
                                            .pattern = "w",
                                            .access = ACCESS_WRITE,
                                            .params = PARAM(PARAM_REASON) | PARAM(PARAM_DRY_RUN)};
static const struct route services_open = {.method = "GET", .pattern = "o", .access = ACCESS_NONE};

/* cmocka's setup and teardown of each test: a GET that is good so far. */
static inline int services_setup(void **state)
{
    (void)state;
    reply = (struct reply){.response.status = 0};
    services_fcgi = (struct server_request){.body_state = SERVER_BODY_WHOLE, .body = ""};
    x = (struct request_context){.fcgi = &services_fcgi,
                                 .reply = &reply,
                                 .request = {.method = "GET",
                                             .script_name = "",
                                             .path_info = "",
                                             .query = "",
                                             .host = "",
                                             .remote_addr = "::1",
                                             .if_none_match = "",
                                             .content_length = -1,
                                             .id = "abc"},
                                 .match = {.route = &services_read, .pattern = "r", .path = "/r"}};
    return 0;
}

static inline int services_teardown(void **state)
{
    (void)state;
    json_object_put(x.call.body);
    json_object_put(x.call.changed);
    cached_body_drop(x.call.cached_body);
    free(x.call.text);
    params_free(&x.call.params);
    error_free(&x.call.error);
    response_free(&reply.response);
    return 0;
}

#define SERVICE_TEST(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, services_setup, services_teardown)

/* The value of a metric's sample; 0 where there is none. */
static inline long metric(const char *sample)
{
    char start[160];
    struct buffer out = buffer_start(NULL, 0);
    metrics_print(&out);
    char *text = buffer_take(&out);
    assert_non_null(text);
    snprintf(start, sizeof start, "\n%s ", sample);
    const char *line = strstr(text, start);
    long value = line ? strtol(line + strlen(start), NULL, 10) : 0;
    free(text);
    return value;
}

#endif
