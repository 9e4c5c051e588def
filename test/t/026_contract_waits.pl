# The contract of waiting (4.5): nobody waits who need not.  Each administrative call is
# made to meet what it may have to wait for; meanwhile the calls of all users but the one
# that is busy by itself must go through.  Written from the contract and the reference
# alone.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Contract;
use CreditsTest;
use Test::More;
use Time::HiRes ();

# The users are m1, m2 (who is busy in some scenes) and m3, on the plan "free"; in each
# scene they are the only ones, in a database of its own.  The clock of the calls is 10
# February; nothing is due then, except where the scene says so.
my $february = '2026-02-10 12:00:00+00';
my $node = new_server('contract_waits', conf => "max_connections = 60\n");

$node->safe_psql('postgres', 'CREATE DATABASE scene');
$node->safe_psql(
	'scene', qq(
CREATE EXTENSION credits;
CREATE ROLE somebody;
SET credits.clock = '2025-03-01 12:00:00+00';
SELECT credits_define_plan('free', 100);
SELECT credits_define_plan('pro', 1000);
SELECT credits_open_account(u, 'free'), credits_add_purchased(u, 1000, 'pay_' || u), credits_deduct(u, 3, 'old text')
  FROM unnest('{m1,m2,m3,o1,o2,o3,o4}'::text[]) u;
SET credits.clock = '2026-02-01 12:00:00+00';
CALL credits_run_reset();
SELECT credits_anchor();
SELECT credits_define_plan('free', 150, effective_from => '2026-02-02');
SET credits.clock = '2026-02-03 12:00:00+00';
SELECT credits_deduct(u, 1) FROM unnest('{m1,m2,m3}'::text[]) u;
SET credits.clock = '2026-02-04 12:00:00+00';
CALL credits_grant_many('{m1,m2,m3}', '{5,5,5}', '2027-01-01', 'to be undone');
CREATE TABLE old_users AS SELECT unnest('{k1,k2,k3}'::text[]) AS user_id, 'free'::text AS plan, 10::bigint AS monthly, 5::bigint AS purchased,
    '2026-02-05 00:00:00+00'::timestamptz AS last_reset;
));

# What may be in the way: [name, the open transaction's statements, users that are busy by it, what is due].
my %obstacle = (
	account => [ [ q(SELECT credits_deduct('m2', 1)) ], ['m2'] ],
	'account of its own' => [ [ q(SELECT credits_add_purchased('m1', 1, 'pay_open')) ], ['m1'] ],
	'audit log' => [ [ q(SELECT credits_freeze('o1')) ], ['o1'] ],
	'plan, shared' => [ [ q(SELECT credits_open_account('o9', 'free')) ], ['o9'] ],
	'plan, exclusive' => [ [ q(SELECT credits_define_plan('free', 170)) ], [] ],
	'reader of the history' => [ [ q(SELECT count(*) FROM credit_usage_daily), q(SELECT count(*) FROM credit_history_archive) ], [] ],
	'reader of all tables' => [ [ map { "SELECT count(*) FROM $_" } qw(credit_plan credit_account credit_history credit_payment credit_grant credit_hold credit_reset_run credit_audit_log credit_role credit_anchor credit_anchor_leaf credit_checkpoint) ], [] ],
	anchor => [ [ 'SELECT credits_anchor()' ], [] ],
	'role' => [ [ q(SELECT credits_grant_role('somebody', 'support')) ], [] ],
	'bulk run' => [ [ q(CALL credits_grant_many('{o2}', '{1}', '2027-01-01')) ], ['o2'] ],
	payment => [ [ q(SELECT credits_add_purchased('o3', 5, 'pay_new')) ], ['o3'] ]);

# The administrative calls: [name, statement, obstacles].
my @bulk = ('account', 'audit log', 'plan, shared', 'plan, exclusive', 'reader of the history', 'reader of all tables', 'anchor', 'bulk run');
my @audited = ('account of its own', 'audit log', 'reader of all tables', 'plan, shared', 'plan, exclusive', 'anchor', 'bulk run');
my @act = ('account of its own', 'audit log', 'plan, shared', 'plan, exclusive');
my @calls = (
	[ 'credits_grant_many', q(CALL credits_grant_many('{m1,m2,m3}', '{1,1,1}', '2027-01-01', NULL, 'bulk')), \@bulk ],
	[ 'credits_apply_plan', q(CALL credits_apply_plan('free')), \@bulk ],
	[ 'credits_undo_run of a run', q(CALL credits_undo_run(run_id => 'RUN')), \@bulk ],
	[ 'credits_undo_run of a boundary', q(CALL credits_undo_run(plan => 'free', boundary => '2026-02-01 00:00:00+00')), \@bulk ],
	[ 'credits_import', q(CALL credits_import('SELECT * FROM old_users')), \@bulk ],
	[ 'credits_archive', q(CALL credits_archive('2026-02-01 00:00:00+00')), \@bulk ],
	[ 'credits_run_reset', q(CALL credits_run_reset()), \@bulk, 'due' ],
	[ 'credits_reset_due', q(SELECT credits_reset_due()), \@bulk, 'due' ],
	[ 'credits_define_plan', q(SELECT credits_define_plan('free', 180)), [ 'audit log', 'plan, shared', 'plan, exclusive', 'reader of all tables', 'anchor', 'bulk run' ] ],
	[ 'credits_define_plan of a new plan', q(SELECT credits_define_plan('new', 180)), [ 'audit log', 'plan, shared', 'plan, exclusive' ] ],
	[ 'credits_freeze', q(SELECT credits_freeze('m1')), \@audited ],
	[ 'credits_unfreeze', q(SELECT credits_unfreeze('m1')), \@audited ],
	[ 'credits_close_account', q(SELECT credits_close_account('m1')), \@audited ],
	[ 'credits_erase_user', q(SELECT credits_erase_user('m1')), \@audited ],
	[ 'credits_repair_clock', q(SELECT credits_repair_clock('m1')), \@audited ],
	[ 'credits_set_plan', q(SELECT credits_set_plan('m1', 'pro')), \@act ],
	[ 'credits_set_cycle', q(SELECT credits_set_cycle('m1', NULL, 'Asia/Tokyo')), \@act ],
	[ 'credits_set_overdraft', q(SELECT credits_set_overdraft('m1', 10)), \@act ],
	[ 'credits_adjust', q(SELECT credits_adjust('m1', 'monthly', 1, 'why')), \@act ],
	[ 'credits_revoke_purchase', q(SELECT credits_revoke_purchase('pay_m1', 1)), [ @act, 'payment' ] ],
	[ 'credits_anchor', q(SELECT credits_anchor()), [ 'account', 'audit log', 'plan, exclusive', 'reader of all tables', 'anchor', 'bulk run' ] ],
	[ 'credits_verify', q(SELECT * FROM credits_verify()), [ 'account', 'audit log', 'plan, exclusive', 'anchor', 'bulk run' ] ],
	[ 'credits_run_verify', q(CALL credits_run_verify()), [ 'account', 'audit log', 'plan, exclusive', 'anchor', 'bulk run' ] ],
	[ 'credits_verify_anchor', q(SELECT * FROM credits_verify_anchor()), [ 'account', 'anchor' ] ],
	[ 'credits_grant_role', q(SELECT credits_grant_role('somebody', 'app')), [ 'account', 'audit log', 'role', 'reader of all tables', 'bulk run' ] ],
	[ 'credits_revoke_role', q(SELECT credits_revoke_role('somebody', 'monitor')), [ 'account', 'audit log', 'role', 'reader of all tables' ] ],
	[ 'credits_repair_guards', q(SELECT credits_repair_guards()), [ 'account', 'audit log', 'reader of all tables', 'bulk run' ] ],
	[ 'credits_drop_archive', q(SELECT credits_drop_archive('credit_history_archive_2025', ROWS)), [ 'account', 'audit log', 'reader of the history' ], 'archived' ]);

# What users do meanwhile.  Each must go through, unless its user is busy by itself.
my @probes = (
	[ m1 => q(SELECT credits_deduct('m1', 1)) ],
	[ m2 => q(SELECT credits_deduct('m2', 1)) ],
	[ m3 => q(SELECT credits_try_deduct('m3', 1)) ],
	[ o4 => q(SELECT credits_deduct_many('{o4,o4}', '{1,1}')) ],
	[ m3 => q(SELECT credits_hold('m3', 1)) ],
	[ m3 => q(SELECT credits_add_purchased('m3', 1, 'pay_probe')) ],
	[ m3 => q(SELECT credits_refund('m3', 4)) ],
	[ o4 => q(SELECT credits_set_plan('o4', 'pro')) ],
	[ x1 => q(SELECT credits_open_account('x1', 'free')) ],
	[ x2 => q(SELECT credits_open_account('x2', 'pro')) ],
	[ x3 => q(SELECT credits_add_purchased('x3', 1, 'pay_x3')) ],
	[ m1 => q(SELECT credits_balance('m1')) ],
	[ m2 => q(SELECT credits_balance('m2')) ],
	[ all => q(SELECT sum(available) FROM credit_balance) ],
	[ all => q(SELECT sum(spent) FROM credit_usage_daily) ],

	# What other administrators do.
	[ o4 => q(SELECT credits_freeze('o4')) ],
	[ all => q(SELECT credits_define_plan('other', 5)) ],

	# The first call after a boundary applies the reset.
	[ m1 => q(SELECT credits_deduct('m1', 1)), '2026-03-02 12:00:00+00' ],
	[ m3 => q(SELECT credits_deduct('m3', 1)), '2026-03-02 12:00:00+00' ]);

my $scenes = 0;

# Looks at what the others do.
my $watch = session($node, 'postgres');

# What a session is doing: 'nothing', or what it waits for, or 'work'.
sub doing
{
	my ($session) = @_;

	return $watch->do(
		"SELECT CASE WHEN state <> 'active' THEN 'nothing' ELSE coalesce(wait_event_type || ' ' || wait_event, 'work') END
           FROM pg_stat_activity WHERE pid = ${\$session->pid}");
}

# Run a user's statement.  It must not be the administrative call that keeps it waiting: for 4 seconds,
# while the transaction that is in the way does not.
sub goes_through
{
	my ($user, $sql, $admin, $holder) = @_;

	# What an administrator does may wait by itself, for a while.
	my $deadline = Time::HiRes::time() + ($sql =~ /credits_(freeze|define_plan)/ ? 1 : 4);
	my ($blockers, $excused, $waiting) = ('', 0, 1);

	$user->send($sql);
	while (1)
	{
		my $what;

		($what, $blockers) = split /\|/, $watch->do(
			"SELECT CASE WHEN state = 'active' OR query NOT LIKE \$q\$%$sql%\$q\$ THEN 'busy' ELSE 'idle' END, pg_blocking_pids(pid)
               FROM pg_stat_activity WHERE pid = ${\$user->pid}"), -1;
		$excused = $blockers =~ /\b${\$holder->pid}\b/ ? $excused + 1 : 0;
		$waiting = $what ne 'idle';
		last if !$waiting || $excused > 5 || Time::HiRes::time() > $deadline;
		Time::HiRes::usleep(10_000);
	}
	my %by = map { $_ => 1 } $blockers =~ /\d+/g;
	$watch->do("SELECT pg_cancel_backend(${\$user->pid})") if $waiting;
	$user->answer;
	return 1 unless $waiting && $by{ $admin->pid } && !$by{ $holder->pid };
	return fail("$sql goes through");
}

sub play
{
	my ($name, $statement, $in_the_way, $set) = @_;
	my ($open, $busy) = @{ $obstacle{$in_the_way} };
	my $db = 'scene_' . ++$scenes;

	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE scene");
	if ($set && $set eq 'archived')
	{
		$node->safe_psql($db, "SET credits.clock = '$february'; SELECT credits_anchor(); CALL credits_archive('2026-01-01 00:00:00+00')");
		my $rows = $node->safe_psql($db, 'SELECT count(*) FROM credit_history_archive');
		$statement =~ s/ROWS/$rows/;
	}
	$node->safe_psql($db, q(SET credits.clock = '2026-02-05 12:00:00+00'; SELECT credits_freeze('m1'))) if $name eq 'credits_unfreeze';
	$node->safe_psql($db, q(SET credits.clock = '2026-02-12 12:00:00+00'; SELECT credits_deduct('m1', 1))) if $name eq 'credits_repair_clock';
	$statement =~ s/RUN/$node->safe_psql($db, q(SELECT run_id FROM credit_reset_run WHERE kind = 'grant'))/e;

	subtest "$name meets: $in_the_way" => sub {
		my ($holder, $admin, $user) = map { session($node, $db) } 1 .. 3;
		my $now = $set && $set eq 'due' ? '2026-03-02 12:00:00+00' : $february;

		$_->do("SET credits.clock = '$now'") for ($holder, $admin, $user);
		$holder->do('BEGIN');
		$holder->do($_) for @$open;
		$admin->send($statement);

		# Until it is done, or has waited for a while.
		my $waits = '';
		for (1 .. 6)
		{
			Time::HiRes::usleep(100_000);
			$waits = doing($admin);
			last if $waits eq 'nothing';
		}
		note("it waits for: $waits");

		my $passed = 0;
		for (@probes)
		{
			my ($who, $probe, $clock) = @$_;

			next if grep { $_ eq $who } @$busy;
			$user->do("SET credits.clock = '" . ($clock // $now) . q('));
			goes_through($user, $probe, $admin, $holder) and $passed++;
		}
		cmp_ok($passed, '>', 10, 'users go on') or diag("$name waits for: $waits");

		$holder->do('COMMIT');
		my ($state) = $admin->answer;
		like($state, qr/^(00000|55P03|UC00\d|22023|55000)$/, 'the call ends when the way is free') or diag($admin->{stderr});
		is($user->do('SELECT * FROM credits_verify()'), '', 'clean');
		$_->quit for ($holder, $admin, $user);
	};
	$node->safe_psql('postgres', "DROP DATABASE $db WITH (FORCE)");
	return;
}

for my $call (@calls)
{
	my ($name, $statement, $obstacles, $set) = @$call;

	play($name, $statement, $_, $set) for @$obstacles;
}

# A transfer is for two accounts, and waits for the one while it has the other: the caller's own wish,
# but not without an end.
{
	my ($holder, $admin) = map { session($node, 'scene') } 1 .. 2;

	$_->do("SET credits.clock = '$february'") for ($holder, $admin);
	$holder->do('BEGIN');
	$holder->do(q(SELECT credits_deduct('m2', 1)));
	$admin->send(q(SELECT credits_transfer('m1', 'm2', 5)));
	my $ended = 0;
	for (1 .. 120)
	{
		Time::HiRes::usleep(500_000);
		last if $ended = doing($admin) eq 'nothing';
	}
	ok($ended, 'a transfer to a busy account does not wait without limit');
	$holder->do('COMMIT');
	my ($state) = $admin->answer;
	is($state, '55P03', '... but is refused') or diag($admin->{stderr});
	$_->quit for ($holder, $admin);
}

$watch->quit;
$node->stop;
done_testing();
