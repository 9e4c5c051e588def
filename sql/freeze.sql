-- A frozen account spends nothing, but is credited and reset like any other.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;

SELECT * FROM t.receipt(credits_freeze('u', 'chargeback'));
SELECT status FROM credit_account WHERE user_id = 'u';
SELECT credits_balance('u') ->> 'status' AS status, credits_balance('u') ->> 'available' AS available;

-- UC004, for try_deduct too, whatever the amount; nothing is written.
SELECT t.fingerprint() AS before \gset
SELECT sqlstate, message, hint IS NOT NULL AS hint, detail::jsonb ->> 'user_id' AS detail_user FROM t.refused($$SELECT credits_deduct('u', 1)$$);
SELECT sqlstate FROM t.refused($$SELECT credits_try_deduct('u', 1)$$);
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('u', 1000)$$);
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('u', 1, NULL, 'k')$$);
SELECT t.fingerprint() = :'before' AS nothing_written;

-- Money never bounces; an administrator can correct; the reset goes on.
SELECT * FROM t.receipt(credits_add_purchased('u', 5, 'pay_1'));
SELECT * FROM t.receipt(credits_adjust('u', 'monthly', 1, 'sorry'));
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT r->>'accounts' AS accounts, r->>'credits_granted' AS granted, r->>'credits_expired' AS expired FROM credits_reset_due() r;

SELECT * FROM t.receipt(credits_unfreeze('u', 'won'));
SELECT * FROM t.receipt(credits_deduct('u', 1, NULL, 'k'));
SELECT seq, kind, amount, delta, balance FROM t.history('u');
SELECT seq, kind, reason, status FROM credit_history WHERE kind LIKE '%freeze';

-- A boundary that is due comes first, in its place.
SET credits.clock = '2026-03-10 00:00:00+00';
SELECT * FROM t.receipt(credits_freeze('u'));
SELECT seq, kind, balance, effective_at FROM t.history('u') WHERE seq > 7;
SELECT * FROM t.receipt(credits_unfreeze('u'));

-- Who did it, and what it was before and after.
SELECT seq, action, subject, actor = session_user AS actor, before->>'status' AS before, after->>'status' AS after
  FROM credit_audit_log WHERE action LIKE '%freeze' ORDER BY seq;

SELECT sqlstate FROM t.refused($$SELECT credits_freeze('nobody')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_unfreeze('nobody')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_freeze(NULL)$$);
SELECT sqlstate FROM t.refused($$SELECT credits_unfreeze(NULL)$$);
SELECT * FROM credits_verify();
DROP EXTENSION credits;
