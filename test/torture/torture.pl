# make torture.  TORTURE_OPS: calls in histories without a crash; TORTURE_CRASHES:
# seeds with one; TORTURE_SEED: the first seed; TORTURE_FAULT: only this; TORTURE_CLIENTS;
# TORTURE_SECONDS: no new seed after that.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use Test::More;
use Torture;

torture(
	room_for_torture("$ENV{WORK}/torture"),
	seed => $ENV{TORTURE_SEED} // int rand 1_000_000,
	ops => $ENV{TORTURE_OPS} // 1_000_000,
	crashes => $ENV{TORTURE_CRASHES} // 200,
	fault => $ENV{TORTURE_FAULT},
	clients => $ENV{TORTURE_CLIENTS},
	seconds => $ENV{TORTURE_SECONDS});
done_testing();
