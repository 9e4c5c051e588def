# What was taken back, imported or closed: docs/audit-format.md.
#
# Checks as in CreditsOpen: they get $c, as in CreditsPeriods.
package CreditsLife;

use strict;
use warnings;
use CreditsPeriods qw(FULL allowance in_force same same_length clamp at_least_0 least credit change_monthly set_end check_end);
use Exporter qw(import);

our @EXPORT_OK = qw(%LIFE_KIND keep_undoable);

use constant NO_ANCHOR => 946_684_800_000_000;    # 2000-01-01

my @HELD = qw(held_monthly held_granted held_purchased);

our %LIFE_KIND;

# Rows that can be undone are kept until they are.
sub keep_undoable
{
	my ($book, $before, $row) = @_;
	return unless $row->{kind} =~ /\A(?:reset|set_plan|grant|import)\z/;
	my $target = $book->{undoable}{ $row->{seq} } = { map { ($_ => $row->{$_}) }
		  qw(seq kind amount period plan plan_version period_granted status) };
	$target->{$_} = $row->{"${_}_delta"} - $row->{"owed_$_"} + $before->{"owed_$_"} for qw(monthly purchased);
	return;
}

# What is allowed by an undo becomes another number.  Monthly credits change by the difference.
sub grant_otherwise
{
	my ($c, $granted) = @_;
	my $change = $granted - $c->{facts}{period_granted};
	$c->{facts}{period_granted} = $granted;
	change_monthly($c->{now}, $change);
	return $c->{expect}{amount} = $change;
}

# Is all as the row that is undone left it?
sub as_left
{
	my ($c, $target) = @_;
	return map { "$_ was changed since" } grep { !same($c->{before}{facts}{$_}, $target->{$_}) } qw(plan plan_version period_granted);
}

my %UNDO;

# What was monthly of a hold and expired with it counts as given back.
sub give_back_expired
{
	my ($hold) = @_;
	for my $part (grep { $_->[0] == 0 } @{ $hold->{parts} })
	{
		$hold->{given_back} += $part->[1];
		$part->[1] = 0;
	}
	return;
}

# The boundary is taken back, or it grants anew.
$UNDO{reset} = sub {
	my ($c, $target) = @_;
	my ($facts, $after, $book) = @$c{qw(facts after book)};
	if ($after->{last_undone})
	{
		my ($left, $limit) = @$facts{qw(last_left last_limit)};
		grant_otherwise($c, at_least_0($left) - clamp($left, $limit));
		$facts->{last_undone} = 1;
		give_back_expired($_) for grep { $_->{state} eq 'expired' && $_->{period} == $c->{before}{period} - 1 } values %{ $book->{holds} };
		return as_left($c, $target);
	}
	my ($version, @problems) = in_force($c);
	return @problems unless $version;
	if (defined $facts->{plan} && same($facts->{plan}, $after->{plan}))
	{
		push @problems, "the cycle '$version->{cycle}' has not the length of '$facts->{cycle}'"
		  unless same_length($version->{cycle}, $facts->{cycle});
		@$facts{qw(plan_version cycle)} = ($after->{plan_version}, $version->{cycle});
	}
	my $granted = allowance($version, $facts->{period_share});
	push @problems, 'the regrant changes nothing'
	  if $granted == $facts->{period_granted} && same($c->{before}{facts}{plan_version}, $after->{plan_version});
	grant_otherwise($c, $granted);
	return @problems;
};

$UNDO{set_plan} = sub {
	my ($c, $target) = @_;
	grant_otherwise($c, $c->{facts}{period_granted} - $target->{amount});
	return as_left($c, $target);
};

$UNDO{grant} = sub {
	my ($c, $target) = @_;
	my $grant = $c->{book}{grants}{ $target->{seq} };
	return 'the grant was not open' if $grant->{closed} || $grant->{ends_at} <= $c->{row}{effective_at};
	$c->{expect}{amount} = -$grant->{left};
	$c->{now}{granted} -= $grant->{left};
	@$grant{qw(left closed)} = (0, 1);
	delete $c->{book}{live}{ $target->{seq} };
	return ();
};

$UNDO{import} = sub {
	my ($c, $target) = @_;
	my ($before, $now, $facts) = @$c{qw(before now facts)};
	my $granted = $facts->{period_granted};
	my $change = -$granted;
	if ($target->{period} == $before->{period}) { $change -= $target->{monthly} - $target->{period_granted} }
	else
	{
		my ($left, $limit) = @$facts{qw(last_left last_limit)};
		my $adjusted = $c->{book}{adjusted};
		my $kept = 0;
		$kept += $adjusted->{$_} for grep { $_ < $before->{period} } keys %$adjusted;
		$kept = least($kept, $limit) unless $facts->{last_undone};
		$change -= clamp($left, $limit) - clamp($left, $kept);
		$facts->{last_limit} = $kept;
	}
	change_monthly($now, $change);
	my $taken = least($target->{purchased}, $now->{purchased});
	$now->{purchased} -= $taken;
	$now->{owed_purchased} += $target->{purchased} - $taken;
	@$facts{qw(plan plan_version scheduled_plan cycle)} = ();
	@$facts{qw(period_granted period_start period_share last_undone)} = (0, $c->{row}{effective_at}, FULL, 0);
	$c->{book}{undoable} = {};    # nothing before it can be undone
	@{ $c->{expect} }{qw(amount next_reset_at)} = ($change - $target->{purchased}, undef);
	return ();
};

$LIFE_KIND{undo} = sub {
	my ($c) = @_;
	my ($row, $book, $before) = @$c{qw(row book before)};
	my $target = delete $book->{undoable}{ $row->{ref_seq} // 0 }
	  or return 'ref_seq is nothing that can be undone, or was undone';
	my $kind = $target->{kind};
	return 'it is not of this period' if $kind =~ /\A(?:reset|set_plan)\z/ && $target->{period} != $before->{period};
	return 'it is the boundary of a closed account' if $kind eq 'reset' && ($target->{status} // '') eq 'closed';
	return 'the account was closed since' if $target->{seq} < $book->{closed_seq};
	return $UNDO{$kind}->($c, $target);
};

# Nothing may be in an account that something is imported into.
sub in_use
{
	my ($before) = @_;
	return 'the account was in use'
	  if (grep { $before->{$_} } qw(monthly granted purchased), @HELD) || defined $before->{facts}{plan}
	  || defined $before->{facts}{cycle} || $before->{facts}{status} eq 'closed';
	return ();
}

$LIFE_KIND{imported} = sub {
	my ($c) = @_;
	@{ $c->{facts} }{qw(cycle_anchor period_start)} = (NO_ANCHOR, $c->{row}{effective_at}) unless $c->{before}{seq};
	return in_use($c->{before});
};

$LIFE_KIND{import} = sub {
	my ($c) = @_;
	my ($before, $row, $now, $facts, $after) = @$c{qw(before row now facts after)};
	my ($version, @problems) = in_force($c);
	return @problems unless $version;
	my %given = map { ($_ => $row->{"${_}_delta"} - $row->{"owed_$_"} + $before->{"owed_$_"}) } qw(monthly purchased);
	push @problems, in_use($before), map { "$_ is negative" } grep { $given{$_} < 0 } sort keys %given;
	return @problems if @problems;
	credit($now, $_, $given{$_}) for keys %given;
	$c->{book}{adjusted} = {};
	$c->{expect}{amount} = $given{monthly} + $given{purchased};
	$c->{expect}{allocations} = [ grep { $_->[1] } [ 0, $given{monthly} ], [ -1, $given{purchased} ] ]
	  if $before->{owed_monthly} || $before->{owed_purchased};
	@$facts{qw(plan plan_version cycle_anchor time_zone period_start)} = @$after{qw(plan plan_version cycle_anchor time_zone period_start)};
	@$facts{qw(cycle period_share period_granted)} = ($version->{cycle}, FULL, allowance($version, FULL));
	push @problems, 'period_start is after the import' if $facts->{period_start} > $row->{effective_at};
	if (defined $facts->{plan})
	{
		push @problems, check_end($c, $facts->{period_start});
		set_end($c->{book}, $facts);
	}
	return @problems;
};

$LIFE_KIND{close} = sub {
	my ($c) = @_;
	my ($before, $row, $now, $facts, $book, $expect) = @$c{qw(before row now facts book expect)};
	my @open = sort { $a->{ends_at} <=> $b->{ends_at} || $a->{seq} <=> $b->{seq} }
	  grep { $_->{left} } values %{ $book->{grants} };
	my @problems = ($facts->{status} eq 'closed' ? 'the account was closed' : (), map { "$_ is not 0" } grep { $before->{$_} } @HELD);
	$expect->{expired} = $before->{monthly} + $before->{granted};
	$expect->{forfeited} = $before->{purchased};
	$expect->{amount} = $expect->{expired} + $expect->{forfeited};
	$expect->{allocations} = [ map { [ $_->{seq}, $_->{left} ] } @open ];
	change_monthly($now, -$facts->{period_granted});
	$now->{$_} = 0 for qw(monthly granted purchased);
	for my $grant (values %{ $book->{grants} })
	{
		next if $grant->{closed} || $grant->{ends_at} <= $row->{effective_at};
		$grant->{expired} += $grant->{left} if $grant->{paid};
		@$grant{qw(left closed)} = (0, 1);
	}
	$book->{live} = {};
	$book->{closed_seq} = $row->{seq};
	$book->{forfeited} += $before->{purchased};
	$book->{"charged_$_"} = $now->{"owed_$_"} for qw(monthly purchased);
	@$facts{qw(plan plan_version scheduled_plan status period_granted last_undone)} = (undef, undef, undef, 'closed', 0, 0);
	return @problems;
};

1;
