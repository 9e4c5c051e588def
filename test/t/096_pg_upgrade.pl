# pg_upgrade from an older PostgreSQL: every head, key, grant and right is kept,
# and the ledger verifies and goes on.
#
# CREDITS_OLD: an installation of the older one with the extension in it, as
# make test-majors makes it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $install = $ENV{CREDITS_OLD};
plan skip_all => 'CREDITS_OLD names no older PostgreSQL' unless $install;

my $db = 'ledger';
my $conf = "fsync = off\ncredits.clock = '2026-04-10 12:00:00+00'\n";
my $old = new_server('old', install => $install, conf => $conf);
$old->safe_psql('postgres', 'CREATE ROLE app_role LOGIN; CREATE DATABASE ledger');
$old->safe_psql($db, <<'SQL');
CREATE SCHEMA "App credits";
CREATE EXTENSION credits SCHEMA "App credits";
ALTER DATABASE ledger SET search_path = "App credits", public;
SET search_path = "App credits";
SET credits.clock = '2025-01-01 00:00:00+00';
SELECT credits_define_plan('free', 100, 'calendar', 10, 5), credits_define_plan('pro', 1000, 'anniversary');
SELECT credits_grant_role('app_role', 'app');
SET credits.clock = '2025-01-31 20:15:00.123456+00';
SELECT credits_open_account('user_' || n, CASE n % 3 WHEN 0 THEN 'pro' WHEN 1 THEN 'free' END,
                            '2025-01-31 23:15:00', 'Asia/Kathmandu') FROM generate_series(1, 60) n;
SELECT credits_add_purchased('user_' || n, n * 10, 'pay_' || n) FROM generate_series(1, 60) n;
SELECT credits_deduct('user_' || n, 7, E'Zo\u00eb \u2615', NULL, '{"n": 1.50}') FROM generate_series(1, 60) n;
SET credits.clock = '2025-06-01 00:00:00+00';
CALL credits_run_reset(7);
SELECT credits_anchor();
CALL credits_archive('2025-03-01');
SET credits.clock = '2026-03-05 00:00:00+00';
CALL credits_run_reset(7);
SELECT credits_deduct('user_' || n, 2, idempotency_key => 'k' || n) FROM generate_series(1, 60) n;
SELECT credits_grant('user_4', 50, '2026-12-01 00:00+00'), credits_hold('user_4', 20, '10 days'), credits_freeze('user_3');
SELECT credits_hold('user_5', 3, '20 days'), credits_erase_user('user_7', 'on request'), credits_revoke_purchase('pay_8');
SQL

# Four clients charge up to the end.
wait_clients(
	start_clients(
		$old, $db,
		[ map { my $c = $_; join '', map { "SELECT credits_deduct('user_' || $_, 1, 'live', '$c-$_');\n" } 10 .. 59 } 1 .. 4 ]));
my $anchor = json($old->safe_psql($db, 'SELECT credits_anchor()'))->{anchor};

sub contents
{
	my ($node) = @_;
	my @tables = map { $_->[0] } rows($node, $db, q(
SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE nspname = 'App credits' AND relkind IN ('r', 'v') ORDER BY relname));
	return $node->safe_psql($db,
		"SET search_path = 'App credits'; " . join ' ', map { "SELECT '$_', t FROM $_ t"
			. ($_ eq 'credit_reset_run' ? q( WHERE kind <> 'verify') : '')    # where it was verified
			. ' ORDER BY t::text COLLATE "C";' } @tables);
}

my $heads = q(SELECT user_id, history_seq, encode(history_hash, 'hex') FROM credit_account ORDER BY user_id);
my $rights = q(SELECT p.oid::regprocedure, proacl FROM pg_proc p WHERE has_function_privilege('app_role', p.oid, 'EXECUTE') AND proname LIKE 'credits%' ORDER BY 1::text);
my $guards = q(SELECT tgrelid::regclass, tgenabled FROM pg_trigger WHERE tgname = 'credits_guard' ORDER BY tgrelid::regclass::text);
my %before = map { $_ => $old->safe_psql($db, $_) } $heads, $rights, $guards;
my $contents = contents($old);
my $marked = $old->safe_psql($db, "SELECT count(*) FROM pg_attribute WHERE attoptions::text LIKE '%pg_attver%'");
like($contents, qr/credit_history_archive_2025/, 'there is an archive');
is_clean($old, $db, 'before: clean');
$old->stop;

# 18 has checksums by default, 15 has not.
my $new = PostgreSQL::Test::Cluster->new('new');
my ($major) = $new->config_data('--version') =~ /(\d+)/;
$new->init(extra => [ '--no-locale', '-E', 'UTF8', $major >= 18 ? '--no-data-checksums' : () ]);
$new->append_conf('postgresql.conf', $conf . "timezone = UTC\n");

# Some builds of 15 mark every column with an option of their own; an 18 that does not
# know it stops at any table, ours or not.
if ($marked && $major >= 18)
{
	note('pg_upgrade to this server is not possible from one whose columns have the option pg_attver');
	done_testing();
	exit;
}
chdir PostgreSQL::Test::Utils::tempdir();
command_ok(
	[
		'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', "$install/bin",
		'-B', $new->config_data('--bindir'), '-s', $new->host, '-p', $old->port, '-P', $new->port ],
	'pg_upgrade from ' . $old->config_data('--version') . ' to ' . $new->config_data('--version'))
  or diag(map { "$_:\n" . substr(slurp_file($_), -2000) } glob $new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log');
$new->start;

is($new->safe_psql($db, $heads), $before{$heads}, 'the same heads');
is(contents($new), $contents, 'the same rows, and the same balances');
is($new->safe_psql($db, $rights), $before{$rights}, 'the same rights');
is($new->safe_psql($db, $guards), $before{$guards}, 'the same guards');
is_clean($new, $db, 'clean');
is($new->safe_psql($db, "SELECT * FROM credits_verify_anchor('$anchor')"), '', 'it is the ledger that was anchored');

# It goes on.
my $call = sub { return json($new->safe_psql($db, "SELECT $_[0]")) };
ok($call->(q(credits_deduct('user_12', 2, idempotency_key => 'k12')))->{replayed}, 'a retry is a replay');
ok($call->(q(credits_add_purchased('user_1', 10, 'pay_1')))->{archived}, 'a payment that was archived is not credited again');
is_outcome($new, $db, q(SELECT credits_deduct('user_3', 1)), 'UC004', 'who was frozen is frozen');
is_outcome($new, $db, q(DELETE FROM credit_history), 'UC007', 'nothing is deleted');
is_outcome($new, $db, q(DROP EXTENSION credits), '2BP01', 'nor dropped');
is_outcome($new, $db, q(SET ROLE app_role; SELECT credits_deduct('user_15', 1)), '00000', 'app_role may deduct');
is_outcome($new, $db, q(SET ROLE app_role; SELECT credits_grant('user_15', 1, '2027-01-01')), '42501', '... and may not grant');
$new->safe_psql($db, <<'SQL');
SELECT credits_deduct('user_' || n, 1) FROM generate_series(10, 60) n;
SELECT credits_add_purchased('new', 5, 'pay_new'), credits_define_plan('after', 1), credits_unfreeze('user_3');
SET credits.clock = '2026-12-02 00:00:00+00';
CALL credits_run_reset();
SELECT credits_anchor();
CALL credits_archive('2026-03-01');
SELECT credits_anchor();
SQL
is_clean($new, $db, 'clean after that');
is($new->safe_psql($db, "SELECT * FROM credits_verify_anchor('$anchor')"), '', 'it continues the ledger that was anchored');

$new->stop;
done_testing();
