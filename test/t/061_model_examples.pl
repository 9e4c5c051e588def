# The reference model gives what examples say that were worked out by hand: the cases of the
# monthly reset, and each rule that 060_model.pl relies on.  No server is needed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsModel;
use CreditsModelExample;
use CreditsModelLots;
use CreditsModelTime;
use List::Util qw(max);
use Test::More;

#
# Boundaries
#

sub boundaries
{
	my ($zone, $anchor, $from, $n) = @_;
	my $t = at($from);

	my @iso = map { iso($t = next_boundary('anniversary', at($anchor), $zone, $t)) } 1 .. $n;
	return join ', ', map { s/ 00:00:00//r } @iso;
}

is(boundaries('UTC', '2026-01-31', '2026-01-31', 3),
	'2026-02-28, 2026-03-31, 2026-04-30', 'anchor 31 Jan 2026');
is(boundaries('UTC', '2024-02-29', "$_-02-01", 1), "$_-02-28", "anchor 29 Feb 2024 in $_") for 2025 .. 2027;
is(boundaries('UTC', '2024-02-29', '2028-02-01', 1), '2028-02-29', 'anchor 29 Feb 2024 in 2028');
is(boundaries('Europe/Berlin', '2026-01-29 02:30', '2026-03-01', 1),
	'2026-03-29 01:30:00', 'Berlin 02:30, 29 Mar 2026: no such time');
is(boundaries('Europe/Berlin', '2026-01-25 02:30', '2026-10-01', 2),
	'2026-10-25 01:30:00, 2026-11-25 01:30:00', 'Berlin 02:30, 25 Oct 2026: twice');
is(iso(next_boundary('calendar', 0, 'America/New_York', at('2026-06-30'))),
	'2026-07-01 04:00:00', 'New York: the 1st begins at 04:00Z in summer');
is(iso(next_boundary('calendar', 0, 'Asia/Kathmandu', at('2026-12-31 18:15:00'))),
	'2027-01-31 18:15:00', 'a boundary is after, not at');
is(iso(next_boundary('calendar', 0, 'UTC', at('2026-07-01'), 1)), '2026-07-01 00:00:00', 'at or after');

#
# The reset
#

begin('2026-01-10', 100);
call('deduct', amount => 40);
clock('2026-04-15');
stands('100/0/0', 'asleep over 3 boundaries, no rollover');

begin('2026-01-10', 100, rollover => 50);
gives('10/0/0', 'deduct', amount => 90);
clock('2026-02-01');
stands('110/0/0', 'rollover: 10 + 100');
clock('2026-04-15');
stands('150/0/0', 'rollover 50, leftover 10, allowance 100, 3 boundaries');

begin('2026-01-20', 100);
clock('2026-02-20');
call('define_plan', plan => 'p', credits => 200);
clock('2026-02-25');
stands('100/0/0', 'plan raised on the 20th, boundary of the 1st applied on the 25th');
clock('2026-03-01');
stands('200/0/0', 'and the new allowance from the next');

begin('2026-01-20', 100);
clock('2026-02-01');
gives('70/0/0', 'deduct', amount => 30);
clock('2026-01-31 16:00');
gives('69/0/0', 'deduct', amount => 1);
is(last_row()->{effective_at}, at('2026-02-01'), 'clock back 8 h: it counts at the time of the last row');
clock('2026-02-01 00:00:01');
stands('69/0/0', 'clock back 8 h: no second reset');

begin('2026-01-31 23:59', 100);
call('deduct', amount => 40);
clock('2026-02-01 00:01');
gives('99/0/0', 'deduct', amount => 1);
is($model->{rows}{u}[-2]{expired}, 60, 'opened 23:59: what was left has expired');

begin('2026-01-31', 100);
gives('0/0/0 held 100', 'hold', amount => 100, lasts => 10 * DAY);
clock('2026-02-02');
stands('100/0/0 held 100', 'held monthly credits are neither leftover nor allowance');
gives('100/0/0', 'release', hold => $tag);
is(last_row()->{expired}, 100, 'hold 100 on 31 Jan, reset, release: 100, not 200');

begin('2026-01-31', 100, rollover => 30);
gives('0/0/0 held 100', 'hold', amount => 100, lasts => DAY);
clock('2026-02-01');
stands('130/0/0', 'a hold that ends at the boundary ends before it');

begin('2026-01-10', MAX - 5);
gives(MAX - 5 . '/0/5', 'purchase', amount => 5, ref => 'r');
gives('22003', 'purchase', amount => 1, ref => 'r1');
gives(MAX - 15 . '/0/5 held 10', 'hold', amount => 10, lasts => 31 * DAY);
clock('2026-02-02');
stands(MAX - 15 . '/0/5 held 10', 'a reset clamps, counting what is held');
is($model->view('u')->{period_granted}, MAX - 15, 'and granted only that');

#
# Order of spending, grants and their ends
#

begin('2026-01-10', 10);
call('grant', amount => 5, ends => at('2026-01-20'));
call('grant', amount => 5, ends => at('2026-01-15'));
call('grant', amount => 5, ends => at('2026-01-15'));
my ($late, $early, $second) = ($tag - 2, $tag - 1, $tag);
call('purchase', amount => 5, ref => 'r');
gives('0/8/5', 'deduct', amount => 17);
is(alloc(), "$early:5 $second:2", 'soonest end first, then the oldest');
gives('0/7/5', 'adjust', bucket => 'granted', delta => -1);
is(alloc(), "$second:1", 'a correction takes grants in the same order');
gives('22023', 'adjust', bucket => 'granted', delta => 1);
gives('UC001', 'adjust', bucket => 'granted', delta => -8);
gives('0/4/5 held 3', 'hold', amount => 3, lasts => 31 * DAY);
is(alloc(), "$second:2 $late:1", 'so does a hold');
my $hold = $tag;
clock('2026-01-15');
stands('0/4/5 held 3', 'an ended grant that is empty or held');
clock('2026-01-20');
stands('0/0/5 held 3', 'at its end a grant is gone');
gives('0/0/5', 'release', hold => $hold);
is(last_row()->{expired}, 3, 'and takes nothing back');
gives('22023', 'grant', amount => 1, ends => at('2026-01-20'));

begin('2026-01-10', 0);
call('grant', amount => 5, ends => at('2026-01-15'));
gives('0/0/0 held 5', 'hold', amount => 5, lasts => 5 * DAY);
clock('2026-01-15');
stands('0/0/0', 'hold and grant end at once');
$model->sweep;
is(join(' ', map { "$_->{kind} $_->{amount} $_->{expired}" } @{ $model->{rows}{u} }[ -2, -1 ]),
	'hold_end 5 0 grant_end 5 5', 'the hold first, then the grant');

#
# Holds
#

begin('2026-01-10', 10);
call('grant', amount => 5, ends => at('2026-03-01'));
my $grant = $tag;
call('purchase', amount => 20, ref => 'r');
gives('UC001', 'hold', amount => 36, lasts => HOUR);
gives('0/0/17 held 18', 'hold', amount => 18, lasts => 20 * DAY);
$hold = $tag;
gives('0/0/17 held 14', 'capture', hold => $hold, amount => 4, keep_open => 1);
is(alloc(), '0:4', 'capture: monthly first');
is(last_row()->{ends_at}, at('2026-01-30'), 'and the hold stays');
gives('0/1/20', 'capture', hold => $hold, amount => 10);
is(alloc(), "0:6 $grant:4", 'then the grant; the rest comes back');
gives('UC006', 'capture', hold => $hold, amount => 1);
gives('UC006', 'release', hold => $hold);
gives('UC005', 'release', hold => 999);

gives('0/0/16 held 5', 'hold', amount => 5, lasts => 20 * DAY);
$hold = $tag;
gives('UC001', 'capture', hold => $hold, amount => 22);
gives('0/0/14', 'capture', hold => $hold, amount => 7, keep_open => 1);
is(alloc(), "$grant:1 -1:6", 'more than was held: the rest as a deduction; nothing is left to stay open');
gives('UC006', 'capture', hold => $hold);

gives('0/0/11 held 3', 'hold', amount => 3, lasts => HOUR);
$hold = $tag;
clock('2026-01-10 01:00');
stands('0/0/14', 'a hold ends');
gives('0/0/11', 'capture', hold => $hold, keep_open => 1);
is(alloc(), '-1:3', 'a late capture is a deduction of what expired');
gives('UC006', 'capture', hold => $hold);

gives('0/0/9 held 2', 'hold', amount => 2, lasts => HOUR);
$hold = $tag;
clock('2026-01-10 02:00');
gives('UC006', 'release', hold => $hold);
gives('22023', 'hold', amount => 1, lasts => 0);
gives('22023', 'hold', amount => 1, lasts => 31 * DAY + 1);
gives('0/0/10 held 1', 'hold', amount => 1, lasts => 31 * DAY);

begin('2026-01-30', 10);
call('hold', amount => 8, lasts => 10 * DAY);
$hold = $tag;
clock('2026-02-01');
gives('10/0/0 held 5', 'capture', hold => $hold, amount => 3, keep_open => 1);
is(alloc(), '-2:3', 'captured of a period that has ended');
gives('6/0/0', 'capture', hold => $hold, amount => 9);
is(alloc(), '-2:5 0:4', 'and the excess of the new one');
gives('10/0/0', 'refund', of => $tag, amount => 6);
is(last_row()->{forfeited}, 2, 'what came from the closed period is forfeited');

#
# Freeze
#

begin('2026-01-10', 10);
call('hold', amount => 4, lasts => DAY);
$hold = $tag;
call('deduct', amount => 1);
my $deduct = $tag;
call('freeze');
gives('UC004', $_, amount => 100) for qw(deduct try_deduct);
gives('UC004', 'hold', amount => 1, lasts => DAY);
gives('UC004', 'capture', hold => $hold, amount => 5);
gives('5/0/0 held 2', 'capture', hold => $hold, amount => 2, keep_open => 1);
gives('6/0/0 held 2', 'refund', of => $deduct);
gives('6/0/7 held 2', 'purchase', amount => 7, ref => 'r');
gives('8/0/7', 'release', hold => $hold);
call('unfreeze');
gives('7/0/7', 'deduct', amount => 1);
call('hold', amount => 1, lasts => MINUTE);
$hold = $tag;
call('freeze');
clock('2026-01-10 00:01');
gives('UC004', 'capture', hold => $hold);

#
# Refunds
#

begin('2026-01-10', 10);
call('grant', amount => 5, ends => at('2026-01-20'));
$grant = $tag;
call('purchase', amount => 10, ref => 'r');
gives('0/0/5', 'deduct', amount => 20);
$deduct = $tag;
gives('0/2/10', 'refund', of => $deduct, amount => 7);
is(alloc(), "$grant:2", 'last spent first: 5 purchased, then 2 of the grant');
clock('2026-01-20');
gives('2/0/10', 'refund', of => $deduct, amount => 5);
is(last_row()->{forfeited}, 3, 'the next goes on where it stopped; the grant has ended');
clock('2026-02-01');
gives('UC010', 'refund', of => $deduct, amount => 9);
gives('10/0/10', 'refund', of => $deduct);
is(last_row()->{forfeited}, 8, 'the period is closed');
gives('UC010', 'refund', of => $deduct);
gives('22023', 'refund', of => 999);
gives('22023', 'refund', of => $grant);

#
# Chargebacks and overdraft
#

begin('2026-01-10', 0);
call('purchase', amount => 10, ref => 'r');
call('deduct', amount => 7);
$deduct = $tag;
gives('UC011', 'revoke', ref => 'other');
gives('UC010', 'revoke', ref => 'r', amount => 11);
gives('0/0/0 owed 1', 'revoke', ref => 'r', amount => 4);
gives('0/0/0 owed 7', 'revoke', ref => 'r');
is(call('revoke', ref => 'r')->{receipt}{amount}, 6, 'all of it again: the last one is replayed');
gives('UC010', 'revoke', ref => 'r', amount => 1);
gives('0/0/0 owed 5', 'refund', of => $deduct, amount => 2);
gives('0/0/1', 'purchase', amount => 6, ref => 'r2');

begin('2026-01-10', 0);
call('purchase', amount => 10, ref => 'r');
call('hold', amount => 6, lasts => DAY);
$hold = $tag;
gives('0/0/0 held 6 owed 5', 'revoke', ref => 'r', amount => 9);
gives('0/0/1', 'release', hold => $hold);

begin('2026-01-10', 5);
gives('UC001', 'deduct', amount => 6);
gives('5/0/0', 'set_overdraft', limit => 10);
gives('UC001', 'hold', amount => 6, lasts => DAY);
gives('0/0/0 owed 7', 'deduct', amount => 12);
$deduct = $tag;
gives('UC001', 'deduct', amount => 4);
gives('0/0/0 owed 10', 'deduct', amount => 3);
gives('0/0/0 owed 10', 'set_overdraft', limit => 2);
gives('UC001', 'deduct', amount => 1);
gives('0/0/0 owed 1', 'purchase', amount => 9, ref => 'r');
gives('0/0/1', 'refund', of => $deduct, amount => 2);
clock('2026-02-01');
stands('5/0/1', 'a reset pays nothing');

#
# Keys
#

begin('2026-01-10', 100);
my $first = call('deduct', amount => 5, key => 'k');
my $again = call('try_deduct', amount => 5, key => 'k', metadata => 'other');
is($again->{receipt}{tag}, $first->{receipt}{tag}, 'the same key and request: the first receipt');
is($again->{receipt}{replayed}, 'true', 'replayed');
gives('UC003', 'deduct', amount => 6, key => 'k');
gives('UC003', 'purchase', amount => 5, ref => 'r', key => 'k');
gives('UC001', 'deduct', amount => 1000, key => 'k2');
gives('94/0/0', 'deduct', amount => 1, key => 'k2');
gives('94/0/5', 'purchase', amount => 5, ref => 'r');
gives('94/0/5', 'purchase', amount => 5, ref => 'r', key => 'k3');
gives('UC003', 'purchase', amount => 6, ref => 'r');
gives('93/0/5', 'deduct', amount => 1, key => 'k3');
gives('UC002', 'deduct', amount => 1, user => 'v');
gives('22023', 'deduct', amount => 0);
gives('22004', 'deduct', amount => undef);
gives('22003', 'deduct', amount => MAX + 1);

call('grant', amount => 1, ends => at('2026-01-20'), key => 'g');
gives('93/1/5', 'grant', amount => 1, ends => at('2026-01-20'), key => 'g');
gives('UC003', 'grant', amount => 1, ends => at('2026-01-21'), key => 'g');
gives('92/1/5 held 1', 'hold', amount => 1, lasts => DAY, key => 'h');
$hold = $tag;
gives('UC003', 'hold', amount => 1, lasts => 2 * DAY, key => 'h');
gives('92/1/5', 'capture', hold => $hold, key => 'c');
gives('92/1/5', 'capture', hold => $hold, key => 'c');
gives('UC003', 'capture', hold => $hold, amount => 1, key => 'c');
clock('2026-01-25');
gives('92/0/5', 'grant', amount => 1, ends => at('2026-01-20'), key => 'g');

#
# Batches
#

begin('2026-01-10', 10);
call('open_account', user => 'a', plan => 'p');
my @batch = (
	{ user => 'u', amount => 8, tag => 91 }, { user => 'a', amount => 11, tag => 92 },
	{ user => 'u', amount => 3, tag => 93 }, { user => 'u', amount => 2, tag => 94 });
my $many = $model->call({ call => 'deduct_many', items => \@batch });
is(join(' ', map { $_->{state} } @{ $many->{items} }),
	'00000 UC001 UC001 00000', 'a batch: each item for itself, in order');
@batch = ({ user => 'a', amount => 1, tag => 95 }, $batch[2]);
$many = $model->call({ call => 'deduct_many', items => \@batch, all => 1 });
is($many->{state}, 'UC001', 'all or nothing');
is($model->balance('a')->{receipt}{monthly}, 10, 'nothing');

#
# Plan changes
#

begin('2026-01-10', 10, low => 5);
gives('5/0/0', 'deduct', amount => 5);
is($model->balance('u')->{receipt}{low}, 'false', 'low is below the threshold');
gives('3/0/0 held 2', 'hold', amount => 2, lasts => 31 * DAY);
is($model->balance('u')->{receipt}{low}, 'true', 'held is not available');
call('define_plan', plan => 'none', credits => 0);
gives('3/0/0 held 2', 'set_plan', plan => undef, when => 'next_reset');
gives('0/0/0 held 2', 'set_plan', plan => 'none', when => 'now');
gives('3/0/0 held 2', 'set_plan', plan => 'p', when => 'now');
clock('2026-02-02');
stands('10/0/0 held 2', 'a change now takes back the scheduled one; it takes only what is free');

begin('2026-01-10', 10);
call('define_plan', plan => 'pro', credits => 100);
call('define_plan', plan => 'team', credits => 300, cycle => 'anniversary');
gives('6/0/0', 'deduct', amount => 4);
gives('96/0/0', 'set_plan', plan => 'pro', when => 'now');
gives('6/0/0', 'set_plan', plan => 'p', when => 'now');
gives('96/0/0', 'set_plan', plan => 'pro', when => 'now');
gives('1/0/0', 'deduct', amount => 95);
gives('0/0/0', 'set_plan', plan => 'p', when => 'now');
gives('1/0/0', 'set_plan', plan => 'pro', when => 'now');
gives('UC009', 'set_plan', plan => 'none', when => 'now');
gives('1/0/0', 'set_plan', plan => undef, when => 'next_reset');
clock('2026-01-31');
stands('1/0/0', 'cancelled, used to its end');
clock('2026-02-01');
stands('0/0/0', 'then there is no plan');
is($model->balance('u')->{receipt}{next_reset_at}, undef, 'nor a period');
gives('22023', 'set_plan', plan => 'p', when => 'next_reset');
gives('10/0/0', 'set_plan', plan => 'p', when => 'now');
gives('10/0/0', 'set_plan', plan => 'team', when => 'next_reset');
clock('2026-03-01');
stands('300/0/0', 'the new plan at the boundary');
is(iso($model->balance('u')->{receipt}{next_reset_at}),
	'2026-04-10 00:00:00', 'and its cycle, not before the old one is over');
gives('10/0/0', 'set_plan', plan => 'p', when => 'now');
is(iso(last_row()->{next_reset_at}), '2026-05-01 00:00:00', 'back: stretched to the 1st after that');
gives('10/0/0', 'set_cycle', zone => 'America/New_York');
is(iso(last_row()->{next_reset_at}), '2026-05-01 04:00:00', 'another zone stretches, too');

begin('2026-01-10', 10, cycle => 'anniversary');
gives('0/0/0', 'set_plan', plan => undef, when => 'now');
gives('0/0/0', 'set_cycle', anchor => at('2026-01-15'));
is(iso(last_row()->{next_reset_at}), '2026-02-15 00:00:00', 'also what is left of a cancelled plan');

#
# Undoing a boundary, and the past
#

begin('2026-01-20', 100);
gives('40/0/0', 'deduct', amount => 60);
clock('2026-02-05');
gives('20/0/0', 'deduct', amount => 80);
gives('0/0/0 owed 40', 'undo', plan => 'p', boundary => at('2026-02-01'));
gives('0/0/0 owed 40', 'undo', plan => 'p', boundary => at('2026-02-01'));
gives('0/0/5 owed 40', 'purchase', amount => 5, ref => 'r');
gives('0/0/5 owed 30', 'adjust', bucket => 'monthly', delta => 10);
clock('2026-03-01');
stands('100/0/5', 'what is owed of monthly credits lapses');
gives('100/0/5', 'undo', plan => 'p', boundary => at('2026-02-01'));

begin('2026-01-20', 100);
gives('40/0/0', 'deduct', amount => 60);
clock('2026-02-05');
call('define_plan', plan => 'p', credits => 30);
clock('2026-02-06');
gives('70/0/0', 'undo', plan => 'p', boundary => at('2026-02-01'), regrant => 1);
is($model->view('u')->{period_granted}, 30, 'regranted by the version in force now');
is($model->balance('u', at($_->[0]))->{receipt}{monthly}, $_->[1], "what there was on $_->[0]")
  for [ '2026-01-20', 40 ], [ '2026-01-31 23:59:59', 40 ], [ '2026-02-01', 100 ], [ '2026-02-06', 70 ];
is($model->balance('u', at('2026-01-19'))->{state}, 'UC002', 'before there was anything');

begin('2026-01-20', 100);
clock('2026-02-05');
call('define_plan', plan => 'p', credits => 30, cycle => 'anniversary');
clock('2026-02-06');
gives('130/0/0', 'undo', plan => 'p', boundary => at('2026-02-01'), regrant => 1);
is($model->view('u')->{period_end}, at('2026-03-20'), 'by a version with another cycle: the period is stretched');

#
# Transfers
#

begin('2026-01-10', 10);
call('open_account', user => 'v', plan => 'p');
call('purchase', amount => 20, ref => 'r');
gives('10/0/15', 'transfer', to => 'v', amount => 5, key => 'k');
is(gives('10/0/15', 'transfer', to => 'v', amount => 5, key => 'k')->{receipt}{replayed}, 'true', 'once');
is($model->balance('v')->{receipt}{purchased}, 5, 'what one gives the other has');
gives('UC001', 'transfer', to => 'v', amount => 16);
gives('22023', 'transfer', to => 'u');
gives('UC002', 'transfer', to => 'w');
call('set_overdraft', user => 'v', limit => 10);
call('deduct', user => 'v', amount => 25);
gives('10/0/0', 'transfer', to => 'v');
is($model->balance('v')->{receipt}{purchased}, 5, 'all that there was; what is owed is paid first');

# What plan changes and boundaries give in a period, less what plan changes take,
# is never more than the best plan held in it gives, whatever else is done.
sub given_too_much
{
	my %plan = (a => int(rand(3)) * 7, b => 20, c => 50, d => 33);
	my ($given, $best) = (0, 0);

	$model = CreditsModel->new;
	$model->{clock} = at('2026-01-01');
	$tag = 0;
	call('define_plan', plan => $_, credits => $plan{$_}, rollover => int(rand(2)) * 15) for sort keys %plan;
	call('open_account', user => 'u', plan => 'b');
	($given, $best) = (20, 20);
	for (1 .. 40)
	{
		my $rows = @{ $model->{rows}{u} };
		my $plan = (sort(keys %plan), undef)[ int(rand(5)) ];

		$model->{clock} += int(rand(4 * 86400)) * SECOND;
		call(
			@{
				[
					[ 'set_plan', plan => $plan, when => 'now' ],
					[ 'set_plan', plan => $plan, when => 'now' ],
					[ 'set_plan', plan => $plan, when => 'next_reset' ],
					[ 'deduct', amount => 1 + int(rand(30)) ],
					[ 'adjust', bucket => 'monthly', delta => 1 + int(rand(30)) ],
					[ 'hold', amount => 1 + int(rand(20)), lasts => DAY ]
				]->[ int(rand(6)) ]
			});
		my @new = @{ $model->{rows}{u} };
		for my $row (splice @new, $rows)
		{
			my $begins = $row->{period_start} == $row->{effective_at} && $row->{kind} =~ /^(reset|set_plan)$/;

			($given, $best) = (0, 0) if $begins;
			$given += $row->{amount} if $row->{kind} =~ /^(reset|set_plan)$/;
			$best = max($best, $plan{ $row->{plan} }) if defined $row->{plan} && $row->{kind} ne 'plan_change';
			return "$given of $best" if $given > $best;
		}
	}
	return undef;
}
my $seed = $ENV{CREDITS_SEED} || int(rand(2**31));
srand($seed);
my ($bad) = grep { defined } map { given_too_much() } 1 .. 300;
is($bad, undef, 'no plan changes give more than the best plan held') or diag("CREDITS_SEED=$seed");

done_testing();
