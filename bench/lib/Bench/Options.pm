# Options come from the environment; README.md has the list.
package Bench::Options;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(options);

my ($quick, $full);

# option(NAME, DEFAULT[, QUICK[, FULL]]): the other defaults are those of
# BENCH_QUICK=1 and BENCH_FULL=1.
sub option
{
	my ($name, $default, $in_quick, $in_full) = @_;
	my $value = $ENV{"BENCH_$name"};
	return $value if defined $value && $value ne '';
	return $in_quick if $quick && defined $in_quick;
	return $in_full if $full && defined $in_full;
	return $default;
}

sub numbers
{
	my ($name, @defaults) = @_;
	my @values = split ' ', option($name, @defaults);
	for (@values) { die "BENCH_$name: not a whole number above 0: '$_'\n" unless /^[1-9]\d{0,9}$/ }
	die "BENCH_$name is empty\n" unless @values;
	return @values;
}

sub number
{
	my ($name, @defaults) = @_;
	my @values = numbers($name, @defaults);
	die "BENCH_$name: one number\n" unless @values == 1;
	return $values[0];
}

sub words
{
	my ($name, @known) = @_;
	my @words = split ' ', option($name, "@known");
	for my $word (@words)
	{
		die "BENCH_$name: no '$word'; there are: @known\n" unless grep { $_ eq $word } @known;
	}
	return @words;
}

# options(): all of them, checked.
sub options
{
	$quick = ($ENV{BENCH_QUICK} // '') eq '1';
	$full = ($ENV{BENCH_FULL} // '') eq '1' && !$quick;
	# Without a base there is nothing to compare it with.
	my @stages = (qw(calls pairs), $ENV{BENCH_BASE} ? 'base' : (), qw(live sweep growth verify bloat));
	my %o = (
		quick    => $quick,
		full     => $full,
		work     => $ENV{BENCH_WORK} // die("bench.pl is run by run.sh\n"),
		stages   => { map { $_ => 1 } words('STAGES', @stages) },
		users    => number('USERS', 100_000, 10_000),
		seconds  => number('SECONDS', 2),
		rounds   => number('ROUNDS', 2, 1),
		pairs    => number('PAIRS', 10, 2),
		pair_seconds => number('PAIR_SECONDS', 1),
		base     => $ENV{BENCH_BASE},
		base_port => $ENV{BENCH_BASE_PORT},
		live_port => $ENV{BENCH_LIVE_PORT},
		clients  => [ numbers('CLIENTS', '1 16 64', '1 64') ],
		shapes   => [ words('SHAPES', qw(uniform zipf hot divided)) ],
		syncs    => [ words('SYNC', qw(on off)) ],
		only     => [ split ' ', option('ONLY', '') ],
		accounts => number('ACCOUNTS', 100_000, 5_000, 1_000_000),
		load     => number('LOAD_SECONDS', 4, 2),
		rows     => [ numbers('ROWS', '1000000 3000000', '50000 100000', '1000000 10000000') ],
		updates  => number('UPDATES', 10_000, 1_000, 36_000),
		pgledger => $ENV{BENCH_PGLEDGER},
	);
	die "BENCH_CLIENTS: at most 250\n" if grep { $_ > 250 } @{ $o{clients} };

	# Histories are filled from small to large; the first is what the others
	# are compared with.
	$o{rows} = [ sort { $a <=> $b } @{ $o{rows} } ];

	# In quick mode, a number of transactions per cell instead of a time.
	$o{transactions} = 64;
	# Seconds at the start of a cell, or of a side of a pair, that do not count.
	($o{warm}, $o{pair_warm}) = map { $quick ? 0 : $_ < 4 ? 0.25 * $_ : 1 } @o{qw(seconds pair_seconds)};
	$o{batch} = $o{users} >= 4000 ? 1000 : int($o{users} / 4) || 1;
	return \%o;
}

1;
