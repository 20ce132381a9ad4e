/* SPDX-License-Identifier: MIT
 *
 * service: one request, from its parameters to its answer and its line in the log.
 *
 * What all threads share is in struct service; its parts have locks of their own. Each thread has a
 * struct service_thread.
 */
#ifndef BBM_SERVICE_H
#define BBM_SERVICE_H

#include "auth/auth.h"
#include "base/conf.h"
#include "http/coalesce.h"
#include "http/list_cache.h"
#include "http/refusal_log.h"
#include "http/router.h"
#include "server/server.h"
#include "store/job_counters.h"

#include <stdbool.h>
#include <stddef.h>

struct service {
    const struct conf *conf;
    const struct auth *auth;
    struct job_counters *counters;
    struct list_cache *list_cache;
    struct coalesce *coalesce;
    const struct routes *routes;
    struct refusal_log *refusal_log;
};

struct service_thread;

/* The overload thread has no connection to the database: it answers what needs none, and 503 to
 * the rest. NULL when out of memory. */
struct service_thread *service_thread_new(const struct service *service, bool overload);
void service_thread_free(struct service_thread *thread);

/* The bytes that each request needs: server_calls.own_size. */
size_t service_request_size(void);

/* As the callbacks of server_calls. */
enum server_outcome service_answer(struct service_thread *thread, struct server_request *fcgi);
void service_on_wake(struct service_thread *thread, struct server *server);
void service_on_busy_timer(struct service_thread *overload, struct server *server);

#endif
