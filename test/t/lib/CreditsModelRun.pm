# Runs worlds of the model test against the product, compares, and shrinks what
# failed.
package CreditsModelRun;

use strict;
use warnings FATAL => 'all';

use CreditsModelCompare;
use CreditsModelSql;
use CreditsTest;
use Exporter 'import';

our @EXPORT = qw(start_worlds finish_worlds shrink);

my $worlds = 0;

# Start worlds in one session; finish_worlds() waits and compares.
sub start_worlds
{
	my ($node, $db, @worlds) = @_;
	my @prefixes = map { 'w' . ++$worlds . '_' } @worlds;
	my $script = join '', "\\pset null '~'\n", "SET client_min_messages = error;\n",
	  map { "\\echo '% ' $prefixes[$_]\n" . world_script($worlds[$_], $prefixes[$_]) } 0 .. $#worlds;
	my ($client) = start_clients($node, $db, [$script]);

	return { client => $client, worlds => \@worlds, prefixes => \@prefixes };
}

# The failures: [world, its first difference].
sub finish_worlds
{
	my ($run) = @_;
	my $out = wait_client($run->{client})->{out};
	my @parts = split /^% .*\n/m, $out;
	my @failures;

	shift @parts;
	for my $i (0 .. $#{ $run->{worlds} })
	{
		next if eval { compare_world($run->{worlds}[$i], $run->{prefixes}[$i], $parts[$i] // ''); 1 };
		my $problem = $@;
		$problem .= $run->{client}{err} if $problem =~ /was not run/;
		push @failures, [ $run->{worlds}[$i], $problem ];
	}
	return @failures;
}

#
# Shrinking
#

# Leave out operations as long as the world still fails; $fails runs a world and
# gives its problem.  Chunks first, then one by one.
sub shrink
{
	my ($world, $fails, $runs) = @_;
	my @ops = @{ $world->{ops} };
	my $problem;
	my $try = sub {
		my (@less) = @_;
		return 0 if --$runs < 0;
		my $found = $fails->({ %$world, ops => \@less });
		return 0 unless defined $found;
		($problem, @ops) = ($found, @less);
		return 1;
	};

	for (my $chunk = int(@ops / 2) || 1;; $chunk = int($chunk / 2))
	{
		my $from = 0;

		while ($from < @ops)
		{
			my @less = @ops;

			splice @less, $from, $chunk;
			$try->(@less) or $from += $chunk;
		}
		last if $chunk <= 1;
	}

	# A transaction that is not needed as one, keys and looks that are not needed.
	for my $i (reverse 0 .. $#ops)
	{
		my $op = $ops[$i] // next;

		$try->(@ops[ 0 .. $i - 1 ], @{ $op->{ops} }, @ops[ $i + 1 .. $#ops ]) if $op->{call} eq 'txn';
	}
	for my $i (0 .. $#ops)
	{
		for my $field (qw(key spender))
		{
			my %less = %{ $ops[$i] };
			next unless defined delete $less{$field};
			$try->(@ops[ 0 .. $i - 1 ], \%less, @ops[ $i + 1 .. $#ops ]);
		}
	}
	return ({ %$world, ops => \@ops }, $problem);
}

1;
