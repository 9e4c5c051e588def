-- Notice before a grant or a hold ends: the events grant_ending and hold_ending, which the sweep writes.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00Z';
SELECT credits_define_plan('free', 100) ->> 'version' AS version, credits_define_plan('none', 0) ->> 'version' AS version;
SET credits.default_plan = 'none';
CREATE VIEW pg_temp.events AS SELECT user_id, seq, kind, amount, available, created_at, effective_at, ends_at FROM credit_event ORDER BY created_at, user_id, seq;
CREATE VIEW pg_temp.noticed AS
    SELECT user_id, seq, 'grant' AS what, noticed FROM credit_grant UNION ALL SELECT user_id, seq, 'hold', noticed FROM credit_hold ORDER BY 1, 2;
CREATE FUNCTION pg_temp.sweep(dry bool DEFAULT false, size int DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS
    $$SELECT r - '{ok,run_id,dry_run,state,credits_granted,credits_expired}'::text[] FROM credits_reset_due(size, dry) r$$;

SHOW credits.grant_notice;
SHOW credits.hold_notice;
-- u: one grant ends soon, one later, one is spent, one has lost half of what was paid
SELECT credits_grant('u', 50, '2026-01-12 00:00Z', payment_ref => 'pack') -> 'seq' AS seq, credits_revoke_purchase('pack', 25) -> 'ok' AS ok;
SELECT credits_grant('u', 40, '2026-01-11 00:00Z') -> 'seq' AS seq, credits_deduct('u', 40) -> 'ok' AS ok;
SELECT credits_grant('u', 30, '2026-01-20 00:00Z') -> 'seq' AS seq, credits_hold('u', 3, '10 minutes') -> 'seq' AS hold, credits_hold('u', 4, '1 hour') -> 'seq' AS hold;
-- v: a grant that nobody can use any more, a hold that is settled
SELECT credits_grant('v', 50, '2026-01-12 00:00Z', payment_ref => 'lost') -> 'seq' AS seq, credits_revoke_purchase('lost') -> 'ok' AS ok;
SELECT credits_open_account('w', 'free') -> 'ok' AS ok, credits_grant('w', 5, '2026-01-12 00:00Z') -> 'seq' AS seq;
SELECT credits_hold('w', 2, '5 minutes') -> 'seq' AS hold, credits_capture('w', 3) -> 'ok' AS ok;

-- Nobody has asked: nothing is written.
SELECT pg_temp.sweep();
SELECT * FROM pg_temp.noticed;
SET credits.events = 'low, reset, hold_expired';
SELECT pg_temp.sweep();
SELECT count(*) FROM credit_event;
-- Asked: a dry run counts.
SET credits.events = 'grant_ending, hold_ending';
SELECT pg_temp.sweep(dry => true);
SELECT count(noticed) FROM credit_grant;
BEGIN;
SELECT pg_temp.sweep() -> 'notices' AS notices;
ROLLBACK;
SELECT count(*) FROM credit_event;
SELECT pg_temp.sweep();
SELECT * FROM pg_temp.events;
SELECT * FROM pg_temp.noticed;
-- Each once.
SELECT pg_temp.sweep(dry => true);
SELECT pg_temp.sweep();
CALL credits_run_reset() \gset
SELECT :'report'::jsonb -> 'notices' AS notices;
SELECT count(*) AS taken FROM credits_take_events();

-- Later: the other hold, then the other grant; what has ended is not about to end.
SET credits.clock = '2026-01-10 00:51Z';
SELECT pg_temp.sweep() -> 'notices' AS notices;
SET credits.clock = '2026-01-17 00:00Z';
SELECT pg_temp.sweep() -> 'notices' AS notices;
SELECT * FROM pg_temp.events;
SELECT count(*) AS taken FROM credits_take_events();

-- What comes back to a grant that had nothing left is announced; what comes back to one that was announced is not.
SELECT credits_grant('x', 10, '2026-01-18 00:00Z') -> 'seq' AS seq, credits_hold('x', 10, '5 hours') -> 'seq' AS hold;
SELECT pg_temp.sweep() -> 'notices' AS notices;
SELECT * FROM pg_temp.noticed WHERE user_id = 'x';
SELECT credits_release('x', 3) -> 'ok' AS ok;
SELECT * FROM pg_temp.noticed WHERE user_id = 'x';
SELECT pg_temp.sweep() -> 'notices' AS notices;
SELECT credits_deduct('x', 10) ->> 'seq' AS spent \gset
SELECT credits_refund('x', :spent) -> 'ok' AS ok;
SELECT pg_temp.sweep() -> 'notices' AS notices;
SELECT * FROM pg_temp.events;
SELECT * FROM pg_temp.noticed WHERE user_id = 'x';
SELECT count(*) AS taken FROM credits_take_events();

-- How long before the end; one kind alone; none.
SELECT credits_grant('y', 10, '2026-01-27 00:00Z') -> 'seq' AS seq, credits_hold('y', 1, '1 day') -> 'seq' AS hold;
SET credits.grant_notice = '10d';
SET credits.hold_notice = '2d';
SET credits.events = 'hold_ending';
SELECT pg_temp.sweep() -> 'notices' AS notices;
SET credits.events = 'hold_ending, grant_ending';
SET credits.grant_notice = 0;
SELECT pg_temp.sweep() -> 'notices' AS notices;
SET credits.grant_notice = '863999s';
SELECT pg_temp.sweep() -> 'notices' AS notices;
SET credits.grant_notice = '864000s';
SELECT pg_temp.sweep() -> 'notices' AS notices;
SELECT user_id, seq, kind FROM credits_take_events();
\set VERBOSITY sqlstate
SET credits.grant_notice = -1;
\set VERBOSITY default
RESET credits.grant_notice;
RESET credits.hold_notice;

-- With what is due: that comes first, so the notice has the balance after it; a grant that ends exactly now has ended.
SELECT credits_grant('w', 8, '2026-02-11 00:00Z') -> 'seq' AS seq, credits_hold('w', 8, '24 days') -> 'seq' AS hold,
       credits_grant('w', 7, '2026-02-10 00:00Z') -> 'seq' AS seq, credits_grant('w', 9, '2026-02-11 00:00Z') -> 'seq' AS seq;
SET credits.clock = '2026-02-10 00:00Z';
SELECT pg_temp.sweep(dry => true);
SELECT pg_temp.sweep();
SELECT * FROM pg_temp.events;
SELECT credits_balance('w') -> 'available' AS available;
SELECT count(*) AS taken FROM credits_take_events();
-- An account whose reset fails has its notices all the same.
SELECT credits_grant('w', 6, '2026-03-11 00:00Z') -> 'seq' AS seq;
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.user_id = 'w' THEN RAISE 'refused'; END IF; RETURN NULL; END$$;
CREATE TRIGGER refuse AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse();
SET credits.clock = '2026-03-10 00:00Z';
SELECT pg_temp.sweep();
DROP TRIGGER refuse ON credit_history;
SELECT * FROM pg_temp.events;
SELECT count(*) AS taken FROM credits_take_events();
SELECT pg_temp.sweep();
-- A notice that a trigger refuses fails alone, and comes later.
SELECT count(credits_grant('z' || n, n, '2026-03-11 00:00Z')) FROM generate_series(1, 4) n;
CREATE FUNCTION pg_temp.refuse_z2() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.user_id = 'z2' THEN RAISE 'refused'; END IF; RETURN NULL; END$$;
CREATE TRIGGER refuse AFTER INSERT ON credit_event FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse_z2();
SELECT pg_temp.sweep();
DROP TRIGGER refuse ON credit_event;
SELECT pg_temp.sweep();
SELECT user_id, amount FROM pg_temp.events;
SELECT count(*) AS taken FROM credits_take_events();

-- Batches and caps: an account with a notice counts like one that something is due for.
SELECT count(credits_grant('b' || n % 5, n, '2026-03-12 00:00Z')) FROM generate_series(1, 15) n;
SELECT pg_temp.sweep(size => 2);
CALL credits_run_reset(max_accounts => 2) \gset
SELECT :'report'::jsonb - 'run_id' AS report;
CALL credits_run_reset(dry_run => true, max_accounts => 1) \gset
SELECT :'report'::jsonb - 'run_id' AS report;
CALL credits_run_reset(batch_size => 1) \gset
SELECT :'report'::jsonb - 'run_id' AS report;
SELECT count(*) AS taken, count(DISTINCT (user_id, seq)) AS different FROM credits_take_events();

-- A deduction from a grant, announced or not, writes to no index of the grants.
SELECT credits_grant('late', 100, '2027-01-01 00:00Z') -> 'ok' AS ok, credits_grant('soon', 100, '2026-03-12 00:00Z') -> 'ok' AS ok, pg_temp.sweep() -> 'notices' AS notices;
SELECT user_id, kind FROM credits_take_events();
DO $$
DECLARE
    updated int8 := pg_stat_get_xact_tuples_updated('credit_grant'::regclass);
    hot int8 := pg_stat_get_xact_tuples_hot_updated('credit_grant'::regclass);
BEGIN
    FOR n IN 1 .. 20 LOOP
        PERFORM credits_deduct('late', 1);
        PERFORM credits_deduct('soon', 1);
        COMMIT;
    END LOOP;
    RAISE WARNING '% updates, % not HOT', pg_stat_get_xact_tuples_updated('credit_grant'::regclass) - updated,
        pg_stat_get_xact_tuples_updated('credit_grant'::regclass) - updated - (pg_stat_get_xact_tuples_hot_updated('credit_grant'::regclass) - hot);
END $$;

SELECT * FROM credits_verify();
DROP VIEW pg_temp.events, pg_temp.noticed;
DROP EXTENSION credits;
