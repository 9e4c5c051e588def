# What came up in a run of the model test, and how often, so that the test can say that it
# was one.
package CreditsModelSeen;

use strict;
use warnings FATAL => 'all';

use CreditsModelTime;
use Exporter 'import';

our %seen;
our @EXPORT = qw(%seen seen_row);

my %source = (
	-2 => 'the last period',
	-3 => 'an older period',
	-4 => 'what had expired',
	-5 => 'nothing: it is owed',
	-6 => 'what closings forfeited',
	-7 => 'what had ended',
	-8 => 'what was bought lately',
	-9 => 'a total');
my %tells_sources = map { $_ => 1 } qw(capture revoke reinstate transfer_out import);

# A row of the model, the row before it, and how many boundaries beside its own it is about.
sub seen_row
{
	my ($row, $before, $skipped) = @_;
	my $what = "row $row->{kind}";
	my $boundaries = $row->{kind} =~ /^(reset|restart)$/ ? 1 + $skipped : 0;

	$seen{$what}++;
	return if $row->{kind} eq 'imported';
	$seen{'boundaries skipped'} += $skipped if $skipped;
	$seen{'row with forfeited credits'}++ if $row->{forfeited};
	$seen{"$what with expired credits"}++ if $row->{expired};
	$seen{"crossed $row->{crossed}"}++, $seen{"$what crosses $row->{crossed}"}++ if defined $row->{crossed};
	$seen{'capture of nothing'}++ if $row->{kind} eq 'capture' && !$row->{amount};
	if ($tells_sources{ $row->{kind} })
	{
		my %from = map { $_->[0] > 0 ? 'a grant' : $source{ $_->[0] } // 'others' => 1 } @{ $row->{alloc} };

		$seen{"$what: $_"}++ for keys %from;
	}
	if ($boundaries)
	{
		$seen{"$row->{cycle} period"}++;
		$seen{"$row->{cycle} period in part"}++ if $row->{share} < FULL;
	}
	seen_after($row, $before, $boundaries) if $before;
	return;
}

sub seen_after
{
	my ($row, $before, $boundaries) = @_;
	my $more = $row->{owed_monthly} - $before->{owed_monthly};
	my @charged = grep { $row->{kind} =~ /^(refund|reinstate)$/ && $row->{"charged_$_"} < $before->{"charged_$_"} } qw(monthly purchased);
	my $is_late = !$boundaries && $row->{last_left} != $before->{last_left} && $row->{period} == $before->{period};
	my @what = (
		$row->{period} - $before->{period} > $boundaries ? 'after silent boundaries' : (),
		$more > 0 ? 'in debt of monthly credits' : (),
		$more < 0 ? ($boundaries ? 'ends' : 'pays') . ' a debt of monthly credits' : (),
		(map { "gives back $_ credits that were charged after a closing" } @charged),
		$is_late ? 'back from the last period' : (),
		$is_late && $row->{last_undone} ? 'back from a period whose end was undone' : ());

	$seen{"row $_"}++ for map { ($_, "$row->{kind} $_") } @what;
	return;
}

1;
