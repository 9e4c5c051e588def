-- Exports what credits-verify.pl reads, in one snapshot, into the directory
-- dir (default: the current one):
--
--   psql -X -v dir=/an/empty/directory -f export.sql mydatabase
--
-- The reader must see every row (the auditor preset, or the owner).  The files
-- are COPY text format with a header line: docs/audit-format.md.
\set ON_ERROR_STOP on
\set QUIET on
\if :{?dir}
\cd :dir
\endif

SET client_encoding = 'UTF8';
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET bytea_output = 'hex';
SET row_security = off;
SET search_path = pg_catalog;
BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;

SELECT n.nspname AS schema
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname = 'credits' \gset

\set columns 'plan, version, effective_from, monthly_credits, rollover_limit, low_balance_threshold, created_at, cycle'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_plan.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_plan ORDER BY plan COLLATE "C", version) TO STDOUT;

\set columns 'user_id, monthly, granted, purchased, held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased, overdraft_limit, period_granted, period, last_monthly_reset, period_share, cycle, last_left, last_limit, last_undone, low_threshold, effective_at, cycle_anchor, history_seq, time_zone, status, history_hash, next_reset_at, next_event_at, plan_version, plan, scheduled_plan, end_anchor, end_zone, end_cycle, closed_seq, forfeited, charged_monthly, charged_purchased, last_charged, last_closed_seq, plan_threshold, level, flags'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_account.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_account ORDER BY user_id COLLATE "C") TO STDOUT;

\set columns 'user_id, seq, kind, created_at, effective_at, period, plan_version, monthly_delta, granted_delta, purchased_delta, monthly, granted, purchased, held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased, allocations, ref_seq, ends_at, next_reset_at, payment_ref, idempotency_key, request_digest, actor, spender, run_id, amount, expired, forfeited, skipped, plan, scheduled_plan, cycle_anchor, time_zone, status, overdraft_limit, period_granted, period_start, period_share, cycle, last_left, last_limit, last_undone, low_threshold, crossed, text_salt, reason, metadata, reason_digest, metadata_digest, hash'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
SELECT regexp_replace(:'columns', '\m(held_\w+|owed_\w+|expired|forfeited)\M', 'coalesce(\1, 0) AS \1', 'g') AS shown \gset
\o credit_history.tsv
\qecho :header
COPY (SELECT :shown FROM ONLY :"schema".credit_history ORDER BY user_id COLLATE "C", seq) TO STDOUT;

\set columns 'user_id, seq, kind, created_at, effective_at, period, plan_version, monthly_delta, granted_delta, purchased_delta, monthly, granted, purchased, held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased, allocations, ref_seq, ends_at, next_reset_at, payment_ref, idempotency_key, request_digest, actor, spender, run_id, amount, expired, forfeited, skipped, plan, scheduled_plan, cycle_anchor, time_zone, status, overdraft_limit, period_granted, period_start, period_share, cycle, last_left, last_limit, last_undone, low_threshold, crossed, text_salt, reason, metadata, reason_digest, metadata_digest, hash'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
SELECT regexp_replace(:'columns', '\m(held_\w+|owed_\w+|expired|forfeited)\M', 'coalesce(\1, 0) AS \1', 'g') AS shown \gset
\o credit_history_archive.tsv
\qecho :header
COPY (SELECT :shown FROM :"schema".credit_history_archive ORDER BY user_id COLLATE "C", seq) TO STDOUT;

\set columns 'user_id, monthly, granted, purchased, held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased, overdraft_limit, period_granted, period, last_monthly_reset, period_share, cycle, last_left, last_limit, last_undone, low_threshold, effective_at, cycle_anchor, history_seq, time_zone, status, history_hash, next_reset_at, next_event_at, plan_version, plan, scheduled_plan, end_anchor, end_zone, end_cycle, closed_seq, forfeited, charged_monthly, charged_purchased, last_charged, last_closed_seq, plan_threshold, level, flags, grants, holds, purchases, payment_refs, archived, opened_seq, opened_digest, opened_plan, opened_anchor, opened_zone'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_checkpoint.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_checkpoint ORDER BY user_id COLLATE "C") TO STDOUT;

\set columns 'user_id, seq, payment_ref, amount, revoked, granted, paid_at, reported'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_payment.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_payment ORDER BY user_id COLLATE "C", seq) TO STDOUT;

\set columns 'user_id, seq, amount, remaining, ends_at, closed, paid, expired, elsewhere'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_grant.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_grant ORDER BY user_id COLLATE "C", seq) TO STDOUT;

\set columns 'user_id, seq, amount, monthly, purchased, period, state, ends_at, allocations, given_back'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_hold.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_hold ORDER BY user_id COLLATE "C", seq) TO STDOUT;

\set columns 'seq, created_at, action, subject, actor, client_addr, application, before, after, hash'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_audit_log.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_audit_log ORDER BY seq) TO STDOUT;

\set columns 'anchor_no, created_at, accounts, changed, audit_seq, audit_hash, root, changed_root, previous_hash, hash'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_anchor.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_anchor ORDER BY anchor_no) TO STDOUT;

\set columns 'anchor_no, seq, user_id, hash'
SELECT replace(:'columns', ', ', E'\t') AS header \gset
\o credit_anchor_leaf.tsv
\qecho :header
COPY (SELECT :columns FROM ONLY :"schema".credit_anchor_leaf ORDER BY user_id COLLATE "C", anchor_no) TO STDOUT;

\o
COMMIT;
