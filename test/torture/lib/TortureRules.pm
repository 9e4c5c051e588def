# What each row does to an account, said once more from docs/reference.md: periods,
# allowances, what the monthly bucket owes until the next reset, what comes back from where,
# and payments.  A row has to be what the rows before it and these rules give.
# TortureCheck is one.
package TortureRules;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use List::Util qw(max min sum0);

our @EXPORT_OK = qw(parts_of allowance @facts @of_closings);

# What a row that changes one of them has, all of them.
our @facts = qw(plan plan_version scheduled_plan cycle_anchor time_zone status overdraft_limit period_granted
  period_start period_share cycle last_left last_limit last_undone low_threshold);

# What an account has lost by closings, and was charged since for the time before.
our @of_closings = qw(forfeits charged_monthly charged_purchased last_charged last_closed_seq);

my $whole = 1_000_000;    # the share of a full period

# The sources in allocations; a grant is known by its seq.
my ($monthly, $purchased, $last, $older, $expired, $owed, $forfeited, $ended, $recent, $total) = (0, -1, -2, -3, -4, -5, -6, -7, -8, -9);

# What a new user has.
sub rules_begin
{
	return (
		period => 1, end => undef, share => $whole, left => 0, limit => 0, undone => 0, cycle => undef, made_from => '', forfeits => 0, charged_monthly => 0,
		charged_purchased => 0, last_charged => 0, last_closed_seq => 0, closed_seq => 0, level => 'empty',
		grants => {}, spending => {});
}

# The pairs of an array of allocations.
sub parts_of
{
	my ($row) = @_;
	my @numbers = ($row->{allocations} // '') =~ /-?\d+/g;
	my @parts;

	push @parts, [ splice @numbers, 0, 2 ] while @numbers;
	return @parts;
}

sub part_of
{
	my ($row, $source) = @_;

	return sum0(map { $_->[1] } grep { $_->[0] == $source } parts_of($row));
}

sub allowance
{
	my ($version, $share) = @_;

	return int($version->{monthly_credits} * $share / $whole);
}

# --- Giving and taking.  $acc: {now: the numbers so far, state, at, period, lost, parts}.

sub put
{
	my ($acc, $source, $credits) = @_;

	push @{ $acc->{parts} }, [ $source, $credits ] if $credits;
	return;
}

# Pays first what the bucket owes.
sub credit
{
	my ($acc, $bucket, $credits) = @_;
	my $pays = min($credits, $acc->{now}{"owed_$bucket"});

	$acc->{now}{"owed_$bucket"} -= $pays;
	$acc->{now}{$bucket} += $credits - $pays;
	return;
}

sub take_or_owe
{
	my ($acc, $bucket, $credits) = @_;
	my $taken = min($credits, $acc->{now}{$bucket});

	$acc->{now}{$bucket} -= $taken;
	$acc->{now}{"owed_$bucket"} += $credits - $taken;
	return;
}

# So much has been granted in the period now.
sub change_granted
{
	my ($acc, $granted) = @_;
	my $change = $granted - $acc->{granted};

	$acc->{granted} = $granted;
	if ($change < 0) { take_or_owe($acc, 'monthly', -$change); }
	else { credit($acc, 'monthly', $change); }
	return $change;
}

sub carried
{
	my ($left, $limit) = @_;

	return $left < 0 ? 0 : defined $limit ? min($left, $limit) : $left;
}

# Those of the period before come back, as if they had been left at the boundary.  If that was
# undone, what the limit would have let expire counts as granted.
sub carry
{
	my ($acc, $credits) = @_;
	my $before = $acc->{left};
	my $after = $acc->{left} = $before + $credits;
	my $limited = carried($after, $acc->{limit}) - carried($before, $acc->{limit});
	my $all = carried($after) - carried($before);

	return $limited if !$acc->{undone};
	$acc->{granted} += $all - $limited;
	return $all;
}

# Did what comes back leave the account before that row?  What a hold gives back did not leave it.
sub is_before
{
	my ($acc, $seq) = @_;

	return defined $acc->{given_seq} && $acc->{given_seq} < $seq;
}

sub is_before_closing
{
	my ($acc) = @_;

	return is_before($acc, $acc->{state}{closed_seq});
}

# Of credits from before a closing: what the account was charged since for that time.
sub from_before
{
	my ($acc, $charged, $credits) = @_;
	my $back = min($credits, $acc->{$charged});

	$acc->{$charged} -= $back;
	return $back;
}

# Monthly credits of a period come back.
sub give_monthly
{
	my ($acc, $period, $credits) = @_;
	my $age = $acc->{period} - $period;
	my $closed = is_before_closing($acc);
	my $back = $age == 0 ? $credits : 0;

	if ($age == 1)
	{
		$back = is_before($acc, $acc->{last_closed_seq}) ? from_before($acc, 'last_charged', $credits) : $credits;
		$back = carry($acc, $back);
		$closed &&= $acc->{state}{closed_seq} != $acc->{last_closed_seq};
	}
	$back = from_before($acc, 'charged_monthly', $back) if $closed && $age <= 1;
	$acc->{lost} += $credits - $back;
	credit($acc, 'monthly', $back);
	return;
}

sub give_purchased
{
	my ($acc, $credits) = @_;
	my $back = is_before_closing($acc) ? from_before($acc, 'charged_purchased', $credits) : $credits;

	$acc->{lost} += $credits - $back;
	$acc->{forfeits} += $credits - $back;
	credit($acc, 'purchased', $back);
	return;
}

# Gives how many the grant has taken.
sub give_granted
{
	my ($acc, $seq, $credits) = @_;
	my $grant = $acc->{state}{grants}{$seq} // { closed => 1 };
	my $made_good = min($credits, $grant->{elsewhere} // 0);
	my $back = $credits - $made_good;
	my $is_open = !$grant->{closed} && ($grant->{ends} gt $acc->{at} || ($grant->{ends} eq $acc->{at} && $acc->{is_hold_end}));

	if ($made_good)
	{
		give_purchased($acc, $made_good);
		$grant->{elsewhere} -= $made_good;
	}
	if ($is_open)
	{
		$acc->{now}{granted} += $back;
		$grant->{left} += $back;
		return $back;
	}
	$acc->{lost} += $back;
	$grant->{expired} += $back if $grant->{paid};
	return 0;
}

sub close_grant
{
	my ($grant) = @_;
	my $left = $grant->{left};

	$grant->{expired} += $left if $grant->{paid};
	@$grant{qw(left closed)} = (0, 1);
	return $left;
}

# Those that have something, in the order of spending.
sub grants_in_order
{
	my ($state) = @_;
	my $grants = $state->{grants};

	return sort { $grants->{$a}{ends} cmp $grants->{$b}{ends} || $a <=> $b } grep { $grants->{$_}{left} > 0 } keys %$grants;
}

sub burn
{
	my ($acc, $credits) = @_;

	for my $seq (grants_in_order($acc->{state}))
	{
		my $taken = min($credits, $acc->{state}{grants}{$seq}{left});

		$acc->{state}{grants}{$seq}{left} -= $taken;
		$acc->{now}{granted} -= $taken;
		$credits -= $taken;
		put($acc, $seq, $taken);
	}
	return;
}

# Monthly, granted, purchased; the rest is owed.
sub spend
{
	my ($acc, $amount, $every_source) = @_;
	my $now = $acc->{now};
	my $taken = min($amount, $now->{monthly});
	my $from_grants = min($amount - $taken, $now->{granted});

	$now->{monthly} -= $taken;
	put($acc, $monthly, $taken) if $every_source;
	burn($acc, $from_grants) if $from_grants;
	put($acc, $purchased, $amount - $taken - $from_grants) if $every_source;
	take_or_owe($acc, 'purchased', $amount - $taken - $from_grants);
	return;
}

# --- Holds: {monthly, period, parts, purchased, given_back, is}.

# What a hold has goes back; then it says what of it was lost.
sub give_back
{
	my ($acc, $hold, $how) = @_;
	my ($now, $before) = ($acc->{now}, $acc->{lost});
	my $all = $hold->{monthly} + $hold->{purchased} + sum0(map { $_->[1] } @{ $hold->{parts} });

	$now->{held_monthly} -= $hold->{monthly};
	give_monthly($acc, $hold->{period}, $hold->{monthly});
	$hold->{monthly} = $acc->{lost} - $before;
	for my $part (@{ $hold->{parts} })
	{
		my $lost = $acc->{lost};

		$now->{held_granted} -= $part->[1];
		give_granted($acc, @$part) if $part->[1];
		$part->[1] = $acc->{lost} - $lost;
	}
	$now->{held_purchased} -= $hold->{purchased};
	give_purchased($acc, $hold->{purchased});
	$hold->{purchased} = 0;
	$acc->{expired} += $acc->{lost} - $before;
	$hold->{given_back} = $all - $acc->{lost} + $before;
	$hold->{is} = $how;
	clear_hold($hold) if $how ne 'expired';
	return;
}

sub clear_hold
{
	my ($hold) = @_;

	@$hold{qw(monthly purchased given_back)} = (0, 0, 0);
	$_->[1] = 0 for @{ $hold->{parts} };
	return;
}

# Spends what is held; gives what is still wanted.
sub consume
{
	my ($acc, $hold, $wanted) = @_;
	my $now = $acc->{now};
	my $age = $acc->{period} - $hold->{period};
	my $take = sub {
		my ($place, $bucket, $source) = @_;
		my $taken = min($$place, $wanted);

		$$place -= $taken;
		$now->{"held_$bucket"} -= $taken;
		$wanted -= $taken;
		put($acc, $source, $taken);
	};

	$take->(\$hold->{monthly}, 'monthly', $age == 0 ? $monthly : $age == 1 ? $last : $older);
	$take->(\$_->[1], 'granted', $_->[0]) for @{ $hold->{parts} };
	$take->(\$hold->{purchased}, 'purchased', $purchased);
	return $wanted;
}

# A late capture: first what expired with the hold, and was not given back or used since.
sub consume_expired
{
	my ($acc, $hold, $wanted) = @_;
	my $of_monthly = min($wanted, $hold->{monthly});
	my $rest = $wanted - $of_monthly;

	$acc->{left} -= $of_monthly if $hold->{period} == $acc->{period} - 1;
	for my $part (@{ $hold->{parts} })
	{
		my $grant = $acc->{state}{grants}{ $part->[0] };
		my $is_paid = $grant && $grant->{paid};
		my $taken = min($rest, $part->[1], $is_paid ? $grant->{expired} : $rest);

		$rest -= $taken;
		$grant->{expired} -= $taken if $is_paid;
	}
	put($acc, $expired, $wanted - $rest);
	clear_hold($hold);
	$hold->{is} = 'settled';
	return $rest;
}

# --- The rules, one a kind.

sub new_spending
{
	my ($acc, $row, %sources) = @_;

	$acc->{state}{spending}{ $row->{seq} } = { monthly => 0, purchased => 0, parts => [], period => $row->{period}, given => 0, %sources };
	return;
}

sub spent_granted { return sum0(map { $_->[1] } @{ $_[0]{parts} }); }

# The version of the plan after the row.
sub version_after
{
	my ($self, $acc, $row) = @_;
	my $facts = defined $row->{status} ? $row : $acc->{state};

	return $self->plan_version($facts->{plan}, $facts->{plan_version} // 0);
}

sub new_period
{
	my ($self, $acc, $row, $share) = @_;
	my $version = version_after($self, $acc, $row);
	my $now = $acc->{now};
	my $before = $now->{monthly};

	$acc->{left} = $before - $now->{owed_monthly};
	$acc->{limit} = $version ? $version->{rollover_limit} : 0;
	$acc->{undone} = 0;
	$now->{owed_monthly} = 0;
	@$acc{qw(last_charged last_closed_seq)} = ($row->{skipped} ? 0 : $acc->{charged_monthly}, $acc->{state}{closed_seq});
	$acc->{charged_monthly} = 0;
	$now->{monthly} = carried($acc->{left}, $acc->{limit});
	$acc->{expired} = $before - $now->{monthly};
	$acc->{granted} = $version ? allowance($version, $share) : 0;
	$now->{monthly} += $acc->{granted};
	$acc->{amount} = $acc->{granted};
	return;
}

my %rule = (
	deduct => sub {
		my ($self, $acc, $row) = @_;
		my $before = $acc->{now}{monthly};

		spend($acc, $row->{amount}, 0);
		my $from_monthly = $before - $acc->{now}{monthly};
		new_spending($acc, $row, monthly => $from_monthly, parts => [ @{ $acc->{parts} } ], purchased => $row->{amount} - $from_monthly - spent_granted($acc));
	},
	hold => sub {
		my ($self, $acc, $row) = @_;
		my ($now, $before) = ($acc->{now}, $acc->{now}{monthly});

		spend($acc, $row->{amount}, 0);
		my $hold = $acc->{state}{holds}{ $row->{seq} } //= {};
		@$hold{qw(monthly period parts is given_back)} =
		  ($before - $now->{monthly}, $row->{period}, [ map { [@$_] } @{ $acc->{parts} } ], 'open', 0);
		$hold->{purchased} = $row->{amount} - $hold->{monthly} - spent_granted($acc);
		$now->{held_monthly} += $hold->{monthly};
		$now->{held_granted} += spent_granted($acc);
		$now->{held_purchased} += $hold->{purchased};
	},
	capture => sub {
		my ($self, $acc, $row) = @_;
		my $hold = $acc->{state}{holds}{ $row->{ref_seq} } or return;
		my $rest = $hold->{is} eq 'expired' ? consume_expired($acc, $hold, $row->{amount}) : consume($acc, $hold, $row->{amount});

		spend($acc, $rest, 1) if $rest;
		give_back($acc, $hold, 'captured') if $hold->{is} eq 'open' && !defined $row->{ends_at};
		new_spending($acc, $row, parts => [ @{ $acc->{parts} } ]);
	},
	release => sub {
		my ($self, $acc, $row) = @_;

		give_back($acc, $acc->{state}{holds}{ $row->{ref_seq} } // return, 'released');
	},
	hold_end => sub {
		my ($self, $acc, $row) = @_;

		$acc->{is_hold_end} = 1;
		give_back($acc, $acc->{state}{holds}{ $row->{ref_seq} } // return, 'expired');
	},
	refund => sub {
		my ($self, $acc, $row) = @_;
		my $spent = $acc->{state}{spending}{ $row->{ref_seq} } or return;
		my ($skip, $wanted) = ($spent->{given}, $row->{amount});

		$spent->{given} += $wanted;
		$acc->{given_seq} = $row->{ref_seq};
		for my $part ([ $purchased, $spent->{purchased} ], reverse(@{ $spent->{parts} }), [ $monthly, $spent->{monthly} ])
		{
			my ($source, $credits) = @$part;
			my $skipped = min($skip, $credits);
			my $back = min($credits - $skipped, $wanted);

			$skip -= $skipped;
			$wanted -= $back;
			if ($source == $purchased) { give_purchased($acc, $back); }
			elsif ($source == $monthly || $source == $last) { give_monthly($acc, $spent->{period} + ($source == $last ? -1 : 0), $back); }
			elsif ($source > 0) { put($acc, $source, $back ? give_granted($acc, $source, $back) : 0); }
			else { $acc->{lost} += $back; }
		}
		$acc->{forfeited} = $acc->{lost};
	},
	purchase => sub { my ($self, $acc, $row) = @_; credit($acc, 'purchased', $row->{amount}); },
	transfer_in => sub { my ($self, $acc, $row) = @_; credit($acc, 'purchased', $row->{amount}); },
	transfer_out => sub {
		my ($self, $acc, $row) = @_;

		$acc->{now}{purchased} -= $row->{amount};
		put($acc, $recent, min($row->{amount}, part_of($row, $recent)));
	},
	adjust => sub {
		my ($self, $acc, $row) = @_;
		my ($bucket) = grep { $row->{"${_}_delta"} != 0 } qw(monthly granted purchased);

		# One that only pays what is owed changes no balance.
		$bucket //= $row->{owed_monthly} != $acc->{now}{owed_monthly} ? 'monthly' : 'purchased';
		$acc->{state}{adjusted}{ $acc->{period} } += $row->{amount} if $bucket eq 'monthly' && $row->{amount} > 0;
		if ($row->{amount} > 0) { credit($acc, $bucket, $row->{amount}); }
		elsif ($bucket eq 'granted') { burn($acc, -$row->{amount}); }
		else { $acc->{now}{$bucket} += $row->{amount}; }
	},
	grant => sub {
		my ($self, $acc, $row) = @_;

		$acc->{now}{granted} += $row->{amount};
		$acc->{state}{grants}{ $row->{seq} } = {
			left => $row->{amount}, ends => TortureRows::instant($row->{ends_at}), closed => 0, paid => defined $row->{payment_ref}, expired => 0,
			elsewhere => 0 };
	},
	grant_end => sub {
		my ($self, $acc, $row) = @_;
		my $grant = $acc->{state}{grants}{ $row->{ref_seq} } or return;

		$acc->{expired} = close_grant($grant);
		$acc->{now}{granted} -= $acc->{expired};
	},
	revoke => sub {
		my ($self, $acc, $row) = @_;
		my $payment = $self->{purchases}{ $row->{payment_ref} } or return;
		my $grant = $payment->{kind} eq 'grant' ? $acc->{state}{grants}{ $payment->{seq} } : undef;
		my $wanted = $row->{amount};
		my $take = sub {
			my ($place, $source) = @_;
			my $taken = min($$place, $wanted);

			$$place -= $taken;
			$wanted -= $taken;
			put($acc, $source, $taken);
			return $taken;
		};

		if ($grant)
		{
			$acc->{now}{granted} -= $take->(\$grant->{left}, $payment->{seq});
			$take->(\$grant->{expired}, $ended);
		}
		$grant->{elsewhere} += $wanted if $grant;
		if ($payment->{seq} < $acc->{state}{closed_seq})
		{
			$take->(\$acc->{forfeits}, $forfeited);
			$acc->{charged_purchased} += $wanted;
		}
		$take->(\$acc->{now}{purchased}, $purchased);
		$acc->{now}{owed_purchased} += $wanted;
		put($acc, $owed, $wanted);
		my $reported = part_of($row, $total);
		put($acc, $total, $reported);
		return if !$reported;
		$acc->{amount} = min($reported - $payment->{reported}, $payment->{amount} - ($payment->{revoked} - $row->{amount}));
		$payment->{reported} = $reported;
	},
	reinstate => sub {
		my ($self, $acc, $row) = @_;
		my $payment = $self->{purchases}{ $row->{payment_ref} } or return;
		my $grant = $payment->{kind} eq 'grant' ? $acc->{state}{grants}{ $payment->{seq} } : undef;
		my $amount = $row->{amount};
		my $to_purchased = $grant ? min($amount, $grant->{elsewhere}) : $amount;

		$acc->{given_seq} = $payment->{seq};

		# A grant gives what was taken elsewhere first, whatever comes back to it.
		if ($grant) { give_granted($acc, $payment->{seq}, $amount); }
		else { give_purchased($acc, $amount); }
		put($acc, $purchased, $to_purchased);
		put($acc, $payment->{seq}, $amount - $to_purchased);
		$acc->{forfeited} = $acc->{lost};
	},
	close => sub {
		my ($self, $acc, $row) = @_;
		my $now = $acc->{now};

		@$acc{qw(amount expired forfeited)} =
		  ($now->{monthly} + $now->{granted} + $now->{purchased}, $now->{monthly} + $now->{granted}, $now->{purchased});
		change_granted($acc, 0);
		put($acc, $_, close_grant($acc->{state}{grants}{$_})) for grants_in_order($acc->{state});
		$_->{closed} = 1 for values %{ $acc->{state}{grants} };    # also those that are spent
		$acc->{undone} = 0;
		$acc->{forfeits} += $now->{purchased};
		@$acc{qw(charged_monthly charged_purchased)} = @$now{qw(owed_monthly owed_purchased)};
		@$now{qw(monthly granted purchased)} = (0, 0, 0);
		$acc->{state}{closed_seq} = $row->{seq};
	},
	open => sub {
		my ($self, $acc, $row) = @_;
		my $version = version_after($self, $acc, $row);

		$acc->{amount} = change_granted($acc, $version ? allowance($version, $acc->{share}) : 0);
	},
	set_plan => sub {
		my ($self, $acc, $row) = @_;
		my $version = version_after($self, $acc, $row);

		$acc->{amount} = change_granted($acc, $version ? allowance($version, $acc->{share}) : 0);
		$acc->{undone} = 0;
	},
	reset => sub {
		my ($self, $acc, $row) = @_;

		new_period($self, $acc, $row, $row->{period_share});
		$acc->{left} = $acc->{granted} if $row->{skipped};
	},
	restart => sub { my ($self, $acc, $row) = @_; new_period($self, $acc, $row, $whole); },
	import => sub {
		my ($self, $acc, $row) = @_;
		my $version = version_after($self, $acc, $row);

		credit($acc, $_, brought($row, $_)) for qw(monthly purchased);
		$acc->{state}{adjusted} = {};
		$acc->{granted} = $version ? allowance($version, $acc->{share}) : 0;
		put($acc, @$_) for parts_of($row);
	},
	undo => sub {
		my ($self, $acc, $row) = @_;
		my $target = $acc->{state}{targets}{ $row->{ref_seq} // 0 } or return;
		my $now = $acc->{now};
		my $net = sub { return $now->{monthly} + $now->{granted} + $now->{purchased} - $now->{owed_monthly} - $now->{owed_purchased} };
		my $before = $net->();

		if ($target->{kind} eq 'reset' && ($row->{last_undone} // '') eq 't')
		{
			change_granted($acc, carried($acc->{left}) - carried($acc->{left}, $acc->{limit}));
			$acc->{undone} = 1;
			for my $hold (grep { $_->{is} eq 'expired' && $_->{period} == $acc->{period} - 1 } values %{ $acc->{state}{holds} })
			{
				$hold->{given_back} += $hold->{monthly};
				$hold->{monthly} = 0;
			}
		}
		elsif ($target->{kind} eq 'reset')
		{
			my $version = version_after($self, $acc, $row);

			change_granted($acc, $version ? allowance($version, $acc->{share}) : 0);
		}
		elsif ($target->{kind} eq 'set_plan') { change_granted($acc, $acc->{granted} - $target->{amount}); }
		elsif ($target->{kind} eq 'grant') { $now->{granted} -= close_grant($acc->{state}{grants}{ $target->{seq} }); }
		else
		{
			$acc->{granted} +=
			  $target->{period} == $acc->{period} ? brought($target, 'monthly') - $target->{period_granted} : rolled_over($acc);
			$acc->{undone} = 0;
			change_granted($acc, 0);
			take_or_owe($acc, 'purchased', brought($target, 'purchased'));
		}
		$acc->{amount} = $net->() - $before;
	},
	map { ($_ => sub { }) } qw(plan_change schedule_plan set_cycle set_overdraft set_low_threshold freeze unfreeze imported archive));

# How much of what rolled over goes with an import of an earlier period: not what was adjusted since.
sub rolled_over
{
	my ($acc) = @_;
	my $adjusted = $acc->{state}{adjusted} // {};
	my $kept = sum0(map { $_ < $acc->{period} ? $adjusted->{$_} : () } keys %$adjusted);
	my $before = carried($acc->{left}, $acc->{limit});

	$acc->{limit} = $acc->{undone} ? $kept : min($acc->{limit}, $kept);
	return $before - carried($acc->{left}, $acc->{limit});
}

# What an import brought to a bucket: its delta, or if it paid what was owed its allocations.
sub brought
{
	my ($row, $bucket) = @_;

	return part_of($row, $bucket eq 'monthly' ? $monthly : $purchased) if parts_of($row);
	return $row->{"${bucket}_delta"};
}

# --- Periods.

# From which anchor, zone and cycle an end is made.
sub made_from { return join ' ', map { $_ // '' } @_; }

# The number and the end of the period, and its share.
sub periods
{
	my ($self, $where, $row, $before, $state) = @_;
	my $kind = $row->{kind};
	my $at = TortureRows::instant($row->{effective_at});
	my $end = defined $row->{next_reset_at} ? TortureRows::instant($row->{next_reset_at}) : undef;
	my $begun = $kind eq 'reset' ? 1 + $row->{skipped} : $kind eq 'restart' ? 1 : 0;
	my $passed = $row->{period} - $begun - $state->{period};
	my $has_facts = defined $row->{status};

	if ($passed)
	{
		$self->bad("$where: the period $row->{period} after $state->{period}")
		  if $passed < 0 || defined $state->{plan} || defined $state->{scheduled_plan} || !defined $state->{end} || $state->{end} gt $at
		  || $kind eq 'reset' || !$has_facts || grep { $before->{$_} } qw(monthly held_monthly owed_monthly);
		@$state{qw(last_charged last_closed_seq)} = ($passed > 1 ? 0 : $state->{charged_monthly}, $state->{closed_seq});
		@$state{qw(left limit undone period_granted charged_monthly)} = (0, 0, 0, 0, 0);
	}
	elsif ($kind eq 'reset')
	{
		$self->bad("$where: a reset at another time than the end of the period")
		  if !defined $state->{end} || ($row->{skipped} ? $at le $state->{end} : $at ne $state->{end});
	}
	if ($begun)
	{
		$self->bad("$where: the period begins at another time") if !$has_facts || TortureRows::instant($row->{period_start}) ne $at;
		$self->bad("$where: the period has no end") if !defined $end || $end le $at;
		$self->bad("$where: a share of $row->{period_share} of a period that nothing shortens")
		  if $row->{period_share} != $whole
		  && ($kind eq 'restart' || $row->{skipped} || $state->{made_from} eq made_from(@$row{qw(cycle_anchor time_zone cycle)}));
	}
	my $is_new = $passed || $begun || !defined $state->{cycle} || $kind eq 'undo';
	$self->bad("$where: the end of the period moves from " . ($state->{end} // 'never') . ' to ' . ($end // 'never'))
	  if !$is_new && ($end // '') ne ($state->{end} // '');
	$self->bad("$where: a share of $row->{period_share}")
	  if $has_facts && (!$is_new && $row->{period_share} != $state->{share} || $row->{period_share} < 0 || $row->{period_share} > $whole);
	if ($has_facts && ($passed || $begun || !defined $state->{cycle}))
	{
		$state->{made_from} = made_from(@$row{qw(cycle_anchor time_zone cycle)});

		# A restart that leaves the boundaries where they are ends between them.
		$state->{made_from} = ''
		  if $kind eq 'restart' && ($row->{cycle} =~ /^(?:calendar|daily)$/ || $row->{cycle_anchor} eq ($state->{cycle_anchor} // ''));
	}
	$state->{end} = $end;
	$state->{share} = $row->{period_share} if $has_facts;
	return;
}

# --- A row, after those before it.

sub follows
{
	my ($self, $where, $row, $before, $state) = @_;
	my $kind = $row->{kind};

	$self->periods($where, $row, $before, $state);
	my $acc = {
		now => {%$before}, state => $state, at => TortureRows::instant($row->{effective_at}), lost => 0, parts => [], expired => 0, forfeited => 0,
		amount => $row->{amount}, left => $state->{left}, limit => $state->{limit}, undone => $state->{undone}, granted => $state->{period_granted}, share => $state->{share},
		period => $row->{period}, map { ($_ => $state->{$_}) } @of_closings };

	$rule{$kind}->($self, $acc, $row);
	my %wrong = map { ($_ => [ $row->{$_}, $acc->{now}{$_} ]) } grep { $row->{$_} != $acc->{now}{$_} } sort keys %{ $acc->{now} };
	for my $field (qw(amount expired forfeited))
	{
		$wrong{$field} = [ $row->{$field}, $acc->{$field} ] if $row->{$field} != $acc->{$field};
	}
	my @parts = map { join ' ', map { "@$_" } @$_ } [ parts_of($row) ], $acc->{parts};
	$wrong{allocations} = \@parts if $parts[0] ne $parts[1];
	my %fact = (period_granted => $acc->{granted}, last_left => $acc->{left}, last_limit => $acc->{limit}, last_undone => $acc->{undone} ? 't' : 'f');
	my %was = (period_granted => $state->{period_granted}, last_left => $state->{left}, last_limit => $state->{limit}, last_undone => $state->{undone} ? 't' : 'f');
	for my $field (sort keys %fact)
	{
		my $said = defined $row->{status} ? $row->{$field} // 'NULL' : $was{$field};

		$wrong{$field} = [ $said, $fact{$field} ] if $said ne $fact{$field};
	}
	$self->bad("$where: $kind has $_ $wrong{$_}[0], and the rules give $wrong{$_}[1]") for sort keys %wrong;

	# What follows is judged by what is there.
	@$state{qw(left limit undone)} = defined $row->{status} ? (@$row{qw(last_left last_limit)}, ($row->{last_undone} // '') eq 't') : @$acc{qw(left limit undone)};
	@$state{ 'period', @of_closings } = ($row->{period}, @$acc{@of_closings});
	return;
}

# --- Grants and holds, as they are at the end.

sub lots
{
	my ($self) = @_;

	$self->read_table('grant', sub {
		my ($stored) = @_;
		my $grant = (($self->{state_of}{ $stored->{user_id} } // {})->{grants} // {})->{ $stored->{seq} };
		my %expected = $grant ? (remaining => $grant->{left}, (map { ($_ => $grant->{$_}) } qw(expired elsewhere))) : ();

		$self->bad("$stored->{user_id} $stored->{seq}: a grant without a row") if !$grant;
		$self->differ("the grant $stored->{user_id} $stored->{seq}", $stored, \%expected);
	});
	$self->read_table('hold', sub {
		my ($stored) = @_;
		my $hold = (($self->{state_of}{ $stored->{user_id} } // {})->{holds} // {})->{ $stored->{seq} };
		my %expected = $hold ? ((map { ($_ => $hold->{$_}) } qw(monthly purchased period given_back)), state => $hold->{is}) : ();

		$self->bad("$stored->{user_id} $stored->{seq}: a hold without a row") if !$hold;
		$expected{parts} = sum0(map { $_->[1] } @{ $hold->{parts} }) if $hold;
		$self->differ("the hold $stored->{user_id} $stored->{seq}", { %$stored, parts => sum0(map { $_->[1] } parts_of($stored)) }, \%expected);
	});
	return;
}

sub differ
{
	my ($self, $where, $stored, $expected) = @_;

	for my $field (sort keys %$expected)
	{
		$self->bad("$where: $field is $stored->{$field}, and its rows give $expected->{$field}") if $stored->{$field} ne $expected->{$field};
	}
	return;
}

1;
