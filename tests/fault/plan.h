/* SPDX-License-Identifier: MIT
 *
 * plan: which call fails. It lies in the file that BBM_FAIL names, which the test and the program
 * share (harness/failing.py).
 */
#ifndef BBM_PLAN_H
#define BBM_PLAN_H

#include <stdatomic.h>
#include <stdbool.h>

struct plan {
    atomic_int countdown; /* calls until the one that fails; 0: none fails */
    atomic_int on; /* memory has run out: all later allocations fail too, and only allocations */
    atomic_int inside; /* allocations inside of libraries fail, and no call of fcgi/ */
    atomic_int fired;  /* how many have failed */
    char only[40];  /* the functions or libraries with this prefix; "": all; "-…": all others */
    char which[40]; /* the first that has failed */
};

/* NULL until the program has opened the file. */
extern struct plan *plan;

/* Counts a call of that function or library. True where it fails. */
bool plan_hits(const char *name);

#endif
