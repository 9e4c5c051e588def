/*
 * judge.c
 *		Checking one account by its history.  The code calls this judging.
 *
 * An account's rows are read in order and replayed through the core.  So a row that the
 * rules could not have written is found even if its hash is correct.  The first bad row
 * of an account is reported.  The rows after it are not checked.
 */
#include "postgres.h"

#include "lib/simplehash.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/digest.h"
#include "base/errors.h"
#include "store/columns.h"
#include "store/lookup.h"
#include "store/relations.h"
#include "tables/archive_partitions.h"
#include "tables/checkpoint.h"
#include "tables/plan_versions.h"
#include "tables/rows.h"
#include "verify/findings.h"
#include "verify/judge.h"
#include "verify/judge_lots.h"

/* A set of strings. */
typedef struct KeptName
{
	const char *text;
	uint32 hash;
	char status;
} KeptName;

#define SH_PREFIX			 names
#define SH_ELEMENT_TYPE		 KeptName
#define SH_KEY_TYPE			 const char *
#define SH_KEY				 text
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), (int) strlen(key))
#define SH_EQUAL(tb, a, b)	 (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE		   static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

void
judge_begin(Judge *judge, Snapshot snapshot)
{
	judge->memory = CurrentMemoryContext;
	judge->row_memory = AllocSetContextCreate(judge->memory, "credits verify row",
											  ALLOCSET_DEFAULT_SIZES);
	plans_init(&judge->plans, snapshot);
	judge->plans.lenient = true;
	judge->env = plans_env(&judge->plans);
	judge->names = names_create(judge->memory, 32, NULL);
	judge->n_accounts = judge->n_rows = judge->n_purchases = 0;
	lookup_begin(&judge->accounts, TABLE_ACCOUNT, INDEX_ACCOUNT, snapshot);
	lookup_begin(&judge->rows, TABLE_HISTORY, INDEX_HISTORY, snapshot);
	judge_lots_begin(&judge->lots, snapshot);
	lookup_begin(&judge->payments, TABLE_PAYMENT, INDEX_PAYMENT, snapshot);
	lookup_begin(&judge->checkpoints, TABLE_CHECKPOINT, INDEX_CHECKPOINT, snapshot);
	judge->has_archived = false;
}

void
judge_end(Judge *judge)
{
	if (judge->has_archived)
		archived_close(&judge->archived);
	lookup_end(&judge->checkpoints);
	lookup_end(&judge->payments);
	judge_lots_end(&judge->lots);
	lookup_end(&judge->rows);
	lookup_end(&judge->accounts);
	MemoryContextDelete(judge->row_memory);
}

/*
 * A row that makes, revokes or reinstates a payment must have that payment in the payment
 * table, and both must say the same.  *payment: set if the row has one.
 */
static const char *
read_payment(Judge *judge, const CrRow *row, Payment *payment, bool *has_payment)
{
	bool is_new = row->kind == CR_KIND_PURCHASE || row->kind == CR_KIND_GRANT;
	const char *problem;

	*has_payment = row->payment_ref != NULL;
	if (!is_new && row->kind != CR_KIND_REVOKE && row->kind != CR_KIND_REINSTATE)
		return row->payment_ref ? "payment_ref is on a row that has none" : NULL;
	if (row->payment_ref == NULL)
		return row->kind == CR_KIND_GRANT ? NULL
										  : "a purchase or chargeback has no payment_ref";

	lookup_again(&judge->payments);
	lookup_text_key(&judge->payments, 1, row->payment_ref);
	if (!lookup_next(&judge->payments, ForwardScanDirection))
		return "its payment is missing from credit_payment";
	problem = payment_read(payment, judge->payments.slot);
	if (problem)
		return problem;
	if (strcmp(payment->user_id, row->user_id) != 0 ||
		payment->seq != (is_new ? row->seq : row->ref_seq) ||
		(is_new ? payment->amount != row->amount : payment->amount < row->amount) ||
		(is_new &&
		 (payment->granted != (row->kind == CR_KIND_GRANT) ||
		  payment->paid_at != row->effective_at)))
		return "its payment in credit_payment differs";
	return NULL;
}

static const char *
kept_name(Judge *judge, const char *text)
{
	KeptName *name;
	bool found;

	if (text == NULL)
		return NULL;
	name = names_lookup(judge->names, text);
	if (name == NULL)
		name = names_insert(judge->names, MemoryContextStrdup(judge->memory, text), &found);
	return name->text;
}

/* The state before an account's first row. */
void
judge_start(CrAccount *acc, const char *user_id)
{
	cr_account_init(acc, user_id);
	genesis_hash(user_id, acc->history_hash);
}

/*
 * Checks the next row of an account.  Returns what is wrong with it, or NULL.  If NULL,
 * acc is the account as it was after the row.  If the account has no lists of grants and
 * holds, a row about grants, holds or a revoked payment is a complaint.  Call this in
 * row_memory.
 */
const char *
judge_row(Judge *judge, CrAccount *acc, const CrRow *row)
{
	uint8_t hash[CR_HASH_LEN];
	const char *problem;
	CrReplayed about = {0};
	Payment payment;
	bool has_payment;

	if (row->malformed)
		return row->malformed;
	if (row->seq != acc->history_seq + 1)
		return "seq has a gap";
	row_hash(acc->history_hash, row, hash);
	if (memcmp(hash, row->hash, CR_HASH_LEN) != 0)
		return "hash does not fit the row and the hash before it";
	problem = read_payment(judge, row, &payment, &has_payment);
	if (problem == NULL && acc->lots)
		judge_lots_before(&judge->lots, acc, row, has_payment ? &payment : NULL, &about);
	else if (problem == NULL && row->kind >= CR_KIND_GRANT)
		problem = "it needs the account's grants and holds";
	if (problem == NULL)
		problem = cr_replay(acc, &judge->env, row, &about);
	if (problem == NULL && acc->lots)
		problem = judge_lots_check_total(&judge->lots, row, about.paid);
	if (problem == NULL && row->spender == NULL &&
		(row->kind == CR_KIND_TRANSFER_OUT || row->kind == CR_KIND_TRANSFER_IN))
		problem = "a transfer names no other user";
	if (problem == NULL && acc->lots)
		judge_lots_after(&judge->lots, acc, row, has_payment ? &payment : NULL);
	else if (problem == NULL && has_payment && judge_lots_has_changed(&payment))
		problem = "it needs the account's chargebacks";
	if (problem == NULL && row->has_facts)
	{
		/* the core took these from the row, which is freed */
		acc->facts.plan = kept_name(judge, acc->facts.plan);
		acc->facts.scheduled_plan = kept_name(judge, acc->facts.scheduled_plan);
		acc->facts.time_zone = kept_name(judge, acc->facts.time_zone);
	}
	return problem;
}

/*
 * An archived purchase must have its payment.  The payment must say what the checkpoint
 * says, and how much was revoked since.
 */
static const char *
load_purchase(Judge *judge, const Checkpoint *ckpt, int nth)
{
	const int64 *numbers = &ckpt->purchases.values[nth * PURCHASE_NUMBERS];
	Payment payment;
	const char *problem;

	lookup_again(&judge->payments);
	lookup_text_key(&judge->payments, 1, ckpt->payment_refs[nth]);
	if (!lookup_next(&judge->payments, ForwardScanDirection))
		return "the payment of an archived purchase is missing from credit_payment";
	problem = payment_read(&payment, judge->payments.slot);
	if (problem)
		return problem;
	if (strcmp(payment.user_id, ckpt->acc.user_id) != 0 ||
		payment.seq != numbers[PURCHASE_SEQ] || payment.amount != numbers[PURCHASE_AMOUNT] ||
		payment.granted != (numbers[PURCHASE_GRANTED] != 0))
		return "the payment of an archived purchase differs in credit_payment";
	judge_lots_load_purchase(&judge->lots, numbers, &payment);
	return NULL;
}

/* Sets the account to the state of its checkpoint. */
static const char *
load_checkpoint(Judge *judge, CrAccount *acc, const Checkpoint *ckpt)
{
	const char *problem = NULL;

	*acc = ckpt->acc;
	judge_lots_start(&judge->lots, acc); /* makes the lists */
	judge_lots_load(&judge->lots, acc, ckpt);
	for (int i = 0; i < checkpoint_purchases(ckpt) && problem == NULL; i++)
		problem = load_purchase(judge, ckpt, i);
	return problem;
}

static bool
find_checkpoint(Judge *judge, const char *user_id, Checkpoint *ckpt, const char **problem)
{
	lookup_again(&judge->checkpoints);
	lookup_text_key(&judge->checkpoints, 1, user_id);
	if (!lookup_next(&judge->checkpoints, ForwardScanDirection))
		return false;
	*problem = checkpoint_read(ckpt, judge->checkpoints.slot);
	return true;
}

/*
 * What is wrong with an archived row if some rows before it are missing.  If the row
 * before it is there, the row must have its hash.  If the row is the last archived row,
 * the checkpoint must have the row's hash.
 */
static const char *
link_problem(const CrAccount *before, const CrRow *row)
{
	uint8_t hash[CR_HASH_LEN];

	if (row->malformed)
		return row->malformed;
	if (row->seq <= before->history_seq)
		return "the row is there twice";
	row_hash(before->history_hash, row, hash);
	if (row->seq == before->history_seq + 1 && memcmp(hash, row->hash, CR_HASH_LEN) != 0)
		return "hash does not fit the row and the hash before it";
	return NULL;
}

/*
 * Each year's partition must have as many rows of the account as the checkpoint says,
 * unless the partition was dropped.
 */
static const char *
count_problem(Judge *judge, const Checkpoint *ckpt)
{
	const Numbers *years = &ckpt->archived;

	for (int i = 0; i < judge->archived.n_parts; i++)
	{
		ArchivePart *part = &judge->archived.parts[i];
		int64 expected = 0;

		for (int j = 0; j < years->count; j += ARCHIVED_NUMBERS)
		{
			if (years->values[j] == part->year)
				expected = years->values[j + 1];
		}
		if (part->count != expected)
			return psprintf("the partition of %d has " INT64_FORMAT
							" rows of the user instead of " INT64_FORMAT,
							part->year, part->count, expected);
	}
	return NULL;
}

static bool
is_complete(Judge *judge, const Checkpoint *ckpt)
{
	for (int i = 0; i < ckpt->archived.count; i += ARCHIVED_NUMBERS)
	{
		if (archived_part(&judge->archived, (int) ckpt->archived.values[i]) == NULL)
			return false;
	}
	return true;
}

/*
 * Checks the archived rows.  If all of them are there, they are replayed from the
 * beginning, and the result must be the checkpoint.  False: something is wrong and was
 * reported.
 */
static bool
judge_archived(Judge *judge, Findings *findings, const Checkpoint *ckpt)
{
	CrAccount acc;
	Checkpoint collected;
	TupleTableSlot *slot;
	const char *problem = NULL;
	int64 seq = 0;
	bool complete;
	uint8_t expected[CR_HASH_LEN];
	uint8_t digest[CR_HASH_LEN];
	MemoryContext old = CurrentMemoryContext;

	if (!judge->has_archived)
	{
		MemoryContextSwitchTo(judge->memory);
		archived_open(&judge->archived, judge->lots.snapshot);
		judge->has_archived = true;
		MemoryContextSwitchTo(old);
	}
	memset(&collected, 0, sizeof(collected));
	complete = is_complete(judge, ckpt);
	judge_start(&acc, ckpt->acc.user_id);
	judge_lots_start(&judge->lots, &acc);
	judge->lots.collect = &collected;
	judge->lots.archived = &judge->archived;
	archived_user(&judge->archived, ckpt->acc.user_id);
	while (problem == NULL && (slot = archived_next(&judge->archived)) != NULL)
	{
		CrRow row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(judge->row_memory);
		row_borrow(&row, slot, &judge->arena);
		seq = row.seq;
		problem = complete ? judge_row(judge, &acc, &row) : link_problem(&acc, &row);
		if (problem == NULL && !complete)
		{
			acc.history_seq = row.seq;
			memcpy(acc.history_hash, row.hash, CR_HASH_LEN);
		}
		if (problem == NULL && row.seq >= ckpt->acc.history_seq &&
			(row.seq > ckpt->acc.history_seq ||
			 memcmp(row.hash, ckpt->acc.history_hash, CR_HASH_LEN) != 0))
			problem = "it is not the last row that the checkpoint has";
		judge->n_rows++;
		MemoryContextSwitchTo(old);
		if (problem)
			problem = pstrdup(problem);
		MemoryContextReset(judge->row_memory);
	}
	judge->lots.archived = NULL;
	judge->lots.collect = NULL;
	if (problem == NULL)
		problem = count_problem(judge, ckpt);
	if (problem)
	{
		findings_report(findings, ARCHIVE_NAME, ckpt->acc.user_id, seq, problem);
		return false;
	}
	if (!complete)
		return true;
	judge_lots_finish(&judge->lots, &acc, &collected);
	checkpoint_digest(&collected, digest);
	checkpoint_digest(ckpt, expected);
	if (memcmp(digest, expected, CR_HASH_LEN) == 0)
		return true;
	findings_report(findings, "credit_checkpoint", ckpt->acc.user_id, ckpt->acc.history_seq,
					"it is not what the archived rows give");
	return false;
}

/* The row that was written with the checkpoint must have its digest. */
static const char *
seal_problem(const Checkpoint *ckpt, const CrRow *row)
{
	uint8_t digest[CR_HASH_LEN];

	checkpoint_digest(ckpt, digest);
	return memcmp(digest, row->request_digest, CR_HASH_LEN) == 0
		? NULL
		: "the checkpoint is not the one that was sealed";
}

static void
judge_history(Judge *judge, Findings *findings, const CrAccount *stored)
{
	CrAccount acc;
	Lookup *rows = &judge->rows;
	const char *problem = NULL;
	int64 purchases = 0;
	Checkpoint ckpt;
	bool archived = find_checkpoint(judge, stored->user_id, &ckpt, &problem);
	bool sealed = !archived;
	MemoryContext old = CurrentMemoryContext;

	judge_start(&acc, stored->user_id);
	if (archived)
	{
		if (problem == NULL && !judge_archived(judge, findings, &ckpt))
			return;
		if (problem == NULL)
			problem = load_checkpoint(judge, &acc, &ckpt);
		purchases = problem ? 0 : checkpoint_purchases(&ckpt);
		if (problem)
		{
			findings_report(findings, "credit_checkpoint", stored->user_id, 0, problem);
			return;
		}
	}
	else
		judge_lots_start(&judge->lots, &acc);
	lookup_again(rows);
	lookup_text_key(rows, 1, stored->user_id);
	while (problem == NULL && lookup_next(rows, ForwardScanDirection))
	{
		CrRow row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(judge->row_memory);
		row_borrow(&row, rows->slot, &judge->arena);
		problem = judge_row(judge, &acc, &row);
		if (problem == NULL && archived && row.kind == CR_KIND_ARCHIVE &&
			row.ref_seq == ckpt.acc.history_seq)
		{
			problem = seal_problem(&ckpt, &row);
			sealed = true;
		}
		judge->n_rows++;
		purchases += is_new_payment(&row);
		MemoryContextSwitchTo(old);
		if (problem)
			findings_report(findings, "credit_history", stored->user_id, row.seq, problem);
		MemoryContextReset(judge->row_memory);
	}
	if (problem)
		return;
	problem = sealed ? cr_compare_head(stored, &acc) : NULL;
	if (!sealed)
		findings_report(findings, "credit_checkpoint", stored->user_id, ckpt.acc.history_seq,
						"no row of the history seals it");
	else if (problem)
		findings_report(findings, "credit_account", stored->user_id, stored->history_seq,
						problem);
	else if (judge_lots_compare(&judge->lots, &acc, findings))
		judge->n_purchases += purchases;
}

/*
 * Sets acc to the state before the first row in the history.  Returns false if there is
 * no checkpoint.  Otherwise this is the state of the user's checkpoint.  If the
 * checkpoint is wrong, raises UC008.  *ckpt is in the current memory context.
 */
bool
judge_from_checkpoint(Judge *judge, CrAccount *acc, Checkpoint *ckpt, const char *user_id)
{
	const char *problem = NULL;

	judge_start(acc, user_id);
	if (find_checkpoint(judge, user_id, ckpt, &problem))
	{
		if (problem == NULL)
			problem = load_checkpoint(judge, acc, ckpt);
		if (problem)
			error_corrupted("credit_checkpoint", problem);
		return true;
	}
	judge_lots_start(&judge->lots, acc);
	return false;
}

/*
 * Replays the account up to a row.  If a row is bad, raises UC008.  The account's grants
 * and holds are valid until another account is judged.
 */
void
judge_replay(Judge *judge, CrAccount *acc, const char *user_id, int64 upto)
{
	Lookup *rows = &judge->rows;
	const char *problem = NULL;
	MemoryContext old = CurrentMemoryContext;

	lookup_again(rows);
	lookup_text_key(rows, 1, user_id);
	while (problem == NULL && acc->history_seq < upto &&
		   lookup_next(rows, ForwardScanDirection))
	{
		CrRow row;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(judge->row_memory);
		row_borrow(&row, rows->slot, &judge->arena);
		problem = judge_row(judge, acc, &row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(judge->row_memory);
	}
	if (problem || acc->history_seq < upto)
		error_corrupted("credit_history", problem ? problem : "a row is missing");
}

/*
 * Checks a stored account row against its history.  The caller frees what this takes from
 * the current memory context.
 */
void
judge_slot(Judge *judge, Findings *findings, const char *user_id, TupleTableSlot *account)
{
	CrAccount stored;
	const char *problem;

	slot_getallattrs(account);
	problem = account_read(&stored, account->tts_values, account->tts_isnull);
	judge->n_accounts++;
	if (problem)
		findings_report(findings, "credit_account", user_id, stored.history_seq, problem);
	else
		judge_history(judge, findings, &stored);
}

/* Checks a user's account.  False: there is no such account. */
bool
judge_user(Judge *judge, Findings *findings, const char *user_id)
{
	lookup_again(&judge->accounts);
	lookup_text_key(&judge->accounts, 1, user_id);
	if (!lookup_next(&judge->accounts, ForwardScanDirection))
		return false;
	judge_slot(judge, findings, user_id, judge->accounts.slot);
	return true;
}
