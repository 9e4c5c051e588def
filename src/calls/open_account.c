/*
 * open_account.c
 *		credits_open_account: opens an account with a plan for a user.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/snapmgr.h"

#include "base/digest.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/zone.h"
#include "calls/cycle_args.h"
#include "ledger/books.h"
#include "ledger/ledger.h"
#include "ledger/receipt.h"
#include "ledger/request.h"
#include "live/counted.h"
#include "tables/checkpoint.h"
#include "tables/plan_versions.h"

PG_FUNCTION_INFO_V1(credits_open_account);

typedef struct Opening
{
	const char *plan; /* NULL: none */
	CycleArgs cycle;
} Opening;

/*
 * Was the account opened with these facts?  If cycle_anchor is not given, any anchor is
 * accepted.
 */
static bool
same_facts(const Opening *opening, const CrFacts *facts)
{
	return cr_text_equal(opening->plan, facts->plan) &&
		strcmp(opening->cycle.zone, facts->time_zone) == 0 &&
		(!opening->cycle.has_anchor || opening->cycle.anchor == facts->cycle_anchor);
}

/* Was the account opened by the same call, whatever the defaults were then? */
static bool
same_request(const Request *request, const CrRow *row)
{
	return digest_is(row->request_digest, request->digest);
}

/* The receipt if the row that opened the account was archived. */
static Datum
receipt_opened(const Checkpoint *ckpt)
{
	Object object;

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
 * Opens the account or replays the opening.  The row that opened an account with facts
 * has the empty key.  If there is no such row, a purchase opened the account.  Then it
 * can still be opened with facts, unless it was given a plan since.
 */
COUNTED_FUNCTION(credits_open_account, CALL_OPEN_ACCOUNT)
{
	Request request;
	Ledger ledger;
	Opening opening = {0};
	CrRow row;
	CrRow opened = {0};
	CrVerdict verdict;
	Checkpoint ckpt;
	const CrPlanVersion *plan = NULL;
	bool is_default;
	Datum receipt;

	request_init(&request, fcinfo, "credits_open_account()", CR_KIND_OPEN);
	opening.plan = arg_optional_name(fcinfo, 1, "plan");
	is_default = opening.plan == NULL;
	if (is_default)
		opening.plan = settings_default_plan();
	arg_cycle_anchor(&opening.cycle, fcinfo, 2);
	arg_time_zone(&opening.cycle, fcinfo, 3);
	make_anchor_local(&opening.cycle, opening.cycle.zone);
	request.idempotency_key = "";
	request_seal(&request, opening.cycle.has_anchor ? opening.cycle.anchor : PG_INT64_MIN,
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
		if (ledger.acc.facts.cycle != CR_NO_CYCLE)
			error_open_conflict(request.user_id);
		if (opening.plan)
		{
			plan = plans_in_force(ledger.plans, opening.plan, ledger.now);
			if (plan == NULL && is_default)
				error_default_plan_not_found(opening.plan);
			if (plan == NULL)
				error_plan_not_found(opening.plan);
		}
		if (!opening.cycle.has_anchor)
			opening.cycle.anchor = zone_utc_to_local(NULL, opening.cycle.zone, ledger.now);
		verdict = cr_open(&ledger.acc, &ledger.env, ledger.now, plan, opening.cycle.anchor,
						  opening.cycle.zone, &row);
		ledger_check(&ledger, verdict, plan ? plan->monthly_credits : 0);
		receipt = ledger_append(&ledger, &row);
	}
	ledger_end(&ledger);
	return receipt;
}
