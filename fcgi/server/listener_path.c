/* SPDX-License-Identifier: MIT
 * A socket file: its place, owner, group and mode, and its removal. */
#include "server/listener_private.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

bool listener_check_path(const struct conf *conf, char *why, size_t size)
{
    return strlen(conf->fcgi.listen) < sizeof((struct sockaddr_un *)0)->sun_path ||
           listener_fail(why, size, conf, "longer than a socket path can be",
                         "choose a shorter one");
}

/* True where somebody accepts connections on the socket file. */
static bool is_live(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool live = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                            errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    return live;
}

/* True where this user may give a file to the group. */
static bool may_give(gid_t group)
{
    gid_t groups[256];
    int count = getgroups((int)(sizeof groups / sizeof groups[0]), groups);
    if (geteuid() == 0 || getegid() == group)
        return true;
    for (int i = 0; i < count; i++) {
        if (groups[i] == group)
            return true;
    }
    return false;
}

static bool fail_group(const struct conf *conf, const char *problem, char *why, size_t size)
{
    snprintf(why, size,
             "%s: fcgi.group: cannot give %s to group %s: %s; add this user to the group, or start "
             "the service by systemd or spawn-fcgi, which make the socket",
             conf->file, conf->fcgi.listen, conf->fcgi.group, problem);
    return false;
}

static bool set_owner(const struct conf *conf, char *why, size_t size)
{
    const char *path = conf->fcgi.listen;
    if (conf->fcgi.group) {
        const struct group *group = getgrnam(conf->fcgi.group);
        if (!group || chown(path, (uid_t)-1, group->gr_gid) != 0)
            return fail_group(conf, group ? strerror(errno) : "no such group", why, size);
    }
    if (chmod(path, (mode_t)conf->fcgi.mode) != 0)
        return listener_fail(why, size, conf, strerror(errno), "its mode cannot be set");
    return true;
}

static void path_address(const struct conf *conf, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, conf->fcgi.listen, strlen(conf->fcgi.listen) + 1);
}

/* Removes a socket file that nobody serves, so that its place is free. */
static bool clear_path(const struct conf *conf, const struct sockaddr_un *address, char *why,
                       size_t size)
{
    struct stat there;
    if (lstat(conf->fcgi.listen, &there) != 0)
        return true;
    if (!S_ISSOCK(there.st_mode))
        return listener_fail(why, size, conf, "exists and is no socket", "move it away");
    if (is_live(address))
        return listener_fail(why, size, conf, "in use by another process",
                             "stop that one or choose another socket");
    unlink(conf->fcgi.listen);
    return true;
}

/* Remembers which file was made, so that no other one is removed at the end. */
static bool note_file(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    struct stat there;
    listener->path = strdup(conf->fcgi.listen);
    if (!listener->path) {
        unlink(conf->fcgi.listen);
        return listener_fail(why, size, conf, strerror(errno), "free some memory");
    }
    if (lstat(conf->fcgi.listen, &there) == 0) {
        listener->device = there.st_dev;
        listener->inode = there.st_ino;
    }
    return true;
}

bool listener_bind_path(struct listener *listener, const struct conf *conf, char *why, size_t size)
{
    struct sockaddr_un address;
    path_address(conf, &address);
    if (!clear_path(conf, &address, why, size))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return listener_fail(why, size, conf, strerror(errno), "no socket can be made");
    listener->fds[listener->count++] = fd;
    /* Closed to all until its owner and mode are set. */
    mode_t old = umask(0777);
    int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
    umask(old);
    if (bound != 0)
        return listener_fail(why, size, conf, strerror(errno),
                             "its folder must exist and be writable for this user");
    return note_file(listener, conf, why, size) && set_owner(conf, why, size);
}

bool listener_try_path(const struct conf *conf, char *why, size_t size)
{
    struct stat there;
    char copy[sizeof((struct sockaddr_un *)0)->sun_path];
    const struct group *group = conf->fcgi.group ? getgrnam(conf->fcgi.group) : NULL;
    bool exists = lstat(conf->fcgi.listen, &there) == 0;
    if (exists && !S_ISSOCK(there.st_mode))
        return listener_fail(why, size, conf, "exists and is no socket", "move it away");
    snprintf(copy, sizeof copy, "%s", conf->fcgi.listen);
    if (access(dirname(copy), W_OK | X_OK) != 0)
        /* The socket of a supervisor, which makes it as root and hands it over. */
        return exists || listener_fail(why, size, conf, strerror(errno),
                                       "its folder must exist and be writable for this user");
    return !group || may_give(group->gr_gid) || fail_group(conf, strerror(EPERM), why, size);
}

void listener_unlink(struct listener *listener)
{
    struct stat there;
    if (listener->path && lstat(listener->path, &there) == 0 && there.st_dev == listener->device &&
        there.st_ino == listener->inode)
        unlink(listener->path);
    free(listener->path);
    listener->path = NULL;
}
