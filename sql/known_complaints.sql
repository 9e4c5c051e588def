-- Complaints that users of other systems have, each with the thread that it is from.
-- Here are those that one session can show and that no other test shows already:
-- deadlocks are in isolation/deduct-many, lost updates also in isolation/deduct, overlapping
-- sweeps in isolation/reset, hot accounts in t/018_early_lock_release.pl, holds that no one
-- settles in hold, refunds of what is partly spent in refund, mixed cycles in cycle.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT credits_define_plan('pro', 1000) ->> 'version' AS version;
SELECT credits_define_plan('yours', 100, 'anniversary') ->> 'version' AS version;

CALL t.story($$
    -- An invoice that is delivered twice is counted twice:
    -- wasp-lang/open-saas#688, getlago/lago-api#5870, getlago/lago-api#3618
    01-10 | credits_add_purchased('paid', 50, 'in_1', idempotency_key => 'evt_1') | 0/0/50
          | credits_add_purchased('paid', 50, 'in_1', idempotency_key => 'evt_2') | 0/0/50 again
          | credits_add_purchased('paid', 50, 'in_1') | 0/0/50 again
          | credits_add_purchased('paid', 60, 'in_1') | UC003
          | credits_add_purchased('else', 50, 'in_1') | UC003
    -- No idempotency: pgr0ss/pgledger#38
          | credits_deduct('paid', 5, NULL, 'req_1') | 0/0/45
          | credits_deduct('paid', 5, NULL, 'req_1') | 0/0/45 again
          | credits_deduct('paid', 6, NULL, 'req_1') | UC003
    -- Lost updates, negative balances:
    -- Climactic/laravel-credits#20, envato/double_entry#114, flexprice#2526
          | credits_open_account('poor', 'free') | 100/0/0
          | (SELECT count(*) FILTER (WHERE (r->>'ok')::bool) FROM (SELECT credits_try_deduct('poor', 30) r FROM generate_series(1, 5)) x) | 3
          | credits_deduct('poor', 11) | UC001
          | credits_balance('poor') | 10/0/0
    -- Downgrade and upgrade, and all is granted again: theopenco/llmgateway#2479
          | credits_open_account('sly', 'pro') | 1000/0/0
          | credits_deduct('sly', 990) | 10/0/0
          | credits_set_plan('sly', 'free') | 0/0/0
          | credits_set_plan('sly', 'pro') | 10/0/0
          | credits_set_plan('sly', NULL) | 0/0/0
          | credits_set_plan('sly', 'pro') | 10/0/0
    -- A month that has no 31st is left out, or moves all that follow: useautumn/autumn#2115
    01-31 | credits_open_account('last', 'yours') | 100/0/0
          | (credits_balance('last')->'next_reset_at') | 2026-02-28T00:00:00Z
    02-28 | (credits_balance('last')->'next_reset_at') | 2026-03-31T00:00:00Z
    03-31 | (credits_balance('last')->'next_reset_at') | 2026-04-30T00:00:00Z
    -- The scheduler fires a day early, or by the time of Greenwich:
    -- citusdata/pg_cron#329, citusdata/pg_cron#16
          | credits_open_account('west', 'free', NULL, 'America/Los_Angeles') | 100/0/0
          | credits_deduct('west', 60) | 40/0/0
    03-31 23:59:59 | (credits_reset_due()->'accounts') | 3
    04-01 06:59:59 | (credits_reset_due()->'accounts') | 2
          | credits_balance('west') | 40/0/0
    04-01 07:00 | (credits_reset_due()->'accounts') | 1
          | credits_balance('west') | 100/0/0
    -- It fires twice, or late, and what expires does so twice: twentyhq/twenty#25603
    05-03 | (SELECT string_agg(credits_reset_due()->>'accounts', ' ') FROM generate_series(1, 3)) | 4 0 0
          | (SELECT string_agg(expired::text, ' ' ORDER BY seq) FROM credit_history WHERE user_id = 'west' AND kind = 'reset') | 40 100
    -- Purchased credits go with a reset:
    -- polarsource/polar#8451, polarsource/polar#10513, polarsource/polar#11427
          | credits_add_purchased('west', 30, 'in_2') | 100/0/30
          | credits_deduct('west', 110) | 0/0/20
    06-01 12:00 | credits_balance('west') | 100/0/20
    08-01 12:00 | (credits_reset_due()->'accounts') | 4
          | credits_balance('west') | 100/0/20
    -- A key is known for hours or days only: formancehq/ledger#1896, LerianStudio/midaz#1974
    12-31 | credits_deduct('paid', 5, NULL, 'req_1') | 0/0/45 again
          | credits_add_purchased('paid', 50, 'in_1') | 0/0/50 again
$$);
SELECT at, call, got, wrong FROM t.told ORDER BY no;

-- Balances drift from the history: bavix/laravel-wallet#1039, envato/double_entry#168,
-- blnkfinance/blnk#240.
SELECT a.user_id, a.monthly - sum(h.monthly_delta) AS monthly, a.granted - sum(h.granted_delta) AS granted,
       a.purchased - sum(h.purchased_delta) AS purchased
  FROM credit_account a JOIN credit_history h USING (user_id) GROUP BY a.user_id ORDER BY a.user_id;
SELECT t.sqlstate('UPDATE credit_account SET purchased = purchased + 1') AS by_hand;
SELECT * FROM credits_verify();

-- The history only grows, or verifies no more once it was cut: supabase/supa_audit#32,
-- codenotary/immudb#1723, bavix/laravel-wallet#820.  Payments are known all the same.
SELECT count(*) AS before FROM credit_history;
SELECT credits_anchor() ->> 'anchor_no' AS anchor_no;
CALL credits_archive('2026-09-01') \g /dev/null
SELECT (SELECT count(*) FROM credit_history) AS stays, (SELECT count(*) FROM credit_history_archive) AS moved;
SELECT * FROM credits_verify();
SELECT r->'archived' AS archived, r->'replayed' AS replayed FROM credits_add_purchased('paid', 50, 'in_1') r;

-- A policy that is asked row by row takes seconds: Cap-go/capgo#2074.  There is none; an
-- end user's functions look by index.
SELECT count(*) AS policies FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relname LIKE 'credit%';
SELECT count(*) AS with_policies FROM pg_class WHERE relname LIKE 'credit%' AND (relrowsecurity OR relforcerowsecurity);
SET request.jwt.claims = '{"sub": "west"}';
SELECT credits_my_balance() ->> 'available' AS available;
DROP EXTENSION credits;
