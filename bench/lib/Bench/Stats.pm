# Medians, ranges, percentiles, and reading what pgbench -l wrote.
package Bench::Stats;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(median summary paired in_turn read_samples rate percentile percentiles);

sub median
{
	my @sorted = sort { $a <=> $b } grep { defined } @_;
	return undef unless @sorted;
	my $mid = int(@sorted / 2);
	return @sorted % 2 ? $sorted[$mid] : ($sorted[ $mid - 1 ] + $sorted[$mid]) / 2;
}

# interval(SORTED): where the median is with a probability of 95 %, whatever
# the distribution (the interval of the sign test).  Fewer than six values
# cannot say that: then it is their range.
sub interval
{
	my @sorted = @_;
	my $n = @sorted;
	# Out of how many below the median there may be: the two tails of
	# n throws of a coin.
	my ($out, $tail, $chance) = (0, 0, 0.5**$n);
	while (2 * ($tail + $chance) <= 0.05)
	{
		$tail += $chance;
		$out++;
		$chance *= ($n - $out + 1) / $out;
	}
	$out = 1 if $out < 1;
	return @sorted[ $out - 1, $n - $out ];
}

# summary(VALUES): what is reported of one value per round, or per pair.
sub summary
{
	my @sorted = sort { $a <=> $b } grep { defined } @_;
	return undef unless @sorted;
	my ($low, $high) = interval(@sorted);
	return { median => median(@sorted), min => $sorted[0], max => $sorted[-1], low => $low, high => $high, n => scalar @sorted };
}

# paired(OURS, OTHERS): a summary of their ratios, pair by pair: what else the
# machine did meanwhile, it did to both.
sub paired
{
	my ($ours, $others) = @_;
	return undef unless $ours && $others;
	return summary(map { $ours->[$_] && $others->[$_] ? $ours->[$_] / $others->[$_] : undef } 0 .. $#$ours);
}

# in_turn(N, CODE, SIDES): CODE(SIDE, TURN) for each side, N times, there and
# back (A B, B A, A B, ...), so that a machine that slows down does it to each.
sub in_turn
{
	my ($n, $code, @sides) = @_;
	for my $turn (1 .. $n)
	{
		$code->($_, $turn) for $turn % 2 ? @sides : reverse @sides;
	}
}

# read_samples(FILES): the transactions of one pgbench run: [ end in seconds,
# latency in microseconds, number of the script ].
sub read_samples
{
	my @samples;
	for my $file (@_)
	{
		open(my $fh, '<', $file) or die "$file: $!\n";
		while (my $line = <$fh>)
		{
			# client, transaction, latency in us, script, end: s, us
			my (undef, undef, $us, $script, $s, $frac) = split ' ', $line;
			next unless defined $frac && $us =~ /^\d+$/;
			push @samples, [ $s + $frac / 1e6, $us, $script ];
		}
		close $fh;
	}
	return \@samples;
}

# rate(SAMPLES, WARM, HISTOGRAM): the transactions a second without the first
# WARM seconds, in which backends start and fill their caches.  Latencies of
# the rest are added to HISTOGRAM: microseconds, to three digits, => how many.
sub rate
{
	my ($samples, $warm, $histogram) = @_;
	return undef unless @$samples;
	my ($start, $last) = ($samples->[0][0] - $samples->[0][1] / 1e6, $samples->[0][0]);
	for (@$samples)
	{
		my $begin = $_->[0] - $_->[1] / 1e6;
		$start = $begin if $begin < $start;
		$last = $_->[0] if $_->[0] > $last;
	}
	my $from = $start + $warm;
	my $count = grep { $_->[0] > $from } @$samples;
	# Too slow to have warmed up: all of it counts.
	($from, $count) = ($start, scalar @$samples) if $count < 2 || $last - $from < $warm / 2;
	for (@$samples)
	{
		next unless $_->[0] > $from;
		my $unit = $_->[1] < 1000 ? 1 : 10**(length($_->[1]) - 3);
		$histogram->{ int($_->[1] / $unit) * $unit }++;
	}
	return $last > $from ? $count / ($last - $from) : undef;
}

# percentile(HISTOGRAM, SHARE): in milliseconds.
sub percentile
{
	my ($histogram, $share) = @_;
	my $total = 0;
	$total += $_ for values %$histogram;
	return undef unless $total;
	my $seen = 0;
	for my $us (sort { $a <=> $b } keys %$histogram)
	{
		$seen += $histogram->{$us};
		return $us / 1000 if $seen >= $share * $total;
	}
}

# percentiles(HISTOGRAM): those that are reported.
sub percentiles
{
	my ($histogram) = @_;
	return { map { $_ => percentile($histogram, $_ / 100) } 50, 95, 99, 99.9 };
}

1;
