# What the product answered to a world of the model test, compared with the model.
package CreditsModelCompare;

use strict;
use warnings FATAL => 'all';

use CreditsModel;
use CreditsModelCompareLots;
use CreditsModelGen;
use CreditsModelLots;
use CreditsModelPeriods;
use CreditsModelSql;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(max uniq);
use Storable qw(dclone);

our @EXPORT = qw(compare_world %seen);

# How often what was seen, so that a test can say what it tested.
our %seen;

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

sub shown { return defined $_[0] ? $_[0] eq '' ? "''" : $_[0] : 'NULL'; }

# Dies with what differs.  Only what is expected is looked at.
sub same
{
	my ($what, $expected, $got) = @_;
	my @differ;

	for my $name (sort keys %$expected)
	{
		my ($e, $g) = map { shown($_) } $expected->{$name}, $got->{$name};
		next if $e eq $g;
		($e, $g) = map { /^\d{14,16}$/ && $name =~ /_at$|_start$|anchor|_of$/ ? iso($_) : $_ } $e, $g;
		push @differ, "$name: model $e, product $g";
	}
	die "$what: " . join('; ', @differ) . "\n" if @differ;
	return;
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

#
# Histories
#

my @columns = qw(user seq kind amount monthly_delta granted_delta purchased_delta monthly granted purchased
  held_monthly held_granted held_purchased owed_monthly owed_purchased expired forfeited skipped
  effective_at created_at period next_reset_at ends_at ref payment_ref key spender reason erased metadata alloc
  version status plan scheduled anchor zone overdraft period_granted period_start share cycle last_left last_limit last_undone);

sub compare_history
{
	my ($state, @rows) = @_;
	my %got;

	for my $row (@rows)
	{
		my %row;

		@row{@columns} = @$row;
		s/^\Q$state->{prefix}\E// for grep { defined } @row{qw(user payment_ref spender plan scheduled)};
		$row{$_} //= 0 for qw(held_monthly held_granted held_purchased owed_monthly owed_purchased expired forfeited);
		($row{tag}) = ($row{reason} // '') =~ /^t(\d+)$/;
		push @{ $got{ $row{user} } }, \%row;
	}
	for my $user (uniq(sort(keys %got), sort keys %{ $state->{model}{rows} }))
	{
		compare_rows($state, $user, $state->{model}{rows}{$user} // [], $got{$user} // []);
		best_plan($state->{model}, $user, $got{$user} // []);
	}
	return;
}

my @facts = qw(status plan scheduled anchor zone overdraft period_granted period_start share cycle last_left last_limit last_undone);
my %compare_alloc = map { $_ => 1 } qw(deduct hold adjust capture refund close revoke reinstate transfer_out);

sub compare_rows
{
	my ($state, $user, $model, $product) = @_;
	my %tag_of = map { $_->{seq} => $_->{tag} } grep { defined $_->{tag} } @$product;
	my @model = @$model;
	my $erased = $state->{model}{erased}{$user} // 0;
	my ($n, %facts) = (0);

	for my $row (@$product)
	{
		my $what = "history of $user, row " . ++$n . " ($row->{kind}" . ($row->{tag} ? " t$row->{tag}" : '') . ')';
		my $expected = shift @model // die "$what: the model has no such row\n";

		if ($row->{skipped} > 0)
		{
			my $what_folded = "$what, $row->{skipped} skipped";
			$expected = folded($what_folded, $expected, splice @model, 0, $row->{skipped});
			$seen{'boundaries skipped'} += $row->{skipped};
		}
		die "$what: its seq is $row->{seq}\n" if $row->{seq} != $n;
		if (defined $row->{status})
		{
			my $before = join '|', map { shown($facts{$_}) } @facts, 'version';

			%facts = map { $_ => $row->{$_} } @facts, 'version';
			die "$what: it has facts, and none of them is new\n"
			  if $row->{kind} !~ /^(open|import)$/ && $before eq join '|', map { shown($facts{$_}) } @facts, 'version';
		}
		my %got = (%$row, %facts);
		my %expected = map { $_ => $expected->{$_} }
		  qw(kind amount monthly_delta granted_delta purchased_delta monthly granted purchased held_monthly
		  held_granted held_purchased owed_monthly owed_purchased effective_at period next_reset_at version
		  payment_ref spender key tag metadata), @facts;

		# What is only told moves nothing.
		%expected = map { $_ => $expected->{$_} // 0 } qw(kind amount monthly granted purchased effective_at)
		  if $row->{kind} eq 'imported';

		# The texts of an erased row are gone; its tag was kept elsewhere.
		my $is_erased = @$model - @model <= $erased && defined $expected->{tag};
		$expected{erased} = $is_erased ? 't' : 'f';
		$expected{metadata} = undef if $is_erased;
		$seen{'erased rows'}++ if $is_erased;

		# An opening without a tag says when it was made; an event's row need not.
		$expected{created_at} = $expected->{created_at} if defined $expected->{tag};
		$expected{expired} = $expected->{expired} // 0;
		$expected{forfeited} = $expected->{forfeited} // 0;
		$expected{ends_at} = $expected->{ends_at};
		$expected{ref} = $expected->{ref};
		if (defined $row->{ref})
		{
			my $to = $product->[ $row->{ref} - 1 ];
			$got{ref} = $to->{tag} // "$to->{kind} at " . iso($to->{effective_at});
		}
		if ($compare_alloc{ $row->{kind} })
		{
			$expected{alloc} = pairs($expected->{alloc});
			$got{alloc} = pairs(product_alloc(\%tag_of, $row->{alloc}));
		}
		same($what, \%expected, \%got);
		my $known = $state->{seqs}{$user}{ $row->{tag} // '' };
		die "$what: the receipt said seq $known\n" if defined $known && $known != $row->{seq};
		$seen{"row $row->{kind}"}++;
		$seen{'row with forfeited credits'}++ if $row->{forfeited};
		$seen{"row $row->{kind} with expired credits"}++ if $row->{expired};
	}
	die "history of $user: the model has one more row, $model[0]{kind}\n" if @model;

	# Those of runs had no receipt to say them.
	$state->{seqs}{$user}{ $_->{tag} } //= $_->{seq} for grep { defined $_->{tag} } @$product;
	return;
}

# Boundaries that the product wrote as one row: nothing else between them; one
# grant, and what is left is what they came to one by one.
sub folded
{
	my ($what, @rows) = @_;

	die "$what: there are not that many\n" if grep { !defined } @rows;
	die "$what: but $_->{kind} at " . iso($_->{effective_at}) . "\n" for grep { $_->{kind} ne 'reset' } @rows;
	my %last = %{ $rows[-1] };
	my $delta = 0;

	for my $row (@rows)
	{
		die "$what: but the period from " . iso($row->{period_start}) . " has a row of its own\n"
		  if $row->{share} != FULL
		  || $row->{last_limit}
		  || $row->{held_monthly}
		  || shown($row->{plan}) ne shown($last{plan})
		  || shown($row->{version}) ne shown($last{version});
	}

	$delta += $_->{monthly_delta} for @rows;
	$last{monthly_delta} = $delta;
	$last{expired} = $last{amount} - $delta;
	return \%last;
}

sub product_alloc
{
	my ($tag_of, $text) = @_;
	my @numbers = ($text // '') =~ /-?\d+/g;
	my @pairs;

	while (my ($from, $n) = splice @numbers, 0, 2)
	{
		push @pairs, [ $from > 0 ? $tag_of->{$from} // "seq $from" : $from, $n ];
	}
	return \@pairs;
}

# Pairs as text, equal neighbours together.
sub pairs
{
	my @pairs;

	for my $pair (@{ $_[0] // [] })
	{
		my ($from, $n) = @$pair;

		if (@pairs && $pairs[-1][0] eq $from)
		{
			$pairs[-1][1] += $n;
		}
		else
		{
			push @pairs, [ $from, $n ];
		}
	}
	return join ' ', map { "$_->[0]:$_->[1]" } @pairs;
}

# What plan changes and the boundary gave in a period, less what plan changes
# took, is never more than the best plan held in it gives.
sub best_plan
{
	my ($model, $user, $rows) = @_;
	my (%given, %best, $plan, $share, %changes, %undone);

	for my $row (@$rows)
	{
		my $period = $row->{period};

		($plan, $share) = @$row{qw(plan share)} if defined $row->{status};
		$given{$period} += $row->{amount} if $row->{kind} =~ /^(open|reset|restart|set_plan)$/;
		$changes{$period}++ if $row->{kind} eq 'set_plan';
		$undone{$period} = 1 if $row->{kind} =~ /^(undo|close)$/;
		next if $row->{kind} eq 'plan_change' || !defined $plan;
		my ($version) = grep { $_->{version} == $row->{version} } @{ $model->{plans}{$plan} };
		$best{$period} = max($best{$period} // 0, share_part($version->{credits}, $share));
		$seen{'prorated periods'}++ if $share < FULL;
	}
	for my $period (grep { !$undone{$_} } keys %given)
	{
		my ($given, $best) = ($given{$period}, $best{$period} // 0);

		die "$user: period $period gave $given, its best plan $best\n" if $given > $best;
		$seen{'periods with two plan changes or more'}++ if ($changes{$period} // 0) >= 2;
	}
	return;
}

1;
