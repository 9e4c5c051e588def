# What is made of the measurements: the table, JSON, the chart.
package Bench::Report;
use strict;
use warnings;
use JSON::PP;
use List::Util qw(sum);
use POSIX qw(strftime);
use Bench::Stats qw(summary);
use Bench::Chart qw(chart);
use Exporter 'import';
our @EXPORT_OK = qw(table write_json write_chart);

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

# Where the median is: fewer than six values cannot say (Stats.pm).
sub interval
{
	my ($summary, $format) = @_;
	return '-' unless $summary && $summary->{n} > 5;
	return number($summary->{low}, $format) . '..' . number($summary->{high}, $format);
}

sub group_title
{
	my ($group) = @_;
	my %users = (uniform => 'uniform users', zipf => 'Zipf users', hot => 'one hot user', divided => 'users divided among the clients');
	return "$users{ $group->{shape} }, $group->{clients} client" . ($group->{clients} == 1 ? '' : 's')
	  . ", synchronous_commit $group->{sync}";
}

sub describe
{
	my ($result) = @_;
	return sprintf('%s users, %d CPUs, PostgreSQL %s, fsync of 8 kB %.2f ms, %s', number($result->{users}),
		$result->{cpus}, $result->{server} =~ s/ .*//r, $result->{fsync_ms},
		$result->{quick} ? 'QUICK: a smoke check, the figures mean nothing'
		: "$result->{rounds} x $result->{seconds} s a cell, $result->{pairs} pairs of $result->{pair_seconds} s a side");
}

sub calls_table
{
	my ($result) = @_;
	my $text = '';
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
	return $text unless @{ $result->{one} };
	$text .= sprintf("\nin one statement over %s users, microseconds per user\n", number($result->{one_users}));
	$text .= sprintf("  %-35s %9s %17s %8s\n", '', 'time', 'min..max', 'CPU');
	for (@{ $result->{one} })
	{
		$text .= sprintf("  %-35s %9s %17s %8s\n", $_->{label}, number($_->{summary}{median}, '%.1f'),
			range($_->{summary}, '%.1f'), number($_->{cpu}, '%.1f'));
	}
	return $text;
}

sub sweep_table
{
	my ($sweep) = @_;
	my $text = '';
	for my $sweeps (grep { $_ } @$sweep{qw(alone whole)})
	{
		$text .= sprintf("\nsweep of %s accounts of %s, due at once\n", map { number($_->{accounts}) } $sweeps, $sweep);
		$text .= sprintf("  %-45s %9s %17s %8s %9s %9s\n", '', 'seconds', 'min..max', 'CPU s', 'WAL B/acc', 'tbl B/acc');
		for ([ 'credits', 'CALL credits_run_reset()' ], [ 'plain', 'UPDATE + INSERT in one statement' ])
		{
			my $r = $sweeps->{ $_->[0] };
			$text .= sprintf("  %-45s %9s %17s %8s %9s %9s\n", $_->[1], number($r->{summary}{median}, '%.2f'),
				range($r->{summary}, '%.2f'), number($r->{cpu_seconds}, '%.2f'), number($r->{wal_per}), number($r->{size_per}));
		}
	}
	$text .= sprintf("\ncredits_deduct with key, %d clients, half of the calls each, milliseconds\n", $sweep->{clients});
	$text .= sprintf("  %-45s %9s %8s %8s %8s %8s\n", '', 'tps', 'p50', 'p95', 'p99', 'p99.9');
	for my $name ([ 'due', 'users that are swept' ], [ 'others', 'other users' ])
	{
		for my $when ([ 'without', 'without a sweep' ], [ 'with', 'with a sweep' ])
		{
			my $r = $sweep->{ $when->[0] };
			$text .= sprintf("  %-45s %9s %8s %8s %8s %8s\n", "$name->[1], $when->[1]", number(summary(@{ $r->{tps} })->{median}),
				map { number($r->{ $name->[0] }{p}{$_}, '%.2f') } 50, 95, 99, 99.9);
		}
	}
	$text .= sprintf("  the sweep beside them: %s s, %s accounts (the rest was done by the calls)\n",
		number(summary(@{ $sweep->{sweep_seconds} })->{median}, '%.1f'), number(summary(@{ $sweep->{swept} })->{median}));
	my $stops = sum(@{ $sweep->{stops} });
	$text .= "  $stops of its runs stopped at a lock and were begun again\n" if $stops;
	return $text;
}

sub growth_table
{
	my ($growth) = @_;
	my @sizes = @{ $growth->{sizes} };
	my $line = "  %-45s" . ' %15s' x @sizes . "\n";
	my $text = sprintf("\nhistory of %s users, rows\n", number($growth->{users}))
	  . sprintf($line, '', map { number($_->{rows}) } @sizes);
	$text .= sprintf($line, 'filled by credits_deduct_many, rows/s', map { number($_->{fill_per_second}) } @sizes);
	$text .= sprintf($line, '  WAL bytes a row', map { number($_->{fill_wal_per_row}) } @sizes);
	for my $measure (@{ $growth->{measures} // [] })
	{
		my @cells = map { $_->{cells}{ $measure->{id} } } @sizes;
		$text .= sprintf($line, "$measure->{label}, tps", map { number($_->{summary}{median}) } @cells);
		$text .= sprintf($line, '  min..max', map { range($_->{summary}) } @cells) if $cells[0]{summary}{n} > 1;
		$text .= sprintf($line, "  p$_ ms", do { my $p = $_; map { number($_->{p}{$p}, '%.2f') } @cells }) for 50, 99;
		$text .= sprintf($line, '  WAL bytes an operation', map { number($_->{wal_per}) } @cells) unless $measure->{reads};
	}
	for my $i (0 .. $#{ $sizes[0]{bytes} })
	{
		my @relations = map { $_->{bytes}[$i] } @sizes;
		$text .= sprintf($line, "$relations[0]{name}, bytes a row", map { number($_->{per_row}) } @relations);
	}
	return $text;
}

sub verify_table
{
	my ($runs) = @_;
	my $text = "\ncredits_verify()\n";
	$text .= sprintf("  %-20s %9s %11s %23s %11s %9s\n", 'rows', 'seconds', 'rows/s', 'min..max', 'memory MB', 'processes');
	$text .= sprintf("  %-20s %9s %11s %23s %11s %9s\n", number($_->{rows}), number($_->{rows} / $_->{summary}{median}, '%.1f'),
		number($_->{summary}{median}), range($_->{summary}),
		defined $_->{memory} ? number($_->{memory} / 2**20) : '-', $_->{processes} || '-')
	  for @$runs;
	return $text;
}

sub bloat_table
{
	my ($bloat) = @_;
	my $text = sprintf("\none hot user, one client, %s calls while another session holds a snapshot\n", number($bloat->{updates}));
	$text .= sprintf("  %-35s %-15s %8s %9s %8s %8s %9s %8s %6s\n", '', '', 'calls', 'tps', 'p50 ms', 'p99 ms',
		'table kB', 'dead', 'HOT %');
	for my $contender (@{ $bloat->{contenders} })
	{
		my $label = $contender->{label};
		my $before = { updates => 0, hot => 0 };
		for my $step (@{ $contender->{steps} })
		{
			my $table = $step->{table};
			my $updates = $table->{updates} - $before->{updates};
			$text .= sprintf("  %-35s %-15s %8s %9s %8s %8s %9s %8s %6s\n", $label, $step->{what},
				number($step->{calls}), number($step->{tps}), (map { number($step->{p}{$_}, '%.2f') } 50, 99),
				number($table->{bytes} / 1024), number($table->{dead}),
				$updates > 0 ? number(100 * ($table->{hot} - $before->{hot}) / $updates) : '-');
			($label, $before) = ('', $table);
		}
	}
	return $text;
}

sub ratios_table
{
	my ($ratios) = @_;
	my $width = 0;
	for (@$ratios) { $width = length $_->{what} if length $_->{what} > $width }
	my $line = "  %-${width}s %-7s %9s %17s %17s %5s  %s\n";
	my $text = sprintf("\n" . $line =~ s/^  //r, 'ratios, pair by pair', 'aim', 'median', '95 % interval', 'min..max', 'n', '');
	for (@$ratios)
	{
		my $value = $_->{value};
		$text .= sprintf($line, $_->{what}, $_->{aim}, $value ? number($value->{median}, '%.2f') : '-',
			interval($value, '%.2f'), range($value, '%.2f'), $value ? $value->{n} : '-', $_->{verdict} // '');
	}
	return $text;
}

# table(RESULT): the one that is printed.
sub table
{
	my ($result) = @_;
	return join '', describe($result) . "\n", calls_table($result),
	  map({ $_->[0] ? $_->[1]->($_->[0]) : '' }
		[ $result->{sweep}, \&sweep_table ], [ $result->{growth}, \&growth_table ],
		[ $result->{verify}, \&verify_table ], [ $result->{bloat}, \&bloat_table ]),
	  ratios_table($result->{ratios});
}

# A copy without the histograms of latencies, of which there are percentiles.
sub without_histograms
{
	my ($value) = @_;
	return [ map { without_histograms($_) } @$value ] if ref $value eq 'ARRAY';
	return $value unless ref $value eq 'HASH';
	return { map { $_ => without_histograms($value->{$_}) } grep { $_ ne 'latency' } keys %$value };
}

# write_json(RESULT, FILE): all that was measured, every round and pair.
sub write_json
{
	my ($result, $file) = @_;
	my %json = map { $_ => $result->{$_} }
	  qw(stages users seconds rounds pairs pair_seconds batch one_users cpus fsync_ms server revision base settings took stage_seconds failures
	  ratios paired before live sweep growth verify bloat);
	$json{format} = 3;
	$json{$_} = $result->{$_} ? JSON::PP::true : JSON::PP::false for qw(quick full);
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
	print $fh JSON::PP->new->canonical->pretty->encode(without_histograms(\%json));
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
	$panel->('microseconds per user (less is better), in one statement over ' . number($result->{one_users}),
		map { bar($_->{label}, $_->{ours}, $_->{summary}) } grep { $_->{summary} } @{ $result->{one} })
	  if @{ $result->{one} };
	if (my $sweep = $result->{sweep})
	{
		$panel->('seconds (less is better): a sweep of ' . number($_->{accounts}) . ' accounts',
			bar('credits_run_reset', 1, $_->{credits}{summary}),
			bar('UPDATE + INSERT', 0, $_->{plain}{summary}))
		  for grep { $_ } @$sweep{qw(alone whole)};
		$panel->("p99 in ms (less is better): credits_deduct, key, $sweep->{clients} clients",
			map { my $name = $_; map { bar(($name eq 'due' ? 'swept users' : 'other users') . ", $_ a sweep", $_ eq 'with',
				summary(@{ $sweep->{$_}{$name}{p99} })) } qw(without with) } qw(due others));
	}
	for my $measure (@{ ($result->{growth} // {})->{measures} // [] })
	{
		$panel->("transactions/s: $measure->{label}, by rows of history",
			map { bar(number($_->{rows}) . ' rows', 1, $_->{cells}{ $measure->{id} }{summary}) } @{ $result->{growth}{sizes} });
	}
	$panel->('rows/s: credits_verify', map { bar(number($_->{rows}) . ' rows', 1, $_->{summary}) } @{ $result->{verify} // [] });
	open(my $fh, '>', $file) or die "$file: $!\n";
	print $fh chart('credits: make bench', describe($result), @panels);
	close $fh;
}

1;
