# The stage "sweep": all accounts are due at once, month after month.  First
# against one set-based statement, then beside deductions.
package Bench::Sweep;
use strict;
use warnings;
use JSON::PP;
use Time::HiRes qw(time sleep);
use Bench::Db qw(psql query load create_database drop_database sizes measured pgbench_start pgbench_finish);
use Bench::Stats qw(median summary by_round rate percentile percentiles);
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
       SET monthly = 1000, period_granted = 1000, last_monthly_reset = next_reset_at, effective_at = next_reset_at,
           next_reset_at = next_reset_at + interval '1 month', next_event_at = next_reset_at + interval '1 month',
           history_seq = history_seq + 1
      FROM due
     WHERE account.user_id = due.user_id
    RETURNING account.*, expired
)
INSERT INTO history (user_id, seq, kind, created_at, effective_at, period_start, next_reset_at, plan_version,
                     amount, monthly_delta, purchased_delta, monthly, purchased, expired, run_id)
SELECT user_id, history_seq, 'reset', NOW, effective_at, last_monthly_reset, next_reset_at, plan_version,
       1000, monthly - expired, 0, monthly, purchased, expired, '5f2c0a52-6c40-4b57-9d0c-0f6b8c1d2e3f'
  FROM swept
SQL

# A month before the measurements begin, and the clock of step 1, 2, ...: the
# last one is in this month.  The server's clock is never ahead of us.
sub months
{
	my ($steps) = @_;
	my $sql = "SELECT to_char((date_trunc('month', now() AT TIME ZONE 'UTC') - n * interval '1 month') "
	  . "+ CASE WHEN n = $steps THEN interval '5 days' ELSE interval '1 minute' END, 'YYYY-MM-DD HH24:MI:SSZ') "
	  . "FROM generate_series($steps, 0, -1) n ORDER BY n DESC";
	return split /\n/, query($sql);
}

# estimate_sweep(OPTIONS): seconds.
sub estimate_sweep
{
	my ($o) = @_;
	return $o->{accounts} / 6000 + $o->{rounds} * ($o->{accounts} / 4000 + $o->{accounts} / 10000 + 2 * $o->{load} + 4);
}

# The sweep's report, and when it ran.
sub sweep
{
	my ($clock) = @_;
	my $begin = time;
	my $answer = psql('-c', "SET credits.clock = '$clock'", '-c', 'CALL credits.credits_run_reset()');
	my $report = decode_json($answer);
	die "the sweep failed: $answer" if $report->{failures} || $report->{state} ne 'finished';
	return ($report, $begin, time);
}

# One sweep by each, timed.
sub alone
{
	my ($o, $clock, $round, $result) = @_;
	my %sql = (
		credits => 'CALL credits.credits_run_reset()',
		plain   => $set_based =~ s/NOW/'$clock'/gr,
	);
	for my $who ($round % 2 ? qw(credits plain) : qw(plain credits))
	{
		my ($lsn, $size) = sizes($who);
		my ($seconds, $cpu) = measured($o->{work},
			"SET TimeZone = 'UTC'; SET search_path = $who; SET credits.clock = '$clock';", $sql{$who});
		my ($lsn_after, $size_after) = sizes($who);
		my $r = $result->{$who} //= {};
		push @{ $r->{seconds} }, $seconds;
		push @{ $r->{cpu} }, $cpu;
		$r->{wal} += $lsn_after - $lsn;
		$r->{size} += $size_after - $size;
	}
	# Both did all of it.
	my ($ours) = query("SELECT accounts FROM credits.credit_reset_run ORDER BY started_at DESC LIMIT 1");
	my ($theirs) = query("SELECT count(*) FROM plain.history WHERE kind = 'reset' AND seq = 2 + $round");
	die "of $o->{accounts} due accounts the sweep did $ours, the statement $theirs\n"
	  unless $ours == $o->{accounts} && $theirs == $o->{accounts};
	psql('-c', 'VACUUM credits.credit_account, credits.credit_history, plain.account, plain.history');
}

# Deductions: script 0 from accounts that the sweep takes, script 1 from those
# that are never due.
sub start_load
{
	my ($o, $others) = @_;
	my $script = "\\set key random(1, 9223372036854775806)\n\\set amount random(1, 3)\n"
	  . "SELECT credits_deduct(:uid, :amount, NULL, :key);\n";
	return pgbench_start(
		work => $o->{work}, clients => $clients, seconds => $o->{load}, settings => ['search_path=credits'],
		scripts => [
			"\\set uid 4200000000000000 + random(1, $o->{accounts})\n$script",
			"\\set uid 4400000000000000 + random(1, $others)\n$script",
		]);
}

# The latencies, per script, of the samples that ended between two times.
sub add_load
{
	my ($into, $samples, $from, $to) = @_;
	my @in = grep { $_->[0] > $from && $_->[0] <= $to } @$samples;
	for my $script (0, 1)
	{
		my %round;
		rate([ grep { $_->[2] == $script } @in ], 0, \%round);
		my $name = $script ? 'others' : 'due';
		$into->{$name}{latency}{$_} += $round{$_} for keys %round;
		push @{ $into->{$name}{p99} }, percentile(\%round, 0.99);
	}
	push @{ $into->{tps} }, $to > $from ? @in / ($to - $from) : undef;
}

sub client_clock
{
	my ($clock) = @_;
	psql('-c', "ALTER ROLE bench_app IN DATABASE $database SET credits.clock = '$clock'");
}

# Deductions without a sweep, then with one.  Clients have the sweep's clock,
# so that what it has yet to sweep is due to them too: they sweep it
# themselves, as they would in life.
sub beside
{
	my ($o, $clock, $others, $result) = @_;
	my $begin = time;
	my $run = pgbench_finish(start_load($o, $others));
	my $last = $begin + $o->{load};
	add_load($result->{without} //= {}, $run->{samples}, $begin + $o->{warm} + 0.2, $last);

	client_clock($clock);
	$begin = time;
	my $load = start_load($o, $others);
	sleep $o->{warm} + 0.3;
	my ($report, $from, $to) = sweep($clock);
	$run = pgbench_finish($load);
	$last = $begin + $o->{load};
	add_load($result->{with} //= {}, $run->{samples}, $from, $to < $last ? $to : $last);
	push @{ $result->{sweep_seconds} }, $to - $from;
	push @{ $result->{swept} }, $report->{accounts};
	push @{ $result->{skipped_locked} }, $report->{skipped_locked};
	psql('-c', 'VACUUM credits.credit_account, credits.credit_history');
}

# run_sweep(OPTIONS): what was measured.
sub run_sweep
{
	my ($o) = @_;
	my $begin = time;
	my $others = $o->{accounts} < 100_000 ? $o->{accounts} : 100_000;
	create_database($database);
	my ($opened, @clocks) = months(2 * $o->{rounds});
	load('bench/sql/users.sql', users => $o->{accounts}, batch => 1);
	load('bench/sql/plain.sql', schema => 'plain');
	load('bench/sql/sweep.sql', opened => $opened, accounts => $o->{accounts}, others => $others);
	printf "sweep: %d accounts set up, %.0f s\n", $o->{accounts}, time - $begin;

	my $result = { accounts => $o->{accounts}, others => $others, clients => $clients };
	my $clock;
	for my $round (1 .. $o->{rounds})
	{
		$begin = time;
		$clock = shift @clocks;
		alone($o, $clock, $round, $result);
		printf "sweep: round %d of %d, %.0f s\n", $round, $o->{rounds}, time - $begin;
	}
	client_clock($clock);
	for my $round (1 .. $o->{rounds})
	{
		$begin = time;
		beside($o, shift @clocks, $others, $result);
		printf "sweep: beside deductions, round %d of %d, %.0f s\n", $round, $o->{rounds}, time - $begin;
	}
	psql('-c', "ALTER ROLE bench_app IN DATABASE $database RESET ALL");

	for my $who (qw(credits plain))
	{
		my $r = $result->{$who};
		$r->{summary} = summary(@{ $r->{seconds} });
		$r->{cpu_seconds} = median(@{ $r->{cpu} });
		$r->{$_ . '_per'} = $r->{$_} / ($o->{accounts} * $o->{rounds}) for qw(wal size);
	}
	$result->{ratio} = by_round($result->{credits}{seconds}, $result->{plain}{seconds});
	for my $name (qw(due others))
	{
		$_->{$name}{p} = percentiles($_->{$name}{latency}) for @$result{qw(without with)};
		$result->{p99_ratio}{$name} = by_round(map { $_->{$name}{p99} } @$result{qw(with without)});
	}
	drop_database($database);
	return $result;
}

1;
