# The stages "pairs" and "base": both sides of a ratio in many short turns,
# directly after one another.  README.md says why.
package Bench::Pairs;
use strict;
use warnings;
use Time::HiRes qw(time);
use Bench::Contenders qw(contenders one_statement);
use Bench::Db qw(psql query load create_database drop_database measured);
use Bench::Setup qw(set_up setup_seconds run_contender check_counts);
use Bench::Stats qw(paired in_turn rate);
use Exporter 'import';
our @EXPORT_OK = qw(turns pair_seconds pairs_wanted estimate_pairs run_pairs base_wanted estimate_base run_base);

# pair(OURS, OTHERS, SHAPE, CLIENTS, AIM, WHAT): the contenders of a ratio of
# transactions (items) a second.  A single call beside divided batches is for
# any user.
sub pair
{
	my %pair;
	@pair{qw(ours others shape clients aim what)} = @_;
	$pair{what} .= ", commit on";
	return \%pair;
}

my @pairs = (
	(map { pair('deduct_key', $_->[0], 'uniform', 16, $_->[1], "credits_deduct with key / $_->[2], tps, uniform, 16 clients") }
		[ 'update', '>= 1.0', 'one-row UPDATE' ], [ 'plpgsql_key', '>= 1.6', 'plpgsql with key' ],
		[ 'client_tx', '>= 2.2', 'client transaction' ], [ 'pgledger', '>= 6', 'pgledger' ]),
	(map { pair('deduct_many', 'update_insert_many', $_->[0], $_->[1], '>= 1.0',
			"credits_deduct_many with keys / UPDATE + INSERT in batches, items/s, $_->[2]") }
		[ 'uniform', 1, '1 client' ], [ 'uniform', 16, '16 clients, any users' ],
		[ 'divided', 16, '16 clients, each its own users' ]),
	(map { pair('deduct_many', 'deduct_key', $_->[0], 16, '>= 8',
			"credits_deduct_many with keys, items/s / credits_deduct with key, tps, 16 clients, $_->[1]") }
		[ 'uniform', 'any users' ], [ 'divided', 'each its own users' ]),
	(map { pair($_->[0], 'plpgsql_key', 'hot', 64, $_->[1],
			"hot user: credits_deduct with key$_->[2] / plpgsql with key, tps, 64 clients") }
		[ 'deduct_key', '', '' ], [ 'deduct_key_early', '>= 5', ', early lock release' ]),
);

# In one statement: by so many users at a time.
my $chunk = 5000;
my @one_pairs = map { { ours => "deduct$_", others => "plpgsql$_" } } '', '_key';

sub pair_seconds { my ($o) = @_; return ($o->{pairs} + 1) * 2 * ($o->{quick} ? 0.4 : $o->{pair_seconds} + 0.3) }

sub takes_part
{
	my ($pair, @contenders) = @_;
	my %there = map { $_->{id} => $_ } @contenders;
	return $there{ $pair->{ours} } && $there{ $pair->{others} };
}

# estimate_pairs(OPTIONS): seconds.
sub estimate_pairs
{
	my ($o) = @_;
	my @contenders = contenders({ many => 1, early => 1, pgledger => $o->{pgledger} }, $o->{only});
	my $pairs = grep { takes_part($_, @contenders) } @pairs;
	return setup_seconds($o) + $pairs * (pair_seconds($o) + 2) + @one_pairs * (2 * $o->{pairs} + 1) * $chunk * 0.00011;
}

# Runs a pair of SIDES, code that gives tps, in turn: after a first one of each
# that does not count.
sub turns
{
	my ($o, $ours, $others) = @_;
	my %tps;
	in_turn($o->{pairs} + 1, sub { my ($side, $turn) = @_; push @{ $tps{$side} }, $side->() }, $ours, $others);
	shift @$_ for values %tps;
	return { ours_by_pair => $tps{$ours}, others_by_pair => $tps{$others}, value => paired(@tps{ $ours, $others }) };
}

# The ratio of two contenders.
sub run_pair
{
	my ($o, $have, $pair, $counted, %contender) = @_;
	my @sides = map {
		my $contender = $contender{ $pair->{$_} };
		my $cell = { %$pair, contender => $contender, sync => 'on', shape => $contender->{batch} || $pair->{shape} ne 'divided' ? $pair->{shape} : 'uniform' };
		sub {
			my $run = run_contender($o, $have, $cell, $o->{pair_seconds}, $counted);
			my $tps = rate($run->{samples}, $o->{pair_warm}, {});
			return defined $tps ? $tps * $run->{items} : undef;
		}
	} qw(ours others);
	return turns($o, @sides);
}

# In one statement, twice as many pairs: both do the same users, in one session.
sub run_one_pair
{
	my ($o, $pair, $counted) = @_;
	my %one = map { $_->{id} =~ s/^one_//r => $_ } one_statement();
	my $size = $o->{users} < $chunk ? $o->{users} : $chunk;
	my $chunks = int($o->{users} / $size);
	my (@steps, @who);
	in_turn(2 * $o->{pairs} + 1,
		sub {
			my ($who, $turn) = @_;
			my $one = $one{ $pair->{$who} };
			my $first = ($turn - 1) % $chunks * $size;
			my $users = "(SELECT user_id FROM bench.users WHERE n > $first AND n <= $first + $size ORDER BY n) u";
			push @steps, [ "SET search_path = $one->{schema};",
				$one->{sql} =~ s/bench\.one_users/$users/r =~ s/KEY/'in pairs, $turn'/r ];
			push @who, $who;
			$counted->{ $one->{schema} } += $size;
		},
		qw(ours others));
	my (%us, %cpu);
	for (measured($o->{work}, 'bench_app', @steps))
	{
		my $who = shift @who;
		push @{ $us{$who} }, $_->[0] * 1e6 / $size;
		push @{ $cpu{$who} }, defined $_->[1] ? $_->[1] * 1e6 / $size : undef;
	}
	shift @$_ for values %us, values %cpu;
	return map { { ours_by_pair => $_->{ours}, others_by_pair => $_->{others}, value => paired(@$_{qw(ours others)}) } } \%us, \%cpu;
}

# All ratios of the stage, by what is measured at once.
sub groups
{
	return (
		(map { [ {%$_} ] } @pairs),
		map {
			my $pair = $_;
			my $what = 'in one statement' . ($pair->{ours} =~ /key/ ? ', with key' : '') . ': credits_deduct / plpgsql';
			[ map { { %$pair, one => 1, what => "$what, $_->[0]", aim => $_->[1] } } [ 'time', '<= 0.3' ], [ 'CPU time', '' ] ];
		} @one_pairs);
}

# pairs_wanted(): what and aim of each ratio.
sub pairs_wanted { return map { @$_ } groups() }

# run_pairs(OPTIONS, FAILURES): the same, with the figures of each pair and
# their "value", a summary, for those that could be measured.
sub run_pairs
{
	my ($o, $failures) = @_;
	my $begin = time;
	my $failed_before = @$failures;
	my %counted;
	my ($have, @contenders) = set_up($o, 'bench_pairs');
	printf "pairs: %d users set up, %.0f s\n", $o->{users}, time - $begin;
	my %contender = map { $_->{id} => $_ } @contenders;
	my @groups = groups();
	for my $group (grep { takes_part($_->[0], @contenders) } @groups)
	{
		my $pair = $group->[0];
		$begin = time;
		eval {
			my @measured = $pair->{one} ? run_one_pair($o, $pair, \%counted) : run_pair($o, $have, $pair, \%counted, %contender);
			for my $row (@$group) { %$row = (%$row, %{ shift @measured }) }
			1;
		} or do
		{
			push @$failures, "$pair->{what}: $@";
			warn $failures->[-1];
			# As in "calls": only a server that is gone is a reason to stop.
			query('SELECT 1');
		};
		psql('-c', 'VACUUM (ANALYZE)');
		printf "pairs: %s, %.0f s\n", $pair->{what}, time - $begin;
	}
	push @$failures, check_counts(\%counted) if @$failures == $failed_before;
	drop_database('bench_pairs');
	return [ map { @$_ } @groups ];
}

# The stage "base": the same call in this build and in that of BENCH_BASE, each
# on a server of its own.
my $base = 'bench_base';

# base_wanted(OPTIONS): its ratios, if there is a base.
sub base_wanted
{
	my ($o) = @_;
	return () unless $o->{base};
	return map { { ours => 'this tree', others => $o->{base}, clients => $_, aim => '>= 0.97',
		what => "credits_deduct with key / that of $o->{base}, tps, uniform, $_ client" . ($_ > 1 ? 's' : '') . ', commit on' } } 1, 16;
}

sub estimate_base
{
	my ($o) = @_;
	return 2 * (2 + $o->{users} / 8000) + base_wanted($o) * (pair_seconds($o) + 1);
}

# on_base(CODE): what it does, it does on the other server.
sub on_base
{
	my ($o, $code) = @_;
	local $ENV{PGPORT} = $o->{base_port};
	return $code->();
}

sub run_base
{
	my ($o) = @_;
	my $begin = time;
	my ($deduct) = contenders({}, ['deduct_key']);
	my @servers = (sub { $_[0]->() }, sub { on_base($o, $_[0]) });
	my $everywhere = sub { my ($code) = @_; $_->($code) for @servers };
	$everywhere->(
		sub {
			create_database($base);
			load('bench/sql/users.sql', users => $o->{users}, batch => 1);
			load('bench/sql/credits.sql');
		});
	printf "base: %d users set up twice, %.0f s\n", $o->{users}, time - $begin;
	my @results = base_wanted($o);
	for my $pair (@results)
	{
		$begin = time;
		my $cell = { contender => $deduct, shape => 'uniform', sync => 'on', clients => $pair->{clients} };
		%$pair = (%$pair, %{ turns($o, map {
			my $server = $_;
			sub {
				my $run = $server->(sub { run_contender($o, {}, $cell, $o->{pair_seconds}, {}) });
				return rate($run->{samples}, $o->{pair_warm}, {});
			}
		} @servers) });
		$everywhere->(sub { psql('-c', 'VACUUM (ANALYZE)') });
		printf "base: %s, %.0f s\n", $pair->{what}, time - $begin;
	}
	$everywhere->(sub { drop_database($base) });
	return \@results;
}

1;
