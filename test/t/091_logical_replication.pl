# Logical replication: a subscriber has the same ledger, clean at every moment
# it is looked at, and goes on with it when it is promoted.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $clock = '2026-04-10 12:00:00+00';
my $db = 'postgres';
my $old = new_server('publisher', clock => $clock, conf => "fsync = off\nwal_level = logical\nmax_wal_senders = 5\n");
my $new = new_server('subscriber', clock => $clock, conf => "fsync = off\nwal_level = logical\nmax_wal_senders = 5\n");

# The archive is a partitioned table whose partitions come and go: DDL, which
# is not replicated.
my @tables = grep { $_ ne 'credit_history_archive' } split /\n/, $old->safe_psql($db, q(
SELECT c.relname FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig)
 WHERE e.extname = 'credits' AND c.relkind = 'r' ORDER BY 1));
cmp_ok(scalar(@tables), '>=', 12, "tables: @tables");

my $list = join ',', map { "'$_'" } @tables;
is( $old->safe_psql($db, qq(
SELECT count(*) FROM pg_class c WHERE c.relname IN ($list)
   AND NOT (c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)))),
	0, 'each has a replica identity');

$old->safe_psql($db, <<'SQL');
SET credits.clock = '2026-01-01 00:00:00+00';
SELECT credits_define_plan('free', 100, 'calendar', 10, 5);
SET credits.clock = '2026-01-15 00:00:00+00';
SELECT credits_open_account('user_' || n, CASE n % 2 WHEN 0 THEN 'free' END) FROM generate_series(1, 40) n;
SELECT credits_add_purchased('user_' || n, 100, 'pay_' || n) FROM generate_series(1, 40) n;
SELECT credits_deduct('user_' || n, 7, 'before', 'k' || n) FROM generate_series(1, 40) n;
SELECT credits_grant('user_1', 50, '2026-12-01 00:00+00'), credits_hold('user_1', 20, '10 days');
CALL credits_run_reset();
SELECT credits_anchor();
SQL

sub contents
{
	my ($node) = @_;
	return $node->safe_psql($db, join ' ', map { "SELECT '$_', t FROM $_ t"
		. ($_ eq 'credit_reset_run' ? q( WHERE kind <> 'verify') : '')    # where it was verified
		. ' ORDER BY t::text COLLATE "C";' } @tables);
}

sub caught_up { return $old->wait_for_catchup('ledger'); }

$old->safe_psql($db, 'CREATE PUBLICATION ledger FOR TABLE ' . join ', ', @tables);
my $connstr = $old->connstr($db) =~ s/'/''/gr;
$new->safe_psql($db, "CREATE SUBSCRIPTION ledger CONNECTION '$connstr' PUBLICATION ledger");
$new->wait_for_subscription_sync($old, 'ledger');
is(contents($new), contents($old), 'the tables are copied, past the guards');
is_clean($new, $db, 'the copy is clean');

# While clients work on the one, the other is looked at again and again.
my @clients = start_clients(
	$old, $db,
	[ map { my $c = $_; join '', map { <<"SQL" } 1 .. 60 } 1 .. 4 ]);
SELECT credits_deduct('user_@{[ 1 + ($c * 7 + $_) % 40 ]}', 1, 'live', '$c-$_');
SELECT credits_add_purchased('user_@{[ 1 + ($c + $_) % 40 ]}', 2, 'live-$c-$_');
SELECT credits_capture('user_$c', (credits_hold('user_$c', 1) ->> 'seq')::bigint, 1);
SQL
for my $round (1 .. 3)
{
	is_clean($new, $db, "look $round: clean, whatever has arrived");
	is_gapless($new, $db, "look $round: no gaps");
}
wait_clients(@clients);
is(join('', map { $_->{err} } @clients), '', 'all calls succeeded');

# Everything that changes rows, with the clock gone on.
$old->safe_psql($db, <<'SQL');
SET credits.clock = '2026-05-02 00:00:00+00';
CALL credits_run_reset(7);
SELECT credits_freeze('user_2', 'suspicious'), credits_revoke_purchase('pay_3'), credits_adjust('user_5', 'purchased', -3, 'sorry');
SELECT credits_set_plan('user_4', NULL), credits_erase_user('user_6', 'on request'), credits_transfer('user_7', 'user_9', 5);
SQL
my $anchor = json($old->safe_psql($db, q(SET credits.clock = '2026-05-02 00:00:00+00'; SELECT credits_anchor())))->{anchor};
caught_up();
my $contents = contents($old);
is(contents($new), $contents, 'the subscriber has all of it');
is_clean($new, $db, 'and is clean');
is($new->safe_psql($db, "SELECT * FROM credits_verify_anchor('$anchor')"), '', 'it is the ledger that was anchored');
is_outcome($new, $db, 'UPDATE credit_account SET monthly = 1', 'UC007', 'nobody but the apply worker changes its rows');
is_outcome($new, $db, 'TRUNCATE credit_history', 'UC007', '... or empties them');

# Promoted: the publisher is lost, the subscriber lets go of it and goes on.
$old->stop('immediate');
$new->safe_psql($db, $_)
  for 'ALTER SUBSCRIPTION ledger DISABLE', 'ALTER SUBSCRIPTION ledger SET (slot_name = NONE)', 'DROP SUBSCRIPTION ledger';
$new->append_conf('postgresql.conf', q(credits.clock = '2026-05-02 00:00:00+00'));
$new->reload;
is(contents($new), $contents, 'promoted: nothing is lost');
my $call = sub { return json($new->safe_psql($db, "SELECT $_[0]")) };
ok($call->(q(credits_deduct('user_1', 7, 'before', 'k1')))->{replayed}, 'a retry from before is a replay');
ok($call->(q(credits_add_purchased('user_1', 100, 'pay_1')))->{replayed}, 'a payment is not credited again');
ok($call->(sprintf q(credits_deduct('user_%d', 1, 'live', '1-1')), 1 + 8 % 40)->{replayed}, 'nor a replicated key charged again');
is_outcome($new, $db, q(SELECT credits_deduct('user_2', 1)), 'UC004', 'who was frozen is frozen');
my $head = $new->safe_psql($db, q(SELECT history_seq FROM credit_account WHERE user_id = 'user_8'));
is($call->(q(credits_deduct('user_8', 5)))->{seq}, $head + 1, 'the next deduction chains on');
$new->safe_psql($db, <<'SQL');
SELECT credits_open_account('new', 'free'), credits_add_purchased('user_10', 1, 'pay_new'), credits_define_plan('pro', 5);
SET credits.clock = '2026-06-02 00:00:00+00';
CALL credits_run_reset();
SELECT credits_anchor();
SQL
is_clean($new, $db, 'clean after that');
is_gapless($new, $db);
is($new->safe_psql($db, "SELECT * FROM credits_verify_anchor('$anchor')"), '', 'it continues the ledger that was anchored');

$new->stop;
done_testing();
