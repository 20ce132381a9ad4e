/* SPDX-License-Identifier: MIT
 *
 * access: what a route asks of a token, and what a token grants (contract, section 4). Bits, so
 * that a token may grant several.
 */
#ifndef BBM_ACCESS_H
#define BBM_ACCESS_H

enum access {
    ACCESS_NONE = 0, /* a route that asks for none */
    ACCESS_READ = 1,
    ACCESS_WRITE = 2,
};

#endif
