# Periods and what happens by itself, for the reference model: the events that come due,
# boundaries, and how long a period is.
package CreditsModelPeriods;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelReturn;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(min max);

our @EXPORT = qw(set_version allowance starts_over spent_or_owed is_silent);

# All that is due by then, in time order; at one instant: hold ends, grant ends,
# the scheduled plan change, the boundary; ties by what was opened first.
sub apply_due
{
	my ($self, $acct, $until) = @_;

	while (1)
	{
		my @events = (
			(map { [ $_->{ends}, 0, $_->{tag}, \&hold_end, $_ ] }
				grep { $_->{state} eq 'open' } values %{ $acct->{holds} }),
			(map { [ $_->{ends}, 1, $_->{tag}, \&grant_end, $_ ] }
				grep { !$_->{ended} } values %{ $acct->{grants} }));
		if (defined $acct->{period_end})
		{
			push @events, [ $acct->{period_end}, 2, 0, \&plan_change ] if defined $acct->{scheduled};
			push @events, [ $acct->{period_end}, 3, 0, \&boundary ];
		}
		my ($next) =
		  sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] || $a->[2] <=> $b->[2] } @events;
		last if !$next || $next->[0] > $until;
		$next->[3]->($self, $acct, $next->[0], $next->[4]);
	}
	return;
}

# What cannot go back expires.  The hold remembers that for a late capture.
sub hold_end
{
	my ($self, $acct, $at, $hold) = @_;

	write_row(
		$acct,
		'hold_end',
		$at,
		sub {
			my $amount = total(held_by($acct, $hold->{tag}));
			my @lost;

			$hold->{state} = 'expired';
			for my $lot (spend_order(take($acct, $amount, held_by($acct, $hold->{tag}))))
			{
				my $lost = give_back($acct, $lot);
				push @lost, { %$lot, credits => $lost } if $lost;
			}
			$hold->{lost} = \@lost;
			$hold->{given_back} = $amount - total(@lost);
			return (amount => $amount, expired => total(@lost), ref => $hold->{tag});
		});
	return;
}

sub grant_end
{
	my ($self, $acct, $at, $grant) = @_;
	my @left = grep { $_->{grant} == $grant->{tag} } free($acct, 'granted');

	$grant->{ended} = 1;
	return unless @left;
	write_row(
		$acct,
		'grant_end',
		$at,
		sub {
			my $n = total(@left);

			take($acct, $n, @left);
			$grant->{expired} += $n if $grant->{paid};
			return (amount => $n, expired => $n, ref => $grant->{tag});
		});
	return;
}

sub plan_change
{
	my ($self, $acct, $at) = @_;

	write_row(
		$acct,
		'plan_change',
		$at,
		sub {
			my $plan = $acct->{scheduled} eq '' ? undef : $acct->{scheduled};
			my $version = $self->version_at($plan, $at);

			set_version($acct, $plan, $version);
			$acct->{cycle} = $version->{cycle} if $version;
			$acct->{scheduled} = undef;
			return ();
		});
	return;
}

# A boundary of an account without a plan or monthly credits of any kind changes
# nothing but the period: no row says so.
sub is_silent
{
	my ($acct) = @_;

	return
	    !defined $acct->{plan}
	  && !defined $acct->{scheduled}
	  && !$acct->{owed}{monthly}
	  && !grep { $_->{bucket} eq 'monthly' } @{ $acct->{lots} };
}

sub boundary
{
	my ($self, $acct, $at) = @_;
	my $change = sub {
		my $version = $self->version_at($acct->{plan}, $at);

		begin_period($acct, $version ? $version->{cycle} : $acct->{cycle}, $at);
		return $self->new_period($acct, $version, MAX);
	};

	# Where the plan has just ended, the end of its last period is said.
	my $is_first = ($acct->{new_rows} // [])->[-1];
	$is_first = $is_first && $is_first->{kind} eq 'plan_change' && $is_first->{effective_at} == $at;
	if (is_silent($acct) && !$is_first)
	{
		$change->();
		return;
	}
	my $row = write_row($acct, 'reset', $at, $change);
	$acct->{reset} = { at => $at, map { $_ => $row->{$_} } qw(period plan version amount status lives) };
	return;
}

# The next period from a boundary on.  If the running one ended as the account's
# anchor, zone and cycle still say, the next is full.  Else it ends with the first
# boundary that they have now, and has that much of a full one.
sub begin_period
{
	my ($acct, $cycle, $at) = @_;
	my @new = ($cycle, @$acct{qw(anchor zone)});
	my $is_same = join('|', @{ $acct->{end_of} }) eq join('|', @new);
	my ($last, $end) = (last_boundary(@new, $at), next_boundary(@new, $at));

	if ($is_same)
	{
		my $half = ($end - $last) / 2;

		$end = next_boundary(@new, $end) while $end - $at < $half;
	}
	@$acct{qw(cycle period_end period_start end_of)} = ($cycle, $end, $at, \@new);
	$acct->{share} = $is_same ? FULL : share_of($end - $at, $end - $last);
	$acct->{period}++;
	return;
}

# What a new period begins with: what is free, less what is owed of it, up to the
# rollover, and the allowance, of which no more than the cap leaves room for.
sub new_period
{
	my ($self, $acct, $version, $cap) = @_;
	my $free = total(free($acct, 'monthly'));
	my ($left, $limit) = ($free - $acct->{owed}{monthly}, $version ? $version->{rollover} : 0);
	my $kept = clamped($left, $limit);
	my $allowance = allowance($acct, $version);

	take($acct, $free, free($acct, 'monthly'));
	@$acct{qw(last_charged last_closings last_closed)} = ($acct->{charged}{monthly}, $acct->{closings}, $acct->{closed});
	$acct->{$_}{monthly} = 0 for qw(owed charged);
	@$acct{qw(last_left last_limit carried_in last_undone)} = ($left, $limit, $kept, 0);
	credit($acct, 'monthly', $kept, period => $acct->{period}) if $kept;
	my $granted = min($allowance, $cap - total(@{ $acct->{lots} }));
	credit($acct, 'monthly', $granted, period => $acct->{period}) if $granted;
	$acct->{period_granted} = $granted;
	set_version($acct, $acct->{plan}, $version);
	return (amount => $granted, expired => $free - $kept, forfeited => $allowance - $granted);
}

sub set_version
{
	my ($acct, $plan, $version) = @_;

	$acct->{plan} = $plan;
	$acct->{version} = defined $version ? $version->{version} : undef;
	$acct->{plan_threshold} = defined $version ? $version->{low} : 0;
	return;
}

# A version's credits in the running period; none without a plan.
sub allowance
{
	my ($acct, $version) = @_;

	return $version ? share_part($version->{credits}, $acct->{share}) : 0;
}

# A full period from now on, whatever the running one was.  Only where the anchor moves to
# now is its end known to be a boundary of the account's cycle.
sub starts_over
{
	my ($acct, $cycle, $at, $keep_anchor) = @_;

	my $anchor = $keep_anchor ? $acct->{anchor} : utc_to_local($acct->{zone}, $at);
	my $is_boundary = $anchor != $acct->{anchor} && $cycle !~ /^(calendar|daily)$/;
	my @new = ($cycle, $anchor, $acct->{zone});

	@$acct{qw(cycle anchor period_end period_start share)} =
	  ($cycle, $anchor, one_cycle_later($cycle, $acct->{zone}, $at), $at, FULL);
	$acct->{end_of} = $is_boundary ? \@new : [ @new[ 0, 1 ], '' ];
	$acct->{period}++;
	return;
}

# Takes monthly credits; what is not there is remembered.
sub spent_or_owed
{
	my ($acct, $n) = @_;

	$acct->{owed}{monthly} += $n - total(take($acct, $n, free($acct, 'monthly')));
	return;
}

1;
