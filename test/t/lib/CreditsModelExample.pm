# Examples of the reference model, worked out by hand: one user u on a plan p, and
# what calls come to.
package CreditsModelExample;

use strict;
use warnings FATAL => 'all';

use CreditsModel;
use CreditsModelTime;
use Exporter 'import';
use Test::More;

our ($model, $tag);
our @EXPORT = qw($model $tag at begin clock call gives balances stands period_is kinds last_row alloc);

sub at
{
	my ($text) = @_;
	my ($y, $m, $d, $hh, $mm, $ss) = $text =~ /(\d+)/g;

	return utc($y, $m, $d, $hh // 0, $mm // 0, $ss // 0);
}

# A new model with a user u on a plan p.
sub begin
{
	my ($when, $credits, %plan) = @_;

	$model = CreditsModel->new;
	$model->{clock} = at($when);
	$tag = 0;
	call('define_plan', plan => 'p', credits => $credits, cycle => 'calendar', %plan);
	call('open_account', user => 'u', plan => 'p');
	return;
}

sub clock { $model->{clock} = at($_[0]); return; }

# A call of the user u; gives its answer.  Its tag is $tag.
sub call
{
	my ($call, %arg) = @_;

	return $model->call({ call => $call, tag => ++$tag, user => 'u', %arg });
}

# The same, and what the balances are then: monthly/granted/purchased, and what
# is held, owed and remembered if there is any.
sub gives
{
	my ($expected, $call, %arg) = @_;
	my $answer = call($call, %arg);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($answer->{state} eq '00000' ? balances() : $answer->{state}, $expected,
		join ' ', $call, map { "$_=" . ($arg{$_} // 'NULL') } sort keys %arg);
	return $answer;
}

sub balances
{
	my $b = $model->balance('u')->{receipt};

	return join ' ', "$b->{monthly}/$b->{granted}/$b->{purchased}",
	  map { $b->{$_} ? "$_ $b->{$_}" : () } qw(held owed owed_monthly);
}

sub stands { my ($expected, $test) = @_; is(balances(), $expected, $test); return; }

# The running period: its number, start and end, and its share if it is not a full one.
sub period_is
{
	my ($expected, $test) = @_;
	my $acct = $model->view('u');
	my ($from, $to) = map { defined $acct->{$_} ? iso($acct->{$_}) =~ s/ 00:00:00//r : 'no end' } qw(period_start period_end);
	my $share = $acct->{share} == FULL ? '' : ", $acct->{share}";

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is("$acct->{period}: $from to $to$share", $expected, $test);
	return;
}

# The kinds of a user's rows, one after the other.
sub kinds { return join ' ', map { $_->{kind} } @{ $model->{rows}{ $_[0] // 'u' } }; }

sub last_row { return $model->{rows}{u}[-1]; }

sub alloc { return join ' ', map { "$_->[0]:$_->[1]" } @{ last_row()->{alloc} }; }

1;
