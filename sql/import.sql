-- Importing accounts from another application's tables.
SET client_min_messages = error;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
CREATE FUNCTION pg_temp.said(r jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', r->>'accounts', 'already', r->>'already', 'skipped', r->>'skipped', 'failures', r->>'failures',
                     'history', r->>'history_rows', 'source', r->>'source_credits', 'due', r->>'due_credits',
                     'target', r->>'target_credits', 'difference', r->>'difference',
                     CASE WHEN r->'in_use' <> '[]' THEN r->>'in_use' END, CASE WHEN (r->>'more')::bool THEN 'more' END)
$$;
CREATE FUNCTION pg_temp.have() RETURNS TABLE (user_id text, monthly int8, purchased int8, plan text, v int4, period_granted int8, period text, next_reset_at text, anchor timestamp, zone text)
LANGUAGE sql AS $$
    SELECT a.user_id, a.monthly, a.purchased, a.plan, a.plan_version, a.period_granted, a.last_monthly_reset::text, a.next_reset_at::text, a.cycle_anchor, a.time_zone
      FROM credit_account a ORDER BY 1
$$;
SET credits.clock = '2026-01-20 12:00:00+00';
SELECT count(credits_define_plan(p, n, c, r)) FROM (VALUES ('free', 100, 'calendar', 0), ('pro', 300, 'anniversary', 0), ('carry', 50, 'calendar', 20)) v (p, n, c, r);

-- The application's tables.
CREATE TABLE app (id text, plan text, monthly int, purchased int8, last_reset timestamptz, cycle_anchor timestamp, time_zone text);
CREATE TABLE app_history (id int, user_id text, created_at timestamptz, amount int8, reason text, metadata jsonb);
INSERT INTO app VALUES
    -- in its period: as it is there
    ('a', 'free', 40, 7, '2026-01-01 00:00Z', NULL, NULL),
    -- reset there on 8 December: on 1 January 100 became due, and the 40 went
    ('b', 'free', 40, 0, '2025-12-08 10:00Z', NULL, NULL),
    -- asleep since 3 October, rollover 20: 1 November 20 + 50, 1 December 20 + 50, 1 January 20 + 50
    ('c', 'carry', 30, 0, '2025-10-03 00:00Z', NULL, NULL),
    -- anniversaries, of the last reset and of an anchor of its own
    ('d', 'pro', 300, 0, '2026-01-05 08:30Z', NULL, NULL),
    ('e', 'pro', 1, 0, '2026-01-05 08:30Z', '2025-06-18 09:00', 'Europe/Berlin'),
    -- no plan; no last reset; nothing at all
    ('f', NULL, 0, 55, '2025-01-01 00:00Z', NULL, NULL),
    ('g', 'free', 12, NULL, NULL, NULL, 'Asia/Tokyo'),
    ('h', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO app_history VALUES
    (3, 'a', '2026-01-03 00:00Z', -50, 'image', '{"model": "x"}'), (1, 'a', '2026-01-01 00:00Z', 100, 'reset', NULL),
    (2, 'a', '2026-01-03 00:00Z', -10, NULL, NULL), (9, 'nobody', '2026-01-03 00:00Z', -10, NULL, NULL),
    (4, 'f', '2025-01-01 00:00Z', 60, 'bought', NULL), (5, 'f', '2026-01-19 00:00Z', -5, NULL, NULL);
\set source 'SELECT id AS user_id, plan, monthly, purchased, last_reset, cycle_anchor, time_zone FROM app -- all of them'
\set history 'SELECT user_id, created_at, id, amount, reason, metadata FROM app_history'

-- A dry run, then four, then the others: b is due +60, c +40.
SELECT t.fingerprint() || (SELECT count(*) FROM credit_reset_run) AS before \gset
CALL credits_import(:'source', :'history', dry_run => true) \gset
SELECT pg_temp.said(:'report');
SELECT t.fingerprint() || (SELECT count(*) FROM credit_reset_run) = :'before' AS nothing_written;
CALL credits_import(:'source', :'history', reason => 'ticket 8', max_accounts => 4, batch_size => 3) \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'state' AS state;
CALL credits_import(:'source', :'history') \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'run_id' AS run \gset
SELECT :'said' AS said;
SELECT * FROM pg_temp.have();
SELECT h.user_id, h.seq, h.kind, h.amount, h.monthly, h.purchased, h.reason, h.metadata, h.created_at, h.effective_at, h.idempotency_key
  FROM credit_history h WHERE user_id IN ('a', 'f', 'h') ORDER BY 1, 2;
SELECT kind, state, accounts, credits_granted FROM credit_reset_run ORDER BY accounts;
SELECT action, after -> 'difference' AS difference FROM credit_audit_log WHERE action = 'import' ORDER BY seq;
SELECT * FROM credits_verify();
-- again: nothing
SELECT t.fingerprint() AS before \gset
CALL credits_import(:'source', :'history', dry_run => true) \gset
SELECT pg_temp.said(:'report'), t.fingerprint() = :'before' AS nothing_written;
-- the period's allowance has been granted: coming back to the plan grants what is spent of it no second time
SELECT t.short(credits_set_plan('a', NULL)), t.short(credits_set_plan('a', 'free'));
-- the next reset
SET credits.clock = '2026-02-01 00:00:00+00';
SELECT user_id, monthly, purchased FROM credit_balance WHERE user_id < 'h' ORDER BY 1;

-- The source goes on changing.  Without refresh what is here stays; with it, who did nothing here since is
-- imported anew, with the history since; a has used its account (see above), and is named.
SET credits.clock = '2026-01-25 00:00:00+00';
UPDATE app SET monthly = 35 WHERE id IN ('a', 'b');
UPDATE app SET purchased = 50 WHERE id = 'f';
INSERT INTO app_history VALUES (10, 'f', '2026-01-24 00:00Z', -5, 'image', NULL);
CALL credits_import(:'source', :'history') \gset
SELECT pg_temp.said(:'report');
CALL credits_import(:'source', :'history', refresh => true) \gset
SELECT pg_temp.said(:'report');
SELECT seq, kind, ref, amount, delta, balance, at FROM t.moves('f');
SELECT user_id, monthly, purchased FROM credit_account WHERE user_id IN ('a', 'b', 'f') ORDER BY 1;
-- it goes back to what it was at first
UPDATE app SET purchased = 55 WHERE id = 'f';
CALL credits_import(:'source', :'history', refresh => true) \gset
SELECT pg_temp.said(:'report'), purchased FROM credit_account WHERE user_id = 'f';
CALL credits_import(:'source', :'history', refresh => true) \gset
SELECT pg_temp.said(:'report');
-- a reset does not count as use
SET credits.clock = '2026-02-02 00:00:00+00';
CALL credits_run_reset() \gset
UPDATE app SET monthly = 99, last_reset = '2026-02-01 00:00Z' WHERE id = 'b';
UPDATE app SET monthly = 98, last_reset = '2026-02-01 00:00Z' WHERE id = 'g';
UPDATE app SET monthly = 60, last_reset = '2026-02-01 00:00Z' WHERE id = 'c'; -- here 20 rolled over
CALL credits_import(:'source', refresh => true) \gset
SELECT pg_temp.said(:'report');
SELECT user_id, monthly, period_granted, last_monthly_reset, next_reset_at FROM credit_account WHERE user_id IN ('b', 'g') ORDER BY 1;
SELECT * FROM credits_verify();

-- Who has spent all of what was imported is not given it again.
SELECT t.short(credits_deduct('f', 55));
CALL credits_import(:'source') \gset
SELECT pg_temp.said(:'report');
UPDATE app SET purchased = 54 WHERE id = 'f';
CALL credits_import(:'source', refresh => true) \gset
SELECT pg_temp.said(:'report');
SELECT purchased FROM credit_account WHERE user_id = 'f';

-- Undone, run by run: nothing remains but what was bought here; what rolled over since goes, too (c).  f owes
-- what it has spent.
SELECT t.short(credits_add_purchased('d', 5, 'pay_1'));
DO $$
DECLARE run uuid; r jsonb;
BEGIN
    FOR run IN SELECT run_id FROM credit_reset_run WHERE kind = 'import' ORDER BY run_id LOOP
        CALL credits_undo_run(run, report => r);
    END LOOP;
END $$;
SELECT sum(accounts) AS accounts, sum(credits_expired) AS expired FROM credit_reset_run WHERE kind = 'undo';
SELECT user_id, monthly, purchased, owed_monthly + owed_purchased AS owed, plan, next_reset_at FROM credit_account ORDER BY 1;
SELECT * FROM credits_verify();
-- and imported again, but for d, which has credits; f pays first what it owes
CALL credits_import(:'source', :'history') \gset
SELECT pg_temp.said(:'report');
CALL credits_import(:'source', :'history') \gset
SELECT pg_temp.said(:'report');
SELECT user_id, monthly, purchased, owed_purchased AS owed FROM credit_account ORDER BY 1;
SELECT user_id, count(*) FROM credit_history WHERE kind = 'imported' GROUP BY 1 ORDER BY 1;
SELECT * FROM credits_verify();

-- An anchor that is a timestamptz is an instant, shown by the account's clock.
CALL credits_import($$SELECT 'at_anchor' AS user_id, 'pro' AS plan, timestamptz '2026-01-05 08:30Z' AS last_reset, timestamptz '2025-06-18 09:00+02' AS cycle_anchor, 'America/New_York' AS time_zone$$) \gset
SELECT pg_temp.said(:'report');
SELECT cycle_anchor, next_reset_at FROM credit_account WHERE user_id = 'at_anchor';
SELECT sqlstate, message FROM t.refused($$CALL credits_import($i$SELECT 'at_anchor2' AS user_id, '2025-06-18 09:00+02' AS cycle_anchor$i$)$$);
CALL credits_import($$SELECT 'at_anchor3' AS user_id, timestamptz 'infinity' AS cycle_anchor$$) \gset
SELECT failed -> 0 ->> 'sqlstate' AS sqlstate FROM credit_reset_run WHERE run_id = (:'report'::jsonb ->> 'run_id')::uuid;

-- Bad accounts are failures, each alone, and the others are imported.
INSERT INTO app (id, plan, monthly, purchased, last_reset, time_zone) VALUES
    ('x1', 'none', 1, 1, NULL, NULL), ('x2', 'free', -1, 1, NULL, NULL), ('x3', 'free', 1, 9007199254740992, NULL, NULL),
    ('x4', 'free', 1, 1, '2026-03-01', NULL), ('x5', 'free', 1, 1, 'infinity', NULL), ('x6', 'free', 1, 1, NULL, 'Mars/Base'),
    ('x7', 'free', 1, 9007199254740991, NULL, NULL), (repeat('x', 256), 'free', 1, 1, NULL, NULL), ('', 'free', 1, 1, NULL, NULL),
    ('y', 'free', 1, 1, NULL, NULL);
INSERT INTO app (id, cycle_anchor) VALUES ('x8', 'infinity'), ('x9', '20000-01-01');
INSERT INTO app_history (id, user_id, created_at, amount) VALUES
    (20, 'z', NULL, 1), (21, 'z2', 'infinity', 1), (22, 'z3', '2026-01-01 00:00Z', 9007199254740992),
    (23, 'z4', '2026-01-01 00:00Z', -9007199254740992);
INSERT INTO app (id) VALUES ('z'), ('z2'), ('z3'), ('z4');
CALL credits_import(:'source', :'history') \gset
SELECT pg_temp.said(:'report');
SELECT left(f ->> 'user_id', 5) AS user_id, f ->> 'sqlstate' AS sqlstate, f ->> 'message' AS message
  FROM jsonb_array_elements(:'report'::jsonb -> 'failed') f ORDER BY 1;
DELETE FROM app WHERE id LIKE 'x%' OR id LIKE 'z%' OR id = '';
-- Bad sources end the run: a user without a name, or twice; wrong types; what is no single query, or writes.
CREATE FUNCTION pg_temp.refused(source text, history text DEFAULT NULL, OUT sqlstate text, OUT message text) LANGUAGE sql AS $$
    SELECT r.sqlstate, r.message FROM t.refused(format('CALL credits_import(%L, %L)', source, history)) r
$$;
SELECT r.* FROM (VALUES
    (1, NULL, NULL), (2, 'SELECT NULL::text AS user_id', NULL), (3, 'SELECT ''a''::text AS user_id FROM generate_series(1, 2)', NULL),
    (4, 'SELECT 1 AS user_id', NULL), (5, 'SELECT 1 AS id', NULL), (6, 'SELECT ''q''::varchar AS user_id', NULL),
    (7, 'SELECT ''q''::text AS user_id, 1::numeric AS monthly', NULL), (8, 'SELECT ''q''::text AS user_id, ''2026-01-01''::timestamp AS last_reset', NULL),
    (9, 'SELECT ''q''::text AS user_id; DROP TABLE app', NULL), (10, 'SELECT ''q''::text AS user_id) s; DROP TABLE app --', NULL),
    (11, 'WITH w AS (DELETE FROM app RETURNING id) SELECT id AS user_id FROM w', NULL), (12, 'DELETE FROM app', NULL), (13, '', NULL),
    (14, 'SELECT ''q''::text AS user_id', 'SELECT ''q''::text AS user_id'),
    (15, 'SELECT ''q''::text AS user_id', 'SELECT NULL::text AS user_id, now() AS created_at, 1 AS id'),
    (16, 'SELECT ''q''::text AS user_id', 'SELECT ''q''::text AS user_id, now()::timestamp AS created_at, 1 AS id')) v (n, source, history),
    pg_temp.refused(source, history) r ORDER BY n;
SELECT count(*) AS app FROM app;
-- an ORDER BY of its own, and names on the search_path, change nothing
CREATE COLLATION public."C" (provider = icu, locale = 'de');
CALL credits_import('SELECT * FROM (VALUES (''Z2'', 2), (''a2'', 1), (''A2'', 3)) v (user_id, purchased) ORDER BY 2', 'SELECT ''Z2''::text AS user_id, now() AS created_at, 1 AS id') \gset
SELECT pg_temp.said(:'report');
DROP COLLATION public."C";

-- The query runs as the caller, who sees what they may see, and needs no right on the ledger's tables.
CREATE ROLE regress_importer;
SELECT credits_grant_role('regress_importer', 'admin') -> 'ok' AS ok;
SET ROLE regress_importer;
SELECT pg_temp.refused('SELECT id AS user_id FROM app');
SELECT pg_temp.refused('SELECT user_id FROM credit_account');
RESET ROLE;
GRANT SELECT ON app TO regress_importer;
ALTER TABLE app ENABLE ROW LEVEL SECURITY;
CREATE POLICY one ON app USING (id = 'rls');
INSERT INTO app (id, purchased) VALUES ('rls', 3);
SET ROLE regress_importer;
CALL credits_import('SELECT id AS user_id, purchased FROM app') \gset
SELECT pg_temp.said(:'report');
RESET ROLE;
SELECT user_id, actor FROM credit_history WHERE user_id = 'rls';
-- undo reads the ledger as its owner, and writes as the caller
SELECT :'report'::jsonb ->> 'run_id' AS run \gset
SET ROLE regress_importer;
CALL credits_undo_run(:'run') \gset
SELECT :'report'::jsonb -> 'accounts' AS accounts;
RESET ROLE;
SELECT kind, actor FROM credit_history WHERE user_id = 'rls' ORDER BY seq;

-- An imported account is open: opening it again is a replay if it says the same.
SELECT credits_open_account('y', 'free') -> 'replayed' AS replayed, t.sqlstate($$SELECT credits_open_account('y', 'pro')$$);

-- Tampering.
SELECT * FROM credits_verify();
BEGIN;
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET amount = 99 WHERE user_id = 'a' AND kind = 'imported' AND seq = 2;
UPDATE credit_history SET purchased_delta = purchased_delta + 1 WHERE user_id = 'f' AND kind = 'import';
UPDATE credit_history SET reason = 'something else' WHERE user_id = 'c' AND reason = 'ticket 8';
ALTER TABLE credit_history ENABLE ALWAYS TRIGGER credits_guard;
SELECT bad_user_id, bad_seq, problem FROM credits_verify();
ROLLBACK;

-- What was imported and spent is not imported a second time when the row that says so has been archived.
\set once 'SELECT ''spent''::text AS user_id, 9 AS purchased'
CALL credits_import(:'once') \gset
SELECT credits_deduct('spent', 5) ->> 'seq' AS second, credits_deduct('spent', 4) ->> 'seq' AS third;
SELECT credits_anchor() -> 'ok' AS ok;
SET credits.clock = '2026-03-25 00:00:00+00';
CALL credits_archive('2026-03-01') \gset
SELECT kind FROM credit_history WHERE user_id = 'spent' ORDER BY seq;
CALL credits_import(:'once') \gset
SELECT pg_temp.said(:'report'), credits_balance('spent') -> 'available' AS available;
CALL credits_import(:'once', refresh => true) \gset
SELECT pg_temp.said(:'report'), credits_balance('spent') -> 'available' AS available;
SELECT * FROM credits_verify();
-- In a later period, what rolled over goes with the import, but not what adjustments brought: of 30 + 8 - 20 and
-- of 30 + 8 there stay 8, of 2 + 8 - 9 there stays 1.  What comes back late then is as if it had come before.
CALL credits_import($$SELECT u AS user_id, 'carry' AS plan, m AS monthly FROM (VALUES ('kept1', 30), ('kept2', 30), ('kept3', 2), ('kept4', 30)) v (u, m)$$) \gset
SELECT :'report'::jsonb ->> 'run_id' AS run \gset
SELECT count(credits_adjust(u, 'monthly', 8, 'kind')), count(credits_deduct(u, d)) FROM (VALUES ('kept1', 20), ('kept3', 9), ('kept4', 35)) v (u, d);
SELECT t.short(credits_adjust('kept2', 'monthly', 8, 'kind'));
SET credits.clock = '2026-04-02 00:00:00+00';
SELECT u, t.short(credits_adjust(u, 'monthly', 1, 'in the period of the undo')) FROM unnest('{kept1,kept2,kept3,kept4}'::text[]) u;
SELECT t.short(credits_adjust('kept2', 'monthly', -1, 'not that one'));
CALL credits_undo_run(:'run') \gset
SELECT user_id, monthly, owed_monthly, last_left, last_limit FROM credit_account WHERE user_id LIKE 'kept_' ORDER BY 1;
SELECT t.short(credits_refund('kept4', 3));
SELECT * FROM credits_verify();
SET credits.clock = '2026-05-02 00:00:00+00';
SELECT count(credits_unfreeze(u)) FROM unnest('{kept1,kept2,kept3,kept4}'::text[]) u;
SELECT credits_anchor() -> 'ok' AS ok;
SET credits.clock = '2026-12-10 00:00:00+00';
SET credits.key_retention = '10d';
CALL credits_archive('2026-05-01') \gset
SELECT count(*) FROM credit_history_archive WHERE user_id LIKE 'kept_' AND kind = 'undo';
SELECT * FROM credits_verify();
DROP EXTENSION credits;
DROP OWNED BY regress_importer;
DROP ROLE regress_importer;
DROP TABLE app, app_history;
