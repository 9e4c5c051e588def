# The stage "sweep": many accounts are due at once, again and again.  First
# against one set-based statement, then beside deductions.
package Bench::Sweep;
use strict;
use warnings;
use JSON::PP;
use List::Util qw(sum);
use Time::HiRes qw(time sleep);
use Bench::Db qw(psql query load create_database drop_database sizes measured pgbench_start pgbench_finish);
use Bench::Stats qw(median summary paired in_turn rate percentile percentiles);
use Exporter 'import';
our @EXPORT_OK = qw(estimate_sweep run_sweep);

my $database = 'bench_sweep';
my $clients = 16;

# What our sweep writes, in one statement: the accounts that are due get a new
# allowance, what was left expires, and one history row each.
my $set_based = <<'SQL';
WITH due AS (
    SELECT user_id, monthly AS expired FROM account WHERE next_event_at <= NOW
), swept AS (
    UPDATE account
       SET monthly = 1000, period_granted = 1000, period = period + 1, last_monthly_reset = next_reset_at, effective_at = next_reset_at,
           next_reset_at = next_reset_at + interval '1 month', next_event_at = next_reset_at + interval '1 month',
           history_seq = history_seq + 1
      FROM due
     WHERE account.user_id = due.user_id
    RETURNING account.*, expired
)
INSERT INTO history (user_id, seq, kind, created_at, effective_at, period, period_start, next_reset_at, plan_version,
                     amount, monthly_delta, purchased_delta, monthly, purchased, expired, run_id)
SELECT user_id, history_seq, 'reset', NOW, effective_at, period, last_monthly_reset, next_reset_at, plan_version,
       1000, monthly - expired, 0, monthly, purchased, expired, '5f2c0a52-6c40-4b57-9d0c-0f6b8c1d2e3f'
  FROM swept
SQL

# So that a sweep takes seconds, and its other side can follow at once, accounts
# are in groups of 25,000: all of a group are due at one instant, a minute after
# the group before, month after month.
my $group_size = 25_000;
sub groups { my ($o) = @_; return int(($o->{accounts} + $group_size - 1) / $group_size) }

# How many turns: the first one only warms up.  Those of sweeps alone end with a
# month, as a sweep of all accounts follows.
sub turns { my ($o) = @_; return $o->{pairs} + 1 }
sub months_alone { my ($o) = @_; return int((turns($o) + groups($o) - 1) / groups($o)) }

# The number of the first user of a group (sweep.sql has the same).
sub first_of
{
	my ($o, $group) = @_;
	my $groups = groups($o);
	return int(($group * $o->{accounts} + $groups - 1) / $groups) + 1;
}

# clocks(OPTIONS): when the first period begins; the steps of the sweeps alone,
# of those of all accounts, and of those beside deductions.  A step is { clock,
# group }.  The last one is in this month.
sub clocks
{
	my ($o) = @_;
	my ($groups, $alone) = (groups($o), months_alone($o));
	my $whole = $groups > 1 ? $o->{rounds} : 0;
	my $months = 2 * $alone + $whole;
	my ($start, @clocks) = split /\n/, query(
		"SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + (m - $months) * interval '1 month' "
		  . "+ g * interval '1 minute' + CASE WHEN m = 0 THEN interval '0' ELSE interval '30 seconds' END, 'YYYY-MM-DD HH24:MI:SSZ') "
		  . "FROM generate_series(0, $months) m, generate_series(0, $groups - 1) g WHERE m > 0 OR g = 0 ORDER BY m, g");
	my @steps = map { { clock => $clocks[$_], group => $_ % $groups } } 0 .. $#clocks;
	my @alone = splice @steps, 0, $alone * $groups;
	my @whole = grep { $_->{group} == $groups - 1 } splice @steps, 0, $whole * $groups;
	return ($start, \@alone, \@whole, [ splice @steps, 0, turns($o) ]);
}

# estimate_sweep(OPTIONS): seconds.
sub estimate_sweep
{
	my ($o) = @_;
	my $groups = groups($o);
	return $o->{accounts} / 6000 + months_alone($o) * ($o->{accounts} / 10_000 + $groups)
	  + turns($o) * (2 * $o->{load} + 2) + ($groups > 1 ? $o->{rounds} * $o->{accounts} / 15_000 : 0);
}

# Sweeps, and says of how many accounts, how often a run stopped because a lock
# was in its way (the next run goes on, as a scheduler's would), and when it ran.
sub sweep
{
	my ($clock) = @_;
	my $begin = time;
	my ($report, %sum);
	do
	{
		my $answer = psql('-c', "SET credits.clock = '$clock'", '-c', 'CALL credits.credits_run_reset()');
		$report = decode_json($answer);
		$sum{$_} += $report->{$_} for qw(accounts skipped_locked);
		$sum{stops}++ if $report->{state} eq 'stopped';
		die "the sweep failed: $answer" if $report->{failures} || $report->{state} eq 'running' || ($sum{stops} // 0) > 10;
	} while ($report->{state} eq 'stopped');
	return (\%sum, $begin, time);
}

# A sweep by WHO, which is us or the one statement, timed.
sub alone
{
	my ($who, $clock, $o) = @_;
	my %sql = (
		credits => 'CALL credits.credits_run_reset()',
		plain   => $set_based =~ s/NOW/'$clock'/gr,
	);
	my ($lsn, $size) = sizes($who);
	my ($measured) = measured($o->{work}, '',
		[ "SET TimeZone = 'UTC'; SET search_path = $who; SET credits.clock = '$clock';", $sql{$who} ]);
	my ($lsn_after, $size_after) = sizes($who);
	return { seconds => $measured->[0], cpu => $measured->[1], wal => $lsn_after - $lsn, size => $size_after - $size };
}

# Sweeps by both in turn, of so many accounts each, and what they took.  The
# first few only warm up.
sub compare
{
	my ($o, $accounts, $warm, @steps) = @_;
	my %runs;
	in_turn(scalar @steps,
		sub {
			my ($who, $turn) = @_;
			push @{ $runs{$who} }, alone($who, $steps[ $turn - 1 ]{clock}, $o);
			psql('-c', 'VACUUM credits.credit_account, credits.credit_history, plain.account, plain.history')
			  if @{ $runs{credits} // [] } == @{ $runs{plain} // [] };
		},
		qw(credits plain));
	my $result = { accounts => int($accounts) };
	for my $who (keys %runs)
	{
		my @runs = splice @{ $runs{$who} }, $warm;
		my %of = map { my $what = $_; ($what => [ map { $_->{$what} } @runs ]) } qw(seconds cpu wal size);
		$result->{$who} = {
			seconds => $of{seconds}, summary => summary(@{ $of{seconds} }), cpu_seconds => median(@{ $of{cpu} }),
			wal_per => sum(@{ $of{wal} }) / $accounts / @runs, size_per => sum(@{ $of{size} }) / $accounts / @runs,
		};
	}
	$result->{ratio} = paired(map { $result->{$_}{seconds} } qw(credits plain));
	return $result;
}

# Both did all of it.
sub check
{
	my ($expected) = @_;
	my $ours = query("SELECT sum(accounts) FROM credits.credit_reset_run WHERE kind = 'reset'");
	my $theirs = query("SELECT count(*) FROM plain.history WHERE kind = 'reset'");
	die "of $expected due accounts the sweeps did $ours, the statements $theirs\n"
	  unless $ours == $expected && $theirs == $expected;
}

# Deductions: script 0 from accounts that the sweep takes (GROUP), script 1 from
# those that are never due.
sub start_load
{
	my ($o, $group, $others) = @_;
	my ($first, $last) = (first_of($o, $group), first_of($o, $group + 1) - 1);
	my $script = "\\set key random(1, 9223372036854775806)\n\\set amount random(1, 3)\n"
	  . "SELECT credits_deduct(:uid, :amount, NULL, :key);\n";
	return pgbench_start(
		work => $o->{work}, clients => $clients, seconds => $o->{load}, settings => ['search_path=credits'],
		scripts => [
			"\\set uid 4200000000000000 + random($first, $last)\n$script",
			"\\set uid 4400000000000000 + random(1, $others)\n$script",
		]);
}

# The p99 of each script, and its rate, of the samples that ended between two
# times; all of them are added to INTO.
sub add_load
{
	my ($into, $samples, $from, $to) = @_;
	my @in = grep { $_->[0] > $from && $_->[0] <= $to } @$samples;
	for my $script (0, 1)
	{
		my %turn;
		rate([ grep { $_->[2] == $script } @in ], 0, \%turn);
		my $name = $script ? 'others' : 'due';
		$into->{$name}{latency}{$_} += $turn{$_} for keys %turn;
		push @{ $into->{$name}{p99} }, percentile(\%turn, 0.99);
	}
	push @{ $into->{tps} }, $to > $from ? @in / ($to - $from) : undef;
}

sub client_clock
{
	my ($clock) = @_;
	psql('-c', "ALTER ROLE bench_app IN DATABASE $database SET credits.clock = '$clock'");
}

# Deductions with a sweep.  Clients have its clock, so that what it has yet to
# sweep is due to them too: they sweep it themselves, as they would in life.
sub with
{
	my ($o, $step, $others, $result) = @_;
	client_clock($step->{clock});
	my $begin = time;
	my $load = start_load($o, $step->{group}, $others);
	sleep $o->{warm} + 0.3;
	my ($report, $from, $to) = sweep($step->{clock});
	my $run = pgbench_finish($load);
	my $last = $begin + $o->{load};
	add_load($result->{with} //= {}, $run->{samples}, $from, $to < $last ? $to : $last);
	push @{ $result->{sweep_seconds} }, $to - $from;
	push @{ $result->{swept} }, $report->{accounts};
	push @{ $result->{skipped_locked} }, $report->{skipped_locked};
	push @{ $result->{stops} }, $report->{stops} // 0;
}

# The same deductions while nothing is due.
sub without
{
	my ($o, $step, $others, $result) = @_;
	my $begin = time;
	my $run = pgbench_finish(start_load($o, $step->{group}, $others));
	add_load($result->{without} //= {}, $run->{samples}, $begin + $o->{warm} + 0.3, $begin + $o->{load});
}

# run_sweep(OPTIONS): what was measured.
sub run_sweep
{
	my ($o) = @_;
	my $begin = time;
	my $others = $o->{accounts} < 100_000 ? $o->{accounts} : 100_000;
	create_database($database);
	my $groups = groups($o);
	my ($start, $alone, $whole, $beside) = clocks($o);
	load('bench/sql/users.sql', users => $o->{accounts}, batch => 1);
	load('bench/sql/plain.sql', schema => 'plain');
	load('bench/sql/sweep.sql', start => $start, accounts => $o->{accounts}, groups => $groups, others => $others);
	printf "sweep: %d accounts set up, %.0f s\n", $o->{accounts}, time - $begin;

	my $result = { accounts => $o->{accounts}, groups => $groups, others => $others, clients => $clients };
	$begin = time;
	$result->{alone} = compare($o, $o->{accounts} / $groups, 1, @$alone);
	check($o->{accounts} * months_alone($o));
	printf "sweep: against one statement, %.0f s\n", time - $begin;
	if (@$whole)
	{
		$begin = time;
		$result->{whole} = compare($o, $o->{accounts}, 0, @$whole);
		check($o->{accounts} * (months_alone($o) + @$whole));
		printf "sweep: all accounts at once, %.0f s\n", time - $begin;
	}

	$begin = time;
	client_clock((@$whole ? $whole : $alone)->[-1]{clock});
	my $nth = 0;
	in_turn(scalar @$beside,
		sub {
			my ($what, $turn) = @_;
			# The first turn only warms up.
			$what->($o, $beside->[ $turn - 1 ], $others, $turn > 1 ? $result : {});
			psql('-c', 'VACUUM credits.credit_account, credits.credit_history') if ++$nth % 2 == 0;
		},
		\&without, \&with);
	printf "sweep: beside deductions, %.0f s\n", time - $begin;
	psql('-c', "ALTER ROLE bench_app IN DATABASE $database RESET ALL");

	for my $name (qw(due others))
	{
		$_->{$name}{p} = percentiles($_->{$name}{latency}) for @$result{qw(without with)};
		$result->{p99_ratio}{$name} = paired(map { $_->{$name}{p99} } @$result{qw(with without)});
	}
	drop_database($database);
	return $result;
}

1;
