# An anchor that is kept outside finds a database that was put back, from a dump or from a
# base backup, and one that then took another way.  Anchors can be made while other sessions
# write.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../verify";

use CreditsAnchors qw(parse_anchor);
use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $verify = "$FindBin::RealBin/../verify";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $db = 'postgres';
my $node = new_server(
	'main',
	streaming => 1,
	clock => '2026-01-15 12:00:00+00',
	conf => "wal_writer_delay = 10s\n");

$node->safe_psql(
	$db, q(
SELECT credits_define_plan('free', 100000);
SELECT count(credits_open_account('user_' || n, 'free')) FROM generate_series(1, 200) n;
SELECT count(credits_add_purchased('user_' || n, 50, 'pay_' || n, 'a pack')) FROM generate_series(1, 200, 3) n;
));

sub anchor
{
	my ($n) = @_;
	return json($n->safe_psql($db, 'SELECT credits_anchor()'))->{anchor};
}

# What the database says to an anchor: its problems, one a line.
sub problems
{
	my ($n, $in, $text) = @_;
	return $n->safe_psql($in, defined $text ? "SELECT * FROM credits_verify_anchor('$text')" : 'SELECT * FROM credits_verify_anchor()');
}

# What the independent verifier says to an export and to anchors: (status, lines).
sub independent
{
	my ($n, $in, @kept) = @_;
	my $export = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err);

	IPC::Run::run([ 'psql', '-X', '-d', $n->connstr($in), '-v', "dir=$export", '-f', "$verify/export.sql" ],
		'>', \$out, '2>', \$err)
	  or die "export: $err";
	append_to_file("$export/kept", join '', map { "$_\n" } @kept);
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $export, "$export/kept" ], '>', \$out, '2>', \$err);
	my $status = $? >> 8;
	die "verifier: $err" if $status == 2;
	return ($status, $out);
}

sub is_continued
{
	my ($n, $in, $test, @kept) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(join('', map { problems($n, $in, $_) } @kept, undef), '', "$test: credits_verify_anchor()");
	is_clean($n, $in, "$test: credits_verify()");
	my ($status, $out) = independent($n, $in, @kept);
	is($status, 0, "$test: the verifier") or diag($out);
	return;
}

# An anchor, a dump, more calls, and an anchor that the dump does not know.
my @kept = anchor($node);
$node->safe_psql($db, q(SELECT count(credits_deduct('user_' || n, n)) FROM generate_series(1, 50) n));
push @kept, anchor($node);
is(system_log('pg_dump', '-d', $node->connstr($db), '-f', "$dir/dump.sql"), 0, 'pg_dump');
$node->backup('base');
$node->safe_psql($db, q(
SELECT count(credits_deduct('user_' || n, n, 'why', 'key ' || n)) FROM generate_series(40, 80) n;
SELECT credits_freeze('user_199');
SELECT credits_open_account('late', 'free');
));
push @kept, anchor($node);
is_continued($node, $db, 'the ledger itself', @kept);
is(parse_anchor($kept[2])->{previous_hash}, parse_anchor($kept[1])->{hash}, 'two kept anchors prove that they follow each other');

my %rolled_back = (
	database => qr/\Acredit_anchor\|\|3\|the anchor is not here, the newest is 2: the database was rolled back to before it\z/,
	verifier => qr/\ABAD kept anchor 3: it is not here, the newest is 2: rolled back to before it\n[^\n]*\z/);
my %forked = (
	database => qr/\Acredit_anchor\|\|3\|it is another anchor than the one kept outside: .*\ncredit_anchor\|\|3\|the leaves do not give the root that was kept outside\z/,
	verifier => qr/\ABAD kept anchor 3: another anchor has its number: forked or rewritten; the leaves do not give its root\n[^\n]*\z/);

sub is_betrayed
{
	my ($n, $in, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_continued($n, $in, "$test, as far as it can know", @kept[ 0, 1 ]);
	like(problems($n, $in, $kept[2]), $expected->{database}, "$test: a kept anchor tells");
	my ($status, $out) = independent($n, $in, @kept);
	is($status, 1, "$test: the verifier");
	like($out =~ s/\n\z//r, $expected->{verifier}, "$test: ... tells it of an export");
	return;
}

# The dump, restored into another database; then that goes on.
$node->safe_psql($db, 'CREATE DATABASE restored TEMPLATE template0');
is(system_log('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', "$dir/dump.sql"), 0,
	'restored');
is_betrayed($node, 'restored', \%rolled_back, 'a restored dump');
$node->safe_psql('restored', q(SELECT credits_deduct('user_1', 1); SELECT credits_anchor()));
is_betrayed($node, 'restored', \%forked, 'a restored dump that went on');

# The base backup, started as it is: nothing of what came later is in it.
my $old = PostgreSQL::Test::Cluster->new('old');
$old->init_from_backup($node, 'base');
$old->start;
is_betrayed($old, $db, \%rolled_back, 'an old base backup');
$old->safe_psql($db, q(SELECT credits_deduct('user_2', 1)));
anchor($old);
is_betrayed($old, $db, \%forked, 'an old base backup that went on');
$old->stop;

# One anchor at a time, each seeing all that was committed when its turn came,
# at any isolation level; and nobody else waits for one.
my $one = session($node, $db);
my $two = session($node, $db);
$two->do('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM credit_account');
$one->do('BEGIN');
push @kept, json($one->do('SELECT credits_anchor()'))->{anchor};
$two->send(q(SELECT credits_anchor()));
ok($node->poll_query_until($db, 'SELECT wait_event_type = $$Lock$$ FROM pg_stat_activity WHERE pid = ' . $two->pid),
	'a second anchor waits for the first');
is_outcome($node, $db, q(SET lock_timeout = '10s'; SELECT credits_deduct('user_3', 1); SELECT credits_freeze('user_200');
	SELECT credits_open_account('later', 'free')), '00000', 'calls do not');
$one->do('COMMIT');
my ($state, $receipt) = $two->answer;
is($state, '00000', '... and then has its turn');
push @kept, json($receipt)->{anchor};
$two->do('COMMIT');
is(parse_anchor($kept[4])->{changed}, 3, '... with what was committed meanwhile');
$two->do('BEGIN');
push @kept, json($two->do('SELECT credits_anchor()'))->{anchor};
$two->do('ROLLBACK');
like(problems($node, $db, pop @kept), qr/rolled back/, 'the anchor of a transaction that did not commit is none');
$_->quit for $one, $two;

# Anchors, verification in slices and calls, all at once.
my @clients = run_clients(
	$node, $db,
	[
		(map { my $c = $_; join '', map { my $u = 'user_' . (1 + ($_ * 7 + $c * 31) % 190); "SELECT credits_deduct('$u', 1);\n" } 1 .. 400 } 1, 2),
		(join '', map { "SELECT credits_anchor();\n" } 1 .. 60),
		(join '', map { "CALL credits_run_verify(NULL, 25);\n" } 1 .. 8),
	],
	barrier => 1);
is(join('', map { $_->{err} } @clients), '', 'all of them end well');
my @reports = map { json($_) } grep { /^\{/ } split /\n/, $clients[3]{out};
is(scalar(grep { $_->{ok} } @reports), 8, 'verification finds nothing while anchors are made');
push @kept, map { json($_)->{anchor} } grep { /^\{/ } split /\n/, $clients[2]{out};
is(scalar(@kept), 65, 'all anchors have been made');
is_continued($node, $db, 'in the end', @kept);

# Known is an anchor only when it is durable, with all that it has seen.
$node->safe_psql($db, q(SET synchronous_commit = off; SELECT credits_deduct('user_5', 1)));
push @kept, json($node->safe_psql($db, q(SET synchronous_commit = off; SELECT credits_anchor())))->{anchor};
$node->stop('immediate');
$node->start;
is_continued($node, $db, 'after a crash', $kept[-1]);

$node->stop;
done_testing();
