# The sweep runs while other calls, other sweeps and locks are there, and with accounts that
# cannot be written; it survives its own sudden end (useautumn/autumn#2377).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

# The server's clock is in March; the accounts are opened in January, each at a
# minute of its own, so that the order of the sweep is known.
my $node = new_server('sweep', clock => '2026-03-10 12:00:00+00');
my $january = q(SET credits.clock = '2026-01-05 00:00:00+00';);

# A database of its own for each case: a sweep goes over all that is there.
my $db;

sub database
{
	my ($name, $accounts) = @_;

	$db = $name;
	add_database($node, $db);
	$node->safe_psql(
		$db, qq($january
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('own_day', 100, 'anniversary');
));
	$node->safe_psql(
		$db, qq(
SET credits.clock = '2026-01-20 00:00:00+00';
SELECT credits_open_account('user_' || to_char(n, 'FM0000'), 'own_day', (timestamp '2026-01-05' + n * interval '1 minute')::text)
  FROM generate_series(1, $accounts) n;
SELECT credits_deduct('user_' || to_char(n, 'FM0000'), 30) FROM generate_series(1, $accounts) n;
));
	return;
}

# user => how many reset rows, for those that have not just one.
sub not_once
{
	return join ' ', map { "$_->[0]:$_->[1]" } rows(
		$node, $db, q(
SELECT user_id, n FROM (
    SELECT a.user_id, count(h.user_id) AS n
      FROM credit_account a LEFT JOIN credit_history h ON h.user_id = a.user_id AND h.kind = 'reset'
     GROUP BY a.user_id) x WHERE n <> 1 ORDER BY 1));
}

sub reset_rows
{
	return $node->safe_psql($db, q(SELECT count(*) FROM credit_history WHERE kind = 'reset'));
}

# The report of a sweep, run in a session of its own.
sub sweep
{
	my ($call) = @_;
	my $out = $node->safe_psql($db, $call // 'CALL credits_run_reset()');

	return json($out);
}

sub wait_for_lock
{
	my ($pid) = @_;

	return $node->poll_query_until('postgres',
		"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid");
}

sub wait_for_sleep
{
	my ($pid) = @_;

	return $node->poll_query_until('postgres',
		"SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $pid");
}

# Sweep first, deduct waits: it sees the new period.
{
	database('sweep_first', 3);
	my $sweeper = session($node, $db);
	my $spender = session($node, $db);

	$sweeper->do('BEGIN');
	is(json($sweeper->do('SELECT credits_reset_due()'))->{accounts}, 3, 'three accounts are swept');
	$spender->send(q(SELECT credits_deduct('user_0001', 1)));
	wait_for_lock($spender->pid) or die 'no lock wait';
	$sweeper->do('COMMIT');
	my ($state, $out) = $spender->answer;
	is($state, '00000', 'a deduction that waited for the sweep');
	is(json($out)->{monthly}, 99, '... spends from the new period');
	is(not_once(), '', '... and one reset was done');

	# Rolled back, the sweep leaves it to the deduction.
	$sweeper->do(q(SET credits.clock = '2026-04-10 00:00:00+00'));
	$spender->do(q(SET credits.clock = '2026-04-10 00:00:00+00'));
	$sweeper->do('BEGIN');
	$sweeper->do('SELECT credits_reset_due()');
	$spender->send(q(SELECT credits_deduct('user_0002', 1)));
	wait_for_lock($spender->pid) or die 'no lock wait';
	$sweeper->do('ROLLBACK');
	($state, $out) = $spender->answer;
	is($state, '00000', 'a deduction that waited for a sweep that failed');
	is(json($out)->{monthly}, 99, '... resets by itself');
	is($node->safe_psql($db, q(SELECT count(*) FROM credit_reset_run WHERE kind <> 'verify')),
		1, '... and that run was not recorded');
	$_->quit for $sweeper, $spender;
	is_clean($node, $db, 'sweep first: clean');
}

# Deduct first: the sweep goes on without the account, and finds it done.
{
	database('deduct_first', 3);
	my $spender = session($node, $db);

	$spender->do('BEGIN');
	is(json($spender->do(q(SELECT credits_deduct('user_0002', 1))))->{monthly},
		99, 'a deduction applies what is due');
	my $report = sweep();
	is($report->{accounts}, 2, 'a locked account is skipped');
	is(reset_rows(), 2, '... the others are done');
	$spender->do('COMMIT');
	is(not_once(), '', 'after the commit each has one reset');
	is(sweep()->{accounts}, 0, 'and the next sweep has nothing to do');
	is(not_once(), '', '... and does nothing');
	$spender->quit;
	is_clean($node, $db, 'deduct first: clean');
}

# A locked account that was not written is done next time.
{
	database('locked', 5);
	my $holder = session($node, $db);

	$holder->do('BEGIN');
	$holder->do(q(SELECT 1 FROM credit_account WHERE user_id = 'user_0003' FOR UPDATE));
	my $report = sweep();
	is($report->{accounts}, 4, 'a locked account is skipped, and the sweep ends');
	is(not_once(), 'user_0003:0', '... it alone is left');
	is(sweep()->{accounts}, 0, 'as long as it is locked');
	$holder->do('ROLLBACK');
	is(sweep()->{accounts}, 1, 'unlocked, it is done next time');
	is(not_once(), '', '... once');
	$holder->quit;
	is_clean($node, $db, 'locked: clean');
}

# Two sweeps at once: one runner.  A DBA's own trigger makes the first one wait
# in the middle of its second batch.
{
	database('two_sweeps', 6);
	$node->safe_psql(
		$db, q(
CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ 
BEGIN
	WHILE NOT pg_try_advisory_xact_lock(99) LOOP
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN NULL;
END $$;
CREATE TRIGGER wait_here AFTER UPDATE ON credit_account FOR EACH ROW WHEN (NEW.user_id = 'user_0003') EXECUTE FUNCTION wait_here();
));
	my $holder = session($node, $db);
	my $first = session($node, $db);

	$holder->do('SELECT pg_advisory_lock(99)');
	$first->send('CALL credits_run_reset(2)');
	wait_for_sleep($first->pid) or die 'the first sweep did not come to the account';
	is(reset_rows(), 2, 'a sweep is in its second batch');
	my ($state, $out) = outcome($node, $db, 'CALL credits_run_reset(2)');
	is($state, '00000', 'a second one ends without an error');
	is(reset_rows(), 2, '... and did nothing');
	is( $node->safe_psql(
			$db, q(SELECT count(*) FROM credit_reset_run WHERE kind <> 'verify' AND state <> 'running' AND accounts > 0)),
		0,
		'... nor says that it did');
	$holder->do('SELECT pg_advisory_unlock(99)');
	($state, $out) = $first->answer;
	is($state, '00000', 'the first one goes on');
	is(json($out)->{accounts}, 6, '... and does all');
	is(not_once(), '', '... once');
	is( $node->safe_psql(
			$db, q(SELECT accounts, state FROM credit_reset_run WHERE kind <> 'verify' AND accounts > 0)),
		'6|finished',
		'... in one run');

	# A piece in somebody's open transaction is in nobody's way.
	my $april = q(SET credits.clock = '2026-04-20 00:00:00+00');
	$first->do($april);
	$first->do('BEGIN');
	my $report = json($first->do('SELECT credits_reset_due(2)'));
	is($report->{accounts}, 2, 'a piece of two accounts, not yet committed');
	ok($report->{more}, '... says that there are more');
	is_outcome($node, $db, "$april; CALL credits_run_reset()", '00000', 'a sweep beside it');
	$first->do('COMMIT');
	sweep("$april; CALL credits_run_reset()");
	is( $node->safe_psql(
			$db, q(SELECT user_id, count(*) FROM credit_history WHERE kind = 'reset' GROUP BY 1 HAVING count(*) <> 2)),
		'',
		'... and every account was reset once more');
	$_->quit for $holder, $first;
	is_clean($node, $db, 'two sweeps: clean');
}

{
	# Many at once, procedures and functions, with deductions in between.
	database('many_sweeps', 400);
	my @scripts;
	for my $c (1 .. 8)
	{
		push @scripts,
		    $c <= 3 ? "CALL credits_run_reset(50);\n" x 3
		  : $c == 4 ? "SELECT credits_reset_due(30);\n" x 20
		  : join '', map { sprintf "SELECT credits_deduct('user_%04d', 1);\n\\echo = d :SQLSTATE\n", 1 + ($_ * 37 + $c) % 400 } 1 .. 300;
	}
	my @done = run_clients($node, $db, \@scripts, barrier => 1);
	my @failed = grep { $_->[1] ne '00000' } map { client_results($_) } @done[ 4 .. 7 ];
	is(scalar(@failed), 0, 'deductions beside sweeps succeed');
	unlike(join('', map { $_->{err} } @done[ 0 .. 3 ]),
		qr/ERROR|FATAL|PANIC/, 'sweeps beside sweeps and deductions do too');
	sweep();
	is(not_once(), '', 'many sweeps and deductions: each account was reset once');
	is( $node->safe_psql(
			$db, q(
SELECT count(*) FROM credit_account a
 WHERE monthly <> 100 - (SELECT count(*) FROM credit_history h
                          WHERE h.user_id = a.user_id AND h.kind = 'deduct'
                            AND h.seq > (SELECT max(r.seq) FROM credit_history r WHERE r.user_id = a.user_id AND r.kind = 'reset'))
)),
		0,
		'... and every deduction beside them came out of the new period');
	is( $node->safe_psql(
			$db, q(SELECT count(*) FROM credit_history WHERE kind = 'deduct' AND amount = 1 AND period = 1)),
		0,
		'... which its row says');
	is_clean($node, $db, 'many sweeps: clean');
	is_gapless($node, $db, 'many sweeps: gapless');
}

# Somebody has locked the whole table: the sweep does not wait for ever.
{
	database('table_lock', 4);
	my $holder = session($node, $db);
	my $sweeper = session($node, $db);

	$holder->do('BEGIN');
	$holder->do('LOCK TABLE credit_account IN ACCESS EXCLUSIVE MODE');
	$sweeper->do(q(SET lock_timeout = '200ms'));
	my ($state) = $sweeper->run('CALL credits_run_reset()');
	is($state, '55P03', 'lock_timeout ends a sweep that waits for a lock')
	  or diag($sweeper->{stderr});
	$holder->do('ROLLBACK');
	is(reset_rows(), 0, '... nothing was written');
	$sweeper->do('RESET lock_timeout');
	$sweeper->is_state('CALL credits_run_reset()', '00000', 'unlocked, it runs');
	is(not_once(), '', '... and does all');
	is($node->safe_psql($db, q(SELECT count(*) FROM credit_reset_run WHERE kind <> 'verify' AND state = 'running')),
		0, '... and no run claims to be running');
	$_->quit for $holder, $sweeper;
	is_clean($node, $db, 'table lock: clean');
}

# An account that cannot be written is parked and reported; others go on.
{
	database('bad_account', 30);
	$node->safe_psql(
		$db, q(
ALTER TABLE credit_account ADD CONSTRAINT bad_ones CHECK (user_id NOT IN ('user_0007', 'user_0020') OR monthly < 100) NOT VALID));
	my $report = sweep('CALL credits_run_reset(10)');
	is($report->{accounts}, 28, 'a sweep over two bad accounts does all others');
	is($report->{failures}, 2, '... and reports these');
	is(not_once(), 'user_0007:0 user_0020:0', '... which are as they were');
	my $failed = json($node->safe_psql($db, q(SELECT failed FROM credit_reset_run WHERE kind = 'reset')));
	is( join(' ', sort map { "$_->{user_id} $_->{sqlstate}" } @$failed),
		'user_0007 23514 user_0020 23514',
		'the run names them, and why');
	is( $node->safe_psql($db, q(SELECT accounts, failures, credits_granted FROM credit_reset_run WHERE kind = 'reset')),
		'28|2|2800', '... with its numbers');
	is_outcome($node, $db, q(SELECT credits_try_deduct('user_0020', 1000)),
		'00000', 'reading a bad account does not fail');
	$report = sweep();
	is("$report->{accounts} $report->{failures}", '0 2', 'the next sweep tries them again');
	is_clean($node, $db, 'bad accounts: clean');
	$node->safe_psql($db, 'ALTER TABLE credit_account DROP CONSTRAINT bad_ones');
	$report = sweep();
	is("$report->{accounts} $report->{failures}", '2 0', 'mended, they are done');
	is(not_once(), '', '... once');

	# The function has the same care, in the caller's transaction.
	$node->safe_psql(
		$db, q(
ALTER TABLE credit_account ADD CONSTRAINT bad_ones CHECK (user_id <> 'user_0007' OR next_reset_at < '2026-05-01') NOT VALID));
	$report = sweep(q(SET credits.clock = '2026-04-20 00:00:00+00'; SELECT credits_reset_due()));
	is("$report->{accounts} $report->{failures}", '29 1', 'credits_reset_due parks it too');
	is_clean($node, $db, 'bad account: clean');
}

# A sweep that is killed in the middle of a batch: whole batches stay, the rest
# is done by the next one.  A DBA's own trigger makes it stop at one account.
for my $case ([ 'terminated', 'pg_terminate_backend', '08006' ], [ 'cancelled', 'pg_cancel_backend', '57014' ])
{
	my ($how, $function, $expected) = @$case;

	database($how, 250);
	$node->safe_psql(
		$db, q(
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$;
CREATE TRIGGER dawdle AFTER UPDATE ON credit_account FOR EACH ROW WHEN (NEW.user_id = 'user_0125') EXECUTE FUNCTION dawdle();
));
	my $sweeper = session($node, $db);
	$sweeper->send('CALL credits_run_reset(50)');
	wait_for_sleep($sweeper->pid) or die 'the sweep did not come to the account';
	is($node->safe_psql($db, q(SELECT count(*) FROM credit_reset_run WHERE kind = 'reset')),
		1, "$how: a run that is on its way shows");
	is($node->safe_psql('postgres', "SELECT $function(" . $sweeper->pid . ')'), 't', "$how in mid-batch");
	is(($sweeper->answer)[0], $expected, "$how: the sweep has ended");
	$sweeper->quit;
	is(reset_rows(), 100, "$how: the batches before it stay, the one it was at has gone");
	is( $node->safe_psql(
			$db, q(
SELECT count(*) FROM credit_history h JOIN credit_account a USING (user_id)
 WHERE h.kind = 'reset' AND (a.monthly <> 100 OR a.history_seq <> h.seq)
)),
		0,
		"$how: account and history agree");
	is_clean($node, $db, "$how: clean");
	$node->safe_psql($db, 'DROP TRIGGER dawdle ON credit_account');
	is(sweep()->{accounts}, 150, "$how: the next sweep does the rest");
	is(not_once(), '', "$how: each account was reset once");
	is( $node->safe_psql(
			$db, q(SELECT sum(accounts), sum(credits_granted), count(*) FILTER (WHERE state = 'running') FROM credit_reset_run WHERE kind <> 'verify')),
		'250|25000|0',
		"$how: the runs together say what was done, and none claims to be running");
	is_clean($node, $db, "$how: clean again");
	is_gapless($node, $db, "$how: gapless");
}

# Pieces: a cap stops a run, and it says so; a dry run changes nothing.
{
	database('pieces', 40);
	my $report = sweep('CALL credits_run_reset(NULL, NULL, true)');
	is($report->{accounts}, 40, 'a dry run counts');
	is(reset_rows(), 0, '... and does nothing');
	$report = sweep('CALL credits_run_reset(5, 12)');
	cmp_ok($report->{accounts}, '<=', 12, 'max_accounts is a cap');
	is(reset_rows(), $report->{accounts}, '... and the report is true');
	is( $node->safe_psql($db, q(SELECT state FROM credit_reset_run WHERE kind <> 'verify')),
		'stopped', '... the run says that it was stopped');
	$report = sweep(q(SELECT credits_reset_due(10)));
	is($report->{accounts}, 10, 'a piece in a transaction');
	ok($report->{more}, '... and more to do');
	$report = sweep();
	is(not_once(), '', 'all pieces together: each account once');
	is( $node->safe_psql(
			$db, q(SELECT sum(accounts), sum(credits_granted), sum(credits_expired) FROM credit_reset_run WHERE kind <> 'verify')),
		'40|4000|2800',
		'the runs together say what was done');
	is_outcome($node, $db, 'BEGIN; CALL credits_run_reset()', '2D000', 'in a transaction block it is refused');
	is_clean($node, $db, 'pieces: clean');
}

# Many runners at once take the run from each other, and none fails for it.
{
	database('runners', 200);
	my $script = PostgreSQL::Test::Utils::tempdir() . '/run.sql';
	my ($out, $err) = ('', '');

	append_to_file($script, "CALL credits_run_reset(2);\n");
	IPC::Run::run(
		[
			'pgbench', '-n', '-c', 6, '-j', 1, '-t', 30, '-h', $node->host, '-p', $node->port,
			'-f', $script, $db
		],
		'<', \undef, '>', \$out, '2>', \$err);
	like($out, qr{actually processed: 180/180}, 'many runners at once: none fails') or diag("$out\n$err");
	sweep();
	is(not_once(), '', '... each account once');
	is($node->safe_psql($db, q(SELECT count(*) FROM credit_reset_run WHERE kind <> 'verify' AND state = 'running')),
		0, '... and no run claims to be running');
	is_clean($node, $db, 'many runners: clean');
}

# An account that was free when the sweep looked at it, and is locked when it comes
# to write it: the batch lets go of all that it has, before whoever locked it can
# come to wait for one of these.  Here a CHECK constraint gives them the time.
{
	database('race', 3);
	my $sweeper = session($node, $db);
	my $other = session($node, $db);

	$node->safe_psql($db,
		q(ALTER TABLE credit_account ADD CONSTRAINT slow CHECK (user_id <> 'user_0002' OR pg_sleep(1)::text IS NOT NULL) NOT VALID));
	$sweeper->do(q(SET deadlock_timeout = '1min'));
	$other->do(q(SET deadlock_timeout = '2s'));
	$other->do('BEGIN');
	$sweeper->send('SELECT credits_reset_due()');
	wait_for_sleep($sweeper->pid) or die 'no sleep';
	$other->is_state(q(SELECT FROM credit_account WHERE user_id = 'user_0002' FOR NO KEY UPDATE NOWAIT),
		'00000', 'an account that the sweep is about to write is locked');
	$other->is_state(q(SELECT credits_deduct('user_0001', 1)),
		'00000', '... and so is one that it has written: no deadlock');
	my ($state, $out) = $sweeper->answer;
	is($state, '00000', '... and the sweep goes on');
	cmp_ok(json($out)->{skipped_locked}, '>=', 1, '... without what is locked');
	$other->do('COMMIT');
	is(not_once(), 'user_0002:0', '... to the end');
	is($sweeper->do('SHOW lock_timeout'), 0, "... and lock_timeout is the session's");
	$node->safe_psql($db, 'ALTER TABLE credit_account DROP CONSTRAINT slow');
	is(sweep()->{accounts}, 1, '... and the next one does the rest');
	is(not_once(), '', '... once');
	is_clean($node, $db, 'race: clean');
}

# The same often, by chance.  Clients have users of their own, so that they cannot
# wait for each other; they lock two of a batch, in the order that is not the sweep's,
# and spend from one at times.  A row that was locked once looks free again only
# when it is vacuumed.
{
	database('races', 200);
	my ($months, $turns) = (4, 400);

	$node->safe_psql($db, q(ALTER TABLE credit_account ADD CONSTRAINT slow CHECK (pg_sleep(0.001)::text IS NOT NULL) NOT VALID));
	for my $month (1 .. $months)
	{
		my $clock = sprintf q(SET credits.clock = '2026-%02d-20 12:00:00+00';), 1 + $month;
		my @scripts = ("$clock\nCALL credits_run_reset(30);\nSELECT credits_reset_due();\n");

		for my $c (0 .. 4)
		{
			my $script = "$clock\n";

			for my $turn (1 .. $turns)
			{
				my $first = 1 + int(rand(39));
				my ($one, $other) = map { sprintf 'user_%04d', $_ * 5 + $c + 1 } $first, $first - 1;
				my $then = $turn % 20 ? "SELECT FROM credit_account WHERE user_id = '$other' FOR UPDATE"
				  : "SELECT credits_deduct('$other', 1)";

				$script .= "BEGIN;\nSELECT FROM credit_account WHERE user_id = '$one' FOR NO KEY UPDATE;\n"
				  . "$then;\n\\echo = $other :SQLSTATE\nCOMMIT;\n";
			}
			push @scripts, $script;
		}
		push @scripts, "VACUUM (DISABLE_PAGE_SKIPPING) credit_account;\n" x 5000;
		my ($sweeper, @clients) = run_clients($node, $db, \@scripts, barrier => 1);
		unlike($sweeper->{err}, qr/ERROR|FATAL|PANIC/, 'sweeps beside clients with two accounts');
		is(join('', map { $_->{err} } @clients), '', '... who come to no error');
		is(scalar(map { client_results($_) } @clients), 5 * $turns, '... and do all that they have to');
		sweep("$clock CALL credits_run_reset()");
	}
	is( $node->safe_psql(
			$db, qq(
SELECT count(*) FROM credit_account a
 WHERE (SELECT count(*) FROM credit_history h WHERE h.user_id = a.user_id AND h.kind = 'reset') <> $months)),
		0,
		'... and each account was reset once a month');
	$node->safe_psql($db, 'ALTER TABLE credit_account DROP CONSTRAINT slow');
	is_clean($node, $db, 'races: clean');
	is_gapless($node, $db, 'races: gapless');
	no_deadlock($node, 'races: no deadlock');
}

# Beside somebody who is writing, batches are small.
{
	database('beside', 250);
	my $writer = session($node, $db);

	$writer->do('BEGIN; SELECT pg_current_xact_id()');
	is(sweep()->{accounts}, 250, 'a sweep beside a transaction that writes');
	is($node->safe_psql($db, q(SELECT count(DISTINCT xmin::text) FROM credit_history WHERE kind = 'reset')), 3, '... commits every 100 accounts');
	$writer->do('ROLLBACK');
}

# What was locked is reported, also of a batch that failed for another account.
{
	database('locked_and_failed', 3);
	my $holder = session($node, $db);

	$node->safe_psql($db,
		q(ALTER TABLE credit_account ADD CHECK (user_id <> 'user_0003' OR monthly < 100) NOT VALID));
	$holder->do('BEGIN');
	$holder->do(q(SELECT FROM credit_account WHERE user_id = 'user_0001' FOR UPDATE));
	my $report = sweep();
	is("$report->{accounts} $report->{skipped_locked} $report->{failures}", '1 1 1',
		'one done, one locked, one failed: each is told');
	$holder->do('COMMIT');
}

# A bulk run that was cancelled or whose session was killed is seen to be so by whoever
# runs next, a sweep or another bulk run, and one that is at work is left alone.
{
	database('dead', 4);
	my $grant = q(CALL credits_grant_many(ARRAY['user_0001', 'user_0002', 'user_0003', 'user_0004'],
ARRAY[1, 1, 1, 1]::bigint[], '2027-01-01', idempotency_key => '%s', batch_size => 1, max_wait => '1 hour'));
	my $states = q(SELECT string_agg(state || ' ' || accounts || ' ' || (finished_at IS NULL), ', ' ORDER BY state, accounts)
FROM credit_reset_run WHERE kind = 'grant');
	my $holder = session($node, $db);
	my $runner = session($node, $db);
	my $state;

	$holder->do('BEGIN');
	$holder->do(q(SELECT FROM credit_account WHERE user_id = 'user_0003' FOR UPDATE));
	$runner->send(sprintf $grant, 'cancelled');
	wait_for_lock($runner->pid);
	sweep();
	is($node->safe_psql($db, $states), 'running 3 true', 'a bulk run that waits is left alone by a sweep');
	$node->safe_psql($db, 'SELECT pg_cancel_backend(' . $runner->pid . ')');
	($state) = $runner->answer;
	is($state, '57014', '... and cancelled');
	is($node->safe_psql($db, $states), 'running 3 true', '... which nobody has seen yet');
	sweep();
	is($node->safe_psql($db, $states), 'stopped 3 false', '... but the next sweep does');
	$runner->send(sprintf $grant, 'killed');
	wait_for_lock($runner->pid);
	$node->safe_psql($db, "CALL credits_grant_many(ARRAY['user_0001'], ARRAY[1]::bigint[], '2027-01-01', idempotency_key => 'killed')");
	is($node->safe_psql($db, $states), 'finished 0 false, running 3 true, stopped 3 false', 'another bulk run leaves it alone, too');
	$node->safe_psql($db, 'SELECT pg_terminate_backend(' . $runner->pid . ')');
	($state) = $runner->answer;
	is($state, '08006', 'it is killed');
	$node->poll_query_until('postgres', 'SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = ' . $runner->pid . ')');
	$holder->do('COMMIT');
	$node->safe_psql($db, sprintf $grant, 'killed');
	is($node->safe_psql($db, $states), 'finished 0 false, finished 1 false, stopped 3 false, stopped 3 false',
		'... as the next run sees, which does the rest');
	is($node->safe_psql($db, q(SELECT count(*) FROM credit_grant)), '7', '... once each');
	is_clean($node, $db, 'dead runs: clean');
}

# Batches commit without waiting, but a run that was reported is on disk, and the
# session's own setting is what it was.
{
	$node->append_conf('postgresql.conf', "wal_writer_delay = 10s\nwal_writer_flush_after = 0\n");
	$node->restart;
	database('reported', 50);
	my $out = $node->safe_psql(
		$db, q(CHECKPOINT; SET synchronous_commit = local; CALL credits_run_reset(20); SHOW synchronous_commit));
	$node->stop('immediate');
	$node->start;
	like($out, qr/^local$/m, 'synchronous_commit is what it was');
	is(not_once(), '', '... a run that was reported outlives a crash, all of it');
	is($node->safe_psql($db, q(SELECT state, accounts FROM credit_reset_run WHERE kind <> 'verify')), 'finished|50', '... its record too');
	is_clean($node, $db, 'a crash after a run: clean');
}

no_deadlock($node);

done_testing();
