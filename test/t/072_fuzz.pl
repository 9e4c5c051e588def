# Random and hostile calls of every function of the extension (test/fuzz), by the
# owner, by a role of each preset and by one that has no right: no connection breaks,
# only documented SQLSTATEs come out, who may not call a function does not get into
# it, and at the end the ledger verifies and not a credit came or went without a row
# that says so.
#
#   CREDITS_SEED=...    the same calls again; it is printed
#   CREDITS_CALLS=...   how many calls (2500)

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../fuzz";

use CreditsFuzz;
use CreditsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{CREDITS_SEED} // int(rand(2**31 - 1));
my $calls = $ENV{CREDITS_CALLS} // 2500;
my @presets = qw(app billing server auditor support admin monitor end_user);

diag("CREDITS_SEED=$seed CREDITS_CALLS=$calls");
fuzz_init($seed);

# What a function's section of the reference says it may raise, and what any may.
sub documented
{
	my ($reference) = @_;
	my %states;

	for my $section (split /^### /m, slurp_file($reference))
	{
		my ($name) = $section =~ /\A(credits_\w+)\n/ or next;
		my @states = map { /\b(UC\d{3}|[0-9][0-9A-Z]{4})\b/g } $section =~ /^(Errors:.*?)\n\n/msg;

		$states{$name} = { map { $_ => 1 } @states, qw(00000 42501 25006 40001 55P03) };
	}
	return \%states;
}

# What no documentation has to say.  A failed transaction goes on failing; a query
# that is no SQL, or reads what there is not, is the caller's of credits_import.
sub is_allowed
{
	my ($states, $call, $state) = @_;

	return 1 if $states->{ $call->{name} }{$state};
	return 1 if $state eq '25P02' && $call->{in_block};
	return $call->{name} eq 'credits_import' && $state =~ /^42/;
}

my $node = new_server('fuzz');
my $states = documented("$FindBin::RealBin/../../docs/reference.md");

# The hashes are of UTF-8 texts.
for my $encoding ('LATIN1', 'SQL_ASCII', 'EUC_JP')
{
	$node->safe_psql('postgres',
		"CREATE DATABASE other TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	is_outcome($node, 'other', 'CREATE EXTENSION credits', '0A000', "$encoding is refused");
	$node->safe_psql('postgres', 'DROP DATABASE other');
}

$node->safe_psql(
	'postgres', fuzz_helpers() . q(
SET credits.clock = '2026-01-10 00:00:00+00';
SELECT credits_define_plan('free', 100), credits_define_plan('pro', 1000, 'anniversary'),
       credits_define_plan('carry', 100, 'calendar', 50), credits_define_plan('big', 9007199254740991);
SELECT credits_open_account('u1', 'free'), credits_open_account('u2', 'pro', '2024-01-31', 'Europe/Berlin'),
       credits_open_account('u3', 'carry'), credits_open_account('u4', 'big'), credits_open_account('u5');
CREATE ROLE fuzz_other; CREATE ROLE "fuzz ""quoted"; CREATE ROLE fuzz_nobody;
ALTER DATABASE postgres SET statement_timeout = '60s';
) . join '', map { "CREATE ROLE fuzz_$_; SELECT credits_grant_role('fuzz_$_', '$_');\n" } @presets);

my @functions = fuzz_functions($node, 'postgres');
my %may = map { ("$_->[0] $_->[1]" => 1) } rows(
	$node, 'postgres', q(
SELECT r.rolname, p.proname FROM pg_roles r, pg_proc p
 WHERE r.rolname ~ '^fuzz_' AND p.proname ~ '^credits_' AND has_function_privilege(r.oid, p.oid, 'EXECUTE')));

# --- The calls: one script, whose session changes its user, settings and clock.

my @roles = (('postgres') x 6, 'fuzz_nobody', map { "fuzz_$_" } @presets);
# What moves credits is tried more often, and what ends an account less.
my @choices = map {
	my $n = $_->{name} =~ /close|freeze|repair|guard|schedule/ && $_->{name} ne 'credits_unfreeze' ? 1
	  : $_->{name} =~ /deduct|hold|capture|release|refund|purchase|grant$|open|unfreeze|import|undo|transfer/ ? 8
	  : 3;
	($_) x $n
} @functions;
my (@script, @calls);
my $at = 0;				# days since 2026-01-10
my $role = new_role();

sub new_role
{
	my $next = $roles[ CreditsFuzz::below(scalar @roles) ];

	$at += CreditsFuzz::below(12) - 1 if CreditsFuzz::one_in(3);
	push @script, 'RESET SESSION AUTHORIZATION;',
	  "SELECT set_config('credits.clock', (timestamptz '2026-01-10 00:00:00+00' + interval '$at days')::text, false);",
	  "SET SESSION AUTHORIZATION $next;";
	return $next;
}

sub new_call
{
	my ($in_block) = @_;
	my $function = $choices[ CreditsFuzz::below(scalar @choices) ];
	my $statement = fuzz_call($function);

	push @calls,
	  {
		name => $function->{name},
		role => $role,
		statement => $statement,
		in_block => $in_block
	  };
	push @script, "$statement;", "\\echo = $#calls :SQLSTATE";
	return;
}

while (@calls < $calls)
{
	if (CreditsFuzz::one_in(12)) { $role = new_role(); }
	elsif (CreditsFuzz::one_in(15)) { push @script, fuzz_setting() . ';'; }
	elsif (CreditsFuzz::one_in(25))
	{
		push @script, 'BEGIN;';
		for (0 .. CreditsFuzz::below(5))
		{
			push @script, 'SAVEPOINT s;' if CreditsFuzz::one_in(3);
			new_call(1);
			push @script, 'ROLLBACK TO s;' if CreditsFuzz::one_in(6);
		}
		push @script, CreditsFuzz::one_in(3) ? 'ROLLBACK;' : 'COMMIT;';
	}
	else { new_call(0); }
}
my ($client) = run_clients($node, 'postgres', [ "\\o /dev/null\n" . join("\n", @script) . "\n" ]);
my %state = $client->{out} =~ /^= (\d+) (\S+)$/mg;

is($client->{rc}, 0, 'psql came to the end of the script') or diag(substr $client->{err}, -2000);
is(scalar(keys %state), scalar(@calls), 'every call was answered');

my (%done, @undocumented, @unlawful);
for my $i (sort { $a <=> $b } keys %state)
{
	my $call = $calls[$i];
	my $said = "call $i by $call->{role}: $state{$i}: " . substr $call->{statement}, 0, 600;

	$done{ $call->{name} }++ if $state{$i} eq '00000';
	push @undocumented, $said unless is_allowed($states, $call, $state{$i});
	push @unlawful, $said
	  if $call->{role} ne 'postgres'
	  && !$may{"$call->{role} $call->{name}"}
	  && $state{$i} !~ /^(42501|25P02)$/;
}
is(scalar(@undocumented), 0, 'only documented SQLSTATEs') or diag(join "\n", @undocumented);
is(scalar(@unlawful), 0, 'who may not call a function does not get into it')
  or diag(join "\n", @unlawful);
is(scalar(grep { !$states->{ $_->{name} } } @functions), 0, 'every function is in the reference');

# --- What is left.

my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP:|terminated by signal|server process .* exited/, 'nothing crashed');
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server answers');
is_clean($node, 'postgres');

# Row by row: what an account can spend or has held, less what it owes, changes by
# what the row says.  What the monthly bucket owes lapses with the period.
is(
	$node->safe_psql(
		'postgres', q(
WITH history AS (
    SELECT user_id, seq, kind, amount, allocations, expired, forfeited, monthly, granted, purchased,
           held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased FROM credit_history
    UNION ALL
    SELECT user_id, seq, kind, amount, allocations, expired, forfeited, monthly, granted, purchased,
           held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased FROM credit_history_archive
), sums AS (
    SELECT user_id, seq, kind, amount, coalesce(expired, 0) AS expired, coalesce(forfeited, 0) AS forfeited,
           -- from what had expired with a hold, was forfeited or had ended: it is gone already
           coalesce((SELECT sum(allocations[i + 1]) FROM generate_series(1, cardinality(allocations), 2) i
                      WHERE allocations[i] IN (-4, -6, -7)), 0) AS gone,
           monthly + granted + purchased + coalesce(held_monthly, 0) + coalesce(held_granted, 0)
               + coalesce(held_purchased, 0) - coalesce(owed_monthly, 0) - coalesce(owed_purchased, 0) AS net,
           coalesce(owed_monthly, 0) AS owed_monthly
      FROM history h
), steps AS (
    SELECT *, net - coalesce(lag(net) OVER w, 0) AS step, coalesce(lag(owed_monthly) OVER w, 0) AS owed_before,
           seq = 1 OR lag(seq) OVER w = seq - 1 AS follows    -- else the year of the row before was dropped
      FROM sums WINDOW w AS (PARTITION BY user_id ORDER BY seq)
), expected AS (
    SELECT *, CASE
           WHEN kind IN ('open', 'purchase', 'adjust', 'set_plan', 'grant', 'import', 'undo', 'transfer_in') THEN amount
           WHEN kind IN ('deduct', 'transfer_out') THEN -amount
           WHEN kind = 'revoke' THEN -amount + gone
           WHEN kind = 'close' THEN -amount - owed_monthly + owed_before
           WHEN kind = 'capture' THEN -amount + gone - expired
           WHEN kind IN ('refund', 'reinstate') THEN amount - forfeited
           WHEN kind IN ('reset', 'restart') THEN amount - expired + owed_before
           ELSE -expired END AS should
      FROM steps)
SELECT user_id, seq, kind, amount, step, should FROM expected WHERE step <> should AND follows LIMIT 5
)),
	'',
	'no credit comes or goes without a row that says so');
is(
	$node->safe_psql(
		'postgres', q(
SELECT a.user_id FROM credit_account a
 WHERE (a.held_monthly, a.held_purchased, a.granted) <>
       (SELECT coalesce(sum(h.monthly), 0), coalesce(sum(h.purchased), 0),
               (SELECT coalesce(sum(g.remaining), 0) FROM credit_grant g WHERE g.user_id = a.user_id)
          FROM credit_hold h WHERE h.user_id = a.user_id AND h.state = 'open')
)),
	'',
	'what is held and granted is in the holds and grants');
note(join ', ', map { "$_->{name} " . ($done{ $_->{name} } // 0) } @functions);
note(scalar(grep { $_ eq '00000' } values %state) . ' of ' . @calls . ' calls succeeded');

done_testing();
