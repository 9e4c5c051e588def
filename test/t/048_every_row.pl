# Logical decoding of credit_history: a consumer gets each committed row once and in the order
# of commits, and none of a transaction that was rolled back, though it crashes and goes on from
# the position that it has confirmed, and though the server crashes.  It reads as
# docs/operations.md says.  DECODING_ROUNDS: how many crashes of the server (2).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{DECODING_ROUNDS} // 2;
my $seed = $ENV{CREDITS_SEED} // time;
my $users = 12;
my $db = 'postgres';

srand $seed;
note("CREDITS_SEED=$seed");

my $node = new_server(
	'decoding', conf => <<'CONF');
fsync = off
wal_level = logical
max_wal_senders = 4
max_replication_slots = 4
max_prepared_transactions = 10
track_commit_timestamp = on
restart_after_crash = on
credits.key_retention = 0
CONF

sub query { return $node->safe_psql($db, $_[0]); }

sub between { return $_[0] + int rand($_[1] - $_[0] + 1); }

sub one_of { return $_[ int rand @_ ]; }

# --- The statements of the documentation.

my ($section) = slurp_file("$ENV{TESTDIR}/docs/operations.md") =~ /^### Every row\n(.*?)^### /ms or die 'the section is gone';
my ($setup, $read, $size) = $section =~ /^```(?:sql)?\n(.*?)^```$/msg;
my ($peek, $advance) = grep { /\S/ } map { s/^--.*\n//mgr } split /;\n/, $read;

like($peek, qr/^SELECT lsn, data FROM pg_logical_slot_peek_binary_changes/, 'docs/operations.md reads without confirming');
like($advance, qr/'0\/\w+'/, '... and then confirms a position');

$node->safe_psql($db, <<'SQL');
SET credits.clock = '2025-01-10 00:00Z';
SELECT credits_define_plan('daily', 100, 'daily');
SELECT credits_open_account('old', 'daily'), credits_add_purchased('old', 5, 'pay_old');
SQL
query($_) for grep { /\S/ } split /;\n/, $setup;

# --- The consumer.  It has what it has stored, and the position of the last commit in it.

my (@stored, %problem);
my $position = 0;
my %count = map { $_ => 0 } qw(transactions again before_storing after_storing confirmed);

# Reads one piece of a message, as the protocol of pgoutput has it.
sub piece
{
	my ($message, $format) = @_;
	my ($value, $rest) = unpack "$format a*", $$message;

	$$message = $rest;
	return $value;
}

sub read_row
{
	my ($message, $columns) = @_;
	my %row;

	for my $i (0 .. piece($message, 'n') - 1)
	{
		my $kind = piece($message, 'a');

		$row{ $columns->[$i] } = $kind eq 't' ? piece($message, 'N/a') : undef;
	}
	return \%row;
}

# The transactions in the messages: [position, its end, time, rows].
sub transactions
{
	my (@messages) = @_;
	my (@transactions, %columns, $open);

	for my $message (map { pack 'H*', $_ } @messages)
	{
		my $type = piece(\$message, 'a');

		if ($type eq 'B')
		{
			$problem{'a transaction within another'} = 1 if $open;
			$open = { position => piece(\$message, 'Q>'), time => piece(\$message, 'q>'), xid => piece(\$message, 'N'), rows => [] };
		}
		elsif ($type eq 'R')
		{
			my ($oid, $schema, $name, $identity) = map { piece(\$message, $_) } 'N', 'Z*', 'Z*', 'a';

			$problem{"a row of $name"} = 1 if $name ne 'credit_history';
			$problem{"the replica identity is $identity"} = 1 if $identity ne 'd';
			$columns{$oid} = [ map { (map { piece(\$message, $_) } 'C', 'Z*', 'N', 'N')[1] } 1 .. piece(\$message, 'n') ];
		}
		elsif ($type eq 'I')
		{
			my $oid = piece(\$message, 'N');

			piece(\$message, 'a');
			push @{ $open->{rows} }, read_row(\$message, $columns{$oid});
		}
		elsif ($type eq 'C')
		{
			piece(\$message, 'C');
			$problem{'a commit at another position'} = 1 if piece(\$message, 'Q>') != $open->{position};
			$open->{end} = piece(\$message, 'Q>');
			push @transactions, $open;
			undef $open;
		}
		else
		{
			$problem{"a message $type"} = 1;
		}
	}
	$problem{'a transaction without an end'} = 1 if $open;
	return @transactions;
}

sub lsn { return sprintf '%X/%X', $_[0] >> 32, $_[0] & 0xFFFFFFFF; }

# One turn: reads, stores, confirms.  The consumer crashes sometimes.  False: nothing was there.
sub turn
{
	my $most = between(1, 200);
	my $sql = $peek =~ s/\b1000\b/$most/r =~ s/\bdata\b/encode(data, 'hex')/r;
	my @found = transactions(map { (split /\|/)[1] } split /\n/, query($sql));

	return 0 unless @found;
	if (rand() < 0.2)
	{
		$count{before_storing}++;
		return 1;
	}
	# In one transaction of the place where the rows are kept.
	for my $transaction (@found)
	{
		if ($transaction->{position} <= $position)
		{
			$count{again}++;
			next;
		}
		$count{transactions}++;
		push @stored, map { { %$_, transaction => $transaction } } @{ $transaction->{rows} };
		$position = $transaction->{position};
	}
	if (rand() < 0.2)
	{
		$count{after_storing}++;
		return 1;
	}
	query($advance =~ s/'0\/\w+'/"'" . lsn($found[-1]{end}) . "'"/er);
	$count{confirmed}++;
	return 1;
}

# --- The clients.

my ($payments, $prepared) = (0, 0);

sub call
{
	my ($user) = @_;

	return one_of(
		"SELECT credits_deduct('$user', " . between(1, 30) . ", 'a reason', metadata => '{\"a\": [1, \"\\u00e9\"]}')",
		"SELECT credits_deduct('$user', " . between(1, 30) . ')',
		"SELECT credits_add_purchased('$user', " . between(1, 40) . ", 'pay_" . ++$payments . "', 'two\nlines')",
		"SELECT credits_hold('$user', " . between(1, 30) . ')',
		"SELECT credits_release('$user', seq) FROM credit_open_hold WHERE user_id = '$user' ORDER BY seq LIMIT 1",
		"SELECT credits_deduct_many('{$user,$user}', '{1,2}')");
}

# The users of a transaction come in one order, so that clients do not deadlock.
sub client_script
{
	my ($transactions) = @_;
	my $script = '';

	# A script may run many times.  Its payments are then replays.
	for (1 .. $transactions)
	{
		my %chosen = map { between(1, $users) => 1 } 1 .. 2;
		my $gid = 'p' . ++$prepared;

		$script .= "BEGIN;\n";
		for my $user (map { "u$_" } sort keys %chosen)
		{
			$script .= call($user) . ";\nSAVEPOINT s;\n" . call($user) . ";\nSAVEPOINT t;\n" . call($user) . ";\n";
			$script .= one_of('ROLLBACK TO t', 'ROLLBACK TO s', 'RELEASE t', 'RELEASE s') . ";\n";
			last if rand() < 0.5;
		}
		$script .= one_of('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK', "PREPARE TRANSACTION '$gid';\n" . one_of('COMMIT', 'ROLLBACK') . " PREPARED '$gid'") . ";\n";
	}
	return $script;
}

# What changes and removes rows, and what writes many.
my $others = join '', map { <<"SQL" } 1 .. 2000;
SELECT credits_open_account('day_' || n, 'daily') FROM generate_series(1, 20) n;
SET credits.clock = '@{[ 2027 + int $_ / 300 ]}-@{[ 1 + int($_ / 25) % 12 ]}-@{[ 1 + $_ % 25 ]} 00:00Z';
SELECT credits_erase_user('u@{[ between(1, $users) ]}', 'asked');
CALL credits_grant_many('{day_1,day_2,day_3}', '{1,2,3}', '2200-01-01 00:00Z', 'a present', 'grant_$_');
SELECT credits_anchor();
CALL credits_archive(credits_now() - interval '1 hour', max_accounts => 5);
SQL

my $kill = q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1);
query("SELECT credits_open_account('u$_', 'daily')") for 1 .. $users;
for my $round (1 .. $rounds + 1)
{
	my $is_last = $round > $rounds;
	my $before = $count{transactions};
	my $times = $is_last ? 1 : 1000;
	my @clients = start_clients($node, $db, [ (map { client_script(40) x $times } 1 .. 6), $is_last ? substr($others, 0, index($others, ';', 9000) + 2) : $others ]);

	if (!$is_last)
	{
		my $killed = '';

		turn() while $count{transactions} < $before + 100;
		poll_until(sub { ($killed = query($kill)) ne '' }, 'a client that has written something');
		ok(kill('KILL', $killed), "round $round: a client is killed, and the server crashes");
	}
	else
	{
		turn() for 1 .. 20;
	}
	wait_clients(@clients);
	await_recovery($node);
	# What a crash left prepared keeps its accounts locked.
	query($_) for map { one_of('COMMIT', 'ROLLBACK') . " PREPARED '$_'" } split /\n/, query('SELECT gid FROM pg_prepared_xacts');
}
1 while turn();

note(join ', ', map { "$_: $count{$_}" } sort keys %count);
cmp_ok($count{$_}, '>', 0, "the consumer: $_") for qw(before_storing after_storing confirmed again);
is_deeply([ sort keys %problem ], [], 'there is nothing but inserts of history rows, in whole transactions');

# --- What it has.

my $columns = 'user_id, seq, kind, amount, monthly, granted, purchased, hash';
my @rows = map { join '|', map { $_ // '' } @$_{ split /, /, $columns } } @stored;
my @committed = split /\n/,
  query("SELECT $columns FROM (SELECT $columns FROM credit_history UNION ALL SELECT $columns FROM credit_history_archive) h WHERE user_id <> 'old' ORDER BY user_id, seq");
my %times;
$times{$_}++ for @rows;

cmp_ok(scalar @rows, '>', 500, 'rows: ' . @rows);
is_deeply([ grep { $times{$_} > 1 } sort keys %times ], [], 'none comes twice');
is_deeply([ sort keys %times ], [ sort @committed ], 'each committed row comes, and no other');
cmp_ok(query('SELECT count(*) FROM credit_history_archive'), '>', 0, 'rows were archived meanwhile');
cmp_ok(query('SELECT count(*) FROM credit_history WHERE reason IS NULL AND reason_digest IS NOT NULL'), '>', 0, '... and texts erased');

my (%last, @jumps, @back);
my $before = 0;
for my $row (@stored)
{
	my $user = $row->{user_id};

	push @jumps, "$user: $row->{seq} after " . ($last{$user} // 0) if $row->{seq} != ($last{$user} // 0) + 1;
	$last{$user} = $row->{seq};
	push @back, lsn($row->{transaction}{position}) if $row->{transaction}{position} < $before;
	$before = $row->{transaction}{position};
}
is_deeply(\@jumps, [], 'the rows of a user come in their order, without a gap');
is_deeply(\@back, [], 'transactions come in the order of their commits');

# The server keeps the time of each commit.  A row that was erased or archived has another one.
my %commit = map { $_->[0] => $_->[1] } rows($node, $db,
	q(SELECT xmin, (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::numeric(20) - 946684800000000 FROM credit_history WHERE text_salt IS NULL OR reason IS NOT NULL OR metadata IS NOT NULL GROUP BY 1, 2));
my @same = grep { defined $commit{ $_->{transaction}{xid} } } @stored;
cmp_ok(scalar @same, '>', 100, 'rows whose commit the server knows: ' . @same);
is_deeply([ grep { $commit{ $_->{transaction}{xid} } ne $_->{transaction}{time} } @same ], [], '... have its time');

is(query($size) =~ s/\|.*//r, 'history', 'docs/operations.md: how far behind the consumer is');
is_clean($node, $db);
no_deadlock($node);

$node->stop;
done_testing();
