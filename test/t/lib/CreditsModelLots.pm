# Lots: what the reference model keeps an account's credits in, and the rows that
# say what was done to them.
#
# A lot is some credits of one bucket, of one period (monthly) or one grant
# (granted), free or held by one hold.
package CreditsModelLots;

use strict;
use warnings FATAL => 'all';

use CreditsModelLevels;
use Exporter 'import';
use List::Util qw(sum0 min max);

our @EXPORT = qw(MAX refuse total free held held_by take credit check_cap write_row receipt buckets
  spend_order check_funds spend parts grant_parts lot_of insufficient not_frozen not_closed
  PURCHASED EXPIRED);

use constant MAX => 9007199254740991;

# Where spent credits came from, as the allocations of a capture say it.
use constant {
	THIS_PERIOD => 0,
	PURCHASED => -1,
	LAST_PERIOD => -2,
	OLDER_PERIOD => -3,
	EXPIRED => -4 };

my %bucket_rank = (monthly => 0, granted => 1, purchased => 2);

sub buckets { return sort { $bucket_rank{$a} <=> $bucket_rank{$b} } keys %bucket_rank; }

sub refuse
{
	my ($state, %detail) = @_;

	die { state => $state, detail => \%detail };
}

sub total { return sum0(map { $_->{credits} } @_); }

# Free credits, of one bucket or all.
sub free
{
	my ($acct, $bucket) = @_;

	return grep { !defined $_->{hold} && (!defined $bucket || $_->{bucket} eq $bucket) }
	  @{ $acct->{lots} };
}

sub held
{
	my ($acct, $bucket) = @_;

	return grep { defined $_->{hold} && (!defined $bucket || $_->{bucket} eq $bucket) }
	  @{ $acct->{lots} };
}

sub held_by
{
	my ($acct, $hold) = @_;

	return grep { $_->{hold} == $hold } held($acct);
}

# Monthly first; then the grant that ends soonest, of those the oldest; then
# purchased.
sub spend_order
{
	return sort {
		$bucket_rank{ $a->{bucket} } <=> $bucket_rank{ $b->{bucket} }
		  || ($a->{ends} // 0) <=> ($b->{ends} // 0)
		  || ($a->{grant} // 0) <=> ($b->{grant} // 0)
	} @_;
}

# Take $n credits out of these lots of the account, in this order; give what
# was taken, as lots.
sub take
{
	my ($acct, $n, @lots) = @_;
	my @taken;

	for my $lot (@lots)
	{
		my $part = min($n, $lot->{credits});

		next if $part == 0;
		push @taken, { %$lot, credits => $part };
		$lot->{credits} -= $part;
		$n -= $part;
	}
	$acct->{lots} = [ grep { $_->{credits} > 0 } @{ $acct->{lots} } ];
	return @taken;
}

# New or returning credits of a bucket: they pay what is owed in it first.
sub credit
{
	my ($acct, $bucket, $n, %lot) = @_;
	my $paid = min($n, $acct->{owed}{$bucket} // 0);

	$acct->{owed}{$bucket} -= $paid if $paid;
	push @{ $acct->{lots} }, { bucket => $bucket, credits => $n - $paid, %lot } if $n > $paid;
	return;
}

# A correction, a purchase: a caller may not pass the cap.
sub check_cap
{
	my ($acct) = @_;

	refuse('22003') if total(@{ $acct->{lots} }) > MAX;
	return;
}

#
# Rows
#

my @facts = qw(plan version scheduled anchor zone status overdraft period_granted period_start share cycle
  last_left last_limit last_undone threshold);

# Write a row about what $change does to the account.  $change gives the row's
# own fields.
sub write_row
{
	my ($acct, $kind, $at, $change) = @_;
	my %before = map { $_ => total(free($acct, $_)) } keys %bucket_rank;
	my %own = $change->();

	$acct->{at} = $at;
	my %row = (
		kind => $kind,
		user => $acct->{user},
		effective_at => $at,
		amount => 0,
		alloc => [],
		%own,
		period => $acct->{period},
		lives => $acct->{lives},
		carried_in => $acct->{carried_in},
		next_reset_at => $acct->{period_end},
		owed_monthly => $acct->{owed}{monthly},
		owed_purchased => $acct->{owed}{purchased},
		(map { +"charged_$_" => $acct->{charged}{$_} } qw(monthly purchased)),
		map { $_ => $acct->{$_} } @facts);
	for my $bucket (keys %bucket_rank)
	{
		$row{$bucket} = total(free($acct, $bucket));
		$row{"${bucket}_delta"} = $row{$bucket} - $before{$bucket};
		$row{"held_$bucket"} = total(held($acct, $bucket));
	}
	$row{crossed} = crosses($acct, \%row);
	$acct->{flags} = flags($acct);
	push @{ $acct->{new_rows} }, \%row;
	return \%row;
}

sub receipt
{
	my ($row) = @_;
	my %receipt = map { $_ => $row->{$_} }
	  qw(kind amount monthly_delta granted_delta purchased_delta monthly granted purchased
	  next_reset_at created_at effective_at ends_at payment_ref spender tag ref crossed);

	$receipt{user_id} = $row->{user};
	$receipt{available} = $row->{monthly} + $row->{granted} + $row->{purchased};
	$receipt{held} = $row->{held_monthly} + $row->{held_granted} + $row->{held_purchased};
	$receipt{owed} = $row->{owed_purchased};
	$receipt{$_} = $row->{$_} || undef for qw(expired forfeited owed_monthly);
	$receipt{recently_purchased} = $row->{recently_purchased};
	$receipt{replayed} = 'false';
	$receipt{ok} = 'true';
	return \%receipt;
}

#
# Spending
#

sub insufficient
{
	my ($acct, $required) = @_;
	my %detail = map { $_ => total(free($acct, $_)) } keys %bucket_rank;

	refuse(
		'UC001',
		%detail,
		required => $required,
		available => total(free($acct)),
		held => total(held($acct)),
		owed => $acct->{owed}{purchased},
		overdraft_limit => $acct->{overdraft});
}

sub not_frozen
{
	my ($acct) = @_;

	refuse('UC004') if $acct->{status} ne 'active';
	return;
}

sub not_closed
{
	my ($acct) = @_;

	refuse('UC004') if $acct->{status} eq 'closed';
	return;
}

sub check_funds
{
	my ($acct, $n) = @_;
	my $room = max(0, $acct->{overdraft} - $acct->{owed}{purchased});

	insufficient($acct, $n) if total(free($acct)) + $room < $n;
	return;
}

# An ordinary deduction: what lacks may be owed, within the overdraft, or without a
# limit if the caller says so.  Gives the parts spent, in order.
sub spend
{
	my ($acct, $n, $without_limit) = @_;

	check_funds($acct, $n) unless $without_limit;
	my @taken = take($acct, $n, spend_order(free($acct)));
	my $shortfall = $n - total(@taken);

	$acct->{owed}{purchased} += $shortfall;
	refuse('22003') if $acct->{owed}{purchased} > MAX;
	push @taken, { bucket => 'purchased', credits => $shortfall } if $shortfall;
	return @taken;
}

# Where a lot is from, as a row of the running period says it.
sub source_of
{
	my ($acct, $lot) = @_;

	return $lot->{grant} if $lot->{bucket} eq 'granted';
	return PURCHASED if $lot->{bucket} eq 'purchased';
	my $age = $acct->{period} - $lot->{period};
	return $age == 0 ? THIS_PERIOD : $age == 1 ? LAST_PERIOD : OLDER_PERIOD;
}

# Lots as parts [where from, credits], equal neighbours together.
sub parts
{
	my ($acct, @lots) = @_;
	my @parts;

	for my $lot (@lots)
	{
		my $from = source_of($acct, $lot);

		if (@parts && $parts[-1][0] == $from)
		{
			$parts[-1][1] += $lot->{credits};
		}
		else
		{
			push @parts, [ $from, $lot->{credits} ];
		}
	}
	return @parts;
}

sub grant_parts { return [ grep { $_->[0] > 0 } @_ ]; }

# A part of something spent in a period, as the lot that it was.  None: it had expired.
sub lot_of
{
	my ($acct, $from, $n, $period) = @_;

	return undef if $from == EXPIRED;
	return { bucket => 'purchased', credits => $n } if $from == PURCHASED;
	return { bucket => 'monthly', credits => $n, period => $period + ($from == THIS_PERIOD ? 0 : $from + 1) } if $from <= 0;
	return {
		bucket => 'granted',
		credits => $n,
		grant => $from,
		ends => $acct->{grants}{$from}{ends} };
}

1;
