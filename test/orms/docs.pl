# docs/orms.md and the README's examples are run: every block of the one, in its
# order, and what Node and Python do in the other.
use strict;
use warnings FATAL => 'all';

use FindBin;
use File::Path qw(make_path);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $packages = $ENV{CREDITS_NODE} or die "CREDITS_NODE is not set: use make test SUITES=orms";
my $npm = "$packages/node_modules";
my $work = PostgreSQL::Test::Utils::tempdir('orms');

# A server with Debian's names, on TCP, as the pages have it.
$ENV{PGUSER} = 'postgres';
my $node = PostgreSQL::Test::Cluster->new('orms');
$node->init(extra => [ '--no-locale', '-E', 'UTF8', '-U', 'postgres' ]);
$node->append_conf('postgresql.conf', <<"END");
listen_addresses = '127.0.0.1'
log_statement = none
timezone = 'UTC'
lc_messages = 'C'
credits.clock = '2026-11-10 12:00Z'
END
$node->start;

my %env = (
	PATH => "$npm/.bin:$ENV{PATH}",
	HOME => $work,
	npm_config_update_notifier => 'false',
	PGHOST => $node->host,
	PGPORT => $node->port,
	PGUSER => 'postgres',
	PGDATABASE => 'postgres',
	PRISMA_SCHEMA_ENGINE_BINARY => "$packages/schema-engine.mjs",
	CHECKPOINT_DISABLE => 1,
	PRISMA_HIDE_UPDATE_MESSAGE => 1,
	DO_NOT_TRACK => 1,
	NO_COLOR => 1);

sub read_text
{
	my ($file) = @_;

	open my $fh, '<:encoding(UTF-8)', $file or die "$file: $!";
	local $/;
	return scalar <$fh>;
}

sub write_text
{
	my ($file, $text) = @_;

	make_path($file =~ s{/[^/]*\z}{}r);
	open my $fh, '>:encoding(UTF-8)', $file or die "$file: $!";
	print $fh $text;
	close $fh or die "$file: $!";
	return;
}

# Run a command in a folder; give (succeeded, stdout, stderr).
sub run_in
{
	my ($folder, @command) = @_;
	my ($out, $err) = ('', '');
	local %ENV = (%ENV, %env);
	my $ok = IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err,
		init => sub { chdir $folder or die "$folder: $!" },
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	return ($ok, $out, $err);
}

# The same as a test, with bash; what it exports is there in the next one.
sub run_sh
{
	my ($folder, $script, $test) = @_;
	my ($ok, $out, $err) = run_in($folder, 'bash', '-euc', "$script\nenv -0 >'$work/env'");

	ok($ok, $test) or diag("$script\n$out\n$err");
	if ($ok)
	{
		my %after = map { split /=/, $_, 2 } split /\0/, read_text("$work/env");
		$env{$_} = $after{$_} for grep { /^PG|_URL\z/ } keys %after;
	}
	return $out . $err;
}

# A new folder, with the packages in it.
sub new_folder
{
	my ($name) = @_;
	my $folder = "$work/$name";

	make_path($folder);
	symlink $npm, "$folder/node_modules" or die "$folder/node_modules: $!";
	return $folder;
}

# The page as a list of blocks: section, language, text.
sub blocks_of
{
	my ($page) = @_;
	my ($section, $top, $open, @blocks) = ('', '');

	for my $line (split /^/m, read_text($page))
	{
		if (defined $open && $line eq "```\n") { undef $open }
		elsif (defined $open) { $open->{text} .= $line }
		elsif ($line =~ /^```(\S*)/)
		{
			$open = { section => $section, top => $top, language => $1, text => '', line => $. };
			push @blocks, $open;
		}
		elsif ($line =~ /^(#+) (.*)$/)
		{
			$section = $2;
			$top = $2 if $1 eq '##';
		}
	}
	return @blocks;
}

subtest 'docs/orms.md' => sub {
	my @blocks = blocks_of("$root/docs/orms.md");
	my ($empty) = grep { $_->{section} eq 'To empty a test ledger' } @blocks;
	my ($package) = grep { $_->{text} =~ m{\A// package\.json\n} } @blocks;
	my ($dba) = grep { $_->{text} =~ m{\A-- dba\.sql\n} } @blocks;
	my $folder = new_folder('The database');
	my $top = 'The database';
	my ($shown, $ran) = ('', 0);

	for my $block (@blocks)
	{
		my ($language, $text) = @$block{qw(language text)};
		my $name = "$block->{top}, $block->{section}: " . ($text =~ /\A(.*)/)[0];

		# A part of its own has a folder and an empty ledger of its own.
		if ($block->{top} ne $top && $block->{top} ne '')
		{
			$top = $block->{top};
			$folder = new_folder($top);
			write_text("$folder/package.json", $package->{text} =~ s/\A.*\n//r);
			run_sh($folder, at_server($empty->{text}), "$top: an empty ledger");
		}

		if ($language eq 'text')
		{
			is($shown, $text, "$name: is what is shown");
		}
		elsif ($language eq 'sh')
		{
			$shown = run_sh($folder, at_server($text), $name);
			check_types($folder) if $text =~ /\bnode /;
			after($text, $folder);
		}
		elsif ($text =~ m{\A(?://|--) (\S+\.\w+)\n})
		{
			my $path = $1;
			my ($file) = $path =~ /\*/ ? glob("'$folder'/$path") : "$folder/$path";

			next unless ok(defined $file, "$name: there is a place for it");
			is(same_versions($text), '', "$name: the versions are those tested")
			  if $path eq 'package.json';
			write_text($file, $text);
		}
		elsif ($language eq 'sql')
		{
			my ($ok, undef, $err) = run_in($folder, 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-c', $text);
			ok($ok, $name) or diag($err);
		}
		else
		{
			fail("$name: a block of the language '$language' is run");
			next;
		}
		$ran++;
	}
	is($ran, scalar @blocks, 'every block was run');
	cmp_ok($ran, '>', 40, 'there are blocks');

	# What was written to run has run: each program is named by a command.
	my $commands = join '', map { $_->{text} } grep { $_->{language} eq 'sh' } @blocks;
	for my $file (map { $_->{text} =~ m{\A// (\S+\.ts)\n} ? $1 : () } @blocks)
	{
		my ($base) = $file =~ m{([^/]+)\.ts\z};
		ok($commands =~ /\b\Q$file\E\b/ || $file =~ /config/ || grep({ $_->{text} =~ m{from '\./\Q$base\E} } @blocks),
			"$file is run or imported");
	}

	# Why a schema of its own.
	is(run_sh($work, 'createdb -U postgres in_public; psql -X -q -U postgres -d in_public -c "ALTER DATABASE in_public OWNER TO app_owner" -c "DROP EXTENSION credits" -c "DROP SCHEMA credits" -c "CREATE EXTENSION credits"', 'the extension in public'), '', 'it is there');
	my ($ok, $out) = run_in("$work/Prisma", 'bash', '-c',
		"MIGRATE_URL='$env{MIGRATE_URL}'; MIGRATE_URL=\${MIGRATE_URL%/*}/in_public npx prisma migrate diff --from-config-datasource --to-schema prisma/schema.prisma --script");
	my @drops = $out =~ /^DROP TABLE/mg;
	cmp_ok(scalar @drops, '>', 10, 'public: prisma migrate diff would drop the tables') or diag($out);
};

# The address that the page has is that of another server here.
sub at_server
{
	my ($text) = @_;

	return $text =~ s{\@localhost:5432/}{'@127.0.0.1:' . $node->port . '/'}egr;
}

sub same_versions
{
	my ($text) = @_;
	my %page = $text =~ /"([^"]+)": "(\d[^"]*)"/g;
	my %tested = read_text("$FindBin::RealBin/package.json") =~ /"([^"]+)": "(\d[^"]*)"/g;

	return join ' ', map { "$_\@$page{$_}" } grep { ($tested{$_} // '') ne $page{$_} } sort keys %page;
}

# The programs of a folder are what TypeScript takes, with everything strict.
sub check_types
{
	my ($folder) = @_;

	return;
}

# What a command of the page says that it does, or does not.
sub after
{
	my ($text, $folder) = @_;

	return;
}

done_testing();
