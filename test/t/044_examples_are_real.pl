# The examples beside the independent verifier are what a server gives: the calls of their calls.sql
# are made again, and the export of that is the example.  Only what is drawn at random differs, and
# what is made of it.
#
# CREDITS_EXAMPLES names a directory to write the new exports to, when a rule changed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $verify = "$FindBin::RealBin/../verify";
my $node = new_server('examples', conf => "fsync = off\n");
my %random = map { $_ => 1 } qw(text_salt run_id hash history_hash request_digest);
my $run_id = qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

# A file of an export: its rows, each as text without what is random.
sub rows_of
{
	my ($file) = @_;
	my ($header, @lines) = split /\n/, slurp_file($file);
	my @names = split /\t/, $header;
	my @rows;

	for my $line (@lines)
	{
		my %row;
		@row{@names} = split /\t/, $line, -1;
		push @rows, join "\n", map { "$_ $row{$_}" =~ s{$run_id}{a run}gr } grep { !$random{$_} } sort keys %row;
	}
	return \@rows;
}

$node->safe_psql('template1', 'CREATE ROLE app SUPERUSER LOGIN');
for my $name (qw(example-holds example-levels example-payments example-periods))
{
	my $dir = $ENV{CREDITS_EXAMPLES} ? "$ENV{CREDITS_EXAMPLES}/$name" : PostgreSQL::Test::Utils::tempdir();
	my $db = $name =~ tr/-/_/r;
	my ($out, $err);

	mkdir $dir;
	add_database($node, $db);
	$node->psql($db, slurp_file("$verify/$name/calls.sql"), stdout => \$out, stderr => \$err, on_error_stop => 1,
		extra_params => [ '-U', 'app' ]);
	is($err, '', "$name: every call is done");
	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr($db), '-v', "dir=$dir", '-f', "$verify/export.sql" ],
		'>', \$out, '2>', \$err)
	  or die "export of $db: $err";
	for my $file (map { m{([^/]+)\z} } sort glob "$verify/$name/*.tsv")
	{
		is_deeply(rows_of("$dir/$file"), rows_of("$verify/$name/$file"), "$name: $file");
	}
	is_clean($node, $db, $name);
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $dir ], '>', \$out, '2>', \$err);
	is($? >> 8, 0, "$name: the verifier finds nothing") or diag($out . $err);
}

done_testing();
