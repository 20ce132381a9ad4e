/* SPDX-License-Identifier: MIT
 * An HTTP answer through libfcgi. */
#include "http/response.h"

#include "base/buffer.h"
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
    "{\"errors\":[{\"code\":\"SIZE_INVALID\","
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

/* libfcgi writes 8 KiB at a time, each with a system call and a wake-up of the web server. A body
 * of more than that is written here, in records as long as FastCGI allows (FastCGI 1.0, 3.3; a
 * multiple of 8 needs no padding). */
#define STREAM_SIZE 8192
#define RECORD_MAX  65528

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

/* Writes one record of STDOUT. */
static bool write_record(const FCGX_Request *fcgx, const char *bytes, size_t len)
{
    static char padding[8];
    size_t padding_len = (8 - len % 8) % 8;
    unsigned char header[8] = {FCGI_VERSION_1,
                               FCGI_STDOUT,
                               (unsigned char)(fcgx->requestId >> 8),
                               (unsigned char)fcgx->requestId,
                               (unsigned char)(len >> 8),
                               (unsigned char)len,
                               (unsigned char)padding_len,
                               0};
    struct iovec parts[] = {{header, sizeof header}, {(void *)bytes, len}, {padding, padding_len}};
    return write_all(fcgx->ipcFd, parts, padding_len > 0 ? 3 : 2);
}

/* Writes the body after all that the stream holds. An error is left in the stream, as its own are:
 * the thread that closes it finds it there. */
static void write_body(FCGX_Request *fcgx, const char *body, size_t len)
{
    FCGX_Stream *out = fcgx->out;
    if (len <= STREAM_SIZE) {
        FCGX_PutStr(body, (int)len, out);
        return;
    }
    bool good = FCGX_FFlush(out) == 0 && FCGX_GetError(out) == 0;
    for (size_t at = 0; good && at < len; at += RECORD_MAX) {
        good = write_record(fcgx, body + at, len - at < RECORD_MAX ? len - at : RECORD_MAX);
        if (!good)
            out->FCGI_errno = errno;
    }
    if (!good)
        out->isClosed = 1;
}

static const char *type_of(const struct response *response)
{
    if (response->type)
        return response->type;
    return response->text ? "text/plain; version=0.0.4; charset=utf-8" : "application/json";
}

/* Writes all up to the empty line. */
static void write_head(const struct response *response, size_t body_len, FCGX_Stream *out)
{
    char place[HEAD_OWN + sizeof response->headers];
    struct buffer head = buffer_fixed(place, sizeof place);
    buffer_string(&head, "Status: ");
    buffer_integer(&head, response->status);
    buffer_char(&head, ' ');
    buffer_string(&head, phrase_of(response->status));
    buffer_string(&head, "\r\nCache-Control: ");
    buffer_string(&head, response->cache ? response->cache : "no-store");
    buffer_string(&head, "\r\n");
    buffer_bytes(&head, response->headers, response->headers_len);
    if (!is_bodiless(response)) {
        buffer_string(&head, "Content-Type: ");
        buffer_string(&head, type_of(response));
        buffer_string(&head, "\r\nContent-Length: ");
        buffer_integer(&head, (int64_t)body_len);
        buffer_string(&head, "\r\n");
    }
    buffer_string(&head, "\r\n");
    FCGX_PutStr(head.text, (int)head.len, out);
}

bool response_send(struct response *response, FCGX_Request *fcgx, bool head)
{
    FCGX_Stream *out = fcgx->out;
    static const char last_resort[] =
        "{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"service unavailable\","
        "\"detail\":\"out of memory; whether a change took effect is not known\"}]}";
    size_t body_len;
    const char *body = body_of(response, &body_len);
    if (!body) {
        body = last_resort;
        body_len = sizeof last_resort - 1;
        if (response->status != 503)
            response_header(response, "Retry-After", RESPONSE_RETRY_AFTER);
        response->status = 503;
    }

    write_head(response, body_len, out);
    if (!head)
        write_body(fcgx, body, body_len);
    return FCGX_GetError(out) == 0;
}

void response_free(struct response *response)
{
    json_object_put(response->body);
    free(response->text);
    *response = (struct response){0};
}
