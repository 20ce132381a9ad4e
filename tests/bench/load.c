/* SPDX-License-Identifier: MIT
 *
 * load: asks one and the same thing of a FastCGI application, without a web server.
 *
 *   load SOCKET CONNECTIONS SECONDS REQUEST
 *
 * REQUEST is a file with a whole request as it goes over the wire, FCGI_KEEP_CONN set.
 * Every connection sends the next one as soon as the last is answered. At the end one
 * line of JSON: requests, failures (answers that are not 200), seconds, and p50 and p99
 * in microseconds. One thread: what it asks of is to be what is busy. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* FastCGI 1.0, section 8. */
enum {
    HEADER_LEN = 8,
    END_REQUEST = 3,
    STDOUT = 6,
};

static const char good[] = "Status: 200";

struct connection {
    int fd;
    int64_t sent; /* when, in nanoseconds */
    unsigned char header[HEADER_LEN];
    size_t have; /* of the header */
    size_t left; /* of the record's content and padding */
    char start[sizeof good - 1];
    size_t started; /* bytes of the answer so far, as far as `start` takes them */
};

struct load {
    const unsigned char *request;
    size_t request_len;
    uint32_t *latencies; /* microseconds */
    size_t count;
    size_t room;
    size_t failures;
};

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static unsigned char *read_request(const char *path, size_t *len)
{
    static unsigned char bytes[65536];
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    *len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return bytes;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
        die(path);
    return fd;
}

static void ask(const struct load *load, struct connection *c)
{
    c->have = 0;
    c->left = 0;
    c->started = 0;
    c->sent = now_ns();
    if (send(c->fd, load->request, load->request_len, MSG_NOSIGNAL) != (ssize_t)load->request_len)
        die("sending a request");
}

static void note(struct load *load, const struct connection *c)
{
    if (load->count == load->room) {
        load->room = load->room ? load->room * 2 : 65536;
        load->latencies = realloc(load->latencies, load->room * sizeof *load->latencies);
        if (!load->latencies)
            die("remembering latencies");
    }
    load->latencies[load->count++] = (uint32_t)((now_ns() - c->sent) / 1000);
    if (c->started < sizeof c->start || memcmp(c->start, good, sizeof c->start) != 0)
        load->failures++;
}

/* Takes what has come of a record's content; the answer's first bytes are kept. */
static void take_content(struct connection *c, const unsigned char *bytes, size_t len)
{
    if (c->header[1] == STDOUT && c->started < sizeof c->start) {
        size_t more = sizeof c->start - c->started;
        more = more < len ? more : len;
        memcpy(c->start + c->started, bytes, more);
        c->started += more;
    }
    c->left -= len;
}

/* Takes what has come; true when that ends the answer. */
static bool take(struct connection *c, const unsigned char *bytes, size_t len)
{
    while (len > 0) {
        size_t step = 1;
        if (c->have < HEADER_LEN) {
            c->header[c->have++] = *bytes;
            if (c->have == HEADER_LEN)
                c->left = (size_t)(c->header[4] << 8 | c->header[5]) + c->header[6];
        } else {
            step = c->left < len ? c->left : len;
            take_content(c, bytes, step);
        }
        if (c->have == HEADER_LEN && c->left == 0) {
            if (c->header[1] == END_REQUEST)
                return true;
            c->have = 0;
        }
        bytes += step;
        len -= step;
    }
    return false;
}

/* Reads what is there; true when that ends the answer. */
static bool receive(struct connection *c)
{
    static unsigned char bytes[65536];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, 0);
    if (got <= 0)
        die("waiting for an answer");
    return take(c, bytes, (size_t)got);
}

/* Until the time is up and every request that was sent has its answer. */
static void run(struct load *load, int epoll, unsigned connections, int64_t end)
{
    while (connections > 0) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, 60000);
        if (ready == 0)
            errno = ETIMEDOUT;
        if (ready <= 0)
            die("waiting for an answer");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!receive(c))
                continue;
            note(load, c);
            if (now_ns() < end)
                ask(load, c);
            else
                connections--;
        }
    }
}

static int ascending(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    struct load load = {0};
    unsigned connections = argc == 5 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    if (connections == 0) {
        fputs("usage: load SOCKET CONNECTIONS SECONDS REQUEST\n", stderr);
        return 64;
    }
    load.request = read_request(argv[4], &load.request_len);
    int epoll = epoll_create1(0);
    struct connection *all = calloc(connections, sizeof *all);
    if (epoll < 0 || !all)
        die("starting");
    for (unsigned i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = connect_to(argv[1]);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) != 0)
            die("starting");
    }
    int64_t start = now_ns();
    for (unsigned i = 0; i < connections; i++)
        ask(&load, &all[i]);
    run(&load, epoll, connections, start + (int64_t)(strtod(argv[3], NULL) * 1e9));
    double seconds = (double)(now_ns() - start) / 1e9;

    qsort(load.latencies, load.count, sizeof *load.latencies, ascending);
    printf("{\"requests\": %zu, \"failures\": %zu, \"seconds\": %.6f, \"p50\": %u, \"p99\": %u}\n",
           load.count, load.failures, seconds, load.latencies[load.count / 2],
           load.latencies[load.count * 99 / 100]);
    free(load.latencies);
    free(all);
    return 0;
}
