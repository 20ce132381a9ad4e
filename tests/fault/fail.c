/* SPDX-License-Identifier: MIT
 * Fault injection: stands between the program and the functions it calls, and makes the call fail
 * that a test chooses.
 *
 * build/tests/failing/bbm-fcgi is the program linked with ld's --wrap for each function below. Only
 * calls from fcgi/ come here; allocations inside of libraries fail by inside.c. */
#include "plan.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <jwt.h>
#include <libpq-fe.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yaml.h>

struct plan *plan;

__attribute__((constructor)) static void open_plan(void)
{
    const char *file = getenv("BBM_FAIL");
    int fd = file ? open(file, O_RDWR | O_CLOEXEC) : -1;
    void *at =
        fd >= 0 ? mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (at == MAP_FAILED)
        abort();
    close(fd);
    plan = at;
}

static bool is_meant(const char *name)
{
    bool others = plan->only[0] == '-';
    const char *only = plan->only + others;
    return !*only || (strncmp(only, name, strlen(only)) == 0) != others;
}

bool plan_hits(const char *name)
{
    if (atomic_load(&plan->countdown) <= 0 || !is_meant(name) ||
        atomic_fetch_sub(&plan->countdown, 1) != 1)
        return false;
    if (!atomic_load(&plan->fired))
        snprintf(plan->which, sizeof plan->which, "%s", name);
    atomic_fetch_add(&plan->fired, 1);
    atomic_store(&plan->countdown, atomic_load(&plan->on));
    return true;
}

static bool fails(const char *name, int number)
{
    if (!plan || atomic_load(&plan->inside) || (atomic_load(&plan->on) && number != ENOMEM) ||
        !plan_hits(name))
        return false;
    errno = number;
    return true;
}

/* TYPE NAME(PARAMETERS) returns FAILURE with errno NUMBER where it is to fail. */
#define WRAP(type, name, failure, number, parameters, arguments)                                   \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails(#name, number) ? failure : __real_##name arguments;                           \
    }

/* clang-format off */
WRAP(void *, malloc, NULL, ENOMEM, (size_t size), (size))
WRAP(void *, calloc, NULL, ENOMEM, (size_t count, size_t size), (count, size))
WRAP(void *, realloc, NULL, ENOMEM, (void *old, size_t size), (old, size))
WRAP(char *, strdup, NULL, ENOMEM, (const char *s), (s))
WRAP(char *, strndup, NULL, ENOMEM, (const char *s, size_t len), (s, len))

WRAP(int, pthread_create, EAGAIN, 0, (pthread_t *id, const pthread_attr_t *attributes, void *(*body)(void *), void *argument), (id, attributes, body, argument))
WRAP(int, epoll_create1, -1, EMFILE, (int flags), (flags))
WRAP(int, epoll_ctl, -1, ENOSPC, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event))
WRAP(int, eventfd, -1, EMFILE, (unsigned start, int flags), (start, flags))
WRAP(int, pipe2, -1, EMFILE, (int *ends, int flags), (ends, flags))
WRAP(int, socket, -1, EMFILE, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, listen, -1, EADDRINUSE, (int fd, int backlog), (fd, backlog))
WRAP(int, accept4, -1, EMFILE, (int fd, struct sockaddr *address, socklen_t *len, int flags), (fd, address, len, flags))
WRAP(int, FCGX_Accept_r, -1, 0, (FCGX_Request *request), (request))

WRAP(struct json_object *, json_object_new_object, NULL, ENOMEM, (void), ())
WRAP(struct json_object *, json_object_new_array_ext, NULL, ENOMEM, (int size), (size))
WRAP(struct json_object *, json_object_new_string, NULL, ENOMEM, (const char *s), (s))
WRAP(struct json_object *, json_object_new_string_len, NULL, ENOMEM, (const char *s, const int len), (s, len))
WRAP(struct json_object *, json_object_new_int64, NULL, ENOMEM, (int64_t value), (value))
WRAP(struct json_object *, json_object_new_boolean, NULL, ENOMEM, (json_bool value), (value))
WRAP(struct json_object *, json_object_new_double_s, NULL, ENOMEM, (double value, const char *s), (value, s))
WRAP(int, json_object_object_add_ex, -1, ENOMEM, (struct json_object *object, const char *const key, struct json_object *const value, const unsigned flags), (object, key, value, flags))
WRAP(int, json_object_array_add, -1, ENOMEM, (struct json_object *list, struct json_object *value), (list, value))
WRAP(struct json_tokener *, json_tokener_new_ex, NULL, ENOMEM, (int depth), (depth))
WRAP(int, jwt_decode, ENOMEM, ENOMEM, (jwt_t **jwt, const char *token, const unsigned char *key, int len), (jwt, token, key, len))
WRAP(int, yaml_parser_initialize, 0, ENOMEM, (yaml_parser_t *parser), (parser))

WRAP(EVP_MD *, EVP_MD_fetch, NULL, 0, (OSSL_LIB_CTX *context, const char *name, const char *properties), (context, name, properties))
WRAP(int, EVP_Digest, 0, 0, (const void *bytes, size_t len, unsigned char *digest, unsigned *size, const EVP_MD *md, ENGINE *engine), (bytes, len, digest, size, md, engine))
WRAP(int, EVP_PKEY_get_bn_param, 0, 0, (const EVP_PKEY *key, const char *name, BIGNUM **number), (key, name, number))
WRAP(int, BN_bn2binpad, -1, 0, (const BIGNUM *number, unsigned char *to, int len), (number, to, len))
WRAP(BIO *, BIO_new, NULL, 0, (const BIO_METHOD *method), (method))
WRAP(BIO *, BIO_new_file, NULL, EMFILE, (const char *file, const char *mode), (file, mode))
WRAP(int, PEM_write_bio_PUBKEY, 0, 0, (BIO *bio, const EVP_PKEY *key), (bio, key))
WRAP(int, i2d_PUBKEY, -1, 0, (const EVP_PKEY *key, unsigned char **der), (key, der))
WRAP(X509 *, d2i_X509, NULL, 0, (X509 **to, const unsigned char **from, long len), (to, from, len))
WRAP(EVP_PKEY *, X509_get0_pubkey, NULL, 0, (const X509 *certificate), (certificate))
WRAP(X509_STORE *, X509_STORE_new, NULL, 0, (void), ())
WRAP(int, X509_STORE_set_flags, 0, 0, (X509_STORE *store, unsigned long flags), (store, flags))
WRAP(int, X509_STORE_add_cert, 0, 0, (X509_STORE *store, X509 *certificate), (store, certificate))
WRAP(X509_STORE_CTX *, X509_STORE_CTX_new, NULL, 0, (void), ())
WRAP(int, X509_STORE_CTX_init, 0, 0, (X509_STORE_CTX *context, X509_STORE *store, X509 *certificate, STACK_OF(X509) *above), (context, store, certificate, above))
WRAP(int, ASN1_TIME_to_tm, 0, 0, (const ASN1_TIME *time, struct tm *tm), (time, tm))
WRAP(OPENSSL_STACK *, OPENSSL_sk_new_null, NULL, 0, (void), ())
WRAP(int, OPENSSL_sk_push, 0, 0, (OPENSSL_STACK *stack, const void *element), (stack, element))

WRAP(PGconn *, PQconnectStartParams, NULL, ENOMEM, (const char *const *names, const char *const *values, int expand), (names, values, expand))
WRAP(PostgresPollingStatusType, PQconnectPoll, PGRES_POLLING_FAILED, 0, (PGconn *conn), (conn))
WRAP(int, PQsetnonblocking, -1, 0, (PGconn *conn, int on), (conn, on))
WRAP(int, PQsendQueryParams, 0, 0, (PGconn *conn, const char *sql, int count, const Oid *types, const char *const *values, const int *lengths, const int *formats, int format), (conn, sql, count, types, values, lengths, formats, format))
WRAP(int, PQenterPipelineMode, 0, 0, (PGconn *conn), (conn))
WRAP(int, PQpipelineSync, 0, 0, (PGconn *conn), (conn))
WRAP(int, PQexitPipelineMode, 0, 0, (PGconn *conn), (conn))
WRAP(int, PQflush, -1, 0, (PGconn *conn), (conn))
WRAP(int, PQconsumeInput, 0, 0, (PGconn *conn), (conn))
WRAP(PGresult *, PQgetResult, NULL, 0, (PGconn *conn), (conn))
WRAP(PGcancel *, PQgetCancel, NULL, ENOMEM, (PGconn *conn), (conn))
/* clang-format on */
