/*
 * zone.h
 *		Time zones: functions that the core calls, and which names are time zones.
 */
#ifndef CREDITS_BASE_ZONE_H
#define CREDITS_BASE_ZONE_H

#include "core/core.h"

extern CrTime zone_local_to_utc(void *ctx, const char *zone, CrLocal local);
extern CrLocal zone_utc_to_local(void *ctx, const char *zone, CrTime utc);
extern bool zone_is_known(void *ctx, const char *zone);
extern const char *zone_canonical(const char *zone);

#endif
