# The stage "bloat": one hot user while another session holds an old snapshot,
# so that no version of its row may go.
package Bench::Bloat;
use strict;
use warnings;
use Time::HiRes qw(time);
use Bench::Db qw(psql query load create_database drop_database pgbench hold_snapshot release_snapshot);
use Bench::Stats qw(rate percentiles);
use Exporter 'import';
our @EXPORT_OK = qw(estimate_bloat run_bloat);

my $database = 'bench_bloat';
my $slices = 5;

my $head = "\\set key random(1, 9223372036854775806)\n\\set uid 4200000000000500\n";
my @contenders = (
	{ id => 'plpgsql_key', label => 'plpgsql function, key', schema => 'plain_bloat', table => 'account',
		sql => $head . "SELECT deduct_key(:uid, 1, :key);\n" },
	{ id => 'deduct_key', label => 'credits_deduct, key', schema => 'credits', table => 'credit_account', ours => 1,
		sql => $head . "SELECT credits_deduct(:uid, 1, NULL, :key);\n" },
);

# A call walks over the versions that are there: the cost is quadratic.
sub estimate_bloat
{
	my ($o) = @_;
	return 4 + @contenders * (2 + $o->{updates} / 1500 + ($o->{updates} / 10_000)**2 * 10);
}

# The account table's size with its indexes, and what the statistics say of it.
sub table
{
	my ($c) = @_;
	my ($bytes, $dead, $updates, $hot) = split /\|/,
	  query("SELECT pg_total_relation_size(relid), n_dead_tup, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
		  . "WHERE schemaname = '$c->{schema}' AND relname = '$c->{table}'");
	return { bytes => $bytes, dead => $dead, updates => $updates, hot => $hot };
}

# A step: so many calls by one client, and the table after them.
sub step
{
	my ($o, $c, $what, $transactions) = @_;
	my $run = pgbench(
		work => $o->{work}, scripts => [ $c->{sql} ], clients => 1, transactions => $transactions,
		settings => ["search_path=$c->{schema}"]);
	my %latency;
	my $tps = rate($run->{samples}, 0, \%latency);
	return { what => $what, calls => $transactions, tps => $tps, p => percentiles(\%latency), table => table($c) };
}

# run_bloat(OPTIONS): per contender its steps.
sub run_bloat
{
	my ($o) = @_;
	create_database($database);
	load('bench/sql/users.sql', users => 1000, batch => 1);
	load('bench/sql/credits.sql');
	load('bench/sql/plain.sql', schema => 'plain_bloat');
	load('bench/sql/plain_users.sql', schema => 'plain_bloat');
	psql('-c', 'VACUUM (ANALYZE)');
	my $slice = int($o->{updates} / $slices) || 1;
	my $few = $slice < 1000 ? $slice : 1000;
	my @results;
	for my $c (@contenders)
	{
		my $begin = time;
		my @steps = ({ what => 'at first', table => table($c) }, step($o, $c, 'before', $few));
		my $snapshot = hold_snapshot();
		push @steps, step($o, $c, 'snapshot held', $slice) for 1 .. $slices;
		release_snapshot($snapshot);
		push @steps, step($o, $c, 'snapshot gone', $few);
		psql('-c', "VACUUM $c->{schema}.$c->{table}");
		push @steps, step($o, $c, 'vacuumed', $few);
		push @results, { id => $c->{id}, label => $c->{label}, ours => $c->{ours}, steps => \@steps };
		printf "bloat: %s, %.0f s\n", $c->{label}, time - $begin;
	}
	drop_database($database);
	return { updates => $slice * $slices, contenders => \@results };
}

1;
