# A time zone that the system stops shipping.  A reset that is due waits for it, and so
# does spending (UC012); what credits the account, gives back to it, or reads it goes on;
# the sweep passes it by and says so; nobody else notices.  When the zone is back, or the
# account has another, all is as if what was done meanwhile had come just before the reset.
# The zone is hidden from the server by test/zones/hide_zone.c.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'another library is preloaded' if $ENV{LD_PRELOAD};
plan skip_all => 'there is no C compiler' unless grep { -x "$_/cc" } split /:/, $ENV{PATH};

my $hidden = PostgreSQL::Test::Utils::tempdir();
my $library = PostgreSQL::Test::Utils::tempdir() . '/hide_zone.so';
my $verify = "$FindBin::RealBin/../verify";
my $said;
IPC::Run::run([ qw(cc -shared -fPIC -O1 -Wall -Wextra -Werror), "$FindBin::RealBin/../zones/hide_zone.c", '-o', $library ], '>&', \$said)
  or die $said;

my $node;
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{HIDDEN_ZONES} = $hidden;
	$node = new_server('zones', clock => '2026-01-10 00:00:00+00');
}
my $db = 'postgres';
my $zone = 'Asia/Calcutta';
my $jan = "SET credits.clock = '2026-01-20 00:00:00+00';";
my $feb = "SET credits.clock = '2026-02-05 00:00:00+00';";

# The zone's months begin at 18:30Z; just before that its accounts' time stands still.
my $reset = '2026-01-31T18:30:00Z';
my $before = '2026-01-31T18:29:59.999999Z';

# Sessions that have read a zone know it to their end, so each of these is a new one.
sub hide { open my $fh, '>', "$hidden/Asia_Calcutta" or die $!; close $fh or die $!; return }
sub show { unlink "$hidden/Asia_Calcutta" or die $!; return }

sub value
{
	my ($sql) = @_;
	my ($state, $out, $err) = outcome($node, $db, $sql);

	return $state eq '00000' ? $out =~ s/\A(?:SET\n|\n)*//r : $state;
}

# The view of a user as text.
sub view
{
	my ($user) = @_;

	return value("$feb SELECT monthly, granted, purchased, held, owed, next_reset_at FROM credit_balance WHERE user_id = '$user'");
}

sub independent
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err);

	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr($db), '-v', "dir=$dir", '-f', "$verify/export.sql" ], '>', \$out, '2>', \$err)
	  or die $err;
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $dir ], '>', \$out, '2>', \$err);
	diag("$out$err") if $?;
	return $? >> 8;
}

# --- What there is: 'lost' and its like live in the zone; 'twin' and its like have done
# the same, in time, in the same zone by another name; 'other' lives elsewhere.

my @users = qw(lost twin);
my %zone_of = (lost => $zone, twin => 'Asia/Kolkata');

sub set_up
{
	my ($suffix) = @_;

	for my $who (@users)
	{
		my $user = "$who$suffix";

		$node->safe_psql($db, qq(
SELECT credits_open_account('$user', 'pro', '2026-01-10 00:00', '$zone_of{$who}');
$jan
SELECT credits_add_purchased('$user', 50, 'pay_$user');
SELECT credits_grant('$user', 20, '2026-01-25 00:00+00');
SELECT credits_grant('$user', 30, '2026-02-03 00:00+00');
SELECT credits_deduct('$user', 40, NULL, 'spent');
SELECT credits_hold('$user', 25, '31 days');
SELECT credits_hold('$user', 5, '12 days');
SELECT credits_hold('$user', 7, '1 day');
));
	}
	return;
}

# What goes on while the reset waits.
sub goes_on
{
	my ($user) = @_;

	return (
		purchase => "credits_add_purchased('$user', 10, 'later_$user')",
		'the same purchase again' => "credits_add_purchased('$user', 10, 'later_$user')",
		grant => "credits_grant('$user', 11, '2026-03-01 00:00+00')",
		refund => "credits_refund('$user', 5, 15)",
		'capture within a hold' => "credits_capture('$user', 6, 20)",
		release => "credits_release('$user', 7)",
		'chargeback' => "credits_revoke_purchase('pay_$user', 45)",
		'adjustment of purchased credits' => "credits_adjust('$user', 'purchased', 2, 'kind')",
		freeze => "credits_freeze('$user')",
		unfreeze => "credits_unfreeze('$user')",
		overdraft => "credits_set_overdraft('$user', 3)",
		replay => "credits_deduct('$user', 40, NULL, 'spent')");
}

$node->safe_psql($db, q(
SELECT credits_define_plan('pro', 100, rollover_limit => 10);
SELECT credits_define_plan('max', 300);
SELECT credits_define_plan('by_day', 300, 'anniversary');
SELECT credits_open_account('other', 'pro');
));
set_up('');
$node->safe_psql($db, qq(SELECT credits_open_account('gone', 'pro', NULL, '$zone'); SELECT credits_set_plan('gone', NULL, 'next_reset');));

# --- Beforehand.

is($node->safe_psql($db, 'SELECT * FROM credits_unknown_zones()'), '', 'all zones are known');
hide();
is($node->safe_psql($db, "SELECT * FROM pg_timezone_names WHERE name = '$zone'"), '', 'the zone is hidden');
is($node->safe_psql($db, 'SELECT * FROM credits_unknown_zones() ORDER BY 1'),
	"gone|$zone|2026-01-31 18:30:00+00\nlost|$zone|2026-01-31 18:30:00+00", 'accounts are listed beforehand');
is_clean($node, $db, 'that is no damage');
is(value("$jan SELECT credits_deduct('lost', 1) ->> 'monthly'"), 22, 'until the reset is due, nothing is different');
is(value("$jan SELECT credits_refund('lost', (SELECT history_seq FROM credit_account WHERE user_id = 'lost')) ->> 'monthly'"), 23, '... and a refund is as ever');
is(value("$jan SELECT credits_open_account('new', 'pro', NULL, '$zone')"), '22023', 'a new account cannot have the zone');
is(value("$jan SELECT credits_set_plan('lost', 'pro', restart => true)"), 'UC012', 'nor can a period be restarted');
is(value("$jan SELECT credits_set_cycle('lost', '2026-01-15T00:00:00+05:30')"), 'UC012', '... nor an instant be the anchor');
is(value("$jan BEGIN; SELECT credits_set_plan('lost', 'by_day') ->> 'next_reset_at'; ROLLBACK"), $reset, 'another plan leaves the period alone, so it needs no zone');
is(value("$jan BEGIN; SELECT credits_set_cycle('lost', '2026-01-15') ->> 'next_reset_at'; ROLLBACK"), $reset, '... nor does another anchor');
$node->safe_psql($db, "$jan SELECT credits_deduct('twin', 1); SELECT credits_refund('twin', (SELECT history_seq FROM credit_account WHERE user_id = 'twin'));");

# The twin does then what the other does while the reset waits.
{
	my @calls = goes_on('twin');

	$node->safe_psql($db, "SET credits.clock = '$before'; SELECT $calls[2 * $_ + 1];") for 0 .. $#calls / 2;
}

# --- The reset waits.

my ($out, $err) = is_outcome($node, $db, "$feb SELECT credits_deduct('lost', 1)", 'UC012', 'spending waits');
like($err, qr/ERROR:  UC012: time zone "Asia\/Calcutta" of user "lost" is not known to this server$/m, 'it names zone and user');
my ($detail) = $err =~ /^DETAIL:  (.*)$/m;
is_deeply(json($detail),
	{ error => 'time_zone_unknown', user_id => 'lost', time_zone => $zone, next_reset_at => $reset }, '... and says when the reset was due');
like($err, qr/^HINT:  .*credits_set_cycle/m, '... and the way out');
my %waits = (
	try_deduct => "credits_try_deduct('lost', 1)",
	'all of many' => "credits_deduct_many('{other,lost}', '{1,1}', all_or_nothing => true)",
	hold => "credits_hold('lost', 1, '1 hour')",
	'capture beyond a hold' => "credits_capture('lost', 6, 26)",
	'late capture' => "credits_capture('lost', 8, 7)",
	transfer => "credits_transfer('lost', 'other', 1)",
	set_plan => "credits_set_plan('lost', 'max')",
	'set_plan later' => "credits_set_plan('lost', 'max', 'next_reset')",
	'adjustment of monthly credits' => "credits_adjust('lost', 'monthly', 5, 'kind')",
	'another anchor' => "credits_set_cycle('lost', '2026-01-15')");
is(value("$feb SELECT $waits{$_}"), 'UC012', "$_ waits") for sort keys %waits;
is(value("$feb SELECT r ->> 'error' FROM credits_deduct_many('{other,lost}', '{1,1}') r WHERE r ->> 'ok' = 'false'"),
	'time_zone_unknown', 'of many, one waits');
is(value("$feb SELECT credits_grant('lost', 1, '2026-02-04 00:00+00')"), '22023', 'a grant has to end after the clock, not after the account\'s time');
is(value("$feb SELECT credits_grant('lost', 1, '2026-02-04 00:00+00', payment_ref => 'too late')"), '22023', '... one that is paid for, too');
is(value("$feb CALL credits_grant_many('{lost}', '{1}', '2026-02-04 00:00+00')") =~ /"failures": (\d)/ && $1, 1, '... each of many, too');

is_deeply(json(value("$feb SELECT credits_balance('lost')")),
	{
		user_id => 'lost', monthly => 30, granted => 30, purchased => 50, available => 110, held => 30, owed => 0, owed_monthly => 0,
		overdraft_limit => 0, period => 1,
		plan => 'pro', scheduled_plan => undef, monthly_credits => 100, status => 'active', time_zone => $zone,
		period_start => '2026-01-10T00:00:00Z', next_reset_at => $reset, low => JSON::PP::false, seq => 10,
		as_of => $before, valid_until => $reset, time_zone_unknown => JSON::PP::true
	},
	'the balance is the one before the reset, and says so');
is(view('lost'), '30|30|50|30|0|2026-01-31 18:30:00+00', '... in the view, too');
is(value("$feb SELECT as_of, valid_until FROM credit_balance WHERE user_id = 'lost'"), '2026-01-31 18:29:59.999999+00|2026-01-31 18:30:00+00', '... with its time');
my $quote = json(value("$feb SELECT credits_quote('lost', 1)"));
is_deeply(
	{ map { $_ => $quote->{$_} } qw(ok error sqlstate time_zone next_reset_at as_of available monthly_delta) },
	{
		ok => JSON::PP::false, error => 'time_zone_unknown', sqlstate => 'UC012', time_zone => $zone, next_reset_at => $reset, as_of => $before,
		available => 110, monthly_delta => 0
	},
	'a quote says why the deduction is refused');
is(value("$feb SELECT b ->> 'as_of' FROM credits_balances('{lost}') b"), $before, 'credits_balances');
is(value("$feb SELECT count(*), sum(available) > 0 FROM credit_balance"), '4|t', 'the view goes on for all');
is(value("$feb SELECT r ->> 'time_zone_unknown', r ->> 'as_of', r -> 'next_reset' ->> 'at', r -> 'granted' -> 'balance' FROM credits_explain('lost') r"),
	"true|$before||30", 'credits_explain: nobody knows what that reset will do');
is(value("$feb SELECT count(*) FROM credits_history('lost')"), 10, 'credits_history');
is(value("$feb SET request.jwt.claims = '{\"sub\": \"lost\"}'; SELECT credits_my_balance() ->> 'time_zone_unknown'"), 'true', 'credits_my_balance');
is(value("$feb SELECT credits_balance_at('lost', '2026-01-31 18:29:59+00') ->> 'monthly'"), 30, 'what was before the reset stays');
is(value("$feb SELECT credits_balance_at('lost', '$_')"), 'UC012', "a balance that would still change: $_") for $before, $reset, '2026-02-04';
is(value("$feb SELECT credits_balance('gone') ->> 'time_zone_unknown'"), 'true', 'a plan that ends waits, too: periods go on without it');

# --- The sweep.

my $report = json(value("$feb SELECT credits_reset_due(dry_run => true)"));
is_deeply([ @$report{qw(accounts failures more)} ], [ 1, 2, JSON::PP::false ], 'a dry run counts it as a failure');
$report = json(value("$feb SELECT credits_reset_due(batch_size => 2)"));
$report = json(value("$feb CALL credits_run_reset()"));
is_deeply([ @$report{qw(accounts failures more)} ], [ 0, 2, JSON::PP::false ], 'a run passes it by, when what was due before is written');
is_deeply($report->{failed}[1], { user_id => 'lost', sqlstate => 'UC012', message => qq(time zone "$zone" of user "lost" is not known to this server) }, '... and says so');
is($node->safe_psql($db, qq(SELECT failed -> 1 ->> 'user_id', failed -> 1 ->> 'sqlstate' FROM credit_reset_run WHERE run_id = '$report->{run_id}')),
	'lost|UC012', '... in its record, too');
is(value("$feb SELECT credits_balance('other') ->> 'monthly'"), 109, 'nobody else waits');

# --- What goes on.

my @lost = goes_on('lost');
while (my ($what, $call) = splice @lost, 0, 2)
{
	is(value("$feb SELECT $call ->> 'ok'"), 'true', "$what goes on");
}
is($node->safe_psql($db, "SELECT count(*), min(created_at), max(effective_at) FROM credit_history WHERE user_id = 'lost' AND payment_ref = 'later_lost'"),
	'1|2026-02-05 00:00:00+00|2026-01-31 18:29:59.999999+00', 'it is written as of the moment before the reset, and when it was');
is(value("$feb SELECT credits_capture('lost', $_, 1)"), 'UC006', "hold $_ is settled, which does not wait") for 6, 7;
is(value("$feb SELECT credits_capture('lost', 8, 7)"), 'UC012', '... a late capture does');
is_clean($node, $db, 'and the ledger verifies while the reset waits');
is(independent(), 0, '... an export, too');

# --- The zone is back.

sub history
{
	my ($user) = @_;

	return $node->safe_psql($db, qq(
SELECT seq, kind, effective_at, period, period_start, period_share, next_reset_at, amount, monthly_delta, granted_delta, purchased_delta, monthly, granted, purchased,
       held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased, expired, forfeited, skipped, ends_at, ref_seq, allocations
  FROM credit_history WHERE user_id = '$user' ORDER BY seq));
}

my $waiting = view('lost');
show();
isnt(view('lost'), $waiting, 'the zone is back: the reset is there at once');
is(view('lost'), view('twin'), '... and all is as if those calls had come just before it');
$node->safe_psql($db, "$feb SELECT credits_deduct('lost', 3); SELECT credits_deduct('twin', 3);");
is(history('lost'), history('twin'), '... row by row');
like(history('lost'), qr/^\d+\|reset\|2026-01-31 18:30:00\+00\|/m, '... the reset in its time');
is_clean($node, $db, 'the ledger verifies');

# --- Another zone is the way out.

# 5 are left and roll over, and 1 is spent.  Where the old end is no boundary in the new zone,
# the period from there is a short one: of 10.5 of 744 hours, or of 668.5 of 672.
for my $case (
	[ 'the same zone by another name', 'Asia/Kolkata', '2026-02-28T18:30:00Z', 5 + 100 - 1, 'reset' ],
	[ 'a zone behind it', 'America/New_York', '2026-03-01T05:00:00Z', 5 + 1 + 100 - 1, 'reset reset' ],
	[ 'a zone before it', 'Asia/Tokyo', '2026-02-28T15:00:00Z', 5 + 99 - 1, 'reset' ])
{
	my ($name, $new, $next, $monthly, $resets) = @$case;
	my $user = 'moves_' . lc($new =~ s/\W/_/gr);

	$node->safe_psql($db, "$jan SELECT credits_open_account('$user', 'pro', NULL, '$zone'); SELECT credits_deduct('$user', 95);");
	hide();
	is(value("$feb SELECT credits_deduct('$user', 1)"), 'UC012', "$name: it waits");
	is(value("$feb SELECT credits_set_cycle('$user', time_zone => '$new') ->> 'next_reset_at'"), $reset, '... the period keeps its end');
	my $now = json(value("$feb SELECT credits_deduct('$user', 1)"));
	is_deeply([ @$now{qw(monthly next_reset_at)} ], [ $monthly, $next ], '... and the next is there');
	is($node->safe_psql($db, "SELECT string_agg(kind, ' ' ORDER BY seq) FROM credit_history WHERE user_id = '$user'"),
		"open deduct set_cycle $resets deduct", '... once');
	show();
}
set_up('_left');
hide();
$node->safe_psql($db, "$feb SELECT credits_release('lost_left', s) FROM unnest('{6,7}'::int[]) s;");
is(value("$feb SELECT credits_close_account('lost_left') ->> 'kind'"), 'close', 'who leaves waits for nothing');
is(value("$feb SELECT credits_balance('lost_left') ->> 'available'"), 0, '... and has nothing');
is($node->safe_psql($db, 'SELECT string_agg(user_id, \' \' ORDER BY user_id) FROM credits_unknown_zones()'), 'gone lost lost_left',
	'the accounts that are left in the zone');
is_clean($node, $db, 'the ledger verifies');
show();
is_clean($node, $db, '... and with the zone');

done_testing();
