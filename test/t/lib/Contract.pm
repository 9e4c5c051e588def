# What the tests of the contract share: calls that are tried one by one, and what
# the tables say before and after.
package Contract;

use strict;
use warnings FATAL => 'all';

use CreditsTest;
use Exporter 'import';
use JSON::PP ();
use Test::More;

our @EXPORT = qw(contract_server at try_call is_call is_error every_error_has_a_hint contents canonical detail_of);

# The errors that is_error() met without a HINT: an example for each message.
our %without_hint;

# try_call(): the call's answers, or its error, as one object.  contents(): a digest of
# every row of every table of the extension.
my $tools = q(
CREATE FUNCTION try_call(call text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE answers jsonb; sqlstate_ text; message text; detail text; hint text;
BEGIN
    EXECUTE 'SELECT jsonb_agg(to_jsonb(x)) FROM ' || call || ' AS x' INTO answers;
    RETURN jsonb_build_object('state', '00000', 'answers', answers);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS sqlstate_ = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
        detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN jsonb_build_object('state', sqlstate_, 'message', message, 'detail', detail, 'hint', hint);
END $$;

CREATE FUNCTION contents() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    tab regclass;
    digest text := '';
    part text;
BEGIN
    FOR tab IN SELECT c.oid FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
            AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
            WHERE c.relkind IN ('r', 'p') ORDER BY c.relname LOOP
        EXECUTE format('SELECT md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), %L)) FROM %s t', '', tab)
            INTO part;
        digest := digest || tab::text || ' ' || part || chr(10);
    END LOOP;
    RETURN digest;
END $$;
);

# A server with the tools, and a session in it.
sub contract_server
{
	my ($name, %opt) = @_;
	my $node = new_server($name, %opt);

	$node->safe_psql('postgres', $tools);
	return ($node, session($node, 'postgres'));
}

# Set the ledger's clock.
sub at
{
	my ($session, $time) = @_;

	$session->do("SET credits.clock = '$time'");
	return;
}

# The call's answers, {state => '00000', answers => [...]}, or its error.
sub try_call
{
	my ($session, $call) = @_;

	return json($session->do('SELECT try_call($call$' . $call . '$call$)'));
}

# The call must answer with this SQLSTATE.  Gives the (first) answer.
sub is_call
{
	my ($session, $call, $state, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $got = try_call($session, $call);

	is($got->{state}, $state, $test // $call) or diag("$call\n" . canonical($got));
	return $got->{state} eq '00000' ? $got->{answers}[0] : $got;
}

sub contents { return $_[0]->do('SELECT contents()'); }

sub canonical { return JSON::PP->new->canonical->allow_nonref->encode($_[0]); }

sub detail_of { return eval { JSON::PP->new->decode($_[0]{detail}) }; }

# An error as the contract has it: a sentence, an object, and nothing changed;
# fields: what DETAIL has, undef if there is nothing to say.  Whether
# there is a hint, where the SQLSTATE is the ledger's own, is noted for every_error_has_a_hint().
sub is_error
{
	my ($session, $call, $state, $fields, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = contents($session);
	my $got = try_call($session, $call);

	subtest $test // $call => sub {
		is($got->{state}, $state, 'SQLSTATE') or diag(canonical($got));
		return if $got->{state} ne $state;
		$without_hint{"$state $got->{message}"} = $call if $got->{hint} eq '' && $state =~ /^UC/;
		is(contents($session), $before, 'nothing changed');
		return if $state =~ /^23/;	# a constraint, and so a message, of somebody else's
		like($got->{message}, qr/^[^\n]+$/, 'MESSAGE is one line');
		unlike($got->{message}, qr/[.!?;] \S/, 'MESSAGE is one sentence');
		my $detail = detail_of($got);
		return if !defined $fields && $got->{detail} eq '';
		is(ref $detail, 'HASH', 'DETAIL is one JSON object') or diag("DETAIL: $got->{detail}");
		if (ref $detail eq 'HASH')
		{
			for my $field (@$fields)
			{
				my ($name, $value) = ref $field ? @$field : ($field);

				ok(exists $detail->{$name}, "DETAIL has $name") or diag($got->{detail});
				is(canonical($detail->{$name}), canonical($value), "... its value") if @{ ref $field ? $field : [] } > 1;
			}
			for my $name (grep { !ref $detail->{$_} && defined $detail->{$_} } sort keys %$detail)
			{
				unlike(canonical($detail->{$name}), qr/^"-?\d+"$/, "DETAIL's $name is no number in quotes")
				  unless $name =~ /^(value|plan|idempotency_key|payment_ref|user_id)$/;
			}
		}
	};
	return $got;
}

sub every_error_has_a_hint
{
	return is(join("\n", map { "$_: $without_hint{$_}" } sort keys %without_hint), '', 'every error with a SQLSTATE of its own has a HINT');
}

1;
