/* SPDX-License-Identifier: MIT
 *
 * history: who changed what, page by page (contract, section 8).
 */
#ifndef BBM_HISTORY_H
#define BBM_HISTORY_H

#include "http/handler.h"

/* Of one migration where the route has an {id}, else of all. */
handler history_actions;

#endif
