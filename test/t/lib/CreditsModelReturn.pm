# What comes back to an account, for the reference model: from holds, by refunds, by
# reinstatements.  Where credits belong to no longer, they are lost: they expire, or they
# are forfeited.
package CreditsModelReturn;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use Exporter 'import';
use List::Util qw(max min);

our @EXPORT = qw(give_back give_all_back purchased_back grant_back clamped unused_at_boundary);

# Between 0 and a limit, or above 0 where there is no limit.
sub clamped
{
	my ($n, $limit) = @_;

	return max(0, defined $limit ? min($n, $limit) : $n);
}

# A lot comes back.  $before says how often the account was closed since it was spent.
# Gives how many of its credits are lost.
sub give_back
{
	my ($acct, $lot, $before) = @_;
	my $n = $lot->{credits};

	return purchased_back($acct, $n, $before) if $lot->{bucket} eq 'purchased';
	return grant_back($acct, $lot->{grant}, $n, $before) if $lot->{bucket} eq 'granted';
	return monthly_back($acct, $n, $lot->{period}, $before);
}

# Several lots; the credits that were lost.
sub give_all_back
{
	my ($acct, @lots) = @_;

	return total(map { { credits => give_back($acct, $_) } } @lots);
}

# Where they are from before a closing in the current period, the period's rule comes first.  Where
# the closing was in the period before, what it charged comes first.
sub monthly_back
{
	my ($acct, $n, $period, $before) = @_;
	my $age = $acct->{period} - $period;
	my $comes = 0;

	$comes = $before ? from_before($acct, 'monthly', $n) : $n if $age == 0;
	if ($age == 1)
	{
		my $within = $n;

		if ($acct->{closings} - ($before // 0) < $acct->{last_closings})
		{
			$within = min($n, $acct->{last_charged});
			$acct->{last_charged} -= $within;
		}
		$comes = carried($acct, $within);
		$comes = from_before($acct, 'monthly', $comes) if $before && $acct->{closings} > $acct->{last_closings};
		$acct->{carried_in} += $comes;
	}
	credit($acct, 'monthly', $comes, period => $acct->{period}) if $comes;
	return $n - $comes;
}

# How many of these credits come back, which were spent or paid for before the last closing: what
# the account has been charged since for the time before.
sub from_before
{
	my ($acct, $bucket, $n) = @_;
	my $comes = min($n, $acct->{charged}{$bucket});

	$acct->{charged}{$bucket} -= $comes;
	return $comes;
}

# From the period just ended: as if it had been free at the boundary.  After an undo it is
# carried in full, and what the boundary would have let expire of it is more of what the
# period grants now.
sub carried
{
	my ($acct, $n) = @_;
	my ($left, $limit) = @$acct{qw(last_left last_limit)};
	my $within = clamped($left + $n, $limit) - clamped($left, $limit);

	$acct->{last_left} += $n;
	return $within if !$acct->{last_undone};
	my $comes = clamped($left + $n) - clamped($left);
	$acct->{period_granted} += $comes - $within;
	return $comes;
}

# What the last boundary let expire, as far as is known now.
sub unused_at_boundary
{
	my ($acct) = @_;

	return clamped($acct->{last_left}) - clamped(@$acct{qw(last_left last_limit)});
}

sub purchased_back
{
	my ($acct, $n, $before) = @_;
	my $comes = $before ? from_before($acct, 'purchased', $n) : $n;

	credit($acct, 'purchased', $comes);
	$acct->{forfeited} += $n - $comes;
	return $n - $comes;
}

# To a paid grant that was revoked: first what the revocation took elsewhere goes back
# there.
sub grant_back
{
	my ($acct, $tag, $n, $before) = @_;
	my $grant = $acct->{grants}{$tag};
	my $first = min($n, $grant->{elsewhere});
	my $lost = 0;

	$grant->{elsewhere} -= $first;
	$lost = purchased_back($acct, $first, $before) if $first;
	$n -= $first;
	if ($grant->{ended})
	{
		$grant->{expired} += $n if $grant->{paid};
		return $lost + $n;
	}
	credit($acct, 'granted', $n, grant => $tag, ends => $grant->{ends}) if $n;
	return $lost;
}

1;
