-- A transfer moves purchased credits to another user; a closed account loses what it had.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT count(credits_define_plan(p, n)) FROM (VALUES ('free', 100), ('pro', 300)) v (p, n);
-- The middle column is what came out, in short: monthly/granted/purchased; wrong is what it should have been.
CALL t.story($story$
01-10 | credits_open_account('ann', 'free') | 100/0/0
      | credits_open_account('bob', 'free') | 100/0/0
      | credits_add_purchased('ann', 50, 'p1') | 100/0/50
      | credits_grant('ann', 20, '2026-02-10') | 100/20/50
-- purchased credits alone are moved; who has not enough of them keeps them
      | credits_transfer('ann', 'bob', 20, 'gift', 'k1') | 100/20/30
      | credits_transfer('ann', 'bob', 20, 'gift', 'k1') | 100/20/30 again
      | credits_transfer('ann', 'bob', 21, 'gift', 'k1') | UC003
      | credits_transfer('ann', 'bob', 31) | UC001
      | credits_transfer('ann', 'ann', 1) | 22023
      | credits_transfer('ann', 'nobody', 1) | UC002
      | credits_transfer('nobody', 'ann', 1) | UC002
      | credits_transfer('ann', 'bob', 0) | 22023
      | credits_transfer('ann', NULL, 1) | 22004
      | credits_transfer('ann', 'bob', 9007199254740992) | 22003
      | credits_balance('bob') | 100/0/20
-- back, in the other order of users; all of them
      | credits_transfer('bob', 'ann') | 100/0/0
      | credits_transfer('bob', 'ann') | UC001
      | credits_balance('ann') | 100/20/50
-- what is held is not moved; a frozen account keeps its credits, and takes some
      | credits_open_account('cid') | 0/0/0
      | credits_transfer('ann', 'cid', 20, 'gift', 'k1') | UC003
      | credits_add_purchased('cid', 10, 'p2') | 0/0/10
      | h = credits_hold('cid', 4) | 0/0/6 h4
      | credits_transfer('cid', 'bob', 7) | UC001
      | credits_transfer('cid', 'bob') | 0/0/0 h4
      | credits_close_account('cid') | 55000
      | credits_release('cid', :h) | 0/0/4
      | credits_freeze('cid') | 0/0/4
      | credits_transfer('cid', 'bob') | UC004
      | credits_transfer('ann', 'cid', 1) | 100/20/49
-- a debt is paid by what comes
      | credits_set_overdraft('bob', 50) | 100/0/6
      | credits_deduct('bob', 126) | 0/0/0 o20
      | credits_transfer('ann', 'bob', 25) | 100/20/24
      | credits_balance('bob') | 0/0/5
-- over the receiver's cap: neither side moves
      | credits_add_purchased('max', 9007199254740991, 'p3') | 0/0/9007199254740991
      | credits_transfer('ann', 'max', 1) | 22003
      | credits_balance('ann') | 100/20/24
-- closing: what is left goes, spending and granting are over, money still comes
      | credits_deduct('ann', 30) | 70/20/24
      | credits_close_account('ann', 'asked to') | 0/0/0 x90 f24
      | credits_close_account('ann') | UC004
      | credits_deduct('ann', 1) | UC004
      | credits_hold('ann', 1) | UC004
      | credits_grant('ann', 1, '2026-03-01') | UC004
      | credits_set_plan('ann', 'free') | UC004
      | credits_set_plan('ann', 'free', 'next_reset') | UC004
      | credits_freeze('ann') | UC004
      | credits_transfer('bob', 'ann', 1) | UC004
      | credits_add_purchased('ann', 5, 'p4') | 0/0/5
      | credits_transfer('ann', 'bob') | 0/0/0
      | credits_balance('bob') | 0/0/10
      | credits_balance('ann') ->> 'status' | closed
-- the grant is over, the period not: coming back grants what had not been granted or was given up unspent, 100 - 30
01-20 | credits_unfreeze('ann') | 0/0/0
      | credits_set_plan('ann', 'free') | 70/0/0
      | credits_close_account('ann') | 0/0/0 x70
02-02 | credits_balance('ann') | 0/0/0
      | credits_unfreeze('ann') | 0/0/0
      | credits_set_plan('ann', 'free') | 100/0/0
      | credits_close_account('nobody') | UC002
      | credits_close_account(NULL) | 22004
$story$);
SELECT at, call, got, wrong FROM t.told ORDER BY no;
SELECT seq, kind, amount, delta, balance, expired, forfeited, allocations, at FROM t.moves('ann');
SELECT seq, kind, amount, delta, balance, owed FROM t.moves('bob');
SELECT user_id, seq, kind, spender, reason, status FROM credit_history WHERE kind IN ('transfer_out', 'transfer_in', 'close') ORDER BY 1, 2;
SELECT action, subject, after -> 'expired' AS expired, after -> 'forfeited' AS forfeited FROM credit_audit_log WHERE action = 'close_account' ORDER BY seq;
SELECT * FROM credits_verify();
-- a closed account is swept, and nothing comes of it (the 100 are bob's)
SELECT credits_close_account('ann') ->> 'status' AS ann;
SET credits.clock = '2026-03-02 00:00:00+00';
SELECT credits_reset_due() -> 'credits_granted' AS granted;
SELECT status, monthly, next_reset_at FROM credit_account WHERE user_id = 'ann';
-- nor is it imported into
CALL credits_import($$SELECT 'ann' AS user_id, 5 AS purchased$$) \gset
SELECT :'report'::jsonb -> 'skipped' AS skipped, :'report'::jsonb -> 'in_use' AS in_use;
-- nor opened as if it were new, after a purchase had opened it
SELECT credits_add_purchased('eva', 5, 'p5') -> 'available' AS bought;
SELECT credits_close_account('eva') -> 'forfeited' AS forfeited;
\set VERBOSITY sqlstate
SELECT credits_open_account('eva', 'free');
SELECT credits_open_account('eva');
\set VERBOSITY default
-- every grant ends, one that was spent too: what was spent of either does not come back
SELECT credits_open_account('gil') -> 'available' AS opened;
SELECT credits_grant('gil', 5, '2026-06-01') -> 'granted' AS granted, credits_grant('gil', 5, '2026-06-02') -> 'granted' AS more;
SELECT credits_deduct('gil', 7) -> 'seq' AS spent \gset
SELECT credits_close_account('gil') -> 'expired' AS expired;
SELECT seq, remaining, closed FROM credit_grant WHERE user_id = 'gil' ORDER BY seq;
SELECT credits_refund('gil', :spent) -> 'forfeited' AS forfeited, credits_unfreeze('gil') -> 'available' AS available;
-- One time for both: an account whose last row is more than a minute later than the clock takes no part, so
-- that the other one does not get that time.
CALL t.story($story$
04-01 | credits_open_account('hal') | 0/0/0
      | credits_add_purchased('hal', 10, 'p6') | 0/0/10
      | credits_open_account('ivy') | 0/0/0
      | credits_open_account('jon') | 0/0/0
      | credits_add_purchased('jon', 10, 'p7') | 0/0/10
04-02 | credits_transfer('hal', 'ivy', 1, NULL, 'k2') | 0/0/9
04-01 23:59 | credits_transfer('hal', 'ivy', 2) | 0/0/7
04-01 23:58:59.999999 | credits_transfer('hal', 'jon', 1) | 55000
      | credits_transfer('jon', 'hal', 1) | 55000
      | credits_transfer('hal', 'nobody', 1) | UC002
-- a key that was used is found before, and so is a wrong one; the clock is found before the balance and a freeze
      | credits_transfer('hal', 'ivy', 1, NULL, 'k2') | 0/0/9 again
      | credits_transfer('hal', 'ivy', 2, NULL, 'k2') | UC003
      | credits_transfer('jon', 'ivy', 11) | 55000
      | credits_freeze('hal') | 0/0/7
      | credits_transfer('hal', 'jon', 1) | 55000
      | credits_unfreeze('hal') | 0/0/7
-- every other call goes on
      | credits_deduct('hal', 1) | 0/0/6
-- one of the two is put right, then the other
      | credits_repair_clock('hal') | 0/0/6
      | credits_transfer('hal', 'jon', 1) | 0/0/5
      | credits_transfer('hal', 'ivy', 1) | 55000
      | credits_repair_clock('ivy') | 0/0/3
      | credits_transfer('hal', 'ivy', 1) | 0/0/4
      | (SELECT to_char(max(effective_at), 'MM-DD HH24:MI:SS.US') FROM credit_history WHERE user_id = 'jon') | 04-01 23:58:59.999999
$story$);
SELECT at, call, got, wrong FROM t.told ORDER BY no;
SELECT credits_unfreeze('ivy') ->> 'effective_at' AS ivy FROM set_config('credits.clock', '2026-04-02 00:01:00.000001+00', false);
SET credits.clock = '2026-04-01 12:00:00+00';
SELECT * FROM t.refused($$SELECT credits_transfer('jon', 'ivy', 1)$$);
SELECT * FROM credits_verify();
DROP EXTENSION credits;
