/* SPDX-License-Identifier: MIT
 *
 * trust_bundle: the keyring in force, which is read again when the file of the trust bundle changes
 * (contract, section 4).
 *
 * One for all threads, with a lock of its own. Thread-safe where a function says so.
 */
#ifndef BBM_TRUST_BUNDLE_H
#define BBM_TRUST_BUNDLE_H

#include "auth/keyring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trust_bundle;

/* Reads the bundle for the first time. NULL on failure, with one line in `why`. */
struct trust_bundle *trust_bundle_open(const char *file, char *why, size_t why_size);

/* `trust_bundle_close(NULL)` does nothing. */
void trust_bundle_close(struct trust_bundle *bundle);

/* The keyring in force, with a reference that the caller gives back. Thread-safe. */
struct keyring *trust_bundle_keyring(struct trust_bundle *bundle);

/* The serial of the keyring in force. Thread-safe, and takes no lock. */
uint64_t trust_bundle_serial(struct trust_bundle *bundle);

/* Reads the bundle again where its file has changed, or `force` is set. A bundle that cannot be
 * read leaves the old keyring in force, and is logged. One thread at a time calls this. */
void trust_bundle_refresh(struct trust_bundle *bundle, bool force);

#endif
