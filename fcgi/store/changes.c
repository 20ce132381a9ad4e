/* SPDX-License-Identifier: MIT
 * Lists of migrations that an action changed or left. */
#include "store/changes.h"

#include "store/row.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

struct change_columns change_columns_of(const struct pg_result *result)
{
    return (struct change_columns){PQfnumber(result, "id"), PQfnumber(result, "name"),
                                   PQfnumber(result, "previous_status")};
}

bool change_list_has(const struct change_list *list, int64_t id)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->rows[i].id == id)
            return true;
    }
    return false;
}

bool change_list_add(struct change_list *list, const struct pg_result *result,
                     const struct change_columns *columns, int row, struct error *error)
{
    int64_t id = integer_at(result, row, columns->id);
    struct str_view name = str_view_at(result, row, columns->name);
    size_t at = list->count;
    while (at > 0 && list->rows[at - 1].id > id)
        at--;
    if (at > 0 && list->rows[at - 1].id == id)
        return true;
    struct change *rows = realloc(list->rows, (list->count + 1) * sizeof *rows);
    if (rows)
        list->rows = rows;
    char *copy = malloc(name.len + 1);
    if (!rows || !copy) {
        free(copy);
        return error_out_of_memory(error);
    }
    memcpy(copy, name.at ? name.at : "", name.len);
    copy[name.len] = '\0';
    memmove(rows + at + 1, rows + at, (list->count - at) * sizeof *rows);
    rows[at] = (struct change){.id = id,
                               .name = copy,
                               .name_len = name.len,
                               .status = opt_int64_at(result, row, columns->previous_status)};
    list->count++;
    return true;
}

void change_list_clear(struct change_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->rows[i].name);
    free(list->rows);
    *list = (struct change_list){0};
}

void changes_free(struct changes *changes)
{
    change_list_clear(&changes->done);
    change_list_clear(&changes->held);
    change_list_clear(&changes->left);
}
