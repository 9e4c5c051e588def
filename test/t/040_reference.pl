# The documentation says what is: docs/reference.md is compared with the catalog,
# with the sources and with what calls really answer, in both directions.  The
# README's quick start and the pages that go on from it are run, and must give
# what they show.  Links lead somewhere, the README names every page and folder,
# the figures of speed were measured, and the tests that CONTRIBUTING.md and
# test/README.md name are there.
use strict;
use warnings FATAL => 'all';

use FindBin;
use Test::More;

use CreditsTest;

my $root = "$FindBin::RealBin/../..";
my $reference = read_text("$root/docs/reference.md");
my $readme = read_text("$root/README.md");

sub read_text
{
	my ($file) = @_;

	open my $fh, '<:encoding(UTF-8)', $file or die "$file: $!";
	local $/;
	return scalar <$fh>;
}

# The text between a heading and the next one of the same or a higher level.
sub section
{
	my ($text, $heading) = @_;
	my $depth = length(($heading =~ /^(#+)/)[0]);

	return $1 if "$text\n# \n" =~ /^\Q$heading\E\n(.*?)(?=^#{1,$depth} )/ms;
	fail("there is a section '$heading'");
	return '';
}

# The sections below a heading, by their own headings, one level down.
sub sections
{
	my ($text, $heading) = @_;
	my $body = section($text, $heading);
	my ($level) = $heading =~ /^(#+)/;

	return { map { $_ => section($body, "$level# $_") } $body =~ /^$level# (.*)$/mg };
}

# The rows of a section's only Markdown table, each a hash by column.  In the
# cells, ` and surrounding blanks are taken away.
sub table
{
	my ($text) = @_;
	my @lines = $text =~ /^\|(.*)\|$/mg;
	my @rows = map { [ map { s/^\s+|\s+$//gr =~ s/`//gr } split /\|/, $_, -1 ] } @lines;
	my $head = shift @rows;

	shift @rows;
	return map { my $row = $_; +{ map { $head->[$_] => $row->[$_] } 0 .. $#$head } } @rows;
}

# Compare two sets: what is only here, what is only there.
sub is_same_set
{
	my ($got, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %got = map { $_ => 1 } @$got;
	my %expected = map { $_ => 1 } @$expected;
	my @extra = grep { !$expected{$_} } sort keys %got;
	my @missing = grep { !$got{$_} } sort keys %expected;

	ok(@$expected && !@extra && !@missing && @$got == keys %got, $test)
	  or diag(
		(map { "only in the documentation: $_\n" } @extra),
		(map { "not in the documentation: $_\n" } @missing),
		@$got > keys %got ? "listed more than once\n" : ());
	return;
}

# Types and defaults as the documentation writes them.
sub plain
{
	my ($text) = @_;

	for ($text)
	{
		s{NULL::(?:timestamp with(?:out)? time zone|double precision|\w+)(?:\[\])?}{NULL}g;
		s/timestamp with time zone/timestamptz/g;
		s/timestamp without time zone/timestamp/g;
		s/\s+/ /g;
		s/ ?([()]) ?/$1/g;
		s/^ | $//g;
	}
	return $text;
}

my $node = new_server('reference', clock => '2026-01-15 12:00:00+00', conf => "shared_preload_libraries = 'credits'\n");
my $db = 'postgres';

# What the extension owns.
my $owned = q(d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND
              d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'credits'));
my %routine = map { $_->[0] => { signature => plain($_->[1]), comment => $_->[2], kind => $_->[3] } }
  rows(
	$node, $db, qq(
SELECT proname, format('%s%s(%s)%s', CASE prokind WHEN 'p' THEN 'PROCEDURE ' ELSE '' END, proname,
                       pg_get_function_arguments(p.oid), ' RETURNS ' || pg_get_function_result(p.oid)),
       obj_description(p.oid, 'pg_proc'), prokind
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid WHERE $owned));
my %relation = map { $_->[0] => $_->[1] } rows(
	$node, $db, qq(
SELECT relname, relkind FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
 WHERE $owned AND relkind NOT IN ('i', 't')));

# Functions.
my $functions = sections($reference, '## Functions');
my $error_text = section($reference, '## Errors');
my @errors = table($error_text);
my %error = map { $_->{SQLSTATE} => $_ } @errors;

is_same_set([ keys %$functions ], [ keys %routine ], 'every function has its section');
for my $name (sort keys %$functions)
{
	my ($signature) = $functions->{$name} =~ /\A\n```\n(.*?)^```$/ms;

	next unless $routine{$name};
	is(plain($signature // ''), $routine{$name}{signature}, "$name: its signature");

	# What may be raised is said there, or in general; the comment agrees.
	my $code = qr/\b(?:UC\d{3}|[0-9][0-9A-Z]{4})\b/;
	my ($said) = $functions->{$name} =~ /^Errors: (.*?)(?:\n\n|\z)/ms;
	my %said = map { $_ => 1 } ($said // '') =~ /$code/g;
	my @unknown = grep { !$error{$_} } sort keys %said;
	is("@unknown", '', "$name: its errors are in the table of errors");
	$said{$_} = 1 for qw(25006 40001 42501 54000 55P03);
	my ($errors) = $routine{$name}{comment} =~ /Errors: (.*)/;
	my @unsaid = grep { !$said{$_} } ($errors // '') =~ /$code/g;
	is("@unsaid", '', "$name: ... and so are those of its comment");
}
ok(defined $functions->{credits_guard}, 'sections are read to the last');

# Tables and views.
my %documented;
for my $part ([ '## Tables', 'r', 'tables' ], [ '## Views', 'v', 'views' ])
{
	my ($heading, $kind, $what) = @$part;
	my $sections = sections($reference, $heading);

	is_same_set(
		[ keys %$sections ],
		[ grep { $relation{$_} =~ s/p/r/r eq $kind } keys %relation ],
		"$what: every one has its section");
	for my $name (sort keys %$sections)
	{
		my @documented =
		  map { "$_->{column} $_->{type} null: $_->{null}" } table($sections->{$name});
		my @actual = map { plain($_->[0]) } rows(
			$node, $db, qq(
SELECT format('%s %s null: %s', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'no' ELSE 'yes' END)
  FROM pg_attribute WHERE attrelid = '$name'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum));

		is(join("\n", @documented), join("\n", @actual), "$name: its columns, in their order");
	}
}
is(join(' ', grep { !/^[rpv]$/ } values %relation), '', 'there are tables and views only');

# Settings.
my @settings = map { "$_->{setting} $_->{type} $_->{default} $_->{context}" }
  table(section($reference, '## Settings'));
is_same_set(
	\@settings,
	[
		map { $_->[0] } rows(
			$node, $db, q(
LOAD 'credits';
SELECT format('%s %s %L %s', name, vartype, boot_val, context) FROM pg_settings WHERE name LIKE 'credits.%')) ],
	'the settings');

# The sources: errors that they raise, kinds, audit actions.
my $sources = join '', map { read_text($_) } glob("$root/src/*.[ch] $root/src/*/*.[ch]");
my $include = `pg_config --includedir-server`;
chomp $include;
my %sqlstate;
for my $line (split /\n/, read_text("$include/utils/errcodes.h") . $sources)
{
	my ($name, $code) = $line =~ /^#define (ERRCODE_\w+)\s+MAKE_SQLSTATE\(([^)]*)\)/ or next;
	$sqlstate{$name} = $code =~ s/[', ]//gr;
}
my @raised = map { $sqlstate{$_} // "$_, which is no SQLSTATE" } $sources =~ /(?:\b(?:errcode|raise_error)\(|\{)(ERRCODE_\w+)[,)]/g;
my %raised = map { $_ => 1 } @raised;
is_same_set(
	[ map { $_->{SQLSTATE} } grep { $_->{'raised by'} eq 'credits' } @errors ],
	[ keys %raised ],
	'the errors that the sources raise');

my %reserved = map { $_ => 1 } $error_text =~ /^(UC\d{3}.*?are reserved)/ms
  ? $1 =~ /UC\d{3}/g : ();
is_same_set(
	[ keys %reserved, grep { /^UC/ } keys %error ],
	[ map { sprintf 'UC%03d', $_ } 1 .. 12 ],
	'UC001 to UC012 are listed or reserved');

# A standard error's name is the one that PostgreSQL knows it by.
for my $row (grep { $_->{SQLSTATE} !~ /^UC/ } @errors)
{
	my ($state) = outcome($node, $db, "DO \$\$BEGIN RAISE $row->{name}; END\$\$");
	is($state, $row->{SQLSTATE}, "$row->{SQLSTATE} is $row->{name}");
}

my ($kinds) = $sources =~ /kind_names\[CR_KIND_COUNT\] = \{(.*?)\}/s;
is_same_set(
	[ map { $_->{kind} } table(section($reference, '## History kinds')) ],
	[ ($kinds // '') =~ /"(\w+)"/g ],
	'the kinds of history rows');
is_same_set(
	[ map { $_->{action} } table(section($reference, '## Audit actions')) ],
	[
		split /[, .]+/,
		$node->safe_psql(
			$db,
			q(SELECT col_description('credit_audit_log'::regclass, attnum) FROM pg_attribute
			   WHERE attrelid = 'credit_audit_log'::regclass AND attname = 'action')) ],
	'the audit actions');

# Rights: every preset, granted to a role of its own, gives what the table says.
my @rights = table(section($reference, '## Rights'));
my @presets = grep { $_ ne 'object' } keys %{ $rights[0] };

is_same_set([ grep { !/\./ } map { $_->{object} } @rights ],
	[ keys %routine, keys %relation ], 'rights: every object has its row');
my (undef, $refused) = is_outcome($node, $db, q(SELECT credits_grant_role('postgres', 'no such preset')),
	'22023', 'rights: there is no other preset');
is_same_set(\@presets, [ ($refused =~ /HINT: +Use (.*)\./)[0] =~ /(?!or\b)\b(\w+)/g ],
	'rights: every preset has its column');
for my $preset (@presets)
{
	$node->safe_psql($db, "CREATE ROLE r_$preset; SELECT credits_grant_role('r_$preset', '$preset')");
	is_same_set(
		[ map { ($_->{object} =~ /^credits_/ ? 'EXECUTE' : 'SELECT') . " $_->{object}" }
			  grep { $_->{$preset} eq 'x' } @rights ],
		[
			map { $_->[0] } rows(
				$node, $db, qq(
SELECT privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END || ' ' || name
  FROM (SELECT proname AS name, proacl AS acl FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT relname, relacl FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT relname || '.' || attname, attacl FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
                   WHERE relnamespace = 'public'::regnamespace) o, aclexplode(acl)
 WHERE grantee = 'r_$preset'::regrole)) ],
		"rights: the preset $preset");
}

# Objects: the fields of what calls really answer.
my $objects = sections($reference, '## Objects that functions return');
my %type = (
	boolean => sub { JSON::PP::is_bool($_[0]) },
	number => sub { defined $_[0] && !ref $_[0] && $_[0] =~ /^-?\d+$/ },
	string => sub { defined $_[0] && !ref $_[0] },
	array => sub { ref $_[0] eq 'ARRAY' },
	object => sub { ref $_[0] eq 'HASH' },
	'object or null' => sub { !defined $_[0] || ref $_[0] eq 'HASH' },
	'string or null' => sub { !ref $_[0] });
my %seen;

# Run calls; each must answer an object of that name, with its fields.
sub answers
{
	my ($name, @sql) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @fields = table($objects->{$name} // '');
	my %field = map { $_->{field} => $_ } @fields;
	my %got;

	$seen{$name} = 1;
	for my $sql (@sql)
	{
		my $answer = json($node->safe_psql($db, $sql));

		$got{$_}++ for keys %$answer;
		for my $field (sort keys %$answer)
		{
			my $type = $field{$field} ? $field{$field}{type} : next;

			$type{$type} && $type{$type}->($answer->{$field})
			  or fail("$name: $field is of type $type: $sql");
		}
	}
	is_same_set([ map { $_->{field} } @fields ], [ keys %got ], "$name: its fields");
	is_same_set(
		[ map { $_->{field} } grep { $_->{when} eq 'always' } @fields ],
		[ grep { $got{$_} == @sql } keys %got ],
		"$name: ... and which of them are there always") if @sql > 1;
	return;
}

answers(
	'Plan receipt',
	q(SELECT credits_define_plan('free', 10)),
	q(SELECT credits_define_plan('free', 10)),
	q(SELECT credits_define_plan('pro', 100, 'anniversary', 20, 5, '2026-02-01 00:00Z')),
	q(SELECT credits_define_plan('big', 100)));
$node->safe_psql($db, q(SELECT credits_add_purchased('user_4', 3, 'payment_4')));
answers(
	'Receipt',
	q(SELECT credits_open_account('user_1', 'free', '2026-01-31 02:30', 'Europe/Berlin')),
	q(SELECT credits_open_account('user_2')),
	q(SELECT credits_add_purchased('user_1', 5, 'payment_1')),
	q(SELECT credits_add_purchased('user_1', 5, 'payment_1')),
	q(SELECT credits_deduct('user_1', 3, 'image', 'key_1', '{"a": 1}', 'spender_1')),
	q(SELECT credits_try_deduct('user_1', 3, 'image', 'key_1')),
	q(SELECT credits_adjust('user_1', 'monthly', -1, 'why')),
	q(SELECT credits_set_plan('user_1', 'big')),
	q(SELECT credits_set_plan('user_1', NULL, 'next_reset')),
	q(SELECT credits_freeze('user_1', 'why')),
	q(SELECT credits_unfreeze('user_1')),
	q(SET credits.clock = '2026-01-15 11:00Z'; SELECT credits_repair_clock('user_1')),
	q(SELECT credits_grant('user_4', 5, '2026-01-16 12:00Z')),
	q(SELECT credits_hold('user_4', 6, '2 days')),
	q(SET credits.clock = '2026-01-16 12:00Z'; SELECT credits_capture('user_4', 4, 4)),
	q(SET credits.clock = '2026-01-16 12:00Z'; SELECT credits_refund('user_4', 5)),
	q(SET credits.clock = '2026-01-16 12:00Z'; SELECT credits_hold('user_4', 1)),
	q(SET credits.clock = '2026-01-16 12:00Z'; SELECT credits_release('user_4', 7)),
	q(SET credits.clock = '2026-01-16 12:00Z'; SELECT credits_revoke_purchase('payment_4', 1)),
	q(SELECT credits_set_overdraft('user_1', 2)),
	q(BEGIN; SELECT credits_set_low_threshold('user_1', 1000)),
	q(SELECT credits_set_cycle('user_1', NULL, 'UTC')),
	q(BEGIN; DO $$BEGIN PERFORM credits_deduct('user_1', 30); END$$; SELECT credits_set_plan('user_1', 'free')),
	q(BEGIN; SET LOCAL credits.clock = '2026-01-16 12:00Z'; SELECT credits_transfer('user_4', 'user_1', 1)));
answers('Refusal',
	q(SELECT credits_try_deduct('user_1', 1000)), q(SELECT credits_try_deduct('user_2', 1)));

# An account whose reset waits for a zone that the server does not know.
my $unknown_zone = q(BEGIN;
DO $$BEGIN PERFORM credits_open_account('user_5', 'free'); END$$;
ALTER TABLE credit_account DISABLE TRIGGER credits_guard;
UPDATE credit_account SET time_zone = 'Asia/Nowhere' WHERE user_id = 'user_5';
SET LOCAL credits.clock = '2026-03-15 12:00Z';
);
answers('Balance', q(SELECT credits_balance('user_1')), q(SELECT credits_balance('user_2')),
	"$unknown_zone SELECT credits_balance('user_5')",
	q(SET request.jwt.claims = '{"sub": "user_1"}'; SELECT credits_my_balance()));
answers('Balance', q(SELECT credits_balance_at('user_1', '2026-01-15 12:00Z')), "$unknown_zone SELECT credits_balance('user_5')");
answers('Balance', q(SELECT credits_balances('{user_1}')), "$unknown_zone SELECT credits_balances('{user_5}')");
answers('Quote', q(SELECT credits_quote('user_1', 1)), q(SELECT credits_quote('user_1', 1000)), q(SELECT credits_quote('user_4', 1)),
	q(SELECT credits_quote('user_1', (credits_balance('user_1') ->> 'available')::int8)),
	"$unknown_zone SELECT credits_quote('user_5', 1)");
answers('Explanation', q(SELECT credits_explain('user_1')), q(SELECT credits_explain('user_4')),
	"$unknown_zone SELECT credits_explain('user_5')");
answers(
	'Run report',
	q(SELECT credits_reset_due(dry_run => true)),
	q(SET credits.events = 'hold_ending'; SELECT credits_reset_due(dry_run => true)),
	q(SELECT credits_reset_due()),
	q(CALL credits_run_reset()),
	q(SET credits.clock = '2026-03-15 12:00Z'; CALL credits_run_reset(max_accounts => 1)),
	q(SET credits.clock = '2026-04-15 12:00Z'; DO $$ BEGIN PERFORM credits_open_account('user_failing', 'free'); END $$;
		ALTER TABLE credit_account ADD CONSTRAINT no CHECK (user_id <> 'user_failing') NOT VALID;
		SET credits.clock = '2026-05-15 12:00Z'; CALL credits_run_reset(); ALTER TABLE credit_account DROP CONSTRAINT no));
my $holder = session($node, $db);
$holder->do(q(BEGIN; SELECT credits_deduct('user_1', 1)));
answers(
	'Bulk report',
	q(CALL credits_grant_many('{user_2}', '{3}', '2026-04-01', max_accounts => 1)),
	q(CALL credits_grant_many('{user_2}', '{3}', '2026-04-01', dry_run => true)),
	q(CALL credits_grant_many('{nobody}', '{3}', '2026-04-01')),
	q(CALL credits_apply_plan('free')),
	q(CALL credits_undo_run(plan => 'free', boundary => '2026-01-01')),
	q(CALL credits_grant_many('{user_1}', '{3}', '2026-04-01', max_wait => '0')),
	q(CALL credits_import('SELECT ''user_2''::text AS user_id', dry_run => true)));
$holder->do('ROLLBACK');
$holder->quit;
answers('Verify report', q(CALL credits_run_verify()), q(CALL credits_run_verify(1, 1)));
answers('Anchor receipt', q(SELECT credits_anchor()), q(SELECT credits_anchor()));
answers('Role receipt', q(SELECT credits_grant_role('r_app', 'billing')),
	q(SELECT credits_revoke_role('r_app', 'billing')));
answers('Erasure receipt', q(BEGIN; SELECT credits_erase_user('user_1'); ROLLBACK));
answers('Repair receipt', q(SELECT credits_repair_guards()));

# Without pg_cron there is no receipt of scheduling; its source stands in.
$seen{'Schedule receipt'} = 1;
my $schedule = read_text("$root/src/admin/schedule.c");
is_same_set(
	[ map { $_->{field} } table($objects->{'Schedule receipt'}) ],
	[ do { my %f = map { $_ => 1 } $schedule =~ /object_\w+\(&object, "(\w+)"/g; keys %f } ],
	'Schedule receipt: its fields');
is_same_set([ keys %$objects ], [ keys %seen ], 'every object was answered');

# DETAIL of the errors that have one.  Every error is provoked, but for those
# that cannot be: nothing here should be able to corrupt the ledger, or to name
# a time out of range.
my $deduct = q(SELECT credits_deduct('user_1', 1););
my %provoke = (
	UC001 => [ q(SELECT credits_deduct('user_1', 1000)), q(SELECT credits_adjust('user_1', 'purchased', -1000, 'why')) ],
	UC002 => [q(SELECT credits_balance('nobody')), q(SELECT credits_quote('nobody', 1))],
	UC003 => [
		q(SELECT credits_deduct('user_1', 4, 'image', 'key_1')),
		q(SELECT credits_add_purchased('user_1', 6, 'payment_1')),
		q(SELECT credits_open_account('user_1', 'big')) ],
	UC004 => [q(BEGIN; SELECT credits_freeze('user_1'); SELECT credits_deduct('user_1', 1))],
	UC005 => [q(SELECT credits_capture('user_4', 2)), q(SELECT credits_release('user_2', 8))],
	UC006 => [ q(SELECT credits_capture('user_4', 4)), q(SELECT credits_release('user_4', 7)) ],
	UC007 => [ 'DELETE FROM credit_plan', 'UPDATE credit_plan SET version = 1', 'TRUNCATE credit_plan' ],
	UC009 => [ q(SELECT credits_set_plan('user_1', 'none')), q(SELECT credits_open_account('user_3', 'pro')),
		q(SET credits.default_plan = 'none'; SELECT credits_balance('nobody')) ],
	UC010 => [ q(SELECT credits_refund('user_4', 5, 1)), q(SELECT credits_refund('user_4', 5)),
		q(SELECT credits_revoke_purchase('payment_4', 3)) ],
	UC011 => [q(SELECT credits_revoke_purchase('payment_0'))],
	UC012 => ["$unknown_zone SELECT credits_deduct('user_5', 1)"],
	'0A000' => [
		'SELECT credits_schedule_reset()',
		"BEGIN; CREATE TRIGGER t BEFORE INSERT ON credit_history FOR EACH ROW
		   EXECUTE FUNCTION suppress_redundant_updates_trigger(); $deduct" ],
	'22003' => [
		q(SELECT credits_deduct('user_1', 9007199254740992)),
		q(SELECT credits_add_purchased('user_1', 9007199254740991, 'payment_2')) ],
	'22004' => [q(SELECT credits_deduct('user_1', NULL))],
	'22023' => [
		q(SELECT credits_deduct('user_1', 0)),
		q(SELECT credits_deduct('', 1)),
		q(SELECT credits_set_plan('user_1', 'big', 'never')),
		q(SELECT credits_set_plan('user_2', 'big', 'next_reset')),
		q(BEGIN; SELECT credits_define_plan('week', 1, 'weekly'); SELECT credits_set_plan('user_1', 'week')),
		q(SELECT credits_repair_clock('user_2')),
		q(SELECT credits_grant('user_2', 1, '2026-01-15 12:00Z')),
		q(SELECT credits_refund('user_2', 1)) ],
	'22P02' => [q(SET request.jwt.claims = 'no JSON'; SELECT credits_my_balance())],
	'22P05' => [q(SET request.jwt.claims = '{"sub": "\u0000"}'; SELECT credits_my_balance())],
	'25006' => ["BEGIN READ ONLY; $deduct"],
	'2D000' => [ 'BEGIN; CALL credits_run_reset()', 'BEGIN; CALL credits_run_verify()' ],
	'2BP01' => [
		'DROP EXTENSION credits',
		q(BEGIN; GRANT SELECT ON credit_reset_run TO r_monitor WITH GRANT OPTION; SET ROLE r_monitor;
		  GRANT SELECT ON credit_reset_run TO r_app; RESET ROLE; SELECT credits_revoke_role('r_monitor', 'monitor')) ],
	'39P01' => [ 'SELECT credits_guard()', 'SELECT credits_drop_guard()' ],
	'42501' => [
		"SET ROLE r_monitor; $deduct",
		q(GRANT EXECUTE ON FUNCTION credits_repair_guards() TO r_monitor;
		  SET ROLE r_monitor; SELECT credits_repair_guards()) ],
	'42804' => [q(CALL credits_import('SELECT ''user_9''::text AS user_id, 1.5 AS monthly'))],
	'54000' => [
		q(BEGIN; INSERT INTO credit_grant (amount, remaining, seq, ends_at, closed, paid, user_id)
			SELECT 1, 1, 1000 + i, '2100-01-01', false, false, 'user_4' FROM generate_series(1, 10000) i;
		  SELECT credits_grant('user_4', 1, '2100-01-01')),
		q(BEGIN; SELECT credits_define_plan('far', 1, 'daily', 1), credits_open_account('user_far', 'far');
		  SET LOCAL credits.clock = '9999-12-31 00:00Z'; SELECT credits_balance('user_far')) ],
	'55000' => [
		q(BEGIN; SELECT credits_hold('user_4', 1); SELECT credits_close_account('user_4')),
		q(SET credits.clock = '2026-05-02 12:00Z'; SET credits.refuse_recent_transfers = on; SELECT credits_transfer('user_4', 'user_1', 1)),
		q(SELECT credits_transfer('user_4', 'user_1', 1)) ],
	'42704' => [q(SELECT credits_grant_role('nobody', 'app'))]);

my $other = session($node, $db);
$other->do('BEGIN');
$other->do($deduct);
is_outcome($node, $db, "SET lock_timeout = '10ms'; $deduct", '55P03', '55P03 is raised');
$other->do(q(SELECT credits_open_account('user_8', 'big')));
my (undef, $in_use) = is_outcome($node, $db, q(SET lock_timeout = '10ms'; SELECT credits_define_plan('big', 5)), '55P03', '... also for a plan');
like($in_use, qr/^DETAIL:  \{"object": "plan", "name": "big", "pids": \[\d+\]\}$/m, '... whose DETAIL says who has it');
my $late = session($node, $db);
$late->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
$late->do('SELECT count(*) FROM credit_plan');
$other->do('COMMIT');
$late->is_state($deduct, '40001', '40001 is raised');

# A session that may open no file any more cannot load a time zone that it has not met.
my $poor = session($node, $db);
my $opening = q(SELECT credits_open_account('user_9', NULL, NULL, 'Asia/%s'));
$poor->do('BEGIN; ' . sprintf($opening, 'Tokyo') . '; ROLLBACK');
is(PostgreSQL::Test::Utils::system_log('prlimit', '--pid=' . $poor->pid, '--nofile=3:'), 0, 'no file may be opened');
$poor->is_state(sprintf($opening, 'Kathmandu'), '53200', '53200 is raised');
is(PostgreSQL::Test::Utils::system_log('prlimit', '--pid=' . $poor->pid, '--nofile=1000:'), 0, 'files may be opened');
$poor->is_state(sprintf($opening, 'Kathmandu'), '00000', '... and then not');
$_->quit for $late, $other, $poor;

is_same_set(
	[ grep { !/^(?:UC008|22008|40001|53200|55P03)$/ } keys %error ],
	[ keys %provoke ],
	'all other errors are provoked');
for my $code (sort keys %provoke)
{
	my @forms = map { { map { $_ => 1 } grep { !/^(?:and|or)$/ } /\w+/g } } split /; or /,
	  $error{$code}{DETAIL};
	my %told;

	for my $sql (@{ $provoke{$code} })
	{
		my ($state, undef, $text) = outcome($node, $db, $sql);
		my ($detail) = $text =~ /^DETAIL:  (\{.*\})$/m;
		my %detail = defined $detail ? %{ json($detail) } : ();
		is(delete $detail{error} // '', $error{$code}{name}, "$code: its name is in its DETAIL")
		  if $code =~ /^UC/;
		my @keys = keys %detail;

		is($state, $code, "$code is raised") or diag("$sql\n$text");
		@told{@keys} = ();
		next unless @keys || @forms;
		ok(scalar(grep { my $form = $_; @keys && !grep { !$form->{$_} } @keys } @forms),
			"$code: its DETAIL is one of those listed")
		  or diag("$sql\n$text");
	}
	is_same_set([ 'DETAIL', sort { $a cmp $b } keys %{ { map { %$_ } @forms } } ],
		[ 'DETAIL', keys %told ], "$code: all that its DETAIL has");
}

# The tables that say the same for another reader.
is_same_set(
	[ section($reference, '## Functions') =~ /^\| \[(\w+)\]\(#\1\) \|/mg ],
	[ keys %routine ],
	'the table of functions has all');
my %advice = map { $_->{SQLSTATE} => $_ }
  table(section(read_text("$root/docs/errors.md"), '## What an app should do'));
is_same_set([ grep { /^UC/ } keys %advice ], [ grep { /^UC/ } keys %error ],
	'docs/errors.md: the errors of the extension');
is_same_set(
	[ map { "$_ $advice{$_}{name}" } grep { $advice{$_}{name} ne '' } keys %advice ],
	[ map { "$_ " . ($error{$_}{name} // '') } grep { $advice{$_}{name} ne '' } keys %advice ],
	'docs/errors.md: their names');
is_same_set([ map { split /, / } keys %advice ],
	[ map { $error{$_} ? $_ : () } map { split /, / } keys %advice ],
	'docs/errors.md: all are in the reference');
is_same_set(
	[ map { $_->{preset} } table(section(read_text("$root/docs/rights.md"), '## Which preset for which role')) ],
	\@presets, 'docs/rights.md: the presets');

# Links lead to files and headings that are there.
my @pages = map { s{^\Q$root\E/}{}r } glob("$root/*.md $root/docs/*.md $root/docs/*/*.md $root/bench/*.md $root/test/*.md $root/test/*/*.md");
for my $name (@pages)
{
	my $content = read_text("$root/$name") =~ s/^```.*?^```$//gmsr;
	my ($folder) = $name =~ m{^(.*/)?};
	my @broken;

	$folder //= '';
	for my $link ($content =~ /\]\(([^)\s]+)\)/g)
	{
		my ($file, $anchor) = split /#/, $link, 2;

		next if $link =~ /^https?:/;
		push @broken, $link if $file ne '' && !-e "$root/$folder$file";
		next unless defined $anchor;
		my $target = $file eq '' ? $content : -f "$root/$folder$file" ? read_text("$root/$folder$file") : '';
		my %anchors = map { lc($_) =~ s/[^\w -]//gr =~ s/ /-/gr => 1 } $target =~ /^#+ (.*)$/mg;
		push @broken, $link unless $anchors{$anchor};
	}
	is("@broken", '', "$name: its links lead somewhere");
}

# The README names every page, each of which begins with its readers, and every
# folder of the sources; the files that it names are where it says.
my @docs = grep { m{^docs/} } @pages;
is_same_set([ section($readme, '## Documentation') =~ m{^\| \[(docs/[^\]]+)\]\(\1\) \|}mg ],
	[ grep { !m{/reports/} } @docs ], 'README: the pages');
my $reports = read_text("$root/docs/reports/README.md");
like($reports, qr/^\| \[\Q$_\E\]/m, "docs/reports/README.md: $_")
  for grep { $_ ne 'README.md' } map { m{^docs/reports/(.*)} } @docs;
like(read_text("$root/$_"), qr/\A# .*\n\nFor \w/, "$_ says first who should read it") for @docs;

my (%folders, @nowhere);
for my $row (section($readme, '## What is where') =~ /^\| (\[.*) \|$/mg)
{
	my ($where, $text) = split / \| /, $row, 2;
	my @of_row = $where =~ /\]\(([^)]+)\)/g;

	@folders{@of_row} = ();
	for my $file ($text =~ /`([\w.\/-]+\.\w+|\w+\/)`/g)
	{
		push @nowhere, "@of_row: $file" unless grep { -e "$root/$_/$file" } @of_row;
	}
}
is("@nowhere", '', 'README: the files that it names are in their folders');
is_same_set([ grep { m{^src/} } keys %folders ],
	[ map { s{^\Q$root\E/}{}r } grep { -d } glob("$root/src/*") ], 'README: the folders of src/');

# What docs/performance.md and the README say of speed was measured: each aim of the
# report is there, with the figure and whether it was reached; if it was not, the
# page says what that means.
my @ratios = table(section(read_text("$root/docs/reports/performance.md"), '## The bench'));
my %word = ('>=' => 'at least', '<=' => 'at most', '<' => 'less than');
my %reached = (holds => 'yes', 'does not hold' => 'no', undecided => 'undecided');
my (@told, @meaningless);
for my $row (section(read_text("$root/docs/performance.md"), '## Beside what you would write yourself') =~ /^\| (.*) \|$/mg)
{
	my ($aim, $figure, $reached, $meaning) = (map { s/^ +| +$//gr } split /\|/, " $row ", -1)[ -4 .. -1 ];

	next unless $figure =~ /^([\d.]+)(?: \(([\d.]+) to ([\d.]+)\))?/;
	push @told, "$aim: $1" . (defined $2 ? " $2..$3" : '') . " $reached";
	push @meaningless, $row if ($reached eq 'yes') == ($meaning =~ /\.$/);
}
is_same_set(
	\@told,
	[
		map {
			my ($sign, $limit) = split / /, $_->{aim};
			"$word{$sign} $limit: " . join ' ', grep { length } @$_{ 'median', '95 % interval' }, $reached{ $_->{verdict} };
		} grep { $_->{aim} ne '' } @ratios
	],
	'docs/performance.md: the aims, as they were measured');
is("@meaningless", '', 'docs/performance.md: what it means for a user, of each aim that was not reached');
my ($speed) = $readme =~ /^- \*\*Speed\*\*[:,] (.*?)^(?:- |\n|#)/ms;
for my $ratio ([ 'one-row UPDATE', 'one-row `UPDATE`' ], [ 'plpgsql with key', 'PL/pgSQL' ])
{
	my ($other, $words) = @$ratio;
	my ($measured) = grep { $_->{ratio} eq "credits_deduct with key / $other, tps, uniform, 16 clients, commit on" } @ratios;
	my $median = $measured ? $measured->{median} : 'no figure';

	like(($speed // '') =~ s/\s+/ /gr, qr/\b\Q$median\E times the number of [^.]*?\Q$words\E/,
		"README: the speed beside $other is the one in docs/reports/performance.md");
}

# So is the number of faults.
my $faults = () = read_text("$root/test/mutation/faults.txt") =~ /^name: /mg;
is((read_text("$root/docs/reliability.md") =~ m{`test/mutation/faults\.txt` lists (\d+) deliberate faults})[0], $faults,
	'docs/reliability.md: how many faults there are');

# The tests that test/README.md lists, and those that it and CONTRIBUTING.md say to run.
my $test_readme = read_text("$root/test/README.md");
my ($suites) = read_text("$root/test/run/test.sh") =~ /^all="(.*)"$/m;
is_same_set([ map { $_->{suite} } table(section($test_readme, '## Suites')) ],
	[ split / /, $suites ], 'test/README.md: the suites');
is_same_set([ section($test_readme, '## The TAP tests') =~ /`(\d\w+\.pl)`/g ],
	[ map { s{.*/}{}r } glob("$root/test/t/*.pl") ], 'test/README.md: the TAP tests');
my @named = map { split ' ' } map { grep { defined } /\bT=(?:"([^"]+)"|([\w\/.]+))/g }
  $test_readme, read_text("$root/CONTRIBUTING.md");
cmp_ok(scalar @named, '>', 50, 'there are tests to run');
my %not_there = map { $_ => 1 } grep {
	my $name = $_;
	!grep { -f } map { glob "$root/$_" } $name, "sql/$name.sql", "test/isolation/specs/$name.spec",
	  "test/pgtap/$name.sql", "test/t/$name.pl", "test/t/${name}_*.pl", "test/unit/$name.c"
} grep { !/^(?:NAME|unit)$/ } @named;
is_deeply([ sort keys %not_there ], [], 'the tests that CONTRIBUTING.md and test/README.md say to run');

# The quick start and what goes on from it, run as a reader would, in one session:
# the output of the blocks that are followed by one.
my @blocks;
for my $name (qw(README.md docs/tour.md docs/operations.md))
{
	my $content = read_text("$root/$name");
	my $shown = 0;

	while ($content =~ /^```sql\n(.*?)^```\n(?:```text\n(.*?)^```\n)?/msg)
	{
		push @blocks, [ $name, $1, $2 ];
		$shown++ if defined $2;
	}
	cmp_ok($shown, '>=', 2, "$name: it has blocks with their output");
}
my $script = join '', map { "$_->[1]\\echo = end of block\n" } @blocks;
$node->safe_psql($db, 'CREATE DATABASE quick_start');
my $output = '';
IPC::Run::run([ 'psql', '-X', '-d', $node->connstr('quick_start') ],
	'<', \$script, '>&', \$output);
my @outputs = split /^= end of block\n/m, $output;
for my $i (0 .. $#blocks)
{
	my ($name, $sql, $shown) = @{ $blocks[$i] };

	next unless defined $shown;
	s/[ \t]+$//mg, s/\A\n+//, s/\n+\z/\n/ for $shown, $outputs[$i] //= '';
	is($outputs[$i], $shown, "$name: what " . ($sql =~ /^(.*?)[;\n]/)[0] . ' gives');
}

done_testing();
