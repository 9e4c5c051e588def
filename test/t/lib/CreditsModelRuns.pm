# Runs over many accounts, for the reference model: bulk grants, a plan applied to
# all who have it, and taking back what a run or a boundary did.
package CreditsModelRuns;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelPeriods;
use CreditsModelReturn;
use CreditsModelTime;
use List::Util qw(max min uniq);
use Storable qw(dclone);

# A run over these users, in the order of their bytes.  $one does one of them and
# gives what to count in the report, or nothing for one that is none of the run's
# business; a refusal is that user's failure.  A dry run says the same and leaves
# nothing.
sub run
{
	my ($self, $op, $kind, $users, $one) = @_;
	my $saved = $op->{dry} ? $self->save : undef;
	my @counted = (qw(accounts credits_granted credits_expired already skipped not_taken failures),
		$kind eq 'archive' ? 'rows' : (),
		$kind eq 'import' ? qw(history_rows source_credits due_credits target_credits) : ());
	my %report = map { $_ => 0 } @counted;
	my (@failed, @written);
	my @left = sort { $a cmp $b } uniq(@$users);

	while (@left)
	{
		last if defined $op->{max} && $report{accounts} + $report{failures} >= $op->{max};
		my $user = shift @left;
		my $done = eval { $one->($user) // {} };

		if (!$done)
		{
			die $@ unless ref $@ eq 'HASH' && $@->{state};
			$done = { failures => 1 };
			push @failed, "$user $@->{state}";
		}
		$report{$_} += $done->{$_} // 0 for @counted;
		push @written, $user if $done->{accounts};
	}
	my $more = is_anything_left($self, $one, @left);
	$self->{runs}{ $op->{tag} } = $kind;
	push @{ $self->{audit} }, "$kind t$op->{tag}";
	my $row = {
		kind => $kind,
		defined $more ? (state => $more ? 'stopped' : 'finished') : (),
		(map { $_ => $report{$_} } qw(accounts credits_granted credits_expired failures)),
		failed => join(', ', @failed) };
	$self->restore($saved) if $saved;
	return {
		state => '00000',
		run => $op->{dry} ? undef : $row,
		report => {
			%report,
			ok => 'true',
			dry_run => $op->{dry} ? 'true' : 'false',
			defined $more ? (more => $more ? 'true' : 'false') : () },
		written => $op->{dry} ? [] : \@written };
}

# Was it the cap that ended it?  Nobody says where there is nothing to do for those
# who are left.
sub is_anything_left
{
	my ($self, $one, @left) = @_;
	my $saved = $self->save;
	my @ones = grep {
		my $user = $_;
		my $done = eval { $one->($user) // {} } // { failures => 1 };
		$done->{accounts} || $done->{failures};
	} @left;

	$self->restore($saved);
	return @ones ? 1 : @left ? undef : 0;
}

# A run over all accounts, each with what is due applied; what $one makes of it is
# kept where it says so.
sub run_over_accounts
{
	my ($self, $op, $kind, $one) = @_;

	return run(
		$self, $op, $kind,
		[ keys %{ $self->{accounts} } ],
		sub {
			my $acct = dclone($self->{accounts}{ $_[0] });
			my $at = max($self->{clock}, $acct->{at});

			$self->apply_due($acct, $at);
			my $done = $one->($acct, $at);
			$self->keep($acct) if $done && $done->{accounts};
			return $done;
		});
}

# A row of a run, and what it counts as.
sub run_row
{
	my ($self, $acct, $op, $kind, $at, $change) = @_;
	my $before = total(free($acct));
	my $row = write_row($acct, $kind, $at, $change);
	my $more = total(free($acct)) - $before;

	@$row{qw(tag run created_at)} = ($op->{tag}, $op->{tag}, $self->{clock});
	return (accounts => 1, $more > 0 ? (credits_granted => $more) : (credits_expired => -$more));
}

# What a row is known by: the tag of its call, or what it is and when.
sub name_of { my ($row) = @_; return $row->{tag} // "$row->{kind} at " . iso($row->{effective_at}); }

sub grant_many
{
	my ($self, $op) = @_;
	my %sum;

	CreditsModel::check_number($_, 1) for @{ $op->{amounts} };
	$sum{ $op->{users}[$_] } += $op->{amounts}[$_] for 0 .. $#{ $op->{users} };
	return run(
		$self, $op, 'grant',
		$op->{users},
		sub {
			my ($user) = @_;
			$self->copy_or_open($user, 0);
			CreditsModel::check_number($sum{$user}, 1);
			my %grant = (%$op{qw(tag key ends)}, run => $op->{tag}, user => $user, amount => $sum{$user});
			my $answer = $self->on_account($user, { %grant, call => 'grant' });

			return { already => 1 } if $answer->{receipt}{replayed} eq 'true';
			return { accounts => 1, credits_granted => $sum{$user} };
		});
}

# As set_plan now, with the plan that the account has; a scheduled change is
# scheduled again, in a row of its own.  Who
# left the plan, with nothing written of it yet, may be counted as skipped or not.
# Whose period is of another length gets the version at its boundary.
sub apply_plan
{
	my ($self, $op) = @_;
	my $version = $self->version_at($op->{plan}, $self->{clock}) // refuse('UC009');

	my $answer = run_over_accounts(
		$self, $op,
		'apply_plan',
		sub {
			my ($acct, $at) = @_;

			return undef if ($acct->{plan} // '') ne $op->{plan};
			return { already => 1 } if $acct->{version} == $version->{version};
			return { skipped => 1 } if CreditsModelPlans::has_another_length($acct, $version);
			my $scheduled = $acct->{scheduled};
			my %done = run_row(
				$self, $acct, $op,
				'set_plan',
				$at,
				sub {
					$acct->{scheduled} = undef;
					return (amount => $self->change_plan($acct, $op->{plan}, $version, $at));
				});

			run_row($self, $acct, $op, 'schedule_plan', $at, sub { $acct->{scheduled} = $scheduled; return () })
			  if defined $scheduled;
			return \%done;
		});
	delete $answer->{report}{skipped};
	return $answer;
}

#
# Undoing
#

# What can be undone.  An undo cannot: there is nothing to do then.
my %undo = (grant => \&undo_grant, apply_plan => \&undo_plan, import => \&CreditsModelImport::undo_import);

# What a run did, or a plan's boundary, to each account, once.  Closing an account and undoing
# its import begin another life of it, in which nothing of the one before is undone, but for
# grants that are still there.
sub undo
{
	my ($self, $op) = @_;
	my $run = defined $op->{run} ? $self->{runs}{ $op->{run} } : undef;

	refuse('22023') if defined $op->{run} && !$run;
	my $answer = run_over_accounts(
		$self, $op, 'undo',
		sub {
			my ($acct, $at) = @_;

			return undo_boundary($self, $acct, $op, $at) if !$run;
			my ($row) = grep { ($_->{run} // 0) == $op->{run} && $_->{kind} !~ /^(imported|undo)$/ } $self->live_rows($acct->{user});
			return undef if !$row || !$undo{$run};
			return { already => 1 } if $acct->{undone}{ $row->{tag} };
			return { skipped => 1 } if $run ne 'grant' && $acct->{lives} != $row->{lives};
			my $done = $undo{$run}->($self, $acct, $op, $at, $row);
			$acct->{undone}{ $row->{tag} } = 1 if $done->{accounts};
			return $done;
		});
	delete $answer->{report}{skipped} if !$run;
	$answer->{undone} = $run // 'boundary';
	return $answer;
}

# As long as its period goes on: the leftover that the boundary let expire instead of
# what it granted, or the allowance of the version in force now.  Where something else has
# changed what the period grants, only a new allowance can be said.
sub undo_boundary
{
	my ($self, $acct, $op, $at) = @_;
	my $reset = $acct->{reset};

	return undef if !$reset || ($acct->{plan} // '') ne $op->{plan};
	return undef if $reset->{at} != $op->{boundary} || $acct->{period} != $reset->{period};
	return { already => 1 } if $reset->{undone};
	return { skipped => 1 } if $acct->{lives} != $reset->{lives} || $reset->{status} eq 'closed';
	my $version = $op->{regrant} ? $self->version_at($acct->{plan}, $at) : undef;
	my $may =
	    $op->{regrant}
	  ? $version && !CreditsModelPlans::has_another_length($acct, $version)
	  : is_as_left($acct, $reset) && $acct->{period_granted} == $reset->{amount};
	return { skipped => 1 } if !$may;
	return { already => 1 }
	  if $version && $version->{version} == $acct->{version} && allowance($acct, $version) == $acct->{period_granted};

	$reset->{undone} = 1;
	return undo_row(
		$self, $acct, $op, $at,
		sub {
			my $grants = $version ? allowance($acct, $version) : unused_at_boundary($acct);
			my $ref = 'reset at ' . iso($reset->{at});

			if ($version)
			{
				set_version($acct, $acct->{plan}, $version);
				$acct->{cycle} = $version->{cycle};
			}
			else
			{
				$acct->{last_undone} = 1;
				nothing_expired($acct);
			}
			return (
				amount => CreditsModelPlans::grants_exactly($acct, $grants),
				ref => $ref,
				restored => $version ? undef : $grants);
		});
}

# What expired at the ends of holds of the period before is there again, so a late capture
# has to take it like everything else.
sub nothing_expired
{
	my ($acct) = @_;

	for my $hold (grep { $_->{state} eq 'expired' } values %{ $acct->{holds} })
	{
		my @monthly = grep { $_->{bucket} eq 'monthly' && $_->{period} == $acct->{period} - 1 } @{ $hold->{lost} };

		$hold->{given_back} += total(@monthly);
		$hold->{lost} = [ grep { my $lot = $_; !grep { $_ == $lot } @monthly } @{ $hold->{lost} } ];
	}
	return;
}

# Plan and version are those that a row left.
sub is_as_left
{
	my ($acct, $row) = @_;

	return ($acct->{plan} // '') eq ($row->{plan} // '') && ($acct->{version} // 0) == ($row->{version} // 0);
}

# Until it ends.  What is spent or held stays so; nothing returns to it.
sub undo_grant
{
	my ($self, $acct, $op, $at, $row) = @_;
	my $grant = $acct->{grants}{ $row->{tag} };

	return { skipped => 1 } if $grant->{ended};
	my @left = grep { $_->{grant} == $grant->{tag} } free($acct, 'granted');
	my $taken = total(@left);
	my $done = undo_row(
		$self, $acct, $op, $at,
		sub {
			take($acct, $taken, @left);
			$grant->{ended} = 1;
			return (amount => -$taken, ref => $row->{tag}, alloc => [ [ $row->{tag}, $taken ] ]);
		});
	return { %$done, not_taken => $row->{amount} - $taken };
}

# In the same period, and if nothing else has changed what it grants; the version stays.
sub undo_plan
{
	my ($self, $acct, $op, $at, $row) = @_;

	return { skipped => 1 }
	  if $acct->{period} != $row->{period}
	  || !is_as_left($acct, $row)
	  || $acct->{period_granted} != $row->{period_granted};
	return undo_row(
		$self, $acct, $op, $at,
		sub {
			my $grants = $acct->{period_granted} - $row->{amount};

			return (amount => CreditsModelPlans::grants_exactly($acct, $grants), ref => $row->{tag});
		});
}

# The row, and what could not be taken, which is remembered or owed.
sub undo_row
{
	my ($self, $acct, $op, $at, $change) = @_;
	my $owed = $acct->{owed}{monthly} + $acct->{owed}{purchased};
	my %done = run_row($self, $acct, $op, 'undo', $at, $change);

	return { %done, not_taken => max(0, $acct->{owed}{monthly} + $acct->{owed}{purchased} - $owed) };
}

1;
