/*
 * presets.h
 *		The table of presets.
 */
#ifndef CREDITS_ADMIN_PRESETS_H
#define CREDITS_ADMIN_PRESETS_H

#include "postgres.h"

/* How much of a preset a role was granted. */
typedef enum PresetShare
{
	PRESET_NONE,
	PRESET_SOME,
	PRESET_ALL
} PresetShare;

/* A preset is a bit, and several are their sum. */
extern int	preset_find(const char *name);
extern int	preset_bit(const char *name);
extern PresetShare preset_share(int preset, Oid role);
extern void presets_change_usage(const char *role, bool grant);
extern void presets_change(const char *role, int wanted, int others, bool grant);

#endif
