# The reference model gives what examples say that were worked out by hand: boundaries, the
# monthly reset, spending, keys and transfers.  No server is needed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsModel;
use CreditsModelExample;
use CreditsModelLots;
use CreditsModelTime;
use Test::More;

#
# Boundaries
#

sub boundaries_of
{
	my ($cycle, $zone, $anchor, $from, $n) = @_;
	my $t = at($from);

	my @iso = map { iso($t = next_boundary($cycle, at($anchor), $zone, $t)) } 1 .. $n;
	return join ', ', map { s/ 00:00:00//r } @iso;
}

sub boundaries { return boundaries_of('anniversary', @_); }

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
is(iso(last_boundary('calendar', 0, 'UTC', at('2026-07-01'))), '2026-07-01 00:00:00', 'the last one can be now');
is(boundaries_of('daily', 'Europe/Berlin', '2026-01-01', '2026-10-23 22:00', 3),
	'2026-10-24 22:00:00, 2026-10-25 23:00:00, 2026-10-26 23:00:00', 'days: one has 25 hours');
is(boundaries_of('weekly', 'Europe/Berlin', '2026-01-05 10:00', '2026-03-20', 2),
	'2026-03-23 09:00:00, 2026-03-30 08:00:00', 'weeks: Monday at 10, also in summer');
is(boundaries_of('weekly', 'UTC', '2026-01-05', '2025-12-20', 2), '2025-12-22, 2025-12-29', 'weeks before the anchor');
is(boundaries_of('yearly', 'UTC', '2024-02-29', '2026-02-28', 2), '2027-02-28, 2028-02-29', 'years from 29 Feb 2024');
is(iso(one_cycle_later('calendar', 'UTC', at('2026-01-31 10:00'))), '2026-02-28 10:00:00', 'a month from 31 Jan');
is(iso(one_cycle_later('daily', 'Europe/Berlin', at('2026-10-24 12:00'))), '2026-10-25 13:00:00', 'a day of 25 hours');

# 27 days and 15 hours of 28 days are 663 of 672 hours.
is(share_of(663 * HOUR, 672 * HOUR), 986_607, 'a share is rounded down');
is(share_of(1, 366 * DAY), 0, 'also to nothing');
is(share_of(28 * DAY, 28 * DAY), FULL, 'all of it');
is(share_part(100, 986_607), 98, 'that share of 100');
is(share_part(MAX, 999_999), 9_007_190_247_541_736, 'a share of the most that there can be');

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

begin('2026-01-31', 100, rollover => 100);
gives('0/0/0 held 100', 'hold', amount => 100, lasts => 10 * DAY);
clock('2026-02-02');
gives('200/0/0', 'release', hold => $tag);
is(last_row()->{expired}, 0, 'the same with rollover 100: 200');

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

# A hold of the period before, captured late: what expired at its end is used first.
begin('2026-01-31 23:50', 100);
call('hold', amount => 100, lasts => 15 * MINUTE);
$hold = $tag;
clock('2026-02-01 00:06');
gives('100/0/0', 'capture', hold => $hold);
is(alloc(), '-4:100', 'the new allowance is not touched');
gives('100/0/0', 'refund', of => $tag);
is(last_row()->{forfeited}, 100, 'and what had expired does not come back');

begin('2026-01-31 23:50', 10);
call('purchase', amount => 20, ref => 'r');
gives('0/0/15 held 15', 'hold', amount => 15, lasts => 15 * MINUTE);
$hold = $tag;
clock('2026-02-01 00:06');
stands('10/0/20', '10 monthly credits expired, 5 purchased ones came back');
gives('7/0/20', 'capture', hold => $hold, amount => 13);
is(alloc(), '-4:10 0:3', 'the rest is a deduction like any');

# More than there is, if the caller says that it may be owed.
begin('2026-01-10', 10);
gives('4/0/0 held 6', 'hold', amount => 6, lasts => DAY);
$hold = $tag;
gives('UC001', 'capture', hold => $hold, amount => 12);
gives('0/0/0 owed 2', 'capture', hold => $hold, amount => 12, over => 'owe');
is(alloc(), '0:10 -1:2', 'what lacks is owed without a limit');
gives('0/0/1', 'purchase', amount => 3, ref => 'r');
call('adjust', bucket => 'monthly', delta => 6);
call('hold', amount => 6, lasts => DAY);
$hold = $tag;
call('freeze');
gives('UC004', 'capture', hold => $hold, amount => 8, over => 'owe');
gives('6/0/1', 'capture', hold => $hold, amount => 0);
gives('22023', 'capture', hold => $hold, amount => 0, keep_open => 1);
gives('UC006', 'capture', hold => $hold, amount => 0);

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

# Of 30 there are 20 bought within 120 days; the 10 that are older are given first.
begin('2026-01-10', 0);
call('open_account', user => 'v', plan => 'p');
call('purchase', amount => 10, ref => 'r');
clock('2026-05-11');
call('purchase', amount => 20, ref => 'r2');
is(gives('0/0/20', 'transfer', to => 'v', amount => 10)->{receipt}{recently_purchased}, 0, 'the old ones');
is(gives('0/0/15', 'transfer', to => 'v', amount => 5)->{receipt}{recently_purchased}, 5, 'new ones');
is(alloc(), '-8:5', 'and the row says so');
$model->{refuse_recent} = 1;
gives('55000', 'transfer', to => 'v', amount => 1);

# The clock is more than a minute before the last row of one of them.
$model->{refuse_recent} = 0;
clock('2026-05-10 23:59');
gives('0/0/14', 'transfer', to => 'v', amount => 1, key => 'k');
clock('2026-05-10 23:58:59');
gives('55000', 'transfer', to => 'v', amount => 1);
gives('0/0/14', 'transfer', to => 'v', amount => 1, key => 'k');
call('repair_clock');
gives('55000', 'transfer', to => 'v', amount => 1);
call('repair_clock', user => 'v');
gives('0/0/13', 'transfer', to => 'v', amount => 1);

done_testing();
