# A superuser who has turned the guards and constraints off can write anything into a row.
# Whatever it is, a call answers, or it refuses with an error of the ledger's, or with
# PostgreSQL's error for such a value.  No call crashes, loops, or ends as an internal error.
# CORRUPT_SEED chooses what is written, CORRUPT_CASES how often.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{CORRUPT_SEED} // int rand 2**31;
my $cases = $ENV{CORRUPT_CASES} // 100;
note("CORRUPT_SEED=$seed CORRUPT_CASES=$cases");
srand $seed;

my $db = 'postgres';
my $node = new_server('corrupt', conf => "fsync = off\nautovacuum = off\nrestart_after_crash = off\ncredits.key_retention = 0\n");
sub sql { return $node->safe_psql($db, $_[0]) }

sql(q(
CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RAISE EXCEPTION USING ERRCODE = 'TT000';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'TT000' THEN 'ok' ELSE concat_ws(' ', SQLSTATE, SQLERRM) END;
END $$;
CREATE ROLE somebody;
));
my @story = (
	[ '2025-01-10', q(SELECT credits_define_plan('free', 100, 'calendar', 50), credits_define_plan('pro', 300, 'anniversary');
		SELECT credits_open_account('u', 'free'), credits_open_account('v', 'pro'); SELECT credits_add_purchased('u', 100, 'p1'); SELECT credits_deduct('u', 10, 'first', 'k0', '{"a": 1}'); SELECT credits_refund('u', 3, 4)) ],
	[ '2025-01-10', q(SELECT credits_anchor()) ],
	[ '2025-01-11', q(SELECT credits_deduct('u', 1, 'first'); CALL credits_archive('2025-01-11')) ],
	[ '2025-01-12', q(SELECT credits_grant('u', 30, '2025-03-01', 'g'), credits_grant('u', 20, '2025-02-15', 'g'); SELECT credits_hold('u', 120, '1 day'), credits_hold('u', 40, '20 days');
		SELECT credits_deduct('u', 7, 'reason', 'k1', '{"x": [1]}', 'sp'); SELECT credits_add_purchased('u', 50, 'p2'); SELECT credits_revoke_purchase('p2', 10); SELECT credits_set_plan('u', 'pro', 'next_reset')) ],
	[ '2025-01-14', q(CALL credits_grant_many('{u}', '{5}', '2025-06-01'); SELECT credits_anchor(), credits_freeze('v'), credits_unfreeze('v'), credits_grant_role('somebody', 'monitor')) ],
);
sql("SET credits.clock = '$_->[0] 12:00:00+00'; $_->[1]") for @story;
is_clean($node, $db);

my ($hold) = map { $_->[0] } rows($node, $db, q(SELECT max(seq) FROM credit_hold));
my ($spent) = map { $_->[0] } rows($node, $db, q(SELECT seq FROM credit_history WHERE idempotency_key = 'k1'));
my @calls = map { s/:hold/$hold/r =~ s/:spent/$spent/r } (
	q(SELECT credits_balance('u')), q(SELECT credits_balances('{u}')), q(SELECT credits_quote('u', 3)), q(SELECT credits_explain('u')), q(SELECT count(*) FROM credits_history('u')), q(SELECT credits_balance_at('u', '2025-01-13')), q(SELECT count(*) FROM credit_balance),
	q(SELECT count(spent) FROM credits_usage('u', 'spender', '2000-01-01 00:00Z')), q(SELECT count(spent) FROM credits_usage('u', 'day', '2025-01-01 00:00Z', '2025-03-01 00:00Z')),
	q(SELECT count(spent) FROM credits_total_usage('reason', '2000-01-01 00:00Z')), q(SELECT count(*) FROM credits_metrics(true)), q(SELECT count(held) FROM credit_open_hold), q(SELECT count(remaining) FROM credit_open_grant),
	q(SELECT count(spent) FROM credit_usage_daily), q(SELECT credits_deduct('u', 1)), q(SELECT credits_deduct('u', 7, 'a', 'k1')), q(SELECT credits_deduct_many('{u,v,u}', '{1,2,3}')), q(SELECT credits_hold('u', 1)),
	q(SELECT credits_capture('u', :hold, 5, true)), q(SELECT credits_capture('u', :hold - 1)), q(SELECT credits_release('u', :hold)), q(SELECT credits_refund('u', :spent)), q(SELECT credits_refund('u', 3)),
	q(SELECT credits_add_purchased('u', 100, 'p1')), q(SELECT credits_add_purchased('u', 5, 'p9')), q(SELECT credits_revoke_purchase('p2')), q(SELECT credits_grant('u', 5, '2030-01-01')), q(SELECT credits_adjust('u', 'granted', -3, 'x')),
	q(SELECT credits_set_plan('u', 'pro')), q(SELECT credits_set_cycle('u', '2025-01-31', 'Europe/Berlin')), q(SELECT credits_open_account('u', 'free')), q(SELECT credits_freeze('u')), q(SELECT credits_erase_user('u')),
	q(SELECT credits_transfer('u', 'v', 1)), q(SELECT credits_close_account('u')), q(SELECT credits_reset_due()), q(CALL credits_apply_plan('free')), q(CALL credits_undo_run(plan => 'free', boundary => '2025-02-01')),
	q(CALL credits_archive('2025-01-14')), q(SELECT credits_anchor()), q(SELECT count(*) FROM credits_verify()), q(SELECT count(*) FROM credits_verify_account('u')), q(SELECT count(*) FROM credits_verify_anchor()),
	q(SELECT credits_define_plan('free', 120)), q(SELECT credits_grant_role('somebody', 'app')), q(SELECT credits_revoke_role('somebody', 'monitor')), q(SELECT credits_drop_archive('credit_history_archive_2025', 4)));
my $calls = 'ARRAY[' . join(', ', map { "\$q\$$_\$q\$" } @calls) . ']';

my @numbers = qw(0 -1 5 2147483648 9007199254740992 9223372036854775807 -9223372036854775808);
my @times = ("'-infinity'", "'infinity'", "'0001-01-01'", "'294276-01-01'", "'4714-11-24 00:00:00 BC'", "'2025-01-05'");
my %values = (
	bigint => \@numbers, integer => [qw(0 -1 2 2147483647 -2147483648)], 'timestamp with time zone' => \@times, 'timestamp without time zone' => \@times,
	text => [ "''", "repeat('x', 300000)", "'nonsense'", "'FOO5BAR'", "'../../etc/passwd'", "'pro'", map { "'$_'" } qw(closed frozen capture undo reset hold hold_end grant archive import imported open settled expired transfer_in plan_change) ],
	bytea => [ "''", "'\\x00'", "decode(repeat('ab', 33), 'hex')", "decode(repeat('ab', 200000), 'hex')", "sha256('x')" ],
	'bigint[]' => [ "'{}'", "'{1}'", "'{1,2}'", "'{NULL,1}'", "'{{1,2},{3,4}}'", "'[5:6]={1,2}'", '(SELECT array_agg(x) FROM generate_series(1, 1000) x)', "'{-5,9223372036854775807}'", "'{7,-9223372036854775808}'",
		"'{9,100,50,50,0,0,9223372036854775807}'", "'{9,100,50,50,0,0,-1}'", "'{9,100,50,50,0,0,1}'", "'{2000000000,5}'", "'{7,1,7,1,7,1}'", "array_fill(7, ARRAY[7])::int8[]" ],
	'text[]' => [ "'{}'", "'{NULL}'", "'{a,b}'", "'{{a},{b}}'" ], jsonb => [ "'null'", "'\"x\"'", "(repeat('[', 3000) || repeat(']', 3000))::jsonb" ], uuid => ["'00000000-0000-0000-0000-000000000000'"],
	boolean => [ 'true', 'false' ], 'double precision' => [ "'NaN'", "'infinity'", '-1', '0.5' ], oid => [qw(0 4294967295)]);
my @columns = rows($node, $db, q(SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.attnotnull FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE c.relname ~ '^credit_' AND c.relkind = 'r' ORDER BY 1, a.attnum));
my @all;
for (@columns)
{
	my ($table, $column, $type, $not_null) = @$_;
	push @all, map { [ $table, $column, $_ ] } @{ $values{$type} // die "no values of $type" }, $not_null eq 't' ? () : 'NULL';
}
my @chosen = @all;
for my $i (reverse 1 .. $#chosen) { my $j = int rand($i + 1); @chosen[ $i, $j ] = @chosen[ $j, $i ] }
$#chosen = $cases - 1 if @chosen > $cases;

my $session = session($node, $db);
my (%answers, $written);
for (@chosen)
{
	my ($table, $column, $value) = @$_;
	my $what = "$table.$column = $value";
	my $clock = (qw(2025-01-20 2025-04-05))[ int rand 2 ];
	$session->do(q(BEGIN; SET LOCAL client_min_messages = error; SET LOCAL statement_timeout = '120s'));
	$session->do("SET LOCAL credits.clock = '$clock 00:00:00+00'");
	$session->do("ALTER TABLE $table DISABLE TRIGGER credits_guard");
	$session->do(qq(DO \$do\$ DECLARE c name; BEGIN FOR c IN SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = '$table'::regclass LOOP EXECUTE format('ALTER TABLE $table DROP CONSTRAINT %I', c); END LOOP; END \$do\$));
	# each row, as far as keys and the partition let it be
	my $rows = $session->do(qq(CREATE FUNCTION pg_temp.corrupt() RETURNS int LANGUAGE plpgsql AS \$do\$ DECLARE t tid; n int := 0; BEGIN
		FOR t IN SELECT ctid FROM $table LOOP BEGIN UPDATE $table SET $column = $value WHERE ctid = t; n := n + 1; EXCEPTION WHEN unique_violation OR check_violation OR program_limit_exceeded THEN NULL; END; END LOOP; RETURN n; END \$do\$;
		SELECT pg_temp.corrupt()));
	$written += $rows > 0;
	$session->do("ALTER TABLE $table ENABLE ALWAYS TRIGGER credits_guard");
	my ($state, $out) = $session->run("SELECT c, try(c) FROM unnest($calls) c");
	if ($state eq '08006')
	{
		fail("$what, at $clock: the server is there");
		last;
	}
	my @bad = grep { /\|(?:XX|57|53|P0|42)/ || !/\|(?:ok|[0-9A-Z]{5} )/ } split /\n/, $out;
	is(join("\n", $state, @bad), '00000', "$what, at $clock");
	$answers{$1}++ while $out =~ /\|(ok|[0-9A-Z]{5})/g;
	$session->do('ROLLBACK');
}
cmp_ok($written, '>', $cases / 2, "$written of $cases values could be written");
cmp_ok($answers{UC008}, '>', 0, 'some were seen to be corrupt');
note(join ', ', map { "$_ $answers{$_}" } sort keys %answers);
is_clean($node, $db, 'and without them all is clean');
$session->quit;
$node->stop;
done_testing();
