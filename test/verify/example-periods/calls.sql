-- The calls that made this example: ../../t/044_examples_are_real.pl makes them again.
SET credits.clock = '2026-01-01 00:00+00';
SELECT credits_define_plan('day', 10, 'daily');
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('big', 200);
SELECT credits_define_plan('pro', 1000, 'anniversary', 50);
SELECT credits_define_plan('pro', 1200, effective_from => '2026-03-20 00:00+00');
SELECT credits_define_plan('pro', 200, effective_from => '2026-03-21 12:00+00');
SELECT credits_define_plan('year', 1200, 'yearly');

-- Another zone, so that a period is prorated; what a smaller plan cannot take is remembered.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('a_cycle', 'free', '2026-01-10 00:00');
SET credits.clock = '2026-01-10 01:00+00';
SELECT credits_set_cycle('a_cycle', NULL, 'Asia/Tokyo');
SET credits.clock = '2026-02-02 00:00+00';
SELECT credits_set_plan('a_cycle', 'big');
SET credits.clock = '2026-02-03 00:00+00';
SELECT credits_deduct('a_cycle', 197);
SET credits.clock = '2026-02-04 00:00+00';
SELECT credits_set_plan('a_cycle', 'free');
SET credits.clock = '2026-02-05 00:00+00';
SELECT credits_refund('a_cycle', 5, 150);
SET credits.clock = '2026-02-06 00:00+00';
SELECT credits_deduct('a_cycle', 51);
SET credits.clock = '2026-02-07 00:00+00';
SELECT credits_set_plan('a_cycle', NULL);
SET credits.clock = '2026-06-10 00:00+00';
SELECT credits_set_plan('a_cycle', 'big', 'next_reset');
SET credits.clock = '2026-07-05 00:00+00';
SELECT credits_set_cycle('a_cycle', NULL, 'UTC');

-- Returns over a boundary, up to the rollover limit; the boundary undone; one granted anew;
-- a changed plan applied and undone.
SET credits.clock = '2026-01-05 12:00+00';
SELECT credits_open_account('b_roll', 'pro', '2026-01-05 12:00');
SET credits.clock = '2026-01-06 00:00+00';
SELECT credits_deduct('b_roll', 900);
SET credits.clock = '2026-02-01 00:00+00';
SELECT credits_hold('b_roll', 60, '19 days');
SET credits.clock = '2026-02-06 00:00+00';
SELECT credits_release('b_roll', 3);
SET credits.clock = '2026-02-07 00:00+00';
SELECT credits_refund('b_roll', 2, 20);
SET credits.clock = '2026-02-08 00:00+00';
CALL credits_undo_run(plan => 'pro', boundary => '2026-02-05 12:00+00');
SET credits.clock = '2026-02-09 00:00+00';
SELECT credits_refund('b_roll', 2, 30);
SET credits.clock = '2026-03-21 00:00+00';
CALL credits_undo_run(plan => 'pro', boundary => '2026-03-05 12:00+00', regrant => true);
SET credits.clock = '2026-03-22 00:00+00';
CALL credits_apply_plan('pro');
SELECT run_id FROM credit_reset_run WHERE kind = 'apply_plan' \gset
SET credits.clock = '2026-03-23 00:00+00';
CALL credits_undo_run(:'run_id');

-- Restarts, on other cycles too, and over silent boundaries.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('c_restart', 'free', '2026-01-10 00:00');
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_deduct('c_restart', 30);
SET credits.clock = '2026-01-15 06:00+00';
SELECT credits_set_plan('c_restart', 'pro', restart => true);
SET credits.clock = '2026-01-16 00:00+00';
SELECT credits_refund('c_restart', 2, 10);
SET credits.clock = '2026-01-20 00:00+00';
SELECT credits_set_plan('c_restart', 'year', restart => true, keep_anchor => true);
SET credits.clock = '2026-02-01 00:00+00';
SELECT credits_set_plan('c_restart', 'pro', restart => true, keep_anchor => true);
SET credits.clock = '2026-03-02 00:00+00';
SELECT credits_set_plan('c_restart', NULL);
SET credits.clock = '2026-03-03 00:00+00';
SELECT credits_set_plan('c_restart', 'day', restart => true);
SET credits.clock = '2026-03-03 01:00+00';
SELECT credits_set_plan('c_restart', NULL);
SET credits.clock = '2026-03-09 12:00+00';
SELECT credits_set_plan('c_restart', 'day', restart => true);

-- Boundaries without a row, before a row and before the end of a hold; several in one row.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('d_silent', 'day', '2026-01-10 00:00');
SET credits.clock = '2026-01-10 01:00+00';
SELECT credits_deduct('d_silent', 4);
SET credits.clock = '2026-01-10 02:00+00';
SELECT credits_set_plan('d_silent', NULL);
SET credits.clock = '2026-01-10 03:00+00';
SELECT credits_refund('d_silent', 2, 4);
SET credits.clock = '2026-01-11 05:00+00';
SELECT credits_add_purchased('d_silent', 20, 'pay_d');
SET credits.clock = '2026-01-11 06:00+00';
SELECT credits_hold('d_silent', 5, '2 days 18 hours');
SET credits.clock = '2026-01-20 06:00+00';
SELECT credits_set_plan('d_silent', 'day');
SET credits.clock = '2026-01-21 00:00+00';
CALL credits_run_reset();
SET credits.clock = '2026-01-30 01:00+00';
SELECT credits_set_plan('d_silent', NULL);
SET credits.clock = '2026-02-03 01:00+00';
SELECT credits_set_cycle('d_silent', NULL, 'Asia/Tokyo');
SET credits.clock = '2026-02-04 01:00+00';
SELECT credits_add_purchased('d_silent', 1, 'pay_d2');

-- Without a plan for months, then the first one.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_add_purchased('e_first', 50, 'pay_e');
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_adjust('e_first', 'monthly', 5, 'welcome');
SET credits.clock = '2026-01-12 00:00+00';
SELECT credits_open_account('e_first', NULL, '2026-01-12 00:00', 'Asia/Tokyo');
SET credits.clock = '2026-01-13 00:00+00';
SELECT credits_deduct('e_first', 3);
SET credits.clock = '2026-08-20 00:00+00';
SELECT credits_set_plan('e_first', 'free');
SET credits.clock = '2026-08-21 00:00+00';
SELECT credits_refund('e_first', 5, 3);
