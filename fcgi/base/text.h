/* SPDX-License-Identifier: MIT
 *
 * text: bytes from outside, made fit to be shown.
 *
 * All functions are pure and thread-safe.
 */
#ifndef BBM_TEXT_H
#define BBM_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object; /* json-c */

#define TEXT_REPLACEMENT 0xFFFDu

/* Decodes one code point of `len` > 0 bytes at `s` (RFC 3629: no overlong form, no
 * surrogate, nothing above U+10FFFF), stores it in `*point` and returns its length.
 * An invalid sequence gives U+FFFD and the length of its maximal valid prefix, at
 * least 1, as the Unicode standard recommends. */
size_t text_decode(const unsigned char *s, size_t len, uint32_t *point);

/* True where all of `s` is valid UTF-8. */
bool text_is_utf8(const char *s, size_t len);

/* A JSON string of `len` bytes; what is not valid UTF-8 becomes U+FFFD. The caller
 * owns the result; NULL when out of memory. */
struct json_object *text_json(const char *s, size_t len);

/* The text as valid UTF-8, in which U+FFFD stands for what is not. The caller frees it; NULL when
 * out of memory. */
char *text_utf8(const char *s);

/* The number that a macro stands for, as a string literal. */
#define TEXT_NUMBER(macro)     TEXT_NUMBER_OF(macro)
#define TEXT_NUMBER_OF(number) #number

/* The longest integer, "-9223372036854775808", and a zero. */
#define TEXT_INTEGER_SIZE 21

/* The decimal digits, closed by a zero; returns how many bytes they are. */
size_t text_integer(int64_t value, char out[TEXT_INTEGER_SIZE]);

/* The fewest decimal digits that read back as the same double, as JSON writes them; `out`
 * takes 32 bytes. `value` must be finite, and not subnormal. */
void text_number(double value, char out[32]);

/* The same as a JSON number. The caller owns the result; NULL when out of memory. */
struct json_object *text_json_number(double value);

/* Microseconds since the Unix epoch as RFC 3339 in UTC; `out` takes 32 bytes. False,
 * and `out` empty, for a year RFC 3339 cannot write (before 0 or after 9999). */
bool text_rfc3339(int64_t micros, char out[32]);

#endif
