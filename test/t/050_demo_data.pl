# The demo's data files are what their generator makes, to the byte.
use strict;
use warnings;

use Test::More;

my $output = `bash test/demo/check-data.sh 2>&1`;
is($?, 0, 'test/demo/data is what generate.pl makes') or diag($output);

done_testing();
