# What is true of each row of a history, after those before it and for the call
# that it is of.  What a call does to an account is said here again, from
# docs/reference.md, as far as it can be seen from outside.  TortureCheck is one.
package TortureRows;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use List::Util qw(sum0);
use TortureRules qw(parts_of);

our @EXPORT_OK = qw(@numbers %event %kind_of differs instant time_of);

our @numbers = qw(monthly granted purchased held_monthly held_granted held_purchased owed_monthly owed_purchased);
our %event = map { ($_ => 1) } qw(reset grant_end hold_end plan_change);
our %kind_of = (
	deduct => 'deduct', try_deduct => 'deduct', deduct_many => 'deduct', purchase => 'purchase', grant => 'grant',
	adjust => 'adjust', refund => 'refund', revoke => 'revoke', hold => 'hold', capture => 'capture',
	release => 'release', open => 'open', set_cycle => 'set_cycle', overdraft => 'set_overdraft', threshold => 'set_low_threshold',
	freeze => 'freeze', unfreeze => 'unfreeze', close => 'close', restart => 'restart', reinstate => 'reinstate');

# How many credits the row's allocations say of a source.
sub noted { my ($row, $source) = @_; return sum0(map { $_->[1] } grep { $_->[0] == $source } parts_of($row)); }

# What each kind does to the credits of an account, debts subtracted.  What a late capture
# takes from what had expired, or a chargeback from what had ended or was forfeited, is
# gone already.
my %flow = (
	open => sub { $_[0]{amount} },
	deduct => sub { -$_[0]{amount} },
	purchase => sub { $_[0]{amount} },
	adjust => sub { $_[0]{amount} },
	grant => sub { $_[0]{amount} },
	grant_end => sub { -$_[0]{expired} },
	hold => sub { 0 },
	hold_end => sub { -$_[0]{expired} },
	release => sub { -$_[0]{expired} },
	capture => sub { -$_[0]{amount} + noted($_[0], -4) - $_[0]{expired} },
	refund => sub { $_[0]{amount} - $_[0]{forfeited} },
	revoke => sub { -$_[0]{amount} + noted($_[0], -6) + noted($_[0], -7) },
	reinstate => sub { $_[0]{amount} - $_[0]{forfeited} },
	transfer_out => sub { -$_[0]{amount} },
	transfer_in => sub { $_[0]{amount} },
	close => sub { -$_[0]{amount} - $_[0]{owed_monthly} + $_[1]{owed_monthly} },
	set_plan => sub { $_[0]{amount} },
	reset => sub { $_[0]{amount} - $_[0]{expired} + $_[1]{owed_monthly} },
	restart => sub { $_[0]{amount} - $_[0]{expired} + $_[1]{owed_monthly} },
	undo => sub { $_[0]{amount} },
	import => sub { $_[0]{amount} },
	map { ($_ => sub { 0 }) } qw(plan_change schedule_plan set_cycle set_overdraft set_low_threshold freeze unfreeze imported archive));

# The buckets that a kind may change.
my %touches = (
	purchase => 'purchased', transfer_out => 'purchased', transfer_in => 'purchased',
	grant => 'granted', grant_end => 'granted', open => 'monthly', set_plan => 'monthly', reset => 'monthly', restart => 'monthly',
	map { ($_ => '') } qw(plan_change schedule_plan set_cycle set_overdraft set_low_threshold freeze unfreeze imported archive));

# A new user's state before the first row.
sub nothing
{
	my ($user) = @_;

	return {
		(map { ($_ => 0) } @numbers), seq => 0, user => $user, status => 'active', overdraft_limit => 0, holds => {}, held => 0, spent => {},
		refunded => {}, rows => [], latest => 0, period_granted => 0, targets => {}, archived => 0, imported => 0, old => 0, TortureRules::rules_begin() };
}

# Conservation, bucket by bucket and in all.  False of a kind that no call makes.
sub conserves
{
	my ($self, $where, $row, $state) = @_;
	my $kind = $row->{kind};
	my $flow = $flow{$kind};
	my %before = map { ($_ => $state->{$_}) } @numbers;
	my ($delta, $held, $owed) = (0, 0, 0);

	if (!$flow)
	{
		$self->bad("$where: a row of kind $kind, which no client sent");
		return 0;
	}
	for my $bucket (qw(monthly granted purchased))
	{
		my $changed = $row->{$bucket} - $before{$bucket};

		$self->bad("$where: $bucket is $row->{$bucket} after $before{$bucket} and " . $row->{"${bucket}_delta"})
		  if $changed != $row->{"${bucket}_delta"};
		$self->bad("$where: $kind changes $bucket")
		  if $changed != 0 && defined $touches{$kind} && $touches{$kind} ne $bucket;
		$delta += $changed;
		$held += $row->{"held_$bucket"} - $before{"held_$bucket"};
		$owed += $row->{"owed_$bucket"} - $before{"owed_$bucket"} if $bucket ne 'granted';
	}
	for my $number (@numbers)
	{
		$self->bad("$where: $number is negative") if $row->{$number} < 0;
		$state->{$number} = $row->{$number};
	}
	my $expected = $flow->($row, \%before);
	$self->bad("$where: $kind of $row->{amount} changes the account by " . ($delta + $held - $owed) . ", not $expected")
	  if $delta + $held - $owed != $expected;
	$self->spending($where, $row, \%before, $state) if $kind eq 'deduct' || $kind eq 'hold';
	$self->about($where, $row, $state);
	$self->follows($where, $row, \%before, $state);
	return 1;
}

# What is held, and what is owed; what the monthly bucket owes until its next reset is
# another matter.
sub sums
{
	my ($self, $row) = @_;

	return ($row->{held_monthly} + $row->{held_granted} + $row->{held_purchased}, $row->{owed_purchased});
}

# Monthly first, then granted, then purchased; a debt only for a deduction, when
# nothing is left, and not beyond the limit.
sub spending
{
	my ($self, $where, $row, $before, $state) = @_;
	my $debt = $row->{owed_purchased} - $before->{owed_purchased};

	$self->bad("$where: spends more than nothing in another order")
	  if ($row->{granted_delta} < 0 && $row->{monthly} > 0)
	  || ($row->{purchased_delta} < 0 && $row->{monthly} + $row->{granted} > 0)
	  || ($debt > 0 && $row->{monthly} + $row->{granted} + $row->{purchased} > 0)
	  || $row->{monthly_delta} > 0 || $row->{granted_delta} > 0 || $row->{purchased_delta} > 0;
	$self->bad("$where: a debt of $row->{owed_purchased}, the limit is $state->{overdraft_limit}")
	  if $debt < 0 || ($debt > 0 && ($row->{kind} eq 'hold' || $row->{owed_purchased} > $state->{overdraft_limit}));
	return;
}

# Holds and what they have, deductions and what was refunded of them.
sub about
{
	my ($self, $where, $row, $state) = @_;
	my ($kind, $ref, $holds) = ($row->{kind}, $row->{ref_seq} // 0, $state->{holds});

	if ($kind eq 'hold')
	{
		$holds->{ $row->{seq} } = { left => $row->{amount} };
		$state->{held} += $row->{amount};
	}
	if ($kind =~ /^(?:hold_end|release|capture)$/)
	{
		my $hold = $holds->{$ref} or return $self->bad("$where: a $kind of $ref, which is no hold");

		$self->bad("$where: a $kind of $ref, which is $hold->{closed}")
		  if $hold->{closed} && !($kind eq 'capture' && $hold->{closed} eq 'hold_end');
		if ($kind eq 'capture' && defined $row->{ends_at})
		{
			$hold->{left} -= $row->{amount};
			$state->{held} -= $row->{amount};
			$self->bad("$where: a hold that stays open with $hold->{left}") if $hold->{left} <= 0;
		}
		else
		{
			$self->bad("$where: a $kind of $row->{amount}, the hold has $hold->{left}")
			  if $kind ne 'capture' && $row->{amount} != $hold->{left};
			$state->{held} -= $hold->{left};
			$hold->{left} = 0;
			$hold->{closed} = $kind;
		}
	}
	my ($held) = $self->sums($row);
	$self->bad("$where: $held are held, the holds have $state->{held}") if $held != $state->{held};

	$state->{spent}{ $row->{seq} } = $row->{amount} if $kind eq 'deduct' || $kind eq 'capture';
	if ($kind eq 'refund')
	{
		my $refunded = $state->{refunded}{$ref} += $row->{amount};

		$self->bad("$where: refunds $refunded of $ref, which spent " . ($state->{spent}{$ref} // 'nothing'))
		  if $refunded > ($state->{spent}{$ref} // 0);
	}
	if ($kind eq 'purchase' || ($kind eq 'grant' && defined $row->{payment_ref}))
	{
		my $ref = $row->{payment_ref};

		$self->bad("$where: the payment $ref is credited already") if $self->{purchases}{$ref};
		$self->{purchases}{$ref} = { %$row, revoked => 0, reported => 0 };
	}
	if ($kind eq 'revoke' || $kind eq 'reinstate')
	{
		my $purchase = $self->{purchases}{ $row->{payment_ref} };

		return $self->bad("$where: a $kind of $row->{payment_ref}, which was not bought here")
		  if !$purchase || $purchase->{user_id} ne $row->{user_id} || $purchase->{seq} != $ref;
		$purchase->{revoked} += $kind eq 'revoke' ? $row->{amount} : -$row->{amount};
		$self->bad("$where: $row->{payment_ref} is revoked by more than it was") if $purchase->{revoked} > $purchase->{amount};
		$self->bad("$where: more of $row->{payment_ref} is reinstated than was revoked") if $purchase->{revoked} < 0;
	}
	return;
}

sub arguments { return { map { split /=/, $_, 2 } split /;/, $_[0]{args} }; }

sub differs { my ($a, $b) = @_; return ($a // '') ne ($b // ''); }

# The row, or the account's facts after it, say what the call asked.
sub as_asked
{
	my ($self, $where, $row, $op, $state) = @_;
	my ($call, $kind) = ($op->{call}, $row->{kind});
	my $args = arguments($op);
	my %args = map { ($_ => $args->{$_}) } grep { $args->{$_} ne '' } keys %$args;
	my $wrong;

	if ($call eq 'transfer')
	{
		my ($own, $other) = $kind eq 'transfer_out' ? ($op->{user}, $args{to}) : ($args{to}, $op->{user});

		$wrong = 'another transfer'
		  if $kind !~ /^transfer_(?:out|in)$/ || $row->{user_id} ne $own || $row->{spender} ne $other;
		my $sum = $self->{transfers}{ $op->{id} } //= $row->{amount};
		$wrong = 'a transfer that gives what it does not take' if $sum != $row->{amount};
	}
	elsif ($call eq 'set_plan')
	{
		$wrong = 'another plan change'
		  if $kind ne ($args{at} ? 'schedule_plan' : 'set_plan') || (!$args{at} && differs($state->{plan}, $args{plan}));
	}
	elsif ($kind ne ($kind_of{$call} // '')) { $wrong = 'another kind'; }
	$wrong = 'another user' if $row->{user_id} ne $op->{user} && $kind ne 'transfer_in';
	$wrong = 'another key' if differs($row->{idempotency_key}, $kind eq 'transfer_in' ? undef : $op->{key} eq '' ? undef : $op->{key});
	$wrong = 'another amount' if defined $args{amount} && $row->{amount} != $args{amount};
	$wrong = 'another payment' if defined $args{ref} && differs($row->{payment_ref}, $args{ref});
	$wrong = 'another spender' if $call ne 'transfer' && differs($row->{spender}, $args{spender});
	$wrong = 'another total' if $call eq 'revoke' && noted($row, -9) != ($args{total} // 0);
	$wrong = 'another plan' if $call eq 'restart' && differs($state->{plan}, $args{plan});
	$wrong = 'another hold' if defined $args{hold} && differs($row->{ref_seq}, $args{hold});
	$wrong = 'another deduction' if defined $args{seq} && differs($row->{ref_seq}, $args{seq});
	$wrong = 'other metadata' if differs($row->{meta}, $row->{erased} eq 't' ? undef : $args{meta});
	$wrong = 'another limit' if $call eq 'overdraft' && $state->{overdraft_limit} != $args{limit};
	$wrong = 'another threshold' if $call eq 'threshold' && differs($state->{low_threshold}, $args{threshold});
	$wrong = 'another end' if $call eq 'grant' && time_of($row->{ends_at}) ne time_of($args{ends});
	$wrong = 'another zone' if $call eq 'set_cycle' && $args{zone} && $state->{time_zone} ne $args{zone};
	$wrong = 'another bucket'
	  if $call eq 'adjust' && grep { $_ ne $args{bucket} && $row->{"${_}_delta"} != 0 } qw(monthly granted purchased);
	$wrong = 'another status'
	  if $call =~ /^(?:freeze|unfreeze|close)$/
	  && $state->{status} ne { freeze => 'frozen', unfreeze => 'active', close => 'closed' }->{$call};
	$self->bad("$where: $op->{id} asked for $call $op->{user} $op->{args}, this is $wrong: $kind $row->{amount}") if $wrong;
	return;
}

# A time as receipts have it, from PostgreSQL's or from the export's.
sub time_of
{
	my ($text) = @_;

	return $text if !defined $text;
	$text =~ s/ /T/;
	$text =~ s/\+00$|Z$//;
	$text =~ s/\.(\d+)$/sprintf '.%-6s', $1/e;
	return ($text =~ tr/ /0/r =~ s/\.000000$//r) . 'Z';
}

# A time that sorts.
sub instant { return time_of($_[0]) =~ s/(:\d\d)Z$/$1.000000Z/r; }

1;
