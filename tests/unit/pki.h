/* SPDX-License-Identifier: MIT
 *
 * pki: for tests of chains: holders of keys with certificates, and the bundle that they lead to.
 */
#ifndef BBM_UNIT_PKI_H
#define BBM_UNIT_PKI_H

#include "unit.h"

#include "auth/keyring.h"
#include "jose.h"

struct holder {
    EVP_PKEY *key;
    X509 *certificate;
    char *x5c; /* the certificate as `x5c` holds it */
};

/* A new P-256 key with a certificate; the issuer is NULL for a self-signed one. */
static inline struct holder holder_new(const char *name, enum jose_authority authority,
                                       long seconds, const struct holder *issuer)
{
    struct holder holder = {.key = jose_ec("P-256")};
    holder.certificate =
        jose_issue(holder.key, name, authority, seconds, issuer ? issuer->certificate : NULL,
                   issuer ? issuer->key : NULL);
    holder.x5c = jose_x5c(holder.certificate);
    return holder;
}

static inline void holder_free(struct holder *holder)
{
    EVP_PKEY_free(holder->key);
    X509_free(holder->certificate);
    free(holder->x5c);
}

/* root and branch are in the bundle, and root has issued branch; the others are not. */
static struct {
    struct holder root;
    struct holder branch;
    struct holder intermediate; /* of root */
    struct holder leaf;         /* of root */
    struct holder deep;         /* of intermediate */
    struct holder untrusted;    /* of nobody */
    struct keyring *keyring;
} pki;

static inline int pki_build(void **state)
{
    char why[256];
    if (unit_folder_make(state) != 0)
        return -1;
    pki.root = holder_new("root", JOSE_CA, 4000, NULL);
    pki.branch = holder_new("branch", JOSE_CA, 4000, &pki.root);
    pki.intermediate = holder_new("intermediate", JOSE_CA, 3000, &pki.root);
    pki.leaf = holder_new("leaf", JOSE_LEAF, 2000, &pki.root);
    pki.deep = holder_new("deep", JOSE_LEAF, 3500, &pki.intermediate);
    pki.untrusted = holder_new("untrusted", JOSE_CA, 4000, NULL);
    jose_bundle_add_certificate("bundle.pem", pki.root.certificate);
    const char *path = jose_bundle_add_certificate("bundle.pem", pki.branch.certificate);
    pki.keyring = keyring_load(path, 1, why, sizeof why);
    return pki.keyring ? 0 : -1;
}

static inline int pki_remove(void **state)
{
    struct holder *const holders[] = {&pki.root, &pki.branch, &pki.intermediate,
                                      &pki.leaf, &pki.deep,   &pki.untrusted};
    for (size_t i = 0; i < COUNT(holders); i++)
        holder_free(holders[i]);
    keyring_unref(pki.keyring);
    return unit_folder_remove(state);
}

#endif
