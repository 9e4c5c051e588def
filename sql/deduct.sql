-- Spending.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 09:30:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;

-- 10 monthly and 5 purchased, deduct 12: monthly first, then purchased.
SELECT credits_open_account('u', 'free') ->> 'available' AS available;
SELECT credits_add_purchased('u', 5, 'pay_1') ->> 'available' AS available;
SELECT jsonb_pretty(credits_deduct('u', 12, 'image', NULL, '{"model": "x"}', 'alice'));
-- One history row, with both deltas.
SELECT seq, kind, amount, monthly_delta, granted_delta, purchased_delta, monthly, granted, purchased,
       reason, metadata, spender, actor = session_user AS actor, created_at, effective_at, period
  FROM credit_history WHERE user_id = 'u' AND kind = 'deduct';
SELECT monthly, granted, purchased, history_seq FROM credit_account WHERE user_id = 'u';

-- Too little is UC001, and nothing is written.
SELECT t.fingerprint() AS before \gset
SELECT sqlstate, message, hint IS NOT NULL AS hint FROM t.refused($$SELECT credits_deduct('u', 4)$$);
SELECT jsonb_pretty(detail::jsonb) FROM t.refused($$SELECT credits_deduct('u', 4)$$);
SELECT t.fingerprint() = :'before' AS nothing_written;

-- credits_try_deduct answers the same as an object: the DETAIL plus ok.
SELECT r->'ok' AS ok, r->'error' AS error, r->'required' AS required, r->'available' AS available,
       r - 'ok' = (SELECT detail::jsonb FROM t.refused($$SELECT credits_deduct('u', 4)$$)) AS same_as_detail
  FROM credits_try_deduct('u', 4) r;
SELECT t.fingerprint() = :'before' AS nothing_written;
-- ... and when there is enough, it deducts; its kind is deduct too
SELECT * FROM t.receipt(credits_try_deduct('u', 1, 'text'));
SELECT credits_try_deduct('u', 1) -> 'ok' AS ok;
-- other errors are raised by both
SELECT f, t.sqlstate(format('SELECT %s(''nobody'', 1)', f)) AS unknown, t.sqlstate(format('SELECT %s(''u'', 0)', f)) AS zero
  FROM unnest(ARRAY['credits_deduct', 'credits_try_deduct']) f;

-- To the last credit, then nothing.
SELECT * FROM t.receipt(credits_deduct('u', 1));
SELECT sqlstate, detail::jsonb -> 'required' AS required, detail::jsonb -> 'available' AS available
  FROM t.refused($$SELECT credits_deduct('u', 1)$$);
SELECT seq, kind, amount, delta, balance FROM t.history('u');

-- The whole range of amounts.
SELECT credits_add_purchased('rich', 9007199254740991, 'pay_2') ->> 'available' AS available;
SELECT credits_deduct('rich', 9007199254740991) ->> 'available' AS available;
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('rich', 9007199254740992)$$);
SELECT sqlstate FROM t.refused($$SELECT credits_try_deduct('rich', 9007199254740992)$$);
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('rich', 9223372036854775807)$$);
SELECT sqlstate, detail::jsonb -> 'required' AS required FROM t.refused($$SELECT credits_deduct('rich', 9007199254740991)$$);

-- Part of the caller's transaction: gone with it, seq included.
SELECT credits_open_account('v', 'free') ->> 'available' AS available;
BEGIN;
SELECT credits_deduct('v', 1) ->> 'seq' AS seq;
SAVEPOINT s;
SELECT credits_deduct('v', 2) ->> 'seq' AS seq;
ROLLBACK TO s;
SELECT credits_deduct('v', 4) ->> 'seq' AS seq;
COMMIT;
SELECT seq, kind, amount, balance FROM t.history('v');
BEGIN;
SELECT credits_deduct('v', 5) ->> 'available' AS available;
ROLLBACK;
SELECT credits_balance('v') ->> 'available' AS available;
-- A refused call aborts nothing but itself.
BEGIN;
SELECT credits_deduct('v', 1) ->> 'available' AS available;
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('v', 100)$$);
SELECT credits_deduct('v', 1) ->> 'available' AS available;
COMMIT;
SELECT credits_balance('v') ->> 'available' AS available, credits_balance('v') ->> 'seq' AS seq;

-- credits_balance and the view say the same.
SELECT jsonb_pretty(credits_balance('v'));
SELECT * FROM credit_balance WHERE user_id = 'v';

-- Times in a receipt: UTC, with a fraction only where there is one.
SET credits.clock = '2026-01-10 11:30:00.25+02';
SELECT r->>'created_at' AS created_at, r->>'effective_at' AS effective_at FROM credits_deduct('v', 1) r;
SET credits.clock = '2026-01-10 09:30:00.123456+00';
SELECT r->>'created_at' AS created_at, r->>'effective_at' AS effective_at FROM credits_deduct('v', 1) r;

SELECT * FROM credits_verify();
DROP EXTENSION credits;
