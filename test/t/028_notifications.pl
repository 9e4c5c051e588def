# Notifications of changed accounts: each committed change is told, or a resync stands for
# it, whatever happens to the workers that tell it; no call waits for them.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use PostgreSQL::Test::Utils ();
use Test::More;

my $node = new_server('notifications', conf => "shared_preload_libraries = 'credits'\nmax_prepared_transactions = 2\nfsync = off\n");
my $db = 'postgres';

# A session that listens, and what it has heard: [user or undef for a resync, seq].
sub listener
{
	my ($on, $database) = @_;
	my $session = session($on, $database);

	$session->do('LISTEN credits');
	return { session => $session, heard => [] };
}

sub listen_on
{
	my ($listener) = @_;
	my $out = $listener->{session}->do('SELECT 1');

	while ($out =~ /^Asynchronous notification "credits" with payload "(.*)" received from server process with PID \d+\.$/mg)
	{
		my $payload = $1;

		push @{ $listener->{heard} }, $payload;
		push @{ $listener->{all} }, json($payload);
	}
	return;
}

# Waits until a payload is heard that the condition likes, and gives all that was heard since the last time.
sub heard_until
{
	my ($listener, $condition) = @_;

	poll_until(sub { listen_on($listener); return grep { $condition->(json($_)) } @{ $listener->{heard} } }, 'a notification') or return '';
	my $heard = join ' ', @{ $listener->{heard} };
	$listener->{heard} = [];
	return $heard;
}

# Changes an account, and waits until it is told: all that was committed before has been told, too.
my $bell = 0;
sub heard
{
	my ($listener, $on, $database) = @_;

	my $seq = json($on->safe_psql($database, sprintf "SELECT credits_add_purchased('bell', 1, 'bell_%d')", ++$bell))->{seq};
	my $heard = heard_until($listener, sub { ($_[0]{user_id} // '') eq 'bell' && $_[0]{seq} == $seq });
	return join ' ', sort grep { !/^\{"user_id": "bell", / } split / (?=\{)/, $heard;
}

$node->safe_psql($db, "SELECT credits_add_purchased('bell', 1, 'bell')");
my $listener = listener($node, $db);
heard($listener, $node, $db);

# --- What is told.

$node->safe_psql($db, "SELECT credits_add_purchased('ann', 100, 'pay_ann')");
is(heard($listener, $node, $db), '{"user_id": "ann", "seq": 2}', 'a change is told');
is($node->safe_psql($db, "SELECT backend_type FROM pg_stat_activity WHERE backend_type LIKE 'credits%' ORDER BY 1"), "credits launcher\ncredits notifier", 'by a worker');
is_clean($node, $db);
done_testing();
