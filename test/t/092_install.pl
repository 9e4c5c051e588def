# The extension comes, is updated and goes: an update from every version there
# is ends in the catalog of a fresh installation, DROP EXTENSION leaves nothing
# and lets it be made again under sessions that knew the old one, databases of
# one cluster know nothing of each other, and any schema's name will do.

use strict;
use warnings FATAL => 'all';
use utf8;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Encode ();
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('main', clock => '2026-04-10 12:00:00+00', conf => "fsync = off\n");

# All that the extension has in a database, without what differs by accident:
# object ids, and the stamp that some servers give a column.
sub catalog
{
	my ($db) = @_;
	return $node->safe_psql($db, <<'SQL');
CREATE TEMP TABLE members AS
  SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
     AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'credits');
SELECT 'member', i.type, i.identity, obj_description(objid, classid::regclass::name), p.initprivs
  FROM members m CROSS JOIN pg_identify_object(classid, objid, 0) i
  LEFT JOIN pg_init_privs p ON p.classoid = classid AND p.objoid = objid AND p.objsubid = 0 ORDER BY 2, 3;
SELECT 'function', oid::regprocedure, proacl, proowner::regrole, CASE prokind WHEN 'a' THEN '' ELSE pg_get_functiondef(oid) END
  FROM pg_proc JOIN members ON oid = objid AND classid = 'pg_proc'::regclass ORDER BY oid::regprocedure::text;
SELECT 'relation', c.oid::regclass, relkind, relpersistence, relreplident, relrowsecurity, reloptions, relacl, relowner::regrole,
       CASE relkind WHEN 'v' THEN pg_get_viewdef(c.oid) WHEN 'p' THEN pg_get_partkeydef(c.oid) END
  FROM pg_class c JOIN members ON oid = objid AND classid = 'pg_class'::regclass ORDER BY oid::regclass::text;
SELECT 'column', c.oid::regclass, a.attname, format_type(atttypid, atttypmod), attnotnull, attstorage, attcollation::regcollation,
       attacl, (SELECT array_agg(o) FROM unnest(attoptions) o WHERE o !~ '^pg_attver='), pg_get_expr(adbin, adrelid), col_description(c.oid, attnum)
  FROM pg_class c JOIN members ON oid = objid AND classid = 'pg_class'::regclass
  JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum ORDER BY c.oid::regclass::text, attnum;
SELECT 'constraint', conrelid::regclass, conname, convalidated, pg_get_constraintdef(o.oid), obj_description(o.oid, 'pg_constraint')
  FROM pg_constraint o JOIN members ON conrelid = objid AND classid = 'pg_class'::regclass ORDER BY conrelid::regclass::text, 3;
SELECT 'index', indexrelid::regclass, indisvalid, indisclustered, pg_get_indexdef(indexrelid)
  FROM pg_index JOIN members ON indrelid = objid AND classid = 'pg_class'::regclass ORDER BY indexrelid::regclass::text;
SELECT 'trigger', tgrelid::regclass, tgname, tgenabled, pg_get_triggerdef(t.oid)
  FROM pg_trigger t JOIN members ON tgrelid = objid AND classid = 'pg_class'::regclass ORDER BY tgrelid::regclass::text, 3;
SELECT 'event trigger', evtname, evtevent, evtenabled, evtfoid::regproc, evttags FROM pg_event_trigger ORDER BY 2;
SELECT 'dumped', c::regclass, extcondition[n] FROM pg_extension, unnest(extconfig) WITH ORDINALITY u (c, n)
 WHERE extname = 'credits' ORDER BY c::regclass::text;
SELECT 'extension', extversion, extrelocatable, extnamespace::regnamespace FROM pg_extension WHERE extname = 'credits';
SQL
}

# What an installation leaves outside the extension: nothing that is the ledger's.
sub leftovers
{
	my ($db) = @_;
	return $node->safe_psql($db, q(
SELECT oid::regclass::text FROM pg_class WHERE relname LIKE 'credit%'
UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'credit%'
UNION ALL SELECT evtname FROM pg_event_trigger
UNION ALL SELECT typname FROM pg_type WHERE typname LIKE '%credit%'
UNION ALL SELECT classid::regclass || ' ' || objid FROM pg_depend d WHERE classid = 'pg_extension'::regclass
   AND NOT EXISTS (SELECT FROM pg_extension WHERE oid = d.objid)));
}

my $fresh = catalog('postgres');
like($fresh, qr/^\Q$_\E\|/m, "the catalog has: $_")
  for 'member', 'function', 'relation', 'column', 'constraint', 'index', 'trigger', 'event trigger', 'dumped', 'extension';

# It is the catalog that notices: each of these is a difference.
add_database($node, 'changed');
is(catalog('changed'), $fresh, 'the same in another database');
my @changes = (
	q(ALTER FUNCTION credits_balance(text) COST 7),
	q(ALTER FUNCTION credits_balance(text) VOLATILE),
	q(ALTER FUNCTION credits_balance(text) SET search_path = pg_catalog),
	q(GRANT EXECUTE ON FUNCTION credits_balance(text) TO PUBLIC),
	q(COMMENT ON FUNCTION credits_balance(text) IS 'other'),
	q(ALTER TABLE credit_account SET (fillfactor = 77)),
	q(ALTER TABLE credit_account DROP CONSTRAINT credit_account_pkey),
	q(ALTER TABLE credit_history ALTER metadata SET STORAGE MAIN),
	q(COMMENT ON COLUMN credit_account.plan IS 'other'),
	q(ALTER TABLE credit_plan ALTER monthly_credits SET DEFAULT 1),
	q(CREATE INDEX other ON credit_account (plan)),
	q(ALTER TABLE credit_account DISABLE TRIGGER credits_guard),
	q(ALTER EVENT TRIGGER credits_drop_guard ENABLE),
	q(CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER EXTENSION credits ADD FUNCTION other()),
	q(UPDATE pg_extension SET extcondition[1] = 'WHERE true' WHERE extname = 'credits'));
my $known = $fresh;
for my $change (@changes)
{
	$node->safe_psql('changed', $change);
	my $now = catalog('changed');
	isnt($now, $known, "noticed: $change");
	$known = $now;
}

# Every version that has an install script and a way up from it.
my @older = map { $_->[0] } rows($node, 'postgres', q(
SELECT v.version FROM pg_available_extension_versions v JOIN pg_available_extensions e USING (name)
 WHERE v.name = 'credits' AND v.version <> e.default_version ORDER BY string_to_array(v.version, '.')::int[]));
my $default = $node->safe_psql('postgres', q(SELECT default_version FROM pg_available_extensions WHERE name = 'credits'));
note(@older ? "older versions: @older" : "$default is the first version");
is( join(' ', map { $_->[0] } rows($node, 'postgres', qq(
SELECT source FROM pg_extension_update_paths('credits') WHERE target = '$default' AND path IS NULL))),
	'', 'there is a way up from every version');
for my $version (@older)
{
	my $db = 'from_' . $version =~ tr/./_/r;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, "CREATE EXTENSION credits VERSION '$version'");
	$node->safe_psql($db, q(SELECT credits_define_plan('free', 10), credits_open_account('u', 'free'), credits_deduct('u', 1)));
	my $heads = $node->safe_psql($db, 'SELECT user_id, history_seq, history_hash FROM credit_account');
	$node->safe_psql($db, 'ALTER EXTENSION credits UPDATE');
	is(catalog($db), $fresh, "from $version: the catalog of a fresh installation");
	is($node->safe_psql($db, 'SELECT user_id, history_seq, history_hash FROM credit_account'), $heads, "from $version: the same heads");
	is_clean($node, $db, "from $version: clean");
	$node->safe_psql($db, q(SELECT credits_deduct('u', 1)));
	is_clean($node, $db, "from $version: goes on");
}
$node->safe_psql('postgres', 'ALTER EXTENSION credits UPDATE');
is(catalog('postgres'), $fresh, 'an update to what it is changes nothing');

# DROP and CREATE again, with a session that used the old one.
my $life = q(SELECT credits_define_plan('free', 10), credits_open_account('u', 'free'), credits_deduct('u', 1));
my $session = session($node, 'postgres');
$session->do($_) for $life, q(PREPARE spend AS SELECT credits_deduct('u', 1) ->> 'seq');
is($session->do('EXECUTE spend'), 3, 'a session has used the ledger');
is_outcome($node, 'postgres', 'DROP EXTENSION credits', '2BP01', 'with accounts it is not dropped');
$node->safe_psql('postgres', 'SET credits.allow_drop = on; DROP EXTENSION credits');
is(leftovers('postgres'), '', 'DROP EXTENSION leaves nothing');
$session->is_state(q(SELECT credits_deduct('u', 1)), '42883', 'the session finds no ledger');
$session->is_state('EXECUTE spend', '42883', '... by a prepared statement either');
$node->safe_psql('postgres', 'CREATE EXTENSION credits');
is(catalog('postgres'), $fresh, 'created again: the same catalog');
$session->is_state(q(SELECT credits_deduct('u', 1)), 'UC002', 'the session finds the new ledger, empty');
$session->do($life);
is($session->do(q(SELECT credits_deduct('u', 1) ->> 'seq')), 3, '... and uses it');
is($session->do('EXECUTE spend'), 4, '... by its prepared statement too');
is_clean($node, 'postgres');

# Two databases: the same users, keys and payments, nothing in common.
add_database($node, 'other');
$node->safe_psql('other', $life);
my $other = session($node, 'other');
for ($session, $other)
{
	$_->do('BEGIN');
	$_->do(q(SELECT credits_add_purchased('u', 5, 'pay', NULL, 'key')));
	$_->do(q(SELECT credits_add_purchased('newcomer', 5, 'pay 2'), credits_define_plan('free', 20)));
	$_->do(q(SELECT credits_anchor()));
}
pass('transactions on the same names in two databases do not wait for each other');
$_->do('COMMIT') for $session, $other;
$session->do('BEGIN');
$session->do(q(SELECT credits_reset_due()));
$other->is_state('CALL credits_run_reset()', '00000', 'nor do their sweeps');
$session->do('COMMIT');
is($node->safe_psql('other', q(SELECT credits_deduct('u', 1) ->> 'available')), 13, 'each has its own balances');
is_clean($node, $_) for 'postgres', 'other';
$_->quit for $session, $other;

# Schemas with any name.  All that the code does itself with a name: roles,
# sweep, archive partitions, parallel verification, the drop guard.  CREATE
# EXTENSION takes none with one of "$'\ in it; ALTER SCHEMA takes them.
my @schemas = ('My "quoted" schema; DROP', q(it's $1 $$ \\ "), 'Größe ☕ 信用', ' leading', 'UPPER', 'select', 'a.b', 'x' x 63);
for my $n (0 .. $#schemas)
{
	my $name = $schemas[$n];
	my $quoted = Encode::encode_utf8('"' . $name =~ s/"/""/gr . '"');
	my $test = Encode::encode_utf8($name);
	my $db = "schema_$n";
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	if ($name =~ /["\$'\\]/)
	{
		my ($state, $out, $err) = outcome($node, $db, "CREATE SCHEMA $quoted; CREATE EXTENSION credits SCHEMA $quoted");
		like($err, qr/must not contain any of/, "$test: not by CREATE EXTENSION");
		$node->safe_psql($db, "DROP SCHEMA $quoted; CREATE SCHEMA s; CREATE EXTENSION credits SCHEMA s; ALTER SCHEMA s RENAME TO $quoted");
	}
	else
	{
		$node->safe_psql($db, "CREATE SCHEMA $quoted; CREATE EXTENSION credits SCHEMA $quoted");
	}
	$node->safe_psql($db, "CREATE ROLE app_$n");
	my $sql = <<"SQL";
SET search_path = '';
SET credits.clock = '2024-01-01 00:00:00+00';
SELECT S.credits_define_plan('free', 10);
SELECT S.credits_open_account('u' || n, 'free'), S.credits_add_purchased('u' || n, 50, 'pay' || n) FROM generate_series(1, 30) n;
SELECT S.credits_grant_role('app_$n', 'app');
SELECT S.credits_deduct('u' || n, 1) FROM generate_series(1, 30) n;
SELECT S.credits_refund('u1', 3, 1), S.credits_capture('u2', (S.credits_hold('u2', 4) ->> 'seq')::int8, 2);
SET credits.clock = '2024-03-01 00:00:00+00';
CALL S.credits_run_reset(7);
CALL S.credits_grant_many(ARRAY['u1', 'u2'], ARRAY[1, 2], '2100-01-01');
SELECT S.credits_anchor();
SET credits.clock = '2024-12-01 00:00:00+00';
CALL S.credits_archive('2024-02-01');
SELECT S.credits_repair_guards();
CALL S.credits_run_verify();
SQL
	$node->safe_psql($db, $sql =~ s/\bS\./$quoted./gr);
	is($node->safe_psql($db, "SET search_path = ''; SELECT * FROM $quoted.credits_verify(); SELECT * FROM $quoted.credits_verify_anchor()"),
		'', "$test: clean");
	is_outcome($node, $db, "SET ROLE app_$n; SELECT $quoted.credits_deduct('u1', 1)", '00000', "$test: a role may do what it was granted");
	is_outcome($node, $db, "DROP SCHEMA $quoted CASCADE", '2BP01', "$test: DROP SCHEMA would destroy the ledger");
	$node->safe_psql($db, "SELECT $quoted.credits_revoke_role('app_$n', 'app'); SET credits.allow_drop = on; DROP EXTENSION credits CASCADE");
	is(leftovers($db), '', "$test: dropped, and nothing is left");
}

# make installcheck on a server that is there: it needs no tree that can be written
# to, and who cannot run it is told how to.
{
	my $tree = PostgreSQL::Test::Utils::tempdir();
	my $root = "$FindBin::RealBin/../..";
	system_or_bail('mkdir', "$tree/test");
	system_or_bail('cp', '-r', (map { "$root/$_" } qw(Makefile sql expected)), $tree);
	system_or_bail('cp', '-r', "$root/test/run", "$tree/test");
	chmod 0555, $tree or die $!;

	my $installcheck = sub {
		my ($out) = @_;
		my $ok = IPC::Run::run([ 'make', '-s', '-C', $tree, 'installcheck', "PG_CONFIG=$ENV{PG_BIN}/pg_config", 'with_llvm=no', 'REGRESS=setup install' ], '>', $out, '2>&1');
		return $ok;
	};
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, TMPDIR => PostgreSQL::Test::Utils::tempdir());
	my $out;
	ok($installcheck->(\$out) && $out =~ /All 2 tests passed/, 'make installcheck in a tree that is read-only') or diag($out);

	$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN');
	for my $case ([ 'stranger', qr/the role "stranger" is no superuser/ ], [ 'nobody_here', qr/cannot connect: .*nobody_here/ ])
	{
		local $ENV{PGUSER} = $case->[0];
		ok(!$installcheck->(\$out), "make installcheck as $case->[0] fails");
		like($out, $case->[1], '... and says why');
		like($out, qr/runuser -u postgres -- make installcheck|Set PGHOST, PGPORT and PGUSER/, '... and what to do');
		unlike($out, qr/running regression test queries|^ok/m, '... before it has run a test');
	}
	unlink $node->data_dir . '/pg_hba.conf';
	$node->append_conf('pg_hba.conf', "local all all peer\n");
	$node->reload;
	{
		local $ENV{PGUSER} = 'stranger';
		ok(!$installcheck->(\$out), 'with peer authentication, as somebody else, it fails');
		like($out, qr/cannot connect: .*Peer authentication failed.*\n.*(?:runuser|Set PGHOST)/, '... and says what to do');
	}
	ok($installcheck->(\$out) && $out =~ /All 2 tests passed/, '... as oneself it goes on') or diag($out);
	chmod 0755, $tree;
}

$node->stop;
done_testing();
