# What the stages "calls" and "pairs" share: a database with all contenders'
# tables, one run of a contender, and the check of what is stored afterwards.
package Bench::Setup;
use strict;
use warnings;
use Bench::Contenders qw(contenders script);
use Bench::Db qw(psql query load create_database pgbench);
use Exporter 'import';
our @EXPORT_OK = qw(set_up setup_seconds run_contender check_counts);

# What of the contenders' needs there is in this build.
sub what_there_is
{
	my ($o) = @_;
	# Settings of the extension exist once it is loaded.
	my $setting = "SELECT credits.credits_current_user_id(); SELECT name FROM pg_settings "
	  . "WHERE name ~ '^credits[.].*early' AND vartype = 'bool' ORDER BY name LIMIT 1";
	my ($early) = query($setting) =~ /^(credits\.\w+)$/m;
	$early = "$early=on" if $early;
	$early = $ENV{BENCH_EARLY} if $ENV{BENCH_EARLY};
	return {
		early    => $early,
		many     => query("SELECT count(*) FROM pg_proc WHERE proname = 'credits_deduct_many'") > 0,
		pgledger => $o->{pgledger},
	};
}

sub setup_seconds { my ($o) = @_; return 5 + $o->{users} / 4000 }

# set_up(OPTIONS, DATABASE, SCHEMAS): a database with the users, the extension
# and the contenders that can run in it, or the schemas of other contenders.
# Returns what there is of their needs, and the contenders.
sub set_up
{
	my ($o, $database, @schemas) = @_;
	create_database($database);
	load('bench/sql/users.sql', users => $o->{users}, batch => $o->{batch});
	load('bench/sql/credits.sql');
	my $have = what_there_is($o);
	my @contenders = contenders($have, $o->{only});
	my %schemas = map { $_ => 1 } @schemas, map { $_->{schema} } @contenders;
	for my $schema (grep { /^plain/ } sort keys %schemas)
	{
		load('bench/sql/plain.sql', schema => $schema);
		load('bench/sql/plain_users.sql', schema => $schema);
	}
	if ($schemas{pgledger})
	{
		psql('-c', 'CREATE SCHEMA pgledger');
		{
			local $ENV{PGOPTIONS} = '-c search_path=pgledger,public';
			load($o->{pgledger});
		}
		load('bench/sql/pgledger.sql');
	}
	return ($have, @contenders);
}

# run_contender(OPTIONS, HAVE, CELL, SECONDS, COUNTED): one pgbench run of a
# cell: contender, shape, clients, sync.  Operations are added to COUNTED, by
# schema.
sub run_contender
{
	my ($o, $have, $cell, $seconds, $counted) = @_;
	my ($contender, $clients) = @$cell{qw(contender clients)};
	my $schema = $contender->{schema};
	my $per_client = $contender->{batch} ? 2 : int($o->{transactions} / $clients) || 1;
	my $path = ($schema || 'bench') . ($schema eq 'pgledger' ? ',public' : '');
	my @settings = ("synchronous_commit=$cell->{sync}", "search_path=$path");
	push @settings, split(' ', $have->{early}) if $contender->{id} eq 'deduct_key_early';
	my $run = pgbench(
		work => $o->{work}, scripts => [ script($contender, $cell->{shape}) ], clients => $clients,
		seconds => $o->{quick} ? 0 : $seconds, transactions => $per_client,
		settings => \@settings,
		define => { users => $o->{users}, clients => $clients, parts => int($o->{users} / $o->{batch}) });
	$run->{items} = $contender->{batch} ? $o->{batch} : 1;
	$counted->{$schema} += $run->{done} * $run->{items} if $contender->{history};
	return $run;
}

# check_counts(COUNTED): what was acknowledged is there: two rows per user at
# first, then one per operation.  Returns what is not so.
sub check_counts
{
	my ($counted) = @_;
	my @failures;
	for my $schema (grep { $_ ne 'plain_update' } sort keys %$counted)
	{
		my $account = $schema eq 'credits' ? 'credit_account' : 'account';
		my $stored = query("SELECT sum(history_seq) - 2 * count(*) FROM $schema.$account");
		push @failures, "$schema: $counted->{$schema} operations were acknowledged, $stored are stored\n"
		  if $stored != $counted->{$schema};
	}
	return @failures;
}

1;
