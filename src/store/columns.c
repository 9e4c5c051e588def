/*
 * columns.c
 *		The columns that the code reads by number, in the order of the install script.
 *
 * A table is checked against this list before it is used.  So if a column was renamed,
 * retyped, dropped or made nullable, the result is an error and not a wrong value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "store/columns.h"

/* clang-format off */
static const Column credit_plan[] = {
	{"version", INT4OID, true},
	{"effective_from", TIMESTAMPTZOID, true},
	{"monthly_credits", INT8OID, true},
	{"rollover_limit", INT8OID, true},
	{"low_balance_threshold", INT8OID, true},
	{"created_at", TIMESTAMPTZOID, true},
	{"plan", TEXTOID, true},
	{"cycle", TEXTOID, true},
};

#define ACCOUNT_COLUMNS \
	{"monthly", INT8OID, true}, \
	{"granted", INT8OID, true}, \
	{"purchased", INT8OID, true}, \
	{"held_monthly", INT8OID, true}, \
	{"held_granted", INT8OID, true}, \
	{"held_purchased", INT8OID, true}, \
	{"owed_monthly", INT8OID, true}, \
	{"owed_purchased", INT8OID, true}, \
	{"overdraft_limit", INT8OID, true}, \
	{"period_granted", INT8OID, true}, \
	{"last_left", INT8OID, true}, \
	{"last_limit", INT8OID, true}, \
	{"period", INT8OID, true}, \
	{"last_monthly_reset", TIMESTAMPTZOID, true}, \
	{"effective_at", TIMESTAMPTZOID, true}, \
	{"cycle_anchor", TIMESTAMPOID, true}, \
	{"history_seq", INT8OID, true}, \
	{"plan_threshold", INT8OID, true}, \
	{"period_share", INT4OID, true}, \
	{"last_undone", BOOLOID, true}, \
	{"user_id", TEXTOID, true}, \
	{"time_zone", TEXTOID, true}, \
	{"status", TEXTOID, true}, \
	{"history_hash", BYTEAOID, true}, \
	{"next_reset_at", TIMESTAMPTZOID, false}, \
	{"next_event_at", TIMESTAMPTZOID, false}, \
	{"end_anchor", TIMESTAMPOID, false}, \
	{"closed_seq", INT8OID, false}, \
	{"forfeited", INT8OID, false}, \
	{"charged_monthly", INT8OID, false}, \
	{"charged_purchased", INT8OID, false}, \
	{"last_charged", INT8OID, false}, \
	{"last_closed_seq", INT8OID, false}, \
	{"low_threshold", INT8OID, false}, \
	{"flags", INT4OID, false}, \
	{"plan_version", INT4OID, false}, \
	{"plan", TEXTOID, false}, \
	{"scheduled_plan", TEXTOID, false}, \
	{"cycle", TEXTOID, false}, \
	{"end_zone", TEXTOID, false}, \
	{"end_cycle", TEXTOID, false}, \
	{"level", TEXTOID, false}

static const Column credit_account[] = {
	ACCOUNT_COLUMNS
};

static const Column credit_history[] = {
	{"seq", INT8OID, true},
	{"created_at", TIMESTAMPTZOID, true},
	{"effective_at", TIMESTAMPTZOID, true},
	{"period", INT8OID, true},
	{"amount", INT8OID, true},
	{"monthly_delta", INT8OID, true},
	{"granted_delta", INT8OID, true},
	{"purchased_delta", INT8OID, true},
	{"monthly", INT8OID, true},
	{"granted", INT8OID, true},
	{"purchased", INT8OID, true},
	{"skipped", INT4OID, true},
	{"plan_version", INT4OID, false},
	{"user_id", TEXTOID, true},
	{"kind", TEXTOID, true},
	{"actor", TEXTOID, true},
	{"hash", BYTEAOID, true},
	{"next_reset_at", TIMESTAMPTZOID, false},
	{"ref_seq", INT8OID, false},
	{"ends_at", TIMESTAMPTZOID, false},
	{"held_monthly", INT8OID, false},
	{"held_granted", INT8OID, false},
	{"held_purchased", INT8OID, false},
	{"owed_monthly", INT8OID, false},
	{"owed_purchased", INT8OID, false},
	{"expired", INT8OID, false},
	{"forfeited", INT8OID, false},
	{"overdraft_limit", INT8OID, false},
	{"period_granted", INT8OID, false},
	{"last_left", INT8OID, false},
	{"last_limit", INT8OID, false},
	{"low_threshold", INT8OID, false},
	{"period_start", TIMESTAMPTZOID, false},
	{"cycle_anchor", TIMESTAMPOID, false},
	{"period_share", INT4OID, false},
	{"last_undone", BOOLOID, false},
	{"run_id", UUIDOID, false},
	{"idempotency_key", TEXTOID, false},
	{"request_digest", BYTEAOID, false},
	{"payment_ref", TEXTOID, false},
	{"spender", TEXTOID, false},
	{"plan", TEXTOID, false},
	{"scheduled_plan", TEXTOID, false},
	{"time_zone", TEXTOID, false},
	{"status", TEXTOID, false},
	{"cycle", TEXTOID, false},
	{"crossed", TEXTOID, false},
	{"allocations", INT8ARRAYOID, false},
	{"text_salt", BYTEAOID, false},
	{"reason", TEXTOID, false},
	{"metadata", JSONBOID, false},
	{"reason_digest", BYTEAOID, false},
	{"metadata_digest", BYTEAOID, false},
};

static const Column credit_payment[] = {
	{"amount", INT8OID, true},
	{"revoked", INT8OID, true},
	{"seq", INT8OID, true},
	{"paid_at", TIMESTAMPTZOID, true},
	{"granted", BOOLOID, true},
	{"payment_ref", TEXTOID, true},
	{"user_id", TEXTOID, true},
	{"reported", INT8OID, false},
};

static const Column credit_reset_run[] = {
	{"started_at", TIMESTAMPTZOID, true},
	{"finished_at", TIMESTAMPTZOID, false},
	{"accounts", INT8OID, true},
	{"credits_granted", INT8OID, true},
	{"credits_expired", INT8OID, true},
	{"failures", INT8OID, true},
	{"run_id", UUIDOID, true},
	{"kind", TEXTOID, true},
	{"state", TEXTOID, true},
	{"actor", TEXTOID, true},
	{"failed", JSONBOID, false},
	{"history_rows", INT8OID, false},
	{"sample", FLOAT8OID, false},
};

static const Column credit_audit_log[] = {
	{"seq", INT8OID, true},
	{"created_at", TIMESTAMPTZOID, true},
	{"action", TEXTOID, true},
	{"subject", TEXTOID, true},
	{"actor", TEXTOID, true},
	{"hash", BYTEAOID, true},
	{"client_addr", TEXTOID, false},
	{"application", TEXTOID, false},
	{"before", JSONBOID, false},
	{"after", JSONBOID, false},
};

static const Column credit_role[] = {
	{"granted_at", TIMESTAMPTZOID, true},
	{"system_identifier", INT8OID, true},
	{"role_oid", OIDOID, true},
	{"granted_usage", BOOLOID, true},
	{"role_name", TEXTOID, true},
	{"preset", TEXTOID, true},
};

static const Column credit_grant[] = {
	{"amount", INT8OID, true},
	{"remaining", INT8OID, true},
	{"seq", INT8OID, true},
	{"ends_at", TIMESTAMPTZOID, true},
	{"closed", BOOLOID, true},
	{"paid", BOOLOID, true},
	{"user_id", TEXTOID, true},
	{"expired", INT8OID, false},
	{"elsewhere", INT8OID, false},
	{"noticed", BOOLOID, false},
};

static const Column credit_hold[] = {
	{"amount", INT8OID, true},
	{"monthly", INT8OID, true},
	{"purchased", INT8OID, true},
	{"seq", INT8OID, true},
	{"period", INT8OID, true},
	{"user_id", TEXTOID, true},
	{"state", TEXTOID, true},
	{"ends_at", TIMESTAMPTZOID, false},
	{"given_back", INT8OID, false},
	{"allocations", INT8ARRAYOID, false},
	{"noticed", BOOLOID, false},
};

static const Column credit_anchor[] = {
	{"anchor_no", INT8OID, true},
	{"created_at", TIMESTAMPTZOID, true},
	{"accounts", INT8OID, true},
	{"changed", INT8OID, true},
	{"audit_seq", INT8OID, true},
	{"audit_hash", BYTEAOID, true},
	{"root", BYTEAOID, true},
	{"changed_root", BYTEAOID, true},
	{"previous_hash", BYTEAOID, true},
	{"hash", BYTEAOID, true},
};

static const Column credit_anchor_leaf[] = {
	{"anchor_no", INT8OID, true},
	{"seq", INT8OID, true},
	{"user_id", TEXTOID, true},
	{"hash", BYTEAOID, true},
};

static const Column credit_event[] = {
	{"seq", INT8OID, true},
	{"amount", INT8OID, true},
	{"available", INT8OID, true},
	{"created_at", TIMESTAMPTZOID, true},
	{"effective_at", TIMESTAMPTZOID, true},
	{"user_id", TEXTOID, true},
	{"kind", TEXTOID, true},
	{"ends_at", TIMESTAMPTZOID, false},
};

static const Column credit_checkpoint[] = {
	ACCOUNT_COLUMNS,
	{"grants", INT8ARRAYOID, false},
	{"holds", INT8ARRAYOID, false},
	{"purchases", INT8ARRAYOID, false},
	{"payment_refs", TEXTARRAYOID, false},
	{"archived", INT8ARRAYOID, false},
	{"opened_seq", INT8OID, false},
	{"opened_digest", BYTEAOID, false},
	{"opened_plan", TEXTOID, false},
	{"opened_anchor", TIMESTAMPOID, false},
	{"opened_zone", TEXTOID, false},
};

#define TABLE(columns) {#columns, lengthof(columns), columns}
/* clang-format on */

const Table tables[TABLE_COUNT] = {
	[TABLE_PLAN] = TABLE(credit_plan),
	[TABLE_ACCOUNT] = TABLE(credit_account),
	[TABLE_HISTORY] = TABLE(credit_history),
	[TABLE_PAYMENT] = TABLE(credit_payment),
	[TABLE_RESET_RUN] = TABLE(credit_reset_run),
	[TABLE_AUDIT_LOG] = TABLE(credit_audit_log),
	[TABLE_ROLE] = TABLE(credit_role),
	[TABLE_GRANT] = TABLE(credit_grant),
	[TABLE_HOLD] = TABLE(credit_hold),
	[TABLE_ANCHOR] = TABLE(credit_anchor),
	[TABLE_ANCHOR_LEAF] = TABLE(credit_anchor_leaf),
	[TABLE_CHECKPOINT] = TABLE(credit_checkpoint),
	[TABLE_EVENT] = TABLE(credit_event),
};
