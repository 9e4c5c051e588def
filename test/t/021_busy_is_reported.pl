# If another session has what a call needs, the call says so, and says what it left undone;
# when it is called again, it does the rest.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;
use WaitsBase;

my $node = waits_server('busy');

# A bulk run that could not have an account, and when it is called again.
my $grant = q(CALL credits_grant_many('{a1,a2,a3,m1,z1,z2,z3}', '{1,1,1,1,1,1,1}', '2027-01-01', idempotency_key => '%s', max_wait => '%s'));

sub says { my ($report) = @_; return join ' ', map { ref $_ ? "@$_" : $_ } @$report{qw(accounts already failures busy)}, $report->{busy_users} // []; }

sub waits_or_ended
{
	my ($monitor, $session, $what) = @_;

	return poll_until(
		sub {
			return $monitor->do("SELECT cardinality(pg_blocking_pids(pid)) > 0 OR state <> 'active' FROM pg_stat_activity WHERE query NOT LIKE '%pg_backend_pid%' AND pid = "
				  . $session->pid) eq 't';
		}, $what);
}

sub database
{
	my ($name) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE base");
	return map { session($node, $name) } 1 .. 3;
}

{
	my ($holder, $caller, $other) = database('reports');
	my $grants = q(SELECT count(*) FROM credit_grant WHERE amount = 1);

	$holder->do(q(BEGIN; SELECT credits_deduct('m1', 1)));
	is(says(json($caller->do(sprintf $grant, 'k', '0'))), '6 0 0 1 m1', 'a run that does not wait leaves the busy account');
	like($caller->{stderr}, qr/NOTICE:.*1 account was busy and is left for another run\nDETAIL:  \{"busy_users": \["m1"\]\}/, '... and says so');
	is($other->do(q(SELECT state, accounts, failures FROM credit_reset_run WHERE kind = 'grant' ORDER BY started_at DESC LIMIT 1)), 'finished|6|0', '... in its row it is no failure');
	is(says(json($caller->do(sprintf $grant, 'k', '20 ms'))), '0 6 0 1 m1', 'another waits for it no longer than it may');
	is(says(json($caller->do("SET lock_timeout = '10ms'; " . sprintf $grant, 'k', '200 ms'))), '0 6 0 1 m1', '... nor than lock_timeout');
	$caller->do('RESET lock_timeout; BEGIN');
	is(says(json($caller->do(sprintf $grant, 'k', '1 hour'))), '0 6 0 1 m1', 'in a transaction block it does not wait');
	$caller->do('COMMIT');
	is($other->do($grants), 6, 'nobody was granted to twice');
	$caller->send(sprintf $grant, 'k', '1 hour');
	waits_or_ended($other, $caller, 'the run to wait');
	$holder->do('COMMIT');
	my ($state, $out) = $caller->answer;
	is(says(json($out)), '1 6 0 0 ', 'one that may waits for the account, and does it');
	is($other->do($grants), 7, '... all have their grant');

	# max_accounts counts what was done.
	$holder->do(q(BEGIN; SELECT credits_deduct('a1', 1)));
	is(says(json($caller->do((sprintf $grant, 'k2', '0') =~ s/\)$/, max_accounts => 2)/r))), '2 0 0 0 ', 'a run with a cap passes by what is busy');
	is(says(json($caller->do(q(CALL credits_grant_many('{a1,a2}', '{1,1}', '2027-01-01', dry_run => true))))), '1 0 0 1 a1', 'a dry run, too');
	is_outcome($node, 'reports', "CALL credits_apply_plan('free', max_wait => '$_')", '22023', "max_wait of $_") for '-1 s', '25 hours', '1 month';
	$holder->do('COMMIT');
	$_->quit for $holder, $caller, $other;
	is_clean($node, 'reports');
}

# An account that is never free gets its turn.
{
	my ($holder, $caller, $other) = database('hot');
	my @clients = start_clients($node, 'hot', [ ("BEGIN; SELECT credits_deduct('m1', 1); SELECT pg_sleep(0.02); COMMIT;\n" x 150) x 3 ]);

	poll_until(sub { $other->do(q(SELECT count(*) > 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock')) eq 't' }, 'clients');
	is(says(json($caller->do(sprintf $grant, 'k', '1 hour'))), '7 0 0 0 ', 'a run comes to an account that many want');
	wait_clients(@clients);
	$_->quit for $holder, $caller, $other;
	is_clean($node, 'hot');
}

# Imports: a user who was passed by keeps the history that came with it.
{
	my ($holder, $caller, $other) = database('histories');

	$holder->do(q(BEGIN; SELECT credits_open_account('i2', 'idle')));
	$caller->send(q(CALL credits_import($$SELECT u AS user_id, 5 AS purchased FROM unnest('{i1,i2,i3}'::text[]) u$$,
$$SELECT u AS user_id, timestamptz '2025-05-05' + n * interval '1 day' AS created_at, n AS id, -n AS amount, u || repeat('x', 5000) || n AS reason
  FROM unnest('{i1,i2,i3}'::text[]) u, generate_series(1, 3) n$$, batch_size => 1, max_wait => '1 hour')));
	waits_or_ended($other, $caller, 'the import to wait');
	is($other->do('SELECT count(*) FROM credit_account WHERE user_id IN ($$i1$$, $$i3$$)'), 2, 'an import that waits has done the others');
	$holder->do('ROLLBACK');
	my ($state, $out) = $caller->answer;
	my $report = json($out);
	is("@$report{qw(accounts history_rows busy difference)}", '3 9 0 0', '... and then does the one that was busy');
	is($other->do(q(SELECT string_agg(user_id || amount || right(reason, 1) || length(reason), ' ' ORDER BY seq) FROM credit_history WHERE kind = 'imported' AND user_id = 'i2')),
		'i2-115003 i2-225003 i2-335003', '... with its own history');
	$_->quit for $holder, $caller, $other;
	is_clean($node, 'histories');
}

# Who waits for a plan is told who has it; and so with the others that do not queue.
{
	my ($holder, $caller, $other) = database('in_use');
	my $pid = $holder->pid;

	sub in_use
	{
		my ($call, $what) = @_;
		local $Test::Builder::Level = $Test::Builder::Level + 1;
		my ($state) = $caller->run($call);

		is($state, '55P03', "$call: not to be had");
		like($caller->{stderr}, qr/$what is in use\nDETAIL:  .*"pids": \[$pid\]\}\nHINT:  Transactions that have used it are still open/, '... and who has it');
		return;
	}

	$caller->do(q(SET lock_timeout = '50ms'));
	$holder->do(q(BEGIN; SELECT credits_deduct('a1', 1)));
	in_use(q(SELECT credits_define_plan('free', 5)), 'plan "free"');
	$holder->do('COMMIT');
	$caller->do('ALTER TABLE credit_history DISABLE TRIGGER credits_guard');
	$holder->do(q(BEGIN; SELECT credits_deduct('a1', 1)));
	in_use('SELECT credits_repair_guards()', 'table "credit_history"');
	$holder->do(q(COMMIT; BEGIN; SELECT count(*) FROM credit_usage_daily));
	in_use(q(SELECT credits_drop_archive('credit_history_archive_2025', 4)), 'table "credit_history_archive"');
	$holder->do(q(COMMIT; BEGIN; SELECT credits_grant_role('app_role', 'app')));
	in_use($_, 'audit log "credit_audit_log"')
	  for q(SELECT credits_define_plan('pro', 5)), 'SELECT credits_repair_guards()', q(SELECT credits_drop_archive('credit_history_archive_2025', 4));
	$holder->do('ROLLBACK');
	is($caller->do(q(SELECT count(*) FROM credit_plan WHERE monthly_credits = 5)), 0, 'nothing of it was done');
	$caller->do('SELECT credits_repair_guards()');

	# A transfer holds one account while it waits for the other, and so does a batch.
	$_->do(q(RESET lock_timeout; SET statement_timeout = '60s')) for $caller, $other;
	$holder->do(q(BEGIN; SELECT credits_deduct('m1', 1)));
	$caller->send(q(SELECT credits_transfer('a1', 'm1', 1)));
	$other->send(q(SELECT * FROM credits_deduct_many('{a2,m1,z1}', '{1,1,1}')));
	for ([ transfer => $caller ], [ deduct_many => $other ])
	{
		my ($call, $session) = @$_;
		my ($state) = $session->answer;

		is($state, '55P03', "$call: does not wait for ever");
		like($session->{stderr}, qr/gave up waiting for another transaction while an account was locked\nDETAIL:  \{"waited_ms": 10000\}\nHINT:  Retry the call/, '... and says what to do');
	}
	$caller->do(q(SET lock_timeout = '50ms'));
	my ($state) = $caller->run(q(SELECT credits_transfer('a1', 'm1', 1)));
	is($state, '55P03', "the caller's own limit, if it is shorter");
	like($caller->{stderr}, qr/canceling statement due to lock timeout/, '... with its own message');
	is($caller->do('SHOW lock_timeout'), '50ms', '... and stays');
	$holder->do('COMMIT');
	is($caller->do(q(SELECT (credits_transfer('a1', 'm1', 1) -> 'ok')::bool)), 't', 'then it goes through');
	$_->quit for $holder, $caller, $other;
	is_clean($node, 'in_use');
}

# A sweep passes by the accounts of a plan that is being defined for long, and no others.
{
	my ($holder, $caller, $other) = database('defining');

	$holder->do(q(BEGIN; SELECT credits_define_plan('free', 120)));
	$caller->do(q(SET lock_timeout = '50ms'));
	for my $call ('CALL credits_run_reset()', 'SELECT credits_reset_due()')
	{
		$other->do(q(SELECT credits_open_account('new', 'pro'); SET credits.clock = '2026-04-10'; )) if $call =~ /due/;
		my $report = json($caller->do($call));
		is("@$report{qw(accounts skipped_locked failures state)}", ($call =~ /CALL/ ? 2 : 0) . ' 3 0 finished', "$call beside a definition");
	}
	$holder->do('COMMIT');
	is(json($caller->do('SELECT credits_reset_due()'))->{accounts}, 3, '... and does them when that is over');
	$_->quit for $holder, $caller, $other;
	is_clean($node, 'defining');
}

# An account that was changed since the transaction began cannot be had in that transaction, above READ
# COMMITTED.  A run that has transactions of its own comes back to it in another one.
for my $level ('read committed', 'repeatable read', 'serializable')
{
	my ($holder, $caller, $other) = database($level =~ s/ /_/r);
	my $rc = $level eq 'read committed';

	# Sends a call; its number tells it from the one before.
	my $calls = 0;
	my $begin = sub {
		my $mark = sprintf '/* call %d */', ++$calls;

		$caller->send("CALL $mark $_[0]");
		poll_until(
			sub {
				return $other->do("SELECT query LIKE 'CALL $mark%' AND (cardinality(pg_blocking_pids(pid)) > 0 OR state <> 'active') FROM pg_stat_activity WHERE pid = "
					  . $caller->pid) eq 't';
			}, 'the call to wait, or to end');
	};

	# Calls while another transaction has the account, and changes it.
	my $beside = sub {
		my ($change, $call) = @_;

		$holder->do("BEGIN; SELECT $change");
		$begin->($call);
		$holder->do('COMMIT');
		my ($state, $out) = $caller->answer;
		return $state eq '00000' ? json($out) : die "$call: $state $caller->{stderr}";
	};

	# Calls in such a way that the account is changed when the transaction has its snapshot.
	my $after = sub {
		my ($change, $call) = @_;

		$holder->do('BEGIN; LOCK TABLE credit_hold IN SHARE MODE');
		$begin->($call);
		$other->do("SELECT $change");
		$holder->do('COMMIT');
		return $caller->answer;
	};

	my $deduct = q(credits_deduct('m1', 1));
	my $call = sub { return (sprintf $grant, @_) =~ s/^CALL //r; };

	$caller->do("SET default_transaction_isolation = '$level'");
	my $report = $beside->($deduct, $call->('waited', '1 hour'));
	is(says($report), '7 0 0 0 ', "$level: credits_grant_many comes back to an account that was changed");
	is(says($beside->($deduct, "credits_undo_run('$report->{run_id}', max_wait => '1 hour')")), '7 0 0 0 ', '... and credits_undo_run');
	$other->do(q(SELECT credits_define_plan('free', 160, effective_from => '2026-03-11 00:00:00+00')));
	$_->do(q(SET credits.clock = '2026-03-12 12:00:00+00')) for $holder, $caller, $other;
	is(says($beside->($deduct, q(credits_apply_plan('free', max_wait => '1 hour')))), '3 0 0 0 ', '... and credits_apply_plan');
	is(says($beside->(q(credits_deduct('q0', 1)), q(credits_archive('2026-01-01', max_wait => '1 hour')))), '1 0 0 0 ', '... and credits_archive');
	is(says($beside->(q(credits_open_account('i2', 'idle')), q(credits_import($$SELECT u AS user_id, 5 AS purchased FROM unnest('{i1,i2,i3}'::text[]) u$$, max_wait => '1 hour')))),
		'2 0 0 0 ', '... and credits_import, which then finds that it is in use');

	my ($state, $out) = $after->($deduct, $call->('once more', '0'));
	is(says(json($out || '{}')), '7 0 0 0 ', '... one that does not wait, too: once');
	($state, $out) = $after->($deduct, q(credits_grant_many('{a1,m1}', '{1,1}', '2027-01-01', dry_run => true)));
	is(says(json($out || '{}')), $rc ? '2 0 0 0 ' : '1 0 0 1 m1', '... in a dry run, which is one transaction, it is busy');
	is($other->do(q(SELECT count(*) FROM credit_history WHERE idempotency_key = 'once more')), 7, '... nobody was granted to twice');

	# In the caller's transaction there is no other one: the caller has to begin anew.
	$caller->do('BEGIN; SELECT count(*) FROM credit_account');
	$other->do("SELECT $deduct");
	($state, $out) = $caller->run(sprintf $grant, 'in a block', '1 hour');
	is($state, $rc ? '00000' : '40001', '... in a transaction block it is an error of the whole call');
	$caller->do('ROLLBACK');
	is(says(json($caller->do(sprintf $grant, 'in a block', '0'))), '7 0 0 0 ', '... and nothing was done');

	# Under SERIALIZABLE, each has read what the other writes.
	$other->do(q(SELECT credits_define_plan('free', 170, effective_from => '2026-03-13 00:00:00+00')));
	$_->do(q(SET credits.clock = '2026-03-14 12:00:00+00')) for $holder, $caller, $other;
	$holder->do('BEGIN; LOCK TABLE credit_hold IN SHARE MODE');
	$begin->(q(credits_apply_plan('free', max_wait => '0')));
	$other->do(q(BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(monthly) FROM credit_account; SELECT credits_open_account('n1', 'idle'); COMMIT));
	$holder->do('COMMIT');
	($state, $out) = $caller->answer;
	is(says(json($out || '{}')), '3 0 0 0 ', '... a conflict over what both have read is none of the accounts');

	# A conflict that comes with every try is no reason to try for ever.
	for my $conflict (qw(serialization_failure deadlock_detected))
	{
		$other->do(qq(CREATE OR REPLACE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE $conflict; END \$\$));
		$other->do(q(CREATE TRIGGER conflict AFTER INSERT ON credit_history FOR EACH ROW WHEN (NEW.user_id = 'm1') EXECUTE FUNCTION conflict()))
		  if $conflict =~ /^ser/;
		is(says(json($caller->do(sprintf $grant, $conflict, '100 ms'))), '6 0 0 1 m1', "... $conflict: it is busy");
	}
	$other->do('DROP TRIGGER conflict ON credit_history; DROP FUNCTION conflict()');

	# The sweep leaves it for the next sweep.
	$_->do(q(SET credits.clock = '2026-05-10 12:00:00+00')) for $caller, $other;
	($state, $out) = $after->($deduct, 'credits_run_reset()');
	is("@{json($out || '{}')}{qw(accounts skipped_locked failures state)}", ($rc ? '6 0' : '6 1') . ' 0 finished', '... a sweep passes it by');
	$_->do(q(SET credits.clock = '2026-06-10 12:00:00+00')) for $caller, $other;
	$caller->do('BEGIN; SELECT count(*) FROM credit_account');
	$other->do("SELECT $deduct");
	($state, $out) = $caller->run('SELECT credits_reset_due()');
	is($state, $rc ? '00000' : '40001', '... or, in a transaction block, fails');
	$caller->do('ROLLBACK');
	$_->quit for $holder, $caller, $other;
	is_clean($node, $level =~ s/ /_/r);
}

no_deadlock($node);
done_testing();
