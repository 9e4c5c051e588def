# Spending for the reference model: deductions, holds and what settles them, refunds.
package CreditsModelSpend;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelReturn;
use List::Util qw(min);

sub remember_spending
{
	my ($acct, $op, $amount, @parts) = @_;

	$acct->{spent}{ $op->{tag} } = {
		amount => $amount,
		period => $acct->{period},
		closings => $acct->{closings},
		parts => \@parts,
		refunded => 0 };
	return;
}

sub deduct
{
	my ($self, $acct, $op) = @_;

	not_frozen($acct);
	my @lots = spend($acct, $op->{amount});
	my @parts = parts($acct, @lots);
	remember_spending($acct, $op, $op->{amount}, @parts);
	return (amount => $op->{amount}, alloc => grant_parts(@parts), spent => \@lots);
}

#
# Holds
#

sub hold
{
	my ($self, $acct, $op, $at) = @_;
	my $amount = $op->{amount};

	not_frozen($acct);
	insufficient($acct, $amount) if total(free($acct)) < $amount;
	my @taken = take($acct, $amount, spend_order(free($acct)));
	push @{ $acct->{lots} }, map { { %$_, hold => $op->{tag} } } @taken;
	my $ends = $at + $op->{lasts};
	$acct->{holds}{ $op->{tag} } = { tag => $op->{tag}, ends => $ends, state => 'open', period => $acct->{period} };
	return (amount => $amount, ends_at => $ends, alloc => grant_parts(parts($acct, @taken)));
}

# Of an archived row nobody knows any more that it was no hold.
sub refuse_hold
{
	my ($acct, $op) = @_;
	refuse($acct->{gone}{ $op->{hold} } ? 'UC006' : 'UC005');
	return;
}

sub capture
{
	my ($self, $acct, $op) = @_;
	my $hold = $acct->{holds}{ $op->{hold} } // refuse_hold($acct, $op);

	return late_capture($acct, $op, $hold) if $hold->{state} eq 'expired';
	refuse('UC006') if $hold->{state} ne 'open';
	my $remaining = total(held_by($acct, $hold->{tag}));
	my $amount = $op->{amount} // $remaining;
	my $within = min($amount, $remaining);
	my $excess = $amount - $within;
	my $stays = $op->{keep_open} && $remaining > $within;

	if ($excess)
	{
		not_frozen($acct);
		check_funds($acct, $excess) unless $op->{over};
	}
	my @lots = take($acct, $within, spend_order(held_by($acct, $hold->{tag})));
	push @lots, spend($acct, $excess, $op->{over}) if $excess;
	my @parts = parts($acct, @lots);
	my $lost = 0;

	if (!$stays)
	{
		$hold->{state} = 'closed';
		$lost = give_all_back($acct, take($acct, $remaining, held_by($acct, $hold->{tag})));
	}
	remember_spending($acct, $op, $amount, @parts);
	return (
		amount => $amount,
		alloc => \@parts,
		spent => \@lots,
		expired => $lost,
		ref => $hold->{tag},
		ends_at => $stays ? $hold->{ends} : undef);
}

# Once, an expired hold can still be settled: first with what expired with it, then from
# what there is.
sub late_capture
{
	my ($acct, $op, $hold) = @_;
	my $amount = $op->{amount} // total(@{ $hold->{lost} }) + $hold->{given_back};
	my $rest = $amount;
	my @expired;

	for my $lot (@{ $hold->{lost} })
	{
		my $n = use_expired($acct, $lot, $rest);

		push @expired, { %$lot, credits => $n };
		$rest -= $n;
	}
	not_frozen($acct) if $rest;
	my @lots = spend($acct, $rest, $op->{over});
	my @parts = ($amount > $rest ? [ EXPIRED, $amount - $rest ] : (), parts($acct, @lots));
	$hold->{state} = 'closed';
	remember_spending($acct, $op, $amount, @parts);
	return (
		amount => $amount,
		alloc => \@parts,
		spent => [ @expired, @lots ],
		from_expired => $amount - $rest,
		ref => $hold->{tag});
}

# What ended of a paid grant may have covered a chargeback since.
sub use_expired
{
	my ($acct, $lot, $most) = @_;
	my $n = min($most, $lot->{credits});
	my $grant = $lot->{bucket} eq 'granted' ? $acct->{grants}{ $lot->{grant} } : undef;

	if ($grant && $grant->{paid})
	{
		$n = min($n, $grant->{expired});
		$grant->{expired} -= $n;
	}

	# An undo of the boundary has no longer to give it back.
	$acct->{last_left} -= $n if $lot->{bucket} eq 'monthly' && $lot->{period} == $acct->{period} - 1;
	return $n;
}

sub release
{
	my ($self, $acct, $op) = @_;
	my $hold = $acct->{holds}{ $op->{hold} } // refuse_hold($acct, $op);

	refuse('UC006') if $hold->{state} ne 'open';
	my $amount = total(held_by($acct, $hold->{tag}));
	$hold->{state} = 'closed';
	my $lost = give_all_back($acct, take($acct, $amount, held_by($acct, $hold->{tag})));
	return (amount => $amount, expired => $lost, ref => $hold->{tag});
}

#
# Refunds
#

# Last spent first.  What was refunded before is passed over; what cannot come
# back counts as refunded too.
sub refund
{
	my ($self, $acct, $op) = @_;
	my $spent = $acct->{spent}{ $op->{of} } // refuse('22023');
	my $open = $spent->{amount} - $spent->{refunded};
	my $amount = $op->{amount} // $open;
	my ($pass, $want, $forfeited, @given, @back) = ($spent->{refunded}, $amount, 0);

	refuse('UC010') if $amount > $open || $open == 0;
	for my $part (reverse @{ $spent->{parts} })
	{
		my ($from, $n) = @$part;
		my $passed = min($pass, $n);
		my $now = min($want, $n - $passed);

		$pass -= $passed;
		$want -= $now;
		next if $now == 0;
		my $lot = lot_of($acct, $from, $now, $spent->{period});
		my $grant = $from > 0 ? $acct->{grants}{$from} : undef;
		my $elsewhere = $grant ? $grant->{elsewhere} : 0;

		$forfeited += $lot ? give_back($acct, $lot, $acct->{closings} - $spent->{closings}) : $now;
		push @back, $lot if $lot;
		next if !$grant || $grant->{ended};
		my $to_grant = $now - ($elsewhere - $grant->{elsewhere});
		push @given, [ $from, $to_grant ] if $to_grant;
	}
	check_cap($acct);
	$spent->{refunded} += $amount;
	return (amount => $amount, forfeited => $forfeited, ref => $op->{of}, alloc => \@given, back => \@back);
}

1;
