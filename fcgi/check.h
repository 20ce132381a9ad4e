/* SPDX-License-Identifier: MIT
 *
 * check: what bbm-fcgi -t does: tries everything that the configuration names, and prints what is
 * in force.
 */
#ifndef BBM_CHECK_H
#define BBM_CHECK_H

#include "auth/trust_bundle.h"
#include "base/conf.h"

#include <stdbool.h>
#include <stddef.h>

/* Tries the TLS files and the listening address. On failure `why` is one line. */
bool check_files(const struct conf *conf, char *why, size_t why_size);

/* Prints what is in force to standard output, without secrets. */
void check_print(const struct conf *conf, struct trust_bundle *bundle);

#endif
