/* SPDX-License-Identifier: MIT
 * Hosts, their addresses, and libpq's asynchronous connect. */
#include "store/db_connect.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

bool db_wait(const PGconn *conn, short events, int64_t deadline)
{
    struct pollfd fd = {.fd = PQsocket(conn), .events = events};
    if (fd.fd < 0)
        return true; /* libpq has closed it, and says so when asked next */
    for (;;) {
        int64_t left = deadline - clock_ms();
        if (left <= 0)
            return false;
        int ready = poll(&fd, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

/* ---- one connection ---- */

/* One way to a server. */
struct target {
    char host[512];
    const char *address; /* NULL: libpq needs none beside the host */
};

/* How far an attempt came. Of several that failed, the one that came furthest gives the reason. */
enum reach {
    REACH_NOTHING,
    REACH_SERVER, /* something answered */
};

/* A notice may come with any answer, and at any moment from a server that shuts down. libpq
 * would print it. */
static void log_notice(void *argument, const PGresult *notice)
{
    (void)argument;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *sqlstate = PQresultErrorField(notice, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    bool is_warning = severity && strcmp(severity, "WARNING") == 0;
    const struct log_field fields[] = {
        {"sqlstate", LOG_STRING, sqlstate, 0},
        {"notice", LOG_STRING, message, 0},
    };
    log_event(is_warning ? LOG_WARN : LOG_INFO, "database notice", fields,
              sizeof fields / sizeof fields[0]);
}

static PGconn *start(const struct db_servers *servers, const struct target *target)
{
    const struct conf_database *conf = servers->conf;
    char port[16];
    char patience[24];
    snprintf(port, sizeof port, "%d", (int)conf->port);
    /* Where the server acknowledges nothing for this long, it is gone. That is found out while
     * there is time for another try. */
    snprintf(patience, sizeof patience, "%d",
             conf->timeout_ms > 3000 ? (int)(conf->timeout_ms / 3) : 1000);
    const struct {
        const char *name;
        const char *value;
    } options[] = {
        {"host", target->host},
        {"hostaddr", target->address},
        {"port", port},
        {"user", conf->user},
        {"password", conf->password},
        {"dbname", conf->dbname},
        {"sslmode", conf->sslmode},
        {"sslcert", conf->sslcert},
        {"sslkey", conf->sslkey},
        {"sslrootcert", conf->sslrootcert},
        /* The registry knows no GSS encryption; looking for it costs a megabyte. */
        {"gssencmode", "disable"},
        {"application_name", "bbm-fcgi"},
        /* Set as the connection starts, and not by a statement: behind a pooler that would
         * be lost or, worse, found by another client. */
        {"client_encoding", servers->raw ? "SQL_ASCII" : "UTF8"},
        {"target_session_attrs", "read-write"},
        {"tcp_user_timeout", patience},
        {"keepalives_idle", "30"},
        {"keepalives_interval", "10"},
        {"keepalives_count", "3"},
    };
    enum {
        COUNT = sizeof options / sizeof options[0]
    };
    const char *names[COUNT + 1] = {NULL};
    const char *values[COUNT + 1] = {NULL};
    for (int i = 0; i < COUNT; i++) {
        names[i] = options[i].name;
        values[i] = options[i].value;
    }
    return PQconnectStartParams(names, values, 0);
}

static bool fail(PGconn *conn, enum metrics_database_error kind, struct error *error)
{
    metrics_database_error(kind);
    if (kind == METRICS_DATABASE_TIMEOUT)
        error_unavailable(error, "connecting to the database: not in time");
    else
        error_unavailable(error, "cannot connect to the database: %s", PQerrorMessage(conn));
    return false;
}

/* Completes the started connection. False where it fails. */
static bool complete(PGconn *conn, int64_t deadline, enum reach *reach, struct error *error)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    *reach = REACH_NOTHING;
    while (PQstatus(conn) != CONNECTION_BAD && next != PGRES_POLLING_OK) {
        if (!db_wait(conn, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
            return fail(conn, METRICS_DATABASE_TIMEOUT, error);
        next = PQconnectPoll(conn);
        if (next == PGRES_POLLING_FAILED)
            break;
        /* It has connected, and waits for the server's word. */
        if (PQstatus(conn) != CONNECTION_STARTED && PQstatus(conn) != CONNECTION_NEEDED)
            *reach = REACH_SERVER;
    }
    if (PQstatus(conn) != CONNECTION_OK || PQsetnonblocking(conn, 1) != 0)
        return fail(conn, METRICS_DATABASE_CONNECT, error);
    return true;
}

static PGconn *connect_once(const struct db_servers *servers, const struct target *target,
                            int64_t deadline, enum reach *reach, struct error *error)
{
    PGconn *conn = start(servers, target);
    *reach = REACH_NOTHING;
    if (!conn) {
        error_out_of_memory(error);
        return NULL;
    }
    /* Else a message may quote the statement, which has no place in the log. */
    PQsetErrorVerbosity(conn, PQERRORS_TERSE);
    PQsetNoticeReceiver(conn, log_notice, NULL);
    if (complete(conn, deadline, reach, error))
        return conn;
    PQfinish(conn);
    return NULL;
}

/* Connects in the encoding that the database needs. */
static PGconn *connect_target(struct db_servers *servers, const struct target *target,
                              int64_t deadline, enum reach *reach, struct error *error)
{
    PGconn *conn = connect_once(servers, target, deadline, reach, error);
    if (!conn)
        return NULL;
    const char *encoding = PQparameterStatus(conn, "server_encoding");
    bool raw = servers->untranslatable || (encoding && strcmp(encoding, "SQL_ASCII") == 0);
    if (raw == servers->raw)
        return conn;
    servers->raw = raw;
    PQfinish(conn);
    return connect_once(servers, target, deadline, reach, error);
}

/* ---- all that may be tried ---- */

static const char *hosts_of(const struct conf_database *conf)
{
    return conf->primary ? conf->primary : conf->host;
}

static unsigned host_count(const char *hosts)
{
    unsigned count = 1;
    for (; *hosts; hosts++)
        count += *hosts == ',';
    return count;
}

/* The name at `index` of the comma-separated list, cut to fit. */
static void host_at(const char *hosts, unsigned index, char *out, size_t size)
{
    while (index-- > 0)
        hosts = strchr(hosts, ',') + 1;
    snprintf(out, size, "%.*s", (int)strcspn(hosts, ","), hosts);
}

/* The end of one of `left` attempts that share the time until `deadline`. */
static int64_t share_of(int64_t deadline, size_t left)
{
    int64_t now = clock_ms();
    return now + (deadline - now) / (int64_t)left;
}

/* Where the address that served last stands; 0 where it is not among them. */
static size_t preferred(const struct db_servers *servers, const struct db_addresses *addresses)
{
    for (size_t i = 0; i < addresses->count; i++) {
        if (strcmp(addresses->at[i], servers->address) == 0)
            return i;
    }
    return 0;
}

/* Of two failures, keeps the one that came further, and the later one of equals. */
static void keep_error(struct error *kept, enum reach *kept_reach, struct error *error,
                       enum reach reach)
{
    if (kept->status && reach < *kept_reach) {
        error_free(error);
        return;
    }
    error_free(kept);
    *kept = *error;
    *kept_reach = reach;
}

/* Connects to one host by each of its addresses in turn. libpq would go from one to the
 * next itself, but only when the network says no: one that says nothing would take the
 * others' time. */
static PGconn *connect_host(struct db_servers *servers, unsigned host, int64_t deadline,
                            enum reach *reach, struct error *error)
{
    struct target target;
    struct db_addresses addresses;
    int64_t limit = servers->conf->connect_timeout_ms;
    host_at(hosts_of(servers->conf), host, target.host, sizeof target.host);
    *reach = REACH_NOTHING;
    if (!db_resolve(target.host, deadline, &addresses, error)) {
        metrics_database_error(METRICS_DATABASE_CONNECT);
        return NULL;
    }
    size_t count = addresses.count > 0 ? addresses.count : 1;
    size_t first = preferred(servers, &addresses);
    for (size_t tried = 0; tried < count; tried++) {
        size_t which = (first + tried) % count;
        enum reach reached;
        struct error failure = {0};
        int64_t end = share_of(deadline, count - tried);
        if (limit > 0 && clock_ms() + limit < end)
            end = clock_ms() + limit;
        target.address = addresses.count > 0 ? addresses.at[which] : NULL;
        PGconn *conn = connect_target(servers, &target, end, &reached, &failure);
        if (conn) {
            snprintf(servers->address, sizeof servers->address, "%s",
                     target.address ? target.address : "");
            error_free(error);
            return conn;
        }
        keep_error(error, reach, &failure, reached);
    }
    return NULL;
}

PGconn *db_connect(struct db_servers *servers, int64_t deadline, struct error *error)
{
    enum reach reach = REACH_NOTHING;
    unsigned count = host_count(hosts_of(servers->conf));
    unsigned first = servers->host;
    for (unsigned tried = 0; tried < count; tried++) {
        enum reach reached;
        struct error failure = {0};
        unsigned host = (first + tried) % count;
        PGconn *conn =
            connect_host(servers, host, share_of(deadline, count - tried), &reached, &failure);
        if (conn) {
            servers->host = host;
            error_free(error);
            return conn;
        }
        keep_error(error, &reach, &failure, reached);
    }
    if (reach == REACH_SERVER)
        error_remedy(error, "check database.user, database.password, database.dbname and "
                            "database.sslmode");
    else
        error_remedy(error, "check database.host and database.port");
    return NULL;
}
