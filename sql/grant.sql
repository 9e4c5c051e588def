-- Grants: credits with an end of their own, spent after the monthly ones and before
-- the purchased ones, soonest end first, then oldest.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;

-- The order, and the end: half-open, and only what is left goes.
CALL t.story($$
    01-10 | credits_open_account('u', 'free') | 10/0/0
          | credits_add_purchased('u', 100, 'pay_u') | 10/0/100
          | late = credits_grant('u', 20, '2026-01-25 00:00Z') | 10/20/100
          | soon = credits_grant('u', 5, '2026-01-20 00:00Z') | 10/25/100
          | old = credits_grant('u', 7, '2026-01-20 00:00Z') | 10/32/100
    -- 13 = 10 monthly + 3 of the soonest, older grant
    01-11 | credits_deduct('u', 13) | 0/29/100
    -- 5 = 2 of it, 3 of the one that ends with it
          | credits_deduct('u', 5) | 0/24/100
    -- 25 = 4, 20, 1 purchased
          | d = credits_deduct('u', 25) | 0/0/99
    -- what is refunded goes back to its grants, the last first
    01-12 | credits_refund('u', :d, 22) | 0/21/100
          | credits_balance('u') | 0/21/100
    -- the microsecond before its end a grant is there, at its end it is gone
    01-19 23:59:59.999999 | credits_balance('u') | 0/21/100
    01-20 | credits_balance('u') | 0/20/100
          | credits_deduct('u', 1) | 0/19/100
    -- nothing is left of the last: no row for its end
    01-24 | d2 = credits_deduct('u', 19) | 0/0/100
    01-25 | credits_deduct('u', 1) | 0/0/99
    -- and its end has passed: nothing comes back to it
          | credits_refund('u', :d, 3) | 0/0/99 f3
          | credits_refund('u', :d2) | 0/0/99 f19
$$);
SELECT * FROM t.told;
SELECT * FROM t.moves('u');
SELECT seq, amount, remaining, ends_at, closed FROM credit_grant WHERE user_id = 'u' ORDER BY seq;
SELECT * FROM credits_verify();

-- A receipt in full, and its replay.
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_open_account('r', 'free') ->> 'seq' AS seq;
SELECT jsonb_pretty(credits_grant('r', 5, '2026-01-20 00:00Z', 'sorry', 'key_1', '{"ticket": 7}'));
SELECT reason, metadata, idempotency_key FROM credit_history WHERE user_id = 'r' AND kind = 'grant';

-- Keys: what is compared is kind, user, amount and end.
CALL t.story($$
    01-11 | credits_grant('r', 5, '2026-01-20 00:00Z', 'other words', 'key_1', '{}') | 10/5/0 again
    -- whatever has happened since, even its end
    01-12 | credits_deduct('r', 12) | 0/3/0
          | credits_freeze('r') | 0/3/0
    02-12 | credits_grant('r', 5, '2026-01-20 00:00Z', NULL, 'key_1') | 10/5/0 again
          | credits_grant('r', 5, '2026-01-20 01:00+01', NULL, 'key_1') | 10/5/0 again
          | credits_grant('r', 6, '2026-01-20 00:00Z', NULL, 'key_1') | UC003
          | credits_grant('r', 5, '2026-01-20 00:00:00.000001Z', NULL, 'key_1') | UC003
          | credits_deduct('r', 5, NULL, 'key_1') | UC003
          | credits_hold('r', 5, NULL, NULL, 'key_1') | UC003
          | (SELECT count(*) FROM credit_history WHERE user_id = 'r') | 4
    -- a refused call leaves no key
          | credits_grant('r', 9, '2026-02-12 00:00Z', NULL, 'key_2') | 22023
          | credits_grant('r', 9, '2026-02-13 00:00Z', NULL, 'key_2') | 10/9/0
$$);
SELECT * FROM t.told;
-- the reset and the grant's end came before the last row, each at its time
SELECT seq, kind, ref, amount, delta, balance, expired, at FROM t.moves('r');

-- Frozen accounts are granted, unknown users are not, unless there is a plan for them.
CALL t.story($$
    02-12 | credits_deduct('r', 1) | UC004
          | credits_grant('nobody', 1, '2026-03-01 00:00Z') | UC002
          | set_config('credits.default_plan', 'free', false) | free
          | credits_grant('nobody', 1, '2026-03-01 00:00Z') | 10/1/0
          | set_config('credits.default_plan', '', false) |
$$);
SELECT * FROM t.told;

-- The reset does not touch grants.  A grant may end with the period: the grant's
-- end comes first, and both are in the history.
CALL t.story($$
    02-12 | credits_open_account('b', 'free') | 10/0/0
          | credits_grant('b', 5, '2026-03-01 00:00Z') | 10/5/0
          | credits_grant('b', 6, '2026-04-15 00:00Z') | 10/11/0
    02-28 23:59:59.999999 | credits_balance('b') | 10/11/0
    03-01 | credits_balance('b') | 10/6/0
          | credits_deduct('b', 1) | 9/6/0
    -- asleep over a grant's end between two boundaries, and two more: the first
    -- boundary is a row of its own, because something lies between
    06-15 | credits_deduct('b', 1) | 9/0/0
$$);
SELECT * FROM t.told;
SELECT h.*, skipped FROM t.history('b') h WHERE h.kind <> 'deduct';

-- Several grants end while nobody looks: once by a sweep in time, once at once.
CALL t.story($$
    07-01 | credits_open_account('swept', 'free') | 10/0/0
          | credits_open_account('slept', 'free') | 10/0/0
          | credits_grant('swept', 5, '2026-07-20 00:00Z') | 10/5/0
          | credits_grant('slept', 5, '2026-07-20 00:00Z') | 10/5/0
          | credits_grant('swept', 6, '2026-08-20 00:00Z') | 10/11/0
          | credits_grant('slept', 6, '2026-08-20 00:00Z') | 10/11/0
          | credits_grant('swept', 7, '2026-10-01 00:00Z') | 10/18/0
          | credits_grant('slept', 7, '2026-10-01 00:00Z') | 10/18/0
    07-02 | credits_deduct('swept', 12) | 0/16/0
          | credits_deduct('slept', 12) | 0/16/0
$$);
SELECT count(*) FILTER (WHERE wrong IS NOT NULL) AS wrong FROM t.told;
-- a sweep would take both, so the one is woken by calls
CREATE PROCEDURE t.wake(who text, at text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('credits.clock', at, false);
    PERFORM credits_adjust(who, 'purchased', 1, 'wake up'), credits_adjust(who, 'purchased', -1, 'and sleep');
END $$;
CALL t.wake('swept', '2026-07-20 00:00:00+00');
CALL t.wake('swept', '2026-07-25 00:00:00+00');
CALL t.wake('swept', '2026-08-01 00:00:00+00');
CALL t.wake('swept', '2026-08-20 12:00:00+00');
CALL t.wake('swept', '2026-09-02 00:00:00+00');
CALL t.wake('swept', '2026-10-01 00:00:00+00');
CALL t.wake('swept', '2026-11-02 00:00:00+00');
SELECT user_id, monthly, granted, purchased, next_reset_at FROM credit_balance WHERE user_id IN ('swept', 'slept') ORDER BY 1;
SELECT (SELECT granted FROM credit_account WHERE user_id = 'slept') AS not_written_yet;
SELECT (credits_reset_due() ->> 'accounts')::int > 0 AS swept;
SELECT user_id, monthly, granted, purchased, held_granted, period_granted, last_monthly_reset, next_reset_at, next_event_at
  FROM credit_account WHERE user_id IN ('swept', 'slept') ORDER BY 1;
SELECT kind, ref, amount, delta, balance, expired, at FROM t.moves('swept') WHERE kind IN ('grant_end', 'reset');
SELECT kind, ref, amount, delta, balance, expired, at FROM t.moves('slept') WHERE kind IN ('grant_end', 'reset');
DROP PROCEDURE t.wake(text, text);

-- What comes back to a grant that was empty ends with it all the same, although the
-- account had no next event but the reset meanwhile.
CALL t.story($$
    11-10 | credits_open_account('e', 'free') | 10/0/0
          | credits_grant('e', 5, '2026-12-05 00:00Z') | 10/5/0
          | d = credits_deduct('e', 15) | 0/0/0
    12-01 | credits_deduct('e', 1) | 9/0/0
    12-02 | credits_refund('e', :d, 5) | 9/5/0
          | (SELECT next_event_at <= '2026-12-05 00:00Z' FROM credit_account WHERE user_id = 'e') | true
    12-05 | credits_balance('e') | 9/0/0
          | credits_deduct('e', 9) | 0/0/0
          | (SELECT count(*) FROM credits_verify_account('e')) | 0
$$);
SELECT * FROM t.told;

-- A batch burns grants item by item.
CALL t.story($$
    11-10 | credits_open_account('m') | 0/0/0
          | g = credits_grant('m', 4, '2026-12-02 00:00Z') | 0/4/0
          | credits_grant('m', 10, '2026-12-03 00:00Z') | 0/14/0
$$);
SELECT t.short(r) FROM credits_deduct_many('{m,m,m}', '{3,3,20}') r;
SELECT seq, kind, amount, delta, allocations FROM t.moves('m') WHERE kind = 'deduct';
-- An adjustment downwards burns in the same order; it may not go below 0 or upwards.
CALL t.story($$
          | credits_adjust('m', 'granted', -3, 'mistake') | 0/5/0
          | credits_adjust('m', 'granted', -6, 'mistake') | UC001
          | credits_adjust('m', 'granted', 1, 'mistake') | 22023
$$);
SELECT * FROM t.told;
SELECT seq, kind, amount, delta, allocations FROM t.moves('m') WHERE kind = 'adjust';
SELECT seq, amount, remaining, closed FROM credit_grant WHERE user_id = 'm' ORDER BY seq;

-- The cap counts all there is, what is held too.
CALL t.story($$
    11-10 | credits_open_account('c') | 0/0/0
          | credits_add_purchased('c', 9007199254740990, 'pay_c') | 0/0/9007199254740990
          | credits_hold('c', 9007199254740000) | 0/0/990 h9007199254740000
          | credits_grant('c', 2, '2026-12-01 00:00Z') | 22003
          | credits_grant('c', 1, '2026-12-01 00:00Z') | 0/1/990 h9007199254740000
$$);
SELECT * FROM t.told;
SELECT sqlstate, message, detail FROM t.refused($$SELECT credits_grant('c', 1, '2026-12-01 00:00Z')$$);

-- Arguments.
SELECT t.fingerprint() AS before \gset
SELECT args, t.sqlstate('SELECT credits_grant(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 1, '2026-12-01 00:00Z'$$,                          -- 22004
    $$'u', NULL, '2026-12-01 00:00Z'$$,                        -- 22004
    $$'u', 1, NULL$$,                                          -- 22004
    $$'', 1, '2026-12-01 00:00Z'$$,                            -- 22023
    $$repeat('x', 256), 1, '2026-12-01 00:00Z'$$,              -- 22023
    $$'u', 0, '2026-12-01 00:00Z'$$,                           -- 22023
    $$'u', -1, '2026-12-01 00:00Z'$$,                          -- 22023
    $$'u', 9007199254740992, '2026-12-01 00:00Z'$$,            -- 22003
    $$'u', 9223372036854775807, '2026-12-01 00:00Z'$$,         -- 22003
    $$'u', 1, '2026-11-10 00:00Z'$$,                           -- 22023: now
    $$'u', 1, '2026-11-09 23:59:59.999999Z'$$,                 -- 22023
    $$'u', 1, 'infinity'$$,                                    -- 22023
    $$'u', 1, '-infinity'$$,                                   -- 22023
    $$'u', 1, '10000-01-01 00:00Z'$$,                          -- 22023
    $$'u', 1, '2026-12-01 00:00Z', NULL, ''$$,                 -- 22023
    $$'u', 1, '2026-12-01 00:00Z', NULL, repeat('x', 256)$$    -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
-- the account's own time counts where it is ahead of the clock
SELECT t.sqlstate($$SELECT credits_grant('swept', 1, '2026-11-01 00:00Z') FROM set_config('credits.clock', '2026-10-01 00:00+00', false)$$);
SET credits.clock = '2026-11-10 00:00:00+00';
SELECT sqlstate, message, detail, hint IS NOT NULL AS hint FROM t.refused($$SELECT credits_grant('u', 1, '2026-01-01 00:00Z')$$);
SELECT t.fingerprint() = :'before' AS nothing_written;
SELECT credits_grant('u', 1, '2026-11-10 00:00:00.000001Z') ->> 'ends_at' AS shortest,
       credits_grant('u', 1, '9999-12-31 23:59:59.999999Z') ->> 'ends_at' AS longest;

SELECT * FROM credits_verify();
DROP EXTENSION credits;
