# The servers of the torture, and what is done to them.
package TortureServer;

use strict;
use warnings FATAL => 'all';

use POSIX ();
use Time::HiRes qw(time usleep);
use TortureWire;

my $patience = 600;

# %opt: data, socket (directories), port, log (a file), wal (a directory elsewhere
# for the WAL).
sub new { my ($class, %opt) = @_; return bless {%opt}, $class; }

sub run
{
	my (@command) = @_;
	my $pid = fork // die "fork: $!";

	if (!$pid)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$ENV{TORTURE_DIR}/commands.log";
		open STDERR, '>&', \*STDOUT;
		exec @command or POSIX::_exit(127);
	}
	waitpid $pid, 0;
	return $? == 0;
}

sub must { run(@_) or die "@_: failed, see $ENV{TORTURE_DIR}/commands.log\n"; return; }

sub init
{
	my ($self, @conf) = @_;

	must('initdb', '-D', $self->{data}, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync', '--wal-segsize=1');
	$self->configure(@conf);
	return;
}

sub configure
{
	my ($self, @conf) = @_;

	open my $conf, '>>', "$self->{data}/postgresql.conf" or die $!;
	print $conf "$_\n" for @conf;
	close $conf;
	return;
}

# A copy of a stopped server's data.
sub copy_from
{
	my ($self, $template) = @_;

	must('rm', '-rf', $self->{data});
	must('cp', '-a', $template, $self->{data});
	if ($self->{wal})
	{
		must('rm', '-rf', "$self->{wal}/pg_wal");
		must('mv', "$self->{data}/pg_wal", "$self->{wal}/pg_wal");
		symlink "$self->{wal}/pg_wal", "$self->{data}/pg_wal" or die $!;
	}
	return;
}

sub start
{
	my ($self) = @_;

	mkdir $self->{socket};
	unlink "$self->{data}/postmaster.pid" if !grep { kill 0, $_ } $self->postmaster;
	must('pg_ctl', '-D', $self->{data}, '-l', $self->{log}, '-w', '-t', $patience,
		'-o', "-p $self->{port} -k $self->{socket} -c listen_addresses=''", 'start');
	return;
}

sub stop
{
	my ($self, $mode) = @_;

	return run('pg_ctl', '-D', $self->{data}, '-m', $mode, '-w', '-t', $patience, 'stop');
}

# For the torture itself: nobody cancels it.
sub connect
{
	my ($self, %options) = @_;
	my $until = time + $patience;

	while (time < $until)
	{
		my $db = TortureWire->connect($self->{socket}, $self->{port}, application_name => 'torture', %options);

		return $db if $db;
		usleep(20_000);
	}
	die "no connection to $self->{data}\n";
}

sub postmaster
{
	my ($self) = @_;

	open my $in, '<', "$self->{data}/postmaster.pid" or return;
	my $pid = <$in>;
	return $pid && $pid =~ /^(\d+)/ ? $1 : ();
}

# Its children, as the system sees them.
sub children
{
	my ($self) = @_;
	my ($postmaster) = $self->postmaster;
	my @children;

	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $in, '<', $stat or next;
		my $line = <$in> // next;
		push @children, $1 if $line =~ /^(\d+) \(.*\) \S (\d+) / && $2 == $postmaster;
	}
	return @children;
}

# Pids of the clients' sessions.
sub sessions
{
	my ($self, $name) = @_;
	my $db = $self->connect;
	my $only = defined $name ? "AND application_name = '$name'" : '';

	return map { $_->[0] }
	  $db->rows("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() $only");
}

sub wait_gone
{
	my (@pids) = @_;
	my $until = time + $patience;

	while (grep { kill 0, $_ } @pids)
	{
		die "processes of a killed server go on: @pids\n" if time > $until;
		usleep(10_000);
	}
	return;
}

# Fill the file system that holds $dir; give what frees it again.
sub fill
{
	my ($dir) = @_;
	my $file = "$dir/filler";
	my $block = "\0" x 65536;

	open my $out, '>', $file or die "$file: $!";
	for my $size (65536, 4096)
	{
		1 while syswrite $out, $block, $size;
	}
	close $out;
	return sub { unlink $file };
}

# A copy of a running server, as it is at the copying's end.
sub copy_running
{
	my ($self, $primary, @options) = @_;

	must('rm', '-rf', $self->{data});
	must('pg_basebackup', '-h', $primary->{socket}, '-p', $primary->{port}, '-U', 'postgres', '-D', $self->{data}, '-c', 'fast', '-X', 'stream', @options);
	$self->configure("synchronous_standby_names = ''");
	return;
}

# Become a streaming standby of another server, and its synchronous one.
sub follow
{
	my ($self, $primary) = @_;

	$self->copy_running($primary, '-R');
	$self->start;
	my $db = $primary->connect;
	usleep(20_000) until $db->value(q(SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')));
	return;
}

sub promote { must('pg_ctl', '-D', $_[0]{data}, '-w', '-t', $patience, 'promote'); return; }

# --- Faults.  Each leaves the server running, or down; the caller starts it if it
# is down.  They get the server and a random number of seconds for how long.

my %fault = (
	none => sub { },
	'kill a backend' => sub {
		my ($self) = @_;
		my @pids = $self->sessions;

		kill 'KILL', $pids[ rand @pids ] if @pids;
	},
	'kill the postmaster' => sub {
		my ($self) = @_;
		my @pids = ($self->postmaster, $self->children);

		kill 'KILL', $pids[0];
		wait_gone(@pids);
	},
	'kill all' => sub {
		my ($self) = @_;
		my @pids = ($self->postmaster, $self->children);

		kill 'KILL', @pids;
		wait_gone(@pids);
	},
	'immediate stop' => sub { $_[0]->stop('immediate') },
	'fast stop' => sub { $_[0]->stop('fast') },
	'terminate sessions' => sub {
		my ($self, $seconds) = @_;
		my $until = time + $seconds;

		while (time < $until)
		{
			my @pids = $self->sessions;

			$self->connect->rows("SELECT pg_terminate_backend($_)") for @pids ? $pids[ rand @pids ] : ();
			usleep(10_000);
		}
	},
	'no memory' => sub {
		my ($self, $seconds) = @_;
		my $until = time + $seconds;
		my %limited;

		# What a session has it keeps, and gets no more.  Only those that have taken a
		# snapshot of each kind: where memory ends between the two arrays of its first one
		# (GetSnapshotData), the server writes through NULL at the next.
		while (time < $until)
		{
			for my $pid ($self->sessions('has snapshots'))
			{
				open my $in, '<', "/proc/$pid/statm" or next;
				my ($pages) = split ' ', <$in> // next;

				run('prlimit', "--pid=$pid", '--as=' . ($pages * 4096 + int rand 200_000) . ':');
			}
			usleep(20_000);
		}
		for my $pid (eval { $self->sessions })
		{
			run('prlimit', "--pid=$pid", '--as=unlimited:');
		}
	},
	'no room for data' => sub {
		my ($self, $seconds) = @_;
		my $free = fill("$self->{data}/..");

		usleep($seconds * 1_000_000);
		$free->();
	},
	'no room for WAL' => sub {
		my ($self, $seconds) = @_;
		my $free = fill($self->{wal});
		my ($postmaster) = $self->postmaster;

		# The server gives up, or not, if nobody wanted a new segment.
		my $until = time + 3 + $seconds;
		usleep(20_000) while time < $until && kill 0, $postmaster;
		$free->();
		$self->stop('immediate');
	});

sub hurt
{
	my ($self, $fault, $seconds) = @_;

	$fault{$fault}->($self, $seconds);
	my ($postmaster) = $self->postmaster;
	$self->start if !$postmaster || !kill 0, $postmaster;
	$self->connect;
	return;
}

1;
