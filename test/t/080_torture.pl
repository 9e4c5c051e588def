# A short run of test/torture (make torture is the long one), and its check's own
# test: what a good seed left is doctored in many ways, each of which is found.
#
# TORTURE_SEED repeats a run.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../torture/lib";

use PostgreSQL::Test::Utils;
use Test::More;
use Torture;
use TortureDoctor;
use TortureDoctorBulk qw(@bulk_cases);

my $room = room_for_torture(PostgreSQL::Test::Utils::tempdir_short());
my $seed = $ENV{TORTURE_SEED} // int rand 1_000_000;

# What the cases need is there in every seed (TortureLoad::begin); a clock that does not
# jump, so that what was read is checked as well, and keys that are not archived.
my $plain = torture($room, seed => 47, ops => 500, crashes => 0);
doctor($plain->{world});
doctor($plain->{world}, @bulk_cases);

torture($room, seed => $seed, ops => 3_000, crashes => 2);
done_testing();
