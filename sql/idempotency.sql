-- Idempotency keys.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_define_plan('pro', 100) ->> 'version' AS version;
SELECT credits_open_account(u, 'free') ->> 'seq' AS seq FROM unnest(ARRAY['a', 'b']) u;

-- A replay returns the first receipt; only replayed differs.
SELECT credits_deduct('a', 2, 'why', 'k1', '{"n": 1}', 'sam') AS first \gset
SELECT credits_deduct('a', 2, 'why', 'k1', '{"n": 1}', 'sam') AS again \gset
SELECT :'first'::jsonb -> 'replayed' AS first, :'again'::jsonb -> 'replayed' AS again,
       :'first'::jsonb - 'replayed' = :'again'::jsonb - 'replayed' AS same;
-- however much happened in between, with the balances of then
SELECT credits_deduct('a', 1) ->> 'available' AS available;
SET credits.clock = '2026-02-03 00:00:00+00';
SELECT :'first'::jsonb - 'replayed' = credits_deduct('a', 2, 'why', 'k1', '{"n": 1}', 'sam') - 'replayed' AS same;
-- a replay writes nothing, not even the boundary that passed
SELECT seq, kind, amount, balance FROM t.history('a');
-- nor is it refused for want of credits, or for a freeze
SELECT credits_deduct('a', 10) ->> 'available' AS available;
SELECT credits_deduct('a', 2, 'why', 'k1', NULL, 'sam') ->> 'available' AS available;
SELECT credits_freeze('a') ->> 'kind' AS kind;
SELECT credits_deduct('a', 2, 'why', 'k1', NULL, 'sam') ->> 'available' AS available;
SELECT credits_unfreeze('a') ->> 'kind' AS kind;

-- Metadata is not compared.
SELECT credits_deduct('a', 2, 'why', 'k1', '{"n": 2}', 'sam') -> 'replayed' AS replayed;
-- Another amount or another kind is a conflict.
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_deduct('a', 3, 'why', 'k1', '{"n": 1}', 'sam')$$);
SELECT statement, t.sqlstate('SELECT ' || statement)
  FROM unnest(ARRAY[
    $$credits_add_purchased('a', 2, 'pay_1', 'why', 'k1')$$,
    $$credits_adjust('a', 'purchased', 2, 'why', 'k1')$$,
    $$credits_adjust('a', 'monthly', -2, 'why', 'k1')$$,
    $$credits_set_plan('a', 'free', 'now', 'why', 'k1')$$,
    $$credits_try_deduct('a', 3, 'why', 'k1')$$
  ]) WITH ORDINALITY AS s(statement, n) ORDER BY n;
SELECT count(*) AS payments FROM credit_payment;

-- deduct and try_deduct are one kind.
SELECT * FROM t.receipt(credits_try_deduct('a', 2, 'why', 'k1', NULL, 'sam'));
SELECT * FROM t.receipt(credits_try_deduct('b', 1, NULL, 'k2'));
SELECT * FROM t.receipt(credits_deduct('b', 1, NULL, 'k2'));

-- A key belongs to its user.
SELECT * FROM t.receipt(credits_deduct('b', 4, NULL, 'k1'));

-- A key may be spent on any kind, and replays there.
SELECT * FROM t.receipt(credits_add_purchased('b', 7, 'pay_2', NULL, 'k3'));
SELECT * FROM t.receipt(credits_add_purchased('b', 7, 'pay_2', NULL, 'k3'));
SELECT * FROM t.receipt(credits_adjust('b', 'purchased', -3, 'typo', 'k4'));
SELECT * FROM t.receipt(credits_adjust('b', 'purchased', -3, 'typo', 'k4'));
SELECT sqlstate FROM t.refused($$SELECT credits_adjust('b', 'monthly', -3, 'typo', 'k4')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_adjust('b', 'purchased', 3, 'typo', 'k4')$$);
SELECT * FROM t.receipt(credits_set_plan('b', 'pro', 'now', NULL, 'k5'));
SELECT * FROM t.receipt(credits_set_plan('b', 'pro', 'now', NULL, 'k5'));
SELECT sqlstate FROM t.refused($$SELECT credits_set_plan('b', 'free', 'now', NULL, 'k5')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_set_plan('b', 'pro', 'next_reset', NULL, 'k5')$$);
-- the same key with another payment
SELECT sqlstate FROM t.refused($$SELECT credits_add_purchased('b', 7, 'pay_3', NULL, 'k3')$$);
SELECT payment_ref FROM credit_payment ORDER BY 1;

-- A refused call leaves no key: the retry is judged anew.
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('a', 1, NULL, 'k6')$$);
SELECT credits_try_deduct('a', 1, NULL, 'k6') -> 'ok' AS ok;
SELECT credits_add_purchased('a', 5, 'pay_4') ->> 'available' AS available;
SELECT * FROM t.receipt(credits_deduct('a', 2, NULL, 'k6'));
SELECT * FROM t.receipt(credits_deduct('a', 2, NULL, 'k6'));
-- a failed one neither
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('a', 0, NULL, 'k7')$$);
SELECT * FROM t.receipt(credits_deduct('a', 1, NULL, 'k7'));

-- Rolled back, the key is free again; released savepoints keep it.
BEGIN;
SAVEPOINT s;
SELECT credits_deduct('a', 1, NULL, 'k8') -> 'replayed' AS replayed;
ROLLBACK TO s;
SELECT credits_deduct('a', 2, NULL, 'k8') -> 'replayed' AS replayed;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT credits_deduct('a', 1, NULL, 'k8') -> 'replayed' AS replayed;
RELEASE s;
SELECT credits_deduct('a', 1, NULL, 'k8') -> 'replayed' AS replayed;
COMMIT;
SELECT credits_deduct('a', 1, NULL, 'k8') -> 'replayed' AS replayed;

-- In one statement the second call is the replay of the first.
SELECT x -> 'replayed' AS x, y -> 'replayed' AS y, x ->> 'seq' = y ->> 'seq' AS same_row
  FROM (SELECT credits_deduct('a', 1, NULL, 'k9') AS x, credits_deduct('a', 1, NULL, 'k9') AS y OFFSET 0) s;

-- Keys are 1 to 255 bytes.
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('b', 1, NULL, '')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_deduct('b', 1, NULL, repeat('k', 256))$$);
SELECT credits_deduct('b', 1, NULL, repeat('k', 255)) -> 'replayed' AS replayed;
SELECT credits_deduct('b', 1, NULL, repeat('k', 255)) -> 'replayed' AS replayed;
-- compared byte by byte
SELECT credits_deduct('b', 1, NULL, 'Key') -> 'replayed' AS replayed;
SELECT credits_deduct('b', 1, NULL, 'key') -> 'replayed' AS replayed;
SELECT credits_deduct('b', 1, NULL, 'key ') -> 'replayed' AS replayed;

SELECT kind, amount, delta, balance FROM t.history('a');
SELECT * FROM credits_verify();
DROP EXTENSION credits;
