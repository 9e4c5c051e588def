/*
 * presets.h
 *		The table that says which rights a preset has.
 */
#ifndef CREDITS_ADMIN_PRESETS_H
#define CREDITS_ADMIN_PRESETS_H

#include "postgres.h"

/* How many of a preset's rights a role has been granted. */
typedef enum PresetShare
{
	PRESET_NONE,
	PRESET_SOME,
	PRESET_ALL
} PresetShare;

/* Each preset is one bit.  Several presets are the sum of their bits. */
extern int preset_find(const char *name);
extern int preset_bit(const char *name);
extern PresetShare preset_share(int preset, Oid role);
extern void presets_change_usage(const char *role, bool grant);
extern void presets_change(const char *role, int wanted, int others, bool grant);

#endif
