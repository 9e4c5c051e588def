# What is aimed at on two cores, and what was measured of it.
package Bench::Ratios;
use strict;
use warnings;
use Bench::Stats qw(summary by_round);
use Exporter 'import';
our @EXPORT_OK = qw(ratios);

sub cell
{
	my ($result, $id, $shape, $sync, $clients) = @_;
	for my $group (@{ $result->{groups} })
	{
		next unless $group->{shape} eq $shape && $group->{sync} eq $sync && $group->{clients} == $clients;
		for (@{ $group->{cells} }) { return $_ if $_->{contender}{id} eq $id }
	}
	return undef;
}

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

# Whether a median is what is aimed at.
sub holds
{
	my ($aim, $value) = @_;
	my ($operator, $bound) = split ' ', $aim;
	return undef unless $value && $bound;
	my $median = $value->{median};
	return ($operator eq '>=' ? $median >= $bound : $operator eq '<=' ? $median <= $bound : $median < $bound) ? 1 : 0;
}

# ratios(RESULT): what; aim, '' if it is for information; value: a summary, or
# undef if it was not measured; holds: 1, 0 or undef.
sub ratios
{
	my ($result) = @_;
	my @ratios;
	my $add = sub {
		my ($what, $aim, $value) = @_;
		return unless $value || $aim;
		push @ratios, { what => $what, aim => $aim, value => $value, holds => holds($aim, $value) };
	};
	my $tps = sub { my $cell = cell($result, @_); return $cell && $cell->{tps} };
	my $single = sub { $tps->($_[0], 'uniform', 'on', 16) };

	for (
		[ 'update',      'one-row UPDATE',     '>= 1.0' ],
		[ 'plpgsql_key', 'plpgsql with key',   '>= 1.6' ],
		[ 'client_tx',   'client transaction', '>= 2.2' ],
		[ 'pgledger',    'pgledger',           '>= 6' ])
	{
		$add->("credits_deduct with key / $_->[1], tps, uniform, 16 clients, commit on",
			$_->[2], by_round($single->('deduct_key'), $single->($_->[0])));
	}

	my %one = map { $_->{id} => $_ } @{ $result->{one} };
	for my $kind ([ 'us', 'time', '<= 0.3' ], [ 'cpu_us', 'CPU time', '' ])
	{
		for my $key ('', '_key')
		{
			$add->('in one statement' . ($key && ', with key') . ": credits_deduct / plpgsql, $kind->[1]", $kind->[2],
				by_round(map { $one{$_}{ $kind->[0] } } "one_deduct$key", "one_plpgsql$key"));
		}
	}

	for my $case ([ 'uniform', 1, '1 client' ], [ 'uniform', 16, '16 clients, any users' ],
		[ 'divided', 16, '16 clients, each its own users' ])
	{
		my ($shape, $clients, $label) = @$case;
		$add->("credits_deduct_many with keys / UPDATE + INSERT in batches, items/s, $label, commit on", '>= 1.0',
			by_round(map { $tps->($_, $shape, 'on', $clients) } 'deduct_many', 'update_insert_many'));
		next if $clients == 1;
		$add->("credits_deduct_many with keys, items/s / credits_deduct with key, tps, $label, commit on", '>= 8',
			by_round($tps->('deduct_many', $shape, 'on', $clients), $single->('deduct_key')));
	}

	my $hot = sub { $tps->($_[0], 'hot', 'on', 64) };
	$add->('hot user: credits_deduct with key / plpgsql with key, tps, 64 clients, commit on',
		'', by_round($hot->('deduct_key'), $hot->('plpgsql_key')));
	$add->('hot user: the same, with early lock release', '>= 5',
		by_round($hot->('deduct_key_early'), $hot->('plpgsql_key')));

	my $sweep = $result->{sweep} // {};
	my $due = $sweep->{accounts} ? " of $sweep->{accounts} accounts" : '';
	$add->("sweep$due / UPDATE + INSERT in one statement, time", '<= 1.0', $sweep->{ratio});
	$add->("p99 of deductions with a sweep$due / without, $_->[1]", '<= 2.0', $sweep->{p99_ratio}{ $_->[0] })
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
		[ 'uniform and Zipf', sub { $_[0]{shape} ne 'hot' } ],
		[ 'one hot user', sub { $_[0]{shape} eq 'hot' && $_[0]{contender}{id} ne 'deduct_key_early' } ],
		[ 'one hot user, early lock release', sub { $_[0]{shape} eq 'hot' && $_[0]{contender}{id} eq 'deduct_key_early' } ])
	{
		my ($p99, $whose) = worst($result, $_->[1]);
		$add->("worst p99 at 64 clients, ms, $_->[0]" . ($whose ? " ($whose)" : ''), '< 100', $p99 && summary($p99));
	}
	return @ratios;
}

1;
