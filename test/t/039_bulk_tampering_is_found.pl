# A ledger with undone runs, imports, transfers and closed accounts verifies, by
# credits_verify() and by the verifier that shares no code with it.  If somebody who can make
# the hashes forges a row of these kinds, both find it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../verify";

use CreditsFormat ();
use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $verify = "$FindBin::RealBin/../verify";
my @tables = qw(credit_account credit_history credit_grant);
my $node = new_server('audit_bulk', conf => "fsync = off\n");

# name => [row, columns]: what is forged, in a user's history of its own.
my %forgery = (
	imported_moves    => [ 2, { monthly_delta => 5 } ],
	imported_period   => [ 1, { period_start => '2025-12-01 00:00:00+00' } ],
	import_more       => [ 3, { monthly_delta => 41 } ],
	import_unpaid     => [ 3, { amount => 141 } ],
	import_granted    => [ 3, { period_granted => 0 } ],
	import_frozen     => [ 3, { status => 'frozen' } ],
	import_later      => [ 3, { period_start => '2026-02-01 00:00:00+00' } ],
	import_endless    => [ 3, { next_reset_at => '\N' } ],
	import_for_ever   => [ 3, { next_reset_at => '2027-01-01 00:00:00+00' } ],
	undo_keeps        => [ 4, { purchased_delta => 0, amount => -40 } ],
	undo_plan         => [ 4, { plan => 'bulk', plan_version => 1 } ],
	undo_other        => [ 4, { ref_seq => 2 } ],
	undo_twice        => [ 10, { ref_seq => 3 } ],
	undo_nothing      => [ 10, { ref_seq => '\N' } ],
	undo_debt         => [ 10, { owed_monthly => 0 } ],
	undo_gift         => [ 10, { monthly_delta => 10 } ],
	undo_granted      => [ 10, { period_granted => 100 } ],
	undo_not_undone   => [ 10, { last_undone => 'f' } ],
	undo_limit        => [ 10, { last_limit => 5 } ],
	reset_undone      => [ 7, { last_undone => 't' } ],
	reset_share       => [ 7, { period_share => 500000 } ],
	reset_number      => [ 7, { period => 3 } ],
	import_share      => [ 3, { period_share => 500000 } ],
	import_debts      => [ 5, { allocations => '{0,50,-1,100}' } ],
	plan_undone       => [ 14, { last_undone => 't' } ],
	close_undone      => [ 19, { last_undone => 't' } ],
	close_debt        => [ 19, { owed_monthly => 0 } ],
	undo_grant_less   => [ 13, { granted_delta => -20, amount => -20 } ],
	undo_applied_less => [ 15, { monthly_delta => 0, amount => 0 } ],
	out_less          => [ 16, { purchased_delta => -10 } ],
	out_nobody        => [ 16, { spender => '\N' } ],
	in_more           => [ 17, { purchased_delta => 16 } ],
	close_keeps       => [ 19, { purchased_delta => 0, forfeited => 0 } ],
	close_expired     => [ 19, { expired => 1 } ],
	close_parts       => [ 19, { allocations => '\N' } ],
	close_status      => [ 19, { status => 'active' } ],
	close_granted     => [ 19, { period_granted => 150 } ],
	close_crosses     => [ 19, { crossed => '\N' } ],
	close_threshold   => [ 19, { low_threshold => 5 } ],
	import_crosses    => [ 3, { crossed => 'recovered' } ],
	import_threshold  => [ 3, { low_threshold => 200 } ],
	close_kind        => [ 19, { kind => 'adjust' } ]);

sub sql { my ($db, $sql) = @_; return $node->safe_psql($db, $sql) }
sub at { my ($clock, $sql) = @_; return sql('postgres', "SET credits.clock = '$clock'; $sql") }

sub independent
{
	my ($db) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err);

	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr($db), '-v', "dir=$dir", '-f', "$verify/export.sql" ],
		'>', \$out, '2>', \$err) or die "export of $db: $err";
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $dir ], '>', \$out, '2>', \$err);
	die "verifier: $err" if $? >> 8 == 2;
	return split /\n/, $out;
}

# Everybody has the same history.
my $source = q('SELECT u AS user_id, ''bulk'' AS plan, 40 AS monthly, 100 AS purchased, ''2026-01-01''::timestamptz AS last_reset FROM users');
my $history = q('SELECT u AS user_id, ''2026-01-01''::timestamptz + n * interval ''1 day'' AS created_at, n AS id, -n AS amount FROM users, generate_series(1, 2) n');
at('2026-01-01 00:00:00+00', q(
SELECT credits_define_plan('bulk', 100);
CREATE TABLE users (u text PRIMARY KEY);
INSERT INTO users VALUES ) . join(', ', map { "('$_')" } 'clean', sort keys %forgery) . q(;
SELECT credits_open_account('sink');
SELECT credits_add_purchased('sink', 5000, 'pay_1');));
at('2026-01-10 00:00:00+00', "CALL credits_import($source, $history, reason => 'moved')");    # 1 to 3
at('2026-01-11 00:00:00+00', 'CALL credits_import(' . ($source =~ s/40 AS/50 AS/r) . ', refresh => true)');    # 4, 5
at('2026-01-12 00:00:00+00', q(SELECT count(credits_deduct(u, 30)) FROM users));    # 6
at('2026-02-02 00:00:00+00', q(SELECT count(credits_deduct(u, 110)) FROM users));    # 7, 8: -10 of the 100
at('2026-02-03 00:00:00+00', q(SELECT count(credits_grant(u, 5, '2027-01-01')) FROM users));    # 9
at('2026-02-04 00:00:00+00', q(CALL credits_undo_run(plan => 'bulk', boundary => '2026-02-01 00:00:00+00')));    # 10: owes 80
at('2026-02-05 00:00:00+00', q(
SELECT count(credits_adjust(u, 'monthly', 95, 'paid')) FROM users;    -- 11: 15
DO $$
DECLARE everybody text[] := array_agg(u) FROM users; r jsonb;
BEGIN
    CALL credits_grant_many(everybody, array_fill(40::int8, ARRAY[cardinality(everybody)]), '2026-12-01', 'promotion', report => r);    -- 12
END $$));

sub undo_last
{
	my ($kind) = @_;

	return "DO \$\$ DECLARE run uuid := run_id FROM credit_reset_run WHERE kind = '$kind'; r jsonb; BEGIN CALL credits_undo_run(run, report => r); END \$\$";
}
at('2026-02-06 00:00:00+00', undo_last('grant'));    # 13
at('2026-02-07 00:00:00+00', q(SELECT credits_define_plan('bulk', 150)));
at('2026-02-08 00:00:00+00', q(CALL credits_apply_plan('bulk')));    # 14
at('2026-02-09 00:00:00+00', undo_last('apply_plan'));    # 15
at('2026-02-10 00:00:00+00', q(
SELECT count(credits_transfer(u, 'sink', 20)) FROM users;    -- 16
SELECT count(credits_transfer('sink', u, 15)) FROM users;    -- 17
SELECT count(credits_freeze(u)) FROM users;    -- 18
SELECT count(credits_close_account(u, 'gone')) FROM users;    -- 19
));
is(sql('postgres', q(SELECT string_agg(kind, ' ' ORDER BY seq) FROM credit_history WHERE user_id = 'clean')),
	'imported imported import undo import deduct reset deduct grant undo adjust grant undo set_plan undo transfer_out transfer_in freeze close',
	'the history is as it is meant');
is(sql('postgres', q(SELECT monthly_delta || '/' || owed_monthly || ' ' || purchased FROM credit_history WHERE user_id = 'clean' AND seq = 10)),
	'0/80 90', 'the reset had given 100 and taken 20; 80 are owed');

is_clean($node, 'postgres');
my @lines = independent('postgres');
like("@lines", qr/: clean$/, 'clean to the verifier') or diag(join "\n", @lines);

# Forge them, in a copy, with the hashes of all later rows made anew.
sql('template1', 'CREATE DATABASE forged TEMPLATE postgres');
my @columns = sort keys %{ $CreditsFormat::TYPE_OF{credit_history} };
my $no_zero = qr/\A(?:held_\w+|owed_\w+|expired|forfeited)\z/;    # the table has NULL there
my @statements = (
	(map { "ALTER TABLE $_ DROP CONSTRAINT ${_}_" . (/account/ ? 'amounts' : 'row') } qw(credit_account credit_history)),
	'ALTER TABLE credit_history DROP CONSTRAINT credit_history_facts',
	map { "ALTER TABLE $_ DISABLE TRIGGER credits_guard" } @tables);
for my $user (sort keys %forgery)
{
	my ($from, $changes) = @{ $forgery{$user} };
	my $hash = CreditsFormat::first_hash($user);
	my %balance = (monthly => 0, granted => 0, purchased => 0);

	for (split /\n/, sql('postgres', "SET timezone = 'UTC'; SET datestyle = 'ISO'; COPY (SELECT "
			  . join(', ', map { /$no_zero/ ? "coalesce($_, 0)" : $_ } @columns)
			  . " FROM credit_history WHERE user_id = '$user' ORDER BY seq) TO STDOUT"))
	{
		my %text;

		@text{@columns} = split /\t/, $_, -1;
		%text = (%text, %$changes) if $text{seq} == $from;
		$text{$_} = $balance{$_} += $text{"${_}_delta"} for keys %balance;
		$hash = CreditsFormat::history_hash($hash,
			CreditsFormat::decode_row('credit_history', \@columns, [ @text{@columns} ]));
		my %set = ((map { ($_ => $text{$_}) } keys %balance), hash => '\x' . unpack('H*', $hash),
			$text{seq} == $from ? %$changes : ());
		push @statements, 'UPDATE credit_history SET '
		  . join(', ', map { "$_ = " . ($set{$_} eq '\N' || /$no_zero/ && !$set{$_} ? 'NULL' : "'$set{$_}'") } sort keys %set)
		  . " WHERE user_id = '$user' AND seq = $text{seq}";
	}
	push @statements, 'UPDATE credit_account SET ' . join(', ', map { "$_ = $balance{$_}" } sort keys %balance)
	  . sprintf(q(, history_hash = '\x%s' WHERE user_id = '%s'), unpack('H*', $hash), $user);
}
push @statements, map { "ALTER TABLE $_ ENABLE ALWAYS TRIGGER credits_guard" } @tables;
sql('forged', join(";\n", @statements));
my %product = map { $_->[0] => [ $_->[1], $_->[2] ] } rows($node, 'forged', 'SELECT bad_user_id, bad_seq, problem FROM credits_verify()');
my %verifier = map { /^BAD user "([^"]+)" seq (\d+): (.*)/ ? ($1 => [ $2, $3 ]) : () } independent('forged');
for my $user (sort keys %forgery)
{
	for ([ 'credits_verify()', $product{$user} ], [ 'the verifier', $verifier{$user} ])
	{
		my ($who, $found) = @$_;

		is($found ? $found->[0] : 'nothing', $forgery{$user}[0], "$who: $user");
		unlike($found ? $found->[1] : '', qr/hash/, '... and no hash gave it away');
	}
}
is(join(' ', sort keys %product), join(' ', sort keys %forgery), 'credits_verify(): nobody else');
is(join(' ', sort keys %verifier), join(' ', sort keys %forgery), 'the verifier: nobody else');

done_testing();
