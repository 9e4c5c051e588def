# Nothing is written in a read-only transaction, on a hot standby, or for a
# role without the right; reading works on a standby, what is due included.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = new_server(
	'primary',
	streaming => 1,
	clock => '2026-01-15 12:00:00+00',
	conf => "max_wal_senders = 4\n");

$node->safe_psql(
	'postgres', q(
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('carry', 100, 'calendar', 30);
SELECT credits_open_account('ann', 'free');
SELECT credits_open_account('bob', 'carry', NULL, 'Europe/Berlin');
SELECT credits_add_purchased('ann', 50, 'pay_1');
SELECT credits_deduct('ann', 60, 'work', 'key_1');
SELECT credits_deduct('bob', 20);
SELECT credits_grant('bob', 40, '2026-01-20 00:00:00+00');
SELECT credits_grant('bob', 3, '2026-03-20 00:00:00+00');
SELECT credits_hold('bob', 90, '1 day', NULL, 'hold_1');
SELECT credits_add_purchased('ann', 5, 'pay_0');
SELECT credits_revoke_purchase('pay_0');
CREATE ROLE stranger LOGIN;
CREATE ROLE app_role LOGIN;
CREATE ROLE billing_role LOGIN;
CREATE ROLE admin_role LOGIN;
CREATE ROLE auditor_role LOGIN;
CREATE ROLE end_user_role LOGIN;
SELECT credits_grant_role('app_role', 'app');
SELECT credits_grant_role('billing_role', 'billing');
SELECT credits_grant_role('admin_role', 'admin');
SELECT credits_grant_role('auditor_role', 'auditor');
SELECT credits_grant_role('end_user_role', 'end_user');
));

# Every mutating call, with arguments that would succeed.
my %mutating = (
	credits_deduct => q(SELECT credits_deduct('ann', 1)),
	credits_try_deduct => q(SELECT credits_try_deduct('ann', 1)),
	credits_deduct_many => q(SELECT credits_deduct_many(ARRAY['ann'], ARRAY[1])),
	credits_add_purchased => q(SELECT credits_add_purchased('ann', 1, 'pay_2')),
	credits_adjust => q(SELECT credits_adjust('ann', 'purchased', 1, 'goodwill')),
	credits_grant => q(SELECT credits_grant('ann', 1, '2027-01-01 00:00:00+00')),
	credits_hold => q(SELECT credits_hold('ann', 1)),
	credits_capture => q(SELECT credits_capture('bob', 5, 1, true)),
	credits_release => q(SELECT credits_release('bob', 5)),
	credits_refund => q(SELECT credits_refund('ann', 3, 1)),
	credits_revoke_purchase => q(SELECT credits_revoke_purchase('pay_1', 1)),
	credits_reinstate_purchase => q(SELECT credits_reinstate_purchase('pay_0', 1)),
	credits_set_overdraft => q(SELECT credits_set_overdraft('ann', 10)),
	credits_set_low_threshold => q(SELECT credits_set_low_threshold('ann', 10)),
	credits_take_events => q(SELECT count(*) FROM credits_take_events()),
	credits_set_cycle => q(SELECT credits_set_cycle('ann', NULL, 'Europe/Berlin')),
	credits_define_plan => q(SELECT credits_define_plan('pro', 1000)),
	credits_open_account => q(SELECT credits_open_account('cid', 'free')),
	credits_set_plan => q(SELECT credits_set_plan('ann', 'carry')),
	credits_freeze => q(SELECT credits_freeze('ann')),
	credits_unfreeze => q(SELECT credits_unfreeze('ann')),
	credits_repair_clock =>
	  q(SET credits.clock = '2026-01-10 00:00:00+00'; SELECT credits_repair_clock('ann')),
	credits_erase_user => q(SELECT credits_erase_user('ann')),
	credits_transfer => q(SELECT credits_transfer('ann', 'bob', 1)),
	credits_close_account => q(SELECT credits_close_account('ann')),
	credits_grant_many => q(CALL credits_grant_many('{ann}', '{1}', '2027-01-01 00:00:00+00')),
	credits_apply_plan => q(CALL credits_apply_plan('free')),
	credits_undo_run => q(CALL credits_undo_run(plan => 'free', boundary => '2026-01-01 00:00:00+00')),
	credits_import => q(CALL credits_import('SELECT ''dan''::text AS user_id')),
	credits_reset_due => q(SET credits.clock = '2026-02-10 00:00:00+00'; SELECT credits_reset_due()),
	credits_run_reset => q(SET credits.clock = '2026-02-10 00:00:00+00'; CALL credits_run_reset()),
	credits_grant_role => q(SELECT credits_grant_role('stranger', 'app')),
	credits_revoke_role => q(SELECT credits_revoke_role('app_role', 'app')),
	credits_repair_guards => q(SELECT credits_repair_guards()),
	credits_archive => q(CALL credits_archive('2026-01-05 00:00:00+00')),
	credits_drop_archive => q(SELECT credits_drop_archive('credit_history_archive_2026', 1)),
	credits_anchor => q(SELECT credits_anchor()));

# These two need pg_cron and have a test of their own for what they do; the
# right to call them is asked for first.
my %scheduling = (
	credits_schedule_reset => q(SELECT credits_schedule_reset()),
	credits_unschedule_reset => q(SELECT credits_unschedule_reset()));

# The list is complete: what the extension has besides only reads.
my %reading = map { ($_ => 1) } qw(
  credits_balance credits_balances credits_quote credits_metrics credits_stat credits_stat_calls credits_stat_reset credits_balance_at credits_explain credits_history credits_account_state credits_account_from_history credits_now credits_unknown_zones credits_current_user_id
  credits_my_balance credits_my_history credits_usage credits_total_usage credits_my_usage credits_my_explain credits_verify credits_verify_account
  credits_run_verify credits_verify_structure credits_verify_anchor credits_guard credits_drop_guard
  credits_roles credits_dump_customizations);
my @unknown = grep { !$mutating{$_} && !$scheduling{$_} && !$reading{$_} } map { $_->[0] } rows(
	$node, 'postgres', q(
SELECT DISTINCT p.proname
  FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid JOIN pg_proc p ON d.objid = p.oid
 WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
   AND d.deptype = 'e' AND e.extname = 'credits'));
is("@unknown", '', 'this test knows every function of the extension');

sub everything
{
	my ($n) = @_;

	return $n->safe_psql(
		'postgres', q(
SELECT md5(string_agg(t, E'\n' ORDER BY t)) FROM (
    SELECT a::text FROM credit_account a UNION ALL SELECT h::text FROM credit_history h
    UNION ALL SELECT p::text FROM credit_plan p UNION ALL SELECT p::text FROM credit_payment p
    UNION ALL SELECT g::text FROM credit_grant g UNION ALL SELECT h::text FROM credit_hold h
    UNION ALL SELECT r::text FROM credit_reset_run r WHERE r.kind <> 'verify' UNION ALL SELECT l::text FROM credit_audit_log l
    UNION ALL SELECT r::text FROM credit_role r UNION ALL SELECT a::text FROM credit_anchor a
    UNION ALL SELECT l::text FROM credit_anchor_leaf l) x(t)));
}

my $before = everything($node);

# A read-only transaction.
for my $f (sort keys %mutating)
{
	is_outcome($node, 'postgres', "SET default_transaction_read_only = on; $mutating{$f}",
		'25006', "$f in a read-only transaction");
}
is_outcome(
	$node, 'postgres',
	q(BEGIN READ ONLY; SELECT credits_deduct('ann', 60, 'work', 'key_1')),
	'25006', 'a replay in a read-only transaction');
is_outcome(
	$node, 'postgres',
	q(BEGIN; SELECT credits_deduct('ann', 1); SET TRANSACTION READ ONLY; SELECT credits_deduct('ann', 1)),
	'25006', 'a transaction made read-only later');
is_outcome(
	$node, 'postgres', q(
BEGIN READ ONLY;
SELECT credits_balance('ann');
SELECT credits_balances('{ann,nobody}');
SELECT credits_quote('ann', 1);
SELECT * FROM credit_balance;
SELECT * FROM credit_usage_daily;
SELECT * FROM credits_history('ann');
SELECT * FROM credits_verify();
SET min_parallel_table_scan_size = 0;
SELECT * FROM credits_verify();
SELECT * FROM credits_verify_anchor();
SELECT * FROM credits_roles();
SELECT * FROM credits_dump_customizations();
SELECT * FROM pg_stat_credits;
SELECT * FROM pg_stat_credits_calls;
SELECT * FROM credits_metrics(true);
SELECT credits_stat_reset();),
	'00000', 'reading in a read-only transaction');
is_outcome(
	$node, 'postgres', 'SET default_transaction_read_only = on; CALL credits_run_verify()',
	'00000', '... and verifying in several');

# No right.
for my $f (sort(keys %mutating, keys %scheduling))
{
	my $sql = $mutating{$f} // $scheduling{$f};

	# SET credits.clock is for superusers; it comes first, as one.
	my $set = $sql =~ s/^(SET [^;]+; )// ? $1 : '';
	is_outcome($node, 'postgres', "${set}SET ROLE stranger; $sql", '42501', "$f without the right");
}
for my $sql (
	q(SELECT credits_balance('ann')),
	q(SELECT credits_balances('{ann}')),
	q(SELECT credits_quote('ann', 1)),
	q(SELECT * FROM credits_history('ann')),
	q(SELECT * FROM credits_verify()),
	q(SELECT * FROM credits_verify_account('ann')),
	q(CALL credits_run_verify()),
	q(SELECT * FROM credits_verify_anchor()),
	q(SELECT * FROM credits_roles()),
	q(SELECT credits_dump_customizations()),
	q(SELECT credits_my_balance()),
	q(SELECT * FROM credits_my_history()),
	q(SELECT * FROM credits_usage('ann')),
	q(SELECT * FROM credits_total_usage('user')),
	q(SELECT * FROM credits_my_usage()),
	q(SELECT credits_my_explain()),
	q(SELECT * FROM credit_balance),
	q(SELECT * FROM credit_usage_daily),
	q(SELECT * FROM credit_open_hold),
	q(SELECT * FROM credit_open_grant),
	q(SELECT * FROM credits_metrics()),
	q(SELECT * FROM credits_stat()),
	q(SELECT * FROM credits_stat_calls()),
	q(SELECT credits_stat_reset()),
	q(SELECT * FROM pg_stat_credits),
	q(SELECT * FROM pg_stat_credits_calls),
	map { "SELECT * FROM $_" }
	qw(credit_plan credit_account credit_history credit_payment credit_grant credit_hold credit_reset_run credit_audit_log credit_role
	credit_anchor credit_anchor_leaf))
{
	is_outcome($node, 'postgres', "SET ROLE stranger; $sql", '42501', "without the right: $sql");
}
is_outcome(
	$node, 'postgres',
	q(LOAD 'credits'; SET ROLE stranger; SET credits.clock = '2030-01-01 00:00:00+00'),
	'42501', 'the clock is for superusers');
like(
	is_outcome(
		$node, 'postgres', q(
SET SESSION AUTHORIZATION app_role;
SET credits.clock = '2030-01-01 00:00:00+00';
SELECT credits_balance('ann');),
		'00000', 'set before the extension is loaded'),
	qr/"next_reset_at": "2026-02-01/,
	'... it has no effect');
is_outcome(
	$node, 'postgres',
	q(SET ROLE app_role; INSERT INTO credit_account SELECT * FROM credit_account),
	'42501', 'an app may not write the tables itself');

# What a preset does not have.
for my $case (
	[
		'app_role', qw(credits_add_purchased credits_adjust credits_define_plan credits_freeze credits_grant_role
		  credits_grant credits_refund credits_revoke_purchase credits_reinstate_purchase credits_set_overdraft credits_set_cycle)
	],
	[
		'billing_role', qw(credits_deduct credits_try_deduct credits_adjust credits_define_plan credits_grant_role
		  credits_hold credits_capture credits_release credits_set_overdraft credits_set_low_threshold)
	],
	[
		'auditor_role', qw(credits_deduct credits_add_purchased credits_adjust credits_define_plan
		  credits_open_account credits_set_plan credits_freeze credits_reset_due credits_run_reset credits_erase_user
		  credits_grant credits_hold credits_capture credits_release credits_refund
		  credits_revoke_purchase credits_reinstate_purchase credits_set_overdraft credits_set_low_threshold credits_set_cycle
		  credits_repair_guards credits_grant_role)
	],
	[ 'admin_role', qw(credits_grant_role credits_revoke_role credits_repair_guards) ],
	[ 'end_user_role', sort keys %mutating ])
{
	my ($role, @functions) = @$case;

	for my $f (@functions)
	{
		my $sql = $mutating{$f};
		my $set = $sql =~ s/^(SET [^;]+; )// ? $1 : '';

		is_outcome($node, 'postgres', "${set}SET ROLE $role; $sql", '42501', "$f as $role");
	}
}
is_outcome(
	$node, 'postgres', q(
GRANT EXECUTE ON FUNCTION credits_grant_role(text, text) TO stranger;
SET ROLE stranger;
SELECT credits_grant_role('stranger', 'app')),
	'42501', 'EXECUTE alone does not make an owner');
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION credits_grant_role(text, text) FROM stranger');

is(everything($node), $before, 'nothing of all this changed anything');

# And what a preset has.
is_outcome($node, 'postgres', "BEGIN; SET ROLE app_role; $mutating{credits_deduct}; $mutating{credits_hold};
$mutating{credits_capture}; $mutating{credits_release}; SELECT credits_balance('ann'); ROLLBACK",
	'00000', 'app spends, holds and reads');
is_outcome($node, 'postgres', "BEGIN; SET ROLE billing_role; $mutating{credits_add_purchased}; $mutating{credits_grant};
$mutating{credits_refund}; $mutating{credits_revoke_purchase}; $mutating{credits_reinstate_purchase}; $mutating{credits_set_cycle}; ROLLBACK",
	'00000', 'billing adds purchases, grants, refunds, revokes, reinstates');
is_outcome($node, 'postgres', 'SET ROLE auditor_role; SET min_parallel_table_scan_size = 0; SELECT * FROM credits_verify();
	CALL credits_run_verify(); SELECT * FROM credit_history; SELECT * FROM credits_verify_anchor()',
	'00000', 'auditor verifies and reads');
is_outcome($node, 'postgres', "BEGIN; SET ROLE $_; $mutating{credits_anchor}; ROLLBACK", '00000', "$_ anchors")
  for qw(auditor_role admin_role);
is_outcome(
	$node, 'postgres', "
BEGIN; SET ROLE admin_role;
$mutating{credits_adjust}; $mutating{credits_set_overdraft}; $mutating{credits_set_cycle}; $mutating{credits_define_plan}; $mutating{credits_freeze}; $mutating{credits_unfreeze};
SELECT credits_reset_due(); ROLLBACK",
	'00000', 'admin administers');
is(everything($node), $before, 'all of it rolled back');

# A hot standby.  What a witness keeps of the primary is checked there.
my $anchor = json($node->safe_psql('postgres', 'SELECT credits_anchor()'))->{anchor};
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "shared_preload_libraries = 'credits'\n");
$standby->start;
$node->safe_psql('postgres', q(SELECT credits_deduct('ann', 5, 'after the copy')));
my $later = json($node->safe_psql('postgres', 'SELECT credits_anchor()'))->{anchor};
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
$before = everything($node);

is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the standby is one');
for my $f (sort keys %mutating)
{
	is_outcome($standby, 'postgres', $mutating{$f}, '25006', "$f on a standby");
}
is_outcome(
	$standby, 'postgres',
	q(SELECT credits_deduct('ann', 60, 'work', 'key_1')),
	'25006', 'a replay on a standby');

is(everything($standby), $before, 'the standby has what the primary has');
for my $sql (
	q(SELECT credits_balance('ann')),
	q(SET credits.clock = '2026-02-20 00:00Z'; SELECT credits_balances('{bob,nobody,ann}')),
	q(SET credits.clock = '2026-02-20 00:00Z'; SELECT credits_quote('ann', 120), credits_quote('bob', 9999)),
	q(SELECT * FROM credit_balance ORDER BY user_id),
	q(SELECT * FROM credit_usage_daily ORDER BY user_id, day, spender),
	q(SELECT * FROM credits_history('ann')),
	q(SELECT * FROM credits_usage('ann', 'day', '2026-01-01 00:00Z', '2026-03-01 00:00Z')),
	q(SELECT * FROM credits_total_usage('user', '2026-01-01 00:00Z', '2026-03-01 00:00Z')),
	q(SELECT * FROM credit_open_hold ORDER BY ends_at, user_id, seq),
	q(SELECT * FROM credit_open_grant ORDER BY ends_at, user_id, seq),
	q(SET request.jwt.claims = '{"sub": "bob"}'; SELECT credits_my_balance(); SELECT * FROM credits_my_history()),
	q(SET credits.clock = '2026-02-20 00:00Z'; SELECT * FROM credits_metrics() WHERE type = 'gauge' AND name !~ '^credits_counters'),
	q(SELECT * FROM credits_metrics(true) WHERE type = 'gauge' AND name !~ '^credits_counters'),
	q(SELECT * FROM credits_roles()),
	q(SELECT * FROM credits_dump_customizations()),
	q(SELECT * FROM credits_verify_account('bob')))
{
	my $here = is_outcome($standby, 'postgres', $sql, '00000', "on the standby: $sql");
	is($here, $node->safe_psql('postgres', $sql), '... says what the primary says');
}
is_clean($standby, 'postgres', 'credits_verify() is clean on the standby');
is($standby->safe_psql('postgres', 'SET min_parallel_table_scan_size = 0; SELECT * FROM credits_verify()'),
	'', '... and with workers');
is(json($standby->safe_psql('postgres', 'SET min_parallel_table_scan_size = 0; CALL credits_run_verify(NULL, 1)'))->{accounts},
	2, '... and in slices');
is($standby->safe_psql('postgres', "SELECT * FROM credits_verify_anchor('$_')"), '', '... and continues an anchor')
  for $anchor, $later;
my $balance = json($standby->safe_psql('postgres', q(SELECT credits_balance('ann'))));
is("$balance->{monthly} $balance->{purchased} $balance->{available}",
	'35 50 85', 'the balance on the standby');

# The standby counts its own calls.
is($standby->safe_psql('postgres', q(SELECT call, result, calls FROM pg_stat_credits_calls WHERE call IN ('deduct', 'quote') ORDER BY 1, 2)),
	"deduct|25006|2\nquote|UC001|1\nquote|ok|1", 'the standby counts its own calls');
is($standby->safe_psql('postgres', q(SELECT value FROM credits_metrics() WHERE name = 'credits_call_duration_seconds_count' AND labels = '{"call": "deduct", "result": "25006"}')),
	2, '... also in credits_metrics()');
is($standby->safe_psql('postgres', 'SELECT history_rows FROM pg_stat_credits; SELECT credits_stat_reset(); SELECT count(*) FROM pg_stat_credits_calls'),
	"0\n\n0", '... and begins again');

# A reset that is due, and not written.
my $due = q(SET credits.clock = '2026-02-01 00:00:00+00';);
$balance = json($standby->safe_psql('postgres', "$due SELECT credits_balance('ann')"));
is("$balance->{monthly} $balance->{purchased} $balance->{available}",
	'100 50 150', 'a due reset shows in credits_balance');
like($balance->{next_reset_at}, qr/^2026-03-01/, '... with the end of the new period');
$balance = json($standby->safe_psql('postgres', "$due SELECT credits_balance('bob')"));
is("$balance->{monthly} $balance->{available}", '130 133', '... and with rollover, in its own zone');
$balance = json(
	$standby->safe_psql(
		'postgres', q(SET credits.clock = '2026-01-31 22:59:59+00'; SELECT credits_balance('bob'))));
is($balance->{monthly}, 80, '... not a second before');
is( $standby->safe_psql(
		'postgres',
		"$due SELECT user_id, monthly, available FROM credit_balance ORDER BY user_id"),
	"ann|100|150\nbob|130|133",
	'... and in the view');
is( $standby->safe_psql(
		'postgres', "$due SELECT count(*) FROM credits_history('ann') WHERE kind = 'reset'"),
	0,
	'... but no row was written');
is(everything($standby), everything($node), 'reading changed nothing');

# Ends of holds and grants that are due, and not written: of bob's 80 + 43 credits 90 are held.
for my $case (
	[ '2026-01-16 11:59:59.999999+00', '0 33 90', 'a hold, before its end' ],
	[ '2026-01-16 12:00:00+00', '80 43 0', '... and at its end' ],
	[ '2026-01-20 00:00:00+00', '80 3 0', 'a grant at its end' ],
	[ '2026-02-10 00:00:00+00', '130 3 0', 'both and a boundary' ])
{
	my ($at, $expected, $test) = @$case;

	$balance = json($standby->safe_psql('postgres', "SET credits.clock = '$at'; SELECT credits_balance('bob')"));
	is("$balance->{monthly} $balance->{granted} $balance->{held}", $expected, $test);
	is( $standby->safe_psql('postgres', "SET credits.clock = '$at'; SELECT monthly, granted, held FROM credit_balance WHERE user_id = 'bob'"),
		$expected =~ s/ /|/gr, '... in the view as well');
}

# Promotion: the standby's history goes on.
my $head = $standby->safe_psql('postgres', q(SELECT seq FROM credit_balance WHERE user_id = 'ann'));
$node->stop;
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'not promoted';
my $receipt = json($standby->safe_psql('postgres', q(SELECT credits_deduct('ann', 1, 'after the failover', 'key_2'))));
is($receipt->{seq}, $head + 1, 'after promotion the history goes on where it was');
$receipt = json($standby->safe_psql('postgres', q(SELECT credits_deduct('ann', 60, 'work', 'key_1'))));
ok($receipt->{replayed}, 'a key of the old primary is known');
$receipt = json($standby->safe_psql('postgres', q(SELECT credits_add_purchased('ann', 50, 'pay_1'))));
ok($receipt->{replayed}, 'a payment of the old primary is known');
$receipt = json($standby->safe_psql('postgres', "$due SELECT credits_deduct('ann', 1)"));
is($receipt->{available}, 149, 'what was due is applied at the first call');
is($receipt->{seq}, $head + 3, '... with a row of its own before the call');
$receipt = json($standby->safe_psql('postgres', q(SELECT credits_hold('bob', 90, '1 day', NULL, 'hold_1'))));
ok($receipt->{replayed} && $receipt->{seq} == 5, 'a hold of the old primary is known');
is_outcome($standby, 'postgres', "$due CALL credits_run_reset()", '00000', 'the sweep runs');
is( $standby->safe_psql(
		'postgres', q(SELECT user_id, count(*) FROM credit_history WHERE kind = 'reset' GROUP BY user_id ORDER BY user_id)),
	"ann|1\nbob|1",
	'... and resets who is left');
is_gapless($standby, 'postgres');
is_clean($standby, 'postgres');

done_testing();
