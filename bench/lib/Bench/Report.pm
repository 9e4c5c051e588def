# What is made of the measurements: ratios, the table, JSON, the chart.
package Bench::Report;
use strict;
use warnings;
use JSON::PP;
use POSIX qw(strftime);
use Bench::Stats qw(summary);
use Bench::Chart qw(chart);
use Exporter 'import';
our @EXPORT_OK = qw(ratios table write_json write_chart);

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

# The ratios of two contenders, round by round: what else the machine did in a
# round, it did to both.
sub by_round
{
	my ($ours, $others) = @_;
	return undef unless $ours && $others;
	return summary(map { $ours->[$_] && $others->[$_] ? $ours->[$_] / $others->[$_] : undef } 0 .. $#$ours);
}

# ratios(RESULT): what is aimed at, and what was measured of it.
sub ratios
{
	my ($result) = @_;
	my @ratios;
	my $add = sub {
		my ($what, $aim, $value) = @_;
		push @ratios, { what => $what, aim => $aim, value => $value } if $value;
	};
	my $tps = sub { my $cell = cell($result, @_); return $cell && $cell->{tps} };
	my $single = sub { $tps->($_[0], 'uniform', 'on', 16) };

	for (
		[ 'update',      'one-row UPDATE',      '>= 1.0' ],
		[ 'plpgsql_key', 'plpgsql with key',    '>= 1.6' ],
		[ 'client_tx',   'client transaction',  '>= 2.2' ],
		[ 'pgledger',    'pgledger',            '>= 6' ])
	{
		$add->("credits_deduct with key / $_->[1], tps, uniform, 16 clients, commit on",
			$_->[2], by_round($single->('deduct_key'), $single->($_->[0])));
	}

	my %one = map { $_->{id} => $_ } @{ $result->{one} };
	for my $kind ([ 'us', 'time' ], [ 'cpu_us', 'CPU time' ])
	{
		for my $key ('', '_key')
		{
			$add->('in one statement' . ($key && ', with key') . ": credits_deduct / plpgsql, $kind->[1]", '<= 0.3',
				by_round(map { $one{$_}{ $kind->[0] } } "one_deduct$key", "one_plpgsql$key"));
		}
	}

	for my $clients (1, 16)
	{
		$add->("credits_deduct_many with keys / UPDATE + INSERT in batches, items/s, "
			  . "$clients client" . ($clients == 1 ? '' : 's') . ', commit on', '>= 1.0',
			by_round(map { $tps->($_, 'uniform', 'on', $clients) } 'deduct_many', 'update_insert_many'));
	}
	$add->('credits_deduct_many with keys, items/s / credits_deduct with key, tps, 16 clients, commit on', '>= 8',
		by_round($single->('deduct_many'), $single->('deduct_key')));

	my $hot = sub { $tps->($_[0], 'hot', 'on', 64) };
	$add->('hot user: credits_deduct with key / plpgsql with key, tps, 64 clients, commit on',
		'', by_round($hot->('deduct_key'), $hot->('plpgsql_key')));
	$add->('hot user: the same, with early lock release', '>= 5',
		by_round($hot->('deduct_key_early'), $hot->('plpgsql_key')));

	my $worst;
	for my $group (@{ $result->{groups} })
	{
		next unless $group->{clients} == 64;
		for my $cell (@{ $group->{cells} })
		{
			next unless $cell->{contender}{ours} && !$cell->{contender}{batch} && $cell->{p};
			$worst = $cell->{p}{99} if defined $cell->{p}{99} && (!defined $worst || $cell->{p}{99} > $worst);
		}
	}
	$add->('worst p99 of credits_deduct at 64 clients, ms', '< 100', $worst && summary($worst));

	for my $other ([ 'pgledger', '<= 0.5' ], [ 'plpgsql_key', '' ])
	{
		for my $kind ([ 'wal_per', 'WAL' ], [ 'size_per', 'table and index' ])
		{
			my ($ours, $others) = map { cell($result, $_, 'uniform', 'on', 16) } 'deduct_key', $other->[0];
			next unless $ours && $others && $ours->{ $kind->[0] } && $others->{ $kind->[0] };
			$add->("credits_deduct with key / $others->{contender}{label}, $kind->[1] bytes an operation",
				$other->[1], summary($ours->{ $kind->[0] } / $others->{ $kind->[0] }));
		}
	}
	return @ratios;
}

sub number
{
	my ($n, $format) = @_;
	return '-' unless defined $n;
	my $text = sprintf($format // '%.0f', $n);
	1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $text;
}

sub range
{
	my ($summary, $format) = @_;
	return '-' unless $summary && $summary->{n} > 1;
	return number($summary->{min}, $format) . '..' . number($summary->{max}, $format);
}

sub group_title
{
	my ($group) = @_;
	my %users = (uniform => 'uniform users', zipf => 'Zipf users', hot => 'one hot user');
	return "$users{ $group->{shape} }, $group->{clients} client" . ($group->{clients} == 1 ? '' : 's')
	  . ", synchronous_commit $group->{sync}";
}

sub describe
{
	my ($result) = @_;
	return sprintf('%s users, %d CPUs, PostgreSQL %s, fsync of 8 kB %.2f ms, %s', number($result->{users}),
		$result->{cpus}, $result->{server} =~ s/ .*//r, $result->{fsync_ms},
		$result->{quick} ? 'QUICK: a smoke check, the figures mean nothing'
		: "$result->{rounds} x $result->{seconds} s a cell");
}

# table(RESULT): the one that is printed.
sub table
{
	my ($result) = @_;
	my $text = describe($result) . "\n";
	my $line = "  %-35s %9s %17s %8s %8s %8s %8s %8s %8s\n";
	my @head = ('', 'tps', 'min..max', 'p50 ms', 'p95 ms', 'p99 ms', 'p99.9', 'WAL B/op', 'tbl B/op');
	for my $group (@{ $result->{groups} })
	{
		$text .= "\n" . group_title($group) . "\n" . sprintf($line, @head);
		for my $cell (@{ $group->{cells} })
		{
			my $label = $cell->{contender}{label} . ($cell->{contender}{batch} ? ' (items/s)' : '');
			$text .= sprintf($line, $label, number($cell->{summary}{median}), range($cell->{summary}),
				(map { number($cell->{p}{$_}, '%.2f') } 50, 95, 99, 99.9),
				number($cell->{wal_per}), number($cell->{size_per}));
			$text .= "    $cell->{failed} failed\n" if $cell->{failed};
		}
	}
	if (@{ $result->{one} })
	{
		$text .= sprintf("\nin one statement over %s users, microseconds per user\n", number($result->{one_users}));
		$text .= sprintf("  %-35s %9s %17s %8s\n", '', 'time', 'min..max', 'CPU');
		for (@{ $result->{one} })
		{
			$text .= sprintf("  %-35s %9s %17s %8s\n", $_->{label}, number($_->{summary}{median}, '%.1f'),
				range($_->{summary}, '%.1f'), number($_->{cpu}, '%.1f'));
		}
	}
	if (@{ $result->{ratios} })
	{
		$text .= sprintf("\n%-100s %-9s %7s  %s\n", 'ratios, round by round', 'aim', 'median', 'min..max');
		$text .= sprintf("  %-98s %-9s %7.2f  %s\n", $_->{what}, $_->{aim}, $_->{value}{median},
			range($_->{value}, '%.2f'))
		  for @{ $result->{ratios} };
	}
	return $text;
}

# write_json(RESULT, FILE): all that was measured, every round.
sub write_json
{
	my ($result, $file) = @_;
	my %json = map { $_ => $result->{$_} }
	  qw(users seconds rounds batch one_users cpus fsync_ms server revision settings took failures ratios);
	$json{format} = 1;
	$json{quick} = $result->{quick} ? JSON::PP::true : JSON::PP::false;
	$json{started} = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $result->{started});
	$json{early_release} = $result->{early};
	for my $cell (map { @{ $_->{cells} } } @{ $result->{groups} })
	{
		push @{ $json{cells} }, {
			contender => $cell->{contender}{id}, label => $cell->{contender}{label},
			users => $cell->{shape}, synchronous_commit => $cell->{sync}, clients => $cell->{clients},
			items_per_transaction => $cell->{contender}{batch} ? $result->{batch} : 1,
			operations => $cell->{operations}, failed => $cell->{failed},
			per_second => $cell->{summary}, per_second_by_round => $cell->{tps},
			latency_ms => { map { ("p$_" => $cell->{p}{$_}) } 50, 95, 99, 99.9 },
			wal_bytes_per_operation => $cell->{wal_per}, relation_bytes_per_operation => $cell->{size_per},
		};
	}
	for (@{ $result->{one} })
	{
		push @{ $json{one_statement} }, {
			contender => $_->{id} =~ s/^one_//r, label => $_->{label}, us_per_user => $_->{summary},
			us_per_user_by_round => $_->{us}, cpu_us_per_user => $_->{cpu},
		};
	}
	open(my $fh, '>', $file) or die "$file: $!\n";
	print $fh JSON::PP->new->canonical->pretty->encode(\%json);
	close $fh;
}

sub bar
{
	my ($label, $ours, $summary) = @_;
	return { label => $label, ours => $ours, map { $_ => $summary->{$_} } qw(median min max) };
}

# write_chart(RESULT, FILE): a panel per group; batches in a panel of their
# own.  SELECT 1 is left out: beside it the others could not be told apart.
sub write_chart
{
	my ($result, $file) = @_;
	my @panels;
	my $panel = sub {
		my ($title, @bars) = @_;
		push @panels, { title => $title, bars => \@bars } if @bars;
	};
	my @cells = map { @{ $_->{cells} } } @{ $result->{groups} };
	for my $group (@{ $result->{groups} })
	{
		$panel->('transactions/s: ' . group_title($group),
			map { bar($_->{contender}{label}, $_->{contender}{ours}, $_->{summary}) }
			grep { $_->{summary} && !$_->{contender}{batch} && $_->{contender}{id} ne 'select1' } @{ $group->{cells} });
	}
	$panel->("items/s in batches of $result->{batch}, clients, synchronous_commit",
		map { bar("$_->{contender}{label}, $_->{clients}, $_->{sync}", $_->{contender}{ours}, $_->{summary}) }
		grep { $_->{summary} && $_->{contender}{batch} } @cells);
	$panel->('microseconds per user, in one statement over ' . number($result->{one_users}) . ' users',
		map { bar($_->{label}, $_->{ours}, $_->{summary}) } grep { $_->{summary} } @{ $result->{one} });
	open(my $fh, '>', $file) or die "$file: $!\n";
	print $fh chart('credits: make bench', describe($result), @panels);
	close $fh;
}

1;
