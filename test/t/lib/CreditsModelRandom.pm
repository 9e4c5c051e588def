# What the generators of the model test draw from: users, names, amounts, times.
package CreditsModelRandom;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(max min);

our @EXPORT = qw(pick between chance users only_users plans refs some_key key next_tag account instants some_amount turns
  turn_zone anchor archived_tag);

my @users = qw(u1 u2 u3 u4 u5);
my @plans = qw(p1 p2 p3 p4);
my @refs = map { "r$_" } 1 .. 25;
my @keys = map { "k$_" } 1 .. 12;

sub users { return @users; }

# From now on there are only so many.
sub only_users { @users = @users[ 0 .. $_[0] - 1 ]; return; }

sub plans { return @plans; }

sub refs { return @refs; }

# Something of the user's that is archived.
sub archived_tag
{
	my ($world, $user) = @_;
	my $acct = $world->{model}{accounts}{$user};
	my @gone = sort { $a <=> $b } keys %{ $acct ? $acct->{gone} // {} : {} };

	return @gone ? pick(@gone) : undef;
}

sub some_key { return pick(@keys); }

sub key { return chance(0.2) ? (key => some_key()) : (); }

# When clocks are set forward and back, and a wall-clock time that there is not or
# is twice then.
sub turns
{
	return (
		[ 'Europe/Berlin', 2026, 3, 29, 2, 30 ],
		[ 'Europe/Berlin', 2026, 10, 25, 2, 30 ],
		[ 'America/New_York', 2026, 3, 8, 2, 30 ],
		[ 'America/New_York', 2026, 11, 1, 1, 30 ]);
}

sub pick { return $_[ int(rand(@_)) ]; }

sub between { return $_[0] + int(rand($_[1] - $_[0] + 1)); }

sub chance { return rand() < $_[0]; }

# A row's number, and room for those of a batch's items.
sub next_tag { return $_[0]{tag} += 10; }

# The account as it stands, or nothing.
sub account
{
	my ($world, $user) = @_;

	return eval { $world->{model}->view($user) };
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

1;
