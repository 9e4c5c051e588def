-- The schema is what the documentation says it is: tables, columns, keys,
-- signatures and their properties, guards and comments.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
DROP EXTENSION IF EXISTS credits;
CREATE SCHEMA ledger;
CREATE EXTENSION credits SCHEMA ledger;

CREATE TEMP TABLE want_column (tab name, col name, type text, not_null bool, collate_c bool, no serial);
INSERT INTO want_column VALUES
    ('credit_plan', 'version', 'integer', true, false),
    ('credit_plan', 'effective_from', 'timestamp with time zone', true, false),
    ('credit_plan', 'monthly_credits', 'bigint', true, false),
    ('credit_plan', 'rollover_limit', 'bigint', true, false),
    ('credit_plan', 'low_balance_threshold', 'bigint', true, false),
    ('credit_plan', 'created_at', 'timestamp with time zone', true, false),
    ('credit_plan', 'plan', 'text', true, true),
    ('credit_plan', 'cycle', 'text', true, true),
    ('credit_account', 'monthly', 'bigint', true, false),
    ('credit_account', 'granted', 'bigint', true, false),
    ('credit_account', 'purchased', 'bigint', true, false),
    ('credit_account', 'held_monthly', 'bigint', true, false),
    ('credit_account', 'held_granted', 'bigint', true, false),
    ('credit_account', 'held_purchased', 'bigint', true, false),
    ('credit_account', 'owed_monthly', 'bigint', true, false),
    ('credit_account', 'owed_purchased', 'bigint', true, false),
    ('credit_account', 'overdraft_limit', 'bigint', true, false),
    ('credit_account', 'period_granted', 'bigint', true, false),
    ('credit_account', 'last_left', 'bigint', true, false),
    ('credit_account', 'last_limit', 'bigint', true, false),
    ('credit_account', 'period', 'bigint', true, false),
    ('credit_account', 'last_monthly_reset', 'timestamp with time zone', true, false),
    ('credit_account', 'effective_at', 'timestamp with time zone', true, false),
    ('credit_account', 'cycle_anchor', 'timestamp without time zone', true, false),
    ('credit_account', 'history_seq', 'bigint', true, false),
    ('credit_account', 'period_share', 'integer', true, false),
    ('credit_account', 'last_undone', 'boolean', true, false),
    ('credit_account', 'user_id', 'text', true, true),
    ('credit_account', 'time_zone', 'text', true, true),
    ('credit_account', 'status', 'text', true, true),
    ('credit_account', 'history_hash', 'bytea', true, false),
    ('credit_account', 'next_reset_at', 'timestamp with time zone', false, false),
    ('credit_account', 'next_event_at', 'timestamp with time zone', false, false),
    ('credit_account', 'end_anchor', 'timestamp without time zone', false, false),
    ('credit_account', 'closed_seq', 'bigint', false, false),
    ('credit_account', 'forfeited', 'bigint', false, false),
    ('credit_account', 'charged_monthly', 'bigint', false, false),
    ('credit_account', 'charged_purchased', 'bigint', false, false),
    ('credit_account', 'last_charged', 'bigint', false, false),
    ('credit_account', 'last_closed_seq', 'bigint', false, false),
    ('credit_account', 'low_threshold', 'bigint', false, false),
    ('credit_account', 'plan_threshold', 'bigint', true, false),
    ('credit_account', 'flags', 'integer', false, false),
    ('credit_account', 'level', 'text', false, true),
    ('credit_account', 'plan_version', 'integer', false, false),
    ('credit_account', 'plan', 'text', false, true),
    ('credit_account', 'scheduled_plan', 'text', false, true),
    ('credit_account', 'cycle', 'text', false, true),
    ('credit_account', 'end_zone', 'text', false, true),
    ('credit_account', 'end_cycle', 'text', false, true),
    ('credit_history', 'seq', 'bigint', true, false),
    ('credit_history', 'created_at', 'timestamp with time zone', true, false),
    ('credit_history', 'effective_at', 'timestamp with time zone', true, false),
    ('credit_history', 'period', 'bigint', true, false),
    ('credit_history', 'amount', 'bigint', true, false),
    ('credit_history', 'monthly_delta', 'bigint', true, false),
    ('credit_history', 'granted_delta', 'bigint', true, false),
    ('credit_history', 'purchased_delta', 'bigint', true, false),
    ('credit_history', 'monthly', 'bigint', true, false),
    ('credit_history', 'granted', 'bigint', true, false),
    ('credit_history', 'purchased', 'bigint', true, false),
    ('credit_history', 'skipped', 'integer', true, false),
    ('credit_history', 'plan_version', 'integer', false, false),
    ('credit_history', 'user_id', 'text', true, true),
    ('credit_history', 'kind', 'text', true, true),
    ('credit_history', 'actor', 'text', true, true),
    ('credit_history', 'hash', 'bytea', true, false),
    ('credit_history', 'next_reset_at', 'timestamp with time zone', false, false),
    ('credit_history', 'ref_seq', 'bigint', false, false),
    ('credit_history', 'ends_at', 'timestamp with time zone', false, false),
    ('credit_history', 'held_monthly', 'bigint', false, false),
    ('credit_history', 'held_granted', 'bigint', false, false),
    ('credit_history', 'held_purchased', 'bigint', false, false),
    ('credit_history', 'owed_monthly', 'bigint', false, false),
    ('credit_history', 'owed_purchased', 'bigint', false, false),
    ('credit_history', 'expired', 'bigint', false, false),
    ('credit_history', 'forfeited', 'bigint', false, false),
    ('credit_history', 'overdraft_limit', 'bigint', false, false),
    ('credit_history', 'period_granted', 'bigint', false, false),
    ('credit_history', 'last_left', 'bigint', false, false),
    ('credit_history', 'last_limit', 'bigint', false, false),
    ('credit_history', 'period_start', 'timestamp with time zone', false, false),
    ('credit_history', 'cycle_anchor', 'timestamp without time zone', false, false),
    ('credit_history', 'period_share', 'integer', false, false),
    ('credit_history', 'last_undone', 'boolean', false, false),
    ('credit_history', 'low_threshold', 'bigint', false, false),
    ('credit_history', 'crossed', 'text', false, true),
    ('credit_history', 'run_id', 'uuid', false, false),
    ('credit_history', 'idempotency_key', 'text', false, true),
    ('credit_history', 'request_digest', 'bytea', false, false),
    ('credit_history', 'payment_ref', 'text', false, true),
    ('credit_history', 'spender', 'text', false, true),
    ('credit_history', 'plan', 'text', false, true),
    ('credit_history', 'scheduled_plan', 'text', false, true),
    ('credit_history', 'time_zone', 'text', false, true),
    ('credit_history', 'status', 'text', false, true),
    ('credit_history', 'cycle', 'text', false, true),
    ('credit_history', 'allocations', 'bigint[]', false, false),
    ('credit_history', 'text_salt', 'bytea', false, false),
    ('credit_history', 'reason', 'text', false, false),
    ('credit_history', 'metadata', 'jsonb', false, false),
    ('credit_history', 'reason_digest', 'bytea', false, false),
    ('credit_history', 'metadata_digest', 'bytea', false, false),
    ('credit_payment', 'amount', 'bigint', true, false),
    ('credit_payment', 'revoked', 'bigint', true, false),
    ('credit_payment', 'seq', 'bigint', true, false),
    ('credit_payment', 'paid_at', 'timestamp with time zone', true, false),
    ('credit_payment', 'granted', 'boolean', true, false),
    ('credit_payment', 'payment_ref', 'text', true, true),
    ('credit_payment', 'user_id', 'text', true, true),
    ('credit_payment', 'reported', 'bigint', false, false),
    ('credit_grant', 'amount', 'bigint', true, false),
    ('credit_grant', 'remaining', 'bigint', true, false),
    ('credit_grant', 'seq', 'bigint', true, false),
    ('credit_grant', 'ends_at', 'timestamp with time zone', true, false),
    ('credit_grant', 'closed', 'boolean', true, false),
    ('credit_grant', 'paid', 'boolean', true, false),
    ('credit_grant', 'user_id', 'text', true, true),
    ('credit_grant', 'expired', 'bigint', false, false),
    ('credit_grant', 'elsewhere', 'bigint', false, false),
    ('credit_grant', 'noticed', 'boolean', false, false),
    ('credit_hold', 'amount', 'bigint', true, false),
    ('credit_hold', 'monthly', 'bigint', true, false),
    ('credit_hold', 'purchased', 'bigint', true, false),
    ('credit_hold', 'seq', 'bigint', true, false),
    ('credit_hold', 'period', 'bigint', true, false),
    ('credit_hold', 'user_id', 'text', true, true),
    ('credit_hold', 'state', 'text', true, true),
    ('credit_hold', 'ends_at', 'timestamp with time zone', false, false),
    ('credit_hold', 'given_back', 'bigint', false, false),
    ('credit_hold', 'allocations', 'bigint[]', false, false),
    ('credit_hold', 'noticed', 'boolean', false, false),
    ('credit_reset_run', 'started_at', 'timestamp with time zone', true, false),
    ('credit_reset_run', 'finished_at', 'timestamp with time zone', false, false),
    ('credit_reset_run', 'accounts', 'bigint', true, false),
    ('credit_reset_run', 'credits_granted', 'bigint', true, false),
    ('credit_reset_run', 'credits_expired', 'bigint', true, false),
    ('credit_reset_run', 'failures', 'bigint', true, false),
    ('credit_reset_run', 'run_id', 'uuid', true, false),
    ('credit_reset_run', 'kind', 'text', true, true),
    ('credit_reset_run', 'state', 'text', true, true),
    ('credit_reset_run', 'actor', 'text', true, true),
    ('credit_reset_run', 'failed', 'jsonb', false, false),
    ('credit_reset_run', 'history_rows', 'bigint', false, false),
    ('credit_reset_run', 'sample', 'double precision', false, false),
    ('credit_audit_log', 'seq', 'bigint', true, false),
    ('credit_audit_log', 'created_at', 'timestamp with time zone', true, false),
    ('credit_audit_log', 'action', 'text', true, true),
    ('credit_audit_log', 'subject', 'text', true, true),
    ('credit_audit_log', 'actor', 'text', true, true),
    ('credit_audit_log', 'hash', 'bytea', true, false),
    ('credit_audit_log', 'client_addr', 'text', false, true),
    ('credit_audit_log', 'application', 'text', false, true),
    ('credit_audit_log', 'before', 'jsonb', false, false),
    ('credit_audit_log', 'after', 'jsonb', false, false),
    ('credit_role', 'granted_at', 'timestamp with time zone', true, false),
    ('credit_role', 'system_identifier', 'bigint', true, false),
    ('credit_role', 'role_oid', 'oid', true, false),
    ('credit_role', 'granted_usage', 'boolean', true, false),
    ('credit_role', 'role_name', 'text', true, true),
    ('credit_role', 'preset', 'text', true, true),
    ('credit_checkpoint', 'monthly', 'bigint', true, false),
    ('credit_checkpoint', 'granted', 'bigint', true, false),
    ('credit_checkpoint', 'purchased', 'bigint', true, false),
    ('credit_checkpoint', 'held_monthly', 'bigint', true, false),
    ('credit_checkpoint', 'held_granted', 'bigint', true, false),
    ('credit_checkpoint', 'held_purchased', 'bigint', true, false),
    ('credit_checkpoint', 'owed_monthly', 'bigint', true, false),
    ('credit_checkpoint', 'owed_purchased', 'bigint', true, false),
    ('credit_checkpoint', 'overdraft_limit', 'bigint', true, false),
    ('credit_checkpoint', 'period_granted', 'bigint', true, false),
    ('credit_checkpoint', 'last_left', 'bigint', true, false),
    ('credit_checkpoint', 'last_limit', 'bigint', true, false),
    ('credit_checkpoint', 'period', 'bigint', true, false),
    ('credit_checkpoint', 'last_monthly_reset', 'timestamp with time zone', true, false),
    ('credit_checkpoint', 'effective_at', 'timestamp with time zone', true, false),
    ('credit_checkpoint', 'cycle_anchor', 'timestamp without time zone', true, false),
    ('credit_checkpoint', 'history_seq', 'bigint', true, false),
    ('credit_checkpoint', 'period_share', 'integer', true, false),
    ('credit_checkpoint', 'last_undone', 'boolean', true, false),
    ('credit_checkpoint', 'user_id', 'text', true, true),
    ('credit_checkpoint', 'time_zone', 'text', true, true),
    ('credit_checkpoint', 'status', 'text', true, true),
    ('credit_checkpoint', 'history_hash', 'bytea', true, false),
    ('credit_checkpoint', 'next_reset_at', 'timestamp with time zone', false, false),
    ('credit_checkpoint', 'next_event_at', 'timestamp with time zone', false, false),
    ('credit_checkpoint', 'end_anchor', 'timestamp without time zone', false, false),
    ('credit_checkpoint', 'closed_seq', 'bigint', false, false),
    ('credit_checkpoint', 'forfeited', 'bigint', false, false),
    ('credit_checkpoint', 'charged_monthly', 'bigint', false, false),
    ('credit_checkpoint', 'charged_purchased', 'bigint', false, false),
    ('credit_checkpoint', 'last_charged', 'bigint', false, false),
    ('credit_checkpoint', 'last_closed_seq', 'bigint', false, false),
    ('credit_checkpoint', 'low_threshold', 'bigint', false, false),
    ('credit_checkpoint', 'plan_threshold', 'bigint', true, false),
    ('credit_checkpoint', 'flags', 'integer', false, false),
    ('credit_checkpoint', 'level', 'text', false, true),
    ('credit_checkpoint', 'plan_version', 'integer', false, false),
    ('credit_checkpoint', 'plan', 'text', false, true),
    ('credit_checkpoint', 'scheduled_plan', 'text', false, true),
    ('credit_checkpoint', 'cycle', 'text', false, true),
    ('credit_checkpoint', 'end_zone', 'text', false, true),
    ('credit_checkpoint', 'end_cycle', 'text', false, true),
    ('credit_checkpoint', 'grants', 'bigint[]', false, false),
    ('credit_checkpoint', 'holds', 'bigint[]', false, false),
    ('credit_checkpoint', 'purchases', 'bigint[]', false, false),
    ('credit_checkpoint', 'payment_refs', 'text[]', false, true),
    ('credit_checkpoint', 'archived', 'bigint[]', true, false),
    ('credit_checkpoint', 'opened_seq', 'bigint', false, false),
    ('credit_checkpoint', 'opened_digest', 'bytea', false, false),
    ('credit_checkpoint', 'opened_plan', 'text', false, true),
    ('credit_checkpoint', 'opened_anchor', 'timestamp without time zone', false, false),
    ('credit_checkpoint', 'opened_zone', 'text', false, true),
    ('credit_event', 'seq', 'bigint', true, false),
    ('credit_event', 'amount', 'bigint', true, false),
    ('credit_event', 'available', 'bigint', true, false),
    ('credit_event', 'created_at', 'timestamp with time zone', true, false),
    ('credit_event', 'effective_at', 'timestamp with time zone', true, false),
    ('credit_event', 'user_id', 'text', true, true),
    ('credit_event', 'kind', 'text', true, true),
    ('credit_event', 'ends_at', 'timestamp with time zone', false, false),
    ('credit_anchor', 'anchor_no', 'bigint', true, false),
    ('credit_anchor', 'created_at', 'timestamp with time zone', true, false),
    ('credit_anchor', 'accounts', 'bigint', true, false),
    ('credit_anchor', 'changed', 'bigint', true, false),
    ('credit_anchor', 'audit_seq', 'bigint', true, false),
    ('credit_anchor', 'audit_hash', 'bytea', true, false),
    ('credit_anchor', 'root', 'bytea', true, false),
    ('credit_anchor', 'changed_root', 'bytea', true, false),
    ('credit_anchor', 'previous_hash', 'bytea', true, false),
    ('credit_anchor', 'hash', 'bytea', true, false),
    ('credit_anchor_leaf', 'anchor_no', 'bigint', true, false),
    ('credit_anchor_leaf', 'seq', 'bigint', true, false),
    ('credit_anchor_leaf', 'user_id', 'text', true, true),
    ('credit_anchor_leaf', 'hash', 'bytea', true, false);
CREATE TEMP TABLE want_key (tab name, cols name[]);
INSERT INTO want_key VALUES
    ('credit_plan', '{plan,version}'),
    ('credit_account', '{user_id}'),
    ('credit_history', '{user_id,seq}'),
    ('credit_payment', '{payment_ref}'),
    ('credit_grant', '{user_id,seq}'),
    ('credit_hold', '{user_id,seq}'),
    ('credit_reset_run', '{run_id}'),
    ('credit_audit_log', '{seq}'),
    ('credit_role', '{system_identifier,role_oid,preset}'),
    ('credit_checkpoint', '{user_id}'),
    ('credit_event', '{user_id,seq,kind}'),
    ('credit_anchor', '{anchor_no}'),
    ('credit_anchor_leaf', '{user_id,anchor_no}');

-- kind: f function, p procedure; volatility: v, s; parallel: u unsafe, r
-- restricted, s safe.
CREATE TEMP TABLE want_function (name name, args text, kind "char", result text, volatility "char", parallel "char");
INSERT INTO want_function VALUES
    ('credits_deduct', 'user_id text, amount bigint, reason text, idempotency_key text, metadata jsonb, spender text', 'f', 'jsonb', 'v', 'u'),
    ('credits_try_deduct', 'user_id text, amount bigint, reason text, idempotency_key text, metadata jsonb, spender text', 'f', 'jsonb', 'v', 'u'),
    ('credits_add_purchased', 'user_id text, amount bigint, payment_ref text, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_adjust', 'user_id text, bucket text, delta bigint, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_define_plan', 'plan text, monthly_credits bigint, cycle text, rollover_limit bigint, low_balance_threshold bigint, effective_from timestamp with time zone', 'f', 'jsonb', 'v', 'u'),
    ('credits_open_account', 'user_id text, plan text, cycle_anchor text, time_zone text', 'f', 'jsonb', 'v', 'u'),
    ('credits_set_plan', 'user_id text, plan text, at text, reason text, idempotency_key text, metadata jsonb, restart boolean, keep_anchor boolean', 'f', 'jsonb', 'v', 'u'),
    ('credits_freeze', 'user_id text, reason text', 'f', 'jsonb', 'v', 'u'),
    ('credits_unfreeze', 'user_id text, reason text', 'f', 'jsonb', 'v', 'u'),
    ('credits_repair_clock', 'user_id text, reason text', 'f', 'jsonb', 'v', 'u'),
    ('credits_erase_user', 'user_id text, reason text', 'f', 'jsonb', 'v', 'u'),
    ('credits_grant', 'user_id text, amount bigint, expires_at timestamp with time zone, reason text, idempotency_key text, metadata jsonb, payment_ref text', 'f', 'jsonb', 'v', 'u'),
    ('credits_hold', 'user_id text, amount bigint, expires_in interval, reason text, idempotency_key text, metadata jsonb, spender text', 'f', 'jsonb', 'v', 'u'),
    ('credits_capture', 'user_id text, hold_seq bigint, amount bigint, keep_open boolean, reason text, idempotency_key text, metadata jsonb, spender text, over text', 'f', 'jsonb', 'v', 'u'),
    ('credits_release', 'user_id text, hold_seq bigint, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_refund', 'user_id text, seq bigint, amount bigint, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_revoke_purchase', 'payment_ref text, amount bigint, reason text, idempotency_key text, metadata jsonb, total bigint', 'f', 'jsonb', 'v', 'u'),
    ('credits_reinstate_purchase', 'payment_ref text, amount bigint, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_set_overdraft', 'user_id text, overdraft_limit bigint, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_set_low_threshold', 'user_id text, threshold bigint, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_set_cycle', 'user_id text, cycle_anchor text, time_zone text, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_transfer', 'user_id text, to_user_id text, amount bigint, reason text, idempotency_key text, metadata jsonb', 'f', 'jsonb', 'v', 'u'),
    ('credits_close_account', 'user_id text, reason text', 'f', 'jsonb', 'v', 'u'),
    ('credits_grant_many', 'user_ids text[], amounts bigint[], expires_at timestamp with time zone, reason text, idempotency_key text, dry_run boolean, max_accounts bigint, batch_size integer, max_wait interval, report jsonb', 'p', NULL, 'v', 'u'),
    ('credits_apply_plan', 'plan text, reason text, dry_run boolean, max_accounts bigint, batch_size integer, max_wait interval, report jsonb', 'p', NULL, 'v', 'u'),
    ('credits_undo_run', 'run_id uuid, plan text, boundary timestamp with time zone, regrant boolean, reason text, dry_run boolean, max_accounts bigint, batch_size integer, max_wait interval, report jsonb', 'p', NULL, 'v', 'u'),
    ('credits_import', 'source text, history text, refresh boolean, reason text, dry_run boolean, max_accounts bigint, batch_size integer, max_wait interval, report jsonb', 'p', NULL, 'v', 'u'),
    ('credits_balance_at', 'user_id text, at timestamp with time zone', 'f', 'jsonb', 's', 's'),
    ('credits_explain', 'user_id text', 'f', 'jsonb', 's', 's'),
    ('credits_balance', 'user_id text', 'f', 'jsonb', 's', 's'),
    ('credits_balances', 'user_ids text[]', 'f', 'jsonb', 's', 's'),
    ('credits_quote', 'user_id text, amount bigint', 'f', 'jsonb', 's', 's'),
    ('credits_history', 'user_id text, before_seq bigint, page_size integer, kinds text[], from_time timestamp with time zone, to_time timestamp with time zone, reference text, ref_seq bigint', 'f', 'record', 's', 's'),
    ('credits_usage', 'user_id text, by text, from_time timestamp with time zone, to_time timestamp with time zone, time_zone text', 'f', 'record', 's', 's'),
    ('credits_total_usage', 'by text, from_time timestamp with time zone, to_time timestamp with time zone, time_zone text, top integer', 'f', 'record', 's', 'r'),
    ('credits_metrics', 'all_accounts boolean', 'f', 'record', 's', 'r'),
    ('credits_stat', '', 'f', 'record', 's', 'r'),
    ('credits_stat_calls', '', 'f', 'record', 's', 'r'),
    ('credits_stat_reset', '', 'f', 'void', 'v', 'u'),
    ('credits_take_events', 'max_events integer, kinds text[]', 'f', 'record', 'v', 'u'),
    ('credits_current_user_id', '', 'f', 'text', 's', 's'),
    ('credits_my_balance', '', 'f', 'jsonb', 's', 's'),
    ('credits_my_history', 'before_seq bigint, page_size integer, kinds text[]', 'f', 'record', 's', 's'),
    ('credits_my_usage', 'by text, from_time timestamp with time zone, to_time timestamp with time zone, time_zone text', 'f', 'record', 's', 's'),
    ('credits_my_explain', '', 'f', 'jsonb', 's', 's'),
    ('credits_reset_due', 'batch_size integer, dry_run boolean', 'f', 'jsonb', 'v', 'u'),
    ('credits_run_reset', 'batch_size integer, max_accounts bigint, dry_run boolean, report jsonb', 'p', NULL, 'v', 'u'),
    ('credits_schedule_reset', 'schedule text', 'f', 'jsonb', 'v', 'u'),
    ('credits_unschedule_reset', '', 'f', 'jsonb', 'v', 'u'),
    ('credits_verify', '', 'f', 'record', 'v', 'u'),
    ('credits_run_verify', 'sample double precision, slice_size integer, report jsonb', 'p', NULL, 'v', 'u'),
    ('credits_anchor', '', 'f', 'jsonb', 'v', 'u'),
    ('credits_verify_anchor', 'anchor text', 'f', 'record', 's', 'r'),
    ('credits_verify_account', 'user_id text', 'f', 'record', 's', 's'),
    ('credits_grant_role', 'role_name text, preset text', 'f', 'jsonb', 'v', 'u'),
    ('credits_revoke_role', 'role_name text, preset text', 'f', 'jsonb', 'v', 'u'),
    ('credits_roles', '', 'f', 'record', 's', 'r'),
    ('credits_dump_customizations', 'section text', 'f', 'text', 's', 'u'),
    ('credits_repair_guards', '', 'f', 'jsonb', 'v', 'u');

CREATE TEMP VIEW member AS
    SELECT d.classid, d.objid
      FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e';
CREATE TEMP VIEW fn AS
    SELECT p.*, (SELECT string_agg(concat_ws(' ', coalesce(p.proargnames[n], ''), format_type(t, NULL)), ', ' ORDER BY n)
                   FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a(t, n)) AS args
      FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;

SELECT plan((SELECT 4 * count(*) FROM want_column)::int + (SELECT 4 * count(*) FROM want_key)::int
            + (SELECT 6 * count(*) FROM want_function)::int + 26);

-- Tables.
SELECT bag_eq($$SELECT relname FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid WHERE relkind = 'r'$$,
              $$SELECT tab FROM want_key$$, 'the tables are those');
SELECT columns_are('ledger', tab, array_agg(col), tab || ' has these columns') FROM want_column GROUP BY tab ORDER BY tab;
SELECT has_column('ledger', tab, col, format('%s.%s exists', tab, col)) FROM want_column ORDER BY no;
SELECT col_type_is('ledger', tab, col, type, format('%s.%s is %s', tab, col, type)) FROM want_column ORDER BY no;
SELECT CASE WHEN not_null THEN col_not_null('ledger', tab, col, format('%s.%s is NOT NULL', tab, col))
            ELSE col_is_null('ledger', tab, col, format('%s.%s can be NULL', tab, col)) END
  FROM want_column ORDER BY no;
SELECT is(a.attcollation = 950, w.collate_c, format('%s.%s: COLLATE "C" %s', tab, col, w.collate_c))
  FROM want_column w JOIN pg_attribute a ON a.attrelid = ('ledger.' || tab)::regclass AND a.attname = col ORDER BY no;
SELECT col_is_pk('ledger', tab, cols, tab || ' has its primary key') FROM want_key;
SELECT is(tgenabled::text || ' ' || pg_get_triggerdef(g.oid),
          format('A CREATE TRIGGER credits_guard BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.%s FOR EACH STATEMENT EXECUTE FUNCTION ledger.credits_guard()', tab),
          tab || ' is guarded, ALWAYS')
  FROM want_key LEFT JOIN pg_trigger g ON g.tgrelid = ('ledger.' || tab)::regclass AND g.tgname = 'credits_guard';
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgrelid = ('ledger.' || tab)::regclass AND tgname <> 'credits_guard'), 0::bigint,
          tab || ' has no other trigger')
  FROM want_key;
SELECT is_empty($$SELECT conname FROM pg_constraint c JOIN member m ON m.objid = c.conrelid AND m.classid = 'pg_class'::regclass WHERE contype = 'f'$$,
                'there are no foreign keys');
SELECT is_empty($$SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'S'$$, 'there are no sequences');
SELECT is_empty($$SELECT adrelid::regclass, adnum FROM pg_attrdef JOIN member ON objid = adrelid$$, 'no column has a default: one writer fills them all');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c JOIN member m ON m.objid = c.oid WHERE c.relrowsecurity OR c.relpersistence <> 'p'$$,
                'the tables are permanent, without row security');
SELECT is_empty($$SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                   WHERE i.indrelid = 'ledger.credit_account'::regclass AND a.attname NOT IN ('user_id', 'next_event_at', 'next_reset_at', 'flags')$$,
                'no index is on a column that each deduction changes; flags change where a level is crossed');
SELECT ok((SELECT reloptions::text ~ 'fillfactor=[1-9][0-9]\y' FROM pg_class WHERE oid = 'ledger.credit_account'::regclass),
          'credit_account leaves room for HOT updates');
SELECT has_view('ledger', 'credit_balance', 'there is a view of what everybody has');
SELECT columns_are('ledger', 'credit_balance', '{user_id,monthly,granted,purchased,available,held,owed,plan,plan_version,status,period_start,next_reset_at,low,seq,owed_monthly,as_of,valid_until}',
                   'credit_balance has these columns');
SELECT has_view('ledger', 'credit_usage_daily', 'there is a view of what everybody spends');
SELECT columns_are('ledger', 'credit_usage_daily', '{user_id,day,spender,operations,spent,monthly_spent,granted_spent,purchased_spent,refunded,purchased,granted}',
                   'credit_usage_daily has these columns');
SELECT has_view('ledger', 'credit_open_hold', 'there is a view of the holds that have not ended');
SELECT columns_are('ledger', 'credit_open_hold', '{user_id,seq,amount,held,ends_at,created_at,reason,spender}', 'credit_open_hold has these columns');
SELECT has_view('ledger', 'credit_open_grant', 'there is a view of the grants that have not ended');
SELECT columns_are('ledger', 'credit_open_grant', '{user_id,seq,amount,remaining,ends_at,paid,created_at,reason}', 'credit_open_grant has these columns');
SELECT has_view('ledger', 'pg_stat_credits', 'there is a view of what was committed');
SELECT columns_are('ledger', 'pg_stat_credits', '{datid,datname,history_rows,spent_monthly,spent_granted,spent_purchased,refunded,issued_plan,issued_grant,issued_purchase,issued_adjust,issued_import,revoked,expired,forfeited,waits,wait_time,turns,notifications,resyncs,changes_coalesced,changes_lost,stats_reset}',
                   'pg_stat_credits has these columns');
SELECT has_view('ledger', 'pg_stat_credits_calls', 'there is a view of the calls');
SELECT columns_are('ledger', 'pg_stat_credits_calls', '{datid,datname,call,result,calls,total_time,histogram}', 'pg_stat_credits_calls has these columns');

-- Functions.
SELECT has_function('ledger', name, name || ' exists') FROM want_function WHERE kind = 'f';
SELECT has_function('ledger', name, name || ' exists') FROM want_function WHERE kind = 'p';
SELECT is((SELECT args FROM fn WHERE proname = name AND prokind = kind), nullif(args, ''), name || ' takes these arguments') FROM want_function;
SELECT is((SELECT format_type(prorettype, NULL) FROM fn WHERE proname = name), coalesce(result, 'record'), name || ' returns its kind') FROM want_function WHERE kind = 'f';
SELECT is((SELECT proallargtypes[cardinality(proallargtypes)] = 'jsonb'::regtype AND proargmodes[cardinality(proargmodes)] = 'b' FROM fn WHERE proname = name), true,
          name || ' has its report INOUT') FROM want_function WHERE kind = 'p';
SELECT is((SELECT provolatile FROM fn WHERE proname = name), volatility, name || ' has its volatility') FROM want_function;
SELECT is((SELECT proparallel FROM fn WHERE proname = name), coalesce(parallel, (SELECT proparallel FROM fn WHERE proname = name AND proparallel <> 'u')),
          name || ' is as parallel as it may be') FROM want_function;
-- from the user's id on everything without a default must be given
SELECT ok((SELECT bool_and(p.provariadic = 0 AND NOT p.prosecdef AND p.proconfig IS NULL) FROM fn p WHERE proname = name),
          name || ' is SECURITY INVOKER without settings') FROM want_function;
SELECT is_empty($$SELECT proname FROM fn GROUP BY 1 HAVING count(*) > 1$$, 'no name is overloaded');
SELECT is_empty($$SELECT proname FROM fn WHERE prosecdef AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)$$,
                'a SECURITY DEFINER function pins its search_path');
SELECT is_empty($$SELECT proname FROM fn WHERE provolatile = 'v' AND proparallel <> 'u'$$, 'what may write is never parallel');
SELECT is_empty($$SELECT proname FROM fn WHERE NOT proretset AND provolatile = 'v' AND prokind = 'f' AND prorettype NOT IN ('jsonb'::regtype, 'trigger'::regtype, 'event_trigger'::regtype) AND proname <> 'credits_stat_reset'$$,
                'what may write returns one jsonb');

-- Comments and the dump.
SELECT is_empty($$SELECT pg_describe_object(classid, objid, 0) FROM member
                   WHERE classid IN ('pg_class'::regclass, 'pg_proc'::regclass)
                     AND obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)) IS NULL$$, 'every object has a comment');
SELECT is_empty($$SELECT proname FROM fn WHERE proname NOT IN ('credits_guard', 'credits_drop_guard') AND provolatile = 'v' AND obj_description(oid, 'pg_proc') !~ 'rrors|0A000|Owner only'$$,
                'what may write says which errors it raises');
SELECT bag_eq($$SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'credits'$$, $$SELECT 'ledger.' || tab FROM want_key UNION ALL SELECT 'ledger.credit_history_archive'$$,
              'every table goes to the dump');

SELECT * FROM finish();
ROLLBACK;
