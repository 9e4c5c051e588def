# The queue of events: each event of a committed row is handed out once, to consumers that
# commit, roll back, are cancelled, lose their session or are killed, beside clients whose
# transactions do the same.  EVENTS_ROUNDS: how many crashes (3).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{EVENTS_ROUNDS} // 3;
my $seed = $ENV{CREDITS_SEED} // time;
my $users = 6;
my @kinds = qw(low empty recovered purchase refund plan_change);

srand $seed;
note("CREDITS_SEED=$seed");

my $node = new_server(
	'events', conf => "restart_after_crash = on\nmax_prepared_transactions = 2\ncredits.events = '" . join(', ', @kinds) . "'\n");

$node->safe_psql(
	'postgres', q(
SELECT credits_define_plan('small', 100, low_balance_threshold => 30);
SELECT credits_define_plan('large', 150, low_balance_threshold => 60);
CREATE TABLE taken (n bigserial, user_id text, seq bigint, kind text, amount bigint, available bigint,
                    created_at timestamptz, effective_at timestamptz, ends_at timestamptz);
CREATE FUNCTION take(most int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO taken (user_id, seq, kind, amount, available, created_at, effective_at, ends_at)
    SELECT * FROM credits_take_events(most) $$;
-- what the history says that there was
CREATE VIEW expected AS
    SELECT user_id, seq, crossed AS kind, amount, monthly + granted + purchased AS available, created_at, effective_at, ends_at
      FROM credit_history WHERE crossed IS NOT NULL
    UNION ALL
    SELECT user_id, seq, CASE kind WHEN 'set_plan' THEN 'plan_change' ELSE kind END, amount, monthly + granted + purchased, created_at, effective_at, ends_at
      FROM credit_history WHERE kind IN ('purchase', 'refund', 'set_plan');
));
$node->safe_psql('postgres', "SELECT credits_open_account('u$_', 'small')") for 1 .. $users;

sub query { return $node->safe_psql('postgres', $_[0]); }

sub between { return $_[0] + int rand($_[1] - $_[0] + 1); }

sub one_of { return $_[ int rand @_ ]; }

# --- Each event once, whatever happens.

my $payments = 0;

sub call
{
	my ($user) = @_;

	return one_of(
		"SELECT credits_deduct('$user', " . between(1, 60) . ')',
		"SELECT credits_deduct('$user', " . between(1, 60) . ')',
		"SELECT credits_add_purchased('$user', " . between(1, 40) . ", 'pay_" . ++$payments . "')",
		"SELECT credits_hold('$user', " . between(1, 30) . ", '1 hour')",
		"SELECT credits_release('$user', seq) FROM credit_open_hold WHERE user_id = '$user' ORDER BY seq LIMIT 1",
		"SELECT credits_refund('$user', max(seq), 1) FROM credit_history WHERE user_id = '$user' AND kind = 'deduct'",
		"SELECT credits_set_plan('$user', '" . one_of('small', 'large') . "')",
		"SELECT credits_set_low_threshold('$user', " . one_of('NULL', 10, 50) . ')');
}

# A transaction has one user, so that clients do not deadlock.
sub client_script
{
	my ($transactions) = @_;
	my $script = "SET application_name = 'client';\n";

	for (1 .. $transactions)
	{
		my $user = 'u' . between(1, $users);

		$script .= "BEGIN;\n";
		for (1 .. between(1, 3))
		{
			$script .= "SAVEPOINT s;\n" . call($user) . ";\n";
			$script .= 'ROLLBACK TO s;' . "\n" if rand() < 0.3;
			$script .= call($user) . ";\n" if rand() < 0.3;
		}
		$script .= (rand() < 0.75 ? 'COMMIT' : 'ROLLBACK') . ";\n";
	}
	return $script;
}

my $cancel_another = q(SELECT pg_cancel_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'consumer' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) other);

sub consumer_script
{
	my ($transactions) = @_;
	my $script = "SET application_name = 'consumer';\n";

	for (1 .. $transactions)
	{
		$script .= 'BEGIN ISOLATION LEVEL ' . one_of('READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE') . ";\n";
		$script .= 'SELECT take(' . between(1, 8) . ");\n";
		if (rand() < 0.4)
		{
			$script .= "SAVEPOINT s;\nSELECT take(" . between(1, 8) . ");\n" . one_of('ROLLBACK TO s', 'RELEASE s') . ";\n";
		}
		$script .= one_of('', '', $cancel_another, 'SELECT pg_cancel_backend(pg_backend_pid())') . ";\n";
		$script .= (rand() < 0.7 ? 'COMMIT' : 'ROLLBACK') . ";\n";
	}
	# At its end the session is lost, with events that it has taken.
	return $script . "BEGIN;\nSELECT take(5);\nSELECT pg_terminate_backend(pg_backend_pid());\nCOMMIT;\n";
}

my @all;
for my $round (1 .. $rounds + 1)
{
	my $is_last = $round > $rounds;
	my $before = query('SELECT count(*) FROM taken');
	my @running = (
		start_clients($node, 'postgres', [ map { client_script($is_last ? 40 : 2000) } 1 .. 8 ]),
		start_clients($node, 'postgres', [ map { consumer_script($is_last ? 20 : 2000) } 1 .. 8 ]));

	push @all, @running;
	if (!$is_last)
	{
		my $killed;

		poll_until(sub { query('SELECT count(*) FROM taken') > $before + 50 }, 'events that were taken') or die 'nothing is taken';
		poll_until(
			sub {
				$killed = query(q(SELECT pid FROM pg_stat_activity WHERE application_name = 'consumer' AND backend_xid IS NOT NULL ORDER BY random() LIMIT 1));
				return $killed ne '';
			},
			'a consumer that has taken something');
		ok(kill('KILL', $killed), "round $round: a consumer is killed");
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
ok($met{57014} && $met{'57P01'}, 'consumers were cancelled, and lost their session');
my $crashes = () = slurp_file($node->logfile) =~ /was terminated by signal 9/g;
is($crashes, $rounds, 'the server crashed as often as a consumer was killed');
is_deeply([ grep { !/^(?:UC001|UC005|UC006|UC010|01000|22023|22004|25P0[12]|40001|57014|57P0[123]|3B001)$/ } sort keys %met ], [], 'nothing unexpected was met');

# What is left is taken by one consumer.
$node->psql('postgres', join ' ', map { "SELECT credits_add_purchased('u1', 1, 'rest_$_');" } 1 .. 30);
my $rest = query('SELECT count(*) FROM credit_event');
my $last = query('SELECT max(n) FROM taken');
query('SELECT take(7)') for 0 .. $rest / 7;
is(query('SELECT count(*) FROM credit_event'), 0, "the rest ($rest) is taken");
is(query("SELECT count(*) FROM taken WHERE n > $last"), $rest, '... and no more');
is( query(
		"SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY created_at, user_id, seq) AS place, row_number() OVER (ORDER BY n) AS taken FROM taken WHERE n > $last) t WHERE place <> taken"
	),
	0,
	'one consumer gets the oldest first');

my $columns = 'user_id, seq, kind, amount, available, created_at, effective_at, ends_at';
cmp_ok(query('SELECT count(*) FROM taken'), '>', 50 * $rounds, 'events were taken: ' . query('SELECT count(*) FROM taken'));
is(query("SELECT count(DISTINCT kind) FROM taken"), scalar @kinds, 'of each kind');
is(query("SELECT * FROM (SELECT $columns FROM taken EXCEPT ALL SELECT $columns FROM expected) x LIMIT 5"),
	'', 'none is handed out twice, and none without its row');
is(query("SELECT * FROM (SELECT $columns FROM expected EXCEPT ALL SELECT $columns FROM taken) x LIMIT 5"), '', 'none is lost');
is_clean($node, 'postgres');

# --- Two consumers, step by step.

my ($ann, $bob) = map { session($node, 'postgres') } 1 .. 2;
my $take = sub { return "SELECT string_agg(seq::text, ' ') FROM credits_take_events($_[0])" };

sub purchases
{
	my ($user, $n) = @_;

	query(join ' ', map { "SELECT credits_add_purchased('$user', 100, 'pay_${user}_$_');" } 1 .. $n);
	return;
}

purchases('v', 6);    # rows 1 (open) to 7; the first purchase lets the account recover as well
query(q(SELECT count(*) FROM credits_take_events(kinds => '{recovered}')));
is(query(q(SELECT string_agg(kind || seq, ' ' ORDER BY seq) FROM credit_event)), 'purchase2 purchase3 purchase4 purchase5 purchase6 purchase7', 'six events');
$ann->do('BEGIN');
is($ann->do($take->(2)), '2 3', 'one consumer takes two');
is($ann->do($take->(1)), '4', '... and another');
$ann->do('SAVEPOINT s');
is($ann->do($take->(2)), '5 6', '... and two after a savepoint');
is($bob->do($take->(9)), '7', 'the other one gets what is left, and does not wait');
$ann->do('ROLLBACK TO s');
is($bob->do($take->(1)), '5', 'what was taken after the savepoint is there again');
$ann->do('ROLLBACK');
is($bob->do($take->(9)), '2 3 4 6', 'and then the rest');

purchases('w', 6);
query(q(SELECT count(*) FROM credits_take_events(kinds => '{recovered}')));
$ann->do('BEGIN ISOLATION LEVEL REPEATABLE READ');
$ann->do('SELECT 1');
is($bob->do($take->(2)), '2 3', 'beside REPEATABLE READ, another one takes two');
query(q(SELECT credits_add_purchased('w', 100, 'later')));
is($ann->do('SELECT string_agg(a.seq::text, $$ $$) FROM credits_take_events(1) a'), '4', 'REPEATABLE READ passes over what was taken since');
is($ann->do('SELECT (SELECT seq FROM credits_take_events(1)), (SELECT seq FROM credits_take_events(1))'), '5|6', 'two calls in one statement give two events');
is($ann->do($take->(9)), '7', '... and does not see what is newer than its snapshot');
$ann->do('COMMIT');
is($bob->do($take->(9)), '8', 'which is there for the next one');

purchases('x', 3);
query(q(SELECT count(*) FROM credits_take_events(kinds => '{recovered}')));
$ann->do('BEGIN');
is($ann->do($take->(2)), '2 3', 'a consumer');
$ann->do(q(PREPARE TRANSACTION 'taken'));
is($bob->do($take->(9)), '4', '... whose transaction is prepared keeps its events');
query(q(ROLLBACK PREPARED 'taken'));
is($bob->do($take->(9)), '2 3', '... until that is rolled back');
purchases('z', 2);
$ann->do('BEGIN');
is($ann->do(q(SELECT string_agg(seq::text, ' ') FROM credits_take_events(kinds => '{purchase}'))), '2 3', 'a consumer of one kind');
is($bob->do(q(SELECT kind, seq FROM credits_take_events())), 'recovered|2', '... keeps no event of another kind');
$ann->do('COMMIT');
$_->quit for $ann, $bob;

# --- Which event a row is.

query(q(SET credits.events = 'reset'; SELECT credits_open_account('r', 'small'), credits_set_plan('r', 'large', restart => true)));
is(query(q(SELECT user_id, seq, kind, amount, available FROM credits_take_events())), 'r|2|reset|150|150', 'a restart is a reset');

# --- No kind: no event.

query(q(SET credits.events = ''; SELECT credits_add_purchased('x', 100, 'quiet'); SELECT credits_deduct('x', 400)));
is(query('SELECT count(*) FROM credit_event'), 0, 'credits.events is empty: nothing is written');
is(query(q(SELECT crossed FROM credit_history WHERE user_id = 'x' ORDER BY seq DESC LIMIT 1)), 'empty', '... though the row says what it crossed');
query(q(SET credits.events = 'low'; SELECT credits_add_purchased('x', 100, 'quiet 2')));
is(query('SELECT count(*) FROM credit_event'), 0, 'nor is an event of another kind');

# --- A trigger of a DBA's.

$node->safe_psql(
	'postgres', q(
CREATE TABLE seen (op text, user_id text, kind text, seq bigint);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('events.refuse', true) = TG_OP THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'P0099'; END IF;
    INSERT INTO seen SELECT TG_OP, r.user_id, r.kind, r.seq FROM (SELECT (CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END).*) r;
    RETURN NULL;
END $$;
CREATE TRIGGER see AFTER INSERT OR UPDATE OR DELETE ON credit_event FOR EACH ROW EXECUTE FUNCTION see();
));
purchases('y', 1);
is(query('SELECT op, user_id, kind, seq FROM seen ORDER BY kind'), "INSERT|y|purchase|2\nINSERT|y|recovered|2", 'a trigger fires when events are written');
is_outcome($node, 'postgres', q(SET events.refuse = 'INSERT'; SELECT credits_add_purchased('y', 1, 'refused')), 'P0099', 'one that raises refuses the call');
is(query(q(SELECT count(*) FROM credit_history WHERE user_id = 'y')), 2, '... which has no row then');
is_outcome($node, 'postgres', q(SET events.refuse = 'DELETE'; SELECT * FROM credits_take_events()), 'P0099', 'one that raises when events are taken');
is(query('SELECT count(*) FROM credit_event'), 2, '... leaves them in the queue');
query('TRUNCATE seen; SELECT count(*) FROM credits_take_events()');
is(query('SELECT op, user_id, kind, seq FROM seen ORDER BY kind'), "DELETE|y|purchase|2\nDELETE|y|recovered|2", 'a trigger fires when events are taken');

$node->stop;
done_testing();
