# Behind pgbouncer in transaction mode: clients that share a server connection
# see nothing of each other, whatever the calls before did or however they
# ended.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($bouncer) = grep { -x $_ } map { "$_/pgbouncer" } '/usr/sbin', '/usr/local/sbin', split /:/, $ENV{PATH};
plan skip_all => 'there is no pgbouncer' unless $bouncer;

my $node = new_server('main', conf => "fsync = off\nmax_connections = 60\n");
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my ($version) = `$bouncer --version` =~ /PgBouncer (\d+\.\d+)/;
note("pgbouncer $version");

# A pool of one connection for "one", of four for "four".
append_to_file("$dir/users.txt", sprintf qq("%s" ""\n), scalar getpwuid($>));
append_to_file(
	"$dir/pgbouncer.ini", join "\n", '[databases]',
	(map { sprintf "%s = dbname=postgres host=%s port=%d pool_size=%d", $_->[0], $node->host, $node->port, $_->[1] }
		  [ one => 1 ], [ four => 4 ]),
	'[pgbouncer]', 'pool_mode = transaction', "unix_socket_dir = $dir", "listen_port = $port",
	'auth_type = trust', "auth_file = $dir/users.txt", "logfile = $dir/pgbouncer.log",
	"pidfile = $dir/pgbouncer.pid", 'ignore_startup_parameters = extra_float_digits, options',
	($version >= 1.21 ? 'max_prepared_statements = 100' : ()), '');
my $pooler = IPC::Run::start([ $bouncer, '-q', "$dir/pgbouncer.ini" ], '>', \my $pooler_out, '2>', \my $pooler_err);
END { local $?; $pooler->kill_kill if $pooler; }

# What CreditsTest's sessions want of a server, at the pooler.
{
	package Pooler;
	sub connstr { return "host=$dir port=$port dbname=$_[1]"; }
}
my $pool = bless {}, 'Pooler';
poll_until(sub { -S "$dir/.s.PGSQL.$port" }, 'pgbouncer to listen') or die $pooler_err;

$node->safe_psql('postgres', q(
SELECT credits_define_plan('free', 100);
SELECT credits_open_account(u, 'free') FROM unnest(ARRAY['ann', 'bob']) u;
SELECT credits_add_purchased('ann', 1000, 'pay_1');
CREATE TABLE jobs (client int, n int, PRIMARY KEY (client, n));
));

my $ann = session($pool, 'one');
my $bob = session($pool, 'one');
my $server = 'SELECT pg_backend_pid()';
is($ann->do($server), $bob->do($server), 'two clients share a server connection');

# Everything that a call could leave behind in a session.
my $left = q{SELECT (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
  WHERE name LIKE 'credits.%' OR name IN ('synchronous_commit', 'search_path', 'role', 'session_authorization',
	'TimeZone', 'lock_timeout', 'statement_timeout', 'session_replication_role', 'transaction_isolation')),
 (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), current_user,
 (SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_prepared_statements),
 coalesce(current_setting('request.jwt.claims', true), '')};
my $load = q(SELECT FROM credits_balance('bob'));
$bob->do($load);    # the library, which brings its settings
my $before = $bob->do($left);
like($before, qr/credits\.clock= .*credits\.early_lock_release=off .*\|0\|/, 'a session in which nothing was done');

# Every kind of call, each in a transaction of its own.
for my $call (
	q(SELECT credits_deduct('ann', 1, 'work', 'k1')),
	q(SELECT credits_deduct('ann', 1, 'work', 'k1')),
	q(SELECT credits_try_deduct('ann', 100000)),
	q(SELECT credits_deduct_many(ARRAY['ann', 'bob'], ARRAY[1, 1])),
	q(SELECT credits_add_purchased('bob', 10, 'pay_2')),
	q(SELECT credits_grant('ann', 5, now() + '1 day')),
	q(SELECT credits_release('ann', (credits_hold('ann', 3) ->> 'seq')::bigint)),
	q(SELECT credits_balance('ann'), credits_balance_at('ann', now()), credits_explain('ann')),
	q(SELECT credits_anchor()),
	q(SELECT * FROM credits_verify()),
	q(CALL credits_run_reset()),
	q(CALL credits_run_verify()),
	q(CALL credits_grant_many(ARRAY['ann', 'bob'], ARRAY[1, 2], '2100-01-01')))
{
	$ann->is_state($call, '00000', $call);
	is($bob->do($left), $before, '... leaves nothing to the next client');
}

# Calls that fail.
for my $case (
	[ q(SELECT credits_deduct('ann', 100000)), 'UC001' ],
	[ q(SELECT credits_deduct('nobody', 1)), 'UC002' ],
	[ q(SELECT credits_deduct('ann', 2, 'work', 'k1')), 'UC003' ],
	[ q(SELECT credits_deduct_many(ARRAY['ann', 'bob'], ARRAY[1, 100000], all_or_nothing => true)), 'UC001' ],
	[ q(CALL credits_run_reset(0)), '22023' ],
	[ q(DELETE FROM credit_history), 'UC007' ])
{
	$ann->is_state($case->[0], $case->[1], "$case->[0]: $case->[1]");
	is($bob->do($left), $before, '... leaves nothing to the next client');
}

# SET LOCAL ends with the transaction, however that ends.
my $claims = q(SET LOCAL request.jwt.claims = '{"sub": "ann"}');
my $locals = q(SET LOCAL credits.early_lock_release = on; SET LOCAL credits.default_plan = 'free';
	SET LOCAL credits.key_retention = '1d'; SET LOCAL lock_timeout = '1s');
for my $end ('COMMIT', 'ROLLBACK')
{
	$ann->do($_) for 'BEGIN', $claims, (split /;/, $locals);
	is($ann->do(q(SELECT credits_my_balance() ->> 'user_id')), 'ann', "SET LOCAL: ann is ann until $end");
	$ann->do(q(SELECT credits_deduct('ann', 1)));
	$ann->do($end);
	is($bob->do($left), $before, '... and the next client has none of her settings');
	is($bob->do('SELECT credits_current_user_id() IS NULL'), 't', '... nor is it her');
}
$ann->do($_) for 'BEGIN', $claims, (split /;/, $locals);
$ann->is_state(q(SELECT credits_deduct('ann', 100000)), 'UC001', 'a transaction fails');
$ann->is_state(q(SELECT credits_deduct('ann', 1)), '25P02', '... for good');
$ann->do('ROLLBACK');
is($bob->do($left), $before, '... and leaves nothing to the next client');

# A client that goes in the middle of a transaction: so does its transaction.
my $head = $node->safe_psql('postgres', q(SELECT history_seq FROM credit_account WHERE user_id = 'ann'));
my $gone = session($pool, 'one');
$gone->do($_) for 'BEGIN', (split /;/, $locals), q(SELECT credits_deduct('ann', 1, NULL, 'gone'));
kill 'KILL', $gone->{run}{KIDS}[0]{PID};
$gone->{run}->finish;
poll_until(sub { $bob->do($load); $bob->do($left) eq $before }, 'a new server connection');
is($bob->do(q(SELECT history_seq FROM credit_account WHERE user_id = 'ann')), $head,
	'what a lost client had not committed has not happened');

# A plain SET is pgbouncer's to forget, and it does not: why the documentation says SET LOCAL.
$ann->do('SET credits.early_lock_release = on');
is($bob->do('SHOW credits.early_lock_release'), 'on', 'a plain SET stays with the server connection');
$ann->do(q(SELECT credits_deduct('ann', 1)));
$bob->do('DISCARD ALL');
is($bob->do($left), $before, '... until DISCARD ALL');
$ann->is_state(q(SELECT credits_deduct('ann', 1, 'work', 'k1') ->> 'replayed'), '00000', 'after which calls go on');
$_->quit for $ann, $bob;

# Many clients on four connections, with prepared statements where pgbouncer
# carries them over, each key sent twice.
my $script = "$dir/script.sql";
append_to_file($script, <<'SQL');
\set n random(1, 60)
SELECT credits_deduct(CASE :client_id % 2 WHEN 0 THEN 'ann' ELSE 'bob' END, 1, NULL, :client_id || '-' || :n);
SELECT credits_deduct(CASE :client_id % 2 WHEN 0 THEN 'ann' ELSE 'bob' END, 1, NULL, :client_id || '-' || :n);
INSERT INTO jobs VALUES (:client_id, :n) ON CONFLICT DO NOTHING;
SQL
$node->safe_psql('postgres', q(SELECT credits_add_purchased(u, 100000, 'more ' || u) FROM unnest(ARRAY['ann', 'bob']) u));
my $protocol = $version >= 1.21 ? 'prepared' : 'extended';
my ($out, $err);
ok( IPC::Run::run(
		[ 'pgbench', '-n', '-M', $protocol, '-c', 20, '-j', 2, '-t', 40, '-f', $script, '-h', $dir, '-p', $port, 'four' ],
		'>', \$out, '2>', \$err),
	"twenty clients on four connections, $protocol statements") or diag($err);
is( $node->safe_psql('postgres', q(
SELECT count(*) FROM jobs j FULL JOIN
 (SELECT user_id, idempotency_key AS key FROM credit_history WHERE idempotency_key ~ '^\d+-') h ON h.key = j.client || '-' || j.n
 WHERE j.n IS NULL OR h.key IS NULL OR h.user_id <> CASE j.client % 2 WHEN 0 THEN 'ann' ELSE 'bob' END)),
	0, 'each key was charged, to its user');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM jobs'), '>', 300, '... hundreds of them');
is_gapless($node, 'postgres');
is_clean($node, 'postgres');
no_deadlock($node);

$pooler->kill_kill;
undef $pooler;
$node->stop;
done_testing();
