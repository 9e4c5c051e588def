# Calls that are cancelled, time out, are rolled back or lose their session
# leave nothing behind.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Test::More;

my $node = new_server(
	'cancel',
	clock => '2026-01-15 12:00:00+00',
	conf => "max_prepared_transactions = 5\n");

$node->safe_psql(
	'postgres', q(
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('pro', 1000);
SELECT credits_open_account('ann', 'free');
SELECT credits_open_account('bob', 'free');
SELECT credits_add_purchased('ann', 50, 'pay_1');
));

my $everything = q(
SELECT md5(string_agg(t, E'\n' ORDER BY t)) FROM (
    SELECT a::text FROM credit_account a UNION ALL SELECT h::text FROM credit_history h
    UNION ALL SELECT p::text FROM credit_plan p UNION ALL SELECT p::text FROM credit_payment p
    UNION ALL SELECT r::text FROM credit_reset_run r WHERE r.kind <> 'verify' UNION ALL SELECT l::text FROM credit_audit_log l) x(t));

sub everything { return $node->safe_psql('postgres', $everything); }

sub wait_for_lock
{
	my ($pid) = @_;

	return $node->poll_query_until('postgres',
		"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid");
}

my $holder = session($node, 'postgres');
my $waiter = session($node, 'postgres');

# Every call that locks an account.  In some, something is due first.
my $february = q(SET credits.clock = '2026-02-10 00:00:00+00');
my @calls = (
	q(SELECT credits_deduct('ann', 1, 'waiting', 'key_1')),
	q(SELECT credits_try_deduct('ann', 1, 'waiting', 'key_2')),
	q(SELECT credits_add_purchased('ann', 10, 'pay_2')),
	q(SELECT credits_adjust('ann', 'purchased', 10, 'goodwill')),
	q(SELECT credits_open_account('ann', 'free')),
	q(SELECT credits_set_plan('ann', 'pro')),
	q(SELECT credits_freeze('ann')),
	q(SELECT credits_unfreeze('ann')));

# Somebody holds the account's row, by a call or by a plain lock.
my $n = 0;
for my $call (@calls)
{
	my $before = everything();
	my ($name) = $call =~ /(credits_\w+)/;

	$holder->do('BEGIN');
	$holder->do(
		$n++ % 2
		? q(SELECT credits_deduct('ann', 1))
		: q(SELECT 1 FROM credit_account WHERE user_id = 'ann' FOR UPDATE));

	# pg_cancel_backend, this one with a boundary to be applied first.
	$waiter->do($february);
	$waiter->send($call);
	wait_for_lock($waiter->pid) or die 'no lock wait';
	is($holder->do('SELECT pg_cancel_backend(' . $waiter->pid . ')'), 't', "$name: cancelled");
	is(($waiter->answer)[0], '57014', "$name: a cancel ends the wait");
	$waiter->do('RESET credits.clock');

	# statement_timeout, lock_timeout.
	$waiter->do(q(SET statement_timeout = '100ms'));
	$waiter->is_state($call, '57014', "$name: statement_timeout ends the wait");
	$waiter->do('RESET statement_timeout');
	$waiter->do(q(SET lock_timeout = '100ms'));
	$waiter->is_state($call, '55P03', "$name: lock_timeout ends the wait");

	# The same in a savepoint of a transaction that goes on.
	$waiter->do('BEGIN');
	$waiter->do(q(SELECT credits_deduct('bob', 1)));
	$waiter->do('SAVEPOINT here');
	$waiter->is_state($call, '55P03', "$name: lock_timeout in a savepoint");
	$waiter->do('ROLLBACK TO here');
	$waiter->is_state(q(SELECT credits_deduct('bob', 2)), '00000',
		"$name: the transaction goes on after it");
	$waiter->do('ROLLBACK');
	$waiter->do('RESET lock_timeout');

	$holder->do('ROLLBACK');
	is(everything(), $before, "$name: nothing was half-written");
	$waiter->do('BEGIN');
	$waiter->is_state($call, '00000', "$name: free again, it succeeds");
	$waiter->do('ROLLBACK');
	is(everything(), $before, "$name: rolled back");
}

# A payment_ref that somebody else is adding right now.
{
	my $before = everything();

	$holder->do('BEGIN');
	$holder->do(q(SELECT credits_add_purchased('bob', 10, 'pay_3')));
	$waiter->do(q(SET lock_timeout = '100ms'));
	$waiter->is_state(q(SELECT credits_add_purchased('ann', 10, 'pay_3')),
		'55P03', 'lock_timeout while waiting for a payment_ref');
	$waiter->do('RESET lock_timeout');
	$waiter->send(q(SELECT credits_add_purchased('ann', 10, 'pay_3')));
	wait_for_lock($waiter->pid) or die 'no lock wait';
	$holder->do('ROLLBACK');
	my ($state, $out) = $waiter->answer;
	is($state, '00000', 'rolled back by the first, a payment is credited by the second');
	is(json($out)->{purchased}, 60, '... to its user');
	isnt(everything(), $before, '... once');
}

# An account that somebody else is opening right now.
{
	$holder->do('BEGIN');
	$holder->do(q(SELECT credits_open_account('cid', 'free')));
	$waiter->do(q(SET lock_timeout = '100ms'));
	$waiter->is_state(q(SELECT credits_open_account('cid', 'pro')),
		'55P03', 'lock_timeout while waiting for an account that is being opened');
	$waiter->do('RESET lock_timeout');
	$waiter->send(q(SELECT credits_open_account('cid', 'pro')));
	wait_for_lock($waiter->pid) or die 'no lock wait';
	$holder->do('ROLLBACK');
	my ($state, $out) = $waiter->answer;
	is($state, '00000', 'rolled back by the first, an account is opened by the second');
	is(json($out)->{monthly}, 1000, '... with its plan');
}

# Savepoints.
{
	my $s = session($node, 'postgres');
	my $head = $s->do(q(SELECT seq FROM credit_balance WHERE user_id = 'ann'));
	my $available = $s->do(q(SELECT available FROM credit_balance WHERE user_id = 'ann'));

	$s->do('BEGIN');
	my $first = json($s->do(q(SELECT credits_deduct('ann', 1, NULL, 'sp_1'))));
	is($first->{seq}, $head + 1, 'a call before the savepoint');
	$s->do('SAVEPOINT a');
	is(json($s->do(q(SELECT credits_deduct('ann', 7, NULL, 'sp_2'))))->{seq},
		$head + 2, 'a call after it');
	$s->do('SAVEPOINT b');
	$s->do(q(SELECT credits_add_purchased('ann', 100, 'sp_pay')));
	$s->do(q(SELECT credits_open_account('sp_user', 'free')));
	$s->do(q(SELECT credits_deduct('sp_user', 1)));
	$s->do('ROLLBACK TO a');
	my $again = json($s->do(q(SELECT credits_deduct('ann', 7, NULL, 'sp_2'))));
	is($again->{seq}, $head + 2, 'rolled back, its seq is taken again');
	ok(!$again->{replayed}, '... its key was not left behind');
	is($again->{available}, $available - 8, '... nor its effect');
	is(json($s->do(q(SELECT credits_deduct('ann', 1, NULL, 'sp_1'))))->{replayed},
		JSON::PP::true, 'a key from before the savepoint is known');
	ok(!json($s->do(q(SELECT credits_add_purchased('ann', 100, 'sp_pay'))))->{replayed},
		'a payment that was rolled back is new');
	$s->do('SAVEPOINT c');
	$s->is_state(q(SELECT credits_deduct('ann', 1000000)), 'UC001', 'a refusal in a savepoint');
	$s->do('ROLLBACK TO c');
	$s->is_state(q(SELECT credits_deduct('sp_user', 1)),
		'UC002', 'an account that was rolled back is unknown');
	$s->do('ROLLBACK TO c');
	$s->do('RELEASE c');
	$s->do('COMMIT');
	is($s->do(q(SELECT available, seq FROM credit_balance WHERE user_id = 'ann')),
		($available - 8 + 100) . '|' . ($head + 3),
		'the transaction commits what was not rolled back');

	# The same through plpgsql, whose EXCEPTION blocks are savepoints.
	is( $s->do(
			q(
DO $$
BEGIN
    FOR i IN 1..20 LOOP
        BEGIN
            PERFORM credits_deduct('ann', 1);
            IF i % 2 = 0 THEN
                RAISE EXCEPTION 'no';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
END $$;)),
		'',
		'a loop of which every second turn fails');
	is($s->do(q(SELECT available, seq FROM credit_balance WHERE user_id = 'ann')),
		($available - 8 + 100 - 10) . '|' . ($head + 13),
		'... has half the effect');
	$s->quit;
	is_clean($node, 'postgres', 'clean after savepoints');
	is_gapless($node, 'postgres', 'gapless after savepoints');
}

# Prepared transactions.
{
	my $s = session($node, 'postgres');
	my $head = $s->do(q(SELECT seq FROM credit_balance WHERE user_id = 'bob'));

	$s->do('BEGIN');
	$s->do(q(SELECT credits_deduct('bob', 10, NULL, 'two_1')));
	$s->do(q(SELECT credits_add_purchased('bob', 5, 'two_pay')));
	$s->do(q(PREPARE TRANSACTION 'first'));
	$waiter->do(q(SET lock_timeout = '100ms'));
	$waiter->is_state(q(SELECT credits_deduct('bob', 1)), '55P03', 'a prepared transaction holds the account');
	$waiter->do('RESET lock_timeout');
	$waiter->send(q(SELECT credits_deduct('bob', 10, NULL, 'two_1')));
	wait_for_lock($waiter->pid) or die 'no lock wait';
	$s->do(q(COMMIT PREPARED 'first'));
	my ($state, $out) = $waiter->answer;
	is($state, '00000', 'it is committed: who waited goes on');
	ok(json($out)->{replayed}, '... and sees its key');
	is($s->do(q(SELECT available, seq FROM credit_balance WHERE user_id = 'bob')),
		'95|' . ($head + 2), '... and its effect');

	$s->do('BEGIN');
	$s->do(q(SELECT credits_deduct('bob', 10, NULL, 'two_2')));
	$s->do(q(PREPARE TRANSACTION 'second'));
	$_->quit for $s, $holder, $waiter;
	$node->restart;
	$s = session($node, 'postgres');
	$s->do(q(SET lock_timeout = '100ms'));
	$s->is_state(q(SELECT credits_deduct('bob', 1)), '55P03', 'also after a restart');
	$s->do('RESET lock_timeout');
	$s->do(q(ROLLBACK PREPARED 'second'));
	my $receipt = json($s->do(q(SELECT credits_deduct('bob', 10, NULL, 'two_2'))));
	ok(!$receipt->{replayed}, 'it is rolled back: its key is free');
	is("$receipt->{available} $receipt->{seq}", '85 ' . ($head + 3), '... and its effect gone');
	$s->quit;
	is_clean($node, 'postgres', 'clean after prepared transactions');
}

# A session that is terminated: while it waits, and with work not committed.
{
	my $h = session($node, 'postgres');
	my $before = everything();

	$h->do('BEGIN');
	$h->do(q(SELECT credits_deduct('ann', 1)));
	my $w = session($node, 'postgres');
	$w->do('BEGIN');
	$w->do(q(SELECT credits_deduct('bob', 3, NULL, 'gone')));
	$w->send(q(SELECT credits_deduct('ann', 3, NULL, 'gone')));
	wait_for_lock($w->pid) or die 'no lock wait';
	$h->do('SELECT pg_terminate_backend(' . $w->pid . ')');
	is(($w->answer)[0], '08006', 'a session that waits is terminated');
	$w->quit;

	$w = session($node, 'postgres');
	$w->send(q(SELECT credits_deduct('ann', 3, NULL, 'gone')));
	wait_for_lock($w->pid) or die 'no lock wait';
	is($node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . $h->pid . ')'),
		't', 'a session that holds the account is terminated');
	my ($state, $out) = $w->answer;
	is($state, '00000', '... and who waited gets it');
	ok(!json($out)->{replayed}, '... as its first call');
	$h->quit;
	$w->quit;
	my ($state2) = outcome($node, 'postgres', q(SELECT credits_deduct('bob', 3, NULL, 'gone')));
	is($state2, '00000', 'what was terminated can be sent again');
	is( $node->safe_psql(
			'postgres', q(SELECT count(*) FROM credit_history WHERE idempotency_key = 'gone')),
		2,
		'... with one effect each');
	isnt(everything(), $before, 'and something was written');
}

is_gapless($node, 'postgres');
is_clean($node, 'postgres');
no_deadlock($node);

done_testing();
