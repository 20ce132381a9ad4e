/* SPDX-License-Identifier: MIT
 *
 * environment: libpq reads variables of its own, such as PGHOSTADDR and PGOPTIONS, which would go
 * before the configuration or break a pooler (contract, section 5).
 */
#ifndef BBM_STORE_ENVIRONMENT_H
#define BBM_STORE_ENVIRONMENT_H

/* Removes every PG* variable except those for the password and the TLS files. Called before threads
 * start: it changes environ(7). */
void store_clean_environment(void);

#endif
