#!/usr/bin/env perl
# Puts the faults of faults.txt into the tree one at a time, builds it, and runs
# the tests that are named for each until one fails: then the fault is killed.
# test/run/mutation.sh calls this in a copy of the tree, where the server that
# the tests use is running.
#
#   mutate.pl --check       only looks whether every fault is still where it was, and the
#                           tests that are named for it are there
#   mutate.pl [NAME ...]    all faults, or these

use strict;
use warnings FATAL => 'all';

use File::Path ();
use FindBin;
use Time::HiRes ();

my $list = "$FindBin::RealBin/faults.txt";
my $limit = $ENV{MUTATION_TIMEOUT} // 240;	# seconds for one test

sub slurp
{
	open my $fh, '<', $_[0] or die "$_[0]: $!\n";
	local $/;
	return scalar <$fh>;
}

sub spew
{
	open my $fh, '>', $_[0] or die "$_[0]: $!\n";
	print $fh $_[1];
	close $fh or die "$_[0]: $!\n";
	return;
}

# The faults, in their order.  old and new are whole lines.
sub read_faults
{
	my (@faults, %known);

	for my $block (split /\n(?:[ \t]*\n)+/, slurp($list))
	{
		my %fault = (old => '', new => '', test => []);

		for my $line (split /\n/, $block)
		{
			next if $line =~ /^#/;
			if ($line =~ /^-(.*)/) { $fault{old} .= "$1\n"; }
			elsif ($line =~ /^\+(.*)/) { $fault{new} .= "$1\n"; }
			elsif ($line =~ /^test: *(.+)/) { push @{ $fault{test} }, $1; }
			elsif ($line =~ /^(name|file|what): *(.+)/) { $fault{$1} = $2; }
			else { die "$list: what is this: $line\n"; }
		}
		next unless grep { ref $_ ? @$_ : length } values %fault;
		for my $field (qw(name file what old))
		{
			die "$list: no $field in:\n$block\n" unless length($fault{$field} // '');
		}
		die "$list: $fault{name}: no test\n" unless @{ $fault{test} };
		die "$list: $fault{name} is there twice\n" if $known{ $fault{name} }++;
		push @faults, \%fault;
	}
	return @faults;
}

# The file with the fault in it; dies if that is not at exactly one place.
sub mutated
{
	my ($fault) = @_;
	my $text = slurp($fault->{file});
	my $count = () = $text =~ /^\Q$fault->{old}\E/gm;

	die "$fault->{name}: its lines are in $fault->{file} $count times, not once\n" if $count != 1;
	$text =~ s/^\Q$fault->{old}\E/$fault->{new}/m;
	return $text;
}

my $timed_out;

# Runs a command in a process group of its own; false if it fails or takes too
# long.  What it says goes to a log.
sub succeeds
{
	my ($log, @command) = @_;
	my $pid = fork // die "fork: $!\n";

	if (!$pid)
	{
		setpgrp;
		open STDIN, '<', '/dev/null' or die;
		open STDOUT, '>', $log or die;
		open STDERR, '>&', \*STDOUT or die;
		exec @command or die "$command[0]: $!\n";
	}
	$timed_out = 0;
	local $SIG{ALRM} = sub { $timed_out = 1; kill 'KILL', -$pid; };
	alarm $limit;
	1 while waitpid($pid, 0) < 0 && $!{EINTR};
	my $status = $?;
	alarm 0;
	return $status == 0;
}

sub build
{
	return succeeds('mutation.build.log', 'make', '-s', '-j2', 'install',
		"PG_CONFIG=$ENV{PG_BIN}/pg_config", 'with_llvm=no');
}

# A suite with its tests: "unit", "regress NAME ...", "isolation NAME ...", "tap
# NAME ...", "pgtap NAME ...".
sub passes
{
	my ($suite, @names) = split / /, $_[0];
	my $log = 'mutation.test.log';

	return succeeds($log, 'make', '-s', 'unit', 'UNIT_CFLAGS=-std=c11 -O0 -Isrc')
	  if $suite eq 'unit';
	return succeeds($log, 'make', '-s', 'installcheck', "PG_CONFIG=$ENV{PG_BIN}/pg_config",
		'with_llvm=no', "REGRESS=setup @names")
	  if $suite eq 'regress';
	if ($suite eq 'isolation')
	{
		local $ENV{PGOPTIONS} = '-c credits.allow_drop=on';
		local $ENV{PGISOLATIONTIMEOUT} = 30;
		return succeeds($log, "$ENV{PG_TEST}/isolation/pg_isolation_regress",
			'--inputdir=test/isolation', '--outputdir=output_iso', "--bindir=$ENV{PG_BIN}",
			'--dbname=isolation_regression', '--encoding=UTF8', '--no-locale',
			'--load-extension=credits', @names);
	}
	if ($suite eq 'tap')
	{
		# Servers that a test has left are in the way of the same test's next run.
		File::Path::remove_tree("$ENV{PWD}/tmp_check");
		local @ENV{qw(TESTDIR TESTDATADIR TESTLOGDIR PG_REGRESS)} =
		  ($ENV{PWD}, "$ENV{PWD}/tmp_check", "$ENV{PWD}/tmp_check/log", "$ENV{PG_TEST}/regress/pg_regress");
		delete local @ENV{qw(PGHOST PGPORT PGUSER)};
		local $ENV{STOP_AT_FAILURE} = 1;	# for tests of many like cases
		return succeeds($log, 'prove', '-I', "$ENV{PG_TEST}/perl", '-I', 'test/t/lib',
			map { "test/t/$_.pl" } @names);
	}
	die "what is the suite '$suite'?\n";
}

# The files of those tests.
sub test_files
{
	my ($suite, @names) = split / /, $_[0];
	my $file = { regress => "sql/%s.sql", isolation => "test/isolation/specs/%s.spec",
		tap => "test/t/%s.pl" }->{$suite};

	return defined $file ? map { sprintf $file, $_ } @names : ();
}

my @faults = read_faults();
my @gone = grep { !eval { mutated($_); 1 } && print "$@" } @faults;
die scalar(@gone) . " of " . @faults . " faults are not in step with src/\n" if @gone;
for my $fault (@faults)
{
	my @missing = grep { !-e } map { test_files($_) } @{ $fault->{test} };

	die "$fault->{name}: there is no @missing\n" if @missing;
}
if (@ARGV && $ARGV[0] eq '--check')
{
	print scalar(@faults) . " faults are in step with src/\n";
	exit 0;
}
if (@ARGV)
{
	my %wanted = map { $_ => 1 } @ARGV;

	@faults = grep { delete $wanted{ $_->{name} } } @faults;
	die 'no such fault: ' . join(' ', sort keys %wanted) . "\n" if %wanted;
}

$| = 1;
# A test that fails without any fault would kill them all.
build() or die "the tree does not build:\n" . slurp('mutation.build.log');
my %named = map { $_ => 1 } map { @{ $_->{test} } } @faults;
for my $test (sort keys %named)
{
	passes($test) or die "$test fails without any fault:\n" . slurp('mutation.test.log');
}
printf "%d faults; the %d tests that are named for them pass without any\n", scalar @faults,
  scalar keys %named;

# What a fault has left behind: a server that crashed, a session that hangs.
sub restart_server
{
	succeeds('mutation.restart.log', 'pg_ctl', '-D', "$ENV{WORK}/server", '-m', 'immediate', '-w',
		'-s', 'restart')
	  or die "the server does not start again:\n" . slurp('mutation.restart.log');
	return;
}

my (@survived, @broken);
for my $fault (@faults)
{
	my $begun = Time::HiRes::time();
	my $whole = slurp($fault->{file});
	my $killer;

	spew($fault->{file}, mutated($fault));
	if (!build())
	{
		spew($fault->{file}, $whole);
		push @broken, $fault->{name};
		print "$fault->{name} does not build:\n" . slurp('mutation.build.log');
		next;
	}
	for my $test (@{ $fault->{test} })
	{
		next if passes($test);
		$killer = $test . ($timed_out ? " (no end in $limit s)" : '');
		last;
	}
	spew($fault->{file}, $whole);
	restart_server() if defined $killer && $killer ne 'unit';
	push @survived, $fault->{name} unless defined $killer;
	printf "%-26s %-44s %4.0f s  %s\n", $fault->{name},
	  defined $killer ? "killed by $killer" : 'SURVIVED', Time::HiRes::time() - $begun,
	  $fault->{what};
}
printf "%d killed, %d survived%s%s\n", @faults - @survived - @broken, scalar @survived,
  @survived ? ": @survived" : '', @broken ? "; do not build: @broken" : '';
exit(@survived + @broken > 0);
