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
       actor = session_user AS actor, run_id, plan, plan_version, status, period_start, next_reset_at, created_at, effective_at,
       length(hash) AS hash
  FROM credits_history('u');
\x
-- The hashes are those of the chain.
SELECT count(*) AS rows, bool_and(f.hash = h.hash) AS same FROM credits_history('u') f JOIN credit_history h USING (seq) WHERE h.user_id = 'u';

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
