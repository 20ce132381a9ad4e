/* SPDX-License-Identifier: MIT
 *
 * jobs: a migration's jobs, page by page (contract, section 2).
 */
#ifndef BBM_JOBS_H
#define BBM_JOBS_H

#include "http/handler.h"

handler jobs_page;

#endif
