# What the TAP tests share: a server with the extension in it, sessions that
# can be left waiting, and many clients at once.
package CreditsTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IPC::Run ();
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

our @EXPORT = qw(
  new_server add_database adorn outcome is_outcome state_of json rows
  start_clients wait_clients wait_client run_clients client_results
  isolation poll_until await_recovery is_clean is_gapless no_deadlock session
);

# PostgreSQL::Test's own limit, for everything that waits here.
my $patience = $PostgreSQL::Test::Utils::timeout_default || 180;

# A running server whose database "postgres" has the extension.  clock: the
# ledger's time, fixed (so that no test depends on when it runs); conf: lines
# for its configuration; streaming: it may have standbys; install: of another
# PostgreSQL.
sub new_server
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, $opt{install} ? (install_path => $opt{install}) : ());

	$node->init(
		extra => [ '--no-locale', '-E', 'UTF8' ],
		$opt{streaming} ? (allows_streaming => 1) : ());
	$node->append_conf(
		'postgresql.conf', qq(
log_statement = none
max_connections = 50
shared_buffers = 32MB
autovacuum_naptime = 10min
timezone = 'UTC'
lc_messages = 'C'
) . ($opt{clock} ? "credits.clock = '$opt{clock}'\n" : '') . ($opt{conf} // ''));
	$node->start;
	create_extension($node, 'postgres');
	return $node;
}

sub create_extension
{
	my ($node, $db) = @_;

	$node->safe_psql($db, 'CREATE EXTENSION credits');
	adorn($node, $db);
	return;
}

# With CREDITS_ADORN (test/memory/adorned.sh), the tables get what apps and DBAs add.
sub adorn
{
	my ($node, $db) = @_;

	return unless $ENV{CREDITS_ADORN};
	$node->safe_psql($db, slurp_file("$ENV{TESTDIR}/sql/setup.sql"))
	  unless $node->safe_psql($db, q(SELECT to_regnamespace('t')));
	$node->safe_psql($db, 'CALL t.unadorn()');
	$node->safe_psql($db, "SELECT t.adorn('credits', '{$ENV{CREDITS_ADORN}}')");
	return;
}

sub add_database
{
	my ($node, $db) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	create_extension($node, $db);
	return;
}

# Run SQL in a connection of its own; give (SQLSTATE, output, error text).
# Stops at the first error.
sub outcome
{
	my ($node, $db, $sql) = @_;
	my ($out, $err) = ('', '');

	$node->psql(
		$db,
		"\\set VERBOSITY verbose\n$sql",
		stdout => \$out,
		stderr => \$err,
		on_error_stop => 1);
	return (state_of($err), $out, $err);
}

# The SQLSTATE in psql's verbose error text; 00000 when there is no error.
sub state_of
{
	my ($err) = @_;

	return $1 if $err =~ /(?:ERROR|FATAL|PANIC):  ([0-9A-Z]{5}):/;
	return $err =~ /connection to server was lost|server closed the connection/
	  ? '08006'
	  : '00000';
}

sub is_outcome
{
	my ($node, $db, $sql, $state, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($got, $out, $err) = outcome($node, $db, $sql);

	is($got, $state, $test) or diag("$sql\n$out\n$err");
	return wantarray ? ($out, $err) : $out;
}

sub json { return JSON::PP::decode_json($_[0]); }

# The lines of a query's answer, each split into its columns.
sub rows
{
	my ($node, $db, $sql) = @_;

	return map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql($db, $sql);
}

# Start one psql per script, each in a process of its own.  They do not stop at
# errors.  Output and errors go to files, so nothing has to be pumped.
sub start_clients
{
	my ($node, $db, $scripts, %opt) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $connstr = $node->connstr($db);
	my @clients;

	for my $script (@$scripts)
	{
		my $file = sprintf '%s/%03d', $dir, scalar @clients;

		open my $fh, '>', "$file.sql" or die "$file.sql: $!";
		print $fh "\\set VERBOSITY verbose\n", $script;
		close $fh or die "$file.sql: $!";

		my $pid = fork // die "fork: $!";
		if (!$pid)
		{
			# Only exec, or _exit: the parent's END blocks are not ours.
			local $ENV{PGOPTIONS} = $opt{options} // '';
			open STDIN, '<', '/dev/null' or POSIX::_exit(126);
			open STDOUT, '>', "$file.out" or POSIX::_exit(126);
			open STDERR, '>', "$file.err" or POSIX::_exit(126);
			no warnings 'exec';
			exec 'psql', '-XAtq', '-d', $connstr, '-f', "$file.sql"
			  or POSIX::_exit(127);
		}
		push @clients, { pid => $pid, file => $file };
	}
	return @clients;
}

sub has_ended
{
	my ($client) = @_;

	if (!defined $client->{rc} && waitpid($client->{pid}, POSIX::WNOHANG()) != 0)
	{
		$client->{rc} = $? >> 8;
	}
	return defined $client->{rc};
}

# Wait for one client, and read what it said.
sub wait_client
{
	my ($client) = @_;
	my $deadline = Time::HiRes::time() + $patience;

	until (has_ended($client))
	{
		if (Time::HiRes::time() > $deadline)
		{
			kill 'KILL', $client->{pid};
			die "a client did not end: $client->{file}.sql";
		}
		Time::HiRes::usleep(10_000);
	}
	$client->{out} = slurp_file("$client->{file}.out");
	$client->{err} = slurp_file("$client->{file}.err");
	return $client;
}

sub wait_clients { return map { wait_client($_) } @_; }

# Run all scripts at the same time.  With barrier, each client waits, connected,
# until all are there.
sub run_clients
{
	my ($node, $db, $scripts, %opt) = @_;

	return wait_clients(start_clients($node, $db, $scripts, %opt))
	  unless $opt{barrier};

	my $gate = session($node, $db);
	$gate->do('SELECT pg_advisory_lock(4711)');
	my @clients = start_clients(
		$node, $db,
		[ map { "SELECT '' FROM pg_advisory_lock_shared(4711);\n$_" } @$scripts ],
		%opt);
	my $n = @clients;
	poll_until(
		sub {
			for my $client (grep { has_ended($_) } @clients)
			{
				die "a client ended before it began:\n" . slurp_file("$client->{file}.err");
			}
			my ($state, $out) = $gate->run(
				"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
			);
			return $out eq $n;
		},
		'clients at the barrier') or die 'clients did not come to the barrier';
	$gate->do('SELECT pg_advisory_unlock(4711)');
	@clients = wait_clients(@clients);
	$gate->quit;
	return @clients;
}

# PGOPTIONS for an isolation level.
sub isolation { return '-c default_transaction_isolation=' . ($_[0] =~ s/ /\\ /r); }

# What a client printed after each of its calls with "\echo = NAME :SQLSTATE":
# a list of [NAME, SQLSTATE, the receipt or undef].
sub client_results
{
	my ($client) = @_;
	my (@results, $receipt);

	for my $line (split /\n/, $client->{out})
	{
		if ($line =~ /^= (\S+) (\S+)$/)
		{
			push @results, [ $1, $2, $receipt ];
			undef $receipt;
		}
		elsif ($line =~ /^\{/)
		{
			$receipt = json($line);
		}
	}
	return @results;
}

# Call $check until it is true; at most the usual patience.
sub poll_until
{
	my ($check, $what) = @_;
	my $deadline = Time::HiRes::time() + $patience;

	until ($check->())
	{
		if (Time::HiRes::time() > $deadline)
		{
			diag("waited in vain for: $what");
			return 0;
		}
		Time::HiRes::usleep(20_000);
	}
	return 1;
}

# Waits for the end of a server's recovery after a crash.  psql can end before it has read
# what it is told.
sub await_recovery
{
	my ($node) = @_;

	poll_until(sub { eval { $node->psql('postgres', 'SELECT 1', stderr => \my $ignored) == 0 } }, 'the server after its crash')
	  or die 'the server does not come back';
	return;
}

sub is_clean
{
	my ($node, $db, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is($node->safe_psql($db, 'SELECT * FROM credits_verify()'),
		'', $test // 'credits_verify() is clean');
}

# seq of every user runs from 1 without a gap up to the account's head.
sub is_gapless
{
	my ($node, $db, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(
		$node->safe_psql(
			$db, q(
SELECT a.user_id, a.history_seq, h.n, h.low, h.high
  FROM credit_account a FULL JOIN
       (SELECT user_id, count(*) AS n, min(seq) AS low, max(seq) AS high FROM credit_history GROUP BY user_id) h USING (user_id)
 WHERE (a.history_seq = h.n AND h.low = 1 AND h.high = h.n) IS NOT TRUE
)),
		'',
		$test // 'seq is gapless and ends at the head');
}

sub no_deadlock
{
	my ($node, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my $deadlocks = () = slurp_file($node->logfile) =~ /deadlock detected/g;
	return is($deadlocks, 0, $test // 'no deadlock in the log');
}

# A psql that stays: run() waits for the answer, send() does not.
sub session
{
	my ($node, $db) = @_;
	my $self = bless { stdin => '', stdout => '', stderr => '', sent => 0, done => 0 },
	  'CreditsTest::Session';

	$self->{timer} = IPC::Run::timeout($patience);
	$self->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($db), '-f', '-' ],
		'<', \$self->{stdin}, '>', \$self->{stdout}, '2>', \$self->{stderr},
		$self->{timer});
	$self->do('\set VERBOSITY verbose');
	$self->{pid} = $self->do('SELECT pg_backend_pid()');
	return $self;
}

package CreditsTest::Session;

use Test::More;

# Send one statement (or psql command) without waiting for its answer.
sub send
{
	my ($self, $sql) = @_;
	my $n = ++$self->{sent};

	$sql .= ';' unless $sql =~ /^\\/ || $sql =~ /;\s*$/;
	$self->{stdin} .= "$sql\n\\echo = done $n :SQLSTATE\n";
	$self->{timer}->start;	# it may have been idle for longer than that
	$self->{run}->pump_nb;
	return;
}

# The answer of the oldest statement not yet answered: (SQLSTATE, output).  A
# lost connection is 08006.  Errors' text is in {stderr} until the next answer.
sub answer
{
	my ($self) = @_;
	my $n = ++$self->{done};
	my $mark = qr/^= done $n (\S+)\n/m;

	$self->{timer}->start;
	while ($self->{stdout} !~ $mark)
	{
		if (!$self->{run}->pumpable)
		{
			$self->{run}->finish;
			return ('08006', $self->{stdout});
		}
		eval { $self->{run}->pump; 1 } or do
		{
			die $@ if $@ =~ /timeout/;

			# psql has gone; what it said is read at the next turn.
			next;
		};
	}
	$self->{stdout} =~ $mark or die;
	my ($state, $out) = ($1, substr($self->{stdout}, 0, $-[0]));
	$self->{stdout} = substr($self->{stdout}, $+[0]);
	$out =~ s/\n\z//;
	return ($state, $out);
}

sub run
{
	my ($self, $sql) = @_;

	$self->{stderr} = '';
	$self->send($sql);
	return $self->answer;
}

# Run what must not fail; give its output.
sub do
{
	my ($self, $sql) = @_;
	my ($state, $out) = $self->run($sql);

	# psql commands leave SQLSTATE as it was, and at first there is none.
	die "$sql: $state $self->{stderr}" unless $sql =~ /^\\/ || $state eq '00000';
	return $out;
}

sub pid { return $_[0]{pid}; }

sub is_state
{
	my ($self, $sql, $state, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($got, $out) = $self->run($sql);

	is($got, $state, $test) or diag("$sql\n$out\n$self->{stderr}");
	return $out;
}

sub quit
{
	my ($self) = @_;

	if ($self->{run}->pumpable)
	{
		$self->{stdin} .= "\\q\n";
		$self->{timer}->start;
		eval { $self->{run}->finish; 1 } or diag("a session's end: $@");
	}
	return;
}

1;
