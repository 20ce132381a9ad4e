/* SPDX-License-Identifier: MIT
 * A program that does what an attacker in it would do, for the tests of the sandbox.
 *
 * build/tests/misled/bbm-fcgi is the program linked with ld's --wrap for FCGX_Accept_r: a request
 * with the header X-Misdeed makes it do what the header says, in the thread that serves the
 * request. */
#include <fcgiapp.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void do_execve(void)
{
    char name[] = "/bin/true";
    char *const argv[] = {name, NULL};
    execve(name, argv, argv + 1);
}

static void do_fork(void)
{
    if (fork() == 0)
        _exit(0);
}

static void do_vfork(void)
{
    if (syscall(SYS_vfork) == 0)
        _exit(0);
}

static void do_ptrace(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void do_write(void)
{
    close(open("/dev/null", O_WRONLY | O_CLOEXEC));
}

static void do_create(void)
{
    close(open("/tmp/bbm-fcgi-misdeed", O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
}

static void do_packet_socket(void)
{
    close(socket(AF_PACKET, SOCK_RAW, 0));
}

static void do_chmod(void)
{
    (void)!chmod("/tmp", 0700);
}

static void do_mount(void)
{
    (void)!mount("none", "/tmp", "tmpfs", 0, NULL);
}

/* Reads the file that X-File names, and says on stderr whether that went. */
static void do_read(const char *file)
{
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    dprintf(STDERR_FILENO, "misdeed: %s\n", fd >= 0 ? "read" : "denied");
    if (fd >= 0)
        close(fd);
}

static const struct {
    const char *name;
    void (*deed)(void);
} deeds[] = {{"execve", do_execve},        {"fork", do_fork},   {"vfork", do_vfork},
             {"ptrace", do_ptrace},        {"write", do_write}, {"create", do_create},
             {"packet", do_packet_socket}, {"chmod", do_chmod}, {"mount", do_mount}};

int __real_FCGX_Accept_r(FCGX_Request *request);
int __wrap_FCGX_Accept_r(FCGX_Request *request);
int __wrap_FCGX_Accept_r(FCGX_Request *request)
{
    int result = __real_FCGX_Accept_r(request);
    const char *wanted = result == 0 ? FCGX_GetParam("HTTP_X_MISDEED", request->envp) : NULL;
    for (size_t i = 0; wanted && i < sizeof deeds / sizeof deeds[0]; i++) {
        if (strcmp(deeds[i].name, wanted) == 0)
            deeds[i].deed();
    }
    if (wanted && strcmp(wanted, "read") == 0)
        do_read(FCGX_GetParam("HTTP_X_FILE", request->envp));
    return result;
}
