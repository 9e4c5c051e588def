-- The edge cases of the monthly reset, each under several session time zones
-- and date styles: nothing may depend on those.
--
-- A case is a little script.  Its lines are run in turn; each says when it
-- happens and what is called, and yields what it says to look at.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;

CREATE TEMP TABLE step (no serial, edge text, at text, call text, yields text);
CREATE TEMP TABLE result (zone text, no int, value text);
CREATE TEMP TABLE trail (zone text, edge text, seq int8, kind text, amount int8, expired int8, skipped int4, monthly int8,
                         effective_at timestamptz, next_reset_at timestamptz);

-- 'USER' stands for the case's user, 'PLAN' for its plan; both differ by zone.
INSERT INTO step (edge, at, call, yields) VALUES
-- the two that sweep come first: a sweep meets every account there is
('rollover, swept',          '2026-01-10 00:00:00+00', $$credits_define_plan('PLAN', 100, 'calendar', 50)$$, 'version'),
('rollover, swept',          '2026-01-10 00:00:00+00', $$credits_open_account('USER', 'PLAN')$$, 'monthly'),
('rollover, swept',          '2026-01-11 00:00:00+00', $$credits_deduct('USER', 90)$$, 'monthly'),
('rollover, swept',          '2026-02-01 00:00:00+00', $$credits_reset_due()$$, NULL),
('rollover, swept',          '2026-02-01 00:00:00+00', $$credits_balance('USER')$$, 'monthly'),
('rollover, swept',          '2026-03-02 00:00:00+00', $$credits_reset_due()$$, NULL),
('rollover, swept',          '2026-03-02 00:00:00+00', $$credits_balance('USER')$$, 'monthly'),
('rollover, swept',          '2026-04-15 00:00:00+00', $$credits_reset_due()$$, NULL),
('rollover, swept',          '2026-04-15 00:00:00+00', $$credits_reset_due()$$, NULL),
('rollover, swept',          '2026-04-15 00:00:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),

('clock back 8 h',           '2026-01-20 00:00:00+00', $$credits_define_plan('PLAN', 100)$$, 'version'),
('clock back 8 h',           '2026-01-20 00:00:00+00', $$credits_open_account('USER', 'PLAN')$$, 'monthly'),
('clock back 8 h',           '2026-02-01 00:00:00+00', $$credits_deduct('USER', 30)$$, 'monthly'),
('clock back 8 h',           '2026-01-31 16:00:00+00', $$credits_balance('USER')$$, 'monthly'),
('clock back 8 h',           '2026-01-31 16:00:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),
('clock back 8 h',           '2026-01-31 16:00:00+00', $$credits_deduct('USER', 1)$$, 'effective_at'),
('clock back 8 h',           '2026-01-31 16:00:00+00', $$credits_deduct('USER', 1)$$, 'created_at'),
('clock back 8 h',           '2026-02-01 00:00:00+00', $$credits_reset_due()$$, NULL),
('clock back 8 h',           '2026-02-01 00:00:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),
('clock back 8 h',           '2026-02-01 00:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),

('anchor 31 Jan 2026',       '2026-01-31 00:00:00+00', $$credits_define_plan('PLAN', 100, 'anniversary')$$, 'version'),
('anchor 31 Jan 2026',       '2026-01-31 00:00:00+00', $$credits_open_account('USER', 'PLAN', '2026-01-31 00:00:00')$$, 'next_reset_at'),
('anchor 31 Jan 2026',       '2026-02-28 00:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('anchor 31 Jan 2026',       '2026-03-31 00:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('anchor 31 Jan 2026',       '2026-04-30 00:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),

('anchor 29 Feb 2024',       '2024-02-29 10:00:00+00', $$credits_define_plan('PLAN', 100, 'anniversary')$$, 'version'),
('anchor 29 Feb 2024',       '2024-02-29 10:00:00+00', $$credits_open_account('USER', 'PLAN', '2024-02-29 10:00:00')$$, 'next_reset_at'),
('anchor 29 Feb 2024',       '2025-02-01 00:00:00+00', $$credits_balance('USER')$$, 'next_reset_at'),
('anchor 29 Feb 2024',       '2026-02-01 00:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('anchor 29 Feb 2024',       '2027-02-01 00:00:00+00', $$credits_balance('USER')$$, 'next_reset_at'),
('anchor 29 Feb 2024',       '2028-02-01 00:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('anchor 29 Feb 2024',       '2028-02-29 10:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),

('Berlin 02:30, 29 Mar',     '2026-01-29 01:30:00+00', $$credits_define_plan('PLAN', 100, 'anniversary')$$, 'version'),
('Berlin 02:30, 29 Mar',     '2026-01-29 01:30:00+00', $$credits_open_account('USER', 'PLAN', '2026-01-29 02:30:00', 'Europe/Berlin')$$, 'next_reset_at'),
('Berlin 02:30, 29 Mar',     '2026-02-28 01:30:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('Berlin 02:30, 29 Mar',     '2026-03-29 01:29:59.999999+00', $$credits_balance('USER')$$, 'monthly'),
('Berlin 02:30, 29 Mar',     '2026-03-29 01:30:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),

('Berlin 02:30, 25 Oct',     '2026-09-25 00:30:00+00', $$credits_define_plan('PLAN', 100, 'anniversary')$$, 'version'),
('Berlin 02:30, 25 Oct',     '2026-09-25 00:30:00+00', $$credits_open_account('USER', 'PLAN', '2026-09-25 02:30:00', 'Europe/Berlin')$$, 'next_reset_at'),
('Berlin 02:30, 25 Oct',     '2026-10-25 00:30:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),
('Berlin 02:30, 25 Oct',     '2026-10-25 01:30:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('Berlin 02:30, 25 Oct',     '2026-10-25 02:30:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),

('Santiago 00:00, 6 Sep',    '2026-08-06 04:00:00+00', $$credits_define_plan('PLAN', 100, 'anniversary')$$, 'version'),
('Santiago 00:00, 6 Sep',    '2026-08-06 04:00:00+00', $$credits_open_account('USER', 'PLAN', '2026-08-06 00:00:00', 'America/Santiago')$$, 'next_reset_at'),
('Santiago 00:00, 6 Sep',    '2026-09-06 04:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),

('Apia, 30 Dec 2011',        '2011-11-30 10:00:00+00', $$credits_define_plan('PLAN', 100, 'anniversary')$$, 'version'),
('Apia, 30 Dec 2011',        '2011-11-30 10:00:00+00', $$credits_open_account('USER', 'PLAN', '2011-11-30 00:00:00', 'Pacific/Apia')$$, 'next_reset_at'),
('Apia, 30 Dec 2011',        '2011-12-30 09:59:59+00', $$credits_deduct('USER', 1)$$, 'monthly'),
('Apia, 30 Dec 2011',        '2011-12-30 10:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('Apia, 30 Dec 2011',        '2011-12-31 12:00:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),

('asleep over 3',            '2026-01-10 00:00:00+00', $$credits_define_plan('PLAN', 100)$$, 'version'),
('asleep over 3',            '2026-01-10 00:00:00+00', $$credits_open_account('USER', 'PLAN')$$, 'monthly'),
('asleep over 3',            '2026-01-11 00:00:00+00', $$credits_deduct('USER', 40)$$, 'monthly'),
('asleep over 3',            '2026-04-15 00:00:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),

('rollover, never swept',    '2026-01-10 00:00:00+00', $$credits_define_plan('PLAN', 100, 'calendar', 50)$$, 'version'),
('rollover, never swept',    '2026-01-10 00:00:00+00', $$credits_open_account('USER', 'PLAN')$$, 'monthly'),
('rollover, never swept',    '2026-01-11 00:00:00+00', $$credits_deduct('USER', 90)$$, 'monthly'),
('rollover, never swept',    '2026-04-15 00:00:00+00', $$credits_balance('USER')$$, 'monthly'),
('rollover, never swept',    '2026-04-15 00:00:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),

('plan raised on the 20th',  '2026-01-20 00:00:00+00', $$credits_define_plan('PLAN', 100)$$, 'version'),
('plan raised on the 20th',  '2026-01-20 00:00:00+00', $$credits_open_account('USER', 'PLAN')$$, 'monthly'),
('plan raised on the 20th',  '2026-02-20 00:00:00+00', $$credits_define_plan('PLAN', 200)$$, 'version'),
('plan raised on the 20th',  '2026-02-25 00:00:00+00', $$credits_balance('USER')$$, 'monthly'),
('plan raised on the 20th',  '2026-02-25 00:00:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),
('plan raised on the 20th',  '2026-03-01 00:00:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),

('opened 23:59',             '2026-01-31 22:59:00+00', $$credits_define_plan('PLAN', 100)$$, 'version'),
('opened 23:59',             '2026-01-31 22:59:00+00', $$credits_open_account('USER', 'PLAN', NULL, 'Europe/Berlin')$$, 'next_reset_at'),
('opened 23:59',             '2026-01-31 22:59:30+00', $$credits_deduct('USER', 40)$$, 'monthly'),
('opened 23:59',             '2026-01-31 23:01:00+00', $$credits_deduct('USER', 1)$$, 'monthly'),

-- and some more of the same kind
('anchor of 1900, till 2525', '1972-02-29 00:00:00+00', $$credits_define_plan('PLAN', 100, 'anniversary')$$, 'version'),
('anchor of 1900, till 2525', '1972-02-29 00:00:00+00', $$credits_open_account('USER', 'PLAN', '1900-01-31 00:00:00', 'UTC')$$, 'next_reset_at'),
('anchor of 1900, till 2525', '2525-02-01 00:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('calendar, New Year',       '2026-12-31 00:00:00+00', $$credits_define_plan('PLAN', 100)$$, 'version'),
('calendar, New Year',       '2026-12-31 00:00:00+00', $$credits_open_account('USER', 'PLAN', NULL, 'Asia/Kathmandu')$$, 'next_reset_at'),
('calendar, New Year',       '2026-12-31 18:15:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at'),
('calendar, half-hour DST',  '2026-03-10 00:00:00+00', $$credits_define_plan('PLAN', 100)$$, 'version'),
('calendar, half-hour DST',  '2026-03-10 00:00:00+00', $$credits_open_account('USER', 'PLAN', NULL, 'Australia/Lord_Howe')$$, 'next_reset_at'),
('calendar, half-hour DST',  '2026-04-10 00:00:00+00', $$credits_deduct('USER', 1)$$, 'next_reset_at');

-- The plans of a zone are its own, and so is the time: each zone starts anew.
CREATE PROCEDURE pg_temp.run(zone text, style text)
LANGUAGE plpgsql AS $$
DECLARE
    s step;
    r jsonb;
BEGIN
    PERFORM set_config('timezone', zone, false), set_config('datestyle', style, false);
    FOR s IN SELECT * FROM step ORDER BY no LOOP
        PERFORM set_config('credits.clock', s.at, false);
        EXECUTE 'SELECT ' || replace(replace(s.call, 'USER', s.edge || ' ' || zone), 'PLAN', s.edge || ' ' || zone) INTO r;
        INSERT INTO result VALUES (zone, s.no, r ->> s.yields);
    END LOOP;
    INSERT INTO trail
        SELECT zone, e.edge, h.seq, h.kind, h.amount, coalesce(h.expired, 0), h.skipped, h.monthly, h.effective_at, h.next_reset_at
          FROM (SELECT DISTINCT edge FROM step) e JOIN credit_history h ON h.user_id = e.edge || ' ' || zone;
END $$;
CALL pg_temp.run('UTC', 'ISO, YMD');
CALL pg_temp.run('America/Los_Angeles', 'Postgres, MDY');
CALL pg_temp.run('Asia/Kolkata', 'SQL, DMY');
CALL pg_temp.run('Pacific/Apia', 'German');
CALL pg_temp.run('Europe/Berlin', 'ISO, DMY');
CALL pg_temp.run('<-13>+13', 'ISO, MDY');
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';

SELECT s.edge, left(s.at, 19) AS at, left(s.call, 22) AS call, s.yields, r.value
  FROM step s JOIN result r USING (no)
 WHERE r.zone = 'UTC' AND s.yields IS NOT NULL AND s.yields <> 'version'
 ORDER BY no;
-- the same under all session time zones
SELECT count(*) AS steps, count(*) FILTER (WHERE n <> 6) AS missing, count(*) FILTER (WHERE d <> 1) AS differing
  FROM (SELECT count(*) AS n, count(DISTINCT coalesce(value, '')) AS d FROM result
         WHERE no IN (SELECT no FROM step WHERE yields IS NOT NULL) GROUP BY no) s;

-- The rows that the boundaries left, the same under all of them.
SELECT edge, seq, kind, amount, expired, skipped, monthly, effective_at, next_reset_at
  FROM trail WHERE zone = 'UTC' AND kind <> 'open' AND kind <> 'deduct'
 ORDER BY (SELECT min(no) FROM step WHERE step.edge = trail.edge), seq;
SELECT count(*) AS rows_under_utc,
       (SELECT count(*) FROM (SELECT edge, seq, kind, amount, expired, skipped, monthly, effective_at, next_reset_at
                                FROM trail GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 HAVING count(*) = 6) s) AS same_under_all,
       (SELECT count(*) FROM trail) / 6 AS rows_per_zone
  FROM trail WHERE zone = 'UTC';

SELECT * FROM credits_verify();

-- A zone must be a name of pg_timezone_names; its spelling is free, as
-- everywhere in PostgreSQL, but a POSIX rule or an abbreviation is no name.
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('p', 10) ->> 'version' AS version;
SELECT zone, t.sqlstate(format('SELECT credits_open_account(%L, ''p'', NULL, %L)', 'zone ' || zone, zone))
  FROM unnest(ARRAY['Europe/Berlin', 'UTC', 'Etc/GMT+5',
                    'FOO5BAR', 'Mars/Base', '<+02>-2', 'CEST', 'PDT', '+2', '../../etc/passwd', 'Europe', 'posix rules']) zone;
DROP EXTENSION credits;
