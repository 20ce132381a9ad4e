/* SPDX-License-Identifier: MIT
 *
 * query: a URL's query string (WHATWG URL, application/x-www-form-urlencoded).
 *
 * Pure and thread-safe.
 */
#ifndef BBM_QUERY_H
#define BBM_QUERY_H

#include <stdbool.h>
#include <stddef.h>

/* Finds the first parameter `name` and decodes its value into `value`. False where there
 * is none. A value that does not fit, or decodes to a zero byte, becomes "?", which is no
 * value that any parameter takes. */
bool query_value(const char *query, const char *name, char *value, size_t size);

#endif
