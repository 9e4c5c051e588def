#!/usr/bin/env perl
# Runs the comparison on the server that run.sh started.  Options come from
# the environment; README.md has the list.
use strict;
use warnings;
use Time::HiRes qw(time);
use Bench::Contenders qw(contenders script one_statement);
use Bench::Stats qw(median summary read_logs percentile);
use Bench::Report qw(ratios table write_json write_chart);

$| = 1;

# option(NAME, DEFAULT[, QUICK]): QUICK is the default of BENCH_QUICK=1.
my $quick = ($ENV{BENCH_QUICK} // '') eq '1';
sub option
{
	my ($name, $default, $in_quick) = @_;
	my $value = $ENV{"BENCH_$name"};
	return $value if defined $value && $value ne '';
	return $quick && defined $in_quick ? $in_quick : $default;
}
sub numbers
{
	my ($name, @values) = @_;
	for (@values) { die "BENCH_$name: not a whole number above 0: '$_'\n" unless /^[1-9]\d{0,8}$/ }
	return @values;
}
sub words
{
	my ($name, $default, @known) = @_;
	my @words = split ' ', option($name, $default);
	for my $word (@words)
	{
		die "BENCH_$name: no '$word'; there are: @known\n" unless grep { $_ eq $word } @known;
	}
	return @words;
}

my $work = $ENV{BENCH_WORK} or die "bench.pl is run by run.sh\n";
my ($users) = numbers('USERS', option('USERS', 100_000, 10_000));
my ($seconds) = numbers('SECONDS', option('SECONDS', 2));
my ($rounds) = numbers('ROUNDS', option('ROUNDS', 3, 1));
my @clients = numbers('CLIENTS', split ' ', option('CLIENTS', '1 16 64'));
my @shapes = words('SHAPES', 'uniform zipf hot', qw(uniform zipf hot));
my @syncs = words('SYNC', 'on off', qw(on off));
my $full = option('FULL', '') eq '1';
my @only = split ' ', option('ONLY', '');
# In quick mode, a number of transactions per cell instead of a time.
my $transactions = 128;
# Seconds at the start of a cell that do not count.
my $warm = $quick ? 0 : 0.25 * $seconds;
$warm = 1 if $warm > 1;
my $batch = $users >= 4000 ? 1000 : int($users / 4) || 1;
die "BENCH_CLIENTS: at most 250\n" if grep { $_ > 250 } @clients;
contenders({}, \@only);    # are there such?

my $started = time;
my @failures;

# The output of a command; dies with it if the command fails.
sub output
{
	my (@command) = @_;
	open(my $pipe, '-|', @command) or die "$command[0]: $!\n";
	local $/;
	my $text = <$pipe> // '';
	close $pipe;
	die "@command[0 .. 1] failed (status $?)\n$text" if $?;
	return $text;
}
sub psql { return output(qw(psql -X -q -A -t -v ON_ERROR_STOP=1), @_) }
sub query { my $text = psql('-c', $_[0]); chomp $text; return $text }
sub load
{
	my ($file, %variables) = @_;
	psql((map { ('-v', "$_=$variables{$_}") } sort keys %variables), '-f', $file);
}

# How long this machine takes to make 8 kB durable, which bounds every commit.
sub fsync_ms
{
	require IO::Handle;
	my $file = "$work/fsync";
	open(my $fh, '>', $file) or die "$file: $!\n";
	my @times;
	for (1 .. 100)
	{
		my $begin = time;
		sysseek($fh, 0, 0);
		syswrite($fh, 'x' x 8192);
		$fh->sync;
		push @times, (time - $begin) * 1000;
	}
	close $fh;
	unlink $file;
	return median(@times);
}

# --- setup

my $early;
sub what_there_is
{
	# Settings of the extension exist once it is loaded.
	my $setting = "SELECT credits.credits_current_user_id(); SELECT name FROM pg_settings "
	  . "WHERE name ~ '^credits[.].*early' AND vartype = 'bool' ORDER BY name LIMIT 1";
	($early) = query($setting) =~ /^(credits\.\w+)$/m;
	$early = "$early=on" if $early;
	$early = $ENV{BENCH_EARLY} if $ENV{BENCH_EARLY};
	return {
		early    => $early,
		many     => query("SELECT count(*) FROM pg_proc WHERE proname = 'credits_deduct_many'") > 0,
		pgledger => $ENV{BENCH_PGLEDGER},
	};
}

printf "setting up %d users", $users;
my $fsync = fsync_ms();
load('bench/sql/users.sql', users => $users, batch => $batch);
load('bench/sql/credits.sql');
my $have = what_there_is();
my @contenders = contenders($have, \@only);
my $most = $users < 50_000 ? $users : 50_000;
psql('-c', "CREATE VIEW bench.one_users AS SELECT user_id FROM bench.users WHERE n <= $most ORDER BY n; "
	. 'GRANT SELECT ON bench.one_users TO bench_app');
my @one = grep { my $id = $_->{id}; $id =~ s/^one_//; !@only || grep { $_ eq $id } @only } one_statement();
my %schemas = map { $_->{schema} => 1 } @contenders, @one;
for my $schema (grep { /^plain/ } sort keys %schemas)
{
	load('bench/sql/plain.sql', schema => $schema);
	print '.';
}
if ($schemas{pgledger})
{
	psql('-c', 'CREATE SCHEMA pgledger');
	{
		local $ENV{PGOPTIONS} = '-c search_path=pgledger,public';
		load($ENV{BENCH_PGLEDGER});
	}
	load('bench/sql/pgledger.sql');
	print '.';
}
printf " %.0f s\n", time - $started;

# --- cells: one contender, one shape, one number of clients, one setting

# Batches are long: many clients tell nothing more, and few users no batches.
sub takes_part
{
	my ($contender, $shape, $clients) = @_;
	return 0 if $contender->{shapes} && !grep { $_ eq $shape } @{ $contender->{shapes} };
	return 0 if $contender->{batch} && $clients > 16 && grep { $_ <= 16 } @clients;
	return 1;
}

my @groups;
for my $shape (@shapes)
{
	for my $sync (@syncs)
	{
		# Without BENCH_FULL, asynchronous commit is measured on uniform users.
		next if $sync eq 'off' && $shape ne 'uniform' && !$full && @syncs > 1;
		for my $clients (@clients)
		{
			my @cells = map { { contender => $_, shape => $shape, sync => $sync, clients => $clients } }
			  grep { takes_part($_, $shape, $clients) } @contenders;
			push @groups, { shape => $shape, sync => $sync, clients => $clients, cells => \@cells } if @cells;
		}
	}
}

my %relations = (
	plain   => "'account', 'history'",
	credits => "'credit_account', 'credit_history', 'credit_payment'",
	pgledger => "'pgledger_accounts', 'pgledger_transfers', 'pgledger_entries'",
);

# Where the WAL is, and how large the contender's tables and indexes are.
sub sizes
{
	my ($schema) = @_;
	my $names = $relations{ $schema =~ /^plain/ ? 'plain' : $schema || 'plain' };
	return split /\|/, query("SELECT pg_current_wal_insert_lsn() - '0/0', coalesce(sum(pg_total_relation_size(c.oid)), 0) "
		. "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = '$schema' AND relname IN ($names)");
}

my %counted;    # operations per schema, to be compared with what is stored

sub run_cell
{
	my ($cell) = @_;
	my ($contender, $clients) = @$cell{qw(contender clients)};
	my $schema = $contender->{schema};
	my $file = "$work/script.sql";
	open(my $fh, '>', $file) or die "$file: $!\n";
	print $fh script($contender, $cell->{shape});
	close $fh;

	my $per_client = int($transactions / $clients) || 1;
	$per_client = 2 if $contender->{batch};
	my @length = $quick ? ('-t', $per_client) : ('-T', $seconds);
	local $ENV{PGOPTIONS} = "-c synchronous_commit=$cell->{sync} -c search_path=" . ($schema || 'bench')
	  . ($schema eq 'pgledger' ? ',public' : '');
	$ENV{PGOPTIONS} .= " -c $early" if $contender->{id} eq 'deduct_key_early';

	my ($lsn, $size) = sizes($schema);
	my $text = output('sh', '-c', 'exec "$@" 2>&1', 'sh',
		'pgbench', '-n', '-M', 'prepared', '-U', 'bench_app', '-c', $clients, '-j', $clients > 1 ? 2 : 1,
		@length, '-D', "users=$users", '-l', '--log-prefix', "$work/log", '-f', $file);
	my ($lsn_after, $size_after) = sizes($schema);
	my ($done) = $text =~ /^number of transactions actually processed: (\d+)/m;
	my ($failed) = $text =~ /^number of failed transactions: (\d+)/m;
	die "pgbench did nothing:\n$text" unless $done;

	my $items = $contender->{batch} ? $batch : 1;
	my @logs = glob("$work/log.*");
	my $tps = read_logs(\@logs, $warm, $cell->{latency} //= {});
	unlink @logs;
	push @{ $cell->{tps} }, defined $tps ? $tps * $items : undef;
	$cell->{operations} += $done * $items;
	$cell->{failed} += $failed // 0;
	$cell->{wal} += $lsn_after - $lsn;
	$cell->{size} += $size_after - $size;
	$counted{$schema} += $done * $items if $contender->{history};
}

my $cells = 0;
$cells += @{ $_->{cells} } for @groups;
printf "%d cells, %d round%s%s\n", $cells, $rounds, $rounds == 1 ? '' : 's',
  $quick ? '' : sprintf(', about %.0f minutes', $cells * $rounds * ($seconds + 0.35) / 60 + 0.5);

for my $round (1 .. $rounds)
{
	my $begin = time;
	for my $group (@groups)
	{
		# Each round begins with another contender.
		my @cells = @{ $group->{cells} };
		push @cells, splice(@cells, 0, (($round - 1) * 3) % @cells);
		for my $cell (@cells)
		{
			eval { run_cell($cell); 1 } or do
			{
				push @{ $cell->{tps} }, undef;
				push @failures, "$cell->{contender}{id}, $group->{shape}, $group->{sync}, $group->{clients}: $@";
				warn "$failures[-1]";
				# One cell that fails is no reason to stop; a server that is gone is.
				query('SELECT 1');
			};
		}
	}
	psql('-c', 'VACUUM');
	printf "round %d of %d: %.0f s\n", $round, $rounds, time - $begin;
}

# --- one statement over many users

# The time of the statement, and the CPU time of the backend that runs it, in
# microseconds per call.  Each round is rolled forward by all in turn.
sub run_one
{
	my ($one, $round) = @_;
	my $sql = $one->{sql};
	$sql =~ s/KEY/'one statement, round $round'/;
	my $stat = "SELECT extract(epoch FROM clock_timestamp()), pg_read_file('/proc/self/stat', 0, 4000, true);\n";
	my $file = "$work/one.sql";
	open(my $fh, '>', $file) or die "$file: $!\n";
	# The first call compiles and fills caches.
	my $warm_up = $one->{set} ? '' : "BEGIN;\n" . ($sql =~ s/bench\.one_users/(SELECT user_id FROM bench.one_users LIMIT 1) u/r)
	  . " \\g /dev/null\nROLLBACK;\n";
	print $fh "SET search_path = $one->{schema};\nSET ROLE bench_app;\n${warm_up}RESET ROLE;\n", $stat,
	  "SET ROLE bench_app;\n$sql \\g /dev/null\nRESET ROLE;\n", $stat;
	close $fh;
	my @lines = grep { /\S/ } split /\n/, psql('-f', $file);
	die "one statement, $one->{label}: unexpected output\n" unless @lines == 2;
	my (@time, @cpu);
	for (@lines)
	{
		my ($epoch, $proc) = split /\|/, $_, 2;
		push @time, $epoch;
		# utime and stime, in ticks of 10 ms, behind the command's name.
		my @fields = split ' ', ($proc // '') =~ s/^.*\)\s//r;
		push @cpu, @fields > 12 ? ($fields[11] + $fields[12]) / 100 : undef;
	}
	push @{ $one->{us} }, ($time[1] - $time[0]) * 1e6 / $most;
	push @{ $one->{cpu_us} }, defined $cpu[0] && defined $cpu[1] ? ($cpu[1] - $cpu[0]) * 1e6 / $most : undef;
	$counted{ $one->{schema} } += $most;
}

for my $round (1 .. $rounds)
{
	my @order = @one;
	push @order, splice(@order, 0, ($round - 1) % @order) if @order;
	for my $one (@order)
	{
		eval { run_one($one, $round); 1 } or do
		{
			push @{ $one->{us} }, undef;
			push @failures, "in one statement, $one->{id}: $@";
			warn $failures[-1];
		};
	}
	psql('-c', 'VACUUM') if @one && $round < $rounds;
}

# --- what was acknowledged is there: two rows per user at first, then one per
# operation

for my $schema (sort grep { $schemas{$_} && $_ ne 'plain_update' } keys %counted)
{
	next if @failures;
	my $account = $schema eq 'credits' ? 'credit_account' : 'account';
	my $stored = query("SELECT sum(history_seq) - 2 * count(*) FROM $schema.$account");
	push @failures, "$schema: $counted{$schema} operations were acknowledged, $stored are stored\n"
	  if $stored != $counted{$schema};
}

# --- results

for my $group (@groups)
{
	for my $cell (@{ $group->{cells} })
	{
		$cell->{summary} = summary(@{ $cell->{tps} }) or next;
		$cell->{p} = { map { $_ => percentile($cell->{latency}, $_ / 100) } 50, 95, 99, 99.9 };
		$cell->{wal_per} = $cell->{operations} ? $cell->{wal} / $cell->{operations} : undef;
		$cell->{size_per} = $cell->{operations} ? $cell->{size} / $cell->{operations} : undef;
	}
}
$_->{summary} = summary(@{ $_->{us} // [] }), $_->{cpu} = median(@{ $_->{cpu_us} // [] }) for @one;

my $cpus = () = (do { local (@ARGV, $/) = '/proc/cpuinfo'; -r '/proc/cpuinfo' ? <> : '' }) =~ /^processor\s*:/mg;
my $result = {
	users => $users, seconds => $seconds, rounds => $rounds, quick => $quick, batch => $batch,
	one_users => $most, cpus => $cpus, fsync_ms => $fsync, early => $early,
	server => query('SHOW server_version'), revision => $ENV{BENCH_REVISION},
	settings => [ split /\n/, $ENV{BENCH_SETTINGS} // '' ],
	started => $started, took => time - $started,
	groups => \@groups, one => \@one, failures => \@failures,
};
$result->{ratios} = [ ratios($result) ];
my $table = table($result);
print "\n$table";
open(my $fh, '>', "$work/table.txt") or die "table.txt: $!\n";
print $fh $table;
close $fh;
write_json($result, "$work/result.json");
write_chart($result, "$work/chart.svg");

print "\n", map({ "FAILED: $_" } @failures) if @failures;
exit(@failures ? 1 : 0);
