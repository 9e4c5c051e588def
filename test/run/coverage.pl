# What make coverage prints: which lines of src/ the tests ran, by gcov.
# Usage: coverage.pl PERCENT DIR...: fails below PERCENT; DIRs have the objects'
# .gcno and .gcda files.  A line of code counts once, whatever it was compiled
# into: the extension, the unit tests, or, inline, several objects of these.
use strict;
use warnings FATAL => 'all';

use Cwd ();
use File::Find ();
use JSON::PP ();

my ($wanted, @dirs) = @ARGV;
my (@data, %count);

File::Find::find(sub { push @data, $File::Find::name if /\.gcno$/ }, map { Cwd::abs_path($_) } @dirs);
for my $data (sort @data)
{
	# gcov remarks on objects without code, such as a table of names.
	open my $gcov, q(-|), "gcov --json-format --stdout '$data' 2>/dev/null" or die "gcov: $!";
	while (my $json = <$gcov>)
	{
		for my $file (@{ JSON::PP::decode_json($json)->{files} })
		{
			my ($name) = $file->{file} =~ m{(?:^|/)(src/.*)} or next;

			$count{$name}{ $_->{line_number} } += $_->{count} for @{ $file->{lines} };
		}
	}
	close $gcov or die "gcov $data: $?";
}

# 1, 2, 3, 7 as "1-3 7"
sub ranges
{
	my @ranges;

	for my $line (@_)
	{
		if (@ranges && $ranges[-1][1] == $line - 1) { $ranges[-1][1] = $line; }
		else { push @ranges, [ $line, $line ]; }
	}
	return join ' ', map { $_->[0] == $_->[1] ? $_->[0] : "$_->[0]-$_->[1]" } @ranges;
}

my ($lines, $run) = (0, 0);
print "lines not run\n";
for my $file (sort keys %count)
{
	my @all = sort { $a <=> $b } keys %{ $count{$file} };
	my @missed = grep { !$count{$file}{$_} } @all;

	$lines += @all;
	$run += @all - @missed;
	printf "%-26s %5d of %5d, %5.1f %% run: %s\n", $file, scalar @all - @missed, scalar @all,
	  100 * (@all - @missed) / @all, ranges(@missed)
	  if @missed;
}
die "no coverage data\n" unless $lines;
my $percent = 100 * $run / $lines;
printf "coverage of src/: %d of %d lines, %.2f %%\n", $run, $lines, $percent;
exit($percent < $wanted);
