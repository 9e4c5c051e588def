# What 030_tampering_is_found.pl does with grants, holds, refunds and chargebacks: the calls of
# its users, and what somebody changes afterwards.
package AuditOpen;

use strict;
use warnings;
use Exporter qw(import);

our @EXPORT = qw(@OPEN_KINDS @OPEN_STORY @OPEN_LAST %OPEN_CASE %OPEN_FORGERY);

our @OPEN_KINDS = qw(set_overdraft set_cycle grant grant_end hold hold_end capture release refund revoke);

# The seq of the user's nth row of a kind.
sub nth
{
	my ($kind, $n) = @_;
	return sprintf q((SELECT seq FROM credit_history h WHERE h.user_id = u AND kind = '%s' ORDER BY seq OFFSET %d LIMIT 1)),
	  $kind, $n - 1;
}

# [clock, call for the user u] on a plan of 100 a month, with 455 purchased.
our @OPEN_STORY = (
	[ '2026-04-02 09:00:00+00', q(credits_grant(u, 60, '2026-04-20 00:00+00', 'promotion')) ],
	[ '2026-04-02 09:01:00+00', q(credits_grant(u, 40, '2026-04-10 12:00+00', 'sorry', 'g2')) ],
	[ '2026-04-03 09:00:00+00', q(credits_deduct(u, 110)) ],
	# kept open, then closed, with a part that returns
	[ '2026-04-04 09:00:00+00', q(credits_hold(u, 50, '2 days', 'job', 'h1')) ],
	[ '2026-04-05 09:00:00+00', 'credits_capture(u, ' . nth('hold', 1) . ', 35, true)' ],
	[ '2026-04-05 10:00:00+00', 'credits_capture(u, ' . nth('hold', 1) . ', 5)' ],
	# expired and settled late
	[ '2026-04-06 09:00:00+00', q(credits_hold(u, 70, '1 hour')) ],
	[ '2026-04-07 09:00:00+00', 'credits_capture(u, ' . nth('hold', 2) . ')' ],
	[ '2026-04-08 09:00:00+00', 'credits_refund(u, ' . nth('capture', 3) . q{, 30, 'half bad')} ],
	[ '2026-04-08 10:00:00+00', 'credits_refund(u, ' . nth('deduct', 4) . ', 20)' ],
	[ '2026-04-09 09:00:00+00', q(credits_hold(u, 15, '3 days')) ],
	[ '2026-04-09 10:00:00+00', 'credits_release(u, ' . nth('hold', 3) . q{, 'not needed')} ],
	# over the end of a grant and of the period, with a chargeback meanwhile
	[ '2026-04-12 09:00:00+00', q(credits_hold(u, 200, '31 days')) ],
	[ '2026-04-15 09:00:00+00', q(credits_set_overdraft(u, 25, 'trusted')) ],
	[ '2026-04-16 09:00:00+00', q(credits_revoke_purchase('pay_' || u, 400, 'dispute')) ],
	[ '2026-05-02 09:00:00+00', 'credits_capture(u, ' . nth('hold', 4) . ', 40)' ],
	[ '2026-05-03 09:00:00+00', q(credits_set_cycle(u, '2026-01-20 10:00', 'America/New_York')) ],
	[ '2026-05-04 09:00:00+00', q(credits_grant(u, 30, '2026-05-20 00:00+00')) ],
	[ '2026-05-04 10:00:00+00', q(credits_hold(u, 120, '1 day')) ],
	[ '2026-05-06 09:00:00+00', q(credits_adjust(u, 'granted', -7, 'too much')) ],
);

# What is open at the end.
our @OPEN_LAST = (
	[ '2026-08-10 10:00:00+00', q(credits_grant(u, 25, '2027-01-01 00:00+00')) ],
	[ '2026-08-10 10:10:00+00', q(credits_grant(u, 35, '2026-12-01 00:00+00')) ],
	[ '2026-08-10 10:20:00+00', q(credits_deduct(u, (credits_balance(u)->>'monthly')::bigint)) ],
	[ '2026-08-10 10:30:00+00', q(credits_hold(u, 50, '2 days')) ],
	[ '2026-08-10 10:40:00+00', 'credits_capture(u, ' . nth('hold', 6) . ', 36, true)' ],
);

sub history { my ($set, $seq) = @_; return ("UPDATE credit_history SET $set WHERE user_id = :u AND seq = $seq", $seq) }
sub table { my ($name, $set, $seq) = @_; return ("UPDATE $name SET $set WHERE user_id = :u AND seq = $seq", $seq) }

# As %case in 030_tampering_is_found.pl.
our %OPEN_CASE = (
	open_grant_end       => [ history(q(ends_at = ends_at + interval '1 day'), ':{grant 1}') ],
	open_grant_amount    => [ history('amount = amount + 1', ':{grant 1}') ],
	open_grant_end_ref   => [ history('ref_seq = ref_seq - 1', ':{grant_end 1}') ],
	open_hold_held       => [ history('held_granted = held_granted + 1', ':{hold 1}') ],
	open_hold_parts      => [ history('allocations = NULL', ':{hold 1}') ],
	open_hold_end_amount => [ history('amount = amount - 1', ':{hold_end 1}') ],
	open_capture_parts   => [ history(q(allocations = '{-1,35}'), ':{capture 1}') ],
	open_capture_ends    => [ history('ends_at = NULL', ':{capture 1}') ],
	open_release_expired => [ history('expired = 1', ':{release 1}') ],
	open_refund_amount   => [ history('amount = amount + 1', ':{refund 1}') ],
	open_refund_lost     => [ history('forfeited = 1', ':{refund 1}') ],
	open_revoke_owed     => [ history('owed_purchased = owed_purchased - 1', ':{revoke 1}') ],
	open_limit           => [ history('overdraft_limit = 9999', ':{set_overdraft 1}') ],
	open_cycle           => [ history(q(time_zone = 'UTC'), ':{set_cycle 1}') ],
	open_hold_deleted    => [ 'DELETE FROM credit_history WHERE user_id = :u AND seq = :{hold_end 1}', ':{hold_end 1}', 1 ],

	table_grant_remaining => [ table('credit_grant', 'remaining = remaining - 1', ':{grant 4}') ],
	table_grant_revived   => [ table('credit_grant', 'remaining = 5', ':{grant 1}') ],
	table_grant_amount    => [ table('credit_grant', 'amount = amount + 1', ':{grant 4}') ],
	table_grant_ends      => [ table('credit_grant', q(ends_at = ends_at + interval '1 day'), ':{grant 5}') ],
	table_grant_closed    => [ table('credit_grant', 'closed = true', ':{grant 4}') ],
	table_grant_opened    => [ table('credit_grant', 'closed = false', ':{grant 2}') ],
	table_grant_gone      => [ 'DELETE FROM credit_grant WHERE user_id = :u AND seq = :{grant 5}', ':{grant 5}', 'any' ],
	table_grant_moved     => [ 'UPDATE credit_grant SET seq = :{deduct 2} WHERE user_id = :u AND seq = :{grant 4}',
		':{deduct 2}', 'any' ],
	table_grant_forged    => [ q(INSERT INTO credit_grant (amount, remaining, seq, ends_at, closed, paid, user_id) VALUES (5, 5, :{deduct 2}, '2027-01-01', false, false, :u)),
		':{deduct 2}' ],
	table_hold_monthly    => [ table('credit_hold', 'monthly = monthly + 1', ':{hold 6}') ],
	table_hold_purchased  => [ table('credit_hold', 'purchased = purchased + 1', ':{hold 6}') ],
	table_hold_revived    => [ table('credit_hold', 'purchased = 5', ':{hold 4}') ],
	table_hold_amount     => [ table('credit_hold', 'amount = amount + 1', ':{hold 6}') ],
	table_hold_period     => [ table('credit_hold', 'period = period - 1', ':{hold 6}') ],
	table_hold_ends       => [ table('credit_hold', q(ends_at = ends_at + interval '1 day'), ':{hold 6}') ],
	table_hold_parts      => [ table('credit_hold', q(allocations = '{:{grant 4},3}'), ':{hold 6}') ],
	table_hold_no_parts   => [ table('credit_hold', 'allocations = NULL', ':{hold 6}') ],
	table_hold_late       => [ table('credit_hold', 'monthly = monthly + 1', ':{hold 5}') ],
	table_hold_source     => [ table('credit_hold', q(allocations = '{:{grant 1},20}'), ':{hold 5}') ],
	table_hold_closed     => [ table('credit_hold', q(ends_at = NULL, state = 'released'), ':{hold 6}') ],
	table_hold_expired    => [ table('credit_hold', q(state = 'expired'), ':{hold 2}') ],
	table_hold_settled    => [ table('credit_hold', q(state = 'settled'), ':{hold 5}') ],
	table_hold_gone       => [ 'DELETE FROM credit_hold WHERE user_id = :u AND seq = :{hold 6}', ':{hold 6}', 'any' ],
	table_hold_forged     => [ q(INSERT INTO credit_hold (amount, monthly, purchased, seq, period, user_id, state, ends_at) VALUES (5, 5, 0, :{deduct 2}, 8, :u, 'open', '2026-09-01')),
		':{deduct 2}' ],
	table_unrevoked       => [ 'UPDATE credit_payment SET revoked = 0 WHERE user_id = :u', ':{purchase 1}' ],
	table_revoked_all     => [ 'UPDATE credit_payment SET revoked = amount WHERE user_id = :u', ':{purchase 1}' ],
	table_event_late      => [ q(UPDATE credit_account SET next_event_at = '2026-08-12 10:30:01+00' WHERE user_id = :u), ':last' ],
);

# As %forgery in 030_tampering_is_found.pl.
our %OPEN_FORGERY = (
	forged_crossed       => [ ':{deduct 4}', { crossed => 'recovered' } ],
	forged_threshold     => [ ':{set_overdraft 1}', { low_threshold => 5 } ],
	forged_burning       => [ ':{deduct 4}', { allocations => '{:{grant 1},10}' } ],
	forged_burning_gap   => [ ':{deduct 4}', { allocations => '{:{grant 2},9}' } ],
	forged_burning_none  => [ ':{deduct 4}', { allocations => '\N' } ],
	forged_first_monthly => [ ':{deduct 4}', { monthly_delta => -60, granted_delta => -50,
		allocations => '{:{grant 2},40,:{grant 1},10}' } ],
	forged_adjust_grant  => [ ':{adjust 4}', { allocations => '{:{grant 1},7}' } ],
	forged_grant_gift    => [ ':{grant 1}', { granted_delta => 61 } ],
	forged_grant_ended   => [ ':{grant 1}', { ends_at => '2026-04-01 00:00:00+00' } ],
	forged_grant_longer  => [ ':{grant_end 1}', { granted_delta => 0, expired => 0, amount => 0 } ],
	forged_grant_less    => [ ':{grant_end 1}', { granted_delta => -3, expired => 3, amount => 3 } ],
	forged_grant_early   => [ ':{grant_end 1}', { effective_at => '2026-04-10 11:00:00+00' } ],
	forged_hold_order    => [ ':{hold 1}', { granted_delta => 0, purchased_delta => -50, held_granted => 0,
		held_purchased => 50, allocations => '\N' } ],
	forged_hold_free     => [ ':{hold 1}', { granted_delta => 0 } ],
	forged_hold_less     => [ ':{hold 1}', { held_granted => 49 } ],
	forged_hold_longer   => [ ':{hold 3}', { ends_at => '2026-05-25 00:00:00+00' } ],
	forged_hold_no_end   => [ ':{hold 3}', { ends_at => '\N' } ],
	forged_hold_late_end => [ ':{hold_end 1}', { effective_at => '2026-04-06 10:00:01+00' } ],
	forged_hold_release  => [ ':{hold_end 1}', { kind => 'release' } ],
	forged_hold_forfeit  => [ ':{hold_end 1}', { granted_delta => 0, expired => 50 } ],
	forged_capture_less  => [ ':{capture 1}', { amount => 30 } ],
	forged_capture_free  => [ ':{capture 1}', { held_granted => 50 } ],
	forged_capture_parts => [ ':{capture 1}', { allocations => '{:{grant 2},35}' } ],
	forged_capture_open  => [ ':{capture 1}', { ends_at => '2026-04-09 09:00:00+00' } ],
	forged_capture_close => [ ':{capture 1}', { ends_at => '\N' } ],
	forged_capture_twice => [ ':{capture 3}', { ref_seq => ':{hold 1}' } ],
	forged_capture_now   => [ ':{capture 4}', { allocations => '{0,10,:{grant 1},10,-1,20}' } ],
	forged_capture_back  => [ ':{capture 4}', { owed_purchased => 0, purchased_delta => 160 } ],
	forged_release_lost  => [ ':{release 1}', { granted_delta => 0, expired => 5 } ],
	forged_release_other => [ ':{release 1}', { ref_seq => ':{hold 2}' } ],
	forged_release_more  => [ ':{release 1}', { amount => 16, monthly_delta => 11 } ],
	forged_refund_more   => [ ':{refund 1}', { amount => 80, granted_delta => 60, allocations => '{:{grant 1},60}' } ],
	forged_refund_order  => [ ':{refund 1}', { granted_delta => 30, purchased_delta => 0,
		allocations => '{:{grant 1},30}' } ],
	forged_refund_bucket => [ ':{refund 1}', { granted_delta => 0, purchased_delta => 30, allocations => '\N' } ],
	forged_refund_lost   => [ ':{refund 2}', { granted_delta => 0, forfeited => 10, allocations => '\N' } ],
	forged_refund_of     => [ ':{refund 1}', { ref_seq => ':{purchase 1}' } ],
	forged_revoke_debt   => [ ':{revoke 1}', { owed_purchased => 0 } ],
	forged_revoke_spare  => [ ':{revoke 1}', { purchased_delta => 0, owed_purchased => 400 } ],
	forged_revoke_ref    => [ ':{revoke 1}', { payment_ref => 'pay_clean_1' } ],
	forged_revoke_row    => [ ':{revoke 1}', { ref_seq => ':{deduct 1}' } ],
	forged_limit_gift    => [ ':{set_overdraft 1}', { purchased_delta => 5 } ],
	forged_limit_below   => [ ':{set_overdraft 1}', { overdraft_limit => -1 } ],
	forged_cycle_shorter => [ ':{set_cycle 1}', { next_reset_at => '2026-05-20 00:00:00+00' } ],
	forged_cycle_plan    => [ ':{set_cycle 1}', { plan => 'max' } ],
	forged_cycle_granted => [ ':{set_cycle 1}', { period_granted => 0 } ],
	forged_ref_seq       => [ ':{deduct 4}', { ref_seq => 1 } ],
	forged_ends_at       => [ ':{deduct 4}', { ends_at => '2027-01-01 00:00:00+00' } ],
);

1;
