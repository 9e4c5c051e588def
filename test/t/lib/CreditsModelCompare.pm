# What the product answered to a world of the model test, compared with the model.
package CreditsModelCompare;

use strict;
use warnings FATAL => 'all';

use CreditsModel;
use CreditsModelCompareHistory;
use CreditsModelCompareLots;
use CreditsModelGen;
use CreditsModelLots;
use CreditsModelPeriods;
use CreditsModelSame;
use CreditsModelSeen;
use CreditsModelSql;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(max);
use Storable qw(dclone);

our @EXPORT = qw(compare_world);

# A flat JSON object; names lose the world's prefix, times become microseconds.
sub fields
{
	my ($text, $prefix) = @_;
	my %fields;

	while ($text =~ /"(\w+)": (?:"((?:[^"\\]|\\.)*)"|([^",}]+))/g)
	{
		my ($name, $string, $other) = ($1, $2, $3);

		$string =~ s/^\Q$prefix\E// if defined $string;
		$fields{$name} = defined $string ? $string : $other eq 'null' ? undef : $other;
		$fields{$name} = from_iso($string) if defined $string && $name =~ /_at$|_start$|_of$/;
	}
	return \%fields;
}

sub compare_world
{
	my ($world, $prefix, $out) = @_;
	my $model = CreditsModel->new(map { $_ => $world->{$_} } qw(default_plan retention refuse_recent chargeback_days));
	my @steps = split /^# (?=\d+$|end$)/m, $out;
	my $state = { prefix => $prefix, model => $model, seqs => {}, account => {} };

	shift @steps;
	for my $i (0 .. $#{ $world->{ops} })
	{
		my $op = $world->{ops}[$i];
		my $step = $steps[$i] // die "step $i was not run\n";
		my @lines = grep { $_ ne '' && !/^# / } split /\n/, $step;

		shift @lines;
		next if eval { compare_step($state, $op, play($model, $op), \@lines); 1 };
		die "step $i: " . ($op->{call} =~ /clock|sweep|txn|look/ ? $op->{call} : call_sql($op, $prefix)) . "\n  $@";
	}
	$model->sweep;
	my $end = $steps[-1] =~ /^end$/m ? $steps[-1] : die "the end was not run\n";
	my @rows = grep { /\|/ } split /\n/, $end;
	my ($bad) = grep { /^!/ } @rows;
	die "credits_verify_account: $bad\n" if $bad;
	compare_audit($state, map { /^\+\|(.*)/ ? $1 : () } @rows);
	my %archived = map { /^-\|\Q$prefix\E(.*)\|(\d+)/ ? ($1 => $2) : () } @rows;
	same('archived rows', { map { $_ => 0 } keys %archived }, {}) if grep { !$model->{archived}{$_} } keys %archived;
	same('archived rows', $model->{archived}, \%archived);
	compare_history($state, map { [ map { $_ eq '~' ? undef : $_ } split /\|/, $_, -1 ] } grep { !/^[*+-]\|/ } @rows);
	compare_lots($state, map { /^\*\|(.*)/ ? [ map { $_ eq '~' ? undef : $_ } split /\|/, $1, -1 ] : () } @rows);
	return;
}

# What is in the audit log, in its order.
sub compare_audit
{
	my ($state, @got) = @_;
	my @expected = @{ $state->{model}{audit} };

	for my $i (0 .. max($#got, $#expected))
	{
		my ($e, $g) = map { $_ // 'nothing more' } $expected[$i], $got[$i] && $got[$i] =~ s/ \Q$state->{prefix}\E/ /r;

		die "audit log, entry $i: model $e, product $g\n" if $e ne $g;
		$seen{"audited $1"}++ if $e =~ /^(\w+)/;
	}
	return;
}

sub compare_step
{
	my ($state, $op, $answer, $lines) = @_;
	my @written;

	if ($op->{call} eq 'txn')
	{
		my $saved = dclone([ @$state{qw(seqs account)} ]);

		for my $i (0 .. $#{ $op->{ops} })
		{
			push @written, compare_answer($state, $op->{ops}[$i], $answer->{answers}[$i], $lines);
		}
		@$state{qw(seqs account)} = $op->{commit} ? ($state->{seqs}, {}) : @$saved;
		@written = () unless $op->{commit};
	}
	else
	{
		@written = compare_answer($state, $op, $answer, $lines);
	}
	$state->{account} = {} if $op->{call} eq 'sweep' || $op->{swept};
	compare_look($state, $_, @written) for @$lines;
	return;
}

# Compare what a call answered, taking its lines off.  Gives the users whose
# accounts were written.
sub compare_answer
{
	my ($state, $op, $answer, $lines) = @_;
	my @before;

	return () if $op->{call} =~ /^(clock|look)$/;
	while (@$lines && $lines->[0] !~ /^= /)
	{
		push @before, shift @$lines;
	}
	my ($got) = (shift @$lines // '') =~ /^= (\S+)/ or die "there is no answer to $op->{call}\n";
	die "$op->{call}: model $answer->{state}, product $got" . ($before[0] ? " $before[0]" : '') . "\n"
	  if $got ne $answer->{state};
	$seen{"$op->{call} $got"}++;
	return () if $op->{call} eq 'sweep' || $op->{call} eq 'define_plan';
	if (my $report = $answer->{report})
	{
		same("report of $op->{call}", $report, fields($before[0], $state->{prefix}));
		compare_run($answer->{run}, $state, $lines) if $answer->{run};
		$seen{"$op->{call} $_"}++ for grep { $report->{$_} } qw(already skipped failures not_taken history_rows);
		$seen{"$op->{call} capped"}++ if ($report->{more} // '') eq 'true';
		$seen{"$op->{call} dry run"}++ if ($report->{dry_run} // '') eq 'true';
		$seen{"undo of $answer->{undone}"}++ if $answer->{undone} && $report->{accounts};
		delete @{ $state->{account} }{ @{ $answer->{written} // [] } };
		return @{ $answer->{written} // [] };
	}
	my @answers = $answer->{items} ? @{ $answer->{items} } : ($answer);
	my @written;

	for my $i (0 .. $#answers)
	{
		my $expected = $answers[$i];
		my $fields = defined $before[$i] ? fields($before[$i], $state->{prefix}) : undef;

		if (my $receipt = $expected->{receipt})
		{
			my %receipt = %$receipt;
			my ($tag, $ref) = delete @receipt{qw(tag ref)};
			my $replayed = $receipt{replayed} // '';

			delete $receipt{kind} if $receipt{archived};
			$receipt{ref_seq} = $state->{seqs}{ $receipt{user_id} }{$ref} if defined $ref;
			same("receipt of $op->{call}", \%receipt, $fields // die "no receipt\n");
			$seen{"$op->{call} replayed"}++ if $replayed eq 'true';
			$seen{"$op->{call} replayed from the archive"}++ if $receipt{archived};
			if (defined $tag)
			{
				my $known = $state->{seqs}{ $receipt{user_id} }{$tag};
				die "receipt's seq: was $known, is $fields->{seq}\n" if defined $known && $known != $fields->{seq};
				$state->{seqs}{ $receipt{user_id} }{$tag} = $fields->{seq};
			}
			next if $replayed ne 'false';
			push @written, $receipt{user_id};
			push @written, $op->{to} if $op->{call} eq 'transfer';
			delete @{ $state->{account} }{@written};
		}
		elsif ($fields)
		{
			my $detail = $expected->{refusal} // $expected->{detail} // {};
			my %detail = %$detail;

			$detail{ok} = 'false' if $expected->{refusal} || $answer->{items};
			$seen{'try_deduct refused'}++ if $expected->{refusal};
			same("refusal of $op->{call}", \%detail, $fields);
		}
		elsif ($expected->{refusal} || $answer->{items})
		{
			die "no refusal of $op->{call} was answered\n";
		}
	}
	return @written;
}

# The row of a run; none where the run was one transaction of several.
sub compare_run
{
	my ($expected, $state, $lines) = @_;

	return if !@$lines || $lines->[0] !~ /^r \S+ (.*)/;
	my $fields = fields($1, $state->{prefix});
	$fields->{failed} = ($fields->{failed} // '') =~ s/\Q$state->{prefix}\E//gr;
	same('row of the run', $expected, $fields);
	shift @$lines;
	return;
}

# A line of look(): an account row, or a balance.
sub compare_look
{
	my ($state, $line, @written) = @_;
	my ($what, $user, $text) = $line =~ /^([ab]) (\S+) (.*)/ or die "unexpected: $line\n";

	$user =~ s/^\Q$state->{prefix}\E//;
	if ($what eq 'b')
	{
		my $expected = $state->{model}->balance($user);

		die "balance of $user: model $expected->{state}, product $text\n"
		  if $text !~ /^\{/ ? $text ne $expected->{state} : $expected->{state} ne '00000';
		same("balance of $user", $expected->{receipt}, fields($text, $state->{prefix})) if $expected->{receipt};
	}
	elsif (grep { $_ eq $user } @written)
	{
		my $acct = $state->{model}{accounts}{$user};
		my $fields = fields($text, $state->{prefix});

		same("account row of $user", account_row($acct, $state->{seqs}{$user}), $fields);
		check_next_event($acct, $fields->{next_event_at});
		$state->{account}{$user} = $text;
	}
	else
	{
		# Nothing was done to it, so nothing may have changed.
		my $before = $state->{account}{$user};
		die "account row of $user: was $before, is $text\n" if defined $before && $before ne $text;
		$state->{account}{$user} = $text;
	}
	return;
}

sub account_row
{
	my ($acct, $seqs) = @_;

	return {
		end_of($acct),
		defined $acct->{closed} && defined $seqs->{ $acct->{closed} } ? (closed_seq => $seqs->{ $acct->{closed} }) : (),
		defined $acct->{last_closed} && defined $seqs->{ $acct->{last_closed} } ? (last_closed_seq => $seqs->{ $acct->{last_closed} }) : (),
		(map { ($_ => total(free($acct, $_)), "held_$_" => total(held($acct, $_))) } buckets()),
		owed_monthly => $acct->{owed}{monthly},
		owed_purchased => $acct->{owed}{purchased},
		overdraft_limit => $acct->{overdraft},
		period_granted => $acct->{period_granted},
		period_start => $acct->{period_start},
		period => $acct->{period},
		period_share => $acct->{share},
		cycle => $acct->{cycle},
		last_left => $acct->{last_left},
		last_limit => $acct->{last_limit},
		last_undone => $acct->{last_undone} ? 'true' : 'false',
		forfeited => $acct->{forfeited} || undef,
		low_threshold => $acct->{threshold},
		plan_threshold => $acct->{plan_threshold},
		level => $acct->{level} eq 'ok' ? undef : $acct->{level},
		flags => $acct->{flags} || undef,
		(map { +"charged_$_" => $acct->{charged}{$_} || undef } qw(monthly purchased)),
		last_charged => $acct->{last_charged} || undef,
		effective_at => $acct->{at},
		cycle_anchor => $acct->{anchor},
		time_zone => $acct->{zone},
		status => $acct->{status},
		next_reset_at => $acct->{period_end},
		plan_version => $acct->{version},
		plan => $acct->{plan},
		scheduled_plan => $acct->{scheduled} };
}

# What the end was made from, where that is not what the account has now.
sub end_of
{
	my ($acct) = @_;
	my @end = @{ $acct->{end_of} // [] };
	my @names = qw(end_cycle end_anchor end_zone);

	return (end_zone => '') if @end && $end[2] eq '';
	return map { $_ => undef } @names
	  if !@end || ($end[0] eq $acct->{cycle} && $end[1] == $acct->{anchor} && $end[2] eq $acct->{zone});
	return map { $names[$_] => $end[$_] } 0 .. 2;
}

# next_event_at may be early, never late.
sub check_next_event
{
	my ($acct, $got) = @_;
	my %left = map { $_->{grant} => 1 } free($acct, 'granted');
	my @events = (
		is_silent($acct) ? () : $acct->{period_end} // (),
		(map { $_->{ends} } grep { $_->{state} eq 'open' } values %{ $acct->{holds} }),
		(map { $_->{ends} } grep { !$_->{ended} && $left{ $_->{tag} } } values %{ $acct->{grants} }));

	for my $event (@events)
	{
		die 'next_event_at: ' . (defined $got ? iso($got) : 'NULL') . ' is after ' . iso($event) . "\n"
		  if !defined $got || $got > $event;
	}
	return;
}

1;
