# The counters of pg_stat_credits: what they count, that rolled back work is not among it,
# that they survive a restart, and that nothing else changes without the library preloaded.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils ();
use Test::More;

my $preload = "shared_preload_libraries = 'credits'\n";
my $node = new_server('counters', conf => $preload . "restart_after_crash = on\nautovacuum = off\ncredits.counted_databases = 2\nmax_prepared_transactions = 2\n");

sub totals
{
	my ($columns, $db) = @_;

	return $node->safe_psql($db || 'postgres', "SELECT $columns FROM pg_stat_credits WHERE datname = current_database()");
}

sub calls
{
	my ($call, $db) = @_;

	return $node->safe_psql($db || 'postgres',
		"SELECT string_agg(result || ':' || calls, ' ' ORDER BY result) FROM pg_stat_credits_calls WHERE datname = current_database() AND call = '$call'");
}

# --- Calls, by result.

$node->safe_psql('postgres', q(
SELECT credits_define_plan('plan', 100);
SELECT credits_open_account('ann', 'plan');
SELECT credits_add_purchased('ann', 50, 'pay');
SELECT credits_grant('ann', 20, now() + interval '1 day');
SELECT credits_deduct('ann', 130, idempotency_key => 'once');
SELECT credits_deduct('ann', 130, idempotency_key => 'once');
SELECT credits_try_deduct('ann', 1000);
SELECT credits_balance('ann');
SELECT credits_quote('ann', 5);
SELECT credits_quote('ann', 1000);
SELECT credits_balances('{ann,bob}');
));
for my $sql ("credits_deduct('ann', 1000)", "credits_deduct('nobody', 1)", "credits_deduct('ann', 0)", "credits_deduct('ann', 1, idempotency_key => 'once')")
{
	$node->psql('postgres', "SELECT $sql", stderr => \my $ignored);
}
is(calls('deduct'), '22023:1 UC001:1 UC002:1 UC003:1 ok:1 replayed:1', 'deductions, by result') or diag(calls('deduct'));
is(calls('try_deduct'), 'UC001:1', 'an answer that refuses counts as the refusal');
is(calls('balance'), 'ok:1', 'calls that read are counted');
is(calls('quote'), 'UC001:1 ok:1', 'a quote that says no counts as the refusal');
is(calls('balances'), 'ok:1', 'a call for many users is one call');
is($node->safe_psql('postgres', "SELECT bool_and(histogram[15] = calls AND histogram[1] <= histogram[15] AND total_time > 0) FROM pg_stat_credits_calls"),
	't', 'the histogram ends in the number of calls');

# --- What was committed.

is(totals('spent_monthly, spent_granted, spent_purchased, issued_plan, issued_grant, issued_purchase, issued_adjust'),
	'100|20|10|100|20|50|0', 'credits by bucket and source');
is(totals('history_rows'), $node->safe_psql('postgres', 'SELECT count(*) FROM credit_history'), 'the rows of the history');

my $before = totals('history_rows, spent_purchased, issued_adjust');
$node->safe_psql('postgres', q(
BEGIN;
SELECT credits_deduct('ann', 1);
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT credits_deduct('ann', 2);
SAVEPOINT b;
SELECT credits_adjust('ann', 'purchased', 7, 'a gift');
ROLLBACK TO a;
COMMIT;
));
is(totals('history_rows, spent_purchased, issued_adjust'), $before, 'what is rolled back is not counted');
is(calls('adjust'), 'ok:1', 'but its call is');
$node->safe_psql('postgres', q(
BEGIN;
SAVEPOINT a;
SELECT credits_deduct('ann', 3);
SAVEPOINT b;
SELECT credits_deduct('ann', 20);
ROLLBACK TO b;
SAVEPOINT c;
SELECT credits_deduct('ann', 4);
RELEASE c;
RELEASE a;
SELECT credits_refund('ann', 6, 4);
COMMIT;
));
is(totals('spent_purchased, refunded'), '17|4', 'what is kept of a transaction with savepoints is');

$before = totals('history_rows, spent_purchased');
$node->safe_psql('postgres', q(
BEGIN;
SELECT credits_deduct('ann', 1);
PREPARE TRANSACTION 'two phases';
BEGIN;
COMMIT;
COMMIT PREPARED 'two phases';
));
is(totals('history_rows, spent_purchased'), $before, 'what was prepared is not counted');
$node->safe_psql('postgres', q(
SELECT credits_add_purchased('bea', 5, 'pay_bea');
SELECT credits_grant('bea', 7, now() + interval '1 day');
SELECT credits_hold('bea', 9) ->> 'seq' AS hold \gset
SELECT credits_capture('bea', :hold, 8);
SELECT credits_revoke_purchase('pay_bea', 2);
));
is(totals('spent_granted - 20, spent_purchased, issued_purchase, revoked'), '7|18|55|2', 'a capture spends from each bucket; a chargeback');

$node->safe_psql('postgres', q(SELECT count(*) FROM credits_deduct_many('{ann,ann,ann,ann}', '{1,1,1,1}', idempotency_keys => '{NULL,NULL,batch,batch}')));
is(calls('deduct_many'), 'ok:1', 'a batch is one call');
is(totals('spent_purchased'), 21, 'of three deductions and a replay');

# --- Calls inside calls, and in another process.

$node->safe_psql('postgres', q(
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM credits_try_deduct('ann', 1000); RETURN NULL; END$$;
CREATE TRIGGER look AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION look();
SELECT credits_adjust('ann', 'purchased', 1, 'a gift');
DROP TRIGGER look ON credit_history;
));
is(calls('adjust') . ', ' . calls('try_deduct'), 'ok:2, UC001:2', 'a call inside a call has a result of its own');
my $parallel = $node->safe_psql('postgres', 'SHOW server_version_num') >= 160000 ? 'debug_parallel_query' : 'force_parallel_mode';
is($node->safe_psql('postgres', qq(
SET $parallel = on;
SELECT credits_balance('bea') ->> 'available';
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT credits_balance('bea');
)) =~ /^2\n.*Workers Launched: 1\b/s, 1, 'balances are read in parallel workers');
is(calls('balance'), 'ok:3', '... which count');

# --- Another database; more databases than are counted.

add_database($node, $_) for qw(second third);
$node->safe_psql($_, "SELECT credits_add_purchased('eve', 5, 'pay')") for qw(second third);
is(calls('add_purchased', 'second'), 'ok:1', 'each database has its own counters');
my $third = session($node, 'third');
$third->do("SELECT credits_deduct('eve', 1)");
is(calls('add_purchased', 'third') . calls('deduct', 'third'), '', 'there is no place for a third one');
is($node->safe_psql('third', q(SELECT value FROM credits_metrics() WHERE name LIKE 'credits\_counters%')), 0, '... which credits_metrics() says');
is(totals('issued_purchase', 'second'), 5, 'also for what was committed');
$node->safe_psql('postgres', 'DROP DATABASE second');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_credits'), 1, 'a database that is dropped leaves its place');
$third->do("SELECT credits_add_purchased('eve', 6, 'pay_2')");
is(calls('add_purchased', 'third'), 'ok:1', '... to another one, also in a session that was there before');
$third->quit;

# --- Waiting for a busy account.

my ($holder, $waiter) = map { session($node, 'postgres') } 1 .. 2;
$holder->do(q(BEGIN; SELECT credits_deduct('ann', 1)));
$waiter->send(q(SELECT credits_deduct('ann', 1)));
poll_until(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM pg_locks WHERE NOT granted') > 0 });
$holder->do('COMMIT');
$waiter->answer;
is(totals('waits, turns, wait_time > 0'), '1|1|t', 'a wait and its time');

# --- credits_metrics(): the same numbers, by the rules of Prometheus.

$node->safe_psql('postgres', q(
SELECT credits_open_account('bob', 'plan');
SET credits.clock = '2026-01-01 00:00Z';
SELECT credits_add_purchased('old', 11, 'pay_old');
SELECT credits_grant('old', 3, '2026-01-02 00:00Z');
SELECT credits_grant('old', 9, '2026-01-03 00:00Z');
SET credits.clock = '2026-01-02 12:00Z';
SELECT credits_refund('old', (credits_deduct('old', 1) ->> 'seq')::int8);
SET credits.clock = '2026-01-04 00:00Z';
SELECT credits_close_account('old');
CALL credits_import('SELECT ''new''::text AS user_id, 13 AS purchased');
));

# The name and the labels that a column of pg_stat_credits should have.  The time is in
# milliseconds there.
sub sample_of
{
	my ($column) = @_;

	return ("credits_$1_total", qq({"bucket": "$2"})) if $column =~ /^(spent)_(.*)/;
	return ("credits_$1_total", qq({"source": "$2"})) if $column =~ /^(issued)_(.*)/;
	return ('credits_wait_seconds_total', '{}') if $column eq 'wait_time';
	return ("credits_${column}_total", '{}');
}

my @columns = map { $_->[0] } rows($node, 'postgres', q(SELECT attname FROM pg_attribute WHERE attrelid = 'pg_stat_credits'::regclass AND attname NOT IN ('datid', 'datname', 'stats_reset') ORDER BY attnum));
# The worker that sends notifications counts, too, until it ends.
poll_until(sub { $node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'credits notifier')) eq '0' }, 'the end of the worker');
my %sums = map { @$_ } rows($node, 'postgres', q(SELECT key, value FROM pg_stat_credits s, jsonb_each_text(to_jsonb(s) - 'datid') WHERE datname = current_database()));
my %samples = map { ("$_->[0] $_->[1]" => $_->[2]) } rows($node, 'postgres', q(SELECT name, labels, value FROM credits_metrics() WHERE type = 'counter'));
my %distinct = map { $_ => 1 } @sums{qw(history_rows spent_monthly spent_granted spent_purchased refunded issued_plan issued_grant issued_purchase issued_adjust issued_import revoked expired forfeited)};
is(keys %distinct, 13, 'the totals differ from each other') or diag(join ' ', map { "$_=$sums{$_}" } @columns);
for my $column (@columns)
{
	my $sample = join ' ', sample_of($column);
	my $value = delete $samples{$sample} // 'missing';

	is($value, $column eq 'wait_time' ? $sums{$column} / 1000 : $sums{$column}, "$sample is what pg_stat_credits has");
}
is(join(', ', sort keys %samples), '', '... and there is no other counter');
is($node->safe_psql('postgres', q(
SELECT count(*) > 5, bool_and(m.calls IS NOT DISTINCT FROM s.calls AND round(m.seconds * 1e6) IS NOT DISTINCT FROM round(s.total_time * 1e3)
       AND m.buckets IS NOT DISTINCT FROM s.histogram AND m.bounds = '{0.0001,0.00025,0.0005,0.001,0.0025,0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,5,+Inf}')
  FROM (SELECT labels ->> 'call' AS call, labels ->> 'result' AS result, max(value) FILTER (WHERE name ~ '_count$') AS calls, max(value) FILTER (WHERE name ~ '_sum$') AS seconds,
               array_agg(value::int8 ORDER BY (labels ->> 'le')::float8) FILTER (WHERE name ~ '_bucket$') AS buckets,
               array_agg(labels ->> 'le' ORDER BY (labels ->> 'le')::float8) FILTER (WHERE name ~ '_bucket$') AS bounds
          FROM credits_metrics() WHERE type = 'histogram' GROUP BY 1, 2) m
       FULL JOIN (SELECT * FROM pg_stat_credits_calls WHERE datname = current_database()) s USING (call, result))),
	't|t', 'each call is a histogram in seconds, with the numbers of pg_stat_credits_calls');
is($node->safe_psql('postgres', q(
SELECT bool_and(value = 1) FILTER (WHERE name = 'credits_counters_enabled'), bool_and(abs(value - extract(epoch FROM stats_reset)) < 0.001) FILTER (WHERE name = 'credits_counters_reset_timestamp_seconds')
  FROM credits_metrics(), pg_stat_credits WHERE datname = current_database())), 't|t', 'counters are enabled, and since when');
is($node->safe_psql('third', q(SELECT value FROM credits_metrics() WHERE name = 'credits_call_duration_seconds_count' AND labels @> '{"call": "add_purchased", "result": "ok"}')),
	1, 'another database has its own');

# Counting reads an index, and no page of the table that VACUUM has seen.
$node->safe_psql('postgres', q(
SELECT credits_add_purchased('flagged_' || n, 1, 'pay_flagged_' || n), credits_deduct('flagged_' || n, 1) FROM generate_series(1, 50) n;
VACUUM credit_account;
));
is($node->safe_psql('postgres', q(
SELECT count(*) FROM credits_metrics() WHERE name = 'credits_accounts_flagged' AND labels @> '{"flag": "empty"}' AND value >= 50;
SELECT idx_tup_fetch <= 10, seq_scan FROM pg_stat_xact_all_tables WHERE relname = 'credit_account';
)), "1\nt|0", 'flagged accounts are counted by index alone');

# At SERIALIZABLE it is a read of the rows that it counts: each of two transactions reads what the
# other one writes, so one fails.
$node->safe_psql('postgres', 'CREATE TABLE note (n int)');
my ($scrape, $change) = map { session($node, 'postgres') } 1 .. 2;
$scrape->do('BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM credits_metrics()');
$change->do(q(BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM note; SELECT credits_set_overdraft('flagged_25', 10)));
$scrape->do('INSERT INTO note VALUES (1); COMMIT');
$change->is_state('COMMIT', '40001', 'a count at SERIALIZABLE is a read');
$_->quit for $scrape, $change;

# What Prometheus would read: a family's TYPE once, before all its samples; no sample twice; no
# label with a user.
my ($text) = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../docs/operations.md") =~ /^```sql\n([^`]* AS exposition\n[^`]*?);?\n```/m;
my (%type, %seen, @bad);
my $family = '';
for (split /\n/, $node->safe_psql('postgres', $text))
{
	if (/^# HELP (\w+) (\S.*)$/)
	{
		push @bad, $_ if $type{$1} || $2 =~ /\\/;
		$family = $1;
	}
	elsif (/^# TYPE (\w+) (gauge|counter|histogram)$/)
	{
		push @bad, $_ if $1 ne $family || $type{$1};
		$type{$1} = $2;
	}
	elsif (/^(credits_\w+)(\{(?:[a-z]+="[^"\\]*",?)+\})? (-?[0-9.]+(?:e[-+]?[0-9]+)?)$/)
	{
		my ($name, $labels) = ($1, $2 // '');

		push @bad, $_ if $seen{"$name$labels"}++ || $labels =~ /\b(?:ann|bea|bob|old)\b|user/;
		$name =~ s/_(?:bucket|sum|count)$// if ($type{$family} // '') eq 'histogram';
		push @bad, $_ if $name ne $family || !$type{$family};
	}
	else { push @bad, $_ }
}
cmp_ok(scalar(keys %type), '>', 20, 'the exposition has metrics');
is(join("\n", @bad), '', '... by the rules');

# --- The query of docs/operations.md for the time that 99 of 100 calls do not exceed.

my ($p99) = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../docs/operations.md") =~ /^```sql\n([^`]* AS p99_ms\n[^`]*?);?\n```/m;
is($node->safe_psql('postgres', "SELECT bool_and(p99_ms >= 0.1 AND mean_ms > 0) AND max(p99_ms) FILTER (WHERE calls = 1) >= max(mean_ms) FILTER (WHERE calls = 1) FROM ($p99) t"),
	't', 'the query for the 99th percentile');

# --- A restart, a crash, a reset.

my $kept = totals('history_rows, spent_monthly, stats_reset') . calls('deduct');
$node->restart;
is(totals('history_rows, spent_monthly, stats_reset') . calls('deduct'), $kept, 'the counters survive a restart');
$node->stop;
$node->append_conf('pg_hba.conf', "an error\n");
is($node->start(fail_ok => 1), 0, 'the server cannot start');
my $hba = $node->data_dir . '/pg_hba.conf';
my $lines = PostgreSQL::Test::Utils::slurp_file($hba) =~ s/^an error\n//mr;
open my $conf, '>', $hba or die "$hba: $!";
print $conf $lines;
close $conf or die "$hba: $!";
$node->start;
is(totals('history_rows, spent_monthly, stats_reset') . calls('deduct'), $kept, '... nor does that lose them');
$node->safe_psql('postgres', "SELECT credits_deduct('ann', 1)") for 1 .. 8;
$node->safe_psql('postgres', 'SELECT credits_stat_reset()');
is(totals('history_rows, spent_monthly'), '0|0', 'they are set to 0');
is(calls('deduct'), '', 'all of them');
$node->safe_psql('postgres', "SELECT credits_deduct('ann', 1)");
$node->stop;
my $file = $node->data_dir . '/pg_stat/credits.stat';
open my $fh, '+<:raw', $file or die "$file: $!";
read $fh, my $layout, 4;
seek $fh, 0, 0;
print $fh ~$layout;
close $fh or die "$file: $!";
$node->start;
is(totals('count(*)'), 0, 'a file that was written by a library that counts other things is left out');
ok(!-e $file, '... and removed');
my ($killed, $other) = map { session($node, 'postgres') } 1 .. 2;
$killed->do(q(SELECT credits_deduct('ann', 1)));
kill KILL => $killed->pid;
poll_until(sub { !kill 0, $other->pid }, 'the server ends all sessions');
poll_until(sub { $node->psql('postgres', 'SELECT 1', stderr => \my $ignored) == 0 }, 'the server comes back');
is(totals('count(*)'), 0, 'after a crash they begin anew');
is_clean($node, 'postgres');

# --- Not preloaded.

$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
$node->psql('postgres', 'SELECT credits_now()', stderr => \my $warning);
like($warning, qr/WARNING: .* "credits\.counted_databases"/m, 'without preloading there is no setting');
$node->adjust_conf('postgresql.conf', 'credits.counted_databases', undef);
$node->restart;
$node->safe_psql('postgres', "SELECT credits_deduct('ann', 1), credits_stat_reset()");
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM pg_stat_credits), (SELECT count(*) FROM pg_stat_credits_calls)'), '0|0',
	'without preloading the views are empty');
is($node->safe_psql('postgres', q(SELECT string_agg(name, ' '), max(value) FROM credits_metrics() WHERE type <> 'gauge' OR name LIKE 'credits\_counters%')), 'credits_counters_enabled|0',
	'... and credits_metrics() has no counters, and says so');
is_clean($node, 'postgres');

done_testing();
