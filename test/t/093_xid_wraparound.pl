# Near the end of transaction ids, and across it, the ledger works until PostgreSQL accepts
# no more writes.  Then it refuses cleanly, still answers reads and verifies, and it goes on
# after VACUUM.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $node = new_server('main', clock => '2026-01-10 12:00:00+00', conf => "fsync = off\nwal_level = logical\n");
my @databases = map { $_->[0] } rows($node, $db, 'SELECT datname FROM pg_database');

# The next transaction will have this id: an epoch of 2^32 and a number.  The
# page of the commit log that it is on must exist.
sub go_to_xid
{
	my ($xid) = @_;
	my $segment = $node->data_dir . sprintf '/pg_xact/%04X', $xid / (32 * 32768);

	$node->stop;
	append_to_file($segment, "\0" x (32 * 8192)) unless -e $segment;
	command_ok([ 'pg_resetwal', '-x', $xid, $node->data_dir ], "the next transaction id is $xid");
	$node->start;
	return;
}

# Calls, each a transaction or more of its own: their SQLSTATEs.
my $calls = 0;
sub call
{
	$calls++;
	return outcome($node, $db, "SELECT credits_deduct('ann', 1, 'work', 'k$calls')");
}

sub verified
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_clean($node, $db, "$test: clean");
	is_gapless($node, $db, "$test: no gaps");
	return is($node->safe_psql($db, 'SELECT * FROM credits_verify_anchor()'), '', "$test: anchored");
}

$node->safe_psql($db, q(
SELECT credits_define_plan('free', 100);
SELECT credits_open_account('user_' || n, 'free') FROM generate_series(1, 50) n;
SELECT credits_open_account('ann', 'free'), credits_add_purchased('ann', 100000, 'pay_1');
SELECT credits_hold('user_1', 5), credits_grant('user_1', 5, '2027-01-01');
SELECT credits_anchor();
));

# A forgotten slot keeps the catalogs from being frozen, as it does in earnest.
$node->safe_psql($db, q(SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')));
my $limit = 2**31 - 3_000_000;    # 3 million before the oldest id comes round
my ($frozen) = map { $_->[0] } rows($node, $db, 'SELECT min(datfrozenxid::text::int8) FROM pg_database');
go_to_xid($frozen + $limit - 100);

my ($state, $out, $err) = call();
is($state, '00000', 'near the end, calls work');
like($err, qr/must be vacuumed within \d+ transactions/, '... and PostgreSQL warns');
verified('near the end');
do { ($state, $out, $err) = call() } while $state eq '00000' && $calls < 300;
is($state, '54000', "after $calls calls PostgreSQL takes no more writes");
like($err, qr/not accepting commands/, '... and says why');
cmp_ok($calls, '>', 10, '... not before');
my $done = $calls - 1;
for my $refused (
	q(SELECT credits_try_deduct('ann', 1)),
	q(SELECT credits_deduct('ann', 1, 'work', 'k1')),    # a replay, which locks the account
	q(SELECT credits_add_purchased('ann', 1, 'pay_2')),
	q(SELECT credits_open_account('new', 'free')),
	q(CALL credits_run_reset()),
	q(SELECT credits_anchor()))
{
	my $sql = $refused =~ /run_reset/ ? "SET credits.clock = '2026-02-02'; $refused" : $refused;
	($state, $out, $err) = outcome($node, $db, $sql);
	is($state, '54000', "refused: $refused") or diag($out . $err);
}
is($node->safe_psql($db, q(SELECT credits_balance('ann') ->> 'available')), 100100 - $done, 'reading works');
verified('refusing');

# What PostgreSQL's message asks for.
$node->safe_psql($db, q(SELECT pg_drop_replication_slot('forgotten')));
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->reload;
sub freeze
{
	# template0 lets nobody in but autovacuum, which is at it by itself.
	for my $name (grep { $_ ne 'template0' } @databases) { $node->safe_psql($name, 'VACUUM (FREEZE)'); }
	return poll_until(
		sub { return $node->safe_psql($db, 'SELECT max(age(datfrozenxid)) < 100000000 FROM pg_database') eq 't' },
		'all databases to be frozen');
}
freeze();
my ($now) = call();
is($now, '00000', 'after VACUUM calls work again');
verified('frozen');
is($node->safe_psql($db, q(SELECT credits_balance('ann') ->> 'available')), 100100 - $done - 1, 'nothing is lost');

# Across 2^32, where the numbers begin anew.
go_to_xid(3_000_000_000);
freeze();
go_to_xid(2**32 - 50);
($state) = call() for 1 .. 100;
is($state, '00000', 'calls go on across 2^32');
my ($next) = map { $_->[0] } rows($node, $db, 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
cmp_ok($next, '>', 2**32, '... which was crossed');
cmp_ok($node->safe_psql($db, q(SELECT xmin::text::int8 FROM credit_account WHERE user_id = 'ann')), '<', 1000, '... by the account too');
$node->safe_psql($db, q(SELECT credits_release('user_1', 2), credits_anchor(); SET credits.clock = '2026-02-02'; CALL credits_run_reset(); SELECT credits_anchor()));
verified('across 2^32');
freeze();
verified('frozen again');
is($node->safe_psql($db, q(SELECT credits_balance('ann') ->> 'purchased')), 100000 - ($done + 1 + 100 - 100), 'nothing is lost');
ok(json($node->safe_psql($db, "SELECT credits_deduct('ann', 1, 'work', 'k1')"))->{replayed}, 'the first key is known');

$node->stop;
done_testing();
