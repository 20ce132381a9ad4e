/* SPDX-License-Identifier: MIT
 *
 * health: the handlers of the operational routes (contract, section 1).
 *
 * For monitoring on the same host: they ask for no token. Liveness and metrics need no
 * database, so they answer while every other route waits for one.
 */
#ifndef BBM_HEALTH_H
#define BBM_HEALTH_H

#include "http/handler.h"

handler health_liveness;
handler health_readiness;
handler health_metrics;

#endif
