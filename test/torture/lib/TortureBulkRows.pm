# What is true of the rows that calls for many accounts write, of their runs, and of
# what archiving and erasing leave, from docs/reference.md as far as it can be seen
# from outside.  TortureCheck is one.
package TortureBulkRows;

use strict;
use warnings FATAL => 'all';

use List::Util qw(max min sum0);
use Time::Local qw(timegm);
use TortureBulk qw(source_of old_amount old_count);
use TortureRules qw(allowance);
use TortureRows qw(%event instant time_of);

# The run's kind that each kind of row is of.
my %run_of = (
	grant => 'grant', set_plan => 'apply_plan', schedule_plan => 'apply_plan', undo => 'undo', import => 'import', imported => 'import',
	archive => 'archive');
my %run_kind_of = (grant_many => 'grant', apply_plan => 'apply_plan', undo_run => 'undo', import => 'import', archive => 'archive');

# The row that counts an account for a run of each kind.
my %counted = (grant => 'grant', apply_plan => 'set_plan', undo => 'undo', import => 'import', archive => 'archive');

my %bulk_explained = map { ($_ => 1) } qw(00000 22003 22023 40001 40P01 53100 53200 55P03 57014);
my %failure_explained = map { ($_ => 1) } qw(22003 22023 40001 40P01 55P03 UC002 UC003 UC004);

# --- The journals.

sub bulk_line
{
	my ($self, $what, $id, @column) = @_;

	if ($what eq 'B')
	{
		my %op = (id => $id, end => 9e99);

		@op{qw(tx start call key args)} = @column;
		$op{arg} = { map { split /=/, $_, 2 } split /;/, $op{args} };
		$self->{bulk}{$id} = \%op;
	}
	else
	{
		@{ $self->{bulk}{$id} }{qw(end state text)} = @column;
	}
	return;
}

# fate: yes, all of it is there; some, it ended early, perhaps, and whole batches are;
# maybe, all or nothing; no.
sub judge_bulk
{
	my ($self) = @_;

	for my $op (values %{ $self->{bulk} })
	{
		my $tx = $op->{tx} eq '-' ? undef : $self->{tx}{ $op->{tx} } // {};
		my $outcome = !$tx ? 'commit' : $tx->{outcome} // ($tx->{sent} ? 'unknown' : 'rollback');
		my $good = ($op->{state} // '') eq '00000';

		$self->{stats}{'bulk calls'}++;
		$self->bad("$op->{id} $op->{call}: $op->{state}, which nothing explains: $op->{text}")
		  if $op->{state} && !$bulk_explained{ $op->{state} } && !($op->{call} eq 'undo_run' && $op->{state} eq 'UC009');
		$op->{fate} = $outcome eq 'rollback' ? 'no' : $tx ? ($outcome eq 'unknown' ? 'maybe' : $good ? 'yes' : 'no') : $good ? 'yes' : 'some';
		$op->{seen_from} = $op->{fate} ne 'yes' ? 9e99 : $tx ? $tx->{end} : $op->{end};
		$op->{report} = TortureCheck::flat($op->{text}) if $good;
		$self->versions($op) if $op->{call} eq 'source';
		next if !$good || !$run_kind_of{ $op->{call} };
		my $id = $op->{report}{run_id} // '';
		$op->{run} = $id;
		my $run = $self->{runs}{$id};

		if ($op->{fate} eq 'yes')
		{
			$self->bad("$op->{id} $op->{call}: its run $id is not there") if !$run;
			$run->{op} = $op if $run;
		}
		$self->bad("$op->{id} $op->{call}: of it, which was rolled back, the run $id is there") if $run && $op->{fate} eq 'no';
	}
	return;
}

# The versions that the source of imports may have had of a user.
sub versions
{
	my ($self, $op) = @_;
	my $n = $op->{arg}{n};

	$self->{versions}{$n}++ if $op->{fate} ne 'no';
	return;
}

sub read_runs
{
	my ($self) = @_;

	$self->read_table('run', sub {
		my ($run) = @_;
		my %failed = map { split / / } split /,/, $run->{failed} // '';

		$self->{runs}{ $run->{run_id} } = { %$run, failed => \%failed, done => {}, rows => 0, sum => 0 };
		for my $user (sort keys %failed)
		{
			$self->bad("the run $run->{run_id}: $user failed with $failed{$user}, which nothing explains") if !$failure_explained{ $failed{$user} };
		}
	});
	$self->read_table('plan', sub { push @{ $self->{plans}{ $_[0]{plan} } }, $_[0] });
	$self->read_table('leaf', sub { $self->{leaf}{ $_[0]{user_id} } = $_[0]{seq} });
	return;
}

# --- Rows.

# A row of a run: the call that it is of, if that is known, and undef otherwise.
# False at the second place if it is none.
sub of_run
{
	my ($self, $where, $row, $state) = @_;
	my $kind = $row->{kind};
	my $run = $self->{runs}{ $row->{run_id} // '' };
	my $op;

	if (!defined $row->{run_id})
	{
		return (undef, 0) if $kind !~ /^(?:undo|import|imported|archive)$/;
		$self->bad("$where: a row of kind $kind without a run");
		return (undef, 1);
	}
	if (!$run)
	{
		$self->bad("$where: its run $row->{run_id} is not there");
		return (undef, 1);
	}
	$run->{any}{ $row->{user_id} } = 1;
	return (undef, 0) if $event{$kind};
	my $expected = $kind eq 'undo' && $run->{kind} eq 'import' ? 'import' : $run_of{$kind} // 'none';
	$self->bad("$where: a $kind by a run of kind $run->{kind}") if $run->{kind} ne $expected;
	$op = $self->run_op($where, $row, $run);
	$run->{done}{ $row->{user_id} } = $row if $kind eq $counted{ $run->{kind} };
	$run->{sum} += $row->{amount} if $kind eq 'grant' || $kind eq 'import';
	my $check = $self->can("row_$kind");
	$check->($self, $where, $row, $state, $run, $op) if $check;
	$self->bad("$where: $op->{id} was rolled back, and is in the history") if $op && $op->{fate} eq 'no';
	return ($op, 1);
}

# The call that a run is of: by its report, or by the reason that its rows have.
sub run_op
{
	my ($self, $where, $row, $run) = @_;
	my $op = $run->{op};

	if (defined $row->{reason} && $row->{kind} ne 'imported')
	{
		my $said = $self->{bulk}{ $row->{reason} };

		return $self->bad("$where: a $row->{kind} of $row->{reason}, which no client sent") if !$said;
		$self->bad("$where: of $said->{id}, and its run is of $op->{id}") if $op && $op != $said;
		$self->bad("$where: $said->{id} has another run, too") if ($said->{run} //= $row->{run_id}) ne $row->{run_id};
		$self->bad("$where: a $row->{kind} by $said->{call}") if ($run_kind_of{ $said->{call} } // '') ne $run->{kind};
		$op = $run->{op} = $said;
	}
	return $op;
}

sub row_grant
{
	my ($self, $where, $row, $state, $run, $op) = @_;

	$self->bad("$where: the run $row->{run_id} grants a second time") if $run->{once}{ $row->{user_id} }++;
	$state->{targets}{ $row->{seq} } = $row;
	return if !$op;
	my $asked = sum0(map { (split /:/)[1] } grep { (split /:/)[0] eq $row->{user_id} } split / /, $op->{arg}{users});
	$self->bad("$where: $op->{id} asked for $asked, this is $row->{amount}") if $asked != $row->{amount};
	$self->bad("$where: $op->{id} asked for another key") if ($row->{idempotency_key} // '') ne $op->{key};
	$self->bad("$where: $op->{id} asked for another end") if time_of($row->{ends_at}) ne time_of($op->{arg}{ends});
	return;
}

sub plan_version
{
	my ($self, $plan, $version) = @_;

	return (grep { $_->{version} == $version } @{ $self->{plans}{ $plan // '' } })[0];
}

# The version in force at the row's time; what it adds or takes is the difference to
# what was granted in the period.
sub row_set_plan
{
	my ($self, $where, $row, $state, $run, $op) = @_;
	my $before = $state->{facts};
	my $version = $self->plan_version($row->{plan}, $row->{plan_version} // 0);
	my $at = instant($row->{effective_at});

	$self->bad("$where: the run $row->{run_id} applies a second time") if $run->{once}{ $row->{user_id} }++;
	$state->{targets}{ $row->{seq} } = $row;
	return $self->bad("$where: applies a plan that there is not") if !$version;
	$self->bad("$where: the account had another plan, or this version already")
	  if ($before->{plan} // '') ne $row->{plan} || ($before->{plan_version} // 0) >= $row->{plan_version};
	$self->bad("$where: another version was in force")
	  if instant($version->{effective_from}) gt $at
	  || (!$self->{jumping}
		&& grep { $_->{version} > $version->{version} && instant($_->{effective_from}) lt $before->{at} } @{ $self->{plans}{ $row->{plan} } });
	my $expected = allowance($version, $state->{share}) - $before->{period_granted};
	$self->bad("$where: applying it changes the account by $row->{amount}, not $expected") if $row->{amount} != $expected;
	$self->bad("$where: $op->{id} is about $op->{arg}{plan}") if $op && $op->{arg}{plan} ne $row->{plan};
	return;
}

# A change that is scheduled stays so.
sub row_schedule_plan
{
	my ($self, $where, $row, $state) = @_;

	$self->bad("$where: a run schedules a plan change anew")
	  if ($state->{rows}[-1]{kind} // '') ne 'set_plan' || !defined $row->{scheduled_plan};
	return;
}

sub row_undo
{
	my ($self, $where, $row, $state, $run, $op) = @_;
	my $target = $state->{targets}{ $row->{ref_seq} // 0 } or return $self->bad("$where: an undo of what cannot be undone");
	my $kind = $target->{kind};
	my $regrant = $op ? $op->{arg}{regrant} : undef;

	$self->bad("$where: $row->{ref_seq} is undone a second time") if $target->{undone};
	$target->{undone} = $row->{seq};
	$self->bad("$where: undoes another period's $kind") if $kind =~ /^(?:reset|set_plan)$/ && $target->{period} != $row->{period};
	$self->bad("$where: more goes than came") if $kind eq 'grant' && ($row->{amount} > 0 || -$row->{amount} > $target->{amount});
	$self->bad("$where: takes more back than was applied") if $kind eq 'set_plan' && $row->{amount} != -$target->{amount};
	$self->bad("$where: grants anew, and $op->{id} did not ask for that")
	  if $kind eq 'reset' && defined $regrant && ($regrant eq '') != (($row->{last_undone} // '') eq 't');
	if ($kind eq 'import')
	{
		$state->{imported} = 0;
		$self->bad("$where: of the import, a plan is left") if defined $row->{plan} || defined $row->{cycle} || defined $row->{next_reset_at};
	}
	my $touches = { grant => 'granted', reset => 'monthly', set_plan => 'monthly' }->{$kind} // '';
	$self->bad("$where: undoing a $kind changes another bucket")
	  if $touches && grep { $_ ne $touches && $row->{"${_}_delta"} != 0 } qw(monthly granted purchased);
	return if !$op;
	if (defined $op->{arg}{run} && $op->{call} eq 'undo_run')
	{
		my $its = $target->{run_id} // '';

		$self->bad("$where: $op->{id} undoes the run $op->{arg}{run}, this was of $its") if $its ne $op->{arg}{run};
		$self->bad("$where: undoes what the run only met")
		  if $its && ($run_of{$kind} // 'reset') ne $self->{runs}{$its}{kind};
	}
	return;
}

sub row_import
{
	my ($self, $where, $row, $state, $run, $op) = @_;
	my ($n) = $row->{user_id} =~ /^import_(\d+)$/ or return $self->bad("$where: nobody said to import that user");
	my $before = $state->{facts};
	my $due = $n % 4 == 0;

	$self->bad("$where: imported a second time") if $state->{imported};
	$state->{imported} = $row->{seq};
	$state->{targets}{ $row->{seq} } = $row;
	$self->bad("$where: imported into an account in use")
	  if grep { $before->{$_} } qw(monthly granted purchased held_monthly held_granted held_purchased);
	my ($its_monthly, $its_purchased) = map { TortureRules::brought($row, $_) } qw(monthly purchased);
	$self->bad("$where: the source never said so: " . ($row->{plan} // 'no plan') . " $its_monthly $its_purchased")
	  if !grep {
		my ($plan, $monthly, $purchased) = source_of($n, $_);

		$purchased == $its_purchased && ($plan // '') eq ($row->{plan} // '') && ($monthly == $its_monthly || ($due && $plan));
	  } 0 .. ($self->{versions}{$n} // 0);
	$self->bad("$where: $op->{id} is about others") if $op && !grep { $n % 3 == $_ } split /,/, $op->{arg}{thirds};
	return;
}

# Rows of the other system's history, each once, in their order.  Where the reason is
# erased, so is which one it is.
sub row_imported
{
	my ($self, $where, $row, $state) = @_;
	my ($n) = $row->{user_id} =~ /^import_(\d+)$/ or return $self->bad("$where: nobody said to import that user");

	$state->{old}++;
	my $id = !defined $row->{reason} && $row->{erased} eq 't' ? $state->{old} : ($row->{reason} // '') =~ /^old $n (\d+)$/ ? $1 : 0;
	$self->bad("$where: the old row " . ($row->{reason} // '') . ", after $state->{old}") if $id != $state->{old};
	$self->bad("$where: the old row $id is of " . old_amount($n, $id)) if $row->{amount} != old_amount($n, $id);
	$self->bad("$where: more old rows than there were") if $state->{old} > old_count($n, $self->{versions}{$n} // 0);
	return;
}

sub row_archive
{
	my ($self, $where, $row, $state, $run) = @_;
	my $upto = $row->{ref_seq};

	$self->bad("$where: archives up to $upto after $state->{archived}") if $upto <= $state->{archived} || $upto >= $row->{seq};
	$self->bad("$where: archives up to $upto, which no anchor has") if $upto > ($self->{leaf}{ $row->{user_id} } // 0);
	$run->{rows} += $upto - $state->{archived};
	$self->bad("$where: archives a key that is kept longer")
	  if grep { defined $_->{key} && $_->{key} ne '' && !$self->is_old($_->{created_at}, $row->{created_at}) }
	  @{ $state->{rows} }[ $state->{archived} .. $upto - 1 ];
	$state->{archived} = $upto;
	return;
}

sub seconds
{
	my ($time) = @_;
	my ($y, $m, $d, $h, $min, $s) = $time =~ /^(\d+)-(\d+)-(\d+)[ T](\d+):(\d+):(\d+)/ or die "no time: $time";

	return timegm($s, $min, $h, $d, $m - 1, $y);
}

# Was a key that old when archiving began?  A clock that jumps also goes back.
sub is_old
{
	my ($self, $key, $archived) = @_;
	my ($days) = $self->{retention} =~ /^(\d+)/;

	return 1 if !$days;
	return seconds($archived) - seconds($key) >= $days * 86400 - ($self->{jumping} ? 86400 : 60);
}

# --- Accounts.

# A user's whole history has been read.
sub finish_bulk
{
	my ($self, $state) = @_;
	my $user = $state->{user};

	for my $row (@{ $state->{rows} })
	{
		my $archived = $row->{seq} <= $state->{archived};

		$self->bad("$user $row->{seq}: " . ($archived ? 'was archived, and is not in the archive' : 'is in the archive, and was not archived'))
		  if ($row->{archived} eq 't') != $archived;
		$self->{stats}{archived}++ if $archived;
	}
	$self->erased($state);
	$self->{state_of}{$user} = $state;
	return;
}

# Texts are gone if the user was erased after they were written, and only then.
sub erased
{
	my ($self, $state) = @_;
	my $user = $state->{user};
	my @erases = grep { $_->{fate} ne 'no' } @{ $self->{erases}{$user} // [] };
	my @certain = grep { $_->{fate} eq 'yes' } @erases;
	my $erased = 0;

	for my $row (@{ $state->{rows} })
	{
		if ($row->{erased} eq 't')
		{
			$erased++;
			$self->{stats}{erased}++;
			$self->bad("$user $row->{seq}: was erased, and has texts or a salt") if $row->{texts} ne '0' && $row->{texts} ne 'f';
			$self->bad("$user $row->{seq}: was erased, and nobody had asked for that") if !grep { $_->{end} > $row->{start} } @erases;
		}
		elsif ($row->{texts} eq 't')
		{
			my ($should) = grep { $_->{start} > $row->{seen_from} } @certain;

			$self->bad("$user $row->{seq}: $should->{id} erased the user later, and it has texts") if $should;
		}
	}
	my $said = sum0(map { $_->{receipt}{rows} // 0 } @certain);
	my $audited = delete $self->{erasures}{$user} // 0;
	$self->bad("$user: $erased rows are erased, the receipts say $said") if @certain == @erases && $said != $erased;
	$self->bad("$user: $erased rows are erased, the audit log says $audited") if $audited != $erased;
	return;
}

# --- Runs.

sub finish_runs
{
	my ($self) = @_;

	for my $id (sort keys %{ $self->{runs} })
	{
		my $run = $self->{runs}{$id};
		my $done = scalar keys %{ $run->{done} };
		my $where = "the run $id, $run->{kind}";

		$self->{stats}{runs}++;
		$self->bad("$where: is running, and nobody runs it") if $run->{state} eq 'running';
		$self->bad("$where: failures are $run->{failures}, listed " . keys %{ $run->{failed} })
		  if $run->{failures} < 100 && $run->{failures} != keys %{ $run->{failed} };
		if ($run->{kind} eq 'reset')
		{
			$self->bad("$where: has rows of " . keys(%{ $run->{any} // {} }) . " accounts, and counts $run->{accounts}")
			  if keys %{ $run->{any} // {} } > $run->{accounts};
			next;
		}
		$self->bad("$where: has done $done accounts, and counts $run->{accounts}: not whole batches") if $done != $run->{accounts};
		$self->bad("$where: gave $run->{sum}, and counts $run->{granted}") if $run->{kind} =~ /^(?:grant|import)$/ && $run->{sum} != $run->{granted};
	}
	for my $op (sort { $a->{id} cmp $b->{id} } values %{ $self->{bulk} })
	{
		my $run = $self->{runs}{ $op->{run} // '' } or next;

		if ($op->{fate} eq 'yes')
		{
			my $report = $op->{report};

			for my $field (qw(accounts failures state))
			{
				$self->bad("$op->{id} $op->{call}: reports $field $report->{$field}, its run has $run->{$field}") if $report->{$field} ne $run->{$field};
			}
			$self->bad("$op->{id}: reports $report->{rows} rows, $run->{rows} were archived") if $op->{call} eq 'archive' && $report->{rows} != $run->{rows};
			$self->bad("$op->{id}: a difference of $report->{difference}") if $op->{call} eq 'import' && $report->{difference} != 0;
			$self->{stats}{'bulk reports'}++;
		}
		my $check = $self->can("finish_$op->{call}");
		$check->($self, $op, $run) if $check;
	}
	return;
}

# The users in their order, to the last batch of which anything is there: each was
# granted to by it, or before it under its key, or failed.
sub finish_grant_many
{
	my ($self, $op, $run) = @_;
	my %users = map { ((split /:/)[0] => 1) } split / /, $op->{arg}{users};
	my @users = sort keys %users;

	$self->bad("$op->{id}: grants to who was not named: $_") for grep { !$users{$_} } sort keys %{ $run->{done} };
	# What was busy it comes back to at its end, so of one that did not come there nobody knows.
	return if $op->{fate} ne 'yes' || $op->{report}{more} eq 'true';
	my %busy = map { $_ => 1 } $op->{text} =~ /"busy_users": \[(.*?)\]/ ? $1 =~ /"([^"]+)"/g : ();
	for my $user (@users)
	{
		next if $busy{$user} || $run->{done}{$user} || $run->{failed}{$user} || ($op->{key} ne '' && $self->{keys}{$user}{ $op->{key} });
		$self->bad("$op->{id}: left $user out");
	}
	return;
}

sub finish_import
{
	my ($self, $op, $run) = @_;

	return if $op->{fate} ne 'yes' || $op->{report}{more} eq 'true' || $op->{report}{busy};
	for my $n (0 .. TortureBulk::imports() - 1)
	{
		next if !grep { $n % 3 == $_ } split /,/, $op->{arg}{thirds};
		$self->bad("$op->{id}: left import_$n out") if !$self->{state_of}{"import_$n"} && !$run->{failed}{"import_$n"};
	}
	return;
}

# All that a run had done when its undoing began is taken back, unless it is too late
# for that.
sub finish_undo_run
{
	my ($self, $op, $run) = @_;
	my $undone = $self->{runs}{ $op->{arg}{run} // '' } or return;

	return if $op->{fate} ne 'yes' || $op->{report}{more} eq 'true' || $op->{report}{busy} || ($undone->{op} && $undone->{op}{seen_from} > $op->{start}) || !$undone->{op};
	for my $user (sort keys %{ $undone->{done} })
	{
		my ($row, $state) = ($undone->{done}{$user}, $self->{state_of}{$user});
		my $kind = $row->{kind};

		next if $row->{undone} || $run->{failed}{$user} || $row->{archived} eq 't' || $kind !~ /^(?:grant|set_plan|import)$/;
		next if $kind eq 'grant' && ($state->{closed} || instant($row->{ends_at}) le instant($state->{latest_row}{effective_at}));
		next if $kind eq 'set_plan' && ($row->{period} != $state->{latest_row}{period} || $state->{planned} > $row->{seq});
		next if $kind eq 'import' && $state->{closed_seq} > $row->{seq};
		$self->bad("$op->{id}: left the $kind $user $row->{seq} as it was");
	}
	return;
}

# What the grants have left is what the account has; of an undone one, nothing.
sub grants
{
	my ($self) = @_;
	my %left;

	$self->read_table('grant', sub {
		my ($grant) = @_;
		my $user = $grant->{user_id};
		my $row = ($self->{state_of}{$user} // {})->{targets}{ $grant->{seq} };

		$left{$user} += $grant->{remaining};
		$self->bad("$user $grant->{seq}: was undone, and has $grant->{remaining} left" . ($grant->{closed} eq 't' ? '' : ', open'))
		  if $row && $row->{undone} && ($grant->{remaining} != 0 || $grant->{closed} ne 't');
	});
	for my $user (sort keys %{ $self->{state_of} })
	{
		my $granted = $self->{state_of}{$user}{latest_row}{granted};

		$self->bad("$user: has $granted granted, its grants " . ($left{$user} // 0)) if $granted != ($left{$user} // 0);
	}
	return;
}

1;
