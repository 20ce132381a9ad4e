/* SPDX-License-Identifier: MIT
 *
 * page: the page for browsers and the API's description, both compiled in (contract, section 1).
 *
 * They hold no data, so they need neither a token nor the database.
 */
#ifndef BBM_PAGE_H
#define BBM_PAGE_H

#include "http/handler.h"

/* The file that the path names; the page itself for the path of its folder. */
handler page_get;

#endif
