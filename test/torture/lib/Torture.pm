# The torture as a TAP test: histories, then crashes, seed by seed; the check of
# one goes on while the next one runs.
package Torture;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use POSIX ();
use Test::More;
use Time::HiRes qw(time);
use TortureRun qw(prepare run_seed check_seed);
use TortureServer;

our @EXPORT = qw(torture room_for_torture);

my @crashes = (
	'kill a backend', 'kill the postmaster', 'kill all', 'immediate stop', 'fast stop', 'terminate sessions', 'no memory',
	'promote the standby', 'restore a backup');
my @full = ('no room for data', 'no room for WAL');

# In a history seed, about so many calls.
my $calls = 20_000;

# Where it happens: TORTURE_DIR, and with small file systems of their own under
# TORTURE_ROOM, if there are, servers' data and WAL.
sub room_for_torture
{
	my ($dir) = @_;

	mkdir $dir or die "$dir: $!" unless -d $dir;
	$ENV{TORTURE_DIR} = $dir;
	my $room = $ENV{TORTURE_ROOM};
	my $template = prepare($dir);
	return { dir => $dir, template => $template, room => $room ? "$room/data" : $dir, wal => $room ? "$room/wal" : undef };
}

# The check in a process of its own.  Gives how to wait for it.
sub start_check
{
	my ($world) = @_;
	my $file = "$world->{dir}/result";
	my $pid = fork // die "fork: $!";

	if (!$pid)
	{
		my ($problems, $stats) = eval { check_seed($world) };

		$problems = ["the check died: $@"] if !$problems;
		open my $out, '>', $file or POSIX::_exit(1);
		print $out map { 'problem' . "\t" . s/\n/ /gr . "\n" } @$problems;
		print $out map { "$_\t$stats->{$_}\n" } keys %$stats;
		close $out or POSIX::_exit(1);
		POSIX::_exit(0);
	}
	return sub {
		my (@problems, %stats);

		waitpid $pid, 0;
		push @problems, 'the check died' if $?;
		open my $in, '<', $file or return (["the check left nothing: $!"], {});
		while (my $line = <$in>)
		{
			chomp $line;
			my ($name, $value) = split /\t/, $line, 2;

			if ($name eq 'problem') { push @problems, $value; }
			else { $stats{$name} = $value; }
		}
		return (\@problems, \%stats);
	};
}

# %opt: seed (the first one's number), ops (calls in histories), crashes (seeds),
# fault (no other), clients, seconds (no new seed after that).  Gives {world: the last
# good seed, whose files are left; stats}.
sub torture
{
	my ($room, %opt) = @_;
	my $began = time;
	my (%total, %survived, $pending, $kept, @seeds);
	my $done = 0;
	my $clients = $opt{clients} || 10;

	for (my ($n, $left) = (0, $opt{ops}); $left > 0; $n++, $left -= $calls)
	{
		push @seeds, [ 'history', $opt{seed} + $n, faults => ['none'], ops => $left < $calls ? $left : $calls ];
	}
	for my $n (0 .. $opt{crashes} - 1)
	{
		push @seeds, [
			'crash', $opt{seed} + $n, faults => $opt{fault} ? [ $opt{fault} ] : [ @crashes, $room->{wal} ? @full : () ], ops => 1_000_000 ];
	}
	note('no small file systems, so no fault of that kind (they need root)') if !$room->{wal} && $opt{crashes};

	my $end = sub {
		my ($name, $world, $checked) = @{ $_[0] };
		my ($problems, $stats) = $checked->();
		my $seed = $world->{seed};

		$total{$_} += $stats->{$_} for keys %$stats;
		$done++;
		$survived{ $seed->{fault} }++ if !@$problems && $seed->{fault} ne 'none';
		is(scalar @$problems, 0,
			"$name: $seed->{fault}, $seed->{hot} hot and $seed->{many} users"
			  . ($seed->{jumping} ? ', a clock that jumps' : '') . ($seed->{early} ? $seed->{early} < 1 ? ', some early lock release' : ', early lock release' : '')
			  . ', ' . ($stats->{sent} // 0) . ' calls, ' . ($stats->{rows} // 0) . ' rows');
		if (!@$problems)
		{
			TortureServer::run('rm', '-rf', $kept->{dir}) if $kept;
			$kept = $world;
			return;
		}
		diag("$name: $_") for @$problems > 20 ? (@$problems[ 0 .. 19 ], '...') : @$problems;
		diag("$name is in $world->{dir}; again: make torture TORTURE_SEED=$world->{number} "
			  . ($name =~ /crash/ ? "TORTURE_OPS=0 TORTURE_CRASHES=1 TORTURE_FAULT='$seed->{fault}'" : "TORTURE_OPS=$calls TORTURE_CRASHES=0"));
		return;
	};
	for my $seed (@seeds)
	{
		my ($name, $number, @what) = @$seed;

		if ($opt{seconds} && time - $began > $opt{seconds})
		{
			note("stopped after $opt{seconds} s, before $name $number");
			last;
		}
		my $world = run_seed($number, %$room, name => $name, clients => $clients, @what);
		my $next = [ "$name $number", $world, start_check($world) ];

		$end->($pending) if $pending;
		$pending = $next;
	}
	$end->($pending) if $pending;

	my $seconds = time - $began;
	diag(sprintf '%d seeds, the first is %d; %d calls sent, %d answered, %d rows of %d accounts and %d receipts checked in %.0f s',
		$done, $opt{seed}, map { $_ // 0 } @total{qw(sent answered rows accounts receipts)}, $seconds);
	diag(join ', ', map { "$_ " . ($total{$_} // 0) }
		  'must be there', 'may be there', 'came true', qw(replays conflicts reads refusals retried resent unanswered prepared sweeps),
		  'bulk calls', 'bulk resumed', qw(runs archived erased), 'archived receipts');
	diag('SQLSTATEs: ' . join ', ', map { (s/SQLSTATE //r) . " $total{$_}" } sort grep { /^SQLSTATE/ } keys %total);
	diag('survived: ' . (join(', ', map { "$_ $survived{$_}" } sort keys %survived) || 'no crashes'));
	return { world => $kept, stats => \%total };
}

1;
