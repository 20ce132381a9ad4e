/* SPDX-License-Identifier: MIT
 *
 * routes: every route of the API (contract, section 1), with its access, handler and parameters.
 */
#ifndef BBM_API_ROUTES_H
#define BBM_API_ROUTES_H

#include "http/router.h"

extern const struct routes api_routes;

#endif
