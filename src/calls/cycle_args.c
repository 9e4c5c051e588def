/*
 * cycle_args.c
 *		The arguments cycle_anchor and time_zone.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/errors.h"
#include "base/utc.h"
#include "base/zone.h"
#include "calls/cycle_args.h"
#include "ledger/request.h"

#define ANCHOR_ALLOWED \
	"the account's local time, such as 2026-01-31 09:00, or an instant with its offset, such as 2026-01-31T09:00:00+01:00"

/*
 * Reads the anchor.  It is a text, so that an offset in it can be seen.  A parameter of
 * type timestamp would silently ignore the offset.  A parameter of type timestamptz would
 * read a local time in the session's zone.
 */
void
arg_cycle_anchor(CycleArgs *args, FunctionCallInfo fcinfo, int arg)
{
	char *text = arg_optional_text(fcinfo, arg);

	args->has_anchor = text != NULL;
	if (text && !utc_parse_iso(text, &args->anchor, &args->is_instant))
		error_bad_value("cycle_anchor", text, ANCHOR_ALLOWED);
}

/* Converts an instant to local time, now that the account's zone is known. */
void
make_anchor_local(CycleArgs *args, const char *zone)
{
	if (!args->is_instant)
		return;
	args->anchor = zone_utc_to_local(NULL, zone, args->anchor);
	args->is_instant = false;
	(void) check_time(args->anchor, "cycle_anchor");
}

void
arg_time_zone(CycleArgs *args, FunctionCallInfo fcinfo, int arg)
{
	char *zone = arg_optional_name(fcinfo, arg, "time_zone");

	args->zone = zone ? zone_canonical(zone) : "UTC";
	if (args->zone == NULL)
		error_bad_value("time_zone", zone, "a name in pg_timezone_names");
}
