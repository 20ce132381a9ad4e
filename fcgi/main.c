/* SPDX-License-Identifier: MIT
 * bbm-fcgi: options, start and end. */
#include "api/routes.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/notify.h"
#include "base/sandbox.h"
#include "check.h"
#include "http/params.h"
#include "http/response.h"
#include "http/service.h"
#include "server/listener.h"
#include "server/server.h"
#include "store/db.h"
#include "store/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef BBM_VERSION
#error "the Makefile says which version this is"
#endif

/* Exit codes: sysexits(3)' numbers for what a supervisor might tell apart. */
enum {
    EXIT_USAGE = 64,  /* the command line */
    EXIT_START = 71,  /* the system: socket, threads, memory */
    EXIT_CONFIG = 78, /* the configuration, and the files it names */
};

static const char usage[] =
    "usage: bbm-fcgi [-c FILE] [-t [-d]]\n"
    "       bbm-fcgi -h | -V\n"
    "\n"
    "Serves status, pause, resume and restart of the container registry's batched\n"
    "background migrations as a FastCGI application.\n"
    "\n"
    "  -c, --config FILE  the configuration, in the shape of the registry's config.yml\n"
    "                     (default: $REGISTRY_CONFIGURATION_PATH, else\n"
    "                     /etc/bbm-fcgi/config.yml)\n"
    "  -t, --test         try the configuration, the files it names and the listening\n"
    "                     address, print what is in force, and exit\n"
    "  -d, --database     with -t: connect to the database too, and try its tables and\n"
    "                     this role's rights\n"
    "  -h, --help         show this text and exit\n"
    "  -V, --version      show the version and exit\n"
    "\n"
    "REGISTRY_* environment variables override the file, as they do for the registry.\n"
    "SIGTERM, SIGINT and SIGQUIT stop after the requests in progress are answered;\n"
    "SIGHUP reads the trust bundle again.\n"
    "\n"
    "Exit status: 0 stopped, or the test passed; 64 wrong options; 71 the system denies a\n"
    "socket, threads or memory; 78 the configuration, or a file it names, is wrong.\n"
    "See bbm-fcgi(8).\n";

/* At the end, cancel requests have this long: a database that answers takes milliseconds. */
#define CANCEL_MS 1000

struct options {
    const char *file;
    bool test;
    bool database;
};

static void *thread_new(void *shared, bool overload)
{
    return service_thread_new(shared, overload);
}

static void thread_free(void *context)
{
    service_thread_free(context);
}

static enum server_outcome answer(void *context, struct server_request *request)
{
    return service_answer(context, request);
}

static void on_wake(void *context, struct server *server)
{
    service_on_wake(context, server);
}

static void on_busy_timer(void *context, struct server *server)
{
    service_on_busy_timer(context, server);
}

/* For systemctl status. */
static const char *state_text(void)
{
    int reachable = metrics_database_reachable();
    if (reachable < 0)
        return "serving";
    return reachable ? "serving; the database answers" : "serving; the database cannot be reached";
}

static void on_started(void *shared)
{
    const struct service *service = shared;
    notify_ready(state_text());
    /* A web server starts a process with one thread for a request, which then says what is wrong; a
     * check would be a second connection. */
    if (service->conf->fcgi.threads > 1)
        check_database_at_start(service->conf);
}

/* Reports to the supervisor what has changed since the last report. */
static void report_state(bool progress)
{
    static int64_t watchdog; /* when the last report went to it */
    static int reachable = -1;
    int64_t every = notify_watchdog_ms();
    int now = metrics_database_reachable();
    if (now != reachable)
        notify_status(state_text());
    reachable = now;
    if (every > 0 && progress && clock_ms() - watchdog >= every / 2) {
        notify_watchdog();
        watchdog = clock_ms();
    }
}

static void on_timer(void *shared, bool progress)
{
    const struct service *service = shared;
    trust_bundle_refresh(service->auth->trust_bundle, false);
    refusal_log_flush(service->refusal_log, clock_ms());
    report_state(progress);
}

static void on_reload(void *shared)
{
    const struct service *service = shared;
    notify_reloading();
    trust_bundle_refresh(service->auth->trust_bundle, true);
    notify_ready(state_text());
}

static void on_stopping(void *shared)
{
    (void)shared;
    notify_stopping();
}

/* Gives back what a load has left of the heap. */
static void on_idle(void *shared)
{
    (void)shared;
    memory_trim_heap();
}

/* Reads the options; -1 to go on, else the code to exit with. */
static int read_options(int argc, char **argv, struct options *options)
{
    const char *from_environment = getenv("REGISTRY_CONFIGURATION_PATH");
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'}, {"test", no_argument, NULL, 't'},
        {"database", no_argument, NULL, 'd'},     {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {0}};
    int option;
    options->file =
        from_environment && *from_environment ? from_environment : "/etc/bbm-fcgi/config.yml";
    while ((option = getopt_long(argc, argv, "c:tdhV", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->file = optarg;
            break;
        case 't':
            options->test = true;
            break;
        case 'd':
            options->database = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        case 'V':
            puts("bbm-fcgi " BBM_VERSION);
            return EXIT_SUCCESS;
        default:
            fputs("bbm-fcgi: try bbm-fcgi -h\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (options->database && !options->test) {
        fputs("bbm-fcgi: -d goes with -t; try bbm-fcgi -h\n", stderr);
        return EXIT_USAGE;
    }
    if (optind < argc) {
        fprintf(stderr, "bbm-fcgi: unexpected argument \"%s\"; try bbm-fcgi -h\n", argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

/* Serves on the open listener until a signal stops it. */
static int serve(struct service *service, struct listener *listener)
{
    char why[512];
    const struct conf *conf = service->conf;
    const struct server_calls calls = {
        .own_size = service_request_size(),
        .body_most = PARAMS_BODY_SIZE,
        .too_large_answer = response_params_too_large,
        .shared = service,
        .thread_new = thread_new,
        .thread_free = thread_free,
        .answer = answer,
        .on_wake = on_wake,
        .on_busy_timer = on_busy_timer,
        .on_started = on_started,
        .on_timer = on_timer,
        .on_reload = on_reload,
        .on_stopping = on_stopping,
        .on_idle = on_idle,
    };
    log_setup(conf->log_level, conf->log_format);
    log_hold(); /* the thread that writes starts behind the sandbox */
    log_message(LOG_INFO, "bbm-fcgi " BBM_VERSION " serving %s with %d threads",
                listener->inherited ? "the inherited socket" : conf->fcgi.listen,
                (int)conf->fcgi.threads);
    if (listener->inherited && conf->fcgi.listen)
        log_message(LOG_INFO, "fcgi.listen is ignored: a supervisor handed a socket over");
    memory_drop_code();
    if (!sandbox_enter(conf, listener->path, why, sizeof why)) {
        log_stop(SERVER_LOG_STOP_MS);
        fprintf(stderr, "bbm-fcgi: %s: %s\n", conf->file, why);
        return EXIT_START;
    }
    int error = log_start();
    if (error != 0) {
        log_stop(SERVER_LOG_STOP_MS);
        fprintf(stderr, "bbm-fcgi: cannot start the log's thread: %s\n", strerror(error));
        return EXIT_START;
    }
    if (!server_run(&conf->fcgi, listener, &calls, why, sizeof why)) {
        log_stop(SERVER_LOG_STOP_MS);
        fprintf(stderr, "bbm-fcgi: %s\n", why);
        return EXIT_START;
    }
    bool settled = db_settle(clock_ms() + CANCEL_MS);
    log_message(settled ? LOG_INFO : LOG_WARN,
                settled ? "stopped" : "stopped with cancel requests still under way");
    if (!log_stop(SERVER_LOG_STOP_MS) || !settled)
        _exit(EXIT_SUCCESS);
    return EXIT_SUCCESS;
}

/* Makes what the threads share, opens the listener and serves. */
static int start(const struct conf *conf, const struct auth *auth)
{
    char why[512] = "out of memory";
    struct listener listener;
    struct service service = {conf,
                              auth,
                              job_counters_new(conf->fcgi.recount_ms),
                              list_cache_new(),
                              coalesce_new(),
                              &api_routes,
                              refusal_log_new()};
    int code = EXIT_START;
    if (service.counters && service.list_cache && service.coalesce && service.refusal_log &&
        listener_open(&listener, conf, why, sizeof why)) {
        code = serve(&service, &listener);
        listener_close(&listener);
    } else {
        fprintf(stderr, "bbm-fcgi: %s\n", why);
    }
    job_counters_free(service.counters);
    list_cache_free(service.list_cache);
    coalesce_free(service.coalesce);
    refusal_log_free(service.refusal_log);
    return code;
}

/* Tries what the configuration names, and prints what is in force. */
static int test(const struct conf *conf, const struct auth *auth, bool database)
{
    char why[512];
    bool has_history;
    if (!check_files(conf, why, sizeof why) ||
        (database && !check_database(conf, &has_history, why, sizeof why))) {
        fprintf(stderr, "bbm-fcgi: %s\n", why);
        return EXIT_CONFIG;
    }
    check_print(conf, auth->trust_bundle, database ? &has_history : NULL);
    return EXIT_SUCCESS;
}

/* Descriptors that would be the next to be opened: log lines for standard error would go into
 * a socket. False where /dev/null cannot be opened in their place. */
static bool open_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    char why[512];
    struct options options = {0};
    struct conf conf;
    struct auth auth = {0};
    if (!open_standard_descriptors())
        return EXIT_START;
    /* libpq looks names up with no deadline; resolv.conf(5)'s own would be half a minute. */
    setenv("RES_OPTIONS", "timeout:2 attempts:1", 0);
    /* Two heaps for all threads: what one takes another gives back, and of heaps of their own each
     * would keep what it once needed; but with one alone they wait for each other. And the rows and
     * the text of a long list go back at once. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    store_clean_environment();
    notify_open();
    server_block_signals();
    int code = read_options(argc, argv, &options);
    if (code >= 0)
        return code;

    code = EXIT_CONFIG;
    if (!conf_load(&conf, options.file, environ, why, sizeof why)) {
        fprintf(stderr, "bbm-fcgi: %s\n", why);
        goto out;
    }
    if (!auth_open(&auth, &conf, why, sizeof why) || !listener_check(&conf, why, sizeof why)) {
        fprintf(stderr, "bbm-fcgi: %s\n", why);
        goto out;
    }
    if (options.test) {
        code = test(&conf, &auth, options.database);
    } else {
        code = start(&conf, &auth);
    }
out:
    auth_close(&auth);
    conf_free(&conf);
    return code;
}
