# Checkpoints and archived rows: docs/audit-format.md.
package CreditsArchive;

use strict;
use warnings;
use CreditsFormat qw(@FACTS checkpoint_digest history_hash);
use CreditsLevels qw(level_columns);
use CreditsOpen qw(new_book next_end);
use CreditsPeriods qw(is_silent end_columns);
use CreditsRules qw(new_state check_row);
use Exporter qw(import);

our @EXPORT_OK = qw(checkpoint_state check_archived check_purchases);

my @SUMS = qw(monthly granted purchased held_monthly held_granted held_purchased
  owed_monthly owed_purchased);

# What a checkpoint has of each grant and payment, in order.
my @GRANT = qw(seq amount left ends_at closed paid expired elsewhere);
my @PAYMENT = qw(amount revoked reported granted);

sub numbers { return defined $_[0] ? unpack('q>*', $_[0]) : () }
sub packed  { return @_ ? pack('q>*', @_) : undef }

sub year { my ($at) = @_; use integer; return (gmtime($at / 1_000_000))[5] + 1900 }

# What is open after a checkpoint.
sub load_book
{
	my ($checkpoint) = @_;
	my $book = new_book();
	my @grants = numbers($checkpoint->{grants});
	while (@grants)
	{
		my %grant;
		@grant{@GRANT} = splice @grants, 0, @GRANT;
		$book->{grants}{ $grant{seq} } = \%grant;
		$book->{live}{ $grant{seq} } = \%grant if $grant{left};
	}
	my @holds = numbers($checkpoint->{holds});
	while (my ($seq, $amount, $monthly, $purchased, $period, $ends_at, $given_back, $pairs) = splice @holds, 0, 8)
	{
		my @parts = $monthly ? [ 0, $monthly ] : ();
		push @parts, [ splice @holds, 0, 2 ] for 1 .. $pairs;
		push @parts, [ -1, $purchased ] if $purchased;
		my $hold = $book->{holds}{$seq} = { seq => $seq, amount => $amount, period => $period, parts => \@parts,
			$ends_at ? (ends_at => $ends_at, state => 'open') : (given_back => $given_back, state => 'expired') };
		$book->{held}{$seq} = $hold if $ends_at;
	}
	my ($nth, @purchases) = (0, numbers($checkpoint->{purchases}));
	while (@purchases)
	{
		my %payment = (ref => $checkpoint->{payment_refs}[ $nth++ ]);
		(my $seq, @payment{@PAYMENT}) = splice @purchases, 0, 1 + @PAYMENT;
		$book->{payments}{$seq} = \%payment;
	}
	$book->{$_} = $checkpoint->{$_} // 0 for qw(closed_seq forfeited charged_monthly charged_purchased last_charged last_closed_seq);
	my @made = @$checkpoint{qw(end_anchor end_zone end_cycle)};
	@made = @$checkpoint{qw(cycle_anchor time_zone cycle)} unless defined $made[1];
	$book->{made} = { odd => $made[1] eq '' };
	@{ $book->{made} }{qw(cycle_anchor time_zone cycle)} = @made;
	return $book;
}

# The state after a checkpoint's last row.
sub checkpoint_state
{
	my ($checkpoint, $last) = @_;
	return {
		kind => $last ? $last->{kind} : undef, %{ new_state($checkpoint->{history_hash}) },
		seq => $checkpoint->{history_seq}, level => $checkpoint->{level} // 'ok',
		facts => { (map { ($_ => $checkpoint->{$_}) } @FACTS), period_start => $checkpoint->{last_monthly_reset} },
		book => load_book($checkpoint), map { ($_ => $checkpoint->{$_}) } @SUMS, qw(period effective_at next_reset_at),
	};
}

# The checkpoint that archived rows come to.
sub made
{
	my ($state, $rows, $plans) = @_;
	my $book = $state->{book};
	my ($next) = sort { $a <=> $b } grep { defined } next_end($book), is_silent($state) ? () : $state->{next_reset_at};
	my (%years, @holds, @purchases, @refs, %opened);
	for my $row (@$rows)
	{
		$years{ year($row->{created_at}) }++;
		next unless defined $row->{idempotency_key} && $row->{idempotency_key} eq '' && defined $row->{status};
		%opened = (opened_seq => $row->{seq}, opened_digest => $row->{request_digest}, opened_plan => $row->{plan},
			opened_anchor => $row->{cycle_anchor}, opened_zone => $row->{time_zone});
	}
	my @grants = map { @$_{@GRANT} }
	  sort { $a->{ends_at} <=> $b->{ends_at} || $a->{seq} <=> $b->{seq} }
	  grep { $_->{paid} || $_->{ends_at} >= $state->{effective_at} } values %{ $book->{grants} };
	for my $hold (sort { ($a->{state} cmp $b->{state}) || $a->{seq} <=> $b->{seq} }
		grep { $_->{state} =~ /\A(?:open|expired)\z/ } values %{ $book->{holds} })
	{
		my %part = (0 => 0, -1 => 0);
		$part{ $_->[0] } += $_->[1] for grep { $_->[0] <= 0 } @{ $hold->{parts} };
		my @granted = grep { $_->[0] > 0 } @{ $hold->{parts} };
		push @holds, @$hold{qw(seq amount)}, @part{ 0, -1 }, $hold->{period},
		  $hold->{state} eq 'open' ? $hold->{ends_at} : 0, $hold->{given_back} // 0, scalar @granted, map { @$_ } @granted;
	}
	for my $seq (sort { $a <=> $b } keys %{ $book->{payments} })
	{
		my $payment = $book->{payments}{$seq};
		push @purchases, $seq, @$payment{@PAYMENT};
		push @refs, $payment->{ref};
	}
	return {
		user_id => $rows->[0]{user_id}, history_seq => $state->{seq}, history_hash => $state->{hash},
		last_monthly_reset => $state->{facts}{period_start}, next_event_at => $next, %opened,
		end_columns($book, $state->{facts}, $state->{next_reset_at}),
		(map { ($_ => $book->{$_} || undef) } qw(closed_seq forfeited charged_monthly charged_purchased last_charged last_closed_seq)),
		(map { ($_ => $state->{$_}) } @SUMS, qw(period effective_at next_reset_at)),
		(map { ($_ => $state->{facts}{$_}) } @FACTS), level_columns($state, $plans),
		grants => packed(@grants), holds => packed(@holds), purchases => packed(@purchases), payment_refs => \@refs,
		archived => packed(map { ($_, $years{$_}) } sort { $a <=> $b } keys %years),
	};
}

# Archived rows against their checkpoint; dropped: the years that are gone on purpose.
# Returns whether all are there, and (seq, what is wrong) or nothing.
sub check_archived
{
	my ($checkpoint, $rows, $state, $payments, $plans, $audited, $dropped) = @_;
	my ($complete, %left) = (1, numbers($checkpoint->{archived}));
	$left{ year($_->{created_at}) }-- for @$rows;
	my %missing = map { ($_ => 1) } grep { $left{$_} } keys %left;
	my %found = map { (year($_->{created_at}) => 1) } @$rows;
	for my $year (sort keys %missing)
	{
		return (0, 1, "$left{$year} archived rows of $year are missing") if $found{$year} || !$dropped->{$year};
		$complete = 0;
	}
	for my $row (@$rows)
	{
		my ($seq, @problems) = ($row->{seq});
		return ($complete, $seq, "archived row $seq is there twice") if $seq <= $state->{seq};
		if ($complete)
		{
			return (1, $state->{seq} + 1, "the archived row is missing, the next is $seq") if $seq != $state->{seq} + 1;
			$state->{keys} = {};    # one that was archived can be used again
			($state, @problems) = check_row($state, $row, $payments->{$seq}, $plans, $audited);
		}
		else
		{
			push @problems, 'the hash is not that of the row and the hash before it'
			  if $seq == $state->{seq} + 1 && $row->{hash} ne history_hash($state->{hash}, $row);
			$state = $row;
		}
		push @problems, 'it is not the last row that credit_checkpoint has'
		  if $seq > $checkpoint->{history_seq} || $seq == $checkpoint->{history_seq} && $row->{hash} ne $checkpoint->{history_hash};
		return ($complete, $seq, @problems) if @problems;
	}
	return ($complete, $state->{seq}, 'credit_checkpoint is not what the archived rows give')
	  if $complete && (!@$rows || checkpoint_digest(made($state, $rows, $plans)) ne checkpoint_digest($checkpoint));
	return $complete;
}

# The payments of archived purchases.
sub check_purchases
{
	my ($book, $payments) = @_;
	for my $seq (sort { $a <=> $b } keys %{ $book->{payments} })
	{
		my ($purchase, $payment) = ($book->{payments}{$seq}, $payments->{$seq});
		return ($seq, 'no credit_payment row') unless $payment;
		return ($seq, 'credit_payment is not what credit_checkpoint says')
		  if $payment->{amount} != $purchase->{amount} || $payment->{payment_ref} ne $purchase->{ref};
	}
	for my $seq (sort { $a <=> $b } keys %$payments)
	{
		return ($seq, "credit_payment '$payments->{$seq}{payment_ref}' has no purchase row here") unless $book->{payments}{$seq};
	}
	return;
}

1;
