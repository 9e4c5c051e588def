/*
 * module.c
 *		Loading the library.
 */
#include "postgres.h"

#include "fmgr.h"

#include "commit.h"
#include "errors.h"
#include "settings.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	settings_define();
	errors_watch_log();
	commit_init();
}
