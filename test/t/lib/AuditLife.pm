# What 030_tampering_is_found.pl does with users that come from another system, get what bulk runs
# give and take back, transfer and leave, and what somebody changes afterwards.
package AuditLife;

use strict;
use warnings;
use Exporter qw(import);

our @EXPORT = qw(@LIFE_KINDS @LIFE_STORY %LIFE_CASE %LIFE_FORGERY);

our @LIFE_KINDS = qw(imported import undo transfer_out transfer_in close);

my $undo = q(CALL credits_undo_run((:run)%s));

# The row of the user's first deduction of this amount.
sub deduction
{
	my ($amount) = @_;
	return "(SELECT seq FROM credit_history h WHERE h.user_id = u AND kind = 'deduct' AND amount = $amount LIMIT 1)";
}

sub source
{
	my ($purchased) = @_;
	return "SELECT u AS user_id, ''free'' AS plan, 40 AS monthly, $purchased AS purchased, ''2026-02-01''::timestamptz AS last_reset FROM life";
}

# [clock, statement]; EACH(call) is the call for each of the users u, :run the newest
# run's id.  Times are before those at which anything is due for other users.
our @LIFE_STORY = (
	[ '2026-02-03 09:00:00+00', "CALL credits_import('" . source(30)
		  . q{', 'SELECT u AS user_id, t AS created_at, 1 AS id, a AS amount FROM life, (VALUES (''2025-12-01''::timestamptz, 50), (''2026-01-05'', -20)) v (t, a)')} ],
	[ '2026-02-03 10:00:00+00', "CALL credits_import('" . source(35) . q{', refresh => true)} ],
	[ '2026-02-04 09:00:00+00', 'EACH(credits_deduct(u, 15))' ],
	# a reset taken back, when it was spent
	[ '2026-03-02 09:00:00+00', 'CALL credits_run_reset()' ],
	[ '2026-03-03 09:00:00+00', 'EACH(credits_deduct(u, 60))' ],
	[ '2026-03-04 09:00:00+00', sprintf($undo, q(, reason => 'wrong')) ],
	[ '2026-03-05 09:00:00+00', 'EACH(credits_refund(u, ' . deduction(60) . ', 50))' ],
	# one granted anew, by a newer version of the plan
	[ '2026-03-06 08:00:00+00', q(SELECT credits_define_plan('more', 150)) ],
	[ '2026-03-06 09:00:00+00', q(EACH(credits_set_plan(u, 'more', 'next_reset'))) ],
	[ '2026-04-02 09:00:00+00', 'CALL credits_run_reset()' ],
	[ '2026-04-02 10:00:00+00', q(SELECT credits_define_plan('more', 140)) ],
	[ '2026-04-03 09:00:00+00', sprintf($undo, ', regrant => true') ],
	# grants
	[ '2026-04-05 09:00:00+00', q(EACH(credits_grant(u, 10, '2026-11-01 00:00+00'))) ],
	[ '2026-04-05 10:00:00+00', q(CALL credits_grant_many((:life), (:amounts), '2026-12-01 00:00+00')) ],
	[ '2026-04-05 11:00:00+00', sprintf($undo, '') ],
	[ '2026-04-05 12:00:00+00', q(EACH(credits_grant(u, 7, '2026-10-01 00:00+00'))) ],
	# a plan, which three boundaries in one row follow
	[ '2026-04-06 09:00:00+00', q(EACH(credits_set_plan(u, 'max'))) ],
	[ '2026-04-06 10:00:00+00', q(EACH(credits_set_plan(u, 'free'))) ],
	[ '2026-07-02 09:00:00+00', 'CALL credits_run_reset()' ],
	[ '2026-07-02 10:00:00+00', sprintf($undo, '') ],
	[ '2026-07-03 09:00:00+00', q(SELECT credits_add_purchased('life_bank', 1000, 'pay_bank')) ],
	[ '2026-07-03 10:00:00+00', q(EACH(credits_transfer(u, 'life_bank', 5))) ],
	[ '2026-07-03 11:00:00+00', q(EACH(credits_transfer('life_bank', u, 3))) ],
	[ '2026-07-04 09:00:00+00', q(EACH(credits_deduct(u, 30))) ],
	[ '2026-07-05 09:00:00+00', q(EACH(credits_close_account(u, 'moved away'))) ],
	[ '2026-07-06 09:00:00+00', q(EACH(credits_add_purchased(u, 9, 'pay_' || u))) ],
	[ '2026-07-06 10:00:00+00', q(EACH(credits_transfer(u, 'life_bank', 1))) ],
);

sub history { my ($set, $seq) = @_; return ("UPDATE credit_history SET $set WHERE user_id = :u AND seq = $seq", $seq) }

# As %case in 030_tampering_is_found.pl.
our %LIFE_CASE = (
	life_imported_amount  => [ history('amount = amount + 1', ':{imported 1}') ],
	life_imported_time    => [ history(q(effective_at = effective_at - interval '1 day'), ':{imported 1}') ],
	life_import_amount    => [ history('amount = amount + 1', ':{import 1}') ],
	life_import_purchased => [ history('purchased_delta = purchased_delta + 1', ':{import 2}') ],
	life_import_plan      => [ history(q(plan = 'max'), ':{import 2}') ],
	life_undo_ref         => [ history('ref_seq = :{import 2}', ':{undo 1}') ],
	life_undo_run         => [ history('run_id = NULL', ':{undo 2}') ],
	life_out_spender      => [ history(q(spender = 'life_other'), ':{transfer_out 1}') ],
	life_in_amount        => [ history('amount = 4', ':{transfer_in 1}') ],
	life_close_forfeited  => [ history('forfeited = NULL', ':{close 1}') ],
	life_close_status     => [ history(q(status = 'active'), ':{close 1}') ],
	life_undo_gone        => [ 'DELETE FROM credit_history WHERE user_id = :u AND seq = :{undo 2}', ':{undo 2}', 1 ],
	life_grant_alive      => [ 'UPDATE credit_grant SET closed = false WHERE user_id = :u AND seq = :{grant 2}', ':{grant 2}' ],
	life_grant_left       => [ 'UPDATE credit_grant SET remaining = 20, closed = false WHERE user_id = :u AND seq = :{grant 2}', ':{grant 2}' ],
	life_grant_open       => [ 'UPDATE credit_grant SET closed = false WHERE user_id = :u AND seq = :{grant 1}', ':{grant 1}' ],
	life_account_status   => [ q(UPDATE credit_account SET status = 'frozen' WHERE user_id = :u), ':last' ],
);

# As %forgery in 030_tampering_is_found.pl.
our %LIFE_FORGERY = (
	life_f_imported_gift  => [ ':{imported 1}', { monthly_delta => 5 } ],
	life_f_imported_owed  => [ ':{imported 2}', { owed_monthly => 5 } ],
	life_f_imported_start => [ ':{imported 1}', { period_start => '2025-11-01 00:00:00+00' } ],
	life_f_imported_next  => [ ':{imported 2}', { period_start => '2026-01-05 00:00:00+00' } ],
	life_f_import_amount  => [ ':{import 1}', { amount => 80 } ],
	life_f_import_granted => [ ':{import 1}', { granted_delta => 5 } ],
	life_f_import_debt    => [ ':{import 1}', { owed_purchased => 5 } ],
	life_f_import_future  => [ ':{import 1}', { period_start => '2026-02-03 09:00:01+00' } ],
	life_f_import_over    => [ ':{import 1}', { next_reset_at => '2026-02-03 09:00:00+00' } ],
	life_f_import_endless => [ ':{import 1}', { next_reset_at => '\N' } ],
	life_f_import_far     => [ ':{import 1}', { next_reset_at => '2026-06-01 00:00:00+00' } ],
	life_f_import_allowed => [ ':{import 1}', { period_granted => 40 } ],
	life_f_import_version => [ ':{import 1}', { plan_version => 2 } ],
	life_f_import_status  => [ ':{import 1}', { status => 'frozen' } ],
	life_f_import_limit   => [ ':{import 1}', { overdraft_limit => 10 } ],
	life_f_undo_i_less    => [ ':{undo 1}', { amount => -60, monthly_delta => -30 } ],
	life_f_undo_i_bought  => [ ':{undo 1}', { amount => -40, purchased_delta => 0 } ],
	life_f_undo_i_plan    => [ ':{undo 1}', { plan => 'free', plan_version => 1 } ],
	life_f_undo_i_end     => [ ':{undo 1}', { next_reset_at => '2026-03-01 00:00:00+00' } ],
	life_f_undo_i_granted => [ ':{undo 1}', { period_granted => 100 } ],
	life_f_undo_again     => [ ':{undo 2}', { ref_seq => ':{import 1}' } ],
	life_f_undo_deduct    => [ ':{undo 2}', { ref_seq => ':{deduct 1}' } ],
	life_f_undo_nothing   => [ ':{undo 2}', { ref_seq => '\N' } ],
	life_f_undo_old       => [ ':{undo 3}', { ref_seq => ':{reset 1}' } ],
	life_f_undo_less      => [ ':{undo 2}', { amount => -40, owed_monthly => 0 } ],
	life_f_undo_kept      => [ ':{undo 2}', { monthly_delta => 0, owed_monthly => 75 } ],
	life_f_undo_bucket    => [ ':{undo 2}', { purchased_delta => -35, owed_monthly => 0 } ],
	life_f_undo_granted   => [ ':{undo 2}', { period_granted => 100 } ],
	life_f_undo_plan      => [ ':{undo 2}', { plan => 'max' } ],
	life_f_undo_gift      => [ ':{undo 3}', { amount => 100, monthly_delta => 100 } ],
	life_f_undo_same      => [ ':{undo 3}', { amount => 0, monthly_delta => 0, plan_version => 1, period_granted => 150 } ],
	life_f_undo_g_part    => [ ':{undo 4}', { amount => -10, granted_delta => -10 } ],
	life_f_undo_g_other   => [ ':{undo 4}', { ref_seq => ':{grant 1}' } ],
	life_f_undo_folded    => [ ':{undo 5}', { amount => -70, monthly_delta => -70 } ],
	life_f_out_free       => [ ':{transfer_out 1}', { purchased_delta => -4 } ],
	life_f_out_monthly    => [ ':{transfer_out 1}', { monthly_delta => -5, purchased_delta => 0 } ],
	life_f_out_nothing    => [ ':{transfer_out 1}', { amount => 0, purchased_delta => 0 } ],
	life_f_out_ref        => [ ':{transfer_out 1}', { ref_seq => 1 } ],
	life_f_in_more        => [ ':{transfer_in 1}', { purchased_delta => 4 } ],
	life_f_in_nothing     => [ ':{transfer_in 1}', { amount => 0, purchased_delta => 0 } ],
	life_f_in_monthly     => [ ':{transfer_in 1}', { monthly_delta => 3, purchased_delta => 0 } ],
	life_f_close_amount   => [ ':{close 1}', { amount => 1 } ],
	life_f_close_lost     => [ ':{close 1}', { forfeited => 0 } ],
	life_f_close_expired  => [ ':{close 1}', { expired => 0 } ],
	life_f_close_kept     => [ ':{close 1}', { purchased_delta => 0, forfeited => 0 } ],
	life_f_close_parts    => [ ':{close 1}', { allocations => '\N' } ],
	life_f_close_order    => [ ':{close 1}', { allocations => '{:{grant 1},10,:{grant 3},7}' } ],
	life_f_close_open     => [ ':{close 1}', { status => 'active' } ],
	life_f_close_plan     => [ ':{close 1}', { plan => 'free', plan_version => 1 } ],
	life_f_close_granted  => [ ':{close 1}', { period_granted => 100 } ],
	life_f_close_end      => [ ':{close 1}', { next_reset_at => '\N' } ],
	life_f_closed_deduct  => [ ':{transfer_out 2}', { kind => 'deduct', amount => 1 } ],
	life_f_closed_in      => [ ':{transfer_out 2}', { kind => 'transfer_in', amount => 1, purchased_delta => 1, spender => 'x' } ],
	life_f_closed_freeze  => [ ':{transfer_out 2}', { kind => 'freeze', purchased_delta => 0, amount => 0, status => 'frozen',
		time_zone => 'UTC', cycle_anchor => '2026-02-01 00:00:00', overdraft_limit => 0, period_granted => 0,
		period_start => '2026-07-01 00:00:00+00', period_share => 1000000, last_left => 0, last_limit => 0, last_undone => 'f' } ],
);

1;
