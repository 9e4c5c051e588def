-- The calls that made this example: ../../t/044_examples_are_real.pl makes them again.
SET credits.clock = '2026-01-01 00:00+00';
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('roll', 100, 'calendar', 20);

-- A paid grant that ended, taken back and reinstated.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_grant('a_paid', 100, '2026-02-10 00:00+00', payment_ref => 'pack_a');
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_deduct('a_paid', 60);
SET credits.clock = '2026-02-11 00:00+00';
SELECT credits_add_purchased('a_paid', 5, 'pay_a');
SET credits.clock = '2026-02-12 00:00+00';
SELECT credits_revoke_purchase('pack_a', total => 70);
SET credits.clock = '2026-02-13 00:00+00';
SELECT credits_refund('a_paid', 3, 20);
SET credits.clock = '2026-02-14 00:00+00';
SELECT credits_reinstate_purchase('pack_a', 50);
SET credits.clock = '2026-02-15 00:00+00';
SELECT credits_revoke_purchase('pay_a', 5);
SET credits.clock = '2026-02-16 00:00+00';
SELECT credits_revoke_purchase('pay_a', total => 3);
SET credits.clock = '2026-02-17 00:00+00';
SELECT credits_reinstate_purchase('pay_a', 2);

-- One that is open.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_grant('b_open', 100, '2027-02-10 00:00+00', payment_ref => 'pack_b');
SELECT credits_open_account('z_other');
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_add_purchased('b_open', 20, 'pay_b');
SET credits.clock = '2026-01-12 00:00+00';
SELECT credits_deduct('b_open', 50);
SET credits.clock = '2026-01-13 00:00+00';
SELECT credits_revoke_purchase('pack_b', 65);
SET credits.clock = '2026-01-14 00:00+00';
SELECT credits_refund('b_open', 4, 25);
SET credits.clock = '2026-01-15 00:00+00';
SELECT credits_reinstate_purchase('pack_b', 15);
SET credits.clock = '2026-01-16 00:00+00';
SELECT credits_transfer('b_open', 'z_other', 6);

-- Holds over the end of grants and of the period, captured late and in time.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('c_late', 'free', '2026-01-10 00:00');
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_deduct('c_late', 60);
SET credits.clock = '2026-01-12 00:00+00';
SELECT credits_grant('c_late', 20, '2026-02-02 00:00+00');
SELECT credits_grant('c_late', 20, '2026-02-03 00:00+00', payment_ref => 'pack_c');
SELECT credits_add_purchased('c_late', 10, 'pay_c');
SET credits.clock = '2026-01-25 00:00+00';
SELECT credits_hold('c_late', 85, '11 days');
SET credits.clock = '2026-02-06 00:00+00';
SELECT credits_revoke_purchase('pack_c', 12);
SET credits.clock = '2026-02-07 00:00+00';
SELECT credits_capture('c_late', 6, 80);
SET credits.clock = '2026-02-08 00:00+00';
SELECT credits_refund('c_late', 10, 30);
SET credits.clock = '2026-02-09 00:00+00';
SELECT credits_hold('c_late', 10, '11 days');
SET credits.clock = '2026-02-10 00:00+00';
SELECT credits_capture('c_late', 12, 0);
SET credits.clock = '2026-02-27 00:00+00';
SELECT credits_hold('c_late', 10, '21 days');
SELECT credits_hold('c_late', 3, '30 days');
SET credits.clock = '2026-03-02 00:00+00';
SELECT credits_capture('c_late', 14, 4, true);
SET credits.clock = '2026-03-03 00:00+00';
SELECT credits_refund('c_late', 17, 2);
SET credits.clock = '2026-03-04 00:00+00';
SELECT credits_capture('c_late', 14, 200, over => 'owe');
SET credits.clock = '2026-03-29 00:00+00';
CALL credits_run_reset();

-- Closed, and what comes back to it.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('d_close', 'free', '2026-01-10 00:00');
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_deduct('d_close', 80);
SET credits.clock = '2026-01-12 00:00+00';
SELECT credits_add_purchased('d_close', 50, 'pay_d');
SELECT credits_grant('d_close', 20, '2027-02-03 00:00+00', payment_ref => 'pack_d');
SET credits.clock = '2026-01-13 00:00+00';
SELECT credits_deduct('d_close', 25);
SET credits.clock = '2026-01-14 00:00+00';
SELECT credits_close_account('d_close');
SET credits.clock = '2026-01-15 00:00+00';
SELECT credits_refund('d_close', 2, 70);
SET credits.clock = '2026-01-16 00:00+00';
SELECT credits_refund('d_close', 5, 7);
SET credits.clock = '2026-01-17 00:00+00';
SELECT credits_revoke_purchase('pay_d', 30);
SET credits.clock = '2026-01-18 00:00+00';
SELECT credits_revoke_purchase('pack_d', 20);
SET credits.clock = '2026-01-19 00:00+00';
SELECT credits_reinstate_purchase('pay_d', 10);
SET credits.clock = '2026-01-20 00:00+00';
SELECT credits_add_purchased('d_close', 9, 'pay_d2');

-- Imported, spent, undone, and imported again, which pays what is owed; that undone in the next period.
SET credits.clock = '2026-01-10 00:00+00';
CALL credits_import($$SELECT 'e_import' AS user_id, 'free' AS plan, 40 AS monthly, 100 AS purchased, '2026-01-01'::timestamptz AS last_reset$$,
    $$SELECT 'e_import' AS user_id, '2025-12-01'::timestamptz AS created_at, 1 AS id, -5 AS amount$$);
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_deduct('e_import', 70);
SET credits.clock = '2026-01-12 00:00+00';
SELECT run_id FROM credit_history WHERE user_id = 'e_import' AND seq = 2 \gset
CALL credits_undo_run(:'run_id');
CALL credits_import($$SELECT 'e_import' AS user_id, 'free' AS plan, 30 AS monthly, 90 AS purchased, '2026-01-01'::timestamptz AS last_reset$$);
SET credits.clock = '2026-02-03 00:00+00';
SELECT run_id FROM credit_history WHERE user_id = 'e_import' AND seq = 5 \gset
CALL credits_undo_run(:'run_id');

-- Two holds that expired in the next period: one is captured late, then the boundary is undone,
-- then the other is captured, and a deduction comes back.  A plan change ends the undone boundary.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('f_undo', 'roll', '2026-01-10 00:00');
SELECT credits_deduct('f_undo', 10);
SET credits.clock = '2026-01-20 00:00+00';
SELECT credits_hold('f_undo', 30, '20 days');
SELECT credits_hold('f_undo', 20, '20 days');
SET credits.clock = '2026-02-10 00:00+00';
SELECT credits_capture('f_undo', 3, 25);
SET credits.clock = '2026-02-11 00:00+00';
CALL credits_undo_run(plan => 'roll', boundary => '2026-02-01 00:00+00');
SET credits.clock = '2026-02-12 00:00+00';
SELECT credits_capture('f_undo', 4, 20);
SELECT credits_refund('f_undo', 2, 4);
SET credits.clock = '2026-02-13 00:00+00';
SELECT credits_set_plan('f_undo', 'free');
SELECT credits_refund('f_undo', 2, 6);

-- Closed and opened again, with reinstatements of a payment from before the closing.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('g_again', 'free', '2026-01-10 00:00');
SELECT credits_add_purchased('g_again', 50, 'pay_g');
SELECT credits_revoke_purchase('pay_g', 20);
SELECT credits_deduct('g_again', 115);
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_close_account('g_again');
SET credits.clock = '2026-01-12 00:00+00';
SELECT credits_reinstate_purchase('pay_g', 5);
SET credits.clock = '2026-01-13 00:00+00';
SELECT credits_unfreeze('g_again');
SELECT credits_set_plan('g_again', 'free');
SELECT credits_revoke_purchase('pay_g', 10);
SELECT credits_reinstate_purchase('pay_g', 12);

-- What is owed at a closing, and what chargebacks take after it, comes back later, but not more.  So do
-- monthly credits, until the boundary.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_open_account('h_debt', 'roll', '2026-01-10 00:00');
SELECT credits_add_purchased('h_debt', 100, 'pay_h');
SELECT credits_deduct('h_debt', 160);
SELECT credits_revoke_purchase('pay_h', 70);
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_close_account('h_debt');
SET credits.clock = '2026-01-12 00:00+00';
SELECT credits_unfreeze('h_debt');
SELECT credits_set_plan('h_debt', 'roll');
SELECT credits_add_purchased('h_debt', 50, 'pay_h2');
SELECT credits_refund('h_debt', 3, 20);
SELECT credits_revoke_purchase('pay_h', 10);
SET credits.clock = '2026-01-13 00:00+00';
SELECT credits_reinstate_purchase('pay_h', 35);
SELECT credits_refund('h_debt', 3, 50);
SELECT credits_revoke_purchase('pay_h', 25);
SET credits.clock = '2026-02-02 00:00+00';
SELECT credits_refund('h_debt', 3, 20);

-- A paid grant, and two closings.
SET credits.clock = '2026-01-10 00:00+00';
SELECT credits_grant('i_pack', 100, '2027-02-03 00:00+00', payment_ref => 'pack_i');
SELECT credits_deduct('i_pack', 60);
SELECT credits_close_account('i_pack');
SELECT credits_unfreeze('i_pack');
SELECT credits_add_purchased('i_pack', 70, 'pay_i');
SELECT credits_revoke_purchase('pack_i', 80);
SET credits.clock = '2026-01-11 00:00+00';
SELECT credits_refund('i_pack', 3, 15);
SELECT credits_reinstate_purchase('pack_i', 10);
SELECT credits_close_account('i_pack');
SET credits.clock = '2026-01-12 00:00+00';
SELECT credits_refund('i_pack', 3, 20);
SELECT credits_revoke_purchase('pack_i', 20);
SELECT credits_reinstate_purchase('pack_i');
SELECT credits_grant('i_pack', 5, '2027-02-03 00:00+00', payment_ref => 'pack_i2');
