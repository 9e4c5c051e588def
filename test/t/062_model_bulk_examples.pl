# The reference model gives what examples say that were worked out by hand: calls for many
# accounts at once, archives, imports, grants that were paid for, disputes, and the end of an
# account.  No server is needed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsModelExample;
use CreditsModelTime;
use Test::More;

# A run's report: accounts, what they got and lost, and what else is not 0.
sub says
{
	my ($expected, $call, %arg) = @_;
	my $answer = call($call, %arg);
	my $r = $answer->{report};
	my @others = qw(already skipped not_taken failures rows history_rows due_credits);
	my $said = $r && join ' ', "$r->{accounts} +$r->{credits_granted} -$r->{credits_expired}",
	  (map { $r->{$_} ? "$_ $r->{$_}" : () } @others), ($r->{more} // '') eq 'true' ? 'more' : ();

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($said // $answer->{state}, $expected, $call);
	return $tag;
}

sub users { call('open_account', user => $_, plan => 'p') for @_; return; }

#
# The end of an account
#

begin('2026-01-10', 100);
call('purchase', amount => 20, ref => 'r');
call('grant', amount => 5, ends => at('2026-02-10'));
call('grant', amount => 3, ends => at('2026-02-09'));
call('deduct', amount => 103);
my $of_grant = $tag;
call('hold', amount => 1, lasts => DAY);
gives('55000', 'close_account');
call('release', hold => $tag - 1);
gives('0/0/0 owed_monthly 100', 'close_account');
is(join(' ', @{ last_row() }{qw(amount expired forfeited)}), '25 5 20', 'closed: all is gone');
gives('UC004', 'close_account');
gives('UC004', $_->[0], @$_[ 1 .. $#$_ ])
  for [ 'deduct', amount => 1 ], [ 'set_plan', plan => 'p', when => 'now' ], ['freeze'],
  [ 'grant', amount => 1, ends => at('2026-02-10') ];
gives('UC004', 'adjust', bucket => 'purchased', delta => 1);
gives('0/0/5 owed_monthly 100', 'purchase', amount => 5, ref => 'r2');
gives('0/0/5 owed_monthly 90', 'refund', of => $of_grant, amount => 13);
is(last_row()->{forfeited}, 3, 'a grant that had been spent has ended, too');
call('unfreeze');
gives('10/0/5', 'set_plan', plan => 'p', when => 'now');
is(call('erase_user')->{report}{rows}, scalar(grep { defined $_->{tag} } @{ $model->{rows}{u} }), 'erased');
call('deduct', amount => 1);
is(call('erase_user')->{report}{rows}, $_, 'only what is not erased yet') for 1, 0;
is(call('erase_user', user => 'w')->{state}, 'UC002', 'nobody');

# What was there pays for what was spent: 70 are left of 100, so 30 are remembered, and comes back
# whatever pays that.
begin('2026-01-10', 100);
call('purchase', amount => 20, ref => 'r');
call('deduct', amount => 30);
my $spent = $tag;
gives('0/0/0 owed_monthly 30', 'close_account');
gives('0/0/0 owed_monthly 10', 'refund', of => $spent, amount => 20);
is(last_row()->{forfeited}, 0, 'what comes back pays that');
call('unfreeze');
gives('90/0/0', 'set_plan', plan => 'p', when => 'now');
gives('95/0/0', 'refund', of => $spent, amount => 5);
is(last_row()->{forfeited}, 0, 'or comes back, if the new plan has paid it');

# 12 purchased credits were spent, 8 are lost: all that is lost covers a chargeback.
begin('2026-01-10', 0);
call('purchase', amount => 20, ref => 'r');
call('deduct', amount => 12);
$spent = $tag;
call('close_account');
gives('0/0/0', 'refund', of => $spent, amount => 4);
is(join(' ', last_row()->{forfeited}, $model->view('u')->{forfeited}), '4 12', '4 more are lost');
gives('0/0/5', 'purchase', amount => 5, ref => 'later');
gives('0/0/2', 'revoke', ref => 'r', amount => 15);
is(alloc(), '-6:12 -1:3', 'what is lost first, then what there is');
gives('0/0/0 owed 3', 'revoke', ref => 'later');
gives('0/0/0', 'refund', of => $spent, amount => 5);
is(last_row()->{forfeited}, 2, 'what comes back pays the debt; the rest is lost');
gives('0/0/0', 'reinstate', ref => 'r');
is(alloc(), '-1:15', 'a dispute that was won');
is(last_row()->{forfeited}, 15, 'the 3 that the account was charged came back by the refund, so all is lost');
is($model->view('u')->{forfeited}, 17, 'and covers the next chargeback');

#
# Grants that were paid for
#

begin('2026-01-10', 0);
my @pack = ('grant', amount => 10, ends => at('2026-01-20'), ref => 'r');
gives('0/10/0', @pack);
my $pack = $tag;
is(gives('0/10/0', @pack)->{receipt}{replayed}, 'true', 'once for ever');
gives('UC003', @pack, ends => at('2026-01-21'));
gives('UC003', 'purchase', amount => 10, ref => 'r');
is(call(@pack, user => 'v', ref => 'r2')->{state}, '00000', 'opens an account');
is($model->view('v')->{plan}, undef, 'without a plan');

# 4 are spent, 6 are left.  The rest of a chargeback comes from what was purchased.
gives('0/6/0', 'deduct', amount => 4);
$spent = $tag;
call('purchase', amount => 3, ref => 's');
gives('0/0/0 owed 1', 'revoke', ref => 'r');
is(alloc(), "$pack:6 -1:3 -5:1", 'what is left of it, what was purchased, a debt');
gives('0/0/1', 'refund', of => $spent, amount => 2);
is(alloc(), '', 'what comes back goes where the chargeback took it');
gives('0/2/3', 'reinstate', ref => 'r', amount => 4);
is(alloc(), "-1:2 $pack:2", 'so does what is given back');
gives('0/8/3', 'reinstate', ref => 'r');
gives('UC010', 'reinstate', ref => 'r');
gives('UC011', 'reinstate', ref => 'other');

# 8 end.  They cover a chargeback, and so does what comes back after the end.
clock('2026-01-20');
gives('0/0/3', 'refund', of => $spent, amount => 1);
is(last_row()->{forfeited}, 1, 'it has ended');
gives('0/0/2', 'revoke', ref => 'r');
is(alloc(), '-7:9 -1:1', '9 of 10 ended');
gives('0/0/3', 'reinstate', ref => 'r');
is(last_row()->{forfeited}, 9, 'of a grant that has ended nothing comes back');
gives('0/0/2', 'revoke', ref => 'r');

# A late capture uses what ended, but not what a chargeback has used.
begin('2026-01-10', 0);
gives('0/10/0', @pack);
gives('0/0/0 held 10', 'hold', amount => 10, lasts => 11 * DAY);
my $hold = $tag;
clock('2026-01-21');
gives('0/0/0', 'revoke', ref => 'r', amount => 7);
gives('UC001', 'capture', hold => $hold, amount => 5);
gives('0/0/0', 'capture', hold => $hold, amount => 3);
is(alloc(), '-4:3', '3 that ended are left for it');

# Totals are compared with totals.
begin('2026-01-10', 0);
call('purchase', amount => 10, ref => 'r');
gives('22023', 'revoke', ref => 'r', amount => 4, total => 4);
gives('UC010', 'revoke', ref => 'r', total => 11);
gives('0/0/6', 'revoke', ref => 'r', total => 4);
is(gives('0/0/6', 'revoke', ref => 'r', total => $_)->{receipt}{replayed}, 'true', "$_ in all is no more") for 4, 3;
gives('0/0/4', 'revoke', ref => 'r', amount => 2);
gives('0/0/2', 'revoke', ref => 'r', total => 6);
is(alloc(), '-1:2 -9:6', 'an amount is not among the totals');
gives('0/0/10', 'reinstate', ref => 'r');
is(gives('0/0/10', 'revoke', ref => 'r', total => 6)->{receipt}{replayed}, 'true', 'nor does a reinstatement lower them');
gives('0/0/6', 'revoke', ref => 'r', total => 10);
gives('0/0/0', 'revoke', ref => 'r');

# Before or after the closing: without the chargeback all would be lost.
begin('2026-01-10', 0);
call('purchase', amount => 10, ref => $_) for qw(r s);
gives('0/0/10', 'revoke', ref => 'r');
call('close_account');
gives('0/0/0', 'reinstate', ref => 'r');
is(last_row()->{forfeited}, 10, 'taken before the closing: lost with the rest');
gives('0/0/0', 'revoke', ref => 's');
is(alloc(), '-6:10', 'taken from what is lost');
gives('0/0/0', 'reinstate', ref => 's');
is(last_row()->{forfeited}, 10, 'so that is lost again');

#
# Bulk grants
#

my @much = (amounts => [ 5, 3, 2 ], users => [qw(v u v)], ends => at('2026-02-10'));

begin('2026-01-10', 10);
says('1 +3 -0 failures 1', 'grant_many', @much);
users('v');
says('2 +10 -0', 'grant_many', @much, dry => 1);
stands('10/3/0', 'a dry run leaves nothing');
says('1 +3 -0 more', 'grant_many', @much, key => 'k', max => 1);
my $run = says('1 +7 -0 already 1', 'grant_many', @much, key => 'k');
says('0 +0 -0 already 2', 'grant_many', @much, key => 'k');
says('0 +0 -0 failures 2', 'grant_many', @much, key => 'k', ends => at('2026-02-11'));
says('22023', 'grant_many', users => ['u'], amounts => [0], ends => at('2026-02-10'));
call('deduct', user => 'v', amount => 12);
says('1 +0 -5 not_taken 2', 'undo', run => $run);
says('0 +0 -0 already 1', 'undo', run => $run);
my $undo = says('0 +0 -0 already 1', 'undo', run => $run);
says('0 +0 -0', 'undo', run => $undo);
says('22023', 'undo', run => 999);
stands('10/6/0', 'only what the run gave');

# What had become due and the run met is not the run's doing.
begin('2026-01-10', 10);
call('deduct', amount => 4);
clock('2026-02-02');
$run = says('1 +7 -0', 'grant_many', users => ['u'], amounts => [7], ends => at('2026-02-10'));
is(kinds(), 'open deduct reset grant', 'the boundary is written before it');
says('1 +0 -7', 'undo', run => $run);
stands('10/0/0', 'and stays');

#
# A plan applied
#

begin('2026-01-10', 10);
users('v');
call('define_plan', plan => 'q', credits => 1);
call('set_plan', plan => 'q', when => 'next_reset');
clock('2026-01-11');
call('define_plan', plan => 'p', credits => 30);
says('0 +0 -0 already 2', 'apply_plan', plan => 'p');
clock('2026-01-12');
call('deduct', amount => 10);
$run = says('2 +40 -0', 'apply_plan', plan => 'p');
says('UC009', 'apply_plan', plan => 'none');
stands('20/0/0', 'the difference');
is(kinds(), 'open schedule_plan deduct set_plan schedule_plan', 'and what was scheduled stays so');
call('deduct', amount => 15);
says('2 +0 -25 not_taken 15', 'undo', run => $run);
stands('0/0/0 owed_monthly 15', 'undone');
clock('2026-02-01');
stands('1/0/0', 'the scheduled plan');

#
# Archives
#

begin('2026-01-10', 10);
$model->{retention} = 5 * DAY;
call('purchase', amount => 20, ref => 'r');
call('deduct', amount => 3, key => 'k');
my $old = $tag;
call('deduct', amount => 4);
$spent = $tag;
clock('2026-01-12');
says('0 +0 -0', 'archive', before => at('2026-01-12'));
is(call('anchor')->{report}{changed}, 1, 'anchored');
says('1 +0 -0 rows 2', 'archive', before => at('2026-01-12'), dry => 1);
call('refund', of => $spent);
clock('2026-01-20');
says('22023', 'archive', before => at('2026-01-21'));
says('1 +0 -0 rows 3', 'archive', before => at('2026-01-12'));
is(last_row()->{ref}, $old, 'all before what was refunded later');
says('0 +0 -0 skipped 1', 'archive', before => at('2026-01-12'));
gives('22023', 'refund', of => $old);
is(gives('7/0/20', 'purchase', amount => 20, ref => 'r')->{receipt}{archived}, 'true', 'the purchase is known');
gives('3/0/20', 'deduct', amount => 4, key => 'k');
is($model->balance('u', at('2026-01-09'))->{state}, '22023', 'the past is in the archive');

#
# Imports
#

sub source { my ($user, %row) = @_; return { user => $user, %row }; }

begin('2026-02-20', 100, rollover => 50);
my @source = (
	source('a', plan => 'p', monthly => 30, purchased => 5, last_reset => at('2026-01-15')),
	source('b', monthly => 7),
	source('c', plan => 'none'),
	source('u', plan => 'p'));
my @history = map { { user => 'a', at => at("2026-01-0$_"), id => $_, amount => -$_ } } 3, 1;
$run = says('2 +142 -0 skipped 1 failures 1 history_rows 2 due_credits 100',
	'import', source => \@source, history => \@history);
is($model->balance('a')->{receipt}{monthly}, 130, 'what was due since has been applied: 30 roll over');
is(iso($model->balance('a')->{receipt}{next_reset_at}), '2026-03-01 00:00:00', 'the period is the one of now');
is(kinds('a'), 'imported imported import', 'the old history first');
says('0 +0 -0 already 2 skipped 1 failures 1 due_credits 100', 'import', source => \@source);
$source[1]{monthly} = 9;
says('0 +0 -0 already 1 skipped 2 failures 1 due_credits 100', 'import', source => \@source);
says('1 +9 -0 already 1 skipped 1 failures 1 due_credits 100', 'import', source => \@source, refresh => 1);
is(kinds('b'), 'import undo import', 'imported anew');
is(call('open_account', user => 'a', plan => 'p')->{receipt}{replayed}, 'true', 'an imported account is open');
is(call('open_account', user => 'a')->{state}, 'UC003', 'with the facts of its import');
call('deduct', user => 'a', amount => 10);
$source[0]{monthly} = 31;
says('0 +0 -0 already 1 skipped 2 failures 1', 'import', source => \@source, refresh => 1);
says('1 +0 -125 already 1 not_taken 10', 'undo', run => $run);
is(join('/', @{ $model->balance('a')->{receipt} }{qw(monthly purchased)}), '0/0', 'nothing is left');
is($model->balance('a')->{receipt}{plan}, undef, 'nor the plan');

# In a later period, what rolled over goes as well, but for what adjustments brought.
begin('2026-02-20', 100, rollover => 50);
@source = (source('a', plan => 'p', monthly => 30), source('b', plan => 'p', monthly => 30));
$run = says('2 +60 -0', 'import', source => \@source);
call('adjust', user => 'b', bucket => 'monthly', delta => 8, reason => 'kind');
call('deduct', user => 'b', amount => 35);
clock('2026-03-02');
$source[0]{monthly} = 40;
says('1 +40 -0 already 1', 'import', source => \@source, refresh => 1);
is($model->balance('a')->{receipt}{monthly}, 40, 'nothing but a boundary came between: imported anew');
is($model->balance('b')->{receipt}{monthly}, 103, '3 are left of 38');
says('1 +0 -100 already 1', 'undo', run => $run);
is($model->balance('b')->{receipt}{monthly}, 3, 'which are of the adjustment');

done_testing();
