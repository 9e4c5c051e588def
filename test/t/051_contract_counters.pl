# Counters, metrics and notifications, written from docs/reference.md and docs/operations.md
# alone: each counted call and each result, what committed work adds up to, what is undone,
# two databases, a standby, a restart and a crash, and who is told of what.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Listener;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('counted', streaming => 1,
	conf => "shared_preload_libraries = 'credits'\nfsync = off\nautovacuum = off\nmax_prepared_transactions = 2\nrestart_after_crash = on\n");
my $db = 'postgres';
my $s = session($node, $db);

sub at { return $s->do("SET credits.clock = '$_[0]'"); }
sub sql { return $s->do($_[0]); }

sub is_sql
{
	my ($sql, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(sql($sql), $expected, $test);
}

my $counted = q(SELECT string_agg(call || ' ' || result || ' ' || calls, ', ' ORDER BY call, result) FROM pg_stat_credits_calls WHERE datname = current_database());

# What the counters of calls are after the SQL, which may fail.
sub counts
{
	my ($sql, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	sql('SELECT credits_stat_reset()');
	$s->run($_) for ref $sql ? @$sql : $sql;
	return is(sql($counted), $expected, $test // (ref $sql ? "@$sql" : $sql));
}

# --- Each counted call, and no other.

is_sql('SELECT count(*) FROM pg_stat_credits_calls', 0, 'no call was made');
is_sql(q(SELECT string_agg(name, ' ') FROM credits_metrics() WHERE name LIKE '%\_total'), '', 'so there are no counters yet');
at('2026-01-15 12:00Z');
my @calls = (
	open_account => "'ann', 'free'", add_purchased => "'ann', 100, 'pay_ann'", grant => "'ann', 10, '2026-02-10Z'", deduct => "'ann', 10, idempotency_key => 'k'", try_deduct => "'ann', 10",
	deduct_many => "'{ann,ann}', '{1,2}'", hold => "'ann', 10", capture => "'ann', 8", hold => "'ann', 10", release => "'ann', 10", refund => "'ann', 4",
	revoke_purchase => "'pay_ann', 50", reinstate_purchase => "'pay_ann', 20", adjust => "'ann', 'monthly', 5, 'why'", transfer => "'ann', 'bob', 10", set_plan => "'ann', 'big'",
	set_cycle => "'ann', NULL, 'Asia/Tokyo'", set_overdraft => "'ann', 10", set_low_threshold => "'ann', 5", freeze => "'bob'", unfreeze => "'bob'", close_account => "'bob'",
	balance => "'ann'", balances => "'{ann,nobody}'", quote => "'ann', 1", history => "'ann'", usage => "'ann'", total_usage => '', explain => "'ann'",
	my_balance => '', my_history => '', my_usage => '', my_explain => '');
sql(q(SELECT credits_define_plan('free', 100, low_balance_threshold => 30); SELECT credits_define_plan('big', 1000); SELECT credits_add_purchased('bob', 1, 'pay_bob')));
sql('SELECT credits_stat_reset()');
my %times;
for (my $i = 0; $i < @calls; $i += 2)
{
	sql("SELECT credits_$calls[$i]($calls[$i + 1])");
	$times{ $calls[$i] }++;
}
# What is documented as not counted.
sql(q(SELECT credits_balance_at('ann', '2026-01-15 12:00Z'); SELECT credits_take_events(); SELECT count(*) FROM credits_metrics(true); SELECT count(*) FROM credits_verify(); SELECT credits_reset_due(); SELECT count(*) FROM credit_balance;
SELECT credits_define_plan('free', 101); SELECT credits_current_user_id(); SELECT credits_anchor(); SELECT count(*) FROM credits_unknown_zones(); SELECT credits_erase_user('bob')));
is_sql($counted, join(', ', map { "$_ ok $times{$_}" } sort keys %times), 'each call is counted by its name, and nothing else');
my $reference = slurp_file("$ENV{TESTDIR}/docs/reference.md");
my ($list) = $reference =~ /These functions are counted(.*?)All other functions/s;
is(join(' ', sort keys %times), join(' ', sort grep { $_ ne 'credits_' } $list =~ /`(\w+)`/g), 'these are the calls that the reference lists');
is_sql(q(SELECT count(*) FROM pg_stat_credits_calls WHERE cardinality(histogram) <> 15 OR histogram[15] <> calls OR total_time < 0
	OR EXISTS (SELECT FROM generate_series(2, 15) i WHERE histogram[i] < histogram[i - 1])), 0, 'histograms are cumulative, and end with all calls');

# --- Each result.

sql(q(SELECT credits_open_account('eva', 'free'); SELECT credits_open_account('ice', 'free'); SELECT credits_freeze('ice'); SELECT credits_add_purchased('eva', 10, 'pay_eva'); SELECT credits_hold('eva', 1)));
my $hold = sql("SELECT max(seq) FROM credit_hold WHERE user_id = 'eva'");
sql('CREATE ROLE nobody_may');
counts("SELECT credits_deduct('eva', 1000)", 'deduct UC001 1');
counts("SELECT credits_try_deduct('eva', 1000)", 'try_deduct UC001 1', 'a refusal that is an answer is a refusal');
counts("SELECT credits_quote('eva', 1000)", 'quote UC001 1');
counts("SELECT credits_quote('ice', 1)", 'quote UC004 1');
counts("SELECT credits_quote('ice', 1000)", 'quote UC004 1');
counts("SELECT credits_hold('eva', 1000)", 'hold UC001 1');
counts("SELECT credits_deduct('nobody', 1)", 'deduct UC002 1');
counts("SELECT credits_balance('nobody')", 'balance UC002 1');
counts("SELECT credits_balances('{nobody}')", 'balances ok 1');
counts("SELECT credits_history('nobody')", 'history UC002 1');
counts("SELECT credits_usage('nobody')", 'usage UC002 1');
counts("SELECT credits_usage('eva', 'week')", 'usage 22023 1');
counts("SELECT credits_deduct('ann', 11, idempotency_key => 'k')", 'deduct UC003 1');
counts("SELECT credits_deduct('ann', 10, idempotency_key => 'k')", 'deduct replayed 1');
counts("SELECT credits_try_deduct('ann', 10, idempotency_key => 'k')", 'try_deduct replayed 1');
counts("SELECT credits_open_account('eva', 'free')", 'open_account replayed 1');
counts("SELECT credits_add_purchased('eva', 10, 'pay_eva')", 'add_purchased replayed 1');
counts("SELECT credits_deduct('ice', 1)", 'deduct UC004 1');
counts("SELECT credits_capture('eva', 999)", 'capture UC005 1');
counts([ "SELECT credits_release('eva', $hold)", "SELECT credits_release('eva', $hold)" ], 'release UC006 1, release ok 1', 'a release, and again');
counts("SELECT credits_set_plan('eva', 'missing')", 'set_plan UC009 1');
counts("SELECT credits_refund('ann', 4, 1000)", 'refund UC010 1');
counts("SELECT credits_revoke_purchase('missing')", 'revoke_purchase UC011 1');
counts([ "SELECT credits_revoke_purchase('pay_eva')", "SELECT credits_revoke_purchase('pay_eva')" ], 'revoke_purchase ok 1, revoke_purchase replayed 1', 'a chargeback, and again');
counts("SELECT credits_deduct('eva', 0)", 'deduct 22023 1');
counts("SELECT credits_deduct('eva', NULL)", 'deduct 22004 1');
counts("SELECT credits_deduct('eva', 9007199254740992)", 'deduct 22003 1');
counts([ 'BEGIN READ ONLY', "SELECT credits_deduct('eva', 1)", 'ROLLBACK' ], 'deduct 25006 1');
counts([ "SELECT credits_hold('eva', 1)", "SELECT credits_close_account('eva')" ], 'close_account 55000 1, hold ok 1');
counts([ 'SET ROLE nobody_may', "SELECT credits_deduct('eva', 1)", 'RESET ROLE' ], '', 'who has no EXECUTE does not reach the function');
counts([ 'BEGIN', "SELECT credits_deduct('eva', 1)", 'SAVEPOINT a', "SELECT credits_deduct('eva', 1)", 'ROLLBACK TO a', 'ROLLBACK' ], 'deduct ok 2', 'a call counts, whatever becomes of its transaction');
counts("SELECT credits_deduct_many('{eva,nobody,ice,eva}', '{1,1,1,5000}')", 'deduct_many ok 1', 'a batch with refused items is ok');
counts("SELECT credits_deduct_many('{eva,nobody}', '{1,1}', all_or_nothing => true)", 'deduct_many UC002 1', 'unless all or nothing was asked for');
counts("SELECT credits_balance('eva') FROM generate_series(1, 7)", 'balance ok 7', 'each call of a statement counts');
counts('SELECT credits_my_balance()', 'my_balance ok 1', 'nobody asks for a balance');
counts([ q(SET request.jwt.claims = '{"sub": "nobody"}'), 'SELECT credits_my_usage()', 'SELECT credits_my_explain()', q(SET request.jwt.claims = '{x'), 'SELECT credits_my_balance()', 'RESET request.jwt.claims' ],
	'my_balance other 1, my_explain UC002 1, my_usage UC002 1', 'an error without a counter of its own is counted as other');

counts(q(DO $$ BEGIN FOR i IN 1 .. 3 LOOP BEGIN PERFORM credits_deduct('eva', 1000); EXCEPTION WHEN SQLSTATE 'UC001' THEN NULL; END; END LOOP; END $$), 'deduct UC001 3', 'an error that is caught counts');
my $parallel = sql("SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')");
sql('CREATE TABLE who AS SELECT $$eva$$::text AS user_id FROM generate_series(1, 5)');
counts([ "SET $parallel = on", "SELECT credits_balance(user_id) FROM who", "RESET $parallel" ], 'balance ok 5', 'a call in a parallel process counts once');
counts([ 'SET credits.early_lock_release = on', "SELECT credits_add_purchased('ann', 1, 'pay_ann2')", 'RESET credits.early_lock_release' ], 'add_purchased ok 1', 'early lock release');
is_sql("SELECT history_rows, issued_purchase FROM pg_stat_credits WHERE datname = '$db'", '1|1', 'does not change what is counted');

sub is_waiting
{
	return poll_until(sub { return $node->safe_psql($db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") ne '0' }, 'a wait') || die;
}
my $other = session($node, $db);
$other->do('BEGIN');
$other->do("SELECT credits_deduct('eva', 1)");
counts([ "SET lock_timeout = '20ms'", "SELECT credits_deduct('eva', 1)", 'RESET lock_timeout' ], 'deduct 55P03 1', 'a wait that takes too long');
sql('SELECT credits_stat_reset()');
$s->send("SELECT credits_deduct('eva', 1)");
is_waiting();
$other->do('SELECT pg_cancel_backend(' . $s->pid . ')');
is(($s->answer)[0], '57014', 'a call that is cancelled');
is_sql($counted, 'deduct 57014 1', 'is counted');
is_sql("SELECT waits, wait_time, turns FROM pg_stat_credits WHERE datname = '$db'", '0|0|0', 'waits that ended in an error do not count');
sql('SELECT credits_stat_reset()');
$s->send("SELECT credits_deduct('eva', 1)");
is_waiting();
$other->do('COMMIT');
$s->answer;
is_sql("SELECT waits, wait_time > 0 FROM pg_stat_credits WHERE datname = '$db'", '1|t', 'a wait that went on counts');
$s->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
$s->do('SELECT 1');
$other->do("SELECT credits_deduct('eva', 1)");
counts([ "SELECT credits_deduct('eva', 1)", 'ROLLBACK' ], 'deduct 40001 1', 'a conflict');

# A DBA's trigger that makes a call of its own, or an error.
sql(q(CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	PERFORM credits_balance(new.user_id);
	IF new.reason = 'boom' THEN RAISE SQLSTATE 'ZZ001'; END IF;
	RETURN NULL; END $$;
CREATE TRIGGER look AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION look()));
counts("SELECT credits_deduct('eva', 1)", 'balance ok 1, deduct ok 1', 'a call inside a call counts for itself');
counts("SELECT credits_deduct('eva', 1, 'boom')", 'balance ok 1, deduct other 1', "an app's own error");
sql('DROP TRIGGER look ON credit_history');

# --- Committed work: everything that happens in another database, from its first call on.

add_database($node, 'second');
my $t = session($node, 'second');
my $stat = "FROM pg_stat_credits WHERE datname = 'second'";
$t->do("SET credits.clock = '2026-01-15 12:00Z'");
$t->do(q(SELECT credits_define_plan('free', 100); SELECT credits_define_plan('big', 1000); SELECT credits_define_plan('carry', 100, rollover_limit => 50)));
$t->do(q(SELECT credits_open_account('a', 'free'); SELECT credits_open_account('b', 'carry'); SELECT credits_add_purchased('c', 70, 'pay_c');
SELECT credits_grant('a', 30, '2026-01-20Z'); SELECT credits_grant('a', 40, '2026-01-20Z', payment_ref => 'pack_a'); SELECT credits_add_purchased('a', 50, 'pay_a');
SELECT credits_deduct('a', 110); SELECT credits_hold('a', 30, '10 days'); SELECT credits_refund('a', 5, 20); SELECT credits_set_plan('b', 'big'); SELECT credits_adjust('b', 'purchased', 11, 'why'); SELECT credits_adjust('b', 'purchased', -4, 'why');
SELECT credits_transfer('c', 'b', 20); SELECT credits_revoke_purchase('pay_c', 60); SELECT credits_reinstate_purchase('pay_c', 5); SELECT credits_set_overdraft('c', 100); SELECT credits_deduct('c', 30);
SELECT credits_set_plan('b', 'big', restart => true)));
$t->do('BEGIN');
$t->do(q(SELECT credits_deduct('b', 500); SAVEPOINT x; SELECT credits_deduct('b', 100); SAVEPOINT y; SELECT credits_grant('b', 9, '2026-02-20Z'); RELEASE y; ROLLBACK TO x; SELECT credits_deduct('b', 1); RELEASE x; SAVEPOINT z; SELECT credits_deduct('b', 2)));
$t->do('COMMIT');
$t->do(q(BEGIN; SELECT credits_deduct('b', 7); SELECT credits_add_purchased('b', 7, 'pay_b'); ROLLBACK));
$t->do(q(DO $$ BEGIN PERFORM credits_deduct('b', 3); BEGIN PERFORM credits_deduct('b', 4); PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END; END $$));
$t->do("SET credits.clock = '2026-03-15 12:00Z'");
$t->do('CALL credits_run_reset()');
$t->do(q(SELECT credits_deduct_many('{a,b,a,nobody}', '{5,6,7,8}'); SELECT credits_hold('a', 20, '20 days'); SELECT credits_close_account('b')));
# A hold of March that is captured in April, when it has expired; a refund that comes too late; bulk runs.
$t->do("SET credits.clock = '2026-04-15 12:00Z'");
$t->do(q(SELECT credits_capture('a', max(seq), 15) FROM credit_hold WHERE user_id = 'a'));
$t->do(q(SELECT credits_refund('a', max(seq), 4) FROM credit_history WHERE user_id = 'a' AND kind = 'deduct'));
$t->do(q(CALL credits_grant_many('{a,c,c,missing}', '{3,4,5,6}', '2026-04-20Z', 'gift', 'k')));
$t->do(q(CALL credits_import('SELECT ''i'' || n AS user_id, ''free'' AS plan, 30 + n AS monthly, 7 AS purchased, timestamptz ''2026-04-01Z'' AS last_reset FROM generate_series(1, 3) n')));
$t->do(q(SELECT credits_define_plan('free', 120)));
$t->do("SET credits.clock = '2026-04-15 12:00:01Z'");
$t->do(q(CALL credits_apply_plan('free', dry_run => true)));
$t->do(q(CALL credits_apply_plan('free')));
$t->do("SET credits.clock = '2026-04-20 12:00Z'");
$t->do('CALL credits_run_reset()');

my $sums = q(
SELECT (SELECT count(*) FROM credit_history), u.monthly_spent, u.granted_spent, u.purchased_spent,
       (SELECT sum(amount - coalesce(forfeited, 0)) FROM credit_history WHERE kind = 'refund'),
       (SELECT sum(amount) FROM credit_history WHERE kind IN ('open', 'reset', 'restart') OR kind = 'set_plan' AND amount > 0),
       u.granted, u.purchased,
       (SELECT sum(amount) FROM credit_history WHERE kind = 'adjust' AND amount > 0),
       (SELECT sum(amount) FROM credit_history WHERE kind = 'import'),
       (SELECT sum(amount) FROM credit_history WHERE kind = 'revoke'),
       (SELECT sum(expired) FROM credit_history), (SELECT coalesce(sum(forfeited), 0) FROM credit_history)
  FROM credits_total_usage('all', '2026-01-01Z', '2027-01-01Z') u);
is($t->do("SELECT history_rows, spent_monthly, spent_granted, spent_purchased, refunded, issued_plan, issued_grant, issued_purchase, issued_adjust, issued_import, revoked, expired, forfeited $stat"),
	$t->do($sums), 'what was committed is what the history says');
like($t->do($sums), qr/^\d+\|\d+\|\d+\|\d+\|20\|\d+\|82\|120\|11\|117\|60\|\d+\|\d+$/, 'with the numbers of these calls');
is_sql("SELECT datname FROM pg_stat_credits ORDER BY 1", "$db\nsecond", 'each view shows both databases');

my $before = $t->do("SELECT history_rows, spent_purchased, stats_reset $stat");
my $reset_at = sql("SELECT stats_reset FROM pg_stat_credits WHERE datname = '$db'");
sql(q(BEGIN READ ONLY; SELECT credits_stat_reset(); ROLLBACK));
is_sql("SELECT history_rows, spent_purchased, stats_reset > '$reset_at', abs(extract(epoch FROM clock_timestamp() - stats_reset)) < 3600 FROM pg_stat_credits WHERE datname = '$db'", '0|0|t|t',
	'a reset is of now, may be read-only, and is not undone');
is($t->do("SELECT history_rows, spent_purchased, stats_reset $stat"), $before, 'the other database keeps its own');

sql("BEGIN; SELECT credits_deduct('eva', 1); PREPARE TRANSACTION 'p'");
sql("COMMIT PREPARED 'p'");
is_sql("SELECT history_rows, spent_monthly FROM pg_stat_credits WHERE datname = '$db'", '0|0', 'a prepared transaction is not counted');
is_sql($counted, 'deduct ok 1', 'but its call');

# --- Metrics.

my $metrics = 'credits_metrics()';
is_sql("SELECT count(*) FROM credits_metrics(true) WHERE name !~ '^credits_[a-z_]+\$' OR labels IS NULL OR jsonb_typeof(labels) <> 'object' OR value IS NULL OR value = 'NaN' OR type NOT IN ('gauge', 'counter', 'histogram') OR coalesce(help, '') = ''",
	0, 'each sample has all columns');
is_sql("SELECT count(*) FROM (SELECT name, labels FROM credits_metrics(true) GROUP BY 1, 2 HAVING count(*) > 1) x", 0, 'none comes twice');
is_sql("SELECT count(*) FROM credits_metrics(true) WHERE (type = 'counter') <> (name LIKE '%\\_total') OR (type = 'histogram') <> (name ~ '_(bucket|sum|count)\$')", 0, 'names end as their types ask');
is_sql(q(SELECT count(*) FROM (SELECT family, count(*) FROM (SELECT family, family IS DISTINCT FROM lag(family) OVER (ORDER BY n) AS begins
  FROM (SELECT n, CASE type WHEN 'histogram' THEN regexp_replace(name, '_(bucket|sum|count)$', '') ELSE name END AS family FROM credits_metrics(true) WITH ORDINALITY AS m(name, labels, value, type, help, n)) x) y WHERE begins GROUP BY 1 HAVING count(*) > 1) z),
	0, 'samples of one metric follow each other');
is_sql("SELECT count(*) FROM credits_metrics(true), credit_account a WHERE labels::text LIKE '%\"' || a.user_id || '\"%'", 0, 'no label has a user');
is_sql(q(SELECT string_agg(DISTINCT label, ' ' ORDER BY label) FROM credits_metrics(true), jsonb_object_keys(labels) label), 'bucket call flag kind le result source status version', 'labels');
my ($table) = $reference =~ /^\| metric \|.*?\n(.*?)\n\n/ms;
my %documented = map { $_ => 1 } $table =~ /^\| `(credits_\w+)`/mg;
my %there = map { s/(duration_seconds)_(bucket|sum|count)$/$1/r => 1 } split /\n/, $t->do('SELECT DISTINCT name FROM credits_metrics(true)');
is(join(' ', grep { !$documented{$_} } sort keys %there), '', 'each metric is in the reference');
is(join(' ', grep { !$there{$_} } sort keys %documented), 'credits_accounts_due_oldest_timestamp_seconds credits_accounts_estimated credits_events_oldest_timestamp_seconds credits_holds_first_end_timestamp_seconds', 'those that are in it and not there are those that may be missing');

is($t->do("SELECT string_agg(m.value::int8::text, '|' ORDER BY o) FROM unnest('{credits_history_rows_total,credits_refunded_total,credits_revoked_total,credits_expired_total,credits_forfeited_total,credits_waits_total,credits_turns_total}'::text[]) WITH ORDINALITY n(name, o) JOIN $metrics m USING (name)"),
	$t->do("SELECT history_rows, refunded, revoked, expired, forfeited, waits, turns $stat"), 'counters are the columns of pg_stat_credits');
is($t->do("SELECT string_agg((labels ->> 'bucket') || ' ' || value, ', ' ORDER BY labels ->> 'bucket') FROM $metrics WHERE name = 'credits_spent_total'"),
	$t->do("SELECT format('granted %s, monthly %s, purchased %s', spent_granted, spent_monthly, spent_purchased) $stat"), 'by bucket');
is($t->do("SELECT string_agg((labels ->> 'source') || ' ' || value, ', ' ORDER BY labels ->> 'source') FROM $metrics WHERE name = 'credits_issued_total'"),
	$t->do("SELECT format('adjust %s, grant %s, import %s, plan %s, purchase %s', issued_adjust, issued_grant, issued_import, issued_plan, issued_purchase) $stat"), 'by source');
is($t->do("SELECT value::numeric(20, 3) FROM $metrics WHERE name = 'credits_counters_reset_timestamp_seconds'"), $t->do("SELECT extract(epoch FROM stats_reset)::numeric(20, 3) $stat"), 'stats_reset');
is($t->do(q(SELECT count(*) FROM pg_stat_credits_calls c JOIN credits_metrics() m ON m.labels ->> 'call' = c.call AND m.labels ->> 'result' = c.result
  WHERE c.datname = 'second' AND (m.name LIKE '%_count' AND m.value <> c.calls OR m.name LIKE '%_sum' AND abs(m.value - c.total_time / 1000) > 1e-9 OR m.labels ->> 'le' = '+Inf' AND m.value <> c.calls
   OR m.labels ->> 'le' = '0.001' AND m.value <> c.histogram[4]))), 0, 'the histogram is that of the view');
is($t->do(q(SELECT count(DISTINCT labels ->> 'le') FROM credits_metrics() WHERE name = 'credits_call_duration_seconds_bucket')), 15, 'of 15 steps');

# Gauges.
sub gauge { return $t->do("SELECT string_agg(value::text, ' ' ORDER BY labels::text) FROM credits_metrics($_[1]) WHERE name = 'credits_$_[0]'"); }
$t->do("SET credits.clock = '2026-05-15 12:00Z'");
$t->do('CALL credits_run_reset()');
sub all_gauges { return join ' ', map { $_ . '=' . gauge($_, 'NULL') } qw(accounts_due accounts_due_oldest_timestamp_seconds holds_open holds_due holds_first_end_timestamp_seconds events_waiting events_oldest_timestamp_seconds); }
is(all_gauges(), 'accounts_due=0 accounts_due_oldest_timestamp_seconds= holds_open=0 holds_due=0 holds_first_end_timestamp_seconds= events_waiting=0 events_oldest_timestamp_seconds=', 'nothing is due');
$t->do(q(SET credits.events = 'low,empty,recovered'));
$t->do(q(SELECT credits_open_account('g', 'free'); SELECT credits_hold('g', 30, '1 hour'); SELECT credits_hold('g', 90, '2 hours')));
is(all_gauges(), 'accounts_due=0 accounts_due_oldest_timestamp_seconds= holds_open=2 holds_due=0 holds_first_end_timestamp_seconds=1778850000 events_waiting=1 events_oldest_timestamp_seconds=1778846400', 'two holds and an event');
$t->do("SET credits.clock = '2026-05-15 13:00Z'");
is(all_gauges(), 'accounts_due=1 accounts_due_oldest_timestamp_seconds=1778850000 holds_open=1 holds_due=1 holds_first_end_timestamp_seconds=1778850000 events_waiting=1 events_oldest_timestamp_seconds=1778846400', 'one hold is over, at the very instant');
$t->do('CALL credits_run_reset()');
is(all_gauges(), 'accounts_due=0 accounts_due_oldest_timestamp_seconds= holds_open=1 holds_due=0 holds_first_end_timestamp_seconds=1778853600 events_waiting=1 events_oldest_timestamp_seconds=1778846400', 'the sweep writes it');
$t->do('BEGIN');
$t->do('SELECT credits_take_events()');
is(gauge('events_waiting', 'NULL'), '0', 'a consumer does not see what it took');
$t->do('ROLLBACK');
is(gauge('events_waiting', 'NULL'), '1', 'and gives it back');

sub is_flagged
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is($t->do("SELECT string_agg((labels ->> 'flag') || ' ' || value, ', ' ORDER BY labels ->> 'flag') FROM $metrics WHERE name = 'credits_accounts_flagged'"),
		$t->do(q(SELECT format('closed %s, empty %s, frozen %s, low %s, owing %s', count(*) FILTER (WHERE status = 'closed'), count(*) FILTER (WHERE available = 0), count(*) FILTER (WHERE status = 'frozen'),
			count(*) FILTER (WHERE low), count(*) FILTER (WHERE owed > 0)) FROM credit_balance)), $test);
}
is_flagged('flags are what the accounts are');
$t->do(q(SELECT credits_freeze('g'); SELECT credits_set_low_threshold('g', 1000); SELECT credits_deduct('c', 40); SELECT credits_add_purchased('h', 5, 'pay_h'); SELECT credits_deduct('h', 5)));
is_flagged('and after some calls');
is($t->do("SELECT string_agg((labels ->> 'status') || ' ' || value, ', ' ORDER BY labels ->> 'status') FROM credits_metrics(true) WHERE name = 'credits_accounts'"),
	$t->do("SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) n FROM credit_account GROUP BY 1) x"), 'accounts by status');
$t->do("SET credits.clock = '2026-06-15 13:00Z'");
is($t->do("SELECT string_agg((labels ->> 'bucket') || ' ' || value, ', ' ORDER BY labels ->> 'bucket') FROM credits_metrics(true) WHERE name = 'credits_outstanding'"),
	$t->do("SELECT format('granted %s, monthly %s, purchased %s', sum(granted), sum(monthly), sum(purchased)) FROM credit_balance"), 'outstanding credits, with what is due');
is($t->do("SELECT sum(value) FILTER (WHERE name = 'credits_held'), sum(value) FILTER (WHERE name = 'credits_owed') FROM credits_metrics(true)"),
	$t->do('SELECT sum(held), sum(owed + owed_monthly) FROM credit_balance'), 'held and owed');
is(gauge('accounts_in_unknown_zone', 'true'), '0', 'all zones are known');

# Runs, anchors, guards.
is($t->do("SELECT string_agg(labels ->> 'kind', ' ' ORDER BY labels ->> 'kind') FROM $metrics WHERE name = 'credits_run_success_timestamp_seconds'"), 'apply_plan grant import reset verify', 'kinds of runs: reset and verify are always there');
is($t->do("SELECT value FROM $metrics WHERE name = 'credits_run_success_timestamp_seconds' AND labels ->> 'kind' = 'verify'"), '0', 'there was no verification');
is(gauge('anchor_timestamp_seconds', 'NULL'), '0', 'nor an anchor');
$t->do('SELECT count(*) FROM credits_verify(); SELECT credits_anchor()');
is($t->do("SELECT value FROM $metrics WHERE name = 'credits_run_success_timestamp_seconds' AND labels ->> 'kind' = 'verify'"), '1781528400', 'now there was');
is(gauge('anchor_timestamp_seconds', 'NULL'), '1781528400', 'and an anchor');
is($t->do("SELECT string_agg(name || ' ' || value, ', ' ORDER BY name) FROM $metrics WHERE labels = '{\"kind\": \"reset\"}'"),
	'credits_run_accounts 1, credits_run_failures 0, credits_run_running 0, credits_run_start_timestamp_seconds 1778850000, credits_run_success_timestamp_seconds 1778850000', 'the newest sweep');
$t->do('CALL credits_run_reset(dry_run => true)');
is($t->do("SELECT value FROM $metrics WHERE labels = '{\"kind\": \"reset\"}' AND name = 'credits_run_start_timestamp_seconds'"), '1778850000', 'a dry run is none');
is(gauge('guards_intact', 'NULL'), '1', 'the guards are intact');
$t->do('BEGIN; ALTER TABLE credit_event DISABLE TRIGGER USER');
is(gauge('guards_intact', 'NULL'), '0', 'one is off');
$t->do('ROLLBACK');
is(gauge('info', 'NULL'), '1', 'credits_info');
is(gauge('counters_enabled', 'NULL'), '1', 'counters_enabled');

# Who may read them.
$t->do(q(CREATE ROLE watch; SELECT credits_grant_role('watch', 'monitor'); SET ROLE watch));
is($t->do('SELECT count(*) > 40 FROM credits_metrics(true)'), 't', 'monitor reads metrics');
is($t->do('SELECT count(*) FROM (SELECT * FROM pg_stat_credits) x'), 2, 'the counters');
is($t->do('SELECT count(*) > 0 FROM (SELECT * FROM pg_stat_credits_calls) x, (SELECT * FROM credit_reset_run) y'), 't', 'and runs');
$t->is_state("SELECT $_", '42501', "monitor may not: $_") for 'credits_stat_reset()', "credits_balance('a')", '* FROM credit_event', '* FROM credit_balance';
$t->do('RESET ROLE');

# --- Who is told of what.

sql('SELECT credits_stat_reset()');
my $listener = Listener->new($node, $db);
my $there = Listener->new($node, 'second');
$there->hear;
$listener->hear;
sub is_told
{
	my ($expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is($listener->hear, join(' ', map { /(\w+) (\d+)/; qq({"user_id": "$1", "seq": $2}) } split /, /, $expected), $test);
}
at('2026-01-16 12:00Z');
sql("SELECT credits_open_account('l$_', 'free') FROM generate_series(1, 1)") for 1 .. 5;
$listener->hear;
sql("SELECT credits_deduct('l1', 1, idempotency_key => 'k')");
is_told('l1 2', 'a deduction');
sql("SELECT credits_deduct('l1', 1, idempotency_key => 'k'); SELECT credits_try_deduct('l1', 1000); SELECT credits_balance('l1'); SELECT credits_quote('l1', 1); SELECT credits_take_events()");
is_told('', 'a replay, a refusal and a read are not told');
sql("BEGIN; SELECT credits_deduct('l1', 1); ROLLBACK");
is_told('', 'what is rolled back is not told');
sql("BEGIN; SELECT credits_deduct('l1', 1); SAVEPOINT a; SELECT credits_deduct('l1', 1); SELECT credits_deduct('l2', 1); ROLLBACK TO a; SAVEPOINT b; SELECT credits_deduct('l3', 1); RELEASE b; COMMIT");
is_told('l1 3, l3 2', 'nor what is rolled back to a savepoint');
sql(q(DO $$ BEGIN PERFORM credits_deduct('l4', 1); BEGIN PERFORM credits_deduct('l4', 1); PERFORM credits_deduct('l5', 1); PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN PERFORM credits_deduct('l1', 1); END; END $$));
is_told('l1 4, l4 2', 'nor what a block of PL/pgSQL caught');
sql("SELECT credits_deduct_many('{l1,l2,l1,nobody}', '{1,1,1,1}')");
is_told('l1 6, l2 2', 'a batch');
sql("BEGIN; SELECT credits_add_purchased('l6', 5, 'pay_l6'); SELECT credits_transfer('l6', 'l5', 5); COMMIT");
is_told('l5 2, l6 3', 'both users of a transfer');
at('2026-02-02 12:00Z');
sql("SELECT credits_balance('l1')");
is_told('', 'what is due is not told before it is written');
is(join(' ', grep { /^l/ } split /\n/, sql("SELECT user_id FROM credit_balance WHERE seq > 0 AND available = 101 AND user_id LIKE 'l_' ORDER BY 1")), 'l1 l2 l3 l4', 'although the balances show it');
sql("SELECT credits_deduct('l3', 1)");
is_told('l3 4', 'a call writes it');
sql('CALL credits_run_reset()');
like($listener->hear, qr/"l1", "seq": 7\} .*"l2", "seq": 3\} .*"l4", "seq": 3\} .*"l5", "seq": 3\}/, 'and a sweep');
is_deeply([ grep { ($_->{user_id} // '') =~ /^l/ } @{ $there->{all} } ], [], 'in the other database nobody hears of that');
$t->do("SELECT credits_add_purchased('k', 1, 'pay_k')");
is($there->hear, '{"user_id": "k", "seq": 2}', 'but of its own accounts');
is_told('', 'and the first one does not');
sql(q(CALL credits_grant_many('{l1,l2}', '{3,4}', '2026-04-20Z', 'gift', 'gift')));
is_told('l1 8, l2 4', 'a bulk grant');
sql(q(SET credits.early_lock_release = on; SELECT credits_deduct('l1', 1); RESET credits.early_lock_release));
is_told('l1 9', 'early lock release');
sql(q(SELECT credits_close_account('l2'); SELECT credits_freeze('l3'); SELECT credits_set_low_threshold('l4', 7); SELECT credits_set_cycle('l5', NULL, 'Asia/Tokyo')));
is_told('l2 5, l3 5, l4 4, l5 4', 'calls that move no credits');
sql(q(SELECT credits_erase_user('l1'); SELECT count(*) FROM credits_verify(); SELECT credits_anchor()));
is_told('', 'what writes no history is not told');
# Rows that come while a transaction commits, or in a procedure that commits.
sql(q(CREATE TABLE job (user_id text);
CREATE FUNCTION pay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM credits_deduct(new.user_id, 1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER pay AFTER INSERT ON job DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pay();
CREATE PROCEDURE in_two_parts() LANGUAGE plpgsql AS $$ BEGIN
	PERFORM credits_deduct('l4', 1); COMMIT;
	PERFORM credits_deduct('l4', 1); PERFORM credits_deduct('l5', 1); ROLLBACK; END $$));
my $rows = sql("SELECT history_rows FROM pg_stat_credits WHERE datname = '$db'");
sql("BEGIN; SAVEPOINT a; SELECT credits_deduct('l4', 1); SAVEPOINT b; SELECT credits_deduct('l4', 1); ROLLBACK TO b; RELEASE a; COMMIT");
is_told('l4 5', 'of two savepoints the one that was kept');
sql("BEGIN; INSERT INTO job VALUES ('l4'); COMMIT");
is_told('l4 6', 'a deferred trigger');
sql("BEGIN; INSERT INTO job VALUES ('l4'); INSERT INTO job VALUES ('nobody')");
$s->is_state('COMMIT', 'UC002', 'a deferred trigger that fails');
is_told('', 'is not told');
sql("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT credits_deduct('l4', 1); COMMIT; CLOSE c");
is_told('l4 7', 'a cursor that is kept');
sql('CALL in_two_parts()');
is_told('l4 8', 'what a procedure committed');
is_sql("SELECT history_rows - $rows - (SELECT count(*) FROM credit_history WHERE user_id = 'bell' AND seq > (SELECT max(seq) FROM credit_history WHERE user_id = 'bell') - 5) FROM pg_stat_credits WHERE datname = '$db'", 4, 'and just these rows are counted');
is_deeply($listener->{unseen}, [], 'whoever hears of a row can read it');
is_deeply([ $listener->behind('l%') ], [], 'everything was told');
sql("BEGIN; SELECT credits_deduct('l1', 1); PREPARE TRANSACTION 'p'");
sql("ROLLBACK PREPARED 'p'");
is_told('', 'a prepared transaction that is rolled back is not told');
sql("BEGIN; SELECT credits_deduct('l1', 1); PREPARE TRANSACTION 'p'");
is_told('', 'nor one that only waits');
sql("COMMIT PREPARED 'p'");
like($listener->hear_resync, qr/"resync": true/, 'one that is committed is a resync');

# --- A standby.

$t->do('SELECT count(*) FROM credits_take_events()');
$t->do("ALTER DATABASE second SET credits.clock = '2026-06-15 13:00Z'");
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
for my $read ("credits_balance('a')", "credits_quote('a', 1)", 'count(*) FROM credit_balance', "sum(spent) FROM credits_usage('a', 'all', '2026-01-01Z')", "b FROM credits_balances('{a,b,nobody}') b", "credits_explain('a')", "count(*) FROM credits_total_usage('user')")
{
	is($standby->safe_psql('second', "SELECT $read"), $t->do("SELECT $read"), "on a standby: $read");
}
my $gauges = "SELECT string_agg(name || labels || value, ' ' ORDER BY name, labels) FROM credits_metrics(true) WHERE type = 'gauge' AND name NOT LIKE 'credits_counters%' AND name <> 'credits_accounts_estimated'";
is($standby->safe_psql('second', $gauges), $t->do($gauges), 'the gauges are those of the primary');
is($standby->safe_psql('second', q(SELECT string_agg(call || ' ' || result || ' ' || calls, ', ' ORDER BY call) FROM pg_stat_credits_calls WHERE datname = current_database())),
	'balance ok 1, balances ok 1, explain ok 1, quote ok 1, total_usage ok 1, usage ok 1', 'its calls are its own');
is((outcome($standby, 'second', "SELECT $_"))[0], '25006', "on a standby not: $_") for 'credits_take_events()', "credits_deduct('a', 1)", "credits_set_low_threshold('a', 1)";
is($standby->safe_psql('second', q(SELECT credits_stat_reset(); SELECT count(*) FROM pg_stat_credits_calls WHERE datname = current_database())), "\n0", 'its counters are set to 0');
is($standby->safe_psql('second', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'credits %'"), 0, 'it sends no notifications');
$standby->stop('immediate');

# --- A restart, and a crash.

my $numbers = "SELECT history_rows, spent_purchased, issued_plan, expired, stats_reset $stat";
my $histograms = q(SELECT call, result, calls, total_time, histogram FROM pg_stat_credits_calls WHERE datname = 'second' ORDER BY 1, 2);
my @were = map { $t->do($_) } $numbers, $histograms;
$_->quit for $s, $t, $other, $listener, $there;
$node->restart;
is_deeply([ map { $node->safe_psql('second', $_) } $numbers, $histograms ], \@were, 'the numbers survive a restart');
my $victim = session($node, 'second');
$victim->do("SELECT credits_balance('a')");
kill KILL => $victim->pid;
poll_until(sub { return slurp_file($node->logfile) =~ /reinitializing/ }, 'the crash is noticed') or die;
poll_until(sub { return $node->psql('second', "SELECT credits_balance('a')") == 0 }, 'the server is there again') or die;
is($node->safe_psql('second', "SELECT history_rows, issued_plan, (SELECT sum(calls) FROM pg_stat_credits_calls) $stat"), '0|0|1', 'after a crash they begin again at 0');
is_clean($node, $_) for $db, 'second';
$node->stop;
done_testing();
