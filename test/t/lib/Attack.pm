# A catalogue of attacks: each is tried, and must be refused, or found by a check,
# or do nothing.  What is tried in a transaction is rolled back, so that every attack
# meets the same ledger.
package Attack;

use strict;
use warnings FATAL => 'all';

use CreditsTest;
use Test::More;

sub new
{
	my ($class, $node, $db) = @_;

	return bless { node => $node, db => $db, session => session($node, $db), rows => [] }, $class;
}

# Another database, for the attacks that follow.
sub use_database
{
	my ($self, $db) = @_;

	$self->{session}->quit;
	@$self{qw(db session)} = ($db, session($self->{node}, $db));
	return;
}

sub do { my ($self, $sql) = @_; return $self->{session}->do($sql) }

sub group { my ($self, $group) = @_; $self->{group} = $group; return }

# Runs statements up to the first that fails: (SQLSTATE, output, error).
sub run
{
	my ($self, @statements) = @_;
	my ($state, $out);

	for my $sql (@statements)
	{
		($state, $out) = $self->{session}->run($sql);
		last if $state ne '00000';
	}
	return ($state, $out, $self->{session}{stderr});
}

# In a transaction that is rolled back, as a role if one is given, then what else
# is asked for.
sub tried
{
	my ($self, $how, @statements) = @_;
	my $as = $how->{as};

	$self->do('BEGIN');
	my @before = @{ $how->{before} // [] };
	$self->do($_) for @before;
	$self->do("SET LOCAL ROLE $as") if $as;
	my ($state, $out, $err) = $self->run(@statements);
	my @after = $how->{after} && $state eq '00000' ? $how->{after}->() : ();
	$self->do('ROLLBACK');
	return ($state, $out, $err, @after);
}

sub record
{
	my ($self, $ok, $attack, $outcome, $by, @diag) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 2;
	my $name = "$self->{group}: $attack";

	push @{ $self->{rows} }, [ $self->{group}, $attack, $outcome, $by ];
	ok($ok, "$name: $outcome $by") or diag(join "\n", @diag);
	return $ok;
}

# It must fail with a SQLSTATE (or one of several).  hidden: what must not be in
# anything that the caller is told.
sub refused
{
	my ($self, $attack, $expected, $statements, %how) = @_;
	my @statements = ref $statements ? @$statements : ($statements);
	my ($state, $out, $err) = $self->tried(\%how, @statements);
	my $told = $how{hidden} && "$out$err" =~ $how{hidden} ? " and TELLS $&" : '';
	my ($first) = $err =~ /(?:ERROR|FATAL):  (.*)/;

	return $self->record($state =~ /\A(?:$expected)\z/ && !$told, $attack, 'refused', $state . $told,
		"expected $expected", @statements, $out, $err);
}

# It succeeds, and is found: by => { check => what it says }; a check with undef must
# see nothing, which is why the others are there.
sub found
{
	my ($self, $attack, $statements, $by, %how) = @_;
	my %sql = (credits_verify => 'SELECT * FROM credits_verify()', credits_verify_structure => 'SELECT * FROM credits_verify_structure()',
		credits_verify_anchor => 'SELECT * FROM credits_verify_anchor()',
		kept_anchor => "SELECT * FROM credits_verify_anchor('" . ($how{kept} // '') . "')");
	my @statements = ref $statements ? @$statements : ($statements);
	my ($state, $out, $err, @after) = $self->tried(
		{ %how, after => sub { return map { [ $_, $self->run($sql{$_}) ] } sort keys %$by } }, @statements);
	my ($ok, @seen, @diag) = ($state eq '00000');

	for my $answer (@after)
	{
		my ($check, $check_state, $check_out, $check_err) = @$answer;
		my $says = $check_state eq '00000' ? $check_out : $check_err;
		my $expected = $by->{$check};
		push @diag, "$check: $says";
		$ok &&= defined $expected ? $says =~ $expected : $says eq '';
		push @seen, $check_state eq '00000' ? $check : "$check ($check_state)" if defined $expected;
	}
	return $self->record($ok && @seen > 0, $attack, 'found by', join(', ', @seen), $state, $err, @diag);
}

# It succeeds and changes nothing: the check gives what it gave without.
sub harmless
{
	my ($self, $attack, $statements, $check, $expected, %how) = @_;
	my @statements = ref $statements ? @$statements : ($statements);
	my ($state, $out, $err, $after) = $self->tried(
		{ %how, after => sub { return ($self->run($check))[1] } }, @statements);

	return $self->record($state eq '00000' && $after eq $expected, $attack, 'does nothing', $how{by} // '', $state, $err,
		'got ' . ($after // 'nothing'), "expected $expected");
}

# Something that was tried otherwise.
sub noted
{
	my ($self, $ok, $attack, $outcome, $by, @diag) = @_;

	return $self->record($ok, $attack, $outcome, $by, @diag);
}

# The table, and how many there are.
sub print_table
{
	my ($self) = @_;
	my @rows = @{ $self->{rows} };
	my %count;
	my @wide = map { my $c = $_; my $w = 0; for (@rows) { $w = length $_->[$c] if length $_->[$c] > $w } $w > 60 ? 60 : $w } 0 .. 3;

	for my $row (@rows)
	{
		$count{ $row->[2] }++;
		note(sprintf "%-*s | %-*s | %s %s", $wide[0], $row->[0], $wide[1], $row->[1], @$row[ 2, 3 ]);
	}
	note(join ', ', scalar(@rows) . ' attacks', map { "$count{$_} $_" } sort keys %count);
	return;
}

1;
