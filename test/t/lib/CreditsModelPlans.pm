# Plans, for the reference model: versions, opening an account and changing its plan.
package CreditsModelPlans;

use strict;
use warnings FATAL => 'all';

use parent 'CreditsModelPeriods';

use CreditsModelLots;
use CreditsModelPeriods;
use CreditsModelTime;
use List::Util qw(min max);
use Storable qw(dclone);

# The version of a plan in force at a time.
sub version_at
{
	my ($self, $plan, $at) = @_;

	return undef unless defined $plan;
	my @begun = grep { $_->{from} <= $at } @{ $self->{plans}{$plan} // [] };
	return $begun[-1] // ($self->{importing} ? (grep { $_->{from} <= $self->{clock} } @{ $self->{plans}{$plan} // [] })[-1] : undef);
}

sub define_plan
{
	my ($self, $op) = @_;
	my $versions = $self->{plans}{ $op->{plan} } //= [];
	my $last = $versions->[-1];
	my $from = $op->{from} // $self->{clock} + ($last ? 1 : 0);

	refuse('22023') if (defined $op->{from} && $from <= $self->{clock}) || ($last && $from <= $last->{from});
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
		charged => { monthly => 0, purchased => 0 },
		holds => {},
		grants => {},
		spent => {},
		keys => {},
		overdraft => 0,
		period => 1,
		period_start => $self->{clock},
		period_granted => 0,
		share => FULL,
		last_left => 0,
		last_limit => 0,
		last_undone => 0,
		carried_in => 0,
		forfeited => 0,
		closings => 0,
		last_closings => 0,
		last_charged => 0,
		lives => 0,
		status => 'active',
		plan_threshold => 0,
		level => 'empty',
		at => $self->{clock} };
}

# The opening row, of a new account or of one that never had a plan.
sub open_with
{
	my ($self, $acct, $plan, $anchor, $zone, $at, $with_facts) = @_;
	my $version = $self->version_at($plan, $at);

	my $row = write_row(
		$acct, 'open', $at,
		sub {
			$acct->{zone} = $zone;
			$acct->{anchor} = $anchor // utc_to_local($zone, $at);
			return (amount => $version ? $self->first_plan($acct, $plan, $version, $at) : 0);
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

# The open-ended period of an account that never had a plan goes on, with a full
# allowance and an end.
sub first_plan
{
	my ($self, $acct, $plan, $version, $at) = @_;
	my @cycle = ($version->{cycle}, @$acct{qw(anchor zone)});

	@$acct{qw(cycle end_of period_end share)} = ($version->{cycle}, \@cycle, next_boundary(@cycle, $at), FULL);
	set_version($acct, $plan, $version);
	return grants_exactly($acct, $version->{credits});
}

# Monthly credits move by what the allowance is more, or less, than what this period
# granted already.  Less is taken also where it is not there.
sub grants_exactly
{
	my ($acct, $allowance) = @_;
	my $more = $allowance - $acct->{period_granted};

	$acct->{period_granted} = $allowance;
	if ($more > 0)
	{
		credit($acct, 'monthly', $more, period => $acct->{period});
		check_cap($acct);
	}
	else
	{
		spent_or_owed($acct, -$more);
	}
	return $more;
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
	return $self->restart($acct, $op, $version, $at) if $op->{restart};
	refuse('22023') if $version && has_another_length($acct, $version);
	$acct->{scheduled} = undef;
	return (amount => $self->change_plan($acct, $plan, $version, $at));
}

# A new period begins now, with a full allowance: it has been paid for.
sub restart
{
	my ($self, $acct, $op, $version, $at) = @_;

	$acct->{scheduled} = undef;
	starts_over($acct, $version->{cycle}, $at, $op->{keep_anchor});
	set_version($acct, $op->{plan}, $version);
	my %did = $self->new_period($acct, $version, 2 * MAX);
	check_cap($acct);
	return %did;
}

# A period of one length cannot have an allowance of another.
sub has_another_length
{
	my ($acct, $version) = @_;

	return defined $acct->{cycle} && length_of($acct->{cycle}) ne length_of($version->{cycle});
}

# A plan's version from now on; what that gives, or below 0 takes.  What the undo of a
# boundary gave back is part of the allowance then.
sub change_plan
{
	my ($self, $acct, $plan, $version, $at) = @_;

	$acct->{last_undone} = 0;
	return $self->first_plan($acct, $plan, $version, $at) if $version && !defined $acct->{cycle};
	$acct->{cycle} = $version->{cycle} if $version;
	set_version($acct, $plan, $version);
	return grants_exactly($acct, allowance($acct, $version));
}

# Another anchor or zone, from the next period on.
sub set_cycle
{
	my ($self, $acct, $op, $at) = @_;

	$acct->{anchor} = $op->{anchor} if defined $op->{anchor};
	$acct->{zone} = $op->{zone} if defined $op->{zone};
	return ();
}

# Below how many credits the account is low, whatever its plan says; without a number, as it says.
sub set_low_threshold
{
	my ($self, $acct, $op) = @_;

	$acct->{threshold} = $op->{threshold};
	return ();
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
