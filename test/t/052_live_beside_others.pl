# Counters and notifications, beside databases without the extension, databases that are
# dropped, and roles that have no rights in the ledger's database.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Listener;
use Test::More;

my $node = new_server('beside', conf => <<'END');
shared_preload_libraries = 'credits'
credits.counted_databases = 1
max_prepared_transactions = 2
fsync = off
END

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

sub worker { return sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'credits notifier' AND datname = 'postgres')); }

my $enabled = q(SELECT value FROM credits_metrics() WHERE name = 'credits_counters_enabled');

# --- A database without the extension takes no place, whatever is committed in it.

sql('CREATE DATABASE bare');
sql("BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'x'", 'bare');
sql(q(COMMIT PREPARED 'x'), 'bare');
sql("SELECT credits_add_purchased('ann', 1000000, 'pay')");
my $listener = Listener->new($node, 'postgres');
$listener->hear;
sql("SELECT credits_deduct('ann', 1)");
is($listener->hear, '{"user_id": "ann", "seq": 3}', 'a database without the extension takes no ring from one that has it');
is(sql($enabled), 1, '... and no place for counters');

# --- A role that may not drop, rename or copy the database does not send its worker away.

sql('CREATE ROLE evil LOGIN CREATEDB');

sub evil
{
	my ($statement) = @_;

	$node->psql('bare', $statement, extra_params => [ '-U', 'evil' ], stderr => \my $refused);
	return $refused =~ /must be owner|permission denied/;
}

# Each of the old options of the last one gives a warning before PostgreSQL looks at rights,
# so the worker would have the time to go.
for my $statement ('DROP DATABASE postgres', 'ALTER DATABASE postgres RENAME TO mine', 'CREATE DATABASE mine TEMPLATE postgres ' . q(LOCATION 'a' ) x 1000)
{
	my $stays = 0;

	# A worker that has nothing to tell ends by itself, so on a slow machine it needs some tries.
	for (1 .. 20)
	{
		$listener->hear;
		my $before = worker();
		evil($statement) or die "$statement was not refused";
		$listener->hear;
		$stays = 1 if $before ne '' && worker() eq $before;
		last if $stays;
	}
	ok($stays, 'refused, the worker stays: ' . substr $statement, 0, 40);
}

# --- What a savepoint did is freed when it is rolled back.

my $session = session($node, 'postgres');
$session->do('BEGIN');
my $size = q(SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'TopTransactionContext');
$session->do(q(
DO $$ BEGIN
    FOR i IN 1 .. 2000 LOOP
        BEGIN
            PERFORM credits_deduct('ann', 1);
            RAISE EXCEPTION 'no';
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END $$));
cmp_ok($session->do($size), '<', 200_000, 'what 2,000 savepoints did that were rolled back is freed');
$session->do("SELECT credits_deduct('ann', 1)");
$session->do('COMMIT');
is($listener->hear, '{"user_id": "ann", "seq": 4}', '... and is not told');

# Nested, each with an account of its own: those that end well are told, the others not.
my @nested = map { my $user = "n$_"; ("SAVEPOINT s$_", "SELECT credits_add_purchased('$user', 1, 'pay_$user')") } 1 .. 200;
$session->do($_) for 'BEGIN', @nested, 'ROLLBACK TO s150', 'COMMIT';
my @told = sort map { /"(n\d+)"/ } split /\} /, $listener->hear;
is_deeply(\@told, [ sort map { "n$_" } 1 .. 149 ], 'of 200 nested savepoints the 149 that were committed are told');
$session->quit if $session->can('quit');

# --- A place of a database that was dropped is freed by the scrape.

$node->stop;
unlink glob($node->data_dir . '/pg_stat/credits.stat');
$node->start;
add_database($node, 'gone');
sql("SELECT credits_add_purchased('ann', 1, 'pay')", 'gone');
is(sql($enabled), 0, 'another database has the only place');
sql(q(SET credits.allow_drop = on; DROP DATABASE gone));
is(sql($enabled), 1, '... until it is dropped, and the next scrape has found that');
done_testing();
