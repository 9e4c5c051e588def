# The contract of time: section 5.1, the table of cases of section 5, and the zones.
# Written from the contract and the reference alone.  The cases of the table that the
# rules for proration, late captures and rollover decide (entitlement.md) are not here.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Contract;
use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $s) = contract_server('contract_time', conf => "restart_after_crash = on\n");

at($s, '2000-01-01 00:00:00+00');
$s->do($_) for (
	q(SELECT credits_define_plan('cal', 100, 'calendar')),
	q(SELECT credits_define_plan('ann', 100, 'anniversary')),
	q(SELECT credits_define_plan('roll', 100, 'calendar', 50)),
	q(SELECT credits_define_plan('roll100', 100, 'calendar', 100)),
	q(SELECT credits_define_plan('big', 1000, 'calendar')));

sub balance { my ($user) = @_; return json($s->do("SELECT credits_balance('$user')")); }

sub kinds { my ($user) = @_; return $s->do("SELECT string_agg(kind, ' ' ORDER BY seq) FROM credit_history WHERE user_id = '$user'"); }

# The ends of the next n periods of a user, met one by one.
sub ends
{
	my ($user, $n) = @_;
	my @ends;

	for (1 .. $n)
	{
		my $end = balance($user)->{next_reset_at};

		push @ends, $end;
		last unless defined $end;
		at($s, $end);
	}
	return @ends;
}

# ---------------------------------------------------------------------------
# Boundaries: [case, zone, anchor, opened at, which ends are looked at, they are].

for (
	[ 'anchor 31 Jan 2026', 'UTC', '2026-01-31 00:00:00', '2026-01-31 00:00:00+00', 3,
		[qw(2026-02-28T00:00:00Z 2026-03-31T00:00:00Z 2026-04-30T00:00:00Z)] ],
	[ 'Berlin 02:30, 29 Mar 2026', 'Europe/Berlin', '2026-01-29 02:30:00', '2026-01-29 12:00:00+00', 3,
		[qw(2026-02-28T01:30:00Z 2026-03-29T01:30:00Z 2026-04-29T00:30:00Z)] ],
	[ 'Berlin 02:30, 25 Oct 2026', 'Europe/Berlin', '2026-09-25 02:30:00', '2026-09-25 12:00:00+00', 2,
		[qw(2026-10-25T01:30:00Z 2026-11-25T01:30:00Z)] ],
	[ 'Santiago 00:00, 6 Sep 2026', 'America/Santiago', '2026-08-06 00:00:00', '2026-08-06 12:00:00+00', 2,
		[qw(2026-09-06T04:00:00Z 2026-10-06T03:00:00Z)] ],
	[ 'Apia, 30 Dec 2011', 'Pacific/Apia', '2011-11-30 00:00:00', '2011-11-30 12:00:00+00', 3,
		[qw(2011-12-30T10:00:00Z 2012-01-29T10:00:00Z 2012-02-28T10:00:00Z)] ],
	[ 'Apia, 31 Dec 2011', 'Pacific/Apia', '2011-10-31 00:00:00', '2011-10-31 12:00:00+00', 3,
		[qw(2011-11-30T10:00:00Z 2011-12-30T10:00:00Z 2012-01-30T10:00:00Z)] ])
{
	my ($case, $zone, $anchor, $opened, $n, $expected) = @$_;

	for my $session_zone ('UTC', 'Asia/Tokyo', 'America/Los_Angeles')
	{
		my $user = "$case in $session_zone";

		$s->do("SET timezone = '$session_zone'");
		at($s, $opened);
		$s->do("SELECT credits_open_account('$user', 'ann', '$anchor', '$zone')");
		is(join(' ', ends($user, $n)), "@$expected", "$case, the session in $session_zone");
		is($s->do("SELECT credits_deduct('$user', 1)->'available'"), 99, '... and the last boundary was one');
	}
	$s->do('RESET timezone');
}

at($s, '2024-02-29 12:00:00+00');
$s->do(q(SELECT credits_open_account('leap', 'ann', '2024-02-29 00:00:00', 'UTC')));
is(join(' ', grep { /-02-/ } ends('leap', 48)), join(' ', map { "${_}T00:00:00Z" } qw(2025-02-28 2026-02-28 2027-02-28 2028-02-29)),
	'anchor 29 Feb 2024: 28 Feb in 2025 to 2027, 29 Feb in 2028');

# Calendar: 00:00 on the 1st in the account's time zone; UTC and calendar by default.
for ([ 'UTC', '2026-02-01T00:00:00Z 2026-03-01T00:00:00Z 2026-04-01T00:00:00Z' ], [ 'Asia/Tokyo', '2026-01-31T15:00:00Z 2026-02-28T15:00:00Z 2026-03-31T15:00:00Z' ],
	[ 'Europe/Berlin', '2026-01-31T23:00:00Z 2026-02-28T23:00:00Z 2026-03-31T22:00:00Z' ], [ undef, '2026-02-01T00:00:00Z 2026-03-01T00:00:00Z 2026-04-01T00:00:00Z' ])
{
	my ($zone, $expected) = @$_;
	my $user = 'cal ' . ($zone // 'default');

	at($s, '2026-01-15 12:00:00+00');
	$s->do("SELECT credits_open_account('$user', 'cal'" . (defined $zone ? ", NULL, '$zone')" : ')'));
	is(join(' ', ends($user, 3)), $expected, "calendar, " . ($zone // 'no zone given'));
}

# ---------------------------------------------------------------------------
# Asleep: each case once with nobody there, and once swept at every boundary.

for (
	[ 'cal', 30, 100, 2 ],
	[ 'roll', 10, 150, undef ])
{
	my ($plan, $left, $then, $skipped) = @$_;

	for my $way ('asleep', 'swept')
	{
		my $user = "$way on $plan";

		at($s, '2026-01-15 12:00:00+00');
		$s->do("SELECT credits_open_account('$user', '$plan')");
		$s->do("SELECT credits_deduct('$user', 100 - $left)");
		if ($way eq 'swept')
		{
			for my $time ('2026-02-01 00:00:01+00', '2026-03-01 00:00:01+00', '2026-04-01 00:00:01+00')
			{
				at($s, $time);
				$s->do('CALL credits_run_reset()');
			}
		}
		at($s, '2026-04-10 00:00:00+00');
		is(balance($user)->{monthly}, $then, "over 3 boundaries, plan $plan, $left left, $way: $then");
		is($s->do("SELECT credits_deduct('$user', 1)->'monthly'"), $then - 1, '... and for a call');
		next unless $way eq 'asleep' && defined $skipped;
		is($s->do("SELECT count(*), sum(amount), sum(skipped), max(effective_at) FROM credit_history WHERE user_id = '$user' AND kind = 'reset'"),
			"1|100|$skipped|2026-04-01 00:00:00+00", '... with one grant, the others skipped, at the latest boundary');
	}
}

# The plan is raised on the 20th, the boundary of the 1st applied on the 25th.
for my $way ('deduct', 'sweep', 'read')
{
	at($s, '2026-01-15 12:00:00+00');
	$s->do("SELECT credits_define_plan('raised $way', 100)");
	$s->do("SELECT credits_open_account('raised $way', 'raised $way'), credits_deduct('raised $way', 60)");
	at($s, '2026-02-20 00:00:00+00');
	$s->do("SELECT credits_define_plan('raised $way', 500)");
	at($s, '2026-02-25 00:00:00+00');
	$s->do('CALL credits_run_reset()') if $way eq 'sweep';
	is($way eq 'deduct' ? $s->do("SELECT credits_deduct('raised $way', 1)->'monthly'") + 1 : balance("raised $way")->{monthly}, 100, "plan raised after the boundary, applied by a $way: the old allowance");
	at($s, '2026-03-01 00:00:00+00');
	is(balance("raised $way")->{monthly}, 500, '... and the new one from the next on');
}

# The clock goes back by 8 hours after a reset.
at($s, '2026-01-15 12:00:00+00');
$s->do(q(SELECT credits_open_account('back', 'cal'), credits_deduct('back', 10)));
at($s, '2026-02-01 00:30:00+00');
$s->do(q(SELECT credits_deduct('back', 10)));
at($s, '2026-01-31 16:30:00+00');
is($s->do(q(SELECT r->'monthly', r->'effective_at', r->'created_at' FROM credits_deduct('back', 10) r)), '80|"2026-02-01T00:30:00Z"|"2026-01-31T16:30:00Z"', 'clock back 8 hours after a reset: the time of the last row holds');
$s->do('CALL credits_run_reset()');
at($s, '2026-02-01 00:10:00+00');
is($s->do(q(SELECT credits_deduct('back', 10)->'monthly')), 70, '... no second reset');
at($s, '2026-02-01 02:00:00+00');
is($s->do(q(SELECT credits_deduct('back', 10)->'monthly')), 60, '... nor later');
is(kinds('back'), 'open deduct reset deduct deduct deduct deduct', '... one row of it');

# Opened at 23:59, deducted at 00:01.  Periods are half-open.
at($s, '2026-01-31 23:59:00+00');
$s->do(qq(SELECT credits_open_account('$_', 'cal'), credits_deduct('$_', 40))) for ('midnight', 'instant', 'before');
at($s, '2026-01-31 23:59:59.999999+00');
is($s->do(q(SELECT credits_deduct('before', 1)->'monthly')), 59, 'the last microsecond is in the old period');
at($s, '2026-02-01 00:00:00+00');
is($s->do(q(SELECT credits_deduct('instant', 1)->'monthly')), 99, 'the boundary itself is in the new period');
at($s, '2026-02-01 00:01:00+00');
is($s->do(q(SELECT credits_deduct('midnight', 1)->'monthly')), 99, "opened at 23:59, a deduction at 00:01 has the new period's allowance");
is($s->do(q(SELECT expired FROM credit_history WHERE user_id = 'midnight' AND kind = 'reset')), 60, '... and what was left expired');

# A hold over a reset.
for my $way ('release', 'hold end')
{
	at($s, '2026-01-31 12:00:00+00');
	$s->do("SELECT credits_open_account('hold, $way', 'cal'), credits_hold('hold, $way', 100, '20 hours')");
	at($s, '2026-02-01 07:00:00+00');
	is(balance("hold, $way")->{monthly}, 100, 'a hold of 100 over a reset: the allowance comes');
	$s->do("SELECT credits_release('hold, $way', 2)") if $way eq 'release';
	at($s, '2026-02-02 00:00:00+00');
	is(balance("hold, $way")->{monthly}, 100, "hold 100 on 31 Jan, reset, $way: 100, not 200");
	is(balance("hold, $way")->{held}, 0, '... and nothing held');
}

# Everything at one instant: hold end, grant end, scheduled plan change, boundary.
for my $way ('at the instant', 'later', 'swept')
{
	my $user = "order, $way";

	at($s, '2026-01-15 00:00:00+00');
	$s->do("SELECT credits_open_account('$user', 'roll100')");
	$s->do("SELECT credits_grant('$user', 7, '2026-02-01 00:00:00+00')");
	$s->do("SELECT credits_set_plan('$user', 'big', 'next_reset')");
	$s->do("SELECT credits_hold('$user', 40, '17 days')");
	at($s, $way eq 'later' ? '2026-02-05 00:00:00+00' : '2026-02-01 00:00:00+00');
	$s->do('CALL credits_run_reset()') if $way eq 'swept';
	my $receipt = json($s->do("SELECT credits_deduct('$user', 1)"));
	is(kinds($user), 'open grant schedule_plan hold hold_end grant_end plan_change reset deduct', "at one instant, $way: hold end, grant end, plan change, boundary");
	is("$receipt->{monthly} $receipt->{granted} $receipt->{held}", '999 0 0', '... the boundary uses the plan after the change');
}
for my $way ('at the instant', 'later')
{
	my $user = "rollover, $way";

	at($s, '2026-01-15 00:00:00+00');
	$s->do("SELECT credits_open_account('$user', 'roll100'), credits_hold('$user', 40, '17 days')");
	at($s, $way eq 'later' ? '2026-02-05 00:00:00+00' : '2026-02-01 00:00:00+00');
	is(balance($user)->{monthly}, 200, "a hold that ends at the boundary itself, $way: rolls over");
}

# Purchased credits are untouched by resets.
at($s, '2026-01-15 00:00:00+00');
$s->do(q(SELECT credits_open_account('bought', 'cal'), credits_add_purchased('bought', 77, 'pay_bought')));
at($s, '2028-07-10 00:00:00+00');
is(balance('bought')->{purchased}, 77, 'purchased credits are untouched by resets');
is(balance('bought')->{monthly}, 100, '... and no allowance adds up');

# The session's TimeZone differs from the account's: the same history in many sessions' zones.
{
	my %end;

	for my $zone ('UTC', 'Asia/Tokyo', 'America/Santiago', 'Pacific/Apia')
	{
		my $user = "session in $zone";

		$s->do("SET timezone = '$zone'");
		at($s, '2026-01-31 22:50:00+00');
		$s->do("SELECT credits_open_account('$user', 'roll', NULL, 'Europe/Berlin'), credits_hold('$user', 30, '1 hour'), credits_grant('$user', 5, '2026-02-02 00:00:00+00')");
		at($s, '2026-01-31 23:20:00+00');
		$s->do("SELECT credits_deduct('$user', 1), credits_release('$user', 2)");
		at($s, '2026-03-02 00:00:00+00');
		my $balance = balance($user);
		delete @$balance{qw(user_id)};
		$end{ canonical($balance) } .= "$zone ";
	}
	$s->do('RESET timezone');
	is(scalar keys %end, 1, "the session's TimeZone makes no difference") or diag(join "\n", %end);
}

# State at time T depends on history and T alone: swept early, late, twice, in pieces or never.
{
	my %end;

	for my $way ('never', 'late', 'early and twice', 'in pieces', 'by reads')
	{
		my $user = "swept $way";
		my $sweep = {
			never => sub { },
			late => sub { $s->do('CALL credits_run_reset()') if $_[0] >= 4; },
			'early and twice' => sub { $s->do('CALL credits_run_reset()') for 1 .. 2; },
			'in pieces' => sub { $s->do('SELECT credits_reset_due(1)') for 1 .. 40; },
			'by reads' => sub { balance($user) if $_[0]; } }->{$way};
		my $step = 0;

		for (
			[ '2026-01-15 12:00:00+00', "credits_open_account('$user', 'roll')" ],
			[ '2026-01-16 12:00:00+00', "credits_add_purchased('$user', 20, 'pay $user')" ],
			[ '2026-01-17 12:00:00+00', "credits_grant('$user', 30, '2026-03-10 00:00:00+00')" ],
			[ '2026-02-25 12:00:00+00', "credits_hold('$user', 110, '20 days')" ],
			[ '2026-03-05 12:00:00+00', "credits_set_plan('$user', 'big', 'next_reset')" ],
			[ '2026-04-15 12:00:00+00', "credits_deduct('$user', 400)" ],
			[ '2026-06-15 12:00:00+00', "credits_refund('$user', (SELECT max(seq) FROM credit_history WHERE user_id = '$user' AND kind = 'deduct'))" ],
			[ '2026-08-15 12:00:00+00', "credits_deduct('$user', 1)" ])
		{
			at($s, $_->[0]);
			$sweep->($step++);
			$s->do("SELECT $_->[1]");
		}
		at($s, '2026-10-02 00:00:00+00');
		my $balance = balance($user);
		delete @$balance{qw(user_id seq)};
		$end{ canonical($balance) } .= "$way; ";
	}
	is(scalar keys %end, 1, 'state depends on history and time alone') or diag(join "\n", %end);
}

# Sweep and deduct at once: one reset, and the deduction sees the new period.
at($s, '2026-01-15 12:00:00+00');
$s->do(qq(SELECT credits_open_account('race $_', 'cal'), credits_deduct('race $_', 90))) for 1 .. 20;
{
	my $clock = "SET credits.clock = '2026-02-01 00:00:00+00';\n";
	my $order = "SELECT credits_deduct('race ' || n, 50)->'monthly' FROM generate_series(1, 20) n ORDER BY n";
	my @clients = run_clients($node, 'postgres',
		[ map { $clock . $_ } ("CALL credits_run_reset(1);\n", join('', map { "SELECT credits_deduct('race $_', 50)->'monthly';\n" } 1 .. 20), join('', map { "SELECT credits_deduct('race $_', 50)->'monthly';\n" } reverse 1 .. 20)) ],
		barrier => 1);

	is(join('', map { $_->{err} } @clients), '', 'sweep and deductions at once');
	is($s->do(q(SELECT count(*), min(n), max(n) FROM (SELECT count(*) FILTER (WHERE kind = 'reset') AS n FROM credit_history WHERE user_id LIKE 'race %' GROUP BY user_id) x)),
		'20|1|1', '... one reset for each account');
	is($s->do(q(SELECT DISTINCT monthly FROM credit_account WHERE user_id LIKE 'race %')), '0', '... and both deductions are from the new allowance');
}

# ---------------------------------------------------------------------------
# A zone is a name in pg_timezone_names.

at($s, '2026-01-15 12:00:00+00');
$s->do(q(SELECT credits_open_account('zoned', 'cal')));
for my $zone ('', ' ', 'Nowhere', 'Europe', 'Europe/', '+02', '+02:00', 'UTC+3', 'UTC-3', 'CEST', 'MESZ', 'PST8PDT7', 'Europe/Berlin ', ' Europe/Berlin', '/etc/passwd', '../UTC', "Europe/Berlin\n", 'posixrules', '<+03>-3')
{
	my $shown = $zone =~ s/\n/\\n/r;

	is_error($s, "credits_open_account('z', 'cal', NULL, '$zone')", '22023', [ [ argument => 'time_zone' ] ], "'$shown' is no zone to open with");
	is_error($s, "credits_set_cycle('zoned', NULL, '$zone')", '22023', [ [ argument => 'time_zone' ] ], "'$shown' is no zone to change to");
}
$s->do(q(CREATE TABLE old AS SELECT 'import 1'::text AS user_id, 'cal'::text AS plan, 'Nowhere/Town'::text AS time_zone UNION ALL SELECT 'import 2', 'cal', 'Asia/Tokyo'));
my $report = json($s->do(q(CALL credits_import('SELECT * FROM old'))));
is("$report->{accounts} $report->{failures}", '1 1', 'a zone that is none is a failure of that user in an import');
is(balance('import 2')->{time_zone}, 'Asia/Tokyo', '... and the others are imported');

# An anchor with an offset is an instant, or refused; its offset is never lost.
for my $zone ('UTC', 'Asia/Tokyo')
{
	my $user = "offset in $zone";
	my $got = try_call($s, "credits_open_account('$user', 'ann', '2026-01-10 23:30:00-05', '$zone')");

	$got->{state} eq '00000'
	  ? is($got->{answers}[0]{next_reset_at}, '2026-02-11T04:30:00Z', "opened in $zone, an anchor with an offset is an instant")
	  : like($got->{state}, qr/^22/, "opened in $zone, an anchor with an offset is refused");
	$s->do("SELECT credits_open_account('$user 2', 'ann', '2026-01-12 00:00:00', '$zone')");
	$got = try_call($s, "credits_set_cycle('$user 2', '2026-01-10 23:30:00-05')");
	$got->{state} eq '00000'
	  ? is($s->do("SELECT cycle_anchor AT TIME ZONE '$zone' FROM credit_account WHERE user_id = '$user 2'"), '2026-01-11 04:30:00+00', "set in $zone, an anchor with an offset is an instant")
	  : like($got->{state}, qr/^22/, "set in $zone, an anchor with an offset is refused");
}

is_clean($node, 'postgres');
is_gapless($node, 'postgres');

# ---------------------------------------------------------------------------
# A zone that the server no longer knows.

my $zones = '/usr/share/zoneinfo';
my $system_zones = $node->safe_psql('postgres', q(SELECT setting FROM pg_config WHERE name = 'CONFIGURE')) =~ /--with-system-tzdata/;

SKIP:
{
	my ($uid, $gid) = ($>, (split / /, $))[0]);
	my $hidden = PostgreSQL::Test::Utils::tempdir() . '/zoneinfo';
	my $hide = "unshare --user --map-root-user --mount sh -c 'mount --bind $hidden $zones && exec unshare --user --map-user=$uid --map-group=$gid";

	skip 'this server has time zones of its own', 1 unless $system_zones;
	system("cp -a $zones $hidden") == 0 or die 'cp';
	unlink "$hidden/Asia/Calcutta" or skip 'no Asia/Calcutta here', 1;
	skip 'no mount namespace here', 1 if system("$hide true'") != 0;

	at($s, '2026-01-15 12:00:00+00');
	$s->do(qq(
SELECT credits_open_account(u, 'cal', NULL, 'Asia/Calcutta'), credits_add_purchased(u, 50, 'pay_' || u), credits_grant(u, 9, '2026-02-20 00:00:00+00'),
       credits_hold(u, 20, '30 days'), credits_deduct(u, 30)
  FROM unnest('{india,india2}'::text[]) u));
	my $before = balance('india');
	$s->quit;
	$node->stop;
	system("$hide pg_ctl -s -w -D " . $node->data_dir . ' -l ' . $node->logfile . "_hidden start'") == 0 or die 'pg_ctl';
	$node->_update_pid(1);
	$s = session($node, 'postgres');
	is($s->do(q(SELECT count(*) FROM pg_timezone_names WHERE name = 'Asia/Calcutta')), 0, 'the server no longer knows Asia/Calcutta');

	# Nothing is due yet: everything goes on, and checks list the accounts.
	at($s, '2026-01-20 12:00:00+00');
	is_call($s, q(credits_deduct('india', 1)), '00000', 'nothing due: a deduction goes on');
	is_call($s, q(credits_balance('india')), '00000', 'nothing due: the balance');
	is_error($s, q(credits_set_cycle('india', NULL, 'Asia/Calcutta')), '22023', [ [ argument => 'time_zone' ], [ value => 'Asia/Calcutta' ] ]);
	is_call($s, q(credits_deduct('zoned', 1)), '00000', 'nothing due: other users');

	# By verification, or by a check of its own.
	my $check = $s->do(q(SELECT CASE WHEN to_regproc('credits_unknown_zones') IS NULL THEN 'credits_verify()' ELSE 'credits_unknown_zones()' END));
	my $listed = $s->do("SELECT string_agg(v::text, ' ') FROM $check v");
	like($listed, qr/\bindia\b.*Asia\/Calcutta/, 'checks list such accounts beforehand');
	like($listed, qr/\bindia2\b/, '... each of them');
	unlike($listed, qr/zoned/, '... and no other');

	# A reset is due.
	at($s, '2026-02-10 12:00:00+00');
	for (
		[ purchase => q(credits_add_purchased('india', 5, 'pay_hidden')) ],
		[ grant => q(credits_grant('india', 5, '2026-12-01')) ],
		[ adjustment => q(credits_adjust('india', 'purchased', 5, 'why')) ],
		[ refund => q(credits_refund('india', 5, 1)) ],
		[ release => q(credits_release('india', 4)) ],
		[ balance => q(credits_balance('india')) ],
		[ history => q(credits_history('india')) ],
		[ explanation => q(credits_explain('india')) ],
		[ 'earlier balance' => q(credits_balance_at('india', '2026-01-16 00:00:00+00')) ],
		[ verification => q(credits_verify_account('india')) ],
		[ view => q((SELECT sum(available) FROM credit_balance)) ],
		[ 'view of one' => q((SELECT available FROM credit_balance WHERE user_id = 'india')) ],
		[ 'daily usage' => q((SELECT sum(spent) FROM credit_usage_daily)) ],
		[ usage => q((SELECT sum(spent) FROM credits_usage('india'))) ],
		[ 'call of another user' => q(credits_deduct('zoned', 1)) ])
	{
		is_call($s, $_->[1], '00000', "reset due, zone unknown: $_->[0] goes on");
	}
	is(kinds('india') =~ /reset/, '', 'the reset waits');
	my $got = try_call($s, q(credits_deduct('india', 1)));
	if ($got->{state} ne '00000')
	{
		isnt($got->{state}, 'UC008', 'a deduction is not refused as corruption');
		like(join("\n", map { $_ // '' } @$got{qw(message detail hint)}), qr/Asia\/Calcutta/, '... the error names the zone');
		like($got->{hint}, qr/credits_set_cycle/, '... and the way out');
	}
	$report = json($s->do(q(SELECT credits_reset_due())));
	ok($report->{accounts} > 0, 'the sweep does the others') or diag(canonical($report));

	# Longer than the hold and the grant last.
	at($s, '2026-02-25 12:00:00+00');
	is_call($s, q(credits_add_purchased('india2', 1, 'pay_hidden2')), '00000', 'later: a purchase goes on');
	is($s->do(q(SELECT purchased FROM credit_account WHERE user_id = 'india2')), 51, '... and is there');

	# The way out.
	is_call($s, q(credits_set_cycle('india', NULL, 'Asia/Kolkata')), '00000', 'credits_set_cycle is the way out');
	my $receipt = is_call($s, q(credits_deduct('india', 1)), '00000', '... and the deduction goes through');
	is($receipt->{next_reset_at}, '2026-02-28T18:30:00Z', '... in the period that it should be');
	is($receipt->{monthly}, 99, '... with its allowance');
	is($s->do(q(SELECT count(*) FROM credit_history WHERE user_id = 'india' AND kind = 'reset')), 1, '... one reset');
	is($s->do(q(SELECT problem FROM credits_verify_account('india'))), '', 'the account is clean');
	$s->quit;

	# The zone comes back: the other account goes on as if nothing had been.
	$node->stop;
	$node->start;
	$s = session($node, 'postgres');
	at($s, '2026-02-25 13:00:00+00');
	is($s->do(q(SELECT credits_deduct('india2', 1)->'monthly')), 99, 'the zone came back: the reset comes');
	is($s->do(q(SELECT b->'held', b->'granted', b->'purchased', b->'next_reset_at' FROM credits_balance('india2') b)), '0|0|51|"2026-02-28T18:30:00Z"', '... and all is as if it had never gone');
	is_clean($node, 'postgres');
}

$s->quit;
done_testing();
