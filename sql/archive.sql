-- Retention: an anchored prefix of each history goes to the archive, a checkpoint
-- takes its place, and what stays and what was moved verifies, separately and
-- together.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
CREATE FUNCTION t.archive(before timestamptz, dry bool DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE r jsonb;
BEGIN
    CALL credits_archive(before, dry, report => r);
    RETURN r - 'run_id' - 'credits_granted' - 'credits_expired';
END $$;
CREATE FUNCTION t.where_rows(OUT user_id text, OUT archived text, OUT stays text, OUT checkpoint int8, OUT sealed bool)
RETURNS SETOF record LANGUAGE sql AS $$
    SELECT a.user_id,
           (SELECT min(seq) || '-' || max(seq) || ' (' || count(*) || ')' FROM credit_history_archive h WHERE h.user_id = a.user_id),
           (SELECT min(seq) || '-' || max(seq) || ' (' || count(*) || ')' FROM credit_history h WHERE h.user_id = a.user_id),
           c.history_seq,
           EXISTS (SELECT FROM credit_history h WHERE h.user_id = a.user_id AND h.kind = 'archive' AND h.ref_seq = c.history_seq)
      FROM credit_account a LEFT JOIN credit_checkpoint c USING (user_id) ORDER BY a.user_id
$$;

-- Histories with something of everything.
SET credits.clock = '2024-11-10 00:00:00+00';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free', NULL, 'Europe/Berlin')) FROM unnest(ARRAY['a', 'idle', 'new', 'refunded']) u;
SELECT credits_add_purchased('bought', 7, 'pay_bought') ->> 'seq' AS seq;
SELECT credits_add_purchased('a', 50, 'pay_1') ->> 'seq' AS seq;
SELECT credits_add_purchased('a', 20, 'pay_2') ->> 'seq' AS seq;
SELECT credits_revoke_purchase('pay_1', 5) ->> 'seq' AS seq;
SELECT credits_grant('a', 30, '2024-12-01 00:00Z', 'ends in the archive') ->> 'seq' AS ended \gset
SELECT credits_grant('a', 40, '2030-01-01 00:00Z', 'stays open') ->> 'seq' AS open_grant \gset
SELECT credits_hold('a', 10, '1 hour', 'settled') ->> 'seq' AS settled \gset
SELECT credits_capture('a', :settled, 4) ->> 'seq' AS capture \gset
SELECT credits_hold('a', 120, '1 hour', 'expires') ->> 'seq' AS expired \gset
SELECT credits_deduct('a', 3, 'image', 'key_1') ->> 'seq' AS seq;
SELECT credits_deduct('refunded', 3) ->> 'seq' AS spent \gset
SELECT credits_deduct('refunded', 4) ->> 'seq' AS seq;
SET credits.clock = '2025-01-20 00:00:00+00';
SELECT credits_deduct('a', 2, 'text') ->> 'seq' AS seq;
SELECT credits_hold('a', 15, '31 days', 'still open') ->> 'seq' AS held \gset
SELECT credits_deduct('a', 1, 'with a text to erase', NULL, '{"ip": "10.0.0.1"}') ->> 'seq' AS last_before \gset
SELECT credits_deduct('refunded', 5) ->> 'seq' AS seq;

-- Nothing without an anchor; the newest row stays; nothing while a key is young.
SELECT t.sqlstate($$CALL credits_archive('2025-01-21')$$) AS to_come, t.sqlstate($$CALL credits_archive(NULL)$$) AS no_time;
SET credits.clock = '2025-01-25 00:00:00+00';
SELECT t.archive('2025-01-21');
SELECT (credits_anchor() -> 'anchor_no')::int AS anchor;
SELECT credits_deduct('a', 6, 'after') ->> 'seq' AS seq;
SELECT credits_refund('refunded', :spent, 1) ->> 'seq' AS seq;
SET credits.key_retention = '365d';
SELECT t.archive('2025-01-21', true);
SET credits.key_retention = '10d';
SHOW credits.key_retention;
SELECT t.archive('2025-01-21', true);
SELECT * FROM t.where_rows();
SELECT credits_balance('a') AS before \gset
SELECT t.archive('2025-01-21');
SELECT * FROM t.where_rows();
SELECT credits_balance('a') = CAST(:'before' AS jsonb) - 'seq' || jsonb_build_object('seq', credits_balance('a') -> 'seq') AS same_balance;
SELECT user_id, monthly, granted, purchased, held_purchased, grants, holds, purchases, payment_refs, archived, opened_seq, opened_plan, opened_zone
  FROM credit_checkpoint ORDER BY user_id;
SELECT tableoid::regclass AS partition, count(*) FROM credit_history_archive GROUP BY 1 ORDER BY 1;
SELECT kind, ref_seq, length(request_digest) FROM credit_history WHERE user_id = 'a' AND kind = 'archive';
SELECT seq, state FROM credit_hold WHERE user_id = 'a' ORDER BY seq;
SELECT seq, remaining FROM credit_grant WHERE user_id = 'a' ORDER BY seq;
SELECT * FROM credits_verify();
SELECT * FROM credits_verify_account('a');
SELECT * FROM credits_verify_anchor();
CALL credits_run_verify();

-- Again: there is nothing more to do.
SELECT t.archive('2025-01-21');

-- What still answers.
SELECT credits_open_account('a', 'free', NULL, 'Europe/Berlin');
SELECT (t.refused($$SELECT credits_open_account('a', NULL)$$)).*;
SELECT credits_add_purchased('a', 50, 'pay_1');
SELECT t.sqlstate($$SELECT credits_add_purchased('a', 51, 'pay_1')$$) AS other_amount,
       t.sqlstate($$SELECT credits_add_purchased('b', 50, 'pay_1')$$) AS other_user;
SELECT (t.refused(format($$SELECT credits_refund('a', %s)$$, :capture))).*;
SELECT (t.refused(format($$SELECT credits_capture('a', %s)$$, :settled))).*;
SELECT t.sqlstate($$SELECT credits_capture('a', 1000)$$) AS no_hold, t.sqlstate($$SELECT credits_refund('a', 1000)$$) AS no_row;
SELECT (t.refused($$SELECT credits_balance_at('a', '2024-12-24')$$)).*;
SELECT credits_balance_at('a', '2025-01-22') ->> 'available' AS since, t.sqlstate($$SELECT credits_balance_at('a', '2020-01-01')$$) AS never;
SELECT jsonb_pretty(credits_explain('a') #- '{monthly,came_from}') AS explained;
SELECT seq, kind FROM credits_history('a');
SELECT day, spent, refunded, purchased, granted FROM credit_usage_daily WHERE user_id = 'a' ORDER BY day;

-- What time and calls do to archived grants, holds and purchases.
SELECT credits_capture('a', :expired, 100) ->> 'amount' AS late;
SELECT t.sqlstate(format($$SELECT credits_capture('a', %s)$$, :expired)) AS again;
SELECT credits_capture('a', :held, 9) ->> 'amount' AS captured;
SELECT credits_revoke_purchase('pay_1') ->> 'amount' AS the_rest;
SELECT credits_revoke_purchase('pay_1') ->> 'replayed' AS replayed;
SELECT t.sqlstate($$SELECT credits_revoke_purchase('pay_2', 21)$$) AS too_much;
SELECT credits_deduct('a', 1, 'image', 'key_1') ->> 'replayed' AS replayed_long_after;
SELECT * FROM credits_verify();

-- All the same after another round.
SET credits.clock = '2026-02-03 00:00:00+00';
SELECT credits_deduct('a', 1) ->> 'seq' AS seq, credits_deduct('refunded', 1) ->> 'seq' AS seq2;
SELECT credits_anchor() -> 'anchor_no' AS anchor;
SELECT t.archive('2026-02-02');
SELECT * FROM t.where_rows();
SELECT credits_revoke_purchase('pay_1');
SELECT (t.refused(format($$SELECT credits_capture('a', %s)$$, :expired))).*;
SELECT * FROM credits_verify();

-- Nobody but the ledger changes it.
SELECT t.sqlstate('UPDATE credit_history_archive SET amount = 1') AS parent, t.sqlstate('DELETE FROM credit_history_archive_2024') AS partition,
       t.sqlstate('TRUNCATE credit_history_archive_2024') AS truncated, t.sqlstate('DELETE FROM credit_checkpoint') AS checkpoint;
ALTER TABLE credit_history_archive_2024 DISABLE TRIGGER credits_guard;
SELECT object, problem FROM credits_verify();
SELECT credits_repair_guards() ->> 'repaired' AS repaired;
SELECT object, problem FROM credits_verify();
SELECT grantee, privilege_type FROM information_schema.role_table_grants
 WHERE table_name LIKE 'credit_history_archive%' AND grantee <> current_user;

-- Tampering is found.
CREATE FUNCTION t.tamper(statement text) RETURNS TABLE (object text, bad_user_id text, bad_seq int8, problem text)
LANGUAGE plpgsql AS $$
DECLARE d text;
BEGIN
    FOR d IN SELECT format('ALTER TABLE %s DISABLE TRIGGER credits_guard', r.oid::regclass) FROM pg_class r
              WHERE relname LIKE 'credit\_%' AND relkind IN ('r', 'p') AND EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = r.oid) LOOP
        EXECUTE d;
    END LOOP;
    EXECUTE statement;
    PERFORM credits_repair_guards();
    RETURN QUERY SELECT * FROM credits_verify();
    RAISE EXCEPTION USING ERRCODE = 'UT000', MESSAGE = coalesce((SELECT string_agg(concat_ws(' ', v.object, v.bad_user_id, v.bad_seq, v.problem), E'\n') FROM credits_verify() v), 'nothing');
END $$;
CREATE FUNCTION t.tampered(statement text) RETURNS text LANGUAGE sql AS $$ SELECT message FROM t.refused(format('SELECT t.tamper(%L)', statement)) $$;
SELECT s AS statement, t.tampered(s) AS found FROM (VALUES
    (1, $$SELECT$$),
    (2, $$UPDATE credit_checkpoint SET purchased = purchased + 1 WHERE user_id = 'a'$$),
    (2.1, $$UPDATE credit_checkpoint SET period = period + 1 WHERE user_id = 'a'$$),
    (2.2, $$UPDATE credit_checkpoint SET period_share = 500000 WHERE user_id = 'a'$$),
    (2.3, $$UPDATE credit_checkpoint SET last_left = last_left + 1 WHERE user_id = 'a'$$),
    (2.4, $$UPDATE credit_checkpoint SET end_anchor = cycle_anchor, end_zone = 'UTC', end_cycle = cycle WHERE user_id = 'a'$$),
    (2.5, $$UPDATE credit_checkpoint SET closed_seq = 1 WHERE user_id = 'a'$$),
    (2.6, $$UPDATE credit_checkpoint SET forfeited = 1 WHERE user_id = 'a'$$),
    (2.7, $$UPDATE credit_checkpoint SET charged_monthly = 1 WHERE user_id = 'a'$$),
    (2.8, $$UPDATE credit_checkpoint SET charged_purchased = 1 WHERE user_id = 'a'$$),
    (2.85, $$UPDATE credit_checkpoint SET last_charged = 1 WHERE user_id = 'a'$$),
    (2.9, $$UPDATE credit_checkpoint SET last_closed_seq = 1 WHERE user_id = 'a'$$),
    (2.91, $$UPDATE credit_checkpoint SET low_threshold = 5 WHERE user_id = 'a'$$),
    (2.92, $$UPDATE credit_checkpoint SET plan_threshold = plan_threshold + 1 WHERE user_id = 'a'$$),
    (2.93, $$UPDATE credit_checkpoint SET level = CASE level WHEN 'low' THEN 'empty' ELSE 'low' END WHERE user_id = 'a'$$),
    (3, $$UPDATE credit_checkpoint SET grants[3] = 39 WHERE user_id = 'a'$$),
    (3.1, $$UPDATE credit_checkpoint SET grants[6] = 1 WHERE user_id = 'a'$$),
    (3.2, $$UPDATE credit_checkpoint SET holds[7] = 119 WHERE user_id = 'a'$$),
    (4, $$UPDATE credit_checkpoint SET opened_zone = 'UTC' WHERE user_id = 'a'$$),
    (5, $$UPDATE credit_checkpoint SET purchases[2] = 51 WHERE user_id = 'a'$$),
    (5.1, $$UPDATE credit_checkpoint SET purchases[4] = 20 WHERE user_id = 'a'$$),
    (6, $$UPDATE credit_checkpoint SET archived[2] = 9 WHERE user_id = 'a'$$),
    (7, $$UPDATE credit_checkpoint SET archived = archived[1:3] WHERE user_id = 'a'$$),
    (8, $$DELETE FROM credit_checkpoint WHERE user_id = 'a'$$),
    (9, $$UPDATE credit_history_archive SET amount = amount + 1 WHERE user_id = 'a' AND seq = 3$$),
    (10, $$UPDATE credit_history_archive SET reason = 'another' WHERE user_id = 'a' AND seq = 6$$),
    (11, $$DELETE FROM credit_history_archive WHERE user_id = 'a' AND seq = 1$$),
    (12, $$DELETE FROM credit_history_archive WHERE user_id = 'a' AND seq = 17$$),
    (13, $$DELETE FROM credit_history_archive WHERE user_id = 'refunded'$$),
    (14, $$INSERT INTO credit_history_archive SELECT * FROM credit_history WHERE user_id = 'idle'$$),
    (15, $$UPDATE credit_payment SET amount = 21 WHERE payment_ref = 'pay_2'$$),
    (16, $$UPDATE credit_payment SET revoked = 1 WHERE payment_ref = 'pay_2'$$),
    (17, $$UPDATE credit_payment SET revoked = 0 WHERE payment_ref = 'pay_1'$$),
    (18, $$DELETE FROM credit_payment WHERE payment_ref = 'pay_2'$$),
    (19, $$UPDATE credit_payment SET payment_ref = 'pay_3' WHERE payment_ref = 'pay_2'$$),
    (20, $$INSERT INTO credit_hold (amount, monthly, purchased, seq, period, user_id, state) VALUES (1, 1, 0, 7, 1, 'a', 'captured')$$),
    (21, $$DELETE FROM credit_grant WHERE user_id = 'a'$$),
    (22, $$DELETE FROM credit_history WHERE user_id = 'a' AND kind = 'archive'$$),
    (23, $$DROP TABLE credit_history_archive_2024$$),
    (24, $$ALTER TABLE credit_history_archive DETACH PARTITION credit_history_archive_2024$$),
    (26, $$ALTER TABLE credit_history_archive_2025 DROP CONSTRAINT credit_history_archive_2025_pkey$$),
    (27, $$CREATE TABLE credit_x (x int) INHERITS (credit_checkpoint)$$),
    (25, $$ALTER TABLE credit_history_archive_2025 ENABLE ROW LEVEL SECURITY$$)) x (n, s) ORDER BY n;

-- Personal texts go from the archive too, and the proof stays.
SELECT credits_erase_user('a') ->> 'rows' AS rows;
SELECT count(*) FILTER (WHERE reason IS NOT NULL OR metadata IS NOT NULL) AS texts, count(reason_digest) AS digests FROM credit_history_archive WHERE user_id = 'a';
SELECT * FROM credits_verify();

-- A year is exported and dropped: what stays verifies from the checkpoint on.
SELECT t.sqlstate($$SELECT credits_drop_archive('credit_history_archive_2024', 1)$$) AS wrong_rows,
       t.sqlstate($$SELECT credits_drop_archive('credit_history', 1)$$) AS no_partition,
       t.sqlstate($$SELECT credits_drop_archive('credit_history_archive_2024', NULL)$$) AS no_rows;
CREATE TEMP TABLE exported AS SELECT * FROM credit_history_archive_2024;
SELECT r - 'digest' AS dropped, length(r ->> 'digest') AS digest
  FROM credits_drop_archive('credit_history_archive_2024', (SELECT count(*) FROM exported)) r;
SELECT action, CASE action WHEN 'archive' THEN after ->> 'rows' ELSE subject END AS what FROM credit_audit_log WHERE action IN ('archive', 'drop_archive') ORDER BY seq;
SELECT * FROM credits_verify();
SELECT * FROM credits_verify_anchor();
SELECT credits_balance('a') ->> 'available' AS available, credits_add_purchased('a', 50, 'pay_1') ->> 'archived' AS archived;
SELECT s AS statement, t.tampered(s) AS found FROM (VALUES
    (1, $$UPDATE credit_checkpoint SET purchased = purchased + 1 WHERE user_id = 'a'$$),
    (2, $$UPDATE credit_checkpoint SET opened_zone = 'UTC' WHERE user_id = 'a'$$),
    (3, $$UPDATE credit_checkpoint SET history_seq = history_seq - 1 WHERE user_id = 'a'$$),
    (4, $$UPDATE credit_checkpoint SET history_hash = sha256('x') WHERE user_id = 'refunded'$$),
    (5, $$UPDATE credit_history_archive SET amount = amount + 1 WHERE user_id = 'a' AND seq = 17$$),
    (6, $$DELETE FROM credit_history_archive WHERE user_id = 'a' AND seq = 17$$)) x (n, s) ORDER BY n;

-- Rows that come back from the export are found again where they were.
CREATE TABLE credit_history_archive_2024 PARTITION OF credit_history_archive (PRIMARY KEY (user_id, seq)) FOR VALUES FROM ('2024-01-01 00:00Z') TO ('2025-01-01 00:00Z');
INSERT INTO credit_history_archive SELECT * FROM exported;
SELECT credits_repair_guards() ->> 'repaired' AS repaired;
SELECT * FROM credits_verify();

-- Of three rows two have to stay, because one of them was refunded later: one alone is left where it is.
SET credits.clock = '2030-01-10 00:00:00+00';
SELECT credits_open_account('little', 'free') -> 'seq' AS opened, credits_deduct('little', 4) -> 'seq' AS spent, credits_adjust('little', 'monthly', 1, 'sorry') -> 'seq' AS adjusted;
SELECT credits_anchor() -> 'ok' AS anchored, credits_refund('little', 2) -> 'seq' AS refunded;
SET credits.clock = '2030-01-11 00:00:00+00';
SELECT t.archive('2030-01-11') - 'ok' AS archived;
SELECT * FROM t.where_rows() WHERE user_id = 'little';
SELECT * FROM credits_verify();

-- Of several ends at one instant the last one stays: what has yet to end then is in the checkpoint.  In the second
-- account nothing is left of the grant until the hold ends, which returns to it.
SELECT count(credits_open_account(u)) FROM unnest('{ends,returns}'::text[]) u;
SELECT count(credits_grant('ends', n, '2030-02-01 00:00:00+00')) FROM generate_series(1, 2) n;
SELECT credits_grant('returns', 5, '2030-01-20 00:00:00+00') -> 'seq' AS seq, credits_hold('returns', 2, '9 days') -> 'seq' AS held, credits_hold('returns', 3, '9 days') -> 'seq' AS held;
SET credits.clock = '2030-03-01 00:00:00+00';
SELECT credits_reset_due() -> 'failures' AS failures;
SELECT credits_anchor() -> 'ok' AS anchored;
SELECT user_id, seq, kind, ref_seq, effective_at FROM credit_history WHERE user_id IN ('ends', 'returns') AND kind LIKE '%end' ORDER BY 1, 2;
SELECT t.archive('2030-03-01') -> 'failures' AS failures;
SELECT * FROM t.where_rows() WHERE user_id IN ('ends', 'returns');
SELECT * FROM credits_verify();
SELECT count(credits_add_purchased(u, 5, u)) FROM unnest('{ends,returns}'::text[]) u;
SET credits.clock = '2030-04-01 00:00:00+00';
SELECT credits_anchor() -> 'ok' AS anchored;
SELECT count(credits_add_purchased(u, 5, u || 2)) FROM unnest('{ends,returns}'::text[]) u;
SELECT t.archive('2030-04-01') -> 'failures' AS failures;
SELECT count(*) AS grants FROM credit_grant WHERE user_id IN ('ends', 'returns');
SELECT * FROM credits_verify();
-- A year that was dropped takes no more rows: the partition would lack those that went.
SELECT count(*) AS rows FROM credit_history_archive_2030 \gset
SELECT credits_drop_archive('credit_history_archive_2030', :rows) -> 'ok' AS dropped;
SELECT count(credits_add_purchased(u, 5, u || n)) FROM unnest('{ends,returns}'::text[]) u, generate_series(3, 5) n;
SET credits.clock = '2030-05-01 00:00:00+00';
SELECT credits_anchor() -> 'ok' AS anchored;
SELECT t.archive('2030-05-01') AS report \gset
SELECT DISTINCT f ->> 'sqlstate' AS sqlstate, f ->> 'message' AS message FROM jsonb_array_elements(:'report'::jsonb -> 'failed') f;
SELECT DISTINCT failures, f - 'user_id' AS failed
  FROM credit_reset_run, jsonb_array_elements(failed) f WHERE kind = 'archive' AND failures > 0;
SELECT * FROM t.where_rows() WHERE user_id IN ('ends', 'returns');
SELECT * FROM credits_verify();
-- ATTACH takes a table whose columns stand in another order.  Nobody reads or writes
-- such a partition: that is a finding, and an error for who cannot do without it.
CREATE PROCEDURE t.shuffle(partition text, year int) LANGUAGE plpgsql AS $$
DECLARE
    columns text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname DESC) FROM pg_attribute WHERE attrelid = partition::regclass AND attnum > 0);
BEGIN
    EXECUTE (SELECT format('CREATE TABLE shuffled (%s, PRIMARY KEY (user_id, seq))',
                           string_agg(format('%I %s %s %s', attname, format_type(atttypid, NULL), CASE attcollation WHEN 'pg_catalog."C"'::regcollation THEN 'COLLATE "C"' END,
                                             CASE WHEN attnotnull THEN 'NOT NULL' END), ', ' ORDER BY attname DESC))
               FROM pg_attribute WHERE attrelid = partition::regclass AND attnum > 0);
    EXECUTE format('INSERT INTO shuffled (%1$s) SELECT %1$s FROM %2$s', columns, partition);
    EXECUTE format('ALTER TABLE credit_history_archive DETACH PARTITION %s', partition);
    EXECUTE format('ALTER TABLE shuffled RENAME TO %s', partition || '_shuffled');
    EXECUTE format('DROP TABLE %s', partition);
    EXECUTE format('ALTER TABLE %s RENAME TO %s', partition || '_shuffled', partition);
    EXECUTE format('ALTER TABLE credit_history_archive ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)', partition, year || '-01-01 00:00Z', year + 1 || '-01-01 00:00Z');
    PERFORM credits_repair_guards();
END $$;
BEGIN;
CALL t.shuffle('credit_history_archive_2025', 2025);
SELECT user_id, count(*) FROM credit_history_archive_2025 GROUP BY 1 ORDER BY 1;
SELECT * FROM credits_verify();
SELECT * FROM credits_verify_account('a');
SELECT * FROM credits_verify_anchor();
SELECT t.sqlstate($$SELECT credits_balance('a')$$) AS balance, t.sqlstate($$SELECT * FROM credits_history('a')$$) AS history,
       t.sqlstate($$SELECT credits_explain('a')$$) AS explained, t.sqlstate($$SELECT credits_balance_at('a', '2025-02-01Z')$$) AS then,
       t.sqlstate($$SELECT credits_add_purchased('a', 50, 'pay_1')$$) AS payment, t.sqlstate($$SELECT credits_refund('a', 6)$$) AS refund,
       t.sqlstate($$SELECT credits_open_account('a', 'pro')$$) AS opened;
SELECT sqlstate, message FROM t.refused($$SELECT credits_erase_user('a')$$);
SELECT sqlstate, message FROM t.refused($$SELECT credits_drop_archive('credit_history_archive_2025', 1)$$);
SET credits.clock = '2025-12-31 00:00:00+00';
SELECT count(credits_open_account('late')) + count(credits_add_purchased('late', n, 'late' || n)) AS calls FROM generate_series(1, 4) n;
SELECT credits_erase_user('late') -> 'rows' AS rows;
SET credits.clock = '2030-06-01 00:00:00+00';
SELECT count(credits_add_purchased('late', 1, 'later')) AS calls;
SELECT credits_anchor() -> 'ok' AS anchored;
SELECT t.archive('2030-06-01') ->> 'failures' AS failures;
SELECT f ->> 'user_id' AS user_id, f ->> 'sqlstate' AS sqlstate
  FROM credit_reset_run, jsonb_array_elements(failed) f WHERE f ->> 'user_id' = 'late';
ROLLBACK;
-- The archive itself: partitions get its order.
BEGIN;
ALTER TABLE credit_history_archive DROP COLUMN reason_digest;
ALTER TABLE credit_history_archive ADD COLUMN reason_digest bytea;
SELECT DISTINCT object, bad_user_id, problem FROM credits_verify() ORDER BY 1;
SET credits.clock = '2031-01-01 00:00:00+00';
SELECT count(credits_open_account('late')) + count(credits_add_purchased('late', n, 'late' || n)) AS calls FROM generate_series(1, 4) n;
SELECT credits_anchor() -> 'ok' AS anchored;
SET credits.clock = '2031-06-01 00:00:00+00';
SELECT t.archive('2031-06-01') ->> 'failures' AS failures;
SELECT f ->> 'user_id' AS user_id, f ->> 'sqlstate' AS sqlstate
  FROM credit_reset_run, jsonb_array_elements(failed) f WHERE f ->> 'user_id' = 'late';
ROLLBACK;
DROP PROCEDURE t.shuffle(text, int);
SELECT * FROM credits_verify();
DROP EXTENSION credits;

-- The past does not change: at each time there is the same balance as before, or an error, wherever the history is
-- cut.  Here a plan change and a reset have rows at one instant, and a version of the plan came later.
CREATE EXTENSION credits;
SET credits.clock = '2025-01-01 00:00Z';
SELECT credits_define_plan('cal', 50) ->> 'version' AS cal, credits_define_plan('ann', 77, 'anniversary') ->> 'version' AS ann;
SELECT credits_open_account('u', 'cal', '2025-01-14 00:00', 'UTC') ->> 'monthly' AS monthly, credits_deduct('u', 50) ->> 'monthly' AS left,
       credits_set_plan('u', 'ann', 'next_reset') ->> 'scheduled_plan' AS scheduled;
SET credits.clock = '2025-02-10 00:00Z';
SELECT credits_define_plan('ann', 500, 'anniversary') ->> 'version' AS ann;
SET credits.clock = '2025-05-20 00:00Z';
SELECT credits_deduct('u', 7) ->> 'monthly' AS left;
SELECT seq, kind, amount, balance, skipped, plan, effective_at, next_reset_at FROM t.history('u');
SELECT credits_anchor() -> 'anchor_no' AS anchor;
SELECT credits_deduct('u', 1) ->> 'monthly' AS left;
SET credits.clock = '2025-06-30 00:00Z';
CREATE TEMP TABLE past AS
    SELECT at, credits_balance_at('u', at) AS balance FROM generate_series(timestamptz '2025-01-01 00:00Z', '2025-06-01 00:00Z', interval '12 hours') at;
SELECT DISTINCT ON (balance - 'as_of') at, balance -> 'monthly' AS monthly, balance -> 'next_reset_at' AS next_reset_at FROM past ORDER BY balance - 'as_of', at;
SET credits.key_retention = '1d';
CREATE FUNCTION t.changed(cut timestamptz, OUT rows int8, OUT same int8, OUT refused int8, OUT changed int8) LANGUAGE plpgsql AS $$
DECLARE
    p record;
BEGIN
    PERFORM t.archive(cut);
    same := 0; refused := 0; changed := 0;
    FOR p IN SELECT * FROM past LOOP
        BEGIN
            IF credits_balance_at('u', p.at) = p.balance THEN same := same + 1; ELSE changed := changed + 1; END IF;
        EXCEPTION WHEN SQLSTATE '22023' THEN
            refused := refused + 1;
        END;
    END LOOP;
    SELECT count(*) INTO rows FROM credit_history_archive WHERE user_id = 'u';
END $$;
SELECT cut, c.* FROM generate_series(timestamptz '2025-01-01 00:00Z', '2025-06-01 00:00Z', interval '1 week') cut, t.changed(cut) c;
-- The reference of a paid grant that has ended and is archived stays taken, with the end that it had.
SELECT credits_grant('pack', 5, '2025-07-02 00:00Z', payment_ref => 'pay_pack') ->> 'granted' AS granted;
SET credits.clock = '2025-07-10 00:00Z';
SELECT credits_add_purchased('pack', 1, 'pay_more') ->> 'granted' AS granted, credits_anchor() -> 'ok' AS anchored;
SELECT t.archive('2025-07-05') -> 'rows' AS rows;
SELECT credits_grant('pack', 5, '2025-07-02 00:00Z', payment_ref => 'pay_pack');
SELECT t.sqlstate($$SELECT credits_grant('pack', 5, '2025-07-03 00:00Z', payment_ref => 'pay_pack')$$) AS other_end,
       t.sqlstate($$SELECT credits_add_purchased('pack', 5, 'pay_pack')$$) AS other_call;
SELECT * FROM credits_verify();
DROP FUNCTION t.changed(timestamptz);
DROP FUNCTION t.tampered(text);
DROP EXTENSION credits;
