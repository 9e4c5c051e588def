# How the model test says that two answers are not the same.
package CreditsModelSame;

use strict;
use warnings FATAL => 'all';

use CreditsModelTime;
use Exporter 'import';

our @EXPORT = qw(shown same);

sub shown { return defined $_[0] ? $_[0] eq '' ? "''" : $_[0] : 'NULL'; }

# Dies with what differs.  Only what is expected is looked at.
sub same
{
	my ($what, $expected, $got) = @_;
	my @differ;

	for my $name (sort keys %$expected)
	{
		my ($e, $g) = map { shown($_) } $expected->{$name}, $got->{$name};
		next if $e eq $g;
		($e, $g) = map { /^\d{14,16}$/ && $name =~ /_at$|_start$|anchor|_of$/ ? iso($_) : $_ } $e, $g;
		push @differ, "$name: model $e, product $g";
	}
	die "$what: " . join('; ', @differ) . "\n" if @differ;
	return;
}

1;
