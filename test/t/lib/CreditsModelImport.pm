# Accounts that come from another application's tables, for the reference model.
package CreditsModelImport;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelPeriods;
use CreditsModelRuns;
use CreditsModelTime;
use List::Util qw(max min);
use Storable qw(dclone);

sub import_accounts
{
	my ($self, $op) = @_;
	my %source;

	for my $row (@{ $op->{source} })
	{
		refuse('22023') if $source{ $row->{user} };
		$source{ $row->{user} } = $row;
	}
	my $answer = CreditsModelRuns::run(
		$self, $op,
		'import',
		[ keys %source ],
		sub {
			my ($user) = @_;

			return import_one($self, $op, $user, $source{$user});
		});
	$answer->{report}{difference} = 0;
	return $answer;
}

# A user is imported once, as the source says it; another time if that was undone, or
# with refresh if nothing has happened since.
sub import_one
{
	my ($self, $op, $user, $from) = @_;
	my $old = $self->{accounts}{$user};
	my $acct = $old ? dclone($old) : $self->new_account($user);
	my $at = max($self->{clock}, $acct->{at});
	my %default = (monthly => 0, purchased => 0);
	my $digest = join '|', map { $from->{$_} // $default{$_} // 'NULL' } qw(plan monthly purchased last_reset anchor zone);

	check($self, $from, $at);
	$self->apply_due($acct, $at);
	if (my $import = $acct->{import})
	{
		return { already => 1, %{ $import->{counts} } } if $import->{digest} eq $digest;
		return { skipped => 1 } if !$op->{refresh} || was_used($self, $acct, $import);
		undo_import($self, $acct, $op, $at, $import->{row});
		$acct->{new_rows}[-1]{tag} = undef;
	}
	return { skipped => 1 } if $old && has_its_own($self, $acct);
	my $is_used = grep { $_->{kind} !~ /^(imported|import|undo|reset)$/ } @{ $self->{rows}{$user} // [] };
	my $rows = $is_used ? 0 : write_old_rows($acct, $op, $old ? $acct->{at} : 0);
	my $is_keyed = grep { ($_->{key} // 'none') eq '' } @{ $self->{rows}{$user} // [] };
	my $due = 0;
	my %done = CreditsModelRuns::run_row(
		$self, $acct, $op, 'import', $at,
		sub {
			my %owed = %{ $acct->{owed} };
			my %charged = %{ $acct->{charged} };
			my @here = @$acct{qw(period last_left last_limit last_undone last_charged last_closings last_closed level)};

			$acct->{owed} = { monthly => 0, purchased => 0 };
			begin($self, $acct, $from, $at);
			my $before = total(free($acct));
			local $self->{importing} = 1;
			local $acct->{new_rows} = [];
			$self->apply_due($acct, $at);
			$due = total(free($acct)) - $before;
			$acct->{reset} = undef;

			# Its periods there have no numbers here, and say nothing of the last one here.  The
			# running one counts as a full one, fully granted.
			my $version = $self->held_version($acct);
			@$acct{qw(share period_granted)} = (FULL, $version ? $version->{credits} : 0);
			@$acct{qw(period last_left last_limit last_undone last_charged last_closings last_closed level)} = @here;
			$acct->{charged} = \%charged;
			$_->{period} = $acct->{period} for free($acct, 'monthly');
			my %brought = map { $_ => total(free($acct, $_)) } qw(monthly purchased);
			my $paid = pay_debts($acct, %owed);
			return (
				amount => $brought{monthly} + $brought{purchased},
				brought => \%brought,
				alloc => $paid ? brought_alloc(%brought) : [],
				$is_keyed ? () : (key => ''));
		});
	my $amount = $acct->{new_rows}[-1]{amount};
	my %counts = (source_credits => $amount - $due, due_credits => $due, target_credits => $amount);
	$acct->{import} = { digest => $digest, row => $acct->{new_rows}[-1], counts => \%counts };
	if (!$is_keyed)
	{
		# So it is open, with the facts of this.
		$acct->{opened} = { map { $_ => $acct->{new_rows}[-1]{$_} } qw(plan zone anchor) };
		$acct->{open_receipt} = receipt($acct->{new_rows}[-1]);
	}
	$self->keep($acct);
	return { %done, credits_granted => $amount, %counts, history_rows => $rows };
}

sub brought_alloc
{
	my (%brought) = @_;

	return [ grep { $_->[1] } [ 0, $brought{monthly} ], [ PURCHASED, $brought{purchased} ] ];
}

# What was owed before an import is paid from all that it brings.  Gives how much is.
sub pay_debts
{
	my ($acct, %owed) = @_;
	my $sum = 0;

	for my $bucket (keys %owed)
	{
		my $paid = total(take($acct, $owed{$bucket}, free($acct, $bucket)));

		$acct->{owed}{$bucket} = $owed{$bucket} - $paid;
		$sum += $paid;
	}
	return $sum;
}

sub check
{
	my ($self, $from, $at) = @_;

	refuse('22023') if ($from->{monthly} // 0) < 0 || ($from->{purchased} // 0) < 0;
	refuse('22023') if ($from->{last_reset} // 0) > $at;
	refuse('22023') if defined $from->{zone} && !grep { $_ eq $from->{zone} } zones();
	return;
}

# Credits or a period, which an import would not go with.  Debts it pays first.
sub has_its_own
{
	my ($self, $acct) = @_;

	return
		 @{ $acct->{lots} }
	  || defined $acct->{period_end}
	  || $acct->{status} eq 'closed'
	  || $self->{archived}{ $acct->{user} };
}

sub was_used
{
	my ($self, $acct, $import) = @_;
	my $since = 0;

	for my $row (@{ $self->{rows}{ $acct->{user} } })
	{
		return 1 if $since && $row->{kind} ne 'reset';
		$since = 1 if $row->{kind} eq 'import' && $row->{tag} == $import->{row}{tag};
	}
	return 0;
}

# Rows of the other system's history, later than those that are here; they count where
# they stand.
sub write_old_rows
{
	my ($acct, $op, $from) = @_;
	my $user = $acct->{user};
	my @rows = sort { $a->{at} <=> $b->{at} || $a->{id} <=> $b->{id} } grep { $_->{user} eq $user } @{ $op->{history} // [] };
	my $count = 0;

	for my $row (@rows)
	{
		next if $row->{at} <= ($acct->{newest_old} // 0);
		push @{ $acct->{new_rows} },
		  {
			kind => 'imported',
			user => $user,
			amount => $row->{amount},
			effective_at => max($row->{at}, $from),
			run => $op->{tag} };
		$count++;
	}
	$acct->{newest_old} = $rows[-1]{at} if $count;
	return $count;
}

# As it was there when its period began.
sub begin
{
	my ($self, $acct, $from, $at) = @_;
	my $zone = $from->{zone} // 'UTC';
	my $begun = $from->{last_reset} // $at;
	my $version = $self->version_at($from->{plan}, $begun) // $self->version_at($from->{plan}, $at);

	refuse('UC009') if defined $from->{plan} && !$version;
	@$acct{qw(zone anchor period_start share)} = ($zone, $from->{anchor} // utc_to_local($zone, $begun), $begun, FULL);
	set_version($acct, $from->{plan}, $version);
	my @cycle = $version ? ($version->{cycle}, @$acct{qw(anchor zone)}) : ();
	@$acct{qw(cycle end_of period_end)} = $version ? ($cycle[0], \@cycle, next_boundary(@cycle, $begun)) : ();
	$acct->{period_granted} = $version ? $version->{credits} : 0;
	credit($acct, 'monthly', $from->{monthly}, period => $acct->{period}) if $from->{monthly};
	$acct->{carried_in} += $from->{monthly} // 0;
	credit($acct, 'purchased', $from->{purchased}) if $from->{purchased};
	check_cap($acct);
	return;
}

# What monthly adjustments gave since the import, in periods before this one.
sub adjusted_before
{
	my ($self, $acct, $import) = @_;
	my ($since, $sum) = (0, 0);

	for my $row (@{ $self->{rows}{ $acct->{user} } })
	{
		$sum += $row->{amount}
		  if $since && $row->{kind} eq 'adjust' && $row->{bucket} eq 'monthly' && $row->{amount} > 0 && $row->{period} < $acct->{period};
		$since = 1 if $row->{kind} eq 'import' && $row->{tag} == $import->{tag};
	}
	return $sum;
}

# In a later period, what rolled over goes as well, but for what adjustments brought.  Of what
# comes back late, only that rolls over from then on.
sub rolled_over
{
	my ($self, $acct, $import) = @_;
	my ($left, $limit, $undone) = @$acct{qw(last_left last_limit last_undone)};
	my $stays = adjusted_before($self, $acct, $import);

	$stays = min($stays, $limit) if !$undone;
	$acct->{last_limit} = $stays;
	return max(0, min($left, $limit)) - max(0, min($left, $stays));
}

# What it brought, and the plan.  What the period grants now is the import's as well.
sub undo_import
{
	my ($self, $acct, $op, $at, $row) = @_;

	delete $acct->{import};
	$acct->{undone}{ $row->{tag} } = 1;
	return CreditsModelRuns::undo_row(
		$self, $acct, $op, $at,
		sub {
			my $here =
			    $acct->{period} == $row->{period}
			  ? $row->{brought}{monthly} - $row->{period_granted}
			  : rolled_over($self, $acct, $row);
			my $monthly = $here + $acct->{period_granted};
			my $purchased = $row->{brought}{purchased};
			my $taken = total(take($acct, $purchased, free($acct, 'purchased')));

			$acct->{owed}{purchased} += $purchased - $taken;
			spent_or_owed($acct, $monthly);
			@$acct{qw(period_granted period_start last_undone share)} = (0, $at, 0, FULL);
			$acct->{lives}++;
			@$acct{qw(plan version scheduled cycle end_of period_end)} = ();
			$acct->{plan_threshold} = 0;
			return (amount => -$monthly - $purchased, ref => CreditsModelRuns::name_of($row));
		});
}

1;
