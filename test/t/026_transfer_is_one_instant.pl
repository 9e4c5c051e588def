# A transfer is one instant for both users: their rows have one effective_at and one
# created_at, which is not before either user's last row.  So at every time, what the users
# have together is the same, whoever transfers at the same moment.
#
# CREDITS_CALLS makes it longer.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Test::More;

my $calls = $ENV{CREDITS_CALLS} || 150;    # of a client
my @users = qw(ann bob cid);
my $node = new_server('transfer');

# The rows of each transfer, in both histories.
my $both = q(
SELECT o.reason, o.effective_at, i.effective_at, o.created_at, i.created_at
  FROM credit_history o JOIN credit_history i ON i.user_id = o.spender AND i.kind = 'transfer_in' AND i.reason = o.reason
 WHERE o.kind = 'transfer_out');

# --- One of the two has a time that is later than the clock.

for my $case ([ 'ann', 'bob' ], [ 'bob', 'ann' ])
{
	my ($early, $late) = @$case;
	my $db = "ahead_$late";
	my ($noon, $later, $feb) = map { "SET credits.clock = '$_+00';" } '2026-01-15 12:00:00', '2026-01-15 12:00:05', '2026-02-01 00:00:00';
	my $one = sub { return $node->safe_psql($db, "SELECT effective_at FROM credit_history WHERE user_id = '$_[0]' ORDER BY seq DESC LIMIT 1"); };

	add_database($node, $db);
	$node->safe_psql($db, qq(
$noon
SELECT credits_define_plan('plan', 100), credits_open_account('ann', 'plan'), credits_open_account('bob', 'plan');
SELECT credits_add_purchased('ann', 100, 'pay_ann'), credits_add_purchased('bob', 100, 'pay_bob');
$later
SELECT credits_deduct('$late', 1);
$noon
SELECT credits_transfer('ann', 'bob', 10, 'there');
SELECT credits_transfer('bob', 'ann', 10, 'back');));
	is($one->($_), '2026-01-15 12:00:05+00', "$late is ahead: the last row of $_ is not before it") for qw(ann bob);
	is($node->safe_psql($db, "SELECT count(*) FROM ($both) AS t (reason, o, i, co, ci) WHERE o = i AND co = ci AND o = '2026-01-15 12:00:05+00'"), 2,
		"$late is ahead: both transfers are one instant");

	# What is due by that time comes first, in both histories.
	$node->safe_psql($db, qq(
SET credits.clock = '2026-01-31 23:59:50+00';
SELECT credits_hold('$early', 5, '8 s');
$feb
SELECT credits_deduct('$late', 1);
SET credits.clock = '2026-01-31 23:59:55+00';
SELECT credits_transfer('$early', '$late', 10, 'over a boundary');));
	is($node->safe_psql($db, "SELECT string_agg(kind || ' ' || effective_at, ', ' ORDER BY seq) FROM (SELECT * FROM credit_history WHERE user_id = '$early' ORDER BY seq DESC LIMIT 3) h"),
		'hold_end 2026-01-31 23:59:58+00, reset 2026-02-01 00:00:00+00, transfer_out 2026-02-01 00:00:00+00', "$early gets what is due by then");
	is($one->($late), '2026-02-01 00:00:00+00', "... and $late the credits at that instant");
	is_clean($node, $db);
}

# --- Many at once.

$node->safe_psql('postgres', join '', map { "SELECT credits_open_account('$_'); SELECT credits_add_purchased('$_', 1000, 'pay_$_');" } @users);
my $began = $node->safe_psql('postgres', 'SELECT max(effective_at) FROM credit_history');
my @scripts = map {
	my $client = $_;

	join '', map {
		my ($from, $to) = @users[ ($client + $_) % 3, ($client + $_ + 1 + $_ % 2) % 3 ];

		"SELECT credits_transfer('$from', '$to', " . (1 + $_ % 7) . ", '${client}_$_');\n"
	} 1 .. $calls;
} 1 .. 2;
my @done = run_clients($node, 'postgres', \@scripts, barrier => 1);

# A transfer waits only for a moment for its second account.
my @failed = grep { $_ ne '55P03' } map { $_->{err} =~ /ERROR:  ([0-9A-Z]{5}):/g } @done;
is("@failed", '', 'two sessions transfer to and fro');
my $made = $node->safe_psql('postgres', "SELECT count(*) FROM ($both) t");
cmp_ok($made, '>', $calls, "... $made transfers");
is($node->safe_psql('postgres', "SELECT count(*) FROM ($both) AS t (reason, o, i, co, ci) WHERE o <> i OR co <> ci"), 0, 'each is one instant in both histories');
is($node->safe_psql('postgres', qq(
SELECT count(DISTINCT at) > $calls, min(total), max(total)
  FROM (SELECT at, sum((credits_balance_at(u, at) ->> 'purchased')::bigint) AS total
          FROM (SELECT DISTINCT effective_at AS at FROM credit_history WHERE effective_at >= '$began') t, unnest('{ann,bob,cid}'::text[]) u
         GROUP BY at) sums)),
	't|3000|3000', 'at every instant, what the users have together is the same');
is_clean($node, 'postgres');
is_gapless($node, 'postgres');

done_testing();
