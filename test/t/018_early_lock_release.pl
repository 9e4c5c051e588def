# credits.early_lock_release: others get the account before the commit is
# durable, the caller hears after; nothing that was acknowledged is lost; and
# every way in which a transaction can end leaves synchronous_commit as it was.
# For accounts that everybody wants (GaloyMoney/cala#776).
#
# EARLY_STOPS: how many immediate stops (20).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 64;
my $stops = $ENV{EARLY_STOPS} // 20;

# Clients that all spend one user's credits.  Two share each key, so that half of
# the calls are replays, which must not be acknowledged before the first either.
# pgbench logs a line for each transaction that was answered; a client's Nth line
# is its Nth key.
sub start_load
{
	my ($node, $round, $count) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $load = { dir => $dir, output => '', round => $round };

	append_to_file(
		"$dir/script", qq(
\\set n :n + 1
SELECT credits_deduct('hot', 1, NULL, concat_ws('_', '$round', :client_id / 2, :n));
));
	$load->{run} = IPC::Run::start(
		[
			'pgbench', '-n', '-c', $count, '-j', 2, '-T', 600, '-D', 'n=0',
			'-l', '--log-prefix', "$dir/log", '-f', "$dir/script", $node->connstr('postgres')
		],
		'<', \undef, '>&', \$load->{output});
	return $load;
}

# The keys that were acknowledged, once the server is gone.
sub acknowledged
{
	my ($load) = @_;
	my (%answered, %keys);

	$load->{run}->finish;
	for my $line (map { split /\n/, slurp_file($_) } glob "$load->{dir}/log.*")
	{
		my ($client) = split / /, $line;

		$keys{ join '_', $load->{round}, int($client / 2), ++$answered{$client} } = 1;
	}
	return keys %keys;
}

sub rows_written
{
	return $_[0]->safe_psql('postgres', q(SELECT history_seq FROM credit_account WHERE user_id = 'hot'));
}

sub keys_written
{
	return map { ($_->[0] => 1) } rows($_[0], 'postgres',
		q(SELECT idempotency_key FROM credit_history WHERE idempotency_key <> ''));
}

sub none_missing
{
	my ($node, $acknowledged, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %written = keys_written($node);
	my @missing = grep { !$written{$_} } @$acknowledged;

	return is(scalar(@missing), 0, $test)
	  || diag(@missing . ' of ' . @$acknowledged . " are missing, the first is $missing[0]");
}

# --- Crashes.  The WAL writer is slow, or it would write what a backend forgot.

my $node = new_server(
	'crash',
	clock => '2026-01-15 12:00:00+00',
	conf => qq(
fsync = on
max_connections = 100
wal_writer_delay = 10s
wal_writer_flush_after = 0
credits.early_lock_release = on
));
$node->safe_psql(
	'postgres', q(
SELECT credits_define_plan('big', 100000000);
SELECT credits_open_account('hot', 'big');
));

my @all;
for my $round (1 .. $stops)
{
	my $before = rows_written($node);
	my $load = start_load($node, $round, $clients);

	poll_until(sub { return rows_written($node) > $before + 200 + 20 * ($round % 5) }, 'enough load')
	  or die "no load: $load->{output}";
	$node->stop('immediate');

	my @now = acknowledged($load);
	note("stop $round: " . @now . ' keys acknowledged');
	die $load->{output} if @now < 100;
	push @all, @now;
	$node->start;
	none_missing($node, \@now, "stop $round: every acknowledged key is in the history");
}
none_missing($node, \@all, 'after the last, every key of all of them');
is_gapless($node, 'postgres');
is_clean($node, 'postgres');
$node->stop;

# --- Commit paths.  A synchronous standby that is not there makes commits wait
# for ever, so that one can look at what a waiting one has let go of.

my $primary = new_server(
	'primary',
	streaming => 1,
	clock => '2026-01-15 12:00:00+00',
	conf => qq(
synchronous_standby_names = 'standby'
synchronous_commit = local
max_prepared_transactions = 5
));
$primary->safe_psql(
	'postgres', q(
SELECT credits_define_plan('big', 1000000);
SELECT credits_open_account('hot', 'big');
SELECT credits_open_account('admin', 'big');
SELECT credits_deduct('hot', 1, NULL, 'old key');
CREATE TABLE work (n int PRIMARY KEY);
CREATE TABLE gone (n int);
CREATE TABLE skew (n int PRIMARY KEY, v int);
INSERT INTO skew VALUES (1, 0), (2, 0);
CREATE TABLE late (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
INSERT INTO late VALUES (1);
CREATE FUNCTION spend_off() RETURNS jsonb LANGUAGE sql SET synchronous_commit = off
	AS $$ SELECT credits_deduct('hot', 1) $$;
CREATE FUNCTION spend_on() RETURNS jsonb LANGUAGE sql SET credits.early_lock_release = on
	AS $$ SELECT credits_deduct('hot', 1) $$;
CREATE FUNCTION tries() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM credits_deduct('hot', 1);
	BEGIN
		PERFORM credits_deduct('hot', 100000000);
	EXCEPTION WHEN SQLSTATE 'UC001' THEN
		INSERT INTO work SELECT max(n) + 1 FROM work;
	END;
END $$;
INSERT INTO work VALUES (0);
));

my $other = session($primary, 'postgres');

sub waits_for_standby
{
	my ($s, $test) = @_;

	poll_until(
		sub {
			return $other->do("SELECT wait_event FROM pg_stat_activity WHERE pid = $s->{pid}") eq 'SyncRep';
		},
		"$test: the wait for the standby") or die "$test: no wait for the standby";
	return;
}

# Runs the statements; the last one waits for the standby.  Is the account free
# meanwhile?  Then ends the wait.  then: what the session does next; after:
# synchronous_commit afterwards.
sub commit_is
{
	my ($expected, $test, $statements, %opt) = @_;
	my @statements = @$statements;
	my $last = pop @statements;
	my $user = $opt{user} // 'hot';
	my $s = session($primary, 'postgres');

	$s->do('SET synchronous_commit = on');
	$s->do('SET credits.early_lock_release = on');
	$s->do($_) for @statements;
	$s->send($last);
	waits_for_standby($s, $test);
	is( $other->do("SELECT count(*) FROM pg_locks WHERE pid = $s->{pid} AND locktype = 'transactionid'"),
		$expected eq 'early' ? 0 : 1,
		"$test: " . ($expected eq 'early' ? 'has let go' : 'holds its locks'));
	if ($expected eq 'early')
	{
		$other->is_state("SELECT credits_deduct('$user', 1)", '00000', '... and the account is free');
	}
	else
	{
		$other->is_state("SELECT FROM credit_account WHERE user_id = '$user' FOR UPDATE NOWAIT",
			'55P03', '... and the account is locked');
	}
	$other->do("SELECT pg_cancel_backend($s->{pid})");
	my ($state) = $s->answer;
	is($state, '00000', '... it ends with a warning, no error');
	$opt{then}->($s, $test) if $opt{then};
	is($s->do('SHOW synchronous_commit'), $opt{after} // 'on', '... synchronous_commit is as it was');
	$s->quit;
	return;
}

my $deduct = q(SELECT credits_deduct('hot', 1));
my $work = 1;
sub insert_work { return 'INSERT INTO work VALUES (' . ++$work * 1000 . ')'; }

commit_is('early', 'a call of its own', [$deduct]);
commit_is('early', 'a replay', [q(SELECT credits_deduct('hot', 1, NULL, 'old key'))]);
commit_is('early', 'a refusal that is an answer', [q(SELECT credits_try_deduct('hot', 100000000))]);
commit_is('early', 'many calls in a statement', [q(SELECT credits_deduct('hot', 1) FROM generate_series(1, 3))]);
commit_is('early', 'a batch', [q(SELECT credits_deduct_many(ARRAY['hot', 'hot'], ARRAY[1, 2]))]);
commit_is('early', 'a batch of replays',
	[q(SELECT credits_deduct_many(ARRAY['hot'], ARRAY[1], NULL, ARRAY['old key']))]);
commit_is('early', 'a purchase', [q(SELECT credits_add_purchased('hot', 1, 'pay_1'))]);
commit_is('early', 'a purchase, replayed', [q(SELECT credits_add_purchased('hot', 1, 'pay_1'))]);
commit_is('early', 'an opening', [q(SELECT credits_open_account('new', 'big'))], user => 'new');
commit_is('early', 'a refusal in an exception block', ['SELECT tries()']);
commit_is('early', 'BEGIN and COMMIT', [ 'BEGIN', insert_work(), $deduct, insert_work(), 'COMMIT' ]);
is($other->do('SELECT count(*) > 2 FROM work'), 't', '... with all that the transaction did');
commit_is('early', 'a savepoint, released', [ 'BEGIN', 'SAVEPOINT s', $deduct, 'RELEASE s', 'COMMIT' ]);
commit_is('early', 'a savepoint, rolled back',
	[ 'BEGIN', $deduct, 'SAVEPOINT s', $deduct, 'ROLLBACK TO s', 'COMMIT' ]);
commit_is('early', 'the only call rolled back',
	[ 'BEGIN', insert_work(), 'SAVEPOINT s', $deduct, 'ROLLBACK TO s', 'COMMIT' ]);
commit_is('early', 'a function that commits otherwise', ['SELECT spend_off()']);
commit_is('early', 'a DROP TABLE beside it', [ 'BEGIN', $deduct, 'DROP TABLE gone', 'COMMIT' ]);
commit_is('early', 'a NOTIFY beside it', [ 'BEGIN', $deduct, q(NOTIFY spent), 'COMMIT' ]);
commit_is('early', 'REPEATABLE READ', [ 'BEGIN ISOLATION LEVEL REPEATABLE READ', $deduct, 'COMMIT' ]);
commit_is('early', 'SERIALIZABLE', [ 'BEGIN ISOLATION LEVEL SERIALIZABLE', $deduct, 'COMMIT' ]);
commit_is('early', 'remote_write', [ 'SET synchronous_commit = remote_write', $deduct ],
	after => 'remote_write');
commit_is(
	'early', 'SET LOCAL',
	[ 'SET synchronous_commit = local', 'BEGIN', 'SET LOCAL synchronous_commit = on', $deduct, 'COMMIT' ],
	after => 'local');
commit_is(
	'early', 'SET in the transaction',
	[ 'SET synchronous_commit = local', 'BEGIN', $deduct, 'SET synchronous_commit = on', 'COMMIT' ]);
commit_is(
	'early', 'SET LOCAL of the setting itself, behind the call',
	[ 'RESET credits.early_lock_release', 'BEGIN', $deduct, 'SET LOCAL credits.early_lock_release = on', 'COMMIT' ]);

# In the same session, work without a call: it commits as usual.
sub ordinary_work
{
	my ($s, $test, $commit) = @_;

	$s->do(insert_work()) if $commit;
	$s->send($commit // insert_work());
	waits_for_standby($s, $test);
	is( $other->do("SELECT count(*) FROM pg_locks WHERE pid = $s->{pid} AND locktype = 'transactionid'"),
		1, "$test: work without a call commits as usual afterwards");
	$other->do("SELECT pg_cancel_backend($s->{pid})");
	my ($state) = $s->answer;
	is($state, '00000', '... and ends');
	return;
}
commit_is('early', 'a call', [$deduct], then => \&ordinary_work);
commit_is('early', 'COMMIT AND CHAIN', [ 'BEGIN', $deduct, 'COMMIT AND CHAIN' ],
	then => sub { ordinary_work(@_, 'COMMIT') });

# Those that commit as usual.
commit_is('ordinary', 'the setting is off', [ 'SET credits.early_lock_release = off', $deduct ]);
commit_is('ordinary', 'off at the commit',
	[ 'BEGIN', $deduct, 'SET LOCAL credits.early_lock_release = off', 'COMMIT' ]);
commit_is('ordinary', 'on in a function alone',
	[ 'RESET credits.early_lock_release', 'SELECT spend_on()' ]);
commit_is('ordinary', 'remote_apply', [ 'SET synchronous_commit = remote_apply', $deduct ],
	after => 'remote_apply');
commit_is('ordinary', 'an administrative act', [q(SELECT credits_freeze('admin'))], user => 'admin');
commit_is('ordinary', 'an administrative act beside a call',
	[ 'BEGIN', $deduct, q(SELECT credits_define_plan('beside', 1)), $deduct, 'COMMIT' ]);
commit_is('ordinary', 'PREPARE TRANSACTION', [ 'BEGIN', $deduct, q(PREPARE TRANSACTION 'p') ],
	then => \&ordinary_work);

my $s = session($primary, 'postgres');
$s->do('SET synchronous_commit = on');
$s->do('SET credits.early_lock_release = on');
$s->do('SELECT credits_balance(\'hot\')');
$s->send(q(COMMIT PREPARED 'p'));
waits_for_standby($s, 'COMMIT PREPARED');
$other->is_state(q(SELECT FROM credit_account WHERE user_id = 'hot' FOR UPDATE NOWAIT),
	'55P03', 'COMMIT PREPARED: the account is locked');
$other->do("SELECT pg_cancel_backend($s->{pid})");
$s->answer;

# Levels that wait for no standby.
for my $level (qw(off local))
{
	$s->do("SET synchronous_commit = $level");
	$s->do($deduct);
	is($s->do('SHOW synchronous_commit'), $level, "$level stays $level");
	$s->do('BEGIN');
	$s->do('SET LOCAL synchronous_commit = remote_write');
	$s->do($deduct);
	$s->do('ROLLBACK');
	is($s->do('SHOW synchronous_commit'), $level, '... and is back after a ROLLBACK');
}
$s->do('SET synchronous_commit = local');
$s->do(q(SET credits.clock = '2026-02-01 00:00:00+00'));
$s->do('CALL credits_run_reset(1)');
is($s->do('SHOW synchronous_commit'), 'local', 'a sweep, which commits several times, leaves it as it was');
$s->do('RESET credits.clock');

# Transactions that fail, some of them in the middle of the commit.
$s->do('SET synchronous_commit = on');
my %failing = (
	'a failing statement' => [ '22012', 'BEGIN', $deduct, 'SELECT 1 / 0' ],
	'a deferred constraint' => [ '23505', 'BEGIN', $deduct, 'INSERT INTO late VALUES (1)', 'COMMIT' ],
	'PREPARE TRANSACTION that fails' =>
	  [ '0A000', 'BEGIN', $deduct, 'CREATE TEMP TABLE t ()', q(PREPARE TRANSACTION 'q') ],
	'a serialization failure at COMMIT' => [
		'40001',
		'BEGIN ISOLATION LEVEL SERIALIZABLE',
		'SELECT v FROM skew WHERE n = 1',
		sub {
			$other->do('BEGIN ISOLATION LEVEL SERIALIZABLE');
			$other->do('SELECT v FROM skew WHERE n = 2');
			$other->do('UPDATE skew SET v = 1 WHERE n = 1');
		},
		$deduct,
		'UPDATE skew SET v = 1 WHERE n = 2',
		sub { $other->do('COMMIT') },
		'COMMIT'
	]);
for my $test (sort keys %failing)
{
	my ($state, @statements) = @{ $failing{$test} };
	my $last = pop @statements;

	ref $_ ? $_->() : $s->do($_) for @statements;
	$s->is_state($last, $state, $test);
	$s->do('ROLLBACK') if $last ne 'COMMIT' && $last !~ /^PREPARE/;
	ordinary_work($s, $test);
	is($s->do('SHOW synchronous_commit'), 'on', '... synchronous_commit is as it was');
}

# A session that is killed while it waits: committed, and not acknowledged.
my $rows = rows_written($primary);
$s->send($deduct);
waits_for_standby($s, 'a session to be killed');
$other->do("SELECT pg_terminate_backend($s->{pid})");
my ($state) = $s->answer;
is($state, '08006', 'a session that is killed while it waits does not answer');
is(rows_written($primary), $rows + 1, '... and its call is there, as after an ordinary commit');

# --- A standby that is there.

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$s = session($primary, 'postgres');
$s->do('SET synchronous_commit = on');
$s->do('SET credits.early_lock_release = on');
$s->send($deduct);
waits_for_standby($s, 'without a standby');
$other->is_state($deduct, '00000', 'while a call waits for the standby, the next one goes on');
$standby->start;
($state) = $s->answer;
is($state, '00000', '... and it is answered when the standby is there');

my $there = session($standby, 'postgres');
my $last_row = q(SELECT max(seq) FROM credit_history WHERE user_id = 'hot');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$standby->poll_query_until('postgres', q(SELECT pg_get_wal_replay_pause_state() = 'paused'))
  or die 'replay did not pause';
$s->is_state($deduct, '00000', 'a standby that stores and does not replay is enough');
$s->do('SET synchronous_commit = remote_apply');
$s->send("$deduct ->> 'seq'");
waits_for_standby($s, 'remote_apply');
$there->do('SELECT pg_wal_replay_resume()');
($state, my $seq) = $s->answer;
is($state, '00000', 'remote_apply: answered when it is replayed');
is($there->do($last_row), $seq, '... and the standby shows it at once');

# On the standby, and in a read-only transaction, there is nothing to let go of.
for my $reader ([ $there, 'a standby' ], [ $other, 'a read-only transaction' ])
{
	my ($r, $where) = @$reader;

	$r->do('SET synchronous_commit = on');
	$r->do('SET credits.early_lock_release = on');
	$r->do('BEGIN READ ONLY');
	$r->do(q(SELECT credits_balance('hot')));
	$r->is_state($deduct, '25006', "a call in $where");
	$r->do('ROLLBACK');
	is($r->do('SHOW synchronous_commit'), 'on', '... leaves synchronous_commit as it was');
	$r->quit;
}
$s->quit;

# Failover under load: the standby has what was acknowledged.
{
	local $ENV{PGOPTIONS} = '-c synchronous_commit=on -c credits.early_lock_release=on';
	my $before = rows_written($primary);
	my $load = start_load($primary, 'f', 16);

	poll_until(sub { return rows_written($primary) > $before + 300 }, 'load before the failover')
	  or die "no load: $load->{output}";
	$primary->stop('immediate');
	my @now = acknowledged($load);
	$standby->promote;
	$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'not promoted';
	cmp_ok(scalar(@now), '>', 100, 'a failover in the middle of the load');
	none_missing($standby, \@now, '... and the standby has every acknowledged key');
}
is_gapless($standby, 'postgres');
is_clean($standby, 'postgres');

done_testing();
