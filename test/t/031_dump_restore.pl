# pg_dump and back: a restored ledger is the same ledger, verifies, is guarded,
# and goes on; a restore that leaves the guards off is reported and mended.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $verify = "$FindBin::RealBin/../verify";
my $clock = '2026-04-10 12:00:00+00';
my $dir = PostgreSQL::Test::Utils::tempdir();
# The archive's rows are in its partitions, of which there are none here.
my @tables = qw(credit_plan credit_account credit_history credit_payment credit_grant credit_hold
  credit_reset_run credit_audit_log credit_role credit_anchor credit_anchor_leaf credit_checkpoint credit_event);

my $old = new_server('old', clock => $clock, conf => "fsync = off\n");

# Another server with other settings and without a ledger.
my $new = new_server('new', clock => $clock, conf => q(
fsync = off
timezone = 'America/St_Johns'
datestyle = 'SQL, DMY'
bytea_output = escape
));
$new->safe_psql('postgres', 'DROP EXTENSION credits');

my $roles = q(
CREATE ROLE app_role LOGIN;
CREATE ROLE billing_role LOGIN;
CREATE ROLE nobody_role LOGIN;
);
$old->safe_psql('postgres', $roles . 'CREATE ROLE spender_role LOGIN; CREATE ROLE renamed LOGIN; CREATE ROLE left_role LOGIN');
# Elsewhere the roles have other OIDs, and a stranger has one of theirs.
my $wanted = $old->safe_psql('postgres', q(SELECT 'spender_role'::regrole::oid));
$new->safe_psql('postgres', qq(DO \$\$ DECLARE o oid; BEGIN LOOP
	CREATE ROLE stranger_role LOGIN;
	SELECT oid INTO o FROM pg_roles WHERE rolname = 'stranger_role';
	EXIT WHEN o >= $wanted;
	DROP ROLE stranger_role;
END LOOP; END \$\$));
$new->safe_psql('postgres', $roles . 'CREATE ROLE spender_role LOGIN; CREATE ROLE renamed_role LOGIN');
my $stranger = $new->safe_psql('postgres', "SELECT rolname FROM pg_roles WHERE oid = $wanted");

# A ledger with something in every table, in a schema of its own.
$old->safe_psql('postgres', q(CREATE DATABASE ledger));
$old->safe_psql('ledger', q(
CREATE SCHEMA "App credits";
CREATE EXTENSION credits SCHEMA "App credits";
GRANT USAGE ON SCHEMA "App credits" TO app_role, billing_role, nobody_role;
ALTER DATABASE ledger SET search_path = "App credits", public;
));
$old->safe_psql('ledger', <<'SQL');
SET credits.clock = '2026-01-01 00:00:00+00';
SELECT credits_define_plan('free', 100, 'calendar', 10, 5);
SELECT credits_define_plan('pro', 1000, 'anniversary');
SELECT credits_define_plan('pro', 1500, effective_from => '2026-03-01 00:00:00+00');
SELECT credits_grant_role('app_role', 'app');
SELECT credits_grant_role('billing_role', 'billing');
SELECT credits_grant_role('spender_role', 'app'), credits_grant_role('spender_role', 'support'), credits_grant_role('renamed', 'server'), credits_grant_role('left_role', 'admin');
ALTER ROLE renamed RENAME TO renamed_role;
SELECT credits_grant_role('renamed_role', 'server');
DROP OWNED BY left_role;
DROP ROLE left_role;

SET credits.clock = '2026-01-31 20:15:00.123456+00';
SELECT credits_open_account('user_' || n, CASE n % 3 WHEN 0 THEN 'pro' WHEN 1 THEN 'free' END,
                            '2026-01-31 23:15:00.654321', 'Asia/Kathmandu') FROM generate_series(1, 60) n;
SELECT credits_add_purchased('user_' || n, n * 10, 'pay_' || n, E'pack\n\\.\n\t' || n) FROM generate_series(1, 60, 2) n;
SELECT credits_add_purchased('bought only', 9007199254740991, E'pay\\ \'x\'', 'all', 'key', '{"a": [1.0, "\u2615"]}');
SET credits.events = 'low, empty, recovered, purchase';
SELECT credits_deduct('user_' || n, 7, E'Zo\u00eb \u2615', 'k' || n, '{"n": 1.50}',
	'member') FROM generate_series(3, 60, 3) n;
SELECT credits_freeze('user_3', 'suspicious');
SELECT credits_set_plan('user_6', 'free', 'next_reset');
SELECT credits_set_plan('user_9', NULL);

SET credits.clock = '2026-03-05 00:00:00+00';
CALL credits_run_reset(7);
SELECT credits_deduct('user_' || n, 1, idempotency_key => 'm' || n) FROM generate_series(12, 60, 3) n;
SELECT credits_adjust('user_4', 'purchased', 3, 'goodwill');
SELECT credits_unfreeze('user_3');
SELECT credits_grant('user_4', 50, '2026-12-01 00:00+00', 'promotion');
SELECT credits_hold('user_4', 20, '10 days', 'job');
SELECT credits_grant('user_8', 30, '2026-03-20 00:00+00', 'sorry');
SELECT credits_adjust('user_7', 'purchased', 4, 'to be erased', NULL, '{"to be": "erased"}');
SELECT credits_grant('user_9', 10, '2026-06-01'), credits_hold('user_9', 4, '1 day'), credits_hold('user_10', 3, '2 days');
SELECT credits_erase_user(u, 'on request') FROM unnest(ARRAY['user_3', 'user_7']) u;
SQL
my $anchor = json($old->safe_psql('ledger', 'SELECT credits_anchor()'))->{anchor};

# Everything that the ledger holds, in a form that no setting changes; without
# the records of verifications, of which each side has its own.
sub contents
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, q(SET timezone = 'UTC'; SET datestyle = 'ISO'; SET bytea_output = 'hex';)
		  . join ' ', map { "SELECT '$_', t FROM $_ t" . ($_ eq 'credit_reset_run' ? q( WHERE kind <> 'verify') : '') . ' ORDER BY t::text COLLATE "C";' }
		  @tables);
}

sub heads
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, q(
SELECT a.user_id, history_seq, encode(history_hash, 'hex'), b.monthly, b.granted, b.purchased, b.available,
       b.plan, b.status, extract(epoch FROM b.next_reset_at)
  FROM credit_account a JOIN credit_balance b USING (user_id) ORDER BY a.user_id COLLATE "C"));
}

# Who may do what, as the owner gave it.
sub rights
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, q(
SELECT p.proname, g.rolname FROM pg_proc p CROSS JOIN pg_roles g
 WHERE p.proname LIKE 'credits\_%' AND g.rolname LIKE '%\_role' AND has_function_privilege(g.oid, p.oid, 'EXECUTE')
UNION ALL
SELECT c.relname, g.rolname FROM pg_class c CROSS JOIN pg_roles g
 WHERE c.relname LIKE 'credit\_%' AND c.relkind IN ('r',
	'v') AND g.rolname LIKE '%\_role' AND has_table_privilege(g.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
 ORDER BY 1, 2));
}

sub guards
{
	my ($node, $db) = @_;
	return $node->safe_psql($db,
		q(SELECT string_agg(tgenabled::text, '' ORDER BY tgrelid::regclass::text) FROM pg_trigger WHERE tgname = 'credits_guard'));
}

sub drop_guard
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, q(SELECT evtenabled FROM pg_event_trigger WHERE evtname = 'credits_drop_guard'));
}

sub run_ok
{
	my ($command, $test) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run($command, '>', \$out, '2>', \$err);
	ok($ok && $err eq '', $test) or diag("@$command\n$err");
	return;
}

sub pg_dump
{
	my ($file, @options) = @_;
	run_ok([ 'pg_dump', '-d', $old->connstr('ledger'), '-f', "$dir/$file", @options ], "pg_dump @options");
	return "$dir/$file";
}

sub psql_file
{
	my ($db, $file) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $new->connstr($db), '-f', $file ],
		'>', \$out, '2>', \$err);
	ok($ok && $err eq '', "$db: restored") or diag($err);
	return;
}

# A settled place for the restored schema's objects.
sub new_database
{
	my ($db) = @_;
	$new->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$new->safe_psql('postgres', qq(ALTER DATABASE $db SET search_path = "App credits", public));
	return $db;
}

sub independent_is_clean
{
	my ($node, $db) = @_;
	my $export = PostgreSQL::Test::Utils::tempdir();
	run_ok([ 'psql', '-X', '-d', $node->connstr($db), '-v', "dir=$export", '-f', "$verify/export.sql" ],
		"$db: exported");
	my ($out, $err);
	my $ok = IPC::Run::run([ $^X, "$verify/credits-verify.pl", $export ], '>', \$out, '2>', \$err);
	ok($ok, "$db: the independent verifier is content") or diag($out . $err);
	return;
}

my $contents = contents($old, 'ledger');
my $heads = heads($old, 'ledger');
my $rights = rights($old, 'ledger');
like($rights, qr/^credits_deduct\|app_role$/m, 'app_role may deduct');
unlike($rights, qr/nobody_role/, 'nobody_role may nothing');
for my $table (grep { $_ ne 'credit_checkpoint' } @tables)
{
	like($contents, qr/^$table\|/m, "there is something in $table");
}
is($old->safe_psql('ledger', q(SELECT count(*) FROM credit_history WHERE reason_digest IS NOT NULL)), 5,
	'there are rows whose texts were erased');
unlike($contents, qr/to be erased/, '... and not elsewhere');
is(guards($old, 'ledger'), 'A' x (@tables + 1), 'guards before');
is(drop_guard($old, 'ledger'), 'A', 'the guard against DROP before');
is_clean($old, 'ledger', 'clean before');

# The restored ledger is the same, and works.
sub is_same_ledger
{
	my ($db) = @_;
	is(contents($new, $db), $contents, "$db: the same rows");
	is(heads($new, $db), $heads, "$db: the same balances and heads");
	is(rights($new, $db), $rights, "$db: the same rights");
	is(guards($new, $db), 'A' x (@tables + 1), "$db: guards are on");
	is(drop_guard($new, $db), 'A', "$db: so is the one against DROP");
	is_clean($new, $db, "$db: clean");
	is($new->safe_psql($db, "SELECT * FROM credits_verify_anchor('$anchor')"), '', "$db: the ledger that was anchored");
	independent_is_clean($new, $db);
	return;
}

sub goes_on
{
	my ($db) = @_;
	my $call = sub { return json($new->safe_psql($db, "SELECT $_[0]")) };

	# Retries from before the dump are still known.
	my $count = $new->safe_psql($db, 'SELECT count(*) FROM credit_history');
	my $again = q(credits_deduct('user_12', 1, idempotency_key => 'm12'));
	my $replay = $call->($again);
	ok($replay->{replayed}, "$db: a retry of a deduction is a replay");
	is_deeply($replay, json($old->safe_psql('ledger', "SELECT $again")), "$db: with the receipt of the old server");
	ok($call->(q(credits_add_purchased('user_1', 10, 'pay_1')))->{replayed}, "$db: a payment is not credited again");
	ok($call->(q(credits_open_account('user_1', 'free', '2026-01-31 23:15:00.654321', 'Asia/Kathmandu')))->{replayed},
		"$db: an account is not opened again");
	is_outcome($new, $db, q(SELECT credits_add_purchased('user_2', 10, 'pay_1')), 'UC003', "$db: nor for another user");
	is_outcome($new, $db, q(SELECT credits_deduct('user_12', 2, idempotency_key => 'm12')), 'UC003',
		"$db: nor is a key used again");
	is($new->safe_psql($db, 'SELECT count(*) FROM credit_history'), $count, "$db: nothing was written");

	# New calls chain on.
	my $head = $new->safe_psql($db, q(SELECT history_seq FROM credit_account WHERE user_id = 'user_12'));
	my $receipt = $call->(q(credits_deduct('user_12', 5, 'after the restore')));
	cmp_ok($receipt->{seq}, '>', $head, "$db: the next deduction chains on");
	ok(!$receipt->{replayed}, "$db: and is new");
	is($call->(q(credits_add_purchased('user_12', 5, 'pay_after')))->{seq}, $receipt->{seq} + 1,
		"$db: so does a purchase");
	$new->safe_psql($db, q(CALL credits_run_reset(); SELECT credits_define_plan('after', 1);));
	is_outcome($new, $db, q(SET ROLE app_role; SELECT credits_deduct('user_15', 1)), '00000',
		"$db: app_role may still deduct");
	is_outcome($new, $db, q(SET ROLE nobody_role; SELECT credits_deduct('user_15', 1)), '42501',
		"$db: nobody_role may not");
	is_outcome($new, $db, "$_ credit_history", 'UC007', "$db: $_ is refused") for 'DELETE FROM', 'TRUNCATE';
	is_outcome($new, $db, q(SET session_replication_role = replica; UPDATE credit_account SET monthly = 1), 'UC007',
		"$db: UPDATE as a replica is refused");
	$new->safe_psql($db, 'SELECT credits_anchor()');
	is_clean($new, $db, "$db: clean after that");
	is($new->safe_psql($db, "SELECT * FROM credits_verify_anchor('$anchor')"), '', "$db: continued from there");
	is_gapless($new, $db, "$db: seq has no gaps");
	independent_is_clean($new, $db);
	return;
}

# Plain text, into a new server.
my $plain = pg_dump('plain.sql');
new_database('plain');
psql_file('plain', $plain);
is_same_ledger('plain');
goes_on('plain');

# Custom format, with two workers, in no particular order.
my $custom = pg_dump('custom', '-Fc');
new_database('custom');
run_ok([ 'pg_restore', '--exit-on-error', '-j2', '-d', $new->connstr('custom'), $custom ], 'pg_restore');
is_same_ledger('custom');
goes_on('custom');

# The schema alone: with -n, pg_dump leaves CREATE EXTENSION out, so that there is
# nothing to restore into, unless -e asks for it.
my $schema_only = pg_dump('without_extension.sql', '-n', '"App credits"');
unlike(slurp_file($schema_only), qr/^CREATE EXTENSION/m, 'pg_dump -n has no CREATE EXTENSION');
new_database('without_extension');
{
	my ($out, $err);
	ok(!IPC::Run::run([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $new->connstr('without_extension'), '-f', $schema_only ], '>', \$out, '2>', \$err),
		'... and cannot be restored');
	like($err, qr/relation "App credits\.credit_\w+" does not exist/, '... for want of the tables');
}
new_database('with_extension');
psql_file('with_extension', pg_dump('with_extension.sql', '-n', '"App credits"', '-e', 'credits'));
is_same_ledger('with_extension');
goes_on('with_extension');
# Whose the presets are goes by name there, whoever has the OIDs.
is($stranger, 'stranger_role', 'a stranger has the OID that a role had');
for my $db ('plain', 'custom')
{
	my $call = sub { return json($new->safe_psql($db, "SELECT $_[0]")) };
	my $who = sub { return $new->safe_psql($db, q(SELECT role_name, preset, coalesce(role_oid = (SELECT oid FROM pg_roles WHERE rolname = role_name), false), problem IS NULL FROM credits_roles() ORDER BY 1, 2)) };

	is($who->(), "app_role|app|t|t\nbilling_role|billing|t|t\nleft_role|admin|f|f\nrenamed_role|server|t|t\nspender_role|app|t|t\nspender_role|support|t|t", "$db: who has which preset");
	ok($call->(q(credits_revoke_role('spender_role', 'app')))->{changed}, "$db: a preset is revoked");
	is_outcome($new, $db, q(SET ROLE spender_role; SELECT credits_deduct('user_15', 1)), '42501', "$db: ... and its rights are gone");
	is_outcome($new, $db, q(SET ROLE spender_role; SELECT credits_balance('user_15')), '00000', "$db: ... but what another preset gives");
	ok($call->(q(credits_revoke_role('spender_role', 'support')))->{changed}, "$db: the last one");
	is($new->safe_psql($db, q(SELECT has_schema_privilege('spender_role', 'App credits', 'USAGE'))), 'f', "$db: ... takes the USAGE along that came with the first");
	ok(!$call->(qq(credits_revoke_role('$stranger', 'app')))->{changed}, "$db: a stranger has no preset");
	ok($call->(q(credits_revoke_role('left_role', 'admin')))->{changed}, "$db: what is left of a dropped role is removed");
	is($who->(), "app_role|app|t|t\nbilling_role|billing|t|t\nrenamed_role|server|t|t", "$db: nothing is left of them");
	is_outcome($new, $db, qq(SET ROLE $stranger; SELECT "App credits".credits_balance('user_15')), '42501', "$db: the stranger has no right");
}

# The other formats, dumped by two workers and with a row an INSERT; and the
# restore in three steps, as who watches it does.
for my $format ([ 'directory', '-Fd', '-j2' ], [ 'tar', '-Ft' ], [ 'inserts', '-Fc', '--rows-per-insert=50' ])
{
	my ($db, @options) = @$format;
	my $file = pg_dump($db, @options);
	new_database($db);
	run_ok([ 'pg_restore', '--exit-on-error', "--section=$_", '-d', $new->connstr($db), $file ], "pg_restore of $db: $_")
	  for 'pre-data', 'data', 'post-data';
	is_same_ledger($db);
}

# Over a ledger that has accounts, --clean drops nothing unless that is allowed.
my @clean = ('pg_restore', '--clean', '--if-exists', '--exit-on-error', '-d', $new->connstr('custom'), $custom);
my ($clean_out, $clean_err);
my $went_on = heads($new, 'custom');
ok(!IPC::Run::run(\@clean, '>', \$clean_out, '2>', \$clean_err), 'pg_restore --clean is refused');
like($clean_err, qr/dropping this would destroy the ledger/, 'by the ledger');
is(heads($new, 'custom'), $went_on, 'custom: nothing is lost');
{
	local $ENV{PGOPTIONS} = '-c credits.allow_drop=on';
	# A column of the DBA's stops it, and as one transaction it leaves the old ledger.
	my @one = map { $_ eq '--clean' ? ('-1', $_) : $_ } grep { $_ ne '--exit-on-error' } @clean;
	$old->safe_psql('postgres', 'CREATE DATABASE with_column TEMPLATE ledger');
	$old->safe_psql('with_column', q(ALTER TABLE "App credits".credit_account ADD COLUMN note text DEFAULT 'n'));
	my $with_column = "$dir/column.dump";
	run_ok([ 'pg_dump', '-Fc', '-d', $old->connstr('with_column'), '-f', $with_column ], 'pg_dump of a ledger with a column of the DBA');
	my ($out, $err);
	@one = map { $_ eq $custom ? $with_column : $_ } @one;
	ok(!IPC::Run::run(\@one, '>', \$out, '2>', \$err), 'pg_restore -1 --clean fails where a column of the dump is no more');
	like($err, qr/column "note" of relation "credit_account" does not exist/, '... by the column');
	is(heads($new, 'custom'), $went_on, 'custom: the old ledger is as it was');
	run_ok([ map { $_ eq '--clean' ? ('-1', $_) : $_ } grep { $_ ne '--exit-on-error' } @clean ], 'pg_restore -1 --clean, allowed');
}
is_same_ledger('custom');
goes_on('custom');

# What was restored can be dumped again.
run_ok([ 'pg_dump', '-d', $new->connstr('custom'), '-f', "$dir/again.sql" ], 'pg_dump of the restored');
new_database('again');
psql_file('again', "$dir/again.sql");
is(heads($new, 'again'), heads($new, 'custom'), 'again: the same balances and heads');
is_clean($new, 'again', 'again: clean');

# Data only, into an extension that is there and empty.
my $data = pg_dump('data.sql', '--data-only');
new_database('data');
$new->safe_psql('data', q(CREATE SCHEMA "App credits"; CREATE EXTENSION credits SCHEMA "App credits"));
psql_file('data', $data);
is(contents($new, 'data'), $contents, 'data: the same rows');
is(guards($new, 'data'), 'A' x (@tables + 1), 'data: guards are on');
is_clean($new, 'data', 'data: clean');

# The same from an archive.
new_database('data_only');
$new->safe_psql('data_only', q(CREATE SCHEMA "App credits"; CREATE EXTENSION credits SCHEMA "App credits"));
run_ok([ 'pg_restore', '--exit-on-error', '--data-only', '--disable-triggers', '-d', $new->connstr('data_only'), $custom ],
	'pg_restore --data-only --disable-triggers');
is(contents($new, 'data_only'), $contents, 'data_only: the same rows');
isnt($new->safe_psql('data_only', 'SELECT * FROM credits_verify()'), '', 'data_only: credits_verify() reports the guards');
$new->safe_psql('data_only', 'SELECT credits_repair_guards()');
is_clean($new, 'data_only', 'data_only: clean then');

# With --disable-triggers, pg_dump has the triggers enabled afterwards, but not
# ALWAYS as they were.
$data = pg_dump('disabled.sql', '--data-only', '--disable-triggers');
like(slurp_file($data), qr/ENABLE TRIGGER ALL/, 'the dump disables triggers');
new_database('disabled');
$new->safe_psql('disabled', q(CREATE SCHEMA "App credits"; CREATE EXTENSION credits SCHEMA "App credits"));
psql_file('disabled', $data);
is(contents($new, 'disabled'), $contents, 'disabled: the same rows');
is(heads($new, 'disabled'), $heads, 'disabled: the same balances and heads');
my @reported = rows($new, 'disabled', 'SELECT object, problem FROM credits_verify()');
is(scalar(@reported), scalar(@tables), 'disabled: credits_verify() reports each guard') or diag(join "\n", map { join '|',
	@$_ } @reported);
for my $table (@tables)
{
	is(scalar(grep { "@$_" =~ /\b$table\b/ } @reported), 1, "disabled: that of $table");
}
$new->safe_psql('disabled', 'SELECT credits_repair_guards()');
is(guards($new, 'disabled'), 'A' x (@tables + 1), 'disabled: the guards are mended');
is_clean($new, 'disabled', 'disabled: clean then');
independent_is_clean($new, 'disabled');

# What a DBA adds to the tables is not in a dump.  credits_dump_customizations() lists it
# as DDL, to run on what was restored.
$old->safe_psql('ledger', <<'SQL');
CREATE TABLE public.app_user (id text COLLATE "C" PRIMARY KEY);
INSERT INTO public.app_user SELECT user_id FROM credit_account;
CREATE TABLE public.fired (user_id text);
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$ BEGIN INSERT INTO public.fired VALUES (NEW.user_id); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION public.note();
ALTER TABLE credit_account ADD COLUMN region text DEFAULT 'eu', ADD FOREIGN KEY (user_id) REFERENCES public.app_user, ADD CONSTRAINT short CHECK (length(user_id) < 200);
CREATE INDEX by_region ON credit_account (region);
CREATE INDEX by_reason ON credit_history (lower(reason)) WHERE reason IS NOT NULL;
CREATE STATISTICS dependent (dependencies) ON kind, amount FROM credit_history;
ALTER TABLE credit_account SET (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE credit_history ALTER COLUMN user_id SET STATISTICS 1000;
SET client_min_messages = error;
CREATE PUBLICATION ledger_feed FOR TABLE credit_history;
SQL

# What there is beside the rows, in words.
sub definitions
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, q(
SELECT c.relname, (SELECT array_agg(o ORDER BY o) FROM unnest(c.reloptions) o) FROM pg_class c WHERE c.relnamespace = '"App credits"'::regnamespace AND c.relkind IN ('r', 'p', 'i') ORDER BY 1;
SELECT tgrelid::regclass::text, tgname, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2;
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = '"App credits"'::regnamespace ORDER BY 1;
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = '"App credits"'::regnamespace AND contype <> 'n' ORDER BY 1, 2;
SELECT attrelid::regclass::text, attnum, attname, atttypid::regtype, attnotnull, coalesce(attstattarget, -1), attstorage, attcompression, (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum)
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE c.relnamespace = '"App credits"'::regnamespace AND attnum > 0 ORDER BY 1, 2;
SELECT stxname, stxkeys FROM pg_statistic_ext ORDER BY 1;
SELECT pubname, tablename, attnames FROM pg_publication_tables ORDER BY 1, 2));
}

my %section = map { my $section = $_; my $file = "$dir/$section.sql"; my $fh;
	open $fh, '>', $file or die "$file: $!";
	print $fh $old->safe_psql('ledger', "SELECT credits_dump_customizations('$section')"), "\n";
	close $fh or die "$file: $!";
	($section => $file) } 'pre-data', 'post-data';
my $as_it_was = definitions($old, 'ledger');
my $rows_as_they_were = contents($old, 'ledger');
my $customized = pg_dump('customized', '-Fc');

# Without the list.  The rows of a table with a column more cannot be restored; that is said.
new_database('bare');
my ($bare_out, $bare_err);
ok(!IPC::Run::run([ 'pg_restore', '-d', $new->connstr('bare'), $customized ], '>', \$bare_out, '2>', \$bare_err), 'bare: restored without the list, a column is missing');
like($bare_err, qr/column "region" of relation "credit_account" does not exist/, '... and it is said which');

# With it.
new_database('whole');
for my $step ('pre-data', 'data', 'post-data')
{
	run_ok([ 'pg_restore', '--exit-on-error', "--section=$step", '-d', $new->connstr('whole'), $customized ], "whole: pg_restore: $step");
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	psql_file('whole', $section{$step}) if $section{$step};
}
is(definitions($new, 'whole'), $as_it_was, 'whole: everything is defined as it was');
is(contents($new, 'whole'), $rows_as_they_were, 'whole: the same rows');
is($new->safe_psql('whole', 'SELECT count(*) FROM public.fired'), '0', 'whole: no trigger fired for a row that was restored');
is_clean($new, 'whole', 'whole: clean');
$new->safe_psql('whole', q(SELECT credits_deduct('user_15', 1)));
is($new->safe_psql('whole', 'SELECT DISTINCT user_id FROM public.fired'), 'user_15', 'whole: the trigger fires for a call');
is($new->safe_psql('whole', 'SELECT credits_dump_customizations()'), $old->safe_psql('ledger', 'SELECT credits_dump_customizations()'), 'whole: the list is the same');

# Run again, it changes nothing.
{
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	psql_file('whole', $section{$_}) for 'pre-data', 'post-data';
}
is(definitions($new, 'whole'), $as_it_was, 'whole: everything is as it was after running the list again');

# What cannot be put back fails: here a user is missing whom a foreign key asks for.
new_database('missing');
for my $step ('pre-data', 'data', 'post-data')
{
	run_ok([ 'pg_restore', '--exit-on-error', "--section=$step", '-d', $new->connstr('missing'), $customized ], "missing: pg_restore: $step");
	psql_file('missing', $section{$step}) if $step eq 'pre-data';
}
$new->safe_psql('missing', q(DELETE FROM public.app_user WHERE id = 'user_1'));
IPC::Run::run([ 'psql', '-XqAt', '-d', $new->connstr('missing'), '-f', $section{'post-data'} ], '>', \my $missing_out, '2>', \my $missing_err);
my @missing_errors = $missing_err =~ /ERROR: (.*)/g;
like("@missing_errors", qr/\A insert or update on table "credit_account" violates foreign key constraint "credit_account_user_id_fkey"\z/, 'missing: the foreign key fails, and nothing else does');

# A role that was renamed and not granted to again before the dump: what docs/rights.md says, as
# it stands there.
{
	my ($mend) = slurp_file("$FindBin::RealBin/../../docs/rights.md") =~ /^If that was forgotten.*?^```sql\n(.*?)^```$/ms;
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/forgotten.dump';
	my $who = sub { return $new->safe_psql('forgotten', q(SELECT role_name, preset, role_oid = 'app_new'::regrole FROM credits_roles() ORDER BY 2)) };
	my $may = sub {
		return $new->safe_psql('forgotten', q(SELECT has_function_privilege('app_new', 'credits_deduct(text, bigint, text, text, jsonb, text)', 'EXECUTE'),
			has_table_privilege('app_new', 'credit_reset_run', 'SELECT'), has_schema_privilege('app_new', 'credits', 'USAGE')));
	};

	$old->safe_psql('postgres', 'CREATE DATABASE forgotten');
	$old->safe_psql('forgotten', q(CREATE SCHEMA credits; CREATE EXTENSION credits SCHEMA credits; SET search_path = public, credits;
		CREATE ROLE app_server; SELECT credits_grant_role('app_server', 'server'), credits_grant_role('app_server', 'monitor');
		ALTER ROLE app_server RENAME TO app_new));
	run_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $old->connstr('forgotten') ], 'forgotten: pg_dump');
	$new->safe_psql('postgres', 'CREATE ROLE app_new');
	$new->safe_psql('postgres', 'CREATE DATABASE forgotten; ALTER DATABASE forgotten SET search_path = public, credits');
	run_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('forgotten'), $dump ], 'forgotten: pg_restore');
	is($may->(), 't|t|t', 'forgotten: the role has its rights');
	is($who->(), "app_server|monitor|\napp_server|server|", 'forgotten: the records are nobody\'s');
	ok(!json($new->safe_psql('forgotten', "SELECT credits_revoke_role('app_new', '$_')"))->{changed}, "forgotten: $_ is not revoked")
	  for qw(server monitor app);
	is($may->(), 't|t|t', '... and the role has all its rights');
	$new->safe_psql('forgotten', $mend);
	is($who->(), "app_new|monitor|t\napp_new|server|t", 'forgotten: they are the role\'s again');
	is($new->safe_psql('forgotten', q(SELECT string_agg(DISTINCT role_name, ' ') FROM credit_role)), 'app_new', '... by its new name');
	$new->safe_psql('forgotten', q(SELECT credits_revoke_role('app_new', 'server')));
	is($may->(), 'f|t|t', '... so that one preset can be revoked');
	$new->safe_psql('forgotten', q(SELECT credits_revoke_role('app_new', 'monitor')));
	is($may->(), 'f|f|f', '... and the last one takes the USAGE along');
}

# A role is missing in the other cluster: it takes along the rights of others, and what
# docs/rights.md says gives them back.
{
	my ($again) = slurp_file("$FindBin::RealBin/../../docs/rights.md") =~ /^\*\*Make the roles before.*?^```sql\n(.*?)^```$/ms;
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/one_missing.dump';
	my $may = sub { return $new->safe_psql('one_missing', q(SELECT string_agg(r || ' ' || has_function_privilege(r, 'credits_balance(text)', 'EXECUTE'), ' ' ORDER BY r) FROM unnest('{one_here,one_late}'::text[]) r WHERE to_regrole(r) IS NOT NULL)) };

	$old->safe_psql('postgres', 'CREATE DATABASE one_missing');
	$old->safe_psql('one_missing', q(CREATE SCHEMA credits; CREATE EXTENSION credits SCHEMA credits; SET search_path = public, credits;
		CREATE ROLE one_here; CREATE ROLE one_late; SELECT credits_grant_role('one_here', 'app'), credits_grant_role('one_late', 'billing')));
	run_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $old->connstr('one_missing') ], 'a role missing: pg_dump');
	$new->safe_psql('postgres', 'CREATE ROLE one_here');
	$new->safe_psql('postgres', 'CREATE DATABASE one_missing; ALTER DATABASE one_missing SET search_path = public, credits');
	ok(!IPC::Run::run([ 'pg_restore', '-d', $new->connstr('one_missing'), $dump ], '2>', \my $err), 'a role missing: pg_restore says so');
	like($err, qr/role "one_late" does not exist/, '... which one');
	is($may->(), 'one_here false', '... and the other one lost a right that both had');
	$new->safe_psql('one_missing', $again);
	is($may->(), 'one_here true', 'granted again, it has it');
	$new->safe_psql('postgres', 'CREATE ROLE one_late');
	$new->safe_psql('one_missing', $again);
	is($may->(), 'one_here true one_late true', '... and so has the missing one, once it is there');
	is($new->safe_psql('one_missing', 'SELECT count(*) FROM credits_roles() WHERE problem IS NOT NULL'), 0, '... and no record is left over');
}

$old->stop;
$new->stop;
done_testing();
