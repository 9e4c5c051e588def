-- credits_deduct_many: a batch of deductions.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free')) FROM unnest(ARRAY['a', 'b', 'c', 'frozen']) u;
SELECT count(credits_add_purchased(u, 5, 'pay ' || u)) FROM unnest(ARRAY['a', 'b']) u;
SELECT credits_freeze('frozen') ->> 'kind' AS kind;

-- One receipt per item, in item order; a user's items in the batch's order,
-- one account write and gapless rows.
SELECT n, r.*
  FROM credits_deduct_many(ARRAY['b', 'a', 'b', 'a'], ARRAY[1, 12, 2, 1], ARRAY['w', 'x', NULL, 'z']) WITH ORDINALITY AS m(j, n), t.receipt(m.j) r;
SELECT user_id, seq, amount, reason FROM credit_history WHERE kind = 'deduct' ORDER BY 1, 2;

-- Item by item: what is refused says so, and the others are done.
SELECT n, j -> 'ok' AS ok, j ->> 'error' AS error, j ->> 'user_id' AS user_id, j -> 'required' AS required, j -> 'available' AS available
  FROM credits_deduct_many(ARRAY['c', 'nobody', 'c', 'frozen', 'c'], ARRAY[4, 1, 7, 1, 6]) WITH ORDINALITY AS m(j, n);
SELECT user_id, monthly, purchased FROM credit_account ORDER BY 1;
-- a refusal is what credits_try_deduct answers
SELECT credits_try_deduct('c', 9) = j AS same FROM credits_deduct_many(ARRAY['c'], ARRAY[9]) j;

-- All or nothing: the first refusal undoes the batch.
SELECT t.fingerprint() AS before \gset
SELECT t.sqlstate($$SELECT * FROM credits_deduct_many(ARRAY['a', 'c'], ARRAY[1, 100], all_or_nothing => true)$$) AS insufficient,
       t.sqlstate($$SELECT * FROM credits_deduct_many(ARRAY['a', 'nobody'], ARRAY[1, 1], all_or_nothing => true)$$) AS unknown,
       t.sqlstate($$SELECT * FROM credits_deduct_many(ARRAY['a', 'frozen'], ARRAY[1, 1], all_or_nothing => true)$$) AS frozen;
SELECT t.fingerprint() = :'before' AS nothing_written;

-- Keys: in the batch, from earlier calls, and for later ones.
SELECT n, r.seq, r.amount, r.replayed, j ->> 'error' AS error
  FROM credits_deduct_many(ARRAY['b', 'b', 'b', 'b', 'a'], ARRAY[1, 1, 2, 1, 1], NULL, ARRAY['k1', 'k1', 'k1', 'k2', 'k1']) WITH ORDINALITY AS m(j, n), t.receipt(m.j) r;
SELECT n, r.seq, r.amount, r.replayed, j ->> 'error' AS error
  FROM credits_deduct_many(ARRAY['b', 'b', 'b'], ARRAY[1, 3, 1], NULL, ARRAY['k2', 'k2', 'k3']) WITH ORDINALITY AS m(j, n), t.receipt(m.j) r;
SELECT r.seq, r.replayed FROM t.receipt(credits_deduct('b', 1, NULL, 'k3')) r;
SELECT t.sqlstate($$SELECT credits_deduct('b', 2, NULL, 'k3')$$) AS conflict,
       t.sqlstate($$SELECT * FROM credits_deduct_many(ARRAY['b'], ARRAY[2], NULL, ARRAY['k3'], all_or_nothing => true)$$) AS conflict_in_batch;
SELECT t.fingerprint() AS before \gset
SELECT count(*) AS replays FROM credits_deduct_many(ARRAY['b', 'b'], ARRAY[1, 1], NULL, ARRAY['k2', 'k3']) j WHERE (j -> 'replayed')::bool;
SELECT t.fingerprint() = :'before' AS nothing_written;

-- Texts, metadata and spenders go with their items.
SELECT count(*) FROM credits_deduct_many(ARRAY['b', 'a'], ARRAY[1, 1], ARRAY['for b', NULL], NULL, ARRAY['{"n": 1}', '{"n": 2}']::jsonb[], NULL, ARRAY[NULL, 'member']);
SELECT user_id, reason, metadata, spender FROM credit_history WHERE metadata IS NOT NULL ORDER BY user_id;

-- What is due comes first, once a user; refused and replayed items alone write no event.
SET credits.clock = '2026-02-02 00:00:00+00';
SELECT count(*) FROM credits_deduct_many(ARRAY['c', 'c'], ARRAY[100, 100]);
SELECT max(seq) AS seq FROM credit_history WHERE user_id = 'c';
SELECT j -> 'available' AS available FROM credits_deduct_many(ARRAY['c', 'c', 'c'], ARRAY[1, 100, 2]) j;
SELECT seq, kind, amount FROM credit_history WHERE user_id = 'c' ORDER BY seq DESC LIMIT 3;

-- An unknown user is opened by the default plan.
SET credits.default_plan = 'free';
SELECT j ->> 'seq' AS seq, j -> 'ok' AS ok FROM credits_deduct_many(ARRAY['new', 'newer', 'new'], ARRAY[3, 11, 4]) j;
SELECT user_id, monthly, history_seq FROM credit_account WHERE user_id LIKE 'new%';
RESET credits.default_plan;

-- The same as one by one: random items, twice.
SELECT count(credits_open_account(k || n, 'free')) FROM unnest(ARRAY['one', 'many']) k, generate_series(1, 5) n;
CREATE TEMP TABLE item AS
SELECT i, 1 + (i * 7919) % 5 AS u, 1 + (i * 104729) % 3 AS amount, CASE WHEN i % 4 < 3 THEN 'key ' || (i * 31) % 17 END AS key FROM generate_series(1, 60) i;
CREATE FUNCTION t.one(u text, amount int8, key text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN credits_deduct(u, amount, NULL, key);
EXCEPTION WHEN SQLSTATE 'UC001' OR SQLSTATE 'UC003' THEN
    RETURN '{"ok": false}';
END $$;
SELECT array_agg(r ORDER BY i) AS singly FROM (SELECT i, (t.one('one' || u, amount, key) - 'user_id') ->> 'monthly' AS r FROM (SELECT * FROM item ORDER BY i) s) x \gset
SELECT array_agg(CASE WHEN (j -> 'ok')::bool THEN j ->> 'monthly' END ORDER BY n) = :'singly' AS same
  FROM credits_deduct_many((SELECT array_agg('many' || u ORDER BY i) FROM item), (SELECT array_agg(amount ORDER BY i) FROM item), NULL, (SELECT array_agg(key ORDER BY i) FROM item)) WITH ORDINALITY AS m(j, n);
SELECT substr(user_id, 4) AS u, seq, kind, amount, monthly, idempotency_key FROM credit_history WHERE user_id LIKE 'one_'
EXCEPT ALL
SELECT substr(user_id, 5), seq, kind, amount, monthly, idempotency_key FROM credit_history WHERE user_id LIKE 'many_';
SELECT count(*) FILTER (WHERE user_id LIKE 'one_') = count(*) FILTER (WHERE user_id LIKE 'many_') AS as_many FROM credit_history;

-- A large batch, of many users and of one.
SELECT credits_define_plan('big', 100000) ->> 'version' AS version;
SELECT count(credits_open_account('big ' || n, 'big')) FROM generate_series(1, 100) n;
SELECT count(*), count(DISTINCT j ->> 'seq') AS seqs, count(*) FILTER (WHERE (j -> 'ok')::bool) AS ok
  FROM credits_deduct_many((SELECT array_agg('big ' || 1 + n % 100) FROM generate_series(1, 10000) n), (SELECT array_agg(1::int8) FROM generate_series(1, 10000)),
                           NULL, (SELECT array_agg('k ' || n) FROM generate_series(1, 10000) n)) j;
SELECT min(monthly), max(monthly), min(history_seq), max(history_seq) FROM credit_account WHERE user_id LIKE 'big %';
SELECT count(*) AS ok FROM credits_deduct_many((SELECT array_agg('big 1'::text) FROM generate_series(1, 10000)), (SELECT array_agg(1::int8) FROM generate_series(1, 10000))) j WHERE (j -> 'ok')::bool;
SELECT monthly, history_seq FROM credit_account WHERE user_id = 'big 1';

-- Arguments: nothing is done if any item is wrong.
SELECT t.fingerprint() AS before \gset
SELECT call, t.sqlstate('SELECT * FROM credits_deduct_many(' || call || ')')
  FROM unnest(ARRAY[
    $$NULL, ARRAY[1]$$,                                           -- 22004
    $$ARRAY['a'], NULL$$,                                         -- 22004
    $$ARRAY['a', NULL], ARRAY[1, 1]$$,                            -- 22004
    $$ARRAY['a', 'b'], ARRAY[1, NULL]$$,                          -- 22004
    $$ARRAY['a', 'b'], ARRAY[1, 0]$$,                             -- 22023
    $$ARRAY['a', 'b'], ARRAY[1, -1]$$,                            -- 22023
    $$ARRAY['a', 'b'], ARRAY[1, 9007199254740992]$$,              -- 22003
    $$ARRAY['a', ''], ARRAY[1, 1]$$,                              -- 22023
    $$ARRAY['a', repeat('x', 256)], ARRAY[1, 1]$$,                -- 22023
    $$ARRAY['a', 'b'], ARRAY[1]$$,                                -- 22023
    $$ARRAY['a'], ARRAY[1], ARRAY['x', 'y']$$,                    -- 22023
    $$ARRAY['a'], ARRAY[1], NULL, ARRAY['']$$,                    -- 22023
    $$ARRAY[['a']], ARRAY[1]$$,                                   -- 22023
    $$(SELECT array_agg('a'::text) FROM generate_series(1, 100001)), (SELECT array_agg(1::int8) FROM generate_series(1, 100001))$$, -- 22023
    $$ARRAY[]::text[], ARRAY[]::int8[]$$                          -- no items: no receipts
  ]) WITH ORDINALITY AS c(call, n) ORDER BY n;
SELECT t.fingerprint() = :'before' AS nothing_written;
SELECT count(*) FROM credits_deduct_many('{}', '{}');
-- arrays may start anywhere
SELECT j -> 'amount' AS amount FROM credits_deduct_many('[5:6]={a,b}'::text[], '[-1:0]={1,2}'::int8[]) j;
BEGIN READ ONLY;
SELECT * FROM credits_deduct_many('{a}', '{1}');
ROLLBACK;

SELECT count(*) AS bad FROM credits_verify();
DROP FUNCTION t.one(text, int8, text);
DROP EXTENSION credits;
