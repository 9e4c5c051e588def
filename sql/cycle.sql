-- Another anchor, time zone or cycle: the running period keeps its end.  The next one lasts
-- to the first new boundary, and has its share of the allowance, so that no change gives two.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('cal', 10) ->> 'version' AS version;
SELECT credits_define_plan('ann', 100, 'anniversary') ->> 'version' AS version;

-- The end of the period after each call.
CREATE FUNCTION t.ends(r jsonb) RETURNS text
LANGUAGE sql AS $$ SELECT concat(r->>'monthly', ' till ', coalesce(r->>'next_reset_at', 'never')) $$;

-- Calendar and anniversary mixed gives two allowances (relaticle#437): here each change
-- keeps what there is, and the end of the period.
CALL t.story($$
    01-10 | t.ends(credits_open_account('a', 'ann', '2026-01-10 00:00', 'UTC')) | 100 till 2026-02-10T00:00:00Z
          | t.ends(credits_deduct('a', 30)) | 70 till 2026-02-10T00:00:00Z
    -- to the 20th of the month, and back: nothing has changed
    01-15 | t.ends(credits_set_cycle('a', '2026-01-20 00:00')) | 70 till 2026-02-10T00:00:00Z
          | (SELECT end_anchor FROM credit_account WHERE user_id = 'a') | 2026-01-10T00:00:00
          | t.ends(credits_set_cycle('a', '2026-01-10 00:00')) | 70 till 2026-02-10T00:00:00Z
          | (SELECT coalesce(end_anchor::text, 'as it is') FROM credit_account WHERE user_id = 'a') | as it is
    -- 31st, clamped; the anchor may be in the future
    01-16 | t.ends(credits_set_cycle('a', '2030-01-31 12:00')) | 70 till 2026-02-10T00:00:00Z
          | t.ends(credits_set_cycle('a', '2025-05-31 12:00')) | 70 till 2026-02-10T00:00:00Z
    -- what is the same changes nothing, neither does nothing
          | t.ends(credits_set_cycle('a', '2025-05-31 12:00', 'UTC')) | 70 till 2026-02-10T00:00:00Z
          | t.ends(credits_set_cycle('a')) | 70 till 2026-02-10T00:00:00Z
    -- 18.5 days of the 28 from 31 January to 28 February
    02-10 | t.ends(credits_balance('a')) | 66 till 2026-02-28T12:00:00Z
    03-31 11:59:59.999999 | t.ends(credits_balance('a')) | 100 till 2026-03-31T12:00:00Z
    03-31 12:00 | t.ends(credits_balance('a')) | 100 till 2026-04-30T12:00:00Z
          | t.ends(credits_deduct('a', 1)) | 99 till 2026-04-30T12:00:00Z
    -- the zone: 12:00 in New York is 16:00 in UTC, so four hours of 30 days come first, with 0 credits
    04-15 | t.ends(credits_set_cycle('a', NULL, 'Europe/Berlin')) | 99 till 2026-04-30T12:00:00Z
          | t.ends(credits_set_cycle('a', NULL, 'America/New_York')) | 99 till 2026-04-30T12:00:00Z
    04-30 12:00 | t.ends(credits_balance('a')) | 0 till 2026-04-30T16:00:00Z
    05-31 16:00 | t.ends(credits_deduct('a', 1)) | 99 till 2026-06-30T16:00:00Z
$$);
SELECT * FROM t.told;
SELECT seq, kind, amount, delta, balance, plan, effective_at, next_reset_at FROM t.history('a');
SELECT seq, period, period_share, period_start FROM credit_history WHERE user_id = 'a' AND kind = 'reset' ORDER BY seq;
SELECT seq, cycle_anchor, time_zone FROM credit_history WHERE user_id = 'a' AND kind = 'set_cycle' ORDER BY seq;

-- A calendar account: only the zone matters.
CALL t.story($$
    01-10 | t.ends(credits_open_account('c', 'cal')) | 10 till 2026-02-01T00:00:00Z
          | t.ends(credits_set_cycle('c', '2026-01-20 00:00')) | 10 till 2026-02-01T00:00:00Z
          | t.ends(credits_set_cycle('c', NULL, 'America/Los_Angeles')) | 10 till 2026-02-01T00:00:00Z
          | t.ends(credits_set_cycle('c', NULL, 'asia/tokyo')) | 10 till 2026-02-01T00:00:00Z
          | (SELECT time_zone FROM credit_account WHERE user_id = 'c') | Asia/Tokyo
    -- a change of plan goes by the new anchor, from the end of the period on: 19 January 15:00Z in Tokyo
          | t.ends(credits_set_plan('c', 'ann')) | 100 till 2026-02-01T00:00:00Z
    02-01 | t.ends(credits_balance('c')) | 60 till 2026-02-19T15:00:00Z
    -- what is scheduled stays
    01-10 | t.ends(credits_set_plan('c', 'cal', 'next_reset')) | 100 till 2026-02-01T00:00:00Z
          | t.ends(credits_set_cycle('c', '2026-01-25 00:00', 'UTC')) | 100 till 2026-02-01T00:00:00Z
          | (SELECT scheduled_plan FROM credit_account WHERE user_id = 'c') | cal
    -- the calendar in UTC, as when the period began: nothing to make up for
    02-01 | t.ends(credits_deduct('c', 1)) | 9 till 2026-03-01T00:00:00Z
$$);
SELECT * FROM t.told;

-- Changed at a boundary: that is applied first, by the old cycle.  Changed again and
-- again, there is one allowance a period.
CALL t.story($$
    01-10 | t.ends(credits_open_account('t', 'ann', '2026-01-10 00:00', 'UTC')) | 100 till 2026-02-10T00:00:00Z
          | credits_deduct('t', 100) | 0/0/0
    02-10 | t.ends(credits_set_cycle('t', '2026-01-11 00:00')) | 100 till 2026-03-10T00:00:00Z
          | credits_deduct('t', 100) | 0/0/0
    02-11 | t.ends(credits_set_cycle('t', '2026-01-12 00:00')) | 0 till 2026-03-10T00:00:00Z
    02-12 | t.ends(credits_set_cycle('t', '2026-01-13 00:00')) | 0 till 2026-03-10T00:00:00Z
    -- 3 days of the 28 from 13 February to 13 March; then 30 of the 31 from 12 March to 12 April
    03-12 | t.ends(credits_set_cycle('t', '2026-01-12 00:00')) | 10 till 2026-03-13T00:00:00Z
    03-13 | t.ends(credits_balance('t')) | 96 till 2026-04-12T00:00:00Z
    04-12 | t.ends(credits_deduct('t', 1)) | 99 till 2026-05-12T00:00:00Z
          | (SELECT count(*) FROM credit_history WHERE user_id = 't' AND kind = 'reset') | 4
$$);
SELECT * FROM t.told;

-- Without a plan the period has no end; the anchor is for the plan to come.
CALL t.story($$
    01-10 | t.ends(credits_open_account('n')) | 0 till never
          | t.ends(credits_set_cycle('n', '2026-01-20 00:00', 'Europe/Berlin')) | 0 till never
          | t.ends(credits_set_plan('n', 'ann')) | 100 till 2026-01-19T23:00:00Z
    -- cancelled, the period goes on
          | t.ends(credits_set_plan('n', NULL)) | 0 till 2026-01-19T23:00:00Z
          | t.ends(credits_set_cycle('n', '2026-01-25 00:00', 'UTC')) | 0 till 2026-01-19T23:00:00Z
    01-20 | t.ends(credits_balance('n')) | 0 till 2026-01-25T00:00:00Z
    -- an account that a purchase opened
    01-10 | t.ends(credits_add_purchased('p', 5, 'pay_p')) | 0 till never
          | t.ends(credits_set_cycle('p', '2026-01-20 00:00')) | 0 till never
$$);
SELECT * FROM t.told;

-- With holds and grants: the hold ends with the period that it belongs to, and returns to it
-- first.  Then 10 days of the 31 from 20 January to 20 February.
CALL t.story($$
    01-10 | credits_open_account('h', 'ann', '2026-01-10 00:00', 'UTC') | 100/0/0
          | credits_grant('h', 5, '2026-02-12 00:00Z') | 100/5/0
          | h = credits_hold('h', 102, '31 days') | 0/3/0 h102
          | credits_set_cycle('h', '2026-01-20 00:00') | 0/3/0 h102
    02-10 | credits_balance('h') | 32/5/0
    02-12 | credits_balance('h') | 32/0/0
    02-20 | credits_balance('h') | 100/0/0
          | credits_deduct('h', 1) | 99/0/0
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, expired, at FROM t.moves('h');

-- Long asleep after a change: the period that is prorated has a row of its own, the others are one.
CALL t.story($$
    02-20 | credits_open_account('s', 'ann', '2026-02-20 00:00', 'UTC') | 100/0/0
          | t.ends(credits_set_cycle('s', '2026-01-31 00:00')) | 100 till 2026-03-20T00:00:00Z
    08-15 | t.ends(credits_balance('s')) | 100 till 2026-08-31T00:00:00Z
          | t.ends(credits_deduct('s', 1)) | 99 till 2026-08-31T00:00:00Z
$$);
SELECT * FROM t.told;
SELECT kind, effective_at, skipped FROM credit_history WHERE user_id = 's' AND kind = 'reset';

-- Keys: anchor and zone as given.
CALL t.story($$
    08-15 | credits_open_account('k', 'ann', '2026-08-15 00:00', 'UTC') | 100/0/0
          | credits_deduct('k', 1, NULL, 'kd') | 99/0/0
          | t.ends(credits_set_cycle('k', '2026-01-20 00:00', NULL, 'why', 'kc', '{}')) | 99 till 2026-09-15T00:00:00Z
          | credits_set_cycle('k', '2026-01-25 00:00') | 99/0/0
          | t.ends(credits_set_cycle('k', '2026-01-20 00:00', NULL, 'other', 'kc')) | 99 till 2026-09-15T00:00:00Z
          | t.ends(credits_balance('k')) | 99 till 2026-09-15T00:00:00Z
          | credits_set_cycle('k', '2026-01-20 00:01', NULL, NULL, 'kc') | UC003
          | credits_set_cycle('k', '2026-01-20 00:00', 'UTC', NULL, 'kc') | UC003
          | credits_set_cycle('k', NULL, NULL, NULL, 'kc') | UC003
          | credits_set_cycle('k', NULL, NULL, NULL, 'kd') | UC003
$$);
SELECT * FROM t.told;
SELECT jsonb_pretty(credits_set_cycle('k', NULL, 'Europe/Berlin', 'moved', 'kz', '{"from": "support"}'));

-- Opening an account again with its first facts is a replay still.
CALL t.story($$
          | credits_open_account('k', 'ann', '2026-08-15 00:00', 'UTC') | 100/0/0 again
          | credits_open_account('k', 'ann', '2026-01-25 00:00', 'Europe/Berlin') | UC003
$$);
SELECT * FROM t.told;

-- Arguments.
SELECT t.fingerprint() AS before \gset
SELECT args, t.sqlstate('SELECT credits_set_cycle(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL$$,                                  -- 22004
    $$''$$,                                    -- 22023
    $$'nobody', '2026-01-20 00:00'$$,          -- UC002
    $$'k', 'infinity'$$,                       -- 22023
    $$'k', '-infinity'$$,                      -- 22023
    $$'k', '0044-03-15 00:00 BC'$$,            -- 22023
    $$'k', '10000-01-01 00:00'$$,              -- 22023
    $$'k', NULL, ''$$,                         -- 22023
    $$'k', NULL, 'Mars/Base'$$,                -- 22023
    $$'k', NULL, 'CEST'$$,                     -- 22023
    $$'k', NULL, 'UTC+2'$$,                    -- 22023
    $$'k', NULL, NULL, NULL, ''$$              -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT t.fingerprint() = :'before' AS nothing_written;

-- An anchor without an offset is the account's local time; with one, as drivers write a
-- date, it is an instant.  It depends on no setting of the session.
SET credits.clock = '2026-08-15 00:00:00+00';
SET timezone = 'Asia/Tokyo';
SET datestyle = 'SQL, DMY';
CREATE TABLE anchors (n int, given text, zone text);
INSERT INTO anchors SELECT row_number() OVER (), given, zone FROM (VALUES
    ('2026-01-31', 'Europe/Berlin'),
    ('2026-01-31 02:30', 'Europe/Berlin'),
    ('2026-01-31T02:30:00', 'Europe/Berlin'),
    -- node-postgres and the like: a Date
    ('2026-01-31T02:30:00.000+01:00', 'Europe/Berlin'),
    ('2026-01-31T01:30:00.000Z', 'Europe/Berlin'),
    ('2026-01-30T20:30:00-0500', 'Europe/Berlin'),
    ('2026-01-31 10:30:00+09', 'Europe/Berlin'),
    -- what is half past two in Berlin is the evening before in New York
    ('2026-01-31T02:30:00.000+01:00', 'America/New_York'),
    ('2026-01-31T02:30:00.000+01:00', NULL),
    -- an offset of a date in summer; one with seconds; parts of a second
    ('2026-07-31T02:30:00+01:00', 'Europe/Berlin'),
    ('1890-01-31 00:53:28.5+00:53:28', 'UTC'),
    ('2026-01-31T02:30:00.123456789Z', 'UTC'),
    -- the year's ends are of the local time
    ('9999-12-31T23:59:59Z', 'UTC'), ('0001-01-01T00:00:00Z', 'Asia/Tokyo')) v (given, zone);
SELECT count(credits_open_account('anchor' || n, 'ann', given, zone)) AS opened FROM anchors;
SELECT n, given, zone, to_char(cycle_anchor, 'YYYY-MM-DD HH24:MI:SS.US') AS anchor FROM anchors JOIN credit_account ON user_id = 'anchor' || n ORDER BY n;
SELECT count(*) FILTER (WHERE (credits_open_account('anchor' || n, 'ann', given, zone) ->> 'replayed')::bool) AS replayed FROM anchors;
-- set_cycle: in the new zone, or in the account's
SELECT credits_set_cycle('anchor1', '2026-01-31T02:30:00.000+01:00', 'Asia/Kolkata') ->> 'ok' AS ok;
SELECT credits_set_cycle('anchor2', '2026-01-15T02:30:00.000Z', NULL, NULL, 'ki') ->> 'replayed' AS replayed;
SELECT credits_set_cycle('anchor2', '2026-01-15T02:30:00Z', NULL, NULL, 'ki') ->> 'replayed' AS replayed;
SELECT t.sqlstate($$SELECT credits_set_cycle('anchor2', '2026-01-15T02:30:00', NULL, NULL, 'ki')$$) AS not_an_instant;
SELECT user_id, to_char(cycle_anchor, 'YYYY-MM-DD HH24:MI') AS anchor, time_zone FROM credit_account WHERE user_id IN ('anchor1', 'anchor2') ORDER BY 1;
-- what is neither is refused, and so are types that have lost their offset, or would get the session's
SELECT given, t.sqlstate(format('SELECT credits_open_account(%L, %L, %s)', 'bad' || n, 'ann', given))
  FROM unnest(ARRAY[$$''$$, $$'now'$$, $$'today'$$, $$'31/01/2026'$$, $$'2026-1-31'$$, $$'2026-02-30'$$, $$'2025-02-29 10:00'$$, $$'2026-01-31 24:00'$$,
                    $$'2026-01-31 02:60'$$, $$'2026-01-31 02:30:60'$$, $$'2026-01-31 02'$$, $$'2026-01-31 02:30 Europe/Berlin'$$, $$'2026-01-31 02:30 CET'$$,
                    $$'2026-01-31Z'$$, $$'2026-01-31 02:30+1'$$, $$'2026-01-31 02:30+16:00'$$, $$'2026-01-31 02:30+01:60'$$, $$'2026-01-31 02:30+01:00x'$$, $$'2026-01-31 02:30.5'$$,
                    $$'2026-01-31 02:30:00.'$$, $$'2026-01-31 02:30 BC'$$, $$' 2026-01-31'$$, $$'10000-01-31'$$, $$'0000-01-31'$$, $$'9999-12-31T23:59:59-01:00'$$,
                    $$'9999-12-31T23:59:59Z', 'Asia/Tokyo'$$, $$'0001-01-01T00:00:00Z', 'America/New_York'$$, $$timestamp '2026-01-31'$$, $$now()$$]) WITH ORDINALITY u (given, n) ORDER BY n;
SET datestyle = 'ISO, YMD';
SELECT credits_open_account('typed', 'ann', (timestamptz '2026-01-31 02:30+01')::text, 'Europe/Berlin') ->> 'ok' AS a_cast_says_which;
SELECT cycle_anchor FROM credit_account WHERE user_id = 'typed';
SET timezone = 'UTC';
DROP TABLE anchors;

SELECT * FROM credits_verify();
DROP FUNCTION t.ends(jsonb);
DROP EXTENSION credits;
