/*
 * settings.h
 *		The extension's settings (GUCs).
 */
#ifndef CREDITS_BASE_SETTINGS_H
#define CREDITS_BASE_SETTINGS_H

#include "core/core.h"

extern void settings_define(void);
extern const char *settings_default_plan(void);
extern bool settings_early_lock_release(void);
extern bool settings_allow_drop(void);
extern bool settings_log_refusals(void);
extern int64_t settings_key_retention(void);
extern int64_t settings_chargeback_time(void);
extern int settings_events(void);
extern int64_t settings_grant_notice(void);
extern int64_t settings_hold_notice(void);
extern int settings_counted_databases(void);
extern bool settings_notify(void);
extern int64_t settings_notify_interval(void);
extern bool settings_refuse_recent_transfers(void);

#endif
