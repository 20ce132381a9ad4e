/* SPDX-License-Identifier: MIT
 * jansson over memory that is released at once.
 *
 * jansson ignores that its buffer for a string cannot grow, and then reads and writes beyond it
 * (2.14, lex_save and lex_scan_string). So no allocation of a parse here ever fails inside of
 * jansson: where memory runs out, the parse is left by longjmp, and the blocks hold all there is
 * to release. */
#include "base/json_input.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Bytes; enough for the header or the claims of a usual token. */
#define BLOCK_SIZE ((size_t)8 * 1024)

struct json_input_block {
    struct json_input_block *next;
    size_t size; /* of `bytes` */
    size_t used;
    alignas(max_align_t) unsigned char bytes[];
};

/* The parse that this thread is in; NULL: none, and the caller of jansson is libjwt. */
struct parse {
    struct json_input *input;
    jmp_buf out_of_memory;
};
static _Thread_local struct parse *current;

static struct json_input_block *add_block(struct json_input *input, size_t size)
{
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    struct json_input_block *block = malloc(sizeof *block + room);
    if (!block)
        return NULL;
    *block = (struct json_input_block){.next = input->blocks, .size = room};
    input->blocks = block;
    return block;
}

static void *allocate(size_t size)
{
    if (!current)
        return malloc(size);
    struct json_input_block *block = current->input->blocks;
    size_t rounded =
        (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (!block || block->size - block->used < rounded)
        block = add_block(current->input, rounded);
    if (!block)
        longjmp(current->out_of_memory, 1);
    void *at = block->bytes + block->used;
    block->used += rounded;
    return at;
}

static void release(void *at)
{
    if (!current)
        free(at);
}

/* Before main() and any thread: the functions are the whole process's, and the seed of jansson's
 * hash tables is read from a file, which a sandbox may forbid later. */
__attribute__((constructor)) static void set_up(void)
{
    json_set_alloc_funcs(allocate, release);
    json_object_seed(0);
}

/* False where memory ran out. */
static bool parse_text(struct json_input *input, const char *text, size_t len, json_t **root,
                       json_error_t *error)
{
    struct parse parse = {.input = input};
    bool complete = setjmp(parse.out_of_memory) == 0;
    if (complete) {
        current = &parse;
        *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, error);
    }
    current = NULL;
    return complete;
}

/* Counts brackets outside of strings. jansson itself bounds its recursion at 2,048 levels only. */
static bool is_deep(const char *text, size_t len)
{
    size_t level = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && (text[i] == '{' || text[i] == '['))
            level++;
        else if (!quoted && level > 0 && (text[i] == '}' || text[i] == ']'))
            level--;
        if (level > JSON_INPUT_DEPTH)
            return true;
    }
    return false;
}

static enum json_input_fault fault_of(const json_error_t *error)
{
    static const char surrogate[] = "invalid Unicode '"; /* it has no code of its own */
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        return JSON_INPUT_NAME_TWICE;
    case json_error_numeric_overflow:
        return JSON_INPUT_NUMBER;
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return JSON_INPUT_ZERO;
    default:
        return strncmp(error->text, surrogate, sizeof surrogate - 1) == 0 ? JSON_INPUT_SURROGATE
                                                                          : JSON_INPUT_NO_OBJECT;
    }
}

enum json_input_fault json_input_read(struct json_input *input, const char *text, size_t len,
                                      const json_t **object)
{
    json_error_t error;
    json_t *root = NULL;
    *object = NULL;
    if (is_deep(text, len))
        return JSON_INPUT_DEEP;
    if (!parse_text(input, text, len, &root, &error))
        return JSON_INPUT_OUT_OF_MEMORY;
    if (!root)
        return fault_of(&error);
    if (!json_is_object(root))
        return JSON_INPUT_NO_OBJECT;
    *object = root;
    return JSON_INPUT_GOOD;
}

void json_input_free(struct json_input *input)
{
    while (input->blocks) {
        struct json_input_block *next = input->blocks->next;
        free(input->blocks);
        input->blocks = next;
    }
}
