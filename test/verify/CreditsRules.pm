# The rules that every row of a history keeps: docs/audit-format.md.
#
# A check gets the state before the row (the row before it, and as facts the
# account's plan, status and so on), the row, and returns what is wrong.
package CreditsRules;

use strict;
use warnings;
use CreditsFormat qw(MAX_AMOUNT INT64_MIN @FACTS history_hash);
use CreditsOpen qw(new_book check_turn check_open next_end);
use Exporter qw(import);

our @EXPORT_OK = qw(new_state check_row check_account check_plan same %AUDITED);

# What is done to an account and is in the audit log too.
our %AUDITED = map { ($_ => 1) } qw(freeze unfreeze clock_repair);

my @BALANCES = qw(monthly granted purchased);
my @HELD     = qw(held_monthly held_granted held_purchased);
my @OWED     = qw(owed_monthly owed_purchased);
# The state before the first row.
sub new_state
{
	my ($hash) = @_;
	return { seq => 0, hash => $hash, effective_at => INT64_MIN, keys => {},
		book => new_book(),
		facts => { time_zone => 'UTC', status => 'active', overdraft_limit => 0, period_granted => 0 },
		map { ($_ => 0) } @BALANCES, @HELD, @OWED };
}

sub shown { my ($v) = @_; defined $v ? $v : 'NULL' }

sub same { my ($x, $y) = @_; defined $x ? defined $y && $x eq $y : !defined $y }

# Balances within bounds, and each the one before it plus its delta.
sub check_amounts
{
	my ($before, $row) = @_;
	my @problems;
	for my $name (@BALANCES, @HELD, @OWED, qw(expired forfeited skipped))
	{
		push @problems, "$name is $row->{$name}"
		  if $row->{$name} < 0 || $row->{$name} > MAX_AMOUNT && $name !~ /^owed/;
	}
	for my $name (qw(amount monthly_delta granted_delta purchased_delta))
	{
		push @problems, "$name is $row->{$name}" if abs($row->{$name}) > MAX_AMOUNT;
	}
	return @problems if @problems;    # what follows could overflow
	my $total = 0;
	$total += $row->{$_} for @BALANCES, @HELD;
	push @problems, "the total $total is above " . MAX_AMOUNT if $total > MAX_AMOUNT;
	for my $name (@BALANCES)
	{
		my $expected = $before->{$name} + $row->{"${name}_delta"};
		push @problems,
		  "$name is $row->{$name}, not $before->{$name} + (" . $row->{"${name}_delta"} . ")"
		  if $row->{$name} != $expected;
	}
	return @problems;
}

# The order of time, and the period.
sub check_time
{
	my ($before, $row) = @_;
	my @problems;
	my $kind = $row->{kind};
	push @problems, 'effective_at is before that of the row before it'
	  if $row->{effective_at} < $before->{effective_at} && $kind ne 'clock_repair';
	if (defined $row->{next_reset_at})
	{
		push @problems, 'next_reset_at is not after period_start'
		  if $row->{next_reset_at} <= $row->{period_start};
		push @problems, 'effective_at is after the end of the period'
		  if $row->{effective_at} > $row->{next_reset_at}
		  || $row->{effective_at} == $row->{next_reset_at} && $kind !~ /\A(?:plan_change|hold_end|grant_end)\z/;
	}
	if ($kind !~ /\A(?:open|set_plan|plan_change|reset|import|undo)\z/ && ($before->{seq} || $kind ne 'imported'))
	{
		push @problems, 'the period changed'
		  unless same($row->{period_start}, $before->{period_start})
		  && (same($row->{next_reset_at}, $before->{next_reset_at}) || stretched($before, $row));
	}
	return @problems;
}

# Another cycle can make the period longer.
sub stretched
{
	my ($before, $row) = @_;
	return $row->{kind} eq 'set_cycle' && defined $row->{status} && defined $before->{next_reset_at}
	  && defined $row->{next_reset_at} && $row->{next_reset_at} > $before->{next_reset_at};
}

# The facts after the row, and what is wrong with what the row says of them.
sub check_facts
{
	my ($before, $row) = @_;
	my $facts = $before->{facts};
	my @problems;
	push @problems, "the first row is of kind '$row->{kind}', not open"
	  if $row->{seq} == 1 && $row->{kind} !~ /\A(?:open|import|imported)\z/;
	if (defined $row->{status})
	{
		$facts = { map { ($_ => $row->{$_}) } @FACTS };
		push @problems, 'plan without plan_version, or the reverse'
		  if defined $row->{plan} != defined $row->{plan_version};
		push @problems, "status is '$row->{status}'"
		  unless $row->{status} =~ /\A(?:active|frozen|closed)\z/;
		push @problems, map { "status without $_" }
		  grep { !defined $row->{$_} } qw(cycle_anchor time_zone overdraft_limit period_granted);
		push @problems, map { "$_ is $row->{$_}" }
		  grep { defined $row->{$_} && ($row->{$_} < 0 || $row->{$_} > MAX_AMOUNT) }
		  qw(overdraft_limit period_granted);
	}
	else
	{
		push @problems, 'the opening row has no status' if $row->{seq} == 1 && $row->{kind} ne 'imported';
		push @problems, map { "$_ without status" }
		  grep { $_ ne 'plan_version' && defined $row->{$_} } @FACTS;
		push @problems,
		  'plan_version is ' . shown($row->{plan_version}) . ', not ' . shown($facts->{plan_version})
		  unless same($row->{plan_version}, $facts->{plan_version});
	}
	return ($facts, @problems);
}

# How long a period can be, in microseconds.
my $LONGEST = 64 * 86400 * 1_000_000;

sub cycle_of
{
	my ($facts, $plans) = @_;
	my ($version) = grep { same($_->{version}, $facts->{plan_version}) } @{ $plans->{ $facts->{plan} // '' } // [] };
	return $version ? $version->{cycle} : '';
}

# The period's end, in the rows that can set it.
sub check_end
{
	my ($before, $row, $facts, $plans) = @_;
	my ($old, $end, $kind) = ($before->{next_reset_at}, $row->{next_reset_at}, $row->{kind});
	my $from = $kind =~ /\A(?:set_plan|set_cycle|undo)\z/ ? $old : undef;
	return () unless $kind =~ /\A(?:open|import|reset|set_plan|set_cycle)\z/ || $kind eq 'undo' && defined $facts->{plan};
	if (!defined $facts->{plan} && ($kind ne 'set_cycle' || !defined $old))
	{
		return same($end, $from) ? () : 'next_reset_at is ' . shown($end) . ', without a plan';
	}
	return 'next_reset_at is NULL, with a plan' unless defined $end;
	return 'next_reset_at is not after effective_at' if $end <= $row->{effective_at};
	return 'next_reset_at is more than 64 days away' if $end - ($from // $row->{effective_at}) > $LONGEST;
	return () unless defined $from;
	return 'next_reset_at is before the end that the period had' if $end < $from;
	return 'next_reset_at changed, the cycle did not'
	  if $end != $from && $kind ne 'set_cycle' && cycle_of($before->{facts}, $plans) eq cycle_of($facts, $plans);
	return ();
}

# The plan's version that the row names: its row of credit_plan (none, if there
# is no plan), and what is wrong with it.  It must have been in force; that a
# newer one was too is possible, after a clock that ran ahead.
sub in_force
{
	my ($row, $facts, $plans) = @_;
	return { monthly_credits => 0, rollover_limit => 0 } unless defined $facts->{plan};
	my ($version) = grep { same($_->{version}, $facts->{plan_version}) } @{ $plans->{ $facts->{plan} } // [] };
	return (undef, "plan '$facts->{plan}' has no version " . shown($facts->{plan_version})) unless $version;
	return ($version, $version->{effective_from} <= $row->{effective_at} ? ()
		: "plan_version is $version->{version}, which was not in force yet");
}

# What a row gives to the monthly bucket, its debt included.
sub monthly_given
{
	my ($before, $row) = @_;
	return $row->{monthly_delta} - $row->{owed_monthly} + $before->{owed_monthly};
}

# Rules of each kind: (state before, row, facts after, plans).
my %KIND;

$KIND{open} = sub {
	my ($before, $row, $facts, $plans) = @_;
	my ($version, @problems) = in_force($row, $facts, $plans);
	my $given = monthly_given($before, $row);
	push @problems, 'the account had a plan already' if $before->{seq} && defined $before->{facts}{plan};
	push @problems, "the account got $given, the amount is $row->{amount}" if $given != $row->{amount};
	push @problems, "the amount is $row->{amount}, the plan gives $version->{monthly_credits}"
	  if $version && $row->{amount} != $version->{monthly_credits};
	push @problems, "period_granted is $facts->{period_granted}, the amount is $row->{amount}"
	  if $facts->{period_granted} != $row->{amount};
	return (@problems, unchanged($before, $row, qw(granted purchased owed_purchased)));
};

$KIND{deduct} = sub {
	my ($before, $row, $facts) = @_;
	my $shortfall = $row->{owed_purchased} - $before->{owed_purchased};
	my $taken = $shortfall - $row->{monthly_delta} - $row->{granted_delta} - $row->{purchased_delta};
	my @problems = unchanged($before, $row, 'owed_monthly');
	push @problems, "took $taken, the amount is $row->{amount}" if $taken != $row->{amount};
	push @problems, "amount is $row->{amount}" if $row->{amount} < 1;
	push @problems, 'a deduction gave credits'
	  if grep { $_ > 0 } @$row{qw(monthly_delta granted_delta purchased_delta)};
	push @problems, 'granted or purchased credits were spent before monthly ones'
	  if $row->{monthly} && ($row->{granted_delta} || $row->{purchased_delta} || $shortfall);
	push @problems, 'purchased credits were spent before granted ones'
	  if $row->{granted} && ($row->{purchased_delta} || $shortfall);
	push @problems, 'more is owed than the overdraft limit allows'
	  if $shortfall < 0
	  || $shortfall && ($row->{purchased} || $row->{owed_purchased} > $facts->{overdraft_limit});
	push @problems, "the account was $before->{facts}{status}" if $before->{facts}{status} ne 'active';
	return @problems;
};

$KIND{purchase} = sub {
	my ($before, $row) = @_;
	my $repaid = $before->{owed_purchased} - $row->{owed_purchased};
	my $given = $row->{purchased_delta} + $repaid;
	return (
		($row->{amount} < 1 ? "amount is $row->{amount}" : ()),
		($given != $row->{amount} ? "the account got $given, the amount is $row->{amount}" : ()),
		($row->{owed_purchased} && $row->{purchased_delta} || $repaid < 0
			? 'what is owed was not paid first' : ()),
		(defined $row->{payment_ref} ? () : 'no payment_ref'),
		unchanged($before, $row, qw(monthly granted owed_monthly)));
};

$KIND{adjust} = sub {
	my ($before, $row) = @_;
	my ($changed, @problems) = (0);
	for my $name (@BALANCES)
	{
		my $owed = $name eq 'granted' ? 0 : $row->{"owed_$name"} - $before->{"owed_$name"};
		my $delta = $row->{"${name}_delta"};
		next unless $delta || $owed;
		$changed++;
		push @problems, "the account got " . ($delta - $owed) . ", the amount is $row->{amount}"
		  if $delta - $owed != $row->{amount};
		push @problems, 'more is owed after an adjustment' if $owed > 0;
		push @problems, 'what is owed was not paid first'
		  if $delta > 0 && $name ne 'granted' && $row->{"owed_$name"};
		push @problems, 'granted credits were raised' if $name eq 'granted' && $delta > 0;
	}
	push @problems, "$changed buckets changed" if $changed != 1;
	push @problems, 'no reason' unless defined $row->{reason} || defined $row->{reason_digest};
	return @problems;
};

$KIND{set_plan} = sub {
	my ($before, $row, $facts, $plans) = @_;
	my ($version, @problems) = in_force($row, $facts, $plans);
	my $given = monthly_given($before, $row);
	my $raised = $facts->{period_granted} - $before->{facts}{period_granted};
	push @problems, "the account got $given, but period_granted rose by $raised" if $given != $raised;
	push @problems, "the account got $given, the amount is $row->{amount}" if $given != $row->{amount};
	if ($version)
	{
		my $due = $version->{monthly_credits} - $before->{facts}{period_granted};
		$due = -$before->{monthly} if $due < -$before->{monthly};
		push @problems, "the amount is $row->{amount}, the change of plan gives $due" if $row->{amount} != $due;
	}
	return (@problems, unchanged($before, $row, qw(granted purchased owed_purchased)));
};

$KIND{schedule_plan} = sub {
	my ($before, $row) = @_;
	return unchanged($before, $row, @BALANCES, @OWED);
};

$KIND{plan_change} = sub {
	my ($before, $row, $facts, $plans) = @_;
	my $wanted = $before->{facts}{scheduled_plan};
	my (undef, @problems) = in_force($row, $facts, $plans);
	push @problems, unchanged($before, $row, @BALANCES, @OWED);
	if (!defined $wanted) { push @problems, 'no plan change was due' }
	elsif ($wanted ne ($facts->{plan} // '')) { push @problems, 'not the scheduled plan' }
	push @problems, 'the plan is still scheduled' if defined $facts->{scheduled_plan};
	push @problems, 'not at the end of the period'
	  unless same($row->{effective_at}, $before->{next_reset_at});
	return @problems;
};

$KIND{reset} = sub {
	my ($before, $row, $facts, $plans) = @_;
	my @problems = unchanged($before, $row, qw(granted purchased owed_purchased));
	push @problems, 'period_start is not effective_at'
	  if $row->{period_start} != $row->{effective_at};
	push @problems, "monthly_delta is $row->{monthly_delta}, not $row->{amount} - $row->{expired}"
	  if $row->{monthly_delta} != $row->{amount} - $row->{expired};
	push @problems, "period_granted is $facts->{period_granted}, the amount is $row->{amount}"
	  if $facts->{period_granted} != $row->{amount};
	push @problems, "owed_monthly is $row->{owed_monthly} after a reset" if $row->{owed_monthly};
	my $due = $before->{next_reset_at};
	if (!defined $due) { push @problems, 'no reset was due' }
	elsif ($row->{skipped} ? $row->{effective_at} <= $due : $row->{effective_at} != $due)
	{
		push @problems, 'not at the end of the period';
	}

	my ($version, @wrong_version) = in_force($row, $facts, $plans);
	push @problems, @wrong_version;
	return @problems unless $version;
	my ($allowance, $rollover) = @$version{qw(monthly_credits rollover_limit)};
	push @problems,
	  "amount $row->{amount} + forfeited $row->{forfeited} is not the allowance $allowance"
	  if $row->{amount} + $row->{forfeited} != $allowance;
	my $kept = $before->{monthly} < $rollover ? $before->{monthly} : $rollover;
	push @problems,
	  "expired is $row->{expired}, of $before->{monthly} at most $rollover could stay"
	  if $row->{expired} != $before->{monthly} - $kept;
	return @problems;
};

# The sums are followed in CreditsOpen.
$KIND{import} = sub {
	my ($before, $row, $facts, $plans) = @_;
	my ($version, @problems) = in_force($row, $facts, $plans);
	push @problems, 'period_start is after the import' if $row->{period_start} > $row->{effective_at};
	push @problems, "period_granted is $facts->{period_granted}, the plan gives $version->{monthly_credits}"
	  if $version && $facts->{period_granted} != $version->{monthly_credits};
	return (@problems, unchanged($before, $row, qw(granted owed_monthly owed_purchased)));
};

$KIND{freeze} = sub {
	my ($before, $row, $facts) = @_;
	return (
		($facts->{status} eq 'frozen' ? () : "status is '$facts->{status}'"),
		($before->{facts}{status} eq 'closed' ? 'the account was closed' : ()),
		unchanged($before, $row, @BALANCES, @OWED));
};

$KIND{unfreeze} = sub {
	my ($before, $row, $facts) = @_;
	return (
		($facts->{status} eq 'active' ? () : "status is '$facts->{status}'"),
		unchanged($before, $row, @BALANCES, @OWED));
};

$KIND{archive} = sub {
	my ($before, $row) = @_;
	return (
		($row->{amount} ? "amount is $row->{amount}" : ()),
		(defined $row->{ref_seq} && defined $row->{request_digest} ? () : 'it seals no checkpoint'),
		unchanged($before, $row, @BALANCES, @OWED));
};

$KIND{clock_repair} = sub {
	my ($before, $row) = @_;
	return unchanged($before, $row, @BALANCES, @OWED);
};

# What these do to sums, grants and holds is followed in CreditsOpen.
my %FOLLOWED = map { ($_ => 1) }
  qw(grant grant_end hold hold_end capture release refund revoke set_overdraft set_cycle
  undo imported transfer_out transfer_in close);

# What is not done to a closed account, of what says nothing of it above.
my %NOT_CLOSED = map { ($_ => 1) } qw(open set_plan schedule_plan grant);

# The facts that a row of a kind may change.
my %MAY_CHANGE = (
	open          => [@FACTS],
	set_plan      => [qw(plan plan_version scheduled_plan period_granted)],
	schedule_plan => ['scheduled_plan'],
	plan_change   => [qw(plan plan_version scheduled_plan)],
	reset         => [qw(plan_version period_granted)],
	freeze        => ['status'],
	unfreeze      => ['status'],
	set_overdraft => ['overdraft_limit'],
	set_cycle     => [qw(cycle_anchor time_zone)],
	undo          => [qw(plan plan_version scheduled_plan period_granted)],
	import        => [qw(plan plan_version cycle_anchor time_zone period_granted)],
	close         => [qw(plan plan_version scheduled_plan status period_granted)],
);

sub unchanged
{
	my ($before, $row, @names) = @_;
	return map { "$_ changed in a row of kind $row->{kind}" }
	  grep { $row->{$_} != $before->{$_} } @names;
}

sub check_kind
{
	my ($before, $row, $facts, $plans) = @_;
	my $kind = $row->{kind};
	my $check = $KIND{$kind};
	return "unknown kind '$kind'" unless $check || $FOLLOWED{$kind};

	my @problems = $check ? ($check->($before, $row, $facts, $plans), unchanged($before, $row, @HELD)) : ();
	push @problems, 'the account was closed' if $NOT_CLOSED{$kind} && $before->{facts}{status} eq 'closed';
	if ($row->{seq} > 1)
	{
		my %may = map { ($_ => 1) } @{ $MAY_CHANGE{$kind} // [] };
		push @problems, map { "$_ changed in a row of kind $kind" }
		  grep { !$may{$_} && !same($facts->{$_}, $before->{facts}{$_}) } @FACTS;
	}
	push @problems, "payment_ref in a row of kind $kind"
	  if defined $row->{payment_ref} && $kind !~ /\A(?:purchase|revoke)\z/;
	push @problems, map { "$_ is $row->{$_} in a row of kind $kind" } grep { $row->{$_} } $check ? qw(expired forfeited skipped) : 'skipped'
	  if $kind ne 'reset';
	return @problems;
}

# A purchase row and its credit_payment row.
sub check_payment
{
	my ($row, $payment) = @_;
	return 'no credit_payment row' unless $payment;
	return map { "credit_payment has another $_" } grep { !same($payment->{$_}, $row->{$_}) } qw(payment_ref amount);
}

# One row.  Returns the state after it, and what is wrong: the hash and the
# amounts first, because the other rules only make sense on top of them.
sub check_row
{
	my ($before, $row, $payment, $plans, $audited) = @_;
	my @problems;
	push @problems, 'the hash is not that of the row and the hash before it'
	  if $row->{hash} ne history_hash($before->{hash}, $row);
	push @problems, check_amounts($before, $row);
	my $facts = $before->{facts};
	if (!@problems)
	{
		($facts, @problems) = check_facts($before, $row);
		push @problems, check_time($before, $row), check_turn($before->{book}, $row);
		push @problems, check_end($before, $row, $facts, $plans), check_kind($before, $row, $facts, $plans)
		  if !@problems;
		push @problems, check_open($before->{book}, $before, $row, $facts, $plans) if !@problems;
		my @text = grep { defined $row->{$_} } qw(reason metadata);
		push @problems, map { "$_ with its digest" } grep { defined $row->{"${_}_digest"} } @text;
		push @problems, 'text_salt is not 16 bytes' if @text && length($row->{text_salt} // '') != 16;
		push @problems, 'text_salt without a text' if !@text && defined $row->{text_salt};
		push @problems, 'the idempotency key was used before'
		  if defined $row->{idempotency_key} && $before->{keys}{ $row->{idempotency_key} }++;
		push @problems, "ref_seq is $row->{ref_seq}"
		  if defined $row->{ref_seq} && ($row->{ref_seq} < 1 || $row->{ref_seq} >= $row->{seq});
	}
	push @problems, check_payment($row, $payment) if $row->{kind} eq 'purchase';
	push @problems, "the audit log has no such $row->{kind}"
	  if $AUDITED{ $row->{kind} } && !shift @{ $audited->{ $row->{kind} } // [] };
	return ({ %$row, facts => $facts, keys => $before->{keys}, book => $before->{book} }, @problems);
}

# A plan version, the one before it, and what the audit log says of it.
sub check_plan
{
	my ($row, $before, $defined) = @_;
	my $expected = $before ? $before->{version} + 1 : 1;
	my @problems;
	push @problems, "version $expected is missing" if $row->{version} != $expected;
	push @problems, 'effective_from is not after that of the version before it'
	  if $before && $row->{effective_from} <= $before->{effective_from};
	push @problems, map { "$_ is $row->{$_}" }
	  grep { $row->{$_} < 0 || $row->{$_} > MAX_AMOUNT }
	  qw(monthly_credits rollover_limit low_balance_threshold);
	return (@problems, 'the audit log does not define it') unless $defined;
	push @problems, map { "$_ is $row->{$_}, in the audit log " . shown($defined->{$_}) }
	  grep { !same($row->{$_}, $defined->{$_}) }
	  qw(effective_from monthly_credits rollover_limit low_balance_threshold cycle);
	return @problems;
}

# The account row against the last history row.
sub check_account
{
	my ($account, $state) = @_;
	my @problems;
	my %expected = ((map { ($_ => $state->{$_}) } @BALANCES, @HELD, @OWED,
			qw(effective_at next_reset_at)),
		last_monthly_reset => $state->{period_start},
		map { ($_ => $state->{facts}{$_}) } @FACTS);
	for my $name (sort keys %expected)
	{
		push @problems,
		  "credit_account has $name " . shown($account->{$name}) . ', the history ' . shown($expected{$name})
		  unless same($account->{$name}, $expected{$name});
	}
	push @problems, 'credit_account has another history_hash'
	  if $account->{history_hash} ne $state->{hash};
	push @problems, 'next_event_at is after next_reset_at'
	  if defined $account->{next_reset_at}
	  && (!defined $account->{next_event_at} || $account->{next_event_at} > $account->{next_reset_at});
	my $end = next_end($state->{book});
	push @problems, 'next_event_at is after the end of a hold or grant'
	  if defined $end && (!defined $account->{next_event_at} || $account->{next_event_at} > $end);
	return @problems;
}

1;
