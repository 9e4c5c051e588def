-- Granting to many at once.
SET client_min_messages = error;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
CREATE FUNCTION pg_temp.said(r jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', r->>'accounts', '+' || (r->>'credits_granted'),
                     'already', r->>'already', 'failures', r->>'failures', CASE WHEN (r->>'more')::bool THEN 'more' END)
$$;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT count(credits_open_account(u)) FROM unnest('{a,b,c,d,e}'::text[]) u;
SELECT credits_freeze('d') ->> 'status' AS d;

-- Arguments: the whole call, before anything is done.
SELECT t.fingerprint() AS before \gset
SELECT call, t.sqlstate('CALL credits_grant_many(' || call || ')') FROM (VALUES
    ($$NULL, '{1}', '2026-02-01'$$), ($$'{a}', NULL, '2026-02-01'$$), ($$'{a}', '{1}', NULL$$),
    ($$'{a,b}', '{1}', '2026-02-01'$$), ($$'{{a},{b}}', '{1,2}', '2026-02-01'$$), ($$'{a,b}', '{{1},{2}}', '2026-02-01'$$),
    ($$'{a,NULL}', '{1,1}', '2026-02-01'$$), ($$'{a,b}', '{1,NULL}', '2026-02-01'$$),
    ($$'{a,a}', '{1,NULL}', '2026-02-01'$$), ($$'{a,a}', '{10,-5}', '2026-02-01'$$), ($$'{a}', '{0}', '2026-02-01'$$),
    ($$'{a}', '{9007199254740992}', '2026-02-01'$$), ($$'{a,""}', '{1,1}', '2026-02-01'$$),
    ($$ARRAY['a', repeat('x', 256)], '{1,1}', '2026-02-01'$$), ($$'{a}', '{1}', 'infinity'$$),
    ($$'{a}', '{1}', '2026-02-01', idempotency_key => ''$$), ($$'{a}', '{1}', '2026-02-01', max_accounts => 0$$)) v (call);
SELECT t.fingerprint() = :'before' AS nothing_done, count(*) FROM credit_reset_run;

-- A user that comes twice gets the sum, in one row; a frozen account is granted to as well; an
-- account that there is not, or that would pass its cap, or a time that has passed, is a failure.
SELECT credits_add_purchased('e', 9007199254740990, 'much') ->> 'seq' AS e;
CALL credits_grant_many('{c,a,nobody,a,d,e}', '{3,1,4,9,5,2}', '2026-02-01', 'promo') \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'run_id' AS run \gset
SELECT :'said' AS said;
SELECT user_id, seq, kind, amount, granted, reason, ends_at FROM credit_history WHERE run_id = :'run' ORDER BY user_id;
SELECT kind, state, accounts, credits_granted, failures, jsonb_pretty(failed) AS failed FROM credit_reset_run WHERE run_id = :'run';
SELECT action, subject = :'run' AS subject, after -> 'accounts' AS accounts FROM credit_audit_log ORDER BY seq DESC LIMIT 1;
CALL credits_grant_many('{a,b}', '{1,1}', '2026-01-10') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM credits_verify();

-- With a key, once per user and key: a run that is started again does what is left.
CALL credits_grant_many('{a,b,c}', '{7,7,7}', '2026-03-01', idempotency_key => 'march', max_accounts => 2) \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'state' AS state;
CALL credits_grant_many('{a,b,c}', '{7,7,7}', '2026-03-01', idempotency_key => 'march', max_accounts => 2) \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'state' AS state;
CALL credits_grant_many('{a,b,c}', '{7,7,7}', '2026-03-01', idempotency_key => 'march') \gset
SELECT pg_temp.said(:'report');
-- another amount or end under that key is a conflict, each user's own
CALL credits_grant_many('{a,b,d}', '{7,8,7}', '2026-03-01', idempotency_key => 'march') \gset
SELECT pg_temp.said(:'report'), failed -> 0 ->> 'sqlstate' AS failed FROM credit_reset_run WHERE run_id = (:'report'::jsonb ->> 'run_id')::uuid;
-- it is the key of credits_grant, too
SELECT credits_grant('a', 7, '2026-03-01', idempotency_key => 'march') -> 'replayed' AS replayed,
       t.sqlstate($$SELECT credits_deduct('a', 7, idempotency_key => 'march')$$);

-- A dry run; a failure in it is reported.
SELECT t.fingerprint() || (SELECT count(*) FROM credit_reset_run) AS before \gset
CALL credits_grant_many('{a,b,nobody}', '{7,8,9}', '2026-03-01', dry_run => true) \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ? 'run_id' AS has_id;
SELECT t.fingerprint() || (SELECT count(*) FROM credit_reset_run) = :'before' AS nothing_written;

-- Batches of one: each is a transaction.
CALL credits_grant_many('{c,b,a}', '{1,1,1}', '2026-03-01', batch_size => 1) \gset
SELECT count(DISTINCT xmin::text) AS transactions FROM credit_history WHERE run_id = (:'report'::jsonb ->> 'run_id')::uuid;
-- in a transaction block all is the caller's
BEGIN;
CALL credits_grant_many('{a,b}', '{100,100}', '2026-03-01', batch_size => 1) \gset
SELECT pg_temp.said(:'report');
ROLLBACK;
-- and so it is in a function; in a DO block outside of one it commits
CREATE FUNCTION pg_temp.call() RETURNS text LANGUAGE plpgsql AS $$
DECLARE r jsonb;
BEGIN
    CALL credits_grant_many('{a,b}', '{100,100}', '2026-03-01', report => r);
    RETURN pg_temp.said(r);
END $$;
BEGIN;
SELECT pg_temp.call();
ROLLBACK;
DO $$
DECLARE r jsonb;
BEGIN
    CALL credits_grant_many('{a,b}', '{1000,1000}', '2026-03-01', batch_size => 1, report => r);
    ROLLBACK;
END $$;
SELECT user_id, granted FROM credit_account ORDER BY 1;

-- A total that has no room is the most there is room for, and no other number.
SELECT count(credits_open_account('max' || n)) FROM generate_series(1, 1025) n;
DO $$ DECLARE
    users text[] := ARRAY(SELECT 'max' || n FROM generate_series(1, 1025) n);
    r     jsonb;
BEGIN
    CALL credits_grant_many(users, array_fill(9007199254740991, ARRAY[1025]), '2026-03-01', report => r);
    PERFORM set_config('test.granted', r ->> 'credits_granted', false);
END $$;
SELECT current_setting('test.granted') AS credits_granted;
-- The default plan opens accounts, as in any call.
SET credits.default_plan = 'free';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
CALL credits_grant_many('{new}', '{1}', '2026-03-01') \gset
SELECT pg_temp.said(:'report');
SELECT kind, amount FROM credit_history WHERE user_id = 'new' ORDER BY seq;
-- but not for what has nothing to do on a new account
SELECT t.sqlstate($$SELECT credits_repair_clock('newer')$$) AS repair_clock;
SELECT * FROM credits_verify();
DROP EXTENSION credits;
