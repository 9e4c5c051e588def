# Medians, ranges, percentiles, and reading what pgbench -l wrote.
package Bench::Stats;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(median summary read_logs percentile);

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

# read_logs(FILES, WARM, HISTOGRAM): the transactions a second of one pgbench
# run without its first WARM seconds, in which backends start and fill their
# caches.  Latencies of the rest are added to HISTOGRAM: microseconds, to
# three digits, => how many.
sub read_logs
{
	my ($files, $warm, $histogram) = @_;
	my (@end, @latency);
	for my $file (@$files)
	{
		open(my $fh, '<', $file) or die "$file: $!\n";
		while (<$fh>)
		{
			# client, transaction, latency in us, script, end: s, us
			my (undef, undef, $us, undef, $s, $frac) = split ' ';
			next unless defined $frac && $us =~ /^\d+$/;
			push @end, $s + $frac / 1e6;
			push @latency, $us;
		}
		close $fh;
	}
	return undef unless @end;

	my ($start, $last) = ($end[0] - $latency[0] / 1e6, $end[0]);
	for my $i (0 .. $#end)
	{
		my $begin = $end[$i] - $latency[$i] / 1e6;
		$start = $begin if $begin < $start;
		$last = $end[$i] if $end[$i] > $last;
	}
	my $from = $start + $warm;
	my $count = grep { $_ > $from } @end;
	# Too slow to have warmed up: all of it counts.
	($from, $count) = ($start, scalar @end) if $count < 2 || $last - $from < $warm / 2;
	for my $i (0 .. $#end)
	{
		next unless $end[$i] > $from;
		my $us = $latency[$i];
		my $unit = $us < 1000 ? 1 : 10**(length($us) - 3);
		$histogram->{ int($us / $unit) * $unit }++;
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

1;
