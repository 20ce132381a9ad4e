/* SPDX-License-Identifier: MIT
 *
 * sql: the statements of sql/, compiled in by the Makefile (sql/embed.awk).
 */
#ifndef BBM_SQL_H
#define BBM_SQL_H

extern const char SQL_ACTIONS[];
extern const char SQL_COUNTS[];
extern const char SQL_GLANCE[];
extern const char SQL_GLANCE_NEWEST[];
extern const char SQL_HAS_HISTORY[];
extern const char SQL_JOBS[];
extern const char SQL_MIGRATIONS[];
extern const char SQL_PAUSE[];
extern const char SQL_PAUSE_RECORDED[];
extern const char SQL_PAUSES[];
extern const char SQL_READY[];
extern const char SQL_RECENT[];
extern const char SQL_REPEATED[];
extern const char SQL_RESTART[];
extern const char SQL_RESTART_RECORDED[];
extern const char SQL_RESTART_FIRST[];
extern const char SQL_RESTART_FIRST_RECORDED[];
extern const char SQL_RESUME[];
extern const char SQL_RESUME_RECORDED[];
extern const char SQL_UNDO[];
extern const char SQL_WORKER[];

#endif
