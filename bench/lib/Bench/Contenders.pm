# Who takes part: label, schema, and the pgbench script that does one
# operation.  Every script begins with the lines that choose the user
# (shape_lines), then its own.
package Bench::Contenders;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(contenders script one_statement);

# Ids are texts of 16 digits (sql/users.sql), this plus 1 .. number of users.
my $base = 4200000000000000;

# A key that nobody has used: 63 random bits.
my $key = "\\set key random(1, 9223372036854775806)\n";
my $amount = "\\set amount random(1, 5)\n";

my %shape_lines = (
	uniform => "\\set uid $base + random(1, :users)\n",
	# A few users do most; permute scatters them over the pages.
	zipf => "\\set uid $base + 1 + permute(random_zipfian(1, :users, 1.1) - 1, :users, 42)\n",
	hot  => "\\set uid $base + (:users + 1) / 2\n",
);

# Which batch: any, or one of this client's own.
my %batch_lines = (
	uniform => "\\set batch random(1, 200)\n",
	divided => "\\set batch 201 + mod(:client_id + :clients * random(0, greatest(:parts / :clients, 1) - 1), :parts)\n",
);

# The columns that an INSERT of a deduction fills.
my $columns = 'user_id, seq, kind, created_at, effective_at, period, next_reset_at, plan_version, '
  . 'amount, monthly_delta, purchased_delta, monthly, purchased';
my $returned = 'history_seq, effective_at, period, next_reset_at, plan_version, monthly, purchased';

# Fields: id; label; schema (with SETUP below); ours; keyed; batch: one
# operation is an item, a transaction has many; history: rows per operation
# can be counted in account.history_seq; shapes: if not all.
my @all = (
	{
		id => 'select1', label => 'SELECT 1', schema => '', shapes => ['uniform'],
		sql => "SELECT 1;\n",
	},
	{
		id => 'update', label => 'UPDATE ... RETURNING', schema => 'plain_update',
		sql => $amount . "UPDATE account SET monthly = monthly - :amount "
		  . "WHERE user_id = :uid AND monthly >= :amount RETURNING monthly;\n",
	},
	{
		id => 'update_insert', label => 'UPDATE + INSERT', schema => 'plain_update_insert', history => 1,
		sql => $amount . "WITH a AS (UPDATE account SET monthly = monthly - :amount, history_seq = history_seq + 1, "
		  . "effective_at = now() WHERE user_id = :uid AND monthly >= :amount RETURNING user_id, $returned) "
		  . "INSERT INTO history ($columns) SELECT user_id, history_seq, 'deduct', effective_at, effective_at, "
		  . "period, next_reset_at, plan_version, :amount::bigint, -(:amount::bigint), 0, monthly, purchased FROM a "
		  . "RETURNING seq, monthly, purchased;\n",
	},
	{
		id => 'plpgsql', label => 'plpgsql function', schema => 'plain_plpgsql', history => 1,
		sql => $amount . "SELECT deduct(:uid, :amount);\n",
	},
	{
		id => 'plpgsql_key', label => 'plpgsql function, key', schema => 'plain_plpgsql_key', history => 1,
		sql => $amount . $key . "SELECT deduct_key(:uid, :amount, :key);\n",
	},
	{
		# Five round trips; the client computes what to take from which bucket.
		id => 'client_tx', label => 'client transaction', schema => 'plain_client_tx', history => 1,
		sql => $amount . "BEGIN;\n"
		  . "SELECT monthly, purchased, history_seq, period, next_reset_at, plan_version "
		  . "FROM account WHERE user_id = :uid FOR UPDATE \\gset a_\n"
		  . "\\set m least(:a_monthly, :amount)\n\\set p :amount - :m\n"
		  . "\\set monthly :a_monthly - :m\n\\set purchased :a_purchased - :p\n\\set seq :a_history_seq + 1\n"
		  . "\\set dm - :m\n\\set dp - :p\n"
		  . "UPDATE account SET monthly = :monthly, purchased = :purchased, history_seq = :seq, effective_at = now() "
		  . "WHERE user_id = :uid;\n"
		  . "INSERT INTO history ($columns) VALUES (:uid, :seq, 'deduct', now(), now(), :a_period, "
		  . ":a_next_reset_at, :a_plan_version, :amount, :dm, :dp, :monthly, :purchased);\n"
		  . "COMMIT;\n",
	},
	{
		id => 'pgledger', label => 'pgledger transfer', schema => 'pgledger', needs => 'pgledger',
		sql => $amount . "\\set sink 4300000000000000 + random(1, 1000)\n"
		  . "SELECT * FROM pgledger_create_transfer(:uid, :sink, :amount);\n",
	},
	{
		id => 'deduct', label => 'credits_deduct', schema => 'credits', history => 1, ours => 1,
		sql => $amount . "SELECT credits_deduct(:uid, :amount);\n",
	},
	{
		id => 'deduct_key', label => 'credits_deduct, key', schema => 'credits', history => 1, ours => 1,
		sql => $amount . $key . "SELECT credits_deduct(:uid, :amount, NULL, :key);\n",
	},
	{
		id => 'deduct_key_early', label => 'credits_deduct, key, early release', schema => 'credits', history => 1,
		ours => 1, needs => 'early', shapes => [ 'zipf', 'hot' ],
		sql => $amount . $key . "SELECT credits_deduct(:uid, :amount, NULL, :key);\n",
	},
	{
		id => 'update_insert_many', label => 'UPDATE + INSERT, batches', schema => 'plain_batch', history => 1,
		batch => 1, shapes => [ 'uniform', 'divided' ],
		sql => "WITH i AS (SELECT u.user_id, u.amount FROM bench.batch b, unnest(b.user_ids, b.amounts) AS u(user_id, amount) "
		  . "WHERE b.id = :batch), a AS (UPDATE account SET monthly = monthly - i.amount, "
		  . "history_seq = history_seq + 1, effective_at = now() FROM i WHERE account.user_id = i.user_id "
		  . "AND monthly >= i.amount RETURNING account.user_id, i.amount, $returned) "
		  . "INSERT INTO history ($columns) SELECT user_id, history_seq, 'deduct', effective_at, effective_at, "
		  . "period, next_reset_at, plan_version, amount, - amount, 0, monthly, purchased FROM a "
		  . "RETURNING user_id, seq, monthly, purchased;\n",
	},
	{
		# The keys are made by the server, on the measured time.
		id => 'deduct_many', label => 'credits_deduct_many, keys', schema => 'credits', history => 1, ours => 1,
		batch => 1, needs => 'many', shapes => [ 'uniform', 'divided' ],
		sql => "\\set key random(1, 9223372036854000000)\n"
		  . "SELECT r FROM bench.batch b, LATERAL credits_deduct_many(user_ids => b.user_ids, amounts => b.amounts, "
		  . "reasons => NULL, idempotency_keys => ARRAY(SELECT (:key::bigint + g)::text "
		  . "FROM generate_series(1, cardinality(b.user_ids)) g), metadata => NULL, all_or_nothing => false) r "
		  . "WHERE b.id = :batch;\n",
	},
);

# contenders(HAVE, ONLY): those that can run here, in their order.  HAVE says
# what of "needs" there is; ONLY, if not empty, which are wanted.
sub contenders
{
	my ($have, $only) = @_;
	my %known = map { $_->{id} => 1 } @all;
	for my $id (@$only)
	{
		die "BENCH_ONLY: no contender '$id'; there are: " . join(' ', map { $_->{id} } @all) . "\n"
		  unless $known{$id};
	}
	my %wanted = map { $_ => 1 } @$only;
	return grep { (!%wanted || $wanted{ $_->{id} }) && (!$_->{needs} || $have->{ $_->{needs} }) } @all;
}

# script(CONTENDER, SHAPE): its pgbench script.
sub script
{
	my ($contender, $shape) = @_;
	my $lines = $contender->{batch} ? \%batch_lines : \%shape_lines;
	return ($contender->{id} eq 'select1' ? '' : $lines->{$shape}) . $contender->{sql};
}

# What is compared in one statement over many users: label, schema, statement.
# one_users is a view of the users that take part.
sub one_statement
{
	return (
		{
			id => 'one_update', label => 'UPDATE', schema => 'plain_update', set => 1,
			sql => 'UPDATE account SET monthly = monthly - 1 FROM bench.one_users u '
			  . 'WHERE account.user_id = u.user_id AND monthly >= 1',
		},
		{
			id => 'one_update_insert', label => 'UPDATE + INSERT', schema => 'plain_update_insert', set => 1,
			sql => 'WITH a AS (UPDATE account SET monthly = monthly - 1, history_seq = history_seq + 1, '
			  . 'effective_at = now() FROM bench.one_users u WHERE account.user_id = u.user_id AND monthly >= 1 '
			  . "RETURNING account.user_id, $returned) "
			  . "INSERT INTO history ($columns) SELECT user_id, history_seq, 'deduct', effective_at, effective_at, "
			  . 'period, next_reset_at, plan_version, 1, -1, 0, monthly, purchased FROM a',
		},
		{
			id => 'one_plpgsql', label => 'plpgsql function', schema => 'plain_plpgsql',
			sql => 'SELECT count(deduct(user_id, 1)) FROM bench.one_users',
		},
		{
			id => 'one_plpgsql_key', label => 'plpgsql function, key', schema => 'plain_plpgsql_key',
			sql => 'SELECT count(deduct_key(user_id, 1, KEY)) FROM bench.one_users',
		},
		{
			id => 'one_deduct', label => 'credits_deduct', schema => 'credits', ours => 1,
			sql => 'SELECT count(credits_deduct(user_id, 1)) FROM bench.one_users',
		},
		{
			id => 'one_deduct_key', label => 'credits_deduct, key', schema => 'credits', ours => 1,
			sql => 'SELECT count(credits_deduct(user_id, 1, NULL, KEY)) FROM bench.one_users',
		},
	);
}

1;
