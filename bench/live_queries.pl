# Runs each query three times, keeps the shortest time, and prints the report of bench/live-queries.sh.  How many
# rows a query reads is what the server counts for the ledger's tables in its transaction,
# so that rows which a function reads below the executor are counted, too.
use strict;
use warnings FATAL => 'all';

use JSON::PP ();

my $one = q('4200000000004711');    # ten rows
my $busy = q('4200000000000001');   # 100,000 rows more
my @usage = (
	[ 'a user, the last 30 days', "SELECT * FROM credits_usage($one)" ],
	[ 'the last 24 hours', "SELECT * FROM credits_usage($one, 'hour')" ],
	[ 'by reason, since ever', "SELECT * FROM credits_usage($one, 'reason', '2000-01-01')" ],
	[ 'a user with 100,000 rows, the last day', "SELECT * FROM credits_usage($busy, from_time => now() - interval '1 day')" ],
	[ 'the last 30 days', "SELECT * FROM credits_usage($busy)" ],
	[ 'by spender, since ever', "SELECT * FROM credits_usage($busy, 'spender', '2000-01-01')" ],
	[ 'all users: spenders of the last day', q(SELECT * FROM credits_total_usage('spender', now() - interval '1 day')) ],
	[ 'users who spent most in the last day', q(SELECT * FROM credits_total_usage('user', now() - interval '1 day', top => 20)) ],
	[ 'the total of the last 7 days', q(SELECT * FROM credits_total_usage('all', now() - interval '7 days')) ],
	[ 'by day, the last 30 days', q(SELECT * FROM credits_total_usage()) ],
	[ 'users who spent most, since ever', q(SELECT * FROM credits_total_usage('user', '2000-01-01', top => 20)) ]);
my $next = q(user_id > '4200000000300000' ORDER BY user_id LIMIT 50);
my @lists = (
	[ 'low, all of them', q(SELECT * FROM credit_balance WHERE low) ],
	[ 'low, 50 of them', "SELECT * FROM credit_balance WHERE low AND $next" ],
	[ 'empty, 50 of them', "SELECT * FROM credit_balance WHERE available = 0 AND $next" ],
	[ 'owing, 50 of them', "SELECT * FROM credit_balance WHERE owed > 0 AND $next" ],
	[ 'frozen, 50 of them', "SELECT * FROM credit_balance WHERE status = 'frozen' AND $next" ],
	[ 'in an unknown zone', q(SELECT * FROM credits_unknown_zones()) ],
	[ 'holds that end next', q(SELECT * FROM credit_open_hold ORDER BY ends_at, user_id, seq LIMIT 50) ],
	[ 'holds that end within an hour', q(SELECT * FROM credit_open_hold WHERE ends_at < now() + interval '1 hour') ],
	[ 'grants that end next', q(SELECT * FROM credit_open_grant WHERE remaining > 0 ORDER BY ends_at, user_id, seq LIMIT 50) ],
	[ 'grants that end within a week', q(SELECT * FROM credit_open_grant WHERE remaining > 0 AND ends_at < now() + interval '7 days') ],
	[ 'holds of a user', "SELECT * FROM credit_open_hold WHERE user_id = $busy" ],
	[ 'payments of a user', "SELECT * FROM credit_payment WHERE user_id = $one ORDER BY paid_at DESC LIMIT 50" ],
	[ 'a page of a history of 100,000 rows', "SELECT * FROM credits_history($busy, 50000)" ],
	[ 'a balance', "SELECT * FROM credit_balance WHERE user_id = $one" ]);

sub psql
{
	my ($sql) = @_;

	open my $pipe, '-|', 'psql', '-AtqX', '-v', 'ON_ERROR_STOP=1', '-c', 'SET search_path = credits', '-c', $sql
	  or die "psql: $!";
	local $/;
	my $out = <$pipe>;
	close $pipe or die "psql failed: $sql\n";
	return $out;
}

my $read = q(SELECT coalesce(sum(seq_tup_read), 0) + coalesce(sum(idx_tup_fetch), 0) FROM pg_stat_xact_all_tables WHERE schemaname = 'credits');

sub measure
{
	my ($query, $before) = @_;
	my (@ms, %result);

	$before = $before ? "$before; " : '';

	for (1 .. 3)
	{
		my $out = psql("${before}BEGIN; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) $query; $read; COMMIT");
		my ($json, $rows) = $out =~ /\A(.*)\n(\d+)\n\z/s or die $out;
		my $plan = JSON::PP::decode_json($json)->[0];
		my $top = $plan->{Plan};

		push @ms, $plan->{'Execution Time'};
		%result = (
			read => $rows,
			given => $top->{'Actual Rows'},
			pages => $top->{'Shared Hit Blocks'} + $top->{'Shared Read Blocks'});
	}
	$result{ms} = (sort { $a <=> $b } @ms)[0];
	return \%result;
}

sub number
{
	my ($value) = @_;

	$value = $value < 10 ? sprintf('%.2f', $value) : sprintf('%.0f', $value) if $value =~ /\./;
	1 while $value =~ s/^(\d+)(\d{3})/$1,$2/;
	return $value;
}

sub print_table
{
	print "| | query | ms | rows read | rows given | pages |\n|---|---|---|---|---|---|\n";
	for (@_)
	{
		my ($what, $query, $before) = @$_;
		my $got = measure($query, $before);

		print "| $what | `$query` | ", join(' | ', map { number($got->{$_}) } qw(ms read given pages)), " |\n";
	}
	print "\n";
	return;
}

my ($version, $history, $accounts) = split /\n/, psql('SHOW server_version; SELECT count(*) FROM credit_history; SELECT count(*) FROM credit_account');
$version =~ s/ .*//;
my $load = do { open my $fh, '<', '/proc/loadavg' or die; (split ' ', <$fh>)[0] };
my $cores = () = do { open my $fh, '<', '/proc/cpuinfo' or die; local $/; <$fh> } =~ /^processor/mg;

print <<"END";
# Usage and lists: the figures

For anybody who wants to know what a chart of usage, or a list over all users, costs. `ACCOUNTS=$ENV{ACCOUNTS} ROWS=$ENV{ROWS}
bench/live-queries.sh` wrote this page at revision $ENV{REVISION}, with PostgreSQL $version.

The ledger has ${\number($accounts)} accounts and ${\number($history)} rows of history over 100 days, one user with 100,000 of them. Of a thousand accounts 10 are low, 3 of
these are empty, one owes and one is frozen. Every tenth user has a grant and a hold. Nothing is due. Its rows were inserted without the functions, in
the order of their times, so it has no hash chain. All pages are in memory, and no query uses more than one process. The machine has $cores cores; other work used it as well
(load $load), so times are longer than they are on a machine of your own. Rows read are those of the ledger's tables, also where a function reads them.
Each time is the shortest of three. Each query is the first one of its session, so pages are also those of the catalogs (800 for a function).

## Usage

END
print_table(@usage);
print <<'END';
A user's usage costs what the user's rows since `from_time` cost, whatever else is in the ledger. A total reads the whole history, because the table has no
index on a time.

### With an index on the time

`CREATE INDEX ON credit_history USING brin (effective_at)`, by a DBA. The totals use it:

END
psql('CREATE INDEX live_brin ON credit_history USING brin (effective_at); ANALYZE credit_history');
my $size = psql(q(SELECT pg_size_pretty(pg_relation_size('live_brin')))) =~ s/\n//r;
print_table(@usage[ 6 .. 9 ]);
psql('DROP INDEX live_brin');
print <<"END";
The index has $size. It is not part of the extension, because it is not free: PostgreSQL 15 prepares it anew in each call that inserts a
row. [performance.md](performance.md#what-was-tried-about-indexes-for-lists) says what an index would cost a deduction.

## Lists

A page begins after the last `user_id` of the page before.

END
print_table(@lists);
print <<'END';
Holds, grants, payments and histories are read by index: no more rows than are shown, or than the condition on `remaining` leaves out. So are low accounts: by
the index on `flags`, and by the one on `next_event_at` for what is due and not written yet. So ask for all low accounts at once: a page of them that begins far
in the order of users can read all accounts before it, too. Other accounts are read in the order of their users until the page is full, so a page of what is
rare reads more of them. To list frozen and closed accounts by index: `CREATE INDEX ON credit_account (user_id) WHERE
status <> 'active'`. With that:

END
psql(q(CREATE INDEX live_status ON credit_account (user_id) WHERE status <> 'active'; ANALYZE credit_account));
print_table([ 'frozen, 50 of them', "SELECT * FROM credit_balance WHERE status <> 'active' AND $next" ],
	[ 'frozen, all of them', "SELECT * FROM credit_balance WHERE status <> 'active'" ]);
psql('DROP INDEX live_status');
print <<'END';
### Accounts by their flags

`credit_account` has the column `flags`, with an index, for accounts that are low, empty, owing, frozen or closed, as their last row left them. It finds those
accounts, and the view says what they have now.

END
print_table(
	[ 'owing, all of them', q(SELECT b.* FROM credit_account a JOIN credit_balance b USING (user_id) WHERE a.flags & 4 <> 0 AND b.owed > 0) ],
	[ 'how many of each kind', q(SELECT flags, count(*) FROM credit_account WHERE flags IS NOT NULL GROUP BY flags) ]);
print <<'END';
## Metrics

[credits_metrics](../reference.md#credits_metrics), as a scrape calls it. The flagged accounts and the open holds are counted by index. `credits_metrics(true)` reads all accounts.
The last lines are at the time when all accounts are due: the count of those stops at 100,000, and for the credits that they have, what is due is applied to each in memory.

END
my $at_reset = q(SET credits.clock = ') . psql(q(SELECT max(next_reset_at) FROM credit_account)) =~ s/\n//r . q(');
print_table(
	[ 'a scrape', 'SELECT * FROM credits_metrics()' ],
	[ 'with all accounts', 'SELECT * FROM credits_metrics(true)' ],
	[ 'a scrape, all accounts due', 'SELECT * FROM credits_metrics()', $at_reset ],
	[ 'with all accounts, all due', 'SELECT * FROM credits_metrics(true)', $at_reset ]);
my ($flagged, $holds) = split /\n/, psql(q(SELECT count(*) FROM credit_account WHERE flags IS NOT NULL; SELECT count(*) FROM credit_open_hold));
print "${\number($flagged)} accounts are flagged, and ${\number($holds)} holds are open.\n";
