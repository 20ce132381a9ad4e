/* SPDX-License-Identifier: MIT
 *
 * listener_private: what the listener's own files share. All others include listener.h alone.
 *
 *   listener.c            which of them: checked, opened; the sockets in use
 *   listener_path.c       fcgi.listen is the path of a socket file
 *   listener_tcp.c        fcgi.listen is host:port
 *   listener_inherited.c  sockets that a supervisor hands over
 *
 * Each function that returns false and takes `why` has written its one line there.
 */
#ifndef BBM_LISTENER_PRIVATE_H
#define BBM_LISTENER_PRIVATE_H

#include "base/conf.h"
#include "server/listener.h"

#include <stdbool.h>
#include <stddef.h>

/* ---- listener.c ---- */

/* Writes `why`: the file, the socket, the problem and what to do about it. Returns false. */
bool listener_fail(char *why, size_t size, const struct conf *conf, const char *problem,
                   const char *remedy);

/* ---- listener_path.c ---- */

bool listener_check_path(const struct conf *conf, char *why, size_t size);
bool listener_try_path(const struct conf *conf, char *why, size_t size);
bool listener_bind_path(struct listener *listener, const struct conf *conf, char *why, size_t size);

/* ---- listener_tcp.c ---- */

bool listener_check_tcp(const struct conf *conf, char *why, size_t size);

/* Binds each address. A family that this host lacks is passed over while another one is left. With
 * `any_port` only the addresses are tried, on a port of the kernel's choice. */
bool listener_bind_tcp(struct listener *listener, const struct conf *conf, bool any_port, char *why,
                       size_t size);

/* ---- listener_inherited.c ---- */

/* Finds the sockets that a supervisor hands over, if any. */
void listener_find_inherited(struct listener *listener);

/* Makes them non-blocking, and closed on exec. */
bool listener_prepare_inherited(const struct listener *listener, const struct conf *conf, char *why,
                                size_t size);

#endif
