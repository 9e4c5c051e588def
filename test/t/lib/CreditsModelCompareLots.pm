# The rows of payments, grants and holds that the product has at the end of a world of the
# model test, compared with the model.
package CreditsModelCompareLots;

use strict;
use warnings FATAL => 'all';

use CreditsModelLots;
use Exporter 'import';
use List::Util qw(sum0);

our @EXPORT = qw(compare_lots);

my %columns = (
	payment => [qw(seq ref amount revoked at granted reported)],
	grant => [qw(seq amount remaining ends paid expired elsewhere)],
	hold => [qw(seq state amount monthly purchased ends period given_back granted)]);
my %expected = (payment => \&payment_row, grant => \&grant_row, hold => \&hold_row);

# Rows that are archived have no tag here, and are not looked for.
sub compare_lots
{
	my ($state, @rows) = @_;
	my (%tag_of, %count);

	for my $user (keys %{ $state->{seqs} })
	{
		my $seqs = $state->{seqs}{$user};
		$tag_of{$user}{ $seqs->{$_} } = $_ for keys %$seqs;
	}
	for my $row (@rows)
	{
		my ($what, $user, @values) = @$row;
		my %got;

		s/^\Q$state->{prefix}\E// for grep { defined } $user, $what eq 'payment' ? $values[1] : ();
		@got{ @{ $columns{$what} } } = @values;
		my $seq = delete $got{seq};
		my $tag = $tag_of{$user}{$seq};
		my $expected = $expected{$what}->($state->{model}, $user, $tag, \%got) // next;
		my @differ = map { "$_: model $expected->{$_}, product $got{$_}" }
		  grep { ($expected->{$_} //= 'NULL') ne ($got{$_} //= 'NULL') } sort keys %$expected;

		die "$what $seq of $user: " . join('; ', @differ) . "\n" if @differ;
		$count{$what}++;
	}
	my $payments = keys %{ $state->{model}{payments} };
	die "payments: model $payments, product " . ($count{payment} // 0) . "\n" if $payments != ($count{payment} // 0);
	return;
}

sub payment_row
{
	my ($model, $user, $tag, $got) = @_;
	my $payment = $model->{payments}{ $got->{ref} };

	return {
		(map { $_ => $payment->{$_} } qw(amount revoked at reported)),
		granted => $payment->{call} eq 'grant' ? 't' : 'f' };
}

sub grant_row
{
	my ($model, $user, $tag) = @_;
	my $acct = $model->{accounts}{$user};
	my $grant = defined $tag ? $acct->{grants}{$tag} // return undef : return undef;

	return {
		amount => $grant->{amount},
		remaining => total(grep { $_->{grant} == $tag } free($acct, 'granted')),
		ends => $grant->{ends},
		paid => $grant->{paid} ? 't' : 'f',
		expired => $grant->{expired} || undef,
		elsewhere => $grant->{elsewhere} || undef };
}

# Of one that is closed nothing is said.
sub hold_row
{
	my ($model, $user, $tag, $got) = @_;
	my $acct = $model->{accounts}{$user};
	my $hold = defined $tag ? $acct->{holds}{$tag} // return undef : return undef;
	my @lots = $hold->{state} eq 'open' ? held_by($acct, $tag) : @{ $hold->{lost} // [] };
	my %sum = map { my $bucket = $_; $bucket => total(grep { $_->{bucket} eq $bucket } @lots) } buckets();
	my @granted = ($got->{granted} // '') =~ /\d+/g;

	$got->{granted} = sum0(map { int } @granted[ grep { $_ % 2 } 0 .. $#granted ]);
	return undef if $hold->{state} eq 'closed' && $got->{state} !~ /^(open|expired)$/;
	return {
		%sum,
		state => $hold->{state},
		ends => $hold->{state} eq 'open' ? $hold->{ends} : undef,
		period => $hold->{period},
		given_back => $hold->{state} eq 'expired' ? $hold->{given_back} || undef : undef };
}

1;
