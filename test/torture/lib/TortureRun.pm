# One seed: clients and disturbers against a server, perhaps a fault in the middle,
# then the check.  A seed decides what is tried; how it interleaves, the machine.
package TortureRun;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use POSIX ();
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime time usleep);
use TortureCheck;
use TortureLoad;
use TortureServer;

our @EXPORT_OK = qw(prepare run_seed check_seed export_tables);

my @conf = (
	'shared_buffers = 16MB', 'max_connections = 80', 'max_prepared_transactions = 60', 'fsync = on', 'wal_writer_delay = 10s', 'wal_writer_flush_after = 0',
	'deadlock_timeout = 50ms', 'autovacuum_naptime = 1s', 'checkpoint_timeout = 30s', 'min_wal_size = 4MB', 'max_wal_size = 24MB', 'wal_recycle = off',
	'wal_level = replica', 'max_wal_senders = 4', 'hot_standby = on', "timezone = 'UTC'", "lc_messages = 'C'",
	'logging_collector = off', 'log_min_messages = log', 'log_min_error_statement = panic', 'restart_after_crash = on');

# The fixed time that a jumping clock begins at.
my $base = 1_770_000_000;

# A stopped server with the extension and plans in it, to be copied.
sub prepare
{
	my ($dir) = @_;
	my $server = TortureServer->new(data => "$dir/template", socket => "$dir/s", port => 65431, log => "$dir/template.log");

	$server->init(@conf);
	$server->start;
	my $db = $server->connect;
	$db->rows($_) for 'CREATE EXTENSION credits', 'CREATE EXTENSION amcheck',
	  "SET credits.clock = '2026-01-01 00:00:00+00'",
	  "SELECT credits_define_plan('small', 40, low_balance_threshold => 12)", "SELECT credits_define_plan('big', 300, 'anniversary')",
	  "SELECT credits_define_plan('rolling', 100, 'anniversary', 30, 10)", "SELECT credits_define_plan('bulk', 300)",
	  "SELECT credits_define_plan('day', 15, 'daily', 20)", "SELECT credits_define_plan('week', 50, 'weekly')",
	  "SELECT credits_define_plan('year', 1200, 'yearly', 100)",
	  TortureBulk::source_tables();
	$server->stop('fast');
	return $server->{data};
}

# A process of its own, which ends without our END blocks.
sub in_background
{
	my ($what) = @_;
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	my $ok = eval { $what->(); 1 };
	if (!$ok)
	{
		open my $out, '>>', "$ENV{TORTURE_DIR}/deaths.log";
		print $out "$@\n";
		close $out;
	}
	POSIX::_exit($ok ? 0 : 1);
}

sub append
{
	my ($file, $line) = @_;

	open my $out, '>>', $file or die "$file: $!";
	print $out "$line\n";
	close $out;
	return;
}

# Cancels sessions, verifies, anchors, and moves the ledger's clock.
sub disturb
{
	my ($world) = @_;
	my ($seed, $dir) = @$world{qw(seed dir)};
	my ($clock, $db) = (0);

	srand(TortureLoad::scattered("$world->{number} disturber"));
	until (-e "$dir/stop-all")
	{
		$db = TortureWire->connect(where($world)) if !$db || !$db->{alive};
		if (!$db)
		{
			usleep(20_000);
			next;
		}
		if (rand() < 0.5)
		{
			$db->query(
				q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'active'
				  AND pid <> pg_backend_pid() AND application_name <> 'torture' ORDER BY random() LIMIT 1));
		}
		if (rand() < 0.04)
		{
			my $found = $db->query('SELECT * FROM credits_verify()');

			append("$dir/disturber.log", "verify\t" . join ' ', map { $_ // '' } @$_)
			  for $found && $found->{state} eq '00000' ? @{ $found->{rows} } : ();
		}
		if (rand() < 0.04)
		{
			my $anchor = $db->query(q(SELECT credits_anchor() ->> 'anchor'));

			append("$dir/anchors.log", $anchor->{rows}[0][0]) if $anchor && $anchor->{state} eq '00000';
		}
		if (defined $seed->{jumping} && rand() < 0.2)
		{
			# Sometimes back a little, as clocks do.
			$clock += rand() < 0.8 ? rand(86400 * 4) : -rand(7200);
			$db->query('ALTER SYSTEM SET credits.clock = ' . TortureWire::quote(clock_at($clock)));
			$db->query('SELECT pg_reload_conf()');
		}
		usleep(30_000);
	}
	return;
}

sub clock_at { return TortureLoad::timestamp($base + $_[0]) . '+00'; }

# What a seed is: all of it follows from the number.
sub traits
{
	my ($number, %opt) = @_;
	my $fault = $opt{faults}[ $number % @{ $opt{faults} } ];

	srand(TortureLoad::scattered($number));
	return {
		hot => 1 + int rand 4,
		many => (20, 60, 200)[ rand 3 ],
		jumping => rand() < 0.4 ? 1 : undef,
		early => (0, 0, 0.6, 1)[ rand 4 ],
		retention => ('90d', 0)[ rand 2 ],
		bulk => (0.003, 0.02, $fault eq 'none' ? 0.03 : 0.2)[ rand 3 ],
		fault => $fault,
		when => 0.7 + rand 1.3,
		long => 0.2 + rand 0.6 };
}

my $columns = 'user_id, seq, kind, amount, monthly_delta, granted_delta, purchased_delta, monthly, granted, purchased, '
  . join(', ', map { "coalesce($_, 0) AS $_" } qw(held_monthly held_granted held_purchased owed_monthly owed_purchased expired forfeited))
  . ', ref_seq, skipped, payment_ref, spender, allocations, period, plan, plan_version, period_granted, status, time_zone, scheduled_plan, overdraft_limit, '
  . 'cycle_anchor, period_start, period_share, cycle, last_left, last_limit, last_undone, low_threshold, crossed, '
  . q(idempotency_key, run_id, reason, metadata ->> 'meta' AS meta, num_nonnulls(reason_digest, metadata_digest) > 0 AS erased, )
  . q(num_nonnulls(reason, metadata, text_salt) > 0 AS texts, encode(hash, 'hex') AS hash, created_at, effective_at, ends_at, next_reset_at);
my %tables = (
	history => "SELECT $columns, false AS archived FROM credit_history UNION ALL SELECT $columns, true FROM credit_history_archive ORDER BY user_id, seq",
	account => q(SELECT user_id, history_seq AS seq, monthly, granted, purchased, held_monthly, held_granted, held_purchased,
		owed_monthly, owed_purchased, status, plan, plan_version, scheduled_plan, time_zone, cycle_anchor, overdraft_limit, effective_at,
		period, period_granted, period_share, cycle, last_left, last_limit, last_undone, low_threshold, plan_threshold,
		coalesce(level, 'ok') AS level, coalesce(flags, 0) AS flags, coalesce(forfeited, 0) AS forfeits,
		coalesce(charged_monthly, 0) AS charged_monthly, coalesce(charged_purchased, 0) AS charged_purchased,
		coalesce(last_charged, 0) AS last_charged, coalesce(last_closed_seq, 0) AS last_closed_seq,
		coalesce(closed_seq, 0) AS closed_seq, last_monthly_reset AS period_start, next_reset_at, encode(history_hash, 'hex') AS hash FROM credit_account),
	payment => q(SELECT payment_ref, user_id, seq, CASE WHEN granted THEN 'grant' ELSE 'purchase' END AS kind, amount, revoked,
		coalesce(reported, 0) AS reported
		FROM credit_payment),
	plan => 'SELECT plan, version, effective_from, monthly_credits, rollover_limit, low_balance_threshold, cycle FROM credit_plan',
	grant => q(SELECT user_id, seq, amount, remaining, closed, ends_at, coalesce(expired, 0) AS expired, coalesce(elsewhere, 0) AS elsewhere
		FROM credit_grant),
	hold => 'SELECT user_id, seq, state, monthly, purchased, period, coalesce(given_back, 0) AS given_back, allocations FROM credit_hold',
	leaf => 'SELECT user_id, max(seq) AS seq FROM credit_anchor_leaf GROUP BY user_id',
	erasure => q(SELECT subject AS user_id, sum((after ->> 'rows')::bigint) AS rows FROM credit_audit_log WHERE action = 'erase_user' GROUP BY subject),
	run => q(SELECT run_id, kind, state, accounts, credits_granted AS granted, credits_expired AS expired, failures,
		(SELECT string_agg((f ->> 'user_id') || ' ' || (f ->> 'sqlstate'), ',') FROM jsonb_array_elements(failed) f) AS failed
		FROM credit_reset_run WHERE kind <> 'verify'));

our @tables = sort keys %tables;

sub export_tables
{
	my ($server, $dir) = @_;
	my $db = $server->connect;

	for my $name (sort keys %tables)
	{
		my $sql = $tables{$name} =~ s/\s+/ /gr;

		# The names of the columns are the answer of a query without rows.
		my $head = join "\t", map { $_->[0] } $db->rows(
			"CREATE TEMP VIEW v_$name AS $sql; SELECT attname FROM pg_attribute WHERE attrelid = 'v_$name'::regclass AND attnum > 0 ORDER BY attnum");
		TortureServer::must('sh', '-c', 'echo "$1" >"$2" && psql -XAtq -h "$3" -p "$4" -U postgres -d postgres -c "$5" >>"$2"',
			'sh', $head, "$dir/$name.tsv", $server->{socket}, $server->{port}, "COPY ($sql) TO STDOUT");
	}
	return;
}

# A seed's server, started, and what its clients have to know.
sub new_world
{
	my ($number, %opt) = @_;
	my $seed = traits($number, %opt);
	my $dir = "$opt{dir}/$opt{name}_$number";
	my %server = (socket => "$opt{dir}/s", log => "$dir/server.log");
	my $world = { %opt, number => $number, seed => $seed, dir => $dir, problems => [] };
	my $server = $world->{server} = TortureServer->new(%server, data => "$opt{room}/data", port => 65432, wal => $opt{wal});

	mkdir $dir or die "$dir: $!";
	$server->copy_from($opt{template});
	$server->configure('credits.clock = ' . TortureWire::quote(clock_at(0))) if $seed->{jumping};
	$server->configure("credits.key_retention = '$seed->{retention}'");
	$server->configure("synchronous_standby_names = '*'", 'synchronous_commit = local') if $seed->{fault} eq 'promote the standby';
	$server->start;
	$world->{other} = TortureServer->new(%server, data => "$opt{room}/other", port => 65433);
	$world->{other}->follow($server) if $seed->{fault} eq 'promote the standby';
	go_to($world, $server);
	$world->{load} = {
		seed => $number, where => sub { where($world) }, stop => sub { -e "$dir/stop" }, give_up => sub { -e "$dir/give-up" },
		hot => $seed->{hot}, many => $seed->{many}, mode => $seed->{jumping} ? 'jumping' : 'real', base => $base, early => $seed->{early},
		bulk => $seed->{bulk}, prepared => 1, synchronous => $seed->{fault} eq 'promote the standby', epoch => clock_gettime(CLOCK_MONOTONIC),
		ops => int($opt{ops} / $opt{clients}) };
	return $world;
}

# Which server the clients go to is in a file, because it can change.
sub go_to
{
	my ($world, $server) = @_;

	append("$world->{dir}/server.new", "$server->{socket} $server->{port}");
	rename "$world->{dir}/server.new", "$world->{dir}/server" or die $!;
	return;
}

sub where
{
	my ($world) = @_;

	open my $in, '<', "$world->{dir}/server" or return;
	return split ' ', <$in>;
}

sub start_load
{
	my ($world) = @_;
	my $dir = $world->{dir};

	my $first = TortureLoad->new(%{ $world->{load} }, number => 0, journal => "$dir/client_0.log");
	$first->begin;
	$first->begin_bulk;
	$world->{disturber} = in_background(sub { disturb($world) });
	for my $client (1 .. $world->{clients})
	{
		push @{ $world->{running} }, in_background(
			sub {
				my $stats = TortureLoad->new(%{ $world->{load} }, number => $client, journal => "$dir/client_$client.log")->run;

				append("$dir/stats_$client", join "\n", map { "$_\t$stats->{$_}" } keys %$stats);
			});
	}
	return;
}

sub end_load
{
	my ($world) = @_;

	for my $client (@{ $world->{running} })
	{
		waitpid $client, 0;
		push @{ $world->{problems} }, "a client died: see $ENV{TORTURE_DIR}/deaths.log" if $?;
	}
	append("$world->{dir}/stop-all", '');
	waitpid $world->{disturber}, 0;
	return;
}

# What happens in the middle of the load.
sub hurt
{
	my ($world) = @_;
	my ($seed, $server, $other) = @$world{qw(seed server other)};

	if ($seed->{fault} eq 'promote the standby')
	{
		$server->stop('immediate');
		$other->promote;
		go_to($world, $other);
		$world->{server} = $other;
	}
	elsif ($seed->{fault} eq 'restore a backup') { $other->copy_running($server); }
	else { $server->hurt($seed->{fault}, $seed->{long}); }
	return;
}

# Run a seed.  %opt: dir (the torture's), room (where servers have theirs), wal (where the WAL
# goes, if elsewhere), template, name, ops, clients, faults (the number decides which; none
# is one).  Without a fault it ends after ops calls, with one soon after it.  Gives the world.
sub run_seed
{
	my ($number, %opt) = @_;
	my $world = new_world($number, %opt);
	my ($seed, $dir) = @$world{qw(seed dir)};

	start_load($world);
	if ($seed->{fault} ne 'none')
	{
		usleep($seed->{when} * 1_000_000);
		if (!eval { hurt($world); 1 })
		{
			push @{ $world->{problems} }, "$seed->{fault}: $@";
			append("$dir/give-up", '');
		}
		usleep(500_000);
		append("$dir/stop", '');
	}
	end_load($world);
	if (!@{ $world->{problems} })
	{
		my $server = $world->{server};

		push @{ $world->{problems} }, after($world);
		export_tables($server, $dir);
		push @{ $world->{problems} }, forked($world) if $seed->{fault} eq 'restore a backup';
		$server->stop('fast') or push @{ $world->{problems} }, 'the server did not stop';
	}
	else
	{
		# The next seed needs its place.
		$_->stop('immediate') for @$world{qw(server other)};
	}
	return $world;
}

# A copy of the server, made under the load, that goes on by itself: in order, but
# not the one that a later anchor is of.
sub forked
{
	my ($world) = @_;
	my ($server, $other) = @$world{qw(server other)};
	my $anchor = $server->connect->value(q(SELECT credits_anchor() ->> 'anchor'));
	my $verify = 'SELECT string_agg(problem, $$; $$) FROM credits_verify_anchor(' . TortureWire::quote($anchor) . ')';
	my ($number) = $anchor =~ /^\S+ (\d+)/;
	my @problems;

	$other->start;
	my $db = $other->connect;

	# Who had prepared these has gone on with the other server.
	$db->rows("ROLLBACK PREPARED '$_->[0]'") for $db->rows('SELECT gid FROM pg_prepared_xacts');
	my $problem = $db->value($verify) // 'nothing';
	push @problems, "the restored server, asked for a later anchor, says $problem" if $problem !~ /rolled back|another anchor/;
	$world->{load}{number} = 99;
	TortureLoad->new(%{ $world->{load} }, where => sub { @$other{qw(socket port)} }, stop => sub { 0 }, ops => 50, journal => "$world->{dir}/fork.log")->run;
	$db->rows('SELECT credits_anchor()') until ($db->value('SELECT max(anchor_no) FROM credit_anchor') // 0) >= $number;
	$problem = $db->value($verify) // 'nothing';
	push @problems, "the restored server that went on says $problem" if $problem !~ /another anchor/;
	push @problems, map { "credits_verify() of the restored server: @$_[3]" } $db->rows('SELECT * FROM credits_verify()');
	$other->stop('fast');
	return @problems;
}

# What the server itself says of itself.
sub after
{
	my ($world) = @_;
	my ($server, $dir) = @$world{qw(server dir)};
	my $db = $server->connect;
	my @problems;

	# Runs that died are found by the next.  And what has become due is written: a
	# refusal may have seen it.
	$db->rows('CALL credits_run_reset()');
	push @problems, map { "credits_verify(): " . join ' ', map { $_ // '' } @$_ } $db->rows('SELECT * FROM credits_verify()');
	push @problems, map { "a transaction is left prepared: $_->[0]" } $db->rows('SELECT gid FROM pg_prepared_xacts');
	if (open my $in, '<', "$dir/anchors.log")
	{
		my @anchors = <$in>;

		for my $anchor (grep { defined } @anchors[ 0, -1 ])
		{
			chomp $anchor;
			push @problems, map { "an anchor: " . join ' ', map { $_ // '' } @$_ } $db->rows('SELECT * FROM credits_verify_anchor(' . TortureWire::quote($anchor) . ')');
		}
	}
	TortureServer::run('pg_amcheck', '-h', $server->{socket}, '-p', $server->{port}, '-U', 'postgres', '--heapallindexed', '-t', 'public.credit*', 'postgres')
	  or push @problems, 'pg_amcheck is not content';
	if (open my $in, '<', "$dir/disturber.log") { push @problems, "during the load: $_" for <$in>; }
	open my $in, '<', $server->{log} or die "$server->{log}: $!";
	push @problems, grep { /TRAP:|terminated by signal 11\b|PANIC:(?!.*(?:No space left on device|out of memory))/ } <$in>;
	return @problems;
}

# What happens to no more than sessions, and what lets the server write all it has.
my %remembers = map { ($_ => 1) }
  ('none', 'fast stop', 'terminate sessions', 'no memory', 'no room for data', 'restore a backup');

# Check what a seed left behind: (problems, stats).
sub check_seed
{
	my ($world) = @_;
	my ($seed, $dir) = @$world{qw(seed dir)};
	my $check = TortureCheck->new($dir, jumping => $seed->{jumping}, retention => $seed->{retention}, forgetful => !$remembers{ $seed->{fault} });
	my @problems = (@{ $world->{problems} }, @{ $world->{problems} } ? () : $check->check);
	my %stats = %{ $check->{stats} };

	for my $file (glob "$dir/stats_*")
	{
		open my $in, '<', $file or die "$file: $!";
		while (<$in>) { $stats{ (split /\t/)[0] } += (split /\t/)[1]; }
	}
	return (\@problems, \%stats);
}

1;
