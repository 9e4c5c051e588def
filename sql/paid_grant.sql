-- Credits that are paid for and end; what is reported of a payment more than once, and in any order; and
-- disputes that are won.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00Z';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;

-- Credited once for ever, for a user without an account too, and also when the account is closed.
CALL t.story($$
    01-10 | credits_grant('new', 50, '2026-03-01 00:00Z', payment_ref => 'pack') | 0/50/0
          | credits_grant('new', 50, '2026-03-01 00:00Z', payment_ref => 'pack') | 0/50/0 again
          | credits_grant('new', 50, '2026-03-02 00:00Z', payment_ref => 'pack') | UC003
          | credits_grant('new', 51, '2026-03-01 00:00Z', payment_ref => 'pack') | UC003
          | credits_grant('other', 50, '2026-03-01 00:00Z', payment_ref => 'pack') | UC003
          | credits_add_purchased('new', 50, 'pack') | UC003
          | credits_add_purchased('new', 5, 'coins') | 0/50/5
          | credits_grant('new', 5, '2026-03-01 00:00Z', payment_ref => 'coins') | UC003
          | credits_grant('new', 5, '2026-01-10 00:00Z', payment_ref => 'over') | 22023
          | credits_grant('nobody', 5, '2026-03-01 00:00Z') | UC002
          | credits_grant('new', 5, '2026-03-01 00:00Z', payment_ref => '') | 22023
          | credits_close_account('new') | 0/0/0 x50 f5
          | credits_grant('new', 5, '2026-03-01 00:00Z') | UC004
          | credits_grant('new', 7, '2026-03-01 00:00Z', payment_ref => 'pack 2') | 0/7/0
$$);
SELECT * FROM t.told;
SELECT payment_ref, user_id, seq, amount, granted, revoked FROM credit_payment ORDER BY seq;
SELECT seq, amount, remaining, closed, paid, expired FROM credit_grant ORDER BY seq;
SELECT jsonb_pretty(credits_grant('r', 9, '2026-02-01 00:00Z', 'a pack', 'key', '{"invoice": 7}', 'pack r'));
SELECT jsonb_pretty(credits_explain('r') #> '{granted,grants}');

-- A chargeback takes first what is left of the grant, then purchased credits; the rest is owed.
CALL t.story($$
    01-10 | credits_grant('u', 50, '2026-03-01 00:00Z', payment_ref => 'u1') | 0/50/0
          | credits_add_purchased('u', 8, 'u2') | 0/50/8
          | d = credits_deduct('u', 30) | 0/20/8
          | credits_revoke_purchase('u1', 15) | 0/5/8
          | credits_revoke_purchase('u1') | 0/0/0 o22
    -- won: it goes back to where it was taken from, last first
          | credits_reinstate_purchase('u1', 25) | 0/0/3
          | credits_reinstate_purchase('u1', 26) | UC010
          | credits_reinstate_purchase('u1') | 0/20/8
          | credits_reinstate_purchase('u1') | UC010
    -- and what was spent of it comes back to it
          | credits_refund('u', :d) | 0/50/8
    -- what comes back to a grant that was revoked meanwhile first gives back what was taken elsewhere
          | h = credits_hold('u', 40) | 0/10/8 h40
          | credits_revoke_purchase('u1') | 0/0/0 h40 o32
          | credits_capture('u', :h, 3, true) | 0/0/0 h37 o32
          | credits_release('u', :h) | 0/0/5
          | (SELECT concat(remaining, ' elsewhere ', elsewhere) FROM credit_grant WHERE user_id = 'u') | 0 elsewhere 3
          | credits_reinstate_purchase('u1') | 0/47/8
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, owed, forfeited, allocations FROM t.moves('u') WHERE kind IN ('revoke', 'reinstate', 'release', 'refund');

-- What has ended unused covers the chargeback: nobody pays twice.  Won, it is lost as it was.
CALL t.story($$
    01-10 | credits_grant('e', 50, '2026-03-01 00:00Z', payment_ref => 'e1') | 0/50/0
          | credits_add_purchased('e', 8, 'e2') | 0/50/8
          | d = credits_deduct('e', 30) | 0/20/8
    03-01 | credits_balance('e') | 0/0/8
          | credits_revoke_purchase('e1', 10) | 0/0/8
          | (SELECT expired FROM credit_grant WHERE user_id = 'e') | 10
          | credits_revoke_purchase('e1') | 0/0/0 o22
          | credits_reinstate_purchase('e1') | 0/0/8 f20
          | (SELECT expired FROM credit_grant WHERE user_id = 'e') | 20
    -- what comes back after the end has ended, too, and covers what is revoked later
          | credits_refund('e', :d, 12) | 0/0/8 f12
          | credits_revoke_purchase('e1', 32) | 0/0/8
          | credits_revoke_purchase('e1') | 0/0/0 o10
          | credits_refund('e', :d) | 0/0/8
$$);
SELECT * FROM t.told;

-- A late capture uses what expired with the hold, and a chargeback too; but not both the same.
CALL t.story($$
    01-10 | credits_grant('l', 50, '2026-02-01 00:00Z', payment_ref => 'l1') | 0/50/0
          | h = credits_hold('l', 40, '31 days') | 0/10/0 h40
          | credits_add_purchased('l', 100, 'l2') | 0/10/100 h40
    02-10 | credits_balance('l') | 0/0/100
    -- 25 of the 50 that ended are left for the hold
          | credits_revoke_purchase('l1', 25) | 0/0/100
          | credits_capture('l', :h) | 0/0/85
          | credits_revoke_purchase('l1') | 0/0/60
    -- captured first: 10 are left for the chargeback
    01-10 | credits_grant('m', 50, '2026-02-01 00:00Z', payment_ref => 'm1') | 0/50/0
          | h2 = credits_hold('m', 40, '31 days') | 0/10/0 h40
          | credits_add_purchased('m', 100, 'm2') | 0/10/100 h40
    02-10 | credits_capture('m', :h2) | 0/0/100
          | credits_revoke_purchase('m1', 25) | 0/0/85
          | credits_revoke_purchase('m1') | 0/0/60
    -- too much for the hold: over what is left, it is an ordinary deduction
    01-10 | credits_grant('n', 50, '2026-02-01 00:00Z', payment_ref => 'n1') | 0/50/0
          | h3 = credits_hold('n', 40, '31 days') | 0/10/0 h40
    02-10 | credits_revoke_purchase('n1', 20) | 0/0/0
          | credits_capture('n', :h3, 31) | UC001
          | credits_capture('n', :h3, 30) | 0/0/0
          | credits_revoke_purchase('n1') | 0/0/0 o30
$$);
SELECT * FROM t.told;

-- Providers report what is refunded in all, each report more than once, in any order: exactly that is taken.
CALL t.story($$
    01-10 | credits_open_account('t') | 0/0/0
          | credits_add_purchased('t', 100, 't1') | 0/0/100
          | credits_revoke_purchase('t1', total => 30) | 0/0/70
          | credits_revoke_purchase('t1', total => 50) | 0/0/50
          | credits_revoke_purchase('t1', total => 30) | 0/0/50 again
          | credits_revoke_purchase('t1', total => 50) | 0/0/50 again
          | credits_add_purchased('t', 100, 't2') | 0/0/150
          | credits_revoke_purchase('t2', total => 50) | 0/0/100
          | credits_revoke_purchase('t2', total => 30) | 0/0/100 again
          | credits_revoke_purchase('t2', total => 50) | 0/0/100 again
          | credits_revoke_purchase('t2', total => 30) | 0/0/100 again
    -- an amount and a reinstatement do not change what was reported
          | credits_revoke_purchase('t2', 10) | 0/0/90
          | credits_revoke_purchase('t2', total => 55) | 0/0/85
          | credits_reinstate_purchase('t2', 65) | 0/0/150
          | credits_revoke_purchase('t2', total => 55) | 0/0/85 again
          | credits_revoke_purchase('t2', total => 60) | 0/0/145
    -- not more than what is not revoked yet, and never more than the payment
          | credits_revoke_purchase('t2', 90) | 0/0/55
          | credits_revoke_purchase('t2', total => 100) | 0/0/50
          | credits_revoke_purchase('t2', total => 100) | 0/0/50 again
          | credits_revoke_purchase('t2', total => 101) | UC010
          | credits_revoke_purchase('t2', 1, total => 100) | 22023
          | credits_revoke_purchase('t2', total => 0) | 22023
    -- by key: the total belongs to the request
          | credits_add_purchased('t', 10, 't3') | 0/0/60
          | credits_revoke_purchase('t3', idempotency_key => 'k', total => 4) | 0/0/56
          | credits_revoke_purchase('t3', idempotency_key => 'k', total => 4) | 0/0/56 again
          | credits_revoke_purchase('t3', idempotency_key => 'k', total => 5) | UC003
          | credits_revoke_purchase('t3', 4, idempotency_key => 'k') | UC003
          | credits_reinstate_purchase('t3', 4, idempotency_key => 'k2') | 0/0/60
          | credits_reinstate_purchase('t3', 4, idempotency_key => 'k2') | 0/0/60 again
          | credits_reinstate_purchase('t3', 3, idempotency_key => 'k2') | UC003
          | credits_reinstate_purchase('none') | UC011
    -- all was revoked by amounts: a report takes nothing, and is remembered
          | credits_revoke_purchase('t3') | 0/0/50
          | credits_revoke_purchase('t3', total => 9) | 0/0/50
          | credits_revoke_purchase('t3', total => 9) | 0/0/50 again
          | credits_reinstate_purchase('t3') | 0/0/60
          | credits_revoke_purchase('t3', total => 10) | 0/0/59
$$);
SELECT * FROM t.told;
SELECT payment_ref, amount, revoked, reported FROM credit_payment WHERE user_id = 't' ORDER BY 1;
SELECT seq, kind, ref, amount, delta, balance, allocations FROM t.moves('t') WHERE kind IN ('revoke', 'reinstate');

-- Closed: what was forfeited covers what is older than that, once.  Won, it is forfeited again, and what was owed is not.
CALL t.story($$
    01-10 | credits_open_account('c') | 0/0/0
          | credits_add_purchased('c', 60, 'c1') | 0/0/60
          | credits_grant('c', 40, '2026-03-01 00:00Z', payment_ref => 'c2') | 0/40/60
          | d = credits_deduct('c', 10) | 0/30/60
          | credits_close_account('c') | 0/0/0 x30 f60
          | credits_revoke_purchase('c1', 50) | 0/0/0
          | credits_revoke_purchase('c2') | 0/0/0
          | credits_revoke_purchase('c1') | 0/0/0 o10
          | credits_reinstate_purchase('c1') | 0/0/0 f50
          | credits_reinstate_purchase('c2') | 0/0/0 f40
    -- what comes back from before pays what is owed; the rest is forfeited, and covers what is revoked later
          | credits_refund('c', :d) | 0/0/0 f10
          | credits_revoke_purchase('c1') | 0/0/0
          | credits_revoke_purchase('c2') | 0/0/0
    -- what was bought after the closing is not covered by what was forfeited
          | credits_add_purchased('c', 20, 'c3') | 0/0/20
          | credits_transfer('c', 'r', 20) | 0/0/0
          | credits_revoke_purchase('c3') | 0/0/0 o20
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, owed, forfeited, allocations FROM t.moves('c') WHERE seq > 4;
SELECT closed_seq, forfeited, charged_purchased FROM credit_account WHERE user_id = 'c';

-- What the account was charged after a closing for the time before comes back, whatever comes first, and no more than that.
CALL t.story($$
    01-10 | credits_add_purchased('c4', 100, 'c4') | 0/0/100
          | credits_revoke_purchase('c4', 99) | 0/0/1
          | credits_close_account('c4') | 0/0/0 f1
          | credits_revoke_purchase('c4') | 0/0/0
          | credits_reinstate_purchase('c4') | 0/0/0 f100
          | credits_add_purchased('c5', 100, 'c5') | 0/0/100
          | credits_deduct('c5', 100) | 0/0/0
          | credits_revoke_purchase('c5', 99) | 0/0/0 o99
          | credits_close_account('c5') | 0/0/0 o99
          | credits_unfreeze('c5') | 0/0/0 o99
          | credits_add_purchased('c5', 200, 'c6') | 0/0/101
          | credits_reinstate_purchase('c5') | 0/0/200
          | credits_grant('c7', 100, '2026-03-01 00:00Z', payment_ref => 'c7') | 0/100/0
          | d = credits_deduct('c7', 60) | 0/40/0
          | credits_close_account('c7') | 0/0/0 x40
          | credits_unfreeze('c7') | 0/0/0
          | credits_add_purchased('c7', 70, 'c8') | 0/0/70
          | credits_revoke_purchase('c7') | 0/0/10
          | credits_refund('c7', :d) | 0/0/70
          | credits_reinstate_purchase('c7') | 0/0/70 f100
$$);
SELECT * FROM t.told;
SELECT user_id, forfeited, charged_monthly, charged_purchased FROM credit_account WHERE closed_seq > 0 ORDER BY 1;

SELECT * FROM credits_verify();
DROP EXTENSION credits;
