/* SPDX-License-Identifier: MIT
 *
 * unit: what every unit test includes first: cmocka, after the headers that it wants, and
 * a folder that goes when the test program does, with what it wrote to standard error.
 */
#ifndef BBM_UNIT_H
#define BBM_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- a folder ---- */

static char unit_folder[256];

/* For cmocka's group setup and teardown. */
static inline int unit_folder_make(void **state)
{
    const char *parent = getenv("TMPDIR");
    (void)state;
    snprintf(unit_folder, sizeof unit_folder, "%s/bbm-unit-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(unit_folder) ? 0 : -1;
}

static inline int unit_folder_remove(void **state)
{
    struct dirent *entry;
    DIR *dir = opendir(unit_folder);
    (void)state;
    if (!dir)
        return -1;
    while ((entry = readdir(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(unit_folder);
}

/* The path of `name` in the folder; in static storage, for one at a time. */
static inline const char *unit_path(const char *name)
{
    static char path[sizeof unit_folder + 64];
    snprintf(path, sizeof path, "%s/%s", unit_folder, name);
    return path;
}

/* Writes a file of that name; returns its path. */
static inline const char *unit_write(const char *name, const char *text)
{
    const char *path = unit_path(name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* ---- standard error ---- */

static int unit_stderr = -1;

/* From here on it goes to a file, until unit_stderr_end gives it back as text, which the
 * caller frees. Between the two an assertion that fails would not be seen. */
static inline void unit_stderr_begin(void)
{
    int file = open(unit_path("stderr"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    unit_stderr = dup(STDERR_FILENO);
    assert_true(file >= 0 && unit_stderr >= 0);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    close(file);
}

static inline char *unit_stderr_end(void)
{
    off_t len = lseek(STDERR_FILENO, 0, SEEK_END);
    char *text = calloc(1, (size_t)len + 1);
    ssize_t got = text ? pread(STDERR_FILENO, text, (size_t)len, 0) : -1;
    dup2(unit_stderr, STDERR_FILENO);
    close(unit_stderr);
    assert_int_equal(got, len);
    return text;
}

#endif
