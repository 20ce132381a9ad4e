/* SPDX-License-Identifier: MIT
 *
 * migration_metrics: the migrations as Prometheus reads them.
 *
 * All text comes from the database and is escaped. The series are the same from every process.
 */
#ifndef BBM_MIGRATION_METRICS_H
#define BBM_MIGRATION_METRICS_H

#include "store/store.h"

struct buffer;

/* Writes the families of these migrations, each with its HELP and TYPE. */
void migration_metrics_write(struct buffer *out, const struct migrations *migrations);

#endif
