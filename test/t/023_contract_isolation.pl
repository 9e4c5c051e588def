# The contract of concurrency: isolation levels, calls in one statement, triggers
# and constraints of a DBA.  Written from the contract and the reference alone.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Contract;
use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $s) = contract_server(
	'contract_isolation',
	clock => '2026-01-15 12:00:00+00',
	conf => "restart_after_crash = on\n");

$s->do($_) for (
	q(SELECT credits_define_plan('free', 100)),
	q(SELECT credits_define_plan('pro', 1000)),
	q(CREATE ROLE app LOGIN),
	q(SELECT credits_grant_role('app', 'app')));

my $user_no = 0;

# A user with 100 monthly, 50 granted, 1000 purchased credits.
sub new_user
{
	my $user = 'user_' . ++$user_no;

	$s->do("SELECT credits_open_account('$user', 'free')");
	$s->do("SELECT credits_grant('$user', 50, '2026-04-01')");
	$s->do("SELECT credits_add_purchased('$user', 1000, 'pay_$user')");
	return $user;
}

# Where the server crashed, wait until it is back.
my $crashes = 0;

sub revive
{
	$crashes++;
	poll_until(
		sub {
			my $back = () = slurp_file($node->logfile) =~ /was terminated by signal.*?database system is ready/gs;
			return $back >= $crashes;
		},
		'the server to come back') or die 'the server did not come back';
	$s = session($node, 'postgres');
	return;
}

# The call must go through, and the server must survive it.
sub is_survived
{
	my ($call, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($state) = $s->run($call);

	is($state, '00000', $test // $call) or diag("$call\n$s->{stderr}");
	revive() if $state eq '08006';
	return;
}

# ---------------------------------------------------------------------------
# Section 3 and 4.2: above READ COMMITTED, what was committed since the transaction
# began is 40001.

my $first = session($node, 'postgres');
my $second = session($node, 'postgres');

# [what, what the other commits meanwhile, the call, what READ COMMITTED answers].  NEW is a user that
# does not exist at first; USER one that does; OTHER another.
my @since = (
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_deduct('USER', 1)), '00000' ],
	[ 'an account that was written', q(credits_freeze('USER')), q(credits_deduct('USER', 1)), 'UC004' ],
	[ 'an account that was written', q(credits_deduct('USER', 1150)), q(credits_try_deduct('USER', 1)), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_deduct_many('{OTHER,USER}', '{1,1}')), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_add_purchased('USER', 1, 'iso_USER')), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_hold('USER', 1)), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_grant('USER', 1, '2027-01-01')), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_adjust('USER', 'monthly', 1, 'why')), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_set_plan('USER', 'pro')), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_set_overdraft('USER', 1)), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_freeze('USER')), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_revoke_purchase('pay_USER', 1)), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_transfer('OTHER', 'USER', 1)), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_transfer('USER', 'OTHER', 1)), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_erase_user('USER')), '00000' ],
	[ 'an account that was written', q(credits_deduct('USER', 1)), q(credits_close_account('USER')), '00000' ],
	[ 'a key', q(credits_deduct('USER', 1, NULL, 'key')), q(credits_deduct('USER', 1, NULL, 'key')), '00000' ],
	[ 'a key', q(credits_deduct('USER', 1, NULL, 'key')), q(credits_deduct('USER', 2, NULL, 'key')), 'UC003' ],
	[ 'an account that was opened', q(credits_open_account('NEW', 'free')), q(credits_deduct('NEW', 1)), '00000' ],
	[ 'an account that was opened', q(credits_open_account('NEW', 'free')), q(credits_try_deduct('NEW', 1)), '00000' ],
	[ 'an account that was opened', q(credits_open_account('NEW', 'free')), q(credits_hold('NEW', 1)), '00000' ],
	[ 'an account that was opened', q(credits_open_account('NEW', 'free')), q(credits_open_account('NEW', 'free')), '00000' ],
	[ 'an account that was opened', q(credits_open_account('NEW', 'free')), q(credits_open_account('NEW', 'pro')), 'UC003' ],
	[ 'an account that was opened', q(credits_open_account('NEW', 'free')), q(credits_add_purchased('NEW', 1, 'iso_NEW')), '00000' ],
	[ 'an account that was opened', q(credits_open_account('NEW', 'free')), q(credits_transfer('USER', 'NEW', 1)), '00000' ],
	[ 'an account that was opened', q(credits_open_account('NEW', 'free')), q(credits_deduct_many('{USER,NEW}', '{1,1}', NULL, NULL, NULL, true)), '00000' ],
	[ 'a payment', q(credits_add_purchased('USER', 7, 'since_USER')), q(credits_add_purchased('USER', 7, 'since_USER')), '00000' ],
	[ 'a payment', q(credits_add_purchased('USER', 7, 'since_USER')), q(credits_add_purchased('OTHER', 7, 'since_USER')), 'UC003' ],
	[ 'a payment', q(credits_add_purchased('USER', 7, 'since_USER')), q(credits_revoke_purchase('since_USER', 1)), '00000' ],
	[ 'a payment that was revoked', q(credits_revoke_purchase('pay_USER', 1000)), q(credits_revoke_purchase('pay_USER', 1)), 'UC010' ],
	[ 'a payment that was revoked', q(credits_revoke_purchase('pay_USER', 1000)), q(credits_revoke_purchase('pay_USER')), '00000' ]);

for my $case (@since)
{
	my ($what, $meanwhile, $call, $committed) = @$case;

	for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
	{
		my ($user, $other, $new) = (new_user(), new_user(), 'new_' . ++$user_no);
		my ($theirs, $ours) = map { s/USER/$user/gr =~ s/OTHER/$other/gr =~ s/NEW/$new/gr } ($meanwhile, $call);

		$first->do("BEGIN ISOLATION LEVEL $level");
		$first->do('SELECT count(*) FROM credit_account');
		$second->do("BEGIN ISOLATION LEVEL $level");
		$second->do("SELECT * FROM $theirs");
		$second->do('COMMIT');
		$first->is_state("SELECT * FROM $ours", $level eq 'READ COMMITTED' ? $committed : '40001', "$level: $what: $ours after $theirs");
		$first->do('ROLLBACK');
	}
}

# The same where the other has not committed yet: wait, and then the same answer.
for my $case (grep { $_->[2] =~ /^credits_(deduct|try_deduct|hold|open_account|add_purchased|revoke_purchase)\(/ } @since)
{
	my ($what, $meanwhile, $call, $committed) = @$case;

	for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
	{
		for my $end ('COMMIT', 'ROLLBACK')
		{
			my ($user, $other, $new) = (new_user(), new_user(), 'new_' . ++$user_no);
			my ($theirs, $ours) = map { s/USER/$user/gr =~ s/OTHER/$other/gr =~ s/NEW/$new/gr } ($meanwhile, $call);
			my $alone = $ours =~ /credits_open_account|credits_add_purchased|pay_/ || $ours !~ /new_|since_/ ? '00000' : $ours =~ /new_/ ? 'UC002' : 'UC011';

			$second->do("BEGIN ISOLATION LEVEL $level");
			$second->do("SELECT * FROM $theirs");
			$first->do("BEGIN ISOLATION LEVEL $level");
			$first->do('SELECT count(*) FROM credit_account');
			$first->send("SELECT * FROM $ours");

			# It waits, or, if it finds nothing to wait for, answers at once.
			poll_until(
				sub {
					$s->do(qq(SELECT query LIKE \$q\$SELECT * FROM $ours%\$q\$ AND (state <> 'active' OR cardinality(pg_blocking_pids(pid)) > 0)
                        FROM pg_stat_activity WHERE pid = ${\$first->pid})) eq 't';
				},
				'the call to wait or to answer');
			my $blocked = $s->do("SELECT cardinality(pg_blocking_pids(${\$first->pid})) > 0") eq 't';
			$second->do($end);
			my ($state) = $first->answer;
			my $expected = $end eq 'ROLLBACK' || !$blocked ? $alone : $level eq 'READ COMMITTED' ? $committed : '40001';
			is($state, $expected, "$level: $what: $ours beside $theirs, then $end") or diag($first->{stderr});
			$first->do('ROLLBACK');
		}
	}
}

# What was looked for and not there, the error caught at a savepoint, and came meanwhile: 40001, as for
# any row that a snapshot does not have.
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	for (
		[ 'an account', q(credits_deduct('NEW', 1)), 'UC002', q(credits_open_account('NEW', 'free')), q(credits_deduct('NEW', 1)) ],
		[ 'a payment', q(credits_revoke_purchase('pay_NEW')), 'UC011', q(credits_add_purchased('OTHER', 5, 'pay_NEW')), q(credits_revoke_purchase('pay_NEW')) ],
		[ 'a payment', q(credits_revoke_purchase('pay_NEW')), 'UC011', q(credits_add_purchased('OTHER', 5, 'pay_NEW')), q(credits_add_purchased('USER', 5, 'pay_NEW')) ])
	{
		my ($what, $look, $not_there, $comes, $again) = @$_;
		my ($user, $other, $new) = (new_user(), new_user(), 'new_' . ++$user_no);

		s/USER/$user/g, s/OTHER/$other/g, s/NEW/$new/g for ($look, $comes, $again);
		$first->do("BEGIN ISOLATION LEVEL $level");
		$first->do('SAVEPOINT a');
		$first->is_state("SELECT $look", $not_there, "$level: $what that is not there: $not_there");
		$first->do('ROLLBACK TO a');
		$second->do("SELECT $comes");
		$first->is_state("SELECT $again", '40001', "$level: ... and came meanwhile: 40001 ($again)");
		$first->do('ROLLBACK');
	}
}

# A plan is looked up with the latest snapshot; under SERIALIZABLE that one came meanwhile is 40001.
{
	my $user = new_user();

	$first->do('BEGIN ISOLATION LEVEL SERIALIZABLE');
	$first->do('SAVEPOINT a');
	$first->is_state("SELECT credits_set_plan('$user', 'plan_of_$user')", 'UC009', 'SERIALIZABLE: a plan that is not there: UC009');
	$first->do('ROLLBACK TO a');
	$second->do("SELECT credits_define_plan('plan_of_$user', 5)");
	my ($state) = $first->run("SELECT credits_set_plan('$user', 'plan_of_$user')");
	($state) = $first->run('COMMIT') if $state eq '00000';
	is($state, '40001', 'SERIALIZABLE: ... and came meanwhile: 40001');
	$first->run('ROLLBACK');
}

# The same as a cycle: each of two serializable transactions reads what the other writes.  One at least
# must fail: there is no order in which both saw what they saw.
for (
	[ 'a plan', q(credits_set_plan('USER', 'PLAN')), 'UC009', q(credits_define_plan('PLAN', 5)) ],
	[ 'a plan', q(credits_open_account('NEW', 'PLAN')), 'UC009', q(credits_define_plan('PLAN', 5)) ],
	[ 'a payment', q(credits_revoke_purchase('pay_NEW')), 'UC011', q(credits_add_purchased('OTHER', 5, 'pay_NEW')) ],
	[ 'an account', q(credits_deduct('NEW', 1)), 'UC002', q(credits_open_account('NEW', 'free')) ])
{
	my ($what, $look, $not_there, $comes) = @$_;
	my ($user, $other, $new) = (new_user(), new_user(), 'new_' . ++$user_no);

	s/USER/$user/g, s/OTHER/$other/g, s/NEW/$new/g, s/PLAN/plan_$new/g for ($look, $comes);
	my @states;
	my $step = sub {
		my ($session, $sql) = @_;
		my ($state) = $session->run($sql);

		push @states, $state;
		return $state;
	};
	$first->do('BEGIN ISOLATION LEVEL SERIALIZABLE');
	$first->do('SAVEPOINT a');
	$first->is_state("SELECT $look", $not_there, "SERIALIZABLE: $what that is not there: $not_there");
	$first->do('ROLLBACK TO a');
	$second->do('BEGIN ISOLATION LEVEL SERIALIZABLE');
	$second->do("SELECT credits_balance('$user')");
	$step->($first, "SELECT credits_deduct('$user', 1)");
	$step->($second, "SELECT $comes");
	$step->($second, 'COMMIT');
	$step->($first, 'COMMIT');
	ok((grep { $_ eq '40001' } @states), "SERIALIZABLE: $what that came meanwhile, in a cycle of reads: 40001 for one of them")
	  or diag("@states");
	$first->run('ROLLBACK');
	$second->run('ROLLBACK');
}

# Write skew on balances: each reads the other's account and spends from its own.
{
	my ($user, $other) = (new_user(), new_user());
	my @states;

	$first->do('BEGIN ISOLATION LEVEL SERIALIZABLE');
	$second->do('BEGIN ISOLATION LEVEL SERIALIZABLE');
	$first->do("SELECT credits_balance('$other')");
	$second->do("SELECT credits_balance('$user')");
	for ([ $first, "SELECT credits_deduct('$user', 1)" ], [ $second, "SELECT credits_deduct('$other', 1)" ], [ $first, 'COMMIT' ], [ $second, 'COMMIT' ])
	{
		my ($state) = $_->[0]->run($_->[1]);

		push @states, $state;
	}
	ok((grep { $_ eq '40001' } @states), 'SERIALIZABLE: write skew between two accounts is 40001') or diag("@states");
	$_->run('ROLLBACK') for ($first, $second);

	# Neighbours that have nothing to do with each other do not conflict.
	($user, $other) = (new_user(), new_user());
	@states = ();
	$first->do('BEGIN ISOLATION LEVEL SERIALIZABLE');
	$second->do('BEGIN ISOLATION LEVEL SERIALIZABLE');
	for ([ $first, "SELECT credits_deduct('$user', 1, NULL, 'k')" ], [ $second, "SELECT credits_deduct('$other', 1, NULL, 'k')" ], [ $first, 'COMMIT' ], [ $second, 'COMMIT' ])
	{
		my ($state) = $_->[0]->run($_->[1]);

		push @states, $state;
	}
	is("@states", '00000 00000 00000 00000', 'SERIALIZABLE: adjacent users do not conflict');
	$_->run('ROLLBACK') for ($first, $second);
}

# ---------------------------------------------------------------------------
# Section 4.1: what is locked.

# An app's foreign key to an account, in an open transaction, keeps nobody from spending; nor does
# spending keep an app from referring to the account.
{
	my $user = new_user();

	$s->do('CREATE TABLE app_order (user_id text COLLATE "C" REFERENCES credit_account)');
	$second->do('BEGIN');
	$second->do("INSERT INTO app_order VALUES ('$user')");
	$first->do(q(SET statement_timeout = '60s'));
	$first->is_state("SELECT $_", '00000', "a foreign key to the account is open: $_")
	  for ("credits_deduct('$user', 1)", "credits_hold('$user', 1)", "credits_deduct_many('{$user}', '{1}')", "credits_freeze('$user')", "credits_unfreeze('$user')");
	$first->do('BEGIN');
	$first->do("SELECT credits_deduct('$user', 1)");
	$second->do(q(SET statement_timeout = '60s'));
	$second->is_state("INSERT INTO app_order VALUES ('$user')", '00000', 'a deduction is open: the foreign key');
	$_->do('COMMIT'), $_->do('RESET statement_timeout') for ($first, $second);
	$s->do('DROP TABLE app_order');
}

# A replay takes the lock: it waits for the account, and then knows what was committed.
{
	my $user = new_user();

	$second->do('BEGIN');
	$second->do("SELECT credits_deduct('$user', 7, NULL, 'replayed')");
	$first->send("SELECT credits_deduct('$user', 7, NULL, 'replayed')->'replayed'");
	poll_until(sub { $s->do("SELECT ${\$second->pid} = ANY(pg_blocking_pids(${\$first->pid}))") eq 't' }, 'the same key to wait');
	$second->do('COMMIT');
	my ($state, $out) = $first->answer;
	is("$state $out", '00000 true', 'the same key at once waits, and is a replay');
	is($s->do("SELECT credits_balance('$user')->'available'"), 1143, '... charged once');
}

# Transfers to and fro, and batches in any order, never deadlock.
{
	my @users = map { new_user() } 1 .. 3;
	my @scripts;

	for my $n (0 .. 5)
	{
		my ($a, $b) = $n % 2 ? @users[0, 1] : @users[1, 0];
		my $list = join ',', $n % 2 ? @users : reverse @users;

		push @scripts, "SELECT credits_transfer('$a', '$b', 1);\nSELECT credits_deduct_many('{$list}', '{1,1,1}');\n" x 20;
	}
	my @clients = run_clients($node, 'postgres', \@scripts, barrier => 1);

	is(join('', map { $_->{err} } @clients), '', 'transfers to and fro and batches in any order: no error');
	is($s->do(qq(SELECT sum(available) FROM credit_balance WHERE user_id IN ('$users[0]', '$users[1]', '$users[2]'))), 3 * 1150 - 6 * 20 * 3, '... nothing was lost');
}

# ---------------------------------------------------------------------------
# Section 4.2: two calls in one statement see each other.

# [statement, what the account has then: available, held, rows besides the 3 that it was made with].
my @statements = (
	[ q(SELECT credits_deduct('USER', 10), credits_deduct('USER', 20)), 1120, 0, 2 ],
	[ q(SELECT credits_deduct('USER', 10, NULL, 'k'), credits_deduct('USER', 10, NULL, 'k')), 1140, 0, 1 ],
	[ q(SELECT credits_deduct('USER', 1) FROM generate_series(1, 150)), 1000, 0, 150 ],
	[ q(SELECT credits_try_deduct('USER', 800) FROM generate_series(1, 3)), 350, 0, 1 ],
	[ q(SELECT credits_add_purchased('USER', 5, 'twice_USER'), credits_add_purchased('USER', 5, 'twice_USER')), 1155, 0, 1 ],
	[ q(SELECT credits_add_purchased('USER', 5, 'then_USER'), credits_revoke_purchase('then_USER')), 1150, 0, 2 ],
	[ q(SELECT credits_release('USER', (credits_hold('USER', 10)->>'seq')::bigint)), 1150, 0, 2 ],
	[ q(SELECT credits_capture('USER', (credits_hold('USER', 120)->>'seq')::bigint, 60, true)), 1030, 60, 2 ],
	[ q(SELECT credits_refund('USER', (credits_deduct('USER', 120)->>'seq')::bigint)), 1150, 0, 2 ],
	[ q(SELECT credits_grant('USER', 7, '2026-03-01'), credits_deduct('USER', 107), credits_adjust('USER', 'granted', -50, 'why')), 1000, 0, 3 ],
	[ q(SELECT credits_deduct('USER', 1), credits_freeze('USER'), credits_unfreeze('USER'), credits_deduct('USER', 1)), 1148, 0, 4 ],
	[ q(WITH a AS (SELECT credits_deduct('USER', 10) AS r), b AS (SELECT credits_hold('USER', 5), r FROM a) SELECT credits_deduct('USER', 3), r FROM b), 1132, 5, 3 ],
	[ q(SELECT credits_deduct('USER', 3) FROM credits_deduct_many('{USER,USER}', '{1,2}')), 1141, 0, 4 ],
	[ q(SELECT credits_set_plan('USER', 'pro'), credits_deduct('USER', 1000)), 1050, 0, 2 ]);

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	for (@statements)
	{
		my ($statement, $available, $held, $rows) = @$_;
		my $user = new_user();

		$statement =~ s/USER/$user/g;
		$first->do("BEGIN ISOLATION LEVEL $level");
		$first->is_state($statement, '00000', "$level: $statement");
		is($first->do("SELECT b->'available', b->'held', b->'seq' FROM credits_balance('$user') b"),
			join('|', $available, $held, 3 + $rows), '... each saw what the one before did');
		$first->do('COMMIT');
	}
}
{
	my $user = new_user();

	# One that is refused takes the whole statement along.
	$first->is_state("SELECT credits_deduct('$user', 1000), credits_deduct('$user', 1000)", 'UC001', 'the second of a statement is refused');
	is($first->do("SELECT credits_balance('$user')->'seq'"), 3, '... and nothing is left of the first');

	# In a loop with subtransactions, some of which fail.
	$first->do(qq(
DO \$\$
BEGIN
    FOR i IN 1..20 LOOP
        BEGIN
            PERFORM credits_deduct('$user', i);
            IF i % 2 = 0 THEN
                RAISE EXCEPTION USING ERRCODE = 'ZZ001';
            END IF;
        EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
        END;
    END LOOP;
END \$\$));
	is($first->do("SELECT credits_balance('$user')->'available'"), 1150 - 100, 'what a subtransaction rolled back is not there');

	# A read shows the statement's snapshot.
	is($first->do("SELECT credits_balance('$user')->'available' FROM (SELECT credits_deduct('$user', 50) OFFSET 0) x"),
		1050, 'a read is on the snapshot of its statement');
}
is_clean($node, 'postgres');

# ---------------------------------------------------------------------------
# Section 4.3: volatility and parallel safety.

my @reads = qw(
  credits_balance credits_balances credits_quote credits_usage credits_balance_at credits_explain credits_history
  credits_my_balance credits_my_history credits_my_usage credits_my_explain credits_current_user_id);
my %is_read = map { $_ => 1 } @reads;
for (rows($node, 'postgres', q(
SELECT p.proname, p.provolatile, p.proparallel, p.prosecdef, p.prorettype = 'jsonb'::regtype AND NOT p.proretset
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
       JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'credits'
 WHERE p.prokind = 'f'
   AND p.proname ~ '^credits_(deduct|try_deduct|deduct_many|add_purchased|grant|adjust|refund|revoke_purchase|reinstate_purchase|hold|capture|release|open_account|set_cycle|set_plan|set_overdraft|set_low_threshold|freeze|unfreeze|define_plan|transfer|close_account|erase_user|repair_clock|reset_due|balances?|quote|usage|balance_at|explain|history|my_balance|my_history|current_user_id)$'
)))
{
	my ($name, $volatile, $parallel, $definer, $receipt) = @$_;

	is("$volatile$parallel", $is_read{$name} ? 'ss' : 'vu', $is_read{$name} ? "$name is STABLE PARALLEL SAFE" : "$name is VOLATILE PARALLEL UNSAFE");
	is($definer, 'f', "$name is SECURITY INVOKER") unless $is_read{$name};
	is($receipt, 't', "$name returns one jsonb") unless $is_read{$name} || $name eq 'credits_deduct_many';
}

# ---------------------------------------------------------------------------
# Section 4.3: the checks that no executor does.

# EXECUTE is the only right; RLS is not consulted; actor is the outer user.
{
	my $user = new_user();
	my $app = session($node, 'postgres');

	$s->do("ALTER TABLE $_ ENABLE ROW LEVEL SECURITY"), $s->do("ALTER TABLE $_ FORCE ROW LEVEL SECURITY") for qw(credit_account credit_history);
	$app->do('SET ROLE app');
	$app->is_state("SELECT credits_deduct('$user', 1)", '00000', 'EXECUTE is the only right, and row level security is not consulted');
	$app->is_state('SELECT * FROM credit_account', '42501', '... which is no right on the table');
	is($s->do("SELECT actor FROM credit_history WHERE user_id = '$user' ORDER BY seq DESC LIMIT 1"), 'app', 'actor is the user that called');
	$s->do("ALTER TABLE $_ DISABLE ROW LEVEL SECURITY"), $s->do("ALTER TABLE $_ NO FORCE ROW LEVEL SECURITY") for qw(credit_account credit_history);
	$s->do(q(CREATE FUNCTION charge(u text) RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS 'SELECT public.credits_deduct(u, 1)'));
	$app->is_state("SELECT charge('$user')", '00000', 'in a SECURITY DEFINER function');
	is($s->do("SELECT actor FROM credit_history WHERE user_id = '$user' ORDER BY seq DESC LIMIT 1"), 'app', '... actor is the outer user');
	$app->quit;
}

# A DBA's own triggers.  The calls below write every table that calls write.
$s->do($_) for (
	q(CREATE TABLE fired (tab text, op text, who text, txt text)),
	q(GRANT INSERT ON fired TO app),
	q(CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO fired VALUES (TG_TABLE_NAME, TG_OP, current_user, coalesce(to_jsonb(NEW)->>'user_id', to_jsonb(NEW)->>'plan'));
    RETURN NULL;
END $$),
	q(CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$));

# Each writes the table: [table, operation, call, set-up].
my @writes = (
	[ credit_account => 'INSERT', q(credits_open_account('NEW', 'free')) ],
	[ credit_account => 'UPDATE', q(credits_deduct('USER', 1)) ],
	[ credit_account => 'UPDATE', q(credits_deduct_many('{USER}', '{1}')) ],
	[ credit_history => 'INSERT', q(credits_deduct('USER', 1)) ],
	[ credit_history => 'INSERT', q(credits_deduct_many('{USER}', '{1}')) ],
	[ credit_history => 'UPDATE', q(credits_erase_user('USER')), q(credits_deduct('USER', 1, 'personal')) ],
	[ credit_payment => 'INSERT', q(credits_add_purchased('USER', 1, 'trigger_NEW')) ],
	[ credit_payment => 'UPDATE', q(credits_revoke_purchase('pay_USER', 1)) ],
	[ credit_grant => 'INSERT', q(credits_grant('USER', 1, '2026-05-01')) ],
	[ credit_grant => 'UPDATE', q(credits_deduct('USER', 120)) ],
	[ credit_grant => 'UPDATE', q(credits_deduct_many('{USER}', '{120}')) ],
	[ credit_hold => 'INSERT', q(credits_hold('USER', 1)) ],
	[ credit_hold => 'UPDATE', q(credits_release('USER', 4)), q(credits_hold('USER', 1)) ],
	[ credit_plan => 'INSERT', q(credits_define_plan('plan_NEW', 1)) ],
	[ credit_audit_log => 'INSERT', q(credits_freeze('USER')) ],
	[ credit_role => 'INSERT', q(credits_grant_role('app', 'support')), q(credits_revoke_role('app', 'support')) ],
	[ credit_anchor => 'INSERT', q(credits_anchor()) ],
	[ credit_anchor_leaf => 'INSERT', q(credits_anchor()) ],
	[ credit_reset_run => 'INSERT', q(credits_reset_due()) ]);

# [definition, does it fire?  else calls are 0A000, or (NULL) it is not active and nothing happens].
my @triggers = (
	[ 'AFTER OP ON TAB FOR EACH ROW EXECUTE FUNCTION note()', 1 ],
	[ 'AFTER OP ON TAB FOR EACH ROW WHEN (true) EXECUTE FUNCTION note()', 1 ],
	[ 'AFTER OP ON TAB FOR EACH ROW WHEN (false) EXECUTE FUNCTION note()', undef ],
	[ 'CONSTRAINT AFTER OP ON TAB DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()', 1 ],
	[ 'BEFORE OP ON TAB FOR EACH ROW EXECUTE FUNCTION pass()', 0 ],
	[ 'BEFORE OP ON TAB FOR EACH STATEMENT EXECUTE FUNCTION pass()', 0 ],
	[ 'AFTER OP ON TAB FOR EACH STATEMENT EXECUTE FUNCTION note()', 0 ],
	[ 'AFTER OP ON TAB REFERENCING NEW TABLE AS n FOR EACH ROW EXECUTE FUNCTION note()', 0 ],
	[ 'AFTER OP ON TAB REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION note()', 0 ]);

for (@writes)
{
	my ($table, $op, $write, $setup) = @$_;

	for my $trigger (@triggers)
	{
		my ($definition, $fires) = @$trigger;
		my ($user, $new) = (new_user(), 'new_' . ++$user_no);
		my ($call, $before) = map { defined ? s/USER/$user/gr =~ s/NEW/$new/gr : undef } ($write, $setup);
		my $text = $definition =~ s/OP/$op/r =~ s/TAB/$table/r;
		my $constraint = $text =~ s/^CONSTRAINT // ? 'CONSTRAINT' : '';

		$s->do("SELECT $before") if $before;
		$s->do('TRUNCATE fired');
		$s->do("CREATE $constraint TRIGGER mine $text");
		my $test = "$constraint TRIGGER $text, then $call";
		if (defined $fires && !$fires)
		{
			is_error($s, $call, '0A000', undef, "$test: 0A000");
		}
		else
		{
			is_survived("SELECT $call", $test);
			my $count = $s->do(qq(SELECT count(*) FROM fired WHERE tab = '$table' AND op = '$op' AND who = current_user));
			ok($fires ? $count > 0 : $count == 0, $fires ? '... fired' : '... did not fire') or diag($s->do('SELECT * FROM fired'));
		}

		# A trigger that is disabled is none.
		if (defined $fires && !$fires)
		{
			$s->do("ALTER TABLE $table DISABLE TRIGGER mine");
			$s->is_state("SELECT $call", '00000', "... disabled: $call");
		}
		$s->do("DROP TRIGGER mine ON $table");
	}
}

# It runs as the caller.
{
	my $user = new_user();
	my $app = session($node, 'postgres');

	$s->do('TRUNCATE fired');
	$s->do('CREATE TRIGGER mine AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION note()');
	$app->do('SET ROLE app');
	$app->is_state("SELECT credits_deduct('$user', 1)", '00000', 'a trigger, and a caller with no right on tables');
	is($s->do('SELECT who FROM fired'), 'app', '... runs as the caller');
	$s->do('DROP TRIGGER mine ON credit_history');
	$app->quit;
}

# Triggers and foreign keys on all tables at once, and many accounts: in a batch, a sweep, bulk runs.
{
	my @tables = qw(credit_account credit_history credit_payment credit_grant credit_hold);
	my @users = map { "many_$_" } 1 .. 20;
	my $list = '{' . join(',', @users) . '}';
	my $amounts = sub { my ($n) = @_; return '{' . join(',', map { $n } @users) . '}'; };

	for my $user (@users)
	{
		$s->do("SELECT credits_open_account('$user', 'free'), credits_grant('$user', 50, '2026-01-20'), credits_grant('$user', 50, '2026-03-01'),
            credits_add_purchased('$user', 100, 'pay_$user'), credits_hold('$user', 130)");
	}
	$s->do("CREATE TRIGGER mine AFTER INSERT OR UPDATE ON $_ FOR EACH ROW EXECUTE FUNCTION note()") for @tables;
	$s->do($_) for (
		q(CREATE TABLE seen (no serial, tab text, row_ jsonb)),
		q(CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen (tab, row_) VALUES (TG_TABLE_NAME, to_jsonb(NEW)); RETURN NULL; END $$),
		q(CREATE FUNCTION always(anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$));
	for my $table (@tables)
	{
		$s->do($_) for (
			"CREATE TRIGGER see AFTER INSERT OR UPDATE ON $table FOR EACH ROW EXECUTE FUNCTION see()",
			"ALTER TABLE $table ADD CONSTRAINT mine CHECK (always(user_id))",
			"CREATE INDEX mine_brin_$table ON $table USING brin (user_id)", "CREATE INDEX mine_hash_$table ON $table USING hash (user_id)",
			"CREATE INDEX mine_gist_$table ON $table USING gist (int8range(0, abs(hashtext(user_id))::bigint))",
			"CREATE INDEX mine_expr_$table ON $table (always(user_id))", "CREATE INDEX mine_gin_$table ON $table USING gin (string_to_array(user_id, '_'))");
	}
	$s->do("CREATE TABLE ref_$_ (user_id text COLLATE \"C\", seq bigint, FOREIGN KEY (user_id, seq) REFERENCES $_)") for qw(credit_history credit_grant credit_hold);
	$s->do('CREATE TABLE ref_credit_account (user_id text COLLATE "C" REFERENCES credit_account)');
	$s->do('TRUNCATE fired');
	my $batch = "SELECT credits_deduct_many('$list', '${\$amounts->(80)}')";
	is_survived($batch, 'a batch over 20 accounts with triggers and foreign keys on every table');
	is($s->do(q(SELECT count(*) FROM fired WHERE tab = 'credit_account' AND op = 'UPDATE')), 20, '... fires once for each account');
	is($s->do(q(SELECT count(*) FROM fired WHERE tab = 'credit_history' AND op = 'INSERT')), 20, '... and for each row of history');
	is($s->do(q(SELECT count(DISTINCT txt) FROM fired WHERE tab = 'credit_grant')), 20, '... and for each grant that was used');
	at($s, '2026-02-10 00:00:00+00');
	is_survived('SELECT credits_reset_due()', 'the sweep likewise');
	at($s, '2026-02-10 00:00:00+00');
	is_survived("CALL credits_grant_many('$list', '${\$amounts->(5)}', '2026-12-01')", 'bulk grants likewise');
	at($s, '2026-02-10 00:00:00+00');
	is_survived(q(CALL credits_apply_plan('free')), 'an applied plan likewise');
	at($s, '2026-02-10 00:00:00+00');
	is_survived(q(CALL credits_undo_run(plan => 'free', boundary => '2026-02-01')), 'an undo likewise');

	# What the triggers saw last is what is there.
	for my $table (@tables)
	{
		is($s->do(qq(
SELECT count(*) FROM (SELECT DISTINCT ON (row_->>'user_id', row_->>'seq', row_->>'payment_ref') row_ FROM seen WHERE tab = '$table'
                       ORDER BY row_->>'user_id', row_->>'seq', row_->>'payment_ref', no DESC) x
 WHERE row_ NOT IN (SELECT to_jsonb(t) FROM $table t))), '0', "$table: what triggers saw is what is stored");
		$s->do($_) for (
			"DROP TRIGGER mine ON $table", "DROP TRIGGER see ON $table", "ALTER TABLE $table DROP CONSTRAINT mine",
			map { "DROP INDEX mine_${_}_$table" } qw(brin hash gist expr gin));
	}
	$s->do("DROP TABLE ref_$_") for qw(credit_history credit_grant credit_hold credit_account);
	at($s, '2026-01-15 12:00:00+00');
}

# A trigger may call the ledger itself, for the same account, also in the middle of what is due.
{
	my @users = map { "bonus_$_" } 1 .. 6;

	$s->do("SELECT credits_open_account('$_', 'free'), credits_grant('$_', 10, '2026-01-20'), credits_hold('$_', 50, '10 days'), credits_deduct('$_', 3)") for @users;
	$s->do($_) for (
		q(CREATE FUNCTION bonus() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.kind IN ('deduct', 'reset', 'grant_end', 'hold_end') AND NEW.user_id LIKE 'bonus%' THEN
        PERFORM credits_add_purchased(NEW.user_id, 1, 'bonus ' || NEW.user_id || NEW.seq), credits_try_deduct(NEW.user_id, 100000);
    END IF;
    RETURN NULL;
END $$),
		'CREATE TRIGGER mine AFTER INSERT ON credit_history FOR EACH ROW EXECUTE FUNCTION bonus()');
	at($s, '2026-02-10 00:00:00+00');
	is_survived(q(SELECT credits_deduct('bonus_1', 7)), 'a trigger calls the ledger: a deduction');
	is_survived(q(SELECT credits_deduct_many('{bonus_3,bonus_2,bonus_3}', '{7,7,7}')), 'a trigger calls the ledger: a batch');
	is_survived(q(SELECT credits_reset_due()), 'a trigger calls the ledger: the sweep');
	is($s->do(q(SELECT string_agg(purchased::text, ' ' ORDER BY user_id) FROM credit_balance WHERE user_id LIKE 'bonus%')), '4 4 5 3 3 3', '... each of its calls counts once');
	is($s->do(q(SELECT string_agg(monthly::text, ' ' ORDER BY user_id) FROM credit_balance WHERE user_id LIKE 'bonus%')), '93 93 86 100 100 100', '... and so does the outer one');
	$s->do('DROP TRIGGER mine ON credit_history');
	at($s, '2026-01-15 12:00:00+00');
}
is_clean($node, 'postgres');

is_gapless($node, 'postgres');

# A partition of the archive that was detached, and comes back with its columns in another order: a
# finding, and nobody crashes.
{
	at($s, '2025-01-15 12:00:00+00');
	$s->do(q(SELECT credits_define_plan('early', 100, effective_from => '2025-01-15 12:00:00+00')));
	$s->do(q(SELECT credits_open_account('archived', 'early'), credits_add_purchased('archived', 10, 'pay_archived', 'text'), credits_deduct('archived', 5, 'personal')));
	at($s, '2025-12-01 12:00:00+00');
	$s->do(q(SELECT credits_deduct('archived', 5)));
	at($s, '2026-01-15 12:00:00+00');
	$s->do('SELECT credits_anchor()');
	my $report = json($s->do(q(CALL credits_archive('2025-06-01 00:00:00+00'))));
	cmp_ok($report->{rows}, '>', 0, '(something was archived)') or diag(canonical($report));
	my $columns = $s->do(q(SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum DESC) FROM pg_attribute WHERE attrelid = 'credit_history_archive'::regclass AND attnum > 0 AND NOT attisdropped));
	my $types = $s->do(q(SELECT string_agg(format('%I %s %s%s', attname, format_type(atttypid, atttypmod), CASE WHEN attcollation = 'pg_catalog."C"'::regcollation THEN 'COLLATE "C"' END, CASE WHEN attnotnull THEN ' NOT NULL' END), ', ' ORDER BY attnum DESC)
      FROM pg_attribute WHERE attrelid = 'credit_history_archive'::regclass AND attnum > 0 AND NOT attisdropped));
	my $bound = $s->do(q(SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'credit_history_archive_2025'));
	$s->do($_) for (
		'ALTER TABLE credit_history_archive DETACH PARTITION credit_history_archive_2025',
		"CREATE TABLE back ($types, PRIMARY KEY (user_id, seq))",
		"INSERT INTO back ($columns) SELECT $columns FROM credit_history_archive_2025",
		'ALTER TABLE credit_history_archive_2025 RENAME TO away', 'ALTER TABLE back RENAME TO credit_history_archive_2025',
		"ALTER TABLE credit_history_archive ATTACH PARTITION credit_history_archive_2025 $bound");
	for my $call (
		q(SELECT * FROM credits_verify()), 'CALL credits_run_verify()', q(SELECT * FROM credits_verify_account('archived')), q(SELECT * FROM credits_history('archived')), q(SELECT credits_explain('archived')),
		q(SELECT credits_balance_at('archived', '2025-01-20')), q(SELECT credits_erase_user('archived')), q(SELECT credits_refund('archived', 3)), q(SELECT credits_add_purchased('archived', 10, 'pay_archived')),
		q(SELECT credits_anchor()), q(SELECT * FROM credits_verify_anchor()), q(CALL credits_archive('2025-12-15 00:00:00+00')), q(SELECT credits_deduct('archived', 1)))
	{
		my ($state) = $s->run($call);

		isnt($state, '08006', "a partition with its columns in another order: $call") or revive();
		at($s, '2026-01-15 12:00:00+00');
	}
	isnt($s->do('SELECT * FROM credits_verify()'), '', '... is a finding');
	$s->do($_) for (
		'ALTER TABLE credit_history_archive DETACH PARTITION credit_history_archive_2025', 'DROP TABLE credit_history_archive_2025', 'ALTER TABLE away RENAME TO credit_history_archive_2025',
		"ALTER TABLE credit_history_archive ATTACH PARTITION credit_history_archive_2025 $bound");
	is_clean($node, 'postgres', '... that goes with it');
}

# Constraints and indexes of a DBA.
{
	my $user = new_user();

	$s->do(qq(ALTER TABLE credit_account ADD CONSTRAINT mine CHECK (user_id <> '$user' OR purchased > 900)));
	is_error($s, "credits_deduct('$user', 300)", '23514', undef, 'a CHECK is checked');
	$s->is_state("SELECT credits_deduct('$user', 200)", '00000', '... and lets pass what it allows');
	$s->do('ALTER TABLE credit_account DROP CONSTRAINT mine');
	$s->do(qq(CREATE UNIQUE INDEX mine ON credit_history ((metadata->>'order')) WHERE metadata ? 'order'));
	$s->is_state(qq(SELECT credits_deduct('$user', 1, NULL, NULL, '{"order": 1}')), '00000', 'an index of a DBA');
	is_error($s, qq(credits_deduct('$user', 1, NULL, NULL, '{"order": 1}')), '23505', undef, '... is unique');
	$s->do('SET enable_seqscan = off');
	is($s->do(q(SELECT count(*) FROM credit_history WHERE metadata->>'order' = '1' AND metadata ? 'order')), 1, '... and maintained');
	$s->do('RESET enable_seqscan');
	$s->do('DROP INDEX mine');

	# Columns of a DBA: what an INSERT that does not name them would store.
	$s->do($_) for (
		q(CREATE DOMAIN not_null_text AS text NOT NULL),
		q(CREATE DOMAIN default_text AS text DEFAULT 'd' NOT NULL));
	for my $table (qw(credit_history credit_grant credit_hold credit_payment))
	{
		my $call = {
			credit_history => "credits_deduct('$user', 1)",
			credit_grant => "credits_grant('$user', 1, '2026-09-01')",
			credit_hold => "credits_hold('$user', 1)",
			credit_payment => "credits_add_purchased('$user', 1, 'col_$table')" }->{$table};

		$s->do("ALTER TABLE $table ADD COLUMN mine_default int DEFAULT 7, ADD COLUMN mine_generated bigint GENERATED ALWAYS AS (seq * 2) STORED, ADD COLUMN mine_domain default_text");
		$s->is_state("SELECT $call", '00000', "$table has columns of a DBA");
		is($s->do("SELECT mine_default, mine_generated - seq * 2, mine_domain FROM $table WHERE user_id = '$user' ORDER BY seq DESC LIMIT 1"),
			'7|0|d', '... which get their default, or are computed');
		$s->do("ALTER TABLE $table DROP COLUMN mine_default, DROP COLUMN mine_generated, DROP COLUMN mine_domain");
		$call =~ s/col_/col2_/;

		# A column that must not be NULL and has no default: an error, not a NULL.
		my ($state) = $s->run("ALTER TABLE $table ADD COLUMN mine_not_null not_null_text DEFAULT 'x'; ALTER TABLE $table ALTER COLUMN mine_not_null DROP DEFAULT");
		is($state, '00000', "$table has a column of a domain that is NOT NULL");
		is_error($s, $call, '23502', undef, '... and there is no value for it: 23502');
		$s->do("ALTER TABLE $table DROP COLUMN mine_not_null");
	}
}

is_clean($node, 'postgres');
no_deadlock($node);

$_->quit for ($first, $second, $s);
done_testing();
