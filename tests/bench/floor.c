/* SPDX-License-Identifier: MIT
 *
 * floor: what libfcgi and the web server cost by themselves. The usual multi-threaded
 * accept loop; every request is answered with the same bytes.
 *
 *   floor SOCKET THREADS ANSWER
 *
 * ANSWER is a file with a CGI answer, headers and body. A kept connection occupies a thread, so
 * THREADS must be at least the number of connections that the web server may keep. */
#include <fcgiapp.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct floor {
    int listener;
    char answer[65536];
    int len;
};

static void *serve(void *argument)
{
    const struct floor *floor = argument;
    FCGX_Request request;
    FCGX_InitRequest(&request, floor->listener, 0);
    while (FCGX_Accept_r(&request) == 0) {
        FCGX_PutStr(floor->answer, floor->len, request.out);
        FCGX_Finish_r(&request);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct floor floor;
    pthread_t thread;
    FILE *file = argc == 4 ? fopen(argv[3], "rb") : NULL;
    if (!file) {
        fputs("usage: floor SOCKET THREADS ANSWER\n", stderr);
        return 64;
    }
    floor.len = (int)fread(floor.answer, 1, sizeof floor.answer, file);
    fclose(file);
    FCGX_Init();
    floor.listener = FCGX_OpenSocket(argv[1], 512);
    if (floor.listener < 0)
        return 71;
    for (long threads = strtol(argv[2], NULL, 10); threads > 1; threads--) {
        if (pthread_create(&thread, NULL, serve, &floor) != 0)
            return 71;
    }
    serve(&floor);
    return 71;
}
