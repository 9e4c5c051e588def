# What each kind of row does: plans, spending, grants and holds, as a history goes on:
# docs/audit-format.md.
#
# A check gets $c (CreditsPeriods), follows what the row does, and returns what is wrong.
# What it changed in $c is then compared with what the row says.
package CreditsOpen;

use strict;
use warnings;
use CreditsFormat qw(INT64_MAX @FACTS);
use CreditsLife qw(%LIFE_KIND keep_undoable);
use CreditsPayments qw(%PAYMENT_KIND open_payment purchased_back to_grant check_payments);
use CreditsPeriods qw(FULL credit change_monthly least same shown allowance in_force same_length
  first_plan boundary monthly_back);
use Exporter qw(import);

our @EXPORT_OK = qw(new_book check_turn follow check_open next_end check_tables);

use constant LONGEST_HOLD => 31 * 86_400_000_000;
use constant { MONTHLY => 0, PURCHASED => -1, PERIOD_BEFORE => -2, OLDER_PERIOD => -3, EXPIRED => -4 };

my @SUMS = qw(monthly granted purchased held_monthly held_granted held_purchased
  owed_monthly owed_purchased);

# Of one user.  live and held have only what time can still end; made is what the period's
# end was made from.
sub new_book
{
	return { closed_seq => 0, forfeited => 0, charged_monthly => 0, charged_purchased => 0, last_charged => 0, last_closed_seq => 0, made => undef,
		map { ($_ => {}) } qw(grants live holds held spent payments undoable adjusted) };
}

#
# What is due
#

# The next of these to end: soonest, then oldest.
sub first_of
{
	my ($set) = @_;
	my $first;
	for my $one (values %$set)
	{
		$first = $one
		  if !$first || $one->{ends_at} < $first->{ends_at}
		  || $one->{ends_at} == $first->{ends_at} && $one->{seq} < $first->{seq};
	}
	return $first;
}

# When the next hold or grant ends, or nothing.
sub next_end
{
	my ($book) = @_;
	my ($end) = sort { $a <=> $b } map { $_->{ends_at} } grep { $_ } first_of($book->{held}), first_of($book->{live});
	return $end;
}

# Does a row come after all that was due, and an end in its turn?
sub check_turn
{
	my ($book, $row) = @_;
	my ($kind, $at) = @$row{qw(kind effective_at)};
	return () if $kind eq 'clock_repair' || !%{ $book->{held} } && !%{ $book->{live} } && $kind !~ /_end\z/;
	my ($hold, $grant) = (first_of($book->{held}), first_of($book->{live}));
	my $hold_end = $hold ? $hold->{ends_at} : INT64_MAX;
	my $grant_end = $grant ? $grant->{ends_at} : INT64_MAX;
	my $ref = $row->{ref_seq} // 0;
	return $hold && $ref == $hold->{seq} && $at == $hold_end && $at <= $grant_end ? () : "no hold $ref ends here"
	  if $kind eq 'hold_end';
	return $grant && $ref == $grant->{seq} && $at == $grant_end && $at < $hold_end ? () : "no grant $ref ends here"
	  if $kind eq 'grant_end';
	return (
		($hold_end <= $at  ? "the end of hold $hold->{seq} is missing"   : ()),
		($grant_end <= $at ? "the end of grant $grant->{seq} is missing" : ()));
}

#
# What credits do
#

# Takes granted credits in burning order: [grant, credits] each.
sub burn
{
	my ($book, $now, $credits) = @_;
	my @parts;
	$now->{granted} -= $credits;
	while ($credits > 0 && (my $grant = first_of($book->{live})))
	{
		my $taken = least($credits, $grant->{left});
		push @parts, [ $grant->{seq}, $taken ];
		delete $book->{live}{ $grant->{seq} } unless $grant->{left} -= $taken;
		$credits -= $taken;
	}
	return @parts;
}

# Takes credits as a deduction does; a shortfall is owed.  Every source, in order.
sub spend
{
	my ($c, $credits) = @_;
	my $now = $c->{now};
	my $monthly = least($credits, $now->{monthly});
	my $granted = least($credits - $monthly, $now->{granted});
	my $purchased = $credits - $monthly - $granted;
	my $there = least($purchased, $now->{purchased});
	$now->{monthly} -= $monthly;
	my @parts = ([ MONTHLY, $monthly ], burn($c->{book}, $now, $granted), [ PURCHASED, $purchased ]);
	$now->{purchased} -= $there;
	$now->{owed_purchased} += $purchased - $there;
	return grep { $_->[1] > 0 } @parts;
}

sub available { my ($now) = @_; return $now->{monthly} + $now->{granted} + $now->{purchased} }

sub not_active { my ($status) = $_[0]{before}{facts}{status}; return $status eq 'active' ? () : "the account was $status" }

sub not_closed { return $_[0]{before}{facts}{status} eq 'closed' ? 'the account was closed' : () }

# The bucket where a hold's part is held.
sub held_in { my ($source) = @_; return $source > 0 ? 'held_granted' : $source == MONTHLY ? 'held_monthly' : 'held_purchased' }

# Returns all that a hold has.  What is lost of each part.
sub give_back
{
	my ($c, $hold) = @_;
	my @lost;
	for my $part (@{ $hold->{parts} })
	{
		my ($source, $credits) = @$part;
		$c->{now}{ held_in($source) } -= $credits;
		my $lost = $source == MONTHLY ? monthly_back($c, $credits, $hold->{period}, $hold->{seq})
		  : $source == PURCHASED ? purchased_back($c, $credits, $hold->{seq})
		  : (to_grant($c, $source, $credits, $hold->{seq}, $c->{row}{kind} eq 'hold_end'))[1];
		push @lost, [ $source, $lost ];
	}
	return @lost;
}

sub sum { my $sum = 0; $sum += $_->[1] for @_; return $sum }

sub close_hold
{
	my ($book, $hold, $state, @parts) = @_;
	$hold->{state} = $state;
	delete $book->{held}{ $hold->{seq} };
	# An expired one still says what a late capture is of.
	$hold->{given_back} = $state eq 'expired' ? sum(@{ $hold->{parts} }) - sum(@parts) : undef;
	$hold->{parts} = \@parts;
	return;
}

# What a deduction or capture spent, for its refunds.
sub keep_spent
{
	my ($c, @parts) = @_;
	my ($row, $book) = @$c{qw(row book)};
	$book->{spent}{ $row->{seq} } = { parts => \@parts, refunded => 0, amount => $row->{amount}, period => $c->{before}{period} };
	return;
}

#
# Kinds of rows
#

my %KIND = (%LIFE_KIND, %PAYMENT_KIND);

$KIND{open} = sub {
	my ($c) = @_;
	my ($before, $row, $facts, $after) = @$c{qw(before row facts after)};
	my @problems = not_closed($c);
	return (@problems, 'the account had a plan already') if defined $before->{facts}{cycle};
	@$facts{qw(cycle_anchor time_zone)} = @$after{qw(cycle_anchor time_zone)};
	$facts->{period_start} = $row->{effective_at} unless $before->{seq};
	$c->{expect}{amount} = 0;
	push @problems, first_plan($c) if defined $after->{plan};
	return @problems;
};

$KIND{set_plan} = sub {
	my ($c) = @_;
	my ($before, $facts, $after) = @$c{qw(before facts after)};
	my @problems = not_closed($c);
	$facts->{scheduled_plan} = undef unless same($after->{scheduled_plan}, $facts->{scheduled_plan});
	my $cycle = $before->{facts}{cycle};
	return (@problems, first_plan($c)) if defined $after->{plan} && !defined $cycle;
	my ($version, @wrong) = in_force($c);
	return (@problems, @wrong) unless $version;
	@$facts{qw(plan plan_version last_undone)} = (@$after{qw(plan plan_version)}, 0);
	push @wrong, "the cycle '$version->{cycle}' has not the length of '$cycle'"
	  if defined $facts->{plan} && !same_length($version->{cycle}, $cycle);
	$facts->{cycle} = $version->{cycle} if defined $facts->{plan};
	my $change = allowance($version, $facts->{period_share}) - $facts->{period_granted};
	$facts->{period_granted} += $change;
	change_monthly($c->{now}, $change);
	$c->{expect}{amount} = $change;
	return (@problems, @wrong);
};

$KIND{restart} = sub {
	my ($c) = @_;
	my ($facts, $after) = @$c{qw(facts after)};
	@$facts{qw(plan cycle_anchor)} = @$after{qw(plan cycle_anchor)};
	$facts->{scheduled_plan} = undef;
	return (not_closed($c), defined $facts->{plan} ? () : 'a restart without a plan', boundary($c));
};

$KIND{schedule_plan} = sub {
	my ($c) = @_;
	$c->{facts}{scheduled_plan} = $c->{after}{scheduled_plan};
	$c->{expect}{amount} = 0;
	return not_closed($c);
};

$KIND{plan_change} = sub {
	my ($c) = @_;
	my ($before, $row, $facts, $after) = @$c{qw(before row facts after)};
	my $wanted = $before->{facts}{scheduled_plan};
	my ($version, @problems) = in_force($c);
	@$facts{qw(plan plan_version scheduled_plan)} = (@$after{qw(plan plan_version)}, undef);
	$facts->{cycle} = $version->{cycle} if $version && defined $facts->{plan};
	$c->{expect}{amount} = 0;
	if (!defined $wanted) { push @problems, 'no plan change was due' }
	elsif ($wanted ne ($facts->{plan} // '')) { push @problems, 'not the scheduled plan' }
	push @problems, 'not at the end of the period' unless same($row->{effective_at}, $before->{next_reset_at});
	return @problems;
};

$KIND{reset} = sub {
	my ($c) = @_;
	$c->{expect}{$_} = $c->{row}{$_} for qw(forfeited skipped);
	return boundary($c);
};

$KIND{freeze} = sub {
	my ($c) = @_;
	$c->{facts}{status} = 'frozen';
	$c->{expect}{amount} = 0;
	return not_closed($c);
};

$KIND{unfreeze} = sub {
	my ($c) = @_;
	$c->{facts}{status} = 'active';
	$c->{expect}{amount} = 0;
	return ();
};

$KIND{clock_repair} = sub { $_[0]{expect}{amount} = 0; return () };

$KIND{archive} = sub {
	my ($c) = @_;
	$c->{expect}{amount} = 0;
	return defined $c->{row}{ref_seq} && defined $c->{row}{request_digest} ? () : 'it seals no checkpoint';
};

$KIND{set_overdraft} = sub {
	my ($c) = @_;
	$c->{facts}{overdraft_limit} = $c->{after}{overdraft_limit};
	$c->{expect}{amount} = 0;
	return ();
};

$KIND{set_low_threshold} = sub {
	my ($c) = @_;
	$c->{facts}{low_threshold} = $c->{after}{low_threshold};
	$c->{expect}{amount} = 0;
	return ();
};

$KIND{set_cycle} = sub {
	my ($c) = @_;
	@{ $c->{facts} }{qw(cycle_anchor time_zone)} = @{ $c->{after} }{qw(cycle_anchor time_zone)};
	$c->{expect}{amount} = 0;
	return ();
};

$KIND{deduct} = sub {
	my ($c) = @_;
	my ($row, $now) = @$c{qw(row now)};
	my $short = $row->{amount} - available($now);
	my @parts = spend($c, $row->{amount});
	$c->{expect}{allocations} = [ grep { $_->[0] > 0 } @parts ];
	keep_spent($c, @parts);
	return (not_active($c), $short > 0 && $now->{owed_purchased} > $c->{facts}{overdraft_limit}
		? 'more is owed than the overdraft limit allows' : ());
};

$KIND{adjust} = sub {
	my ($c) = @_;
	my ($before, $row, $now) = @$c{qw(before row now)};
	my @problems = not_closed($c);
	push @problems, 'no reason' unless defined $row->{reason} || defined $row->{reason_digest};
	my ($bucket, @other) = grep { $row->{"${_}_delta"} || $_ ne 'granted' && $row->{"owed_$_"} != $before->{"owed_$_"} }
	  qw(monthly granted purchased);
	return (@problems, 1 + @other . ' buckets changed') if @other || !defined $bucket;
	if ($row->{amount} > 0)
	{
		return (@problems, 'granted credits were raised') if $bucket eq 'granted';
		credit($now, $bucket, $row->{amount});
		$c->{book}{adjusted}{ $row->{period} } += $row->{amount} if $bucket eq 'monthly';
		return @problems;
	}
	return (@problems, "$bucket is $before->{$bucket}, less than was taken") if $before->{$bucket} + $row->{amount} < 0;
	if ($bucket eq 'granted') { $c->{expect}{allocations} = [ burn($c->{book}, $now, -$row->{amount}) ] }
	else                      { $now->{$bucket} += $row->{amount} }
	return @problems;
};

$KIND{grant} = sub {
	my ($c) = @_;
	my ($row, $book) = @$c{qw(row book)};
	my $end = $row->{ends_at} // return 'a grant without ends_at';
	my $paid = defined $row->{payment_ref};
	$c->{now}{granted} += $row->{amount};
	$c->{expect}{ends_at} = $end;
	$book->{grants}{ $row->{seq} } = $book->{live}{ $row->{seq} } = { seq => $row->{seq}, amount => $row->{amount},
		left => $row->{amount}, ends_at => $end, closed => 0, paid => $paid ? 1 : 0, expired => 0, elsewhere => 0 };
	open_payment($c, 1) if $paid;
	return (($paid ? () : not_closed($c)),
		$end <= $row->{effective_at} || $end == INT64_MAX ? 'the grant does not end after it began' : ());
};

$KIND{grant_end} = sub {
	my ($c) = @_;
	my ($row, $book, $expect) = @$c{qw(row book expect)};
	my $grant = delete $book->{live}{ $row->{ref_seq} };
	@$expect{qw(amount expired)} = ($grant->{left}) x 2;
	$c->{now}{granted} -= $grant->{left};
	$grant->{expired} += $grant->{left} if $grant->{paid};
	@$grant{qw(left closed)} = (0, 1);
	return ();
};

$KIND{hold} = sub {
	my ($c) = @_;
	my ($before, $row, $now, $book) = @$c{qw(before row now book)};
	my $end = $row->{ends_at} // return 'a hold without ends_at';
	$c->{expect}{ends_at} = $end;
	my @problems = not_active($c);
	push @problems, 'the hold does not end after it began, or after 31 days'
	  if $end <= $row->{effective_at} || $end > $row->{effective_at} + LONGEST_HOLD;
	return (@problems, 'more was held than there was') if $row->{amount} > available($before);
	my @parts = spend($c, $row->{amount});
	$now->{ held_in($_->[0]) } += $_->[1] for @parts;
	$c->{expect}{allocations} = [ grep { $_->[0] > 0 } @parts ];
	$book->{holds}{ $row->{seq} } = $book->{held}{ $row->{seq} } = { parts => [ map { [@$_] } @parts ], state => 'open',
		period => $before->{period}, map { ($_ => $row->{$_}) } qw(seq amount ends_at) };
	return @problems;
};

$KIND{hold_end} = $KIND{release} = sub {
	my ($c) = @_;
	my ($row, $book, $expect) = @$c{qw(row book expect)};
	my $hold = $book->{held}{ $row->{ref_seq} // 0 } or return 'ref_seq is no open hold';
	my @lost = give_back($c, $hold);
	$expect->{amount} = sum(@{ $hold->{parts} });
	$expect->{expired} = sum(@lost);
	if   ($row->{kind} eq 'hold_end') { close_hold($book, $hold, 'expired', @lost) }
	else                              { close_hold($book, $hold, 'released') }
	return ();
};

# Spends a hold's parts: what each source gave, at most $credits.
sub spend_held
{
	my ($c, $hold, $credits) = @_;
	my $older = $c->{before}{period} - $hold->{period};
	my @spent;
	for my $part (@{ $hold->{parts} })
	{
		my $source = $part->[0];
		my $taken = least($part->[1], $credits);
		$credits -= $taken;
		$part->[1] -= $taken;
		$c->{now}{ held_in($source) } -= $taken;
		$source = $older == 1 ? PERIOD_BEFORE : OLDER_PERIOD if $source == MONTHLY && $older;
		push @spent, [ $source, $taken ] if $taken;
	}
	return @spent;
}

# Meets credits from what expired with a hold.
sub spend_expired
{
	my ($c, $hold, $credits) = @_;
	my $met = 0;
	for my $part (@{ $hold->{parts} })
	{
		my $grant = $part->[0] > 0 ? $c->{book}{grants}{ $part->[0] } : undef;
		my $taken = least($part->[1], $credits - $met);
		if ($grant && $grant->{paid})
		{
			$taken = least($taken, $grant->{expired});
			$grant->{expired} -= $taken;
		}
		$c->{facts}{last_left} -= $taken if $part->[0] == MONTHLY && $hold->{period} == $c->{before}{period} - 1;
		$met += $taken;
	}
	return $met ? [ EXPIRED, $met ] : ();
}

$KIND{capture} = sub {
	my ($c) = @_;
	my ($row, $book, $expect) = @$c{qw(row book expect)};
	my $hold = $book->{holds}{ $row->{ref_seq} // 0 } or return 'ref_seq is no hold';
	return "the hold was $hold->{state}" unless $hold->{state} =~ /\A(?:open|expired)\z/;
	my $late = $hold->{state} eq 'expired';
	my @spent = $late ? spend_expired($c, $hold, $row->{amount}) : spend_held($c, $hold, $row->{amount});
	my $more = $row->{amount} - sum(@spent);
	my @problems;
	if ($more)
	{
		push @problems, not_active($c);
		push @spent, spend($c, $more);
	}
	if ($late)
	{
		push @problems, 'a late capture keeps no hold open' if defined $row->{ends_at};
		close_hold($book, $hold, 'settled');
	}
	elsif (defined $row->{ends_at})
	{
		push @problems, 'nothing was left to keep the hold open for' unless sum(@{ $hold->{parts} });
		push @problems, 'nothing was captured, and the hold stays open' unless $row->{amount};
		$expect->{ends_at} = $hold->{ends_at};
	}
	else
	{
		$expect->{expired} = sum(give_back($c, $hold));
		close_hold($book, $hold, 'captured');
	}
	$expect->{allocations} = \@spent;
	keep_spent($c, @spent);
	return @problems;
};

$KIND{refund} = sub {
	my ($c) = @_;
	my ($row, $book, $expect) = @$c{qw(row book expect)};
	my $seq = $row->{ref_seq} // 0;
	my $spent = $book->{spent}{$seq} or return 'ref_seq is nothing that was spent';
	my ($skip, $wanted) = ($spent->{refunded}, $row->{amount});
	$spent->{refunded} += $wanted;
	return "$spent->{refunded} of $spent->{amount} refunded" if $spent->{refunded} > $spent->{amount};
	for my $part (reverse @{ $spent->{parts} })
	{
		my ($source, $credits) = @$part;
		my $skipped = least($skip, $credits);
		my $back = least($wanted, $credits - $skipped);
		$skip -= $skipped;
		$wanted -= $back;
		next unless $back;
		my ($reached, $lost) = (0, $back);
		if ($source > 0) { ($reached, $lost) = to_grant($c, $source, $back, $seq, 0) }
		elsif ($source == PURCHASED) { $lost = purchased_back($c, $back, $seq) }
		elsif ($source == MONTHLY || $source == PERIOD_BEFORE)
		{
			$lost = monthly_back($c, $back, $spent->{period} - ($source == MONTHLY ? 0 : 1), $seq);
		}
		push @{ $expect->{allocations} }, [ $source, $reached ] if $reached;
		$expect->{forfeited} += $lost;
	}
	return ();
};

# What a row of these kinds may have besides its amount and sums.
my %HAS = (
	grant        => [qw(ends_at payment_ref)],
	grant_end    => ['ref_seq'],
	hold         => [qw(ends_at allocations)],
	hold_end     => ['ref_seq'],
	release      => ['ref_seq'],
	capture      => [qw(ref_seq ends_at allocations)],
	refund       => [qw(ref_seq allocations)],
	purchase     => ['payment_ref'],
	revoke       => [qw(ref_seq allocations payment_ref)],
	reinstate    => [qw(ref_seq allocations payment_ref)],
	transfer_out => ['allocations'],
	import       => ['allocations'],
	archive      => ['ref_seq'],
	deduct       => ['allocations'],
	adjust       => ['allocations'],
	undo         => ['ref_seq'],
	close        => ['allocations'],
);

# Amounts that are at least 0, and at least 1 (here 1 more).
my %AT_LEAST = (
	(map { ($_ => 1) } qw(capture revoke reset restart)),
	(map { ($_ => 2) } qw(deduct purchase grant grant_end hold hold_end release refund reinstate transfer_out transfer_in)));

sub shown_parts { return join ', ', map { "$_->[1] of $_->[0]" } @_ }

# What the row does, by the rules: $c as they leave it, and what is wrong.
sub follow
{
	my ($before, $row, $after, $plans) = @_;
	my ($kind, $book) = ($row->{kind}, $before->{book});
	my $check = $KIND{$kind} or return (undef, "unknown kind '$kind'");
	my %may = map { ($_ => 1) } @{ $HAS{$kind} // [] };
	my @problems = map { "$_ in a row of kind $kind" } grep { defined $row->{$_} && !$may{$_} }
	  qw(ref_seq ends_at allocations payment_ref);
	my @numbers = defined $row->{allocations} ? unpack('q>*', $row->{allocations}) : ();
	push @problems, 'allocations are not pairs' if @numbers % 2;
	push @problems, 'allocations have less than 1 credit' if grep { $_ % 2 && $numbers[$_] < 1 } 0 .. $#numbers;
	push @problems, "amount is $row->{amount}" if $AT_LEAST{$kind} && $row->{amount} < $AT_LEAST{$kind} - 1;
	return (undef, @problems) if @problems;

	my $c = { before => $before, row => $row, after => $after, book => $book, plans => $plans,
		expect => { expired => 0, forfeited => 0, skipped => 0, allocations => [], amount => $row->{amount},
			period => $before->{period}, next_reset_at => $before->{next_reset_at} },
		now => { map { ($_ => $before->{$_}) } @SUMS }, facts => { %{ $before->{facts} } }, allocations => \@numbers };
	@problems = $check->($c);
	keep_undoable($book, $before, $row);
	return ($c, @problems);
}

sub check_open
{
	my ($before, $row, $after, $plans) = @_;
	my ($c, @problems) = follow($before, $row, $after, $plans);
	return @problems if @problems;
	my ($now, $facts, $expect) = @$c{qw(now facts expect)};
	my $parts = delete $expect->{allocations};
	push @problems, map { "$_ is " . shown($after->{$_}) . ', not ' . shown($facts->{$_}) }
	  grep { !same($after->{$_}, $facts->{$_}) } @FACTS;
	push @problems, map { "$_ is " . shown($row->{$_}) . ', not ' . shown($expect->{$_}) }
	  grep { !same($row->{$_}, $expect->{$_}) } sort keys %$expect;
	push @problems, map { "$_ is $row->{$_}, not $now->{$_}" } grep { $row->{$_} != $now->{$_} } @SUMS;
	push @problems, 'allocations do not say ' . shown_parts(@$parts)
	  if join(',', @{ $c->{allocations} }) ne join(',', map { @$_ } @$parts);
	return @problems;
}

#
# The tables at the end: what is wrong, as [seq, problem]
#

sub differing
{
	my ($table, $row, $expected) = @_;
	return map { [ $row->{seq}, "$table has $_ " . shown($row->{$_}) . ', the history ' . shown($expected->{$_}) ] }
	  grep { !same($row->{$_}, $expected->{$_}) } sort keys %$expected;
}

sub check_grant
{
	my ($book, $row) = @_;
	my $grant = delete $book->{grants}{ $row->{seq} } or return [ $row->{seq}, 'credit_grant has a row that no grant opened' ];
	return differing('credit_grant', $row,
		{ amount => $grant->{amount}, ends_at => $grant->{ends_at}, remaining => $grant->{left},
			closed => $grant->{closed} ? 't' : 'f', paid => $grant->{paid} ? 't' : 'f',
			expired => $grant->{expired} || undef, elsewhere => $grant->{elsewhere} || undef });
}

sub check_hold
{
	my ($book, $row) = @_;
	my $hold = delete $book->{holds}{ $row->{seq} } or return [ $row->{seq}, 'credit_hold has a row that no hold opened' ];
	my %part = (monthly => 0, purchased => 0, granted => []);
	for (@{ $hold->{parts} })
	{
		if ($_->[0] > 0) { push @{ $part{granted} }, @$_ if $_->[1] }
		else { $part{ $_->[0] == MONTHLY ? 'monthly' : 'purchased' } += $_->[1] }
	}
	my @stored = defined $row->{allocations} ? unpack('q>*', $row->{allocations}) : ();
	my @granted;
	while (my ($source, $credits) = splice @stored, 0, 2) { push @granted, $source, $credits // '' if $credits }
	return (
		differing('credit_hold', $row, { (map { ($_ => $hold->{$_}) } qw(amount period state)),
			(map { ($_ => $part{$_}) } qw(monthly purchased)), given_back => $hold->{given_back} || undef,
			ends_at => $hold->{state} eq 'open' ? $hold->{ends_at} : undef }),
		("@granted" ne "@{ $part{granted} }" ? [ $row->{seq}, 'credit_hold has other allocations than the history' ] : ()));
}

# The user's rows of the tables, and those of the payments by seq.
sub check_tables
{
	my ($book, $grants, $holds, $payments) = @_;
	my @problems = ((map { check_grant($book, $_) } @$grants), (map { check_hold($book, $_) } @$holds));
	push @problems, map { [ $_, 'credit_grant has no row of it' ] } sort { $a <=> $b } keys %{ $book->{grants} };
	push @problems, map { [ $_, 'credit_hold has no row of it' ] } sort { $a <=> $b } keys %{ $book->{holds} };
	return (@problems, check_payments($book, $payments));
}

1;
