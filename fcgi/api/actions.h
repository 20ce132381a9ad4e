/* SPDX-License-Identifier: MIT
 *
 * actions: pause, resume and restart (contract, sections 2 and 3).
 */
#ifndef BBM_ACTIONS_H
#define BBM_ACTIONS_H

#include "http/handler.h"

/* Each acts on one migration where the route has an {id}, else on all. */
handler actions_pause;
handler actions_resume;
handler actions_restart;

#endif
