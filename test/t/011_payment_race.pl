# One payment_ref from many clients at once is credited once; an unknown user
# that many clients open at once is opened once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Test::More;

my $clients = 16;
my $refs = 40;

my $node = new_server('payment_race', clock => '2026-01-15 12:00:00+00');

# A call, and a line that says how it went.
sub call
{
	my ($name, $sql) = @_;

	return "SELECT $sql;\n\\echo = $name :SQLSTATE\n";
}

# By name of the call: [SQLSTATE, receipt, client] of each answer.
sub gather
{
	my @clients = @_;
	my %answers;

	for my $c (0 .. $#clients)
	{
		push @{ $answers{ $_->[0] } }, [ $_->[1], $_->[2], $c ] for client_results($clients[$c]);
	}
	return %answers;
}

# A receipt without what tells a replay from the first call.
sub facts
{
	my %facts = %{ $_[0] };

	delete $facts{replayed};
	return JSON::PP->new->canonical->encode(\%facts);
}

sub count { return scalar @_; }

# One user: the first is credited, the others get its receipt again.
{
	my $script = join '', map { call("one_$_", "credits_add_purchased('one', 10 + $_, 'one_$_')") } 1 .. $refs;
	my %answers =
	  gather(run_clients($node, 'postgres', [ ($script) x $clients ], barrier => 1));
	my (@states, @fresh, @receipts);

	for my $ref (sort keys %answers)
	{
		my @all = @{ $answers{$ref} };
		my %facts = map { (facts($_->[1]) => 1) } grep { $_->[1] } @all;

		push @states, grep { $_ ne '00000' } map { $_->[0] } @all;
		push @fresh, $ref if 1 != grep { $_->[1] && !$_->[1]{replayed} } @all;
		push @receipts, $ref if 1 != keys %facts;
	}
	is(count(keys %answers), $refs, 'one user: every ref was answered');
	is("@states", '', 'one user: no call failed');
	is("@fresh", '', 'one user: each ref was credited by exactly one call');
	is("@receipts", '', 'one user: all others got the same receipt, replayed');
	is( $node->safe_psql(
			'postgres', "SELECT purchased FROM credit_balance WHERE user_id = 'one'"),
		$refs * 10 + $refs * ($refs + 1) / 2,
		'one user: the balance has each payment once');
	is( $node->safe_psql(
			'postgres',
			"SELECT count(*), count(DISTINCT payment_ref) FROM credit_history WHERE user_id = 'one' AND kind = 'purchase'"
		),
		"$refs|$refs",
		'one user: one row per payment');
}

# Two users: one is credited, the other's calls are conflicts.
{
	my @scripts = map {
		my $user = $_ % 2 ? 'odd' : 'even';
		join '', map { call("two_$_", "credits_add_purchased('$user', 10, 'two_$_')") } 1 .. $refs;
	} 1 .. $clients;
	my %answers = gather(run_clients($node, 'postgres', \@scripts, barrier => 1));
	my (@fresh, @wrong, %winner);

	for my $ref (sort keys %answers)
	{
		my @fresh_here = grep { $_->[1] && !$_->[1]{replayed} } @{ $answers{$ref} };

		push @fresh, $ref if @fresh_here != 1;
		next unless @fresh_here;
		my $user = $winner{$ref} = $fresh_here[0][1]{user_id};
		for my $answer (@{ $answers{$ref} })
		{
			my $own = ($answer->[2] % 2 ? 'even' : 'odd') eq $user;

			push @wrong, "$ref $answer->[0]" if $answer->[0] ne ($own ? '00000' : 'UC003');
			push @wrong, "$ref receipt"
			  if $own && $answer->[1] && facts($answer->[1]) ne facts($fresh_here[0][1]);
		}
	}
	is(count(keys %answers), $refs, 'two users: every ref was answered');
	is("@fresh", '', 'two users: each ref was credited by exactly one call');
	is("@wrong", '', 'two users: the same receipt for that user, UC003 for the other');
	is( $node->safe_psql(
			'postgres', "SELECT sum(purchased) FROM credit_balance WHERE user_id IN ('odd', 'even')"),
		$refs * 10,
		'two users: each payment was credited once');
	is_deeply(
		{
			map { ($_->[0] => $_->[1]) } rows(
				$node, 'postgres',
				"SELECT payment_ref, user_id FROM credit_payment WHERE payment_ref LIKE 'two%'")
		},
		\%winner,
		'two users: the payments are of those who got a receipt');
}

# Many refs, every second client in the opposite order.
{
	my @scripts = map {
		my $c = $_;
		my @order = $c % 2 ? (1 .. $refs) : (reverse 1 .. $refs);
		join '',
		  map { call("order_$_", sprintf q(credits_add_purchased('order_%d', 10, 'order_%d')), $_ % 7, $_) }
		  @order;
	} 1 .. $clients;
	my %answers = gather(run_clients($node, 'postgres', \@scripts, barrier => 1));
	my @states = grep { $_ ne '00000' } map { $_->[0] } map { @$_ } values %answers;
	my $fresh = grep { $_->[1] && !$_->[1]{replayed} } map { @$_ } values %answers;

	is("@states", '', 'opposite order: no call failed');
	is($fresh, $refs, 'opposite order: each ref was credited by exactly one call');
	is( $node->safe_psql(
			'postgres', "SELECT sum(purchased) FROM credit_balance WHERE user_id LIKE 'order%'"),
		$refs * 10,
		'opposite order: each payment was credited once');
}

# A ref is waited for before its account is locked, so somebody who keeps to the
# order (payments, then accounts by user) meets no deadlock.
{
	my $first = session($node, 'postgres');
	my $second = session($node, 'postgres');

	$first->do(q(SELECT credits_add_purchased('order_b', 10, 'held_0')));
	$first->do('BEGIN');
	$first->do(q(SELECT credits_add_purchased('order_a', 10, 'held_1')));
	$second->send(q(SELECT credits_add_purchased('order_b', 10, 'held_1')));
	$node->poll_query_until('postgres',
		q(SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = ) . $second->pid)
	  or die 'no lock wait';
	$first->is_state(q(SELECT credits_deduct('order_b', 1)),
		'00000', 'the account of who waits for a ref is not locked');
	$first->is_state('COMMIT', '00000', '... and the first transaction commits');
	is(($second->answer)[0], 'UC003', '... and then the ref is known');
	$_->quit for $first, $second;
}

# Snapshots that are too old: 40001, and after a retry a replay.
for my $level ('repeatable read', 'serializable')
{
	my $tag = substr $level, 0, 1;
	my %credited;
	my @todo = map { my $c = $_; [ map { "${tag}_$_" } 1 .. 15 ] } 1 .. $clients;
	my @other;
	my $rounds = 0;

	while (grep { @$_ } @todo)
	{
		my @done = run_clients(
			$node,
			'postgres',
			[
				map {
					join '', map { call($_, "credits_add_purchased('${tag}_user', 10, '$_')") } @$_
				} @todo
			],
			barrier => 1,
			options => isolation($level));
		@todo = map { [] } @todo;
		for my $c (0 .. $#done)
		{
			for my $result (client_results($done[$c]))
			{
				my ($ref, $state, $receipt) = @$result;

				push @{ $todo[$c] }, $ref if $state eq '40001';
				push @other, "$ref $state" if $state ne '40001' && $state ne '00000';
				$credited{$ref}++ if $receipt && !$receipt->{replayed};
			}
		}
		last if ++$rounds == 500;
	}
	note("$level: $rounds rounds");
	cmp_ok($rounds, '<', 500, "$level: the retries come to an end");
	is("@other", '', "$level: only success and 40001");
	is(join(' ', map { $credited{$_} } sort keys %credited),
		join(' ', (1) x 15), "$level: each ref was credited by exactly one call");
	is( $node->safe_psql(
			'postgres', "SELECT purchased, seq FROM credit_balance WHERE user_id = '${tag}_user'"),
		'150|16',
		"$level: once in the balance, one row each after the opening one");
}

# Unknown users, opened by whoever comes first.
{
	my $users = 30;

	$node->safe_psql('postgres', q(SELECT credits_define_plan('welcome', 1000)));
	$node->append_conf('postgresql.conf', "credits.default_plan = 'welcome'");
	$node->reload;
	$node->poll_query_until('postgres',
		"SELECT current_setting('credits.default_plan', true) = 'welcome'")
	  or die 'no default plan';

	# Spending, buying and opening, each by several clients at once.
	my @scripts = map {
		my $c = $_;
		join '', map {
			my $call =
			    $c % 4 == 0 ? "credits_add_purchased('new_$_', 100, 'new_$_')"
			  : $c % 4 == 1 ? "credits_open_account('new_$_')"
			  : $c % 4 == 2 ? "credits_try_deduct('new_$_', 1)"
			  :               "credits_deduct('new_$_', 1)";
			call("new_$_", $call)
		} 1 .. $users;
	} 0 .. $clients - 1;
	my %answers = gather(run_clients($node, 'postgres', \@scripts, barrier => 1));
	my (@spent, @bought, @opened);

	for my $user (sort keys %answers)
	{
		for my $answer (@{ $answers{$user} })
		{
			my ($state, $receipt, $c) = @$answer;
			my $what = "$user $state " . ($receipt ? $receipt->{ok} : '');

			# Whoever comes first, nobody is refused: a purchase may open the
			# account without a plan, but then its credits can be spent, and
			# opening sets the plan.
			push @bought, $what if $c % 4 == 0 && !($state eq '00000' && $receipt->{ok});
			push @opened, $what if $c % 4 == 1 && $state ne '00000';
			push @spent, $what if $c % 4 >= 2 && !($state eq '00000' && $receipt->{ok});
		}
	}
	is("@spent", '', 'unknown users: every deduction succeeded');
	is("@bought", '', 'unknown users: every purchase succeeded');
	is("@opened", '', 'unknown users: every opening succeeded');
	is( $node->safe_psql(
			'postgres', q(
SELECT user_id, kinds FROM
       (SELECT user_id, count(*) FILTER (WHERE kind = 'open' AND seq = 1) || ' ' || count(*) FILTER (WHERE kind = 'deduct')
               || ' ' || count(*) FILTER (WHERE kind = 'purchase') AS kinds
          FROM credit_history WHERE user_id LIKE 'new%' GROUP BY user_id) x
 WHERE kinds <> '1 8 1')),
		'',
		'unknown users: one opening, eight deductions, one purchase each');
	is( $node->safe_psql(
			'postgres',
			q(SELECT count(*), min(available), max(available), min(plan), max(plan) FROM credit_balance WHERE user_id LIKE 'new%')
		),
		"$users|1092|1092|welcome|welcome",
		'unknown users: the balances are what was granted, bought and spent');
}

is_gapless($node, 'postgres');
is_clean($node, 'postgres');
no_deadlock($node);

done_testing();
