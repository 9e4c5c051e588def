# The part of a client that makes the calls for many accounts at a time, which commit
# batch by batch: sent again as they are when they ended early, they go on.
#
# It writes down, as TortureLoad does:
#
#   B id tx time call key args     a call is sent
#   E id time sqlstate answer      it was answered: the report, or the error's DETAIL;
#                                  nothing: the connection ended before
#   V time n version               the source of imports says so from now on
package TortureBulk;

use strict;
use warnings FATAL => 'all';

use Digest::MD5 qw(md5);
use Exporter 'import';
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our @EXPORT_OK = qw(imports source_of old_amount old_count);

# How often each is tried, among these.
my %weight = (grant_many => 8, apply_plan => 2, define_plan => 1, undo_run => 4, import => 4, archive => 4, source => 2);
my @bulk = map { ($_) x $weight{$_} } sort keys %weight;

# --- The other system, which accounts are imported from: users import_0, import_1, …

sub imports { return 24; }

# What it says of one at a version: (plan, monthly, purchased).
sub source_of
{
	my ($n, $v) = @_;

	return ((qw(small big), undef)[ ($n + $v) % 3 ], ($n * 7 + $v * 3) % 40, 1 + ($n * 13 + $v * 29) % 200);
}

# Its history: so many rows, and the amount of one.
sub old_count { my ($n, $v) = @_; return 1 + $n % 4 + $v; }

sub old_amount { my ($n, $id) = @_; return $id * 10 - $n; }

# The tables of it, and the two queries.
sub source_tables
{
	return (
		'CREATE TABLE source (n bigint PRIMARY KEY, v bigint NOT NULL)',
		'INSERT INTO source SELECT n, 0 FROM generate_series(0, ' . (imports() - 1) . ') n');
}

my $source = q(SELECT 'import_' || n AS user_id, CASE (n + v) % 3 WHEN 0 THEN 'small' WHEN 1 THEN 'big' END AS plan,
	(n * 7 + v * 3) % 40 AS monthly, 1 + (n * 13 + v * 29) % 200 AS purchased,
	CASE n % 4 WHEN 0 THEN timestamptz '2026-01-20 10:00+00' END AS last_reset FROM source WHERE n % 3 = ANY ('{THIRDS}'));
my $old = q(SELECT 'import_' || n AS user_id, timestamptz '2025-12-01 00:00+00' + id * interval '1 day' AS created_at, id,
	id * 10 - n AS amount, format('old %s %s', n, id) AS reason, jsonb_build_object('old', id) AS metadata
	FROM source, generate_series(1, 1 + n % 4 + v) id WHERE n % 3 = ANY ('{THIRDS}'));

# --- Requests: {call, key, args, sql}.

sub later
{
	my ($self) = @_;

	return TortureLoad::timestamp(($self->{mode} eq 'jumping' ? $self->{base} : 1_790_000_000) + 86400 * 400) . '+00';
}

# The same for several clients at about the same time.
sub shared_grant
{
	my ($self) = @_;
	my $n = int((clock_gettime(CLOCK_MONOTONIC) - $self->{epoch}) * 1.5);
	my @numbers = unpack 'n*', md5("$self->{seed} grants $n");
	my @users = map { "user_" . $_ % $self->{many} . ':' . (1 + $_ % 9) } @numbers;

	# Now and then another request under the same key.
	push @users, 'user_0:1' if rand() < 0.2;
	return { users => "@users", ends => $self->later }, "shared_grant_$n";
}

my %request = (
	grant_many => sub {
		my ($self, $id) = @_;

		return $self->shared_grant if rand() < 0.3;
		my @users = map { $self->user . ':' . (1 + int rand 30) } 1 .. 1 + int rand 20;
		return { users => "@users", ends => rand() < 0.5 ? $self->later : $self->end_of_grant }, rand() < 0.85 ? "many_$id" : undef;
	},
	apply_plan => sub { return { plan => TortureLoad::pick(qw(small big rolling day week year)) } },
	define_plan => sub { return { plan => TortureLoad::pick(qw(small big rolling day week year)), credits => 20 + int rand 300 } },
	undo_run => sub {
		my ($self) = @_;
		my $regrant = rand() < 0.3 ? 'true' : '';

		if (rand() < 0.8)
		{
			my $run = $self->{db}->query(q(SELECT run_id FROM credit_reset_run WHERE kind NOT IN ('undo', 'verify') ORDER BY random() LIMIT 1));

			return { run => $run->{rows}[0][0], regrant => $regrant } if $run && @{ $run->{rows} };
			return;
		}
		my $boundary = $self->{db}->query(
			q(SELECT plan, last_monthly_reset FROM credit_account WHERE plan IS NOT NULL ORDER BY random() LIMIT 1));
		return { plan => $boundary->{rows}[0][0], boundary => $boundary->{rows}[0][1], regrant => $regrant }
		  if $boundary && @{ $boundary->{rows} };
		return;
	},
	import => sub {
		return {
			thirds => TortureLoad::pick('0', '1', '2', '0,1,2'), (rand() < 0.7 ? (history => 'true') : ()),
			(rand() < 0.5 ? (refresh => 'true') : ()) };
	},
	archive => sub { return { before => TortureLoad::pick(0, 1, 86400) } },
	source => sub { return { n => int rand imports() } });

# A random one, or none.
sub bulk_request
{
	my ($self) = @_;
	my $call = TortureLoad::pick(@bulk);
	my ($args, $key) = $request{$call}->($self, "$self->{number}_" . ++$self->{requests});

	return if !$args;
	if ($call !~ /^(?:define_plan|source)$/)
	{
		$args->{batch} = TortureLoad::pick(1, 3, 10, 1000);
		$args->{max} = 1 + int rand 20 if rand() < 0.15;
	}
	return { call => $call, key => $key, args => $args };
}

sub bulk_statement
{
	my ($op) = @_;
	my %arg = map { ($_ => TortureWire::quote($op->{args}{$_} eq '' ? undef : $op->{args}{$_})) } keys %{ $op->{args} };
	my $call = $op->{call};
	my $limits = join '', map { ", $_->[0] => $op->{args}{ $_->[1] }" } grep { defined $op->{args}{ $_->[1] } }
	  [ batch_size => 'batch' ], [ max_accounts => 'max' ];
	my $reason = ', reason => ' . TortureWire::quote($op->{id});

	if ($call eq 'grant_many')
	{
		my @pairs = map { [ split /:/ ] } split / /, $op->{args}{users};

		return 'CALL credits_grant_many(ARRAY[' . join(',', map { TortureWire::quote($_->[0]) } @pairs) . ']::text[], ARRAY['
		  . join(',', map { $_->[1] } @pairs) . "]::bigint[], $arg{ends}$reason, idempotency_key => " . TortureWire::quote($op->{key}) . "$limits)";
	}
	return "CALL credits_apply_plan($arg{plan}$reason$limits)" if $call eq 'apply_plan';
	# What is left out is as it was; the plans of a month change their cycle.
	return "SELECT credits_define_plan($arg{plan}, $op->{args}{credits}, CASE $arg{plan} WHEN 'big' THEN (ARRAY['anniversary', 'calendar'])[1 + $op->{args}{credits} % 2] END)"
	  if $call eq 'define_plan';
	if ($call eq 'undo_run')
	{
		my $what = $op->{args}{run} ? "run_id => $arg{run}" : "plan => $arg{plan}, boundary => $arg{boundary}";

		return "CALL credits_undo_run($what, regrant => $arg{regrant}$reason$limits)";
	}
	if ($call eq 'import')
	{
		my $thirds = $op->{args}{thirds};
		my $history = $op->{args}{history} ? TortureWire::quote($old =~ s/THIRDS/$thirds/r) : 'NULL';
		my $refresh = $arg{refresh} // 'NULL';

		return 'CALL credits_import(' . TortureWire::quote($source =~ s/THIRDS/$thirds/r) . ", $history, $refresh$reason$limits)";
	}
	return q{CALL credits_archive(coalesce(nullif(current_setting('credits.clock'), '')::timestamptz, clock_timestamp())}
	  . " - interval '$op->{args}{before} s'$limits)" if $call eq 'archive';
	return "UPDATE source SET v = v + 1 WHERE n = $op->{args}{n} RETURNING v";
}

# Send one, and write down what comes of it.  undef: the connection ended.
sub bulk_call
{
	my ($self, $op, $tx) = @_;

	$op->{id} = "b$self->{number}_" . ++$self->{ids};
	$self->note('B', $op->{id}, $tx, TortureLoad::now(), $op->{call}, $op->{key} // '', join ';', map { "$_=$op->{args}{$_}" } sort keys %{ $op->{args} });
	$self->{stats}{bulk}++;
	my $answer = $self->{db}->query(bulk_statement($op));
	my $text = !$answer ? '' : $answer->{state} eq '00000' ? $answer->{rows}[0][0] : $answer->{detail};

	$self->note('E', $op->{id}, TortureLoad::now(), $answer ? $answer->{state} : '', ($text // '') =~ s/[\t\n]/ /gr);
	$self->{stats}{"SQLSTATE $answer->{state} in bulk"}++ if $answer;
	return $answer;
}

# A run has left something: after its cap, or because it was busy.
my $is_more = qr/"more": true|"busy": [1-9]/;

# Batch by batch, to its end if it can be had.
sub bulk_alone
{
	my ($self, $op) = @_;

	for my $try (1 .. 5)
	{
		$self->connection or return;
		my $answer = $self->bulk_call($op, '-');

		# Who does not know how it ended sends it again, but for what adds up.
		return if $op->{call} eq 'source' || ($op->{call} eq 'grant_many' && !defined $op->{key});
		return if rand() < 0.1;
		$self->{stats}{'bulk resumed'}++ if !$answer || $answer->{state} ne '00000' || $answer->{rows}[0][0] =~ $is_more;
		next if !$answer || TortureLoad::is_for_now($answer->{state});
		return if $answer->{state} ne '00000' || $answer->{rows}[0][0] !~ $is_more;
	}
	return;
}

# All of it in a transaction of the caller.
sub bulk_within
{
	my ($self, $op) = @_;
	my $tx = "t$self->{number}_" . ++$self->{txs};

	$self->start_block('BEGIN') or return;
	my $answer = $self->bulk_call($op, $tx) or return;
	if ($answer->{status} ne 'T' || rand() < 0.3)
	{
		$self->roll_back;
		return;
	}
	$self->note('C', $tx, TortureLoad::now(), 'commit');
	$answer = $self->{db}->query('COMMIT');
	$self->note('X', $tx, TortureLoad::now(), !$answer ? 'unknown' : $answer->{state} eq '00000' && $answer->{tag} eq 'COMMIT' ? 'commit' : 'rollback');

	# A cancel that comes before COMMIT has begun leaves the block open, and failed.
	$self->roll_back if $answer && $answer->{status} ne 'I';
	return;
}

sub bulk
{
	my ($self) = @_;
	my $op = $self->bulk_request or return;

	# Archiving wants an anchor.
	$self->{db}->query('SELECT credits_anchor()') if $op->{call} eq 'archive' && rand() < 0.5;
	return if !$self->{db}{alive};
	if (rand() < 0.85) { $self->bulk_alone($op); }
	else { $self->bulk_within($op); }
	return;
}

# Each of them once, in every seed, on accounts that nobody else calls upon: the
# check's own test needs what comes of it.
sub begin_bulk
{
	my ($self) = @_;
	my $one = sub {
		my ($call, $key, %args) = @_;
		my $op = { call => $call, key => $key, args => \%args };

		$self->connection && $self->bulk_call($op, '-');
		return $op->{id};
	};
	my $alone = sub {
		my ($call, $user, %args) = @_;

		$self->alone({ call => $call, user => $user, args => \%args });
	};

	$self->connection or die 'no server';
	$self->{db}->rows('SET statement_timeout = 0');
	$alone->(open => "bulk_$_", plan => 'bulk', zone => 'UTC') for 0 .. 5;
	$one->(grant_many => 'known_many', users => 'bulk_0:5 bulk_1:6 bulk_2:7 bulk_0:1 bulk_3:8', ends => $self->later, batch => 2, max => 2);
	$one->(grant_many => 'known_many', users => 'bulk_0:5 bulk_1:6 bulk_2:7 bulk_0:1 bulk_3:8', ends => $self->later, batch => 2) for 1, 2;
	my $run = $one->(grant_many => undef, users => 'bulk_0:20 bulk_1:30', ends => $self->later, batch => 1000);
	$alone->(deduct => 'bulk_1', amount => 320);
	my ($found) = $self->{db}->rows("SELECT run_id FROM credit_history WHERE reason = '$run' LIMIT 1");
	$one->(undo_run => undef, run => $found->[0], regrant => '', batch => 1) for 1, 2;
	$one->(define_plan => undef, plan => 'bulk', credits => 350);
	$one->(apply_plan => undef, plan => 'bulk', batch => 4);
	$alone->(purchase => 'import_21', amount => 5, ref => 'known_import');
	$one->(import => undef, thirds => '0', history => 'true', batch => 3);
	$one->(source => undef, n => 3);
	$one->(import => undef, thirds => '0', history => 'true', refresh => 'true', batch => 3) for 1, 2;
	$alone->(deduct => "bulk_$_", amount => 3, meta => 7) for 4, 5, 4, 5, 4, 5;
	$self->{db}->query('SELECT credits_anchor()');
	$one->(archive => undef, before => 0, batch => 2);
	$alone->(deduct => "bulk_$_", amount => 3, meta => 7) for 4, 5;
	$alone->(erase => 'bulk_5');
	$alone->(deduct => 'bulk_5', amount => 3, meta => 7);
	$self->{db}->rows('RESET statement_timeout');
	return;
}

1;
