# A session that listens to the notifications of changed accounts, and what it has heard.
package Listener;

use strict;
use warnings FATAL => 'all';

use CreditsTest;
use Test::More;

our $bells = 0;

sub new
{
	my ($class, $node, $db) = @_;
	my $self = bless { node => $node, db => $db, session => session($node, $db), arrived => [], new => [], all => [], unseen => [] }, $class;

	$self->{session}->do('LISTEN credits');
	return $self;
}

# Runs a query; what has arrived comes with its answer.
sub ask
{
	my ($self, $sql) = @_;
	my $answer = $self->{session}->do($sql);

	$answer =~ s{^Asynchronous notification "credits" with payload "(.*)" received from server process with PID \d+\.\n?}
	  {push @{ $self->{arrived} }, $1; ''}gem;
	return $answer;
}

# Takes what has arrived.  Whose notification is heard, whose row can be seen.
sub listen
{
	my ($self) = @_;

	$self->ask('SELECT');
	while (my @heard = splice @{ $self->{arrived} })
	{
		my $list = join ', ', map { $_ =~ s/'/''/gr } @heard;

		push @{ $self->{new} }, @heard;
		push @{ $self->{all} }, map { json($_) } @heard;
		push @{ $self->{unseen} }, grep { $_ ne '' } $self->ask(<<"SQL");
SELECT p FROM json_array_elements('[$list]') p
 WHERE p ->> 'resync' IS NULL
   AND NOT EXISTS (SELECT FROM credit_history h WHERE h.user_id = p ->> 'user_id' AND h.seq = (p ->> 'seq')::bigint)
SQL
	}
	return;
}

# Listens until the condition is true of a payload, and gives all that was heard since the last time.
sub hear_until
{
	my ($self, $condition, $what) = @_;

	poll_until(
		sub {
			$self->listen;
			return grep { $condition->(json($_)) } @{ $self->{new} };
		},
		$what) or die "$what was not heard";
	return splice @{ $self->{new} };
}

# Changes an account of its own, and listens until that is told.  All that was committed
# before it has been told then.  Gives what was heard of other accounts, sorted.
sub hear
{
	my ($self, $resync) = @_;
	my $call = sprintf "SELECT credits_add_purchased('bell', 1, 'bell_%d')", ++$bells;
	my $seq = json($self->{node}->safe_psql($self->{db}, $call))->{seq};

	my @heard = $self->hear_until(sub { ($_[0]{user_id} // '') eq 'bell' && $_[0]{seq} == $seq || $_[0]{resync} }, 'the bell');
	return join ' ', sort grep { !/^\{"user_id": "bell", / } @heard;
}

# Accounts whose last row was not told, and for which no resync came after what was told.
sub behind
{
	my ($self, $users) = @_;
	my ($resync, %last, @behind) = (-1);

	for my $at (0 .. $#{ $self->{all} })
	{
		my $heard = $self->{all}[$at];

		$resync = $at if $heard->{resync};
		$last{ $heard->{user_id} } = [ $at, $heard->{seq} ] if defined $heard->{user_id};
	}
	for my $row (rows($self->{node}, $self->{db}, "SELECT user_id, history_seq FROM credit_account WHERE user_id LIKE '$users'"))
	{
		my ($user, $seq) = @$row;
		my ($at, $told) = @{ $last{$user} // [ -1, 0 ] };

		push @behind, "$user has row $seq, and row $told was told" if $told < $seq && $resync <= $at;
	}
	return @behind;
}

# Listens until a resync comes.  There is at most one a second, and an interval of 100 ms
# between two bells: so if it is owed, it comes before 30 of them.
sub hear_resync
{
	my ($self) = @_;
	my $heard = '';

	for (1 .. 30)
	{
		$heard = $self->hear;
		last if $heard =~ /"resync"/;
	}
	$self->hear;	# the last bell was not heard, because the resync came before it
	return $heard;
}

# The pid of the worker; '' if there is none.
sub worker
{
	my ($self) = @_;
	return $self->{node}->safe_psql($self->{db},
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'credits notifier' AND datname = current_database()");
}

# Stops the worker while it has nothing to do.  Gives its pid.
sub stop_worker
{
	my ($self) = @_;
	my $pid;

	poll_until(
		sub {
			$self->hear;
			$pid = $self->worker or return 0;
			kill STOP => $pid;
			return 1
			  if $self->{node}->safe_psql($self->{db}, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid") eq 'Extension';
			kill CONT => $pid;
			return 0;
		},
		'the worker waits') or die;
	return $pid;
}

sub quit { return $_[0]{session}->quit; }

1;
