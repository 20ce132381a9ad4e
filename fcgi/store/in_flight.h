/* SPDX-License-Identifier: MIT
 *
 * in_flight: whether the worker is in a run, and at which migration (contract, section 7).
 */
#ifndef BBM_IN_FLIGHT_H
#define BBM_IN_FLIGHT_H

#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

/* Adds to the migrations that a worker is in a run, and to the one that it holds since when, as far
 * as that is known. `deadline` is a moment of clock_ms(). */
bool in_flight_read(struct store *store, int64_t deadline, struct migrations *migrations,
                    struct error *error);

#endif
