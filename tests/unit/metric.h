/* SPDX-License-Identifier: MIT
 *
 * metric: one sample of the metrics, as a scrape would show it. */
#ifndef BBM_TEST_METRIC_H
#define BBM_TEST_METRIC_H

#include "unit.h"

#include "base/buffer.h"
#include "base/metrics.h"

#include <stdlib.h>
#include <string.h>

/* The value of a sample, which is given with the newline before it and the space behind. */
static inline long metric(const char *sample)
{
    struct buffer out = buffer_start(NULL, 0);
    metrics_print(&out);
    char *text = buffer_take(&out);
    assert_non_null(text);
    const char *line = strstr(text, sample);
    assert_non_null(line);
    long value = strtol(line + strlen(sample), NULL, 10);
    free(text);
    return value;
}

#endif
