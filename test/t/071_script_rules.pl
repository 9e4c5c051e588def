# The install script and every upgrade script keep the rules PS001 to PS018 that
# pgspot's reference lists: nothing that somebody planted on the search_path is
# used, and nothing that was there before is taken over.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use ScriptRules qw(script_problems %RULES);
use Test::More;

my $root = "$FindBin::RealBin/../..";

# Each rule with what breaks it, and what is like it and does not.
my %sample = (
	PS001 => [ [
			'SELECT pg_catalog.now() - pg_catalog.now();', 'SELECT a FROM s.t WHERE a LIKE $$x$$;',
			'SELECT a FROM s.t WHERE a IN (1, 2);', 'SELECT a FROM s.t WHERE a IS DISTINCT FROM b;',
			'CREATE VIEW s.v AS SELECT a OPERATOR(pg_catalog.+) b > 1 AS c FROM s.t;', 'SELECT a FROM s.t WHERE a BETWEEN 1 AND 2;',
			'DO $x$ BEGIN IF a = 1 THEN NULL; END IF; END $x$;' ],
		[ 'SELECT a OPERATOR(pg_catalog.+) b, pg_catalog.count(*), (-2)::pg_catalog.int8 FROM s.t;',
			'SET search_path = pg_catalog, pg_temp; SELECT a + b FROM s.t;', q(COMMENT ON TABLE s.t IS 'a = b';),
			q(DO $x$ BEGIN RAISE EXCEPTION USING ERRCODE = '0A000'; END $x$;), '-- a = b' ] ],
	PS002 => [ [ 'CREATE OR REPLACE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE c AS $$x$$, $$f$$;',
			'CREATE OR REPLACE PROCEDURE s.f() LANGUAGE c AS $$x$$, $$f$$;' ],
		[ 'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE c AS $$x$$, $$f$$;' ] ],
	PS003 => [ [ 'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE c SECURITY DEFINER AS $$x$$, $$f$$;' ],
		[ 'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$x$$, $$f$$;' ] ],
	PS004 => [ [ 'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE c SECURITY DEFINER SET search_path = public, pg_catalog AS $$x$$, $$f$$;',
			'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE c SECURITY DEFINER SET search_path = pg_temp, pg_catalog AS $$x$$, $$f$$;' ],
		[ 'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE c SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$x$$, $$f$$;' ] ],
	PS005 => [ [ 'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE sql AS $$SELECT 1$$;',
			'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$;' ],
		[ 'CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$SELECT 1 + 1$$;' ] ],
	PS006 => [ ['CREATE OR REPLACE TRANSFORM FOR pg_catalog.int4 LANGUAGE c (FROM SQL WITH FUNCTION s.f(pg_catalog.internal));'],
		['CREATE TRANSFORM FOR pg_catalog.int4 LANGUAGE c (FROM SQL WITH FUNCTION s.f(pg_catalog.internal));'] ],
	PS007 => [ [ 'CREATE OR REPLACE AGGREGATE s.a (pg_catalog.int4) (SFUNC = s.f, STYPE = pg_catalog.int4);',
			'CREATE TABLE IF NOT EXISTS s.t AS SELECT 1 AS a;', 'CREATE OR REPLACE TRIGGER t BEFORE UPDATE ON s.t EXECUTE FUNCTION s.f();',
			'CREATE COLLATION IF NOT EXISTS s.c (provider = icu);' ],
		['CREATE TABLE s.t AS SELECT 1 AS a;'] ],
	PS008 => [ ['ALTER SEQUENCE q OWNED BY s.t.a;'], ['ALTER SEQUENCE s.q OWNED BY s.t.a;'] ],
	PS009 => [ [ 'SELECT CASE a WHEN 1 THEN 2 END FROM s.t;', 'DO $x$ BEGIN PERFORM CASE a WHEN 1 THEN 2 END; END $x$;' ],
		[ 'SELECT CASE WHEN a OPERATOR(pg_catalog.=) 1 THEN 2 ELSE 3 END FROM s.t;' ] ],
	PS010 => [ ['CREATE SCHEMA IF NOT EXISTS s;'], ['CREATE SCHEMA s;'] ],
	PS011 => [ ['CREATE SEQUENCE IF NOT EXISTS s.q;'], ['CREATE SEQUENCE s.q;'] ],
	PS012 => [ [ 'CREATE TABLE IF NOT EXISTS s.t (a pg_catalog.int4);', 'CREATE UNLOGGED TABLE IF NOT EXISTS s.t ();' ],
		['CREATE TABLE s.t (a pg_catalog.int4);'] ],
	PS013 => [ ['CREATE SERVER IF NOT EXISTS s FOREIGN DATA WRAPPER w;'], ['CREATE SERVER s FOREIGN DATA WRAPPER w;'] ],
	PS014 => [ [ 'CREATE INDEX IF NOT EXISTS i ON s.t (a);', 'CREATE UNIQUE INDEX IF NOT EXISTS i ON s.t (a);' ],
		['CREATE UNIQUE INDEX i ON s.t (a) WHERE a IS NOT NULL;'] ],
	PS015 => [ [ 'CREATE OR REPLACE VIEW s.v AS SELECT 1 AS a;' ], ['CREATE VIEW s.v AS SELECT 1 AS a;'] ],
	PS016 => [ [ 'SELECT now();', 'SELECT a FROM s.t WHERE length(a) OPERATOR(pg_catalog.>) 1;', 'SELECT "Odd Name"(1);',
			'CREATE TABLE s.t (a pg_catalog.int4 DEFAULT random());', 'DO $x$ BEGIN PERFORM now(); END $x$;',
			'CREATE TABLE s.t (a pg_catalog.int4 CHECK (length(a) OPERATOR(pg_catalog.>) 1));' ],
		[ 'SELECT pg_catalog.now(), COALESCE(a, b), ROW(1) FROM ONLY s.t WHERE EXISTS (SELECT 1 FROM s.u) AND a OPERATOR(pg_catalog.=) ANY (ARRAY[1]);',
			'CREATE TABLE s.t (a pg_catalog.int4, CONSTRAINT c PRIMARY KEY (a), CONSTRAINT d CHECK (a IS NOT NULL)) PARTITION BY RANGE (a);',
			'SELECT x FROM (SELECT 1) t (x);' ] ],
	PS017 => [ [ 'SELECT a FROM t;', 'SELECT s.t.a FROM s.t JOIN u ON true;', q(SELECT '1'::int4;), 'SELECT CAST(a AS int4) FROM s.t;',
			'INSERT INTO t VALUES (1);', 'UPDATE t SET a = 1;', 'DELETE FROM t;', 'CREATE TABLE t (a pg_catalog.int4);',
			'CREATE INDEX i ON t (a);', 'CREATE TRIGGER g BEFORE UPDATE ON t EXECUTE FUNCTION s.f();', 'ALTER TABLE t ADD a pg_catalog.int4;',
			'CREATE TABLE s.t (a pg_catalog.int4 REFERENCES u);' ],
		[ 'WITH t AS (SELECT 1 AS a) SELECT a FROM t;', q(SELECT '1'::pg_catalog.int4 FROM s.t;), 'CREATE INDEX i ON s.t (a);',
			'SELECT a FROM s.t FOR UPDATE;', 'REVOKE ALL ON s.t FROM PUBLIC;',
			'CREATE TRIGGER g BEFORE UPDATE OR DELETE OR TRUNCATE ON s.t FOR EACH STATEMENT EXECUTE FUNCTION s.f();' ] ],
	PS018 => [ [ q(SET search_path TO 'pg_catalog, pg_temp';),
			q(CREATE FUNCTION s.f() RETURNS pg_catalog.int4 LANGUAGE sql SET search_path = 'pg_catalog, pg_temp' AS $$SELECT 1$$;) ],
		[ 'SET search_path TO pg_catalog, pg_temp;', q(SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false); SELECT 1 + 1;) ] ],
);

is(join(' ', sort keys %sample), join(' ', map { sprintf 'PS%03d', $_ } 1 .. 18), 'a sample for each rule');
is(join(' ', sort keys %RULES), join(' ', sort keys %sample), '... that there is');
for my $rule (sort keys %sample)
{
	my ($bad, $good) = @{ $sample{$rule} };
	for (@$bad)
	{
		my @problems = script_problems($_);
		ok(scalar(grep { / \Q$rule\E / } @problems), "$rule fires: $_") or diag(join "\n", @problems);
	}
	is(join("\n", script_problems($_)), '', "nothing fires: $_") for @$good;
}

my @scripts = sort glob "$root/sql/*--*.sql";
cmp_ok(scalar(@scripts), '>', 0, 'there are scripts');
for my $script (@scripts)
{
	my $name = $script =~ s/.*\///r;
	open my $fh, '<', $script or die "$script: $!";
	local $/;
	my $text = <$fh>;
	is(join("\n", script_problems($text)), '', "$name keeps the rules");

	# What the contract adds: no rows, which would collide with a dump's; and an
	# upgrade grants and revokes nothing, or pg_dump would lose what a DBA granted.
	my $code = $text =~ s/--[^\n]*|\/\*.*?\*\///gsr;
	unlike($code, qr/\bINSERT\s+INTO\b/i, "$name inserts no rows");
	unlike($code, qr/^\s*(?:GRANT|REVOKE)\b/im, "$name grants and revokes nothing by name") if $name =~ /--.*--/;
}
note(scalar(@scripts) . ' script(s), ' . keys(%RULES) . ' rules');
done_testing();
