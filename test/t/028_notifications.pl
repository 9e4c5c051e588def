# Notifications of changed accounts: each committed change is told, or a resync stands for
# it, whatever happens to the worker that tells it, and no call waits for that.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Listener;
use Test::More;

my $db = 'postgres';
my $node = new_server('notifications', conf => "shared_preload_libraries = 'credits'\nmax_prepared_transactions = 2\nfsync = off\nwal_level = replica\nmax_wal_senders = 2\n");

sub sql { return $node->safe_psql($db, $_[0]); }

# Reloads the configuration, and waits until new processes have it.
sub configure
{
	my ($name, $value) = @_;

	sql("ALTER SYSTEM SET $name = '$value'");
	sql('SELECT pg_reload_conf()');
	poll_until(sub { return sql("SHOW $name") eq $value }, "$name = $value") or die;
	return;
}

# The worker counts after it has sent, so a listener can be faster.  After a failure there
# is nothing to wait for.
sub is_counted
{
	my ($columns, $numbers, $test) = @_;
	my $found;

	poll_until(sub { return ($found = sql("SELECT $columns FROM pg_stat_credits WHERE datname = '$db'")) eq $numbers || !Test::More->builder->is_passing }, $test);
	return is($found, $numbers, $test);
}

my $listener = Listener->new($node, $db);

# The pids of the worker and of the launcher; '' if there is none.
sub worker { return $listener->worker; }
sub launcher { return sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'credits launcher'"); }
sub no_worker { return poll_until(sub { return worker() eq '' }, 'the end of the worker'); }

# --- What is told.

sql("SELECT credits_add_purchased('ann', 100, 'pay_ann')");
is($listener->hear, '{"user_id": "ann", "seq": 2}', 'a change is told, with the newest seq');
is(sql("SELECT string_agg(backend_type, ', ' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type LIKE 'credits%'"),
	'credits launcher, credits notifier', 'by a worker');

my $strange = q(a"b\\c ) . "\t\x{c3}\x{a9}";
sql("SELECT credits_add_purchased('$strange', 1, 'pay_strange')");
my $heard = $listener->hear;
is($heard, q({"user_id": "a\\"b\\\\c \\t) . "\x{c3}\x{a9}" . q(", "seq": 2}), 'a strange id is quoted as JSON');
my $long = 'l' x 255;
sql("SELECT credits_add_purchased('$long', 1, 'pay_long')");
is($listener->hear, qq({"user_id": "$long", "seq": 2}), 'the longest id');

sql(q(
BEGIN;
SELECT credits_deduct('ann', 1);
ROLLBACK;
BEGIN;
SELECT credits_deduct('ann', 1);
SAVEPOINT a;
SELECT credits_add_purchased('bob', 2, 'pay_bob');
SAVEPOINT b;
SELECT credits_add_purchased('cat', 3, 'pay_cat');
RELEASE b;
ROLLBACK TO a;
SAVEPOINT c;
SELECT credits_add_purchased('dan', 4, 'pay_dan');
SAVEPOINT d;
SELECT credits_deduct('ann', 1);
SELECT credits_add_purchased('eve', 5, 'pay_eve');
RELEASE c;
COMMIT;
));
is($listener->hear, '{"user_id": "ann", "seq": 4} {"user_id": "dan", "seq": 2} {"user_id": "eve", "seq": 2}', 'savepoints: what is kept is told, and nothing else');
sql(q(SELECT credits_deduct('ann', 1), credits_deduct('dan', 1), credits_deduct('ann', 1), credits_transfer('eve', 'dan', 1)));
is($listener->hear, '{"user_id": "ann", "seq": 6} {"user_id": "dan", "seq": 4} {"user_id": "eve", "seq": 3}',
	'several accounts of a transaction, each once');
sql(q(SELECT count(credits_add_purchased('m_' || n % 40, 1000, 'pay_m_' || n)) FROM generate_series(1, 400) n));
is($listener->hear, join(' ', sort map { qq({"user_id": "m_$_", "seq": 11}) } 0 .. 39), 'more accounts than are searched for duplicates');

# --- What is not known is a resync.

is_counted('resyncs', 0, 'there was no resync yet');
sql(q(BEGIN; SELECT credits_deduct('ann', 1); PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'));
is($listener->hear, '', 'what was prepared and rolled back is not told');
sql(q(BEGIN; SELECT credits_deduct('ann', 1); PREPARE TRANSACTION 'p'));
is($listener->hear, '', 'nor what is prepared');
sql(q(COMMIT PREPARED 'p'));
my $resync = qr/\{"resync": true\}/;
like($listener->hear_resync, $resync, 'COMMIT PREPARED is a resync');
is_counted('resyncs', 1, 'which is counted');
sql(q(SELECT count(credits_add_purchased('k_' || n, 10, 'pay_k_' || n)) FROM generate_series(1, 10001) n));
like($listener->hear_resync, $resync, 'more than 10,000 accounts in a transaction are a resync');
is_counted("changes_lost BETWEEN 10002 AND 10002 + $Listener::bells", 't', 'rows that it stands for are counted');

# --- At most one notification in the interval.  The worker ends in between.

configure('credits.notify_interval', '1min');
no_worker();
sql('SELECT credits_stat_reset()');
sql("SELECT credits_deduct('ann', 1)") for 1 .. 5;
sql("SELECT credits_add_purchased('gus', 5, 'pay_gus')");
ok(no_worker(), 'a worker that has to wait for long does not stay');
$listener->listen;
is_deeply($listener->{new}, [], 'nothing is told in the interval');
sql("SELECT credits_deduct('gus', 1)");
configure('credits.notify_interval', '10ms');
my $ann = sql("SELECT max(seq) FROM credit_history WHERE user_id = 'ann'");
is(join(' ', sort $listener->hear_until(sub { ($_[0]{user_id} // '') eq 'gus' }, 'the change')),
	qq({"user_id": "ann", "seq": $ann} {"user_id": "gus", "seq": 3}), 'each account is told once when the interval is over');
is_counted('notifications, changes_coalesced, changes_lost, resyncs', '2|5|0|0', '... which is counted');
configure('credits.notify_interval', '100ms');

# --- Switched off, and on again.

my $early = session($node, $db);
configure('credits.notify', 'off');
ok(no_worker(), 'switched off: the worker ends');
sql("SELECT credits_deduct('ann', 1)");
$early->do("SELECT credits_deduct('dan', 1)");
$listener->listen;
is_deeply($listener->{new}, [], '... and nothing is told');
configure('credits.notify', 'on');
like($listener->hear_resync, $resync, 'switched on: a resync stands for what was not told');
sql("SELECT credits_deduct('ann', 1)");
$early->do("SELECT credits_deduct('dan', 1)");
is($listener->hear, qq({"user_id": "ann", "seq": @{[ $ann + 2 ]}} {"user_id": "dan", "seq": 6}), '... and changes are told again');
$early->quit;

# --- A worker that stands still: no call waits, and a resync stands for what had no room.

my $worker = $listener->stop_worker;
sql('SELECT credits_stat_reset()');
my $rung = $Listener::bells;
sql("SELECT credits_deduct('ann', 1)");
my $many = q(SELECT count(*) FROM credits_deduct_many(ARRAY(SELECT 'k_' || n FROM generate_series(1, 10000) n), array_fill(1, '{10000}')));
sql($many);
is_counted('changes_lost', 0, 'there is room for 10,000 changes');
sql($many);
is_counted('changes_lost', 10000, '... and not for 10,000 more, so these are lost, as a transaction is told as a whole');
sql("SELECT credits_deduct('dan', 1)");
kill CONT => $worker;
like($listener->hear_resync, $resync, 'a resync stands for them');
sql("SELECT credits_deduct('eve', 1)");
is($listener->hear, '{"user_id": "eve", "seq": 4}', 'the worker goes on');
is_counted('notifications + changes_coalesced + changes_lost', 1 + 10000 + 10000 + 1 + 1 + $Listener::bells - $rung, 'each change was told, or coalesced, or is counted as lost');

$worker = $listener->stop_worker;
sql("DO 'BEGIN FOR i IN 1 .. 10000 LOOP PERFORM credits_deduct(''m_'' || i % 10, 1); COMMIT; END LOOP; END'");
kill CONT => $worker;
like($listener->hear, qr/^(?:\{"user_id": "m_\d", "seq": \d+\} ?){10}$/, 'many changes of a few accounts are told once each');

# --- A worker that ends while it has something to tell.

sub block_worker
{
	my $blocker = session($node, $db);
	my $state = 'idle|';

	# The checkpointer tells the others that there is no such standby, so it can come later.
	configure('synchronous_standby_names', 'nobody');
	poll_until(sub {
		if ($state =~ /^idle\|/)
		{
			$blocker->do(q(BEGIN; SELECT pg_logical_emit_message(true, '', ''); NOTIFY other));
			$blocker->send('COMMIT; SELECT');
		}
		poll_until(sub { return ($state = sql('SELECT state, wait_event FROM pg_stat_activity WHERE pid = ' . $blocker->pid)) =~ /^idle\||SyncRep/ }, 'COMMIT') or die;
		$blocker->answer if $state =~ /^idle\|/;
		return $state =~ /SyncRep/;
	}, 'the blocker waits') or die;
	sql("SET synchronous_commit = local; SELECT credits_deduct('ann', 1)");
	poll_until(sub { return sql("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.backend_type = 'credits notifier' AND NOT l.granted") eq '1' }, 'the worker waits') or die;
	return $blocker;
}

sub unblock_worker
{
	my ($blocker) = @_;

	configure('synchronous_standby_names', '');
	$blocker->answer;
	$blocker->quit;
	return;
}

for my $how (qw(terminate cancel))
{
	my $blocker = block_worker();
	my $pid = worker();

	sql("SELECT pg_${how}_backend($pid)");
	ok(poll_until(sub { my $now = worker(); return $now ne '' && $now ne $pid }, 'the next worker'), "pg_${how}_backend: another worker comes");
	unblock_worker($blocker);
	like($listener->hear_resync, $resync, '... and begins with a resync');
	sql("SELECT credits_deduct('ann', 1)");
	like($listener->hear, qr/^\{"user_id": "ann", "seq": \d+\}$/, '... and goes on');
}

# --- A worker that is terminated while it has nothing to tell: nothing is lost.

sql('SELECT credits_stat_reset()');
sql("SELECT pg_terminate_backend($_)") for grep { $_ ne '' } worker();
no_worker();
sql("SELECT credits_deduct('ann', 1)");
like($listener->hear, qr/^\{"user_id": "ann", "seq": \d+\}$/, 'after the end of an idle worker there is no resync');

# --- The launcher.

my $launcher = launcher();
no_worker();
kill STOP => $launcher;
sql("SELECT credits_deduct('ann', 1), credits_deduct('dan', 1)");
is(worker(), '', 'while the launcher stands still, no worker comes');
kill CONT => $launcher;
like($listener->hear, qr/^\{"user_id": "ann", "seq": \d+\} \{"user_id": "dan", "seq": \d+\}$/, '... and calls go on, and are told later');
sql("SELECT pg_terminate_backend($launcher)");
ok(poll_until(sub { my $now = launcher(); return $now ne '' && $now ne $launcher }, 'another launcher'), 'it comes back when it is terminated');
no_worker();
sql("SELECT credits_deduct('ann', 1)");
like($listener->hear, qr/^\{"user_id": "ann", "seq": \d+\}$/, '... and starts workers');

# --- Many clients, whose work is rolled back, cancelled and terminated, and workers that are terminated.

sub random_script
{
	my ($client) = @_;
	my $script = "SET application_name = '" . ($client % 4 ? 'cancelled' : 'terminated') . "';\n";

	srand($client);
	for my $n (1 .. 300)
	{
		my ($one, $two) = map { sprintf q(SELECT credits_deduct('u_%d', 1) ->> 'seq';), rand 12 } 1 .. 2;
		my $kind = rand 8;

		$script .= $kind < 3 ? $one
		  : $kind < 4 ? "BEGIN; $one ROLLBACK;"
		  : $kind < 5 ? "BEGIN; $one SAVEPOINT a; $two ROLLBACK TO a; COMMIT;"
		  : $kind < 6 ? "BEGIN; SAVEPOINT a; SAVEPOINT b; $one RELEASE b; RELEASE a; COMMIT;"
		  : $kind < 7 ? "BEGIN; $one SELECT pg_sleep(0.005); COMMIT;"
		  : "SELECT credits_add_purchased('u_@{[ int rand 12 ]}', 1, 'pay_u_${client}_$n');";
		$script .= "\n";
	}
	return $script;
}

sub pest
{
	my ($times, $pause, $sql) = @_;
	return join '', map { "$sql;\nSELECT pg_sleep($pause);\n" } 1 .. $times;
}

sql(q(SELECT count(credits_add_purchased('u_' || n, 10000, 'pay_u_' || n)) FROM generate_series(0, 11) n));
$listener->hear;
$listener->{all} = [];
my @clients = start_clients($node, $db, [ map { random_script($_) } 1 .. 16 ]);
my @pests = start_clients($node, $db, [
	pest(100, 0.01, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'cancelled' ORDER BY random() LIMIT 1"),
	pest(10, 0.1, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'terminated' ORDER BY random() LIMIT 1"),
	pest(4, 0.3, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'credits notifier'") ]);
my $rounds = 0;
$listener->listen until $rounds++ > 0 && !grep { !defined $_->{rc} && !CreditsTest::has_ended($_) } @clients, @pests;
wait_clients(@clients, @pests);
$listener->hear for 1 .. 2;    # after a resync there may be more
is_deeply([ $listener->behind('u\_%') ], [], 'of each account the last row was told, or a resync came');
my %heard_of = map { $_->{user_id} => 1 } grep { $_->{user_id} } @{ $listener->{all} };
cmp_ok(scalar(grep { /^u_/ } keys %heard_of), '==', 12, 'accounts were told');
note(sprintf '%d notifications, %d resyncs', scalar(grep { $_->{user_id} } @{ $listener->{all} }), scalar(grep { $_->{resync} } @{ $listener->{all} }));

is_deeply($listener->{unseen}, [], 'whose change is told, whose row can be seen');
is_clean($node, $db);
done_testing();
