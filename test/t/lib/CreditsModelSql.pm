# The model test's operations and worlds as SQL.
package CreditsModelSql;

use strict;
use warnings FATAL => 'all';

use CreditsModelRandom;
use CreditsModelTime;
use Exporter 'import';
use List::Util qw(uniq);

our @EXPORT = qw(functions_called setup_database call_sql world_script world_sql);

# What a database of the test has besides the extension.  Never is any of it
# between a call and the ledger, but try() where a transaction has to go on.
sub setup_database
{
	return q{
CREATE EXTENSION credits;
CREATE FUNCTION try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
	detail text;
BEGIN
	EXECUTE 'SELECT string_agg(x::text, E''\n'') FROM ' || call || ' x' INTO answer;
	RETURN concat_ws(E'\n', answer, '= 00000');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(E'\n', CASE WHEN SQLSTATE LIKE 'UC%' THEN detail END, '= ' || SQLSTATE, '# ' || SQLERRM);
END $$;
CREATE TABLE runs (tag text PRIMARY KEY, run_id uuid NOT NULL);
CREATE FUNCTION run_of(t text) RETURNS uuid LANGUAGE sql AS
	'SELECT coalesce((SELECT run_id FROM runs WHERE tag = t), gen_random_uuid())';
CREATE FUNCTION keep_run(t text, report jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	INSERT INTO runs SELECT t, (report ->> 'run_id')::uuid WHERE report ? 'run_id';
	SELECT 'r ' || t || ' ' || jsonb_build_object('kind', kind, 'state', state, 'accounts', accounts,
	               'credits_granted', credits_granted, 'credits_expired', credits_expired, 'failures', failures,
	               'failed', (SELECT string_agg((f ->> 'user_id') || ' ' || (f ->> 'sqlstate'), ', ')
	                            FROM jsonb_array_elements(failed) f))::text
	  FROM credit_reset_run WHERE run_id = (report ->> 'run_id')::uuid;
$$;
CREATE FUNCTION try_run(t text, call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	report jsonb;
BEGIN
	EXECUTE 'CALL ' || call INTO report;
	PERFORM keep_run(t, report);
	RETURN concat_ws(E'\n', report, '= 00000');
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(E'\n', '= ' || SQLSTATE, '# ' || SQLERRM);
END $$;
CREATE FUNCTION us(t timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	'SELECT (extract(epoch FROM t) * 1000000)::bigint';
CREATE FUNCTION us(t timestamp) RETURNS bigint LANGUAGE sql IMMUTABLE AS
	'SELECT (extract(epoch FROM t) * 1000000)::bigint';
CREATE TABLE tags (user_id text, seq bigint, tag text, PRIMARY KEY (user_id, seq));
CREATE VIEW tagged AS
	SELECT user_id, seq, reason FROM credit_history
	UNION ALL SELECT user_id, seq, reason FROM credit_history_archive
	UNION ALL SELECT user_id, seq, tag FROM tags;
CREATE FUNCTION keep_tags(u text) RETURNS void LANGUAGE sql AS
	'INSERT INTO tags SELECT user_id, seq, reason FROM tagged WHERE user_id = u AND reason IS NOT NULL
	 ON CONFLICT DO NOTHING';
CREATE VIEW whole_history AS
	SELECT * FROM credit_history UNION ALL SELECT * FROM credit_history_archive;
CREATE FUNCTION sweep_to(target timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t timestamptz := coalesce(nullif(current_setting('credits.clock', true), '')::timestamptz, target);
BEGIN
	LOOP
		t := least(t + interval '20 hours', target);
		PERFORM set_config('credits.clock', t::text, false);
		PERFORM credits_reset_due(100000);
		EXIT WHEN t = target;
	END LOOP;
END $$;
CREATE FUNCTION seq_of(u text, tag text) RETURNS bigint LANGUAGE sql AS
	'SELECT coalesce(max(seq), 999999999) FROM tagged WHERE user_id = u AND reason = tag';
CREATE VIEW account AS
	SELECT user_id, monthly, granted, purchased, held_monthly, held_granted, held_purchased, owed_monthly,
	       owed_purchased, overdraft_limit, period_granted, us(last_monthly_reset) AS period_start, period, period_share,
	       cycle, last_left, last_limit, last_undone, us(end_anchor) AS end_anchor, end_zone, end_cycle, closed_seq, forfeited, charged_monthly, charged_purchased, last_charged, last_closed_seq,
	       low_threshold, plan_threshold, level, flags,
	       us(effective_at) AS effective_at, us(cycle_anchor) AS cycle_anchor, time_zone, status, history_seq,
	       us(next_reset_at) AS next_reset_at, us(next_event_at) AS next_event_at, plan_version, plan,
	       scheduled_plan
	  FROM credit_account;
CREATE FUNCTION look(u text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY SELECT 'a ' || u || ' ' || to_jsonb(account)::text FROM account WHERE user_id = u;
	RETURN NEXT 'b ' || u || ' ' || credits_balance(u)::text;
EXCEPTION WHEN OTHERS THEN
	RETURN NEXT 'b ' || u || ' ' || SQLSTATE;
END $$;
};
}

#
# An operation as SQL
#

my %sql_name = (
	purchase => 'add_purchased',
	revoke => 'revoke_purchase',
	reinstate => 'reinstate_purchase',
	undo => 'undo_run');

# Arguments of each call: its own name, where the operation has it, how it is
# written; those in front without a name.
my @run = ([qw(dry_run dry bool)], [qw(max_accounts max number)], [qw(batch_size batch number)]);
my %argument = (
	deduct => [ [qw(user_id user name)], [qw(amount amount number)], [qw(spender spender text)] ],
	purchase => [ [qw(user_id user name)], [qw(amount amount number)], [qw(payment_ref ref name)] ],
	adjust => [ [qw(user_id user name)], [qw(bucket bucket text)], [qw(delta delta number)] ],
	set_plan => [
		[qw(user_id user name)],
		[qw(plan plan name_or_null)],
		[qw(at when text)],
		[qw(restart restart bool)],
		[qw(keep_anchor keep_anchor bool)]
	],
	define_plan => [
		[qw(plan plan name)],
		[qw(monthly_credits credits number)],
		[qw(cycle cycle text)],
		[qw(rollover_limit rollover number)],
		[qw(low_balance_threshold low number)],
		[qw(effective_from from time)]
	],
	open_account => [
		[qw(user_id user name)], [qw(plan plan name)], [qw(cycle_anchor anchor wall)], [qw(time_zone zone text)]
	],
	set_cycle => [ [qw(user_id user name)], [qw(cycle_anchor anchor wall)], [qw(time_zone zone text)] ],
	grant => [
		[qw(user_id user name)], [qw(amount amount number)], [qw(expires_at ends time)], [qw(payment_ref ref name)]
	],
	hold => [
		[qw(user_id user name)], [qw(amount amount number)], [qw(expires_in lasts interval)],
		[qw(spender spender text)]
	],
	capture => [
		[qw(user_id user name)], [qw(hold_seq hold seq)], [qw(amount amount some)], [qw(keep_open keep_open bool)],
		[qw(over over text)]
	],
	release => [ [qw(user_id user name)], [qw(hold_seq hold seq)] ],
	refund => [ [qw(user_id user name)], [qw(seq of seq)], [qw(amount amount some)] ],
	revoke => [ [qw(payment_ref ref name)], [qw(amount amount some)], [qw(total total some)] ],
	reinstate => [ [qw(payment_ref ref name)], [qw(amount amount some)] ],
	transfer => [ [qw(user_id user name)], [qw(to_user_id to name)], [qw(amount amount some)] ],
	set_overdraft => [ [qw(user_id user name)], [qw(overdraft_limit limit number)] ],
	set_low_threshold => [ [qw(user_id user name)], [qw(threshold threshold number)] ],
	freeze => [ [qw(user_id user name)] ],
	unfreeze => [ [qw(user_id user name)] ],
	erase_user => [ [qw(user_id user name)] ],
	close_account => [ [qw(user_id user name)] ],
	repair_clock => [ [qw(user_id user name)] ],
	grant_many => [ [qw(user_ids users names)], [qw(amounts amounts numbers)], [qw(expires_at ends time)], @run ],
	apply_plan => [ [qw(plan plan name)], @run ],
	import => [ [qw(source source source)], [qw(history history history)], [qw(refresh refresh bool)], @run ],
	anchor => [],
	archive => [ [qw(before before time)], @run ],
	undo => [
		[qw(run_id run run)], [qw(plan plan name)], [qw(boundary boundary time)], [qw(regrant regrant bool)], @run
	],
	balance_at => [ [qw(user_id user name)], [qw(at time time)] ]);
$argument{try_deduct} = $argument{deduct};

my %written = (
	name => sub { "'$_[1]$_[0]'" },
	name_or_null => sub { "'$_[1]$_[0]'" },
	text => sub { "'$_[0]'" },
	names => sub { 'ARRAY[' . join(', ', map { "'$_[1]$_'" } @{ $_[0] }) . ']::text[]' },
	number => sub { $_[0] },
	numbers => sub { 'ARRAY[' . join(', ', map { $_ // 'NULL' } @{ $_[0] }) . ']::bigint[]' },
	source => columns(
		user_id => [qw(user name text)],
		plan => [qw(plan name text)],
		monthly => [qw(monthly number bigint)],
		purchased => [qw(purchased number bigint)],
		last_reset => [qw(last_reset time timestamptz)],
		cycle_anchor => [qw(anchor wall timestamp)],
		time_zone => [qw(zone text text)]),
	history => columns(
		user_id => [qw(user name text)],
		created_at => [qw(at time timestamptz)],
		id => [qw(id number bigint)],
		amount => [qw(amount number bigint)]),
	run => sub { "run_of('$_[1]t$_[0]')" },
	some => sub { $_[0] },
	bool => sub { $_[0] ? 'true' : 'false' },
	time => sub { "'" . iso($_[0]) . "+00'" },
	wall => sub { "'" . iso($_[0]) . "'" },
	interval => sub {
		my $seconds = int($_[0] / SECOND);
		sprintf "interval '%d seconds %d microseconds'", $seconds, $_[0] - $seconds * SECOND;
	},
	seq => sub { "seq_of('$_[1]$_[2]', 't$_[0]')" });

# How rows with these columns are written: as a query.
sub columns
{
	my (@columns) = @_;

	return sub { query($_[1], $_[0], @columns) };
}

sub query
{
	my ($prefix, $rows, @columns) = @_;
	my @selects;

	for my $row (@$rows, {})
	{
		my @copy = @columns;
		my @values;

		while (my ($name, $how) = splice @copy, 0, 2)
		{
			my ($field, $type, $sql_type) = @$how;
			my $value = $row->{$field};

			push @values, (defined $value ? $written{$type}->($value, $prefix) : 'NULL') . "::$sql_type AS $name";
		}
		push @selects, 'SELECT ' . join(', ', @values) . (%$row ? '' : ' WHERE false');
	}
	return '$q$' . join(' UNION ALL ', @selects) . '$q$';
}

# The functions that operations come to.
sub functions_called
{
	return sort map { 'credits_' . ($sql_name{$_} // $_) } keys %argument, qw(deduct_many reset_due run_reset);
}

# A NULL is written out where the argument is required, to see it refused.
my %required = map { $_ => 1 } qw(name_or_null number);
my %is_run = map { $_ => 1 } qw(grant_many apply_plan undo archive import);

sub call_sql
{
	my ($op, $prefix) = @_;

	return batch_sql($op, $prefix) if $op->{call} eq 'deduct_many';
	my @args;
	for my $argument (@{ $argument{ $op->{call} } // die "no SQL for $op->{call}" })
	{
		my ($name, $field, $type) = @$argument;
		my $value = $op->{$field};

		my $is_needed =
		  $required{$type} && !$is_run{ $op->{call} } && ($op->{call} ne 'define_plan' || $field eq 'credits');

		next if !defined $value && !$is_needed;
		push @args, "$name => " . (defined $value ? $written{$type}->($value, $prefix, $op->{user}) : 'NULL');
	}
	push @args, "reason => 't$op->{tag}'" if $op->{tag} && $op->{call} ne 'archive';
	push @args, "idempotency_key => '$op->{key}'" if defined $op->{key};
	push @args, "metadata => '$op->{metadata}'" if defined $op->{metadata};
	return 'credits_' . ($sql_name{ $op->{call} } // $op->{call}) . '(' . join(', ', @args) . ')';
}

sub batch_sql
{
	my ($op, $prefix) = @_;
	my $array = sub {
		my ($type, $code) = @_;
		return 'ARRAY[' . join(', ', map { $code->($_) // 'NULL' } @{ $op->{items} }) . "]::$type\[]";
	};

	return sprintf 'credits_deduct_many(user_ids => %s, amounts => %s, reasons => %s, '
	  . 'idempotency_keys => %s, all_or_nothing => %s)',
	  $array->('text', sub { "'$prefix$_[0]{user}'" }),
	  $array->('bigint', sub { $_[0]{amount} }),
	  $array->('text', sub { "'t$_[0]{tag}'" }),
	  $array->('text', sub { defined $_[0]{key} ? "'$_[0]{key}'" : undef }),
	  $op->{all} ? 'true' : 'false';
}

# Users that an operation is about.
sub users_of
{
	my ($op, $payments) = @_;

	return uniq(map { users_of($_, $payments) } @{ $op->{ops} }) if $op->{call} eq 'txn';
	return uniq(map { $_->{user} } @{ $op->{items} }) if $op->{call} eq 'deduct_many';
	return grep { defined } $payments->{ $op->{ref} // '' }{user} if $op->{call} =~ /^(revoke|reinstate)$/;
	return @$op{qw(user to)} if $op->{call} eq 'transfer';
	return users() if $is_run{ $op->{call} };
	return grep { defined } $op->{user};
}

sub op_sql
{
	my ($op, $prefix, $in_txn, $i) = @_;

	return "SELECT sweep_to('" . iso($op->{to}) . "+00') \\g /dev/null\n" if $op->{call} eq 'clock' && $op->{swept};
	return "SET credits.clock = '" . iso($op->{to}) . "+00';\n" if $op->{call} eq 'clock';
	return '' if $op->{call} eq 'look';
	if ($op->{call} eq 'txn')
	{
		return join '', "BEGIN;\n", (map { op_sql($_, $prefix, 1, 0) } @{ $op->{ops} }),
		  $op->{commit} ? "COMMIT;\n" : "ROLLBACK;\n";
	}
	if ($op->{call} eq 'sweep')
	{
		my $verb = $op->{sql} =~ /run/ ? 'CALL' : 'SELECT';

		return "\\o /dev/null\n$verb $op->{sql};\n\\o\n\\echo = :SQLSTATE\n";
	}
	my $call = call_sql($op, $prefix);
	my $first = $op->{call} eq 'erase_user' ? "SELECT keep_tags('$prefix$op->{user}') \\g /dev/null\n" : '';
	if ($is_run{ $op->{call} })
	{
		my $tag = "$prefix" . "t$op->{tag}";

		return "SELECT try_run('$tag', \$c\$$call\$c\$);\n" if $in_txn;
		return "\\set report {}\nCALL $call \\gset\n\\echo :report\n\\echo = :SQLSTATE\n"
		  . "SELECT keep_run('$tag', :'report');\n";
	}

	# Both ways to see a refusal: without a subtransaction, and with one, where
	# its DETAIL can be read.
	return "${first}SELECT try(\$c\$$call\$c\$);\n" if $in_txn || $i % 2;
	$call = "x FROM $call x" if $op->{call} eq 'deduct_many';
	return "${first}SELECT $call;\n\\echo = :SQLSTATE\n";
}

sub settings_sql
{
	my ($world) = @_;

	return sprintf "SET credits.key_retention = '%dmin';\nSET credits.chargeback_days = %d;\n"
	  . "SET credits.refuse_recent_transfers = %d;\n",
	  ($world->{retention} // 90 * DAY) / MINUTE, @$world{qw(chargeback_days refuse_recent)};
}

# A world as a script.  Every step: "# number", the answers, what accounts look
# like then.  At the end all that is due is written, and the histories are shown.
sub world_script
{
	my ($world, $prefix) = @_;
	my $default_plan = defined $world->{default_plan} ? "$prefix$world->{default_plan}" : '';
	my $sql = "SET credits.default_plan = '$default_plan';\n" . settings_sql($world);
	my @calls = map { $_->{call} eq 'txn' ? @{ $_->{ops} } : $_ } @{ $world->{ops} };
	my %payments = map { $_->{ref} => $_ } grep { $_->{call} =~ /^(purchase|grant)$/ && defined $_->{ref} } reverse @calls;

	for my $i (0 .. $#{ $world->{ops} })
	{
		my $op = $world->{ops}[$i];
		my @look = uniq(users_of($op, \%payments), $op->{look} // ());

		$sql .= "\\echo '#' $i\n" . op_sql($op, $prefix, 0, $i);
		$sql .= join '', map { "SELECT look('$prefix$_');\n" } @look;
	}
	return $sql . qq(
\\echo '#' end
\\o /dev/null
SELECT credits_reset_due(100000);
\\o
SELECT user_id, seq, kind, amount, monthly_delta, granted_delta, purchased_delta, monthly, granted, purchased,
       held_monthly, held_granted, held_purchased, owed_monthly, owed_purchased, expired, forfeited, skipped,
       us(effective_at), us(created_at), period, us(next_reset_at), us(ends_at), ref_seq, payment_ref,
       idempotency_key, spender, coalesce(reason, tag), reason IS NULL AND reason_digest IS NOT NULL, metadata,
       allocations, plan_version, status, plan, scheduled_plan,
       us(cycle_anchor), time_zone, overdraft_limit, period_granted, us(period_start), period_share, cycle,
       last_left, last_limit, last_undone::integer, low_threshold, crossed
  FROM whole_history h LEFT JOIN tags t USING (user_id, seq)
 WHERE starts_with(user_id, '$prefix') ORDER BY user_id, seq;
SELECT '+', concat_ws(' ', action, coalesce(tag, subject), CASE action WHEN 'erase_user' THEN after ->> 'rows' END)
  FROM credit_audit_log LEFT JOIN runs ON run_id::text = subject
 WHERE starts_with(coalesce(tag, subject), '$prefix') ORDER BY seq;
SELECT '*', 'payment', user_id, seq, payment_ref, amount, revoked, us(paid_at), granted, reported
  FROM credit_payment WHERE starts_with(user_id, '$prefix');
SELECT '*', 'grant', user_id, seq, amount, remaining, us(ends_at), paid, expired, elsewhere
  FROM credit_grant WHERE starts_with(user_id, '$prefix');
SELECT '*', 'hold', user_id, seq, state, amount, monthly, purchased, us(ends_at), period, given_back, allocations
  FROM credit_hold WHERE starts_with(user_id, '$prefix');
SELECT '-', user_id, count(*) FROM credit_history_archive WHERE starts_with(user_id, '$prefix') GROUP BY user_id;
SELECT '!', bad_user_id, bad_seq, problem FROM credit_account, credits_verify_account(user_id)
 WHERE starts_with(user_id, '$prefix');
);
}

# What is left, for a person to run.
sub world_sql
{
	my ($world) = @_;
	my $sql = setup_database() . settings_sql($world);

	$sql .= "SET credits.default_plan = '$world->{default_plan}';\n" if defined $world->{default_plan};
	for my $i (0 .. $#{ $world->{ops} })
	{
		my $op = $world->{ops}[$i];

		$sql .= op_sql($op, '', 0, 0) =~ s/^\\.*\n//mgr;
		$sql .= "SELECT look('$_');\n" for users_of($op, {});
	}
	return $sql . "SELECT credits_reset_due(100000);\nSELECT * FROM whole_history ORDER BY user_id, seq;\n";
}

1;
