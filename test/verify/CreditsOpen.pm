# Grants, holds, what was spent and what was bought, as a history goes on:
# docs/audit-format.md.
#
# A check gets the state before the row, the row and the facts after it, follows what
# the row does, and returns what the row says otherwise.
package CreditsOpen;

use strict;
use warnings;
use CreditsFormat qw(INT64_MAX);
use CreditsLife qw(%LIFE_KIND %LIFE_HAS keep_undoable);
use Exporter qw(import);

our @EXPORT_OK = qw(new_book check_turn check_open next_end check_tables);

use constant LONGEST_HOLD => 31 * 86_400_000_000;
use constant { MONTHLY => 0, PURCHASED => -1, CLOSED_PERIOD => -2 };

my @SUMS = qw(monthly granted purchased held_monthly held_granted held_purchased
  owed_monthly owed_purchased);

# Of one user.  live and held have only what time can still end.
sub new_book { return { map { ($_ => {}) } qw(grants live holds held spent payments undoable) } }

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

# Credits to a bucket, its debt first.
sub credit
{
	my ($now, $bucket, $credits) = @_;
	my $pays = $credits < $now->{"owed_$bucket"} ? $credits : $now->{"owed_$bucket"};
	$now->{"owed_$bucket"} -= $pays;
	$now->{$bucket} += $credits - $pays;
	return;
}

sub least { return $_[0] < $_[1] ? $_[0] : $_[1] }

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
	my ($book, $now, $credits) = @_;
	my $monthly = least($credits, $now->{monthly});
	my $granted = least($credits - $monthly, $now->{granted});
	my $purchased = $credits - $monthly - $granted;
	my $there = least($purchased, $now->{purchased});
	$now->{monthly} -= $monthly;
	my @parts = ([ MONTHLY, $monthly ], burn($book, $now, $granted), [ PURCHASED, $purchased ]);
	$now->{purchased} -= $there;
	$now->{owed_purchased} += $purchased - $there;
	return grep { $_->[1] > 0 } @parts;
}

sub available { my ($now) = @_; return $now->{monthly} + $now->{granted} + $now->{purchased} }

# Why credits cannot be spent, a shortfall being owed.
sub check_spend
{
	my ($before, $credits) = @_;
	my $short = $credits - available($before);
	my $facts = $before->{facts};
	return (
		($facts->{status} ne 'active' ? "the account was $facts->{status}" : ()),
		($short > 0 && $before->{owed_purchased} + $short > $facts->{overdraft_limit}
			? 'more is owed than the overdraft limit allows' : ()));
}

# Credits back to a grant; false, if it has ended.
sub to_grant
{
	my ($book, $now, $seq, $credits, $at, $at_its_end) = @_;
	my $grant = $book->{grants}{$seq};
	return 0
	  if !$grant || $grant->{closed} || $grant->{ends_at} < $at || $grant->{ends_at} == $at && !$at_its_end;
	$grant->{left} += $credits;
	$now->{granted} += $credits;
	$book->{live}{$seq} = $grant;
	return 1;
}

# Returns all that a hold has.  What found its bucket or grant no more expires.
sub give_back
{
	my ($book, $now, $hold, $row) = @_;
	my $expired = 0;
	for my $part (@{ $hold->{parts} })
	{
		my ($source, $credits) = @$part;
		if ($source > 0)
		{
			$now->{held_granted} -= $credits;
			$expired += $credits
			  unless to_grant($book, $now, $source, $credits, $row->{effective_at}, $row->{kind} eq 'hold_end');
			next;
		}
		my $bucket = $source == MONTHLY ? 'monthly' : 'purchased';
		$now->{"held_$bucket"} -= $credits;
		if ($source == MONTHLY && $hold->{period_start} != $row->{period_start}) { $expired += $credits }
		else { credit($now, $bucket, $credits) }
	}
	return $expired;
}

sub sum { my $sum = 0; $sum += $_->[1] for @_; return $sum }

sub close_hold
{
	my ($book, $hold, $state) = @_;
	$hold->{state} = $state;
	delete $book->{held}{ $hold->{seq} };
	# An expired one still says what a late capture is of.
	$hold->{parts} = [] if $state ne 'expired';
	return;
}

#
# Kinds of rows: (book, state before, row, what it does to the sums, expectations,
# facts after, plans)
#

my %KIND = %LIFE_KIND;

$KIND{deduct} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my @parts = spend($book, $now, $row->{amount});
	$expect->{allocations} = [ grep { $_->[0] > 0 } @parts ];
	$book->{spent}{ $row->{seq} } = { parts => \@parts, refunded => 0, map { ($_ => $row->{$_}) } qw(amount period_start) };
	return ();
};

$KIND{adjust} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my $granted = $before->{granted} - $row->{granted};
	$now->{$_} = $row->{$_} for @SUMS;
	return () unless $granted > 0;
	$now->{granted} += $granted;
	$expect->{allocations} = [ burn($book, $now, $granted) ];
	return ();
};

$KIND{purchase} = sub {
	my ($book, $before, $row, $now) = @_;
	credit($now, 'purchased', $row->{amount});
	$book->{payments}{ $row->{seq} } = { amount => $row->{amount}, ref => $row->{payment_ref}, revoked => 0 };
	return ();
};

$KIND{revoke} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my $payment = $book->{payments}{ $row->{ref_seq} // 0 } or return 'ref_seq is no purchase';
	my $taken = least($row->{amount}, $before->{purchased});
	$now->{purchased} -= $taken;
	$now->{owed_purchased} += $row->{amount} - $taken;
	$payment->{revoked} += $row->{amount};
	return (
		($payment->{revoked} > $payment->{amount} ? "$payment->{revoked} of a payment of $payment->{amount} revoked" : ()),
		(($payment->{ref} // '') ne ($row->{payment_ref} // '') ? 'payment_ref is not that of the purchase' : ()));
};

$KIND{set_overdraft} = $KIND{set_cycle} = sub {
	my ($book, $before, $row) = @_;
	return $row->{amount} ? "amount is $row->{amount}" : ();
};

$KIND{grant} = sub {
	my ($book, $before, $row, $now) = @_;
	my $end = $row->{ends_at} // return 'a grant without ends_at';
	$now->{granted} += $row->{amount};
	$book->{grants}{ $row->{seq} } = $book->{live}{ $row->{seq} } =
	  { seq => $row->{seq}, amount => $row->{amount}, left => $row->{amount}, ends_at => $end, closed => 0 };
	return $end <= $row->{effective_at} || $end == INT64_MAX ? 'the grant does not end after it began' : ();
};

$KIND{grant_end} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my $grant = delete $book->{live}{ $row->{ref_seq} };
	@$expect{qw(amount expired)} = ($grant->{left}) x 2;
	$now->{granted} -= $grant->{left};
	@$grant{qw(left closed)} = (0, 1);
	return ();
};

$KIND{hold} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my $end = $row->{ends_at} // return 'a hold without ends_at';
	my @problems;
	push @problems, 'the hold does not end after it began, or after 31 days'
	  if $end <= $row->{effective_at} || $end > $row->{effective_at} + LONGEST_HOLD;
	push @problems, "the account was $before->{facts}{status}" if $before->{facts}{status} ne 'active';
	return (@problems, 'more was held than there was') if $row->{amount} > available($before);
	my @parts = spend($book, $now, $row->{amount});
	$now->{ $_->[0] > 0 ? 'held_granted' : $_->[0] == MONTHLY ? 'held_monthly' : 'held_purchased' } += $_->[1]
	  for @parts;
	$expect->{allocations} = [ grep { $_->[0] > 0 } @parts ];
	$book->{holds}{ $row->{seq} } = $book->{held}{ $row->{seq} } = { parts => [ map { [@$_] } @parts ], state => 'open',
		map { ($_ => $row->{$_}) } qw(seq amount ends_at period_start) };
	return @problems;
};

$KIND{hold_end} = $KIND{release} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my $hold = $book->{held}{ $row->{ref_seq} // 0 } or return 'ref_seq is no open hold';
	$expect->{amount} = sum(@{ $hold->{parts} });
	$expect->{expired} = give_back($book, $now, $hold, $row);
	close_hold($book, $hold, $row->{kind} eq 'release' ? 'released' : 'expired');
	return ();
};

$KIND{capture} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my $hold = $book->{holds}{ $row->{ref_seq} // 0 } or return 'ref_seq is no hold';
	return "the hold was $hold->{state}" unless $hold->{state} =~ /\A(?:open|expired)\z/;
	my $late = $hold->{state} eq 'expired';
	my $within = $late ? 0 : least($row->{amount}, sum(@{ $hold->{parts} }));
	my $more = $row->{amount} - $within;
	my @problems = $more ? check_spend($before, $more) : ();
	my @spent;
	for my $part ($late ? () : @{ $hold->{parts} })
	{
		my ($source, $credits) = @$part;
		my $taken = least($credits, $within);
		$within -= $taken;
		$part->[1] -= $taken;
		$now->{ $source > 0 ? 'held_granted' : $source == MONTHLY ? 'held_monthly' : 'held_purchased' } -= $taken;
		$source = CLOSED_PERIOD if $source == MONTHLY && $hold->{period_start} != $row->{period_start};
		push @spent, [ $source, $taken ] if $taken;
	}
	push @spent, spend($book, $now, $more) if $more;
	if ($late) { close_hold($book, $hold, 'settled') }
	elsif (defined $row->{ends_at})
	{
		push @problems, 'nothing was left to keep the hold open for' unless sum(@{ $hold->{parts} });
		$expect->{ends_at} = $hold->{ends_at};
	}
	else
	{
		$expect->{expired} = give_back($book, $now, $hold, $row);
		close_hold($book, $hold, 'captured');
	}
	push @problems, 'a late capture keeps no hold open' if $late && defined $row->{ends_at};
	$expect->{allocations} = \@spent;
	$book->{spent}{ $row->{seq} } = { parts => \@spent, refunded => 0, map { ($_ => $row->{$_}) } qw(amount period_start) };
	return @problems;
};

$KIND{refund} = sub {
	my ($book, $before, $row, $now, $expect) = @_;
	my $spent = $book->{spent}{ $row->{ref_seq} // 0 } or return 'ref_seq is nothing that was spent';
	my ($skip, $wanted) = ($spent->{refunded}, $row->{amount});
	$spent->{refunded} += $wanted;
	return "$spent->{refunded} of $spent->{amount} refunded" if $spent->{refunded} > $spent->{amount};
	$expect->{allocations} = [];
	$expect->{forfeited} = 0;
	for my $part (reverse @{ $spent->{parts} })
	{
		my ($source, $credits) = @$part;
		my $skipped = least($skip, $credits);
		my $back = least($wanted, $credits - $skipped);
		$skip -= $skipped;
		$wanted -= $back;
		next unless $back;
		if ($source == PURCHASED) { credit($now, 'purchased', $back) }
		elsif ($source == MONTHLY && $spent->{period_start} == $row->{period_start}) { credit($now, 'monthly', $back) }
		elsif ($source > 0 && to_grant($book, $now, $source, $back, $row->{effective_at}, 0))
		{
			push @{ $expect->{allocations} }, [ $source, $back ];
		}
		else { $expect->{forfeited} += $back }
	}
	return ();
};

# What a row of these kinds may have besides its amount and sums.
my %HAS = (
	%LIFE_HAS,
	grant     => ['ends_at'],
	grant_end => ['ref_seq'],
	hold      => [qw(ends_at allocations)],
	hold_end  => ['ref_seq'],
	release   => ['ref_seq'],
	capture   => [qw(ref_seq ends_at allocations)],
	refund    => [qw(ref_seq allocations)],
	revoke    => ['ref_seq'],
	archive   => ['ref_seq'],
	deduct    => ['allocations'],
	adjust    => ['allocations'],
);

sub shown_parts { return join ', ', map { "$_->[1] of $_->[0]" } @_ }

sub check_open
{
	my ($book, $before, $row, $facts, $plans) = @_;
	my $kind = $row->{kind};
	my %may = map { ($_ => 1) } @{ $HAS{$kind} // [] };
	my @problems = map { "$_ in a row of kind $kind" } grep { defined $row->{$_} && !$may{$_} } qw(ref_seq ends_at allocations);
	my @numbers = defined $row->{allocations} ? unpack('q>*', $row->{allocations}) : ();
	push @problems, 'allocations are not pairs' if @numbers % 2;
	my $check = $KIND{$kind};
	keep_undoable($book, $row);
	return @problems if @problems || !$check;
	return "amount is $row->{amount}" if $row->{amount} < 1 && $kind !~ /\A(?:adjust|set_overdraft|set_cycle|undo|imported|import|close)\z/;

	my %now = map { ($_ => $before->{$_}) } @SUMS;
	my %expect = (expired => 0, forfeited => 0, allocations => []);
	@problems = $check->($book, $before, $row, \%now, \%expect, $facts, $plans);
	return @problems if @problems;
	my $parts = delete $expect{allocations};
	my $wanted = delete $expect{facts} // {};
	push @problems, map { "$_ is " . ($facts->{$_} // 'NULL') . ', not ' . ($wanted->{$_} // 'NULL') }
	  grep { ($facts->{$_} // 'NULL') ne ($wanted->{$_} // 'NULL') } sort keys %$wanted;
	push @problems, map { "$_ is " . ($row->{$_} // 'NULL') . ", not $expect{$_}" }
	  grep { ($row->{$_} // 'NULL') ne $expect{$_} } sort keys %expect;
	push @problems, map { "$_ is $row->{$_}, not $now{$_}" } grep { $row->{$_} != $now{$_} } @SUMS;
	push @problems, 'allocations do not say ' . shown_parts(@$parts) if join(',', @numbers) ne join(',', map { @$_ } @$parts);
	return @problems;
}

#
# The tables at the end: what is wrong, as [seq, problem]
#

sub differing
{
	my ($table, $row, $expected) = @_;
	return map { [ $row->{seq}, "$table has $_ " . ($row->{$_} // 'NULL') . ', the history ' . ($expected->{$_} // 'NULL') ] }
	  grep { ($row->{$_} // 'NULL') ne ($expected->{$_} // 'NULL') } sort keys %$expected;
}

sub check_grant
{
	my ($book, $row) = @_;
	my $grant = delete $book->{grants}{ $row->{seq} } or return [ $row->{seq}, 'credit_grant has a row that no grant opened' ];
	return differing('credit_grant', $row,
		{ amount => $grant->{amount}, ends_at => $grant->{ends_at}, remaining => $grant->{left},
			closed => $grant->{closed} ? 't' : 'f' });
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
		differing('credit_hold', $row, { (map { ($_ => $hold->{$_}) } qw(amount period_start state)),
			(map { ($_ => $part{$_}) } qw(monthly purchased)),
			ends_at => $hold->{state} eq 'open' ? $hold->{ends_at} : undef }),
		("@granted" ne "@{ $part{granted} }" ? [ $row->{seq}, 'credit_hold has other allocations than the history' ] : ()));
}

# The user's rows of the tables, and what the payments say was revoked, by seq.
sub check_tables
{
	my ($book, $grants, $holds, $revoked) = @_;
	my @problems = ((map { check_grant($book, $_) } @$grants), (map { check_hold($book, $_) } @$holds));
	push @problems, map { [ $_, 'credit_grant has no row of it' ] } sort { $a <=> $b } keys %{ $book->{grants} };
	push @problems, map { [ $_, 'credit_hold has no row of it' ] } sort { $a <=> $b } keys %{ $book->{holds} };
	for my $seq (sort { $a <=> $b } keys %$revoked)
	{
		my $expected = $book->{payments}{$seq}{revoked};
		push @problems, [ $seq, "credit_payment has revoked $revoked->{$seq}, the history $expected" ]
		  if $revoked->{$seq} != $expected;
	}
	return @problems;
}

1;
