# Plans, periods and what happens by itself, for the reference model: versions,
# the events that come due, opening an account and changing its plan.
package CreditsModelPlans;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelTime;
use List::Util qw(min max);
use Storable qw(dclone);

#
# Plans and events
#

# The version of a plan in force at a time.
sub version_at
{
	my ($self, $plan, $at) = @_;

	return undef unless defined $plan;
	my @begun = grep { $_->{from} <= $at } @{ $self->{plans}{$plan} // [] };
	return $begun[-1] // ($self->{importing} ? (grep { $_->{from} <= $self->{clock} } @{ $self->{plans}{$plan} // [] })[-1] : undef);
}

sub set_version
{
	my ($acct, $plan, $version) = @_;

	$acct->{plan} = $plan;
	$acct->{version} = defined $version ? $version->{version} : undef;
	return;
}

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

sub hold_end
{
	my ($self, $acct, $at, $hold) = @_;

	write_row(
		$acct,
		'hold_end',
		$at,
		sub {
			my $amount = total(held_by($acct, $hold->{tag}));

			$hold->{state} = 'expired';
			$hold->{expired} = $amount;
			my $lost = give_all_back($acct, take($acct, $amount, held_by($acct, $hold->{tag})));
			return (amount => $amount, expired => $lost, ref => $hold->{tag});
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

			set_version($acct, $plan, $self->version_at($plan, $at));
			$acct->{scheduled} = undef;
			return ();
		});
	return;
}

# A boundary: what is free beyond the rollover expires, the new allowance comes,
# as much of it as the cap leaves room for.
sub boundary
{
	my ($self, $acct, $at) = @_;

	write_row(
		$acct, 'reset', $at,
		sub {
			my $plan = $self->version_at($acct->{plan}, $at);
			my $left = total(free($acct, 'monthly'));
			my $kept = min($left, $plan ? $plan->{rollover} : 0);

			take($acct, $left, free($acct, 'monthly'));
			$acct->{owed}{monthly} = 0;
			$acct->{period_start} = $at;
			push @{ $acct->{lots} }, { bucket => 'monthly', credits => $kept, period => $at } if $kept;

			my $allowance = $plan ? $plan->{credits} : 0;
			my $granted = min($allowance, MAX - total(@{ $acct->{lots} }));
			push @{ $acct->{lots} }, { bucket => 'monthly', credits => $granted, period => $at } if $granted;
			$acct->{period_granted} = $granted;
			set_version($acct, $acct->{plan}, $plan);
			$acct->{period_end} = $plan ? end_after_boundary($acct, $at, $plan) : undef;
			$acct->{cycle} = own($acct, $plan->{cycle}) if $plan;
			$acct->{reset} =
			  { at => $at, plan => $acct->{plan}, granted => $granted, expired => $left - $kept };
			return (amount => $granted, expired => $left - $kept, forfeited => $allowance - $granted);
		});
	return;
}

# A cycle with the account's own anchor and zone.  What its period's end belongs to
# is in $acct->{cycle}, also when the plan has been cancelled.
sub own { my ($acct, $cycle) = @_; return [ $cycle, @$acct{qw(anchor zone)} ]; }

# After another cycle: first where the old one would end the new period, then on
# to the new one's boundary, so that there are never two allowances.
sub end_after_boundary
{
	my ($acct, $at, $plan) = @_;
	my $old = next_boundary(@{ $acct->{cycle} }, $at);

	return next_boundary(@{ own($acct, $plan->{cycle}) }, $old, 'or at');
}

# The current period ends with the first new boundary at or after its end.
sub stretch
{
	my ($acct, $cycle) = @_;

	$acct->{cycle} = own($acct, $cycle);
	$acct->{period_end} = next_boundary(@{ $acct->{cycle} }, $acct->{period_end}, 'or at');
	return;
}

#
# Plans and accounts
#

sub define_plan
{
	my ($self, $op) = @_;
	my $versions = $self->{plans}{ $op->{plan} } //= [];
	my $last = $versions->[-1];
	my $from = $op->{from} // $self->{clock} + ($last ? 1 : 0);

	refuse('22023') if $from < $self->{clock} || ($last && $from <= $last->{from});
	push @$versions,
	  {
		version => 1 + @$versions,
		from => $from,
		credits => $op->{credits},
		cycle => $op->{cycle} // ($last ? $last->{cycle} : 'calendar'),
		rollover => $op->{rollover} // ($last ? $last->{rollover} : 0),
		low => $op->{low} // ($last ? $last->{low} : 0) };
	push @{ $self->{audit} }, "define_plan $op->{plan}";
	return { state => '00000' };
}

sub new_account
{
	my ($self, $user) = @_;

	return {
		user => $user,
		lots => [],
		owed => { monthly => 0, purchased => 0 },
		holds => {},
		grants => {},
		spent => {},
		keys => {},
		overdraft => 0,
		period_granted => 0,
		status => 'active',
		at => $self->{clock} };
}

# The opening row, of a new account or of one that a purchase opened.
sub open_with
{
	my ($self, $acct, $plan, $anchor, $zone, $at, $with_facts) = @_;
	my $version = $self->version_at($plan, $at);

	my $row = write_row(
		$acct, 'open', $at,
		sub {
			$acct->{zone} = $zone;
			$acct->{anchor} = $anchor // utc_to_local($zone, $at);
			$acct->{period_start} = $at;
			$self->start_period($acct, $version, $at);
			set_version($acct, $plan, $version);
			my $amount = $self->raise_to($acct, $version ? $version->{credits} : 0);
			return (amount => $amount);
		});
	$row->{created_at} = $self->{clock};
	$row->{key} = '' if $with_facts;
	if ($with_facts)
	{
		$acct->{opened} = { plan => $plan, zone => $zone, anchor => $acct->{anchor} };
		$acct->{open_receipt} = receipt($row);
	}
	return $row;
}

sub start_period
{
	my ($self, $acct, $version, $at) = @_;

	$acct->{period_granted} = 0;
	$acct->{period_start} = $at;

	# What is free moves into the new period; what is held stays of the old.
	$_->{period} = $at for free($acct, 'monthly');
	$acct->{cycle} = $version ? own($acct, $version->{cycle}) : undef;
	$acct->{period_end} = $version ? next_boundary(@{ $acct->{cycle} }, $at) : undef;
	return;
}

# Grant what an allowance has above what this period granted already.
sub raise_to
{
	my ($self, $acct, $allowance) = @_;
	my $more = $allowance - $acct->{period_granted};

	return 0 if $more <= 0;
	$acct->{period_granted} = $allowance;
	credit($acct, 'monthly', $more, period => $acct->{period_start});
	check_cap($acct);
	return $more;
}

# And the reverse: take what is free of the difference.
sub lower_to
{
	my ($self, $acct, $allowance) = @_;
	my $less = min($acct->{period_granted} - $allowance, total(free($acct, 'monthly')));

	return 0 if $less <= 0;
	$acct->{period_granted} -= $less;
	take($acct, $less, free($acct, 'monthly'));
	return $less;
}

sub open_account
{
	my ($self, $op) = @_;
	my $acct = $self->{accounts}{ $op->{user} };
	my $plan = $op->{plan} // $self->{default_plan};
	my $zone = $op->{zone} // 'UTC';

	if ($acct && $acct->{opened})
	{
		my $opened = $acct->{opened};

		refuse('UC003')
		  if ($opened->{plan} // '') ne ($plan // '')
		  || $opened->{zone} ne $zone
		  || (defined $op->{anchor} && $opened->{anchor} != $op->{anchor});
		return CreditsModel::replay($acct->{open_receipt});
	}
	$acct = $acct ? dclone($acct) : $self->new_account($op->{user});
	my $at = max($self->{clock}, $acct->{at});
	$self->apply_due($acct, $at);

	# A plan that it got meanwhile, or the rest of its period: opening it would be
	# a second allowance.
	refuse('UC003') if defined $acct->{plan} || defined $acct->{period_end};
	not_closed($acct);
	refuse('UC009') if defined $plan && !$self->version_at($plan, $at);
	my $row = $self->open_with($acct, $plan, $op->{anchor}, $zone, $at, 1);
	$self->keep($acct);
	return { state => '00000', receipt => receipt($row) };
}

sub set_plan
{
	my ($self, $acct, $op, $at) = @_;
	my $plan = $op->{plan};
	my $version = $self->version_at($plan, $at);

	refuse('UC009') if defined $plan && !$version;
	not_closed($acct);
	if ($op->{when} eq 'next_reset')
	{
		refuse('22023') unless defined $acct->{period_end};
		$acct->{scheduled} = ($plan // '') eq ($acct->{plan} // '') ? undef : $plan // '';
		return ();
	}
	$acct->{scheduled} = undef;
	return (amount => $self->change_plan($acct, $plan, $version, $at));
}

# A plan's version from now on; what that gives, or below 0 takes.
sub change_plan
{
	my ($self, $acct, $plan, $version, $at) = @_;
	my $allowance = $version ? $version->{credits} : 0;

	if (!defined $acct->{period_end})
	{
		$self->start_period($acct, $version, $at) if $version;
	}
	elsif ($version)
	{
		stretch($acct, $version->{cycle});
	}
	set_version($acct, $plan, $version);
	return $self->raise_to($acct, $allowance) || -$self->lower_to($acct, $allowance);
}

# Another anchor or zone.
sub set_cycle
{
	my ($self, $acct, $op, $at) = @_;

	$acct->{anchor} = $op->{anchor} if defined $op->{anchor};
	$acct->{zone} = $op->{zone} if defined $op->{zone};
	stretch($acct, $acct->{cycle}[0]) if defined $acct->{period_end};
	return ();
}

# The allowance of the version in force now, whatever the period had before.
sub grant_anew
{
	my ($self, $acct, $at) = @_;
	my $version = $self->version_at($acct->{plan}, $at) // return 0;

	credit($acct, 'monthly', $version->{credits}, period => $acct->{period_start});
	$acct->{period_granted} += $version->{credits};
	set_version($acct, $acct->{plan}, $version);
	stretch($acct, $version->{cycle});
	return $version->{credits};
}

# The version that the period runs under.
sub held_version
{
	my ($self, $acct) = @_;

	return undef unless defined $acct->{plan};
	my ($version) = grep { $_->{version} == $acct->{version} } @{ $self->{plans}{ $acct->{plan} } };
	return $version;
}

1;
