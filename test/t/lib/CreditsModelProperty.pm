# What has to be true of every history that the reference model comes to, whatever was
# called: how much of a period can be used, that nothing comes from nowhere, and that the
# order does not matter where it should not.
package CreditsModelProperty;

use strict;
use warnings FATAL => 'all';

use CreditsModel;
use CreditsModelGen;
use CreditsModelLots;
use CreditsModelPeriods;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(max sum0);

our @EXPORT = qw(model_of played used_too_much books_wrong grants_wrong order_matters sweeping_matters orders_tried old_orders_tried);

# How often two operations went both ways, and beside what if the first gave back what was from
# before a closing.
my $orders = 0;
my %old_orders;

sub orders_tried { return $orders; }

sub old_orders_tried { return %old_orders; }

sub model_of
{
	my ($world) = @_;

	return CreditsModel->new(map { $_ => $world->{$_} } qw(default_plan retention refuse_recent chargeback_days));
}

# The model after these operations.
sub played
{
	my ($world, @ops) = @_;
	my $model = model_of($world);

	play($model, $_) for @ops;
	return $model;
}

#
# How much of a period is used
#

# In each period, the monthly credits used are at most what was carried in, what
# corrections added, and the largest allowance held in it.  What went on into the next
# period counts as used here: nothing can be used twice.
sub used_too_much
{
	my ($model, $user) = @_;
	my (%used, %carried, %restored, %adjusted, %best);

	for my $row (grep { $_->{kind} ne 'imported' } @{ $model->{rows}{$user} // [] })
	{
		my $period = $row->{period};

		$used{ $_->{period} } += $_->{credits} for grep { $_->{bucket} eq 'monthly' } @{ $row->{spent} // [] };
		$used{ $_->{period} } -= $_->{credits} for grep { $_->{bucket} eq 'monthly' } @{ $row->{back} // [] };
		$adjusted{$period} += $row->{amount} if $row->{kind} eq 'adjust' && $row->{bucket} eq 'monthly';
		$carried{$period} = $row->{carried_in};
		$restored{$period} = $row->{restored} if defined $row->{restored};
		$best{$period} = max($best{$period} // 0, allowance_of($model, $row));
	}
	for my $period (sort { $a <=> $b } keys %used)
	{
		my ($used, $may) = ($used{$period}, sum0(map { $_->{$period} // 0 } \%carried, \%adjusted, \%best));
		my $goes_on = ($carried{ $period + 1 } // 0) + ($restored{ $period + 1 } // 0);

		return "period $period of $user: used $used and $goes_on go on, may use $may" if $used + $goes_on > $may;
	}
	return undef;
}

# What is held when the row is written.  A scheduled change counts from the boundary;
# an undone boundary gives back what it let expire.
sub allowance_of
{
	my ($model, $row) = @_;

	return 0 if $row->{kind} eq 'plan_change';
	return $row->{restored} if defined $row->{restored};
	my ($version) = grep { $_->{version} == ($row->{version} // 0) } @{ $model->{plans}{ $row->{plan} // '' } // [] };
	return share_part($version ? $version->{credits} : 0, $row->{share});
}

#
# What came and what went
#

# What all credits and debts of an account change by, kind by kind.
my %changes = (
	(map { $_ => sub { $_[0]{amount} } } qw(open purchase grant adjust set_plan transfer_in import)),
	(map { $_ => sub { -$_[0]{amount} } } qw(deduct transfer_out grant_end)),
	(map { $_ => sub { $_[0]{amount} - $_[0]{expired} + $_[1]{owed_monthly} } } qw(reset restart)),
	(map { $_ => sub { -$_[0]{expired} } } qw(release hold_end)),
	capture => sub { ($_[0]{from_expired} // 0) - $_[0]{amount} - ($_[0]{expired} // 0) },
	(map { $_ => sub { $_[0]{amount} - $_[0]{forfeited} } } qw(refund reinstate)),
	revoke => sub { -sum0(map { $_->[0] =~ /ended|forfeited/ ? () : $_->[1] } @{ $_[0]{took} }) },
	close => sub { -$_[0]{amount} - $_[0]{owed_monthly} + $_[1]{owed_monthly} },
	undo => sub { $_[0]{amount} });

my @has = qw(monthly granted purchased held_monthly held_granted held_purchased);
my @owes = qw(owed_monthly owed_purchased);

# What a grant has or had unused is never more than was paid for, and its chargebacks took no
# more elsewhere than there were.
sub grants_wrong
{
	my ($model, $user) = @_;
	my $acct = $model->{accounts}{$user} // return undef;

	for my $payment (grep { $_->{user} eq $user } values %{ $model->{payments} })
	{
		my $grant = $acct->{grants}{ $payment->{tag} } // next;
		my $has = $grant->{expired} + total(grep { ($_->{grant} // 0) == $grant->{tag} } @{ $acct->{lots} });

		return "grant $grant->{tag} of $user has or had unused $has of $grant->{amount}" if $has > $grant->{amount};
		return "grant $grant->{tag} of $user: $grant->{elsewhere} taken elsewhere, $payment->{revoked} revoked"
		  if $grant->{elsewhere} > $payment->{revoked};
	}
	return undef;
}

sub worth { my ($row) = @_; return sum0(@$row{@has}) - sum0(@$row{@owes}); }

sub books_wrong
{
	my ($model, $user) = @_;
	my $before = { map { $_ => 0 } @has, @owes };

	for my $row (grep { $_->{kind} ne 'imported' } @{ $model->{rows}{$user} // [] })
	{
		my $code = $changes{ $row->{kind} };
		my $change = $code ? $code->({ expired => 0, forfeited => 0, %$row }, $before) : 0;

		return "$row->{kind} of $user at " . iso($row->{effective_at}) . ': ' . worth($before) . " + $change is not " . worth($row)
		  if worth($before) + $change != worth($row);
		return "$row->{kind} of $user: below 0" if grep { $_ < 0 } @$row{ @has, @owes };
		$before = $row;
	}
	return undef;
}

#
# Order
#

# All of an account that later calls can depend on, as text.
sub state_of
{
	my ($model, $user) = @_;
	my $acct = eval { $model->view($user) } // return 'none';
	my (%lots, @text);

	$lots{ join ' ', map { $_ // '-' } @$_{qw(bucket period grant hold)} } += $_->{credits} for @{ $acct->{lots} };
	push @text, map { "$_: $lots{$_}" } sort keys %lots;
	push @text, map { "$_: " . ($acct->{$_} // 'none') }
	  qw(period share cycle period_start period_end period_granted last_left last_limit last_undone forfeited plan version scheduled
	  status anchor zone overdraft threshold plan_threshold);
	push @text, map { +"owed $_: $acct->{owed}{$_}", "charged $_: $acct->{charged}{$_}" } qw(monthly purchased);
	push @text, 'end of: ' . join ' ', @{ $acct->{end_of} // [] };
	for my $grant (map { $acct->{grants}{$_} } sort keys %{ $acct->{grants} })
	{
		push @text, "grant $grant->{tag}: " . join ' ', map { $_ || 0 } @$grant{qw(ended expired elsewhere)};
	}
	for my $hold (map { $acct->{holds}{$_} } sort keys %{ $acct->{holds} })
	{
		push @text, "hold $hold->{tag}: $hold->{state} " . ($hold->{given_back} // '') . ' ' . total(@{ $hold->{lost} // [] });
	}
	push @text, map { "refunded of $_: $acct->{spent}{$_}{refunded}" } sort keys %{ $acct->{spent} };
	for my $ref (sort keys %{ $model->{payments} })
	{
		my $payment = $model->{payments}{$ref};
		push @text, "payment $ref: " . join ' ', map { $_ // '-' } @$payment{qw(revoked reported)};
	}
	return \@text;
}

sub difference
{
	my ($one, $other) = @_;
	my %has = map { $_ => 1 } @$other;
	my %had = map { $_ => 1 } @$one;

	return join '; ', (map { "first $_" } grep { !$has{$_} } @$one), (map { "second $_" } grep { !$had{$_} } @$other);
}

# May a release, refund or reinstatement be before or after this operation without a
# difference?  Not beside what needs credits, and not over two boundaries.
my %commutes = map { $_ => 1 } qw(set_plan apply_plan undo adjust purchase grant grant_many revoke reinstate close_account
  set_low_threshold set_cycle freeze unfreeze set_overdraft import sweep);

sub of_this_period
{
	my ($acct, $op) = @_;

	if ($op->{call} eq 'release')
	{
		my $hold = $acct->{holds}{ $op->{hold} } // return 0;

		return !grep { $_->{bucket} eq 'monthly' && $_->{period} != $acct->{period} } held_by($acct, $hold->{tag});
	}
	my $spent = $acct->{spent}{ $op->{of} } // return 0;
	return $spent->{period} == $acct->{period} && !grep { $_->[0] < PURCHASED } @{ $spent->{parts} };
}

# Does it matter whether this operation is before or after the next?  Nothing is said
# where one of them is refused, or replayed.
sub order_matters
{
	my ($before, $world, $first, $second) = @_;
	my $user = $first->{user} // ($before->{payments}{ $first->{ref} } // return undef)->{user};
	my $acct = $before->{accounts}{$user} // return undef;

	return undef if !$commutes{ $second->{call} } && $second->{call} ne 'clock';
	return undef if ($second->{delta} // 0) < 0 && $second->{bucket} eq 'granted';

	# How much of a payment there is to revoke depends on that.
	return undef if ($first->{ref} // '') eq ($second->{ref} // 'none');
	if ($second->{call} eq 'clock' || $second->{restart})
	{
		my $now = $before->view($user);
		return undef if $first->{call} ne 'reinstate' && !of_this_period($now, $first);
	}
	my $is_old = is_from_before($before, $acct, $first);

	# A second closing charges all that is owed then.  What is from before the first closing can pay
	# it, also where the debt was made between the two.
	return undef if $is_old && $second->{call} eq 'close_account';

	# Of what a chargeback took of a paid grant and elsewhere, it is not known how much was
	# forfeited before.  It gives back what was charged first.
	my $revoked = $second->{call} eq 'revoke' ? $before->{payments}{ $second->{ref} } : undef;
	return undef if $is_old && $revoked && $revoked->{call} eq 'grant' && $acct->{forfeited} && $acct->{charged}{purchased};
	my ($one, $other) = map { in_order($before, $world, $user, @$_) } [ $first, $second ], [ $second, $first ];

	return undef if !$one || !$other;
	$orders++;
	$old_orders{ $second->{call} }++ if $is_old;
	my $difference = difference($one, $other);
	return $difference eq '' ? undef : $difference;
}

# Is what comes back from before a closing?
sub is_from_before
{
	my ($model, $acct, $op) = @_;
	my $from = $op->{call} eq 'reinstate' ? $model->{payments}{ $op->{ref} } : $acct->{spent}{ $op->{of} // 0 };

	return $from && $from->{closings} < $acct->{closings};
}

# Credits that were lost when a hold ended.  What a late capture has of them is more or less, as
# something else that came back has left less or more room in the rollover, or has made good what
# the revocation of a grant took elsewhere.
sub lost_by_holds
{
	my ($acct) = @_;

	return total(map { @{ $_->{lost} // [] } } values %{ $acct->{holds} });
}

# The state after these operations.  Nothing is said if more than one period ends, or if a hold
# ends and loses monthly credits.
sub in_order
{
	my ($before, $world, $user, @ops) = @_;
	my $model = model_of($world);
	my $old = $before->view($user);

	$model->restore($before->save);
	for my $op (@ops)
	{
		my $answer = play($model, $op);
		return undef if $answer->{state} ne '00000' || ($answer->{receipt}{replayed} // '') eq 'true' || $answer->{report}{failures};
	}
	my $acct = $model->view($user);
	return undef if $acct->{period} > $old->{period} + 1;
	return undef if lost_by_holds($acct) > lost_by_holds($old);
	return state_of($model, $user);
}

# Does it matter whether what is due is written at once?
sub sweeping_matters
{
	my ($world, @ops) = @_;
	my ($never, $always) = (model_of($world), model_of($world));

	for my $op (@ops)
	{
		play($never, $op) if $op->{call} ne 'sweep';
		play($always, $op);
		$always->sweep;
	}
	for my $user (sort keys %{ $never->{accounts} })
	{
		my $difference = difference(state_of($never, $user), state_of($always, $user));

		return "$user: $difference" if $difference ne '';
	}
	return undef;
}

1;
