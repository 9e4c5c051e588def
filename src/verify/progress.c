/*
 * progress.c
 *		Showing the progress of a verification in pg_stat_activity.
 *
 * The column query shows a comment before the statement that was called, as autovacuum
 * does.
 */
#include "postgres.h"

#include "tcop/tcopprot.h"
#include "utils/backend_status.h"

#include "verify/progress.h"

static int shown = -1; /* per cent; -1: this process shows nothing */

void
progress_show(const char *text)
{
	char *query;

	if (shown < 0)
		return;
	query = psprintf("/* credits: %s */ %s", text,
					 debug_query_string ? debug_query_string : "");
	pgstat_report_activity(STATE_RUNNING, query);
	pfree(query);
}

void
progress_begin(void)
{
	shown = 0;
	progress_show("0% of the history verified");
}

/* The history is read once for each pass. */
void
progress_at(uint32 pass, uint32 passes, uint32 block, uint32 blocks)
{
	int done;
	char text[64];

	if (shown < 0 || (block & 0x3f) != 0 || blocks == 0)
		return;
	done = (int) ((pass + (double) block / blocks) * 100 / passes);
	if (done == shown)
		return;
	shown = done;
	snprintf(text, sizeof(text), "%d%% of the history verified", done);
	progress_show(text);
}

void
progress_end(void)
{
	shown = -1;
	if (debug_query_string)
		pgstat_report_activity(STATE_RUNNING, debug_query_string);
}
