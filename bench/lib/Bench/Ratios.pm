# What is aimed at on two cores, and what was measured of it.
package Bench::Ratios;
use strict;
use warnings;
use Bench::Live qw(live_wanted);
use Bench::Pairs qw(pairs_wanted base_wanted);
use Bench::Stats qw(summary);
use Exporter 'import';
our @EXPORT_OK = qw(ratios);

# Bytes an operation over all cells of a contender: 'wal' or 'size'.
sub bytes
{
	my ($result, $id, $kind) = @_;
	my ($bytes, $operations) = (0, 0);
	for my $cell (map { @{ $_->{cells} } } @{ $result->{groups} })
	{
		next unless $cell->{contender}{id} eq $id && $cell->{shape} eq 'uniform' && $cell->{operations};
		$bytes += $cell->{$kind};
		$operations += $cell->{operations};
	}
	return $operations ? $bytes / $operations : undef;
}

# The worst p99 of our single calls at 64 clients, and whose it is.
sub worst
{
	my ($result, $want) = @_;
	my ($worst, $whose);
	for my $cell (map { @{ $_->{cells} } } grep { $_->{clients} == 64 } @{ $result->{groups} })
	{
		next unless $cell->{contender}{ours} && !$cell->{contender}{batch} && $cell->{p} && $want->($cell);
		my $p99 = $cell->{p}{99} // next;
		($worst, $whose) = ($p99, "$cell->{contender}{label}, $cell->{shape}, commit $cell->{sync}")
		  if !defined $worst || $p99 > $worst;
	}
	return ($worst, $whose);
}

# verdict(AIM, VALUE): whether it is what is aimed at.  An interval with the aim
# inside cannot say.
sub verdict
{
	my ($aim, $value) = @_;
	return undef unless $aim;
	return 'not measured' unless $value;
	my ($operator, $bound) = split ' ', $aim;
	my ($low, $high) = map { ($operator eq '>=' ? $_ >= $bound : $operator eq '<=' ? $_ <= $bound : $_ < $bound) ? 1 : 0 } @$value{qw(low high)};
	return $low != $high ? 'undecided' : $low ? 'holds' : 'does not hold';
}

# ratios(OPTIONS, RESULT): what; aim, '' if it is for information; value: a
# summary, or undef if it was not measured; verdict, undef without an aim.
sub ratios
{
	my ($o, $result) = @_;
	my @ratios;
	my $add = sub {
		my ($what, $aim, $value) = @_;
		return unless $value || $aim;
		push @ratios, { what => $what, aim => $aim, value => $value, verdict => verdict($aim, $value) };
	};
	$add->(@$_{qw(what aim value)}) for @{ $result->{paired} // [ pairs_wanted() ] }, @{ $result->{before} // [ base_wanted($o) ] },
	  @{ $result->{live} ? $result->{live}{pairs} : [ live_wanted() ] };
	my $delays = $result->{live} ? $result->{live}{delays} : {};
	$add->("from an answer to its notification, $_->[0], $_->[1], ms", '', summary($delays->{ $_->[0] }{ $_->[1] }))
	  for map { my $load = $_; map { [ $load, $_ ] } qw(p50 p99) } sort keys %$delays;

	my $sweep = $result->{sweep} // {};
	my $due = sub { $_[0] ? " of $_[0]{accounts} accounts" : '' };
	my $each = $due->($sweep->{alone});
	$add->('sweep' . $due->($_) . ' / UPDATE + INSERT in one statement, time', '<= 1.0', $_->{ratio})
	  for $sweep->{alone}, $sweep->{whole} // ();
	$add->("p99 of deductions with a sweep$each / without, $_->[1]", '<= 2.0', $sweep->{p99_ratio}{ $_->[0] })
	  for [ 'due', 'users it sweeps' ], [ 'others', 'other users' ];

	my $verify = $result->{verify} && $result->{verify}[-1];
	$add->('credits_verify, million rows a second' . ($verify ? ", of $verify->{rows}" : ''), '>= 1.0',
		$verify && summary(map { $_ / 1e6 } @{ $verify->{per_second} }));

	my $sizes = $result->{growth} && $result->{growth}{measures} && $result->{growth}{sizes};
	my $last = $sizes && @$sizes > 1 && $sizes->[-1];
	my $names = $last ? "$last->{target} rows / at $sizes->[0]{target}" : 'the largest history / at the smallest';
	$add->("time of credits_deduct with key at $names, $_->[1]", '<= 1.2', $last && $last->{slower}{ $_->[0] })
	  for [ 'deduct_1', '1 client' ], [ 'deduct_16', '16 clients' ];
	$add->("time of a page of credits_history at $names", '', $last && $last->{slower}{page_1});

	for my $other ([ 'pgledger', 'pgledger', '<= 0.5' ], [ 'plpgsql_key', 'plpgsql with key', '' ])
	{
		for my $kind ([ 'wal', 'WAL' ], [ 'size', 'table and index' ])
		{
			my ($ours, $others) = map { bytes($result, $_, $kind->[0]) } 'deduct_key', $other->[0];
			$add->("credits_deduct with key / $other->[1], $kind->[1] bytes an operation, uniform",
				$other->[2], $ours && $others ? summary($ours / $others) : undef);
		}
	}

	for (
		[ 'uniform and Zipf', sub { $_[0]{shape} ne 'hot' && $_[0]{contender}{id} ne 'deduct_key_early' } ],
		[ 'one hot user', sub { $_[0]{shape} eq 'hot' && $_[0]{contender}{id} ne 'deduct_key_early' } ],
		[ 'Zipf and one hot user, early lock release', sub { $_[0]{contender}{id} eq 'deduct_key_early' } ])
	{
		my ($p99, $whose) = worst($result, $_->[1]);
		$add->("worst p99 at 64 clients, ms, $_->[0]" . ($whose ? " ($whose)" : ''), '< 100', $p99 && summary($p99));
	}
	return @ratios;
}

1;
