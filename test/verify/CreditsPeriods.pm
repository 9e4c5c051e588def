# Periods, their ends, and the monthly credits that belong to one: docs/audit-format.md.
#
# $c is what a row is checked with: before (the state before it, silent boundaries passed),
# row, after (the facts after it), now (the sums, as the rules change them), facts (likewise),
# expect (what the row's columns should be), book (what is open), plans.
package CreditsPeriods;

use strict;
use warnings;
use CreditsFormat qw(@FACTS);
use Exporter qw(import);

our @EXPORT_OK = qw(FULL allowance version_of in_force clamp least same shown credit change_monthly
  is_silent fold set_end check_end first_plan boundary at_least_0 from_before monthly_back end_columns same_length);

use constant FULL => 1_000_000;
use constant DAY  => 86_400_000_000;

# Each cycle's length, and how long that can be, in days.
my %CYCLE = (daily => [ day => 1 ], weekly => [ week => 7 ], calendar => [ month => 31 ],
	anniversary => [ month => 31 ], yearly => [ year => 366 ]);

sub least { return $_[0] < $_[1] ? $_[0] : $_[1] }

sub shown { my ($v) = @_; return defined $v ? $v : 'NULL' }

sub same { my ($x, $y) = @_; return defined $x ? defined $y && $x eq $y : !defined $y }

# A value, at least 0 and at most a limit.
sub clamp
{
	my ($value, $limit) = @_;
	return $value < 0 ? 0 : least($value, $limit);
}

sub at_least_0 { return $_[0] < 0 ? 0 : $_[0] }

# How much a version gives in a period, floor(credits x share / 10^6) without overflow.
sub allowance
{
	my ($version, $share) = @_;
	use integer;
	my $credits = $version->{monthly_credits};
	return $credits / FULL * $share + $credits % FULL * $share / FULL;
}

# The row of credit_plan that facts name: one without credits if there is no plan,
# nothing if it does not exist.
sub version_of
{
	my ($facts, $plans) = @_;
	return { monthly_credits => 0, rollover_limit => 0, effective_from => 0 } unless defined $facts->{plan};
	my ($version) = grep { same($_->{version}, $facts->{plan_version}) } @{ $plans->{ $facts->{plan} } // [] };
	return $version;
}

# The version that the row names, and what is wrong with it.  It must have been in force;
# that a newer one was too is possible, after a clock that ran ahead.
sub in_force
{
	my ($c) = @_;
	my $after = $c->{after};
	my $version = version_of($after, $c->{plans})
	  or return (undef, "plan '$after->{plan}' has no version " . shown($after->{plan_version}));
	return ($version, !defined $after->{plan} || $version->{effective_from} <= $c->{row}{effective_at} ? ()
		: "plan_version is $version->{version}, which was not in force yet");
}

sub same_length
{
	my ($x, $y) = @_;
	return ($CYCLE{$x} // ['?'])->[0] eq ($CYCLE{$y} // ['!'])->[0];
}

# The longest period, in microseconds.
sub longest
{
	my ($cycle, $restarted) = @_;
	use integer;
	my $days = ($CYCLE{ $cycle // '' } // [ '?', 0 ])->[1];
	return ($restarted ? $days * DAY : 3 * $days * DAY / 2) + 2 * DAY;
}

#
# What credits do to the monthly bucket
#

# Credits to a bucket, its debt first.
sub credit
{
	my ($now, $bucket, $credits) = @_;
	my $pays = least($credits, $now->{"owed_$bucket"});
	$now->{"owed_$bucket"} -= $pays;
	$now->{$bucket} += $credits - $pays;
	return;
}

# A change of the monthly bucket: what is not there is owed.
sub change_monthly
{
	my ($now, $change) = @_;
	return credit($now, 'monthly', $change) if $change >= 0;
	my $taken = least(-$change, $now->{monthly});
	$now->{monthly} -= $taken;
	$now->{owed_monthly} += -$change - $taken;
	return;
}

# How many of these credits come back that were spent or paid for before a closing: what the
# account was charged since for the time before.
sub from_before
{
	my ($book, $charged, $credits) = @_;
	my $undone = least($credits, $book->{$charged});
	$book->{$charged} -= $undone;
	return $undone;
}

# Monthly credits of a period come back, spent or held by row $seq.  Returns how many are lost.
sub monthly_back
{
	my ($c, $credits, $period, $seq) = @_;
	my ($now, $facts, $book) = @$c{qw(now facts book)};
	my $n = $c->{before}{period};
	my $back = $credits;
	my $closed = $seq < $book->{closed_seq};
	return $credits if $period < $n - 1;
	if ($period == $n - 1)
	{
		my ($left, $limit) = @$facts{qw(last_left last_limit)};
		$back = from_before($book, 'last_charged', $back) if $seq < $book->{last_closed_seq};
		$facts->{last_left} += $back;
		my $carried = clamp($facts->{last_left}, $limit) - clamp($left, $limit);
		my $all = at_least_0($facts->{last_left}) - at_least_0($left);
		$back = $facts->{last_undone} ? $all : $carried;
		$facts->{period_granted} += $back - $carried;
		$closed &&= $book->{closed_seq} != $book->{last_closed_seq};
	}
	$back = from_before($book, 'charged_monthly', $back) if $closed;
	credit($now, 'monthly', $back);
	return $credits - $back;
}

# A boundary clears what was charged of the allowance, and keeps it for what comes back later.
sub pass_charged
{
	my ($book, $skipped) = @_;
	@$book{qw(last_charged last_closed_seq)} = ($skipped ? 0 : $book->{charged_monthly}, $book->{closed_seq});
	$book->{charged_monthly} = 0;
	return;
}

#
# Ends
#

# What an end is made from, in this row.
sub set_end
{
	my ($book, $facts, $odd) = @_;
	$book->{made} = { odd => $odd, map { ($_ => $facts->{$_}) } qw(cycle_anchor time_zone cycle) };
	return;
}

# Was the period's end made from these facts?
sub made_from
{
	my ($made, $facts) = @_;
	return !$made->{odd} && !grep { !same($made->{$_}, $facts->{$_}) } qw(cycle_anchor time_zone cycle);
}

# What credit_account should say of it.
sub end_columns
{
	my ($book, $facts, $end) = @_;
	my $made = $book->{made};
	return () if !defined $end || !$made || made_from($made, $facts);
	return (end_anchor => $made->{cycle_anchor}, end_zone => $made->{odd} ? '' : $made->{time_zone}, end_cycle => $made->{cycle});
}

# The end that the row sets, counted from $from.
sub check_end
{
	my ($c, $from, $restarted) = @_;
	my $end = $c->{row}{next_reset_at};
	my $cycle = $c->{facts}{cycle};
	return 'next_reset_at is NULL, with a plan' unless defined $end;
	$c->{expect}{next_reset_at} = $end;
	return (
		($end <= $from ? 'next_reset_at is not after the start of the period' : ()),
		($end - $from > longest($cycle, $restarted) ? "the period is longer than the cycle '" . shown($cycle) . "' lets it be" : ()));
}

# Do boundaries pass without a row?  That of a plan change does not.
sub is_silent
{
	my ($state) = @_;
	return !defined $state->{facts}{plan} && !defined $state->{facts}{scheduled_plan} && ($state->{kind} // '') ne 'plan_change'
	  && !grep { $state->{$_} } qw(monthly owed_monthly held_monthly);
}

# The state before the row, after the silent boundaries that come before it, and what is wrong.
sub fold
{
	my ($before, $row) = @_;
	my ($end, $at, $kind) = ($before->{next_reset_at}, @$row{qw(effective_at kind)});
	my $first = $kind =~ /\A(?:plan_change|hold_end|grant_end)\z/;    # comes before a boundary at the same time
	return $before if !defined $end || $at < $end || $at == $end && $first || !is_silent($before);
	return ($before, 'boundaries have passed, and the row does not have the facts') unless defined $row->{status};
	my $last = $kind eq 'restart' ? $row->{period} - 1 : $row->{period};
	my $passed = $last - $before->{period};
	return ($before, "period is $row->{period}, it was $before->{period} before a boundary that has passed") if $passed < 1;
	my $full = $passed > 1 || made_from($before->{book}{made}, $before->{facts});
	my %facts = (%{ $before->{facts} }, period_granted => 0, last_left => 0, last_limit => 0, last_undone => 0);
	set_end($before->{book}, \%facts);
	pass_charged($before->{book}, $passed > 1);
	my %folded = (%$before, facts => \%facts, period => $last, next_reset_at => $row->{next_reset_at});
	return \%folded if $kind eq 'restart';
	@facts{qw(period_start period_share)} = @$row{qw(period_start period_share)};
	my ($start, $share) = @facts{qw(period_start period_share)};
	return \%folded if !defined $start || !defined $share;    # check_facts says so
	my $longest = longest($facts{cycle});
	my $next = $row->{next_reset_at};
	return (\%folded,
		($passed == 1 && $start != $end ? 'period_start is not the end of the period before' : ()),
		($passed > 1 && ($start <= $end || $start - $end > ($passed - 1) * $longest) ? "period_start does not fit $passed boundaries" : ()),
		($start > $at || $start == $at && $first ? 'period_start is after the row' : ()),
		($full && $share != FULL ? "period_share is $share of a full period" : ()),
		(defined $next && $next - $start > $longest ? "the period is longer than the cycle '" . shown($facts{cycle}) . "' lets it be" : ()));
}

# The first plan of an account: its only period gets an end.
sub first_plan
{
	my ($c) = @_;
	my ($version, @problems) = in_force($c);
	return @problems unless $version;
	my ($facts, $after) = @$c{qw(facts after)};
	@$facts{qw(plan plan_version)} = @$after{qw(plan plan_version)};
	$facts->{cycle} = $version->{cycle};
	$facts->{period_share} = FULL;
	my $change = allowance($version, FULL) - $facts->{period_granted};
	$facts->{period_granted} += $change;
	change_monthly($c->{now}, $change);
	$c->{expect}{amount} = $change;
	push @problems, check_end($c, $c->{row}{effective_at});
	set_end($c->{book}, $facts);
	return @problems;
}

# A boundary, of a reset or a restart: what was left, what is carried, what is granted.
sub boundary
{
	my ($c) = @_;
	my ($before, $row, $now, $facts, $after, $expect) = @$c{qw(before row now facts after expect)};
	my ($version, @problems) = in_force($c);
	return @problems unless $version;
	my $restart = $row->{kind} eq 'restart';
	my $made = $c->{book}{made};
	$facts->{plan_version} = $after->{plan_version};
	$facts->{cycle} = $version->{cycle} if defined $facts->{plan};
	my $full = $restart || $row->{skipped} || $made && made_from($made, $facts);
	my $share = $facts->{period_share} = $full ? FULL : $after->{period_share};
	$facts->{period_start} = $row->{effective_at};

	my $left = $before->{monthly} - $before->{owed_monthly};
	my $limit = $version->{rollover_limit};
	my $carried = clamp($left, $limit);
	my $granted = allowance($version, $share) - $expect->{forfeited};
	push @problems, "forfeited is $expect->{forfeited}, more than the allowance" if $granted < 0;
	@$expect{qw(amount expired)} = ($granted, $before->{monthly} - $carried);
	$now->{monthly} = $carried + $granted;
	$now->{owed_monthly} = 0;
	pass_charged($c->{book}, $row->{skipped});
	@$facts{qw(period_granted last_left last_limit last_undone)} = ($granted, $row->{skipped} ? $granted : $left, $limit, 0);

	$expect->{period} = $before->{period} + 1 + $row->{skipped};
	push @problems, check_end($c, $row->{effective_at}, $restart);
	set_end($c->{book}, $facts, $restart && ($facts->{cycle} =~ /\A(?:calendar|daily)\z/
			|| same($after->{cycle_anchor}, $before->{facts}{cycle_anchor})));
	return @problems if $restart;

	my $due = $before->{next_reset_at};
	return (@problems, 'no reset was due') unless defined $due;
	return (@problems, $row->{effective_at} == $due ? () : 'not at the end of the period') unless $row->{skipped};
	push @problems, 'not at the end of the period' if $row->{effective_at} <= $due;
	push @problems, "too late for $row->{skipped} skipped boundaries"
	  if $row->{effective_at} - $due > $row->{skipped} * longest($facts->{cycle});
	push @problems, 'boundaries were skipped before the version was in force' if $version->{effective_from} > $due;
	push @problems, "boundaries were skipped, and up to $limit credits could stay" if $limit;
	push @problems, 'boundaries were skipped while monthly credits were held' if $before->{held_monthly};
	return @problems;
}

1;
