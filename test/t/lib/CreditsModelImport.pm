# Accounts that come from another application's tables, for the reference model.
package CreditsModelImport;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
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
			begin($self, $acct, $from, $at);
			my $before = total(free($acct));
			local $self->{importing} = 1;
			local $acct->{new_rows} = [];
			$self->apply_due($acct, $at);
			$due = total(free($acct)) - $before;
			$acct->{reset} = undef;
			return (amount => total(free($acct)), $is_keyed ? () : (key => ''));
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
	return { %done, %counts, history_rows => $rows };
}

sub check
{
	my ($self, $from, $at) = @_;

	refuse('22023') if ($from->{monthly} // 0) < 0 || ($from->{purchased} // 0) < 0;
	refuse('22023') if ($from->{last_reset} // 0) > $at;
	refuse('22023') if defined $from->{zone} && !grep { $_ eq $from->{zone} } zones();
	return;
}

# Credits, debts or a period, which an import would not go with.
sub has_its_own
{
	my ($self, $acct) = @_;

	return
		 @{ $acct->{lots} }
	  || $acct->{owed}{monthly}
	  || $acct->{owed}{purchased}
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
	@$acct{qw(zone anchor period_start)} = ($zone, $from->{anchor} // utc_to_local($zone, $begun), $begun);
	CreditsModelPlans::set_version($acct, $from->{plan}, $version);
	$acct->{cycle} = $version ? CreditsModelPlans::own($acct, $version->{cycle}) : undef;
	$acct->{period_end} = $version ? next_boundary(@{ $acct->{cycle} }, $begun) : undef;
	$acct->{period_granted} = $version ? $version->{credits} : 0;
	credit($acct, 'monthly', $from->{monthly}, period => $begun) if $from->{monthly};
	credit($acct, 'purchased', $from->{purchased}) if $from->{purchased};
	check_cap($acct);
	return;
}

# What is left of it, and the plan.
sub undo_import
{
	my ($self, $acct, $op, $at, $row) = @_;
	my $before = total(free($acct));

	delete $acct->{import};
	$acct->{undone}{ $row->{tag} } = 1;
	my $done = CreditsModelRuns::undo_row(
		$self, $acct, $op, $at,
		sub {
			my $monthly = total(take($acct, total(free($acct, 'monthly')), free($acct, 'monthly')));
			my $purchased = total(take($acct, $row->{purchased_delta}, free($acct, 'purchased')));

			$acct->{period_granted} = 0;
			@$acct{qw(plan version scheduled cycle period_end)} = ();
			return (amount => -$monthly - $purchased, ref => CreditsModelRuns::name_of($row));
		});
	return { %$done, not_taken => max(0, $row->{amount} - $before + total(free($acct))) };
}

1;
