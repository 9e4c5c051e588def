# docs/runbook-verification.md: every finding that the sources have is in it, and
# what it says to do, done with the page's own commands, mends what was damaged.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Cwd;
use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $page = slurp_file("$root/docs/runbook-verification.md");

# The findings of the page: what is in the first column of its tables.
my %said;
for my $row ($page =~ /^\| (`.*?) \| /mg)
{
	$said{$_}++ for $row =~ /`([^`]+)`/g;
}
# ... but not of the last section, whose tables say where things are.
delete $said{$_} for grep { /^credit|\.md$/ } keys %said;

# The findings of the sources: texts of several words, without comments.  Each
# that is none has its reason.
my %no_finding = (
	'it needs the account\'s grants and holds' => 'makes the filter ask the judge',
	'it needs the account\'s chargebacks' => 'the same',
	'an account appeared in a snapshot' => 'elog',
	'cache lookup failed for function N' => 'elog',
	'only N of N shares were verified' => 'elog',
	'could not execute: …' => 'elog',
	'the writer of "…" is another table\'s' => 'elog',
	'credits_guard must be fired by BEFORE UPDATE, DELETE or TRUNCATE FOR EACH STATEMENT' => 'an error of a trigger that somebody made',
	'credits_drop_guard must be fired on ddl_command_start' => 'the same',
	'the event trigger ' => 'a warning that it was not repaired',
	'Only a superuser can repair it.' => 'a hint');
my %has;
for my $file (map { glob "$root/src/$_" }
	qw(verify/judge.c verify/anchor_check.c verify/archive_check.c verify/filter.c verify/judge_lots.c verify/verify_structure.c verify/parallel.c core/place.c core/replay.c admin/guards.c admin/drop_guard.c tables/anchor_rows.c tables/checkpoint.c tables/rows.c tables/lot_rows.c tables/archive_partitions.c store/relations.h))
{
	my $source = slurp_file($file) =~ s{/\*.*?\*/}{}gsr;
	my $piece = qr/(?:"(?:[^"\\\n]|\\.)*"|INT64_FORMAT)/;

	for my $pieces ($source =~ /($piece(?:\s+$piece)*)/g)
	{
		my $text = join '', map { $_ eq 'INT64_FORMAT' ? 'N' : substr($_, 1, -1) } $pieces =~ /$piece/g;
		$text =~ s/\\"/"/g;
		$text =~ s/%[du]/N/g;
		$text =~ s/%s/…/g;
		next if $text !~ /[a-z] [A-Za-z]/ || $text =~ /^credits |^ |^(?:DROP|CREATE|ALTER|SELECT|REVOKE|BEFORE|ON|WHEN|EXECUTE|COMMENT) /;
		$has{$text} = $file;
	}
}
for my $file (glob "$root/src/*/*.c")
{
	next if $file =~ m{base/zone\.c$};
	for my $arguments (slurp_file($file) =~ /error_corrupted\(([^;]*)\);/g)
	{
		$has{$_} = $file for grep { / / && !/^, / } $arguments =~ /"([^"]*)"/g;
	}
}
utf8::decode($page);
%said = map { my $x = $_; utf8::decode($x); ($x => 1) } keys %said;
{
	my %want = %has;
	%want = map { my $x = $_; utf8::decode($x) if $x =~ /[^\x00-\x7f]/; ($x => 1) } keys %want;
	my %not = map { my $x = $_; utf8::decode($x) if $x =~ /[^\x00-\x7f]/; ($x => 1) } keys %no_finding;
	delete @want{ keys %not };
	cmp_ok(scalar(keys %want), '>', 120, 'the sources have findings');
	is(join("\n", grep { !$said{$_} } sort keys %want), '', 'every finding has an entry in the runbook');
	is(join("\n", grep { !$want{$_} } sort keys %said), '', 'every entry is a finding');
}

# What the page has to be run under a heading, in order: [ language, text ].
sub blocks
{
	my ($heading) = @_;

	my ($section) = $page =~ /^#+ \Q$heading\E\n(.*?)(?=^#+ |\z)/ms or die "no section '$heading'";
	my @blocks;
	push @blocks, [ $1, $2 ] while $section =~ /^```(sh|sql)\n(.*?)^```$/msg;
	return @blocks ? @blocks : die "nothing to run under '$heading'";
}

my $node = new_server('runbook', clock => '2026-01-10 12:00:00+00', conf => "fsync = off\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGUSER} = 'postgres';

# Does what stands under a heading; the page's example values may be exchanged.
sub follow
{
	my ($heading, %instead) = @_;

	return follow_blocks($heading, [ blocks($heading) ], %instead);
}

sub follow_blocks
{
	my ($heading, $blocks, %instead) = @_;
	my $out = '';
	my %seen;

	for my $block (@$blocks)
	{
		my ($language, $text) = @$block;

		for my $old (sort keys %instead)
		{
			$seen{$old} += $text =~ s/\Q$old\E/$instead{$old}/g;
		}
		open my $fh, '>:encoding(UTF-8)', "$dir/block" or die $!;
		print $fh $text;
		close $fh;
		my ($stdout, $stderr);
		my $here = getcwd();
		chdir $dir or die $!;
		my $ok = IPC::Run::run($language eq 'sh' ? [ 'bash', '-e', 'block' ] : [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', 'app', '-f', 'block' ],
			'>', \$stdout, '2>', \$stderr);
		chdir $here or die $!;
		ok($ok, "$heading: its commands run") or diag("$text\n$stdout\n$stderr");
		$out .= $stdout . $stderr;
	}
	is_deeply([ grep { !$seen{$_} } sort keys %instead ], [], "$heading: it has what was exchanged") if %instead;
	return $out;
}

sub sql { return $node->safe_psql('app', join(";\n", @_)) }

sub findings { return sql(q(SELECT concat_ws('|', object, bad_user_id, bad_seq, problem) FROM credits_verify())) }

# Somebody who can: with the guards off, and then back.
sub damage
{
	my ($table, @statements) = @_;

	sql("ALTER TABLE $table DISABLE TRIGGER credits_guard", @statements, "ALTER TABLE $table ENABLE ALWAYS TRIGGER credits_guard");
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE app');
sql(
	'CREATE EXTENSION credits',
	q(SELECT credits_define_plan('free', 100), credits_define_plan('pro', 500)),
	q(SELECT credits_open_account(u, 'free'), credits_add_purchased(u, 50, 'pay ' || u) FROM unnest('{user_2abc,other,third}'::text[]) u),
	q(SELECT credits_deduct('user_2abc', 7, 'image', 'k1')),
	q(SELECT credits_grant('user_2abc', 30, '2026-06-01')),
	q(SELECT credits_deduct('user_2abc', 100, 'images')),
	q(SELECT credits_hold('user_2abc', 4, '5 days')),
	q(SELECT credits_deduct('other', 1)),
	q(SELECT credits_revoke_purchase('pay third', 10)),
	'SELECT credits_anchor()');
is(findings(), '', 'a clean ledger');
{
	my $here = getcwd();
	chdir $dir or die $!;
	system_or_bail('pg_dump', '-Fc', '-f', 'app.dump', 'app');
	chdir $here or die $!;
}

# The ledger goes on: of one user, and what is there must stay.
sql(q(SET credits.clock = '2026-01-11 12:00:00+00'), q(SELECT credits_deduct('other', 2)), q(SELECT credits_define_plan('new', 7)), q(SELECT credits_anchor()));
my $contents = q(SELECT md5(string_agg(t, '' ORDER BY t)) FROM (
    SELECT (a - 'next_event_at')::text FROM credit_account x, to_jsonb(x) a UNION ALL SELECT h::text FROM credit_history h UNION ALL SELECT p::text FROM credit_plan p
    UNION ALL SELECT p::text FROM credit_payment p UNION ALL SELECT g::text FROM credit_grant g UNION ALL SELECT o::text FROM credit_hold o
    UNION ALL SELECT a::text FROM credit_anchor a UNION ALL SELECT l::text FROM credit_anchor_leaf l) x(t));
my $before = sql($contents);

my ($simply, $in_sections) = blocks('Restore a dump beside it');
like(follow_blocks('Restore a dump beside it', [$simply]), qr/\(0 rows\)/, 'the copy is clean');

# With a column of a DBA's, for which the simple way has no place.
{
	sql('CREATE SCHEMA own', 'CREATE TABLE own.fired (id text)', q(ALTER TABLE credit_account ADD COLUMN region text DEFAULT 'eu'));
	my $here = getcwd();
	chdir $dir or die $!;
	rename 'app.dump', 'without.dump' or die $!;
	system_or_bail('pg_dump', '-Fc', '-f', 'app.dump', 'app');
	system_or_bail('dropdb', 'app_restored');
	system_or_bail('createdb', 'app_restored');
	ok(!IPC::Run::run([ 'pg_restore', '-d', 'app_restored', 'app.dump' ], '2>', \my $stderr), 'a column of one\'s own: the simple way fails');
	like($stderr, qr/column "region" of relation "credit_account" does not exist/, '... as the page says');
	is($node->safe_psql('app_restored', 'SELECT count(*) FROM credit_account'), 0, '... and the table is empty');
	chdir $here or die $!;
	like(follow_blocks('Restore a dump beside it', [$in_sections]), qr/\(0 rows\)/, '... but not in sections');
	is($node->safe_psql('app_restored', q(SELECT count(*) FROM credit_account WHERE region = 'eu')), 3, '... with the column');
	sql('ALTER TABLE credit_account DROP COLUMN region');
	rename "$dir/without.dump", "$dir/app.dump" or die $!;
	system_or_bail('dropdb', 'app_restored');
	follow_blocks('Restore a dump beside it', [$simply]);
}

# name, table, damage, the finding, what to do
my $repairs = sql(q(SELECT count(*) FROM credit_audit_log WHERE action = 'repair_guards'));
for my $case (
	[ 'a row changed', 'credit_history', [q(UPDATE credit_history SET amount = 1 WHERE user_id = 'user_2abc' AND seq = 3)],
		'credit_history|user_2abc|3|hash does not fit the row and the hash before it', 'Put one row back' ],
	[ 'a row gone', 'credit_history', [q(DELETE FROM credit_history WHERE user_id = 'user_2abc' AND seq = 3)],
		'credit_history|user_2abc|4|seq has a gap', 'Put one row back' ],
	[ 'a row of a user who went on', 'credit_history', [q(UPDATE credit_history SET purchased = 1 WHERE user_id = 'other' AND seq = 2)],
		'credit_history|other|2|hash does not fit the row and the hash before it', 'Put one row back', "'user_2abc'" => "'other'", '\set user user_2abc' => '\set user other', '\set seq 3' => '\set seq 2' ],
	[ 'a payment gone', 'credit_payment', [q(DELETE FROM credit_payment WHERE user_id = 'third')],
		'credit_history|third|2|its payment is missing from credit_payment', 'Put one row back',
		'\set table credit_history' => '\set table credit_payment', 'table=credit_history' => 'table=credit_payment', "'user_2abc'" => "'third'", '\set user user_2abc' => '\set user third', '\set seq 3' => '\set seq 2' ],
	[ 'a revocation changed', 'credit_payment', [q(UPDATE credit_payment SET revoked = 0 WHERE user_id = 'third')],
		'credit_payment|third|2|revoked or reported is not what the history gives', 'Put one row back',
		'\set table credit_history' => '\set table credit_payment', 'table=credit_history' => 'table=credit_payment', "'user_2abc'" => "'third'", '\set user user_2abc' => '\set user third', '\set seq 3' => '\set seq 2' ],
	[ 'a grant changed', 'credit_grant', [q(UPDATE credit_grant SET remaining = 29)],
		'credit_grant|user_2abc|4|remaining is not what the history gives', 'Put one row back',
		'\set table credit_history' => '\set table credit_grant', 'table=credit_history' => 'table=credit_grant', '\set seq 3' => '\set seq 4' ],
	[ 'a hold gone', 'credit_hold', [q(DELETE FROM credit_hold)],
		'credit_hold|user_2abc|a row that the history opened is missing', 'Put one row back',
		'\set table credit_history' => '\set table credit_hold', 'table=credit_history' => 'table=credit_hold', '\set seq 3' => '\set seq 6' ],
	[ 'a balance changed', 'credit_account', [q(UPDATE credit_account SET purchased = purchased + 1000 WHERE user_id = 'other')],
		'credit_account|other|4|purchased is not what the history gives', q(Make the account's row anew), 'user_2abc' => 'other' ],
	[ 'an account gone', 'credit_account', [q(DELETE FROM credit_account WHERE user_id = 'user_2abc')],
		'credit_history|user_2abc|the history has no account', q(Make the account's row anew) ],
	[ 'an account gone with all it had', 'credit_account',
		[ map { ("ALTER TABLE $_ DISABLE TRIGGER credits_guard", "DELETE FROM $_ WHERE user_id = 'user_2abc'", "ALTER TABLE $_ ENABLE ALWAYS TRIGGER credits_guard") } qw(credit_history credit_payment credit_grant credit_hold credit_account) ],
		'credit_history|user_2abc|6|the row that anchor 1 has is missing', 'Put one account back' ],
	[ 'a plan changed', 'credit_plan', [q(UPDATE credit_plan SET monthly_credits = 1000 WHERE plan = 'pro')],
		"credit_plan|pro|1|the audit log does not define it so", 'Put plans, audit log or anchors back' ],
	[ 'a row of the audit log gone', 'credit_audit_log', ['DELETE FROM credit_audit_log WHERE seq = 2'],
		'credit_audit_log|3|seq has a gap', 'Put plans, audit log or anchors back',
		'\set table credit_plan' => '\set table credit_audit_log', q(\set key 'plan, version') => '\set key seq', 'table=credit_plan' => 'table=credit_audit_log' ],
	[ 'a leaf changed', 'credit_anchor_leaf', [q(UPDATE credit_anchor_leaf SET seq = 1 WHERE user_id = 'other' AND anchor_no = 1)],
		'credit_history|other|1|it is not the row that anchor 1 has', 'Put plans, audit log or anchors back',
		'\set table credit_plan' => '\set table credit_anchor_leaf', q(\set key 'plan, version') => q(\set key 'user_id, anchor_no'), 'table=credit_plan' => 'table=credit_anchor_leaf' ])
{
	my ($name, $table, $damage, $finding, $heading, %instead) = @$case;

	damage($table, @$damage);
	like(findings(), qr/^\Q$finding\E/m, "$name: found");
	follow($heading, %instead);
	is(findings(), '', "$name: mended");
	is(sql($contents), $before, '... to what it was, and what came later stayed');
	is(sql(q(SELECT count(*) FROM credit_audit_log WHERE action = 'repair_guards')), ++$repairs, '... and the audit log says that guards were off');
}

# What is not enough is taken back.
damage('credit_history', q(UPDATE credit_history SET amount = 1 WHERE user_id = 'user_2abc' AND seq IN (3, 5)));
like(follow('Put one row back'), qr/not clean yet: nothing was changed/, 'two rows, one put back: it says so');
like(findings(), qr/^\Qcredit_history|user_2abc|3|\E/, '... and has changed nothing');
follow('Put one row back', 'AND seq = :seq' => 'AND seq BETWEEN 3 AND 5');
is(findings(), '', 'both: clean');

# A trigger of a DBA's fires for rows that are put back, unless it is disabled meanwhile.
{
	my ($off, $on) = $page =~ /`(ALTER TABLE credit_history DISABLE TRIGGER notify_app)` and `(ALTER TABLE credit_history ENABLE TRIGGER notify_app)`/ or die 'the page has no such trigger';
	my $damage = q(UPDATE credit_history SET amount = 1 WHERE user_id = 'user_2abc' AND seq = 3);

	sql(q(CREATE FUNCTION own.notify_app() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO own.fired VALUES (NEW.user_id); RETURN NULL; END$$),
		'CREATE TRIGGER notify_app AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION own.notify_app()');
	damage('credit_history', $damage);
	follow('Put one row back');
	is(sql('SELECT count(*) FROM own.fired'), 1, 'a trigger of a DBA fires for a row that is put back');
	damage('credit_history', $damage);
	follow('Put one row back', 'BEGIN;' => "BEGIN;\n$off;", 'COMMIT;' => "$on;\nCOMMIT;");
	is(sql('SELECT count(*) FROM own.fired'), 1, '... and not if it is disabled in the same transaction');
	is(sql(q(SELECT tgenabled FROM pg_trigger WHERE tgname = 'notify_app')), 'O', '... which enables it again');
	sql('DROP TRIGGER notify_app ON credit_history');
	is(findings(), '', '... and all is clean');
}

# A bad plan makes the rows of its accounts look bad, until it is mended itself.
{
	damage('credit_plan', q(UPDATE credit_plan SET monthly_credits = 99 WHERE plan = 'free'));
	like(findings(), qr/^credit_history\|$_\|/m, "a bad plan makes the account of $_ look bad") for qw(user_2abc other third);
	follow('Put plans, audit log or anchors back');
	is(findings(), '', '... and all are clean when the plan is');
}

# Guards, and what exposes tables.
sql('ALTER TABLE credit_hold DISABLE TRIGGER credits_guard', 'ALTER EVENT TRIGGER credits_drop_guard DISABLE');
isnt(findings(), '', 'guards off: found');
follow('Put the guards back');
is(findings(), '', 'guards off: mended');
sql('ALTER TABLE credit_account ENABLE ROW LEVEL SECURITY', 'CREATE TABLE child () INHERITS (credit_account)');
is(findings(), 'credit_account|row security is on, which hides rows from auditors', 'row security: found');
sql('ALTER TABLE credit_account DISABLE ROW LEVEL SECURITY');
is(findings(), 'credit_account|the table has a child, whose rows show in it', 'a child: found');
follow('End what exposes a table');
is(findings(), '', 'exposed: mended');
follow('Build the indexes anew');
sql('CREATE TABLE own.credit_history_archive_2001 PARTITION OF credit_history_archive (PRIMARY KEY (user_id, seq)) FOR VALUES FROM (\'2001-01-01Z\') TO (\'2002-01-01Z\')',
	'CREATE TABLE own.credit_history_archive_2002 PARTITION OF credit_history_archive FOR VALUES FROM (\'2002-01-01Z\') TO (\'2003-01-01Z\')');
is(findings(), "credit_history_archive_2001|the partition is not credit_history_archive_YYYY of the extension's schema\n"
	  . 'credit_history_archive_2002|the partition has no primary key (user_id, seq)', 'years in another schema: found');
follow('Bring a year of the archive back');
is(findings(), '', 'years in another schema: mended');
is_outcome($node, 'app', 'DELETE FROM credit_history_archive_2001', 'UC007', '... and guarded');
sql(map { "SELECT credits_drop_archive('credit_history_archive_$_', 0)" } 2001, 2002);
is(sql($contents), $before, 'all of it is as it was');

# The first steps, and the record.
sql(q(ALTER DATABASE app SET credits.clock = '2026-01-12 12:00:00+00'));
damage('credit_account', q(UPDATE credit_account SET monthly = 0 WHERE user_id = 'third'));
my $told = follow('Before anything else');
like(slurp_file("$dir/findings.txt"), qr/monthly is not what the history gives/, 'first: the findings are kept');
like($told, qr/monthly is not what the history gives/, '... and in the record of verifications');
follow(q(Make the account's row anew), 'user_2abc' => 'third');
is(findings(), '', 'clean at the end');

# Where calls send one that meet damage.
sql(q(ALTER TABLE credit_plan DISABLE TRIGGER credits_guard), q(ALTER TABLE credit_plan DROP CONSTRAINT credit_plan_cycle), q(UPDATE credit_plan SET cycle = 'hourly' WHERE plan = 'pro'));
my (undef, $error) = is_outcome($node, 'app', q(SELECT credits_open_account('fourth', 'pro')), 'UC008', 'a call that meets damage');
like($error, qr/HINT: .*docs\/runbook-verification\.md/, '... points to the runbook');

$node->stop;
done_testing();
