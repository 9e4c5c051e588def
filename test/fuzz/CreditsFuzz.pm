# Random and hostile calls of every function of the extension, as SQL.
#
# The functions come from pg_proc, so that a new one is tried without anything being
# said here; only a type that no function had before needs a generator.  Everything
# follows from the seed.  Arguments are always valid values of their types: what
# fails is the function, not a literal.
package CreditsFuzz;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';

our @EXPORT = qw(fuzz_functions fuzz_init fuzz_helpers fuzz_call fuzz_setting);

my $rand;	# so that no module's use of rand changes ours
my $is_wild;	# the call at hand: whatever its arguments' types allow

sub fuzz_init
{
	my ($seed) = @_;

	$rand = $seed & 0x7fffffff;
	return;
}

# A number from 0 to $n - 1.
sub below
{
	my ($n) = @_;

	$rand = ($rand * 1103515245 + 12345) & 0x7fffffff;
	return int($rand / 0x80000000 * $n);
}

sub one_in { return below($_[0]) == 0; }
sub pick { return $_[ below(scalar @_) ]; }

sub quoted
{
	my ($text) = @_;

	$text =~ s/\\/\\\\/g;
	$text =~ s/'/''/g;
	return "E'$text'";
}

# What a caller would know: what is there to name.  (A subquery is no argument of CALL.)
sub fuzz_helpers
{
	return q(
CREATE FUNCTION fuzz_run() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS
    $$ SELECT run_id FROM credit_reset_run ORDER BY ctid DESC LIMIT 1 $$;
CREATE FUNCTION fuzz_anchor() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public AS
    $$ SELECT credits_anchor() ->> 'anchor' $$;
CREATE FUNCTION fuzz_seq(who text, kinds text[], nth int) RETURNS int8 LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = public AS
    $$ SELECT seq FROM credit_history WHERE user_id = who AND kind = ANY (kinds) ORDER BY seq DESC OFFSET nth LIMIT 1 $$;
);
}

# The functions and procedures of the extension in a database, each with its
# arguments: [name, type].
sub fuzz_functions
{
	my ($node, $db) = @_;
	my @functions;

	for my $line (
		split /\n/,
		$node->safe_psql(
			$db, q(
SELECT p.proname, p.prokind,
       coalesce((SELECT string_agg(coalesce(p.proargnames[i], '') || ':' || format_type(a.type, NULL), ',' ORDER BY i)
                   FROM unnest(coalesce(p.proallargtypes, p.proargtypes)) WITH ORDINALITY a (type, i)
                  WHERE coalesce(p.proargmodes[i], 'i') IN ('i', 'b', 'v')), ''),
       p.pronargdefaults, p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'credits')
 ORDER BY p.proname
)))
	{
		my ($name, $kind, $args, $defaults, $is_trigger) = split /\|/, $line, -1;

		push @functions,
		  {
			name => $name,
			is_procedure => $kind eq 'p',
			is_trigger => $is_trigger eq 't',
			args => [ map { [ split /:/, $_, 2 ] } split /,/, $args ],
			defaults => $defaults
		  };
	}
	return @functions;
}

# --- Values.  Each generator gives an SQL expression.

my @users = map { "u$_" } 1 .. 5;
my @plans = qw(free pro carry yearly big);

# A text of so many bytes whose last character has so many.
sub text_of_bytes
{
	my ($bytes, $last) = @_;
	my $character = { 1 => 'a', 2 => "\\u00e9", 3 => "\\u20ac", 4 => "\\U0001F600" }->{$last};

	return "repeat('a', " . ($bytes - $last) . ") || " . "E'$character'";
}

sub hostile_text
{
	return pick(
		"''", "' '", "E'\\n'", "E'\\x01\\x7f'", "'%s%n%d%1\$s'", "'''; DROP TABLE credit_account; --'",
		"'\"; SELECT 1; --'", "E'\\\\'", "'\$1'", "'\$\$'", "'NULL'", "'{}'", "E'\\u202e\\u0301x'",
		"E'\\U0010FFFF'", "E'\\uFEFF'", "'infinity'", "'public'", "'none'", "'*/5 * * * *'",
		text_of_bytes(255, 1), text_of_bytes(256, 1), text_of_bytes(255, 2), text_of_bytes(256, 2),
		text_of_bytes(255, 3), text_of_bytes(257, 3), text_of_bytes(255, 4), text_of_bytes(258, 4),
		"repeat(E'\\u00e9', 127)", "repeat(E'\\u00e9', 128)", "repeat('x', 70000)",
		one_in(10) ? "repeat('y', 3000000)" : "repeat('y', 8191)");
}

my $user;	# of the call at hand

my %names = (
	user_id => sub {
		$user = quoted(pick(@users, @users, 'nobody'));
		return $user;
	},
	hold_seq => sub { return "fuzz_seq($user, '{hold}', " . below(4) . ')'; },
	seq => sub { return "fuzz_seq($user, '{deduct,capture}', " . below(4) . ')'; },
	to_user_id => sub { return quoted(pick(@users, 'nobody')); },
	plan => sub { return quoted(pick(@plans, 'no_such_plan')); },
	bucket => sub { return quoted(pick(qw(monthly granted purchased Monthly))); },
	cycle => sub { return quoted(pick(qw(calendar anniversary daily weekly yearly hourly))); },
	at => sub { return quoted(pick(qw(now next_reset never))); },
	time_zone => sub {
		return quoted(
			pick(
				'UTC', 'Europe/Berlin', 'america/santiago', 'Pacific/Apia', 'Asia/Kathmandu',
				'localtime', 'posixrules', 'FOO5BAR', '../../../etc/passwd', 'EST5EDT', '<+03>-3',
				'Etc/GMT+12', '+05'));
	},
	cycle_anchor => sub {
		my $at = pick('2026-01-31', '2024-02-29', '2026-03-29 02:30', '2026-10-25T02:30:00', '0001-01-01 00:00', '9999-12-31 23:59:59.999999999');

		return quoted($at) if one_in(3);
		return quoted($at . pick('Z', '+01', '+01:00', '-0530', '+15:59:59', '-15:59:59', '+16', '+', ':', ' BC', 'T', '.', '+1', '-00:00:60'));
	},
	payment_ref => sub { return quoted('pay_' . below(12)); },
	idempotency_key => sub { return one_in(2) ? quoted('key_' . below(20)) : 'NULL'; },
	reference => sub { return quoted(pick('pay_1', 'key_1')); },
	spender => sub { return quoted(pick('alice', 'bob')); },
	preset => sub { return quoted(pick(qw(app billing server auditor support admin monitor end_user root))); },
	role_name => sub { return quoted(pick('fuzz_other', 'fuzz "quoted"', 'fuzz_gone', 'pg_monitor')); },
	schedule => sub { return quoted(pick('*/5 * * * *', '61 * * * *', '@daily', '30 seconds')); },
	partition => sub { return quoted('credit_history_archive' . pick('', '_2026', '_2027', '_9999')); },
	source => \&import_source,
	history => sub {
		return one_in(2)
		  ? 'NULL'
		  : quoted(
			pick(
				"SELECT 'v1' AS user_id, timestamptz '2020-01-01+00' AS created_at, 1 AS id, 5::int8 AS amount, 'old' AS reason",
				"SELECT 'v' || i AS user_id, timestamptz '2020-01-01+00' + i * interval '1 h' AS created_at, i AS id, -5::int8 AS amount, '{\"a\": 1}'::jsonb AS metadata FROM generate_series(1, 9) i",
				"SELECT 'v1' AS user_id, NULL::timestamptz AS created_at, 1 AS id",
				"SELECT 'v1' AS user_id, timestamptz 'infinity' AS created_at, 1 AS id",
				"SELECT 1",
				"SELECT 'v1'"));
	},
	anchor => sub {
		return pick(
			'fuzz_anchor()', "replace(fuzz_anchor(), 'a', 'b')",
			"(SELECT 'credits-anchor-1 ' || repeat('9', 40) || ' 2026-01-01T00:00:00Z 1 1 1 ' || repeat(repeat('a', 64) || ' ', 4))",
			"'credits-anchor-1 1 2026-01-01T00:00:00Z 1 1 1'", "repeat('a ', 10)", "repeat(' ', 100000)",
			"repeat('credits-anchor-1 ', 10)", 'NULL');
	},
	kinds => sub {
		return "ARRAY['deduct', 'purchase', 'grant']" if one_in(2);
		return pick("'{}'::text[]", "ARRAY['nothing']", "ARRAY[NULL]::text[]",
			"'{{deduct,hold},{grant,open}}'::text[]", "'[-3:-2]={deduct,hold}'::text[]",
			"array_fill('deduct'::text, ARRAY[3000])");
	},
	user_ids => sub { return q(ARRAY['u1', 'u2', 'u1']); },
	amounts => sub { return 'ARRAY[' . below(9) . ', 2, 3]::int8[]'; },
	reasons => sub { return q(ARRAY[NULL, 'b', '']); },
	idempotency_keys => sub { return q(ARRAY[NULL, 'key_1', 'key_) . below(9) . q(']); },
	spenders => sub { return q(ARRAY['alice', NULL, 'bob']); },
	expires_at => sub {
		my $days = 1 + below(40);

		return "(current_setting('credits.clock')::timestamptz + interval '$days days')";
	},
	before => sub { return "current_setting('credits.clock')::timestamptz"; },
	run_id => sub { return 'fuzz_run()'; },
	boundary => sub { return "date_trunc('month', current_setting('credits.clock')::timestamptz, 'UTC')"; },
	reason => sub { return quoted(pick('why', 'because', '')); },
	max_accounts => sub { return pick(1, 2, 1000); },
	batch_size => sub { return pick(1, 2, 10, 100000, 100001, 0); },
	page_size => sub { return pick(1, 10, 1000, 1001, 0); },
	sample => sub {
		return pick(0, 1, 0.5, "'NaN'::float8", "'-Infinity'::float8", "'Infinity'::float8", -0.1, 1.0000001, "1e-300");
	});

sub import_source
{
	my $user = pick('v1', 'v2', 'v3', 'u1', '');
	my $monthly = pick(0, 5, 100, -1, '9007199254740991', '9007199254740992', 'NULL');
	my $purchased = pick(0, 7, 9007199254740991, 'NULL');
	my $time = pick("'infinity'", "'-infinity'", "'2025-12-20'", "'0044-03-15 BC'", "'1970-01-01'", 'NULL');

	return quoted(
		pick(
			"SELECT '$user' AS user_id, $monthly\::int8 AS monthly, $purchased\::int8 AS purchased",
			"SELECT '$user' AS user_id, 'free' AS plan, $monthly\::int8 AS monthly, $time\::timestamptz AS last_reset",
			"SELECT '$user' AS user_id, 'pro' AS plan, 3::int8 AS monthly, $time\::timestamptz AS last_reset, $time\::timestamp AS cycle_anchor, 'Europe/Berlin' AS time_zone",
			"SELECT 'v' || i AS user_id, i::int8 AS purchased FROM generate_series(1, 30) i",
			"SELECT 'v1' AS user_id UNION ALL SELECT 'v1'",
			"SELECT '$user' AS user_id, 'text' AS monthly",
			"SELECT '$user' AS user_id, 'free' AS plan, 'Nowhere/Land' AS time_zone",
			"SELECT repeat('x', 300) AS user_id",
			"SELECT NULL::text AS user_id", "SELECT 'v1'::varchar AS user_id", "SELECT 1", "",
			"SELECT 'v1' AS user_id; SELECT 2", "SELECT 'v1' AS user_id) s; DROP TABLE credit_plan; --",
			"DELETE FROM credit_account RETURNING user_id", "SELECT user_id FROM credit_account"));
}

my @int8 = (
	'-9223372036854775808', '9223372036854775807', '-1', '0', '1', '9007199254740990', '9007199254740991',
	'9007199254740992', '-9007199254740991', '-9007199254740992', '4611686018427387904', '2147483648');

my @times = (
	"'infinity'", "'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'294276-12-31 23:59:59.999999+00'",
	"'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'", "'10000-01-01 00:00:00+00'",
	"'1970-01-01 00:00:00+00'", "'2024-02-29 23:59:59.999999+00'", "'2026-03-29 01:30:00+00'");

my %types;
%types = (
	text => sub { return hostile_text(); },
	bigint => sub { return "'" . ($is_wild && one_in(2) ? pick(@int8) : 1 + below(30)) . "'::int8"; },
	integer => sub { return "'" . pick(-2147483648, 2147483647, -1, 0, 1, below(100)) . "'::int4"; },
	'double precision' => sub { return "'" . pick(0, 1, 'NaN', '-1', '1e308') . "'::float8"; },
	boolean => sub { return pick('true', 'false'); },
	uuid => sub {
		return pick("'00000000-0000-0000-0000-000000000000'::uuid",
			"'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid");
	},
	'timestamp with time zone' => sub {
		my $at = pick(0, 1, 3600, 86400, 40 * 86400, -86400);

		return pick(@times) . '::timestamptz' if $is_wild && one_in(2);
		return "(current_setting('credits.clock')::timestamptz + interval '$at s')";
	},
	interval => sub {
		return "interval '" . pick(
			'0', '1 us', '15 minutes', '31 days', '31 days 1 us', '-1 day', '1 month', '-1 month 31 days',
			'178000000 years', '2562047788 hours', '-2562047788 hours', '31 days -1 hour', '1 hour') . "'";
	},
	jsonb => sub {
		return pick(
			"'{}'", "'null'", "'[]'", "'\"text\"'", "'{\"a\": {\"b\": [1, 2, null, true]}}'", '\'{"sub": "u1"}\'',
			"(repeat('[', 500) || repeat(']', 500))", "('{\"a\": \"' || repeat('x', 200000) || '\"}')",
			"('[' || repeat('1,', 20000) || '1]')", "'1e4000'", "'{\"a\": -0.00000000000000000001}'",
			"E'{\"\\\\u00e9\": \"\\\\ud83d\\\\ude00\"}'", "'{\"\": \"\"}'") . '::jsonb';
	},
	'text[]' => sub {
		my $n = below(5);

		return "ARRAY[" . join(', ', map { quoted(pick(@users)) } 0 .. $n) . "]" if one_in(2);
		return pick(
			"'{}'::text[]", "'{u1,u2}'::text[]", "'{u1,NULL}'::text[]", "'{{u1,u2},{u3,u4}}'::text[]",
			"'[5:6]={u1,u2}'::text[]", "'[-2147483648:-2147483647]={u1,u2}'::text[]",
			"array_fill('u1'::text, ARRAY[500])", "array_fill(NULL::text, ARRAY[2])",
			"ARRAY[" . hostile_text() . "]", "'{{{{{{u1}}}}}}'::text[]", "array_fill('u'::text, ARRAY[100001])");
	},
	'bigint[]' => sub {
		my $n = below(5);

		return "ARRAY[" . join(', ', map { below(9) } 0 .. $n) . "]::int8[]" if one_in(2);
		return pick(
			"'{}'::int8[]", "'{1,2}'::int8[]", "'{1,NULL}'::int8[]", "'{{1,2},{3,4}}'::int8[]",
			"'[5:6]={1,2}'::int8[]", "array_fill(1::int8, ARRAY[500])", "ARRAY['" . pick(@int8) . "'::int8]",
			"array_fill('9007199254740991'::int8, ARRAY[2])", "array_fill(1::int8, ARRAY[100001])");
	},
	'jsonb[]' => sub {
		return pick("'{}'::jsonb[]", "ARRAY['{}'::jsonb]", "ARRAY[NULL, '1']::jsonb[]",
			"array_fill('{\"a\": 1}'::jsonb, ARRAY[" . below(5) . "])", "ARRAY[ARRAY['1'::jsonb]]");
	},
	credit_account => sub {
		return '(SELECT a FROM credit_account a ORDER BY user_id LIMIT 1)' if one_in(3);
		my $number = pick(@int8);

		return "(SELECT jsonb_populate_record(a, jsonb_build_object("
		  . pick(
			"'monthly', '$number'::int8",
			"'held_monthly', '$number'::int8, 'granted', 5",
			"'granted', '$number'::int8, 'next_event_at', '-infinity'",
			"'plan', 'no_such_plan', 'next_event_at', '1990-01-01+00'",
			"'plan', 'free', 'plan_version', 77, 'next_event_at', '1990-01-01+00'",
			"'time_zone', 'Nowhere/Land', 'next_event_at', '1990-01-01+00', 'next_reset_at', '1990-01-01+00'",
			"'next_reset_at', '-infinity', 'next_event_at', '-infinity'",
			"'next_reset_at', '294276-01-01+00', 'last_monthly_reset', '4713-01-01 BC'",
			"'cycle_anchor', 'infinity', 'next_reset_at', '2000-01-01+00', 'next_event_at', '2000-01-01+00'",
			"'status', 'unheard_of'",
			"'history_hash', '\\x00'",
			"'user_id', NULL",
			"'user_id', repeat('x', 5000)") . ")) FROM credit_account a ORDER BY user_id LIMIT 1)";
	});

# An argument: of the kind that its name promises, if the call is a tame one.
sub value
{
	my ($name, $type, $is_optional) = @_;
	my $value;

	return 'NULL' if one_in($is_optional ? 3 : $is_wild ? 9 : 60);
	if ($names{$name} && !($name eq 'at' && $type ne 'text') && !($is_wild && one_in(3)))
	{
		$value = $names{$name}->();
	}
	else
	{
		my $generator = $types{ $type =~ s/^(?:public\.)?"?(\w.*?)"?$/$1/r }
		  or die "no generator for the type '$type' of the argument '$name'";

		$value = $generator->();
	}
	return $value;
}

# A call of the function as one statement, without the semicolon.
sub fuzz_call
{
	my ($function) = @_;
	my @args = @{ $function->{args} };
	my $required = @args - $function->{defaults};
	my $given = one_in(2) ? @args : $required + below($function->{defaults} + 1);
	my @values;

	$is_wild = one_in(3);
	$user = quoted('u1');
	# too few are an error of the parser's; a procedure's report is an argument too
	for my $i (0 .. $given - 1)
	{
		my ($name, $type) = @{ $args[$i] };

		push @values,
		  $function->{is_procedure} && $name eq 'report' ? 'NULL' : value($name, $type, $i >= $required) . "::$type";
	}
	return ($function->{is_procedure} ? 'CALL' : 'SELECT') . " $function->{name}(" . join(', ', @values) . ')'
	  if $function->{is_procedure} || $function->{is_trigger} || one_in(3);
	return "SELECT * FROM $function->{name}(" . join(', ', @values) . ')';
}

# A setting of the session that a caller may have.
sub fuzz_setting
{
	my $claims = pick(
		'', '{}', '{"sub": "u1"}', '{"sub": "u2", "role": "x"}', '{"sub": 1}', '{"sub": null}', '{"sub": ["u1"]}',
		'{"sub": {"a": "u1"}}', '{"sub": ""}', '[]', '"u1"', 'null', 'not json', '{"sub": "u1"', "{\"sub\": \"\x01\"}",
		'{"sub": "\u0000"}', '{"sub": "\ud800"}', '{"sub": "' . 'x' x 300 . '"}', '{"sub": "u1", "sub": "u2"}',
		'[' x 400 . ']' x 400, '{"sub": "u1", "n": 1e99999}');

	return pick(
		'SET request.jwt.claims = ' . ($claims eq '' ? "''" : "'" . ($claims =~ s/'/''/gr) . "'"),
		'SET TimeZone = ' . pick("'UTC'", "'America/Santiago'", "'Asia/Kathmandu'"),
		'SET DateStyle = ' . pick("'ISO, DMY'", "'German'", "'SQL, MDY'", "'Postgres, YMD'"),
		'SET IntervalStyle = ' . pick(qw(iso_8601 postgres sql_standard)),
		'SET bytea_output = ' . pick(qw(escape hex)),
		'SET extra_float_digits = ' . pick(-15, 0, 3),
		'SET search_path = ' . pick('public', 'pg_catalog, public', 'pg_temp, public'),
		'SET credits.early_lock_release = ' . pick(qw(on off)),
		'SET default_transaction_isolation = '
		  . pick("'read committed'", "'repeatable read'", "'serializable'"),
		'SET lock_timeout = ' . pick(0, 1000),
		'SET constraint_exclusion = ' . pick(qw(on off partition)),
		'SET enable_indexscan = ' . pick(qw(on off)));
}

1;
