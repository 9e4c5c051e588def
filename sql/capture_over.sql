-- A capture for more than hold and balance have: over => 'owe' books the rest as owed.  A capture of 0
-- settles the hold.  Refusals name the call that helps.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00Z';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;

CALL t.story($$
    -- hold 60, then 40 monthly and 5 purchased, then 15 that are owed; they are paid by what comes
    01-10 | credits_open_account('u', 'free') | 100/0/0
          | credits_add_purchased('u', 5, 'pay u') | 100/0/5
          | h = credits_hold('u', 60) | 40/0/5 h60
          | credits_capture('u', :h, 120) | UC001
          | credits_capture('u', :h, 120, over => 'refuse') | UC001
          | credits_capture('u', :h, 120, over => 'owe') | 0/0/0 o15
          | credits_add_purchased('u', 20, 'pay u2') | 0/0/5
    -- a refund gives back last what was taken first: the purchased credits that were owed, ...
          | c = credits_hold('u', 5) | 0/0/0 h5
          | c2 = credits_capture('u', :c, 12, over => 'owe') | 0/0/0 o7
          | credits_refund('u', :c2, 9) | 0/0/2
          | credits_refund('u', :c2) | 0/0/5
    -- within the hold, over changes nothing; the rest comes back
          | h2 = credits_hold('u', 4) | 0/0/1 h4
          | credits_capture('u', :h2, 3, over => 'owe') | 0/0/2
    -- the overdraft limit does not bind it, and what it owes counts for the next deduction
          | credits_set_overdraft('u', 10) | 0/0/2
          | h3 = credits_hold('u', 2) | 0/0/0 h2
          | credits_capture('u', :h3, 42, over => 'owe') | 0/0/0 o40
          | credits_deduct('u', 1) | UC001
    -- to keep open what is spent is nothing to keep
          | h4 = credits_add_purchased('u', 45, 'pay u3') | 0/0/5
          | h5 = credits_hold('u', 5) | 0/0/0 h5
          | credits_capture('u', :h5, 6, true, over => 'owe') | 0/0/0 o1
          | credits_capture('u', :h5, 1, over => 'owe') | UC006
    -- granted credits are spent on the way
          | credits_open_account('g') | 0/0/0
          | credits_grant('g', 10, '2026-02-01 00:00Z') | 0/10/0
          | hg = credits_hold('g', 4) | 0/6/0 h4
          | credits_capture('g', :hg, 11, over => 'owe') | 0/0/0 o1
    -- late, after the hold has ended
          | credits_open_account('l') | 0/0/0
          | credits_add_purchased('l', 10, 'pay l') | 0/0/10
          | hl = credits_hold('l', 10, '1 hour') | 0/0/0 h10
    01-10 02:00 | credits_deduct('l', 8) | 0/0/2
          | credits_capture('l', :hl, over => 'owe') | 0/0/0 o8
    -- not while frozen, but within the hold; not when closed
    01-10 | credits_open_account('f', 'free') | 100/0/0
          | hf = credits_hold('f', 50) | 50/0/0 h50
          | credits_freeze('f') | 50/0/0 h50
          | credits_capture('f', :hf, 51, over => 'owe') | UC004
          | credits_capture('f', :hf, 50, over => 'owe') | 50/0/0
          | credits_unfreeze('f') | 50/0/0
          | hf2 = credits_hold('f', 50, '1 hour') | 0/0/0 h50
    01-10 02:00 | credits_close_account('f') | 0/0/0 x50
          | credits_capture('f', :hf2, 1, over => 'owe') | UC004
    -- no more than the cap is owed
    01-10 | credits_open_account('x') | 0/0/0
          | credits_add_purchased('x', 1, 'pay x') | 0/0/1
          | hx = credits_hold('x', 1) | 0/0/0 h1
          | credits_capture('x', :hx, 9007199254740991, true, over => 'owe') | 0/0/0 o9007199254740990
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, owed, allocations FROM t.moves('u') WHERE kind IN ('capture', 'refund');

-- A capture of 0 settles: all comes back, and the hold is closed.  A late one takes nothing either.
CALL t.story($$
    01-10 | credits_open_account('z', 'free') | 100/0/0
          | h = credits_hold('z', 60) | 40/0/0 h60
          | credits_capture('z', :h, 0, true) | 22023
          | credits_capture('z', :h, 0, idempotency_key => 'k') | 100/0/0
          | credits_capture('z', :h, 0, idempotency_key => 'k') | 100/0/0 again
          | credits_capture('z', :h, NULL, idempotency_key => 'k') | UC003
          | credits_capture('z', :h, 0) | UC006
          | credits_refund('z', 3, 1) | UC010
          | credits_refund('z', 3) | UC010
          | h2 = credits_hold('z', 60, '1 hour') | 40/0/0 h60
    01-10 02:00 | credits_capture('z', :h2, 0) | 100/0/0
          | credits_capture('z', :h2, 0) | UC006
          | (SELECT string_agg(concat(seq, ' ', state), ', ' ORDER BY seq) FROM credit_hold WHERE user_id = 'z') | 2 captured, 4 settled
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, allocations FROM t.moves('z');

-- Keys: what is over belongs to the request.
CALL t.story($$
    01-10 | credits_open_account('k', 'free') | 100/0/0
          | h = credits_hold('k', 100) | 0/0/0 h100
          | credits_capture('k', :h, 110, idempotency_key => 'c', over => 'owe') | 0/0/0 o10
          | credits_capture('k', :h, 110, idempotency_key => 'c', over => 'owe') | 0/0/0 o10 again
          | credits_capture('k', :h, 110, idempotency_key => 'c') | UC003
          | credits_capture('k', :h, 110, true, idempotency_key => 'c', over => 'owe') | UC003
          | credits_capture('k', :h, 110, over => 'lend') | 22023
          | credits_capture('k', :h, 110, over => '') | 22023
$$);
SELECT * FROM t.told;

-- What refusals say.
SET credits.clock = '2026-01-10 00:00Z';
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_capture('k', 2)$$);
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_release('z', 2)$$);
SELECT credits_deduct('z', 10) ->> 'seq' AS deducted \gset
SELECT credits_refund('z', :deducted) ->> 'ok' AS refunded;
SELECT sqlstate, message, detail, hint FROM t.refused(format($$SELECT credits_refund('z', %s, 1)$$, :deducted));
SELECT sqlstate, message, detail, hint FROM t.refused(format($$SELECT credits_refund('z', %s)$$, :deducted));
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_revoke_purchase('pay u', 6)$$);
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_revoke_purchase('pay u', 5, total => 5)$$);
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_reinstate_purchase('pay u', 1)$$);
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_capture('z', 2, 5, over => 'lend')$$);
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_capture('z', 2, 0, true)$$);
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_deduct('z', 0)$$);
SELECT sqlstate, message, hint FROM t.refused($$SELECT credits_set_plan('z', 'free', keep_anchor => true)$$);
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_capture('z', 4, 1000)$$);

SELECT * FROM credits_verify();
DROP EXTENSION credits;
