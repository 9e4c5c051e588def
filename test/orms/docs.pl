# docs/orms.md and the examples in docs/app-server.md are run: every block of the
# one, in its order, and what Node and Python do in the other.
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

# A server that lets in whom Debian's does: the superuser through the socket, others
# with a password on TCP.
$ENV{PGUSER} = 'postgres';
my $node = PostgreSQL::Test::Cluster->new('orms');
$node->init(extra => [ '--no-locale', '-E', 'UTF8', '-U', 'postgres' ]);
$node->append_conf('postgresql.conf', <<"END");
listen_addresses = '127.0.0.1'
log_statement = none
timezone = 'UTC'
lc_messages = 'C'
credits.clock = '2026-11-10 12:00Z'
shared_preload_libraries = 'credits'
END
unlink $node->data_dir . '/pg_hba.conf';
$node->append_conf('pg_hba.conf', <<'END');
local all postgres                trust
local app app_server              trust
local all all                     peer
host  all all        127.0.0.1/32 scram-sha-256
END
$node->start;

# sudo -u postgres COMMAND: to be the superuser, who comes through the socket.
write_text("$work/bin/sudo", <<"END");
#!/bin/sh
[ "\$1 \$2" = '-u postgres' ] || exit 1
shift 2
exec env -u PGPASSWORD PGHOST='@{[ $node->host ]}' PGUSER=postgres "\$@"
END
chmod 0755, "$work/bin/sudo";

my %env = (
	PATH => "$work/bin:$npm/.bin:$ENV{PATH}",
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

# SQL as a test, by a superuser unless the environment says another.
sub run_sql
{
	my ($folder, $sql, $test) = @_;
	my ($ok, undef, $err) = run_in($folder, 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-c', $sql);

	ok($ok, $test) or diag($err);
	return;
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

# A page's blocks: language, text, line, the heading above and the one of the part.
sub blocks_of
{
	my ($page) = @_;
	my ($section, $top, $number, $open, @blocks) = ('', '', 0);

	for my $line (split /^/m, read_text($page))
	{
		$number++;
		if (defined $open && $line eq "```\n") { undef $open }
		elsif (defined $open) { $open->{text} .= $line }
		elsif ($line =~ /^```(\S*)/)
		{
			$open = { section => $section, top => $top, language => $1, text => '', line => $number };
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

# The programs of a folder have the types that they say.
sub check_types
{
	my ($folder) = @_;

	my ($ok, $out) = run_in($folder, 'npx', 'tsc');
	ok($ok, 'the programs in the folder ' . ($folder =~ s{.*/}{}r) . ' have the right types') or diag($out);
	return;
}

sub query
{
	my ($db, $sql) = @_;

	return $node->safe_psql($db, $sql);
}

# The server's role may use a table that a later migration makes.
sub later_table
{
	is(query('app_dev', q{BEGIN; SET LOCAL ROLE app_owner; CREATE TABLE later (id bigserial);
		SELECT has_table_privilege('app_server', 'later', 'SELECT, INSERT, UPDATE, DELETE')
		   AND has_schema_privilege('app_server', 'public', 'USAGE'); ROLLBACK;}),
		't', 'the server may use the tables of later migrations');
	return;
}

# What the page says that a command does and does not, by what is in it.
my %effect = (
	'migrate diff' => sub {
		my ($shown) = @_;
		like($shown, qr/No difference detected/, 'migrate diff: finds no difference');
	},
	'migrate reset' => sub {
		is(query('app_dev', 'SELECT count(*) FROM image'), 0, 'migrate reset: the app has no rows');
		isnt(query('app_dev', 'SELECT count(*) FROM credits.credit_plan'), 0, 'migrate reset: the ledger is as it was');
		later_table();
	},
	'migrate deploy' => sub {
		is(query('app', 'SELECT count(*) FROM image'), 0, 'migrate deploy: the table is there');
		is(query('app', 'SELECT count(*) FROM credits.credit_plan'), 1, 'migrate deploy: the plan is there');
	},
	'drizzle-kit push' => sub {
		my ($shown) = @_;
		later_table();
		like($shown, qr/No changes detected/, 'drizzle-kit push: finds nothing to change');
	},
	'allow_drop' => sub {
		is(query('app_dev', 'SELECT count(*) FROM credits.credit_account'), 0, 'the ledger is empty');
		is(query('app_dev', q{SELECT has_function_privilege('app_server', 'credits.credits_balance(text)', 'EXECUTE')}),
			't', 'the server has its rights');
		is(query('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE '%shadow%'}), 0, 'no shadow is left');
	});

# What the page says in words only: errors without a connection, and after an error in
# the same transaction.
my $claims = <<'END';
import net from 'node:net';
import { PrismaPg } from '@prisma/adapter-pg';
import { connectionLost, databaseError, prisma } from './credits.ts';
import { PrismaClient } from './generated/prisma/client.ts';

const url = process.env.DATABASE_URL!;
const at = (port: number) => new PrismaClient({ adapter: new PrismaPg({ connectionString: url.replace(/:\d+\//, `:${port}/`) }) });
const show = (what: string) => (err: any) =>
  console.log(what, err.code, err.code ? databaseError(err).sqlstate : err.message, connectionLost(err));
const later = () => new Promise((resolve) => setTimeout(resolve, 200));

await prisma.$transaction(async (tx) => {
  await tx.user.create({ data: { id: 'swallowed', email: '' } });
  await tx.$queryRaw`SELECT credits_deduct('user_9xyz', 1000)`.catch(() => {});
}).then(() => console.log('swallowed: success'));
console.log('stored', await prisma.user.count({ where: { id: 'swallowed' } }));
for (const then of [(tx: any) => tx.$queryRaw`SELECT 1`, (tx: any) => tx.image.count()])
  await prisma.$transaction(async (tx) => {
    await tx.$queryRaw`SELECT credits_deduct('user_9xyz', 1000)`.catch(() => {});
    await then(tx);
  }).catch(show('after an error'));

const away = at(1);
await away.$queryRaw`SELECT 1`.catch(show('away, raw'));
await away.image.count().catch(show('away, model'));

// A connection that breaks on the way, by an end or by a reset.
const sockets = new Set<net.Socket>();
const proxy = net.createServer((socket) => {
  const server = net.connect(Number(new URL(url).port), '127.0.0.1');
  for (const one of [socket, server]) one.on('error', () => {});
  socket.pipe(server);
  server.pipe(socket);
  socket.on('close', () => server.destroy());
  sockets.add(socket);
});
await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const far = at((proxy.address() as net.AddressInfo).port);
for (const how of ['destroy', 'resetAndDestroy'] as const) {
  const cut = () => sockets.forEach((socket) => socket[how]());
  const wait = (tx: any) => Promise.all([tx.$queryRaw`SELECT pg_sleep(60)::text`, later().then(cut)]);
  await far.$transaction(wait).catch(show(`${how} in a call`));
  await far.$transaction(async (tx) => { await tx.image.count(); cut(); await later(); }).catch(show(`${how} before COMMIT`));
}
proxy.close();
process.exit();
END

sub prisma_claims
{
	write_text("$work/Prisma/claims.ts", $claims);
	is(run_sh("$work/Prisma", 'node claims.ts', 'Prisma: what is said in words'), <<'END', 'Prisma: ... is so');
swallowed: success
stored 0
after an error P2010 25P02 false
after an error P2039 25P02 false
away, raw P2010 undefined true
away, model P1001 undefined true
destroy in a call undefined Connection terminated unexpectedly true
destroy before COMMIT undefined Client has encountered a connection error and is not queryable true
resetAndDestroy in a call P2010 undefined true
resetAndDestroy before COMMIT undefined Client has encountered a connection error and is not queryable true
END
	# What slept in the calls that broke still does.
	query('postgres', q(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app_server'));
	my $said = sub {
		my ($sql) = @_;
		my (undef, undef, $err) = $node->psql('app_dev', "SET search_path = public, credits; $sql", extra_params => ['-v', 'VERBOSITY=verbose']);
		return $err =~ /ERROR:  (\w{5}): .*?(?:"required": (\d+)|\z)/s ? join ' ', grep { defined } $1, $2 : $err;
	};
	is($said->(q(SELECT credits_open_account('user_2abc', 'free', time_zone => 'Europe/Berlin'))), 'UC003', 'another time zone at sign-up is UC003');
	$node->psql('app_dev', q(SELECT credits.credits_open_account('user_2abc', 'free', time_zone => 'Europe/Berlin')), stderr => \my $hint);
	like($hint, qr/credits_set_plan.*credits_set_cycle/, '... and its hint names both calls');
	is($said->(q(SELECT credits_open_account('more', 'free'); SELECT credits_hold('more', 6, idempotency_key => 'k'); SELECT credits_capture('more', 2, 3, idempotency_key => 'k'))),
		'UC003', 'one key for a hold and its capture is UC003');
	is($said->(q(SELECT credits_capture('more', 2, 11))), 'UC001 5', 'a capture of more than there is: what the hold does not cover');
	is($said->(q(SELECT credits_capture('more', 2))), '', '... and without an amount it takes what is held');
	is(query('app_dev', q(SELECT credits.credits_balance('more') ->> 'available')), 4, '... all of it');
	is($said->(q(SELECT credits_define_plan('new', 1, effective_from => '2026-11-01Z'))), '22023', 'effective_from that is past is 22023');
	return;
}

# Why the page wants a schema of its own: what the tools say when the extension is
# in public.
sub in_public
{
	my ($emptied) = @_;
	my @diff = (qw(npx prisma migrate diff --from-config-datasource --to-schema prisma/schema.prisma));
	my $superuser = $env{MIGRATE_URL} =~ s{//.*\@}{//dba:change-me-3\@}r =~ s{[^/]*\z}{in_public}r;

	query('postgres', q{CREATE ROLE dba SUPERUSER LOGIN PASSWORD 'change-me-3'});
	query('postgres', 'CREATE DATABASE in_public TEMPLATE app_dev');
	local $env{MIGRATE_URL} = $superuser;

	# On the way there: a ledger with accounts is emptied as the page says.
	my (undef, undef, $refused) = run_in($work, qw(sudo -u postgres psql -X -d in_public -c), 'DROP EXTENSION credits');
	like($refused, qr/would destroy the ledger/, 'a ledger with accounts is not dropped');
	run_sh("$work/The database", $emptied =~ s/app_dev/in_public/gr, 'but where the loss is meant');
	is(query('in_public', 'SELECT count(*) FROM credits.credit_account'), 0, 'there are no accounts');
	isnt(query('in_public', 'SELECT count(*) FROM image'), 0, 'but the app has its rows');
	is(query('in_public', 'SELECT count(*) FROM credits.credit_plan'), 0, 'there are no plans');
	is(query('in_public', q(SELECT count(*) > 0 FROM image WHERE user_id = 'user_2abc' AND credits_seq = (SELECT (credits.credits_deduct('user_2abc', 1) ->> 'seq')::bigint
		FROM (SELECT credits.credits_define_plan('free', 10), credits.credits_open_account('user_2abc', 'free') OFFSET 0) x))),
		't', 'and an old row of the app has the user_id and seq of a new receipt');
	query('in_public', 'SET credits.allow_drop = on; DROP EXTENSION credits; CREATE EXTENSION credits SCHEMA credits');
	query('in_public', 'DROP EXTENSION credits; DROP SCHEMA credits; CREATE EXTENSION credits SCHEMA public; TRUNCATE image');

	my $tables = query('in_public', q(SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
		 WHERE relkind IN ('r', 'p') AND NOT relispartition AND relname LIKE 'credit%'));
	my ($same, $diff) = run_in("$work/Prisma", @diff, qw(--script --exit-code));
	ok(!$same, 'in public, prisma migrate diff finds differences');
	is(join(' ', sort $diff =~ /^DROP TABLE "(credit_\w+)"/mg), $tables, 'and drops all tables') or diag($diff);

	my (undef, $push) = run_in("$work/Drizzle", qw(npx drizzle-kit push --verbose --strict));
	like($push, qr/^DROP TABLE "$_"/m, "in public, drizzle-kit push drops $_") for qw(credit_account credit_history);

	# And why the page wants the extension in template1.
	query('template1', 'DROP EXTENSION credits; DROP SCHEMA credits');
	my (undef, $dev, $err) = run_in("$work/Prisma", qw(npx prisma migrate dev));
	like("$dev$err", qr/P3006.*schema "credits" does not exist/s, 'without it in template1, prisma migrate dev stops');
	return;
}

subtest 'docs/orms.md' => sub {
	my @blocks = blocks_of("$root/docs/orms.md");
	my ($empty) = grep { $_->{section} eq 'To empty a test ledger' } @blocks;
	my ($package, $tsconfig) = grep { $_->{language} eq 'json' } @blocks;
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
			prisma_claims() if $top eq 'Prisma';
			$top = $block->{top};
			$folder = new_folder($top);
			write_text("$folder/package.json", $package->{text});
			write_text("$folder/tsconfig.json", $tsconfig->{text});
			run_sh($folder, at_server($empty->{text}), "$top: an empty ledger");
		}

		if ($block == $package)
		{
			is(same_versions($text), '', 'package.json: the versions are those tested');
		}
		elsif ($block == $tsconfig)
		{
			# It is in each folder, and used when all is written.
		}
		elsif ($language eq 'text')
		{
			is($shown, $text, "$name: is what is shown");
		}
		elsif ($language eq 'sh')
		{
			$shown = run_sh($folder, at_server($text), $name);
			$effect{$_}->($shown) for grep { $text =~ /\Q$_\E/ } sort keys %effect;
		}
		elsif ($text =~ m{\A(?://|--) (\S+\.\w+)\n})
		{
			my $path = $1;
			my ($file) = $path =~ /\*/ ? glob("'$folder'/$path") : "$folder/$path";

			next unless ok(defined $file, "$name: there is a place for it");
			write_text($file, $text);
		}
		elsif ($language eq 'sql')
		{
			run_sql($folder, $text, $name);
		}
		else
		{
			fail("$name: a block of the language '$language' is run");
			next;
		}
		$ran++;
	}
	is($ran, scalar @blocks, 'every block was run');
	check_types("$work/$_") for qw(Prisma Drizzle postgres.js);
	cmp_ok($ran, '>', 40, 'there are blocks');

	# What was written to run has run: each program is named by a command.
	my $commands = join '', map { $_->{text} } grep { $_->{language} eq 'sh' } @blocks;
	for my $file (map { $_->{text} =~ m{\A// (\S+\.ts)\n} ? $1 : () } @blocks)
	{
		my ($base) = $file =~ m{([^/]+)\.ts\z};
		ok($commands =~ /\b\Q$file\E\b/ || $file =~ /config/ || grep({ $_->{text} =~ m{from '\./\Q$base\E} } @blocks),
			"$file is run or imported");
	}

	in_public(grep { /allow_drop/ } map { $_->{text} } grep { $_->{language} eq 'sh' } @blocks);
};

subtest 'docs/app-server.md' => sub {
	my @blocks = blocks_of("$root/docs/app-server.md");
	my $folder = new_folder('app-server');
	my ($install) = grep { $_->{section} eq 'Install' && $_->{text} =~ /^CREATE EXTENSION/m } blocks_of("$root/README.md");
	my ($setup) = grep { $_->{section} eq 'The table and the role of the examples' } @blocks;
	my ($js, $webhook) = grep { $_->{section} eq 'Node (pg)' } @blocks;
	my ($showing) = grep { $_->{section} eq 'Showing balances' } @blocks;
	my ($watching) = grep { $_->{section} eq 'Live balances' } @blocks;
	my ($python) = grep { $_->{section} eq 'Python (psycopg 3)' } @blocks;
	my $images = sub { query('app', 'SELECT count(*) FROM image') };
	my $open = sub {
		my ($user, $purchased) = @_;
		query('app', "SELECT credits_add_purchased('$user', $purchased, 'pay-$user')");
	};

	# As in the README's Install section: the database app, by a superuser.
	query('postgres', 'DROP DATABASE IF EXISTS app');
	query('postgres', 'CREATE DATABASE app TEMPLATE template0');
	local @env{qw(PGDATABASE PGUSER PGHOST)} = (qw(app postgres), $node->host);
	run_sql($folder, $install->{text}, 'the extension is installed');
	query('postgres', 'ALTER ROLE app_server RENAME TO other_server');
	run_sql($folder, $setup->{text}, 'the table and the role are there');
	query('app', q{SELECT credits_define_plan('free', 10)});
	query('app', q{SELECT credits_open_account('user_2abc', 'free')});
	local $env{PGUSER} = 'app_server';

	# One request twice.
	write_text("$folder/package.json", '{"type": "module"}');
	write_text("$folder/app.js", $js->{text});
	is(run_sh($folder, 'node app.js', 'Node'), "-5 0 5 false\n", 'Node: the request is charged');
	is(run_sh($folder, 'node app.js', 'Node, again'), "-5 0 5 true\n", 'Node: and once only');
	is($images->(), 1, 'Node: and there is one row in image');
	write_text("$folder/app.js", $js->{text} =~ s/req-7f3a/req-2/r);
	is(run_sh($folder, 'node app.js', 'Node, another'), "-5 0 0 false\n", 'Node: another request is charged');
	write_text("$folder/app.js", $js->{text} =~ s/req-7f3a/req-3/r);
	is(run_sh($folder, 'node app.js', 'Node, too little'),
		"402: needs 5, has 0, more on 2026-12-01T00:00:00Z\n", 'Node: too little is said');
	is($images->(), 2, 'Node: a refusal leaves no row');

	# The webhook: a fragment, which has these names from around it.
	write_text("$folder/webhook.js", <<"END");
import pg from 'pg';
const client = new pg.Client();
await client.connect();
const userId = 'user_2abc', paymentIntent = { id: 'pi_1' };
for (const attempt of [1, 2]) {
$webhook->{text}}
await client.end();
END
	run_sh($folder, 'node webhook.js', 'Node: the webhook');
	is(query('app', q{SELECT credits_balance('user_2abc') ->> 'purchased'}), 100, 'Node: a payment is credited once');

	# The functions that show balances, called by what comes here.
	$open->('user_8', 8);
	write_text("$folder/show.js", <<"END");
import pg from 'pg';
const client = new pg.Client();
await client.connect();
$showing->{text}
await showAll(client, ['user_8', 'nobody', 'user_2abc']);
const first = shown.get('user_8');
console.log([...shown.keys()].join(' '), first.available, await label(client, 'user_8', 5), '/', await label(client, 'user_8', 10));
await client.query("SELECT credits_deduct('user_8', 5)");
await showAll(client, ['user_8']);
show(first);
console.log(shown.get('user_8').available);
await client.end();
END
	is(run_sh($folder, 'node show.js', 'Node, showing'),
		"user_8 user_2abc 8 5 credits, 3 will be left / 2 credits are missing\n3\n", 'Node: the newest balance is shown, and prices');

	# The one that listens: it sees what another connection has changed.
	write_text("$folder/watch.js", <<"END");
import pg from 'pg';
const client = new pg.Client(), other = new pg.Client();
await client.connect();
await other.connect();
$showing->{text}
$watching->{text}
await watch(client, () => ['user_8']);
console.log(shown.get('user_8').available);
await other.query("SELECT credits_deduct('user_8', 2)");
while (shown.get('user_8').available !== 1) await new Promise((resolve) => setTimeout(resolve, 10));
console.log(shown.get('user_8').available);
await Promise.all([client.end(), other.end()]);
END
	is(run_sh($folder, 'node watch.js', 'Node, listening'), "3\n1\n", 'Node: a balance that changes is shown');

	# Python, for a user with 7 purchased credits.
	write_text("$folder/app.py", $python->{text} =~ s/user_2abc/user_7/r);
	$open->('user_7', 7);
	is(run_sh($folder, '/usr/bin/python3 app.py', 'Python'), "0 -5 2 False\n", 'Python: the request is charged');
	is(run_sh($folder, '/usr/bin/python3 app.py', 'Python, again'), "0 -5 2 True\n", 'Python: and once only');
	is($images->(), 3, 'Python: and there is one row in image');
	write_text("$folder/app.py", $python->{text} =~ s/user_2abc/user_7/r =~ s/req-81c0/req-2/r);
	is(run_sh($folder, '/usr/bin/python3 app.py', 'Python, too little'), "402: needs 5, has 2\n", 'Python: too little is said');
};

# A receipt in TypeScript has what docs/reference.md says of it.
subtest 'the type of a receipt' => sub {
	my ($section) = read_text("$root/docs/reference.md") =~ /^### Receipt\n(.*?)^### /ms;
	my %type = (boolean => 'boolean', number => 'number', string => 'string', 'string or null' => 'string | null');
	my %said;

	while ($section =~ /^\| `(\w+)` \| ([^|]+) \| (always|sometimes) \|/mg)
	{
		$said{$1} = ($3 eq 'sometimes' ? '?' : '') . ': ' . ($type{$2} // "no type for $2");
	}
	$said{ok} = ': true';
	cmp_ok(scalar(keys %said), '>', 20, 'the reference has fields');

	my @types = read_text("$root/docs/orms.md") =~ /^export type Receipt = \{\n(.*?)^\};/msg;
	is(scalar @types, 3, 'each part of the page has the type');
	for my $type (@types)
	{
		my %has = $type =~ /(\w+)(\??: [^;]+);/g;
		is_deeply(\%has, \%said, 'its fields are those of the reference');
	}
};

# So has a balance.
subtest 'the type of a balance' => sub {
	my ($section) = read_text("$root/docs/reference.md") =~ /^### Balance\n(.*?)^### /ms;
	my %type = (boolean => 'boolean', number => 'number', string => 'string', 'string or null' => 'string | null');
	my ($type) = read_text("$root/docs/orms.md") =~ /^export type Balance = \{\n(.*?)^\};/ms;
	my %said;

	while ($section =~ /^\| `(\w+)` \| ([^|]+) \| (always|sometimes) \|/mg)
	{
		$said{$1} = ($3 eq 'sometimes' ? '?' : '') . ': ' . ($type{$2} // "no type for $2");
	}
	cmp_ok(scalar(keys %said), '>', 15, 'the reference has fields');
	is_deeply({ $type =~ /(\w+)(\??: [^;]+);/g }, \%said, 'the type has those of the reference');
};

# Which row of the app's belongs to a receipt is for a unique key to say, in every
# example of every page.
subtest 'the receipt and the row' => sub {
	my @pages = ("$root/README.md", glob "'$root'/docs/*.md");
	my @inserts;

	for my $page (@pages)
	{
		for my $block (grep { $_->{language} ne 'text' } blocks_of($page))
		{
			my $where = ($page =~ s{.*/}{}r) . " line $block->{line}";

			unlike($block->{text}, qr/\bif\b[^\n]*replayed/, "$where: no example decides by replayed");
			push @inserts, [ $where, $1 ] while $block->{text} =~ /(INSERT INTO image\b.{0,200})/sg;
			like($block->{text}, qr/UNIQUE \(user_id, credits_seq\)/, "$where: the table has the key")
			  if $block->{text} =~ /CREATE TABLE image\b/;
		}
	}
	like($_->[1], qr/ON CONFLICT \(user_id, credits_seq\) DO NOTHING/, "$_->[0]: a second row is no error") for @inserts;
	cmp_ok(scalar @inserts, '>', 3, 'there are examples');
};

done_testing();
