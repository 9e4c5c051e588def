-- Sweeping: credits_reset_due in a transaction, credits_run_reset over all.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT count(credits_open_account('u' || n, 'free')) AS opened FROM generate_series(1, 5) n;
SELECT count(credits_deduct('u' || n, n)) AS deducted FROM generate_series(1, 5) n;
SELECT credits_add_purchased('noplan', 5, 'pay_1') ->> 'available' AS available;

-- Nothing is due before the boundary.
SET credits.clock = '2026-01-31 23:59:59.999999+00';
SELECT r->'accounts' AS accounts, r->'more' AS more FROM credits_reset_due() r;

-- A dry run counts, and does nothing: 5 accounts of 10, with 9+8+7+6+5 left.
SET credits.clock = '2026-02-01 00:00:00+00';
SELECT t.fingerprint() AS before \gset
SELECT r - 'run_id' AS report FROM credits_reset_due(dry_run => true) r;
CALL credits_run_reset(dry_run => true) \gset
SELECT :'report'::jsonb - 'run_id' AS report;
SELECT t.fingerprint() = :'before' AS nothing_written;
-- reads do not need the sweep
SELECT user_id, monthly, seq FROM credit_balance ORDER BY user_id;

-- Two of the five; the rest remains due.
SELECT credits_reset_due(2) AS report \gset
SELECT :'report'::jsonb - 'run_id' AS report, :'report'::jsonb ->> 'run_id' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-4' AS random_id;
SELECT count(*) AS rows FROM credit_history WHERE run_id = (:'report'::jsonb ->> 'run_id')::uuid;
-- in a transaction that rolls back, nothing remains
BEGIN;
SELECT credits_reset_due() -> 'accounts' AS accounts;
ROLLBACK;
-- the sweep does the others
CALL credits_run_reset() \gset
SELECT :'report'::jsonb - 'run_id' AS report;
SELECT user_id, seq, kind, amount, expired, monthly, run_id IS NOT NULL AS run, effective_at
  FROM credit_history WHERE kind = 'reset' ORDER BY user_id;
-- again, there is nothing to do; nobody was reset twice
SELECT credits_reset_due() - 'run_id' AS report;
CALL credits_run_reset() \gset
SELECT :'report'::jsonb -> 'accounts' AS accounts, :'report'::jsonb -> 'more' AS more;
SELECT count(*) AS resets FROM credit_history WHERE kind = 'reset';

-- Late, in small batches: three boundaries each, the allowance once.
SET credits.clock = '2026-05-03 00:00:00+00';
CALL credits_run_reset(batch_size => 2) \gset
SELECT :'report'::jsonb - 'run_id' AS report;
SELECT user_id, kind, amount, expired, skipped, monthly, effective_at, next_reset_at
  FROM credit_history WHERE kind = 'reset' AND effective_at > '2026-02-01' ORDER BY user_id;

-- A cap: it stops and says so; the next run goes on.
SET credits.clock = '2026-06-03 00:00:00+00';
CALL credits_run_reset(max_accounts => 3) \gset
SELECT :'report'::jsonb - 'run_id' AS report;
SELECT count(*) AS still_due FROM credit_account WHERE next_reset_at <= '2026-06-03';
CALL credits_run_reset() \gset
SELECT :'report'::jsonb - 'run_id' AS report;
SELECT count(*) AS still_due FROM credit_account WHERE next_reset_at <= '2026-06-03';

-- What ran, and what it did.
SELECT started_at, finished_at, kind, state, accounts, credits_granted, credits_expired, failures, actor = session_user AS actor, failed
  FROM credit_reset_run ORDER BY started_at, accounts, state;

-- One account that cannot be written (here by a DBA's constraint) is parked and
-- reported, and keeps nobody else from the reset.
SET credits.clock = '2026-07-03 00:00:00+00';
SELECT credits_deduct('u' || n, 1) ->> 'monthly' AS monthly FROM generate_series(1, 5) n;
ALTER TABLE credit_account ADD CONSTRAINT dba CHECK (user_id <> 'u3' OR monthly < 10);
SET credits.clock = '2026-08-03 00:00:00+00';
CALL credits_run_reset() \gset
-- the caller is told why; the row, which a monitor reads, has no message
SELECT :'report'::jsonb - 'run_id' AS report;
SELECT failures, state, failed
  FROM credit_reset_run WHERE run_id = (:'report'::jsonb ->> 'run_id')::uuid;
SELECT user_id, monthly, next_reset_at FROM credit_account WHERE plan IS NOT NULL ORDER BY user_id;
-- the same when they all come in one batch of the caller's transaction
SET credits.clock = '2026-09-03 00:00:00+00';
SELECT r->'accounts' AS accounts, r->'failures' AS failures FROM credits_reset_due() r;
-- and when every batch has one account
SET credits.clock = '2026-10-03 00:00:00+00';
CALL credits_run_reset(batch_size => 1) \gset
SELECT :'report'::jsonb -> 'accounts' AS accounts, :'report'::jsonb -> 'failures' AS failures;
-- the account's own calls say what is wrong
SELECT sqlstate, message FROM t.refused($$SELECT credits_add_purchased('u3', 1, 'pay_2')$$);
-- mended, the next run catches up
ALTER TABLE credit_account DROP CONSTRAINT dba;
CALL credits_run_reset() \gset
SELECT :'report'::jsonb -> 'accounts' AS accounts, :'report'::jsonb -> 'failures' AS failures;
SELECT kind, amount, expired, skipped, balance, effective_at FROM t.history('u3') ORDER BY seq DESC LIMIT 1;

-- The procedure commits, so not inside a transaction block.
BEGIN;
CALL credits_run_reset();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT sqlstate FROM t.refused('CALL credits_run_reset()');

-- Arguments.
SELECT call, t.sqlstate(call) FROM unnest(ARRAY[
    'SELECT credits_reset_due(0)',                    -- 22023
    'SELECT credits_reset_due(-1)',                   -- 22023
    'SELECT credits_reset_due(NULL, NULL)'            -- as if nothing were said
  ]) call;
\set VERBOSITY sqlstate
CALL credits_run_reset(batch_size => 0);
CALL credits_run_reset(batch_size => -1);
CALL credits_run_reset(max_accounts => 0);
CALL credits_run_reset(max_accounts => -1);
\set VERBOSITY default

-- A clock that ran ahead: the account's time does not go back by itself, and
-- is set back by credits_repair_clock, which grants nothing.
SET credits.clock = '2026-10-10 00:00:00+00';
SELECT credits_open_account('c', 'free') ->> 'monthly' AS monthly;
SET credits.clock = '2028-01-15 00:00:00+00';
SELECT * FROM t.receipt(credits_deduct('c', 4));
SET credits.clock = '2026-10-11 00:00:00+00';
SELECT r->>'monthly' AS monthly, r->>'effective_at' AS effective_at, r->>'created_at' AS created_at FROM credits_deduct('c', 1) r;
SELECT * FROM t.receipt(credits_repair_clock('c', 'NTP was wrong'));
SELECT r->>'monthly' AS monthly, r->>'effective_at' AS effective_at FROM credits_deduct('c', 1) r;
SELECT kind, amount, delta, balance, effective_at, next_reset_at FROM t.history('c');
SET credits.clock = '2026-12-11 00:00:00+00';
SELECT * FROM t.receipt(credits_deduct('c', 1));
SELECT sqlstate, message FROM t.refused($$SELECT credits_repair_clock('c')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_repair_clock('nobody')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_repair_clock(NULL)$$);
SELECT action, subject FROM credit_audit_log WHERE action = 'clock_repair';

-- pg_cron is not in this database: the HINT has the statement to run where it is.
SELECT sqlstate, hint LIKE '%cron.schedule_in_database%credits_run_reset%' AS hint FROM t.refused($$SELECT credits_schedule_reset()$$);
SELECT sqlstate FROM t.refused($$SELECT credits_unschedule_reset()$$);

SELECT * FROM credits_verify();
DROP EXTENSION credits;
