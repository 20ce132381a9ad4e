/* SPDX-License-Identifier: MIT
 *
 * serving_input: one connection of a server without threads, and what its peer sends.
 */
#ifndef BBM_UNIT_SERVING_INPUT_H
#define BBM_UNIT_SERVING_INPUT_H

#include "serving.h"

static int client;

/* A connection that waits for its first byte. */
static inline struct connection *waiting(void)
{
    struct connection *c = accepted(&client);
    assert_true(connection_release(&server, c));
    assert_int_equal(serve(), 0);
    return c;
}

static inline void send_and_serve(void)
{
    client_send_records(client);
    serve();
}

static inline void assert_gone(const struct connection *c)
{
    assert_false(is_open(c));
    assert_int_equal(connections_open(&server), 0);
    assert_true(client_read(client).closed);
    close(client);
}

#endif
