# The clock goes back and forth, first by the setting and then that of the server.  No
# period's credits are granted twice, only credits_repair_clock sets an account's time back,
# and the ledger still verifies.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use POSIX ();
use Test::More;

my $db = 'postgres';
my $seed = $ENV{CREDITS_SEED} // int(rand(2**31));
print STDERR "# CREDITS_SEED=$seed\n";
srand($seed);

# The rows of a user tell of one period after the other; a clock_repair is the
# only row that may be earlier than the one before.
my $backwards = q(
SELECT user_id, seq, kind FROM (SELECT *, lag(effective_at) OVER (PARTITION BY user_id ORDER BY seq) AS before FROM credit_history) h
 WHERE effective_at < before AND kind <> 'clock_repair');

# Each user's resets: how many boundaries they have consumed, and the first and last.
sub boundaries
{
	my ($node, $user) = @_;
	return [ map { @$_ } rows($node, $db, qq(
SELECT count(*) + sum(skipped), count(DISTINCT effective_at) = count(*),
       (SELECT next_reset_at FROM credit_account WHERE user_id = '$user')
  FROM credit_history WHERE user_id = '$user' AND kind = 'reset')) ];
}

# By the setting: sixty times somewhere in a year and a half, in no order.
{
	my $node = new_server('setting', conf => "fsync = off\n");
	my @users = map { "user_$_" } 1 .. 6;
	$node->safe_psql($db, q(
SET credits.clock = '2026-01-01 00:00:00+00';
SELECT credits_define_plan('free', 100);
SELECT credits_open_account('user_' || n, 'free') FROM generate_series(1, 6) n;
));
	my $sql = '';
	my $latest = 0;
	for my $n (1 .. 60)
	{
		my $day = int(rand(540));
		my $user = $users[ rand @users ];

		$latest = $day if $day > $latest;
		$sql .= "SET credits.clock = '" . POSIX::strftime('%Y-%m-%d %H:%M:%S+00', gmtime(1767225600 + 86400 * $day)) . "';\n";
		$sql .= (
			"SELECT credits_deduct('$user', 1, NULL, 'k$n');",
			"SELECT credits_try_deduct('$user', 60);",
			"SELECT credits_add_purchased('$user', 5, 'pay_$n');",
			"SELECT credits_grant('$user', 5, '2099-01-01 00:00+00');",
			'CALL credits_run_reset();',
			'SELECT credits_anchor();',
			"SELECT credits_balance('$user');")[ rand 7 ] . "\n";
	}
	my $last = POSIX::strftime('%Y-%m-%d %H:%M:%S+00', gmtime(1767225600 + 86400 * $latest));
	$node->safe_psql($db, $sql);
	$node->safe_psql($db, "SET credits.clock = '$last'; CALL credits_run_reset()");
	is($node->safe_psql($db, $backwards), '', 'by the setting: no account went back');

	# As many boundaries as months have begun, however often they came round.
	my ($year, $month) = $last =~ /^(\d+)-(\d+)/;
	my $months = ($year - 2026) * 12 + $month - 1;
	is(boundaries($node, $_)->[0] || 0, $months, "by the setting: $_ had one reset a month") for @users;
	is_clean($node, $db);
	is($node->safe_psql($db, 'SELECT * FROM credits_verify_anchor()'), '', 'by the setting: anchors verify');
	$node->stop;
}

# In earnest: the server's own clock, by libfaketime, set while it runs.
SKIP:
{
	my ($library) = glob '/usr/lib/*/faketime/libfaketime.so.1 /usr/lib/faketime/libfaketime.so.1';
	skip 'there is no libfaketime', 1 unless $library && !($ENV{LD_PRELOAD} // '');

	my $file = PostgreSQL::Test::Utils::tempdir() . '/clock';
	my $node = PostgreSQL::Test::Cluster->new('earnest');
	my $set_clock = sub {
		my ($days) = @_;
		open my $fh, '>', "$file.new" or die "$file: $!";
		printf $fh "%+dd\n", $days;
		close $fh;
		rename "$file.new", $file or die "$file: $!";
		return;
	};
	$set_clock->(0);
	$node->init(extra => [ '--no-locale', '-E', 'UTF8' ]);
	$node->append_conf('postgresql.conf', "fsync = off\nautovacuum = off\nmax_connections = 20\ntimezone = UTC\n");
	{
		local $ENV{LD_PRELOAD} = $library;
		local $ENV{FAKETIME_TIMESTAMP_FILE} = $file;
		local $ENV{FAKETIME_NO_CACHE} = 1;
		local $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
		$node->start;
	}
	$node->safe_psql($db, q(CREATE EXTENSION credits;
SELECT credits_define_plan('free', 100), credits_define_plan('year', 10, 'anniversary');
SELECT credits_open_account('ann', 'free'), credits_open_account('bob', 'year'), credits_open_account('idle', 'free');
SELECT credits_add_purchased('ann', 50, 'pay_1')));
	my $session = session($node, $db);
	my $here = $session->do('SELECT extract(epoch FROM now())::int8');
	my $one = q(SELECT credits_deduct('ann', 1) ->> 'seq', credits_deduct('bob', 1) ->> 'seq');

	# Forward by 70 days: two boundaries or three, and their grants.
	$session->do($one);
	my $opened = $session->do(q(SELECT next_reset_at FROM credit_account WHERE user_id = 'ann'));
	$set_clock->(70);
	cmp_ok($session->do('SELECT extract(epoch FROM now())::int8') - $here, '>', 69 * 86400, 'the clock runs 70 days ahead');
	$session->do($one);
	$session->do('CALL credits_run_reset()');
	my @ahead = map { boundaries($node, $_) } 'ann', 'bob', 'idle';
	cmp_ok($ahead[0][0], '>=', 2, 'resets came with it');
	is_clean($node, $db, 'ahead: clean');
	my $balance = $session->do(q(SELECT credits_balance('ann') ->> 'available'));

	# Back, and forth again, and back: nothing comes twice.
	for my $days (0, 70, -1, 69, 0)
	{
		$set_clock->($days);
		$session->do('CALL credits_run_reset()');
		$session->do($_)
		  for $one, q(SELECT credits_balance('ann'), credits_explain('bob')), q(SELECT credits_anchor());
		$balance--;
		is($session->do(q(SELECT credits_balance('ann') ->> 'available')), $balance, "at $days days: charged once, nothing granted");
		is_deeply([ map { boundaries($node, $_) } 'ann', 'bob', 'idle' ], \@ahead, "at $days days: no other reset");
		is_clean($node, $db, "at $days days: clean");
	}
	is($session->do($backwards), '', 'no account went back');

	# Put right: the account's time is the clock again, what was granted ahead stays granted.
	$session->is_state(q(SELECT credits_repair_clock('ann', 'the clock ran ahead')), '00000', 'the account is put right');
	is($session->do(q(SELECT abs(extract(epoch FROM now() - effective_at)) < 600 FROM credit_history WHERE user_id = 'ann' ORDER BY seq DESC LIMIT 1)),
		't', '... to the clock');
	is($session->do(q(SELECT credits_balance('ann') ->> 'available')), $balance, '... with the same balance');
	$session->do('CALL credits_run_reset()');
	is_deeply(boundaries($node, 'ann'), $ahead[0], '... and no reset before its period ends');
	$session->is_state(q(SELECT credits_repair_clock('ann')), '22023', 'who is not ahead is not put right');
	$session->do($_) for $one, 'SELECT credits_anchor()';
	is($session->do($backwards), '', 'only the repair went back');
	is_clean($node, $db);
	is($session->do('SELECT * FROM credits_verify_anchor()'), '', 'anchors verify');

	# When the clock comes to where it ran ahead to, the next reset is the next one.
	$set_clock->(101);
	$session->do('CALL credits_run_reset()');
	is(boundaries($node, 'ann')->[0], $ahead[0][0] + 1, 'a month on: one reset more');
	is_clean($node, $db);
	$session->quit;
	$node->stop;
}
done_testing();
