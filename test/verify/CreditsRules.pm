# The rules that every row of a history keeps: docs/audit-format.md.  Those of its kind
# are in CreditsOpen.
#
# A check gets the state before the row (the row before it, and as facts the
# account's plan, status and so on), the row, and returns what is wrong.
package CreditsRules;

use strict;
use warnings;
use CreditsFormat qw(MAX_AMOUNT INT64_MIN @FACTS history_hash);
use CreditsLevels qw(pass_level level_columns);
use CreditsOpen qw(new_book check_turn check_open next_end);
use CreditsPeriods qw(FULL same shown fold is_silent end_columns);
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
	return { seq => 0, hash => $hash, effective_at => INT64_MIN, period => 1, level => 'empty', keys => {},
		book => new_book(),
		facts => { time_zone => 'UTC', status => 'active', overdraft_limit => 0, period_granted => 0,
			period_share => FULL, last_left => 0, last_limit => 0, last_undone => 0 },
		map { ($_ => 0) } @BALANCES, @HELD, @OWED };
}

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
	push @problems, "period is $row->{period}" if $row->{period} < 1 || $row->{period} > MAX_AMOUNT;
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

# The order of time, and the period's.
sub check_time
{
	my ($before, $row, $facts) = @_;
	my @problems;
	my ($kind, $end) = @$row{qw(kind next_reset_at)};
	push @problems, 'effective_at is before that of the row before it'
	  if $row->{effective_at} < $before->{effective_at} && $kind ne 'clock_repair';
	return @problems unless defined $end;
	push @problems, 'next_reset_at is not after period_start'
	  if defined $facts->{period_start} && $end <= $facts->{period_start};
	push @problems, 'effective_at is after the end of the period'
	  if $row->{effective_at} > $end || $row->{effective_at} == $end && $kind !~ /\A(?:plan_change|hold_end|grant_end)\z/;
	return @problems;
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
		  grep { !defined $row->{$_} } qw(cycle_anchor time_zone overdraft_limit period_granted period_start period_share last_left last_limit last_undone);
		push @problems, map { "$_ is $row->{$_}" }
		  grep { defined $row->{$_} && ($row->{$_} < 0 || $row->{$_} > MAX_AMOUNT) }
		  qw(overdraft_limit period_granted last_limit low_threshold);
		push @problems, "last_left is $row->{last_left}" if abs($row->{last_left} // 0) > MAX_AMOUNT;
		push @problems, "period_share is $row->{period_share}"
		  if defined $row->{period_share} && ($row->{period_share} < 0 || $row->{period_share} > FULL);
	}
	else
	{
		push @problems, 'the opening row has no status' if $row->{seq} == 1 || $row->{kind} =~ /\A(?:open|import)\z/;
		push @problems, map { "$_ without status" }
		  grep { $_ ne 'plan_version' && defined $row->{$_} } @FACTS;
		push @problems,
		  'plan_version is ' . shown($row->{plan_version}) . ', not ' . shown($facts->{plan_version})
		  unless same($row->{plan_version}, $facts->{plan_version});
	}
	return ($facts, @problems);
}

# Texts, keys and references.
sub check_rest
{
	my ($before, $row) = @_;
	my @text = grep { defined $row->{$_} } qw(reason metadata);
	return (
		(map { "$_ with its digest" } grep { defined $row->{"${_}_digest"} } @text),
		(@text && length($row->{text_salt} // '') != 16 ? 'text_salt is not 16 bytes' : ()),
		(!@text && defined $row->{text_salt} ? 'text_salt without a text' : ()),
		(defined $row->{idempotency_key} && $before->{keys}{ $row->{idempotency_key} }++ ? 'the idempotency key was used before' : ()),
		(defined $row->{ref_seq} && ($row->{ref_seq} < 1 || $row->{ref_seq} >= $row->{seq}) ? "ref_seq is $row->{ref_seq}" : ()));
}

# A row with a payment and its credit_payment row.
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
	my $level = $before->{level};
	if (!@problems)
	{
		($facts, @problems) = check_facts($before, $row);
		push @problems, check_time($before, $row, $facts), check_turn($before->{book}, $row);
		my ($folded, @wrong) = @problems ? () : fold($before, $row);
		push @problems, @wrong;
		push @problems, check_open($folded, $row, $facts, $plans) if !@problems;
		push @problems, check_rest($before, $row);
		($level, @wrong) = pass_level($level, $row, $facts, $plans);
		push @problems, @wrong;
	}
	push @problems, check_payment($row, $payment)
	  if $row->{kind} eq 'purchase' || $row->{kind} eq 'grant' && defined $row->{payment_ref};
	push @problems, "the audit log has no such $row->{kind}"
	  if $AUDITED{ $row->{kind} } && !shift @{ $audited->{ $row->{kind} } // [] };
	return ({ %$row, facts => $facts, level => $level, keys => $before->{keys}, book => $before->{book} }, @problems);
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
	my ($account, $state, $plans) = @_;
	my @problems;
	my ($facts, $book, $end) = @$state{qw(facts book next_reset_at)};
	my %expected = (end_anchor => undef, end_zone => undef, end_cycle => undef, end_columns($book, $facts, $end),
		(map { ($_ => $book->{$_} || undef) } qw(closed_seq forfeited charged_monthly charged_purchased last_charged last_closed_seq)),
		(map { ($_ => $state->{$_}) } @BALANCES, @HELD, @OWED, qw(effective_at period next_reset_at)),
		(map { ($_ => $facts->{$_}) } grep { $_ ne 'period_start' } @FACTS), level_columns($state, $plans),
		last_monthly_reset => $facts->{period_start});
	for my $name (sort keys %expected)
	{
		push @problems,
		  "credit_account has $name " . shown($account->{$name}) . ', the history ' . shown($expected{$name})
		  unless same($account->{$name}, $expected{$name});
	}
	push @problems, 'credit_account has another history_hash'
	  if $account->{history_hash} ne $state->{hash};
	my $event = $account->{next_event_at};
	push @problems, 'next_event_at is after next_reset_at'
	  if defined $end && !is_silent($state) && (!defined $event || $event > $end);
	my $next = next_end($book);
	push @problems, 'next_event_at is after the end of a hold or grant'
	  if defined $next && (!defined $event || $event > $next);
	return @problems;
}

1;
