/* SPDX-License-Identifier: MIT
 *
 * plan: which call is to fail. Stands in the file that BBM_FAIL names, which the test and the
 * program share (harness/failing.py).
 */
#ifndef BBM_PLAN_H
#define BBM_PLAN_H

#include <stdatomic.h>
#include <stdbool.h>

struct plan {
    atomic_int countdown; /* calls until the one that fails; 0: none does */
    atomic_int on;        /* memory has run out: all after it fail too, and nothing but that */
    atomic_int inside;    /* the libraries' own allocations, instead of fcgi/'s calls */
    atomic_int fired;     /* how many have failed */
    char only[40];  /* of these functions, or libraries, alone; "": of all; "-…": of others */
    char which[40]; /* the first that has failed */
};

/* NULL until the program has found the file. */
extern struct plan *plan;

/* Counts the call, or the library, of that name; true where it is to fail. */
bool plan_hits(const char *name);

#endif
