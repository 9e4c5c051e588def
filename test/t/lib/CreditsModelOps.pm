# Random calls on one account, for the model test: each a hash with all that the
# call is given.
package CreditsModelOps;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelRandom;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(max min);

our @EXPORT = qw(deduct_op deduct_many_op purchase_op adjust_op plan_op open_op set_plan_op set_cycle_op
  freeze_op repair_op grant_op paid_grant_op hold_op stale_holds capture_op release_op refund_op revoke_op
  reinstate_op transfer_op overdraft_op threshold_op close_op erase_op);

sub deduct_op
{
	my ($world) = @_;
	my $user = pick(users());

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
		my $user = pick(users());
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
		user => pick(users()),
		amount => $world->{sort} eq 'whale' ? some_amount($world) : pick(5, 5, 10, between(1, 40)),
		ref => pick(refs()),
		key() };
}

sub adjust_op
{
	my ($world) = @_;
	my $user = pick(users());
	my $acct = account($world, $user);
	my $bucket = pick(buckets());
	my $all = $acct ? total(free($acct, $bucket)) : 1;
	my $delta = chance(0.5) ? between(1, 15) : -max(1, $all + pick(0, 0, 1, -2));

	$delta = -$delta if $bucket eq 'granted' && $delta > 0 && chance(0.9);
	$delta = 0 if chance(0.01);
	return { call => 'adjust', tag => next_tag($world), user => $user, bucket => $bucket, delta => $delta, key() };
}

# Most are monthly, as a change between cycles of two lengths waits for a boundary.
sub some_cycle { return pick((qw(calendar anniversary)) x 3, qw(daily weekly weekly yearly)); }

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
		cycle => pick(some_cycle(), $first ? () : (undef) x 6),
		from => $first
		? undef
		: max($world->{latest} + 1, map { $_->{from} + 1 } @$versions)
		  + pick(0, between(1, 40 * 86400) * SECOND) };
}

sub open_op
{
	my ($world, $user) = @_;
	return {
		call => 'open_account',
		user => $user,
		plan => chance(0.1) ? undef : pick(plans()),
		anchor => anchor($world),
		zone => pick(undef, undef, 'UTC', zones(), (turn_zone($world)) x 6) };
}

# A plan, mostly one that the account can have at once.
sub some_plan
{
	my ($world, $user) = @_;
	my $cycle = (account($world, $user) // {})->{cycle};
	my $plans = $world->{model}{plans};
	my @same = grep { $cycle && length_of($plans->{$_}[-1]{cycle}) eq length_of($cycle) } sort keys %$plans;

	return @same && chance(0.6) ? pick(@same) : pick(plans());
}

sub set_plan_op
{
	my ($world) = @_;
	my $user = pick(users());
	my $when = pick(qw(now now next_reset));
	my $restart = chance($when eq 'now' ? 0.25 : 0.02);

	return {
		call => 'set_plan',
		tag => next_tag($world),
		user => $user,
		plan => chance($restart ? 0.02 : 0.2) ? undef : $when eq 'now' && chance(0.03) ? 'p9' : some_plan($world, $user),
		when => $when,
		restart => $restart ? 1 : undef,
		keep_anchor => chance($restart ? 0.4 : 0.01) ? 1 : undef,
		key() };
}

sub set_cycle_op
{
	my ($world) = @_;

	return {
		call => 'set_cycle',
		tag => next_tag($world),
		user => pick(users()),
		anchor => anchor($world),
		zone => pick(undef, undef, zones(), (turn_zone($world)) x 4, chance(0.1) ? 'Mars/Base' : ()),
		key() };
}

sub freeze_op
{
	my ($world) = @_;
	my @frozen = grep { my $acct = account($world, $_); $acct && $acct->{status} ne 'active' } users();
	my $user = @frozen && chance(0.5) ? pick(@frozen) : pick(users());
	my $acct = account($world, $user);
	my $call = $acct && $acct->{status} ne 'active' && chance(0.9) ? 'unfreeze' : chance(0.5) ? 'freeze' : 'unfreeze';

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
	my $user = pick(users());
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
	my $user = pick(users());
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

# A payment of a grant; now and then of one that a purchase paid for.
sub paid_grant_op
{
	my ($world) = @_;

	return { %{ grant_op($world) }, ref => pick(refs()) };
}

# Something held that has nowhere to go back to, or not all of it.
sub is_stale
{
	my ($acct, $hold) = @_;

	return grep {
			$_->{bucket} eq 'monthly' ? $_->{period} != $acct->{period}
		  : $_->{bucket} eq 'granted' ? $acct->{grants}{ $_->{grant} }{ended}
		  : 0
	} held_by($acct, $hold->{tag});
}

sub stale_holds
{
	my ($world) = @_;
	my @stale;

	for my $user (users())
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

	for my $user (users())
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
	return chance(0.3) ? [ pick(users()), { tag => between(1, $world->{tag} + 10) } ] : undef;
}

sub capture_op
{
	my ($world) = @_;
	my ($user, $hold) = @{ some_hold($world) // return hold_op($world) };
	my $acct = account($world, $user);
	my $held = $acct ? total(held_by($acct, $hold->{tag})) : 0;
	my @more = $acct && $acct->{status} eq 'frozen' ? ($held + 1) x 3 : ();
	my $amount = pick(
		(undef) x 2, @more, $held, 0,
		$held + between(1, 9),
		(between(1, max(1, $held))) x 2,
		$held + ($acct ? total(free($acct)) : 0) + pick(0, 1));

	return {
		call => 'capture',
		tag => next_tag($world),
		user => $user,
		hold => $hold->{tag},
		amount => defined $amount ? min(MAX, $amount) : undef,
		keep_open => chance(0.4) ? 1 : 0,
		over => chance(0.2) ? 'owe' : undef,
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
	my $user = pick(users());
	my $acct = account($world, $user);
	my $spent = $acct ? $acct->{spent} : {};
	my @tags = sort { $a <=> $b } keys %$spent;
	my @open = grep { $spent->{$_}{refunded} < $spent->{$_}{amount} } @tags;
	my $tag =
		chance(0.04) ? between(1, $world->{tag} + 10)
	  : chance(0.2) && archived_tag($world, $user) ? archived_tag($world, $user)
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

# Something paid, of late or long ago; rarely what nobody paid.
sub some_payment
{
	my ($world) = @_;
	my $payments = $world->{model}{payments};
	my @known = sort keys %$payments;
	my $ref = @known && chance(0.95) ? pick(@known) : pick(refs());

	return ($ref, $payments->{$ref} // { amount => 1, revoked => 0 });
}

sub revoke_op
{
	my ($world) = @_;
	my ($ref, $payment) = some_payment($world);
	my $left = $payment->{amount} - $payment->{revoked};
	my $by_total = chance(0.4);

	return {
		call => 'revoke',
		tag => next_tag($world),
		ref => $ref,
		amount => chance($by_total ? 0.98 : 0.4) ? undef : max(1, pick($left, between(1, max(1, $left)), $left + 1)),
		total => $by_total ? pick($payment->{amount}, between(1, $payment->{amount} + (chance(0.1) ? 1 : 0))) : undef,
		key() };
}

# A dispute that was won; rarely where none was lost.
sub reinstate_op
{
	my ($world) = @_;
	my $payments = $world->{model}{payments};
	my @revoked = sort grep { $payments->{$_}{revoked} } keys %$payments;
	my ($ref, $payment) = some_payment($world);

	return undef if !@revoked && chance(0.9);
	if (@revoked && chance(0.9))
	{
		$ref = pick(@revoked);
		$payment = $payments->{$ref};
	}
	my $most = max(1, $payment->{revoked});
	return {
		call => 'reinstate',
		tag => next_tag($world),
		ref => $ref,
		amount => chance(0.4) ? undef : pick($most, between(1, $most), between(1, $most), $payment->{revoked} + 1),
		key() };
}

# Also more than there is, to oneself, and to a user that nobody knows.
sub transfer_op
{
	my ($world) = @_;
	my @rich = grep { my $acct = account($world, $_); $acct && free($acct, 'purchased') } users();
	my $user = @rich && chance(0.7) ? pick(@rich) : pick(users());
	my $to = pick(grep { $_ ne $user } users());
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
		chance(0.3) ? (key => some_key()) : () };
}

sub close_op
{
	my ($world) = @_;

	return { call => 'close_account', tag => next_tag($world), user => pick(users()) };
}

sub erase_op
{
	my ($world) = @_;

	return { call => 'erase_user', tag => next_tag($world), user => pick(users()) };
}

# Often about what there is; or none.
sub threshold_op
{
	my ($world) = @_;
	my $user = pick(users());
	my $acct = account($world, $user);
	my $all = $acct ? total(free($acct)) : 0;

	return {
		call => 'set_low_threshold',
		tag => next_tag($world),
		user => $user,
		threshold => chance(0.2) ? pick(-1, MAX + 1) : pick(undef, undef, 0, 1, between(0, 60), map { min(MAX, max(0, $_)) } $all, $all + 1, $all - between(1, 9)),
		key() };
}

sub overdraft_op
{
	my ($world) = @_;

	return {
		call => 'set_overdraft',
		tag => next_tag($world),
		user => pick(users()),
		limit => chance(0.03) ? -1 : pick(0, 0, 5, 20, between(0, 50)),
		key() };
}

1;
