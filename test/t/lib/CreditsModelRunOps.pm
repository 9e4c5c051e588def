# Random runs over many accounts, for the model test.
package CreditsModelRunOps;

use strict;
use warnings FATAL => 'all';

use CreditsModelRandom;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(shuffle);

our @EXPORT = qw(grant_many_op apply_plan_op undo_op undo_run_op anchor_op archive_op import_op);

# How a run is run: whole, capped, or dry, in batches of some size.
sub how
{
	return (
		dry => chance(0.15) ? 1 : undef,
		max => chance(0.25) ? between(1, 4) : undef,
		batch => pick(undef, 1, 2, 3));
}

sub grant_many_op
{
	my ($world) = @_;
	my $now = $world->{model}{clock};
	my @at = instants($world);
	my @users = grep { defined } (shuffle(users()))[ 0 .. between(0, 4) ];

	push @users, pick(@users) if chance(0.3);
	push @users, 'nobody' if !$world->{default_plan} && chance(0.2);
	return {
		call => 'grant_many',
		tag => next_tag($world),
		users => [ shuffle(@users) ],
		amounts => [
			map { chance(0.01) ? pick(0, -1, undef) : $world->{sort} eq 'whale' ? some_amount($world) : between(1, 15) }
			  @users
		],
		ends => @at && chance(0.5) ? pick(@at) : $now + between(chance(0.03) ? -10 : 1, 40 * 86400) * SECOND,
		key => chance(0.6) ? some_key() : undef,
		how() };
}

# The plans of accounts that have an older version than the one in force.
sub plans_behind
{
	my ($world) = @_;
	my $model = $world->{model};
	my @accounts = grep { $_ && defined $_->{plan} } map { account($world, $_) } users();

	return map { $_->{plan} }
	  grep { my $version = $model->version_at($_->{plan}, $model->{clock}); $version && $version->{version} != $_->{version} } @accounts;
}

sub apply_plan_op
{
	my ($world) = @_;
	my %behind;

	$behind{$_}++ for plans_behind($world);
	my ($most) = sort { $behind{$b} <=> $behind{$a} || $a cmp $b } keys %behind;
	my $plan = chance(0.03) ? 'p9' : defined $most && chance(0.7) ? $most : pick(plans());

	return {
		call => 'apply_plan',
		tag => next_tag($world),
		plan => $plan,
		how(),
		($behind{$plan} // 0) > 1 && chance(0.5) ? (max => 1, dry => undef) : () };
}

# A boundary that accounts had not long ago.
sub undo_op
{
	my ($world) = @_;
	my @resets = grep { $_->[0] } map { my $acct = account($world, $_); $acct ? [ $acct->{reset}, $acct ] : () } users();
	my $reset = @resets ? pick(@resets)->[0] : return undef;

	return undef unless defined $reset->{plan};
	return {
		call => 'undo',
		tag => next_tag($world),
		plan => chance(0.9) ? $reset->{plan} : pick(plans()),
		boundary => $reset->{at},
		regrant => pick(0, 1),
		how() };
}

# A run of late, or any, or what was none.
sub undo_run_op
{
	my ($world) = @_;
	my @runs = sort { $a <=> $b } keys %{ $world->{model}{runs} };
	my @last = @runs[ -(@runs < 4 ? @runs : 4) .. -1 ];

	return undef if !@runs;
	return {
		call => 'undo',
		tag => next_tag($world),
		run => chance(0.03) ? next_tag($world) : chance(0.8) ? pick(@last) : pick(@runs),
		how() };
}

sub anchor_op { return { call => 'anchor' }; }

# Rarely up to what is to come.
sub archive_op
{
	my ($world) = @_;
	my $now = $world->{model}{clock};

	return {
		call => 'archive',
		tag => next_tag($world),
		before => $now + (chance(0.03) ? 1 : -pick(0, between(0, 60 * 86400) * SECOND)),
		how() };
}

# Users as another system has them: these, with which a world begins, or some, of whom
# most had been imported, or were here.
sub import_op
{
	my ($world, @users) = @_;
	my $begins = @users;
	my $now = $world->{model}{clock};
	my @before = grep { $_->{call} eq 'import' } @{ $world->{ops} };
	my (@source, @history);

	# The same again, as far as nothing has changed there.
	if (@before && chance(0.6))
	{
		my %seen;

		@source = map { { %$_ } } grep { !$seen{ $_->{user} }++ } @{ $before[-1]{source} };
		@history = @{ $before[-1]{history} // [] };
		for my $row (@source)
		{
			$row->{monthly} = between(0, 30) if chance(0.2);
			$row->{plan} = pick(plans(), undef) if chance(0.1);
		}
	}
	else
	{
		@users = grep { defined } (shuffle(users()))[ 0 .. between(0, 3) ] if !@users;
		@source = map { source_row($world, $_) } @users;
	}
	for my $row (@source)
	{
		push @history, map { old_row($now, $row->{user}) } 1 .. between($begins ? 1 : -2, 3);
	}

	# One that comes twice is found where it comes, so all are in one batch then.
	my $twice = @source && chance(0.02);
	my %how = $twice ? () : how();

	push @source, { %{ $source[0] } } if $twice;
	return {
		call => 'import',
		tag => next_tag($world),
		source => \@source,
		history => $begins || chance(0.6) ? \@history : undef,
		refresh => chance(0.4) ? 1 : undef,
		%how };
}

sub old_row
{
	my ($now, $user) = @_;

	return {
		user => $user,
		at => $now - between(0, 60 * 86400) * SECOND,
		id => between(1, 1_000_000),
		amount => between(-20, 20) };
}

sub source_row
{
	my ($world, $user) = @_;
	my $now = $world->{model}{clock};

	return {
		user => $user,
		plan => chance(0.03) ? 'p9' : pick(plans(), undef),
		monthly => chance(0.03) ? -1 : pick(undef, 0, between(0, 40)),
		purchased => pick(undef, 0, between(0, 40)),
		last_reset => chance(0.02) ? $now + SECOND : pick(undef, $now, $now - between(0, 90 * 86400) * SECOND),
		anchor => anchor($world),
		zone => chance(0.02) ? 'Mars/Base' : pick(undef, 'UTC', zones()) };
}

1;
