# The stage "live": what counters, notifications and events cost a deduction, in pairs,
# and how long a notification takes.  README.md says more.
package Bench::Live;
use strict;
use warnings;
use Time::HiRes qw(time sleep);
use Bench::Contenders qw(contenders);
use Bench::Db qw(psql load create_database drop_database);
use Bench::Pairs qw(turns pair_seconds);
use Bench::Setup qw(run_contender);
use Bench::Stats qw(rate summary);
use Exporter 'import';
our @EXPORT_OK = qw(live_wanted estimate_live run_live);

my $database = 'bench_live';
my $events = 'low, empty, recovered, revoke, plan_change, freeze';

# Each pair: what, aim, clients, and the names of its two sides (see %sides).
my @pairs = map {
	my ($what, $aim, $ours, $others, @clients) = @$_;
	map { { what => "$what, tps, uniform, $_ client" . ($_ > 1 ? 's' : '') . ', commit on', aim => $aim, ours => $ours, others => $others, clients => $_ } } @clients;
} (
	[ 'credits_deduct with key, preloaded / not preloaded', '>= 0.98', 'preloaded', 'plain', 1, 16 ],
	[ 'the same, with notifications and a listener / without', '>= 0.95', 'notify', 'preloaded', 1, 16 ],
	[ 'the same, with a trigger that does NOTIFY and a listener / without', '', 'trigger', 'plain', 16 ],
	[ 'the same, with credits.events / without, nothing crosses', '>= 0.98', 'events', 'plain', 1, 16 ],
);

# Two servers: this tree's library is in shared_preload_libraries of the second one.
sub preloaded
{
	my ($o, $code) = @_;
	local $ENV{PGPORT} = $o->{live_port};
	return $code->();
}

sub notify
{
	my ($value) = @_;
	psql('-c', "ALTER SYSTEM SET credits.notify = $value", '-c', 'SELECT pg_reload_conf()');
	sleep 0.3;
}

# A session that listens, and reads what it gets five times a second.
sub listen_beside
{
	my ($code) = @_;
	my $pid = open(my $pipe, '|-', qw(psql -X -q -o /dev/null)) or die "psql: $!\n";
	$pipe->autoflush(1);
	print $pipe "LISTEN credits;\nSELECT \\watch 0.2\n";
	sleep 0.3;
	my $value = $code->();
	kill 'TERM', $pid;
	close $pipe;
	return $value;
}

# A side runs CODE with what it is about.
my %sides = (
	plain     => sub { my ($o, $code) = @_; return $code->() },
	preloaded => sub { my ($o, $code) = @_; return preloaded($o, sub { notify('off'); $code->() }) },
	notify    => sub { my ($o, $code) = @_; return preloaded($o, sub { notify('on'); listen_beside($code) }) },
	trigger   => sub {
		my ($o, $code) = @_;
		psql('-c', 'CREATE TRIGGER tell AFTER INSERT ON credits.credit_history FOR EACH ROW EXECUTE FUNCTION bench.tell()');
		my $value = listen_beside($code);
		psql('-c', 'DROP TRIGGER tell ON credits.credit_history');
		return $value;
	},
	events => sub {
		my ($o, $code) = @_;
		psql('-c', "ALTER DATABASE $database SET credits.events = '$events'");
		my $value = $code->();
		psql('-c', "ALTER DATABASE $database RESET credits.events");
		return $value;
	},
);

sub set_up
{
	my ($o) = @_;
	create_database($database);
	load('bench/sql/users.sql', users => $o->{users}, batch => 1);
	load('bench/sql/credits.sql');
	psql('-c', q(CREATE FUNCTION bench.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('credits', json_build_object('user_id', NEW.user_id, 'seq', NEW.seq)::text);
    RETURN NULL;
END $$), '-c', 'GRANT EXECUTE ON FUNCTION bench.tell() TO bench_app');
}

# delays(OPTIONS, CALLS, CODE): in milliseconds, from the answer of a call to its
# notification, of CALLS calls, ten a second, beside CODE.
sub delays
{
	my ($o, $calls, $load) = @_;
	open(my $pipe, '-|', 'python3', 'bench/notification_delay.py', $calls) or die "python3: $!\n";
	$load->() if $load;
	my @delays = map { chomp; $_ } <$pipe>;
	close $pipe or die "notification_delay.py failed\n";
	@delays = sort { $a <=> $b } @delays;
	die "of $calls calls " . @delays . " were notified\n" unless @delays == $calls;
	return { n => $calls, p50 => $delays[ $#delays * 0.5 ], p99 => $delays[ $#delays * 0.99 ], max => $delays[-1] };
}

# live_wanted(): what and aim of each ratio.
sub live_wanted { return map { {%$_} } @pairs }

sub estimate_live
{
	my ($o) = @_;
	return 2 * (2 + $o->{users} / 8000) + @pairs * (pair_seconds($o) + $o->{pairs} + 1) + 2 * delay_calls($o) / 10;
}

sub delay_calls { my ($o) = @_; return $o->{quick} ? 20 : 300 }

# run_live(OPTIONS): { pairs, delays: of 10 calls a second alone, and beside 16 clients }.
sub run_live
{
	my ($o) = @_;
	my $begin = time;
	my ($deduct) = contenders({}, ['deduct_key']);
	set_up($o);
	preloaded($o, sub { set_up($o) });
	printf "live: %d users set up twice, %.0f s\n", $o->{users}, time - $begin;
	my $run = sub {
		my ($clients, $seconds) = @_;
		my $cell = { contender => $deduct, shape => 'uniform', sync => 'on', clients => $clients };
		return run_contender($o, {}, $cell, $seconds, {});
	};
	my @results = live_wanted();
	for my $pair (@results)
	{
		$begin = time;
		my $deduct_in_turn = sub { return rate($run->($pair->{clients}, $o->{pair_seconds})->{samples}, $o->{pair_warm}, {}) };
		%$pair = (%$pair, %{ turns($o, map {
			my $side = $sides{ $pair->{$_} };
			sub { return $side->($o, $deduct_in_turn) };
		} qw(ours others)) });
		psql('-c', 'VACUUM (ANALYZE)');
		preloaded($o, sub { psql('-c', 'VACUUM (ANALYZE)') });
		printf "live: %s, %.0f s\n", $pair->{what}, time - $begin;
	}
	my $calls = delay_calls($o);
	my @delays = preloaded($o, sub {
		notify('on');
		return (delays($o, $calls), delays($o, $calls, sub { $run->(16, $calls / 10) }));
	});
	preloaded($o, sub { drop_database($database) });
	drop_database($database);
	return { pairs => \@results, delays => { 'ten calls a second' => $delays[0], 'the same, beside 16 clients' => $delays[1] } };
}

1;
