# The contract of rights: guards (6), presets, PUBLIC, search_path, roles that are renamed or
# dropped (7).  What a preset may do is asked of pg_proc and the ACLs, and tried.  Written
# from the contract and the reference alone.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Contract;
use CreditsTest;
use Test::More;

my $node = new_server('contract_rights', clock => '2026-01-15 12:00:00+00');
my $s = session($node, 'postgres');

# Is it the extension's?
sub member
{
	my ($catalog, $oid) = @_;

	return "EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
      WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.classid = '$catalog'::regclass AND d.objid = $oid)";
}

# ---------------------------------------------------------------------------
# Section 7: at first nobody but the owner may do anything, even on a platform whose
# default privileges give everything away.

sub foreign_rights
{
	my ($db) = @_;

	return $node->safe_psql(
		$db, qq(
SELECT 'function ' || p.oid::regprocedure || ': ' || a.grantee::regrole || ' ' || a.privilege_type
  FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
 WHERE ${\member('pg_proc', 'p.oid')} AND a.grantee <> p.proowner
UNION ALL
SELECT 'table ' || c.oid::regclass || ': ' || a.grantee::regrole || ' ' || a.privilege_type
  FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
 WHERE ${\member('pg_class', 'c.oid')} AND a.grantee <> c.relowner
UNION ALL
SELECT 'column ' || c.oid::regclass || '.' || t.attname || ': ' || a.grantee::regrole
  FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
 WHERE ${\member('pg_class', 'c.oid')} AND a.grantee <> c.relowner));
}

$s->do($_) for ('CREATE ROLE hosted', 'CREATE ROLE owner LOGIN', 'CREATE ROLE stranger LOGIN', 'CREATE ROLE granted_by_default LOGIN');
is(foreign_rights('postgres'), '', 'nobody but the owner may do anything');
is($s->do(qq(SELECT count(*) > 40 FROM pg_proc p WHERE ${\member('pg_proc', 'p.oid')})), 't', '(there are functions)');

$node->safe_psql('postgres', 'CREATE DATABASE platform');
$node->safe_psql(
	'platform', q(
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO hosted, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO hosted, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO hosted;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO hosted;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO granted_by_default WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO granted_by_default WITH GRANT OPTION;
CREATE EXTENSION credits;
SELECT credits_define_plan('free', 100);
SELECT credits_open_account('ann', 'free');
SELECT credits_deduct('ann', 1);
));
is(foreign_rights('platform'), '', "... whatever a platform's default privileges are");

# Section 2: every table is dumped with its data, the script inserts no rows, there are no sequences.
$node->safe_psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('empty', 'CREATE EXTENSION credits');
is($node->safe_psql('empty', qq(
SELECT coalesce(string_agg(c.relname, ' '), '') FROM pg_class c, pg_extension e
 WHERE e.extname = 'credits' AND ${\member('pg_class', 'c.oid')} AND c.relkind IN ('r', 'p') AND NOT c.oid = ANY(e.extconfig))), '', 'every table is registered for pg_dump');
is($node->safe_psql('empty', qq(SELECT coalesce(string_agg(x, ''), '') FROM (SELECT query_to_xml(format('SELECT 1 FROM %s', c.oid::regclass), true, false, '')::text
    FROM pg_class c WHERE ${\member('pg_class', 'c.oid')} AND c.relkind IN ('r', 'p')) y(x) WHERE x LIKE '%<row>%')), '', 'the install script inserts no rows');
is($node->safe_psql('empty', qq(SELECT count(*) FROM pg_class c WHERE ${\member('pg_class', 'c.oid')} AND c.relkind = 'S')), '0', 'there are no sequences');

# Partitions of the archive, which are made later, too.
$node->safe_psql('platform', q(
SET credits.clock = '2026-03-01 00:00:00+00';
CALL credits_run_reset();
SELECT credits_anchor();
CALL credits_archive('2026-02-15')));
my $partition = q((SELECT c.oid FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid WHERE i.inhparent = 'credit_history_archive'::regclass LIMIT 1));
isnt($node->safe_psql('platform', "SELECT $partition"), '', '(there is a partition of the archive)');
is($node->safe_psql('platform', "SELECT coalesce(string_agg(DISTINCT a.grantee::regrole::text, ' '), '') FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = $partition AND a.grantee <> c.relowner"),
	'', '... nor on a partition of the archive that is made later');

# ---------------------------------------------------------------------------
# Section 7: the presets.

# What the contract says that each must be able to do, and what none but these may.
my %may = (
	app => [qw(credits_deduct credits_try_deduct credits_deduct_many credits_hold credits_capture credits_release credits_balance credits_balances credits_quote)],
	billing => [qw(credits_add_purchased credits_grant credits_refund credits_revoke_purchase credits_reinstate_purchase)],
	auditor => [qw(credits_verify credits_run_verify credits_verify_account credits_verify_anchor credits_history credits_explain credits_balance credits_balance_at)],
	support => [qw(credits_balance credits_balance_at credits_explain credits_history)],
	admin => [
		qw(credits_adjust credits_define_plan credits_run_reset credits_reset_due credits_undo_run credits_freeze credits_unfreeze
		  credits_set_plan credits_set_cycle credits_open_account)
	],
	monitor => [qw(credits_metrics credits_stat credits_stat_calls)],
	end_user => [qw(credits_my_balance credits_my_history)]);

# Every function of the extension is of one of these concerns; new ones have to be put here.
my %concern = (
	spend => qr/^credits_(deduct|try_deduct|deduct_many|hold|capture|release)$/,
	money => qr/^credits_(add_purchased|grant|refund|revoke_purchase|reinstate_purchase)$/,
	account => qr/^credits_(open_account|set_plan|set_cycle|set_low_threshold)$/,
	administer => qr/^credits_(adjust|define_plan|freeze|unfreeze|repair_clock|set_overdraft|transfer|close_account|erase_user|grant_many|apply_plan|undo_run|import|archive|run_reset|reset_due|schedule_reset|unschedule_reset|stat_reset)$/,
	'read one' => qr/^credits_(balance|balances|quote|usage|balance_at|explain|history|account_state|now|unknown_zones|prove)$/,
	'read all' => qr/^credits_total_usage$/,
	inspect => qr/^credits_(roles|dump_customizations)$/,
	verify => qr/^credits_(verify|run_verify|verify_account|verify_structure|verify_anchor|anchor)$/,
	my => qr/^credits_(my_balance|my_history|my_usage|my_explain|current_user_id)$/,
	owner => qr/^credits_(grant_role|revoke_role|repair_guards|drop_archive|guard|drop_guard)$/,
	events => qr/^credits_take_events$/,
	metrics => qr/^credits_(metrics|stat|stat_calls)$/);

# Of which concern a preset may have functions at most.
my %at_most = (
	app => [qw(spend account), 'read one'],
	billing => [qw(money account), 'read one'],
	auditor => [qw(verify inspect metrics), 'read one', 'read all'],
	support => [ 'read one', 'read all' ],
	admin => [qw(administer account verify inspect events metrics), 'read one', 'read all'],
	monitor => [qw(metrics)],
	end_user => [qw(my)]);

my @presets = sort keys %may;
$s->do("CREATE ROLE role_$_ LOGIN"), $s->do("SELECT credits_grant_role('role_$_', '$_')") for @presets;

for my $preset (@presets)
{
	my @functions = split / /, $s->do(
		qq(SELECT string_agg(DISTINCT p.proname, ' ') FROM pg_proc p WHERE ${\member('pg_proc', 'p.oid')} AND has_function_privilege('role_$preset', p.oid, 'EXECUTE')));
	my %has = map { $_ => 1 } @functions;

	is(join(' ', grep { !$has{$_} } @{ $may{$preset} }), '', "$preset may do what the contract says");
	my @too_much;
	for my $function (@functions)
	{
		push @too_much, $function unless grep { $function =~ $concern{$_} } @{ $at_most{$preset} };
	}
	is("@too_much", '', "... and nothing else");
	is($s->do(qq(SELECT count(*) FROM pg_proc p, aclexplode(p.proacl) a WHERE ${\member('pg_proc', 'p.oid')} AND a.grantee = 'role_$preset'::regrole AND a.is_grantable)),
		0, '... without the right to pass it on');
	is($s->do(qq(SELECT coalesce(string_agg(c.relname || ' ' || p, ', '), '') FROM pg_class c, unnest('{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
        WHERE ${\member('pg_class', 'c.oid')} AND c.relkind IN ('r', 'p', 'v') AND has_table_privilege('role_$preset', c.oid, p))),
		'', '... no right but SELECT on any table or view');
	is($s->do(qq(SELECT has_schema_privilege('role_$preset', 'public', 'CREATE'))), 'f', '... and none to create in the schema');
}

# Tables and views: the auditor reads everything; who may not read everybody's data does not.
my $reads = sub {
	my ($role, $which) = @_;

	return $s->do(qq(SELECT coalesce(string_agg(c.relname, ' ' ORDER BY c.relname), '') FROM pg_class c WHERE ${\member('pg_class', 'c.oid')} AND c.relkind IN ('r', 'p', 'v')
        AND ($which has_table_privilege('$role', c.oid, 'SELECT') OR $which has_any_column_privilege('$role', c.oid, 'SELECT')) AND $which has_any_column_privilege('$role', c.oid, 'SELECT')));
};
is($reads->('role_auditor', 'NOT'), '', 'auditor reads every table and view');
is($reads->("role_$_", ''), '', "$_ has no right on any table or view") for qw(end_user app billing);
is($s->do(qq(SELECT coalesce(string_agg(c.relname || '.' || a.attname, ' '), '') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE ${\member('pg_class', 'c.oid')} AND c.relkind IN ('r', 'p', 'v') AND a.attname IN ('user_id', 'spender', 'reason', 'metadata', 'payment_ref', 'idempotency_key')
       AND has_column_privilege('role_monitor', c.oid, a.attnum, 'SELECT'))), '', 'monitor reads nothing that users or apps wrote');    # credit_reset_run.failed has opaque ids

# Tried: what each may and may not call.
$s->do($_) for (
	q(SELECT credits_define_plan('free', 100)), q(SELECT credits_define_plan('pro', 1000)),
	q(SELECT credits_open_account(u, 'free'), credits_add_purchased(u, 100, 'pay_' || u), credits_deduct(u, 5) FROM unnest('{ann,bob,cid}'::text[]) u));
my %call = (
	credits_deduct => q(SELECT credits_deduct('ann', 1)),
	credits_add_purchased => q(SELECT credits_add_purchased('ann', 1, 'rights')),
	credits_grant => q(SELECT credits_grant('ann', 1, '2026-05-01')),
	credits_refund => q(SELECT credits_refund('ann', 3, 1)),
	credits_adjust => q(SELECT credits_adjust('ann', 'monthly', 1, 'why')),
	credits_define_plan => q(SELECT credits_define_plan('free', 100)),
	credits_freeze => q(SELECT credits_freeze('cid')),
	credits_run_reset => q(CALL credits_run_reset()),
	credits_balance => q(SELECT credits_balance('ann')),
	credits_history => q(SELECT count(*) FROM credits_history('ann')),
	credits_explain => q(SELECT credits_explain('ann')),
	credits_verify => q(SELECT count(*) FROM credits_verify()),
	credits_run_verify => q(CALL credits_run_verify()),
	credits_grant_many => q(CALL credits_grant_many('{ann}', '{1}', '2026-05-01')),
	credits_apply_plan => q(CALL credits_apply_plan('free')),
	credits_undo_run => q(CALL credits_undo_run(plan => 'pro', boundary => '2026-01-01')),
	credits_archive => q(CALL credits_archive('2020-01-01')),
	credits_import => q(CALL credits_import('SELECT 1::text AS user_id WHERE false')),
	credits_anchor => q(SELECT credits_anchor()),
	credits_grant_role => q(SELECT credits_grant_role('stranger', 'app')),
	credits_revoke_role => q(SELECT credits_revoke_role('stranger', 'app')),
	credits_repair_guards => q(SELECT credits_repair_guards()),
	credits_drop_archive => q(SELECT credits_drop_archive('credit_history_archive_2020', 0)),
	credits_my_balance => q(SELECT credits_my_balance()));
for my $preset (@presets, 'stranger')
{
	my $role = $preset eq 'stranger' ? $preset : "role_$preset";
	my $as = session($node, 'postgres');

	$as->do("SET ROLE $role");
	for my $function (sort keys %call)
	{
		my $may = $s->do("SELECT coalesce(bool_or(has_function_privilege('$role', oid, 'EXECUTE')), false) FROM pg_proc WHERE proname = '$function'") eq 't';
		my ($state) = $as->run($call{$function});

		is($state, $may ? '00000' : '42501', "$preset: $function") or diag($as->{stderr});
	}
	$as->is_state("SELECT credits_grant_role('$role', 'admin')", '42501', "$preset: no role gives itself a preset");
	$as->quit;
}

# EXECUTE on credits_grant_role is not enough: only the owner or a superuser.
$s->do('GRANT EXECUTE ON FUNCTION credits_grant_role TO stranger');
{
	my $as = session($node, 'postgres');

	$as->do('SET ROLE stranger');
	$as->is_state(q(SELECT credits_grant_role('stranger', 'admin')), '42501', 'only the owner may run credits_grant_role, whatever EXECUTE says');
	$as->quit;
}
$s->do('REVOKE EXECUTE ON FUNCTION credits_grant_role FROM stranger');

# end_user sees only its own rows.
{
	my $as = session($node, 'postgres');

	$as->do('SET ROLE role_end_user');
	is($as->do('SELECT credits_my_balance() IS NULL'), 't', 'end_user: nobody, no balance');
	is($as->do('SELECT count(*) FROM credits_my_history()'), '0', '... and no history');
	for my $claims ('{}', '{"sub": null}', '{"sub": ""}', '{"role": "bob"}', '[]', '""', 'null', '')
	{
		$as->do("SET request.jwt.claims = '$claims'");
		my ($state, $out) = $as->run('SELECT credits_my_balance() IS NULL');
		ok($state ne '00000' || $out eq 't', "... claims '$claims' are nobody") or diag("$state $out");
	}
	$as->do(q(SET request.jwt.claims = '{"sub": "bob", "role": "authenticated"}'));
	is($as->do(q(SELECT credits_current_user_id(), credits_my_balance()->>'user_id')), 'bob|bob', '... sees its own balance');
	is($as->do(q(SELECT count(*) > 0 FROM credits_my_history())), 't', '... and its own history');
	$as->is_state(q(SELECT credits_balance('ann')), '42501', "... and nobody else's");
	is($as->do(q(SELECT credits_my_explain() ->> 'user_id')), 'bob', '... and what explains its balance');
	is($as->do(q(SELECT count(*) FROM credits_my_usage())), '30', '... and its usage');
	$as->is_state(q(SELECT credits_history('ann')), '42501', '... history neither');
	$as->is_state(q(SELECT * FROM credits_usage('ann')), '42501', '... nor usage');
	$as->quit;
}

# ---------------------------------------------------------------------------
# Section 7: search_path.

is($s->do(qq(SELECT coalesce(string_agg(p.oid::regprocedure::text || ' ' || coalesce(p.proconfig::text, ''), E'\\n'), '')
   FROM pg_proc p WHERE ${\member('pg_proc', 'p.oid')} AND p.prosecdef
    AND NOT coalesce(p.proconfig, '{}') && ARRAY['search_path=pg_catalog, pg_temp'])),
	'', 'every SECURITY DEFINER function pins search_path = pg_catalog, pg_temp');
is($s->do(qq(SELECT count(*) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE ${\member('pg_proc', 'p.oid')} AND l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL AND NOT coalesce(p.proconfig::text, '') ~ 'search_path' AND p.prosecdef)),
	0, '... and no function in SQL is left to the caller');

# In a schema with an ugly name, owned by nobody special; calls with any search_path.
$node->safe_psql('postgres', 'CREATE DATABASE other OWNER owner');
$node->safe_psql('other', q(CREATE SCHEMA "My Credits"; CREATE EXTENSION credits SCHEMA "My Credits"));
for my $path (q(''), 'pg_catalog', 'evil, pg_catalog', 'pg_temp, evil, pg_catalog, "My Credits"')
{
	my $as = session($node, 'other');

	$as->do($_) for (
		'CREATE SCHEMA IF NOT EXISTS evil',
		q(CREATE OR REPLACE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$),
		q(DO $$ BEGIN CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq); EXCEPTION WHEN duplicate_function THEN NULL; END $$),
		q(CREATE TABLE IF NOT EXISTS evil.credit_account (user_id text, monthly bigint)),
		q(CREATE TABLE IF NOT EXISTS evil.credit_plan (plan text)),
		'CREATE TEMP TABLE credit_history (user_id text, seq bigint)',
		"SET search_path = $path");
	my $user = 'path_' . length $path;
	for my $call (
		q(SELECT S.credits_define_plan('free', 100)), "SELECT S.credits_open_account('$user', 'free')", "SELECT S.credits_add_purchased('$user', 50, 'pay_$user')",
		"SELECT S.credits_deduct('$user', 1, 'why', 'key')", "SELECT S.credits_deduct('$user', 1, 'why', 'key')", "SELECT S.credits_hold('$user', 5)", "SELECT S.credits_grant('$user', 5, '2026-05-01')",
		"SELECT S.credits_balance('$user')", "SELECT S.credits_history('$user')", "SELECT S.credits_explain('$user')", "SELECT S.credits_usage('$user')", 'SELECT S.credits_total_usage()',
		"SELECT S.credits_total_usage('reason')", 'SELECT S.credits_my_usage()', 'SELECT S.credits_my_explain()', 'SELECT * FROM S.credit_open_hold', 'SELECT * FROM S.credit_open_grant', "SELECT sum(available) FROM S.credit_balance", 'SELECT * FROM S.credit_usage_daily',
		"SELECT S.credits_freeze('$user')", "SELECT S.credits_unfreeze('$user')", 'CALL S.credits_run_reset()', 'SELECT S.credits_anchor()', 'SELECT S.credits_reset_due()', 'CALL S.credits_run_verify()',
		"CALL S.credits_grant_many('{$user}', '{1}', '2026-05-01')", q(CALL S.credits_apply_plan('free')), q(CALL S.credits_archive('2020-01-01')), q(SELECT S.credits_grant_role('stranger', 'support')),
		q(SELECT S.credits_revoke_role('stranger', 'support')), 'SELECT S.credits_repair_guards()', "SELECT S.credits_erase_user('$user')", "CALL S.credits_undo_run(plan => 'free', boundary => '2026-01-01')",
		"SELECT S.credits_balance_at('$user', now())")
	{
		my $sql = $call =~ s/\bS\./"My Credits"./gr;
		my ($state) = $as->run($sql);
		ok($state =~ /^(00000|22023)$/, "search_path = $path: $sql") or diag("$state $as->{stderr}");
	}
	is($as->do('SELECT count(*) FROM "My Credits".credits_verify()'), '0', "search_path = $path: clean");
	$as->quit;
}

# "Wherever the user is switched": admin's calls run DDL and DML as the owner; an event trigger of the
# DBA must not meet what the caller planted.
$node->safe_psql('postgres', 'CREATE DATABASE planted');
$node->safe_psql(
	'planted', q(
CREATE SCHEMA credits;
CREATE EXTENSION credits SCHEMA credits;
CREATE SCHEMA hers AUTHORIZATION role_admin;
SELECT credits.credits_grant_role('role_admin', 'admin'), credits.credits_grant_role('role_auditor', 'auditor');
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF r.object_type = 'table' THEN
            RAISE LOG 'a table';
        END IF;
    END LOOP;
END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION watch();
SET credits.clock = '2024-01-01 12:00:00+00';
SELECT credits.credits_define_plan('free', 100);
SET credits.clock = '2024-01-15 12:00:00+00';
SELECT credits.credits_open_account(u, 'free'), credits.credits_deduct(u, 1) FROM unnest('{ann,bob}'::text[]) u;
SET credits.clock = '2026-01-10 12:00:00+00';
CALL credits.credits_run_reset();
SELECT credits.credits_anchor();
SET credits.clock = '2026-01-15 12:00:00+00';
SELECT credits.credits_anchor();
));
{
	my $as = session($node, 'planted');

	$as->do('SET ROLE role_admin');
	$as->do($_) for (
		'CREATE TABLE hers.planted (who text)', 'GRANT INSERT ON hers.planted TO PUBLIC', 'GRANT USAGE ON SCHEMA hers TO PUBLIC',
		q(CREATE FUNCTION hers.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO hers.planted VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$),
		'CREATE OPERATOR hers.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hers.eq)',
		'SET search_path = hers, credits, pg_catalog');
	for my $call (
		q(CALL credits_archive('2025-12-01')), 'CALL credits_run_reset()', 'SELECT credits_reset_due()', q(CALL credits_grant_many('{ann}', '{1}', '2027-01-01')), q(CALL credits_apply_plan('free')),
		q(CALL credits_undo_run(plan => 'free', boundary => '2026-01-01')), q(SELECT credits_define_plan('free', 101)), q(SELECT credits_freeze('ann')), q(SELECT credits_erase_user('ann')), q(SELECT credits_anchor()))
	{
		$as->do('TRUNCATE hers.planted');
		my ($state) = $as->run($call);
		# A partition would be made as the owner, with the event trigger: that is for the owner alone.
		is($state, $call =~ /archive/ ? '42501' : '00000', "planted operator: $call") or diag($as->{stderr});
		is($as->do(q(SELECT coalesce(string_agg(DISTINCT who, ' '), '') FROM hers.planted WHERE who OPERATOR(pg_catalog.<>) 'role_admin')), '', '... nothing of the caller runs as anybody else');
	}
	is($node->safe_psql('planted', q(SELECT count(*) FROM credits.credit_history_archive)), 0, 'nothing was archived');
	$as->quit;
}

# ---------------------------------------------------------------------------
# Section 6: the guards.

my @tables = split / /, $node->safe_psql('platform', qq(SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class c WHERE ${\member('pg_class', 'c.oid')} AND c.relkind IN ('r', 'p')));
cmp_ok(scalar @tables, '>=', 13, 'the tables of the extension');
push @tables, $node->safe_psql('platform', "SELECT c.oid::regclass FROM pg_class c WHERE c.oid = $partition");

for my $mode ('origin', 'replica', 'local')
{
	my $as = session($node, 'platform');

	$as->do("SET session_replication_role = $mode");
	for my $table (@tables)
	{
		my $column = $as->do("SELECT attname FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum = 1");

		for my $sql ("UPDATE $table SET $column = $column", "UPDATE $table SET $column = $column WHERE false", "DELETE FROM $table", "DELETE FROM $table WHERE false", "TRUNCATE $table", "TRUNCATE $table CASCADE",
			"WITH x AS (DELETE FROM $table RETURNING 1) SELECT count(*) FROM x",
			"MERGE INTO $table t USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE")
		{
			my ($state) = $as->run($sql);
			is($state, 'UC007', "superuser, session_replication_role = $mode: $sql") or diag($as->{stderr});
		}
	}
	$as->quit;
}
{
	my $got = {};
	my ($state, $out, $err) = outcome($node, 'platform', 'DELETE FROM credit_account');

	is($state, 'UC007', 'UC007');
	my ($detail) = $err =~ /DETAIL:  (.*)/;
	my $object = eval { json($detail) } // {};
	is("$object->{error} $object->{table} $object->{command}", 'append_only_violation credit_account DELETE', '... DETAIL has the table and the command') or diag($err);
	like($err, qr/HINT:  \S/, '... and there is a HINT');
}
is($node->safe_psql('platform', qq(SELECT coalesce(string_agg(c.relname, ' '), '') FROM pg_class c WHERE ${\member('pg_class', 'c.oid')} AND c.relkind IN ('r', 'p')
    AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled = 'A' AND t.tgtype & 1 = 0 AND t.tgtype & 2 = 2 AND t.tgtype & 8 = 8 AND t.tgtype & 16 = 16 AND t.tgtype & 32 = 32))),
	'', 'every table has a BEFORE STATEMENT trigger for UPDATE, DELETE and TRUNCATE, ENABLE ALWAYS');

# The owner, who is no superuser, likewise; INSERT is left to the owner and the superuser, not to others.
$node->safe_psql('postgres', 'CREATE DATABASE owned OWNER owner');
{
	my $as = session($node, 'owned');
	my $trusted = $node->safe_psql('owned', q(SELECT bool_or(trusted OR NOT superuser) FROM pg_available_extension_versions WHERE name = 'credits'));

	$as->do('SET ROLE owner') if $trusted eq 't';
	$as->do('CREATE EXTENSION credits');
	$as->do('RESET ROLE');
	$as->do("ALTER TABLE $_ OWNER TO owner") for grep { $_ !~ /archive_/ } @tables;
	$as->do('SET ROLE owner');
	for my $table (grep { $_ !~ /archive_/ } @tables)
	{
		my $column = $as->do("SELECT attname FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum = 1");

		$as->is_state($_, 'UC007', "the owner: $_") for ("UPDATE $table SET $column = $column", "DELETE FROM $table", "TRUNCATE $table CASCADE");
	}
	$as->do('RESET ROLE');
	$as->do('SET ROLE stranger');
	$as->is_state(q(INSERT INTO credit_plan (plan) VALUES ('x')), '42501', 'a stranger may not even INSERT');
	$as->quit;
}

# Verification fails unless every guard is in place and ALWAYS; credits_repair_guards() mends.
for my $harm (
	'ALTER TABLE TAB DISABLE TRIGGER credits_guard',
	'ALTER TABLE TAB ENABLE TRIGGER credits_guard',
	'ALTER TABLE TAB ENABLE REPLICA TRIGGER credits_guard',
	'ALTER TABLE TAB DISABLE TRIGGER ALL',
	'ALTER TABLE TAB RENAME CONSTRAINT x TO y',
	'ALTER TRIGGER credits_guard ON TAB RENAME TO something')
{
	next if $harm =~ /RENAME CONSTRAINT/;
	for my $table (@tables)
	{
		my $sql = $harm =~ s/TAB/$table/r;
		my ($state) = outcome($node, 'platform', $sql);

		next if $state ne '00000';	# PostgreSQL does not allow it here
		my ($verified, $findings, $trouble) = outcome($node, 'platform', 'SELECT * FROM credits_verify()');
		ok($verified eq '00000' && $findings ne '', "verification finds: $sql") or diag("$verified $trouble");
		my ($repaired, $receipt, $error) = outcome($node, 'platform', 'SELECT credits_repair_guards()');
		is($repaired, '00000', '... credits_repair_guards() mends it') or diag("$sql: $error");
		my ($deducted, $answer, $why) = outcome($node, 'platform', q(SELECT credits_deduct('ann', 1)));
		is($deducted, '00000', '... calls go on') or diag("after $sql and its repair: $why");
		outcome($node, 'platform', "ALTER TRIGGER something ON $table RENAME TO credits_guard") if $repaired ne '00000';
		outcome($node, 'platform', "DROP TRIGGER IF EXISTS something ON $table");
		is($node->safe_psql('platform', 'SELECT * FROM credits_verify()'), '', '... clean again');
		is((outcome($node, 'platform', "DELETE FROM $table"))[0], 'UC007', '... and guarded');
	}
}
is(json($node->safe_psql('platform', 'SELECT credits_repair_guards()'))->{repaired}, 0, 'nothing to mend');

# A guarded table that was made a child or a parent: verification says so.
{
	my $db = 'platform';

	$node->safe_psql($db, 'CREATE TABLE parent (LIKE credit_payment); ALTER TABLE credit_payment INHERIT parent');
	is((outcome($node, $db, 'DELETE FROM parent'))[0] eq '00000' ? 'went round' : 'refused', 'went round', '(a parent goes round the guard of an empty table)');
	isnt($node->safe_psql($db, 'SELECT * FROM credits_verify()'), '', 'a guarded table that was made a child is found');
	$node->safe_psql($db, 'ALTER TABLE credit_payment NO INHERIT parent; DROP TABLE parent');
	$node->safe_psql($db, 'CREATE TABLE child () INHERITS (credit_payment)');
	isnt($node->safe_psql($db, 'SELECT * FROM credits_verify()'), '', 'a guarded table that was made a parent is found');
	$node->safe_psql($db, 'DROP TABLE child');
	is($node->safe_psql($db, 'SELECT * FROM credits_verify()'), '', '... and clean again');
}

# A forged row breaks the chain.
$node->safe_psql('platform', q(INSERT INTO credit_history SELECT (h).* FROM (SELECT h FROM credit_history h WHERE user_id = 'ann' ORDER BY seq DESC LIMIT 1) x WHERE false));
for my $forgery (
	q(INSERT INTO credit_history SELECT (jsonb_populate_record(h, jsonb_build_object('seq', h.seq + 1))).* FROM credit_history h WHERE user_id = 'ann' ORDER BY seq DESC LIMIT 1),
	q(INSERT INTO credit_payment (payment_ref, user_id, seq, amount, revoked, paid_at, granted) VALUES ('forged', 'ann', 1, 1000, 0, '2026-01-01', false)),
	q(INSERT INTO credit_grant (user_id, seq, amount, remaining, ends_at, closed, paid) VALUES ('ann', 1, 1000, 1000, '2027-01-01', false, false)),
	q(INSERT INTO credit_account SELECT (jsonb_populate_record(a, '{"user_id": "forged"}')).* FROM credit_account a WHERE user_id = 'ann'),
	q(INSERT INTO credit_plan SELECT (jsonb_populate_record(p, '{"version": 2, "monthly_credits": 5000, "effective_from": "2030-01-01T00:00:00Z"}')).* FROM credit_plan p WHERE plan = 'free' AND version = 1),
	q(INSERT INTO credit_audit_log SELECT (jsonb_populate_record(l, jsonb_build_object('seq', l.seq + 1))).* FROM credit_audit_log l ORDER BY seq DESC LIMIT 1))
{
	$node->safe_psql('postgres', 'CREATE DATABASE forged TEMPLATE platform');
	my ($state, $out, $err) = outcome($node, 'forged', $forgery);
	is($state, '00000', 'INSERT is left to the superuser') or diag($err);
	isnt($node->safe_psql('forged', 'SELECT * FROM credits_verify()'), '', "... and found: $forgery");
	$node->safe_psql('postgres', 'DROP DATABASE forged');
}

# ---------------------------------------------------------------------------
# Section 2 and 7: a role's identity is its OID.

sub rights
{
	my ($role) = @_;

	return $s->do(qq(SELECT coalesce(string_agg(DISTINCT p.proname, ' '), '') FROM pg_proc p WHERE ${\member('pg_proc', 'p.oid')} AND has_function_privilege('$role', p.oid, 'EXECUTE')));
}

sub presets_of
{
	my ($role) = @_;

	return $s->do("SELECT coalesce(string_agg(preset, ' ' ORDER BY preset), '') FROM credit_role WHERE role_oid = '$role'::regrole");
}

my $app_rights = rights('role_app');

# Without USAGE for PUBLIC, to see what a preset gives.
$s->do('REVOKE ALL ON SCHEMA public FROM PUBLIC');
my $renamed = 0;
my $shown = $s->do(q(SELECT CASE WHEN to_regproc('credits_roles') IS NULL THEN 'credit_role' ELSE 'credits_roles()' END));
for my $presets ([qw(app)], [qw(app billing)], [qw(support app)])
{
	my $no = ++$renamed;
	my ($kept) = grep { $_ ne 'app' } @$presets;

	$s->do("CREATE ROLE before_$no");
	$s->do("SELECT credits_grant_role('before_$no', '$_')") for @$presets;
	is($s->do(qq(SELECT has_schema_privilege('before_$no', 'public', 'USAGE'))), 't', 'a preset brings USAGE on the schema');
	$s->do("ALTER ROLE before_$no RENAME TO after_$no");
	is(json($s->do(qq(SELECT credits_grant_role('after_$no', 'app'))))->{changed}, JSON::PP::false, "@$presets, renamed: the preset is known under the new name");
	like($s->do("SELECT string_agg(r::text, ' ') FROM $shown r"), qr/after_$no/, '... names are shown as they are now');
	my $receipt = json($s->do(qq(SELECT credits_revoke_role('after_$no', 'app'))));
	is($receipt->{changed}, JSON::PP::true, '... it can be revoked');
	is(rights("after_$no"), $kept ? rights("role_$kept") : '', '... what is left is what the other presets give');
	is(presets_of("after_$no"), $kept // '', '... and so says credit_role');
	is($s->do(qq(SELECT has_schema_privilege('after_$no', 'public', 'USAGE'))), $kept ? 't' : 'f', '... USAGE goes with the last');
	$s->do("SELECT credits_revoke_role('after_$no', '$kept')") if $kept;
	is(rights("after_$no"), '', '... no right is left');
	$s->is_state("DROP ROLE after_$no", '00000', '... and the role can be dropped');
	is($s->do(q(SELECT count(*) FROM credit_role WHERE role_oid NOT IN (SELECT oid FROM pg_roles))), '0', '... no row stays');
}

# Two roles that exchange names.
$s->do($_) for (
	'CREATE ROLE one', 'CREATE ROLE two', q(SELECT credits_grant_role('one', 'app')), q(SELECT credits_grant_role('two', 'support')),
	'ALTER ROLE one RENAME TO three', 'ALTER ROLE two RENAME TO one', 'ALTER ROLE three RENAME TO two');
is(presets_of('two') . ' ' . presets_of('one'), 'app support', 'two roles that exchanged names keep their presets');
is(json($s->do(q(SELECT credits_revoke_role('one', 'app'))))->{changed}, JSON::PP::false, '... what a role does not have is not revoked');
is(rights('one'), rights('role_support'), '... and takes no right away');
is(json($s->do(q(SELECT credits_revoke_role('one', 'support'))))->{changed}, JSON::PP::true, '... what it has, is');
is(rights('two') . '/' . rights('one'), "$app_rights/", '... from it and nobody else');
$s->do(q(SELECT credits_revoke_role('two', 'app')));
$s->do('DROP ROLE one, two');

# A role that was dropped: its row is reported, and can be removed; a new one of that name has nothing.
for my $again (0, 1)
{
	$s->do($_) for ('CREATE ROLE left_over', q(SELECT credits_grant_role('left_over', 'app'), credits_grant_role('left_over', 'support')), 'DROP OWNED BY left_over', 'DROP ROLE left_over');
	$s->do('CREATE ROLE left_over') if $again;
	$s->run(q(SELECT credits_revoke_role('left_over', 'app')));
	$s->run(q(SELECT credits_revoke_role('left_over', 'support')));
	is($s->do(q(SELECT count(*) FROM credit_role WHERE role_name = 'left_over')), '0', "a dropped role's record can be removed" . ($again ? ', also where there is another role of that name' : ''));
	$s->do('DROP ROLE left_over') if $again;
}
$s->do($_) for ('CREATE ROLE gone', q(SELECT credits_grant_role('gone', 'app')), 'DROP OWNED BY gone', 'DROP ROLE gone');
my $check = $s->do(q(SELECT CASE WHEN to_regproc('credits_roles') IS NULL THEN 'credits_verify()' ELSE 'credits_roles()' END));
my $reported = $s->do("SELECT coalesce(string_agg(v::text, ' '), '') FROM $check v WHERE problem IS NOT NULL");
like($reported, qr/gone/, "a dropped role's preset is reported");
$s->do('CREATE ROLE gone');
is(rights('gone'), '', 'a new role of that name has no rights');
is(json($s->do(q(SELECT credits_grant_role('gone', 'app'))))->{changed}, JSON::PP::true, '... it can be given the preset');
is(rights('gone'), $app_rights, '... and has it then');
$s->run(q(SELECT credits_revoke_role('gone', 'app')));
is(rights('gone'), '', '... and it can be revoked');
$s->do('DROP ROLE gone');

# Revoked rights that a role has besides, from the DBA: revoking a preset leaves what others give.
for my $preset (@presets)
{
	$s->do('CREATE ROLE lone');
	$s->do("SELECT credits_grant_role('lone', '$preset')");
	$s->do("SELECT credits_revoke_role('lone', '$preset')");
	is(rights('lone'), '', "$preset given and revoked leaves no function");
	is($reads->('lone', ''), '', '... and no table');
	$s->is_state('DROP ROLE lone', '00000', '... the role can be dropped');
}
is($s->do(q(SELECT count(*) FROM credits_verify())), '0', 'clean') or diag($s->do('SELECT * FROM credits_verify()'));

$s->quit;
$node->stop;

# pg_cron knows roles by name: after a rename the job fails.  The ledger knows its job by its id.
for my $sees ('BYPASSRLS', 'NOBYPASSRLS')
{
	my $cron = new_server(
		"contract_cron_$sees",
		conf => "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'postgres'\ncron.use_background_workers = on\nmax_worker_processes = 20\n");

	$cron->safe_psql(
		'postgres', qq(
CREATE EXTENSION pg_cron;
CREATE ROLE sched LOGIN $sees;
CREATE ROLE other LOGIN;
GRANT USAGE ON SCHEMA cron TO sched, other;
SELECT credits_grant_role('sched', 'admin'), credits_grant_role('other', 'admin');
));
	my $as = session($cron, 'postgres');
	$as->do('SET ROLE other');
	my $others = json($as->do('SELECT credits_schedule_reset()'));
	$as->do('SET ROLE sched');
	my $first = $as->is_state('SELECT credits_schedule_reset()', '00000', "a second role schedules a job of its own, $sees");
	my $made = $first ? json($first) : {};
	$as->do('RESET ROLE');
	if (!$made->{job_id})
	{
		$as->quit;
		$cron->stop;
		next;
	}
	is($made->{schedule}, '*/5 * * * *', 'scheduled every five minutes by default');
	$as->do('ALTER ROLE sched RENAME TO renamed');
	$as->do('SET ROLE renamed');
	my $again = json($as->do(q(SELECT credits_schedule_reset('*/10 * * * *'))));
	my $said = $as->{stderr};
	$as->do('RESET ROLE');
	my $mine = "SELECT string_agg(concat_ws('|', jobid, schedule, username), ' ') FROM cron.job WHERE jobid <> $others->{job_id}";
	# pg_cron gives a job only to a role of its name, and to superusers: then that is said.
	my $old = $as->do("SELECT count(*) FROM cron.job WHERE username = 'sched'");
	ok($old == 0 || $said =~ /WARNING.*\b$made->{job_id}\b/s, "$sees: the role was renamed and schedules again: the old job is gone, or a WARNING says so")
	  or diag("$said\n" . $as->do($mine));
	$as->do("DELETE FROM cron.job WHERE username = 'sched'");
	$as->do('SET ROLE renamed');
	is(json($as->do('SELECT credits_unschedule_reset()'))->{removed}, 1, '... it can be unscheduled');
	$as->do('RESET ROLE');
	is($as->do('SELECT jobid FROM cron.job'), $others->{job_id}, '... which leaves the job of another role');
	$as->quit;
	$cron->stop;
}

done_testing();
