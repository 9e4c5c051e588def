# The sources have the architecture that docs/architecture.md draws: a folder is a
# layer, arrows only point down or sideways, and there is no circle.  Arrows are #include "..." lines and, where the objects are built, the
# symbols that one object uses of another.
use strict;
use warnings FATAL => 'all';

use FindBin;
use Test::More;

use constant MAX_LINES => 800;

my $root = "$FindBin::RealBin/../..";
my %text = map { s{^\Q$root/src/\E}{}r => read_text($_) }
  glob("$root/src/*.[ch] $root/src/*/*.[ch]");

sub read_text
{
	my ($file) = @_;

	open my $fh, '<:encoding(UTF-8)', $file or die "$file: $!";
	local $/;
	return scalar <$fh>;
}

# A file and its header are one module: "ledger", "core/rules".
sub module { return $_[0] =~ s/\.[cho]$//r; }

sub none
{
	my ($found, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok(!@$found, $test) || diag(map { "$_\n" } @$found);
}

# The circles of a graph of modules: each as the path that comes back.
sub circles
{
	my ($graph) = @_;
	my (%done, @found, $visit);

	$visit = sub {
		my ($node, @path) = @_;
		my ($start) = grep { $path[$_] eq $node } 0 .. $#path;

		if (defined $start)
		{
			push @found, join ' -> ', @path[ $start .. $#path ], $node;
			return;
		}
		return if $done{$node};
		$visit->($_, @path, $node) for sort keys %{ $graph->{$node} };
		$done{$node} = 1;
	};
	$visit->($_) for sort keys %$graph;
	return @found;
}

# A layer is a folder of src/; what is in none is above them all.  Their order, lowest
# first, is that of the document's headings, and under each is every file of it.
my $document = read_text("$root/docs/architecture.md");
my %module = map { module($_) => 1 } keys %text;
my %layer = map { $_ => 0 } grep { !m{/} } keys %module;
my $number = 0;
my @wrong;
for my $part ($document =~ /^(### `src\/\w+\/`.*?)(?=^##)/msg)
{
	my ($folder) = $part =~ m{^### `src/(\w+)/`};
	my @files = grep { m{^\Q$folder\E/} } keys %module;
	my %listed;

	$layer{$_} = 99 - $number for @files;
	$listed{"$folder/$_"}++ for $part =~ /^\| `(\w+)` \|/mg;
	push @wrong, map { "$_ is not listed once" } grep { ($listed{$_} // 0) != 1 } @files;
	push @wrong, map { "$_ is no file" } grep { !$module{$_} } keys %listed;
	$number++;
}
cmp_ok(scalar(keys %module), '>', 20, 'there are sources');
none(
	[
		@wrong, map { "$_ is in no layer" } grep { !exists $layer{$_} } sort keys %module ],
	'docs/architecture.md has every folder, and every file once');
none(
	[
		grep { my $name = s{.*/}{}r; 1 < grep { s{.*/}{}r eq $name } keys %module } sort keys %module ],
	'no two files have the same name');

# #include "...": of our own headers, with or without their folder.
my (%includes, @alien);
for my $file (sort keys %text)
{
	for my $include ($text{$file} =~ /^\s*#\s*include\s+("[^"]+"|<[^>]+>)/mg)
	{
		my ($kind, $name) = $include =~ /^(.)(.*).$/;
		my ($ours) = grep { $text{$_} } $name;

		if ($kind eq '"' && $ours)
		{
			$includes{ module($file) }{ module($ours) } = "$file includes \"$name\""
			  unless module($file) eq module($ours);
			push @alien, "$file includes \"$name\"" if $file =~ /^core/ && $ours !~ /^core/;
		}
		elsif ($file =~ /^core/)
		{
			push @alien, "$file includes $include"
			  unless $include =~ /^<(?:assert|inttypes|limits|stdbool|stddef|stdint|string)\.h>$/;
		}
	}
}
none(\@alien, 'the core includes nothing but itself and the C library');

# What points up in a graph whose edges say why they are there.
sub upwards
{
	my ($graph) = @_;
	my @found;

	for my $from (sort keys %$graph)
	{
		push @found, map { "$from -> $_: $graph->{$from}{$_}" }
		  grep { ($layer{$_} // 100) < ($layer{$from} // 0) } sort keys %{ $graph->{$from} };
	}
	return @found;
}
none([ upwards(\%includes) ], 'includes: no arrow points up');
none([ circles(\%includes) ], 'includes: no circle');

# Symbols.  A header shared by several files hides who calls whom; objects do not.
SKIP:
{
	my @objects = grep { -s "$root/src/$_" } map { "$_.o" } grep { $text{"$_.c"} } sort keys %module;
	my (%home, %wanted, %calls);

	skip 'the objects are not built here', 3 unless @objects == grep { /\.c$/ } keys %text;
	for my $object (@objects)
	{
		open my $nm, '-|', 'nm', '-g', "$root/src/$object" or skip 'there is no nm', 3;
		while (<$nm>)
		{
			$home{$1} = module($object) if /^[0-9a-f]+ [A-TV-Z] (\w+)$/;
			$wanted{ module($object) }{$1} = 1 if /^ +U (\w+)$/;
		}
		close $nm;
	}
	for my $from (keys %wanted)
	{
		for my $symbol (sort keys %{ $wanted{$from} })
		{
			my $to = $home{$symbol} // next;
			$calls{$from}{$to} = "uses $symbol";
		}
	}
	cmp_ok(scalar(keys %calls), '>', 20, 'objects use each other');
	none([ upwards(\%calls) ], 'symbols: no arrow points up');
	none([ circles(\%calls) ], 'symbols: no circle');
}

none([ grep { $_ ne 'base/compat.h' && $text{$_} =~ /\bPG_VERSION_NUM\b/ } sort keys %text ],
	'PG_VERSION_NUM is in compat.h alone');
none(
	[
		map { "$_ has more than " . MAX_LINES . ' lines' }
		grep { ($text{$_} =~ tr/\n//) > MAX_LINES } sort keys %text ],
	'no file is too long');
none(
	[
		grep { $_ ne 'store/writer.c' && $text{$_} =~ /\b(?:ExecSimpleRelation\w+|(?:simple_)?(?:table_tuple|heap)_(?:insert|update|delete))\b/ }
		  sort keys %text ],
	'only writer.c writes rows');
none([ grep { $_ ne 'store/own_sql.c' && $text{$_} =~ /\bSetUserIdAndSecContext\b/ } sort keys %text ],
	'only own_sql.c switches the user');
none(
	[
		grep { $_ ne 'store/own_sql.c' && $text{$_} =~ /\bSPI_exec\w*\b/ && $text{$_} !~ /\bown_sql_begin/ } sort keys %text ],
	'SQL of our own is run between own_sql_begin and own_sql_end');
none([ grep { $_ ne 'base/errors.h' && $text{$_} =~ /\bMAKE_SQLSTATE\b/ } sort keys %text ],
	'SQLSTATEs of our own are in errors.h alone');

# A snapshot that is not MVCC may miss a row that is being updated, so these look
# at what a lock that they hold protects, or at what is never updated.
my %locked = map { ("$_.c" => 1) }
  qw(calls/open_account calls/hold calls/payments calls/refund calls/revoke_purchase bulk/archive bulk/bulk bulk/import
  bulk/notices bulk/undo_run admin/roles ledger/books ledger/ledger tables/audit_log tables/checkpoint tables/find tables/lot_rows
  tables/plan_versions);
none(
	[
		grep { !$locked{$_} && $text{$_} =~ s{/\*.*?\*/}{}gsr =~ /\b(?:SnapshotSelf|SnapshotAny)\b/ }
		  sort keys %text ],
	'look-ups with SnapshotSelf are those under a lock');

done_testing();
