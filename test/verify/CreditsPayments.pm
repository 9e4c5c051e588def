# What was bought: payments, chargebacks, and what came back to where: docs/audit-format.md.
#
# Checks as in CreditsOpen: they get $c, as in CreditsPeriods.
package CreditsPayments;

use strict;
use warnings;
use CreditsPeriods qw(credit least same from_before);
use Exporter qw(import);

our @EXPORT_OK = qw(%PAYMENT_KIND open_payment purchased_back to_grant is_open check_payments);

use constant { PURCHASED => -1, OWED => -5, FORFEITED => -6, EXPIRED => -7, RECENT => -8, TOTAL => -9 };

our %PAYMENT_KIND;

# A payment of a purchase or a grant.
sub open_payment
{
	my ($c, $granted) = @_;
	my $row = $c->{row};
	$c->{book}{payments}{ $row->{seq} } = { amount => $row->{amount}, ref => $row->{payment_ref}, revoked => 0,
		reported => 0, granted => $granted, at => $row->{effective_at} };
	return;
}

sub is_open
{
	my ($grant, $at, $at_its_end) = @_;
	return !$grant->{closed} && ($grant->{ends_at} > $at || $grant->{ends_at} == $at && $at_its_end);
}

# Purchased credits come back, spent or paid for by row $seq.  Returns how many are lost.
sub purchased_back
{
	my ($c, $credits, $seq) = @_;
	my ($now, $book) = @$c{qw(now book)};
	my $back = $seq < $book->{closed_seq} ? from_before($book, 'charged_purchased', $credits) : $credits;
	credit($now, 'purchased', $back);
	$book->{forfeited} += $credits - $back;
	return $credits - $back;
}

# Credits come back to a grant: (how many reached it, how many are lost).
sub to_grant
{
	my ($c, $number, $credits, $seq, $at_its_end) = @_;
	my $grant = $c->{book}{grants}{$number} or return (0, $credits);
	my $elsewhere = least($credits, $grant->{elsewhere});
	my $lost = $elsewhere ? purchased_back($c, $elsewhere, $seq) : 0;
	$grant->{elsewhere} -= $elsewhere;
	$credits -= $elsewhere;
	if (!is_open($grant, $c->{row}{effective_at}, $at_its_end))
	{
		$grant->{expired} += $credits if $grant->{paid};
		return (0, $lost + $credits);
	}
	$grant->{left} += $credits;
	$c->{now}{granted} += $credits;
	$c->{book}{live}{$number} = $grant if $grant->{left};
	return ($credits, $lost);
}

$PAYMENT_KIND{purchase} = sub {
	my ($c) = @_;
	my ($row, $now) = @$c{qw(row now)};
	credit($now, 'purchased', $row->{amount});
	open_payment($c, 0);
	return defined $row->{payment_ref} ? () : 'no payment_ref';
};

# The payment that a row is of.
sub payment_of
{
	my ($c) = @_;
	my $row = $c->{row};
	my $payment = $c->{book}{payments}{ $row->{ref_seq} // 0 } or return (undef, 'ref_seq is no payment');
	return ($payment, same($payment->{ref}, $row->{payment_ref}) ? () : 'payment_ref is not that of the payment');
}

$PAYMENT_KIND{revoke} = sub {
	my ($c) = @_;
	my ($row, $now, $book, $expect) = @$c{qw(row now book expect)};
	my ($payment, @problems) = payment_of($c);
	return @problems unless $payment;
	my $amount = $row->{amount};
	my ($source, $total) = @{ $c->{allocations} } ? @{ $c->{allocations} }[ -2, -1 ] : (0);
	if ($source == TOTAL)
	{
		push @problems, "the total $total is not above $payment->{reported}, or above $payment->{amount}"
		  if $total <= $payment->{reported} || $total > $payment->{amount};
		$amount = least($total - $payment->{reported}, $payment->{amount} - $payment->{revoked});
		$payment->{reported} = $total;
		$expect->{amount} = $amount;
	}
	elsif ($amount < 1) { push @problems, "amount is $amount" }
	return (@problems, 'more was revoked than was paid') if $payment->{revoked} + $amount > $payment->{amount};
	$payment->{revoked} += $amount;

	my (@parts, %taken);
	my $want = $amount;
	my $take = sub {
		my ($from, $credits) = @_;
		my $taken = least($want, $credits);
		$want -= $taken;
		push @parts, [ $from, $taken ] if $taken;
		return $taken;
	};
	my $grant = $payment->{granted} ? $book->{grants}{ $row->{ref_seq} } : undef;
	if ($grant)
	{
		my $taken = $take->($row->{ref_seq}, $grant->{left});
		$now->{granted} -= $taken;
		delete $book->{live}{ $row->{ref_seq} } unless $grant->{left} -= $taken;
		$grant->{expired} -= $take->(EXPIRED, $grant->{expired});
	}
	$grant->{elsewhere} += $want if $grant;
	if ($row->{ref_seq} < $book->{closed_seq})
	{
		$book->{forfeited} -= $take->(FORFEITED, $book->{forfeited});
		$book->{charged_purchased} += $want;
	}
	$now->{purchased} -= $take->(PURCHASED, $now->{purchased});
	$now->{owed_purchased} += $take->(OWED, $want);
	$expect->{allocations} = [ @parts, $source == TOTAL ? [ TOTAL, $total ] : () ];
	return @problems;
};

$PAYMENT_KIND{reinstate} = sub {
	my ($c) = @_;
	my ($row, $now, $book, $expect) = @$c{qw(row now book expect)};
	my ($payment, @problems) = payment_of($c);
	return @problems unless $payment;
	return (@problems, "$row->{amount} of $payment->{revoked} reinstated") if $row->{amount} > $payment->{revoked};
	my $grant = $payment->{granted} ? $book->{grants}{ $row->{ref_seq} } : undef;
	my $seq = $row->{ref_seq};
	my $first = $grant ? least($row->{amount}, $grant->{elsewhere}) : $row->{amount};
	my $rest = $row->{amount} - $first;
	$payment->{revoked} -= $row->{amount};
	# To a grant what was taken elsewhere goes first, as whatever comes back to it.
	$expect->{forfeited} = $grant ? (to_grant($c, $seq, $row->{amount}, $seq, 0))[1] : purchased_back($c, $first, $seq);
	$expect->{allocations} = [ grep { $_->[1] } [ PURCHASED, $first ], [ $seq, $rest ] ];
	return @problems;
};

$PAYMENT_KIND{transfer_out} = sub {
	my ($c) = @_;
	my ($before, $row, $now, $expect) = @$c{qw(before row now expect)};
	$now->{purchased} -= $row->{amount};
	my ($source, $recent, @more) = @{ $c->{allocations} };
	$expect->{allocations} = [ [ RECENT, $recent ] ] if defined $source;
	return (
		($before->{facts}{status} eq 'frozen' ? 'the account was frozen' : ()),
		($row->{amount} > $before->{purchased} ? 'more was moved than there was' : ()),
		(defined $recent && $recent > $row->{amount} ? "$recent of $row->{amount} credits were bought recently" : ()),
		(defined $row->{spender} ? () : 'no spender'));
};

$PAYMENT_KIND{transfer_in} = sub {
	my ($c) = @_;
	my ($before, $row) = @$c{qw(before row)};
	credit($c->{now}, 'purchased', $row->{amount});
	return (
		($before->{facts}{status} eq 'closed' ? 'the account was closed' : ()),
		(defined $row->{spender} ? () : 'no spender'));
};

# The rows of credit_payment, by seq, at the end: what is wrong, as [seq, problem].
sub check_payments
{
	my ($book, $rows) = @_;
	my @problems;
	for my $seq (sort { $a <=> $b } keys %$rows)
	{
		my ($payment, $row) = ($book->{payments}{$seq} // next, $rows->{$seq});
		my %expected = (revoked => $payment->{revoked}, granted => $payment->{granted} ? 't' : 'f', paid_at => $payment->{at},
			reported => $payment->{reported} || undef);
		delete $expected{paid_at} unless defined $payment->{at};    # of a checkpoint
		push @problems, map { [ $seq, "credit_payment has $_ " . ($row->{$_} // 'NULL') . ', the history ' . ($expected{$_} // 'NULL') ] }
		  grep { !same($row->{$_}, $expected{$_}) } sort keys %expected;
	}
	return @problems;
}

1;
