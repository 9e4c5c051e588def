# Notifications of changed accounts, in the life of a server: several databases, databases
# and extensions that are dropped, crashes, no free worker, a standby, logical replication,
# a library that is not preloaded.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Listener;
use PostgreSQL::Test::Cluster;
use Test::More;

my $db = 'postgres';
my $node = new_server('notifying', streaming => 1, conf => <<'END');
shared_preload_libraries = 'credits'
credits.counted_databases = 2
restart_after_crash = on
max_prepared_transactions = 2
max_wal_senders = 5
wal_level = logical
wal_retrieve_retry_interval = 100ms
fsync = off
END

sub sql { return $node->safe_psql($_[1] // $db, $_[0]); }

# The worker of a database; '' if there is none.
sub worker { return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'credits notifier' AND datname = '$_[0]'"); }

sub no_worker
{
	my ($of) = @_;

	return poll_until(sub { return worker($of) eq '' }, 'the end of the worker');
}

# A worker that has nothing to do ends after a short time, so it is given something.
sub has_worker
{
	my ($of, $test) = @_;

	return ok(poll_until(sub { sql("SELECT credits_deduct('ann', 1)", $of); return worker($of) }, 'the worker'), $test);
}

sub is_in_log
{
	my ($text, $from, $test) = @_;

	return ok(poll_until(sub { return $node->log_contains($text, $from) }, $text), $test);
}

sub log_end { return -s $node->logfile; }
sub comes_back { return await_recovery($node); }

# --- Two databases.

add_database($node, 'second');
sql("SELECT credits_add_purchased('ann', 1000000, 'pay')", $_) for $db, 'second';
my ($one, $two) = map { Listener->new($node, $_) } $db, 'second';
$_->hear for $one, $two;
sql("SELECT credits_deduct('ann', 1)");
sql("SELECT credits_add_purchased('bob', 1, 'pay_bob')", 'second');
is($one->hear, '{"user_id": "ann", "seq": 3}', 'a session hears of its own database');
is($two->hear, '{"user_id": "bob", "seq": 2}', '... and so in another one');

# --- A third one, for which there is no room until another one is dropped.

my $from = log_end();
add_database($node, 'third');
my $three = Listener->new($node, 'third');
my $caller = session($node, 'third');
$caller->do("SELECT credits_add_purchased('ann', 1000000, 'pay')");
is_in_log('more databases with credits than can have notifications', $from, 'more databases than credits.counted_databases: the log says so');
$two->quit;
sql("SELECT credits_deduct('ann', 1)", 'second');
my $drop = session($node, $db);
has_worker('second', 'a database has a worker');
$drop->is_state('DROP DATABASE second', '00000', '... and is dropped');
$drop->quit;
$caller->do("SELECT credits_deduct('ann', 1)");
sql("SELECT credits_deduct('ann', 1)", 'third');	# the launcher frees the room after one has asked
ok(poll_until(sub { $caller->do("SELECT credits_deduct('ann', 1)"); $three->listen; return @{ $three->{new} } > 0 }, 'a notification'), '... and leaves its room to the third one');
is($three->{new}[0], '{"resync": true}', '... which begins with a resync, because changes have been lost');
$three->hear;
$caller->do("SELECT credits_deduct('ann', 1)");
like($three->hear, qr/^\{"user_id": "ann", "seq": \d+\}$/, '... and goes on');
$_->quit for $three, $caller;

# --- The owner of a database is no superuser, and may drop it by force.

sql(q(CREATE ROLE owner LOGIN CREATEDB));
sql(q(ALTER DATABASE third OWNER TO owner));
no_worker('third');
has_worker('third', 'a database has a worker');
is_outcome($node, $db, q(SET ROLE owner; DROP DATABASE third WITH (FORCE)), '00000', 'the owner drops a database by force while its worker is there');

# --- Renamed, and a template.

sql(q(CREATE DATABASE source));
sql('CREATE EXTENSION credits', 'source');
sql("SELECT credits_add_purchased('ann', 1000000, 'pay')", 'source');
has_worker('source', 'a database has a worker');
is_outcome($node, $db, 'ALTER DATABASE source RENAME TO renamed', '00000', '... and is renamed');
sql("SELECT credits_deduct('ann', 1)", 'renamed');
has_worker('renamed', 'it has a worker again');
is_outcome($node, $db, 'CREATE DATABASE copied TEMPLATE renamed', '00000', '... and copied');
$two = Listener->new($node, 'renamed');
sql("SELECT credits_deduct('ann', 1)", 'renamed');
like($two->hear, qr/"user_id": "ann"/, '... and has notifications');
$two->quit;

# --- A statement that fails because of another session: the worker is away while it waits for that one.

my ($busy, $renaming) = (session($node, 'renamed'), session($node, $db));
$two = Listener->new($node, 'renamed');
$two->hear;
my ($seen, $absent) = (0, 0);
$renaming->send('ALTER DATABASE renamed RENAME TO other');
until ($renaming->{stdout} =~ /^= done/m)
{
	my $is_waiting = sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'ALTER DATABASE renamed %' AND pid <> pg_backend_pid()");

	$busy->do("SELECT credits_deduct('ann', 1)");
	$seen++ if $is_waiting;
	$absent++ if $is_waiting && worker('renamed') eq '';
	$renaming->{run}->pump_nb;
}
is(($renaming->answer)[0], '55006', 'a database that a session uses is not renamed');
cmp_ok($absent, '>', 0, 'meanwhile its worker is away') or diag($seen);
like($two->hear, qr/"user_id": "ann"/, '... and then tells what has changed');
$_->quit for $busy, $renaming, $two;

# --- DROP EXTENSION and CREATE EXTENSION under load.

sub client { my ($c, $calls) = @_; return join '', map { "SELECT credits_add_purchased('u_$c', 1, 'pay_u_${c}_$_');\n" } 1 .. $calls; }

my @clients = start_clients($node, $db, [ map { client($_, 400) } 1 .. 8 ]);
$one->{all} = [];
$one->hear;
my ($state, $tries) = ('', 0);
while ($state ne '00000' && $tries++ < 50)
{
	($state) = outcome($node, $db, q(SET credits.allow_drop = on; BEGIN; DROP EXTENSION credits; CREATE EXTENSION credits; COMMIT));
	$state =~ /^(?:00000|40P01)$/ or die $state;	# calls and DROP can take locks in another order
}
# The first ones may have ended before the extension was dropped.
wait_clients(@clients, start_clients($node, $db, [ map { client($_, 50) } 9 .. 10 ]));
$one->hear for 1 .. 2;
is_deeply([ $one->behind('%') ], [], 'DROP and CREATE EXTENSION under load: of each account the last row was told');
cmp_ok(sql('SELECT count(*) FROM credit_account'), '>', 1, '... and there are some');
sql(q(SET credits.allow_drop = on; DROP EXTENSION credits));
sql(q(BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p')) for 1 .. 2;
no_worker($db);
sql(q(CREATE EXTENSION credits));
sql("SELECT credits_add_purchased('ann', 1000000, 'pay')");
like($one->hear, qr/^(?:\{"user_id": "ann", "seq": 2\}|\{"resync": true\})$/, 'after a time without the extension there are notifications again');

# --- A database without the extension.

sql('CREATE DATABASE empty');
my $empty = session($node, 'empty');
$empty->do('LISTEN credits');
sql(q(BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'), 'empty');
ok(no_worker('empty'), 'in a database without the extension a worker does not stay');
is($empty->do('SELECT'), '', '... and tells nothing');
$empty->quit;

# --- Crashes.

has_worker($db, 'a worker is there');
kill KILL => worker($db) || die 'the worker has ended';
poll_until(sub { return !kill 0, $one->{session}->pid }, 'the server ends all sessions');
comes_back();
$one = Listener->new($node, $db);
sql("SELECT credits_deduct('ann', 1)");
like($one->hear, qr/^\{"user_id": "ann", "seq": \d+\}$/, 'a worker that is killed takes the server down; then notifications go on');
my @pids = map { $_->[0] } rows($node, $db, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
$node->kill9;
ok(poll_until(sub { return !grep { kill 0, $_ } @pids }, 'the end'), 'when the postmaster is killed, launcher and worker end');
$node->start;
$one = Listener->new($node, $db);
sql("SELECT credits_deduct('ann', 1)");
like($one->hear, qr/^\{"user_id": "ann", "seq": \d+\}$/, '... and there are new ones when it starts');
$one->quit;
is_clean($node, $db);

# --- No free worker: all but one are in use, and that one by another database.

$node->append_conf('postgresql.conf', "max_worker_processes = 3\n");
$node->restart;
$one = Listener->new($node, $db);
$two = Listener->new($node, 'renamed');
my $stopped = $two->stop_worker;
$two->quit;
$from = log_end();
sql("SELECT credits_deduct('ann', 1)");
is_in_log('no free background worker to tell changes', $from, 'no free worker: the log says so');
sql("SELECT credits_deduct('ann', 1)") for 1 .. 3;
is(worker($db), '', '... and calls go on');
kill CONT => $stopped;
like($one->hear, qr/^\{"user_id": "ann", "seq": \d+\}$/, '... and are told when a worker is free');
is(scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile, $from) =~ /no free background worker/g), 1, '... the log says it once');
$one->quit;

# --- Logical replication within the server: a resync on the subscriber.

$node->adjust_conf('postgresql.conf', 'max_worker_processes', '12');
$node->restart;
sql($_) for 'DROP DATABASE renamed', 'DROP DATABASE copied', 'DROP DATABASE empty';
add_database($node, 'copy');
my $tables = sql(q(SELECT string_agg(c.relname, ', ') FROM pg_extension e JOIN pg_class c ON c.oid = ANY (e.extconfig) WHERE e.extname = 'credits' AND c.relkind = 'r' AND c.relname <> 'credit_history_archive'));
sql("CREATE PUBLICATION ledger FOR TABLE $tables");
sql(q(SELECT pg_create_logical_replication_slot('ledger', 'pgoutput')));
my $connstr = $node->connstr($db) =~ s/'/''/gr;
sql("CREATE SUBSCRIPTION ledger CONNECTION '$connstr' PUBLICATION ledger WITH (create_slot = false, slot_name = 'ledger', copy_data = true)", 'copy');
$node->wait_for_subscription_sync($node, 'ledger', 'copy');
$two = Listener->new($node, 'copy');
$two->listen;
$two->{new} = [];
sql("SELECT credits_deduct('ann', 1)");
like($two->hear_resync, qr/\{"resync": true\}/, 'logical replication is a resync on the subscriber');
is($two->ask(q(SELECT history_seq FROM credit_account WHERE user_id = 'ann')), sql(q(SELECT history_seq FROM credit_account WHERE user_id = 'ann')), '... when the change can be seen');
$two->quit;
sql($_, 'copy') for 'ALTER SUBSCRIPTION ledger DISABLE', 'ALTER SUBSCRIPTION ledger SET (slot_name = NONE)', 'DROP SUBSCRIPTION ledger';
sql(q(SELECT pg_drop_replication_slot('ledger')));

# --- A standby, and its promotion.

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('notifying_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
sql("SELECT credits_deduct('ann', 1)");
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql($db, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'credits %'"), 0, 'on a standby there is no launcher');
$standby->promote;
$one = Listener->new($standby, $db);
$standby->safe_psql($db, "SELECT credits_deduct('ann', 1)");
like($one->hear, qr/^\{"user_id": "ann", "seq": \d+\}$/, 'promoted, it has notifications');
$one->quit;
$standby->stop;

# --- Since 17 the queue of notifications can be so short that a test fills it.

SKIP:
{
	skip 'the queue is too long to fill it', 2 if sql('SHOW server_version_num') < 170000;
	$node->append_conf('postgresql.conf', "max_notify_queue_pages = 64\n");
	$node->restart;
	$one = Listener->new($node, $db);
	my $sleeper = session($node, $db);
	$sleeper->do('LISTEN credits');
	$sleeper->do('BEGIN');
	sql(q(SELECT count(credits_add_purchased('k_' || n, 1000, 'pay_k_' || n)) FROM generate_series(1, 5000) n));
	$from = log_end();
	poll_until(sub {
		sql(q(SELECT count(*) FROM credits_deduct_many(ARRAY(SELECT 'k_' || n FROM generate_series(1, 5000) n), array_fill(1, '{5000}'))));
		return $node->log_contains('too many notifications', $from);
	}, 'the queue is full');
	$sleeper->quit;	# after COMMIT it would have to read all of it
	like($one->hear_resync, qr/\{"resync": true\}/, 'what found the queue full is a resync when there is room');
	sql("SELECT credits_deduct('ann', 1)");
	like($one->hear, qr/"user_id": "ann"/, '... and it goes on');
	$one->quit;
}

# --- Not preloaded.

$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->adjust_conf('postgresql.conf', 'credits.counted_databases', undef);
$node->restart;
my $session = session($node, $db);
$session->do('LISTEN credits');
$session->do("SELECT credits_deduct('ann', 1)");
sql(q(BEGIN; SELECT credits_deduct('ann', 1); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'));
is($session->do("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'credits %'"), 0, 'not preloaded: there is no worker, and calls work');
$session->is_state('SHOW credits.notify', '42704', '... and there is no setting');
is_clean($node, $db);

done_testing();
