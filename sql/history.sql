-- A user's history, page by page.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10000) ->> 'version' AS version;
SELECT count(credits_open_account(u, 'free')) FROM unnest(ARRAY['u', 'u2', 'UU']) u;
SELECT credits_deduct('u', 3, 'image', 'k1', '{"size": 2}', 'alice') ->> 'available' AS available;
SELECT credits_add_purchased('u', 100, 'pay_1', 'top-up') ->> 'available' AS available;

-- Everything about the rows, the newest first.
\x
SELECT seq, kind, amount, monthly_delta, granted_delta, purchased_delta, monthly, granted, purchased,
       available, held, owed, expired, forfeited, skipped, reason, metadata, idempotency_key, payment_ref, ref_seq, spender,
       actor = session_user AS actor, run_id, plan, plan_version, status, period, next_reset_at, created_at, effective_at,
       length(hash) AS hash
  FROM credits_history('u');
\x
-- The hashes are those of the chain.
SELECT count(*) AS rows, bool_and(f.hash = h.hash) AS same FROM credits_history('u') f JOIN credit_history h USING (seq) WHERE h.user_id = 'u';

-- delta is what the row did to available.
SELECT seq, amount, delta, delta = available - lead(available, 1, 0::int8) OVER (ORDER BY seq DESC) AS right FROM credits_history('u');
-- Pages: before_seq is the last seq of the page before.
SELECT count(credits_deduct('u', n)) FROM generate_series(1, 60) n;
SELECT count(*) AS rows, max(seq) AS newest, min(seq) AS oldest FROM credits_history('u');
SELECT seq, amount FROM credits_history('u', NULL, 3);
SELECT seq, amount FROM credits_history('u', 61, 3);
SELECT seq, amount FROM credits_history('u', before_seq => 3, page_size => 10);
SELECT count(*) FROM credits_history('u', 1);
SELECT count(*) FROM credits_history('u', page_size => 1000);
SELECT count(*) FROM credits_history('u', 9223372036854775807, 1);
-- a page does not move when rows are added
SELECT credits_deduct('u', 1) ->> 'seq' AS seq;
SELECT seq, amount FROM credits_history('u', 61, 3);
-- all pages together are the history
WITH RECURSIVE page AS (
    SELECT array_agg(seq ORDER BY seq DESC) AS seqs FROM credits_history('u', NULL, 7)
    UNION ALL
    SELECT (SELECT array_agg(seq ORDER BY seq DESC) FROM credits_history('u', page.seqs[cardinality(page.seqs)], 7))
      FROM page WHERE page.seqs[cardinality(page.seqs)] > 1)
SELECT count(*) AS pages, sum(cardinality(seqs)) AS rows FROM page;
-- other users' rows are never on it
SELECT DISTINCT length(kind) > 0 AS ok, count(*) FROM credits_history('UU') GROUP BY 1;

-- Some of it: by kind, time, reference.  Pages are of what is wanted.
CREATE FUNCTION t.page(args text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    seqs text;
BEGIN
    EXECUTE format('SELECT string_agg(seq::text, '' '') FROM credits_history(%s)', args) INTO seqs;
    RETURN seqs;
END $$;
SELECT credits_open_account('f', 'free') ->> 'seq' AS seq;
SELECT credits_deduct('f', 1, NULL, 'key_1') ->> 'seq' AS seq;
SELECT credits_add_purchased('f', 7, 'pay_f', NULL, 'key_2') ->> 'seq' AS seq;
SET credits.clock = '2026-01-11 00:00:00+00';
SELECT credits_deduct('f', n, NULL, 'pay_f' || CASE n WHEN 2 THEN '' ELSE n::text END) ->> 'seq' AS seq FROM generate_series(2, 4) n;
SET credits.clock = '2026-01-12 00:00:00+00';
SELECT credits_freeze('f') ->> 'seq' AS seq;
SELECT credits_unfreeze('f') ->> 'seq' AS seq;
-- a clock that ran ahead and was put right: times go back from one row to the next
SET credits.clock = '2026-01-20 00:00:00+00';
SELECT credits_deduct('f', 5) ->> 'seq' AS seq;
SET credits.clock = '2026-01-13 00:00:00+00';
SELECT credits_repair_clock('f') ->> 'seq' AS seq;
SELECT credits_deduct('f', 6) ->> 'seq' AS seq;
-- what was done about a row
BEGIN;
SELECT credits_hold('f', 3) ->> 'seq' AS seq;
SELECT credits_capture('f', 12, 1, true) ->> 'seq' AS seq;
SELECT credits_refund('f', 2) ->> 'seq' AS seq;
SELECT credits_release('f', 12) ->> 'seq' AS seq;
SELECT args, t.page(args) AS seqs FROM unnest(ARRAY[
    $$'f', ref_seq => 12$$,
    $$'f', ref_seq => 12, kinds => '{capture}'$$,
    $$'f', ref_seq => 2$$,
    $$'f', ref_seq => 0$$,
    $$'f', ref_seq => NULL, page_size => 2$$
  ]) WITH ORDINALITY AS a(args, n) ORDER BY n;
ROLLBACK;
SELECT args, t.page(args) AS seqs FROM unnest(ARRAY[
    $$'f'$$,
    $$'f', NULL, NULL, NULL, NULL, NULL, NULL, NULL$$,
    $$'f', kinds => '{deduct}'$$,
    $$'f', kinds => '{deduct,purchase,deduct}', page_size => 3$$,
    $$'f', 5, 3, '{deduct,purchase}'$$,
    $$'f', 2, 3, '{deduct,purchase}'$$,
    $$'f', kinds => '{reset}'$$,
    $$'f', kinds => '{}'$$,
    $$'f', from_time => '2026-01-11 00:00Z'$$,
    $$'f', to_time => '2026-01-11 00:00Z'$$,
    $$'f', from_time => '2026-01-11 00:00Z', to_time => '2026-01-12 00:00Z'$$,
    $$'f', from_time => '2026-01-15 00:00Z'$$,
    $$'f', from_time => '2026-01-12 00:00Z', to_time => '2026-01-11 00:00Z'$$,
    $$'f', from_time => '-infinity', to_time => 'infinity', page_size => 2$$,
    $$'f', from_time => '2026-01-11 00:00Z', kinds => '{deduct}', page_size => 2$$,
    $$'f', 9, from_time => '2026-01-11 00:00Z', kinds => '{deduct}', page_size => 2$$,
    $$'f', reference => 'pay_f'$$,
    $$'f', reference => 'pay_f', kinds => '{purchase}'$$,
    $$'f', reference => 'key_2'$$,
    $$'f', reference => 'pay_'$$,
    $$'u', reference => 'pay_f'$$
  ]) WITH ORDINALITY AS a(args, n) ORDER BY n;
SELECT sqlstate, message, detail FROM t.refused($$SELECT * FROM credits_history('f', kinds => '{deduct,Deduct}')$$);
SELECT args, t.sqlstate('SELECT * FROM credits_history(' || args || ')')
  FROM unnest(ARRAY[
    $$'f', kinds => '{NULL}'$$,           -- 22004
    $$'f', kinds => '{""}'$$,             -- 22023
    $$'f', reference => ''$$,             -- 22023
    $$'f', reference => repeat('x', 256)$$,
    $$'nobody', kinds => '{nothing}'$$    -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SET request.jwt.claims = '{"sub": "f"}';
SELECT string_agg(seq::text, ' ') AS seqs FROM credits_my_history(kinds => '{purchase,open}');
SELECT t.sqlstate($$SELECT * FROM credits_my_history(kinds => '{nothing}')$$) AS bad_kind;
RESET request.jwt.claims;
DROP FUNCTION t.page(text);
SET credits.clock = '2026-01-10 00:00:00+00';

-- What is due shows in the balance, and in the history once it is applied.
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT kind FROM credits_history('u', NULL, 1);
SELECT credits_reset_due() -> 'accounts' AS accounts;
SELECT kind, amount, expired, available FROM credits_history('u', NULL, 1);

-- Arguments.
SELECT args, t.sqlstate('SELECT * FROM credits_history(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL$$,                 -- 22004
    $$''$$,                   -- 22023
    $$'nobody'$$,             -- UC002
    $$'u', NULL, 0$$,         -- 22023
    $$'u', NULL, -1$$,        -- 22023
    $$'u', NULL, 1001$$,      -- 22023
    $$'u', 0$$,               -- 22023 or an empty page
    $$'u', -1$$               -- 22023 or an empty page
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT t.sqlstate('SELECT credits_balance(NULL)') AS "null", t.sqlstate($$SELECT credits_balance('')$$) AS empty,
       t.sqlstate($$SELECT credits_balance('nobody')$$) AS unknown;

-- In the target list too, and not read to the end.
SELECT (credits_history('u', NULL, 2)).seq;
SELECT seq FROM credits_history('u') LIMIT 1;
DROP EXTENSION credits;
