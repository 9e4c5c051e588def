# Archiving: next to deductions, cut short by a crash, through a dump and a restore,
# out to a file and back, and what the independent verifier says to all that.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $verify = "$FindBin::RealBin/../verify";
my $db = 'postgres';
my $users = 60;
my $node = new_server('main', clock => '2024-06-10 12:00:00+00', conf => "credits.key_retention = '30d'\n");

sub at
{
	my ($time, $sql) = @_;
	return $node->safe_psql($db, "SET credits.clock = '$time'; $sql");
}

sub archive
{
	my ($before) = @_;
	return json($node->safe_psql($db, "CALL credits_archive('$before', batch_size => 7)"));
}

sub clean
{
	my ($in, $test) = @_;
	is($node->safe_psql($in, 'SELECT * FROM credits_verify(); SELECT * FROM credits_verify_anchor()'), '', $test);
	return;
}

# What the independent verifier says to an export: its lines but the last.
sub independent
{
	my ($in, $change) = @_;
	my $export = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err);

	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr($in), '-v', "dir=$export", '-f', "$verify/export.sql" ],
		'>', \$out, '2>', \$err)
	  or die "export: $err";
	$change->($export) if $change;
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $export ], '>', \$out, '2>', \$err);
	die "verifier: $err" if $? >> 8 == 2;
	return $out =~ s/^[0-9].*\n\z//mr;
}

# A line of an exported file.
sub change_line
{
	my ($file, $pattern, $sub) = @_;
	my $text = slurp_file($file);

	$text =~ s/^($pattern.*\n)/$sub->($1)/me or die "$file has no line like $pattern";
	unlink $file;
	append_to_file($file, $text);
	return;
}

# Two and a half years of histories.
$node->safe_psql(
	$db, qq(
SELECT credits_define_plan('free', 1000);
SELECT count(credits_open_account('user_' || n, 'free', NULL, 'Asia/Tokyo')) FROM generate_series(1, $users) n;
SELECT count(credits_add_purchased('user_' || n, 100 + n, 'pay "' || n || '"\\', 'a pack')) FROM generate_series(1, $users, 2) n;
SELECT count(credits_grant('user_' || n, 10, '2024-08-01 00:00Z')) FROM generate_series(1, $users, 3) n;
SELECT count(credits_grant('user_' || n, 20, '2034-08-01 00:00Z')) FROM generate_series(1, $users, 3) n;
SELECT count(credits_hold('user_' || n, 1015, '2 days')) FROM generate_series(1, $users, 3) n;
SELECT count(credits_freeze('user_2')), count(credits_unfreeze('user_2'))));
my $month = 0;
for my $time (map { my $y = $_; map { sprintf '%d-%02d-05 00:00Z', $y, $_ } 1, 4, 9 } 2025, 2026)
{
	at($time, qq(
SELECT count(credits_deduct('user_' || n, 3, 'image', 'key_$month', '{"n": 1}')) FROM generate_series(1, $users) n;
SELECT count(credits_hold('user_' || n, 5, '31 days')) FROM generate_series(1, $users, 4) n;
SELECT count(credits_revoke_purchase('pay "' || n || '"\\', 1)) FROM generate_series(1, $users, 6) n));
	$month++;
}
$node->append_conf('postgresql.conf', "credits.clock = '2026-10-20 12:00:00+00'\n");
$node->reload;
$node->poll_query_until($db, "SELECT current_setting('credits.clock') LIKE '2026-10%'");
$node->safe_psql($db, 'SELECT credits_anchor()');

# A crash in the middle: each account is archived whole or not at all.
my @client = start_clients($node, $db, [ "BEGIN; SELECT credits_deduct('user_40', 1); SELECT pg_sleep(100);\n" ]);
$node->poll_query_until($db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND wait_event = 'PgSleep')")
  or die 'nobody has the account';
push @client, start_clients($node, $db, [ "CALL credits_archive('2025-08-01', batch_size => 7, max_wait => '1 hour');\n" ]);
$node->poll_query_until($db, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CALL credits_archive%' AND wait_event_type = 'Lock')")
  or die 'the run does not wait';
$node->stop('immediate');
wait_clients(@client);
$node->start;
my $done = $node->safe_psql($db, 'SELECT count(*) FROM credit_checkpoint');
cmp_ok($done, '>', 0, 'before the crash some accounts were archived');
cmp_ok($done, '<', $users, '... and not all');
clean($db, 'after it all is clean');
my $balances = 'SELECT user_id, monthly, granted, purchased, held FROM credit_balance ORDER BY user_id';
my $before = $node->safe_psql($db, $balances);
my $report = archive('2025-08-01');
is($report->{accounts}, $users - $done, 'the next run archives the rest');
is($report->{failures}, 0, '... without failures');
is($node->safe_psql($db, $balances), $before, 'no balance has changed');
is($node->safe_psql($db, 'SELECT count(*) FROM credit_history_archive WHERE effective_at >= $$2025-08-01$$'), '0', 'what is younger stays');
clean($db, 'all is clean');
is(independent($db), '', 'so says the independent verifier');

# Next to deductions: nobody loses, nobody is charged twice.
$node->safe_psql($db, 'SELECT credits_anchor()');
my $spent = 'SELECT coalesce(sum(spent), 0) FROM credit_usage_daily';
my $spent_before = $node->safe_psql($db, $spent);
my @clients = start_clients(
	$node, $db,
	[ (map { my $c = $_; join '', map { "SELECT credits_deduct('user_' || " . (1 + ($_ * 7 + $c) % $users) . ", 1, 'busy', 'busy_${c}_$_');\n" } 1 .. 150 } 1 .. 4),
	  "CALL credits_archive('2026-08-01', batch_size => 3);\n" x 3 ]);
wait_clients(@clients);
is($node->safe_psql($db, $spent) - $spent_before, 600, 'next to a run every deduction counts once');
cmp_ok($node->safe_psql($db, "SELECT count(*) FROM credit_checkpoint WHERE effective_at > '2026-01-01'"), '>', 0, '... and accounts were archived');
clean($db, 'all is clean');
is(independent($db), '', 'so says the independent verifier');
archive('2026-08-01');

# Dump and restore.
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr($db) ], 'dump');
$node->safe_psql($db, 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $dump ], 'restore');
clean('restored', 'the restored ledger is clean');
is( $node->safe_psql('restored', 'SELECT tableoid::regclass, count(*) FROM credit_history_archive GROUP BY 1 ORDER BY 1'),
	$node->safe_psql($db, 'SELECT tableoid::regclass, count(*) FROM credit_history_archive GROUP BY 1 ORDER BY 1'),
	'... with its archive');
is_outcome($node, 'restored', 'DELETE FROM credit_history_archive_2024', 'UC007', '... and its guards');
$node->safe_psql('restored', "SELECT credits_anchor(); CALL credits_archive('2026-10-19')");
clean('restored', '... and goes on being archived');
my ($code, $out) = outcome($node, 'restored', 'DROP EXTENSION credits');
is($code, '2BP01', 'DROP EXTENSION is refused');
is_outcome($node, 'restored', 'SET credits.allow_drop = on; DROP EXTENSION credits', '00000', '... and takes the archive along, if it may');
is($node->safe_psql('restored', "SELECT count(*) FROM pg_class WHERE relname LIKE 'credit%'"), '0', '... all of it');

# What the independent verifier finds in an export.
my $archived = 'credit_history_archive.tsv';
my $checkpoint = 'credit_checkpoint.tsv';
my $digit = sub { $_[0] =~ s/\t([0-8])\t/"\t" . ($1 + 1) . "\t"/er };
for my $case (
	[ $archived, "user_2\t3\t", $digit, qr/^BAD user "user_2" seq 3: /, 'an archived row changed' ],
	[ $archived, "user_2\t1\t", sub { '' }, qr/^BAD user "user_2" seq 1: .*missing/, 'an archived row removed' ],
	[ $checkpoint, "user_2\t", $digit, qr/^BAD user "user_2" .*credit_checkpoint is not what/, 'a checkpoint changed' ],
	[ $checkpoint, "user_2\t", sub { '' }, qr/^BAD user "user_2" seq 1: archived rows without/, 'a checkpoint removed' ],
	[ 'credit_payment.tsv', "user_3\t2\t", sub { '' }, qr/^BAD user "user_3" seq 2: no credit_payment/, 'a payment removed' ],
	[ 'credit_history.tsv', "user_2\t[0-9]+\tarchive\t", $digit, qr/^BAD user "user_2" /, 'the sealing row changed' ])
{
	my ($file, $line, $sub, $expected, $what) = @$case;
	like(independent($db, sub { change_line("$_[0]/$file", $line, $sub) }), $expected, "independently: $what");
}

# Out to a file, dropped, and back.
my $file = PostgreSQL::Test::Utils::tempdir() . '/2024';
my $rows = $node->safe_psql($db, 'SELECT count(*) FROM credit_history_archive_2024');
my $year;
independent($db, sub { $year = slurp_file("$_[0]/$archived") });
my ($header, @lines) = split /^/, $year;
$node->safe_psql($db, "COPY credit_history_archive_2024 TO '$file'");
my ($nth) = grep { (split /\t/, $header)[$_] eq 'created_at' } 0 .. 10;
my @of_2024 = grep { (split /\t/)[$nth] =~ /^2024/ } @lines;
is(scalar @of_2024, $rows, 'the export has the year');
is_outcome($node, $db, "SELECT credits_drop_archive('credit_history_archive_2024', $rows - 1)", '22023', 'a partition is dropped only by its count');
$node->safe_psql($db, "SELECT credits_drop_archive('credit_history_archive_2024', $rows)");
clean($db, 'what stays verifies from the checkpoint on');
is(independent($db), '', 'so says the independent verifier');
is(independent($db, sub { append_to_file("$_[0]/credit_history_archive_2024.tsv", join '', $header, @of_2024) }),
	'', '... and together with the year in a file of its own');
like(
	independent($db, sub { append_to_file("$_[0]/credit_history_archive_2024.tsv", join '', $header, @of_2024[ 1 .. $#of_2024 ]) }),
	qr/^BAD user "user_1" seq 1: .*archived rows of 2024 are missing/, '... and misses a row in that');
like(
	independent($db, sub { change_line("$_[0]/$checkpoint", "user_2\t", $digit) }),
	qr/^BAD user "user_2" /, '... and finds a checkpoint changed');
$node->safe_psql(
	$db, qq(
CREATE TABLE credit_history_archive_2024 PARTITION OF credit_history_archive (PRIMARY KEY (user_id, seq))
    FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2025-01-01 00:00:00+00');
COPY credit_history_archive_2024 FROM '$file';
SELECT credits_repair_guards()));
clean($db, 'the year is back');
is(independent($db), '', 'so says the independent verifier');

# The last of several ends at one instant is the row that stays.
add_database($node, $db = 'ends');
at('2024-06-10 00:00Z', q(SELECT credits_open_account('ends'), credits_open_account('returns');
SELECT count(credits_grant('ends', n, '2024-07-01 00:00Z')) FROM generate_series(1, 3) n;
SELECT credits_grant('returns', 5, '2024-06-19 00:00Z'), credits_hold('returns', 2, '9 days'), credits_hold('returns', 3, '9 days')));
at('2024-08-10 00:00Z', 'SELECT credits_reset_due(); SELECT credits_anchor()');
is(archive('2024-08-10')->{accounts}, 2, 'two accounts end with ends at one instant');
clean($db, '... and verify');
is(independent($db), '', '... independently, too');

# The commands of docs/retention.md, as they stand there: the database app, the extension in
# the schema credits, which comes after public in the search path.
{
	my $folder = PostgreSQL::Test::Utils::tempdir('page');
	my ($section) = slurp_file("$FindBin::RealBin/../../docs/retention.md") =~ /^## Exporting a year and dropping it\n(.*?)^## /ms;
	my ($left, $export, $return) = $section =~ /^```\w*\n(.*?)^```$/msg;
	my $partitions = q(SELECT string_agg(inhrelid::regclass || '', ' ' ORDER BY inhrelid::regclass || '') FROM pg_inherits WHERE inhparent = 'credits.credit_history_archive'::regclass);

	sub as_said
	{
		my ($commands, @shell) = @_;
		local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port);
		my $out = '';

		ok(IPC::Run::run(\@shell, '<', \$commands, '>', \$out, '2>&1', init => sub { chdir $folder or die "$folder: $!" }), 'the commands succeed')
		  or diag($out);
		return $out;
	}

	symlink "$FindBin::RealBin/..", "$folder/test" or die "$folder/test: $!";
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	$db = 'app';
	at('2023-06-10 00:00Z', q(CREATE SCHEMA credits; CREATE EXTENSION credits SCHEMA credits;
		ALTER DATABASE app SET search_path = "$user", public, credits; SET search_path = public, credits;
		SELECT credits_define_plan('free', 10); SELECT credits_open_account('u' || n, 'free') FROM generate_series(1, 3) n;
		SELECT credits_deduct('u' || n, 1, 'two' || chr(10) || 'lines' || chr(92)) FROM generate_series(1, 3) n));
	at('2024-07-10 00:00Z', 'SELECT credits.credits_reset_due(); SELECT credits.credits_anchor()');
	is(json($node->safe_psql($db, q(SET credits.clock = '2024-07-10 00:00Z'; CALL credits.credits_archive('2024-01-01'))))->{accounts}, 3, 'a year of the page is archived');
	my $before = $node->safe_psql($db, $partitions);

	is(as_said($left, 'psql', '-XAt', '-v', 'ON_ERROR_STOP=1', '-d', $db), "0\n", '... and no row of it is left in the history');
	like(as_said($export, 'bash', '-e'), qr/^3 accounts, [0-9]+ history rows, [1-9][0-9]* archived, .*: clean\n.*"ok": true/ms, 'the year of the page is exported, clean and dropped');
	isnt($node->safe_psql($db, $partitions), $before, '... and gone');
	like(as_said($return, 'psql', '-XAt', '-v', 'ON_ERROR_STOP=1', '-d', $db), qr/"repaired": 1\}$/m, '... and brought back, with its guard');
	is($node->safe_psql($db, $partitions), $before, '... where it was');
	is($node->safe_psql($db, 'SELECT * FROM credits.credits_verify()'), '', '... and verifies');
}

$node->stop;
done_testing();
