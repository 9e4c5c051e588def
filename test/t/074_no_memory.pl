# malloc fails, at chosen places of every kind of call (test/memory/fail_malloc.c): the
# call is done, or it is 53200 and never anything else; the session goes on, in no failed
# transaction, with no lock and no setting left; of what was refused nothing is there;
# called again it is done, once; and at the end the ledger verifies.
#
#   CREDITS_SEED=...    the same failures again; it is printed
#   CREDITS_CALLS=...   how many of them for each kind of call (9)

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use List::Util qw(min sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'another library is preloaded' if $ENV{LD_PRELOAD};

my $db = 'postgres';
my $seed = $ENV{CREDITS_SEED} // int(rand(2**31));
my $points = $ENV{CREDITS_CALLS} // 9;
my $accounts = 25;			# of each kind that bulk runs are for
my $clock = "timestamptz '2026-01-10 00:00:00+00'";
my @zones = qw(Europe/Berlin America/New_York Asia/Kathmandu Australia/Lord_Howe Pacific/Apia
  America/Argentina/Buenos_Aires Africa/Cairo Europe/London Asia/Tokyo America/Santiago);

diag("CREDITS_SEED=$seed CREDITS_CALLS=$points");
srand($seed);

# --- The calls.  In them <n> is the case's number, <batch> a random number (or the
# call's own), <zone> a zone.  before: what is to be there first; done: true when the call
# was done, and once.  A read is done when it says the same again.  A run has transactions
# of its own, so what it had done when it was refused stays; one that is alone is in no block.

my $text = "repeat('r', 9000)";
my $metadata = "jsonb_build_object('text', repeat('m', 9000))";
my $rest = "$text, 'key_<n>', $metadata";
my $key_once = q(SELECT count(*) = 1 FROM credit_history WHERE idempotency_key = 'key_<n>');
my $keys_once = qq(SELECT count(*) = $accounts AND count(DISTINCT user_id) = $accounts
  FROM credit_history WHERE idempotency_key = 'key_<n>');

# The arrays of a prefix's accounts, for psql.
sub arrays
{
	my ($prefix) = @_;

	return qq(SELECT array_agg(user_id) AS users, array_agg(3) AS amounts, array_agg('key_<n>'::text) AS keys
  FROM credit_account WHERE user_id LIKE '$prefix\\_%' \\gset\n);
}

sub writes
{
	my ($call, %more) = @_;

	return { call => $call, done => $key_once, %more };
}

sub writes_to
{
	my ($row, $call) = @_;

	return writes($call, before => "SELECT $row ->> 'seq' AS of_seq \\gset\n");
}

sub reads
{
	my ($from, $before) = @_;

	return {
		call => "SELECT coalesce(hashtextextended(string_agg(x::text, ' ' ORDER BY x::text), 0), 0) AS answer FROM $from x \\gset",
		before => $before // '',
		is_read => 1,
		is_slow => scalar($from =~ /verify/)
	};
}

# $of: which rows show that each account was done.
sub runs
{
	my ($before, $call, $of) = @_;

	return {
		before => $before,
		call => $call,
		done => "SELECT count(*) = $accounts AND count(DISTINCT user_id) = $accounts FROM credit_history WHERE $of",
		is_run => 1
	};
}

sub at_second
{
	my ($seconds) = @_;

	return "SELECT set_config('credits.clock', ($clock + ($seconds) * interval '1 second')::text, false) \\g /dev/null\n";
}

my $grant_many = "CALL credits_grant_many(:'users', :'amounts', '9000-01-01', $text, 'key_<n>', batch_size => <batch>)";
my $workers = 'SET min_parallel_table_scan_size = 0; SET max_parallel_workers = ';

my %calls = (
	deduct => writes("SELECT credits_deduct('ann', 1, $rest)"),
	'deduct, early' => writes("SELECT credits_deduct('ann', 1, $rest)", before => "SET credits.early_lock_release = on;\n"),
	try_deduct => writes("SELECT credits_try_deduct('ann', 1, $rest)"),
	deduct_many => {
		before => arrays('d'),
		call => "SELECT credits_deduct_many(:'users', :'amounts', NULL, :'keys')",
		done => $keys_once
	},
	'deduct_many or none' => {
		before => arrays('d'),
		call => "SELECT credits_deduct_many(:'users', :'amounts', NULL, :'keys', all_or_nothing => true)",
		done => $keys_once
	},
	add_purchased => writes("SELECT credits_add_purchased('ann', 1, 'payment_<n>', $rest)"),
	adjust => writes("SELECT credits_adjust('ann', 'purchased', 1, $rest)"),
	grant => writes("SELECT credits_grant('ann', 1, '9000-01-01', $rest)"),
	hold => writes("SELECT credits_hold('ann', 1, NULL, $rest)"),
	capture => writes_to("credits_hold('ann', 2)", "SELECT credits_capture('ann', :of_seq, 1, false, $rest)"),
	release => writes_to("credits_hold('ann', 2)", "SELECT credits_release('ann', :of_seq, $rest)"),
	refund => writes_to("credits_deduct('ann', 2)", "SELECT credits_refund('ann', :of_seq, 1, $rest)"),
	revoke_purchase => writes_to("credits_add_purchased('ann', 2, 'bought_<n>')", "SELECT credits_revoke_purchase('bought_<n>', 1, $rest)"),
	set_plan => writes("SELECT credits_set_plan('sam', CASE <n> % 2 WHEN 0 THEN 'free' ELSE 'pro' END, 'now', $rest)"),
	set_cycle => writes("SELECT credits_set_cycle('sam', '2020-01-31', '<zone>', $rest)"),
	# The clock of an earlier call may be far ahead.
	transfer => writes(
		"SELECT credits_transfer('ann', 'bob', 1, $rest)",
		before => "SELECT set_config('credits.clock', max(effective_at)::text, false) FROM credit_account WHERE user_id IN ('ann', 'bob') \\g /dev/null\n"),
	open_account => {
		call => "SELECT credits_open_account('open_<n>', 'free', NULL, '<zone>')",
		done => q(SELECT count(*) = 1 FROM credit_history WHERE user_id = 'open_<n>')
	},
	'open_account, a zone' => {
		before => "SELECT credits_open_account('utc_<n>', 'free', NULL, 'UTC') \\g /dev/null\n",
		call => "SELECT credits_open_account('zone_<n>', 'free', NULL, 'Asia/Tokyo')",
		done => q(SELECT count(*) = 1 FROM credit_history WHERE user_id = 'zone_<n>')
	},
	erase_user => {
		before => "SELECT credits_open_account('gone_<n>'), credits_adjust('gone_<n>', 'purchased', 5, $rest) \\g /dev/null\n",
		call => "SELECT credits_erase_user('gone_<n>')",
		done => q(SELECT bool_and(reason IS NULL AND metadata IS NULL) FROM credit_history WHERE user_id = 'gone_<n>' AND kind = 'adjust')
	},
	anchor => {
		before => "SELECT credits_deduct('ann', 1) \\g /dev/null\n",
		call => 'SELECT credits_anchor()',
		done => q(SELECT count(*) >= 1 FROM credit_anchor)
	},
	grant_many => runs(arrays('g'), $grant_many, q(idempotency_key = 'key_<n>')),
	apply_plan => runs(
		at_second('10 * <n>') . "SELECT credits_define_plan('mass', 1000 + <n>, effective_from => $clock + 10 * <n> * interval '1 second') \\g /dev/null\n" . at_second('10 * <n> + 5'),
		"CALL credits_apply_plan('mass', $text, batch_size => <batch>)",
		"user_id LIKE 'm\\_%' AND kind = 'set_plan' AND plan_version = (SELECT max(version) FROM credit_plan WHERE plan = 'mass')"),
	import => runs(
		'',
		"CALL credits_import(\$\$SELECT 'import_<n>_' || n || repeat('u', (n % 7) * 30) AS user_id, n AS purchased, '<zone>'::text AS time_zone FROM generate_series(1, $accounts) n\$\$,
\$\$SELECT 'import_<n>_' || n || repeat('u', (n % 7) * 30) AS user_id, now() - interval '1 year' AS created_at, n AS id, n AS amount, repeat('h', 9000) AS reason FROM generate_series(1, $accounts) n\$\$,
reason => $text, batch_size => <batch>)",
		"user_id LIKE 'import\\_<n>\\_%' AND kind = 'import'"),
	undo_run => runs(
		arrays('g') . "CALL credits_grant_many(:'users', :'amounts', '9000-01-01', NULL, 'undone_<n>') \\g /dev/null
SELECT run_id AS run FROM credit_history WHERE user_id LIKE 'g\\_%' AND idempotency_key = 'undone_<n>' LIMIT 1 \\gset\n",
		"CALL credits_undo_run(:'run', reason => $text, batch_size => <batch>)",
		"(user_id, ref_seq) IN (SELECT user_id, seq FROM credit_history WHERE idempotency_key = 'undone_<n>') AND kind = 'undo'"),
	run_reset => {
		%{
			runs("SELECT set_config('credits.clock', ($clock + interval '<n> months')::text, false) \\g /dev/null\n",
				'CALL credits_run_reset(<batch>)',
				"user_id LIKE 'r\\_%' AND kind = 'reset' AND effective_at > current_setting('credits.clock')::timestamptz - interval '1 month'")
		},
		is_alone => 1
	},
	archive => runs(
		"SET credits.key_retention = 0;\n" . at_second('10 * <n>') . arrays('a') . "SELECT credits_deduct_many(:'users', :'amounts') FROM generate_series(1, 3) \\g /dev/null
SELECT credits_anchor() \\g /dev/null\n" . at_second('10 * <n> + 5'),
		"CALL credits_archive(current_setting('credits.clock')::timestamptz, batch_size => <batch>)",
		"user_id LIKE 'a\\_%' AND kind = 'archive' AND effective_at = current_setting('credits.clock')::timestamptz"),
	'grant_many, one batch' => {
		before => q(SELECT array_agg(user_id) AS users, array_agg(3) AS amounts
  FROM (SELECT user_id FROM credit_account WHERE user_id LIKE 'w\_%' ORDER BY 1 LIMIT <batch>) a \gset) . "\n",
		call => "CALL credits_grant_many(:'users', :'amounts', '9000-01-01', NULL, 'key_<n>')",
		done => q(SELECT count(*) = <batch> AND count(DISTINCT user_id) = <batch> FROM credit_history WHERE idempotency_key = 'key_<n>'),
		batch => 25,
		is_run => 1
	},
	balance => reads("credits_balance('ann')"),
	balances => reads("credits_balances('{ann,nobody,ben}')"),
	quote => reads("credits_quote('ann', 3)"),
	explain => reads("credits_explain('ann')"),
	history => reads("credits_history('ann', page_size => 200)"),
	usage => reads("credits_usage('ann', 'reason', '2000-01-01 00:00Z')"),
	total_usage => reads("credits_total_usage('user', '2000-01-01 00:00Z')"),
	metrics => reads('credits_metrics(true)'),
	verify => reads('credits_verify()', "${workers}0;\n"),
	'verify, parallel' => reads('credits_verify()', "${workers}2;\n"),
	verify_anchor => reads('credits_verify_anchor()'),
	run_verify => { call => 'CALL credits_run_verify(slice_size => 50)', done => 'SELECT true', is_alone => 1, is_slow => 1, is_run => 1 },
);

# --- The server.

sub compile
{
	my $source = "$FindBin::RealBin/../memory/fail_malloc.c";
	my $file = PostgreSQL::Test::Utils::tempdir() . '/fail_malloc.so';
	my ($headers, $said) = ('', '');

	plan skip_all => 'there is no C compiler' unless grep { -x "$_/cc" } split /:/, $ENV{PATH};
	IPC::Run::run([ 'pg_config', '--includedir-server' ], '>', \$headers) or die 'pg_config';
	chomp $headers;
	IPC::Run::run([ qw(cc -shared -fPIC -O1 -Wall -Wextra -Werror -isystem), $headers, $source, '-o', $file ], '>&', \$said)
	  or die "$source: $said";
	return $file;
}

my $library = compile();
my $node;
{
	local $ENV{LD_PRELOAD} = $library;
	$node = new_server('memory', clock => '2026-01-10 00:00:00+00', conf => "fsync = off\nmax_parallel_workers = 0\n");
}
$node->safe_psql($db, qq(
CREATE FUNCTION fail_malloc(first int, times int) RETURNS void LANGUAGE c AS '$library';
CREATE FUNCTION malloc_calls() RETURNS int LANGUAGE c AS '$library';
CREATE FUNCTION malloc_failures() RETURNS int LANGUAGE c AS '$library';

-- What a refused call leaves as it was.
CREATE VIEW ledger AS SELECT hashtextextended(string_agg(row, ' ' ORDER BY row), 0) AS state FROM (
    SELECT a::text FROM credit_account a
    UNION ALL SELECT h::text FROM credit_hold h WHERE state = 'open'
    UNION ALL SELECT concat_ws(' ', (SELECT count(*) FROM credit_history), (SELECT count(*) FROM credit_grant), (SELECT count(*) FROM credit_payment),
                               (SELECT count(*) FROM credit_audit_log), (SELECT count(*) FROM credit_anchor), (SELECT count(*) FROM credit_reset_run))) t (row);

-- What it leaves in its session.
CREATE VIEW left_over AS SELECT concat_ws(' ',
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
    (SELECT count(*) FROM pg_cursors WHERE name <> ''),
    current_setting('lock_timeout'), current_setting('synchronous_commit'), current_user) AS what;

SELECT credits_define_plan('free', 100), credits_define_plan('pro', 1000), credits_define_plan('mass', 1000);
SELECT credits_open_account('ann'), credits_open_account('bob'), credits_open_account('sam', 'free');
SELECT credits_add_purchased('ann', 1000000, 'payment');
SELECT credits_open_account(kind || '_' || n || repeat('u', (n * 5 % 11) * 20), CASE kind WHEN 'm' THEN 'mass' WHEN 'r' THEN 'free' END)
  FROM generate_series(1, $accounts) n, unnest('{a,d,g,m,r}'::text[]) kind;
SELECT credits_open_account(rpad('w_' || n || '_', 200, 'w')) FROM generate_series(1, $accounts) n;
SELECT credits_adjust(user_id, 'purchased', 100000, 'for the test') FROM credit_account WHERE user_id ~ '^[ad]_';
));

# --- The cases: all in one psql, whose session goes on from case to case.

# cold: in a new session, which has nothing in its caches, but one snapshot of each kind:
# where there is memory for the first of its two arrays alone, the server crashes at the
# next (GetSnapshotData).  block: in a savepoint.
sub script_of
{
	my ($case) = @_;
	my ($call, $n) = @$case{qw(of n)};
	my %with = (n => $n, batch => $case->{batch} // $call->{batch} // 1 + int(rand($accounts)), zone => $zones[ rand @zones ]);
	my ($before, $statement, $done) =
	  map { ($_ // '') =~ s/<(n|batch|zone)>/$with{$1}/gr } @$call{qw(before call done)};

	$statement .= ' \g /dev/null' unless $call->{is_read};
	$done = $call->{is_read} ? ":'answer' = :'first'" : "($done)";
	return join "\n",
	  $case->{cold} ? ('\c', "LOAD 'credits';", q(SELECT currtid2('pg_class', '(0,1)') \g /dev/null)) : (),
	  "RESET ALL;\n$before",
	  (map { "\\set $_ none" } qw(answer malloc_calls malloc_failures state what done)),
	  'SELECT state AS before FROM ledger \gset',
	  $case->{block} ? 'BEGIN; SAVEPOINT s;' : (),
	  "SELECT fail_malloc($case->{first}, $case->{times}) \\g /dev/null",
	  $statement, "\\echo = $n called :SQLSTATE", '\set first :answer',
	  $case->{block} ? ("\\if :ERROR\nROLLBACK TO s;\n\\endif", 'COMMIT;') : (),
	  'SELECT malloc_calls(), malloc_failures() \gset',
	  "\\echo = $n counted :malloc_calls :malloc_failures",
	  "SELECT CASE state WHEN :'before' THEN 'same' ELSE 'changed' END AS state, what FROM ledger, left_over \\gset",
	  "\\echo = $n ledger :state\n\\echo = $n left :what",
	  '\set answer none', $statement, "\\echo = $n again :SQLSTATE",
	  "SELECT $done AS done \\gset\n\\echo = $n done :done", "\\if :ERROR\n\\c\n\\endif\n";
}

my $cases = 0;
my $ends_sessions = $node->safe_psql($db, q(SELECT current_setting('server_version_num')::int >= 170000)) eq 't';

sub run_cases
{
	my (@cases) = @_;
	my %said;

	$_->{n} = ++$cases for @cases;
	while (my @some = splice @cases, 0, 100)
	{
		my ($client) = run_clients($node, $db, [ join '', "LOAD 'credits';\n", map { script_of($_) } @some ]);

		$said{$1}{$2} = $3 while $client->{out} =~ /^= (\d+) (\w+) (.*)$/mg;
		$_->{said} = $said{ $_->{n} } for @some;
		$_->{errors} = $client->{err} for $some[0];

		# From 17 on, PostgreSQL itself ends a session that has no memory to begin a
		# subtransaction (BeginInternalSubTransaction).  The cases after it come again.
		my ($ended) = grep { !defined $some[$_]{said}{done} } 0 .. $#some;
		if (defined $ended && $ends_sessions && $client->{err} =~ /FATAL:  53200: out of memory/)
		{
			$some[$ended]{was_ended} = 1;
			unshift @cases, @some[ $ended + 1 .. $#some ];
		}
	}
	return;
}

# What is wrong with a case.
sub problems
{
	my ($case) = @_;
	my ($call, $said) = @$case{qw(of said)};

	return if $case->{was_ended};
	return 'the session ended' unless defined $said->{done};
	my $was_refused = $said->{called} ne '00000';
	my @wrong = (
		$said->{called} =~ /^(?:00000|53200)$/ ? () : "it was $said->{called}",
		$said->{counted} =~ /^\d/ ? () : 'the session was in a failed transaction',
		$said->{ledger} eq 'same' || !$was_refused || $call->{is_run} && !$case->{block} ? () : 'it was refused and is half done',
		$said->{left} eq '0 0 0 on postgres' ? () : "left over: $said->{left}",
		$said->{again} eq '00000' ? () : "again it was $said->{again}",
		$said->{done} eq 't' || $call->{is_read} && $was_refused ? () : 'it is not done once');

	return map {
		"case $case->{n}, $case->{times} from $case->{first}"
		  . ($case->{cold} ? ', cold' : '')
		  . ($case->{block} ? ', in a block' : '')
		  . ($case->{batch} ? ", a batch of $case->{batch}" : '')
		  . ": $_"
	} @wrong;
}

# How many allocations each call has: cold, then warm.
my @tries = map {
	my $name = $_;
	map { { name => $name, of => $calls{$name}, cold => $_, first => 2**31 - 1, times => 1 } } 1, 0
} sort keys %calls;
run_cases(@tries);
is(join("\n", map { my $try = $_; map { "$try->{name}: $_" } problems($try) } @tries), '', 'with memory every call is done')
  or diag(map { $_->{errors} // '' } @tries);

# Places all over them, and how many allocations fail there, one after the other.
my @cases;
for my $try (@tries)
{
	my ($count) = $try->{said}{counted} =~ /^(\d+)/;
	my $wanted = ($try->{cold} ? 2 * $points / 3 : $points / 3) / ($try->{of}{is_slow} ? 3 : 1);
	my $here = min($count, int($wanted + 0.5));

	push @cases, map {
		{
			%$try{qw(name of cold)},
			first => 1 + int(($_ + rand) * $count / $here),
			times => (1, 2, 3, 5, 20)[ rand 5 ],
			block => !$try->{of}{is_alone} && rand() < 0.2
		}
	} 0 .. $here - 1;
}

# An error is copied into a batch's memory.  With so many accounts that is about to be
# full, so that the copy finds no room in it either.
my %of = map { ("$_->{name}, " . ($_->{cold} ? 'cold' : 'warm') => $_) } @tries;
my $granting = $of{'grant_many, one batch, warm'};
my ($count) = $granting->{said}{counted} =~ /^(\d+)/;
for my $batch (14, 15, 19 .. 22)
{
	push @cases, map { { %$granting{qw(name of)}, batch => $batch, first => $_, times => 3 } } int($count / 4) .. int($count / 2);
}

# A zone is looked for in a list that leaves out those that it cannot load; when it is
# found, little is left to do.
my $opening = $of{'open_account, a zone, cold'};
($count) = $opening->{said}{counted} =~ /^(\d+)/;
push @cases, map { { %$opening{qw(name of cold)}, first => $_, times => 1 } } $count - 5 .. $count;
run_cases(@cases);
my (%all, %refused, %problems);
for my $case (@cases)
{
	my $name = $case->{name};

	$all{$name}++;
	$refused{$name} += ($case->{said}{called} // '') eq '53200';
	push @{ $problems{$name} }, problems($case);
}
is(join("\n", grep { defined } @{ $problems{$_} }[ 0 .. 9 ]), '', "$_: without memory $all{$_} times, $refused{$_} refused") for sort keys %calls;
cmp_ok(sum(values %refused), '>', @cases / 2, sum(values %refused) . ' of ' . @cases . ' were refused');

# --- Loading the library.  What LOAD itself says, even FATAL, is PostgreSQL's, but
# a session that goes on can load it.

my @loads = map {
	"SELECT fail_malloc($_, 1) \\g /dev/null\nLOAD 'credits';\n\\echo = loaded :SQLSTATE\n"
	  . "SELECT credits_balance('ann') \\g /dev/null\n\\echo = called :SQLSTATE\n"
} 1 .. 60;
my @wrong;
while (my @some = splice @loads, 0, 20)
{
	push @wrong, map { "$_->{out}$_->{err}" } grep { $_->{out} =~ /^= called (?!00000)/m } run_clients($node, $db, \@some);
}
is(join("\n", @wrong), '', 'a library that was not loaded for want of memory is loaded then');

# --- What is left.

unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|terminated by signal|server process .* exited/, 'nothing crashed');
is_clean($node, $db);
is($node->safe_psql($db, 'SELECT * FROM credits_verify_anchor()'), '', 'anchors verify');
done_testing();
