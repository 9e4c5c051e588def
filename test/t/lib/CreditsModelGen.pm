# Random worlds for the model test.  A world is some plans, some accounts, a clock
# and a list of operations, each complete in itself: any of them can be left out
# and the rest still means something, which is what shrinking needs.
package CreditsModelGen;

use strict;
use warnings FATAL => 'all';

use CreditsModel;
use CreditsModelLots;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(max min shuffle);

our @EXPORT = qw(new_world play);

sub pick { return $_[ int(rand(@_)) ]; }

sub between { return $_[0] + int(rand($_[1] - $_[0] + 1)); }

sub chance { return rand() < $_[0]; }

my @users = qw(u1 u2 u3 u4 u5);
my @plans = qw(p1 p2 p3 p4);
my @refs = map { "r$_" } 1 .. 25;
my @keys = map { "k$_" } 1 .. 12;

# When clocks are set forward and back, and a wall-clock time that there is not or
# is twice then.
my @turns = (
	[ 'Europe/Berlin', 2026, 3, 29, 2, 30 ],
	[ 'Europe/Berlin', 2026, 10, 25, 2, 30 ],
	[ 'America/New_York', 2026, 3, 8, 2, 30 ],
	[ 'America/New_York', 2026, 11, 1, 1, 30 ]);

# Do an operation in the model; gives what the product has to answer.
sub play
{
	my ($model, $op) = @_;

	if ($op->{call} eq 'clock')
	{
		$model->{clock} = $op->{to};
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

# A world of $n operations.  Of what sort: mixed; plans (plan changes above
# all); back (the clock goes back, too); whale (close to the cap); undo (boundaries
# are undone).
sub new_world
{
	my ($n, $sort) = @_;

	$sort //= pick(('mixed') x 14, ('plans') x 2, ('back') x 2, ('whale') x 2, ('undo') x 2);
	my $turn = chance(0.25) ? pick(@turns) : undef;
	my $start =
	  $turn
	  ? utc(@{$turn}[ 1 .. 3 ]) - between(2, 40) * DAY
	  : utc(pick(2023 .. 2027), between(1, 12), between(1, 28), between(0, 23), pick(0, 0, 17, 30));
	my $default_plan = chance(0.15) ? 'p1' : undef;
	my $world = {
		model => CreditsModel->new(default_plan => $default_plan),
		sort => $sort,
		default_plan => $default_plan,
		ops => [],
		tag => 0,
		turn => $turn,
		latest => $start };

	add($world, { call => 'clock', to => $start });
	add($world, plan_op($world, $_)) for @plans;
	add($world, open_op($world, $_)) for @users[ 0 .. 3 ];
	add($world, random_op($world)) while @{ $world->{ops} } < $n;
	delete $world->{model};
	return $world;
}

sub add
{
	my ($world, $op) = @_;

	return if !$op || unsettled($world, $op);
	$op->{look} //= pick(@users);
	push @{ $world->{ops} }, $op;
	play($world->{model}, $op);
	$world->{latest} = max($world->{latest}, $world->{model}{clock});
	return;
}

# A row's number, and room for those of a batch's items.
sub next_tag { return $_[0]{tag} += 10; }

# The account as it stands, or nothing.
sub account
{
	my ($world, $user) = @_;

	return eval { $world->{model}->view($user) };
}

# All operations, with their weights in a world of each sort.
my @weights = (
	[ \&clock_op, 16, plans => 2 ],
	[ \&sweep_op, 5 ],
	[ \&deduct_op, 18, plans => 0.5 ],
	[ \&deduct_many_op, 3, plans => 0 ],
	[ \&purchase_op, 7, plans => 0.2 ],
	[ \&adjust_op, 4 ],
	[ \&set_plan_op, 5, plans => 6 ],
	[ sub { plan_op($_[0], pick(@plans)) }, 1, plans => 2 ],
	[ sub { open_op($_[0], pick(@users)) }, 1.5 ],
	[ \&set_cycle_op, 1.5, plans => 2 ],
	[ \&freeze_op, 3 ],
	[ \&repair_op, 0, back => 2 ],
	[ \&undo_op, 0, undo => 6, mixed => 1 ],
	[ \&grant_op, 9, plans => 0.2 ],
	[ \&hold_op, 11, plans => 0.5 ],
	[ \&capture_op, 9, plans => 0.5 ],
	[ \&release_op, 5, plans => 0.5 ],
	[ \&refund_op, 10, plans => 0.5 ],
	[ \&revoke_op, 4, plans => 0.2 ],
	[ \&transfer_op, 4, plans => 0.2 ],
	[ \&overdraft_op, 3, plans => 0 ],
	[ \&retry_op, 6 ],
	[ \&balance_at_op, 4, back => 0 ],
	[ \&txn_op, 3 ]);

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

# Now and then an argument that cannot be, or a user that nobody knows.
sub spoil
{
	my ($world, $op) = @_;

	if (exists $op->{amount} && chance(0.02))
	{
		$op->{amount} = pick(0, -3, MAX + 1, $op->{call} =~ /capture|refund|revoke/ ? 1 : undef);
	}
	if (exists $op->{user} && !$world->{default_plan} && $op->{call} !~ /purchase|open|balance_at/ && chance(0.01))
	{
		$op->{user} = 'nobody';
	}
	return $op;
}

# An instant at which something happens, later than the clock.
sub instants
{
	my ($world) = @_;
	my $model = $world->{model};
	my %at;

	for my $acct (map { account($world, $_) } @users)
	{
		next unless $acct;
		$at{ $_->{ends} } = 1 for grep { $_->{state} eq 'open' } values %{ $acct->{holds} };
		$at{ $_->{ends} } = 1 for grep { !$_->{ended} } values %{ $acct->{grants} };
		$at{ $acct->{period_end} } = 1 if defined $acct->{period_end};
	}
	for my $plan (values %{ $model->{plans} })
	{
		$at{ $_->{from} } = 1 for @$plan;
	}
	return sort { $a <=> $b } grep { $_ > $model->{clock} } keys %at;
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

# A boundary that accounts had not long ago.  Not where one has another plan now:
# whose boundary that was is a matter of taste.
sub undo_op
{
	my ($world) = @_;
	my @resets = grep { $_->[0] } map { my $acct = account($world, $_); $acct ? [ $acct->{reset}, $acct ] : () } @users;
	my $reset = @resets ? pick(@resets)->[0] : return undef;

	return undef
	  if grep { $_->[0]{at} == $reset->{at} && ($_->[0]{plan} // '') ne ($_->[1]{plan} // '') } @resets;
	return undef unless defined $reset->{plan};
	return {
		call => 'undo',
		tag => next_tag($world),
		plan => chance(0.9) ? $reset->{plan} : pick(@plans),
		boundary => $reset->{at},
		users => \@users,
		regrant => pick(0, 1) };
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

sub some_amount
{
	my ($world, $acct) = @_;
	my $all = $acct ? total(free($acct)) : 0;
	my $r = rand();

	if ($world->{sort} eq 'whale' && $r < 0.5)
	{
		return pick(MAX, MAX - 1, between(1, MAX), max(1, $all));
	}
	return between(1, 12) if $r < 0.62;
	return max(1, $all) if $r < 0.72;
	return min(MAX, $all + between(1, 3)) if $r < 0.8;
	return max(1, total(free($acct, 'monthly'))) if $acct && $r < 0.87;
	return max(1, int($all / 2)) if $r < 0.93;
	return between(1, 60);
}

sub key { return chance(0.2) ? (key => pick(@keys)) : (); }

sub deduct_op
{
	my ($world) = @_;
	my $user = pick(@users);

	return {
		call => pick('deduct', 'deduct', 'try_deduct'),
		tag => next_tag($world),
		user => $user,
		amount => some_amount($world, account($world, $user)),
		key(),
		chance(0.1) ? (spender => 'somebody') : () };
}

sub deduct_many_op
{
	my ($world) = @_;
	my $tag = next_tag($world);
	my @items = map {
		my $user = pick(@users);
		{ tag => $tag + $_, user => $user, amount => some_amount($world, account($world, $user)), key() }
	} 0 .. between(0, 4);

	return { call => 'deduct_many', tag => $tag, items => \@items, all => chance(0.3) ? 1 : 0 };
}

sub purchase_op
{
	my ($world) = @_;

	return {
		call => 'purchase',
		tag => next_tag($world),
		user => pick(@users),
		amount => $world->{sort} eq 'whale' ? some_amount($world) : pick(5, 5, 10, between(1, 40)),
		ref => pick(@refs),
		key() };
}

sub adjust_op
{
	my ($world) = @_;
	my $user = pick(@users);
	my $acct = account($world, $user);
	my $bucket = pick(buckets());
	my $all = $acct ? total(free($acct, $bucket)) : 1;
	my $delta = chance(0.5) ? between(1, 15) : -max(1, $all + pick(0, 0, 1, -2));

	$delta = -$delta if $bucket eq 'granted' && $delta > 0 && chance(0.9);
	$delta = 0 if chance(0.01);
	return { call => 'adjust', tag => next_tag($world), user => $user, bucket => $bucket, delta => $delta, key() };
}

sub plan_op
{
	my ($world, $plan) = @_;
	my $versions = $world->{model}{plans}{$plan};
	my $first = !$versions;
	my $credits = $world->{sort} eq 'whale' && chance(0.3) ? MAX - 5 : pick(0, 5, 10, 20, 30, 100) + between(0, 3);

	# Not for a time that was already, and never what the version before says.
	return {
		call => 'define_plan',
		plan => $plan,
		credits => $credits,
		rollover => pick(0, 0, 0, 4, 15, 1000),
		low => pick(grep { $first || $_ != $versions->[-1]{low} } 0 .. 12),
		cycle => pick('calendar', 'anniversary', $first ? () : (undef) x 4),
		from => $first
		? undef
		: max($world->{latest} + 1, map { $_->{from} + 1 } @$versions)
		  + pick(0, between(1, 40 * 86400) * SECOND) };
}

sub turn_zone { return $_[0]{turn} ? $_[0]{turn}[0] : (); }

sub anchor
{
	my ($turn) = @{ $_[0] }{turn};

	return undef if chance(0.4);
	return utc(2023, 1, @{$turn}[ 3 .. 5 ]) if $turn && chance(0.6);
	return utc(
		pick(2023, 2024),
		pick(1, 3, 5, 7),
		pick(1, between(1, 28), 29, 30, 31),
		pick(0, 0, 2, between(0, 23)),
		pick(0, 30));
}

sub open_op
{
	my ($world, $user) = @_;
	return {
		call => 'open_account',
		user => $user,
		plan => chance(0.1) ? undef : pick(@plans),
		anchor => anchor($world),
		zone => pick(undef, undef, 'UTC', zones(), (turn_zone($world)) x 6) };
}

sub set_plan_op
{
	my ($world) = @_;
	my $user = pick(@users);
	my $when = pick(qw(now now next_reset));

	return {
		call => 'set_plan',
		tag => next_tag($world),
		user => $user,
		plan => chance(0.2) ? undef : $when eq 'now' && chance(0.03) ? 'p9' : pick(@plans),
		when => $when,
		key() };
}

# What nobody says: whether the rest of a cancelled calendar plan's period still
# ends by the calendar when the anchor is another.
sub unsettled
{
	my ($world, $op) = @_;
	my $acct = $op->{call} eq 'set_cycle' ? account($world, $op->{user}) : undef;

	return $acct && defined $acct->{period_end} && !defined $acct->{plan} && $acct->{cycle}[0] eq 'calendar';
}

sub set_cycle_op
{
	my ($world) = @_;

	return {
		call => 'set_cycle',
		tag => next_tag($world),
		user => pick(@users),
		anchor => anchor($world),
		zone => pick(undef, undef, zones(), (turn_zone($world)) x 4, chance(0.1) ? 'Mars/Base' : ()),
		key() };
}

sub freeze_op
{
	my ($world) = @_;
	my @frozen = grep { my $acct = account($world, $_); $acct && $acct->{status} eq 'frozen' } @users;
	my $user = @frozen && chance(0.5) ? pick(@frozen) : pick(@users);
	my $acct = account($world, $user);
	my $call = $acct && $acct->{status} eq 'frozen' ? 'unfreeze' : chance(0.5) ? 'freeze' : 'unfreeze';

	return { call => $call, tag => next_tag($world), user => $user };
}

sub repair_op
{
	my ($world) = @_;
	my @known = sort keys %{ $world->{model}{accounts} };

	my @ahead = grep { $world->{model}{accounts}{$_}{at} > $world->{model}{clock} } @known;

	@known = @ahead if @ahead && chance(0.8);
	return @known && { call => 'repair_clock', tag => next_tag($world), user => pick(@known) };
}

sub grant_op
{
	my ($world) = @_;
	my $user = pick(@users);
	my $now = $world->{model}{clock};
	my @at = instants($world);
	my $ends = @at && chance(0.5) ? pick(@at) : $now + between(1, 40 * 86400) * SECOND;

	$ends = $now + pick(0, 1, between(1, 600) * SECOND, -HOUR()) if chance(0.1);
	return {
		call => 'grant',
		tag => next_tag($world),
		user => $user,
		amount => $world->{sort} eq 'whale' ? some_amount($world) : between(1, 15),
		ends => $ends,
		key() };
}

sub hold_op
{
	my ($world) = @_;
	my $user = pick(@users);
	my $acct = account($world, $user);
	my $now = max($world->{model}{clock}, $acct ? $acct->{at} : 0);
	my @at = grep { $_ > $now && $_ <= $now + 31 * DAY } instants($world);
	my $lasts =
	  @at && chance(0.4)
	  ? pick(@at) - $now
	  : pick(MINUTE, HOUR, DAY, 31 * DAY, between(1, 31 * 86400) * SECOND, between(1, 31 * 86400) * SECOND);

	# Often over the end of what it holds.
	if ($acct && chance(0.5))
	{
		my @ends = grep { defined } $acct->{period_end}, map { $_->{ends} } free($acct, 'granted');
		my @over = grep { $_ <= 31 * DAY } map { $_ - $now + between(1, 240) * HOUR } @ends;
		$lasts = pick(@over) if @over;
	}
	$lasts = pick(0, -SECOND(), 1, 31 * DAY + 1, 32 * DAY) if chance(0.04);
	return {
		call => 'hold',
		tag => next_tag($world),
		user => $user,
		amount => some_amount($world, $acct),
		lasts => $lasts,
		key(),
		chance(0.1) ? (spender => 'somebody') : () };
}

# Something held that has nowhere to go back to.
sub is_stale
{
	my ($acct, $hold) = @_;

	return grep {
			$_->{bucket} eq 'monthly' ? $_->{period} != $acct->{period_start}
		  : $_->{bucket} eq 'granted' ? $acct->{grants}{ $_->{grant} }{ended}
		  : 0
	} held_by($acct, $hold->{tag});
}

sub stale_holds
{
	my ($world) = @_;
	my @stale;

	for my $user (@users)
	{
		my $known = $world->{model}{accounts}{$user};
		next unless $known && grep { $_->{state} eq 'open' } values %{ $known->{holds} };
		my $acct = account($world, $user);
		push @stale, map { [ $user, $_ ] } grep { is_stale($acct, $_) } values %{ $acct->{holds} };
	}
	@stale = sort { $a->[1]{tag} <=> $b->[1]{tag} } @stale;
	return @stale;
}

# A hold: an open one most of the time, or any, or a row that is none.
sub some_hold
{
	my ($world) = @_;
	my (@open, @closed);

	for my $user (@users)
	{
		my $acct = account($world, $user) // next;
		for my $hold (sort { $a->{tag} <=> $b->{tag} } values %{ $acct->{holds} })
		{
			push @{ $hold->{state} eq 'open' ? \@open : \@closed }, [ $user, $hold ];
		}
	}
	my ($stale) = stale_holds($world);
	return $stale if $stale && chance(0.5);
	return pick(@open) if @open && chance(0.85);
	return $closed[ -between(1, min(8, scalar @closed)) ] if @closed && chance(0.8);
	return chance(0.3) ? [ pick(@users), { tag => between(1, $world->{tag} + 10) } ] : undef;
}

sub capture_op
{
	my ($world) = @_;
	my ($user, $hold) = @{ some_hold($world) // return hold_op($world) };
	my $acct = account($world, $user);
	my $held = $acct ? total(held_by($acct, $hold->{tag})) : 0;
	my @more = $acct && $acct->{status} eq 'frozen' ? ($held + 1) x 3 : ();
	my $amount = pick(
		(undef) x 2, @more, $held,
		$held + between(1, 9),
		(between(1, max(1, $held))) x 2,
		$held + ($acct ? total(free($acct)) : 0) + pick(0, 1));

	return {
		call => 'capture',
		tag => next_tag($world),
		user => $user,
		hold => $hold->{tag},
		amount => defined $amount ? min(MAX, max(1, $amount)) : undef,
		keep_open => chance(0.4) ? 1 : 0,
		key() };
}

sub release_op
{
	my ($world) = @_;
	my ($user, $hold) = @{ some_hold($world) // return hold_op($world) };

	return { call => 'release', tag => next_tag($world), user => $user, hold => $hold->{tag}, key() };
}

# Something spent, of late or long ago; sometimes a row that is none.
sub refund_op
{
	my ($world) = @_;
	my $user = pick(@users);
	my $acct = account($world, $user);
	my $spent = $acct ? $acct->{spent} : {};
	my @tags = sort { $a <=> $b } keys %$spent;
	my @open = grep { $spent->{$_}{refunded} < $spent->{$_}{amount} } @tags;
	my $tag =
		chance(0.04) ? between(1, $world->{tag} + 10)
	  : @open && chance(0.85) ? (chance(0.6) ? $open[ -between(1, min(4, scalar @open)) ] : pick(@open))
	  : @tags ? pick(@tags)
	  : return undef;
	my $left = $spent->{$tag} ? $spent->{$tag}{amount} - $spent->{$tag}{refunded} : 0;

	return {
		call => 'refund',
		tag => next_tag($world),
		user => $user,
		of => $tag,
		amount => pick(undef, undef, map { min(MAX, max(1, $_)) } $left, $left + 1, (between(1, max(1, $left))) x 2),
		key() };
}

sub revoke_op
{
	my ($world) = @_;
	my @known = sort keys %{ $world->{model}{payments} };
	my $ref = @known && chance(0.95) ? pick(@known) : pick(@refs);
	my $payment = $world->{model}{payments}{$ref};
	my $left = $payment ? $payment->{amount} - $payment->{revoked} : 1;

	return {
		call => 'revoke',
		tag => next_tag($world),
		ref => $ref,
		amount => chance(0.5) ? undef : max(1, pick($left, between(1, max(1, $left)), $left + 1)),
		key() };
}

# Also more than there is, to oneself, and to a user that nobody knows.
sub transfer_op
{
	my ($world) = @_;
	my @rich = grep { my $acct = account($world, $_); $acct && free($acct, 'purchased') } @users;
	my $user = @rich && chance(0.7) ? pick(@rich) : pick(@users);
	my $to = pick(grep { $_ ne $user } @users);
	my $acct = account($world, $user);
	my $all = $acct ? total(free($acct, 'purchased')) : 0;

	$to = $user if chance(0.02);
	$to = 'nobody' if !$world->{default_plan} && chance(0.02);
	return {
		call => 'transfer',
		tag => next_tag($world),
		user => $user,
		to => $to,
		amount => pick(undef, between(1, 5), min(MAX, max(1, pick($all, $all + 1, between(1, max(1, $all)))))),
		chance(0.3) ? (key => pick(@keys)) : () };
}

sub overdraft_op
{
	my ($world) = @_;

	return {
		call => 'set_overdraft',
		tag => next_tag($world),
		user => pick(@users),
		limit => chance(0.03) ? -1 : pick(0, 0, 5, 20, between(0, 50)),
		key() };
}

# The same again, word for word, as a client does that got no answer; or with
# another argument, as one does that has lost its way.
sub retry_op
{
	my ($world) = @_;
	my @before = grep { defined $_->{key} || $_->{call} =~ /purchase|open_account|revoke/ } @{ $world->{ops} };
	my $again = @before ? $before[ -between(1, min(15, scalar @before)) ] : return undef;

	my %op = (%$again, defined $again->{tag} ? (tag => next_tag($world)) : ());
	my @fields = grep { exists $op{$_} } qw(amount lasts ends hold of limit delta);

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
	my $user = pick(@users);
	my $past = $world->{model}{past}{$user} // return undef;
	my ($first, $now) = ($past->[0]{at}, $world->{model}{clock});
	my @at = map { $_->{effective_at} } @{ $world->{model}{rows}{$user} };
	my $at = chance(0.6) ? pick(@at) + pick(0, 0, -1, 1) : $first + int(rand($now - $first + 1));

	return { call => 'balance_at', user => $user, time => max($first, min($now, $at)) };
}

# Some calls, perhaps a sweep, in one transaction.
sub txn_op
{
	my ($world) = @_;
	my $saved = $world->{model}->save;
	my @not = (\&clock_op, \&txn_op, \&sweep_op, \&undo_op, \&balance_at_op);
	my @calls = grep { my $code = $_->[0]; !grep { $_ == $code } @not } @weights;
	my @ops;

	for (1 .. between(2, 4))
	{
		my $op = pick(@calls)->[0]->($world) // next;

		$op = { %{ sweep_op($world) }, sql => 'credits_reset_due(100000)' } if chance(0.15);
		$op = { call => 'look', look => pick(@users) } if $op->{call} eq 'repair_clock' && $world->{sort} ne 'back';
		next if unsettled($world, $op);
		play($world->{model}, $op);
		push @ops, $op;
	}
	$world->{model}->restore($saved);
	return { call => 'txn', ops => \@ops, commit => chance(0.6) ? 1 : 0 };
}

1;
