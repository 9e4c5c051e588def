# Talking to the server: psql, pgbench, databases, sizes, and what /proc says
# about backends.
package Bench::Db;
use strict;
use warnings;
use IO::Select;
use Time::HiRes qw(time sleep);
use Bench::Stats qw(median read_samples);
use Exporter 'import';
our @EXPORT_OK = qw(psql query load create_database drop_database sizes measured pgbench pgbench_start
  pgbench_finish hold_snapshot release_snapshot watch_memory fsync_ms);

# The output of a command; dies with it if the command fails.
sub output
{
	my (@command) = @_;
	open(my $pipe, '-|', @command) or die "$command[0]: $!\n";
	return finish($pipe, $command[0]);
}

sub finish
{
	my ($pipe, $name) = @_;
	local $/;
	my $text = <$pipe> // '';
	close $pipe;
	# Of what many clients say, the first will do.
	die "$name failed (status $?)\n" . join('', grep { defined } (split /^/, $text)[0 .. 9]) if $?;
	return $text;
}

my @psql = qw(psql -X -q -A -t -v ON_ERROR_STOP=1);
sub psql { return output(@psql, @_) }
sub query { my $text = psql('-c', $_[0]); chomp $text; return $text }

# load(FILE, %VARIABLES): a script of sql/.
sub load
{
	my ($file, %variables) = @_;
	return psql((map { ('-v', "$_=$variables{$_}") } sort keys %variables), '-f', $file);
}

# create_database(NAME): all that follows goes there.
sub create_database
{
	my ($name) = @_;
	output(@psql, '-d', 'postgres', '-c', "CREATE DATABASE $name");
	$ENV{PGDATABASE} = $name;
}

sub drop_database
{
	my ($name) = @_;
	$ENV{PGDATABASE} = 'postgres';
	psql('-c', "DROP DATABASE IF EXISTS $name WITH (FORCE)");
}

my %relations = (
	plain    => "'account', 'history'",
	credits  => "'credit_account', 'credit_history', 'credit_payment'",
	pgledger => "'pgledger_accounts', 'pgledger_transfers', 'pgledger_entries'",
);

# sizes(SCHEMA): where the WAL is, and how large the contender's tables and
# indexes are.
sub sizes
{
	my ($schema) = @_;
	my $names = $relations{ $schema =~ /^plain/ ? 'plain' : $schema || 'plain' };
	return split /\|/, query("SELECT pg_current_wal_insert_lsn() - '0/0', coalesce(sum(pg_total_relation_size(c.oid)), 0) "
		. "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = '$schema' AND relname IN ($names)");
}

# measured(WORK, ROLE, STEPS): steps are [ BEFORE, SQL ], run in one session,
# by ROLE if it is not ''.  Returns per step how long its SQL took, in seconds,
# and the CPU time of the backend, where there is a /proc.
sub measured
{
	my ($work, $role, @steps) = @_;
	my $stat = "SELECT extract(epoch FROM clock_timestamp()), pg_read_file('/proc/self/schedstat', 0, 100, true);\n";
	my ($on, $off) = $role ? ("SET ROLE $role;\n", "RESET ROLE;\n") : ('', '');
	my $file = "$work/measured.sql";
	open(my $fh, '>', $file) or die "$file: $!\n";
	print $fh map { "$on$_->[0]\n$off$stat$on$_->[1] \\g /dev/null\n$off$stat" } @steps;
	close $fh;
	my @lines = grep { /\S/ } split /\n/, psql('-f', $file);
	die "unexpected output:\n@lines\n" unless @lines == 2 * @steps;
	my @measured;
	while (my @pair = splice @lines, 0, 2)
	{
		# The first number is nanoseconds on a processor.
		my ($begin, $end) = map { [ /^([\d.]+)\|(\d*)/ ] } @pair;
		push @measured, [ $end->[0] - $begin->[0], $begin->[1] ne '' ? ($end->[1] - $begin->[1]) / 1e9 : undef ];
	}
	return @measured;
}

# pgbench_start(%ARGUMENTS): work; scripts: texts; clients; seconds, or
# transactions of each client; settings: of its sessions; define: variables.
sub pgbench_start
{
	my (%a) = @_;
	my @files;
	for my $text (@{ $a{scripts} })
	{
		my $file = sprintf '%s/script%d.sql', $a{work}, scalar @files;
		open(my $fh, '>', $file) or die "$file: $!\n";
		print $fh $text;
		close $fh;
		push @files, $file;
	}
	local $ENV{PGOPTIONS} = join ' ', map { "-c $_" } @{ $a{settings} // [] };
	unlink glob("$a{work}/log.*");
	open(my $pipe, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh',
		'pgbench', '-n', '-M', 'prepared', '-U', 'bench_app', '-c', $a{clients}, '-j', $a{clients} > 1 ? 2 : 1,
		$a{seconds} ? ('-T', $a{seconds}) : ('-t', $a{transactions}),
		(map { ('-D', "$_=$a{define}{$_}") } sort keys %{ $a{define} // {} }),
		'-l', '--log-prefix', "$a{work}/log", map { ('-f', $_) } @files) or die "pgbench: $!\n";
	return { pipe => $pipe, work => $a{work} };
}

# pgbench_finish(STARTED): done, failed, and the samples of read_samples.
sub pgbench_finish
{
	my ($started) = @_;
	my $text = finish($started->{pipe}, 'pgbench');
	my ($done) = $text =~ /^number of transactions actually processed: (\d+)/m;
	my ($failed) = $text =~ /^number of failed transactions: (\d+)/m;
	die "pgbench did nothing:\n$text" unless $done;
	my @logs = glob("$started->{work}/log.*");
	my $samples = read_samples(@logs);
	unlink @logs;
	return { done => $done, failed => $failed // 0, samples => $samples };
}

sub pgbench { return pgbench_finish(pgbench_start(@_)) }

# hold_snapshot(): a session with a REPEATABLE READ transaction that has begun
# to read, and goes on until release_snapshot().
sub hold_snapshot
{
	local $ENV{PGAPPNAME} = 'bench_snapshot';
	open(my $pipe, '|-', @psql, '-o', '/dev/null') or die "psql: $!\n";
	$pipe->autoflush(1);
	print $pipe "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT count(*) FROM pg_class;\n";
	wait_until("SELECT count(*) = 1 FROM pg_stat_activity "
		  . "WHERE application_name = 'bench_snapshot' AND state = 'idle in transaction'");
	return $pipe;
}

sub release_snapshot
{
	my ($pipe) = @_;
	print $pipe "ROLLBACK;\n";
	close $pipe;
	wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'bench_snapshot'");
}

sub wait_until
{
	my ($sql) = @_;
	for (1 .. 200)
	{
		return if query($sql) eq 't';
		sleep 0.05;
	}
	die "never came true: $sql\n";
}

sub slurp
{
	my ($file) = @_;
	open(my $fh, '<', $file) or return '';
	local $/;
	return <$fh> // '';
}

# The server's processes, by their parent.
sub server_pids
{
	my ($postmaster) = @_;
	my @pids;
	for my $pid (map { m{/proc/(\d+)$} } glob('/proc/[0-9]*'))
	{
		my (undef, $parent) = split ' ', slurp("/proc/$pid/stat") =~ s/^.*\)\s//r;
		push @pids, $pid if ($parent // 0) == $postmaster;
	}
	return @pids;
}

# watch_memory(SQL): runs SQL and looks at the processes that the server has
# started for it.  Returns the answer, the seconds it took, the peak of their
# private memory together in bytes (undef without a /proc), and the most
# processes seen.
sub watch_memory
{
	my ($sql) = @_;
	my ($postmaster) = slurp(query('SHOW data_directory') . '/postmaster.pid') =~ /^(\d+)/;
	my %before = map { $_ => 1 } server_pids($postmaster);
	my $begin = time;
	open(my $pipe, '-|', @psql, '-c', $sql) or die "psql: $!\n";
	my $select = IO::Select->new($pipe);
	my ($peak, $most) = (undef, 0);
	until ($select->can_read(0.1))
	{
		my ($sum, $n) = (0, 0);
		for my $pid (grep { !$before{$_} } server_pids($postmaster))
		{
			my ($kb) = slurp("/proc/$pid/status") =~ /^RssAnon:\s*(\d+)/m or next;
			$sum += $kb * 1024;
			$n++;
		}
		$peak = $sum if $n && $sum > ($peak // 0);
		$most = $n if $n > $most;
	}
	my $answer = finish($pipe, 'psql');
	chomp $answer;
	return ($answer, time - $begin, $peak, $most);
}

# How long this machine takes to make 8 kB durable, which bounds every commit.
sub fsync_ms
{
	my ($work) = @_;
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

1;
