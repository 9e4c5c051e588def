# Payments, grants, corrections and transfers, for the reference model.
package CreditsModelPay;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use CreditsModelReturn;
use CreditsModelTime;
use List::Util qw(max min sum0);

# A payment is credited once for ever, as a purchase or as a paid grant.
sub pay
{
	my ($self, $op) = @_;
	my $known = CreditsModel::known_key($self->{accounts}{ $op->{user} }, $op);

	return $known if $known;
	if (my $payment = $self->{payments}{ $op->{ref} })
	{
		my $is_same = $payment->{call} eq $op->{call} && $payment->{user} eq $op->{user} && $payment->{amount} == $op->{amount}
		  && ($payment->{ends} // 0) == ($op->{ends} // 0);

		refuse('UC003') if !$is_same;
		return CreditsModel::replay($payment->{receipt});
	}
	my $answer = $self->on_account($op->{user}, $op);
	$self->{payments}{ $op->{ref} } = {
		(map { $_ => $op->{$_} } qw(call user amount tag ends)),
		at => $answer->{receipt}{effective_at},
		closings => $self->{accounts}{ $op->{user} }{closings},
		revoked => 0,
		receipt => $answer->{receipt} };
	return $answer;
}

sub purchase
{
	my ($self, $acct, $op) = @_;

	credit($acct, 'purchased', $op->{amount});
	check_cap($acct);
	return (amount => $op->{amount}, payment_ref => $op->{ref});
}

# A grant that was paid for is given to a closed account, too.
sub grant
{
	my ($self, $acct, $op, $at) = @_;
	my $is_paid = defined $op->{ref};

	not_closed($acct) unless $is_paid;
	refuse('22023') if $op->{ends} <= $at;
	$acct->{grants}{ $op->{tag} } =
	  { tag => $op->{tag}, amount => $op->{amount}, ends => $op->{ends}, paid => $is_paid, expired => 0, elsewhere => 0 };
	credit($acct, 'granted', $op->{amount}, grant => $op->{tag}, ends => $op->{ends});
	check_cap($acct);
	return (amount => $op->{amount}, ends_at => $op->{ends}, payment_ref => $op->{ref});
}

#
# Chargebacks
#

# What a chargeback takes: an amount, or what is above the highest total that was told
# before; or all.
sub to_revoke
{
	my ($payment, $op) = @_;
	my $open = $payment->{amount} - $payment->{revoked};

	return min($open, $op->{total} - ($payment->{reported} // 0)) if defined $op->{total};
	return $op->{amount} // $open;
}

sub revoke_purchase
{
	my ($self, $op) = @_;

	refuse('22023') if defined $op->{total} && defined $op->{amount};
	my $payment = $self->{payments}{ $op->{ref} } // refuse('UC011');
	my $known = CreditsModel::known_key($self->{accounts}{ $payment->{user} }, $op);

	return $known if $known;
	my $open = $payment->{amount} - $payment->{revoked};
	if (defined $op->{total})
	{
		refuse('UC010') if $op->{total} > $payment->{amount};
		return CreditsModel::replay($payment->{last_revoke}) if $op->{total} <= ($payment->{reported} // 0);
	}
	return CreditsModel::replay($payment->{last_revoke}) if !defined $op->{amount} && !defined $op->{total} && $open == 0;
	refuse('UC010') if defined $op->{amount} && $op->{amount} > $open;

	my $answer = $self->on_account($payment->{user}, $op);
	$payment->{revoked} += $answer->{receipt}{amount};
	$payment->{reported} = $op->{total} if defined $op->{total};
	$payment->{last_revoke} = $answer->{receipt};
	return $answer;
}

# In this order: what is left of the grant, what of it ended unused, what closings
# forfeited, the purchased credits; the rest is owed.  All that the grant does not have counts
# as taken elsewhere.
sub revoke
{
	my ($self, $acct, $op) = @_;
	my $payment = $self->{payments}{ $op->{ref} };
	my $grant = $acct->{grants}{ $payment->{tag} };
	my $amount = to_revoke($payment, $op);
	my ($rest, @took) = ($amount);
	my $took = sub {
		my ($where, $n) = @_;

		$rest -= $n;
		push @took, [ $where, $n ] if $n;
		return $n;
	};

	if ($grant)
	{
		$took->($payment->{tag}, total(take($acct, $rest, grep { $_->{grant} == $grant->{tag} } free($acct, 'granted'))));
		$grant->{expired} -= $took->('ended', min($rest, $grant->{expired}));
	}
	my $before = $acct->{closings} - $payment->{closings};
	$grant->{elsewhere} += $rest if $grant;
	$acct->{forfeited} -= $took->('forfeited', min($rest, $acct->{forfeited})) if $before;
	$acct->{charged}{purchased} += $rest if $before;
	$took->('purchased', total(take($acct, $rest, free($acct, 'purchased'))));
	$acct->{owed}{purchased} += $took->('owed', $rest);
	refuse('22003') if $acct->{owed}{purchased} > MAX;
	return (
		amount => $amount,
		payment_ref => $op->{ref},
		ref => $payment->{tag},
		took => \@took,
		alloc => revoke_alloc($op, @took));
}

my %source = (ended => -7, forfeited => -6, purchased => PURCHASED, owed => -5);

sub revoke_alloc
{
	my ($op, @took) = @_;
	my @alloc = map { [ $source{ $_->[0] } // $_->[0], $_->[1] ] } @took;

	return [ @alloc, defined $op->{total} ? [ -9, $op->{total} ] : () ];
}

# A dispute that was won.
sub reinstate_purchase
{
	my ($self, $op) = @_;
	my $payment = $self->{payments}{ $op->{ref} } // refuse('UC011');
	my $known = CreditsModel::known_key($self->{accounts}{ $payment->{user} }, $op);

	return $known if $known;
	my $amount = $op->{amount} // $payment->{revoked};
	refuse('UC010') if $amount > $payment->{revoked} || $amount == 0;
	my $answer = $self->on_account($payment->{user}, $op);
	$payment->{revoked} -= $amount;
	return $answer;
}

# To the purchased credits; of a grant only what was taken there, and the rest to the grant.
sub reinstate
{
	my ($self, $acct, $op) = @_;
	my $payment = $self->{payments}{ $op->{ref} };
	my $grant = $acct->{grants}{ $payment->{tag} };
	my $before = $acct->{closings} - $payment->{closings};
	my $amount = $op->{amount} // $payment->{revoked};
	my $first = $grant ? min($amount, $grant->{elsewhere}) : $amount;
	my $lost = $grant ? grant_back($acct, $grant->{tag}, $amount, $before) : purchased_back($acct, $amount, $before);

	check_cap($acct);
	return (
		amount => $amount,
		payment_ref => $op->{ref},
		ref => $payment->{tag},
		forfeited => $lost,
		alloc => [ grep { $_->[1] } [ PURCHASED, $first ], [ $payment->{tag}, $amount - $first ] ]);
}

#
# Corrections
#

sub adjust
{
	my ($self, $acct, $op) = @_;
	my ($bucket, $delta) = @$op{qw(bucket delta)};
	my @taken;

	not_closed($acct);
	refuse('22023') if $bucket eq 'granted' && $delta > 0;
	if ($delta > 0)
	{
		credit($acct, $bucket, $delta, $bucket eq 'monthly' ? (period => $acct->{period}) : ());
		check_cap($acct);
	}
	else
	{
		my $available = total(free($acct, $bucket));

		refuse('UC001', required => -$delta, available => $available) if $available < -$delta;
		@taken = take($acct, -$delta, spend_order(free($acct, $bucket)));
	}
	return (amount => $delta, bucket => $bucket, alloc => grant_parts(parts($acct, @taken)));
}

#
# Transfers
#

# How many of an account's purchased credits were bought so lately that a chargeback may
# still come.  Older ones are given first.
sub lately_bought
{
	my ($self, $acct, $at) = @_;
	my $since = $at - $self->{chargeback_days} * DAY;

	return 0 if !$self->{chargeback_days};
	return sum0(map { $_->{amount} - $_->{revoked} }
		  grep { $_->{call} eq 'purchase' && $_->{user} eq $acct->{user} && $_->{at} >= $since } values %{ $self->{payments} });
}

# Purchased credits to another user, whose account has a row of its own at the same
# instant.  Nothing is refused after that is kept.
sub transfer
{
	my ($self, $acct, $op, $at) = @_;
	my $to = $self->copy_or_open($op->{to}, 0, $at);
	my $available = total(free($acct, 'purchased'));
	my $amount = $op->{amount} // max(1, $available);

	# Of two reasons to refuse the contract does not say the first: all of nothing
	# is no amount, whoever asks; nor does a closed account get what there is not.
	refuse('UC001', required => 1, available => 0) if !defined $op->{amount} && !$available;
	not_frozen($acct) if $acct->{status} ne 'closed';
	$self->apply_due($to, $at);
	refuse('UC001', required => $amount, available => $available) if $available < $amount;
	my $lately = max(0, $amount - max(0, $available - lately_bought($self, $acct, $at)));
	refuse('55000', amount => $amount, recently_purchased => $lately) if $lately && $self->{refuse_recent};
	not_closed($to);
	take($acct, $amount, free($acct, 'purchased'));
	my $row = write_row(
		$to,
		'transfer_in',
		$at,
		sub {
			credit($to, 'purchased', $amount);
			check_cap($to);
			return (amount => $amount, spender => $op->{user});
		});
	$row->{$_} = $op->{$_} for qw(tag metadata);
	$row->{created_at} = $self->{clock};
	$self->keep($to);
	return (
		amount => $amount,
		spender => $op->{to},
		recently_purchased => $lately,
		alloc => $lately ? [ [ -8, $lately ] ] : []);
}

1;
