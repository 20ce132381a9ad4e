/* SPDX-License-Identifier: MIT
 *
 * db_resolve: the addresses of a host name, in bounded time.
 *
 * Thread-safe.
 */
#ifndef BBM_DB_RESOLVE_H
#define BBM_DB_RESOLVE_H

#include "base/error.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than this of a name's addresses are not tried. */
#define DB_ADDRESSES_MAX 16

/* Numeric, of both families, in the order in which getaddrinfo(3) has them; with the
 * interface of a link-local one. */
struct db_addresses {
    size_t count;
    char at[DB_ADDRESSES_MAX][INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
};

/* Looks `host` up until the deadline, a moment of clock_ms(). A socket's folder, and an
 * address that is numeric already, need no look-up: they give none, and true. */
bool db_resolve(const char *host, int64_t deadline, struct db_addresses *addresses,
                struct error *error);

#endif
