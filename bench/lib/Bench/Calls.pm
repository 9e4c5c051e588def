# The stage "calls": a deduction by every contender, for every shape of use;
# then the same in one statement over many users.
package Bench::Calls;
use strict;
use warnings;
use Time::HiRes qw(time);
use Bench::Contenders qw(contenders one_statement);
use Bench::Db qw(psql query drop_database sizes measured);
use Bench::Setup qw(set_up setup_seconds run_contender check_counts);
use Bench::Stats qw(median summary rate percentiles);
use Exporter 'import';
our @EXPORT_OK = qw(check_calls estimate_calls run_calls);

# Are there such contenders?
sub check_calls { my ($o) = @_; contenders({}, $o->{only}) }

sub one_wanted
{
	my ($o) = @_;
	return grep {
		my $id = $_->{id} =~ s/^one_//r;
		!@{ $o->{only} } || grep { $_ eq $id } @{ $o->{only} }
	} one_statement();
}

# cells: one contender, one shape, one number of clients, one setting of
# synchronous_commit.  A group is the cells that are compared.
sub groups
{
	my ($o, @contenders) = @_;
	my @groups;
	# Asynchronous commit beside the other is measured on uniform users, with 16
	# clients or the most below that.
	my $brief = @{ $o->{syncs} } > 1;
	my ($usual) = sort { $b <=> $a } grep { $_ <= 16 } @{ $o->{clients} };
	$usual //= $o->{clients}[0];
	for my $shape (@{ $o->{shapes} })
	{
		for my $sync (@{ $o->{syncs} })
		{
			for my $clients (@{ $o->{clients} })
			{
				next if $brief && $sync eq 'off' && ($shape ne 'uniform' || $clients != $usual);
				my @cells = map { { contender => $_, shape => $shape, sync => $sync, clients => $clients } }
				  grep { takes_part($o, $_, $shape, $clients) } @contenders;
				push @groups, { shape => $shape, sync => $sync, clients => $clients, cells => \@cells } if @cells;
			}
		}
	}
	return @groups;
}

# Batches are long: many clients tell nothing more.
sub takes_part
{
	my ($o, $contender, $shape, $clients) = @_;
	return 0 if $shape eq 'divided' && !$contender->{batch};
	return 0 if $contender->{shapes} && !grep { $_ eq $shape } @{ $contender->{shapes} };
	return 0 if $contender->{batch} && $clients > 16 && grep { $_ <= 16 } @{ $o->{clients} };
	return 1;
}

sub cell_seconds { return $_[0]{quick} ? 0.4 : $_[0]{seconds} + 0.35 }

# estimate_calls(OPTIONS): seconds.
sub estimate_calls
{
	my ($o) = @_;
	my @contenders = contenders({ many => 1, early => 1, pgledger => $o->{pgledger} }, $o->{only});
	my $cells = 0;
	$cells += @{ $_->{cells} } for groups($o, @contenders);
	return setup_seconds($o) + $o->{rounds} * ($cells * cell_seconds($o) + 3 * one_wanted($o));
}

sub run_cell
{
	my ($o, $have, $cell, $counted) = @_;
	my $schema = $cell->{contender}{schema};
	my ($lsn, $size) = sizes($schema);
	my $run = run_contender($o, $have, $cell, $o->{seconds}, $counted);
	my ($lsn_after, $size_after) = sizes($schema);
	my $tps = rate($run->{samples}, $o->{warm}, $cell->{latency} //= {});
	push @{ $cell->{tps} }, defined $tps ? $tps * $run->{items} : undef;
	$cell->{operations} += $run->{done} * $run->{items};
	$cell->{failed} += $run->{failed};
	$cell->{wal} += $lsn_after - $lsn;
	$cell->{size} += $size_after - $size;
}

# The time of a statement, and the CPU time of the backend that runs it, in
# microseconds per call.  Each round is rolled forward by all in turn.
sub run_one
{
	my ($o, $one, $round, $most, $counted) = @_;
	my $sql = $one->{sql};
	$sql =~ s/KEY/'one statement, round $round'/;
	my $before = "SET search_path = $one->{schema};";
	# The first call compiles and fills caches.
	$before .= "BEGIN;\n" . ($sql =~ s/bench\.one_users/(SELECT user_id FROM bench.one_users LIMIT 1) u/r)
	  . " \\g /dev/null\nROLLBACK;\n"
	  unless $one->{set};
	my ($measured) = measured($o->{work}, 'bench_app', [ $before, $sql ]);
	my ($seconds, $cpu) = @$measured;
	push @{ $one->{us} }, $seconds * 1e6 / $most;
	push @{ $one->{cpu_us} }, defined $cpu ? $cpu * 1e6 / $most : undef;
	$counted->{ $one->{schema} } += $most;
}

# run_calls(OPTIONS, FAILURES): groups; one: in one statement; one_users: how
# many that was; early: the setting for it, if there is one.
sub run_calls
{
	my ($o, $failures) = @_;
	my $begin = time;
	my $failed_before = @$failures;
	my %counted;    # operations per schema
	my @one = one_wanted($o);
	my ($have, @contenders) = set_up($o, 'bench_calls', map { $_->{schema} } @one);
	my $most = $o->{users} < 50_000 ? $o->{users} : 50_000;
	psql('-c', "CREATE VIEW bench.one_users AS SELECT user_id FROM bench.users WHERE n <= $most ORDER BY n; "
		. 'GRANT SELECT ON bench.one_users TO bench_app');
	printf "calls: %d users set up, %.0f s\n", $o->{users}, time - $begin;

	my @groups = groups($o, @contenders);
	for my $round (1 .. $o->{rounds})
	{
		$begin = time;
		for my $group (@groups)
		{
			# Each round begins with another contender.
			my @cells = @{ $group->{cells} };
			push @cells, splice(@cells, 0, (($round - 1) * 3) % @cells);
			for my $cell (@cells)
			{
				eval { run_cell($o, $have, $cell, \%counted); 1 } or do
				{
					push @{ $cell->{tps} }, undef;
					push @$failures, "$cell->{contender}{id}, $group->{shape}, $group->{sync}, $group->{clients}: $@";
					warn $failures->[-1];
					# One cell that fails is no reason to stop; a server that is gone is.
					query('SELECT 1');
				};
			}
		}
		psql('-c', 'VACUUM (ANALYZE)');
		printf "calls: round %d of %d, %.0f s\n", $round, $o->{rounds}, time - $begin;
	}

	$begin = time;
	for my $round (1 .. $o->{rounds})
	{
		my @order = @one;
		push @order, splice(@order, 0, ($round - 1) % @order) if @order;
		for my $one (@order)
		{
			eval { run_one($o, $one, $round, $most, \%counted); 1 } or do
			{
				push @{ $one->{us} }, undef;
				push @$failures, "in one statement, $one->{id}: $@";
				warn $failures->[-1];
			};
		}
		psql('-c', 'VACUUM') if @one && $round < $o->{rounds};
	}
	push @$failures, check_counts(\%counted) if @$failures == $failed_before;
	printf "calls: in one statement, %.0f s\n", time - $begin if @one;

	for my $cell (map { @{ $_->{cells} } } @groups)
	{
		$cell->{summary} = summary(@{ $cell->{tps} }) or next;
		$cell->{p} = percentiles($cell->{latency});
		$cell->{wal_per} = $cell->{operations} ? $cell->{wal} / $cell->{operations} : undef;
		$cell->{size_per} = $cell->{operations} ? $cell->{size} / $cell->{operations} : undef;
	}
	$_->{summary} = summary(@{ $_->{us} // [] }), $_->{cpu} = median(@{ $_->{cpu_us} // [] }) for @one;
	drop_database('bench_calls');
	return { groups => \@groups, one => \@one, one_users => $most, early => $have->{early} };
}

1;
