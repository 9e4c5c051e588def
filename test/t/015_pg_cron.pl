# pg_cron runs the sweep.  Whenever it fires, everything that is due is done
# (citusdata/pg_cron#329, citusdata/pg_cron#16).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

# Where pg_cron is not installed there is nothing to test.
{
	my ($dir, $err) = ('', '');

	IPC::Run::run([ 'pg_config', '--sharedir' ], '>', \$dir, '2>', \$err) or die $err;
	chomp $dir;
	plan skip_all => 'pg_cron is not installed' unless -e "$dir/extension/pg_cron.control";
}

# Server and pg_cron go by the real clock here, so the accounts are opened with
# one that is years behind: they are due whenever this runs.
my $past = q(SET credits.clock = '2020-01-15 12:00:00+00';);

my $node = new_server(
	'cron',
	conf => q(
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 24
));
add_database($node, 'app');

for my $db ('postgres', 'app')
{
	$node->safe_psql(
		$db, qq($past
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('own_day', 70, 'anniversary');
SELECT credits_open_account('user_' || n, CASE n % 2 WHEN 0 THEN 'free' ELSE 'own_day' END) FROM generate_series(1, 20) n;
SELECT credits_deduct('user_' || n, 40) FROM generate_series(1, 20) n;
SELECT credits_add_purchased('user_' || n, 5, 'payment_' || n) FROM generate_series(1, 20) n;
));
}

my $reset = q(
SELECT count(*) = 20 AND bool_and(next_reset_at > now()) FROM credit_account);

# Without pg_cron in the database.
is_outcome($node, 'postgres', q(SELECT credits_schedule_reset('* * * * *')),
	'0A000', 'without pg_cron there is nothing to schedule with');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron');

# In another database than pg_cron's: the statement to run there.
my (undef, $error) = is_outcome($node, 'app', q(SELECT credits_schedule_reset('* * * * *')),
	'0A000', 'scheduling in another database');
my ($hint) = $error =~ /^HINT:  (.*?)(?=^LOCATION:|\z)/ms;
my ($statement) = ($hint // '') =~ /(SELECT\s+cron\.\w+\s*\(.*\))/s;
ok(defined $statement, 'the hint has the statement to run in the other one') or diag($error);
is($node->safe_psql('app', 'SELECT count(*) FROM credit_audit_log WHERE action LIKE $$%schedule%$$'),
	0, 'what was refused is not in the audit log');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, 'and nothing was scheduled');

# pg_cron's own database.
is_outcome($node, 'postgres', q(SELECT credits_schedule_reset('nonsense')),
	'22023', 'a schedule that is none');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, '... schedules nothing');
my $receipt = json($node->safe_psql('postgres', 'SELECT credits_schedule_reset()'));
is( $node->safe_psql('postgres', 'SELECT schedule, database, active FROM cron.job'),
	'*/5 * * * *|postgres|t',
	'by default every five minutes');
$receipt = json($node->safe_psql('postgres', q(SELECT credits_schedule_reset('* * * * *'))));
is($node->safe_psql('postgres', 'SELECT schedule, database, active FROM cron.job'),
	'* * * * *|postgres|t', 'scheduled again, the job has the new schedule, and there is one');
is_outcome($node, 'postgres', $statement, '00000', 'the statement of the hint works there')
  if defined $statement;
is( $node->safe_psql('postgres', 'SELECT schedule, database, active FROM cron.job ORDER BY database'),
	"* * * * *|app|t\n* * * * *|postgres|t",
	'... and schedules the sweep of the other database');

# Anchors on a schedule, handed to somebody outside: here a file.
my $verify = "$FindBin::RealBin/../verify";
my $outside = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', qq(
SELECT cron.schedule('credits anchor', '* * * * *',
	\$\$COPY (SELECT credits_anchor() ->> 'anchor') TO PROGRAM 'cat >>"$outside/anchors.txt"'\$\$)));

# pg_cron wakes up at the next minute.
for my $db ('postgres', 'app')
{
	ok($node->poll_query_until($db, $reset), "$db: pg_cron ran the sweep");
	ok( $node->poll_query_until(
			$db, q(SELECT count(*) >= 1 FROM credit_reset_run WHERE kind = 'reset' AND state = 'finished' AND accounts = 20)),
		"$db: the run is recorded");
	is( $node->safe_psql(
			$db, q(
SELECT r.accounts, r.failures, r.failed IS NULL OR r.failed = '[]', r.finished_at >= r.started_at, r.credits_granted >= 20 * 70
  FROM credit_reset_run r WHERE kind = 'reset' AND accounts > 0 ORDER BY started_at LIMIT 1)),
		'20|0|t|t|t',
		"$db: ... with what it did");
	is( $node->safe_psql(
			$db, q(
SELECT count(*), count(DISTINCT h.user_id) FROM credit_history h
 WHERE h.kind = 'reset' AND h.seq = 4 AND h.run_id = (SELECT run_id FROM credit_reset_run WHERE kind = 'reset' AND accounts > 0 ORDER BY started_at LIMIT 1))),
		'20|20',
		"$db: each account has one reset row of that run");
	is( $node->safe_psql(
			$db, q(
SELECT count(*) FROM credit_account
 WHERE monthly = CASE plan WHEN 'free' THEN 100 ELSE 70 END AND purchased = 5)),
		20,
		"$db: each has its allowance, and what it bought");
	is_clean($node, $db, "$db: credits_verify() is clean");
}
ok( $node->poll_query_until(
		'postgres', q(SELECT count(*) >= 2 AND bool_and(status = 'succeeded') FROM cron.job_run_details)),
	'pg_cron says that it succeeded');
is( $node->safe_psql(
		'postgres', q(
SELECT action, count(*) FROM credit_audit_log WHERE action LIKE '%schedule%' GROUP BY action)),
	'schedule_reset|2',
	'the audit log has the scheduling');

ok(poll_until(sub { -s "$outside/anchors.txt" }, 'an anchor'), 'pg_cron made an anchor, and it is outside');
$node->safe_psql('postgres', q(SELECT cron.unschedule('credits anchor')));

# And off again.
is_outcome($node, 'app', 'SELECT credits_unschedule_reset()', '0A000', 'unscheduling in another database');
is_outcome($node, 'postgres', 'SELECT credits_unschedule_reset()', '00000', 'unscheduled');
is($node->safe_psql('postgres', q(SELECT count(*) FROM cron.job WHERE database = 'postgres')),
	0, '... the job has gone');
is($node->safe_psql('postgres', q(SELECT count(*) FROM cron.job WHERE database = 'app')),
	1, '... the other database keeps its own');
is( $node->safe_psql(
		'postgres', q(SELECT count(*) FROM credit_audit_log WHERE action = 'unschedule_reset')),
	1,
	'... and the audit log has it');
is_clean($node, 'postgres', 'the audit log verifies');

#
# pg_cron keeps role and database by name.  The job is known by its id.
#

$node->safe_psql('postgres', q(
CREATE ROLE scheduler LOGIN; CREATE ROLE second LOGIN;
GRANT USAGE ON SCHEMA cron TO scheduler, second;
SELECT credits_grant_role('scheduler', 'admin'), credits_grant_role('second', 'admin');));
my $jobs = q(SELECT jobname, username, database FROM cron.job WHERE database <> 'app' ORDER BY jobid);
my $schedule = sub { my ($as, $call) = @_; return is_outcome($node, 'postgres', "SET SESSION AUTHORIZATION $as; SELECT $call", '00000', "$call by $as") };

# A role that was renamed sees its job no more, and is told what to do.
$schedule->('scheduler', 'credits_schedule_reset()');
my $id = $node->safe_psql('postgres', q(SELECT jobid FROM cron.job WHERE username = 'scheduler'));
$node->safe_psql('postgres', 'ALTER ROLE scheduler RENAME TO planner');
my ($said, $warning) = $schedule->('planner', 'credits_unschedule_reset()');
is(json($said)->{removed}, 0, 'a renamed role cannot remove its job');
like($warning, qr/pg_cron's job $id is stored under another role name and was not removed.*SELECT cron\.unschedule\($id\);/s, '... and is told which, and how');
($said, $warning) = $schedule->('planner', 'credits_schedule_reset()');
like($warning, qr/job $id is stored under another role name/, '... scheduling again says so too');
is($node->safe_psql('postgres', $jobs), "credits_reset:postgres|scheduler|postgres\ncredits_reset:postgres|planner|postgres", '... and makes a job that works');
$node->safe_psql('postgres', "SELECT cron.unschedule($id)");
is(json($schedule->('planner', 'credits_unschedule_reset()'))->{removed}, 1, 'its own job it can remove');
($said, $warning) = $schedule->('planner', 'credits_unschedule_reset()');
is(json($said)->{removed} . $warning, '0', 'again there is nothing, and nothing to say');

# A superuser removes and replaces it, also where the role is gone.
$schedule->('planner', 'credits_schedule_reset()');
$node->safe_psql('postgres', 'ALTER ROLE planner RENAME TO scheduler');
is(json($schedule->('postgres', 'credits_unschedule_reset()'))->{removed}, 1, 'a superuser removes the job of a role that was renamed');
is($node->safe_psql('postgres', $jobs), '', '... it is gone');
$schedule->('second', 'credits_schedule_reset()');
$node->safe_psql('postgres', 'DROP OWNED BY second; DROP ROLE second');
$schedule->('postgres', q(credits_schedule_reset('0 * * * *')));
is($node->safe_psql('postgres', $jobs), 'credits_reset:postgres|postgres|postgres', 'scheduling replaces the job of a role that was dropped');
$id = $node->safe_psql('postgres', q(SELECT jobid FROM cron.job WHERE database = 'postgres'));
$schedule->('postgres', q(credits_schedule_reset('30 * * * *')));
is($node->safe_psql('postgres', q(SELECT jobid, schedule FROM cron.job WHERE database = 'postgres')), "$id|30 * * * *", 'scheduling again keeps the job and its id');

# An id that is another's by now is left alone: only a job of ours, in the cluster where it was made.
$node->safe_psql('postgres', "UPDATE cron.job SET jobname = 'mine', command = 'SELECT 1' WHERE jobid = $id");
is(json($schedule->('postgres', 'credits_unschedule_reset()'))->{removed}, 0, 'a job that is none of ours is not removed');
is($node->safe_psql('postgres', $jobs), 'mine|postgres|postgres', '... it is there');
$node->safe_psql('postgres', "SELECT cron.unschedule($id)");
$schedule->('postgres', 'credits_schedule_reset()');
$node->safe_psql('postgres', q(
UPDATE cron.job SET jobname = 'of another cluster' WHERE database = 'postgres';
CREATE TABLE kept AS SELECT * FROM credit_audit_log;
ALTER TABLE credit_audit_log DISABLE TRIGGER credits_guard;
UPDATE credit_audit_log SET after = after || '{"system_identifier": "1"}' WHERE action = 'schedule_reset';));
is(json($schedule->('postgres', 'credits_unschedule_reset()'))->{removed}, 0, 'nor one with the id that ours had in another cluster');
$node->safe_psql('postgres', q(
UPDATE credit_audit_log a SET after = k.after FROM kept k WHERE k.seq = a.seq; DROP TABLE kept;
ALTER TABLE credit_audit_log ENABLE ALWAYS TRIGGER credits_guard;));
is(json($schedule->('postgres', 'credits_unschedule_reset()'))->{removed}, 1, 'in its own it is known by its id');
is_clean($node, 'postgres', 'the audit log verifies after all that');

# The database is renamed, and the job fails until it is scheduled again.
$schedule->('postgres', 'credits_schedule_reset()');
$node->append_conf('postgresql.conf', "cron.database_name = 'ledger'");
$node->restart;
$node->safe_psql('template1', 'ALTER DATABASE postgres RENAME TO ledger');
is($node->safe_psql('ledger', $jobs), 'credits_reset:postgres|postgres|postgres', 'after a rename of the database the job has its old name');
is_outcome($node, 'ledger', 'SELECT credits_schedule_reset()', '00000', '... scheduling again');
is($node->safe_psql('ledger', $jobs), 'credits_reset:ledger|postgres|ledger', '... replaces it');
$node->safe_psql('ledger', q(SELECT credits_unschedule_reset(); SELECT credits_schedule_reset();));
$node->append_conf('postgresql.conf', "cron.database_name = 'postgres'");
$node->restart;
$node->safe_psql('template1', 'ALTER DATABASE ledger RENAME TO postgres');
is_outcome($node, 'postgres', 'SELECT credits_unschedule_reset()', '00000', 'renamed back, it is unscheduled');
is($node->safe_psql('postgres', $jobs), '', '... whatever it is called');

# The anchor is checked in the database, and in an export, which was taken outside.
my $export = "$outside/export";
mkdir $export or die "$export: $!";

sub independent
{
	my ($out, $err);

	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr('postgres'), '-v', "dir=$export", '-f', "$verify/export.sql" ], '>', \$out, '2>', \$err)
	  or die "export: $err";
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $export, "$outside/anchors.txt" ], '>', \$out, '2>', \$err);
	return $? >> 8;
}

my ($anchor) = split /\n/, slurp_file("$outside/anchors.txt");
like($anchor, qr/\Acredits-anchor-1 \d+ /, '... a line of text');
is($node->safe_psql('postgres', "SELECT * FROM credits_verify_anchor('$anchor')"), '', '... which the database continues');
is(independent(), 0, '... as does the export');
$node->safe_psql('postgres', q(
ALTER TABLE credit_account DISABLE TRIGGER USER; ALTER TABLE credit_anchor_leaf DISABLE TRIGGER USER;
DELETE FROM credit_account WHERE user_id = 'user_7'; DELETE FROM credit_anchor_leaf WHERE user_id = 'user_7';
ALTER TABLE credit_history DISABLE TRIGGER USER; DELETE FROM credit_history WHERE user_id = 'user_7';
ALTER TABLE credit_account ENABLE TRIGGER USER; ALTER TABLE credit_anchor_leaf ENABLE TRIGGER USER;
ALTER TABLE credit_history ENABLE TRIGGER USER;));
like($node->safe_psql('postgres', "SELECT * FROM credits_verify_anchor('$anchor')"), qr/./, 'an account that is deleted: the anchor tells the database');
is(independent(), 1, '... and an export');

done_testing();
