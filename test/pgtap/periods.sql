-- Boundaries in time zones with all the rules there are, against PostgreSQL's own arithmetic:
-- calendar is the 1st at 00:00, daily is every day at 00:00, the others are anchor + n months,
-- weeks or years, and the end of the period is the first of them after now.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS credits;
SET LOCAL timezone = 'Pacific/Chatham';
SELECT plan(9);

-- One name for each set of rules.  AT TIME ZONE takes some names (CET) for
-- abbreviations, without their changes of the clock.
CREATE TEMP TABLE zone AS
    SELECT DISTINCT ON (rules) name
      FROM (SELECT n.name, array_agg(s.at AT TIME ZONE n.name ORDER BY s.at) AS rules
              FROM pg_timezone_names n, generate_series(timestamptz '2024-01-01', timestamptz '2027-01-01', interval '5 days') s(at)
             WHERE n.name !~ '^posix' AND upper(n.name) NOT IN (SELECT abbrev FROM pg_timezone_abbrevs)
             GROUP BY n.name) r
     ORDER BY rules, length(name) DESC, name;
SELECT setseed(0.17);
CREATE TEMP TABLE opened AS
    SELECT name AS zone, cycle, cycle || ' ' || name || k AS who,
           CASE WHEN cycle IN ('calendar', 'daily') THEN timestamp '2000-01-01'
                      -- whole hours and half hours, where the clocks change, and odd ones
                      ELSE timestamp '2023-12-02' + floor(random() * 60) * interval '1 day'
                           + CASE WHEN k < 3 THEN floor(random() * 8) * interval '30 min' ELSE random() * interval '1 day' END
           END AS anchor
      FROM zone, (VALUES ('calendar', 1), ('anniversary', 1), ('anniversary', 2), ('anniversary', 3), ('daily', 1), ('weekly', 1), ('weekly', 3), ('yearly', 1), ('yearly', 3)) c(cycle, k);
CREATE TEMP TABLE wrong (clock timestamptz, who text, want timestamptz, got timestamptz);

CREATE FUNCTION pg_temp.boundary(cycle text, anchor timestamp, zone text, clock timestamptz) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT min(b) FROM (SELECT (anchor + n * step) AT TIME ZONE zone AS b
                          FROM (VALUES ('daily', interval '1 day', 86400), ('weekly', '7 days', 604800), ('yearly', '1 year', 31556952),
                                       ('calendar', '1 month', 2629746), ('anniversary', '1 month', 2629746)) c (name, step, seconds),
                               LATERAL (SELECT (extract(epoch FROM clock - anchor AT TIME ZONE zone) / seconds)::int) AS m (about),
                               generate_series(about - 2, about + 2) n
                         WHERE name = cycle) s
     WHERE b > clock
$$;
CREATE FUNCTION pg_temp.walk(days float8[], start timestamptz) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    clock timestamptz := start;
    day float8;
BEGIN
    FOREACH day IN ARRAY days LOOP
        clock := clock + day * interval '1 day';
        PERFORM set_config('credits.clock', clock::text, true);
        PERFORM credits_reset_due(100000);
        INSERT INTO wrong
            SELECT clock, o.who, pg_temp.boundary(o.cycle, o.anchor, o.zone, clock), a.next_reset_at
              FROM opened o JOIN credit_account a ON a.user_id = o.who
             WHERE a.next_reset_at IS DISTINCT FROM pg_temp.boundary(o.cycle, o.anchor, o.zone, clock);
    END LOOP;
    RETURN clock;
END $$;

SET LOCAL credits.clock = '2023-12-01 00:00:00+00';
SELECT lives_ok($$SELECT credits_define_plan(cycle, 10, cycle) FROM unnest('{calendar,anniversary,daily,weekly,yearly}'::text[]) cycle$$, 'a plan of each cycle');
SET LOCAL credits.clock = '2024-02-01 12:00:00+00';
SELECT is((SELECT count(credits_open_account(who, cycle, anchor::text, zone)) FROM opened), (SELECT count(*) FROM opened), 'accounts of each cycle in each zone');
SELECT cmp_ok((SELECT count(*) FROM zone), '>', 50::bigint, 'there are many zones');
SELECT is_empty($$SELECT who FROM opened JOIN credit_account ON user_id = who WHERE next_reset_at IS DISTINCT FROM pg_temp.boundary(opened.cycle, anchor, zone, '2024-02-01 12:00:00+00')$$,
                'the first period ends at the first boundary');
-- Through two years, early and late, with all the changes of the clocks in them.
SELECT lives_ok($$SELECT pg_temp.walk(array_agg(9 + random() * 5), '2024-02-01 12:00:00+00') FROM generate_series(1, 60)$$, 'two years of sweeps');
SELECT is_empty('SELECT * FROM wrong', 'every period ends at the next boundary');
-- Sleeping over several of them.
SELECT lives_ok($$SELECT pg_temp.walk(ARRAY[100, 50, 400, 30, 1000], current_setting('credits.clock')::timestamptz)$$, 'late sweeps');
SELECT is_empty('SELECT * FROM wrong', 'however late it is applied');
SELECT is_empty($$SELECT user_id, seq FROM (SELECT *, lag(next_reset_at) OVER (PARTITION BY user_id ORDER BY seq) AS ended FROM credit_history) h
                   WHERE kind = 'reset' AND NOT (ended <= effective_at AND effective_at < next_reset_at AND (skipped > 0 OR ended = effective_at))$$,
                'periods follow each other without gap or overlap');

SELECT * FROM finish();
ROLLBACK;
