/*
 * account.c
 *		Opening, freezing and repairing accounts.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit.h"
#include "checkpoint.h"
#include "errors.h"
#include "ledger.h"
#include "receipt.h"
#include "settings.h"
#include "store.h"
#include "utc.h"
#include "zone.h"

PG_FUNCTION_INFO_V1(credits_open_account);
PG_FUNCTION_INFO_V1(credits_set_cycle);
PG_FUNCTION_INFO_V1(credits_freeze);
PG_FUNCTION_INFO_V1(credits_unfreeze);
PG_FUNCTION_INFO_V1(credits_repair_clock);

#define ANCHOR_ALLOWED "the account's local time, such as 2026-01-31 09:00, or an instant with its offset, such as 2026-01-31T09:00:00+01:00"

typedef struct Opening
{
	const char *plan;			/* NULL: none */
	bool		has_anchor;
	bool		is_instant;		/* the anchor came with an offset from UTC */
	CrLocal		anchor;			/* then it is that instant until its zone is known */
	const char *zone;
} Opening;

/*
 * The anchor is a text, so that an offset in it is seen: a parameter of type
 * timestamp would drop it without a word, and one of type timestamptz would read a
 * local time in the session's zone.
 */
static void
opening_anchor(Opening *opening, FunctionCallInfo fcinfo, int arg)
{
	char	   *text = arg_optional_text(fcinfo, arg);

	opening->has_anchor = text != NULL;
	if (text && !utc_parse_iso(text, &opening->anchor, &opening->is_instant))
		error_bad_value("cycle_anchor", text, ANCHOR_ALLOWED);
}

/* The account's zone is known by now. */
static void
make_anchor_local(Opening *opening, const char *zone)
{
	if (!opening->is_instant)
		return;
	opening->anchor = zone_utc_to_local(NULL, zone, opening->anchor);
	opening->is_instant = false;
	if (!utc_is_ordinary(opening->anchor))
		error_bad_value("cycle_anchor", "out of range", "a time in the years 1 to 9999");
}

static void
opening_zone(Opening *opening, FunctionCallInfo fcinfo, int arg)
{
	char	   *zone = arg_optional_name(fcinfo, arg, "time_zone");

	opening->zone = zone ? zone_canonical(zone) : "UTC";
	if (opening->zone == NULL)
		error_bad_value("time_zone", zone, "a name in pg_timezone_names");
}

/*
 * Was the account opened with these facts?  A cycle_anchor that is not given
 * agrees with any.
 */
static bool
same_facts(const Opening *opening, const CrFacts *facts)
{
	return cr_text_equal(opening->plan, facts->plan) &&
		strcmp(opening->zone, facts->time_zone) == 0 &&
		(!opening->has_anchor || opening->anchor == facts->cycle_anchor);
}

/* Or with this very call, whatever its defaults meant then? */
static bool
same_request(const Request *request, const CrRow *row)
{
	return row->request_digest != NULL &&
		memcmp(row->request_digest, request->digest, CR_HASH_LEN) == 0;
}

/* What is left to answer where that row was archived. */
static Datum
receipt_opened(const Checkpoint *ckpt)
{
	Object		object;

	object_begin(&object);
	object_bool(&object, "ok", true);
	object_int(&object, "seq", ckpt->opened_seq);
	object_text(&object, "kind", cr_kind_name(CR_KIND_OPEN));
	object_text(&object, "plan", ckpt->opened_plan);
	object_text(&object, "user_id", ckpt->acc.user_id);
	object_bool(&object, "archived", true);
	object_bool(&object, "replayed", true);
	object_text(&object, "time_zone", ckpt->opened_zone);
	return object_end(&object);
}

/*
 * The row that opened the account with facts is known by the empty key.  An
 * account without that row was opened by a purchase: it can still be opened
 * with facts, unless it has been given a plan since.
 */
Datum
credits_open_account(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	Opening		opening = {0};
	CrRow		row;
	CrRow		opened = {0};
	CrVerdict	verdict;
	Checkpoint	ckpt;
	const CrPlanVersion *plan = NULL;
	bool		is_default;
	Datum		receipt;

	request_init(&request, fcinfo, "credits_open_account()", CR_KIND_OPEN);
	opening.plan = arg_optional_name(fcinfo, 1, "plan");
	is_default = opening.plan == NULL;
	if (is_default)
		opening.plan = settings_default_plan();
	opening_anchor(&opening, fcinfo, 2);
	opening_zone(&opening, fcinfo, 3);
	make_anchor_local(&opening, opening.zone);
	request.idempotency_key = "";
	request_seal(&request, opening.has_anchor ? opening.anchor : PG_INT64_MIN,
				 arg_optional_name(fcinfo, 1, "plan"), arg_optional_text(fcinfo, 3));

	ledger_begin(&ledger, &request);
	if (!ledger.is_new && books_find_key(ledger.books, request.user_id, "", &row))
	{
		if (!same_request(&request, &row) && !same_facts(&opening, &row.facts))
			error_open_conflict(request.user_id);
		receipt = receipt_from_row(&row, true);
	}
	else if (!ledger.is_new && checkpoint_find(request.user_id, SnapshotSelf, &ckpt) &&
			 ckpt.opened_seq != 0)
	{
		opened.request_digest = ckpt.opened_digest;
		opened.facts.plan = ckpt.opened_plan;
		opened.facts.cycle_anchor = ckpt.opened_anchor;
		opened.facts.time_zone = ckpt.opened_zone;
		if (!same_request(&request, &opened) && !same_facts(&opening, &opened.facts))
			error_open_conflict(request.user_id);
		receipt = receipt_opened(&ckpt);
	}
	else
	{
		ledger_apply_due(&ledger);
		if (ledger.acc.facts.plan || ledger.acc.next_reset_at != CR_NEVER)
			error_open_conflict(request.user_id);
		if (opening.plan)
		{
			plan = plans_in_force(ledger.plans, opening.plan, ledger.now);
			if (plan == NULL && is_default)
				error_default_plan_not_found(opening.plan);
			if (plan == NULL)
				error_plan_not_found(opening.plan);
		}
		if (!opening.has_anchor)
			opening.anchor = zone_utc_to_local(NULL, opening.zone, ledger.now);
		verdict = cr_open(&ledger.acc, &ledger.env, ledger.now, plan, opening.anchor,
						  opening.zone, &row);
		if (verdict != CR_OK)
			error_refused(verdict, &ledger.acc, plan ? plan->monthly_credits : 0);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}

/* What is NULL stays as it is. */
Datum
credits_set_cycle(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	Opening		cycle = {0};
	const char *zone;
	CrRow		row;
	CrVerdict	verdict;
	Datum		receipt;

	request_init(&request, fcinfo, "credits_set_cycle()", CR_KIND_SET_CYCLE);
	opening_anchor(&cycle, fcinfo, 1);
	if (!PG_ARGISNULL(2))
		opening_zone(&cycle, fcinfo, 2);
	request_tail(&request, fcinfo, 3);
	if (request.idempotency_key)
		request_seal(&request, cycle.has_anchor ? cycle.anchor : PG_INT64_MIN, cycle.zone,
					 cycle.is_instant ? "instant" : NULL);

	ledger_begin(&ledger, &request);
	if (!ledger_replay(&ledger, &receipt))
	{
		/* Another zone is what a reset waits for whose zone is not known. */
		if (!ledger_apply_ready(&ledger) && cycle.zone == NULL)
			error_zone_unknown(&ledger.acc);
		zone = cycle.zone ? cycle.zone : ledger.acc.facts.time_zone;
		if (cycle.is_instant && !zone_is_known(NULL, zone))
			error_zone_unknown(&ledger.acc);
		make_anchor_local(&cycle, zone);
		verdict = cr_set_cycle(&ledger.acc, &ledger.env, ledger.now,
							   cycle.has_anchor ? cycle.anchor :
							   ledger.acc.facts.cycle_anchor, zone, &row);
		if (verdict != CR_OK)
			error_refused(verdict, &ledger.acc, 0);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}

static Datum
status_object(CrStatus status)
{
	Object		object;

	object_begin(&object);
	object_text(&object, "status", cr_status_name(status));
	return object_end(&object);
}

/*
 * An administrative act is in the account's history and in the audit log; its
 * reason, which may be personal, is in the history alone, where it can be
 * erased.
 */
static Datum
set_status(FunctionCallInfo fcinfo, const char *function, CrKind kind, CrStatus status)
{
	Request		request;
	Ledger		ledger;
	CrRow		row;
	CrStatus	before;
	CrVerdict	verdict;
	Datum		receipt;

	request_init(&request, fcinfo, function, kind);
	request.reason = arg_optional_text(fcinfo, 1);

	ledger_begin_audited(&ledger, &request);
	(void) ledger_apply_ready(&ledger);
	before = ledger.acc.facts.status;
	verdict = cr_set_status(&ledger.acc, ledger.now, status, &row);
	if (verdict != CR_OK)
		error_refused(verdict, &ledger.acc, 0);
	receipt = ledger_append(&ledger, &row);
	ledger_end(&ledger);
	audit_append(cr_kind_name(kind), request.user_id,
				 status_object(before), status_object(status));
	return receipt;
}

Datum
credits_freeze(PG_FUNCTION_ARGS)
{
	return set_status(fcinfo, "credits_freeze()", CR_KIND_FREEZE, CR_FROZEN);
}

Datum
credits_unfreeze(PG_FUNCTION_ARGS)
{
	return set_status(fcinfo, "credits_unfreeze()", CR_KIND_UNFREEZE, CR_ACTIVE);
}

static Datum
clock_object(CrTime effective_at)
{
	Object		object;

	object_begin(&object);
	object_time(&object, "effective_at", effective_at);
	return object_end(&object);
}

/* Uses the raw clock: the account's own time is what is wrong. */
Datum
credits_repair_clock(PG_FUNCTION_ARGS)
{
	Request		request;
	Ledger		ledger;
	CrRow		row;
	CrTime		before;
	CrVerdict	verdict;
	Datum		receipt;

	request_init(&request, fcinfo, "credits_repair_clock()", CR_KIND_CLOCK_REPAIR);
	request.reason = arg_optional_text(fcinfo, 1);

	ledger_begin_audited(&ledger, &request);
	if (ledger.is_new)
		error_account_not_found(request.user_id);
	before = ledger.acc.effective_at;
	verdict = cr_repair_clock(&ledger.acc, ledger.clock, &row);
	if (verdict != CR_OK)
		error_refused(verdict, &ledger.acc, 0);
	receipt = ledger_append(&ledger, &row);
	ledger_end(&ledger);
	audit_append("clock_repair", request.user_id,
				 clock_object(before), clock_object(ledger.clock));
	return receipt;
}
