/*
 * grant_many.c
 *		credits_grant_many: grants for many users, with one amount for all or one amount
 *		each.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/errors.h"
#include "base/sums.h"
#include "bulk/bulk.h"
#include "ledger/ledger.h"
#include "ledger/request.h"
#include "store/relations.h"

PG_FUNCTION_INFO_V1(credits_grant_many);

typedef struct GrantMany
{
	CrTime ends_at;
	const char *key;
} GrantMany;

/*
 * If there is a key, it is the key of the run: a second grant to the same user with this
 * key is recognized and not given again.
 */
static BulkOutcome
grant(Bulk *bulk, Ledger *ledger, const BulkItem *item)
{
	GrantMany *many = bulk->ctx;
	Request *request;
	bool isnull;
	int64 amount = DatumGetInt64(bulk_column(item, "amount", INT8OID, &isnull));
	CrRow row;
	CrVerdict verdict;

	if (isnull)
		error_null("amount");
	check_amount(amount, "amount");
	if (many->key)
	{
		Datum receipt;

		request = memcpy(palloc(sizeof(Request)), ledger->request, sizeof(Request));
		request->idempotency_key = many->key;
		request_seal(request, amount, psprintf(INT64_FORMAT, many->ends_at), NULL);
		ledger->request = request;
		if (ledger_replay(ledger, &receipt))
			return BULK_ALREADY;
	}
	verdict = ledger->is_waiting && many->ends_at <= ledger->clock
		? CR_ENDS_TOO_SOON
		: cr_grant(&ledger->acc, ledger->now, ledger_next_seq(ledger), amount, many->ends_at,
				   false, &row);
	ledger_check(ledger, verdict, amount);
	(void) ledger_push(ledger, &row);
	sum_add(&bulk->batch.run.granted, amount);
	return BULK_DONE;
}

/* Checks all elements before the run begins, so a wrong element ends the call. */
static void
check_elements(ArrayType *users, ArrayType *amounts)
{
	Datum *user_ids;
	Datum *values;
	bool *no_user;
	bool *no_value;
	int n_users;
	int n_values;

	(void) check_array(users, "user_ids");
	(void) check_array(amounts, "amounts");
	deconstruct_array(users, TEXTOID, -1, false, TYPALIGN_INT, &user_ids, &no_user, &n_users);
	deconstruct_array(amounts, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values,
					  &no_value, &n_values);
	check_as_many(n_values, "amounts", n_users);
	for (int i = 0; i < n_users; i++)
	{
		int length;

		if (no_user[i])
			error_null("user_id");
		if (no_value[i])
			error_null("amount");
		length = VARSIZE_ANY_EXHDR(PG_DETOAST_DATUM_PACKED(user_ids[i]));
		if (length < 1 || length > CR_MAX_NAME)
			error_bad_length("user_id", CR_MAX_NAME);
		check_amount(DatumGetInt64(values[i]), "amount");
	}
	pfree(user_ids);
	pfree(values);
}

/*
 * Makes the query from the arrays of users and amounts.  If a user occurs twice, the user
 * gets the sum, so each account is locked and written once.
 */
Datum
credits_grant_many(PG_FUNCTION_ARGS)
{
	GrantMany many = {0};
	Bulk bulk = {.function = "credits_grant_many()",
				 .kind = "grant",
				 .row_kind = CR_KIND_GRANT,
				 .decide = grant,
				 .ctx = &many};
	Oid types[2] = {TEXTARRAYOID, INT8ARRAYOID};
	Datum values[2];

	store_attach(fcinfo);
	for (int i = 0; i < 3; i++)
	{
		static const char *const names[] = {"user_ids", "amounts", "expires_at"};

		if (PG_ARGISNULL(i))
			error_null(names[i]);
	}
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);
	check_elements(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_ARRAYTYPE_P(1));
	many.ends_at = check_time(PG_GETARG_TIMESTAMPTZ(2), "expires_at");
	bulk.reason = arg_optional_text(fcinfo, 3);
	many.key = arg_optional_name(fcinfo, 4, "idempotency_key");
	bulk_arguments(&bulk, fcinfo, 5);
	return bulk_result(
		fcinfo,
		bulk_run(&bulk, fcinfo,
				 "SELECT u.user_id, pg_catalog.sum(u.amount)::pg_catalog.int8 AS amount"
				 " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) u (user_id, amount)"
				 " GROUP BY u.user_id ORDER BY u.user_id COLLATE pg_catalog.\"C\"",
				 2, types, values));
}
