# What the rules promise, on the reference model alone: no period gives more than its
# allowance, nothing comes from nowhere, and it does not matter whether credits come back
# before or after something else, nor when the sweep runs.  No server is needed.
#
# CREDITS_SEED repeats a run; CREDITS_WORLDS makes it longer (60).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsModelGen;
use CreditsModelProperty;
use CreditsModelRandom;
use CreditsModelSql;
use CreditsModelTime;
use Test::More;

my $seed = $ENV{CREDITS_SEED} || int(rand(2**31));
my $worlds = $ENV{CREDITS_WORLDS} || 60;
my @sorts = qw(mixed late again plans life again undo late again life);
diag("CREDITS_SEED=$seed CREDITS_WORLDS=$worlds");

# Few users, so that much happens to each.
only_users(2);

# What is wrong with a world, and up to where it has to be played to see it.
sub problem_of
{
	my ($world, @ops) = @_;
	my $model = played($world, @ops);

	$model->sweep;
	for my $user (users())
	{
		my $problem = used_too_much($model, $user) // books_wrong($model, $user) // grants_wrong($model, $user);

		return $problem if defined $problem;
	}
	return sweeping_matters($world, @ops) // order_problem($world, @ops);
}

# Each release, refund and reinstatement, before and after what came next and some other calls.
sub order_problem
{
	my ($world, @ops) = @_;
	my $model = model_of($world);

	for my $i (0 .. $#ops)
	{
		my $op = $ops[$i];

		if ($op->{call} =~ /^(release|refund|reinstate)$/)
		{
			for my $other ($ops[ $i + 1 ], map { other_call($world, $model, $_) } 1 .. 6)
			{
				my $problem = $other && order_matters($model, $world, $op, $other);

				return "step $i, and " . ($other->{call} eq 'clock' ? 'clock' : call_sql($other, '')) . ": $problem"
				  if defined $problem;
			}
		}
		play($model, $op);
	}
	return undef;
}

sub other_call
{
	my ($world, $model, $n) = @_;
	my %there = (%$world, model => $model, latest => $model->{clock}, tag => 1_000_000 + 100 * $n);
	my $op = CreditsModelGen::random_op(\%there);

	return $op && $op->{call} ne 'txn' ? $op : undef;
}

sub flat { return map { $_->{call} eq 'txn' ? @{ $_->{ops} } : $_ } @_; }

my @failed;
for my $number (0 .. $worlds - 1)
{
	srand(($seed * 100_003 + $number) % 2**31);
	my $world = new_world(120, $sorts[ $number % @sorts ]);
	my @ops = flat(@{ $world->{ops} });
	my $problem = problem_of($world, @ops) // next;

	push @failed, "world $number: $problem";
	diag(join "\n", $failed[-1],
		map { "$_: " . ($ops[$_]{call} =~ /clock|sweep|look/ ? "$ops[$_]{call} " . iso($ops[$_]{to} // 0) : call_sql($ops[$_], '')) }
		  0 .. $#ops);
	last;
}
is(scalar @failed, 0, 'the rules keep what they promise');
cmp_ok(orders_tried(), '>', $worlds, 'and it was tried');
note(orders_tried() . ' pairs of calls were done in both orders');
my %old = old_orders_tried();
note("$old{$_} of them: what is from before a closing, and $_") for sort keys %old;

done_testing();
