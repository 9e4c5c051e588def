# Many clients, one account: every credit is spent exactly once, at every
# isolation level, with and without idempotency keys.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 16;
my $credits = 10_000;

my $node = new_server(
	'concurrency',
	clock => '2026-01-15 12:00:00+00',
	conf => "log_line_prefix = '%m [%p] %e '\n");
$node->safe_psql('postgres', q(SELECT credits_define_plan('six_thousand', 6000)));

# 6,000 monthly and 4,000 purchased credits in two rows of history.
sub fund
{
	my ($user) = @_;

	$node->safe_psql(
		'postgres', qq(
SELECT credits_open_account('$user', 'six_thousand');
SELECT credits_add_purchased('$user', 4000, 'payment_$user');
));
	return;
}

# What must be true of an account whose 10,000 credits were spent one by one.
sub is_spent
{
	my ($user, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is( $node->safe_psql(
			'postgres',
			"SELECT monthly, purchased, available, owed FROM credit_balance WHERE user_id = '$user'"),
		'0|0|0|0',
		"$test: the balance is 0");
	is( $node->safe_psql(
			'postgres', qq(
SELECT count(*), min(seq), max(seq), count(DISTINCT seq), sum(monthly_delta), sum(purchased_delta)
  FROM credit_history WHERE user_id = '$user' AND kind = 'deduct')),
		"$credits|3|10002|$credits|-6000|-4000",
		"$test: 10,000 deduct rows, gapless");
	is( $node->safe_psql(
			'postgres', qq(
SELECT count(*) FROM credit_history
 WHERE user_id = '$user' AND kind = 'deduct'
   AND monthly = greatest(6000 - (seq - 2), 0) AND purchased = least(10000 - (seq - 2), 4000)
   AND amount = 1 AND monthly_delta + purchased_delta = -1 AND granted_delta = 0)),
		$credits,
		"$test: each row follows from the one before it, monthly first");
	is($node->safe_psql('postgres', "SELECT * FROM credits_verify_account('$user')"),
		'', "$test: the account verifies");
	return;
}

# pgbench retries a call that failed with 40001 and ends a client at any other
# error, here the refusal; what it counts as processed are the successes.
for my $level ('read committed', 'repeatable read', 'serializable')
{
	my $user = 'hot_' . ($level =~ s/ /_/r);
	my $script = PostgreSQL::Test::Utils::tempdir() . '/deduct.sql';
	my ($out, $err) = ('', '');
	my $log_start;

	fund($user);
	$log_start = -s $node->logfile;
	append_to_file($script, "SELECT credits_deduct('$user', 1);\n");
	{
		local $ENV{PGOPTIONS} = isolation($level);
		IPC::Run::run(
			[
				'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', 1, '-t', 2 * $credits,
				$level eq 'read committed' ? () : ('--max-tries', 1_000_000),
				'-h', $node->host, '-p', $node->port, '-f', $script, 'postgres'
			],
			'<', \undef, '>', \$out, '2>', \$err);
	}
	my ($processed) = $out =~ m{^number of transactions actually processed: (\d+)}m;
	is($processed, $credits, "$level: exactly 10,000 calls succeeded") or diag("$out\n$err");

	# The server's log tells what the others were.
	my $log = substr slurp_file($node->logfile), $log_start;
	my %errors;
	$errors{$1}++ while $log =~ / (\w{5}) (?:ERROR|FATAL|PANIC):  /g;
	delete $errors{'40001'} if $level ne 'read committed';
	is_deeply(\%errors, { UC001 => $clients }, "$level: each client was refused once, for want of credits");
	is_outcome($node, 'postgres', "SELECT credits_deduct('$user', 1)",
		'UC001', "$level: one more is UC001");
	is_spent($user, $level);
	note($out);
}

# Keys, half of them sent twice, in an order that differs from run to run.
# Returns the script of each client; a key's two calls go to any two of them.
sub deal
{
	my ($user, @keys) = @_;
	my @calls = (@keys, @keys[ 0 .. $#keys / 2 ]);
	my @scripts = ('') x $clients;

	for (my $i = $#calls; $i > 0; $i--)
	{
		my $j = int(rand($i + 1));
		@calls[ $i, $j ] = @calls[ $j, $i ];
	}
	for my $i (0 .. $#calls)
	{
		$scripts[ $i % $clients ] .=
		  "SELECT credits_deduct('$user', 1, NULL, '$calls[$i]');\n\\echo = $calls[$i] :SQLSTATE\n";
	}
	return @scripts;
}

for my $case (
	[ 'read committed', $credits ],
	[ 'repeatable read', 1_000 ],
	[ 'serializable', 1_000 ])
{
	my ($level, $n) = @$case;
	my $user = 'keyed_' . ($level =~ s/ /_/r);
	my %state;    # by key: refusals, SQLSTATE => times
	my %seq;      # by key: seq => times
	my %fresh;    # by key: receipts that are not replays
	my @other;
	my $rounds = 0;

	if ($n == $credits)
	{
		fund($user);
	}
	else
	{
		$node->safe_psql('postgres', "SELECT credits_add_purchased('$user', $n, 'payment_$user')");
	}

	# A few keys more than there are credits, so that some are refused.
	my @scripts = deal($user, map { "k$_" } 1 .. $n + $n / 25);
	while (grep { $_ ne '' } @scripts)
	{
		my @again = ('') x $clients;
		my @done = run_clients($node, 'postgres', \@scripts, options => isolation($level));

		for my $c (0 .. $#done)
		{
			for my $result (client_results($done[$c]))
			{
				my ($key, $state, $receipt) = @$result;

				if ($state eq '40001')
				{
					$again[$c] .=
					  "SELECT credits_deduct('$user', 1, NULL, '$key');\n\\echo = $key :SQLSTATE\n";
				}
				elsif ($state eq '00000')
				{
					$seq{$key}{ $receipt->{seq} }++;
					$fresh{$key} += $receipt->{replayed} ? 0 : 1;
					push @other, "$key: not ok" unless $receipt->{ok};
				}
				elsif ($state eq 'UC001')
				{
					$state{$key}{$state}++;
				}
				else
				{
					push @other, "$key: $state";
				}
			}
		}
		last if ++$rounds == 1000;
		@scripts = @again;
	}
	note("$level: $rounds rounds");
	cmp_ok($rounds, '<', 1000, "$level, keys: the retries come to an end");
	is("@other", '', "$level, keys: only success and UC001");
	is(scalar(keys %fresh), $n, "$level, keys: $n keys had an effect");
	is(scalar(grep { $fresh{$_} != 1 } keys %fresh), 0, "$level, keys: each of them one");
	is(scalar(grep { keys %{ $seq{$_} } != 1 } keys %seq),
		0, "$level, keys: replays answer with the first call's seq");
	is(scalar(grep { $fresh{$_} } keys %state), 0, "$level, keys: no refused key had an effect");
	is(scalar(keys %state), $n / 25, "$level, keys: the others were refused");

	my %row = map { ($_->[0] => $_->[1]) } rows(
		$node, 'postgres',
		"SELECT idempotency_key, seq FROM credit_history WHERE user_id = '$user' AND kind = 'deduct'");
	is(scalar(keys %row), $n, "$level, keys: one row per key");
	is( scalar(grep { !exists $seq{$_}{ $row{$_} } } keys %row),
		0,
		"$level, keys: the receipts name these rows");
	is($node->safe_psql('postgres', "SELECT available FROM credit_balance WHERE user_id = '$user'"),
		0, "$level, keys: the balance is 0");
	is_spent($user, "$level, keys") if $n == $credits;
}

is_gapless($node, 'postgres');
is_clean($node, 'postgres');
no_deadlock($node);

done_testing();
