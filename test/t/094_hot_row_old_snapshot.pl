# One user is charged over and over while an old snapshot is open, such as that of a
# forgotten session.  The snapshot keeps versions of the account's row; they take the room
# that they must and no more, and they go when the snapshot goes.
#
# CREDITS_HOT_SECONDS: so long beside the snapshot, for the long version; by default
# a fixed number of calls.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Test::More;

my $db = 'postgres';
my $seconds = $ENV{CREDITS_HOT_SECONDS};
my $calls = 3000;
my $node = new_server('main', clock => '2026-01-10 12:00:00+00', conf => "fsync = off\nautovacuum = off\n");

$node->safe_psql($db, q(
SELECT credits_define_plan('free', 100);
SELECT credits_open_account('user_' || n, 'free') FROM generate_series(1, 20) n;
SELECT credits_add_purchased('hot', 9007199254740991, 'pay_1');
VACUUM (FREEZE) credit_account;
));

# Bytes of the account table's rows, and of its indexes.
sub sizes
{
	return map { @$_ } rows($node, $db, q(SELECT pg_relation_size('credit_account'), pg_indexes_size('credit_account')));
}

# Charge the hot user, so long if it is said; give the number of calls.
my $total = 0;
sub charge
{
	my ($name, $seconds) = @_;
	my $until = $seconds ? "clock_timestamp() - started < '$seconds s'" : "n < $calls";
	my $n = $node->safe_psql($db, <<"SQL");
SET client_min_messages = notice;
DO LANGUAGE plpgsql \$\$
DECLARE started timestamptz := clock_timestamp(); n int := 0;
BEGIN
  WHILE $until LOOP PERFORM credits_deduct('hot', 1, NULL, '$name ' || n); COMMIT; n := n + 1; END LOOP;
END \$\$;
SELECT count(*) FROM credit_history WHERE user_id = 'hot' AND idempotency_key LIKE '$name %';
SQL
	$total += $n;
	return $n;
}

# With nobody looking: versions are pruned as they come.
charge('warm');
my ($table, $indexes) = sizes();
my $n = charge('alone');
my ($table_alone, $indexes_alone) = sizes();
note("alone: $n calls, the table went from $table to $table_alone bytes, its indexes from $indexes to $indexes_alone");
cmp_ok($table_alone, '<=', $table + 2 * 8192, 'alone: the table does not grow');
cmp_ok($indexes_alone, '<=', $indexes + 2 * 8192, '... nor do its indexes');

# With an old snapshot: every version stays.  A row is about 300 bytes, and its
# index entries are made once a page, not once a version.
my $reader = session($node, $db);
$reader->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $seen = $reader->do(q(SELECT history_seq, purchased FROM credit_account WHERE user_id = 'hot'));
$n = charge('looked at', $seconds);
my ($table_held, $indexes_held) = sizes();
my $row = ($table_held - $table_alone) / $n;
my $entry = ($indexes_held - $indexes_alone) / $n;
note(sprintf 'an old snapshot: %d calls, %.0f bytes a call in the table, %.1f in its indexes', $n, $row, $entry);
cmp_ok($row, '<', 512, 'an old snapshot: a version costs a row');
cmp_ok($entry, '<', 32, '... and a part of an index entry');
is($reader->do(q(SELECT history_seq, purchased FROM credit_account WHERE user_id = 'hot')), $seen, 'the reader sees what it saw');
is($reader->do(q(SELECT credits_balance('hot') ->> 'purchased')), (split /\|/, $seen)[1], '... by the function too');
is($reader->do('SELECT * FROM credits_verify()'), '', '... and verifies it');
$reader->do('COMMIT');
$reader->quit;

# Without it, the room is used again.
$node->safe_psql($db, 'VACUUM credit_account');
$n = charge('alone again');
my ($table_after, $indexes_after) = sizes();
note("alone again: $n calls, the table went from $table_held to $table_after bytes, its indexes from $indexes_held to $indexes_after");
cmp_ok($table_after, '<=', $table_held, 'after it: the table grows no more');
cmp_ok($indexes_after, '<=', $indexes_held + 8192, '... nor do its indexes');
is($node->safe_psql($db, q(SELECT credits_balance('hot') ->> 'purchased')), 9007199254740991 - $total,
	"$total calls: the balance is right");
is_gapless($node, $db);
is_clean($node, $db);

$node->stop;
done_testing();
