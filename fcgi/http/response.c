/* SPDX-License-Identifier: MIT
 * An HTTP answer through libfcgi. */
#include "http/response.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/json.h"

#include <errno.h>
#include <fastcgi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

const char response_params_too_large[] =
    "Status: 431 Request Header Fields Too Large\r\n"
    "Content-Type: application/json\r\n\r\n"
    "{\"errors\":[{\"code\":\"" ERROR_TOO_LARGE_CODE "\","
    "\"message\":\"the request's headers are larger than this service takes\"}]}";

/* Bytes for the headers that every answer has. */
#define HEAD_OWN 512

static const char *phrase_of(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        if (phrases[i].status == status)
            return phrases[i].phrase;
    }
    return "Unknown";
}

void response_header(struct response *response, const char *name, const char *value)
{
    size_t len = response->headers_len;
    struct buffer line = buffer_fixed(response->headers + len, sizeof response->headers - len);
    for (const char *p = value; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return;
    }
    buffer_string(&line, name);
    buffer_string(&line, ": ");
    buffer_string(&line, value);
    buffer_string(&line, "\r\n");
    if (!line.lost)
        response->headers_len += line.len;
}

/* RFC 9110, 8.6 and 15.4.5: no body, and no Content-Length. */
static bool is_bodiless(const struct response *response)
{
    return response->status == 204 || response->status == 304;
}

/* The body, "" where the status has none; NULL: there is none, for want of memory. */
static const char *body_of(const struct response *response, size_t *len)
{
    *len = 0;
    if (is_bodiless(response))
        return "";
    *len = response->text ? strlen(response->text) : response->json_len;
    if (response->json)
        return response->json;
    if (response->body)
        return json_text(response->body, len);
    return response->text;
}

/* ---- long bodies ---- */

/* libfcgi writes 8 KiB at a time, each with a system call and a wake-up of the web server. An
 * answer of more than that is written here, in records as long as FastCGI allows (FastCGI 1.0, 3.3;
 * a multiple of 8 needs no padding). */
#define STREAM_SIZE 8192
#define RECORD_MAX  65528

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Writes all of it. False on an error, which errno names. */
static bool write_all(int fd, struct iovec *parts, size_t count)
{
    while (count > 0) {
        const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        for (size_t left = sent > 0 ? (size_t)sent : 0; count > 0;) {
            if (left < parts->iov_len) {
                parts->iov_base = (char *)parts->iov_base + left;
                parts->iov_len -= left;
                break;
            }
            left -= parts->iov_len;
            parts++;
            count--;
        }
    }
    return true;
}

/* A record of STDOUT: its header, and up to two pieces of content and the padding behind it. */
struct record {
    unsigned char header[8];
    struct iovec parts[4];
    size_t count;
};

static void add_part(struct record *record, const char *bytes, size_t len)
{
    if (len > 0)
        record->parts[record->count++] = (struct iovec){(void *)bytes, len};
}

static void make_record(struct record *record, const FCGX_Request *fcgx, const char *head,
                        size_t head_len, const char *body, size_t len)
{
    static char padding[8];
    size_t content = head_len + len;
    size_t padding_len = (8 - content % 8) % 8;
    *record = (struct record){
        .header = {FCGI_VERSION_1, FCGI_STDOUT, (unsigned char)(fcgx->requestId >> 8),
                   (unsigned char)fcgx->requestId, (unsigned char)(content >> 8),
                   (unsigned char)content, (unsigned char)padding_len, 0}};
    add_part(record, (const char *)record->header, sizeof record->header);
    add_part(record, head, head_len);
    add_part(record, body, len);
    add_part(record, padding, padding_len);
}

/* Writes the head and the body, two records at a time: most bodies are not longer. An error is left
 * in libfcgi's stream, as its own are: the thread that closes it finds it there. */
static void write_records(FCGX_Request *fcgx, const char *head, size_t head_len, const char *body,
                          size_t len)
{
    struct record records[2];
    struct iovec parts[COUNT(records) * COUNT(records[0].parts)];
    bool good = true;
    for (size_t at = 0; good && at < len; head_len = 0) {
        size_t count = 0;
        for (size_t i = 0; i < COUNT(records) && at < len; i++) {
            size_t room = RECORD_MAX - (i == 0 ? head_len : 0);
            size_t take = len - at < room ? len - at : room;
            make_record(&records[i], fcgx, head, i == 0 ? head_len : 0, body + at, take);
            memcpy(parts + count, records[i].parts, records[i].count * sizeof *parts);
            count += records[i].count;
            at += take;
        }
        good = write_all(fcgx->ipcFd, parts, count);
    }
    if (good)
        return;
    fcgx->out->FCGI_errno = errno;
    fcgx->out->isClosed = 1;
}

/* Libfcgi sends what fits into its buffer, together with the end of the request. */
static void write_answer(FCGX_Request *fcgx, const char *head, size_t head_len, const char *body,
                         size_t len)
{
    if (head_len + len > STREAM_SIZE) {
        write_records(fcgx, head, head_len, body, len);
        return;
    }
    FCGX_PutStr(head, (int)head_len, fcgx->out);
    FCGX_PutStr(body, (int)len, fcgx->out);
}

static const char *type_of(const struct response *response)
{
    if (response->type)
        return response->type;
    return response->text ? "text/plain; version=0.0.4; charset=utf-8" : "application/json";
}

/* Makes all up to the empty line. */
static void make_head(const struct response *response, size_t body_len, struct buffer *head)
{
    buffer_string(head, "Status: ");
    buffer_integer(head, response->status);
    buffer_char(head, ' ');
    buffer_string(head, phrase_of(response->status));
    buffer_string(head, "\r\nCache-Control: ");
    buffer_string(head, response->cache ? response->cache : "no-store");
    buffer_string(head, "\r\n");
    buffer_bytes(head, response->headers, response->headers_len);
    if (!is_bodiless(response)) {
        buffer_string(head, "Content-Type: ");
        buffer_string(head, type_of(response));
        buffer_string(head, "\r\nContent-Length: ");
        buffer_integer(head, (int64_t)body_len);
        buffer_string(head, "\r\n");
    }
    buffer_string(head, "\r\n");
}

bool response_send(struct response *response, FCGX_Request *fcgx, bool head)
{
    static const char last_resort[] =
        "{\"errors\":[{\"code\":\"" ERROR_UNAVAILABLE_CODE
        "\",\"message\":\"" ERROR_UNAVAILABLE_MESSAGE "\","
        "\"detail\":\"out of memory; whether a change took effect is not known\"}]}";
    char place[HEAD_OWN + sizeof response->headers];
    struct buffer start = buffer_fixed(place, sizeof place);
    size_t body_len;
    const char *body = body_of(response, &body_len);
    if (!body) {
        body = last_resort;
        body_len = sizeof last_resort - 1;
        if (response->status != 503)
            response_header(response, "Retry-After", RESPONSE_RETRY_AFTER);
        response->status = 503;
    }
    make_head(response, body_len, &start);
    write_answer(fcgx, start.text, start.len, body, head ? 0 : body_len);
    return FCGX_GetError(fcgx->out) == 0;
}

void response_free(struct response *response)
{
    json_object_put(response->body);
    free(response->text);
    *response = (struct response){0};
}
