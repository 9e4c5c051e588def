# The histories that the product has at the end of a world of the model test, compared with
# the model's.
package CreditsModelCompareHistory;

use strict;
use warnings FATAL => 'all';

use CreditsModelSame;
use CreditsModelSeen;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(max uniq);

our @EXPORT = qw(compare_history);

my @columns = qw(user seq kind amount monthly_delta granted_delta purchased_delta monthly granted purchased
  held_monthly held_granted held_purchased owed_monthly owed_purchased expired forfeited skipped
  effective_at created_at period next_reset_at ends_at ref payment_ref key spender reason erased metadata alloc
  version status plan scheduled anchor zone overdraft period_granted period_start share cycle last_left last_limit last_undone
  threshold crossed);

sub compare_history
{
	my ($state, @rows) = @_;
	my %got;

	for my $row (@rows)
	{
		my %row;

		@row{@columns} = @$row;
		s/^\Q$state->{prefix}\E// for grep { defined } @row{qw(user payment_ref spender plan scheduled)};
		$row{$_} //= 0 for qw(held_monthly held_granted held_purchased owed_monthly owed_purchased expired forfeited);
		($row{tag}) = ($row{reason} // '') =~ /^t(\d+)$/;
		push @{ $got{ $row{user} } }, \%row;
	}
	for my $user (uniq(sort(keys %got), sort keys %{ $state->{model}{rows} }))
	{
		compare_rows($state, $user, $state->{model}{rows}{$user} // [], $got{$user} // []);
		best_plan($state->{model}, $user, $got{$user} // []);
	}
	return;
}

my @facts = qw(status plan scheduled anchor zone overdraft period_granted period_start share cycle
  last_left last_limit last_undone threshold version);
my @compared = (
	qw(kind amount monthly_delta granted_delta purchased_delta monthly granted purchased held_monthly held_granted
	  held_purchased owed_monthly owed_purchased effective_at period next_reset_at ends_at ref payment_ref spender key
	  tag metadata crossed),
	@facts);
my %compare_alloc = map { $_ => 1 } qw(deduct hold adjust capture refund close revoke reinstate transfer_out import);

sub compare_rows
{
	my ($state, $user, $model, $product) = @_;
	my %tag_of = map { $_->{seq} => $_->{tag} } grep { defined $_->{tag} } @$product;
	my @model = @$model;
	my $erased = $state->{model}{erased}{$user} // 0;
	my ($n, $before, %facts) = (0);

	for my $row (@$product)
	{
		my $what = "history of $user, row " . ++$n . " ($row->{kind}" . ($row->{tag} ? " t$row->{tag}" : '') . ')';
		my $expected = shift @model // die "$what: the model has no such row\n";
		my $known = $state->{seqs}{$user}{ $row->{tag} // '' };

		die "$what: its seq is $row->{seq}\n" if $row->{seq} != $n;
		die "$what: the receipt said seq $known\n" if defined $known && $known != $row->{seq};
		$expected = folded("$what, $row->{skipped} skipped", $expected, splice @model, 0, $row->{skipped})
		  if $row->{skipped} > 0;
		new_facts($what, \%facts, $row) if defined $row->{status};
		my $is_erased = @$model - @model <= $erased && defined $expected->{tag};
		same($what, expected_row($expected, $is_erased), got_row($row, \%facts, \%tag_of, $product));
		seen_row($expected, $before, $row->{skipped});
		$before = $expected if $row->{kind} ne 'imported';
	}
	die "history of $user: the model has one more row, $model[0]{kind}\n" if @model;

	# Those of runs had no receipt to say them.
	$state->{seqs}{$user}{ $_->{tag} } //= $_->{seq} for grep { defined $_->{tag} } @$product;
	return;
}

# A row has all facts if one of them is new, or if it begins something.
sub new_facts
{
	my ($what, $facts, $row) = @_;
	my $before = join '|', map { shown($facts->{$_}) } @facts;

	%$facts = map { $_ => $row->{$_} } @facts;
	die "$what: it has facts, and none of them is new\n"
	  if $row->{kind} !~ /^(open|import|reset|restart)$/ && $before eq join '|', map { shown($facts->{$_}) } @facts;
	return;
}

sub expected_row
{
	my ($row, $is_erased) = @_;
	my %expected = map { $_ => $row->{$_} } @compared;

	# What is only told moves nothing.
	%expected = map { $_ => $row->{$_} // 0 } qw(kind amount monthly granted purchased effective_at)
	  if $row->{kind} eq 'imported';

	# The texts of an erased row are gone; its tag was kept elsewhere.
	$expected{erased} = $is_erased ? 't' : 'f';
	$expected{metadata} = undef if $is_erased;
	$seen{'erased rows'}++ if $is_erased;

	# An opening without a tag says when it was made; an event's row need not.
	$expected{created_at} = $row->{created_at} if defined $row->{tag};
	$expected{$_} = $row->{$_} // 0 for qw(expired forfeited);
	$expected{alloc} = pairs($row->{alloc}) if $compare_alloc{ $row->{kind} };
	return \%expected;
}

# What the product has: a row about another one names that by its tag here.
sub got_row
{
	my ($row, $facts, $tag_of, $product) = @_;
	my %got = (%$row, %$facts);

	if (defined $row->{ref})
	{
		my $to = $product->[ $row->{ref} - 1 ];
		$got{ref} = $to->{tag} // "$to->{kind} at " . iso($to->{effective_at});
	}
	$got{alloc} = pairs(product_alloc($tag_of, $row->{alloc}));
	return \%got;
}

# Boundaries that the product wrote as one row: nothing else between them; one
# grant, and what is left is what they came to one by one.
sub folded
{
	my ($what, @rows) = @_;

	die "$what: there are not that many\n" if grep { !defined } @rows;
	die "$what: but $_->{kind} at " . iso($_->{effective_at}) . "\n" for grep { $_->{kind} ne 'reset' } @rows;
	my %last = %{ $rows[-1] };
	my $delta = 0;

	for my $row (@rows)
	{
		die "$what: but the period from " . iso($row->{period_start}) . " has a row of its own\n"
		  if $row->{share} != FULL
		  || $row->{last_limit}
		  || $row->{held_monthly}
		  || shown($row->{plan}) ne shown($last{plan})
		  || shown($row->{version}) ne shown($last{version});
	}

	$delta += $_->{monthly_delta} for @rows;
	$last{monthly_delta} = $delta;
	$last{expired} = $last{amount} - $delta;

	# After the first of them nothing changes any more.
	$last{crossed} = $rows[0]{crossed};
	return \%last;
}

sub product_alloc
{
	my ($tag_of, $text) = @_;
	my @numbers = ($text // '') =~ /-?\d+/g;
	my @pairs;

	while (my ($from, $n) = splice @numbers, 0, 2)
	{
		push @pairs, [ $from > 0 ? $tag_of->{$from} // "seq $from" : $from, $n ];
	}
	return \@pairs;
}

# Pairs as text, equal neighbours together.
sub pairs
{
	my @pairs;

	for my $pair (@{ $_[0] // [] })
	{
		my ($from, $n) = @$pair;

		if (@pairs && $pairs[-1][0] eq $from)
		{
			$pairs[-1][1] += $n;
		}
		else
		{
			push @pairs, [ $from, $n ];
		}
	}
	return join ' ', map { "$_->[0]:$_->[1]" } @pairs;
}

# What plan changes and the boundary gave in a period, less what plan changes
# took, is never more than the best plan held in it gives.
sub best_plan
{
	my ($model, $user, $rows) = @_;
	my (%given, %best, $plan, $share, %changes, %undone);

	for my $row (@$rows)
	{
		my $period = $row->{period};

		($plan, $share) = @$row{qw(plan share)} if defined $row->{status};
		$given{$period} += $row->{amount} if $row->{kind} =~ /^(open|reset|restart|set_plan)$/;
		$changes{$period}++ if $row->{kind} eq 'set_plan';
		$undone{$period} = 1 if $row->{kind} =~ /^(undo|close)$/;
		next if $row->{kind} eq 'plan_change' || !defined $plan;
		my ($version) = grep { $_->{version} == $row->{version} } @{ $model->{plans}{$plan} };
		$best{$period} = max($best{$period} // 0, share_part($version->{credits}, $share));
		$seen{'prorated periods'}++ if $share < FULL;
	}
	for my $period (grep { !$undone{$_} } keys %given)
	{
		my ($given, $best) = ($given{$period}, $best{$period} // 0);

		die "$user: period $period gave $given, its best plan $best\n" if $given > $best;
		$seen{'periods with two plan changes or more'}++ if ($changes{$period} // 0) >= 2;
	}
	return;
}

1;
