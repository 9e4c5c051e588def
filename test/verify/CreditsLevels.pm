# When credits are low or gone, and the rows that say so: docs/audit-format.md.
package CreditsLevels;

use strict;
use warnings;
use CreditsPeriods qw(version_of same shown);
use Exporter qw(import);

our @EXPORT_OK = qw(pass_level level_columns);

# From good to bad.
my %RANK = (ok => 0, low => 1, empty => 2);

# The flags of an account.
use constant { IS_LOW => 1, IS_EMPTY => 2, OWES => 4, IS_FROZEN => 8, IS_CLOSED => 16 };

# A row of these kinds can bring an account to a better level; an adjustment if it gives.
my %RECOVERS = map { ($_ => 1) } qw(open import purchase grant transfer_in refund reinstate undo reset restart
  set_plan set_low_threshold);

# Rows that only begin something cross nothing.
my %BEGINS = map { ($_ => 1) } qw(open import);

# The threshold of the plan's version.  One that is not there is reported elsewhere.
sub plan_threshold
{
	my ($facts, $plans) = @_;
	my $version = version_of($facts, $plans);
	return $version ? $version->{low_balance_threshold} // 0 : 0;
}

sub threshold { my ($facts, $plans) = @_; return $facts->{low_threshold} // plan_threshold($facts, $plans) }

# Held credits do not count.
sub available { my ($row) = @_; return $row->{monthly} + $row->{granted} + $row->{purchased} }

# What the credits that are there now come to.
sub level_now
{
	my ($row, $facts, $plans) = @_;
	my $available = available($row);
	return !$available ? 'empty' : $available < threshold($facts, $plans) ? 'low' : 'ok';
}

# The level after the row, and what it has crossed, or nothing.
sub after_row
{
	my ($level, $row, $facts, $plans) = @_;
	my $now = level_now($row, $facts, $plans);
	my $kind = $row->{kind};
	return ($level, undef) if $now eq $level;
	return ($now, $BEGINS{$kind} ? undef : $now) if $RANK{$now} > $RANK{$level};
	return ($level, undef) unless $RECOVERS{$kind} || $kind eq 'adjust' && $row->{amount} > 0;
	return ($now, $now eq 'ok' && !$BEGINS{$kind} ? 'recovered' : undef);
}

# The level after the row, and what is wrong.
sub pass_level
{
	my ($before, $row, $facts, $plans) = @_;
	my ($level, $crossed) = after_row($before, $row, $facts, $plans);
	return ($level, same($row->{crossed}, $crossed) ? ()
		: 'crossed is ' . shown($row->{crossed}) . ', not ' . shown($crossed));
}

# What credit_account and credit_checkpoint should say of a state.
sub level_columns
{
	my ($state, $plans) = @_;
	my $facts = $state->{facts};
	my $available = available($state);
	my $flags = ($available < threshold($facts, $plans) ? IS_LOW : 0) + ($available ? 0 : IS_EMPTY)
	  + ($state->{owed_purchased} ? OWES : 0)
	  + ($facts->{status} eq 'frozen' ? IS_FROZEN : $facts->{status} eq 'closed' ? IS_CLOSED : 0);
	return (plan_threshold => plan_threshold($facts, $plans), level => $state->{level} eq 'ok' ? undef : $state->{level},
		flags => $flags || undef);
}

1;
