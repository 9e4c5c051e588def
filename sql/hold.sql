-- Holds: credits set aside, then captured, released, or ended by themselves.
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION credits;
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100) ->> 'version' AS version;
SELECT credits_define_plan('carry', 100, 'calendar', 50) ->> 'version' AS version;
SELECT credits_define_plan('big', 300) ->> 'version' AS version;

-- A hold in full: what it takes, and how long.
SELECT credits_open_account('u', 'free') ->> 'seq' AS seq;
SELECT jsonb_pretty(credits_hold('u', 5, NULL, 'a film', 'key_1', '{"job": 1}', 'member'));
SELECT spender, reason, metadata, idempotency_key FROM credit_history WHERE user_id = 'u' AND kind = 'hold';
SELECT * FROM credit_hold;

-- Everything comes back at its end, not before.
CALL t.story($$
    01-10 00:14:59.999999 | credits_balance('u') | 95/0/0 h5
    01-10 00:15 | credits_balance('u') | 100/0/0
    -- 31 days of 24 hours are the longest
          | h = credits_hold('u', 100, '31 days') | 0/0/0 h100
          | (SELECT to_char(ends_at, 'MM-DD HH24:MI') FROM credit_hold WHERE user_id = 'u' AND state = 'open') | 02-10 00:15
          | credits_deduct('u', 1) | UC001
          | credits_hold('u', 1) | UC001
          | credits_release('u', :h) | 100/0/0
    -- what is needed is what is there, and an overdraft limit does not count
          | credits_set_overdraft('u', 50) | 100/0/0
          | credits_hold('u', 101) | UC001
          | credits_hold('u', 100) | 0/0/0 h100
$$);
SELECT * FROM t.told;
SELECT * FROM t.moves('u');

-- Parts: monthly, then grants by their order, then purchased.  A capture spends
-- them in that order and says so in full; the rest goes back where it came from.
CALL t.story($$
    01-10 | credits_open_account('p', 'free') | 100/0/0
          | g3 = credits_grant('p', 20, '2026-02-20 00:00Z') | 100/20/0
          | g2 = credits_grant('p', 10, '2026-02-15 00:00Z') | 100/30/0
          | credits_add_purchased('p', 40, 'pay_p') | 100/30/40
          | h = credits_hold('p', 140, '1 day') | 0/0/30 h140
    -- 105 = 100 monthly + 5 of the grant that ends first; back: 5 of it, 20, 10
          | credits_capture('p', :h, 105) | 0/25/40
          | credits_capture('p', :h) | UC006
          | credits_release('p', :h) | UC006
    -- all of it, by default
          | h2 = credits_hold('p', 30, '1 day') | 0/0/35 h30
          | c2 = credits_capture('p', :h2) | 0/0/35
    -- nothing spent is everything back
          | h3 = credits_hold('p', 35, '1 day') | 0/0/0 h35
          | credits_release('p', :h3, 'not needed', 'rel', '{"why": "cancelled"}') | 0/0/35
          | credits_release('p', :h3) | UC006
          | credits_capture('p', :h3) | UC006
          | credits_release('p', :h3, NULL, 'rel') | 0/0/35 again
$$);
SELECT * FROM t.told;
SELECT * FROM t.moves('p');
SELECT seq, amount, monthly, purchased, allocations, state, ends_at FROM credit_hold WHERE user_id = 'p' ORDER BY seq;

-- keep_open: partial captures until nothing is left.
CALL t.story($$
    01-10 | credits_open_account('k', 'free') | 100/0/0
          | credits_grant('k', 10, '2026-02-15 00:00Z') | 100/10/0
          | credits_add_purchased('k', 10, 'pay_k') | 100/10/10
          | h = credits_hold('k', 115, '3 days') | 0/0/5 h115
          | credits_capture('k', :h, 60, true) | 0/0/5 h55
          | credits_capture('k', :h, 43, true) | 0/0/5 h12
          | (SELECT ends_at FROM credit_history WHERE user_id = 'k' ORDER BY seq DESC LIMIT 1) | 2026-01-13T00:00:00+00:00
    -- 8 = 7 of the grant, 1 purchased
          | credits_capture('k', :h, 8, true) | 0/0/5 h4
    -- nothing is left: it is closed in spite of keep_open
          | credits_capture('k', :h, 4, true) | 0/0/5
          | credits_capture('k', :h, 1, true) | UC006
    -- more than is left: the rest from the balance, and closed
          | h2 = credits_hold('k', 3, '3 days') | 0/0/2 h3
          | credits_capture('k', :h2, 4, true) | 0/0/1
          | credits_release('k', :h2) | UC006
    -- default amount with keep_open: all, and closed
          | h3 = credits_hold('k', 1, '3 days') | 0/0/0 h1
          | credits_capture('k', :h3, NULL, true) | 0/0/0
          | credits_release('k', :h3) | UC006
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, allocations, ends FROM t.moves('k') WHERE kind IN ('hold', 'capture');

-- A capture for more: the excess is an ordinary deduction, in the same row.
CALL t.story($$
    01-10 | credits_open_account('x', 'free') | 100/0/0
          | credits_add_purchased('x', 20, 'pay_x') | 100/0/20
          | h = credits_hold('x', 90, '1 day') | 10/0/20 h90
          | credits_capture('x', :h, 121) | UC001
          | credits_balance('x') | 10/0/20 h90
    -- 115 = 90 held, 10 monthly, 15 purchased
          | credits_capture('x', :h, 115) | 0/0/5
    -- into the overdraft: 5 held, then 10 owed
          | credits_set_overdraft('x', 10) | 0/0/5
          | h2 = credits_hold('x', 5, '1 day') | 0/0/0 h5
          | credits_capture('x', :h2, 16) | UC001
          | credits_capture('x', :h2, 15) | 0/0/0 o10
    -- frozen: within the hold only
          | credits_add_purchased('x', 30, 'pay_x2') | 0/0/20
          | h3 = credits_hold('x', 8, '1 day') | 0/0/12 h8
          | h4 = credits_hold('x', 8, '1 day') | 0/0/4 h16
          | h5 = credits_hold('x', 2, '1 day') | 0/0/2 h18
          | credits_freeze('x') | 0/0/2 h18
          | credits_hold('x', 1) | UC004
          | credits_capture('x', :h3, 9) | UC004
          | credits_capture('x', :h3, 6) | 0/0/4 h10
          | credits_capture('x', :h4, 8) | 0/0/4 h2
          | credits_release('x', :h5) | 0/0/6
          | credits_unfreeze('x') | 0/0/6
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, owed, allocations FROM t.moves('x') WHERE kind IN ('hold', 'capture', 'release');
SELECT credits_hold('x', 2, '1 day') ->> 'seq' AS h \gset
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_capture('x', $$ || :h || $$, 19)$$);
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_capture('x', 99)$$);
SELECT credits_release('x', :h) ->> 'held' AS held;
SELECT sqlstate, message, detail, hint FROM t.refused($$SELECT credits_release('x', $$ || :h || $$)$$);

-- Stranded holds (elizaOS/eliza#9904): a hold that nobody settles ends by itself,
-- whether or not anything runs, and the work that took too long can still be paid, once.
CALL t.story($$
    01-10 | credits_open_account('late', 'free') | 100/0/0
          | credits_add_purchased('late', 10, 'pay_late') | 100/0/10
          | h = credits_hold('late', 105, '1 hour') | 0/0/5 h105
    01-10 01:00 | credits_balance('late') | 100/0/10
          | (SELECT held_monthly FROM credit_account WHERE user_id = 'late') | 100
          | credits_deduct('late', 30) | 70/0/10
    -- an ordinary deduction: what it had is spent by others meanwhile
          | credits_capture('late', :h) | UC001
          | credits_capture('late', :h, 75, true) | 0/0/5
          | credits_capture('late', :h, 1) | UC006
          | credits_release('late', :h) | UC006
    -- default amount: what had expired
          | h2 = credits_hold('late', 4, '1 hour') | 0/0/1 h4
    01-10 01:30 | credits_capture('late', :h2, 1, true) | 0/0/1 h3
    01-10 02:00 | credits_balance('late') | 0/0/4
          | credits_capture('late', :h2) | 0/0/1
          | credits_capture('late', :h2) | UC006
    -- released ones have no late capture
          | h3 = credits_hold('late', 1, '1 hour') | 0/0/0 h1
          | credits_release('late', :h3) | 0/0/1
    01-10 04:00 | credits_capture('late', :h3) | UC006
    -- late for more, into the overdraft, and while frozen
          | h4 = credits_hold('late', 1, '1 hour') | 0/0/0 h1
          | credits_set_overdraft('late', 5) | 0/0/0 h1
    01-10 06:00 | credits_freeze('late') | 0/0/1
          | credits_capture('late', :h4, 6) | UC004
          | credits_release('late', :h4) | UC006
          | credits_unfreeze('late') | 0/0/1
          | credits_capture('late', :h4, 7) | UC001
          | credits_capture('late', :h4, 6) | 0/0/0 o5
          | (SELECT string_agg(state, ' ' ORDER BY seq) FROM credit_hold WHERE user_id = 'late') | settled settled released settled
$$);
SELECT * FROM t.told;
SELECT * FROM t.moves('late');
SELECT seq, amount, monthly, purchased, state, ends_at FROM credit_hold WHERE user_id = 'late' ORDER BY seq;

-- The reset: held monthly credits are neither leftover nor allowance, and what comes
-- back after it and does not roll over expires at once.  So a hold of 100 gives 100, not 200.
CALL t.story($$
    01-31 | credits_open_account('r', 'free') | 100/0/0
          | h = credits_hold('r', 100, '2 days') | 0/0/0 h100
    02-01 | credits_balance('r') | 100/0/0 h100
    02-01 12:00 | credits_release('r', :h) | 100/0/0 x100
    -- captured, partly: 60 of the old period spent, 40 expired
    02-28 | h2 = credits_hold('r', 100, '10 days') | 0/0/0 h100
    03-01 | c2 = credits_capture('r', :h2, 60) | 100/0/0 x40
    -- more than is held: the excess from the new allowance
    03-31 | h3 = credits_hold('r', 100, '10 days') | 0/0/0 h100
    04-01 | credits_capture('r', :h3, 130) | 70/0/0
    -- ended by itself after the reset
    04-30 | credits_hold('r', 70, '2 days') | 0/0/0 h70
    05-02 | credits_balance('r') | 100/0/0
          | credits_deduct('r', 1) | 99/0/0
    -- the late capture of such a hold takes what expired with it: the new allowance is untouched
    05-31 | h5 = credits_hold('r', 99, '2 days') | 0/0/0 h99
    06-02 | credits_capture('r', :h5) | 100/0/0
    -- with rollover 50, 30 of them free: 20 of what comes back are carried as if they had been free, too
          | credits_open_account('ro', 'carry') | 100/0/0
          | hr = credits_hold('ro', 70, '31 days') | 30/0/0 h70
    07-01 | credits_deduct('ro', 1) | 129/0/0 h70
          | credits_release('ro', :hr) | 149/0/0 x50
$$);
SELECT * FROM t.told;
SELECT * FROM t.moves('r');
-- and kept open over the reset: the source is a period that had ended
CALL t.story($$
    07-31 | credits_open_account('o', 'free') | 100/0/0
          | h = credits_hold('o', 50, '5 days') | 50/0/0 h50
          | credits_capture('o', :h, 10, true) | 50/0/0 h40
    08-01 | credits_capture('o', :h, 10, true) | 100/0/0 h30
          | credits_capture('o', :h, 5) | 100/0/0 x25
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, expired, allocations, ends FROM t.moves('o') WHERE kind = 'capture';

-- One instant: a hold, its grant and its period all end at 00:00 on the 1st.  The hold
-- ends first, so that its credits are back for the other two, which then take them.
CALL t.story($$
    08-31 | credits_open_account('i', 'free') | 100/0/0
          | credits_grant('i', 10, '2026-09-01 00:00Z') | 100/10/0
          | credits_add_purchased('i', 5, 'pay_i') | 100/10/5
          | credits_hold('i', 112, '1 day') | 0/0/3 h112
    08-31 23:59:59.999999 | credits_balance('i') | 0/0/3 h112
    09-01 | credits_balance('i') | 100/0/5
          | credits_deduct('i', 1) | 99/0/5
    -- a microsecond longer, and both parts have nowhere to go
    09-30 | credits_grant('i', 10, '2026-10-01 00:00Z') | 99/10/5
          | credits_hold('i', 111, '1 day 00:00:00.000001') | 0/0/3 h111
    10-01 | credits_balance('i') | 100/0/3 h111
    10-01 00:00:00.000001 | credits_balance('i') | 100/0/5
          | credits_deduct('i', 1) | 99/0/5
    -- a call at the end of the hold finds it ended, and the grant too
    10-30 | credits_grant('i', 10, '2026-10-31 00:00Z') | 99/10/5
          | h = credits_hold('i', 109, '1 day') | 0/0/5 h109
    10-31 | credits_release('i', :h) | UC006
          | credits_capture('i', :h, 99) | 0/0/5
$$);
SELECT * FROM t.told;
SELECT seq, kind, ref, amount, delta, balance, held, expired, allocations, at FROM t.moves('i') WHERE kind <> 'purchase';
-- holds that end at one instant do so in the order in which they were made
CALL t.story($$
    10-01 | credits_open_account('j') | 0/0/0
          | credits_add_purchased('j', 10, 'pay_j') | 0/0/10
          | credits_hold('j', 1, '2 hours') | 0/0/9 h1
          | credits_hold('j', 2, '1 hour') | 0/0/7 h3
          | credits_hold('j', 3, '2 hours') | 0/0/4 h6
    10-02 | credits_deduct('j', 10) | 0/0/0
$$);
SELECT count(*) FILTER (WHERE wrong IS NOT NULL) AS wrong FROM t.told;
SELECT seq, kind, ref, amount, at FROM t.moves('j') WHERE kind = 'hold_end';

-- A grant that ends while it is held: captured it is spent, returned it expires.
CALL t.story($$
    10-01 | credits_open_account('g') | 0/0/0
          | g = credits_grant('g', 10, '2026-10-05 00:00Z') | 0/10/0
          | h = credits_hold('g', 6, '10 days') | 0/4/0 h6
    10-05 | credits_balance('g') | 0/0/0 h6
          | credits_capture('g', :h, 2, true) | 0/0/0 h4
          | credits_capture('g', :h, 1) | 0/0/0 x3
    -- all of a grant held over its end: no row for its end, and no way back
          | credits_grant('g', 7, '2026-10-06 00:00Z') | 0/7/0
          | h2 = credits_hold('g', 7, '10 days') | 0/0/0 h7
    10-06 | credits_release('g', :h2) | 0/0/0 x7
    -- back before its end, to a grant that was empty over a boundary; then it ends
    10-20 | credits_set_plan('g', 'free') | 100/0/0
          | credits_grant('g', 5, '2026-11-05 00:00Z') | 100/5/0
          | h3 = credits_hold('g', 105, '30 days') | 0/0/0 h105
    11-01 | credits_deduct('g', 1) | 99/0/0 h105
    11-02 | credits_release('g', :h3) | 99/5/0 x100
          | (SELECT next_event_at <= '2026-11-05 00:00Z' FROM credit_account WHERE user_id = 'g') | true
    11-05 | credits_balance('g') | 99/0/0
          | credits_deduct('g', 1) | 98/0/0
$$);
SELECT * FROM t.told;
SELECT seq, amount, remaining, closed FROM credit_grant WHERE user_id = 'g' ORDER BY seq;

-- Several missed boundaries with a hold's end between, swept in time and at once.
CALL t.story($$
    11-01 | credits_open_account('swept', 'carry') | 100/0/0
          | credits_open_account('slept', 'carry') | 100/0/0
    11-10 | credits_hold('swept', 80, '31 days') | 20/0/0 h80
          | credits_hold('slept', 80, '31 days') | 20/0/0 h80
    11-20 | credits_hold('swept', 10, '5 days') | 10/0/0 h90
          | credits_hold('slept', 10, '5 days') | 10/0/0 h90
    11-25 | credits_adjust('swept', 'purchased', 1, 'wake up') | 20/0/1 h80
          | credits_adjust('swept', 'purchased', -1, 'wake up') | 20/0/0 h80
    -- 20 over, + 100; 50 over; + 100
    12-01 | credits_adjust('swept', 'purchased', 1, 'wake up') | 120/0/1 h80
          | credits_adjust('swept', 'purchased', -1, 'wake up') | 120/0/0 h80
    -- the hold of November ends in December: 30 more of it roll over, the rest expires
    12-11 | credits_adjust('swept', 'purchased', 1, 'wake up') | 150/0/1
          | credits_adjust('swept', 'purchased', -1, 'wake up') | 150/0/0
    12-20 | credits_balance('slept') | 150/0/0
          | credits_balance('swept') | 150/0/0
          | (credits_reset_due()->'failures') | 0
$$);
SELECT * FROM t.told;
SELECT user_id, monthly, held_monthly, period_granted, last_monthly_reset, next_reset_at, next_event_at
  FROM credit_account WHERE user_id IN ('swept', 'slept') ORDER BY 1;
SELECT kind, ref, amount, delta, balance, held, expired, at FROM t.moves('slept') WHERE kind IN ('hold_end', 'reset');

-- Downgrade then upgrade grants everything again (theopenco/llmgateway#2479): not with
-- a hold in between either.  What the downgrade cannot take, because it is held, is
-- remembered, and taken from what comes back.
CALL t.story($$
    12-20 | credits_open_account('d', 'big') | 300/0/0
          | h = credits_hold('d', 250, '1 day') | 50/0/0 h250
    -- 200 less, of which 50 can be taken, and 150 of what is released
          | credits_set_plan('d', 'free') | 0/0/0 h250
          | credits_release('d', :h) | 100/0/0
          | credits_set_plan('d', 'big') | 300/0/0
          | h2 = credits_hold('d', 300, '1 day') | 0/0/0 h300
          | credits_set_plan('d', 'free') | 0/0/0 h300
          | credits_set_plan('d', 'big') | 0/0/0 h300
          | credits_capture('d', :h2, 100) | 200/0/0
$$);
SELECT * FROM t.told;

-- The cap counts what is held, so that it can always return.
CALL t.story($$
    12-20 | credits_open_account('c') | 0/0/0
          | credits_add_purchased('c', 9007199254740991, 'pay_c') | 0/0/9007199254740991
          | h = credits_hold('c', 9007199254740991) | 0/0/0 h9007199254740991
          | credits_add_purchased('c', 1, 'pay_c2') | 22003
          | credits_set_plan('c', 'free') | 22003
          | credits_release('c', :h) | 0/0/9007199254740991
$$);
SELECT * FROM t.told;

-- Keys: kind, user, amount, duration; hold, amount, keep_open; hold.
CALL t.story($$
    12-20 | credits_open_account('y', 'free') | 100/0/0
          | credits_deduct('y', 2, NULL, 'kd') | 98/0/0
          | h = credits_hold('y', 10, '1 hour', 'why', 'kh', '{}', 's') | 88/0/0 h10
          | credits_hold('y', 10, '60 minutes', 'other', 'kh') | 88/0/0 h10 again
          | credits_hold('y', 11, '1 hour', NULL, 'kh') | UC003
          | credits_hold('y', 10, '2 hours', NULL, 'kh') | UC003
          | credits_hold('y', 10, NULL, NULL, 'kh') | UC003
          | credits_deduct('y', 10, NULL, 'kh') | UC003
          | credits_hold('y', 2, NULL, NULL, 'kd') | UC003
          | h2 = credits_hold('y', 3, NULL, NULL, 'kh2') | 85/0/0 h13
          | credits_hold('y', 3, '15 minutes', NULL, 'kh2') | 85/0/0 h13 again
          | credits_capture('y', :h, 4, true, 'why', 'kc', '{}', 's') | 85/0/0 h9
          | credits_capture('y', :h, 4, true, 'other', 'kc') | 85/0/0 h9 again
          | credits_capture('y', :h, 4, false, NULL, 'kc') | UC003
          | credits_capture('y', :h, 4, NULL, NULL, 'kc') | UC003
          | credits_capture('y', :h, 5, true, NULL, 'kc') | UC003
          | credits_capture('y', :h, NULL, true, NULL, 'kc') | UC003
          | credits_capture('y', :h2, 4, true, NULL, 'kc') | UC003
          | credits_release('y', :h, NULL, 'kc') | UC003
          | credits_capture('y', :h, NULL, false, NULL, 'kc2') | 85/0/0 h3
          | credits_capture('y', :h, NULL, NULL, NULL, 'kc2') | 85/0/0 h3 again
          | credits_capture('y', :h, 6, NULL, NULL, 'kc2') | UC003
          | credits_release('y', :h2, NULL, 'kr') | 88/0/0
          | credits_release('y', :h2, NULL, 'kr') | 88/0/0 again
          | credits_release('y', :h, NULL, 'kr') | UC003
          | credits_capture('y', :h2, NULL, NULL, NULL, 'kr') | UC003
    -- frozen, ended, in another period: a replay is a replay
          | credits_freeze('y') | 88/0/0
    12-31 | credits_hold('y', 10, '1 hour', NULL, 'kh') | 88/0/0 h10 again
          | credits_capture('y', :h, 4, true, NULL, 'kc') | 85/0/0 h9 again
          | credits_unfreeze('y') | 88/0/0
    -- a refused call leaves no key
          | credits_capture('y', :h, 4, NULL, NULL, 'kx') | UC006
          | credits_hold('y', 4, NULL, NULL, 'kx') | 84/0/0 h4
$$);
SELECT * FROM t.told;

-- Arguments.  Nobody else's hold is found, and what is no hold is none.
SELECT t.fingerprint() AS before \gset
SELECT args, t.sqlstate('SELECT credits_hold(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 1$$,                                   -- 22004
    $$'y', NULL$$,                                 -- 22004
    $$'', 1$$,                                     -- 22023
    $$'nobody', 1$$,                               -- UC002
    $$'y', 0$$,                                    -- 22023
    $$'y', -1$$,                                   -- 22023
    $$'y', 9007199254740992$$,                     -- 22003
    $$'y', 9007199254740991$$,                     -- UC001
    $$'y', 1, '0'$$,                               -- 22023
    $$'y', 1, '-1 microsecond'$$,                  -- 22023
    $$'y', 1, '1 month'$$,                         -- 22023: no certain length
    $$'y', 1, '1 month -30 days'$$,                -- 22023
    $$'y', 1, '1 year'$$,                          -- 22023
    $$'y', 1, '32 days'$$,                         -- 22023
    $$'y', 1, '31 days 00:00:00.000001'$$,         -- 22023
    $$'y', 1, '744:00:00.000001'$$,                -- 22023
    $$'y', 1, '-1000000000 days'$$,                -- 22023
    $$'y', 1, '2000000000 hours'$$,                -- 22023
    $$'y', 1, '31 days -744:00:00'$$,              -- 22023: nothing
    $$'y', 1, NULL, NULL, ''$$,                    -- 22023
    $$'y', 1, NULL, NULL, NULL, NULL, ''$$         -- 22023
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT args, t.sqlstate('SELECT credits_capture(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 3$$,                                   -- 22004
    $$'y', NULL$$,                                 -- 22004
    $$'y', 3, 0$$,                                 -- UC006: 0 settles a hold
    $$'y', 3, 0, true$$,                           -- 22023: it cannot stay open
    $$'y', 3, -1$$,                                -- 22023
    $$'y', 3, 9007199254740992$$,                  -- 22003
    $$'y', 3, 1, NULL, NULL, ''$$,                 -- 22023
    $$'y', 3, 1, NULL, NULL, NULL, NULL, ''$$,     -- 22023
    $$'nobody', 3$$,                               -- UC002
    $$'y', 1$$,                                    -- UC005: opened the account
    $$'y', 2$$,                                    -- UC005: a deduction
    $$'y', 0$$,                                    -- UC005
    $$'y', -1$$,                                   -- UC005
    $$'y', 9223372036854775807$$,                  -- UC005
    $$'g', 4$$                                     -- UC005: a capture of another
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT args, t.sqlstate('SELECT credits_release(' || args || ')')
  FROM unnest(ARRAY[
    $$NULL, 3$$,                                   -- 22004
    $$'y', NULL$$,                                 -- 22004
    $$'y', 3, NULL, repeat('x', 256)$$,            -- 22023
    $$'nobody', 3$$,                               -- UC002
    $$'y', 2$$,                                    -- UC005
    $$'y', -9223372036854775808$$                  -- UC005
  ]) WITH ORDINALITY AS u(args, n) ORDER BY n;
SELECT t.fingerprint() = :'before' AS nothing_written;
SELECT credits_hold('y', 1, '1 microsecond') ->> 'ends_at' AS shortest,
       credits_hold('y', 1, '30 days 24:00:00') ->> 'ends_at' AS longest,
       credits_hold('y', 1, '-1 days +48:00:00') ->> 'ends_at' AS a_day;

-- An unknown user's account is opened where there is a plan for it.
SET credits.default_plan = 'free';
SELECT t.short(credits_hold('new', 30));
SELECT t.sqlstate($$SELECT credits_capture('newer', 1)$$), count(*) AS opened FROM credit_account WHERE user_id = 'newer';
RESET credits.default_plan;

-- Two in one statement see each other.
SELECT t.short(credits_release('new', (credits_hold('new', 70) ->> 'seq')::int8));

SELECT * FROM credits_verify();
DROP EXTENSION credits;
