/* SPDX-License-Identifier: MIT
 *
 * challenge: the value of WWW-Authenticate, which names the token that a client needs (contract,
 * section 4; distribution's token specification; RFC 6750, 3). Pure and thread-safe.
 */
#ifndef BBM_CHALLENGE_H
#define BBM_CHALLENGE_H

#include "auth/access.h"
#include "base/conf.h"

/* Bytes, the closing zero included. */
#define CHALLENGE_SIZE 2000

/* What the token lacks, in the words of RFC 6750, 3.1. */
enum challenge_error {
    CHALLENGE_NO_TOKEN, /* the client sent none, so the challenge names no error */
    CHALLENGE_INVALID_TOKEN,
    CHALLENGE_INSUFFICIENT_SCOPE,
};

/* The action that the challenge's scope names; static. */
const char *challenge_action(const struct conf *conf, enum access access);

/* Writes the value; "" where it does not fit whole, since half of it would mislead clients. `host`
 * is the request's Host header, which autoredirect puts into the realm. */
void challenge_write(const struct conf *conf, enum access access, const char *host,
                     enum challenge_error error, char out[CHALLENGE_SIZE]);

#endif
