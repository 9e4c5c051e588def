# The catalogue of attacks on a ledger, in the order of the attacker's rights: an app's role, an
# end user, a role that may create objects, the owners of the schema, the tables and the
# database, a superuser.  Each attack is refused with an SQLSTATE, or found by a check, or does
# nothing.  prove -v shows them as a table.  030_tampering_is_found.pl has what a check says in
# detail, and every column of every table.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../verify";

use Attack;
use CreditsFormat ();
use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $verify = "$FindBin::RealBin/../verify";
my $root = "$FindBin::RealBin/../..";
my $node = new_server('attacks', conf => "fsync = off\nsynchronous_commit = off\nautovacuum = off\n");
my $db = 'postgres';

sub sql { my ($in, $sql) = @_; return $node->safe_psql($in, $sql) }
sub column { my ($in, $sql) = @_; return map { $_->[0] } rows($node, $in, $sql) }

#
# A ledger with something of everything.
#

my @presets = qw(app billing server auditor support admin monitor end_user);
sql($db, q(
DROP EXTENSION credits;
CREATE ROLE ledger_owner;
CREATE ROLE schema_owner;
CREATE ROLE db_owner;
CREATE ROLE planter;
CREATE ROLE nobody;
CREATE SCHEMA ledger AUTHORIZATION schema_owner;
CREATE EXTENSION credits SCHEMA ledger;
GRANT USAGE ON SCHEMA ledger TO nobody, db_owner;
ALTER DATABASE postgres SET search_path = ledger, public;
ALTER DATABASE postgres OWNER TO db_owner;
ALTER SYSTEM SET credits.key_retention = 0;
SELECT pg_reload_conf();
) . join ';', map { "CREATE ROLE the_$_" } @presets);
my @story = (
	[ '2025-12-10', q(SELECT credits_define_plan('free', 100), credits_define_plan('pro', 300, 'anniversary', 50), credits_define_plan('spare', 5);
		SELECT credits_open_account(u, 'free') FROM unnest('{alice,bob,carol,mallory}'::text[]) u;
		SELECT credits_add_purchased('alice', 50, 'pay_old'), credits_deduct('alice', 130, 'old')) ],
	[ '2025-12-11', q(SELECT credits_anchor(), credits_deduct('alice', 5, 'older')) ],
	[ '2025-12-20', q(SELECT credits_anchor(); CALL credits_archive('2025-12-11')) ],
	[ '2026-03-02', q(SELECT credits_grant('alice', 40, '2026-12-01', 'sorry'), credits_add_purchased('alice', 60, 'pay_1', 'pack');
		SELECT credits_deduct('alice', 30, 'secret text', 'key_1', '{"s": "secret"}', 'member'), credits_deduct('alice', 7), credits_hold('alice', 100, '20 days')) ],
	[ '2026-03-03', q(SELECT credits_add_purchased('carol', 70, 'pay_2'), credits_revoke_purchase('pay_2', 20), credits_deduct('mallory', 30), credits_deduct('mallory', 5);
		SELECT credits_open_account('gone', 'free'), credits_deduct('gone', 5);
		CALL credits_grant_many('{alice,bob}', '{5,5}', '2026-11-01')) ],
	(map { [ '2026-03-03', "SELECT credits_grant_role('the_$_', '$_')" ] } @presets),
);
sql($db, "SET credits.clock = '$_->[0] 12:00:00+00'; $_->[1]") for @story;
my $now = "SET credits.clock = '2026-03-10 12:00:00+00'";
my $kept = json(sql($db, "$now; SELECT credits_anchor()"))->{anchor};
sql($db, "$now; SELECT credits_freeze('bob'), credits_unfreeze('bob')");
is_clean($node, $db, 'the ledger is clean before');
my @tables = column($db, q(SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1));
cmp_ok(scalar(@tables), '>=', 14, 'tables, the archive and its partition') or diag("@tables");

my $attack = Attack->new($node, $db);
$attack->do("$now; SELECT credits_balance('alice')");    # loads the library

#
# Rights
#

$attack->group('rights');
is(sql($db, q(SELECT count(*) FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x WHERE p.pronamespace = 'ledger'::regnamespace AND x.grantee = 0)),
	'0', 'PUBLIC may execute nothing');
my @routines = rows($node, $db, q(
SELECT p.oid::regprocedure, p.proname, p.prokind, (SELECT string_agg('NULL::' || format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, n)),
       p.prosecdef, coalesce(p.proconfig::text, '')
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' WHERE p.pronamespace = 'ledger'::regnamespace
   AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) ORDER BY p.proname));
cmp_ok(scalar(@routines), '>', 40, 'the catalog has the routines');
for (@routines)
{
	my ($signature, $name, $kind, $args) = @$_;
	$attack->refused("$name() by a role without a preset", '42501', ($kind eq 'p' ? 'CALL' : 'SELECT') . " $name($args)", as => 'nobody');
}
$attack->refused("reading $_ by a role without a preset", '42501', "SELECT * FROM $_", as => 'nobody') for @tables, qw(credit_balance credit_usage_daily);
$attack->noted(!(grep { $_->[4] eq 't' && $_->[5] !~ /search_path=pg_catalog, pg_temp/ } @routines), 'SECURITY DEFINER without a pinned search_path',
	'does nothing', 'none of ' . @routines . ' routines');
my %may_not = (
	app => [ q(SELECT credits_add_purchased('mallory', 1000, 'free')), q(SELECT credits_grant('mallory', 1000, '2030-01-01')), q(SELECT credits_adjust('mallory', 'purchased', 1000, 'x')),
		q(SELECT credits_refund('mallory', 2)), q(SELECT credits_transfer('alice', 'mallory')), q(CALL credits_import('SELECT 1')), q(SELECT * FROM credits_history('alice')),
		q(SELECT * FROM credit_account), q(SELECT credits_grant_role('the_app', 'admin')), q(SELECT credits_erase_user('mallory')), 'SELECT credits_repair_guards()' ],
	billing => [ q(SELECT credits_deduct('alice', 1)), q(SELECT credits_adjust('mallory', 'purchased', 1000, 'x')), q(SELECT credits_define_plan('free', 1000000)),
		q(CALL credits_undo_run(plan => 'free', boundary => '2026-03-01')), q(SELECT * FROM credit_payment) ],
	server => [ q(SELECT credits_adjust('mallory', 'purchased', 1000, 'x')), q(SELECT credits_define_plan('free', 1000000)), q(SELECT credits_freeze('alice')), 'SELECT * FROM credit_balance', 'SELECT * FROM credit_usage_daily',
		'SELECT user_id FROM credit_history', 'SELECT credits_account_state(a) FROM credit_account a', q(SELECT credits_grant_role('the_server', 'admin')), 'SELECT * FROM credits_verify()' ],
	auditor => [ q(SELECT credits_deduct('alice', 1)), q(DELETE FROM credit_history), q(CALL credits_archive('2026-03-01')), q(SELECT credits_drop_archive('credit_history_archive_2025', 2)) ],
	support => [ q(SELECT credits_refund('mallory', 2)), 'SELECT * FROM credit_history', q(SELECT credits_freeze('alice')) ],
	admin => [ q(SELECT credits_grant_role('the_admin', 'auditor')), q(SELECT credits_revoke_role('the_auditor', 'auditor')), 'SELECT * FROM credit_history',
		q(SELECT credits_drop_archive('credit_history_archive_2025', 2)), 'SELECT credits_repair_guards()', q(INSERT INTO credit_role SELECT * FROM credit_role) ],
	monitor => [ 'SELECT * FROM credit_history', q(SELECT credits_balance('alice')), 'SELECT * FROM credits_verify()' ],
	end_user => [ q(SELECT credits_balance('alice')), q(SELECT * FROM credits_history('alice')), q(SELECT credits_deduct('mallory', 1)), 'SELECT * FROM credit_balance' ],
);
for my $preset (@presets)
{
	$attack->refused("$preset: $_", '42501', $_, as => "the_$preset") for @{ $may_not{$preset} };
}
for (
	[ 'the clock set', q(SET LOCAL credits.clock = '2030-01-01 00:00:00+00') ], [ 'a default plan set', q(SET LOCAL credits.default_plan = 'pro') ],
	[ 'DROP allowed', 'SET LOCAL credits.allow_drop = on' ], [ 'keys forgotten', 'SET LOCAL credits.key_retention = 0' ],
	[ 'replica role', 'SET LOCAL session_replication_role = replica' ], [ 'a trigger on a table', 'CREATE TRIGGER t AFTER INSERT ON credit_history EXECUTE FUNCTION suppress_redundant_updates_trigger()' ],
	[ 'a rule on a table', 'CREATE RULE r AS ON INSERT TO credit_history DO INSTEAD NOTHING' ], [ 'a guard disabled', 'ALTER TABLE credit_history DISABLE TRIGGER ALL' ],
	[ 'an event trigger', 'CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION ledger.credits_drop_guard()' ],
	[ 'a C function of the library', q(CREATE FUNCTION public.f() RETURNS int LANGUAGE c AS '$libdir/credits', 'credits_repair_guards') ],
	[ 'a table emptied', 'TRUNCATE credit_history' ],
	[ 'a function replaced', 'CREATE OR REPLACE FUNCTION ledger.credits_guard() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$' ],
	[ 'an index dropped', 'DROP INDEX credit_history_key_idx' ], [ 'the extension dropped', 'DROP EXTENSION credits' ])
{
	$attack->refused("app: $_->[0]", '42501', $_->[1], as => 'the_app');
}

#
# Forged claims
#

$attack->group('JWT');
sub claims { my ($json) = @_; $json =~ s/'/''/g; return "SELECT set_config('request.jwt.claims', '$json', true) IS NULL" }
for ('', '[]', '"alice"', 'null', '{"sub": null}', '{"sub": 1}', '{"sub": ["alice"]}', '{"sub": {"sub": "alice"}}', '{"sub": ""}', '{"SUB": "alice"}', '{"role": "postgres", "user_id": "alice"}')
{
	$attack->harmless("claims $_", [ claims($_) ], 'SELECT credits_my_balance() IS NULL, (SELECT count(*) FROM credits_my_history())', 't|0', as => 'the_end_user', by => '(nobody)');
}
$attack->refused("claims $_->[0]", $_->[1], [ claims($_->[0]), 'SELECT credits_my_balance()' ], as => 'the_end_user')
  for [ '{', '22P02' ], [ '{"sub": "alice', '22P02' ], [ '{"sub": "a\u0000"}', '22P05' ], [ ('[' x 50000), '54001' ], [ q({"sub": "x' OR 'a'='a"}), 'UC002' ], [ '{"sub": "alice", "sub": "nobody"}', 'UC002' ];
$attack->refused("a claim to be another and $_", '42501', [ claims('{"sub": "alice", "role": "postgres"}'), $_ ], as => 'the_end_user')
  for q(SELECT credits_deduct('alice', 1)), 'SELECT * FROM credit_history', q(SELECT * FROM credits_history('alice'));
$attack->harmless('a claim to be another shows that one alone', [ claims('{"sub": "mallory"}') ],
	q(SELECT credits_my_balance() ->> 'user_id', (SELECT count(*) FROM credits_my_history())), 'mallory|4', as => 'the_end_user', by => '(the gateway must check it)');

#
# What errors tell to who may not read
#

$attack->group('leaks');
my $secret = qr/secret|pay_1\b|\b65\b|mallory/;
my @leaks = (
	[ 'a CHECK of a DBA', '23514', 'app', [ 'ALTER TABLE credit_account ADD CHECK (monthly > 95) NOT VALID' ], q(SELECT credits_deduct('carol', 10)) ],
	[ 'a unique index of a DBA', '23505', 'app', [ 'CREATE UNIQUE INDEX ON credit_history (spender) WHERE spender IS NOT NULL' ], q(SELECT credits_deduct('carol', 1, spender => 'member')) ],
	[ 'an index on an expression', '23505', 'app', [ 'CREATE UNIQUE INDEX ON credit_history ((reason || metadata)) WHERE reason IS NOT NULL AND metadata IS NOT NULL' ],
		q(SELECT credits_deduct('carol', 1, 'secret text', NULL, '{"s": "secret"}')), qr/DETAIL|\(\(/ ],
	[ 'a CHECK, with a trigger', '23514', 'app', [ 'CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$',
			'CREATE TRIGGER t AFTER INSERT OR UPDATE ON credit_account FOR EACH ROW EXECUTE FUNCTION public.t()', 'ALTER TABLE credit_account ADD CHECK (monthly > 95) NOT VALID' ],
		q(SELECT credits_deduct('mallory', 10)), qr/\b65\b|Failing row/ ],
	[ q(another's payment), 'UC003', 'billing', [], q(SELECT credits_add_purchased('bob', 61, 'pay_1')), qr/alice|\b60\b/ ],
	[ q(another's key is nobody's), '00000', 'app', [], q(SELECT credits_deduct('carol', 1, 'x', 'key_1') - 'metadata'), qr/alice|secret/ ],
	[ 'a key used for another request', 'UC003', 'app', [], q(SELECT credits_deduct('alice', 31, 'x', 'key_1')), qr/secret|member|\b30\b/ ],
	[ 'statistics', '00000', 'app', ['ANALYZE credit_history'], q(SELECT * FROM pg_stats WHERE schemaname = 'ledger'), qr/./ ],
	[ 'what a DROP would destroy', '42501', 'nobody', [], 'DROP EXTENSION credits', qr/account|\d+ / ],
	[ 'a hold that was archived, or never was', 'UC006', 'app', [], q(SELECT credits_capture('alice', 1)), qr/secret/ ],
);
for (@leaks)
{
	my ($what, $state, $preset, $before, $call, $hidden) = @$_;
	$attack->refused($what, $state, $call, as => $preset eq 'nobody' ? 'nobody' : "the_$preset", before => $before, hidden => $hidden // $secret) if $state ne '00000';
	next if $state ne '00000';
	my ($got, $out, $err) = $attack->tried({ as => "the_$preset", before => $before }, $call);
	$attack->noted($got eq '00000' && "$out$err" !~ $hidden, $what, 'does nothing', '(tells nothing)', $got, $out, $err);
}

#
# Guards
#

$attack->group('guards');
my %parent = map { ($_ => 1) } column($db, q(SELECT relname FROM pg_class WHERE relnamespace = 'ledger'::regnamespace AND relkind = 'p'));
my %first = map { @$_ } rows($node, $db, q(SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1 WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p')));
for my $table (@tables)
{
	my $column = $first{$table};
	for my $who ([ 'a superuser', undef, [] ], [ 'a replica', undef, ['SET LOCAL session_replication_role = replica'] ],
		[ 'the owner', 'ledger_owner', [ "ALTER TABLE $table OWNER TO ledger_owner", 'GRANT USAGE, CREATE ON SCHEMA ledger TO ledger_owner' ] ])
	{
		$attack->refused("$_->[0] of $table by $who->[0]", 'UC007', $_->[1], as => $who->[1], before => $who->[2])
		  for [ 'UPDATE', "UPDATE $table SET $column = $column" ], [ 'DELETE', "DELETE FROM $table" ], [ 'TRUNCATE', "TRUNCATE $table CASCADE" ];
	}
}
$attack->refused($_->[0], 'UC007', $_->[1])
  for [ 'through a view', [ 'CREATE VIEW public.v AS SELECT * FROM credit_account', 'UPDATE public.v SET monthly = 9' ] ],
  [ 'through a rule', [ 'CREATE TABLE public.t (a int)', 'CREATE RULE r AS ON INSERT TO public.t DO INSTEAD UPDATE credit_account SET monthly = 9', 'INSERT INTO public.t VALUES (1)' ] ],
  [ 'through a foreign key', [ 'CREATE TABLE public.r AS SELECT user_id FROM credit_account', 'ALTER TABLE public.r ADD PRIMARY KEY (user_id)',
	  'ALTER TABLE credit_history ADD FOREIGN KEY (user_id) REFERENCES public.r ON DELETE CASCADE NOT VALID', q(DELETE FROM public.r WHERE user_id = 'bob') ] ],
  [ 'by an upsert', 'INSERT INTO credit_account SELECT * FROM credit_account ON CONFLICT (user_id) DO UPDATE SET monthly = 9' ],
  [ 'in a CTE', 'WITH d AS (DELETE FROM credit_history RETURNING 1) SELECT count(*) FROM d' ],
  [ 'by the owner of a function', [ 'CREATE FUNCTION public.f() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$DELETE FROM ledger.credit_history$$', 'SELECT public.f()' ] ];

my $mend = 'DROP TRIGGER credits_guard ON credit_account';
my $make = 'CREATE TRIGGER credits_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_account FOR EACH STATEMENT';
my %weak = (
	'disabled' => 'ALTER TABLE credit_account DISABLE TRIGGER credits_guard', 'for origins only' => 'ALTER TABLE credit_account ENABLE TRIGGER credits_guard',
	'for replicas only' => 'ALTER TABLE credit_account ENABLE REPLICA TRIGGER credits_guard', 'all triggers disabled' => 'ALTER TABLE credit_account DISABLE TRIGGER ALL',
	'dropped' => $mend, 'never firing' => [ $mend, "$make WHEN (false) EXECUTE FUNCTION credits_guard()", 'ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard' ],
	'of another function' => [ 'CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$', $mend, "$make EXECUTE FUNCTION public.t()",
		'ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard' ],
	'renamed' => 'ALTER TRIGGER credits_guard ON credit_account RENAME TO other',
	'gone round by a parent' => [ 'CREATE TABLE public.p (LIKE credit_account)', 'ALTER TABLE credit_account INHERIT public.p' ],
	'gone round by rows of a child' => 'CREATE TABLE public.c () INHERITS (credit_account)',
	'and rows hidden by row security' => 'ALTER TABLE credit_account ENABLE ROW LEVEL SECURITY',
);
$attack->found("guard $_", $weak{$_}, { credits_verify_structure => qr/\Acredit_account\|/, credits_verify => qr/\Acredit_account\|/ }) for sort keys %weak;
$attack->found("drop guard $_->[0]", $_->[1], { credits_verify_structure => qr/credits_drop_guard/, credits_verify => qr/credits_drop_guard/ })
  for [ 'disabled', 'ALTER EVENT TRIGGER credits_drop_guard DISABLE' ], [ 'not for replicas', 'ALTER EVENT TRIGGER credits_drop_guard ENABLE' ],
  [ 'dropped', [ 'ALTER EXTENSION credits DROP EVENT TRIGGER credits_drop_guard', 'DROP EVENT TRIGGER credits_drop_guard' ] ];
$attack->harmless('guard disabled and enabled again, nothing done', [ 'ALTER TABLE credit_account DISABLE TRIGGER credits_guard', 'ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard' ],
	'SELECT count(*) FROM credits_verify()', '0');

#
# Ownership and DDL
#

$attack->group('DDL');
$attack->refused($_->[0], $_->[1], $_->[2], as => $_->[3])
  for [ 'schema owner drops a table', '2BP01', 'DROP TABLE ledger.credit_history CASCADE', 'schema_owner' ],
  [ 'schema owner drops the guard function', '2BP01', 'DROP FUNCTION ledger.credits_guard() CASCADE', 'schema_owner' ],
  [ 'schema owner drops the schema', '2BP01', 'DROP SCHEMA ledger CASCADE', 'schema_owner' ],
  [ 'schema owner drops what it owns', '2BP01', 'DROP OWNED BY schema_owner CASCADE', 'schema_owner' ],
  [ 'schema owner drops a guard', '42501', 'DROP TRIGGER credits_guard ON ledger.credit_account', 'schema_owner' ],
  [ 'schema owner replaces a function', '42501', 'CREATE OR REPLACE FUNCTION ledger.credits_current_user_id() RETURNS text LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$SELECT $q$alice$q$::text$$', 'schema_owner' ],
  [ 'database owner drops the extension', '42501', 'DROP EXTENSION credits', 'db_owner' ],
  [ 'database owner drops the schema', '42501', 'DROP SCHEMA ledger CASCADE', 'db_owner' ],
  [ 'superuser drops the extension', '2BP01', 'DROP EXTENSION credits CASCADE', undef ],
  [ 'superuser as a replica drops the schema', '2BP01', [ 'SET LOCAL session_replication_role = replica', 'DROP SCHEMA ledger CASCADE' ], undef ],
  [ 'a BEFORE trigger that changes rows', '0A000', [ 'CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.amount := 0; RETURN NEW; END$$',
	  'CREATE TRIGGER t BEFORE INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION public.t()', q(SELECT credits_deduct('carol', 1)) ], undef ],
  [ 'a statement trigger that would not fire', '0A000', [ 'CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$',
	  'CREATE TRIGGER t AFTER INSERT ON credit_history EXECUTE FUNCTION public.t()', q(SELECT credits_deduct('carol', 1)) ], undef ],
  [ 'a column of another type', 'UC008', [ 'ALTER TABLE credit_hold ALTER COLUMN period TYPE numeric', q(SELECT credits_deduct('carol', 1)) ], undef ],
  [ 'a column dropped', 'UC008', [ 'ALTER TABLE credit_hold DROP COLUMN given_back', q(SELECT credits_deduct('carol', 1)) ], undef ],
  [ 'a column dropped with the view, and so the extension', '55006', 'ALTER TABLE credit_history DROP COLUMN spender CASCADE', undef ],
  [ 'the same of the archive', '55006', 'ALTER TABLE credit_history_archive DROP COLUMN spender CASCADE', undef ],
  [ 'ALTER COLUMN ... USING under a view', '0A000', 'ALTER TABLE credit_history ALTER COLUMN amount TYPE int8 USING amount + 1', undef ],
  [ 'ALTER COLUMN ... USING of a balance', '0A000', 'ALTER TABLE credit_account ALTER COLUMN purchased TYPE int8 USING purchased + 1000', undef ],
  [ 'ALTER COLUMN ... USING of a grant', '0A000', 'ALTER TABLE credit_grant ALTER COLUMN remaining TYPE int8 USING amount', undef ],
  [ 'columns exchanged', 'UC008', [ 'ALTER TABLE credit_history RENAME actor TO x', 'ALTER TABLE credit_history RENAME spender TO actor', 'ALTER TABLE credit_history RENAME x TO spender', q(SELECT credits_deduct('carol', 1)) ], undef ],
  [ 'NULL allowed', 'UC008', [ 'ALTER TABLE credit_history ALTER COLUMN hash DROP NOT NULL', 'SELECT * FROM credits_verify()' ], undef ],
  [ 'a table put elsewhere', 'UC008', [ 'ALTER TABLE credit_payment SET SCHEMA public', q(SELECT credits_deduct('carol', 1)) ], undef ],
  [ 'a function put elsewhere', 'UC008', [ 'ALTER FUNCTION credits_balance SET SCHEMA public', q(SELECT public.credits_balance('carol')) ], undef ],
  [ 'an index of some rows only', 'UC008', [ 'DROP INDEX credit_history_key_idx', 'CREATE UNIQUE INDEX credit_history_key_idx ON credit_history (user_id, idempotency_key) WHERE seq < 0', q(SELECT credits_deduct('carol', 1)) ], undef ],
  [ 'a key index of another collation', 'UC008', [ 'DROP INDEX credit_history_key_idx', 'CREATE UNIQUE INDEX credit_history_key_idx ON credit_history (user_id, idempotency_key COLLATE "POSIX") WHERE idempotency_key IS NOT NULL', q(SELECT credits_deduct('carol', 1)) ], undef ],
  [ 'an index dropped by the schema owner', 'UC008', [ 'SET LOCAL ROLE schema_owner', 'DROP INDEX ledger.credit_account_next_event_idx', 'RESET ROLE', q(SELECT credits_deduct('carol', 1)) ], undef ];
$attack->harmless($_->[0], $_->[1], q(SELECT credits_deduct('carol', 1) ->> 'available', credits_add_purchased('carol', 1, 'x') ->> 'available', (SELECT count(*) FROM credits_verify())), '149|150|0')
  for [ 'rules that do instead', [ map { ("CREATE RULE i AS ON INSERT TO $_ DO INSTEAD NOTHING", "CREATE RULE u AS ON UPDATE TO $_ DO INSTEAD NOTHING") } qw(credit_history credit_account credit_payment) ] ],
  [ 'a BEFORE trigger that is disabled', [ 'CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$', 'CREATE TRIGGER t BEFORE INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION public.t()', 'ALTER TABLE credit_history DISABLE TRIGGER t' ] ],
  [ 'an event trigger on every command', [ 'CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION $q$no$q$; END$$', 'CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.e()' ] ],
  [ 'row security without a policy', [ map { ("ALTER TABLE $_ ENABLE ROW LEVEL SECURITY", "ALTER TABLE $_ DISABLE ROW LEVEL SECURITY") } qw(credit_history credit_account) ] ];
$attack->found("ALTER COLUMN ... USING: $_->[0]", $_->[1], { credits_verify => $_->[2] })
  for [ 'balances in the history', 'ALTER TABLE credit_history ALTER COLUMN purchased TYPE int8 USING purchased + 1', qr/credit_history\|alice\|/ ],
  [ 'limits', 'ALTER TABLE credit_account ALTER COLUMN overdraft_limit TYPE int8 USING overdraft_limit + 1000', qr/credit_account\|alice\|/ ],
  [ 'hashes', q(ALTER TABLE credit_history ALTER COLUMN hash TYPE bytea USING sha256(hash)), qr/credit_history\|alice\|/ ],
  [ 'holds', 'ALTER TABLE credit_hold ALTER COLUMN period TYPE int8 USING period + 1', qr/credit_hold\|alice\|/ ],
  [ 'payments', 'ALTER TABLE credit_payment ALTER COLUMN revoked TYPE int8 USING 0', qr/\|carol\|/ ],
  [ 'plans', 'ALTER TABLE credit_plan ALTER COLUMN monthly_credits TYPE int8 USING monthly_credits * 2', qr/credit_plan\|/ ];

#
# Rows changed by a superuser, the guards off for a moment
#

$attack->group('rows');

# With every guard off, then on again.
sub disarmed
{
	my @statements = @_;
	my @touched = grep { my $t = $_; grep { /\b\Q$t\E\b/ } @statements } @tables;

	return [ (map { "ALTER TABLE $_ DISABLE TRIGGER credits_guard" } @touched), @statements, map { "ALTER TABLE $_ ENABLE ALWAYS TRIGGER credits_guard" } @touched ];
}
my ($deduct) = column($db, q(SELECT seq FROM credit_history WHERE user_id = 'alice' AND kind = 'deduct' AND amount = 30));
my ($last) = column($db, q(SELECT history_seq FROM credit_account WHERE user_id = 'alice'));
my $row = "user_id = 'alice' AND seq = $deduct";
my $copy = q(INSERT INTO credit_history SELECT (jsonb_populate_record(h, '%s')).* FROM credit_history h WHERE ) . $row;
my $alice = qr/^credit_(?:history|account)\|alice\|/m;
my @rows_changed = (
	[ 'a row edited', "UPDATE credit_history SET amount = amount - 20, monthly_delta = monthly_delta + 20 WHERE $row", qr/credit_history\|alice\|$deduct\|hash/ ],
	[ 'its reason edited', "UPDATE credit_history SET reason = 'another' WHERE $row", qr/credit_history\|alice\|$deduct\|hash/ ],
	[ 'its hash edited', "UPDATE credit_history SET hash = sha256(hash) WHERE $row", qr/credit_history\|alice\|$deduct\|hash/ ],
	[ 'a row deleted', "DELETE FROM credit_history WHERE $row", qr/credit_history\|alice\|\d+\|seq has a gap/ ],
	[ 'the first row deleted', q(DELETE FROM credit_history WHERE user_id = 'mallory' AND seq = 1), qr/credit_history\|mallory\|/ ],
	[ 'the last row deleted', "DELETE FROM credit_history WHERE user_id = 'alice' AND seq = $last", $alice ],
	[ 'a row inserted at the end', sprintf($copy, qq({"seq": @{[$last + 1]}, "idempotency_key": null})), $alice ],
	[ '... and the head edited', [ sprintf($copy, qq({"seq": @{[$last + 1]}, "idempotency_key": null})), q(UPDATE credit_account SET history_seq = history_seq + 1 WHERE user_id = 'alice') ], $alice ],
	[ 'two rows swapped', [ "UPDATE credit_history SET seq = 1000 WHERE $row", "UPDATE credit_history SET seq = $deduct WHERE user_id = 'alice' AND seq = $deduct + 1", "UPDATE credit_history SET seq = $deduct + 1 WHERE user_id = 'alice' AND seq = 1000" ],
		qr/credit_history\|alice\|$deduct\|hash/ ],
	[ 'a row replayed', [ "UPDATE credit_history SET seq = seq + 1000 WHERE user_id = 'alice' AND seq > $deduct", sprintf($copy, qq({"seq": @{[$deduct + 1]}, "idempotency_key": null})),
		q(UPDATE credit_history SET seq = seq - 999 WHERE user_id = 'alice' AND seq > 1000), q(UPDATE credit_account SET history_seq = history_seq + 1 WHERE user_id = 'alice') ], $alice ],
	[ 'a row given to another user', "UPDATE credit_history SET user_id = 'carol2' WHERE $row", qr/\|alice\|.*\n?.*|carol2/ ],
	[ 'a purchase replayed for another user', [ q(INSERT INTO credit_history SELECT (jsonb_populate_record(h, '{"user_id": "mallory", "seq": 5}')).* FROM credit_history h WHERE payment_ref = 'pay_1'),
		q(UPDATE credit_account SET history_seq = 5, purchased = 60 WHERE user_id = 'mallory') ], qr/\|mallory\|/ ],
	[ 'the head edited', q(UPDATE credit_account SET purchased = purchased + 1000 WHERE user_id = 'alice'), qr/credit_account\|alice\|/ ],
	[ 'an account deleted', q(DELETE FROM credit_account WHERE user_id = 'gone'), qr/\|gone\|/ ],
	[ 'an account with all its rows deleted', [ map { "DELETE FROM $_ WHERE user_id = 'gone'" } qw(credit_account credit_history credit_grant credit_hold credit_payment) ], qr/\|gone\|/ ],
	[ 'an account made up', q(INSERT INTO credit_account SELECT (jsonb_populate_record(a, '{"user_id": "rich"}')).* FROM credit_account a WHERE user_id = 'alice'), qr/\|rich\|/ ],
	[ 'a grant edited', q(UPDATE credit_grant SET remaining = amount WHERE user_id = 'alice'), qr/credit_grant\|alice\|/ ],
	[ 'a grant made up', q(INSERT INTO credit_grant SELECT (jsonb_populate_record(g, '{"user_id": "mallory", "seq": 2}')).* FROM credit_grant g WHERE user_id = 'bob'), qr/\|mallory\|/ ],
	[ 'a hold edited', q(UPDATE credit_hold SET monthly = monthly + 1 WHERE user_id = 'alice'), qr/credit_hold\|alice\|/ ],
	[ 'a hold opened again', q(UPDATE credit_hold SET ends_at = ends_at + interval '1 year' WHERE user_id = 'alice'), qr/credit_hold\|alice\|/ ],
	[ 'a hold deleted', q(DELETE FROM credit_hold WHERE user_id = 'alice'), qr/\|alice\|/ ],
	[ 'a payment forgotten, to be credited again', q(DELETE FROM credit_payment WHERE payment_ref = 'pay_1'), qr/\|alice\|/ ],
	[ 'a chargeback forgotten', q(UPDATE credit_payment SET revoked = 0 WHERE payment_ref = 'pay_2'), qr/\|carol\|/ ],
	[ 'a payment made up', q(INSERT INTO credit_payment VALUES (5, 0, 2, '2026-01-01', false, 'pay_x', 'mallory')), qr/\|mallory\|/ ],
	[ 'a plan edited', q(UPDATE credit_plan SET monthly_credits = 1000000 WHERE plan = 'pro'), qr/credit_plan\|/ ],
	[ 'a plan deleted', q(DELETE FROM credit_plan WHERE plan = 'spare'), qr/credit_plan\|/ ],
	[ 'a plan made up', q(INSERT INTO credit_plan SELECT (jsonb_populate_record(p, '{"plan": "gold"}')).* FROM credit_plan p WHERE plan = 'pro'), qr/credit_plan\|.*gold/ ],
	[ 'an audit row edited', q(UPDATE credit_audit_log SET actor = 'somebody' WHERE seq = 2), qr/credit_audit_log\|\|2\|/ ],
	[ 'an audit row deleted', q(DELETE FROM credit_audit_log WHERE seq = 2), qr/credit_audit_log\|\|/ ],
	[ q(the audit log's tail cut), q(DELETE FROM credit_audit_log WHERE seq > 3), qr/credit_anchor|credit_audit_log/ ],
	[ 'an anchor edited', q(UPDATE credit_anchor SET root = sha256(root) WHERE anchor_no = 2), qr/credit_anchor\|\|2\|/ ],
	[ 'an anchor deleted', q(DELETE FROM credit_anchor WHERE anchor_no = 2), qr/credit_anchor\|\|/ ],
	[ 'a leaf edited', q(UPDATE credit_anchor_leaf SET hash = sha256(hash) WHERE user_id = 'mallory'), qr/\|mallory\||credit_anchor\|/ ],
	[ 'a leaf deleted', q(DELETE FROM credit_anchor_leaf WHERE user_id = 'mallory'), qr/\|mallory\||credit_anchor\|/ ],
	[ 'a checkpoint edited', q(UPDATE credit_checkpoint SET purchased = purchased + 5), qr/credit_checkpoint\|alice\|/ ],
	[ 'a checkpoint deleted', q(DELETE FROM credit_checkpoint), qr/\|alice\|/ ],
	[ 'an archived row edited', q(UPDATE credit_history_archive_2025 SET reason = 'x' WHERE kind = 'deduct'), qr/credit_history_archive\|alice\|/ ],
	[ 'an archived row deleted', q(DELETE FROM credit_history_archive_2025 WHERE seq = 2), qr/credit_history_archive\|alice\|/ ],
	[ 'a partition of the archive dropped', 'DROP TABLE credit_history_archive_2025', qr/credit_history_archive/ ],
);
for (@rows_changed)
{
	my ($what, $statements, $says) = @$_;
	my @statements = ref $statements ? @$statements : ($statements);
	$attack->found($what, $what =~ /partition/ ? \@statements : disarmed(@statements), { credits_verify => $says });
}
# Calls that read such a row give nothing by it.
my $give = "SELECT credits_refund('alice', $deduct)";
$attack->refused("calls: $_->[0]", 'UC008', [ $now, @{ disarmed(ref $_->[1] ? @{ $_->[1] } : $_->[1]) }, $_->[2] ])
  for [ 'a deduction of more than it took', "UPDATE credit_history SET amount = 1000 WHERE $row", $give ],
  [ 'a deduction of less', "UPDATE credit_history SET amount = 1 WHERE $row", $give ],
  [ 'a deduction that took from a grant what it did not', "UPDATE credit_history SET amount = 35, granted_delta = -5 WHERE $row", $give ],
  [ 'a deduction from a grant of less than nothing', "UPDATE credit_history SET allocations = '{3,1000,4,-1000}' WHERE $row", $give ],
  [ 'a refund of less than nothing', [ "SELECT credits_refund('alice', $deduct, 5)", "UPDATE credit_history SET amount = -1000 WHERE user_id = 'alice' AND ref_seq = $deduct" ], $give ],
  [ 'a refund of more than was spent', [ "SELECT credits_refund('alice', $deduct, 5)", "UPDATE credit_history SET amount = 1000 WHERE user_id = 'alice' AND ref_seq = $deduct" ], $give ],
  [ 'the same, and all of it asked for again', [ "SELECT credits_refund('alice', $deduct, 5)", "UPDATE credit_history SET amount = 1000 WHERE user_id = 'alice' AND ref_seq = $deduct" ], "SELECT credits_refund('alice', $deduct, 1)" ],
  [ 'a capture of more than it took', [ q(SELECT credits_capture('alice', (SELECT max(seq) FROM credit_hold), 10)), q(UPDATE credit_history SET amount = 1000 WHERE kind = 'capture') ],
	  q(SELECT credits_refund('alice', (SELECT max(seq) FROM credit_history WHERE kind = 'capture' AND user_id = 'alice'))) ],
  map { [ "a hold of more than was set aside, $_", [ q(SELECT credits_add_purchased('alice', 500, 'x'), credits_hold('alice', 300)), q(UPDATE credit_hold SET monthly = monthly + 50 WHERE amount = 100) ],
	  "SELECT credits_$_('alice', (SELECT seq FROM credit_hold WHERE amount = 100))" ] } qw(capture release);
for (
	[ 'a reset', q(plan => 'free', boundary => '2026-03-01'), q(UPDATE credit_history SET amount = 1000 WHERE user_id = 'mallory' AND kind = 'reset'), 'mallory' ],
	[ 'a grant', "'" . (column($db, q(SELECT run_id FROM credit_reset_run WHERE kind = 'grant')))[0] . "'", q(UPDATE credit_history SET amount = 1000 WHERE user_id = 'bob' AND kind = 'grant'), 'bob' ])
{
	my ($what, $args, $change, $user) = @$_;
	my ($state, $out, $err) = $attack->tried({ before => [ $now, @{ disarmed($change) } ] }, "CALL credits_undo_run($args)");
	$attack->noted($out =~ /"failures": 1\b/ && $out =~ /UC008/ && $out =~ /"\Q$user\E"/, "calls: $what of more than it gave, undone", 'refused', 'UC008', $state, $out, $err);
}

$attack->found("a partition of the archive $_->[0]", $_->[1], { credits_verify_structure => qr/^$_->[2]\|\|\|the partition is not credit_history_archive_YYYY of the extension's schema$/m })
  for [ 'put into another schema', 'ALTER TABLE credit_history_archive_2025 SET SCHEMA public', 'credit_history_archive_2025' ],
  [ 'put into another schema, its guard gone', [ 'ALTER TABLE credit_history_archive_2025 SET SCHEMA public', 'DROP TRIGGER credits_guard ON public.credit_history_archive_2025' ], 'credit_history_archive_2025' ],
  [ 'of another name', [ 'CREATE TABLE old PARTITION OF credit_history_archive (PRIMARY KEY (user_id, seq)) FOR VALUES FROM (\'2020-01-01Z\') TO (\'2021-01-01Z\')', 'SELECT credits_repair_guards()' ], 'old' ];
$attack->found('a partition of the archive dropped by the schema owner', [ 'SET LOCAL ROLE schema_owner', 'DROP TABLE ledger.credit_history_archive_2025', 'RESET ROLE' ],
	{ credits_verify => qr/credit_history_archive/ });

# By somebody who knows how to hash: mallory's history again from one row on, each
# row as a callback leaves it.
my @columns = sort keys %{ $CreditsFormat::TYPE_OF{credit_history} };
sub rehashed
{
	my ($change) = @_;
	my @lines = split /\n/, sql($db, q[SET timezone = 'UTC'; SET datestyle = 'ISO'; SET bytea_output = 'hex'; COPY (SELECT ]
		  . join(', ', map { /\A(?:held_|owed_|expired|forfeited)/ ? "coalesce($_, 0)" : $_ } @columns) . q[ FROM credit_history WHERE user_id = 'mallory' ORDER BY seq) TO STDOUT]);
	my $hash = CreditsFormat::first_hash('mallory');
	my (@statements, $row, %text);

	for my $line (@lines)
	{
		@text{@columns} = split /\t/, $line, -1;
		my %before = %text;
		$change->(\%text) or last;
		$row = CreditsFormat::decode_row('credit_history', \@columns, [ @text{@columns} ]);
		$hash = CreditsFormat::history_hash($hash, $row);
		$text{hash} = '\\x' . unpack 'H*', $hash;
		push @statements, 'UPDATE credit_history SET ' . join(', ', map { "$_ = '$text{$_}'" } grep { $text{$_} ne $before{$_} } @columns) . " WHERE user_id = 'mallory' AND seq = $text{seq}"
		  if grep { $text{$_} ne $before{$_} } @columns;
	}
	return (@statements, "DELETE FROM credit_history WHERE user_id = 'mallory' AND seq > $row->{seq}",
		"UPDATE credit_account SET monthly = $row->{monthly}, purchased = $row->{purchased}, history_seq = $row->{seq}, history_hash = '\\x" . unpack('H*', $hash) . q(' WHERE user_id = 'mallory'));
}
my $cheaper = sub {
	my ($text) = @_;
	$text->{monthly} += 27 if $text->{seq} > 2;
	@$text{qw(amount monthly_delta)} = (3, -3) if $text->{seq} == 3;
	return 1;
};
my @cheaper = rehashed($cheaper);
my @cut = rehashed(sub { $_[0]{seq} < 4 });
my @gone = map { "DELETE FROM $_ WHERE user_id = 'gone'" } qw(credit_account credit_history credit_anchor_leaf);
my @without_anchors = ('DELETE FROM credit_anchor_leaf', 'DELETE FROM credit_anchor');

# Anchors made anew, as many as there were: archived rows must be in one.
my @anew = (@without_anchors, map { 'SELECT credits_anchor()' } 1 .. 3);
my $stored = qr/\|mallory\||credit_anchor\|/;
$attack->group('rehashed');
for ([ 'a row edited, all hashes made anew', \@cheaper, qr/\|mallory\|/ ], [ 'a tail cut with the head edited', \@cut, qr/\|mallory\|/ ], [ 'an account deleted with its leaves', \@gone, qr/credit_anchor\|/ ])
{
	my ($what, $statements, $says) = @$_;
	$attack->found($what, disarmed(@$statements), { credits_verify => $says, kept_anchor => $says }, kept => $kept);
	$attack->found("$what, the stored anchors deleted", disarmed(@$statements, @without_anchors), { credits_verify => undef, credits_verify_anchor => undef, kept_anchor => qr/credit_anchor\|\|3\|/ }, kept => $kept);
	$attack->found("$what, the stored anchors made anew", disarmed(@$statements, @anew), { credits_verify => undef, credits_verify_anchor => undef, kept_anchor => qr/another anchor than the one kept/ }, kept => $kept);
}

#
# Anchors, from outside the database
#

$attack->group('outside');
sub copy_of
{
	my ($name, $from) = @_;
	$attack->{session}->quit;
	sql('template1', 'CREATE DATABASE ' . "$name TEMPLATE " . ($from // $db));
	sql('template1', "ALTER DATABASE $name SET search_path = ledger, public");
	$attack->{session} = session($node, $db);
	$attack->do($now);
	return $name;
}

# What the verifier in Perl says of an export and the kept anchors.
sub outside
{
	my ($in, @kept) = @_;
	my $export = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err);

	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr($in), '-v', "dir=$export", '-f', "$verify/export.sql" ], '>', \$out, '2>', \$err) or die "export: $err";
	append_to_file("$export/kept", join '', map { "$_\n" } @kept);
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $export, "$export/kept" ], '>', \$out, '2>', \$err);
	return ($? >> 8, "$out$err");
}
cmp_ok(length $kept, '<', 500, 'an anchor is one small text');
unlike($kept, qr/\n|alice|mallory/, '... of one line, and names nobody');
my $back = copy_of('rolled_back');
my $later = json(sql($db, "$now; SELECT credits_deduct('carol', 1); SELECT credits_anchor()") =~ s/.*\n//r)->{anchor};
my ($status, $out) = outside($db, $kept, $later);
is($status, 0, 'the ledger itself goes on from both anchors') or diag($out);
for ([ 'edited after the anchor', [ disarmed(@cheaper) ], $kept, qr/BAD.*"mallory"/ ], [ 'tail cut, anchors made anew', [ disarmed(@cut, @anew) ], $kept, qr/kept anchor 3: another anchor has its number/ ],
	[ 'edited, anchors made anew', [ disarmed(@cheaper, @anew) ], $kept, qr/kept anchor 3: another anchor has its number/ ],
	[ 'account deleted, anchors made anew', [ disarmed(@gone, @anew) ], $kept, qr/kept anchor 3: another anchor has its number/ ],
	[ 'anchors deleted', [ disarmed(@without_anchors) ], $kept, qr/kept anchor 3: it is not here/ ],
	[ 'rolled back', [], $later, qr/kept anchor 4: it is not here, the newest is 3: rolled back/ ],
	[ 'rolled back and gone another way', [ [ q(SELECT credits_deduct('carol', 2)), 'SELECT credits_anchor()' ] ], $later, qr/kept anchor 4: another anchor has its number: forked/ ])
{
	my ($what, $statements, $anchor, $says) = @$_;
	my $in = copy_of('copy_' . $what =~ s/\W+/_/gr, $back);
	sql($in, join ";\n", $now, map { @$_ } @$statements);
	my ($bad, $text) = outside($in, $anchor);
	$attack->noted($bad == 1 && $text =~ $says, $what, 'found by', 'the verifier with a kept anchor', $bad, $text);
	next if $what =~ /after the anchor/;
	my ($clean) = outside($in);
	$attack->noted($clean == 0 && sql($in, 'SELECT * FROM credits_verify()') eq '' && sql($in, "SELECT * FROM credits_verify_anchor('$anchor')") ne '', "$what: only with the kept anchor",
		'found by', 'credits_verify_anchor(kept)');
}
$attack->refused("a kept anchor with $_->[0]", '22023', "SELECT * FROM credits_verify_anchor('$_->[1]')")
  for [ 'another number', $kept =~ s/ 3 / 4 /r ], [ 'a digit changed', $kept =~ s/(\w)\z/$1 eq '0' ? '1' : '0'/er ], [ 'a word missing', $kept =~ s/ \w+\z//r ],
  [ 'more behind it', "$kept x" ], [ 'nothing in it', '' ];

#
# Text arguments, taken from the catalog
#

$attack->group('injection');
my @payloads = (q('; DROP TABLE public.canary; --), q("; DROP TABLE public.canary; --), q(x) . q[') s; DROP TABLE public.canary; SELECT (']. q(1), '$$; DROP TABLE public.canary; $$', q(\\'; DROP TABLE public.canary; --),
	q(' || (SELECT public.spring()) || '), '%s%n%I%L', q("a"."b"), q({"sub": "alice"}), '%', q(public), q(x; GRANT ALL ON ALL TABLES IN SCHEMA ledger TO PUBLIC));
my %argument = (user_id => q('carol'), user_ids => q(ARRAY['carol']), to_user_id => q('bob'), amount => '1', amounts => 'ARRAY[1]::int8[]', delta => '1', seq => '2', hold_seq => '1', bucket => q('monthly'),
	expires_at => q('2030-01-01'), expires_in => q('1 hour'), payment_ref => q('pay_2'), plan => q('free'), monthly_credits => '5', preset => q('app'), role_name => q('the_app'),
	partition => q('credit_history_archive_2025'), rows => '2', before => q('2025-12-01'), boundary => q('2026-03-01'), at => 'NULL', source => q('SELECT $q$carol$q$ AS user_id'),
	overdraft_limit => '0', threshold => '0', reason => q('why'));
sql($db, q(CREATE TABLE public.canary (sprung text); CREATE FUNCTION public.spring() RETURNS text LANGUAGE sql AS $$INSERT INTO public.canary VALUES ('sprung') RETURNING 'x'::text$$));

# Things whose names are the payloads, so that the calls get as far as they can.
sql($db, join ";\n", "SET credits.clock = '2026-03-10 12:00:00+00'",
	map { my $q = s/'/''/gr; my $i = s/"/""/gr; ("SELECT credits_open_account('$q'), credits_define_plan('$q', 5)", $_ eq 'public' ? () : qq(CREATE ROLE "$i")) } @payloads);
my @arguments = rows($node, $db, q(
SELECT p.proname, p.prokind, array_to_string(p.proargnames[1:p.pronargs], ','), array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t), ','), p.pronargdefaults
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' WHERE p.pronamespace = 'ledger'::regnamespace AND p.pronargs > 0 ORDER BY 1));
my ($state_before) = column($db, q(SELECT md5(string_agg(relname || coalesce(relacl::text, '') || relowner, ',' ORDER BY oid)) FROM pg_class WHERE relnamespace IN ('ledger'::regnamespace, 'public'::regnamespace)));
my $tried = 0;
for (@arguments)
{
	my ($name, $kind, $names, $types, $defaults) = @$_;
	my @names = split /,/, $names;
	my @types = split /,/, $types;
	for my $at (grep { $types[$_] =~ /\Atext(?:\[\])?\z|\Ajsonb\z/ && $names[$_] ne 'report' } 0 .. $#types)
	{
		my @answers;
		for my $payload (@payloads)
		{
			my $q = "'" . ($payload =~ s/'/''/gr) . "'";
			my $value = $types[$at] eq 'text' ? $q : $types[$at] eq 'jsonb' ? "to_jsonb($q\::text)" : "ARRAY[$q]";
			my @call = map { $_ == $at ? "$names[$_] => $value" : $_ < @names - $defaults || $names[$_] =~ /\A(?:reason)\z/ ? "$names[$_] => " . ($argument{ $names[$_] } // die "$name: $names[$_]?") : () } 0 .. $#names;
			@call = ("run_id => NULL", @call, $names[$at] eq 'plan' ? "boundary => '2026-03-01'" : ()) if $name eq 'credits_undo_run';
			push @call, 'dry_run => false' if $kind eq 'p' && grep { $_ eq 'dry_run' } @names;
			my ($state, $o, $err) = $attack->tried({}, ($kind eq 'p' ? 'CALL' : 'SELECT') . " $name(" . join(', ', @call) . ')');
			$tried++;
			push @answers, "$payload: $state $err" if $state =~ /\AXX|\A08|\A42601/ && !($name eq 'credits_import' && $names[$at] =~ /source|history/);
			push @answers, "$payload: $state" if $name eq 'credits_import' && $names[$at] =~ /source|history/ && $state !~ /\A42|\A22/;
		}
		my ($state, $sprung) = $attack->run('SELECT count(*) FROM public.canary');
		$attack->noted(!@answers && $state eq '00000' && $sprung eq '0', "$name($names[$at])", 'does nothing', '(' . @payloads . ' payloads)', @answers, $state, $sprung);
	}
}
is(sql($db, q(SELECT md5(string_agg(relname || coalesce(relacl::text, '') || relowner, ',' ORDER BY oid)) FROM pg_class WHERE relnamespace IN ('ledger'::regnamespace, 'public'::regnamespace))),
	$state_before, 'no table, owner or right has changed');
cmp_ok($tried, '>', 500, "$tried calls with payloads");

# Queries run as who asks for them.
$attack->refused("credits_import: $_->[0]", $_->[1], "CALL credits_import('$_->[2]')", as => 'the_admin')
  for [ 'reads what the caller may not', '42501', 'SELECT user_id FROM ledger.credit_history' ], [ 'two statements', '42601|42P11', 'SELECT current_user::text AS user_id) s; DROP TABLE public.canary; SELECT s.* FROM (SELECT current_user::text AS user_id' ],
  [ 'changes something', '0A000|42601', 'WITH d AS (DELETE FROM public.canary RETURNING sprung) SELECT sprung AS user_id FROM d' ];

is_clean($node, $db, 'the ledger is clean after all that');

#
# Hostile objects: what the scripts name, planted in every schema on the path
#

$attack->group('planted');
my %named;
for my $script (glob "$root/sql/*--*.sql")
{
	my $text = slurp_file($script);
	$named{function}{$1} = 1 while $text =~ /\bpg_catalog\.(\w+)\(/g;
	$named{type}{$1} = 1 while $text =~ /\bpg_catalog\.(\w+)\b(?!\()/g;
	$named{operator}{$1} = 1 while $text =~ /OPERATOR\(pg_catalog\.([^)]+)\)/g;
}
my @kinds = qw(int8 int4 text name oid "char" bool regclass timestamptz);
my @signatures = (@kinds, 'anyelement', 'aclitem[]', 'text, oid', '"char", oid', 'anyelement, anyelement', 'text, text', 'text, text, text, text', 'text, anyelement, anyelement, anyelement', '');

# As who may create things, everything that can be; what cannot be is refused by PostgreSQL.
sub plant
{
	my ($in, @schemas) = @_;
	my @plants;

	for my $schema (@schemas)
	{
		push @plants, map { my $f = $_; map { "CREATE FUNCTION $schema.$f($_) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''TRAP0''; END'" } @signatures } sort keys %{ $named{function} };
		push @plants, map { my $k = $_; ("CREATE FUNCTION $schema.trap($k, $k) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''TRAP0''; END'",
			map { "CREATE OPERATOR $schema.$_ (LEFTARG = $k, RIGHTARG = $k, FUNCTION = $schema.trap)" } sort keys %{ $named{operator} }) } @kinds;
		push @plants, map { my ($l, $r) = @$_; ("CREATE FUNCTION $schema.trap($l, $r) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''TRAP0''; END'",
			map { "CREATE OPERATOR $schema.$_ (LEFTARG = $l, RIGHTARG = $r, FUNCTION = $schema.trap)" } sort keys %{ $named{operator} }) } [ 'int8', 'int4' ], [ 'name', 'text' ], [ '"char"', 'text' ], [ 'oid', 'regclass' ];
		push @plants, map { /\Apg_/ ? "CREATE TABLE $schema.$_ (oid oid, extname text)" : "CREATE DOMAIN $schema.$_ AS int4" } sort keys %{ $named{type} };
		push @plants, "CREATE TYPE $schema.mine AS (a text)", "CREATE FUNCTION $schema.cast_trap($schema.mine) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION USING ERRCODE = ''TRAP0''; END'",
			"CREATE CAST ($schema.mine AS text) WITH FUNCTION $schema.cast_trap($schema.mine) AS IMPLICIT", "CREATE AGGREGATE $schema.sum(int8) (SFUNC = pg_catalog.int8pl, STYPE = int8)";
	}
	sql($in, 'GRANT CREATE, USAGE ON SCHEMA ' . join(', ', @schemas) . ' TO planter; SET ROLE planter; SET client_min_messages = error;'
		  . q(DO $do$ DECLARE s text; BEGIN FOREACH s IN ARRAY ARRAY[) . join(', ', map { "\$s\$$_\$s\$" } @plants) . q(]
			LOOP BEGIN EXECUTE s; EXCEPTION WHEN undefined_object OR duplicate_object OR duplicate_table OR duplicate_function OR invalid_function_definition OR undefined_function THEN NULL; END; END LOOP; END $do$));
	return sql($in, q(SELECT (SELECT count(*) FROM pg_proc WHERE proowner = 'planter'::regrole) + (SELECT count(*) FROM pg_operator WHERE oprowner = 'planter'::regrole) + (SELECT count(*) FROM pg_class WHERE relowner = 'planter'::regrole)
		+ (SELECT count(*) FROM pg_type WHERE typowner = 'planter'::regrole AND typtype = 'd')));
}
my @calls = (q(credits_define_plan('free', 100)), q(credits_open_account('u', 'free', NULL, 'Europe/Berlin')), q(credits_add_purchased('u', 50, 'p')), q(credits_deduct('u', 120, 'x', 'k', '{"a": 1}')),
	q(credits_deduct_many('{u}', '{1}')), q(credits_grant('u', 5, '2030-01-01')), q(credits_hold('u', 3)), q(credits_capture('u', 6, 2)), q(credits_refund('u', 3, 5)), q(credits_revoke_purchase('p', 1)),
	q(credits_set_plan('u', NULL)), q(credits_balance('u')), q(pg_catalog.count(*) FROM credits_history('u')), q(credits_explain('u')), q(pg_catalog.array_agg(available) FROM credit_balance), q(pg_catalog.sum(spent) FROM credit_usage_daily),
	q(pg_catalog.sum(spent) FROM credits_usage('u')), q(pg_catalog.array_agg(u) FROM credits_total_usage('spender') u), q(pg_catalog.sum(spent) FROM credits_total_usage('day')), q(pg_catalog.sum(value) FROM credits_metrics(true)),
	q(pg_catalog.sum(held) FROM credit_open_hold), q(pg_catalog.sum(remaining) FROM credit_open_grant),
	q(credits_reset_due() - 'run_id'), q(credits_anchor() ->> 'changed'), q(credits_grant_role('the_app', 'app')), q(credits_repair_guards()), q(credits_close_account('u')), q(pg_catalog.count(*) FROM credits_verify()), q(pg_catalog.count(*) FROM credits_verify_anchor()));
my @procedures = (q(CALL credits_grant_many('{u}', '{5}', '2030-01-01')), q(CALL credits_apply_plan('free')), q(CALL credits_undo_run(plan => 'free', boundary => '2026-03-01')), q(CALL credits_import('SELECT ''w''::pg_catalog.text AS user_id')),
	q(CALL credits_archive('2026-03-01')), q(CALL credits_run_reset()));

# What all calls answer in a fresh ledger, with a search_path.
sub answers
{
	my ($in, $path) = @_;

	$attack->use_database($in);
	$attack->do($_) for $now, "SET search_path = $path";
	my @answers = map { join ' ', ($attack->run(/\ACALL/ ? $_ : "SELECT $_"))[ 0, 1 ] } @calls[ 0 .. 19 ], @procedures, @calls[ 20 .. $#calls ];
	return map { s/"run_id": "[^"]*"//r } @answers;
}
my @schemas = ('led', 'public', 'other', 'another');
for my $name (qw(clean hostile))
{
	sql('template1', "CREATE DATABASE $name");
	sql($name, "CREATE SCHEMA $_") for grep { $_ ne 'public' } @schemas;
}
$attack->use_database('hostile');
sql('hostile', q(GRANT CREATE, USAGE ON SCHEMA led TO planter));
for ([ 'table', 'CREATE TABLE led.credit_plan ()' ], [ 'view', 'CREATE VIEW led.credit_balance AS SELECT 1 AS a' ], [ 'index', 'CREATE TABLE led.t (a int); CREATE INDEX credit_history_key_idx ON led.t (a)' ],
	[ 'sequence', 'CREATE SEQUENCE led.credit_account' ], [ 'type', 'CREATE TYPE led.credit_account AS (a int)' ], [ 'domain', 'CREATE DOMAIN led.credit_grant AS int' ],
	[ 'function', q(CREATE FUNCTION led.credits_balance(text) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb') ], [ 'procedure', q(CREATE PROCEDURE led.credits_run_reset(int, int8, bool, INOUT jsonb) LANGUAGE plpgsql AS 'BEGIN END') ])
{
	my ($what, $plant) = @$_;
	$attack->refused("CREATE EXTENSION over a $what of one of its names", '42P07|42710|42723', 'CREATE EXTENSION credits SCHEMA led', before => [ 'SET LOCAL ROLE planter', (split /; /, $plant), 'RESET ROLE' ]);
}
$attack->refused('a cast between types of PostgreSQL', '42501', 'CREATE CAST (text AS int8) WITH INOUT AS IMPLICIT', as => 'planter');
$attack->refused('an operator class for one', '42501', 'CREATE OPERATOR CLASS led.ops DEFAULT FOR TYPE text USING hash AS OPERATOR 1 =', as => 'planter');
$attack->refused('an object in pg_catalog', '42501', q(CREATE FUNCTION pg_catalog.octet_length(int8) RETURNS int4 LANGUAGE sql AS 'SELECT 1'), as => 'planter');
my $planted = plant('hostile', @schemas);
cmp_ok($planted, '>', 300, "$planted objects planted");
my $hostile_path = 'led, ' . join(', ', @schemas[ 1 .. $#schemas ]) . ', pg_catalog';
sql('clean', 'CREATE EXTENSION credits SCHEMA led');
my ($created, undef, $why) = outcome($node, 'hostile', "SET search_path = $hostile_path; CREATE EXTENSION credits SCHEMA led");
my $members = q(SET search_path = pg_catalog; SELECT count(*), string_agg(pg_describe_object(classid, objid, 0), ',' ORDER BY 1) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'credits'));
my $acls = q(SET search_path = pg_catalog; SELECT count(*) FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e', aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'credits') AND x.grantee <> p.proowner);
my $catalog = q(SELECT string_agg(pg_get_constraintdef(oid), ',' ORDER BY conname) FROM pg_constraint WHERE connamespace = 'led'::regnamespace AND conrelid <> 0);
$attack->noted($created eq '00000' && sql('hostile', "$members; $acls; $catalog") eq sql('clean', "$members; $acls; $catalog") && sql('hostile', $acls) eq '0',
	"$planted functions, operators, casts, types and tables before CREATE EXTENSION", 'does nothing', '(members, rights and constraints as in a clean database)', $created, $why, sql('hostile', $catalog), sql('clean', $catalog));
my @expected = answers('clean', 'led, public');
is(scalar(grep { !/\A00000/ } @expected), 0, 'the calls succeed') or diag(join "\n", grep { !/\A00000/ } @expected);
my @got = answers('hostile', $hostile_path);
my $i = 0;
for my $call (@calls[ 0 .. 19 ], @procedures, @calls[ 20 .. $#calls ])
{
	$attack->noted($got[$i] eq $expected[$i], "under a hostile search_path: $call", 'does nothing', '(answers as in a clean database)', $got[$i], $expected[$i]);
	$i++;
}
sql('hostile', q(SET search_path = led; CREATE ROLE caller; GRANT USAGE ON SCHEMA led, public, other TO caller; SELECT credits_add_purchased('v', 9, 'p9');
	CREATE FUNCTION public.spend(who text) RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS $$SELECT led.credits_deduct(who, 1)$$));
$attack->harmless('a hostile search_path under a SECURITY DEFINER caller', ["SET LOCAL search_path = other, pg_temp, pg_catalog", q(SELECT public.spend('v'))], q(SELECT (public.spend('v')) OPERATOR(pg_catalog.->>) 'available'), '7', as => 'caller');
$attack->harmless('temporary tables of the same names', [ (map { "CREATE TEMP TABLE $_ (LIKE led.$_ INCLUDING ALL)" } qw(credit_account credit_history credit_plan)), 'SET LOCAL search_path = pg_temp, led, pg_catalog', q(SELECT led.credits_deduct('v', 1)) ],
	q(SELECT (SELECT pg_catalog.count(*) FROM pg_temp.credit_history), (led.credits_balance('v')) OPERATOR(pg_catalog.->>) 'available'), '0|8');

# Each update that there is, with the same planted before it.
my @updates = rows($node, 'clean', q(SELECT source, target FROM pg_extension_update_paths('credits') WHERE path IS NOT NULL));
for (@updates)
{
	my ($from, $to) = @$_;
	my $in = "update_$from\_$to" =~ s/\W/_/gr;
	sql('template1', "CREATE DATABASE $in");
	sql($in, "CREATE SCHEMA $_") for grep { $_ ne 'public' } @schemas;
	sql($in, "CREATE EXTENSION credits SCHEMA led VERSION '$from'");
	plant($in, @schemas);
	my ($state, undef, $err) = outcome($node, $in, "SET search_path = $hostile_path; ALTER EXTENSION credits UPDATE TO '$to'");
	$attack->noted($state eq '00000' && sql($in, "$acls") eq '0', "the same before an update from $from to $to", 'does nothing', '', $state, $err);
}
note(@updates ? scalar(@updates) . ' updates' : 'there is no upgrade script yet, and so no ALTER EXTENSION UPDATE to attack');
$attack->print_table;
$attack->{session}->quit;
$node->stop;
done_testing();
