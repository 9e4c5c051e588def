# Several processes verify together.  They start, see one snapshot while other sessions
# write, show their progress, and end when their leader ends, for whatever reason.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server(
	'main',
	clock => '2026-01-15 12:00:00+00',
	conf => "min_parallel_table_scan_size = 0\nmax_parallel_workers = 3\n");
my $db = 'postgres';

$node->safe_psql(
	$db, q(
SELECT credits_define_plan('free', 100000);
SELECT count(credits_open_account('user_' || n, 'free')) FROM generate_series(1, 500) n;
SELECT count(credits_add_purchased('user_' || n, 50, 'pay_' || n)) FROM generate_series(1, 100) n;
));

my $workers = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND datname = 'postgres');

sub no_workers
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok($node->poll_query_until($db, "SELECT ($workers) = 0"), $test);
}

# Everybody who verifies wants to read the payments: held there, they can be seen.
my $holder = session($node, $db);
my $verifier = session($node, $db);
my $pid = $verifier->pid;

sub hold
{
	my ($sql) = @_;

	$holder->do('BEGIN');
	$holder->do('LOCK TABLE credit_payment');
	$verifier->send($sql);
	$node->poll_query_until($db, "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the verifier does not wait';
	$node->poll_query_until($db, "SELECT ($workers AND wait_event_type = 'Lock') > 0") or die 'no worker waits';
	return;
}

my $sql = 'SELECT * FROM credits_verify()';
$verifier->do($sql);
hold($sql);
cmp_ok($node->safe_psql($db, $workers), '>=', 1, 'there are workers');
like(
	$node->safe_psql($db, "SELECT query FROM pg_stat_activity WHERE pid = $pid"),
	qr{^/\* credits: 0% of the history verified \*/ \Q$sql\E},
	'pg_stat_activity shows how far it is');
$holder->do('COMMIT');
is(($verifier->answer)[0], '00000', 'it ends well');
no_workers('... without leaving a worker');
like(
	$node->safe_psql($db, "SELECT query FROM pg_stat_activity WHERE pid = $pid"),
	qr{^\Q$sql\E}, '... and pg_stat_activity shows the statement as it was');

hold($sql);
$node->safe_psql($db, "SELECT pg_cancel_backend($pid)");
is(($verifier->answer)[0], '57014', 'cancelled, it ends');
no_workers('... and so do its workers');
$holder->do('COMMIT');

$verifier->do(q(SET statement_timeout = '2s'));
hold($sql);
is(($verifier->answer)[0], '57014', 'after a timeout, it ends');
no_workers('... and so do its workers');
$verifier->do('RESET statement_timeout');
$holder->do('COMMIT');

hold($sql);
$node->safe_psql($db, q(
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND datname = 'postgres'));
isnt(($verifier->answer)[0], '00000', 'when a worker dies, it fails');
no_workers('... and so do the others');
$holder->do('COMMIT');
$verifier->is_state($sql, '00000', 'the session is as good as new');

# In slices.
$holder->do('BEGIN');
$holder->do('LOCK TABLE credit_payment');
$verifier->send('CALL credits_run_verify()');
ok( $node->poll_query_until(
		$db, qq(SELECT wait_event_type = 'Lock' AND query ~ '^/. credits: .* verified.* ./ CALL credits_run_verify'
		          FROM pg_stat_activity WHERE pid = $pid)),
	'in slices, pg_stat_activity shows how far it is');
$node->safe_psql($db, "SELECT pg_cancel_backend($pid)");
$node->safe_psql($db, "SELECT pg_cancel_backend($pid)");
is(($verifier->answer)[0], '57014', '... cancelled, it ends');
$holder->do('COMMIT');
$verifier->is_state('CALL credits_run_verify()', '00000', '... the session is as good as new');
is_clean($node, $db);

# Its record, from the first slice on.  After some it waits, for a trigger's lock.
$node->safe_psql(
	$db, q(
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.kind = 'verify' AND NEW.accounts > 0 THEN PERFORM pg_advisory_xact_lock(77); END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER wait AFTER UPDATE ON credit_reset_run FOR EACH ROW EXECUTE FUNCTION wait();
));
$holder->do('SELECT pg_advisory_lock(77)');
$verifier->send('CALL credits_run_verify(slice_size => 100)');
$node->poll_query_until($db, "SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $pid") or die 'it does not wait';
my $records = q(SELECT string_agg(state || CASE WHEN finished_at IS NULL THEN '' ELSE ' at an end' END, ', ' ORDER BY state)
	FROM credit_reset_run WHERE kind = 'verify' AND accounts < 500);
is($node->safe_psql($db, $records), 'running', 'its record says that it is running');
is($node->safe_psql($db, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = $pid"),
	1, '... and it has the lock by which others know that it is alive');
$node->safe_psql($db, q(CALL credits_apply_plan('free')));
is($node->safe_psql($db, $records), 'running', '... also when another run has begun');
$node->safe_psql($db, "SELECT pg_cancel_backend($pid)");
is(($verifier->answer)[0], '57014', '... cancelled, it ends');
$holder->do('SELECT pg_advisory_unlock(77)');
$verifier->is_state('CALL credits_run_verify()', '00000', '... another one comes to its end');
is($node->safe_psql($db, $records), 'stopped at an end', '... and the record of the one that was cancelled says so');
$node->safe_psql($db, 'DROP TRIGGER wait ON credit_reset_run');
is_clean($node, $db);

# No worker is to be had: then there is one process.
$node->safe_psql($db, q(ALTER SYSTEM SET max_worker_processes = 1));
$node->restart;
is_clean($node, $db, 'without workers');
is(json($node->safe_psql($db, 'CALL credits_run_verify()'))->{accounts}, 500, '... in slices, too');
$node->safe_psql($db, q(ALTER SYSTEM RESET max_worker_processes));
$node->restart;

# While others spend, open accounts and buy, every snapshot is clean.
my @load = start_clients(
	$node, $db,
	[
		map {
			my $client = $_;
			join '', map {
				my $user = 'user_' . (1 + ($_ * 7 + $client * 13) % 500);
				"SELECT credits_try_deduct('$user', 1);\nSELECT credits_add_purchased('$user', 5, 'load_${client}_$_');\n"
				  . "SELECT credits_open_account('new_${client}_$_', 'free');\n"
			} 1 .. 400
		} 1 .. 4 ]);
my ($bad, $times) = ('', 0);
for (1 .. 15)
{
	$bad .= $node->safe_psql($db, 'SELECT * FROM credits_verify()');
	$bad .= 'in slices' unless json($node->safe_psql($db, 'CALL credits_run_verify(NULL, 300)'))->{ok};
	$times++;
}
is($bad, '', "clean in $times snapshots while others write");
wait_clients(@load);
is_clean($node, $db, '... and afterwards');

# Written by many at once, the rows of an account are not in order; still they
# are verified in one reading, without the index, and a change is found.
my $disorder = $node->safe_psql($db, q(
SELECT count(*) FROM credit_history h JOIN credit_history n ON n.user_id = h.user_id AND n.seq = h.seq + 1 AND n.ctid < h.ctid));
note("$disorder rows are before the one before them");
$node->safe_psql($db, q(
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET seq = seq WHERE user_id = 'user_100' AND seq IN (1, 3);
ALTER TABLE credit_history ENABLE ALWAYS TRIGGER credits_guard;));
my $scans = q(SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'credit_history_pkey');
my $before = $node->safe_psql($db, $scans);
is_clean($node, $db, 'rows out of order');
is($node->safe_psql($db, $scans), $before, '... are verified without the index');
$node->safe_psql(
	$db, q(
ALTER TABLE credit_history DISABLE TRIGGER credits_guard;
UPDATE credit_history SET amount = amount + 1 WHERE user_id = 'user_250' AND seq = 2;
ALTER TABLE credit_history ENABLE ALWAYS TRIGGER credits_guard;));
is( $node->safe_psql($db, 'SELECT object, bad_user_id, bad_seq FROM credits_verify()'),
	'credit_history|user_250|2', 'one changed row is found');
my $report = json($node->safe_psql($db, 'SET client_min_messages = error; CALL credits_run_verify(1, 100)'));
is("$report->{bad} $report->{problems}[0]{bad_user_id}", '1 user_250', '... and in slices');

done_testing();
