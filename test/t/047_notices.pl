# Notice before an end: each grant and each hold is announced once, whatever happens to the
# sweeps that announce them and to the consumers that take the events, beside clients that
# spend, hold and settle.  A sweep does not read what was announced before.
# NOTICES_ROUNDS: how many crashes (3).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{NOTICES_ROUNDS} // 3;
my $seed = $ENV{CREDITS_SEED} // time;
my $users = 8;

srand $seed;
note("CREDITS_SEED=$seed");

my $node = new_server(
	'notices', conf => <<'CONF');
fsync = off
restart_after_crash = on
max_prepared_transactions = 2
autovacuum = off
credits.events = 'grant_ending, hold_ending'
credits.grant_notice = '1d'
credits.hold_notice = '2h'
CONF

my $db = 'postgres';

sub query { return $node->safe_psql($db, $_[0]); }

sub between { return $_[0] + int rand($_[1] - $_[0] + 1); }

sub one_of { return $_[ int rand @_ ]; }

query(q(
CREATE TABLE taken (n bigserial, user_id text, seq bigint, kind text, amount bigint, available bigint,
                    created_at timestamptz, effective_at timestamptz, ends_at timestamptz);
CREATE FUNCTION take(most int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO taken (user_id, seq, kind, amount, available, created_at, effective_at, ends_at)
    SELECT * FROM credits_take_events(most) $$;
CREATE VIEW announced AS
    SELECT user_id, seq, 'grant_ending' AS kind FROM credit_grant WHERE noticed
    UNION ALL SELECT user_id, seq, 'hold_ending' FROM credit_hold WHERE noticed;
));
query("SELECT credits_define_plan('none', 0), credits_open_account('u$_', 'none')") for 1 .. $users;

# --- Each end once, whatever happens.

sub call
{
	my ($user) = @_;

	return one_of(
		"SELECT credits_grant('$user', " . between(1, 60) . ", now() + interval '" . between(1, 23) . " hours')",
		"SELECT credits_grant('$user', " . between(1, 60) . ", now() + interval '" . between(1, 40) . " hours')",
		"SELECT credits_deduct('$user', " . between(1, 60) . ')',
		"SELECT credits_hold('$user', " . between(1, 30) . ", '" . between(1, 3) . " hours')",
		"SELECT credits_hold('$user', " . between(1, 30) . ", '" . between(200, 900) . " milliseconds')",
		"SELECT credits_release('$user', seq) FROM credit_open_hold WHERE user_id = '$user' ORDER BY seq LIMIT 1",
		"SELECT credits_capture('$user', seq, 1, true) FROM credit_open_hold WHERE user_id = '$user' ORDER BY seq DESC LIMIT 1",
		"SELECT credits_refund('$user', max(seq), 1) FROM credit_history WHERE user_id = '$user' AND kind = 'deduct'");
}

# A transaction has one user, so that clients do not deadlock.
sub client_script
{
	my ($transactions) = @_;
	my $script = "SET application_name = 'client';\n";

	for (1 .. $transactions)
	{
		my $user = 'u' . between(1, $users);

		$script .= "BEGIN;\n" . call($user) . ";\nSAVEPOINT s;\n" . call($user) . ";\n";
		$script .= one_of('ROLLBACK TO s', 'RELEASE s') . ";\n" . call($user) . ";\n";
		$script .= (rand() < 0.75 ? 'COMMIT' : 'ROLLBACK') . ";\n";
	}
	return $script;
}

my $cancel_another = q(SELECT pg_cancel_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'sweep' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) other);

# Sweeps in transactions of their own, and in a transaction that ends somehow.
sub sweep_script
{
	my ($sweeps) = @_;
	my $script = "SET application_name = 'sweep';\n";

	for (1 .. $sweeps)
	{
		$script .= one_of('', '', "SET default_transaction_isolation = '" . one_of('read committed', 'repeatable read', 'serializable') . "';\n");
		$script .= 'CALL credits_run_reset(' . between(1, 20) . ");\nBEGIN;\nSELECT credits_reset_due(" . between(1, 5) . ");\n";
		$script .= one_of("SAVEPOINT s;\nSELECT credits_reset_due();\n" . one_of('ROLLBACK TO s', 'RELEASE s') . ";\n", '', "$cancel_another;\n");
		$script .= one_of('COMMIT', 'COMMIT', 'ROLLBACK') . ";\n";
	}
	# At its end the session is lost, with notices that it has written.
	return $script . "BEGIN;\nSELECT credits_reset_due();\nSELECT pg_terminate_backend(pg_backend_pid());\nCOMMIT;\n";
}

sub consumer_script
{
	my ($transactions) = @_;

	return "SET application_name = 'consumer';\n" . join '', map {
		"BEGIN;\nSELECT take(" . between(1, 8) . ");\n" . one_of('COMMIT', 'COMMIT', 'ROLLBACK') . ";\n"
	} 1 .. $transactions;
}

my @all;
for my $round (1 .. $rounds + 1)
{
	my $is_last = $round > $rounds;
	my $before = query('SELECT count(*) FROM taken');
	my @running = (
		start_clients($node, $db, [ map { client_script($is_last ? 40 : 2000) } 1 .. 6 ]),
		start_clients($node, $db, [ map { sweep_script($is_last ? 40 : 2000) } 1 .. 4 ]),
		start_clients($node, $db, [ map { consumer_script($is_last ? 20 : 4000) } 1 .. 8 ]));

	push @all, @running;
	if (!$is_last)
	{
		my $who = one_of('sweep', 'sweep', 'consumer', 'client');
		my $killed;

		poll_until(sub { query('SELECT count(*) FROM taken') > $before + 50 }, 'events that were taken') or die 'nothing is taken';
		poll_until(
			sub {
				$killed = query("SELECT pid FROM pg_stat_activity WHERE application_name = '$who' AND backend_xid IS NOT NULL ORDER BY random() LIMIT 1");
				return $killed ne '';
			},
			"a $who that has written something");
		ok(kill('KILL', $killed), "round $round: a $who is killed");
	}
	wait_clients(@running);
	await_recovery($node);
}

my %met;
for my $client (@all)
{
	$met{$1}++ while $client->{err} =~ /(?:ERROR|FATAL|WARNING): +(\w{5}):/g;
}
note(join ' ', 'met:', map { "$_: $met{$_}" } sort keys %met);
ok($met{57014} && $met{'57P01'}, 'sweeps were cancelled, and lost their session');
is_deeply([ grep { !/^(?:UC001|UC002|UC005|UC006|UC010|01000|22023|22004|25P0[12]|40001|57014|57P0[123]|3B001)$/ } sort keys %met ], [], 'nothing unexpected was met');

query('CALL credits_run_reset()');
query('SELECT take(10000)');
for my $lot ([ grant => q(remaining > 0 AND ends_at <= now() + interval '23 hours') ], [ hold => q(state = 'open' AND ends_at <= now() + interval '1 hour') ])
{
	my ($what, $soon) = @$lot;

	is(query("SELECT count(*) FROM credit_$what WHERE $soon AND noticed IS NOT TRUE AND ends_at > now()"), 0, "each ${what} that ends soon was announced");
	cmp_ok(query("SELECT count(*) FROM taken WHERE kind = '${what}_ending'"), '>', 10, '... ' . query("SELECT count(*) FROM taken WHERE kind = '${what}_ending'"));
}
is(query('SELECT * FROM (SELECT user_id, seq, kind FROM taken EXCEPT ALL SELECT * FROM announced) x LIMIT 5'), '', 'none is announced twice, and none without noticed');
is(query('SELECT * FROM (SELECT * FROM announced EXCEPT ALL SELECT user_id, seq, kind FROM taken) x LIMIT 5'), '', 'none is lost');
is( query(q(
SELECT t.* FROM taken t JOIN credit_history made ON made.user_id = t.user_id AND made.seq = t.seq
 WHERE t.ends_at IS DISTINCT FROM made.ends_at OR made.kind || '_ending' <> t.kind OR t.effective_at < t.created_at OR t.ends_at <= t.effective_at
    OR t.amount NOT BETWEEN 1 AND made.amount
    -- which row, is not asked: the clock of a machine can be set back, and a notice is no row
    OR NOT EXISTS (SELECT FROM credit_history h WHERE h.user_id = t.user_id AND h.seq >= t.seq AND h.monthly + h.granted + h.purchased = t.available) LIMIT 5)),
	'', 'an event has the end of its row, and what was available after one');
is_clean($node, $db);
is_gapless($node, $db);
no_deadlock($node);

# --- Sweeps step by step, in a database of their own.

$db = 'steps';
add_database($node, $db);
query(q(SELECT credits_define_plan('none', 0)));
my ($ann, $bob) = map { session($node, $db) } 1 .. 2;
my $sweep = q(SELECT r ->> 'notices', r ->> 'skipped_locked' FROM credits_reset_due() r);
my $grant = sub { return query("SELECT credits_open_account('$_[0]', 'none'), credits_grant('$_[0]', 5, now() + interval '20 hours')") };

$grant->($_) for qw(a b);
$ann->do('BEGIN');
is($ann->do($sweep), '2|0', 'a sweep announces two');
is($bob->do($sweep), '0|2', 'another one, meanwhile, passes by both and does not wait');
$ann->do('ROLLBACK');
is($bob->do($sweep), '2|0', 'the first one is rolled back: the other one announces both');
is($ann->do($sweep), '0|0', '... and there is nothing left to announce');
is(query(q(SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM credits_take_events())), 'a b', 'each has one event');

$grant->($_) for qw(c d);
$ann->do('BEGIN');
$ann->do(q(SELECT credits_grant('c', 1, now() + interval '21 hours')));
is($bob->do($sweep), '1|1', 'an account that a client has locked is left');
$ann->do('COMMIT');
is($bob->do($sweep), '2|0', '... for the next sweep');
query('SELECT count(*) FROM credits_take_events()');

$grant->('e');
$ann->do('BEGIN');
is($ann->do($sweep), '1|0', 'a sweep in a transaction');
$ann->do(q(PREPARE TRANSACTION 'sweep'));
is($bob->do($sweep), '0|1', '... that is prepared keeps the account');
query(q(COMMIT PREPARED 'sweep'));
is($bob->do($sweep), '0|0', '... until it is committed');
is(query(q(SELECT user_id, kind FROM credits_take_events())), 'e|grant_ending', '... with its event');

$grant->('f');
$ann->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
$ann->do('SELECT 1 FROM credit_grant LIMIT 1');
is($bob->do($sweep), '1|0', 'beside an older snapshot, a sweep announces');
is($ann->do($sweep), '0|0', '... and the one that has the snapshot does not do it again');
$ann->do('ROLLBACK');
is(query(q(SELECT string_agg(user_id, ' ') FROM credits_take_events())), 'f', '... so that there is one event');

# The batches of a sweep are committed without a flush.  A crash loses both or none.
$grant->("g$_") for 1 .. 20;
query(q(CALL credits_run_reset(batch_size => 1, max_accounts => 10)));
$ann->do('BEGIN');
is($ann->do($sweep), '10|0', 'half of the notices are committed, the others are not');
$node->stop('immediate');
$node->start;
is(query(q(SELECT count(*) FROM credit_event e FULL JOIN (SELECT * FROM credit_grant WHERE noticed AND user_id LIKE 'g%') g USING (user_id, seq) WHERE e.user_id IS NULL OR g.user_id IS NULL)),
	0, 'after a crash, the events are those of the grants that say so');
query('CALL credits_run_reset()');
is(query(q(SELECT count(*), count(DISTINCT user_id) FROM credits_take_events())), '20|20', 'the next sweep announces the rest');

# --- An account whose reset waits.

query(q(SELECT credits_open_account('waits', 'none'), credits_grant('waits', 7, now() + interval '20 hours')));
query(q(CREATE TABLE before AS SELECT * FROM credit_account WHERE user_id = 'waits';
ALTER TABLE credit_account DISABLE TRIGGER credits_guard;
UPDATE credit_account SET time_zone = 'Asia/Nowhere', next_reset_at = now() - interval '1 hour', next_event_at = now() - interval '1 hour' WHERE user_id = 'waits';
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard));
is(json(query('SELECT credits_reset_due()'))->{notices}, 1, 'an account whose reset waits for its zone is announced');
is(query('SELECT user_id, amount, available FROM credits_take_events()'), 'waits|7|7', '... with what it has');
query(q(ALTER TABLE credit_account DISABLE TRIGGER credits_guard;
UPDATE credit_account a SET time_zone = b.time_zone, next_reset_at = b.next_reset_at, next_event_at = b.next_event_at FROM before b WHERE a.user_id = b.user_id;
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard));
is_clean($node, $db);

# --- What a sweep reads.

sub buffers
{
	my ($settings) = @_;
	my $plan = query("$settings SELECT credits_reset_due(dry_run => true); EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT credits_reset_due(dry_run => true)");
	my ($hit) = $plan =~ /"Shared Hit Blocks": (\d+)/;
	my ($read) = $plan =~ /"Shared Read Blocks": (\d+)/;

	return $hit + $read;
}
my $off = q(SET credits.events = '';);
my $vacuum = 'VACUUM credit_grant; VACUUM credit_hold; VACUUM credit_account; VACUUM credit_event';

query($_) for split /; /, $vacuum;
my $nothing = buffers('');
my $unwanted = buffers($off);
query(q(SELECT count(credits_open_account('many_' || n, 'none')) FROM generate_series(1, 500) n));
query(q(SELECT count(credits_grant('many_' || 1 + n % 500, 2, now() + interval '20 hours' + n * interval '1 second')) FROM generate_series(1, 5000) n));
query(q(SELECT count(credits_hold('many_' || n, 1, '1 hour')), count(credits_deduct('many_' || n, 1)) FROM generate_series(1, 500) n));
query($_) for split /; /, $vacuum;
cmp_ok(buffers(''), '>', $nothing + 1000, 'a sweep reads what it has to announce: ' . buffers('') . " buffers, and $nothing if there is nothing");
cmp_ok(buffers($off), '<=', $unwanted + 10, "... but not if nobody wants to know: $unwanted, " . buffers($off));
query('CALL credits_run_reset()');
is(query(q(SELECT kind, count(*) FROM credits_take_events(10000) GROUP BY kind ORDER BY kind)), "grant_ending|4500\nhold_ending|500", 'all that is left is announced');
query($_) for split /; /, $vacuum;
cmp_ok(buffers(''), '<=', $nothing + 10, "what was announced, or had nothing left, is not read again: $nothing, " . buffers(''));

$node->stop;
done_testing();
