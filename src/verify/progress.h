/*
 * progress.h
 *		Showing the progress of a verification in pg_stat_activity.
 */
#ifndef CREDITS_VERIFY_PROGRESS_H
#define CREDITS_VERIFY_PROGRESS_H

#include "postgres.h"

extern void progress_begin(void);
extern void progress_at(uint32 pass, uint32 passes, uint32 block, uint32 blocks);
extern void progress_show(const char *text);
extern void progress_end(void);

#endif
