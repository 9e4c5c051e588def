# The state at a time depends only on the history and on that time: the same random calls
# give the same receipts, refusals and balances, whether the sweep runs as early as it can, at
# random moments, in random pieces, or never.  The calls have plans of every cycle, zones
# and anchors that change, restarts, holds, refunds, and accounts that are cancelled, closed
# and opened again.
#
# CREDITS_SEED repeats a run; CREDITS_STEPS makes it longer.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use POSIX qw(strftime);
use Test::More;
use Time::Local qw(timegm);

my $seed = $ENV{CREDITS_SEED} || int(rand(2**31));
my $steps = $ENV{CREDITS_STEPS} || 4000;
srand($seed);
diag("CREDITS_SEED=$seed CREDITS_STEPS=$steps");

my $max = 9007199254740991;
my @users = map { "user_$_" } 'a' .. 'n';
my $whale = 'user_n';    # lives near the cap
my @plans = qw(day_one carry own_day own_carry nothing each_day each_week week_carry each_year huge);
my @zones = qw(UTC Europe/Berlin America/Santiago America/New_York Pacific/Apia
  Asia/Kathmandu Australia/Lord_Howe);
my @keys = map { "key_$_" } 1 .. 30;
my @refs = map { "ref_$_" } 1 .. $steps / 8;

sub pick { return $_[ int(rand(@_)) ]; }

sub between { return $_[0] + int(rand($_[1] - $_[0] + 1)); }

sub chance { return rand() < $_[0]; }

sub quoted { return defined $_[0] ? "'$_[0]'" : 'NULL'; }

# The clock only goes forward: a clock that goes back is another matter.
my $now = timegm(0, 0, 12, 10, 0, 2024);

sub at { return strftime('%Y-%m-%d %H:%M:%S+00', gmtime($_[0])); }

# Most moves are small; some go to the very edge of a period in some zone.
sub move_clock
{
	my $r = rand();

	if ($r < 0.55)
	{
		$now += between(1, 86400);
	}
	elsif ($r < 0.75)
	{
		$now += 86400 * between(1, 10);
	}
	elsif ($r < 0.85)
	{
		$now += 86400 * between(10, 100) + between(0, 86399);
	}
	else
	{
		my @t = gmtime($now);
		my $first = timegm(0, 0, 0, 1, ($t[4] + 1) % 12, $t[5] + 1900 + ($t[4] == 11 ? 1 : 0));
		my $edge = $first - 3600 * pick(0, 0, 1, 2, -3, -4, -5, 5.75, 11, 13, 14) + pick(-1, 0, 0, 1);

		$now = $edge if $edge > $now;
	}
	return;
}

sub amount
{
	my ($user) = @_;

	if ($user eq $whale && chance(0.5))
	{
		return chance(0.3) ? $max : between(1, $max);
	}
	return chance(0.75) ? between(1, 40) : between(1, 500);
}

sub key { return chance(0.25) ? pick(@keys) : undef; }

# A random anchor: any day of the month, the awkward ones more often.
sub anchor
{
	return 'NULL' if chance(0.3);
	return sprintf "'%04d-%02d-%02d %02d:%02d:00'",
	  pick(2023, 2024), pick(1, 3, 5, 7, 8, 10, 12), (chance(0.5) ? pick(29, 30, 31) : between(1, 28)),
	  (chance(0.5) ? 0 : between(0, 23)), pick(0, 0, 30, 59);
}

# What later calls are about: holds, what was spent, payments, and those that were revoked.
# The last ones are kept.
my (@held, @spent, @paid, @revoked);
my $mark = 0;

sub keep
{
	my ($list, $what) = @_;

	push @$list, $what;
	shift @$list if @$list > ($list == \@held ? 4 : 12);
	return $what;
}

# A key by which the call's row is found.
sub marked { my ($list, $user) = @_; return quoted(keep($list, [ $user, 'mark_' . ++$mark ])->[1]); }

# The row of a call that had a key.  Its seq is another one if events before it were written
# otherwise.
sub seq_of { return sprintf q((SELECT seq FROM credit_history WHERE user_id = '%s' AND idempotency_key = '%s')), @_; }

# The user and the row of an earlier call.
sub earlier
{
	my ($list) = @_;
	my ($user, $key) = @{ @$list ? pick(@$list) : [ 'user_a', 'none' ] };

	return (quoted($user), seq_of($user, $key));
}

sub payment { return quoted(keep(\@paid, pick(@refs))); }

# A payment of a list, or any.
sub one_of { my ($list) = @_; return @$list && chance(0.8) ? pick(@$list) : pick(@refs); }

# A random call.
my @weights = (
	[
		5,
		sub {
			my ($user) = @_;
			return sprintf q(credits_hold(%s, %s, %s, NULL, %s)), quoted($user), amount($user),
			  pick(q('1 hour'), q('1 day'), q('9 days'), q('31 days'), q('31 days')), marked(\@held, $user);
		}
	],
	[
		4,
		sub {
			my ($user, $hold) = earlier(\@held);
			return sprintf 'credits_capture(%s, %s, %s, %s, NULL, %s, over => %s)', $user, $hold, chance(0.3) ? 'NULL' : between(0, 60),
			  chance(0.2) ? 'true' : 'NULL', marked(\@spent, $user =~ s/'//gr), chance(0.2) ? q('owe') : 'NULL';
		}
	],
	[ 2, sub { return sprintf 'credits_release(%s, %s)', earlier(\@held); } ],
	[ 4, sub { return sprintf 'credits_refund(%s, %s, %s)', earlier(\@spent), chance(0.3) ? 'NULL' : between(1, 30); } ],
	[
		8,
		sub { my ($user) = @_; return sprintf 'credits_deduct(%s, %s, NULL, %s)', quoted($user), amount($user), marked(\@spent, $user); }
	],
	[
		5,
		sub {
			my ($user) = @_;
			return sprintf 'credits_grant(%s, %s, %s, payment_ref => %s)', quoted($user), between(1, 60), quoted(at($now + between(1, 60 * 86400))), chance(0.4) ? payment() : 'NULL';
		}
	],
	[
		3,
		sub {
			return sprintf 'credits_revoke_purchase(%s, %s)', quoted(keep(\@revoked, one_of(\@paid))), chance(0.4) ? 'NULL' : pick(between(1, 30), 'total => ' . between(1, 60));
		}
	],
	[ 2, sub { return sprintf 'credits_reinstate_purchase(%s, %s)', quoted(one_of(\@revoked)), chance(0.5) ? 'NULL' : between(1, 20); } ],
	[
		3,
		sub {
			my ($user) = @_;
			return sprintf 'credits_set_cycle(%s, %s, %s)', quoted($user), anchor(), chance(0.3) ? 'NULL' : quoted(pick(@zones));
		}
	],
	[
		2,
		sub {
			my ($user) = @_;
			return sprintf 'credits_set_plan(%s, %s, restart => true, keep_anchor => %s)', quoted($user), quoted(pick(@plans[ 0 .. 8 ])), pick(qw(true false));
		}
	],
	[ 1, sub { my ($user) = @_; return sprintf q(credits_transfer(%s, %s, %s)), quoted($user), quoted(pick(@users)), between(1, 20); } ],
	[ 0.5, sub { return sprintf 'credits_close_account(%s)', quoted($_[0]); } ],
	[
		30,
		sub {
			my ($user) = @_;
			return sprintf 'credits_deduct(%s, %s, %s, %s, %s)', quoted($user), amount($user),
			  chance(0.3) ? "'work'" : 'NULL', quoted(key()), chance(0.1) ? q('{"n": 1}') : 'NULL';
		}
	],
	[
		15,
		sub {
			my ($user) = @_;
			return sprintf 'credits_try_deduct(%s, %s, NULL, %s)', quoted($user), amount($user), quoted(key());
		}
	],
	[
		9,
		sub {
			my ($user) = @_;
			return sprintf 'credits_add_purchased(%s, %s, %s, NULL, %s)', quoted($user),
			  chance(0.3) ? 10 : amount($user), payment(), chance(0.1) ? quoted(key()) : 'NULL';
		}
	],
	[
		6,
		sub {
			my ($user) = @_;
			return sprintf q(credits_adjust(%s, %s, %s, 'correction', %s)), quoted($user),
			  quoted(pick(qw(monthly monthly purchased granted))), amount($user) * pick(1, -1), quoted(key());
		}
	],
	[
		8,
		sub {
			my ($user) = @_;
			my $plan = chance(0.1) ? undef : chance(0.03) ? 'no_such_plan' : pick(@plans[ 0 .. 8 ]);

			$plan = 'huge' if $user eq $whale && chance(0.7);
			return sprintf 'credits_set_plan(%s, %s, %s, NULL, %s)', quoted($user), quoted($plan),
			  pick(q('now'), q('next_reset'), q('next_reset'), 'NULL'), quoted(key());
		}
	],
	[ 1, sub { return sprintf q(credits_freeze(%s, 'why')), quoted($_[0]); } ],
	[ 4, sub { return sprintf 'credits_unfreeze(%s)', quoted($_[0]); } ],
	[ 0.5, sub { return sprintf 'credits_repair_clock(%s)', quoted($_[0]); } ],
	[
		2,
		sub {
			my $plan = pick(@plans[ 0 .. 8 ]);
			return sprintf 'credits_define_plan(%s, %s, %s, %s, %s, %s)', quoted($plan),
			  chance(0.2) ? 'NULL' : between(0, 400),
			  chance(0.15) ? pick(map { quoted($_) } qw(calendar anniversary daily weekly yearly)) : 'NULL',
			  chance(0.3) ? pick(0, 10, 50, 1000) : 'NULL',
			  chance(0.3) ? between(0, 50) : 'NULL',
			  chance(0.5) ? 'NULL' : quoted(at($now + between(-86400, 40 * 86400)));
		}
	],
	[
		4,
		sub {
			my ($user) = @_;
			return sprintf 'credits_open_account(%s, %s, %s, %s)', quoted($user),
			  quoted(chance(0.2) ? undef : pick(@plans[ 0 .. 8 ])), anchor(),
			  chance(0.3) ? 'NULL' : quoted(pick(@zones));
		}
	]);
my $total = 0;
$total += $_->[0] for @weights;

sub new_call
{
	my $r = rand($total);
	my $user = pick(@users);

	for my $w (@weights)
	{
		return $w->[1]->($user) if ($r -= $w->[0]) < 0;
	}
	return $weights[0][1]->($user);
}

# A new call, or one of the last again, word for word: what a retry is.
my @sent;
sub call
{
	return pick(@sent) if @sent && chance(0.08);
	push @sent, new_call();
	shift @sent if @sent > 20;
	return $sent[-1];
}

# A random sweep, as psql is to run it: whole, in pieces, or dry.
sub sweep
{
	my $sql = pick(
		'SELECT credits_reset_due();', 'SELECT credits_reset_due(' . between(1, 4) . ');',
		'SELECT credits_reset_due(1);', 'CALL credits_run_reset();',
		'CALL credits_run_reset(' . between(1, 5) . ');',
		'CALL credits_run_reset(2, ' . between(1, 6) . ');',
		'SELECT credits_reset_due(NULL, true);');
	return "\\o /dev/null\n$sql\n\\o\n\\if :ERROR\n\\echo a sweep failed: :LAST_ERROR_MESSAGE\n\\endif\n";
}

# The scripts: swept early, at random, never.  Each step prints "# its number", the answer, and
# everybody's balance; what they print must be the same.
my @sql;
my %script = (early => '', swept => '', never => '');

sub all_of_them { $script{$_} .= $_[0] for keys %script; return; }

sub swept { $script{swept} .= $_[0]; return; }

sub early { $script{early} .= "\\o /dev/null\nSELECT credits_reset_due();\n\\o\n"; return; }

# A refusal is told by try_call, within a subtransaction, or by psql.
sub run_call
{
	my ($call, $in_transaction) = @_;

	all_of_them($in_transaction || chance(0.5)
		? sprintf("SELECT try_call(%s);\n", '$c$' . $call . '$c$')
		: "SELECT $call - 'seq' - 'ref_seq' - 'created_at';\n\\echo :SQLSTATE\n");
	return;
}

sub begin_step
{
	push @sql, $_[0];
	all_of_them("\\echo '#' $#sql\n");
	return;
}

sub end_step
{
	all_of_them("SELECT * FROM everybody;\n");
	all_of_them(sprintf "SELECT credits_balance('%s') - 'seq';\n", pick(@users)) if chance(0.2);
	return;
}

sub step
{
	my ($call) = @_;

	begin_step($call);
	run_call($call);
	end_step();
	return;
}

sub clock_to
{
	$now = $_[0];
	begin_step('the clock moves to ' . at($now));
	all_of_them("SET credits.clock = '" . at($now) . "';\n");
	all_of_them(sprintf "SET timezone = '%s';\n", pick(@zones)) if chance(0.2);
	swept(sweep()) if chance(0.25);
	early();
	end_step();
	return;
}

$script{$_} .= "SET credits.clock = '" . at($now) . "';\n" for keys %script;
for my $call (
	q(credits_define_plan('day_one', 100, 'calendar')),
	q(credits_define_plan('carry', 100, 'calendar', 50, 20)),
	q(credits_define_plan('own_day', 300, 'anniversary')),
	q(credits_define_plan('own_carry', 200, 'anniversary', 1000)),
	q(credits_define_plan('nothing', 0)),
	q(credits_define_plan('each_day', 9, 'daily')),
	q(credits_define_plan('each_week', 60, 'weekly')),
	q(credits_define_plan('week_carry', 50, 'weekly', 70)),
	q(credits_define_plan('each_year', 1000, 'yearly', 300)),
	sprintf(q(credits_define_plan('huge', %s, 'calendar', %s)), $max - 5, $max),
	(
		map {
			sprintf 'credits_open_account(%s, %s, %s, %s)', quoted($_), quoted(pick(@plans[ 0 .. 8 ])),
			  anchor(), quoted(pick(@zones))
		} @users[ 0 .. 9 ]
	),
	qq(credits_open_account('$whale', 'huge')),

	# Each of the cycles, from the beginning.
	q(credits_open_account('user_k', 'each_day', NULL, 'America/Santiago')),
	q(credits_open_account('user_l', 'week_carry', '2024-01-31 02:30', 'Europe/Berlin')),
	q(credits_open_account('user_m', 'each_year', '2024-02-29 00:00')),

	# Three times at one instant: the last one changes nothing but the number of the period.
	(map { qq(credits_set_plan('user_b', 'day_one', NULL, 'restart $_', restart => true)) } 1 .. 3),

	# One of each kind of row, of each refusal and a replay, whatever chance brings.
	q(credits_open_account('late', 'day_one')),
	q(credits_hold('late', 60, '31 days', NULL, 'late')),
	q(credits_open_account('owes', 'own_day')),
	q(credits_deduct('owes', 290, NULL, 'much')),
	q(credits_set_plan('owes', 'own_carry')),
	q(credits_open_account('moves', 'carry')),
	q(credits_set_cycle('moves', NULL, 'Asia/Tokyo')),
	q(credits_add_purchased('moves', 60, 'moved')),
	q(credits_revoke_purchase('moved', 20)),
	q(credits_reinstate_purchase('moved', 5)),
	q(credits_hold('moves', 6, '31 days', NULL, 'held')),
	sprintf(q(credits_release('moves', %s)), seq_of('moves', 'held')),
	q(credits_transfer('moves', 'owes', 1)),
	q(credits_grant('moves', 7, '2024-01-20 00:00+00')),
	q(credits_open_account('leaves', 'day_one')),
	q(credits_close_account('leaves')),
	q(credits_deduct('nobody', 1)),
	q(credits_deduct('user_a', 1000000)),
	q(credits_adjust('user_a', 'purchased', 1, 'correction', 'key_1')),
	q(credits_adjust('user_a', 'purchased', 1, 'correction', 'key_1')),
	q(credits_adjust('user_a', 'purchased', 2, 'correction', 'key_1')),
	q(credits_set_plan('user_a', 'no_such_plan')),
	q(credits_freeze('user_a')),
	q(credits_deduct('user_a', 1)),
	q(credits_unfreeze('user_a')))
{
	step($call);
}
clock_to(timegm(0, 0, 12, 11, 1, 2024));
for my $call (
	sprintf(q(credits_capture('late', %s, 70)), seq_of('late', 'late')),
	q(credits_deduct('moves', 140)),
	q(credits_set_cycle('moves', NULL, 'UTC')))
{
	step($call);
}

while (@sql < $steps)
{
	swept(sweep()) if chance(0.15);
	if (chance(0.22))
	{
		move_clock();
		clock_to($now);
	}
	elsif (chance(0.05))
	{
		# A transaction of some calls, and perhaps a sweep among them.
		my @calls = map { call() } 1 .. between(2, 5);
		my $end = chance(0.6) ? 'COMMIT' : 'ROLLBACK';

		begin_step("BEGIN; @calls; $end");
		all_of_them("BEGIN;\n");
		for my $call (@calls)
		{
			swept("\\o /dev/null\nSELECT credits_reset_due(" . between(1, 20) . ");\n\\o\n") if chance(0.2);
			run_call($call, 1);
		}
		all_of_them("$end;\n");
		end_step();
	}
	else
	{
		step(call());
	}
}

# Three databases, and sessions whose settings have nothing in common.
my $node = new_server('property');
my %start = (
	early => "SET timezone = 'Pacific/Apia';\n",
	swept => "SET timezone = 'America/Los_Angeles';\nSET datestyle = 'ISO, YMD';\n",
	never => "SET timezone = 'Asia/Tokyo';\nSET datestyle = 'SQL, DMY';\n");

for my $db (sort keys %script)
{
	add_database($node, $db);
	$node->safe_psql(
		$db, q(
CREATE FUNCTION try_call(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	receipt jsonb;
	detail text;
BEGIN
	EXECUTE 'SELECT ' || call INTO receipt;
	RETURN (receipt - 'seq' - 'ref_seq' - 'created_at')::text;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || SQLERRM || CASE WHEN SQLSTATE LIKE 'UC%' THEN ' ' || (detail::jsonb - 'seq' - 'hold_seq')::text ELSE '' END;
END $$;
CREATE VIEW everybody AS
	SELECT string_agg(concat_ws(' ', user_id, monthly, granted, purchased, available, held, owed, owed_monthly,
			plan, plan_version, status, extract(epoch FROM period_start), extract(epoch FROM next_reset_at),
			CASE WHEN low THEN 'low' END), '; ' ORDER BY user_id)
	  FROM credit_balance;
));
}
my @order = sort keys %script;
my @done = map { (start_clients($node, $_, [ $start{$_} . $script{$_} ]))[0] } @order;
my %out = map { $order[$_] => wait_client($done[$_])->{out} } 0 .. $#order;

# The same, step by step; the first difference is shown.
my %at = map {
	my $db = $_;
	$db => [ split /^# \d+\n/m, $out{$db} ]
} @order;
shift @$_ for values %at;    # what comes before the first step
is(scalar @{ $at{$_} }, scalar @sql, "$_: every step was run") for @order;
is(join("\n", $out{swept} =~ /^a sweep failed.*/mg), '', 'no sweep failed');

for my $db (qw(early swept))
{
	my $differs;

	for my $i (0 .. $#sql)
	{
		my ($other, $never) = map { $at{$_}[$i] // '' } $db, 'never';

		$other =~ s/^a sweep failed.*\n//mg;
		if ($other ne $never)
		{
			$differs = $i;
			diag("CREDITS_SEED=$seed, step $i: $sql[$i]\n"
				  . ((grep { /clock moves/ } @sql[ 0 .. $i ])[-1] // 'the clock is where it began') . "\n"
				  . "$db:\n$other\nnever:\n$never");
			last;
		}
	}
	is($differs, undef, "$db or never: every step has the same outcome")
	  or diag("CREDITS_SEED=$seed");
}

# The rows of the calls are the same too; only those of events may be fewer or
# more, and have other numbers.
my $rows = q(
SELECT md5(string_agg(concat_ws('|', user_id, kind, amount, monthly_delta, granted_delta, purchased_delta, monthly, granted,
       purchased, owed_monthly, owed_purchased, extract(epoch FROM effective_at), period,
       extract(epoch FROM next_reset_at), plan_version, payment_ref, idempotency_key), E'\n' ORDER BY user_id, n))
  FROM (SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY seq) AS n FROM credit_history
         WHERE kind NOT IN ('reset', 'plan_change', 'hold_end', 'grant_end')) h);
is($node->safe_psql($_, $rows), $node->safe_psql('never', $rows), "$_ or never: the rows of the calls are the same") for qw(early swept);

# Late is as good: the first sweep of the one that was never swept writes the same.
my $written = q(
SELECT string_agg(concat_ws(' ', user_id, monthly, granted, purchased, held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased,
       plan, plan_version, scheduled_plan, cycle, cycle_anchor, time_zone, status, forfeited, CASE WHEN plan IS NOT NULL OR monthly > 0
       THEN concat_ws(' ', period, period_granted, period_share, extract(epoch FROM last_monthly_reset), extract(epoch FROM next_reset_at),
                      last_left, last_limit, last_undone, end_zone, end_anchor, end_cycle) END), E'\n' ORDER BY user_id) FROM credit_account);
my %late = map {
	$_ => $node->safe_psql($_, "SET credits.clock = '" . at($now) . "'; SET timezone = 'UTC'; DO 'BEGIN PERFORM credits_reset_due(); END'; $written")
} @order;
is($late{$_}, $late{never}, "$_ or late: the accounts are the same") for qw(early swept);

# A plan version of the very instant of a boundary, defined when that boundary
# may have been applied already, is too late for it.
{
	my @t = gmtime($now);
	my $edge = at(timegm(0, 0, 0, 1, ($t[4] + 1) % 12, $t[5] + 1900 + ($t[4] == 11 ? 1 : 0)));
	my %got = map {
		$_ => $node->safe_psql(
			$_, "
SET credits.clock = '" . at($now) . "';
DO 'BEGIN PERFORM credits_define_plan(''edge'', 100), credits_open_account(''edge'', ''edge''); END';
SET credits.clock = '$edge';
" . ($_ ne 'never' ? q(DO 'BEGIN PERFORM credits_reset_due(); END';) : '') . q(
DO 'BEGIN PERFORM credits_define_plan(''edge'', 200); END';
SELECT monthly, plan_version FROM credit_balance WHERE user_id = 'edge'))
	} @order;
	is($got{$_}, $got{never}, "$_ or never: a plan changed at the instant of a boundary") for qw(early swept);
}

# Undoing a boundary gives the same, whether it was applied with others or by itself.  The new
# zone makes the period before it a short one.
{
	my @t = gmtime($now);
	my @month = map { my $m = $t[4] + $_; timegm(0, 0, 0, 1, $m % 12, $t[5] + 1900 + int($m / 12)) } 1, 2;
	my $end = q(date_trunc('month', now_at AT TIME ZONE 'Pacific/Honolulu') AT TIME ZONE 'Pacific/Honolulu');
	my %got = map {
		my $db = $_;
		my $sweeps = join '', map { "SET credits.clock = '" . at($_) . "'; DO 'BEGIN PERFORM credits_reset_due(); END';" }
		  $month[0] + 3600, $month[0] + 86400, $month[0] + 5 * 86400;

		$db => $node->safe_psql($db, "
SET credits.clock = '" . at($now) . "';
DO 'BEGIN PERFORM credits_define_plan(''undone'', 100), credits_open_account(''undone'', ''undone''),
	credits_set_cycle(''undone'', NULL, ''Pacific/Honolulu''); END';
" . ($db eq 'never' ? '' : $sweeps) . "
SET credits.clock = '" . at($month[0] + 6 * 86400) . "';
SELECT 'CALL credits_undo_run(plan => ''undone'', boundary => ' || quote_literal($end) || ')' FROM (SELECT credits_now() AS now_at) c \\gexec
SELECT '= ' || concat_ws(' ', monthly, owed_monthly, period, period_granted, last_left, last_limit) FROM credit_account WHERE user_id = 'undone'")
		  =~ s/^\{.*\n//mr
	} @order;
	like($got{never}, qr/^= 1 0 3 1 1 0$/, 'a boundary is undone: what the short period had comes back');
	is($got{$_}, $got{never}, "$_ or never: a boundary is undone") for qw(early swept);
}

for my $db (@order)
{
	is_clean($node, $db, "$db: credits_verify() is clean");
	is_gapless($node, $db, "$db: seq is gapless");
}

# That this was a test: things succeeded, were refused, were due.
is($node->safe_psql('never', 'SELECT count(*) FROM credit_reset_run WHERE kind = $$reset$$'), 1, 'never: only the last sweep ran');
is( $node->safe_psql('swept', 'SELECT sum(failures), count(*) FILTER (WHERE state = $$running$$) FROM credit_reset_run WHERE kind = $$reset$$'),
	'0|0', 'swept: no account failed, every run has ended');
for my $db (@order)
{
	for my $state (qw(UC001 UC002 UC003 UC004 UC006 UC009 UC010 UC011))
	{
		ok(scalar($out{$db} =~ /^$state\b/m), "$db: there was a $state");
	}
	for my $kind (
		qw(open deduct purchase adjust set_plan plan_change reset freeze unfreeze set_cycle restart grant grant_end hold hold_end capture release
		refund revoke reinstate close transfer_out))
	{
		cmp_ok($node->safe_psql($db, "SELECT count(*) FROM credit_history WHERE kind = '$kind'"),
			'>', 0, "$db: there are rows of the kind $kind");
	}
	ok(scalar($out{$db} =~ /"replayed": true/), "$db: there were replays");
}
cmp_ok(
	$node->safe_psql('swept', 'SELECT count(*) FROM credit_history WHERE run_id IS NOT NULL'),
	'>', 50, 'swept: sweeps wrote rows');
cmp_ok(
	$node->safe_psql('never', q(SELECT count(*) FROM credit_history WHERE kind = 'reset' AND skipped > 0)),
	'>', 0, 'never: accounts slept over boundaries');
is($node->safe_psql('never', q(SELECT count(DISTINCT cycle) FROM credit_history WHERE kind = 'reset')), 5, 'never: periods of every cycle ended');
for my $what ('period_share < 1000000', 'owed_monthly > 0', "kind = 'capture' AND -4 = ANY (allocations)", 'last_left > monthly AND last_limit > 0')
{
	cmp_ok($node->safe_psql('never', "SELECT count(*) FROM credit_history WHERE $what"), '>', 0, "never: there is a row with $what");
}
note($node->safe_psql('swept', 'SELECT kind, count(*) FROM credit_history GROUP BY 1 ORDER BY 1'));

done_testing();
