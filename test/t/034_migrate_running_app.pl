# docs/migration.md, executed: a generated Prisma application moves to the extension while
# it runs.  The server is killed in the middle of the move; then the application is rolled
# back, and moved again.  Every user is compared, each time.  CREDITS_USERS is the number of
# users (20000); the time that it took is printed.
use strict;
use warnings FATAL => 'all';

use FindBin;
use Test::More;
use Time::HiRes ();

use CreditsTest;
use PostgreSQL::Test::Utils;

my $users = $ENV{CREDITS_USERS} // 20_000;
my $big = $users > 100_000;
my $root = "$FindBin::RealBin/../..";
my $db = 'app_db';

# The blocks of the page, by the number of their step.
my %blocks;
my $step;
open my $fh, '<', "$root/docs/migration.md" or die "docs/migration.md: $!";
my $page = do { local $/; <$fh> };
close $fh;
while ($page =~ /^(?:## (\d)\.|```sql\n(.*?)^```$)/msg)
{
	if (defined $1) { $step = $1 }
	else { push @{ $blocks{$step} }, $2 }
}
is_deeply([ map { scalar @{ $blocks{$_} } } sort keys %blocks ], [ 4, 1, 2, 3, 3, 1 ],
	'the page has the blocks that are executed here');

my $node = new_server(
	'import',
	clock => '2026-03-15 12:00:00+00',
	conf => "restart_after_crash = on\nautovacuum = on\n"
	  . ($big ? "shared_buffers = 512MB\nmax_wal_size = 8GB\nmaintenance_work_mem = 256MB\n" : ''));
$node->safe_psql('postgres', "CREATE DATABASE $db; CREATE ROLE app LOGIN");

# The application: a third of the users have a month that is over, some two; users
# of every kind of id; two history rows each.
$node->safe_psql(
	$db, qq(
CREATE TABLE "User" (
    id text PRIMARY KEY, plan text NOT NULL DEFAULT 'free', "monthlyCredits" int NOT NULL DEFAULT 100,
    "purchasedCredits" int NOT NULL DEFAULT 0, "lastMonthlyReset" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "CreditHistory" (
    id serial PRIMARY KEY, "userId" text NOT NULL REFERENCES "User", amount int NOT NULL, type text NOT NULL,
    description text, "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
SELECT setseed(0.5);
INSERT INTO "User"
SELECT CASE n % 3 WHEN 0 THEN 'c' || md5(n::text) WHEN 1 THEN 'user_' || n ELSE 'Zoë ' || n END,
       CASE WHEN n % 10 = 0 THEN 'pro' ELSE 'free' END, (random() * 100)::int,
       CASE WHEN n % 4 = 0 THEN (random() * 5000)::int ELSE 0 END,
       timestamp '2026-03-15 10:00' - random() * interval '45 days'
  FROM generate_series(1, $users) n;
INSERT INTO "CreditHistory" ("userId", amount, type, description, "createdAt")
SELECT id, -3 * n, 'usage', CASE n WHEN 1 THEN 'image' END, "lastMonthlyReset" + n * interval '1 minute'
  FROM "User", generate_series(1, 2) n;
ANALYZE;
GRANT SELECT, INSERT, UPDATE ON "User", "CreditHistory" TO app;
GRANT USAGE ON SEQUENCE "CreditHistory_id_seq" TO app;));

# What every user should have in the new ledger, said in another way than there.
my $expected = q(
SELECT id, "purchasedCredits" AS purchased, CASE WHEN "lastMonthlyReset" + interval '1 month' > '2026-03-15 12:00'
       THEN "monthlyCredits" WHEN plan = 'pro' THEN 1000 ELSE 100 END AS monthly FROM "User");

sub value { return $node->safe_psql($db, $_[0]); }

# The users that are not as they should be.
sub wrong
{
	return value(qq(
SELECT count(*) FROM ($expected) e FULL JOIN credits.credit_balance b ON b.user_id = e.id
 WHERE (b.monthly, b.purchased, b.granted, b.held, b.owed) IS DISTINCT FROM (e.monthly::bigint, e.purchased::bigint, 0::bigint, 0::bigint, 0::bigint)));
}

sub is_clean_here
{
	return is(value('SELECT * FROM credits.credits_verify()'), '', $_[0]);
}

# A block as psql runs it; its answer.
sub run_block
{
	my ($n, $i) = @_;
	my ($out, $err) = ('', '');
	my $rc = $node->psql($db, $blocks{$n}[$i], stdout => \$out, stderr => \$err, on_error_stop => 1);

	is($rc, 0, "step $n, block " . ($i + 1)) or diag($err);
	return $out;
}

sub report
{
	my ($json) = $_[0] =~ /^(\{.*\})$/m;

	return json($json // '{}');
}

# A block that imports, in a session whose backend's memory is looked at.
sub import_block
{
	my ($n, $i, $what) = @_;
	my $start = Time::HiRes::time();
	my $session = session($node, $db);
	my ($state, $out) = $session->run($blocks{$n}[$i]);
	my $seconds = Time::HiRes::time() - $start;
	my ($peak, $own) = memory($session->{pid});
	my $report = report($out);

	is($state, '00000', "step $n: $what");
	$session->quit;
	note(sprintf '%s: %d users in %.1f s, %.0f/s, peak %d MB, %d MB of its own',
		$what, $report->{accounts}, $seconds, $report->{accounts} / $seconds, $peak, $own)
	  if $report->{accounts};
	diag(sprintf '%s: %d users in %.1f s, %.0f/s, peak %d MB, %d MB of its own',
		$what, $report->{accounts}, $seconds, $report->{accounts} / $seconds, $peak, $own)
	  if $big && $report->{accounts};
	return $report;
}

# The most memory that a process ever had, shared buffers that it touched
# included, and what it has for itself now; MB.
sub memory
{
	my $status = slurp_file("/proc/$_[0]/status");

	return map { $status =~ /^$_:\s+(\d+) kB/m ? $1 / 1024 : 0 } qw(VmHWM RssAnon);
}

# What the application does meanwhile: it spends, buys and resets, for users who have
# something to spend: whose balances stay as they are is not refreshed.
my $activity = 0;

sub work
{
	$activity++;
	$node->safe_psql(
		$db, qq(
SET ROLE app;
CREATE TEMP TABLE busy AS SELECT id, row_number() OVER (ORDER BY id) AS n FROM "User" WHERE right(md5(id), 2) = '0$activity' AND "monthlyCredits" > 0;
UPDATE "User" u SET "monthlyCredits" = CASE WHEN b.n % 3 = 0 THEN 100 ELSE greatest("monthlyCredits" - 5, 0) END,
       "lastMonthlyReset" = CASE WHEN b.n % 3 = 0 THEN '2026-03-15 11:0$activity' ELSE "lastMonthlyReset" END,
       "purchasedCredits" = "purchasedCredits" + CASE WHEN b.n % 3 = 1 THEN 50 ELSE 0 END
  FROM busy b WHERE b.id = u.id;
INSERT INTO "CreditHistory" ("userId", amount, type, "createdAt") SELECT id, -5, 'usage', '2026-03-15 11:0$activity' FROM busy;
INSERT INTO "User" (id, "lastMonthlyReset") SELECT 'new_' || $activity || '_' || n, '2026-03-15 11:00' FROM generate_series(1, 5) n;
));
	return;
}

# Step 1.
run_block(1, 0);
run_block(1, 1);
is(run_block(1, 2), '', 'nobody cannot be imported');
my $report = report(run_block(1, 3));
is("$report->{accounts} $report->{failures} $report->{difference}", "$users 0 0", 'the rehearsal imports all');
is(value('SELECT (SELECT count(*) FROM credits.credit_account) + (SELECT count(*) FROM credits.credit_history)'),
	'0', '... and keeps nothing');

# Step 2: a DBA's trigger has the import wait at the user in the middle.  Then the
# server is killed.
my ($middle) = value(qq(SELECT id FROM "User" ORDER BY id COLLATE "C" OFFSET $users / 2 LIMIT 1));
my $other = session($node, $db);
$node->safe_psql($db, qq(
CREATE FUNCTION wait_there() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
CREATE TRIGGER wait_there AFTER INSERT ON credits.credit_account FOR EACH ROW WHEN (NEW.user_id = '$middle') EXECUTE FUNCTION wait_there()));
$other->do('SELECT pg_advisory_lock(1)');
my $start = Time::HiRes::time();
my ($import) = start_clients($node, $db, [ $blocks{2}[0] ]);
my $pid;
poll_until(
	sub {
		$pid = value(q(SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%credits_import%'));
		return $pid =~ /^\d+$/;
	},
	'the import to be half-way') or die 'the import did not come half-way';
my $half = value('SELECT count(*) FROM credits.credit_account');
my $seconds = Time::HiRes::time() - $start;
my ($peak, $own) = memory($pid);
my $half_says = sprintf 'half: %d users in %.1f s, %.0f/s, peak %d MB, %d MB of its own', $half, $seconds,
  $half / $seconds, $peak, $own;
note($half_says);
diag($half_says) if $big;
cmp_ok($half, '>', $users * 0.4, 'half of the users are there');
is(system_log('pg_ctl', 'kill', 'KILL', $pid), 0, '... when the server is killed');
wait_client($import);
isnt($import->{err}, '', 'the import did not come to its end');
eval { $other->quit };
poll_until(sub { my ($out, $err); return eval { $node->psql($db, 'SELECT 1', stdout => \$out, stderr => \$err) == 0 } },
	'the server to come back');
is(value('SELECT count(*) FROM credits.credit_account'), $half, 'what was committed is there');
$node->safe_psql($db, 'DROP TRIGGER wait_there ON credits.credit_account; DROP FUNCTION wait_there');
is_clean_here('... and verifies');
$report = import_block(2, 0, 'resumed');
is_deeply([ @$report{qw(already accounts skipped failures difference more)} ],
	[ $half, $users - $half, 0, 0, 0, JSON::PP::false ], 'the import goes on where it was');
is("$report->{source_credits} $report->{target_credits}",
	value(qq(SELECT (SELECT sum("monthlyCredits" + "purchasedCredits") FROM "User") || ' ' || (SELECT sum(monthly + purchased) FROM ($expected) e))),
	'its totals are the source\'s and the target\'s, to the credit');
is(wrong(), '0', 'every user has what they should have');
is(value(q(SELECT count(*) FROM credits.credit_history WHERE kind = 'imported')), 2 * $users, 'the histories are there');
is(value(q(
SELECT count(*) FROM "CreditHistory" o FULL JOIN credits.credit_history h
    ON h.kind = 'imported' AND h.user_id = o."userId" AND h.effective_at = o."createdAt" AT TIME ZONE 'UTC'
 WHERE coalesce(h.kind, 'imported') = 'imported' AND (h.amount, h.reason, h.metadata) IS DISTINCT FROM (o.amount::bigint, o.description, jsonb_build_object('type', o.type)))),
	'0', '... row by row');
is_clean_here('all of it verifies');

# Step 3.
is(run_block(3, 0), '', 'old and new agree');
work();
isnt($node->safe_psql($db, 'SELECT difference FROM migration.compare WHERE difference IS NOT NULL LIMIT 1'),
	'', 'the application goes on: they differ');
my $out = run_block(3, 1);
$report = report($out);
cmp_ok($report->{accounts}, '>', 5, 'a refresh brings who has changed');
is($report->{skipped} + $report->{failures} + $report->{difference}, 0, '... all of them');
is($out =~ s/^\{.*\}\n?//mr, '', '... and then old and new agree, and verify');
is(wrong(), '0', '... by every user');
is(value(q(SELECT count(*) FROM credits.credit_history WHERE kind = 'imported')),
	value('SELECT count(*) FROM "CreditHistory"'), 'the newer history has come too');

# Step 4.
sub cut_over
{
	work();
	run_block(4, 0);
	for my $sql (q(UPDATE "User" SET "monthlyCredits" = 1), q(INSERT INTO "User" (id) VALUES ('late')),
		q(INSERT INTO "CreditHistory" ("userId", amount, type) VALUES ('user_1', 1, 'x')))
	{
		is_outcome($node, $db, "SET ROLE app; $sql", 'P0001', 'the old tables are closed');
	}
	my $answer = run_block(4, 1);
	my $said = report($answer);
	my ($sums) = $answer =~ /^(\d+\|\d+\|\d+)\z/m;

	is($said->{skipped} + $said->{failures} + $said->{difference}, 0, 'the last refresh brings all');
	like($sums // '', qr/^(\d+)\|\1\|/, '... the totals agree');
	is($answer =~ s/^\{.*\}\n//mr, $sums, '... and no user differs');
	is(wrong(), '0', '... by every user');
	run_block(4, 2);
	is_outcome($node, $db, q(SET ROLE app; BEGIN; INSERT INTO "User" (id) VALUES ('late'); ROLLBACK), '00000',
		'sign-ups go on');
	return;
}
cut_over();

# The new version is at work: it spends, buys, holds and asks for a key again.
$node->safe_psql(
	$db, q(
SET ROLE app;
SELECT credits.credits_add_purchased('user_1', 70, 'pay_1');
SELECT credits.credits_deduct('user_1', 7, 'image', 'req_1');
SELECT credits.credits_deduct('user_1', 7, 'image', 'req_1');
SELECT credits.credits_hold('user_4', 1) WHERE (credits.credits_balance('user_4') ->> 'available')::int > 0;
));
my $spent = value(q(SELECT monthly + purchased FROM credits.credit_balance WHERE user_id = 'user_1'));
my $total = value('SELECT sum(monthly + held_monthly + purchased + held_purchased) FROM credits.credit_account a');

# Step 5.
is(run_block(5, 0) =~ s/^\{.*\}$|^\d+$|^\{.*\}\|\{.*\}$//mgr =~ s/\n//gr, '', 'nothing is lost');
is_outcome($node, $db, q(SET ROLE app; SELECT credits.credits_deduct('user_1', 1)), '42501', 'the new version is out of service');
run_block(5, 1);
is(value(q(SELECT "monthlyCredits" + "purchasedCredits" FROM "User" WHERE id = 'user_1')), $spent,
	'what was bought and spent here is in the old tables');
is(value(q(SELECT string_agg(type || ' ' || amount, ', ' ORDER BY id) FROM "CreditHistory" WHERE "userId" = 'user_1' AND type <> 'usage')),
	'purchase 70, deduct -7', '... with its history');
is(wrong(), '0', 'old and new agree again');
my $undo = Time::HiRes::time();
my @said = split /\n/, run_block(5, 2);
note(sprintf 'undone in %.1f s', Time::HiRes::time() - $undo);
diag(sprintf 'undone, adjusted and verified in %.1f s', Time::HiRes::time() - $undo) if $big;
is($said[-1], $users + 10 . '|0|0', 'undone, nobody has anything');
is(value(q(
SELECT count(*) FROM credits.credit_history i
 WHERE kind = 'import' AND NOT EXISTS (SELECT FROM credits.credit_history u WHERE u.user_id = i.user_id AND u.kind = 'undo' AND u.ref_seq = i.seq))),
	'0', 'every import has its compensation');
is(value(q(SELECT count(*) FROM credits.credit_account WHERE plan IS NOT NULL OR next_reset_at IS NOT NULL OR granted + held_monthly + held_granted + held_purchased + owed_monthly + owed_purchased <> 0)),
	'0', '... and nothing else remains');
is_outcome($node, $db, q(SET ROLE app; UPDATE "User" SET "monthlyCredits" = "monthlyCredits" WHERE id = 'user_1'),
	'00000', 'the old version runs again');

# The second attempt, from step 2 on.
$report = import_block(2, 0, 'again');
is($report->{difference} + $report->{failures} + $report->{skipped}, 0, 'the same again: all are imported');
is(wrong(), '0', '... every user');
run_block(3, 0);
run_block(3, 1);
cut_over();
is_clean_here('all of it verifies');

# Two imports at once do what one does.
work() if eval { value('DROP FUNCTION migration.refuse() CASCADE'); 1 };
my @both = run_clients($node, $db, [ ($blocks{3}[1]) x 2 ], barrier => 1);
my @reports = map { report($_->{out}) } @both;
# What one leaves as busy, the other has in hand.
unlike($_->{err}, qr{ERROR|WARNING|FATAL}, 'an import beside another') for @both;
is_deeply([ map { $_->{difference} + $_->{failures} + $_->{skipped} } @reports ], [ 0, 0 ], '... is complete');
is(wrong(), '0', '... and right');
is(value(q(SELECT count(*) FROM (SELECT user_id FROM credits.credit_history WHERE kind IN ('import', 'undo') GROUP BY user_id
    HAVING count(*) FILTER (WHERE kind = 'import') <> count(*) FILTER (WHERE kind = 'undo') + 1) x)),
	'0', 'nobody was imported twice');

# Step 6.
run_block(6, 0);
is(value(q(SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'credits%' AND tgrelid = '"User"'::regclass)), '0',
	'nothing is left in the old tables');
is_clean_here('all of it verifies');
done_testing();
