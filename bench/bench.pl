#!/usr/bin/env perl
# Runs the stages on the server that run.sh started, and writes the results.
use strict;
use warnings;
use Time::HiRes qw(time);
use Bench::Options qw(options);
use Bench::Db qw(query fsync_ms);
use Bench::Calls qw(check_calls estimate_calls run_calls);
use Bench::Live qw(estimate_live run_live);
use Bench::Pairs qw(estimate_pairs run_pairs estimate_base run_base);
use Bench::Sweep qw(estimate_sweep run_sweep);
use Bench::Growth qw(estimate_growth estimate_verify run_growth drop_growth run_verify);
use Bench::Bloat qw(estimate_bloat run_bloat);
use Bench::Ratios qw(ratios);
use Bench::Report qw(table write_json write_chart);

$| = 1;
$SIG{PIPE} = 'IGNORE';

my $o = options();
check_calls($o);
my %wanted = %{ $o->{stages} };

my %estimates = (
	calls => \&estimate_calls, pairs => \&estimate_pairs, base => \&estimate_base, live => \&estimate_live, sweep => \&estimate_sweep, growth => \&estimate_growth,
	verify => \&estimate_verify, bloat => \&estimate_bloat,
);
my ($total, @parts) = (0);
for my $stage (grep { $wanted{$_} } qw(calls pairs base live sweep growth verify bloat))
{
	my $seconds = $estimates{$stage}->($o);
	push @parts, sprintf '%s %.1f', $stage, $seconds / 60;
	$total += $seconds;
}
printf "about %.0f minutes (%s)\n", $total / 60 + 0.5, join(', ', @parts);

my $cpus = () = (do { local (@ARGV, $/) = '/proc/cpuinfo'; -r '/proc/cpuinfo' ? <> : '' }) =~ /^processor\s*:/mg;
my @failures;
my $result = {
	(map { $_ => $o->{$_} } qw(users seconds rounds pairs pair_seconds quick full batch)), cpus => $cpus, fsync_ms => fsync_ms($o->{work}),
	server => query('SHOW server_version'), revision => $ENV{BENCH_REVISION}, base => $o->{base},
	settings => [ split /\n/, $ENV{BENCH_SETTINGS} // '' ], started => time,
	stages => [ sort keys %wanted ], failures => \@failures, groups => [], one => [],
};

# stage(NAME, CODE): a stage that fails is no reason not to run the others; a
# server that is gone is.
sub stage
{
	my ($name, $code) = @_;
	my $begin = time;
	my $value;
	eval { $value = $code->(); 1 } or do
	{
		push @failures, "$name: $@";
		warn $failures[-1];
		local $ENV{PGDATABASE} = 'postgres';
		query('SELECT 1');
	};
	$result->{stage_seconds}{$name} += time - $begin;
	return $value;
}

if ($wanted{calls})
{
	my $calls = stage('calls', sub { run_calls($o, \@failures) });
	$result->{$_} = $calls->{$_} for keys %{ $calls // {} };
}
$result->{paired} = stage('pairs', sub { run_pairs($o, \@failures) }) if $wanted{pairs};
$result->{before} = stage('base', sub { run_base($o) }) if $wanted{base};
$result->{live} = stage('live', sub { run_live($o) }) if $wanted{live};
$result->{sweep} = stage('sweep', sub { run_sweep($o) }) if $wanted{sweep};
if ($wanted{growth} || $wanted{verify})
{
	my $growth = stage('growth', sub { run_growth($o) });
	$result->{growth} = $growth;
	$result->{verify} = stage('verify', sub { run_verify($o, $growth) }) if $growth && $wanted{verify};
	stage('growth', sub { drop_growth($o) });
}
$result->{bloat} = stage('bloat', sub { run_bloat($o) }) if $wanted{bloat};

$result->{took} = time - $result->{started};
$result->{ratios} = [ ratios($o, $result) ];
my $table = table($result);
print "\n$table";
open(my $fh, '>', "$o->{work}/table.txt") or die "table.txt: $!\n";
print $fh $table;
close $fh;
write_json($result, "$o->{work}/result.json");
write_chart($result, "$o->{work}/chart.svg");

print "\n", map({ "FAILED: $_" } @failures) if @failures;
exit(@failures ? 1 : 0);
