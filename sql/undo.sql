-- Taking back what a bulk run did: by its id, or by plan and boundary.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
CREATE FUNCTION pg_temp.said(r jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', r->>'accounts', '+' || (r->>'credits_granted'), '-' || (r->>'credits_expired'),
                     'already', r->>'already', 'skipped', r->>'skipped', 'not taken', r->>'not_taken',
                     'failures', r->>'failures', CASE WHEN (r->>'more')::bool THEN 'more' END)
$$;
CREATE FUNCTION pg_temp.have(VARIADIC users text[]) RETURNS TABLE (user_id text, monthly int8, granted int8, purchased int8, owed int8, period_granted int8, plan_version int4)
LANGUAGE sql AS $$
    SELECT a.user_id, a.monthly, a.granted, a.purchased, a.owed_monthly + a.owed_purchased, a.period_granted, a.plan_version
      FROM credit_account a WHERE a.user_id = ANY (users) ORDER BY 1
$$;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT count(credits_define_plan(p, n)) FROM (VALUES ('free', 100), ('pro', 300), ('team', 100), ('solo', 100)) v (p, n);
SELECT count(credits_open_account(u, 'free')) FROM unnest('{u1,u2,u3}'::text[]) u;
SELECT count(credits_deduct(u, n)) FROM (VALUES ('u1', 30), ('u2', 100), ('u3', 20)) v (u, n);

-- A sweep, by its id.  u1 had 70 left and got 100, so it goes back to 70.  u2 had 0 left, got 100
-- and has spent 60 since: 40 go, and 60 are owed until the next reset.  u3 was reset by a call of its own.
SET credits.clock = '2026-02-01 00:00:00+00';
SELECT credits_deduct('u3', 10) ->> 'monthly' AS u3;
CALL credits_run_reset() \gset
SELECT :'report'::jsonb ->> 'run_id' AS run \gset
SET credits.clock = '2026-02-02 00:00:00+00';
SELECT credits_deduct('u2', 60) ->> 'monthly' AS u2;
SELECT t.fingerprint() || (SELECT count(*) FROM credit_reset_run) AS before \gset
CALL credits_undo_run(:'run', dry_run => true) \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ? 'run_id' AS has_id;
SELECT t.fingerprint() || (SELECT count(*) FROM credit_reset_run) = :'before' AS nothing_written;
CALL credits_undo_run(:'run', reason => 'ticket 7') \gset
SELECT pg_temp.said(:'report');
SELECT kind, state, accounts, credits_granted, credits_expired FROM credit_reset_run WHERE run_id = (:'report'::jsonb ->> 'run_id')::uuid;
SELECT action, subject = :'report'::jsonb ->> 'run_id' AS subject, after = :'report'::jsonb AS after FROM credit_audit_log ORDER BY seq DESC LIMIT 1;
SELECT * FROM pg_temp.have('u1', 'u2', 'u3');
SELECT m.*, h.reason, h.run_id = (:'report'::jsonb ->> 'run_id')::uuid AS run FROM t.moves('u2') m JOIN credit_history h ON h.user_id = 'u2' AND h.seq = m.seq WHERE m.seq > 2;
-- again: each row is undone once
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report');
-- what comes to the bucket pays the debt; it is not part of what the user owes
SELECT t.sqlstate($$SELECT credits_deduct('u2', 1)$$);
SELECT t.short(r), r -> 'owed_monthly' AS owed_monthly FROM credits_adjust('u2', 'monthly', 50, 'sorry') r;
SELECT t.short(credits_deduct('u1', 10));
-- an undo is not undone
SELECT :'report'::jsonb ->> 'run_id' AS undo_run \gset
CALL credits_undo_run(:'undo_run') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM credits_verify();

-- One boundary of a plan: a version with 1000 instead of 200 was in force on 1 March.
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT count(credits_open_account(u, p)) FROM (VALUES ('u4', 'free'), ('u5', 'free'), ('u6', 'pro'), ('u7', 'free'), ('u8', 'pro')) v (u, p);
SELECT credits_deduct('u4', 40) ->> 'monthly' AS u4;
SELECT credits_set_plan('u6', 'free', 'next_reset') ->> 'scheduled_plan' AS u6, credits_set_plan('u7', 'pro', 'next_reset') ->> 'scheduled_plan' AS u7;
SELECT credits_define_plan('free', 1000) ->> 'version' AS version;
SET credits.clock = '2026-03-02 00:00:00+00';
-- u3 and u5 come by a call, one account by the sweep, the others sleep
SELECT credits_deduct('u3', 10) ->> 'monthly' AS u3, credits_deduct('u5', 980) ->> 'monthly' AS u5;
CALL credits_run_reset(max_accounts => 1) \gset
SELECT pg_temp.said(:'report');
SELECT credits_define_plan('free', 200) ->> 'version' AS version;
SET credits.clock = '2026-03-03 00:00:00+00';
-- 1000 came, 200 are right: 800 less (u1, u2, u4, and u6, which came from the other plan).  u3 has spent 10 of
-- them: 190.  u5 has spent 980: 20 go, 780 are owed.  u7 has left the plan at that instant.
-- A cap of two: u1 and u2; then the others.
CALL credits_undo_run(plan => 'free', boundary => '2026-03-01 00:00:00+00', regrant => true, max_accounts => 2) \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'state' AS state;
CALL credits_undo_run(plan => 'free', boundary => '2026-03-01 00:00:00+00', regrant => true, batch_size => 2) \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'state' AS state;
CALL credits_undo_run(plan => 'free', boundary => '2026-03-01 00:00:00+00', regrant => true) \gset
SELECT pg_temp.said(:'report');
SELECT * FROM pg_temp.have('u1', 'u2', 'u3', 'u4', 'u5', 'u6', 'u7', 'u8');
SELECT * FROM t.moves('u6') WHERE seq > 1;
SELECT * FROM credits_verify();
-- the boundary stays consumed: no second reset, also not by the sweep
CALL credits_run_reset() \gset
SELECT user_id, count(*) FROM credit_history WHERE kind = 'reset' AND effective_at = '2026-03-01 00:00:00+00' GROUP BY 1 HAVING count(*) > 1;
-- the debt lapses at the next reset
SET credits.clock = '2026-04-01 00:00:00+00';
SELECT t.short(credits_balance('u5'));
-- reset since: too late, and nothing of it is written
SELECT t.fingerprint() AS before \gset
CALL credits_undo_run(plan => 'free', boundary => '2026-03-01 00:00:00+00') \gset
SELECT pg_temp.said(:'report');
SELECT count(*) FROM credit_history WHERE kind = 'undo' AND effective_at >= '2026-04-01';

-- A clock that ran ahead, and was repaired: the boundary is found behind later rows of an earlier time.
SET credits.clock = '2026-04-05 00:00:00+00';
SELECT credits_open_account('c1', 'solo') ->> 'monthly' AS c1;
SET credits.clock = '2026-05-01 00:10:00+00';
SELECT credits_deduct('c1', 5) ->> 'monthly' AS c1;
SET credits.clock = '2026-04-06 00:00:00+00';
SELECT credits_repair_clock('c1') ->> 'monthly' AS c1;
SELECT credits_deduct('c1', 1) ->> 'monthly' AS c1;
CALL credits_undo_run(plan => 'solo', boundary => '2026-05-01 00:00:00+00') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM pg_temp.have('c1');

-- The right allowance was none: a regrant by another version.
SELECT credits_open_account('c2', 'solo') ->> 'monthly' AS c2;
SET credits.clock = '2026-05-01 00:00:00+00';
CALL credits_run_reset() \gset
SELECT credits_define_plan('solo', 0) ->> 'version' AS version;
SET credits.clock = '2026-05-01 00:00:01+00';
CALL credits_undo_run(plan => 'solo', boundary => '2026-05-01 00:00:00+00', regrant => true) \gset
SELECT pg_temp.said(:'report');
SELECT * FROM pg_temp.have('c1', 'c2');
SELECT * FROM credits_verify();

-- Grants.  g1 untouched; g2 spent 20; g3 holds 15; g4 spent 10 and got them back; g5 spent all.
SELECT count(credits_open_account(u)) FROM unnest('{g1,g2,g3,g4,g5}'::text[]) u;
CALL credits_grant_many('{g1,g2,g3,g4,g5}', '{50,50,50,50,50}', '2026-06-01 00:00:00+00', 'promo') \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'run_id' AS run \gset
SELECT :'said' AS said;
SELECT credits_deduct('g2', 20) ->> 'seq' AS g2, credits_hold('g3', 15) ->> 'seq' AS g3, credits_deduct('g4', 10) ->> 'seq' AS g4, credits_deduct('g5', 50) ->> 'seq' AS g5;
SELECT t.short(credits_refund('g4', 3));
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report');
SELECT user_id, amount, ref_seq, granted_delta, granted FROM credit_history WHERE kind = 'undo' AND user_id LIKE 'g_' ORDER BY 1;
SELECT user_id, remaining, closed FROM credit_grant ORDER BY 1;
SELECT t.short(credits_refund('g2', 3)), t.short(credits_release('g3', 3));
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM credits_verify();
-- one that has ended by itself is over
CALL credits_grant_many('{g1,g2}', '{5,5}', '2026-05-02 00:00:00+00') \gset
SELECT :'report'::jsonb ->> 'run_id' AS run \gset
SET credits.clock = '2026-05-02 00:00:00+00';
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report');

-- A run meets what is due, and writes it: that is not what it did.  The reset that grants met stays when they are
-- undone, and the resets that applying a plan met when that is.
SELECT credits_define_plan('met', 100) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'met', '2026-05-01')), count(credits_deduct(u, 90)) FROM unnest('{b1,b2}'::text[]) u;
BEGIN;
SET LOCAL credits.clock = '2026-06-03 00:00:00+00';
CALL credits_grant_many('{b1}', '{50}', '2026-07-01 00:00:00+00') \gset
SELECT :'report'::jsonb ->> 'run_id' AS run \gset
SELECT user_id, kind FROM credit_history WHERE run_id = :'run' ORDER BY 1, seq;
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report');
SELECT credits_define_plan('met', 120) ->> 'version' AS version;
SET LOCAL credits.clock = '2026-06-03 00:00:01+00';
CALL credits_apply_plan('met') \gset
SELECT :'report'::jsonb ->> 'run_id' AS run \gset
SELECT user_id, kind FROM credit_history WHERE run_id = :'run' ORDER BY 1, seq;
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM pg_temp.have('b1', 'b2');
SELECT * FROM credits_verify();
ROLLBACK;

-- A plan that was applied: 150 instead of 100.  t1 has 70 left, gets 50, spends 110: 10 go, 40 are owed.
-- t2 keeps what is scheduled.  The version stays, and what was taken is not granted twice.
SELECT count(credits_open_account(u, 'team')) FROM unnest('{t1,t2}'::text[]) u;
SELECT credits_deduct('t1', 30) ->> 'monthly' AS t1, credits_set_plan('t2', NULL, 'next_reset') ->> 'scheduled_plan' AS t2;
SELECT credits_define_plan('team', 150) ->> 'version' AS version;
SET credits.clock = '2026-05-02 00:00:01+00';
SELECT t.fingerprint() AS before \gset
CALL credits_apply_plan('team', dry_run => true) \gset
SELECT pg_temp.said(:'report'), t.fingerprint() = :'before' AS nothing_written;
CALL credits_apply_plan('team', max_accounts => 1) \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'run_id' AS run \gset
SELECT :'said' AS said;
CALL credits_apply_plan('team') \gset
SELECT pg_temp.said(:'report'), :'report'::jsonb ->> 'run_id' AS second_run \gset
SELECT :'said' AS said;
SELECT * FROM pg_temp.have('t1', 't2');
SELECT user_id, scheduled_plan FROM credit_account WHERE plan = 'team' ORDER BY 1;
SELECT credits_deduct('t1', 110) ->> 'monthly' AS t1;
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report');
CALL credits_undo_run(:'second_run') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM pg_temp.have('t1', 't2');
SELECT t.short(credits_set_plan('t1', 'team'));
-- who comes to the plan at a boundary that nobody has noticed yet
SELECT credits_define_plan('team', 160) ->> 'version' AS version;
SELECT credits_open_account('t3', 'solo') ->> 'monthly' AS t3, credits_set_plan('t3', 'team', 'next_reset') ->> 'scheduled_plan' AS scheduled;
SET credits.clock = '2026-06-02 00:00:00+00';
SELECT credits_define_plan('team', 170) ->> 'version' AS version;
SET credits.clock = '2026-06-02 00:00:01+00';
CALL credits_apply_plan('team') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM pg_temp.have('t1', 't2', 't3');
SELECT * FROM credits_verify();

-- Two boundaries in one row: only the last is undone, as if each had been applied by itself (s2 was swept
-- at both).  The 100 of 1 July come back, the 100 of 1 August go.  A regrant by the same version changes nothing and
-- writes nothing, so that the boundary can still be undone.
SELECT credits_define_plan('sleep', 100) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'sleep')), count(credits_deduct(u, n)) FROM (VALUES ('s1', 100), ('s2', 100), ('s3', 30)) v (u, n);
SET credits.clock = '2026-07-01 00:00:00+00';
BEGIN;
SELECT count(credits_balance(u)) FROM unnest('{s1,s3}'::text[]) u;
SELECT credits_freeze('s2') ->> 'monthly' AS s2;
COMMIT;
SET credits.clock = '2026-08-01 00:00:00+00';
CALL credits_undo_run(plan => 'sleep', boundary => '2026-08-01 00:00:00+00') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM pg_temp.have('s1', 's2', 's3');
SELECT user_id, kind, amount, expired, skipped FROM credit_history WHERE user_id LIKE 's_' AND effective_at >= '2026-07-01' ORDER BY user_id, seq;
SELECT * FROM credits_verify();
SET credits.clock = '2026-10-01 00:00:00+00';
CALL credits_undo_run(plan => 'sleep', boundary => '2026-10-01 00:00:00+00', regrant => true) \gset
SELECT pg_temp.said(:'report');
SELECT count(*) FROM credit_history WHERE user_id LIKE 's_' AND kind = 'undo' AND effective_at >= '2026-10-01';
SELECT * FROM pg_temp.have('s1', 's2', 's3');
CALL credits_undo_run(plan => 'sleep', boundary => '2026-10-01 00:00:00+00') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM pg_temp.have('s1', 's2', 's3');
SELECT user_id, kind, amount, expired, skipped FROM credit_history WHERE user_id LIKE 's_' AND effective_at >= '2026-10-01' ORDER BY user_id, seq;
SELECT * FROM credits_verify();

-- Arguments.
SELECT t.sqlstate('CALL credits_undo_run()'), t.sqlstate('CALL credits_undo_run(plan => ''free'')'),
       t.sqlstate('CALL credits_undo_run(boundary => ''2026-03-01'')'),
       t.sqlstate('CALL credits_undo_run(gen_random_uuid(), ''free'', ''2026-03-01'')'),
       t.sqlstate('CALL credits_undo_run(gen_random_uuid())'),
       t.sqlstate('CALL credits_undo_run(plan => ''fere'', boundary => ''2026-03-01'')'),
       t.sqlstate('CALL credits_apply_plan(''taem'')'), t.sqlstate('CALL credits_apply_plan(NULL)'),
       t.sqlstate('CALL credits_apply_plan(''team'', max_accounts => 0)'),
       t.sqlstate('CALL credits_apply_plan(''team'', batch_size => 0)');

-- In a transaction block, all in that.
BEGIN;
CALL credits_undo_run(:'run') \gset
SELECT pg_temp.said(:'report');
SELECT credits_define_plan('pro', 400) ->> 'version' AS version;
SET LOCAL credits.clock = '2026-10-01 00:00:01+00';
CALL credits_apply_plan('pro') \gset
SELECT pg_temp.said(:'report');
ROLLBACK;
SELECT user_id, plan_version FROM credit_account WHERE plan = 'pro' ORDER BY 1;

-- Granted anew by a version with another cycle: the period keeps its end, as with any change of cycle.
-- The 1st of December begins one of four days, with its share of 12.
SELECT credits_define_plan('turn', 100) ->> 'version' AS version;
SELECT credits_open_account('turn', 'turn', '2026-07-05') ->> 'next_reset_at' AS ends;
SET credits.clock = '2026-11-02 00:00:00+00';
CALL credits_run_reset() \gset
SELECT credits_define_plan('turn', 12, 'anniversary') ->> 'version' AS version;
SET credits.clock = '2026-11-03 00:00:00+00';
CALL credits_undo_run(plan => 'turn', boundary => '2026-11-01 00:00:00+00', regrant => true) \gset
SELECT pg_temp.said(:'report');
SET credits.clock = '2027-01-10 00:00:00+00';
CALL credits_run_reset() \gset
SELECT * FROM t.history('turn');

-- Two boundaries by two versions, each with a row: of the 10 before the first the version then
-- in force let 4 stay, and granted 2; these 6 come back, and the 100 go.
SELECT credits_define_plan('kept', 10, 'calendar', 0) ->> 'version' AS version;
SELECT credits_open_account('kept', 'kept') ->> 'monthly' AS monthly;
SET credits.clock = '2027-01-11 00:00:00+00';
SELECT credits_define_plan('kept', 2, rollover_limit => 4) ->> 'version' AS version;
SET credits.clock = '2027-02-11 00:00:00+00';
SELECT credits_define_plan('kept', 100, rollover_limit => 0) ->> 'version' AS version;
SET credits.clock = '2027-03-11 00:00:00+00';
CALL credits_undo_run(plan => 'kept', boundary => '2027-03-01 00:00:00+00') \gset
SELECT pg_temp.said(:'report');
SELECT * FROM t.history('kept');

-- What expired with a hold comes back when the boundary is undone.  So capturing the hold late spends from the balance.
SET credits.clock = '2027-03-31 00:00:00+00';
SELECT credits_define_plan('held', 100) ->> 'version' AS version, credits_open_account('h', 'held') ->> 'monthly' AS monthly;
SELECT credits_hold('h', 30, '2 days') ->> 'seq' AS hold \gset
SET credits.clock = '2027-04-03 00:00:00+00';
CALL credits_run_reset() \gset
CALL credits_undo_run(plan => 'held', boundary => '2027-04-01 00:00:00+00') \gset
SELECT pg_temp.said(:'report');
SELECT monthly, given_back FROM credit_hold WHERE user_id = 'h';
SELECT * FROM credits_verify_account('h');
SELECT t.short(credits_capture('h', :hold));
SELECT seq, kind, amount, delta, balance, expired, allocations FROM t.moves('h') WHERE seq > 1;
SELECT * FROM credits_verify_account('h');

-- The undo of a boundary reads the holds of the last period, not all that the account ever had.
SELECT credits_open_account('many', 'held') ->> 'monthly' AS monthly;
SELECT count(credits_hold('many', 1, '1 minute')) FROM generate_series(1, 100);
SET credits.clock = '2027-04-29 00:00:00+00';
SELECT credits_unfreeze('many') ->> 'monthly' AS monthly;
SET credits.clock = '2027-05-31 00:00:00+00';
SELECT count(credits_hold('many', 1, '2 days')) FROM generate_series(1, 3);
SET credits.clock = '2027-06-04 00:00:00+00';
SELECT count(credits_hold('many', 1, '2 days')) FROM generate_series(1, 20);
BEGIN;
SELECT pg_stat_get_xact_tuples_fetched('credit_hold_pkey'::regclass) AS fetched \gset
CALL credits_undo_run(plan => 'held', boundary => '2027-06-01 00:00:00+00') \gset
SELECT pg_stat_get_xact_tuples_fetched('credit_hold_pkey'::regclass) - :fetched < 50 AS few;
COMMIT;
SELECT period, state, monthly, given_back, count(*) FROM credit_hold WHERE user_id = 'many' GROUP BY 1, 2, 3, 4 ORDER BY 1;
SELECT * FROM credits_verify_account('many');

-- Tampering.
BEGIN;
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET amount = amount + 1 WHERE user_id = 'u1' AND kind = 'undo' AND seq = 4;
ALTER TABLE credit_history ENABLE ALWAYS TRIGGER credits_guard;
SELECT * FROM credits_verify();
ROLLBACK;
BEGIN;
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET ref_seq = 1 WHERE user_id = 'g5' AND kind = 'undo';
UPDATE credit_history SET ref_seq = NULL WHERE user_id = 'g1' AND kind = 'undo';
ALTER TABLE credit_history ENABLE ALWAYS TRIGGER credits_guard;
ALTER TABLE credit_grant DISABLE TRIGGER credits_guard;
UPDATE credit_grant SET closed = false WHERE user_id = 'g4';
ALTER TABLE credit_grant ENABLE ALWAYS TRIGGER credits_guard;
SELECT * FROM credits_verify();
ROLLBACK;
SELECT * FROM credits_verify();
DROP EXTENSION credits;
