# What 030_tampering_is_found.pl does with the users of AuditLife after that: they are opened again,
# restart, buy credits that end, capture and return late, and sleep over boundaries; and what somebody
# changes afterwards.
package AuditPeriods;

use strict;
use warnings;
use Exporter qw(import);

our @EXPORT = qw(@PERIOD_KINDS @PERIOD_STORY %PERIOD_CASE %PERIOD_FORGERY);

our @PERIOD_KINDS = qw(unfreeze restart reinstate hold_end capture);

# The row of the user's newest hold or deduction of this amount.
sub newest
{
	my ($kind, $amount) = @_;
	return "(SELECT seq FROM credit_history h WHERE h.user_id = u AND kind = '$kind' AND amount = $amount ORDER BY seq DESC LIMIT 1)";
}

# As @LIFE_STORY in AuditLife.pm.
our @PERIOD_STORY = (
	[ '2026-07-07 09:00:00+00', q(EACH(credits_unfreeze(u, 'came back'))) ],
	# of what was spent before, and charged by the closing
	[ '2026-07-07 09:30:00+00', 'EACH(credits_refund(u, ' . newest('deduct', 30) . ', 4))' ],
	[ '2026-07-07 10:00:00+00', q(EACH(credits_set_plan(u, 'roll', restart => true))) ],
	# a paid grant that ends with something left, and its chargeback
	[ '2026-07-07 11:00:00+00', q(EACH(credits_grant(u, 40, '2026-07-20 00:00+00', payment_ref => 'pack_' || u))) ],
	[ '2026-07-08 09:00:00+00', 'EACH(credits_deduct(u, 11))' ],
	[ '2026-07-08 10:00:00+00', q(EACH(credits_hold(u, 30, '31 days'))) ],
	[ '2026-07-08 11:00:00+00', q(EACH(credits_hold(u, 20, '31 days'))) ],
	[ '2026-07-21 09:00:00+00', q(EACH(credits_revoke_purchase('pack_' || u, total => 38))) ],
	[ '2026-07-22 09:00:00+00', q(EACH(credits_reinstate_purchase('pack_' || u, 10))) ],
	# over a boundary, after which the period is a part of a month
	[ '2026-08-08 12:00:00+00', 'EACH(credits_capture(u, ' . newest('hold', 30) . ', 25))' ],
	[ '2026-08-08 13:00:00+00', q(CALL credits_undo_run(plan => 'roll', boundary => '2026-08-07 10:00+00')) ],
	[ '2026-08-08 14:00:00+00', 'EACH(credits_refund(u, ' . newest('deduct', 11) . ', 4))' ],
	[ '2026-08-08 15:00:00+00', 'EACH(credits_capture(u, ' . newest('hold', 20) . ', 20))' ],
	[ '2026-08-08 16:00:00+00', q(EACH(credits_set_plan(u, 'free'))) ],
	[ '2026-08-08 17:00:00+00', 'EACH(credits_refund(u, ' . newest('deduct', 11) . ', 2))' ],
	# days without a plan
	[ '2026-08-08 18:00:00+00', q(EACH(credits_set_plan(u, 'day', restart => true))) ],
	[ '2026-08-08 19:00:00+00', 'EACH(credits_set_plan(u, NULL))' ],
	[ '2026-08-11 08:00:00+00', q(EACH(credits_add_purchased(u, 2, 'late_' || u))) ],
);

sub history { my ($set, $seq) = @_; return ("UPDATE credit_history SET $set WHERE user_id = :u AND seq = $seq", $seq) }
sub table { my ($name, $set, $seq) = @_; return ("UPDATE $name SET $set WHERE user_id = :u AND seq = $seq", $seq) }

# As %case in 030_tampering_is_found.pl.
our %PERIOD_CASE = (
	life_p_restart_share  => [ history('period_share = 500000', ':{restart 1}') ],
	life_p_restart_start  => [ history(q(period_start = period_start - interval '1 hour'), ':{restart 1}') ],
	life_p_left           => [ history('last_left = last_left + 1', ':{reset 4}') ],
	life_p_limit          => [ history('last_limit = last_limit + 1', ':{reset 4}') ],
	life_p_undone         => [ history('last_undone = false', ':{undo 6}') ],
	life_p_reinstate      => [ history('amount = amount + 1', ':{reinstate 1}') ],
	life_p_silent_number  => [ history('period = period + 1', ':{purchase 2}') ],
	life_p_grant_paid     => [ table('credit_grant', 'paid = false, expired = NULL', ':{grant 4}') ],
	life_p_grant_expired  => [ table('credit_grant', 'expired = NULL', ':{grant 4}') ],
	life_p_grant_elsewhere => [ table('credit_grant', 'elsewhere = 1', ':{grant 4}') ],
	life_p_given_back     => [ table('credit_hold', 'given_back = 1', ':{hold 1}') ],
	life_p_reported       => [ table('credit_payment', 'reported = NULL', ':{grant 4}') ],
	life_p_granted        => [ table('credit_payment', 'granted = false', ':{grant 4}') ],
	life_p_paid_at        => [ table('credit_payment', q(paid_at = paid_at - interval '1 day'), ':{grant 4}') ],
	life_p_closed_seq     => [ 'UPDATE credit_account SET closed_seq = NULL WHERE user_id = :u', ':last' ],
	life_p_forfeited      => [ 'UPDATE credit_account SET forfeited = coalesce(forfeited, 0) + 1 WHERE user_id = :u', ':last' ],
	life_p_charged        => [ 'UPDATE credit_account SET charged_monthly = 26 WHERE user_id = :u', ':last' ],
	life_p_charged_bought => [ 'UPDATE credit_account SET charged_purchased = 1 WHERE user_id = :u', ':last' ],
	life_p_end_zone       => [ q(UPDATE credit_account SET end_zone = '', end_cycle = 'daily', end_anchor = cycle_anchor WHERE user_id = :u), ':last' ],
);

# As %forgery in 030_tampering_is_found.pl.
our %PERIOD_FORGERY = (
	life_r_charged_lost   => [ ':{refund 2}', { owed_monthly => 30, forfeited => 4 } ],
	life_r_charged_gift   => [ ':{refund 2}', { owed_monthly => 30, monthly_delta => 4 } ],
	life_r_number         => [ ':{restart 1}', { period => 99 } ],
	life_r_share          => [ ':{restart 1}', { period_share => 500000 } ],
	life_r_closed         => [ ':{restart 1}', { status => 'closed' } ],
	life_r_undone         => [ ':{restart 1}', { last_undone => 't' } ],
	life_r_longer         => [ ':{restart 1}', { next_reset_at => '2026-10-07 10:00:00+00' } ],
	life_r_anchor         => [ ':{restart 1}', { kind => 'set_plan' } ],
	life_r_reset_share    => [ ':{reset 4}', { period_share => 1000001 } ],
	life_r_reset_full     => [ ':{reset 4}', { period_share => 1000000 } ],
	life_r_reset_left     => [ ':{reset 4}', { last_left => 0 } ],
	life_r_reset_limit    => [ ':{reset 4}', { last_limit => 1000 } ],
	life_r_revoke_owed    => [ ':{revoke 1}', { owed_purchased => 5 } ],
	life_r_revoke_total   => [ ':{revoke 1}', { allocations => '{-7,38,-9,39}' } ],
	life_r_revoke_less    => [ ':{revoke 1}', { amount => 37, allocations => '{-7,37,-9,38}' } ],
	life_r_reinstate_gift => [ ':{reinstate 1}', { purchased_delta => 10, forfeited => 0 } ],
	life_r_reinstate_more => [ ':{reinstate 1}', { amount => 39, forfeited => 39, allocations => '{:{grant 4},39}' } ],
	life_r_late_free      => [ ':{capture 1}', { last_left => 139 } ],
	life_r_late_parts     => [ ':{capture 1}', { allocations => '{0,25}' } ],
	life_r_late_takes     => [ ':{capture 1}', { monthly_delta => -25 } ],
	life_r_undo_limit     => [ ':{undo 6}', { last_limit => 0 } ],
	life_r_undo_plain     => [ ':{undo 6}', { last_undone => 'f' } ],
	life_r_undo_all       => [ ':{undo 6}', { period_granted => 0 } ],
	life_r_back_lost      => [ ':{refund 3}', { monthly_delta => 0, forfeited => 4 } ],
	life_r_back_free      => [ ':{refund 3}', { period_granted => 0 } ],
	life_r_late_expired   => [ ':{capture 2}', { allocations => '{-4,20}', monthly_delta => 0 } ],
	life_r_plan_undone    => [ ':{set_plan 3}', { last_undone => 't' } ],
	life_r_back_again     => [ ':{refund 4}', { monthly_delta => 2, forfeited => 0 } ],
	life_r_silent_share   => [ ':{purchase 2}', { period_share => 500000 } ],
	life_r_silent_few     => [ ':{purchase 2}', { period => 13 } ],
	life_r_silent_start   => [ ':{purchase 2}', { period_start => '2026-08-11 08:00:01+00' } ],
	life_r_silent_undone  => [ ':{purchase 2}', { last_undone => 't' } ],
	life_r_silent_left    => [ ':{purchase 2}', { last_left => 1 } ],
);

1;
