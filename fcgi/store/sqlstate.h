/* SPDX-License-Identifier: MIT
 *
 * sqlstate: what each of PostgreSQL's error codes means for a request.
 *
 * The codes are those of PostgreSQL's manual, appendix A. All functions are pure and
 * thread-safe. A code is a string of five characters.
 */
#ifndef BBM_SQLSTATE_H
#define BBM_SQLSTATE_H

#include <stdbool.h>

enum sqlstate_class {
    SQLSTATE_FATAL,     /* a fault of ours, or of the data: another try does not help */
    SQLSTATE_TRANSIENT, /* waiting or another try may help */
    SQLSTATE_SESSION,   /* another try may help on another connection, not on this one */
    SQLSTATE_SETUP,     /* an operator has to act: tables or rights are missing */
    SQLSTATE_ENCODING,  /* text of the database has no equivalent in UTF-8 */
};

enum sqlstate_class sqlstate_class(const char *sqlstate);

/* What an operator can do about it, as part of a sentence; NULL where there is nothing to
 * say. Static storage. */
const char *sqlstate_remedy(const char *sqlstate);

/* True where the server, or what stands before it, does not know itself whether the
 * transaction was committed. */
bool sqlstate_outcome_unknown(const char *sqlstate);

#endif
