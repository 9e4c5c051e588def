-- The calls that made this example: ../../t/044_examples_are_real.pl makes them again.
SET credits.clock = '2026-01-01 00:00+00';
SELECT credits_define_plan('low', 100, low_balance_threshold => 30);
SELECT credits_define_plan('low', 100, low_balance_threshold => 60, effective_from => '2026-02-10 00:00+00');
SELECT credits_define_plan('wide', 100, low_balance_threshold => 150);
SELECT credits_define_plan('none', 100);

-- Around the plan's threshold: what holds, captures and releases do is said once; what adds
-- credits brings the account back.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('a_line', 'low');
SELECT credits_deduct('a_line', 70);
SELECT credits_deduct('a_line', 5);
SELECT credits_hold('a_line', 10, '1 day');
SELECT credits_release('a_line', 4);
SELECT credits_hold('a_line', 25, '1 day');
SELECT credits_capture('a_line', 6, 15);
SELECT credits_refund('a_line', 2, 5);
SELECT credits_add_purchased('a_line', 5, 'pay_1');
SELECT credits_add_purchased('a_line', 20, 'pay_2');
SELECT credits_deduct('a_line', 15);
SELECT credits_adjust('a_line', 'purchased', -5, 'too much');
SELECT credits_adjust('a_line', 'monthly', 40, 'sorry');
SELECT credits_hold('a_line', 50, '1 day');
SET credits.clock = '2026-01-12 00:00+00';
SELECT credits_grant('a_line', 1, '2026-03-10 00:00+00');
SELECT credits_deduct('a_line', 61);
SELECT credits_refund('a_line', 17, 10);
SET credits.clock = '2026-02-01 00:00+00';
SELECT credits_freeze('a_line');

-- Its own threshold, also while it is frozen; a debt.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('b_own', 'low');
SELECT credits_set_low_threshold('b_own', 101);
SELECT credits_set_low_threshold('b_own', 100);
SELECT credits_set_low_threshold('b_own', 101);
SELECT credits_set_low_threshold('b_own', NULL);
SELECT credits_set_low_threshold('b_own', 50, 'wants to know', 'k');
SELECT credits_deduct('b_own', 60);
SELECT credits_freeze('b_own');
SELECT credits_set_low_threshold('b_own', 40);
SELECT credits_unfreeze('b_own');
SELECT credits_set_low_threshold('b_own', 0);
SELECT credits_set_overdraft('b_own', 10);
SELECT credits_deduct('b_own', 45);

-- The thresholds of plans; a scheduled one comes with a boundary, and a closing is the end.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('c_plan', 'none');
SELECT credits_set_plan('c_plan', 'wide');
SELECT credits_set_plan('c_plan', 'none');
SELECT credits_set_plan('c_plan', 'wide');
SELECT credits_set_plan('c_plan', 'low', 'next_reset');
SET credits.clock = '2026-02-02 00:00+00';
SELECT credits_deduct('c_plan', 50);
SET credits.clock = '2026-02-11 00:00+00';
CALL credits_apply_plan('low');
CALL credits_undo_run(plan => 'low', boundary => '2026-02-01 00:00+00', regrant => true);
SELECT credits_set_plan('c_plan', 'none', restart => true);
SELECT credits_close_account('c_plan');
SELECT credits_add_purchased('c_plan', 5, 'pay_3');

-- Beginnings cross nothing.
SET credits.clock = '2026-01-10 00:00+00';
CALL credits_import($$SELECT 'd_import' AS user_id, 'low' AS plan, 20 AS monthly, 0 AS purchased, '2026-01-05'::timestamptz AS last_reset$$);
SELECT credits_add_purchased('d_import', 10, 'pay_4');
SELECT run_id FROM credit_history WHERE user_id = 'd_import' AND seq = 1 \gset
CALL credits_undo_run(:'run_id');
SELECT credits_deduct('d_import', 10);
CALL credits_import($$SELECT 'd_import' AS user_id, 'low' AS plan, 30 AS monthly, 0 AS purchased, '2026-01-05'::timestamptz AS last_reset$$);
SELECT credits_open_account('e_none');
SELECT credits_set_low_threshold('e_none', 5);
SELECT credits_grant('e_none', 4, '2026-01-20 00:00+00');
SELECT credits_add_purchased('e_none', 1, 'pay_5');
SELECT credits_transfer('e_none', 'd_import', 1);
