# The stages "growth" and "verify": a database for each size of the history,
# filled by credits_deduct_many.  Deductions, pages of history and bytes at
# each size in many short turns; then credits_verify() of each.
package Bench::Growth;
use strict;
use warnings;
use Time::HiRes qw(time);
use Bench::Db qw(psql query load create_database drop_database sizes pgbench watch_memory);
use Bench::Stats qw(summary paired in_turn rate percentiles);
use Exporter 'import';
our @EXPORT_OK = qw(estimate_growth estimate_verify run_growth drop_growth run_verify);

my $key = "\\set key random(1, 9223372036854775806)\n";
my $uid = "\\set uid 4200000000000000 + random(1, :users)\n";

# What is measured at each size.
my @measures = (
	{ id => 'deduct_1', label => 'credits_deduct, key, 1 client', clients => 1,
		sql => $uid . $key . "SELECT credits_deduct(:uid, 1, NULL, :key);\n" },
	{ id => 'deduct_16', label => 'credits_deduct, key, 16 clients', clients => 16,
		sql => $uid . $key . "SELECT credits_deduct(:uid, 1, NULL, :key);\n" },
	{ id => 'page_1', label => 'credits_history, newest 10 rows, 1 client', clients => 1, reads => 1,
		sql => $uid . "SELECT * FROM credits_history(:uid, NULL, 10);\n" },
	{ id => 'balance_1', label => 'credits_balance, 1 client', clients => 1, reads => 1,
		sql => $uid . "SELECT credits_balance(:uid);\n" },
);

# Rows a second of filling, and of verification, on a slow machine.
sub fill_seconds { my ($o) = @_; my $rows = 0; $rows += $_ for @{ $o->{rows} }; return $rows / 25_000 + @{ $o->{rows} } * (3 + $o->{users} / 10_000) }

sub estimate_growth
{
	my ($o) = @_;
	return fill_seconds($o) + @{ $o->{rows} } * @measures * ($o->{pairs} + 1) * ($o->{quick} ? 0.5 : $o->{pair_seconds} + 0.35);
}

sub estimate_verify
{
	my ($o) = @_;
	my $rows = 0;
	$rows += $_ for @{ $o->{rows} };
	return ($o->{stages}{growth} ? 0 : fill_seconds($o)) + $rows / 270_000;
}

sub database { return "bench_rows_$_[0]" }

# A database with ROWS rows of history: two per user, and deductions with
# keys.
sub fill
{
	my ($o, $rows) = @_;
	my $begin = time;
	create_database(database($rows));
	load('bench/sql/users.sql', users => $o->{users}, batch => $o->{batch});
	load('bench/sql/credits.sql');
	load('bench/sql/growth.sql', batch => $o->{batch});
	my $missing = $rows - 2 * $o->{users};
	my ($batches, $clients) = (query('SELECT count(*) FROM bench.fill'), 2);
	my $each = int($missing / ($clients * $o->{batch}) + 0.5);
	my ($lsn) = sizes('credits');
	my $took = time;
	if ($each > 0)
	{
		# Batch i of a client: no two batches that run at once have users in common.
		pgbench(
			work => $o->{work}, clients => $clients, transactions => $each,
			settings => [ 'search_path=credits', 'synchronous_commit=off' ],
			define => { i => -1, batches => $batches },
			scripts => [ "\\set i :i + 1\n\\set batch mod(:i * $clients + :client_id, :batches) + 1\n"
				  . "\\set key random(1, 9223372036854000000)\n"
				  . "SELECT count(r) FROM bench.fill b, LATERAL credits_deduct_many(b.user_ids, b.amounts, "
				  . "NULL, ARRAY(SELECT (:key::bigint + g)::text FROM generate_series(1, cardinality(b.user_ids)) g)) r "
				  . "WHERE b.id = :batch;\n" ]);
	}
	$took = time - $took;
	my ($lsn_after) = sizes('credits');
	psql('-c', 'VACUUM (ANALYZE)');
	my $filled = query('SELECT sum(history_seq) FROM credits.credit_account');
	printf "growth: a history of %d rows, %.0f s\n", $filled, time - $begin;
	my $added = $filled - 2 * $o->{users};
	return {
		target => $rows, rows => $filled + 0, fill_per_second => $added > 0 ? $added / $took : undef,
		fill_wal_per_row => $added > 0 ? ($lsn_after - $lsn) / $added : undef, bytes => bytes(), cells => {},
	};
}

# Bytes of each table and index, and per row of its table.
sub bytes
{
	my @relations;
	for (split /\n/, query("SELECT c.relname, t.relname, pg_relation_size(c.oid), greatest(t.reltuples, 1)::bigint "
		  . "FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class t ON t.oid = coalesce(i.indrelid, c.oid) "
		  . "WHERE c.relnamespace = 'credits'::regnamespace AND t.relname IN ('credit_account', 'credit_history', 'credit_payment') "
		  . "ORDER BY t.relname, c.relkind DESC, c.relname"))
	{
		my ($name, $table, $size, $rows) = split /\|/;
		push @relations, { name => $name, table => $table, bytes => $size + 0, per_row => $size / $rows };
	}
	return \@relations;
}

sub measure
{
	my ($o, $size, $measure, $counts) = @_;
	$ENV{PGDATABASE} = database($size->{target});
	my $cell = $size->{cells}{ $measure->{id} } //= { latency => {} };
	my ($lsn) = sizes('credits');
	my $run = pgbench(
		work => $o->{work}, scripts => [ $measure->{sql} ], clients => $measure->{clients},
		seconds => $o->{quick} ? 0 : $o->{pair_seconds}, transactions => int($o->{transactions} / $measure->{clients}) || 1,
		settings => ['search_path=credits'], define => { users => $o->{users} });
	my ($lsn_after) = sizes('credits');
	return unless $counts;
	push @{ $cell->{tps} }, rate($run->{samples}, $o->{pair_warm}, $cell->{latency});
	$cell->{operations} += $run->{done};
	$cell->{wal} += $lsn_after - $lsn;
}

# run_growth(OPTIONS): sizes, and measures in the order of the table.  The
# databases stay; with the stage "verify" alone nothing else is measured.
sub run_growth
{
	my ($o) = @_;
	my @sizes = map { fill($o, $_) } @{ $o->{rows} };
	my $result = { sizes => \@sizes, users => $o->{users} };
	return $result unless $o->{stages}{growth};
	$result->{measures} = \@measures;

	for my $measure (@measures)
	{
		my $begin = time;
		# The first turn only warms up.
		in_turn($o->{pairs} + 1, sub { my ($size, $turn) = @_; measure($o, $size, $measure, $turn > 1) }, @sizes);
		printf "growth: %s, %.0f s\n", $measure->{label}, time - $begin;
	}
	for my $cell (map { values %{ $_->{cells} } } @sizes)
	{
		$cell->{summary} = summary(@{ $cell->{tps} });
		$cell->{p} = percentiles($cell->{latency});
		$cell->{wal_per} = $cell->{wal} / $cell->{operations};
	}
	# What a call takes, at this size against the first one.
	for my $size (@sizes)
	{
		$size->{slower}{ $_->{id} } = paired(map { $_->{tps} } $sizes[0]{cells}{ $_->{id} }, $size->{cells}{ $_->{id} })
		  for @measures;
	}
	return $result;
}

sub drop_growth { my ($o) = @_; drop_database(database($_)) for @{ $o->{rows} } }

# run_verify(OPTIONS, GROWTH): credits_verify() of each of its databases.
sub run_verify
{
	my ($o, $growth) = @_;
	my @runs;
	for my $size (@{ $growth->{sizes} })
	{
		$ENV{PGDATABASE} = database($size->{target});
		my $rows = query('SELECT sum(history_seq) FROM credits.credit_account');
		my $run = { target => $size->{target}, rows => $rows };
		for (1 .. ($o->{quick} ? 1 : 3))
		{
			my ($bad, $seconds, $memory, $processes) = watch_memory('SELECT count(*) FROM credits.credits_verify()');
			die "credits_verify found $bad problems\n" if $bad;
			push @{ $run->{seconds} }, $seconds;
			push @{ $run->{per_second} }, $rows / $seconds;
			$run->{memory} = $memory if defined $memory && $memory > ($run->{memory} // 0);
			$run->{processes} = $processes if $processes > ($run->{processes} // 0);
		}
		$run->{summary} = summary(@{ $run->{per_second} });
		printf "verify: %d rows, %.0f s\n", $rows, $run->{seconds}[-1];
		push @runs, $run;
	}
	return \@runs;
}

1;
