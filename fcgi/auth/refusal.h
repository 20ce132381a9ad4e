/* SPDX-License-Identifier: MIT
 *
 * refusal: why a token is not accepted, for the log alone: the answer to the client never says it.
 *
 * A value that belongs to the thread that judges the token.
 */
#ifndef BBM_REFUSAL_H
#define BBM_REFUSAL_H

#include <stdbool.h>

/* What the token says of itself is unproven; cut to fit, and "" where it cannot be read. */
struct refusal {
    const char *reason; /* static; NULL: not refused */
    bool undecided;     /* the token was not judged, and may be good: the client should try again */
    char issuer[128];   /* `iss` */
    char subject[128];  /* `sub` */
    char kid[128];      /* `kid` of the header */
};

/* Each sets the reason and returns false, so that `return refuse(…)` reads as what it does. */
static inline bool refuse(struct refusal *refusal, const char *reason)
{
    refusal->reason = reason;
    return false;
}

static inline bool refuse_undecided(struct refusal *refusal, const char *reason)
{
    refusal->undecided = true;
    return refuse(refusal, reason);
}

#endif
