-- A superuser who disables a guard can change grants, holds, chargebacks and what the history
-- says of them.  Verification of all accounts, and of the one account, names what was changed.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;

-- One user with everything: open and closed grants and holds, refunds and chargebacks.
CALL t.story($$
    01-10 | credits_open_account('a', 'free') | 100/0/0
          | credits_add_purchased('a', 50, 'pay_a') | 100/0/50
          | credits_grant('a', 10, '2026-01-20 00:00Z') | 100/10/50
          | credits_grant('a', 20, '2026-06-20 00:00Z') | 100/30/50
          | credits_hold('a', 115, '1 hour') | 0/15/50 h115
          | credits_capture('a', 5, 60, true) | 0/15/50 h55
    01-10 01:00 | credits_deduct('a', 70) | 0/0/50
          | credits_capture('a', 5, 2) | 0/0/48
          | credits_refund('a', 8, 25) | 0/25/48
          | credits_revoke_purchase('pay_a', 49) | 0/25/0 o1
          | credits_refund('a', 8, 20) | 15/30/0 o1
          | credits_set_overdraft('a', 3) | 15/30/0 o1
          | credits_hold('a', 5, '1 hour') | 10/30/0 h5 o1
          | credits_release('a', 14) | 15/30/0 o1
    -- the 10 of the grant that ends go before
    01-25 | credits_hold('a', 15, '10 days') | 0/20/0 h15 o1
    02-01 | credits_set_cycle('a', NULL, 'Europe/Berlin') | 100/20/0 h15 o1
          | credits_hold('a', 3, '5 days') | 97/20/0 h18 o1
          | credits_add_purchased('a', 8, 'pay_a2') | 97/20/7 h18
          | credits_hold('a', 119, '20 days') | 0/0/5 h137
          | credits_hold('a', 2, '1 hour') | 0/0/3 h139
          | credits_release('a', 23) | 0/0/5 h137
          | credits_revoke_purchase('pay_a2', 6) | 0/0/0 h137 o1
    -- a hold of two parts that has ended, and no late capture yet
          | credits_open_account('b', 'free') | 100/0/0
          | credits_grant('b', 10, '2026-06-20 00:00Z') | 100/10/0
          | credits_grant('b', 10, '2026-05-20 00:00Z') | 100/20/0
          | credits_hold('b', 115, '1 hour') | 0/5/0 h115
    02-02 | credits_deduct('b', 1) | 99/20/0
          | credits_open_account('c', 'free') | 100/0/0
    -- a paid grant that ends with 11, and with 4 in a hold; its chargeback takes these and 3 more
          | credits_grant('p', 20, '2026-02-03 00:00Z', payment_ref => 'pay_p') | 0/20/0
          | credits_deduct('p', 5) | 0/15/0
          | credits_hold('p', 4, '2 days') | 0/11/0 h4
    02-05 | credits_add_purchased('p', 1, 'pay_p2') | 0/0/1
          | credits_revoke_purchase('pay_p', total => 18) | 0/0/0 o2
$$);
SELECT count(*) FILTER (WHERE wrong IS NOT NULL) AS wrong FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, owed, expired, forfeited, allocations FROM t.moves('a');
SELECT seq, kind, ref, amount, delta, balance, held, owed, expired, forfeited, allocations FROM t.moves('p');
SELECT * FROM credit_grant ORDER BY user_id, seq;
SELECT * FROM credit_hold ORDER BY user_id, seq;
SELECT * FROM credit_payment ORDER BY user_id, seq;
SELECT * FROM credits_verify();

-- One tampering at a time, each undone: guards and constraints off, the change, guards
-- on.  alone: does credits_verify_account of that user find anything, too?
CREATE FUNCTION t.tampered(change text, OUT bad int8, OUT object text, OUT bad_user_id text, OUT bad_seq int8, OUT problem text, OUT alone bool)
LANGUAGE plpgsql AS $$
DECLARE
    tab text;
    tabs text[] := ARRAY['credit_account', 'credit_history', 'credit_payment', 'credit_grant', 'credit_hold'];
BEGIN
    FOREACH tab IN ARRAY tabs LOOP
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER credits_guard', tab);
        EXECUTE (SELECT string_agg(format('ALTER TABLE %I DROP CONSTRAINT %I', tab, conname), ';')
                   FROM pg_constraint WHERE conrelid = tab::regclass AND contype = 'c');
    END LOOP;
    EXECUTE change;
    FOREACH tab IN ARRAY tabs LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER credits_guard', tab);
    END LOOP;
    SELECT count(*) OVER (), v.* INTO bad, object, bad_user_id, bad_seq, problem
      FROM credits_verify() v ORDER BY v.object COLLATE "C", v.bad_user_id COLLATE "C", v.bad_seq;
    IF bad_user_id IS NOT NULL AND EXISTS (SELECT FROM credit_account WHERE user_id = bad_user_id) THEN
        alone := EXISTS (SELECT FROM credits_verify_account(bad_user_id));
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'TT000';
EXCEPTION WHEN SQLSTATE 'TT000' THEN
    bad := coalesce(bad, 0);
END $$;

-- The tables.
SELECT change, r.*
  FROM unnest(ARRAY[
    $$UPDATE credit_grant SET remaining = remaining + 1 WHERE user_id = 'a' AND seq = 4$$,
    $$UPDATE credit_grant SET amount = amount + 1 WHERE user_id = 'a' AND seq = 4$$,
    $$UPDATE credit_grant SET ends_at = ends_at + interval '1 us' WHERE user_id = 'a' AND seq = 4$$,
    $$UPDATE credit_grant SET closed = true WHERE user_id = 'a' AND seq = 4$$,
    $$UPDATE credit_grant SET closed = false WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_grant SET remaining = 1 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_grant SET ends_at = ends_at + interval '1 us' WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_grant SET seq = 5 WHERE user_id = 'a' AND seq = 3$$,
    $$UPDATE credit_grant SET user_id = 'c' WHERE user_id = 'a' AND seq = 4$$,
    $$UPDATE credit_grant SET user_id = 'nobody' WHERE user_id = 'a' AND seq = 4$$,
    $$UPDATE credit_grant SET remaining = CASE seq WHEN 2 THEN 9 ELSE 11 END WHERE user_id = 'b'$$,
    $$DELETE FROM credit_grant WHERE user_id = 'a' AND seq = 4$$,
    $$DELETE FROM credit_grant WHERE user_id = 'a' AND seq = 3$$,
    $$INSERT INTO credit_grant SELECT amount, remaining, 1, ends_at, closed, paid, user_id FROM credit_grant WHERE user_id = 'b' AND seq = 2$$,
    $$INSERT INTO credit_grant SELECT amount, remaining, 2, ends_at, closed, paid, 'c' FROM credit_grant WHERE user_id = 'b' AND seq = 2$$,
    $$INSERT INTO credit_grant SELECT amount, remaining, 1, ends_at, closed, paid, 'nobody' FROM credit_grant WHERE user_id = 'b' AND seq = 2$$,
    -- a paid grant: what it had at its end, what its revocation took elsewhere
    $$UPDATE credit_grant SET paid = true WHERE user_id = 'a' AND seq = 4$$,
    $$UPDATE credit_grant SET paid = false, elsewhere = NULL WHERE user_id = 'p'$$,
    $$UPDATE credit_grant SET expired = 1 WHERE user_id = 'p'$$,
    $$UPDATE credit_grant SET elsewhere = NULL WHERE user_id = 'p'$$,
    $$UPDATE credit_grant SET elsewhere = elsewhere - 1 WHERE user_id = 'p'$$,
    $$DELETE FROM credit_grant WHERE user_id = 'p'$$,
    $$UPDATE credit_hold SET amount = amount + 1 WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET monthly = monthly + 1 WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET purchased = purchased + 1 WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET monthly = monthly - 1, purchased = purchased + 1 WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET period = period - 1 WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET ends_at = ends_at + interval '1 us' WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET allocations = '{4,19}' WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET allocations = '{3,20}' WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET allocations = '{4,12,4,8}' WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET allocations = NULL WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET allocations = '{4}' WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET allocations = '{4,5}' WHERE user_id = 'a' AND seq = 20$$,
    $$UPDATE credit_hold SET state = 'expired', ends_at = NULL WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET state = 'released', ends_at = NULL WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET state = 'zzz' WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET seq = 100 WHERE user_id = 'a' AND seq = 22$$,
    $$UPDATE credit_hold SET user_id = 'c' WHERE user_id = 'a' AND seq = 22$$,
    $$DELETE FROM credit_hold WHERE user_id = 'a' AND seq = 22$$,
    $$INSERT INTO credit_hold SELECT amount, monthly, purchased, 100, period, user_id, state, ends_at, given_back, allocations FROM credit_hold WHERE user_id = 'a' AND seq = 22$$,
    $$INSERT INTO credit_hold SELECT amount, monthly, purchased, 2, period, 'nobody', state, ends_at, given_back, allocations FROM credit_hold WHERE user_id = 'a' AND seq = 22$$,
    -- the closed ones: one that could be captured late (again), or more of it
    $$UPDATE credit_hold SET state = 'expired' WHERE user_id = 'a' AND seq = 5$$,
    $$UPDATE credit_hold SET state = 'open', ends_at = '2026-12-01 00:00Z' WHERE user_id = 'a' AND seq = 5$$,
    $$UPDATE credit_hold SET monthly = 1 WHERE user_id = 'a' AND seq = 5$$,
    $$UPDATE credit_hold SET state = 'captured' WHERE user_id = 'a' AND seq = 14$$,
    $$UPDATE credit_hold SET state = 'expired', monthly = 5 WHERE user_id = 'a' AND seq = 14$$,
    $$UPDATE credit_hold SET ends_at = '2026-12-01 00:00Z' WHERE user_id = 'a' AND seq = 14$$,
    $$DELETE FROM credit_hold WHERE user_id = 'a' AND seq = 14$$,
    $$UPDATE credit_hold SET state = 'settled' WHERE user_id = 'b' AND seq = 4$$,
    $$UPDATE credit_hold SET monthly = 1, given_back = given_back - 1 WHERE user_id = 'b' AND seq = 4$$,
    $$UPDATE credit_hold SET given_back = NULL WHERE user_id = 'b' AND seq = 4$$,
    $$UPDATE credit_hold SET allocations = '{3,10,2,5}' WHERE user_id = 'b' AND seq = 4$$,
    $$UPDATE credit_hold SET allocations = '{3,3}', given_back = 1 WHERE user_id = 'p'$$,
    $$UPDATE credit_hold SET purchased = 4, allocations = NULL WHERE user_id = 'p'$$,
    -- payments: what was revoked
    $$UPDATE credit_payment SET revoked = 0 WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET reported = 17 WHERE payment_ref = 'pay_p'$$,
    $$UPDATE credit_payment SET granted = false WHERE payment_ref = 'pay_p'$$,
    $$UPDATE credit_payment SET paid_at = paid_at + interval '1 us' WHERE payment_ref = 'pay_p'$$,
    $$UPDATE credit_payment SET revoked = revoked + 1 WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET revoked = revoked - 1 WHERE payment_ref = 'pay_a2'$$,
    $$UPDATE credit_payment SET amount = amount + 1 WHERE payment_ref = 'pay_a'$$,
    $$DELETE FROM credit_payment WHERE payment_ref = 'pay_a'$$,
    $$UPDATE credit_payment SET seq = 2, payment_ref = 'pay_x' WHERE payment_ref = 'pay_a'$$,
    -- the account's sums
    $$UPDATE credit_account SET held_monthly = held_monthly + 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET held_granted = held_granted - 1, granted = granted + 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET held_purchased = held_purchased + 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET owed_purchased = 0 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET owed_monthly = 1 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET overdraft_limit = 4 WHERE user_id = 'a'$$,
    $$UPDATE credit_account SET next_event_at = '2026-02-04 00:00:00.000001Z' WHERE user_id = 'a'$$
  ]) WITH ORDINALITY AS c(change, n), t.tampered(c.change) r ORDER BY n;

-- History: each row of a new kind, edited in each way, or deleted.
CREATE TEMP TABLE new_kind AS
    SELECT user_id, seq, kind FROM credit_history
     WHERE user_id = 'a' AND kind IN ('grant', 'grant_end', 'hold', 'hold_end', 'capture', 'release', 'refund', 'revoke', 'set_overdraft', 'set_cycle');
SELECT h.kind, h.seq, count(*) AS edits, count(*) FILTER (WHERE r.bad > 0 AND r.bad_user_id = 'a' AND r.alone) AS found,
       count(*) FILTER (WHERE r.bad_seq = h.seq) AS right_row
  FROM new_kind h,
       unnest(ARRAY['amount = amount + 1', 'ref_seq = coalesce(ref_seq, 0) + 1', 'ref_seq = coalesce(ref_seq, 100) - 1',
                    'ends_at = coalesce(ends_at, effective_at) + interval ''1 us''', 'allocations = coalesce(allocations, ''{4,1}'') || ''{4,1}''::int8[]',
                    'allocations = ''{4,999}''', 'expired = coalesce(expired, 0) + 1', 'forfeited = coalesce(forfeited, 0) + 1',
                    'held_monthly = coalesce(held_monthly, 0) + 1', 'held_granted = coalesce(held_granted, 0) + 1', 'held_purchased = coalesce(held_purchased, 0) + 1',
                    'owed_monthly = coalesce(owed_monthly, 0) + 1', 'owed_purchased = coalesce(owed_purchased, 0) + 1',
                    'granted = granted + 1, granted_delta = granted_delta + 1', 'payment_ref = coalesce(payment_ref, '''') || ''x''',
                    'spender = ''mallory''', 'kind = ''deduct''', 'run_id = ''7f3f1f5e-9b1a-4c54-8a8e-2b6f0d1c2e3f''']) edit,
       t.tampered(format('UPDATE credit_history SET %s WHERE user_id = %L AND seq = %s', edit, h.user_id, h.seq)) r
 GROUP BY h.seq, h.kind ORDER BY h.seq;
SELECT h.seq, h.kind, r.bad, r.object, r.bad_seq, r.problem, r.alone
  FROM new_kind h, t.tampered(format('DELETE FROM credit_history WHERE user_id = %L AND seq = %s', h.user_id, h.seq)) r
 ORDER BY h.seq;

SELECT * FROM credits_verify();
DROP FUNCTION t.tampered(text);
DROP EXTENSION credits;
