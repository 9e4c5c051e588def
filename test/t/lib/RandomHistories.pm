# Random calls of all kinds, as a psql script: what 043_random_histories.pl runs.
package RandomHistories;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';

our @EXPORT = qw(setup_sql random_script);

use constant DAY => 86400;
use constant START => 1767484800;    # 2026-01-04

my @plans = qw(free big pro day day2 week year);
my @zones = qw(UTC Asia/Tokyo America/New_York Europe/Berlin);

sub pick { return $_[ rand @_ ] }

sub iso
{
	my ($at) = @_;
	my ($second, $minute, $hour, $day, $month, $year) = gmtime $at;

	return sprintf '%04d-%02d-%02d %02d:%02d:%02d+00', $year + 1900, $month + 1, $day, $hour, $minute, $second;
}

# Plans of every cycle, and a call that may be refused.
sub setup_sql
{
	return q(
SET credits.clock = '2026-01-01 00:00:00+00';
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('big', 200, 'calendar', 30);
SELECT credits_define_plan('pro', 1000, 'anniversary', 50);
SELECT credits_define_plan('day', 10, 'daily');
SELECT credits_define_plan('day2', 20, 'daily', 5);
SELECT credits_define_plan('week', 50, 'weekly', 20);
SELECT credits_define_plan('year', 1200, 'yearly');
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SELECT ' || call;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM || ': ' || call;
END $$;
);
}

# The nth newest row of these kinds, newer ones more often.  None, if there are not so many.
sub row_of
{
	my ($user, @kinds) = @_;

	return sprintf q((SELECT seq FROM credit_history WHERE user_id = '%s' AND kind IN (%s) ORDER BY seq DESC OFFSET %d LIMIT 1)),
	  $user, join(', ', map { "'$_'" } @kinds), rand(6) * rand;
}

# A hold of theirs that is in this state.
sub hold_of
{
	my ($user, $state) = @_;

	return sprintf q((SELECT seq FROM credit_hold WHERE user_id = '%s' AND state = '%s' ORDER BY seq DESC OFFSET %d LIMIT 1)),
	  $user, $state, rand(4) * rand;
}

# One of the newest payments, of which at least so much is revoked.
sub payment_of
{
	my ($user, $revoked, $newest) = @_;

	return sprintf q((SELECT payment_ref FROM credit_payment WHERE user_id = '%s' AND revoked >= %d ORDER BY seq DESC OFFSET %d LIMIT 1)),
	  $user, $revoked, rand($newest) * rand;
}

# One call for a user, of a kind that this draws: [how often, call, how often where accounts are
# closed and opened again].
sub random_call
{
	my ($world, $user) = @_;
	my ($now, $number) = ($world->{now}, ++$world->{calls});
	my $amount = 1 + int rand(rand() < 0.3 ? 1000 : 60);
	my $plan = pick($world->{closes} ? @plans[ 0 .. 2 ] : @plans);
	my $later = iso($now + DAY * (1 + int rand 40));
	my ($hold, $expired) = (hold_of($user, 'open'), hold_of($user, 'expired'));
	my $spent = row_of($user, 'deduct', 'capture');
	my ($payment, $revoked) = map { payment_of($user, $_, $world->{closes} ? 6 : 3) } 0, 1;
	my $few = 1 + int rand 30;
	my @calls = (
		[ 14, "credits_deduct('$user', $amount)", 40 ],
		[ 8, "credits_hold('$user', " . int(1 + $amount / 2) . ", '" . pick(1, 5, 20, 31) . " days')", 2 ],
		[ 6, "credits_release('$user', $hold)" ],
		[ 3, "credits_capture('$user', $hold)" ],
		[ 4, "credits_capture('$user', $expired)" ],
		[ 4, "credits_capture('$user', $expired, " . int(rand 40) . ')' ],
		[ 2, "credits_capture('$user', $expired, " . int(rand 200) . ", over => 'owe')" ],
		[ 5, "credits_capture('$user', $hold, " . int(rand 40) . ', ' . pick('true', 'false') . ')' ],
		[ 3, "credits_capture('$user', $hold, " . int(rand 200) . ", over => 'owe')" ],
		[ 6, "credits_refund('$user', $spent, $few)", 14 ],
		[ 5, "credits_refund('$user', $spent)", 8 ],
		[ 4, "credits_add_purchased('$user', $amount, 'pay_$number')", 10 ],
		[ 3, "credits_grant('$user', $amount, '$later')" ],
		[ 4, "credits_grant('$user', $amount, '$later', payment_ref => 'pack_$number')", 8 ],
		[ 3, "credits_adjust('$user', '" . pick('monthly', 'purchased') . "', " . (int(rand 41) - 20) . ", 'x')" ],
		[ 1, "credits_adjust('$user', 'granted', " . (-1 - int rand 10) . ", 'x')" ],
		[ 6, "credits_set_plan('$user', '$plan')", 12 ],
		[ 3, "credits_set_plan('$user', NULL)" ],
		[ 6, "credits_set_plan('$user', '$plan', restart => true, idempotency_key => 'r$number', keep_anchor => " . pick('true', 'false') . ')' ],
		[ 3, "credits_set_plan('$user', '$plan', 'next_reset')" ],
		[ 1, "credits_set_plan('$user', NULL, 'next_reset')" ],
		[ 3, "credits_set_cycle('$user', '" . substr(iso($now + DAY * int rand 10), 0, 19) . "', NULL)", 1 ],
		[ 3, "credits_set_cycle('$user', NULL, '" . pick(@zones) . "')", 1 ],
		[ 4, "credits_revoke_purchase($payment, $few)", 10 ],
		[ 2, "credits_revoke_purchase($payment)", 4 ],
		[ 4, "credits_revoke_purchase($payment, total => " . int(1 + rand 60) . ')', 6 ],
		[ 4, "credits_reinstate_purchase($revoked, $few)", 24 ],
		[ 2, "credits_reinstate_purchase($revoked)", 8 ],
		[ 2, "credits_open_account('$user', '$plan', NULL, '" . pick(@zones) . "')" ],
		[ 5, "credits_open_account('$user', '$plan')" ],
		[ 1, "credits_open_account('$user')" ],
		[ 2, "credits_transfer('$user', '" . pick(@{ $world->{users} }) . "', $few)" ],
		[ 1, "credits_set_overdraft('$user', " . int(rand 30) . ", 'x')" ],
		[ 2, "credits_set_low_threshold('$user', " . pick('NULL', 0, $few, $amount, 10 * $amount) . ", 'x')" ],
		[ 0.5, "credits_freeze('$user', 'x')" ],
		[ 3, "credits_unfreeze('$user', 'x')", 14 ],
		[ 0.7, "credits_close_account('$user', 'x')", 10 ],
		[ 0.5, "credits_erase_user('$user')" ]);
	my $all = 0;
	my $often = sub { my ($call) = @_; return $world->{closes} ? $call->[2] // $call->[0] : $call->[0] };

	$all += $often->($_) for @calls;
	my $drawn = rand $all;
	for my $call (@calls)
	{
		return $call->[1] if ($drawn -= $often->($call)) < 0;
	}
	return $calls[0][1];
}

# The query of an import.
sub import_rows
{
	my ($world, $user) = @_;

	return sprintf q($$SELECT '%s'::text AS user_id, '%s' AS plan, %d AS monthly, %d AS purchased, '%s'::timestamptz AS last_reset$$),
	  $user, pick(@plans), rand 50, rand 50, iso($world->{now} - DAY * int rand 60);
}

# What is done for many at once; it commits, so it cannot be tried as the others.
sub random_run
{
	my ($world) = @_;
	my $now = $world->{now};
	my $plan = pick(@plans);
	my $some = join ', ', map { "'$_'" } grep { rand() < 0.5 } @{ $world->{users} };
	my $rows = import_rows($world, pick(@{ $world->{imported} }));
	my $older = iso($now - DAY * (5 + int rand 60));
	my @runs = (
		[ 3, 'CALL credits_run_reset()' ],
		[ 4, "SELECT plan AS p, h.effective_at AS b FROM credit_history h JOIN credit_account a USING (user_id, plan)"
			  . " WHERE kind = 'reset' ORDER BY h.created_at DESC, a.user_id OFFSET " . int(rand 3) . ' LIMIT 1 \gset'
			  . "\nCALL credits_undo_run(plan => :'p', boundary => :'b', regrant => " . pick('true', 'false') . ')' ],
		[ 1, 'SELECT run_id AS r FROM credit_reset_run ORDER BY started_at DESC OFFSET ' . int(rand 3) . ' LIMIT 1 \gset'
			  . "\nCALL credits_undo_run(:'r', regrant => " . pick('true', 'false', 'NULL') . ')' ],
		[ 2, "CALL credits_import($rows, refresh => " . pick('true', 'false') . ')' ],
		[ 0.5, "CALL credits_grant_many(ARRAY[$some]::text[], array_fill(7::int8, ARRAY[" . ($some =~ tr/,// + ($some ? 1 : 0)) . "]), '"
			  . iso($now + DAY * 20) . "')" ],
		[ 0.7, "SELECT credits_define_plan('$plan', " . int(rand 300) . ", rollover_limit => " . pick(0, 0, 30) . ')' ],
		[ 0.7, "CALL credits_apply_plan('$plan')" ],
		$world->{archives} ? [ 0.5, "SELECT credits_anchor() IS NOT NULL;\nCALL credits_archive('$older')" ] : ());
	my $all = 0;

	$all += $_->[0] for @runs;
	my $drawn = rand $all;
	for my $run (@runs)
	{
		return $run->[1] if ($drawn -= $run->[0]) < 0;
	}
	return $runs[0][1];
}

# A script of so many steps.  The same seed gives the same script.  archives: rows are archived now
# and then; closes: accounts are closed and opened again often, mostly in the same period.
sub random_script
{
	my ($seed, $steps, %opt) = @_;

	srand $seed;
	my $world = { now => START, calls => 0, users => [ $opt{closes} ? 'u1' : qw(u1 u2 u3 i1 i2) ], imported => [qw(i1 i2)], %opt };
	my @script = ('\set QUIET on', '\set VERBOSITY verbose', q(\set p ''), q(\set b ''), q(\set r ''), 'SET client_min_messages = error;');
	push @script, "SET credits.clock = '" . iso(START) . "';";
	push @script, map { 'CALL credits_import(' . import_rows($world, $_) . ');' } @{ $world->{imported} };
	for (1 .. $steps)
	{
		my $on = pick(0, 1, 60, 3600, 3600, 7200, 43200, 43200, DAY, 2 * DAY, rand() < 0.3 ? 6 * DAY : 0, rand() < 0.06 ? 40 * DAY : 600);
		$world->{now} += $opt{closes} && rand() < 0.8 ? 60 : $on;
		push @script, "SET credits.clock = '" . iso($world->{now}) . "';";
		my $call = random_call($world, pick(@{ $world->{users} }));
		push @script, "SELECT try(\$try\$$call\$try\$);";
		push @script, random_run($world) . ';' if rand() < 0.1;
	}
	return join "\n", @script, '';
}

1;
