# How near an account is to having nothing, said once more from docs/audit-format.md: what
# each row crosses, and the account's level after it.  TortureCheck is one.
package TortureLevels;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use List::Util qw(sum0);

our @EXPORT_OK = qw(@of_levels);

# What an account has of it.
our @of_levels = qw(plan_threshold level flags);

my %depth = (ok => 0, low => 1, empty => 2);
my %recovers = map { ($_ => 1) } qw(open import purchase grant transfer_in refund reinstate undo reset restart set_plan set_low_threshold);

# The row leaves $state, whose facts are those after it.
sub passes_level
{
	my ($self, $where, $row, $state) = @_;
	my $version = $self->plan_version($state->{plan}, $state->{plan_version} // 0);
	my $available = sum0(@$row{qw(monthly granted purchased)});
	my $crossed = '';

	$state->{plan_threshold} = $version ? $version->{low_balance_threshold} : 0;
	my $is_low = $available < ($state->{low_threshold} // $state->{plan_threshold});
	my $now = !$available ? 'empty' : $is_low ? 'low' : 'ok';
	my $deeper = $depth{$now} - $depth{ $state->{level} };
	if ($deeper > 0 || ($deeper < 0 && ($recovers{ $row->{kind} } || ($row->{kind} eq 'adjust' && $row->{amount} > 0))))
	{
		$state->{level} = $now;
		$crossed = $deeper > 0 ? $now : $now eq 'ok' ? 'recovered' : '' if $row->{kind} !~ /^(?:open|import)$/;
	}
	$self->bad("$where: $row->{kind} crosses " . ($row->{crossed} // 'nothing') . ', and the rules give ' . ($crossed || 'nothing'))
	  if ($row->{crossed} // '') ne $crossed;
	$self->{stats}{'levels crossed'}++ if $crossed;

	my @is = ($is_low, !$available, $row->{owed_purchased} > 0, $state->{status} eq 'frozen', $state->{status} eq 'closed');
	$state->{flags} = sum0(map { $is[$_] ? 2**$_ : 0 } 0 .. $#is);
	return;
}

1;
