# No call waits without need: each administrative call is made to wait for a row, an
# advisory lock, DDL or a reader, and meanwhile no other user's call waits for it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();
use WaitsBase;

my $node = waits_server('waits');

# What the other session has: a row, an advisory lock, DDL, or that it reads.  users:
# whose calls wait for it then.
my %held = (
	row     => { sql => q(SELECT credits_deduct('m1', 1)), users => ['m1'] },
	old_row => { sql => q(SELECT credits_deduct('old', 1)), users => ['old'] },
	opening => { sql => q(SELECT credits_open_account('i2', 'idle')) },
	plan    => { sql => q(SELECT credits_define_plan('free', 120)) },
	reset   => { sql => q(SELECT credits_deduct('z3', 1), credits_deduct('z1', 1)), users => [ 'z1', 'z3' ] },
	log     => { sql => q(SELECT credits_freeze('z3')), users => ['z3'] },
	anchor  => { sql => q(SELECT credits_anchor()) },
	reader  => { sql => q(SELECT count(*) FROM credit_usage_daily) },
	(map { $_ => { sql => "LOCK TABLE $_ IN SHARE MODE" } }
	  qw(credit_grant credit_hold credit_plan credit_checkpoint credit_audit_log credit_reset_run credit_anchor)),
	partition => { sql => 'LOCK TABLE credit_history_archive_2025 IN SHARE MODE' },
	made      => { sql => q(CREATE TABLE x (LIKE credit_history_archive INCLUDING ALL); ALTER TABLE credit_history_archive ATTACH PARTITION x FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')) },
	grant     => { sql => 'GRANT EXECUTE ON FUNCTION credits_deduct TO other_role; GRANT SELECT ON credit_account TO other_role' },
);

my $broken = 'ALTER TABLE credit_history DISABLE TRIGGER credits_guard; ALTER TABLE credit_plan DISABLE TRIGGER credits_guard';
my $undo = q(DO $$ DECLARE run uuid := run_id FROM credit_reset_run WHERE kind = 'grant'; r jsonb; BEGIN CALL credits_undo_run(run, report => r); END $$);

# call => what it is made to wait for.  sql: the call; before: what is done before.
my %calls = (
	credits_grant_many => { sql => q(CALL credits_grant_many('{a1,a2,a3,m1,z1,z2,z3}', '{1,1,1,1,1,1,1}', '2027-01-01', idempotency_key => 'k')),
		waits => [qw(row plan log credit_grant credit_hold credit_plan credit_audit_log credit_reset_run)] },
	credits_apply_plan => { sql => q(CALL credits_apply_plan('free')), waits => [qw(row plan log credit_grant credit_plan)] },
	credits_undo_run => { sql => $undo, waits => [qw(row plan log credit_grant)] },
	credits_import => { sql => q(CALL credits_import($$SELECT u AS user_id, 'pro' AS plan, 5 AS purchased FROM unnest('{a1,i1,i2,i3,m1,n1}'::text[]) u$$)),
		waits => [qw(row opening log credit_checkpoint)] },
	credits_archive => { sql => q(CALL credits_archive('2026-02-01')),
		waits => [qw(row plan log reader partition made credit_checkpoint credit_grant)] },
	credits_run_reset => { sql => 'CALL credits_run_reset()', waits => [qw(row plan log credit_grant credit_plan credit_reset_run)] },
	credits_reset_due => { sql => 'SELECT credits_reset_due()', waits => [qw(row plan log credit_grant)] },
	credits_define_plan => { sql => q(SELECT credits_define_plan('free', 130)), waits => [qw(plan reset log credit_plan credit_audit_log)] },
	credits_freeze => { sql => q(SELECT credits_freeze('m1')), waits => [qw(row plan log credit_audit_log)] },
	credits_unfreeze => { sql => q(SELECT credits_unfreeze('m1')), before => q(SELECT credits_freeze('m1')), waits => [qw(log)] },
	credits_close_account => { sql => q(SELECT credits_close_account('m1')), waits => [qw(row log)] },
	credits_repair_clock => { sql => q(SELECT credits_repair_clock('m1')),
		before => q(SET credits.clock = '2026-03-11 00:00:00+00'; SELECT credits_deduct('m1', 1)), waits => [qw(row log)] },
	credits_erase_user => { sql => q(SELECT credits_erase_user('old')), waits => [qw(old_row log partition)] },
	credits_drop_archive => { sql => q(SELECT credits_drop_archive('credit_history_archive_2025', 4)), waits => [qw(reader log partition)] },
	credits_repair_guards => { sql => 'SELECT credits_repair_guards()', before => $broken, waits => [qw(row reader log)] },
	credits_anchor => { sql => 'SELECT credits_anchor()', waits => [qw(anchor credit_anchor log row)] },
	credits_grant_role => { sql => q(SELECT credits_grant_role('app_role', 'app')), waits => [qw(grant log row)] },
	credits_revoke_role => { sql => q(SELECT credits_revoke_role('app_role', 'app')),
		before => q(SELECT credits_grant_role('app_role', 'app')), waits => [qw(grant log row)] },
	credits_run_verify => { sql => 'CALL credits_run_verify()', waits => [qw(row made)] },
	credits_verify => { sql => 'SELECT * FROM credits_verify()', waits => [qw(row made credit_reset_run)] },
);

# These are about one account, or two that the caller names.
my %of_accounts = map { $_ => 1 } qw(
  credits_deduct credits_try_deduct credits_deduct_many credits_add_purchased credits_adjust credits_grant
  credits_hold credits_capture credits_release credits_refund credits_revoke_purchase
  credits_reinstate_purchase credits_set_overdraft
  credits_open_account credits_set_plan credits_set_cycle credits_transfer);

# They do nothing but log what pg_cron, which is not here, has done for them; or are triggers;
# or set counters that are in no table.
my %of_others = map { $_ => 1 } qw(credits_stat_reset credits_schedule_reset credits_unschedule_reset credits_guard credits_drop_guard);

for my $name (map { $_->[0] } rows($node, 'base', q(
SELECT DISTINCT p.proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'credits'
 WHERE p.provolatile = 'v' ORDER BY 1)))
{
	is(1, ($calls{$name} ? 1 : 0) + ($of_accounts{$name} // 0) + ($of_others{$name} // 0), "$name has its place here");
}

# Calls of others, which must not wait for the call that waits.
sub probes
{
	my (%without) = @_;

	return ((map { "SELECT credits_deduct('$_', 1)" } grep { !$without{$_} } @users),
		q(SELECT credits_open_account('new', 'free')), q(SELECT credits_add_purchased('newer', 5, 'pay_newer')),
		($without{z2} ? () : q(SELECT credits_set_plan('z2', 'free'))),
		($without{a3} ? () : q(SELECT credits_freeze('a3'))),
		q(SELECT count(*) FROM credit_usage_daily), q(SELECT count(*) FROM credit_history_archive),
		q(SELECT sum(available) FROM credit_balance));
}

# poll_until, often.
sub soon
{
	my ($check, $what) = @_;

	for (1 .. 500)
	{
		return 1 if $check->();
		Time::HiRes::usleep(2_000);
	}
	return poll_until($check, $what);
}

my $number = 0;

# Does a probe come to its end, or wait for others than the caller alone?  What it
# waits for, otherwise.
sub waits_for
{
	my ($monitor, $probe, $sql, $caller, $holder) = @_;
	my $mark = 'probe ' . ++$number;
	my ($found, $ended);

	$probe->do("BEGIN; SET LOCAL statement_timeout = '60s'");
	$probe->send("/* $mark */ $sql");
	soon(
		sub {
			my $row = $monitor->do('SELECT state, array_to_string(pg_blocking_pids(pid), $$ $$) FROM pg_stat_activity WHERE pid = '
				  . $probe->pid . " AND query LIKE '%$mark%'");
			my ($state, $pids) = split /\|/, $row, 2;
			return 0 unless defined $state;
			my %pids = map { $_ => 1 } split / /, $pids // '';
			$ended = $state ne 'active';
			$found = $pids{$caller} && !$pids{$holder} ? "$sql waits for the call" : '';
			return $ended || %pids;
		}, "the end of $sql") or $found = "$sql does not end";
	$monitor->do('SELECT pg_cancel_backend(' . $probe->pid . ')') unless $ended;
	my ($state) = $probe->answer;
	$found ||= "$sql: $state" if $state eq '57014' && $ended;
	$probe->do('ROLLBACK');
	return $found;
}

for my $name (sort keys %calls)
{
	my $call = $calls{$name};

	for my $kind (@{ $call->{waits} })
	{
		my $held = $held{$kind} or die "no $kind";
		my $db = "w_${name}_$kind";

		$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE base");
		$node->safe_psql($db, $call->{before}) if $call->{before};
		my ($holder, $caller, $probe, $monitor) = map { session($node, $db) } 1 .. 4;
		$holder->do("BEGIN; $held->{sql}");
		$caller->send($call->{sql});

		# It waits, or has come to its end.
		my $state;
		soon(
			sub {
				$state = $monitor->do(q(SELECT CASE WHEN state <> 'active' THEN 'ended' WHEN wait_event_type IN ('Lock', 'Extension') THEN 'waits' END
 FROM pg_stat_activity WHERE query NOT LIKE '%pg_backend_pid%' AND pid = ) . $caller->pid);
				return $state;
			}, "$name to wait for $kind or to end");
		my %without = map { $_ => 1 } @{ $held->{users} // [] };

		# The plan is for the account of the call itself: with that it may wait.
		$without{m1} = 1 if $kind eq 'plan' && $call->{sql} =~ /SELECT credits_\w+\('m1'/;
		my @waiting = grep { $_ } map { waits_for($monitor, $probe, $_, $caller->pid, $holder->pid) } probes(%without);
		is(join("\n", @waiting), '', "$name, which waits for $kind, has nobody wait ($state)")
		  or ($ENV{STOP_AT_FAILURE} && die "stopped at the first failure\n");

		$holder->do('ROLLBACK');
		my ($sqlstate) = $caller->answer;
		is($sqlstate, '00000', "... and does it when that is over") or diag($caller->{stderr});
		$_->quit for $holder, $caller, $probe, $monitor;
		is_clean($node, $db, '... and all is clean') unless $name eq 'credits_repair_guards' || $call->{dirty};
	}
}


no_deadlock($node);
done_testing();
