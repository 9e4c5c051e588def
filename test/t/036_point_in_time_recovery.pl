# Point-in-time recovery from a WAL archive: a base backup that was made under load is
# restored to a moment between two anchors that were kept outside.  Everything that had been
# acknowledged by then is there, and nothing later.  The earlier anchor verifies; the later
# one says that the ledger was rolled back, or that it took another way.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $db = 'postgres';
my $users = 20;

my $main = PostgreSQL::Test::Cluster->new('main');
$main->init(extra => [ '--no-locale', '-E', 'UTF8', '--wal-segsize=1' ], has_archiving => 1, allows_streaming => 1);
$main->append_conf('postgresql.conf', "log_statement = none\nshared_buffers = 32MB\nmax_connections = 50\ntimezone = 'UTC'\nlc_messages = 'C'\n");
$main->start;
$main->safe_psql(
	$db, qq(
CREATE EXTENSION credits;
SELECT credits_define_plan('free', 1000000);
SELECT count(credits_open_account('user_' || n, 'free')) FROM generate_series(1, $users) n;
SELECT count(credits_add_purchased('user_' || n, 50, 'pay_' || n)) FROM generate_series(1, $users) n));

sub anchor { return json($_[0]->safe_psql($db, 'SELECT credits_anchor()'))->{anchor}; }

sub problems { return $_[0]->safe_psql($db, "SELECT * FROM credits_verify_anchor('$_[1]')"); }

# Each user's head.
sub heads { return map { @$_ } rows($_[0], $db, 'SELECT user_id, history_seq FROM credit_account'); }

# Load that goes on until it has been seen to.
sub more_load
{
	my ($what) = @_;
	my $count = 'SELECT sum(history_seq) FROM credit_account';
	my $before = $main->safe_psql($db, $count);

	poll_until(sub { return $main->safe_psql($db, $count) > $before + 200 }, "load $what") or die "no load $what";
	return;
}

my @clients = start_clients(
	$main, $db,
	[ map { my $c = $_; "SET application_name = 'load';\n" . join '', map { "SELECT credits_deduct('user_' || " . (1 + ($_ * 7 + $c) % $users) . ", 1, NULL, 'key_${c}_$_') FROM pg_sleep(0.002);\n" } 1 .. 50_000 } 1, 2 ]);
more_load('before the backup');
$main->backup('base');
more_load('after it');
my $early = anchor($main);
more_load('between the first anchor and the moment');
my %before = heads($main);
my $moment = $main->safe_psql($db, 'SELECT clock_timestamp() FROM pg_create_restore_point($$the moment$$)');

# What was on its way at the moment has to end before it can be counted.
my $open = $main->safe_psql($db, 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
$main->poll_query_until($db, "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= '$open'") or die 'a call does not end';
my %after = heads($main);
more_load('between the moment and the second anchor');
$main->safe_psql($db, q(SELECT credits_deduct('user_1', 1, NULL, 'too late')));
my $late = anchor($main);
$main->safe_psql($db, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $$load$$');
wait_clients(@clients);
my $wal = $main->safe_psql($db, 'SELECT pg_walfile_name(pg_switch_wal())');
$main->poll_query_until($db, "SELECT last_archived_wal >= '$wal' FROM pg_stat_archiver") or die 'the WAL is not archived';
is_clean($main, $db, 'the ledger itself is clean');
is(problems($main, $early) . problems($main, $late), '', '... and has both anchors');

for my $target ([ 'name', 'the moment' ], [ 'time', $moment ])
{
	my ($what, $value) = @$target;
	my $test = "restored by $what";
	my $node = PostgreSQL::Test::Cluster->new("by_$what");

	$node->init_from_backup($main, 'base', has_restoring => 1, standby => 0);
	$node->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_$what = '$value'\nrecovery_target_action = 'promote'\n");
	$node->start;
	$node->poll_query_until($db, 'SELECT NOT pg_is_in_recovery()') or die 'it does not end its recovery';

	my %here = heads($node);
	is(scalar(keys %here), $users, "$test: every account is there");
	is(join(' ', grep { $here{$_} < $before{$_} } sort keys %here), '', "$test: with all that had been done by then");
	is(join(' ', grep { $here{$_} > $after{$_} } sort keys %here), '', "$test: and nothing that came later");
	is_clean($node, $db, "$test: credits_verify() is clean");
	is_gapless($node, $db, "$test: seq is gapless");
	is(problems($node, $early), '', "$test: the earlier anchor verifies");
	like(problems($node, $late), qr/\Acredit_anchor\|\|2\|the anchor is not here, the newest is 1: the database was rolled back to before it\z/,
		"$test: the later one tells that it was rolled back");

	# It goes on: what is sent again is done, as if for the first time.
	is(json($node->safe_psql($db, q(SELECT credits_deduct('user_1', 1, NULL, 'too late'))))->{replayed}, 0,
		"$test: a call from after the moment can be sent again");
	my $own = anchor($node);
	like(problems($node, $late), qr/\Acredit_anchor\|\|2\|it is another anchor than the one kept outside/, "$test: gone on, it is found to be a fork");
	like(problems($main, $own), qr/\Acredit_anchor\|\|2\|it is another anchor than the one kept outside/, "$test: ... from the other side, too");
	is(problems($node, $own) . problems($node, $early), '', "$test: ... and has its own anchors");
	is_clean($node, $db, "$test: ... and is clean");
	$node->stop;
}

$main->stop;
done_testing();
