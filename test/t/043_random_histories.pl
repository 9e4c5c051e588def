# Histories of random calls, of all kinds and on all cycles, keep the rules: neither
# credits_verify() nor the verifier of docs/audit-format.md, which shares no code with it, finds
# anything.  060_model.pl asks whether calls do what they should; this asks whether the page says
# all that rows can say.
#
# CREDITS_SEED repeats a run; CREDITS_STEPS makes it longer; CREDITS_WORLD is the number of one
# database to run alone.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use RandomHistories;
use Test::More;

my $seed = $ENV{CREDITS_SEED} || int(rand(2**31));
my $steps = $ENV{CREDITS_STEPS} || 3000;
my $of_a_world = 500;
diag("CREDITS_SEED=$seed CREDITS_STEPS=$steps");

my $verify = "$FindBin::RealBin/../verify";
my $node = new_server('random_histories', conf => "fsync = off\n");
$node->safe_psql('postgres', setup_sql());

# One in three databases is archived now and then, and in one in three accounts are closed and
# opened again often.
my @numbers = defined $ENV{CREDITS_WORLD} ? $ENV{CREDITS_WORLD} : 1 .. ($steps + $of_a_world - 1) / $of_a_world;
for my $number (@numbers)
{
	my $db = "world_$number";
	my ($done, $errors, $out, $err);

	$node->safe_psql('template1', "CREATE DATABASE $db TEMPLATE postgres");
	$node->psql($db, random_script($seed + $number, $of_a_world, archives => $number % 3 == 0, closes => $number % 3 == 1),
		stdout => \$done, stderr => \$errors, on_error_stop => 0);
	my @broken = grep { /\bXX\d\d\d\b|lost|FATAL|PANIC/ } split /\n/, "$done\n$errors";
	is_deeply(\@broken, [], "$db: calls are done or refused");
	cmp_ok(scalar(grep { $_ eq 'ok' } split /\n/, $done), '>', $of_a_world / 10, "$db: many are done");

	my $dir = PostgreSQL::Test::Utils::tempdir();
	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr($db), '-v', "dir=$dir", '-f', "$verify/export.sql" ],
		'>', \$out, '2>', \$err)
	  or die "export of $db: $err";
	IPC::Run::run([ $^X, "$verify/credits-verify.pl", $dir ], '>', \$out, '2>', \$err);
	is($? >> 8, 0, "$db: the verifier finds nothing") or diag("CREDITS_SEED=$seed CREDITS_WORLD=$number\n$out$err");
	is_clean($node, $db, "$db: credits_verify() finds nothing");
	$node->safe_psql('template1', "DROP DATABASE $db") unless defined $ENV{CREDITS_WORLD};
}

done_testing();
