# Medians, ranges, percentiles, and reading what pgbench -l wrote.
package Bench::Stats;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(median summary by_round read_samples rate percentile percentiles);

sub median
{
	my @sorted = sort { $a <=> $b } grep { defined } @_;
	return undef unless @sorted;
	my $mid = int(@sorted / 2);
	return @sorted % 2 ? $sorted[$mid] : ($sorted[ $mid - 1 ] + $sorted[$mid]) / 2;
}

# summary(VALUES): what is reported of one value per round.
sub summary
{
	my @sorted = sort { $a <=> $b } grep { defined } @_;
	return undef unless @sorted;
	return { median => median(@sorted), min => $sorted[0], max => $sorted[-1], n => scalar @sorted };
}

# by_round(OURS, OTHERS): their ratios, round by round: what else the machine
# did in a round, it did to both.
sub by_round
{
	my ($ours, $others) = @_;
	return undef unless $ours && $others;
	return summary(map { $ours->[$_] && $others->[$_] ? $ours->[$_] / $others->[$_] : undef } 0 .. $#$ours);
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
