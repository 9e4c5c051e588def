# One client: a random mix of all calls, alone and in transactions, sent again
# when refused for the moment, when the connection ended before the answer, and
# for no reason at all.
#
# It writes down what it is about to send, and then what it was told, one line
# each, columns ended by tabs; times are seconds of the monotonic clock, which all
# clients share:
#
#   S id tx time call user key args    a call is sent; tx "-": a transaction of its own
#   R id time sqlstate answer          it was answered: the receipt, or the error's DETAIL
#   U id                               undone by ROLLBACK TO SAVEPOINT
#   C tx time how                      commit, prepare, commit-prepared, rollback-prepared is sent
#   P tx time                          prepared
#   X tx time outcome                  commit, rollback, or unknown: the connection ended
#   N id time                          the connection ended before the call was answered
#   L tx                               a prepared transaction is gone
#
# and what TortureBulk does.
#
# A transaction without a C was not committed.  A call's id is its reason in the
# history; what is sent again has a new id and the same key.  args is NAME=VALUE;...
package TortureLoad;

use strict;
use warnings FATAL => 'all';

use parent 'TortureBulk';

use Digest::MD5 qw(md5);
use POSIX ();
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime usleep);
use TortureWire;

*quote = \&TortureWire::quote;

# Refusals that say nothing about the call: it may be sent again as it is.
my %for_now = map { ($_ => 1) } qw(40001 40P01 55P03 57014 53100 53200 57P03 57P05);

sub is_for_now { return $for_now{ $_[0] }; }

# How often each call is tried, of a hundred or so.
my %weight = (
	deduct => 22, try_deduct => 9, deduct_many => 5, purchase => 8, grant => 7, adjust => 5, refund => 7,
	revoke => 3, hold => 9, capture => 7, release => 4, open => 3, set_plan => 4, set_cycle => 2,
	overdraft => 2, threshold => 2, freeze => 1, unfreeze => 2, transfer => 5, close => 0.6, reopen => 0.6, erase => 0.3, balance => 5, sweep => 1.5,
	restart => 1.5, reinstate => 2);
my @calls = map { ($_) x ($weight{$_} * 10) } sort keys %weight;
my @plans = qw(small big rolling);    # of a month
my @all_plans = (@plans, qw(day week year));
my @zones = qw(UTC Europe/Berlin America/Santiago Asia/Kolkata);

# %opt: number, seed, journal (a file), where (a function: the server's socket
# directory and port), stop (a function: true when it is time to end), ops (how many
# calls to try), hot and many (numbers of users), mode (real or jumping clock),
# early (the part of the sessions that release locks early), prepared, bulk (the part of
# the calls that are for many accounts).
sub new
{
	my ($class, %opt) = @_;
	my $self = bless {
		%opt, ids => 0, txs => 0, holds => [], spends => [], payments => [], revoked => [], closed => [], unknown => [],
		stats => {}, started => clock_gettime(CLOCK_MONOTONIC) }, $class;

	open $self->{out}, '>', $opt{journal} or die "$opt{journal}: $!";
	$self->{out}->autoflush(1);
	srand(scattered("$opt{seed} $opt{number}"));
	return $self;
}

# A seed for srand: numbers that follow each other give much the same otherwise.
sub scattered { return unpack 'N', md5($_[0]); }

sub now { return sprintf '%.6f', clock_gettime(CLOCK_MONOTONIC); }

sub note { my ($self, @columns) = @_; print { $self->{out} } join("\t", @columns) . "\n"; return; }

sub pick { return $_[ rand @_ ]; }

sub user
{
	my ($self) = @_;

	return 'import_' . int rand TortureBulk::imports() if rand() < 0.04;
	return rand() < 0.5 ? 'hot_' . int rand $self->{hot} : 'user_' . int rand $self->{many};
}

sub timestamp
{
	my ($seconds) = @_;

	return POSIX::strftime('%Y-%m-%d %H:%M:%S', gmtime $seconds) . sprintf '.%06d',
	  ($seconds - int $seconds) * 1_000_000;
}

# When a grant ends: soon, or not in this run.
sub end_of_grant
{
	my ($self) = @_;

	return timestamp($self->{base} + rand() * 86400 * 200) . '+00' if $self->{mode} eq 'jumping';
	return timestamp(Time::HiRes::time() + (rand() < 0.5 ? 0.1 + rand 4 : 86400)) . '+00';
}

# An anchor whose next anniversary is soon, by the month, the week or the year.
sub anchor
{
	my ($self) = @_;
	my $soon = Time::HiRes::time() + 1 + rand 4;
	my @at = gmtime($soon);

	@at = gmtime($soon - 7 * 86400 * (1 + int rand 5)) if rand() < 0.3;

	@at = gmtime($self->{base} + rand 86400 * 60) if $self->{mode} eq 'jumping';
	($at[4], $at[5]) = $at[4] ? ($at[4] - 1, $at[5]) : (11, $at[5] - 1) if rand() < 0.7;
	$at[5]-- if rand() < 0.2;
	$at[3] = 28 if $at[3] > 28;
	return POSIX::strftime('%Y-%m-%d %H:%M:%S', @at);
}

# A request that several clients send at about the same time: all of it follows
# from its number.
sub shared_request
{
	my ($self) = @_;
	my $n = int((clock_gettime(CLOCK_MONOTONIC) - $self->{epoch}) * 20) + int rand 3;
	my ($what, $whose, $amount) = unpack 'NNN', md5("$self->{seed} $n");
	my $user = $whose & 1 ? 'hot_' . ($whose >> 1) % $self->{hot} : 'user_' . ($whose >> 1) % $self->{many};
	my $op = { user => $user, key => "shared_$n", args => { amount => 1 + $amount % 20 } };
	my $call = (qw(deduct try_deduct purchase hold adjust transfer grant))[ $what % 7 ];

	$op->{args}{ref} = "shared_$n" if $call =~ /^(?:purchase|grant)$/;
	$op->{args}{ends} = $self->later if $call eq 'grant';
	$op->{args}{bucket} = 'purchased' if $call eq 'adjust';
	$op->{args}{to} = 'hot_' . ($what >> 8) % $self->{hot} if $call eq 'transfer';
	return if $call eq 'transfer' && $op->{args}{to} eq $user;

	# Now and then another request under the same key.
	$op->{args}{amount}++ if rand() < 0.1;
	return { %$op, call => $call };
}

my %request = (
	deduct => sub { return { amount => 1 + int rand 30 } },
	try_deduct => sub { return { amount => 1 + int rand 60 } },
	purchase => sub { return { amount => 1 + int rand 100, ref => "pay_$_[1]" } },
	grant => sub { return { amount => 1 + int rand 60, ends => $_[0]->end_of_grant, (rand() < 0.4 ? (ref => "pack_$_[1]") : ()) } },
	adjust => sub {
		my $bucket = pick(qw(monthly purchased granted));
		return { bucket => $bucket, amount => (rand() < 0.5 || $bucket eq 'granted' ? -1 : 1) * (1 + int rand 20) };
	},
	hold => sub { return { amount => 1 + int rand 25, (rand() < 0.5 ? (for => pick('0.3 s', '1 s', '3 s', '20 days')) : ()) } },
	open => sub {
		my ($self) = @_;
		return { plan => pick(@all_plans, undef), zone => pick(@zones), (rand() < 0.7 ? (anchor => $self->anchor) : ()) };
	},
	set_plan => sub { return rand() < 0.4 ? { plan => pick(@all_plans, undef), at => 'next_reset' } : { plan => pick((@plans) x 2, @all_plans, undef) } },
	restart => sub { return { plan => pick(@all_plans), (rand() < 0.4 ? (keep => 'true') : ()) } },
	set_cycle => sub { return { anchor => $_[0]->anchor, (rand() < 0.5 ? (zone => pick(@zones)) : ()) } },
	overdraft => sub { return { limit => pick(0, 0, 50, 1000) } },
	threshold => sub { return rand() < 0.3 ? {} : { threshold => pick(0, 5, 20, 60, 300) } },
	freeze => sub { return {} },
	unfreeze => sub { return {} },
	close => sub { return {} },
	erase => sub { return {} },
	balance => sub { return {} });

# What a call about an earlier one is about: mostly one that this client has made,
# sometimes one that there may not be.
my %about = (
	capture => [ 'holds', sub { return { hold => $_[0], (rand() < 0.5 ? (amount => int rand 30) : ()), (rand() < 0.3 ? (keep => 'true') : ()),
		(rand() < 0.2 ? (over => 'owe') : ()) } } ],
	release => [ 'holds', sub { return { hold => $_[0] } } ],
	refund => [ 'spends', sub { return { seq => $_[0], (rand() < 0.6 ? (amount => 1 + int rand 10) : ()) } } ],
	revoke => [ 'payments', sub { return { ref => $_[0], $_[0] =~ /^first/ || rand() < 0.4 ? (amount => 1 + int rand 50) : rand() < 0.5 ? (total => 1 + int rand 80) : () } } ],
	reinstate => [ 'revoked', sub { return { ref => $_[0], (rand() < 0.6 ? (amount => 1 + int rand 30) : ()) } } ]);

sub one_of
{
	my ($self, $list) = @_;
	my $known = $self->{$list};

	return rand() < 0.5 ? pop @$known : pick(@$known) if @$known && rand() < 0.95;
	return [ $self->user, $list =~ /^(?:payments|revoked)$/ ? 'pay_no' : 1 + int rand 100 ];
}

# A random request: {call, user, key, args}; of deduct_many {call, items, whole}.
sub request
{
	my ($self) = @_;
	my $call = pick(@calls);
	my $id = "$self->{number}_" . ++$self->{requests};

	if (rand() < 0.08)
	{
		my $shared = $self->shared_request;

		return $shared if $shared;
	}
	if ($call eq 'deduct_many')
	{
		my @items = map { { user => $self->user, args => { amount => 1 + int rand 15 }, (rand() < 0.7 ? (key => "k${id}_$_") : ()) } }
		  1 .. 1 + int rand 6;

		push @items, { %{ $items[0] } } if rand() < 0.2;
		return { call => $call, items => \@items, whole => rand() < 0.3 ? 'true' : 'false' };
	}
	return { call => $call } if $call eq 'sweep';

	# A closed user comes back, and then gets a plan.
	if ($call eq 'reopen')
	{
		my $user = pop @{ $self->{closed} } or return { call => 'balance', user => $self->user, args => {} };

		return { call => 'unfreeze', user => $user, args => {} };
	}

	my $op = { call => $call };
	if ($about{$call})
	{
		my ($list, $args) = @{ $about{$call} };
		my ($user, $ref) = @{ $self->one_of($list) };

		@$op{qw(user args)} = ($user, $args->($ref));
	}
	elsif ($call eq 'transfer')
	{
		@$op{qw(user args)} = ($self->user, { to => $self->user, (rand() < 0.8 ? (amount => 1 + int rand 20) : ()) });
		$op->{args}{to} = 'nobody' if $op->{args}{to} eq $op->{user};
	}
	else
	{
		@$op{qw(user args)} = ($self->user, $request{$call}->($self, $id));
	}

	# Freezing, closing and erasing is for the many: the few would be of no use to anybody.
	$op->{user} = 'user_' . int rand $self->{many} if $call eq 'close' || ($call eq 'freeze' && rand() < 0.8) || ($call eq 'erase' && rand() < 0.95);
	$op->{args}{spender} = 'member_' . int rand 4
	  if rand() < 0.2 && $call =~ /^(?:deduct|try_deduct|hold|capture)$/;
	$op->{args}{meta} = int rand 100 if rand() < 0.2 && $call =~ /^(?:deduct|try_deduct|hold)$/;
	$op->{key} = "k$id" if rand() < 0.8 && $call !~ /^(?:open|freeze|unfreeze|close|erase|balance)$/;
	return $op;
}

# The expressions that a call's arguments become.
my %sql = (
	deduct => 'credits_deduct($user, $amount, $id, $key, $metadata, $spender)',
	try_deduct => 'credits_try_deduct($user, $amount, $id, $key, $metadata, $spender)',
	purchase => 'credits_add_purchased($user, $amount, $ref, $id, $key)',
	grant => 'credits_grant($user, $amount, $ends, $id, $key, NULL, $ref)',
	adjust => 'credits_adjust($user, $bucket, $amount, $id, $key)',
	refund => 'credits_refund($user, $seq, $amount, $id, $key)',
	revoke => 'credits_revoke_purchase($ref, $amount, $id, $key, NULL, $total)',
	reinstate => 'credits_reinstate_purchase($ref, $amount, $id, $key)',
	hold => 'credits_hold($user, $amount, $for, $id, $key, $metadata, $spender)',
	capture => 'credits_capture($user, $hold, $amount, $keep, $id, $key, NULL, $spender, $over)',
	release => 'credits_release($user, $hold, $id, $key)',
	open => 'credits_open_account($user, $plan, $anchor, $zone)',
	set_plan => 'credits_set_plan($user, $plan, $at, $id, $key)',
	restart => 'credits_set_plan($user, $plan, NULL, $id, $key, NULL, true, $keep)',
	set_cycle => 'credits_set_cycle($user, $anchor, $zone, $id, $key)',
	overdraft => 'credits_set_overdraft($user, $limit, $id, $key)',
	threshold => 'credits_set_low_threshold($user, $threshold, $id, $key)',
	freeze => 'credits_freeze($user, $id)',
	unfreeze => 'credits_unfreeze($user, $id)',
	transfer => 'credits_transfer($user, $to, $amount, $id, $key)',
	close => 'credits_close_account($user, $id)',
	erase => 'credits_erase_user($user, $id)',
	balance => 'credits_balance($user)');

sub statement
{
	my ($op) = @_;

	if ($op->{items})
	{
		my @items = @{ $op->{items} };
		my @arrays = (
			[ map { quote($_->{user}) } @items ], [ map { $_->{args}{amount} } @items ],
			[ map { quote($_->{id}) } @items ], [ map { quote($_->{key}) } @items ]);
		my @types = qw(text bigint text text);

		return 'SELECT credits_deduct_many('
		  . join(', ', map { 'ARRAY[' . join(',', @{ $arrays[$_] }) . "]::$types[$_]\[]" } 0 .. 3)
		  . ", NULL, $op->{whole})";
	}
	my %value = (%{ $op->{args} }, user => $op->{user}, id => $op->{id}, key => $op->{key});
	my $sql = 'SELECT ' . $sql{ $op->{call} };

	$value{metadata} = qq({"meta": $value{meta}}) if defined $value{meta};

	$sql =~ s/\$(\w+)/quote($value{$1})/ge;
	return $sql;
}

# Send one call, and write down what comes of it.  undef: the connection ended.
sub call
{
	my ($self, $op, $tx) = @_;
	my @ops = $op->{items} ? @{ $op->{items} } : $op;
	my $id = "$self->{number}_" . ++$self->{ids};
	my $n = 0;

	if ($op->{call} eq 'sweep')
	{
		my $answer = $self->{db}->query(
			$tx eq '-' && rand() < 0.5 ? 'CALL credits_run_reset(20, 100)' : 'SELECT credits_reset_due(20)');

		$self->{stats}{sweeps}++ if $answer;
		return $answer;
	}
	for my $one (@ops)
	{
		my $args = $one->{args};

		$one->{id} = $op->{items} ? "$id." . ++$n : $id;
		$self->note('S', $one->{id}, $tx, now(), $op->{items} ? 'deduct_many' : $op->{call}, $one->{user}, $one->{key} // '',
			join ';', map { "$_=" . ($args->{$_} // '') } sort keys %$args);
	}
	$self->{stats}{sent} += @ops;

	my $answer = $self->{db}->query(statement($op));
	my $time = now();

	if (!$answer)
	{
		$self->note('N', $_->{id}, $time) for @ops;
		$self->{stats}{unanswered} += @ops;
		return;
	}
	$self->{stats}{answered} += @ops;
	$self->{stats}{"SQLSTATE $answer->{state}"} += @ops;
	for my $i (0 .. $#ops)
	{
		my $text = $answer->{state} eq '00000' ? $answer->{rows}[$i][0] : $answer->{detail};

		$self->note('R', $ops[$i]{id}, $time, $answer->{state}, $text =~ s/[\t\n]/ /gr);
		$self->remember($op, $ops[$i], $text) if $answer->{state} eq '00000';
	}
	return $answer;
}

# What later calls can be about.
sub remember
{
	my ($self, $op, $one, $text) = @_;
	my $call = $op->{call};
	my ($seq) = $text =~ /"seq": (\d+)/ or return;

	push @{ $self->{holds} }, [ $one->{user}, $seq ] if $call eq 'hold' || ($one->{args}{keep} && rand() < 0.7);
	push @{ $self->{spends} }, [ $one->{user}, $seq ] if $call =~ /deduct|capture/ && rand() < 0.3;
	push @{ $self->{payments} }, [ $one->{user}, $one->{args}{ref} ] if defined $one->{args}{ref} && $call =~ /^(?:purchase|grant|reinstate)$/ && rand() < 0.5;
	push @{ $self->{revoked} }, [ $one->{user}, $one->{args}{ref} ] if $call eq 'revoke';
	push @{ $self->{closed} }, $one->{user} if $call eq 'close';
	return;
}

# --- Connections.

sub connection
{
	my ($self) = @_;

	until ($self->{db} && $self->{db}{alive})
	{
		return 0 if $self->{give_up}->();
		my ($dir, $port) = $self->{where}->();
		my @set = ("default_transaction_isolation=" . pick(('read\ committed') x 3, 'repeatable\ read', 'serializable'));

		push @set, 'lock_timeout=' . pick(5, 50, 500) if rand() < 0.3;
		push @set, 'statement_timeout=' . pick(10, 100, 1000) if rand() < 0.2;
		push @set, 'synchronous_commit=on' if $self->{synchronous};
		push @set, 'credits.early_lock_release=on' if rand() < $self->{early};
		$self->{db} = TortureWire->connect($dir, $port, options => join ' ', map { "-c $_" } @set);
		if (!$self->{db})
		{
			usleep(20_000);
			next;
		}
		my $first = $self->{db}->query('SELECT credits_reset_due(1, true)');
		$self->{db}->query(q(SET application_name = 'has snapshots')) if $first && $first->{state} eq '00000';
	}
	return 1;
}

# The connection has ended.  A transaction that was being prepared is there or is
# not; then what nobody knows of is sent again, now or later.
sub lost
{
	my ($self, @ops) = @_;

	$self->{stats}{lost}++;
	for my $op (@ops)
	{
		push @{ $self->{unknown} },
		  map { +{ call => $op->{call}, %$_ } }
		  grep { $_->{key} } $op->{items} ? (map { +{ %$_, call => 'deduct' } } @{ $op->{items} }) : $op;
	}
	return;
}

sub resend
{
	my ($self) = @_;

	while (@{ $self->{unknown} } && $self->connection)
	{
		my $op = $self->{unknown}[0];
		my $answer = $self->call($op, '-');

		next if !$answer || $for_now{ $answer->{state} };
		$self->{stats}{resent}++;
		shift @{ $self->{unknown} };
	}
	return;
}

# --- Transactions.

sub alone
{
	my ($self, $op) = @_;

	for my $try (1 .. 4)
	{
		my $answer = $self->call($op, '-');

		return $self->lost($op) if !$answer;
		last if !$for_now{ $answer->{state} };
		$self->{stats}{retried}++;
	}

	# For no reason at all.
	$self->call($op, '-') if $op->{key} && rand() < 0.06;
	return;
}

sub together
{
	my ($self, @ops) = @_;
	my $begin = 'BEGIN' . pick('', '', '', ' ISOLATION LEVEL REPEATABLE READ', ' ISOLATION LEVEL SERIALIZABLE');
	my $end = rand() < 0.85 ? 'commit' : 'rollback';
	my $prepare = $self->{prepared} && rand() < 0.12;

	for my $try (1 .. 4)
	{
		my $tx = "t$self->{number}_" . ++$self->{txs};
		my $outcome = $self->attempt($tx, $begin, $end, $prepare, @ops);

		return $self->lost(@ops) if $outcome eq 'lost';
		return if $outcome ne 'again';
		$self->{stats}{retried} += @ops;
	}
	return;
}

# False if the connection has ended.  A cancel may be in time for a ROLLBACK, too.
sub roll_back
{
	my ($self) = @_;

	for (;;)
	{
		my $answer = $self->{db}->query('ROLLBACK') or return 0;

		return 1 if $answer->{status} eq 'I';
	}
}

# A transaction block, if the session is in one then; a BEGIN can fail, and leave a
# block that has.
sub start_block
{
	my ($self, $begin) = @_;
	my $begun = $self->{db}->query($begin) or return 0;

	return 1 if $begun->{status} eq 'T';
	$self->roll_back if $begun->{status} eq 'E';
	return 0;
}

# 'done', 'again' or 'lost'.
sub attempt
{
	my ($self, $tx, $begin, $end, $prepare, @ops) = @_;
	my $db = $self->{db};
	my $again = 0;

	$self->start_block($begin) or return $db->{alive} ? 'again' : 'lost';
	for my $op (@ops)
	{
		my $savepoint = rand() < 0.3;

		if ($savepoint)
		{
			my $answer = $db->query('SAVEPOINT s') or return 'lost';
			$savepoint = $answer->{state} eq '00000';
			last if $answer->{status} ne 'T';
		}
		my $answer = $self->call($op, $tx) or return 'lost';

		if ($answer->{status} eq 'E' && !$savepoint)
		{
			$again = $for_now{ $answer->{state} };
			last;
		}
		next if !$savepoint || ($answer->{status} eq 'T' && rand() < 0.6);
		$answer = $db->query('ROLLBACK TO s') or return 'lost';
		return 'done' if $answer->{status} eq 'I';
		if ($answer->{state} eq '00000')
		{
			$self->note('U', $_->{id}) for $op->{items} ? @{ $op->{items} } : $op->{call} eq 'sweep' ? () : $op;
		}
		last if $answer->{status} ne 'T';
	}

	# Whether the transaction is still one that can be committed, the server says.
	my $probe = $db->query('') or return 'lost';
	if ($probe->{status} ne 'T' || ($end eq 'rollback' && !$prepare))
	{
		return 'lost' if $probe->{status} ne 'I' && !$self->roll_back;
		return $again ? 'again' : 'done';
	}
	return $self->commit_prepared($tx, $end) if $prepare;

	$self->note('C', $tx, now(), 'commit');
	my $answer = $db->query('COMMIT');
	my $time = now();
	if (!$answer)
	{
		$self->note('X', $tx, $time, 'unknown');
		return 'lost';
	}
	my $committed = $answer->{state} eq '00000' && $answer->{tag} eq 'COMMIT';
	$self->{stats}{"SQLSTATE $answer->{state} at COMMIT"}++ if !$committed;
	$self->note('X', $tx, $time, $committed ? 'commit' : 'rollback');

	# A cancel that comes before COMMIT has begun leaves the block open, and failed.
	return 'lost' if $answer->{status} ne 'I' && !$self->roll_back;
	return $committed || !$for_now{ $answer->{state} } ? 'done' : 'again';
}

# PREPARE TRANSACTION, then COMMIT or ROLLBACK PREPARED, whatever happens between:
# here nothing stays unknown, because a transaction that is prepared stays so.
sub commit_prepared
{
	my ($self, $tx, $end) = @_;
	my $gid = "$self->{seed}_$tx";

	$self->note('C', $tx, now(), 'prepare');
	my $answer = $self->{db}->query("PREPARE TRANSACTION '$gid'");
	my $prepared = $answer && $answer->{state} eq '00000' && $answer->{tag} eq 'PREPARE TRANSACTION';
	my $decided = 0;

	if ($answer && !$prepared)
	{
		$self->note('X', $tx, now(), 'rollback');
		return $for_now{ $answer->{state} } ? 'again' : 'done';
	}
	$self->note('P', $tx, now()) if $prepared;
	$self->{stats}{prepared}++ if $prepared;
	usleep(rand 3000) if rand() < 0.3;
	for (;;)
	{
		if (!$self->connection)
		{
			$self->note('X', $tx, now(), 'unknown') if $decided || !$prepared;
			return 'lost';
		}
		if (!$answer)
		{
			my $there = $self->{db}->query("SELECT FROM pg_prepared_xacts WHERE gid = '$gid'");

			next if !$there || $there->{state} ne '00000';
			if (!@{ $there->{rows} })
			{
				$self->note('L', $tx) if $prepared && !$decided;
				$self->note('X', $tx, now(), $prepared && $decided && $end eq 'commit' ? 'commit' : 'rollback');
				return 'done';
			}
			$prepared = 1;
		}
		$self->note('C', $tx, now(), "$end-prepared") if !$decided++;
		$answer = $self->{db}->query(uc($end) . " PREPARED '$gid'");
		next if !$answer;
		if ($answer->{state} eq '00000')
		{
			$self->note('X', $tx, now(), $end);
			return 'done';
		}
		$answer = undef;
	}
}

# Before the others: the accounts of the few, and some of the many, and every kind
# of call once, whatever the seed: the check's own test needs each.
sub begin
{
	my ($self) = @_;

	$self->connection or die 'no server';
	for my $user ((map { "hot_$_" } 0 .. $self->{hot} - 1), map { "user_$_" } grep { $_ % 2 } 0 .. $self->{many} - 1)
	{
		$self->alone({ call => 'open', user => $user, args => { plan => pick(@all_plans), zone => 'UTC', anchor => $self->anchor } });
		$self->alone({ call => 'purchase', user => $user, args => { amount => $user =~ /hot/ ? 5000 : 500, ref => "first_$user" } });
	}
	my @known = (
		[ open => 'known', plan => 'big', zone => 'UTC' ],
		[ open => 'known_to', zone => 'UTC' ],
		[ open => 'known_buyer', zone => 'UTC' ],
		[ purchase => 'known_buyer', amount => 70, ref => 'known_first' ],
		[ purchase => 'known_buyer', amount => 30, ref => 'known_last' ],
		([ purchase => 'known', amount => 400, ref => 'known', key => 'purchase' ]) x 2,
		[ deduct => 'known', amount => 5, spender => 'member_0', key => 'deduct' ],
		[ deduct => 'known', amount => 3 ],
		[ refund => 'known', seq => 3, amount => 1 ],
		[ grant => 'known', amount => 20, ends => $self->end_of_grant, key => 'grant' ],
		[ hold => 'known', amount => 12 ],
		[ capture => 'known', hold => 7, amount => 4 ],
		[ hold => 'known', amount => 6 ],
		[ release => 'known', hold => 9 ],
		[ revoke => 'known', ref => 'known', amount => 10 ],
		[ freeze => 'known' ],
		[ unfreeze => 'known' ],
		[ balance => 'known' ],
		[ try_deduct => 'known', amount => 1_000_000 ],
		[ transfer => 'known', to => 'known_to', amount => 90 ],
		[ deduct => 'known_to', amount => 7 ],
		[ deduct => 'known_to', amount => 8 ],
		[ deduct => 'known_to', amount => 9 ],

		# Another plan takes what was spent already; a restart lets that lapse.
		[ open => 'known_cycle', plan => 'big', zone => 'UTC' ],
		[ deduct => 'known_cycle', amount => 290 ],
		[ set_plan => 'known_cycle', plan => 'rolling' ],
		[ refund => 'known_cycle', seq => 2, amount => 40 ],
		[ restart => 'known_cycle', plan => 'week' ],
		[ set_cycle => 'known_cycle', zone => 'Asia/Kolkata' ],

		# A paid grant is revoked, and comes back in part.
		[ grant => 'known_cycle', amount => 50, ends => $self->later, ref => 'known_pack' ],
		[ deduct => 'known_cycle', amount => 80 ],
		[ revoke => 'known_cycle', ref => 'known_pack', total => 30 ],
		[ reinstate => 'known_cycle', ref => 'known_pack', amount => 5 ],
		[ purchase => 'known_cycle', amount => 100, ref => 'known_money' ],
		[ hold => 'known_cycle', amount => 6 ],
		[ capture => 'known_cycle', hold => 12, amount => 500, over => 'owe' ],

		# Held over a restart, and captured late.
		[ open => 'known_late', plan => 'small', zone => 'UTC' ],
		[ hold => 'known_late', amount => 12, for => '20 ms' ],
		[ restart => 'known_late', plan => 'small' ],
		[ restart => 'known_late', plan => 'small' ],
		[ sleep => 0.05 ],
		[ capture => 'known_late', hold => 2, amount => 20 ],

		# What a closing forfeits covers the chargeback, and what it charges comes back.
		[ open => 'known_closed', plan => 'small', zone => 'UTC' ],
		[ purchase => 'known_closed', amount => 60, ref => 'known_lost' ],
		[ deduct => 'known_closed', amount => 50 ],
		[ close => 'known_closed' ],
		[ refund => 'known_closed', seq => 3, amount => 15 ],
		[ revoke => 'known_closed', ref => 'known_lost', amount => 55 ],
		[ unfreeze => 'known_closed' ],
		[ set_plan => 'known_closed', plan => 'big' ],
		[ refund => 'known_closed', seq => 3, amount => 20 ]);
	for my $known (@known)
	{
		my ($call, $user, %args) = @$known;

		if ($call eq 'sleep')
		{
			usleep($user * 1_000_000);
			next;
		}
		my $key = delete $args{key};

		$self->alone({ call => $call, user => $user, (defined $key ? (key => "known_$key") : ()), args => \%args });
	}
	return;
}

sub run
{
	my ($self) = @_;
	my $stats = $self->{stats};

	while (!$self->{stop}->() && ($stats->{sent} // 0) < $self->{ops})
	{
		$self->connection or last;
		$self->resend if @{ $self->{unknown} } && rand() < 0.3;
		if (rand() < $self->{bulk}) { $self->bulk; }
		elsif (rand() < 0.65) { $self->alone($self->request); }
		else { $self->together(map { $self->request } 1 .. 1 + int rand 4); }

		# Another session, with other settings.
		$self->{db} = undef if rand() < 0.005;
	}
	$self->resend;
	return $stats;
}

1;
