# What was taken back, imported, moved to another user or closed: docs/audit-format.md.
#
# Checks as in CreditsOpen: (book, state before, row, what it does to the sums, what
# the row should have, facts after, plans).
package CreditsLife;

use strict;
use warnings;
use Exporter qw(import);

our @EXPORT_OK = qw(%LIFE_KIND %LIFE_HAS keep_undoable);

my @SUMS = qw(monthly granted purchased held_monthly held_granted held_purchased
  owed_monthly owed_purchased);

our %LIFE_HAS = (undo => ['ref_seq'], close => ['allocations']);
our %LIFE_KIND;

# Rows that can be undone are kept until they are.
sub keep_undoable
{
	my ($book, $row) = @_;
	$book->{undoable}{ $row->{seq} } = { map { ($_ => $row->{$_}) }
		  qw(kind amount expired skipped period_start effective_at purchased_delta) }
	  if $row->{kind} =~ /\A(?:reset|set_plan|grant|import)\z/;
	return;
}

sub least { return $_[0] < $_[1] ? $_[0] : $_[1] }

# A change of the monthly bucket: debts are paid first, and what is not there is owed.
sub change_monthly
{
	my ($now, $change) = @_;
	if ($change >= 0)
	{
		my $pays = least($change, $now->{owed_monthly});
		$now->{owed_monthly} -= $pays;
		$now->{monthly} += $change - $pays;
	}
	else
	{
		my $taken = least(-$change, $now->{monthly});
		$now->{monthly} -= $taken;
		$now->{owed_monthly} += -$change - $taken;
	}
	return;
}

sub not_below_0 { return $_[0] < 0 ? 0 : $_[0] }

sub same { my ($x, $y) = @_; return defined $x ? defined $y && $x eq $y : !defined $y }

# What the last of several boundaries took, if the one before it was by this version.
sub by_last
{
	my ($target, $version) = @_;
	my $kept = $target->{skipped} == 1 ? least($target->{expired}, $version->{rollover_limit}) : 0;
	return $version->{monthly_credits} + $kept;
}

# A reset that is undone: with all that had expired or only what the last boundary
# took, and with or without another allowance.  One of these must be what the row says.
sub undo_reset
{
	my ($before, $target, $row, $now, $expect, $facts, $plans) = @_;
	my @versions = defined $facts->{plan} ? @{ $plans->{ $facts->{plan} } // [] } : ();
	my @expired = ($target->{expired}, $target->{skipped}
		? map { by_last($target, $_) } grep { $_->{effective_from} <= $target->{effective_at} } @versions : ());
	my @again = grep { same($_->{version}, $row->{plan_version}) && $_->{effective_from} <= $row->{effective_at} } @versions;
	my $first;
	for my $expired (@expired)
	{
		for my $again (undef, @again)
		{
			my %tried = %$now;
			my $granted = not_below_0($before->{facts}{period_granted} - $target->{amount});
			change_monthly(\%tried, $expired - $target->{amount});
			change_monthly(\%tried, $again->{monthly_credits}) if $again;
			$granted += $again->{monthly_credits} if $again;
			my %wants = (amount => $expired - $target->{amount} + ($again ? $again->{monthly_credits} : 0),
				period_granted => $granted,
				plan_version => $again ? $again->{version} : $before->{facts}{plan_version});
			$first //= [ \%tried, \%wants ];
			next if grep { $tried{$_} != $row->{$_} } qw(monthly owed_monthly);
			next if $wants{amount} != $row->{amount} || $wants{period_granted} != $facts->{period_granted}
			  || !same($wants{plan_version}, $facts->{plan_version});
			$first = [ \%tried, \%wants ];
		}
	}
	%$now = %{ $first->[0] };
	$expect->{amount} = $first->[1]{amount};
	$expect->{next_reset_at} = $row->{next_reset_at} if defined $facts->{plan} && defined $row->{next_reset_at};
	$expect->{facts} = { map { ($_ => $first->[1]{$_}) } qw(period_granted plan_version) };
	return;
}

$LIFE_KIND{undo} = sub {
	my ($book, $before, $row, $now, $expect, $facts, $plans) = @_;
	my $target = delete $book->{undoable}{ $row->{ref_seq} // 0 }
	  or return 'ref_seq is nothing that can be undone, or was undone';
	my $kind = $target->{kind};
	$expect->{next_reset_at} = $before->{next_reset_at} // 'NULL';
	$expect->{period_start} = $before->{period_start};
	$expect->{facts} = { map { ($_ => $before->{facts}{$_}) } qw(plan plan_version scheduled_plan period_granted) };
	return 'it is not of this period'
	  if $kind =~ /\A(?:reset|set_plan)\z/ && $target->{period_start} != $before->{period_start};
	if ($kind eq 'reset')
	{
		undo_reset($before, $target, $row, $now, $expect, $facts, $plans);
		$expect->{facts}{$_} = $before->{facts}{$_} for qw(plan scheduled_plan);
	}
	elsif ($kind eq 'set_plan')
	{
		$expect->{amount} = -$target->{amount};
		change_monthly($now, -$target->{amount});
		$expect->{facts}{period_granted} = not_below_0($before->{facts}{period_granted} - $target->{amount});
	}
	elsif ($kind eq 'grant')
	{
		my $grant = $book->{grants}{ $row->{ref_seq} };
		return 'the grant was not open' if $grant->{closed} || $grant->{ends_at} <= $row->{effective_at};
		$expect->{amount} = -$grant->{left};
		$now->{granted} -= $grant->{left};
		@$grant{qw(left closed)} = (0, 1);
		delete $book->{live}{ $row->{ref_seq} };
	}
	else
	{
		my $purchased = least($target->{purchased_delta}, $before->{purchased});
		$expect->{amount} = -$before->{monthly} - $purchased;
		$now->{purchased} -= $purchased;
		$now->{monthly} = $now->{owed_monthly} = 0;
		$expect->{next_reset_at} = 'NULL';
		$expect->{facts} = { plan => undef, plan_version => undef, scheduled_plan => undef, period_granted => 0 };
	}
	return ();
};

# Nothing may be in an account that something is imported into.
sub in_use
{
	my ($before) = @_;
	return 'the account was in use'
	  if (grep { $before->{$_} } @SUMS) || defined $before->{facts}{plan} || defined $before->{next_reset_at}
	  || $before->{facts}{status} eq 'closed';
	return ();
}

$LIFE_KIND{imported} = sub {
	my ($book, $before, $row) = @_;
	return (in_use($before), $before->{seq} || $row->{period_start} == $row->{effective_at} ? ()
		: 'period_start is not effective_at');
};

$LIFE_KIND{import} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my @negative = grep { $row->{"${_}_delta"} < 0 } qw(monthly purchased);
	$now->{$_} = $row->{"${_}_delta"} for qw(monthly purchased);
	$expect->{amount} = $now->{monthly} + $now->{purchased};
	return (in_use($before), map { "$_ is negative" } @negative);
};

$LIFE_KIND{transfer_out} = sub {
	my ($book, $before, $row, $now) = @_;
	$now->{purchased} -= $row->{amount};
	return (
		($before->{facts}{status} eq 'frozen' ? 'the account was frozen' : ()),
		($row->{amount} > $before->{purchased} ? 'more was moved than there was' : ()),
		(defined $row->{spender} ? () : 'no spender'));
};

$LIFE_KIND{transfer_in} = sub {
	my ($book, $before, $row, $now) = @_;
	my $pays = least($row->{amount}, $now->{owed_purchased});
	$now->{owed_purchased} -= $pays;
	$now->{purchased} += $row->{amount} - $pays;
	return (
		($before->{facts}{status} eq 'closed' ? 'the account was closed' : ()),
		(defined $row->{spender} ? () : 'no spender'));
};

$LIFE_KIND{close} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my $facts = $before->{facts};
	my @held = grep { $before->{$_} } grep { /^held/ } @SUMS;
	my @open = sort { $a->{ends_at} <=> $b->{ends_at} || $a->{seq} <=> $b->{seq} }
	  grep { $_->{left} } values %{ $book->{grants} };
	$expect->{expired} = $before->{monthly} + $before->{granted};
	$expect->{forfeited} = $before->{purchased};
	$expect->{amount} = $expect->{expired} + $expect->{forfeited};
	$expect->{allocations} = [ map { [ $_->{seq}, $_->{left} ] } @open ];
	$now->{$_} = 0 for qw(monthly granted purchased);
	for my $grant (values %{ $book->{grants} })
	{
		next if $grant->{closed} || $grant->{ends_at} <= $row->{effective_at};
		@$grant{qw(left closed)} = (0, 1);
	}
	$book->{live} = {};
	$expect->{facts} = { plan => undef, plan_version => undef, scheduled_plan => undef, status => 'closed',
		period_granted => $facts->{period_granted} - least($facts->{period_granted}, $before->{monthly}) };
	return (($facts->{status} eq 'closed' ? 'the account was closed' : ()), map { "$_ is not 0" } @held);
};

1;
