# How near an account is to having nothing, for the reference model: its level after each
# row, and the rows that cross one.
package CreditsModelLevels;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use List::Util qw(sum0);

our @EXPORT = qw(available is_low flags crosses);

# From the best to the worst.
my @levels = qw(ok low empty);
my %rank = map { $levels[$_] => $_ } 0 .. $#levels;

# Credits that an account can spend.
sub available { my ($acct) = @_; return sum0(map { $_->{credits} } grep { !defined $_->{hold} } @{ $acct->{lots} }); }

# The account's own threshold counts, and without one its plan's.
sub is_low { my ($acct) = @_; return available($acct) < ($acct->{threshold} // $acct->{plan_threshold}); }

sub flags
{
	my ($acct) = @_;
	my @is = (
		is_low($acct),
		available($acct) == 0,
		$acct->{owed}{purchased} > 0,
		$acct->{status} eq 'frozen',
		$acct->{status} eq 'closed');

	return sum0(map { $is[$_] ? 2**$_ : 0 } 0 .. $#is);
}

# Only what adds credits, or moves the threshold by a call or a boundary, can end a level.
# What comes back from holds cannot: so holds and releases around the threshold say it once.
my %can_recover = map { $_ => 1 } qw(open import purchase grant transfer_in refund reinstate undo reset restart
  set_plan set_low_threshold);

sub can_recover { my ($row) = @_; return $can_recover{ $row->{kind} } || ($row->{kind} eq 'adjust' && $row->{amount} > 0); }

# The account has just come to where this row leaves it: its level from now on.  Gives what
# the row says of it; a row that begins an account says nothing.
sub crosses
{
	my ($acct, $row) = @_;
	my $now = available($acct) == 0 ? 'empty' : is_low($acct) ? 'low' : 'ok';
	my $change = $rank{$now} - $rank{ $acct->{level} };

	return undef if $change == 0 || ($change < 0 && !can_recover($row));
	$acct->{level} = $now;
	return undef if $row->{kind} =~ /^(open|import)$/;
	return $change > 0 ? $now : $now eq 'ok' ? 'recovered' : undef;
}

1;
