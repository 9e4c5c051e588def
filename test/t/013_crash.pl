# What was acknowledged survives a crash, and a resend of what was not
# acknowledged has exactly one effect.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $clients = 8;
my $keys = 6_000;    # more than a client gets done in a round

my $node = new_server(
	'crash',
	clock => '2026-01-15 12:00:00+00',
	conf => "fsync = on\nfull_page_writes = on\nsynchronous_commit = on\nrestart_after_crash = on\n");

# A few of the clients share an account.
sub user_of { return 'user_' . $_[0] % 5; }

$node->safe_psql(
	'postgres', q(
SELECT credits_define_plan('big', 1000000);
SELECT credits_open_account('user_' || n, 'big') FROM generate_series(0, 4) n;
SELECT credits_add_purchased('user_' || n, 1000, 'payment_' || n) FROM generate_series(0, 4) n;
));

sub rows_written { return $node->safe_psql('postgres', 'SELECT count(*) FROM credit_history'); }

# How the server goes down; each gives what it waits for afterwards.
my %crash = (
	'immediate stop' => sub {
		$node->stop('immediate');
	},
	'SIGKILL of the postmaster' => sub {
		my @pids = map { $_->[0] } rows($node, 'postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');

		$node->kill9;

		# Its children end by themselves; a new postmaster wants them gone.
		poll_until(sub { return !grep { kill 0, $_ } @pids }, 'the backends to end')
		  or die 'backends of a killed postmaster go on';
	},
	'SIGKILL of a backend' => sub {
		my $pid = $node->safe_psql('postgres',
			q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT credits_deduct(%' LIMIT 1});

		$pid =~ /^[1-9]\d*$/ or die 'no backend to kill';
		is(system_log('pg_ctl', 'kill', 'KILL', $pid), 0, 'a backend was killed');
	});

# The calls that clients know to have succeeded: [user, key, seq].
my @acknowledged;

my $round = 0;
for my $how (
	'immediate stop',
	'SIGKILL of the postmaster',
	'SIGKILL of a backend',
	'immediate stop')
{
	$round++;
	my $test = "round $round, $how";

	my @scripts = map {
		my $c = $_;
		my $user = user_of($c);

		join '', map {
			"SELECT credits_deduct('$user', 1, 'round $round', 'r${round}_c${c}_$_');\n"
			  . "\\echo = r${round}_c${c}_$_ :SQLSTATE\n"
		} 1 .. $keys;
	} 0 .. $clients - 1;
	my $before = rows_written();
	my @running = start_clients($node, 'postgres', \@scripts);

	poll_until(sub { return rows_written() > $before + 700 }, 'enough load') or die 'no load';
	$crash{$how}->();
	my @done = wait_clients(@running);
	if ($how eq 'SIGKILL of a backend')
	{
		# A psql that the server turns away may end before it has read its query, which
		# is an error of the pipe.
		poll_until(sub { return (eval { $node->safe_psql('postgres', 'SELECT true') } // '') eq 't' },
			'the server to come back')
		  or die 'the server did not come back';
	}
	else
	{
		$node->start;
	}

	my (@lost_contact, @unknown, @errors);
	my $acknowledged = 0;
	for my $c (0 .. $#done)
	{
		my @results = client_results($done[$c]);
		my @good = grep { $_->[1] eq '00000' } @results;

		push @lost_contact, $c if $done[$c]{rc} == 2 && @good < $keys;
		push @errors, grep { !/^(?:00000|57P0[123]|08\d\d\d)$/ } map { $_->[1] } @results;
		push @acknowledged, map { [ user_of($c), $_->[0], $_->[2]{seq} ] } @good;
		$acknowledged += @good;

		# The call after the last acknowledged one may have been done or not.
		push @unknown, [ user_of($c), sprintf('r%d_c%d_%d', $round, $c, @good + 1) ];
	}
	note("$test: $acknowledged acknowledged");
	is(scalar(@lost_contact), $clients, "$test: it came in the middle of the load");
	is("@errors", '', "$test: no other error");
	cmp_ok($acknowledged, '>', 0, "$test: something was acknowledged");

	# Every acknowledged call, of this round and those before it, is there,
	# with the seq that its client was told.
	my %row = map { ("$_->[0] $_->[1]" => $_->[2]) } rows(
		$node, 'postgres',
		'SELECT user_id, idempotency_key, seq FROM credit_history WHERE idempotency_key IS NOT NULL');
	my @missing = grep { ($row{"$_->[0] $_->[1]"} // 0) != $_->[2] } @acknowledged;
	is(scalar(@missing), 0, "$test: every acknowledged call is in the history")
	  or diag(join ' ', map { $_->[1] } @missing[ 0 .. ($#missing < 5 ? $#missing : 5) ]);
	is_gapless($node, 'postgres', "$test: seq is gapless");
	is_clean($node, 'postgres', "$test: credits_verify() is clean");
	is( $node->safe_psql(
			'postgres', q(
SELECT user_id FROM credit_account a
 WHERE monthly + purchased <> (SELECT sum(monthly_delta + purchased_delta) FROM credit_history h WHERE h.user_id = a.user_id)
    OR 1001000 - monthly - purchased <> (SELECT count(*) FROM credit_history h WHERE h.user_id = a.user_id AND kind = 'deduct'))
		),
		'',
		"$test: balances are what the rows say");

	# Send again what nobody knows of, twice and all at once.
	my @again = map {
		"SELECT credits_deduct('$_->[0]', 1, 'round $round', '$_->[1]');\n\\echo = $_->[1] :SQLSTATE\n"
	} @unknown;
	my %seq;
	my @bad;
	for my $result (map { client_results($_) } run_clients($node, 'postgres', [ @again, @again ]))
	{
		push @bad, "$result->[0] $result->[1]" if $result->[1] ne '00000';
		$seq{ $result->[0] }{ $result->[2]{seq} } = 1 if $result->[2];
	}
	is("@bad", '', "$test: unknown calls can be sent again");
	is(scalar(grep { keys %{ $seq{ $_->[1] } // {} } == 1 } @unknown),
		$clients, "$test: with one answer each");
	is( $node->safe_psql(
			'postgres',
			'SELECT count(*) FROM credit_history WHERE idempotency_key IN ('
			  . join(', ', map { "'$_->[1]'" } @unknown) . ')'),
		$clients,
		"$test: and one effect each");
	push @acknowledged, map { [ $_->[0], $_->[1], keys %{ $seq{ $_->[1] } } ] } @unknown;
}

is_clean($node, 'postgres', 'at the end credits_verify() is clean');
is_gapless($node, 'postgres');

done_testing();
