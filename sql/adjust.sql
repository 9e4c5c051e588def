-- Corrections by an administrator.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 10) ->> 'version' AS version;
SELECT credits_open_account('u', 'free') ->> 'available' AS available;

-- Signed, one bucket, the others untouched.
SELECT jsonb_pretty(credits_adjust('u', 'monthly', 5, 'sorry'));
SELECT * FROM t.receipt(credits_adjust('u', 'monthly', -7, 'too much'));
SELECT * FROM t.receipt(credits_adjust('u', 'purchased', 20, 'offline sale', NULL, '{"ticket": 7}'));
SELECT * FROM t.receipt(credits_adjust('u', 'purchased', -20, 'and back'));
SELECT kind, amount, delta, balance FROM t.history('u');
SELECT reason, metadata FROM credit_history WHERE metadata IS NOT NULL;

-- Below zero is UC001, whatever the other buckets hold.
SELECT t.fingerprint() AS before \gset
SELECT sqlstate, message, detail::jsonb -> 'required' AS required FROM t.refused($$SELECT credits_adjust('u', 'purchased', -1, 'x')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_adjust('u', 'monthly', -9, 'x')$$);
-- Granted credits come from credits_grant, never from a correction; there are none to take.
SELECT sqlstate, message FROM t.refused($$SELECT credits_adjust('u', 'granted', 1, 'x')$$);
SELECT sqlstate FROM t.refused($$SELECT credits_adjust('u', 'granted', -1, 'x')$$);

-- Arguments.
SELECT args, t.sqlstate('SELECT credits_adjust(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 'monthly', 1, 'x'$$,                       -- 22004
    $$'u', NULL, 1, 'x'$$,                             -- 22004
    $$'u', 'monthly', NULL, 'x'$$,                     -- 22004
    $$'u', 'monthly', 1, NULL$$,                       -- 22004
    $$'u', 'monthly', 1, ''$$,                         -- 22023
    $$'u', 'monthly', 0, 'x'$$,                        -- 22023
    $$'u', 'weekly', 1, 'x'$$,                         -- 22023
    $$'u', '', 1, 'x'$$,                               -- 22023
    $$'u', 'monthly', 9007199254740992, 'x'$$,         -- 22003
    $$'u', 'monthly', -9007199254740992, 'x'$$,        -- 22003
    $$'u', 'monthly', 9223372036854775807, 'x'$$,      -- 22003
    $$'u', 'monthly', -9223372036854775808, 'x'$$,     -- 22003
    $$'u', 'monthly', 9007199254740991, 'x'$$,         -- 22003: past the account's cap
    $$'nobody', 'monthly', 1, 'x'$$                    -- UC002
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT t.fingerprint() = :'before' AS nothing_written;

-- A correction of monthly credits ends with the period like the rest.
SELECT * FROM t.receipt(credits_adjust('u', 'monthly', 100, 'sorry'));
SET credits.clock = '2026-02-10 00:00:00+00';
SELECT * FROM t.receipt(credits_adjust('u', 'monthly', 1, 'sorry again'));
SELECT kind, amount, delta, balance, expired FROM t.history('u');

SELECT * FROM credits_verify();
DROP EXTENSION credits;
