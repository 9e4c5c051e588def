# Random worlds for the model test.  A world is some plans, some accounts, a clock
# and a list of operations, each complete in itself: any of them can be left out
# and the rest still means something, which is what shrinking needs.
package CreditsModelGen;

use strict;
use warnings FATAL => 'all';

use CreditsModel;
use CreditsModelLots;
use CreditsModelOps;
use CreditsModelRandom;
use CreditsModelRunOps;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(max min shuffle);

our @EXPORT = qw(new_world play);

# Do an operation in the model; gives what the product has to answer.
sub play
{
	my ($model, $op) = @_;

	if ($op->{call} eq 'clock')
	{
		$model->{clock} = $op->{to};
		$model->sweep if $op->{swept};
	}
	elsif ($op->{call} eq 'sweep')
	{
		$model->sweep if $op->{full};
	}
	elsif ($op->{call} eq 'txn')
	{
		my $saved = $model->save;
		my @answers = map { play($model, $_) } @{ $op->{ops} };

		$model->restore($saved) unless $op->{commit};
		return { state => '00000', answers => \@answers };
	}
	elsif ($op->{call} eq 'balance_at')
	{
		return $model->balance($op->{user}, $op->{time});
	}
	elsif ($op->{call} ne 'look')
	{
		return $model->call($op);
	}
	return { state => '00000' };
}

# A world of $n operations.  Of what sort: mixed; plans (plan changes above all); undo
# (boundaries and runs are undone); life (accounts are closed and
# opened again, payments revoked); again (the same within a period); late (holds over boundaries that are undone); archive (histories are archived); import (accounts
# are imported); back (the clock goes back, too); whale (close to the cap).
sub new_world
{
	my ($n, $sort) = @_;

	my $turn = chance(0.25) ? pick(turns()) : undef;
	my $start =
	  $turn
	  ? utc(@{$turn}[ 1 .. 3 ]) - between(2, 40) * DAY
	  : utc(pick(2023 .. 2027), between(1, 12), between(1, 28), between(0, 23), pick(0, 0, 17, 30));
	my $default_plan = chance(0.15) ? 'p1' : undef;
	my $retention = $sort eq 'archive' ? between(0, 40) * DAY : undef;
	my %settings = (
		default_plan => $default_plan,
		retention => $retention,
		refuse_recent => chance(0.1) ? 1 : 0,
		chargeback_days => chance(0.5) ? pick(0, 1, between(2, 40)) : 120);
	my $world = {
		%settings,
		model => CreditsModel->new(%settings),
		sort => $sort,
		ops => [],
		tag => 0,
		turn => $turn,
		latest => $start };

	add($world, { call => 'clock', to => $start });
	add($world, plan_op($world, $_)) for plans();
	add($world, import_op($world, grep { defined } (users())[ 0 .. 2 ])) if $sort eq 'import';
	add($world, open_op($world, $_)) for grep { defined } (users())[ 0 .. 3 ];
	add($world, random_op($world)) while @{ $world->{ops} } < $n;
	delete $world->{model};
	return $world;
}

sub add
{
	my ($world, $op) = @_;

	return if !$op;

	# Where rows are counted there must be one for each boundary.
	$op->{swept} = 1 if $op->{call} eq 'clock' && $world->{sort} eq 'archive';
	$op->{look} //= pick(users());
	push @{ $world->{ops} }, $op;
	play($world->{model}, $op);
	$world->{latest} = max($world->{latest}, $world->{model}{clock});
	return;
}

# All operations, with their weights in a world of each sort.
my @weights = (
	[ \&clock_op, 16, plans => 2, again => 0.3 ],
	[ \&sweep_op, 5, life => 0, late => 0, again => 0 ],
	[ \&deduct_op, 18, plans => 0.5 ],
	[ \&deduct_many_op, 3, plans => 0, again => 0 ],
	[ \&purchase_op, 7, plans => 0.2, life => 1.5, again => 1.5 ],
	[ \&adjust_op, 4 ],
	[ \&set_plan_op, 5, plans => 6, life => 2, late => 2, again => 2 ],
	[ sub { plan_op($_[0], pick(plans())) }, 1, plans => 2 ],
	[ sub { open_op($_[0], pick(users())) }, 1.5 ],
	[ \&set_cycle_op, 1.5, plans => 2, life => 0.3, late => 0.3, again => 0.2 ],
	[ \&freeze_op, 3, life => 3, again => 4 ],
	[ \&repair_op, 0, back => 2 ],
	[ \&grant_many_op, 2, undo => 2, back => 0, plans => 0.2, life => 0.2, late => 0, again => 0 ],
	[ \&apply_plan_op, 1, undo => 3, back => 0, plans => 3, late => 2, again => 0.5 ],
	[ \&undo_op, 0, undo => 4, mixed => 0.7, archive => 0.7, late => 6, import => 1 ],
	[ \&undo_run_op, 1.5, undo => 3, back => 0, life => 0, late => 0.3, again => 0.3 ],
	[ \&grant_op, 9, plans => 0.2, again => 0.3 ],
	[ \&paid_grant_op, 4, plans => 0.2, life => 3, again => 3 ],
	[ \&hold_op, 11, plans => 0.5, life => 0.3, late => 2, again => 0.2 ],
	[ \&capture_op, 9, plans => 0.5, late => 2, again => 0.3 ],
	[ \&release_op, 5, plans => 0.5, again => 0.3 ],
	[ \&refund_op, 10, plans => 0.5, again => 2 ],
	[ \&revoke_op, 4, plans => 0.2, life => 3, again => 4 ],
	[ \&reinstate_op, 2.5, plans => 0.2, life => 3, again => 5 ],
	[ \&transfer_op, 4, plans => 0.2, life => 0.2, late => 0, again => 0.2 ],
	[ \&close_op, 1.5, plans => 0.5, life => 5, again => 6 ],
	[ \&erase_op, 0.7, plans => 0.2 ],
	[ \&import_op, 0, mixed => 0.5, import => 5 ],
	[ \&anchor_op, 0, archive => 4 ],
	[ \&archive_op, 0, archive => 6 ],
	[ \&overdraft_op, 3, plans => 0 ],
	[ \&threshold_op, 8, again => 0.5, late => 0.5 ],
	[ \&retry_op, 6 ],
	[ \&balance_at_op, 4, back => 0, life => 0, late => 0, again => 0 ],
	[ \&txn_op, 3, life => 0, late => 0, again => 0 ]);

sub weight
{
	my ($sort, $code, $weight, %by_sort) = @_;

	# Where the usual weight is 0, the sort's own is the weight.
	return $weight ? $weight * ($by_sort{$sort} // 1) : $by_sort{$sort} // 0;
}

sub random_op
{
	my ($world) = @_;
	my @w = map { weight($world->{sort}, @$_) } @weights;

	# These are rare, and gone with the next step of the clock.
	my ($stale) = chance(0.5) ? stale_holds($world) : ();
	return chance(0.7) ? capture_op($world) : release_op($world) if $stale;
	my $r = rand(eval { my $sum = 0; $sum += $_ for @w; $sum });

	for my $i (0 .. $#w)
	{
		next if ($r -= $w[$i]) >= 0;
		my $op = $weights[$i][0]->($world);
		return $op && spoil($world, $op);
	}
	return undef;
}

my %takes_metadata = map { $_ => 1 } qw(deduct try_deduct purchase adjust set_plan set_cycle grant hold capture
  release refund revoke reinstate transfer set_overdraft set_low_threshold);

# Now and then an argument that cannot be, or a user that nobody knows, or metadata.
sub spoil
{
	my ($world, $op) = @_;

	if (exists $op->{amount} && chance(0.02))
	{
		$op->{amount} = pick(0, -3, MAX + 1, $op->{call} =~ /capture|refund|revoke/ ? 1 : undef);
	}
	if (exists $op->{user} && !$world->{default_plan} && $op->{call} !~ /purchase|open|balance_at/ && !defined $op->{ref} && chance(0.01))
	{
		$op->{user} = 'nobody';
	}
	$op->{metadata} = '{"n": ' . $op->{tag} . '}' if $takes_metadata{ $op->{call} } && chance(0.1);
	return $op;
}

sub clock_op
{
	my ($world) = @_;
	my $now = $world->{model}{clock};
	my @at = instants($world);
	my $r = rand();

	return { call => 'clock', to => $now - between(1, 10 * 24) * HOUR }
	  if $world->{sort} eq 'back' && chance(0.15);
	if (@at && $r < 0.45)
	{
		my $at = chance(0.6) ? $at[0] : pick(@at[ 0 .. min(3, $#at) ]);
		return { call => 'clock', to => max($now, $at + pick(0, 0, 0, 0, 0, 1, -1)) };
	}
	return { call => 'clock', to => $now + between(1, 3600) * SECOND } if $r < 0.75;
	return { call => 'clock', to => $now + between(1, 72) * HOUR } if $r < 0.9;
	return { call => 'clock', to => $now + between(1, 20) * DAY + between(0, 86399) * SECOND }
	  if $r < 0.98;
	return { call => 'clock', to => $now + between(20, 130) * DAY };
}

# Where the clock goes back, a sweep leaves what it did, so there it is whole.
sub sweep_op
{
	my ($world) = @_;

	return { call => 'sweep', full => 1, sql => 'credits_reset_due(100000)' }
	  if $world->{sort} eq 'back';
	return {
		call => 'sweep',
		full => 0,
		sql => pick('credits_reset_due()', 'credits_reset_due(1)', 'credits_reset_due(3)', 'credits_run_reset()',
			'credits_run_reset(2, 3)', 'credits_reset_due(NULL, true)') };
}

# The same again, word for word, as a client does that got no answer; or with
# another argument, as one does that has lost its way.
sub retry_op
{
	my ($world) = @_;
	my @before = grep { defined $_->{key} || $_->{call} =~ /purchase|open_account|revoke|reinstate/ } @{ $world->{ops} };
	my $again = @before ? $before[ -between(1, min(15, scalar @before)) ] : return undef;

	my %op = (%$again, defined $again->{tag} ? (tag => next_tag($world)) : ());
	my @fields = grep { exists $op{$_} } qw(amount total lasts ends hold of limit threshold delta);

	if (@fields && chance(0.4))
	{
		my $field = pick(@fields);
		$op{$field} = ($op{$field} // 0) + ($field =~ /lasts|ends/ ? SECOND : 1);
	}
	return \%op;
}

# Some time that there was, rather when something happened.
sub balance_at_op
{
	my ($world) = @_;
	my $user = pick(users());
	my $past = $world->{model}{past}{$user} // return undef;
	my ($first, $now) = ($past->[0]{at}, $world->{model}{clock});
	my @at = map { $_->{effective_at} } @{ $world->{model}{rows}{$user} // [] };
	my $at = chance(0.6) ? pick(@at) + pick(0, 0, -1, 1) : $first + int(rand($now - $first + 1));

	return { call => 'balance_at', user => $user, time => max($first, min($now, $at)) };
}

# Some calls, perhaps a sweep, in one transaction.
sub txn_op
{
	my ($world) = @_;
	my $saved = $world->{model}->save;
	my @not = (\&clock_op, \&txn_op, \&sweep_op, \&undo_op, \&balance_at_op, \&anchor_op, \&archive_op);
	my @calls = grep { my $code = $_->[0]; !grep { $_ == $code } @not } @weights;
	my @ops;

	for (1 .. between(2, 4))
	{
		my $op = pick(@calls)->[0]->($world) // next;

		$op = { %{ sweep_op($world) }, sql => 'credits_reset_due(100000)' } if chance(0.15);
		$op = { call => 'look', look => pick(users()) } if $op->{call} eq 'repair_clock' && $world->{sort} ne 'back';
		play($world->{model}, $op);
		push @ops, $op;
	}
	$world->{model}->restore($saved);
	return { call => 'txn', ops => \@ops, commit => chance(0.6) ? 1 : 0 };
}

1;
