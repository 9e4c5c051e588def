/*
 * module.c
 *		Loading the library.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/errors.h"
#include "base/settings.h"
#include "live/committed.h"
#include "live/counters.h"
#include "live/launcher.h"
#include "live/rings.h"
#include "live/statements.h"
#include "store/early_release.h"

PG_MODULE_MAGIC;

void _PG_init(void);

void
_PG_init(void)
{
	settings_define();
	errors_watch_log();
	commit_init();
	counters_init();
	rings_init();
	committed_init();
	statements_init();
	launcher_init();
}
