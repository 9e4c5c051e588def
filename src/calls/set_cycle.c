/*
 * set_cycle.c
 *		credits_set_cycle: changes the anchor of the periods, or the time zone.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/errors.h"
#include "base/zone.h"
#include "calls/cycle_args.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "live/counted.h"

PG_FUNCTION_INFO_V1(credits_set_cycle);

static void
set_cycle(Ledger *ledger, const void *args, CrRow *row)
{
	CycleArgs cycle = *(const CycleArgs *) args;
	const char *zone;

	/* If the reset waits for an unknown zone, a new zone ends the wait. */
	if (!ledger_apply_ready(ledger) && cycle.zone == NULL)
		error_zone_unknown(&ledger->acc);
	zone = cycle.zone ? cycle.zone : ledger->acc.facts.time_zone;
	if (cycle.is_instant && !zone_is_known(NULL, zone))
		error_zone_unknown(&ledger->acc);
	make_anchor_local(&cycle, zone);
	ledger_check(ledger,
				 cr_set_cycle(&ledger->acc, &ledger->env, ledger->now,
							  cycle.has_anchor ? cycle.anchor : ledger->acc.facts.cycle_anchor,
							  zone, row),
				 0);
}

/* An argument that is NULL changes nothing. */
COUNTED_FUNCTION(credits_set_cycle, CALL_SET_CYCLE)
{
	Request request;
	CycleArgs cycle = {0};

	request_init(&request, fcinfo, "credits_set_cycle()", CR_KIND_SET_CYCLE);
	arg_cycle_anchor(&cycle, fcinfo, 1);
	if (!PG_ARGISNULL(2))
		arg_time_zone(&cycle, fcinfo, 2);
	request_tail(&request, fcinfo, 3);
	if (request.idempotency_key)
		request_seal(&request, cycle.has_anchor ? cycle.anchor : PG_INT64_MIN, cycle.zone,
					 cycle.is_instant ? "instant" : NULL);
	return ledger_command(&request, set_cycle, &cycle);
}
