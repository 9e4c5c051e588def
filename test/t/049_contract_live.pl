# Balances, quotes, levels, events, usage and lists, written from docs/reference.md,
# docs/operations.md and docs/app-server.md alone: what a user would expect, with odd
# arguments, a clock that jumps, time zones that change their clocks, savepoints and roles.
# All events are wanted from the beginning, and at the end each must be that of a row.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Test::More;

my $node = new_server('live', conf => "fsync = off\n");
my $db = 'postgres';

$node->safe_psql($db, q(ALTER DATABASE postgres SET credits.events =
	'low, empty, recovered, purchase, revoke, reinstate, refund, reset, hold_expired, plan_change, freeze, unfreeze, close, grant_ending, hold_ending'));
my $s = session($node, $db);

sub at { return $s->do("SET credits.clock = '$_[0]'"); }
sub sql { return $s->do($_[0]); }

sub is_sql
{
	my ($sql, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(sql($sql), $expected, $test);
}

# What a call answers, as "field value ..."; '-' where the field is not there.
sub is_fields
{
	my ($call, $fields, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $got = json(sql("SELECT $call"));

	return is(join(' ', map { exists $got->{$_} ? $got->{$_} // 'null' : '-' } split / /, $fields), $expected, $test);
}

sub fails
{
	my ($sql, $state, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return $s->is_state($sql, $state, $test // $sql);
}

at('2026-01-15 12:00Z');
sql(q(SELECT credits_define_plan('free', 100, low_balance_threshold => 30);
SELECT credits_define_plan('carry', 100, rollover_limit => 50);
SELECT credits_define_plan('big', 1000, low_balance_threshold => 30);
SELECT credits_define_plan('small', 20, low_balance_threshold => 30);
SELECT credits_define_plan('none', 0, low_balance_threshold => 30);
SELECT credits_define_plan('day', 10, 'daily')));

# --- Balances: as_of, valid_until, seq.

sql("SELECT credits_open_account('ann', 'free')");
is_fields("credits_balance('ann')", 'available seq as_of valid_until', '100 1 2026-01-15T12:00:00Z 2026-02-01T00:00:00Z', 'a balance is valid until the reset');
at('2026-01-31 23:59:59.999999Z');
is_fields("credits_balance('ann')", 'period seq as_of valid_until', '1 1 2026-01-31T23:59:59.999999Z 2026-02-01T00:00:00Z', 'up to the last microsecond');
at('2026-02-01 00:00Z');
is_fields("credits_balance('ann')", 'period seq as_of valid_until', '2 1 2026-02-01T00:00:00Z 2026-03-01T00:00:00Z', 'and from that instant on there is another one, with the same seq');
at('2026-01-15 12:00Z');

sql("SELECT credits_open_account('bob', 'free'); SELECT credits_grant('bob', 5, '2026-01-20 00:00Z'); SELECT credits_hold('bob', 7, '1 hour')");
is_fields("credits_balance('bob')", 'available held valid_until', '98 7 2026-01-15T13:00:00Z', 'until the end of a hold');
at('2026-01-15 13:00Z');
is_fields("credits_balance('bob')", 'available held seq valid_until', '105 0 3 2026-01-20T00:00:00Z', 'then until the end of a grant');
at('2026-01-20 00:00Z');
is_fields("credits_balance('bob')", 'available granted seq valid_until', '100 0 3 2026-02-01T00:00:00Z', 'then until the reset');
is_sql("SELECT count(*) FROM credit_history WHERE user_id = 'bob'", 3, 'reading wrote nothing');
at('2026-01-15 12:00Z');

sql("SELECT credits_add_purchased('pat', 5, 'pay_pat')");
is_fields("credits_balance('pat')", 'available plan next_reset_at valid_until low', '5 null null null 0', 'without a plan a balance is valid for ever');
sql("SELECT credits_open_account('cid', 'free'); SELECT credits_set_plan('cid', NULL)");
is_fields("credits_balance('cid')", 'available period next_reset_at valid_until', '0 1 2026-02-01T00:00:00Z null', 'the end of a period without credits does not count');
at('2026-03-05 00:00Z');
is_fields("credits_balance('cid')", 'available period seq next_reset_at valid_until', '0 3 2 2026-04-01T00:00:00Z null', 'although the period changes');
at('2026-01-15 12:00Z');

# A hold that was released can make valid_until early; the end of a silent period can make it later.
sql(q(SELECT credits_define_plan('week', 10, 'weekly'); SELECT credits_open_account('sil', 'week'); SELECT credits_add_purchased('sil', 60, 'pay_sil'); SELECT credits_set_plan('sil', NULL);
SELECT credits_hold('sil', 10, '18 days'); SELECT credits_hold('sil', 40, '20 days')));
at('2026-01-23 12:00Z');
sql("SELECT credits_release('sil', 4)");
is_fields("credits_balance('sil')", 'available held seq next_reset_at valid_until', '20 40 6 2026-01-29T12:00:00Z 2026-02-02T12:00:00Z', 'the end of a hold that was released');
at('2026-01-30 12:00Z');
is_fields("credits_balance('sil')", 'available held seq next_reset_at valid_until', '20 40 6 2026-02-05T12:00:00Z 2026-02-04T12:00:00Z', 'after a silent end of a period, that of the other one');
is_sql("SELECT valid_until BETWEEN '2026-02-02 12:00Z' AND '2026-02-04 12:00Z' FROM credit_balance WHERE user_id = 'sil'", 't', 'the view does not say later');
at('2026-01-15 12:00Z');

is_sql(q(SELECT count(*) FROM credits_balances('{}')), 0, 'nobody was asked for');
is_sql(q(SELECT string_agg(b ->> 'user_id' || ' ' || coalesce(b ->> 'available', b ->> 'error'), ', ') FROM credits_balances('{cid,ann,nobody,ann,bob}') b),
	'cid 0, ann 100, nobody account_not_found, ann 100, bob 98', 'balances come in the order of the users, also twice');
is_sql(q(SELECT b FROM credits_balances('{nobody}') b), '{"error": "account_not_found", "user_id": "nobody"}', 'an unknown user has two fields');
is_sql(q(SELECT count(*) FROM credits_balances('{ann,bob,cid,pat}') b WHERE b IS DISTINCT FROM credits_balance(b ->> 'user_id')), 0, 'each is what credits_balance answers');
fails('SELECT credits_balances(NULL)', '22004');
fails(q(SELECT credits_balances('{ann,NULL}')), '22004');
fails(q(SELECT credits_balances('{ann,""}')), '22023');
fails(q(SELECT credits_balances(ARRAY[repeat('x', 256)])), '22023');
is_sql(q(SELECT count(*) FROM credits_balances((SELECT array_agg('u' || n) FROM generate_series(1, 10000) n))), 10000, '10,000 users');
fails(q(SELECT credits_balances((SELECT array_agg('u' || n) FROM generate_series(1, 10001) n))), '22023', 'not one more');

# A transaction that reads its own changes, and undoes them.
sql('BEGIN');
sql("SELECT credits_deduct('ann', 10)");
is_fields("credits_balance('ann')", 'available seq', '90 2', 'a transaction sees its own row');
sql("SAVEPOINT a; SELECT credits_deduct('ann', 10)");
is_fields("credits_balance('ann')", 'available seq', '80 3', 'also in a savepoint');
sql('ROLLBACK TO a');
is_fields("credits_balance('ann')", 'available seq', '90 2', 'which it can undo');
is_fields("credits_quote('ann', 90)", 'ok available seq crossed', '1 0 2 empty', 'a quote knows that, too');
sql('ROLLBACK');
is_fields("credits_balance('ann')", 'available seq', '100 1', 'nothing is left');

# An account whose time is ahead of the clock.
at('2026-01-15 20:00Z');
sql("SELECT credits_open_account('eve', 'day')");
at('2026-01-15 12:00Z');
is_fields("credits_balance('eve')", 'available as_of valid_until', '10 2026-01-15T20:00:00Z 2026-01-16T00:00:00Z', 'as_of does not go back behind the newest row');
is_fields("credits_deduct('eve', 1)", 'created_at effective_at', '2026-01-15T12:00:00Z 2026-01-15T20:00:00Z', 'nor does effective_at');

sql("SET credits.default_plan = 'free'");
is_fields("credits_balance('newcomer')", 'available seq plan valid_until', '100 0 free 2026-02-01T00:00:00Z', 'an unknown user has what opening would give');
is_fields("credits_quote('newcomer', 71)", 'ok available seq crossed low', '1 29 0 low 1', 'a quote for the same');
is_sql("SELECT count(*) FROM credits_usage('newcomer')", 30, 'who has used nothing, on each day');
is_sql("SELECT history_rows, spent, delta FROM credits_usage('newcomer', 'all')", '0|0|0', 'and in all');
is_sql("SELECT count(*) FROM credits_history('newcomer')", 0, 'and has no rows');
sql("SET credits.default_plan = 'missing'");
fails("SELECT credits_balance('newcomer')", 'UC009');
fails("SELECT credits_quote('newcomer', 1)", 'UC009');
fails("SELECT credits_balances('{newcomer}')", 'UC009');
sql('RESET credits.default_plan');
fails("SELECT credits_balance('newcomer')", 'UC002', 'nothing of it was written');

# --- Levels.

my $levels = 0;

# What a call's receipt has in crossed.
sub crosses
{
	my ($call, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(json(sql("SELECT $call"))->{crossed} // '-', $expected, $test);
}

crosses("credits_open_account('lea', 'free')", '-', 'an opening crosses nothing');
crosses("credits_deduct('lea', 70)", '-', 'exactly the threshold is enough');
is_fields("credits_balance('lea')", 'available low', '30 0', 'so it is not low');
crosses("credits_deduct('lea', 1)", 'low', 'one less is low');
is_fields("credits_balance('lea')", 'available low', '29 1', 'and the balance says so');
is_sql("SELECT level, flags FROM credit_account WHERE user_id = 'lea'", 'low|1', 'and the account');
crosses("credits_deduct('lea', 1)", '-', 'once');
crosses("credits_hold('lea', 28, '1 hour')", 'empty', 'a hold of all that is left empties the account');
is_sql("SELECT level, flags FROM credit_account WHERE user_id = 'lea'", 'empty|3', 'which is low and empty');
crosses("credits_release('lea', 5)", '-', 'a release does not count');
is_sql("SELECT level, flags FROM credit_account WHERE user_id = 'lea'", 'empty|1', 'the level stays, and the flags are those of now');
crosses("credits_deduct('lea', 28)", '-', 'empty again, without credits added, says nothing');
crosses("credits_add_purchased('lea', 5, 'pay_lea')", '-', 'not enough lets nobody recover');
is_sql("SELECT level FROM credit_account WHERE user_id = 'lea'", 'low', 'but the account is not empty any more');
crosses("credits_deduct('lea', 5)", 'empty', 'so it can be empty again');
crosses("credits_add_purchased('lea', 30, 'pay_lea2')", 'recovered', 'exactly the threshold lets it recover');
crosses("credits_deduct('lea', 30)", 'empty', 'from enough to nothing is empty, and not low as well');
crosses("credits_refund('lea', 11, 29)", '-', 'a refund that is not enough');
crosses("credits_refund('lea', 11, 1)", 'recovered', 'a refund that is');
crosses("credits_adjust('lea', 'purchased', -1, 'why')", 'low', 'a correction downwards');
crosses("credits_adjust('lea', 'purchased', 1, 'why')", 'recovered', 'and upwards');
crosses("credits_set_low_threshold('lea', 31)", 'low', 'a higher threshold');
crosses("credits_set_low_threshold('lea', 30)", 'recovered', 'a lower one');
crosses("credits_set_low_threshold('lea', 9007199254740991)", 'low', 'the highest');
crosses("credits_set_low_threshold('lea', 0)", 'recovered', 'with 0 it is never low');
crosses("credits_deduct('lea', 29)", '-', 'really never');
crosses("credits_deduct('lea', 1)", 'empty', 'but it can be empty');
is_sql("SELECT level, flags FROM credit_account WHERE user_id = 'lea'", 'empty|2', 'and is not low then');
is_fields("credits_balance('lea')", 'available low', '0 0', 'the balance says the same');
crosses("credits_set_low_threshold('lea', NULL)", '-', "the plan's threshold again");
crosses("credits_grant('lea', 30, '2026-01-16 12:00Z')", 'recovered', 'a grant');
at('2026-01-16 12:00Z');
is_fields("credits_balance('lea')", 'available low seq', '0 1 23', 'whose end makes the account low at once');
is_fields("credits_freeze('lea')", 'crossed seq', '- 25', 'and says so when its row is written');
is_sql("SELECT kind, crossed FROM credit_history WHERE user_id = 'lea' AND seq = 24", 'grant_end|empty', 'in that row');
is_sql("SELECT level, flags FROM credit_account WHERE user_id = 'lea'", 'empty|11', 'low, empty and frozen');
crosses("credits_add_purchased('lea', 40, 'pay_lea3')", 'recovered', 'a purchase counts, although it is frozen');
crosses("credits_unfreeze('lea')", '-', 'an end of freezing does not');
crosses("credits_transfer('lea', 'pat', 11)", 'low', 'a transfer takes');
is_sql("SELECT crossed FROM credit_history WHERE user_id = 'pat' ORDER BY seq DESC LIMIT 1", '', 'and gives');
crosses("credits_set_plan('lea', 'big')", 'recovered', 'a larger plan');
crosses("credits_set_plan('lea', 'small')", 'low', 'a smaller one, which takes them back');
fails("SELECT credits_set_low_threshold('lea', -1)", '22023');
fails("SELECT credits_set_low_threshold('lea', 9007199254740992)", '22003');
fails("SELECT credits_set_low_threshold('nobody', 1)", 'UC002');
fails('SELECT credits_set_low_threshold(NULL, 1)', '22004');
fails("SELECT credits_set_low_threshold('lea')", '42883');
at('2026-01-15 12:00Z');

crosses("credits_open_account('zoe', 'none')", '-', 'an opening with nothing crosses nothing');
crosses("credits_grant('zoe', 29, '2026-02-10 00:00Z')", '-', 'too little for a new account');
crosses("credits_add_purchased('zoe', 1, 'pay_zoe')", 'recovered', 'what first makes it enough');
is_sql("SELECT string_agg(kind || ' ' || coalesce(crossed, '-'), ', ' ORDER BY seq) FROM credit_history WHERE user_id = 'pat'",
	'open -, purchase recovered, transfer_in -', 'the first purchase of an unknown user');
crosses("credits_set_overdraft('zoe', 10)", '-', 'an overdraft is no credit');
crosses("credits_deduct('zoe', 35)", 'empty', 'an overdraft that is used empties the account');
is_sql("SELECT flags FROM credit_account WHERE user_id = 'zoe'", '7', 'low, empty and owing');
crosses("credits_add_purchased('zoe', 5, 'pay_zoe2')", '-', 'what only pays a debt');
crosses("credits_add_purchased('zoe', 30, 'pay_zoe3')", 'recovered', 'and what goes beyond it');
crosses("credits_revoke_purchase('pay_zoe3')", 'empty', 'a chargeback');
crosses("credits_reinstate_purchase('pay_zoe3')", 'recovered', 'that was withdrawn');
crosses("credits_set_low_threshold('zoe', 50)", 'low', 'low again');
crosses("credits_close_account('zoe')", 'empty', 'closing empties');
is_fields("credits_balance('zoe')", 'status available', 'closed 0', 'closed');
fails("SELECT credits_close_account('zoe')", 'UC004');

# At a reset, on time and late, with a threshold that came and went in between.
for my $when ('early', 'late')
{
	at('2026-01-15 12:00Z');
	sql("SELECT credits_define_plan('hop $when', 100, low_balance_threshold => 30);
SELECT credits_define_plan('hop $when', low_balance_threshold => 200, monthly_credits => 100, effective_from => '2026-02-10Z');
SELECT credits_define_plan('hop $when', low_balance_threshold => 30, monthly_credits => 100, effective_from => '2026-03-10Z');
SELECT credits_open_account('hop $when', 'hop $when')");
	crosses("credits_deduct('hop $when', 80)", 'low', 'low before some resets');
	at('2026-02-15 12:00Z');
	sql('CALL credits_run_reset()') if $when eq 'early';
	is_fields("credits_balance('hop $when')", 'available low', '100 0', "a new version of the plan does not count before its reset ($when)");
	at('2026-03-15 12:00Z');
	sql('CALL credits_run_reset()') if $when eq 'early';
	is_fields("credits_balance('hop $when')", 'available low', '100 1', "and does from then on ($when)");
	at('2026-05-15 12:00Z');
	sql('CALL credits_run_reset()');
	is_sql("SELECT string_agg(coalesce(crossed, '-') || ' ' || effective_at::date, ', ' ORDER BY seq) FROM credit_history WHERE user_id = 'hop $when' AND crossed IS NOT NULL",
		'low 2026-01-15, recovered 2026-02-01, low 2026-03-01, recovered 2026-05-01', "what was crossed at resets ($when)");
}
at('2026-01-15 12:00Z');

# --- Quotes: what the deduction then does.

sql(q[
-- What differs between a quote and the deduction, which is undone.
CREATE FUNCTION differs(who text, wanted int8) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    q jsonb := credits_quote(who, wanted);
    before jsonb := credits_balance(who);
    r jsonb;
    b jsonb;
    state text;
    detail text;
    wrong text := '';
    f text;
BEGIN
    BEGIN
        r := credits_deduct(who, wanted);
        b := credits_balance(who);
        RAISE SQLSTATE 'XX999';
    EXCEPTION
        WHEN SQLSTATE 'XX999' THEN state := '00000';
        WHEN SQLSTATE 'UC001' OR SQLSTATE 'UC004' THEN
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
            state := SQLSTATE;
            r := detail::jsonb;
            b := before;
    END;
    IF (state = '00000') <> (q ->> 'ok')::bool THEN
        RETURN format('ok: %s %s', state, q);
    END IF;
    IF state <> '00000' AND (q ->> 'sqlstate' IS DISTINCT FROM state OR q -> 'grants' <> '[]' OR q ?| '{crossed}'
        OR (q ->> 'monthly_delta')::int8 <> 0 OR (q ->> 'granted_delta')::int8 <> 0 OR (q ->> 'purchased_delta')::int8 <> 0 OR (q ->> 'owed_delta')::int8 <> 0) THEN
        wrong := wrong || ' refusal';
    END IF;
    FOREACH f IN ARRAY '{error,user_id,required,amount,monthly_delta,granted_delta,purchased_delta,monthly,granted,purchased,available,held,owed,overdraft_limit,next_reset_at,status}'::text[] LOOP
        IF r ? f AND r -> f IS DISTINCT FROM q -> f THEN
            wrong := wrong || format(' %s: %s and %s', f, r -> f, q -> f);
        END IF;
    END LOOP;
    IF state = '00000' AND r -> 'crossed' IS DISTINCT FROM q -> 'crossed' THEN
        wrong := wrong || format(' crossed: %s and %s', r -> 'crossed', q -> 'crossed');
    END IF;
    FOREACH f IN ARRAY '{monthly,granted,purchased,available,held,owed,overdraft_limit,status,low,next_reset_at}'::text[] LOOP
        IF b -> f IS DISTINCT FROM q -> f THEN
            wrong := wrong || format(' balance %s: %s and %s', f, b -> f, q -> f);
        END IF;
    END LOOP;
    FOREACH f IN ARRAY '{seq,as_of,valid_until}'::text[] LOOP
        IF before -> f IS DISTINCT FROM q -> f THEN
            wrong := wrong || format(' before %s: %s and %s', f, before -> f, q -> f);
        END IF;
    END LOOP;
    IF state = '00000' AND (q ->> 'owed_delta')::int8 <> (b ->> 'owed')::int8 - (before ->> 'owed')::int8 THEN
        wrong := wrong || ' owed_delta';
    END IF;
    IF state = '00000' AND wanted <> (q ->> 'owed_delta')::int8 - (q ->> 'monthly_delta')::int8 - (q ->> 'granted_delta')::int8 - (q ->> 'purchased_delta')::int8 THEN
        wrong := wrong || ' parts';
    END IF;
    IF (SELECT coalesce(sum((g ->> 'credits')::int8), 0) FROM jsonb_array_elements(q -> 'grants') g) <> -(q ->> 'granted_delta')::int8 THEN
        wrong := wrong || ' grants';
    END IF;
    IF (q ->> 'shortfall' = '0') <> (state = '00000') AND state <> 'UC004' THEN
        wrong := wrong || ' shortfall';
    END IF;
    -- So many purchased credits are missing: with them it works, with one less it does not.
    IF state = 'UC001' AND (q ->> 'shortfall')::int8 < 1000000 THEN
        BEGIN
            IF (q ->> 'shortfall')::int8 > 1 THEN
                PERFORM credits_add_purchased(who, (q ->> 'shortfall')::int8 - 1, 'lacking ' || who);
            END IF;
            IF (credits_try_deduct(who, wanted) ->> 'ok')::bool THEN
                wrong := wrong || ' shortfall too high';
            END IF;
            PERFORM credits_add_purchased(who, 1, 'the last of ' || who);
            IF NOT (credits_try_deduct(who, wanted) ->> 'ok')::bool THEN
                wrong := wrong || ' shortfall too low';
            END IF;
            RAISE SQLSTATE 'XX999';
        EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
        END;
    END IF;
    RETURN wrong;
END $$
]);

sql(q(SELECT credits_open_account('q1', 'free'); SELECT credits_grant('q1', 5, '2026-01-16Z'); SELECT credits_grant('q1', 5, '2026-01-16Z'); SELECT credits_grant('q1', 7, '2026-03-01Z'); SELECT credits_add_purchased('q1', 40, 'pay_q1');
SELECT credits_hold('q1', 20, '1 day'); SELECT credits_set_overdraft('q1', 10);
SELECT credits_open_account('q2', 'free'); SELECT credits_add_purchased('q2', 50, 'pay_q2'); SELECT credits_deduct('q2', 150); SELECT credits_revoke_purchase('pay_q2'); SELECT credits_adjust('q2', 'monthly', 5, 'why');
SELECT credits_open_account('q3', 'carry'); SELECT credits_deduct('q3', 10); SELECT credits_freeze('q3');
SELECT credits_open_account('q4', 'free'); SELECT credits_close_account('q4');
SELECT credits_open_account('q5', 'small'); SELECT credits_grant('q5', 50, '2026-01-16Z'); SELECT credits_set_plan('q5', 'big', 'next_reset');
SELECT credits_open_account('q6', 'big'); SELECT credits_deduct('q6', 990); SELECT credits_set_plan('q6', NULL); SELECT credits_add_purchased('q6', 9007199254740000, 'pay_q6')));
for my $time ('2026-01-15 12:00Z', '2026-01-16 00:00Z', '2026-01-31 23:59:59.999999Z', '2026-02-01 00:00Z', '2026-06-15 00:00Z')
{
	at($time);
	is_sql(q(SELECT string_agg(format('%s %s: %s', who, wanted, differs), '; ') FROM (SELECT who, wanted, differs(who, wanted) FROM unnest('{q1,q2,q3,q4,q5,q6,lea,zoe,hop late,cid,pat}'::text[]) who,
		unnest('{1,5,6,20,21,29,30,70,71,80,100,117,121,157,158,147,148,150,151,9007199254740991}'::int8[]) wanted) x WHERE differs <> ''),
		'', "quotes are what deductions do at $time");
}
at('2026-01-15 12:00Z');
is_fields("credits_quote('q3', 500)", 'ok error sqlstate shortfall available', '0 account_frozen UC004 410 90', 'a frozen account lacks what it lacks');
is_fields("credits_quote('q3', 1)", 'ok error sqlstate shortfall', '0 account_frozen UC004 0', 'or nothing');
is_fields("credits_quote('q2', 6)", 'ok owed shortfall required', '0 50 51 6', 'what is owed has to be paid first');
for my $amount (0, -1, '-9223372036854775808')
{
	fails("SELECT credits_quote('q1', $amount)", '22023');
}
fails("SELECT credits_quote('q1', $_)", '22003') for '9007199254740992', '9223372036854775807';
fails("SELECT credits_quote('q1', NULL)", '22004');
fails('SELECT credits_quote(NULL, 1)', '22004');
fails("SELECT credits_quote('', 1)", '22023');
fails("SELECT credits_quote('nobody', 1)", 'UC002');
sql('BEGIN READ ONLY');
is_fields("credits_quote('q1', 1)", 'ok', '1', 'a quote in a read-only transaction');
sql('COMMIT');

# --- The view is the balance.

for my $time ('2026-01-15 12:00Z', '2026-01-16 12:00Z', '2026-02-01 00:00Z', '2026-06-15 00:00Z')
{
	at($time);
	is_sql(q(
SELECT string_agg(v.user_id, ', ') FROM credit_balance v, credits_balance(v.user_id) b
 WHERE (v.monthly, v.granted, v.purchased, v.available, v.held, v.owed, v.plan, v.status, v.low, v.seq, v.owed_monthly)
       IS DISTINCT FROM ((b ->> 'monthly')::int8, (b ->> 'granted')::int8, (b ->> 'purchased')::int8, (b ->> 'available')::int8, (b ->> 'held')::int8, (b ->> 'owed')::int8,
       b ->> 'plan', b ->> 'status', (b ->> 'low')::bool, (b ->> 'seq')::int8, (b ->> 'owed_monthly')::int8)
    OR (v.period_start, v.next_reset_at, v.as_of, v.valid_until) IS DISTINCT FROM
       ((b ->> 'period_start')::timestamptz, (b ->> 'next_reset_at')::timestamptz, (b ->> 'as_of')::timestamptz, (b ->> 'valid_until')::timestamptz)), '', "credit_balance is credits_balance at $time");
	is_sql('SELECT count(*) FROM credit_balance WHERE valid_until <= as_of', 0, 'valid_until is later than as_of');
}

# --- Usage.

at('2026-11-05 00:00Z');
sql("SELECT credits_open_account('$_->[0]', 'big', NULL, '$_->[1]')") for [ 'ber', 'Europe/Berlin' ], [ 'how', 'Australia/Lord_Howe' ], [ 'kat', 'Asia/Kathmandu' ];
is_sql("SELECT count(*), min(name), max(name), min(starts_at), sum(history_rows) FROM credits_usage('ber')",
	'30|2026-10-07|2026-11-05|2026-10-06 22:00:00+00|1', 'by default 30 days in the zone of the account');
is_sql("SELECT count(*), min(name), max(name) FROM credits_usage('kat', 'hour')", '24|2026-11-04 06:00|2026-11-05 05:00', 'or 24 hours, also where they begin at a quarter');
sub hours { return "credits_usage('ber', 'hour', '$_[0]', '$_[1]', '$_[2]')"; }
is_sql('SELECT count(*), count(DISTINCT name) FROM ' . hours('2026-03-29 00:00+01', '2026-03-30 00:00+02', 'Europe/Berlin'), '23|23', 'a day of 23 hours');
is_sql('SELECT count(*), count(DISTINCT name) FROM ' . hours('2026-10-25 00:00+02', '2026-10-26 00:00+01', 'Europe/Berlin'), '25|24', 'a day of 25 hours');
is_sql(q(SELECT string_agg(name || ' ' || starts_at, ', ' ORDER BY starts_at) FROM ) . hours('2026-10-24 23:30Z', '2026-10-25 02:30Z', 'Europe/Berlin'),
	'2026-10-25 01:00 2026-10-24 23:00:00+00, 2026-10-25 02:00 2026-10-25 00:00:00+00, 2026-10-25 02:00 2026-10-25 01:00:00+00, 2026-10-25 03:00 2026-10-25 02:00:00+00', 'the hour that comes twice has two rows');
is_sql(q(SELECT string_agg(name, ', ' ORDER BY starts_at) FROM ) . hours('2026-03-29 00:00Z', '2026-03-29 02:30Z', 'Europe/Berlin'),
	'2026-03-29 01:00, 2026-03-29 03:00, 2026-03-29 04:00', 'the hour that there is not has none');

# Groups follow each other without a gap and without overlapping, whatever the zone does.
for my $case (
	[ 'day', 'America/Santiago', '2026-09-01Z', '2026-09-10Z', '10' ],	# 6 September begins at 01:00
	[ 'day', 'Pacific/Apia', '2011-12-27 00:00-10', '2012-01-03 00:00+14', '6' ],	# there was no 30 December
	[ 'day', 'Australia/Lord_Howe', '2026-03-30 00:00+11', '2026-04-10 00:00+10:30', '11' ],
	[ 'hour', 'Australia/Lord_Howe', '2026-04-04 20:00+11', '2026-04-05 06:00+10:30', '' ],	# half an hour comes twice
	[ 'hour', 'Australia/Lord_Howe', '2026-10-03 20:00+10:30', '2026-10-04 06:00+11', '' ],
	[ 'day', 'Asia/Kathmandu', '1985-12-28Z', '1986-01-03Z', '7' ],	# 15 minutes were left out at midnight
	[ 'day', 'Africa/Cairo', '2026-04-22Z', '2026-04-27Z', '6' ])	# 24 April begins at 01:00
{
	my ($by, $zone, $from, $to, $groups) = @$case;
	my $usage = "credits_usage('ber', '$by', '$from', '$to', '$zone')";

	is_sql("SELECT count(*) FILTER (WHERE starts_at IS NULL OR starts_at <= before), count(*) FILTER (WHERE name = named AND '$by' = 'day'),
       count(*) FILTER (WHERE n > 1 AND left(name, 16) <> to_char(starts_at AT TIME ZONE '$zone', CASE '$by' WHEN 'day' THEN 'YYYY-MM-DD' ELSE 'YYYY-MM-DD HH24:00' END)),
       count(*) FILTER (WHERE '$by' = 'day' AND to_char((starts_at - interval '1 microsecond') AT TIME ZONE '$zone', 'YYYY-MM-DD') >= name)
  FROM (SELECT *, lag(starts_at) OVER w AS before, lag(name) OVER w AS named FROM $usage WITH ORDINALITY AS u(starts_at, name, a, b, c, d, e, f, g, h, i, j, n) WINDOW w AS (ORDER BY n)) x",
		'0|0|0|0', "$by of $zone from $from: in order, each at its start");
	is_sql("SELECT count(*) FROM $usage", $groups, "$by of $zone from $from: all of them") if $groups ne '';
}

# What a user did in a year, at times around the changes of clocks, is counted once however it is asked for.
for my $time ('2026-03-28 22:59:59.999999Z', '2026-03-28 23:00Z', '2026-03-29 00:59Z', '2026-03-29 01:00Z', '2026-04-04 14:45Z', '2026-04-04 15:15Z', '2026-04-04 15:30Z', '2026-04-04 15:59:59.999999Z', '2026-10-25 00:30Z', '2026-10-25 01:30Z', '2026-12-31 23:59:59.999999Z')
{
	at($time);
	sql("SELECT credits_open_account('year', 'big', NULL, 'Europe/Berlin')");
	sql("SELECT credits_deduct('year', 7, 'a ' || extract(month FROM '$time'::timestamptz), spender => 'tom'); SELECT credits_grant('year', 3, '2027-06-01Z', 'gift'); SELECT credits_add_purchased('year', 2, 'pay $time', 'shop');
SELECT credits_grant('year', 4, '2027-06-01Z', payment_ref => 'pack $time'); SELECT credits_hold('year', 5, '1 hour', 'held')");
	sql("SELECT credits_capture('year', max(seq), 4, reason => 'captured', spender => 'tim') FROM credit_hold WHERE user_id = 'year'");
	sql("SELECT credits_refund('year', max(seq), 2, 'sorry') FROM credit_history WHERE user_id = 'year' AND kind = 'deduct'");
}
at('2027-01-01 00:00Z');
my $sums = 'sum(history_rows), sum(operations), sum(spent), sum(monthly_spent), sum(granted_spent), sum(purchased_spent), sum(refunded), sum(purchased), sum(granted), sum(delta)';
my ($from, $to) = ('2026-01-01Z', '2027-01-01Z');
my $all = sql("SELECT $sums FROM credits_usage('year', 'all', '$from', '$to')");
like($all, qr/^\d+\|22\|121\|\d+\|\d+\|\d+\|22\|/, 'all of it: 11 deductions of 7, as many captures of 4, refunds of 2');
is_sql("SELECT monthly_spent + granted_spent + purchased_spent = spent FROM credits_usage('year', 'all', '$from', '$to')", 't', 'the parts are the whole');
is_sql("SELECT delta = (SELECT sum(delta) FROM credits_history('year', page_size => 1000)) FROM credits_usage('year', 'all', '$from', '$to')", 't', 'delta is that of the history');
is_sql("SELECT sum(delta) = (SELECT monthly + granted + purchased FROM credit_account WHERE user_id = 'year') FROM credits_history('year', page_size => 1000)", 't', 'and adds up to what is there');
for my $by ('kind', 'reason', 'spender', "day', '$from', '$to', 'Europe/Berlin", "day', '$from', '$to', 'Australia/Lord_Howe", "day', '$from', '$to', 'America/Santiago", "hour', '$from', '$to', 'Australia/Lord_Howe", "hour', '$from', '$to', 'Europe/Berlin")
{
	my $arguments = $by =~ /,/ ? $by : "$by', '$from', '$to";
	is_sql("SELECT $sums FROM credits_usage('year', '$arguments')", $all, "the same by $by");
}
is_sql("SELECT $sums FROM credits_total_usage('user', '$from', '$to') WHERE name = 'year'", $all, 'the same in the totals by user');
is_sql("SELECT string_agg(u.name, ',') FROM credits_total_usage('day', '$from', '$to', 'Asia/Tokyo') u,
	(SELECT starts_at, count(*) c FROM (SELECT date_trunc('day', effective_at AT TIME ZONE 'Asia/Tokyo') AT TIME ZONE 'Asia/Tokyo' AS starts_at FROM credit_history WHERE effective_at >= '$from' AND effective_at < '$to') x GROUP BY 1) h
	WHERE h.starts_at = u.starts_at AND h.c <> u.history_rows", '', 'all rows of all users, by day');
is_sql("SELECT sum(history_rows) = (SELECT count(*) FROM credit_history WHERE effective_at >= '$from' AND effective_at < '$to') FROM credits_total_usage('all', '$from', '$to')", 't', 'and in all');
is_sql("SELECT name, operations, spent, refunded FROM credits_usage('year', 'spender', '$from', '$to') WHERE name = 'tom'", 'tom|11|77|22', "a refund belongs to the spender of what was refunded");
is_sql("SELECT string_agg(name || ' ' || refunded, ', ' ORDER BY name) FROM credits_usage('year', 'reason', '$from', '$to') WHERE refunded > 0", 'a 10 4, a 12 2, a 3 8, a 4 8', 'and to its reason');
is_sql("SELECT name FROM credits_usage('year', 'reason', '$from', '$to') LIMIT 1", 'captured', 'who spent most is first');
is_sql("SELECT spent, monthly_spent, history_rows FROM credits_usage('year', 'kind', '$from', '$to') WHERE name = 'capture'", '44|44|11', 'by kind');
is_sql(q(SELECT count(*) FROM (SELECT starts_at::date, operations, spent, refunded, purchased, granted FROM credits_usage('year', 'day', '2026-01-01Z', '2027-01-01Z', 'UTC') WHERE operations + spent + refunded + purchased + granted > 0
  EXCEPT SELECT day, sum(operations)::int8, sum(spent)::int8, sum(refunded)::int8, sum(purchased)::int8, sum(granted)::int8 FROM credit_usage_daily WHERE user_id = 'year' GROUP BY day) x), 0, 'credit_usage_daily says the same');
is_sql("SELECT count(*), sum(history_rows) FROM credits_usage('year', 'day', '2026-03-29 00:00Z', '2026-03-29 00:59:00Z', 'UTC')", '1|0', 'from_time counts and to_time does not');
is_sql("SELECT count(*), sum(operations) FROM credits_usage('year', 'day', '2026-03-29 00:59Z', '2026-03-29 00:59:00.000001Z', 'UTC')", '1|2', 'to the microsecond');
is_sql("SELECT count(*) FROM credits_usage('year', 'day', '2000-01-01Z', '2027-05-19Z', 'UTC')", 10000, '10000 days');
for my $arguments ("'year', 'day', '2000-01-01Z', '2027-05-19 00:00:00.000001Z', 'UTC'", "'year', 'hour', '2000-01-01Z', '2027-01-01Z'", "'year', 'week'", "'year', ''", "'year', 'user'", "'year', 'day', NULL, NULL, 'Mars/Phobos'", "'year', 'day', NULL, NULL, 'localtime'", "'year', 'day', NULL, NULL, ''", "''")
{
	fails("SELECT credits_usage($arguments)", '22023');
}
fails('SELECT credits_usage(NULL)', '22004');
fails("SELECT credits_usage('nobody')", 'UC002');
fails("SELECT credits_total_usage('user', top => $_)", '22023') for -1, 0, 100001;
is_sql("SELECT count(*) FROM credits_total_usage('user', '$from', '$to', top => 3)", 3, 'the top 3');
is_sql("SELECT count(*) FROM credits_usage('ann', 'day', '2026-05-02Z', '2026-05-12Z') WHERE (history_rows, operations, spent, delta) = (0, 0, 0, 0)", 10, 'days on which nothing happened');

# Rows of a clock that ran ahead count when it was right again.
at('2026-06-10 12:00Z');
sql("SELECT credits_open_account('rep', 'free'); SELECT credits_deduct('rep', 5)");
at('2026-01-20 12:00Z');
sql("SELECT credits_repair_clock('rep'); SELECT credits_deduct('rep', 2)");
is_sql("SELECT history_rows, spent FROM credits_usage('rep', 'all', '2026-01-20Z', '2026-01-21Z')", '4|7', 'rows of a clock that ran ahead count when it was right again');
is_sql("SELECT history_rows, spent FROM credits_usage('rep', 'all', '2026-06-01Z', '2026-07-01Z')", '0|0', 'and not at their own time');

# A refund that comes too late gives nothing back, and counts as refunded.
sql("SELECT credits_open_account('fo', 'free'); SELECT credits_deduct('fo', 50)");
at('2026-02-20 12:00Z');
is_fields("credits_refund('fo', 2, 20)", 'monthly_delta forfeited crossed', '0 20 -', 'a refund that comes too late');
is_sql("SELECT refunded FROM credits_usage('fo', 'all')", 20, 'counts as refunded');
is_sql("SELECT refunded FROM credit_usage_daily WHERE user_id = 'fo' AND refunded > 0", 20, 'also by day');

# The history of each user: filters, and delta.
is_sql("SELECT count(*) FROM credits_history('year', kinds => '{}')", 0, 'no kinds, no rows');
is_sql("SELECT string_agg(kind, ',') FROM credits_history('year', kinds => '{deduct,capture}', page_size => 3)", 'capture,deduct,capture', 'some kinds, a page of 3');
is_sql("SELECT seq, kind FROM credits_history('year', reference => 'pay 2026-03-29 00:59Z')", sql("SELECT seq, kind FROM credit_history WHERE payment_ref = 'pay 2026-03-29 00:59Z'"), 'a payment');
is_sql("SELECT string_agg(kind, ',') FROM credits_history('fo', ref_seq => 2)", 'refund', 'what was done about a row');
is_sql("SELECT count(*) FROM credits_history('year', from_time => '2026-03-29 00:59Z', to_time => '2026-03-29 01:00Z')", sql("SELECT count(*) FROM credit_history WHERE user_id = 'year' AND effective_at = '2026-03-29 00:59Z'"), 'from one time, and before the other');
fails("SELECT credits_history('year', $_)", '22023') for "kinds => '{nonsense}'", 'page_size => 0', 'page_size => 1001';
is_sql(q(SELECT string_agg(a.user_id || ' ' || h.seq, ', ') FROM credit_account a, LATERAL (SELECT seq, delta, available, available - coalesce(lag(available) OVER (ORDER BY seq), 0) AS change FROM credits_history(a.user_id, page_size => 1000)) h
 WHERE h.delta <> h.change), '', 'delta is what a row did to available');

# Why each user has what it has, at several times; and how long it has that.
sql(q[
CREATE FUNCTION unexplained(who text) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(format('%s %s: %s', who, bucket, e -> bucket), ', ') FROM (SELECT credits_explain(who) AS e, credits_balance(who) AS b OFFSET 0) x, unnest('{monthly,granted,purchased}'::text[]) bucket
   WHERE (SELECT coalesce(sum(value::int8), 0) FROM jsonb_each_text(e -> bucket -> 'came_from')) - (SELECT coalesce(sum(value::int8), 0) FROM jsonb_each_text(e -> bucket -> 'taken_by'))
         <> (e -> bucket ->> 'balance')::int8 + (e -> bucket ->> 'held')::int8 - coalesce((e -> bucket ->> 'owed')::int8, 0)
      OR e -> bucket -> 'balance' <> b -> bucket $$;
CREATE FUNCTION credits_of(who text) RETURNS text LANGUAGE sql AS $$
  SELECT (credits_balance(who) - '{as_of,valid_until,period,period_start,next_reset_at}'::text[])::text $$;
-- A user whose credits change before valid_until.
CREATE FUNCTION too_late(who text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    clock text := current_setting('credits.clock');
    until timestamptz := credits_balance(who) ->> 'valid_until';
    was text := credits_of(who);
    is_now text;
BEGIN
    PERFORM set_config('credits.clock', coalesce(until - interval '1 microsecond', clock::timestamptz + interval '3 years')::text, true);
    is_now := credits_of(who);
    PERFORM set_config('credits.clock', clock, true);
    RETURN CASE WHEN was <> is_now THEN format('%s until %s: %s and %s', who, until, was, is_now) END;
END $$]);
for my $time ('2026-01-15 12:00Z', '2026-01-31 12:00Z', '2026-02-01 00:00Z', '2026-06-15 00:00Z', '2027-01-01 00:00Z')
{
	at($time);
	is_sql('SELECT string_agg(unexplained(user_id), $$; $$) FROM credit_account', '', "each balance is explained at $time");
	is_sql('SELECT string_agg(too_late(user_id), $$; $$) FROM credit_account', '', "no balance holds shorter than it says at $time");
}

# --- What the end user may ask.

sql('CREATE ROLE browser; SELECT credits_grant_role($$browser$$, $$end_user$$); SET ROLE browser');
is_sql('SELECT credits_my_balance() IS NULL, credits_my_explain() IS NULL', 't|t', 'nobody has no balance');
is_sql('SELECT (SELECT count(*) FROM credits_my_usage()), (SELECT count(*) FROM credits_my_history())', '0|0', 'and no usage');
sql(q(SET request.jwt.claims = '{"sub": "year"}'));
is_sql("SELECT $sums FROM credits_my_usage('kind', '$from', '$to')", $all, 'the usage of the user');
is_sql("SELECT credits_my_explain() ->> 'user_id', credits_my_balance() ->> 'user_id'", 'year|year', 'the explanation and the balance');
fails("SELECT credits_usage('year')", '42501', 'no other function');
fails('SELECT credits_take_events()', '42501');
sql(q(SET request.jwt.claims = '{"sub": "nobody"}'));
fails("SELECT * FROM credits_my_usage('all')", 'UC002');
sql(q(SET request.jwt.claims = '{nonsense'));
fails("SELECT * FROM credits_my_usage('all')", '22P02');
sql('RESET request.jwt.claims; RESET ROLE');

# --- Lists: holds by end, grants by end.

at('2027-02-01 00:00Z');
sql(q(SELECT credits_open_account('lis', 'free'); SELECT credits_grant('lis', 10, '2027-02-02Z', 'gift'); SELECT credits_grant('lis', 20, '2027-02-03Z', payment_ref => 'pack_lis');
SELECT credits_hold('lis', 115, '1 hour', 'long work', spender => 'tim'); SELECT credits_hold('lis', 2, '2 hours')));
is_sql("SELECT seq, amount, held, ends_at, reason, spender FROM credit_open_hold WHERE user_id = 'lis' ORDER BY seq", "4|115|115|2027-02-01 01:00:00+00|long work|tim\n5|2|2|2027-02-01 02:00:00+00||", 'open holds');
is_sql("SELECT seq, amount, remaining, ends_at, paid, reason FROM credit_open_grant WHERE user_id = 'lis' ORDER BY seq", "2|10|0|2027-02-02 00:00:00+00|f|gift\n3|20|13|2027-02-03 00:00:00+00|t|", 'open grants');
at('2027-02-01 01:00Z');
is_sql("SELECT seq FROM credit_open_hold WHERE user_id = 'lis'", 5, 'a hold is over at the very instant');
at('2027-02-02 00:00Z');
is_sql("SELECT seq FROM credit_open_grant WHERE user_id = 'lis'", 3, 'and a grant');
is_sql("SELECT count(*) FROM credit_open_hold WHERE user_id = 'lis'", 0, 'no hold is open');
is_fields("credits_balance('lis')", 'held available granted seq', '0 120 20 5', 'and the balance says the same');

# --- Events.

sql('CREATE TABLE taken AS SELECT * FROM credits_take_events(10000)');
is_sql('SELECT count(*) FROM credit_event', 0, 'all are taken');
# Each row gives the events that the reference says, and nothing else does.
my $difference = q(
WITH due AS (
	SELECT h.user_id, h.seq, e.kind, h.amount, h.monthly + h.granted + h.purchased AS available, h.created_at, h.effective_at, h.ends_at
	  FROM credit_history h, unnest(ARRAY[h.crossed, CASE
		WHEN h.kind = 'purchase' OR h.kind = 'grant' AND h.payment_ref IS NOT NULL THEN 'purchase'
		WHEN h.kind IN ('revoke', 'reinstate', 'refund', 'freeze', 'unfreeze', 'close') THEN h.kind
		WHEN h.kind IN ('reset', 'restart') THEN 'reset'
		WHEN h.kind = 'hold_end' THEN 'hold_expired'
		WHEN h.kind IN ('set_plan', 'plan_change') THEN 'plan_change' END]) e(kind)
	 WHERE e.kind IS NOT NULL), told AS (SELECT * FROM taken WHERE kind NOT LIKE '%ending')
SELECT 'missing', * FROM (SELECT * FROM due EXCEPT ALL SELECT * FROM told) x UNION ALL
SELECT 'too much', * FROM (SELECT * FROM told EXCEPT ALL SELECT * FROM due) x);
is_sql($difference, '', 'each event is that of its row, once');
is_sql("SELECT count(DISTINCT kind) FROM taken WHERE kind NOT LIKE '%ending'", 13, 'and all kinds of them came')
  or diag(sql('SELECT string_agg(DISTINCT kind, $$, $$) FROM taken'));

at('2027-03-01 12:00Z');
sql("SELECT credits_open_account('eva', 'free')");
my $other = session($node, $db);
my $take = q(SELECT string_agg(user_id || ' ' || seq || ' ' || kind, ', ') FROM credits_take_events);
sql("BEGIN; SELECT credits_deduct('eva', 71, idempotency_key => 'k'); SAVEPOINT a; SELECT credits_add_purchased('eva', 71, 'pay_eva'); ROLLBACK TO a; SELECT credits_try_deduct('eva', 1000)");
is($other->do("$take()"), '', 'an event that is not committed is not there');
sql('COMMIT');
is_sql("BEGIN; $take()", 'eva 2 low', 'then it is, and what was rolled back to a savepoint is not');
is($other->do("$take()"), '', 'another consumer passes it over');
sql('ROLLBACK');
is($other->do("$take()"), 'eva 2 low', 'when it is given back, the other one has it');
sql("SELECT credits_deduct('eva', 71, idempotency_key => 'k')");
is_sql("$take()", '', 'a replay gives none');
sql('BEGIN');
sql("SELECT credits_add_purchased('eva', 100, 'pay_eva')");
is_sql("$take(NULL, '{purchase}')", 'eva 3 purchase', 'a transaction takes its own event');
is_sql("$take(NULL, '{purchase}')", '', 'once');
sql("SAVEPOINT a");
is_sql("$take(1)", 'eva 3 recovered', 'the other one of the same row');
sql('ROLLBACK TO a');
is_sql("$take(NULL, NULL)", 'eva 3 recovered', 'again, after it was given back to a savepoint');
sql('COMMIT');
is_sql("SELECT string_agg((r ->> 'seq') || coalesce(' ' || (r ->> 'crossed'), ''), ', ') FROM credits_deduct_many('{eva,eva,eva}', '{100,5000,29}') r", '4 low, 5 empty', 'what items of a batch cross');
is_sql("$take()", 'eva 4 low, eva 5 empty', 'is told of each item');
for my $second (reverse 0 .. 4)
{
	at("2027-03-02 12:00:0${second}Z");
	sql("SELECT credits_add_purchased('b$second', 1, 'pay_b$second'); SELECT credits_add_purchased('a$second', 1, 'pay_a$second')");
}
is_sql("SELECT string_agg(user_id, ' ') FROM credits_take_events(7, '{purchase,low}')", 'a0 b0 a1 b1 a2 b2 a3', 'the oldest first, and not more than asked for');
is_sql("SELECT string_agg(user_id || ' ' || kind, ' ') FROM credits_take_events(3)", 'a0 recovered b0 recovered a1 recovered', 'others stayed');
sql("SELECT credits_add_purchased('c' || n, 1, 'pay_c' || n) FROM generate_series(1, 100) n");
is_sql('SELECT count(*) FROM credits_take_events()', 100, '100 by default');
is_sql('SELECT count(*) FROM credits_take_events(10000)', 110, 'the rest');
fails("SELECT credits_take_events($_)", '22023') for 0, -1, 10001, "1, '{nonsense}'", "1, '{low,NULL}'", "1, '{LOW}'";
is_sql("SELECT count(*) FROM credits_take_events(1, '{}')", 0, 'no kinds, no events');
sql('BEGIN READ ONLY');
fails('SELECT credits_take_events()', '25006');
sql('ROLLBACK');
fails("$_ credit_event", 'UC007') for 'DELETE FROM', 'TRUNCATE';
fails('UPDATE credit_event SET amount = 1', 'UC007');

# Which kinds are wanted.
fails("SET credits.events = '$_'", '22023') for 'nonsense', 'low, nonsense', 'low,,empty', 'low;empty';
sql("SET credits.events = ''");
sql("SELECT credits_freeze('eva')");
sql("SET credits.events = ' freeze,unfreeze , freeze'");
sql("SELECT credits_unfreeze('eva'); SELECT credits_add_purchased('eva', 1000, 'pay_eva2')");
is_sql("$take()", 'eva 7 unfreeze', 'an event that nobody wanted is not there');
sql('RESET credits.events');
sql('SET ROLE browser');
fails("SET credits.events = 'low'", '42501');
sql('RESET ROLE');

# Notices before an end.
at('2027-05-01 00:00Z');
my $report = q(CALL credits_run_reset());
sql($report);
sql('SELECT count(*) FROM credits_take_events(10000)');
sql(q(SELECT credits_open_account('not', 'free'); SELECT credits_grant('not', 10, '2027-05-10Z'); SELECT credits_grant('not', 20, '2027-05-10Z'); SELECT credits_hold('not', 102, '1 day'); SELECT credits_grant('not', 5, '2027-05-05Z')));
my $notices = q(SELECT string_agg(user_id || ' ' || seq || ' ' || kind || ' ' || amount || ' ' || available || ' ' || ends_at, ', ' ORDER BY seq) FROM credits_take_events(NULL, '{grant_ending,hold_ending}'));
sql($report);
is_sql($notices, '', 'too early for a notice');
at('2027-05-01 23:50Z');
sql('CALL credits_run_reset(dry_run => true)');
is_sql("SELECT count(*) FROM credit_event WHERE kind LIKE '%ending'", 0, 'a dry run writes none');
is(json(sql($report))->{notices}, 1, 'the report counts it');
is_sql($notices, 'not 4 hold_ending 102 33 2027-05-02 00:00:00+00', '10 minutes before the end of a hold');
at('2027-05-02 00:00Z');
is(json(sql($report))->{notices}, 1, 'then that of a grant');
is_sql($notices, 'not 5 grant_ending 5 135 2027-05-05 00:00:00+00', '3 days before its end');
is_sql("$take(NULL, '{hold_expired}')", 'not 6 hold_expired', 'the hold has ended');
sql("SELECT credits_deduct('not', 115)");
at('2027-05-07 00:00Z');
is(json(sql($report))->{notices}, 1, 'one of two grants has nothing left');
is_sql($notices, 'not 3 grant_ending 20 20 2027-05-10 00:00:00+00', 'the other one has a notice');
is(json(sql($report))->{notices}, 0, 'once');
sql("SELECT credits_refund('not', 7)");
is_sql("SELECT remaining FROM credit_grant WHERE user_id = 'not' AND seq = 2", 10, 'credits come back');
is(json(sql($report))->{notices}, 1, 'so the next sweep announces it');
like(sql($notices), qr/^not 2 grant_ending 10 \d+ 2027-05-10 00:00:00\+00$/, 'with what is left');
sql("SELECT credits_grant('not', 9, '2027-05-12Z')");
at('2027-05-12 00:00Z');
is(json(sql($report))->{notices}, 0, 'the clock jumped over the time of a notice');
is_sql($notices, '', 'so there is none');
sql("SELECT credits_grant('not', 9, '2027-05-13Z'); SELECT credits_hold('not', 1, '1 minute')");
sql('SET credits.grant_notice = 0; SET credits.hold_notice = 0');
is(json(sql($report))->{notices} // 0, 0, '0: never');
is_sql($notices, '', 'really');
sql('SET credits.grant_notice = $$86399s$$');
is(json(sql($report))->{notices}, 0, 'a second too early');
sql('SET credits.grant_notice = $$1d$$');
is(json(sql($report))->{notices}, 1, 'at the very time');
sql(q(SET credits.events = 'low'));
is(exists json(sql($report))->{notices} ? 1 : 0, 0, 'who wants no notices hears nothing of them');
sql('RESET credits.events; RESET credits.grant_notice; RESET credits.hold_notice');
is(json(sql($report))->{notices}, 1, 'who begins to want them hears of what is about to end');

is(json(sql($report))->{notices}, 0, 'and only once');
sql('SELECT count(*) FROM credits_take_events(10000)');

# An account that somebody has locked; a cap; a hold of which a part was captured.
at('2027-06-01 12:00Z');
sql(q(SELECT credits_add_purchased('n' || n, 1, 'pay_n' || n) FROM generate_series(1, 3) n; SELECT credits_grant('n' || n, n, '2027-06-02Z') FROM generate_series(1, 3) n));
sql('CALL credits_run_reset()') for 1 .. 2;
sql('SELECT count(*) FROM credits_take_events(10000)');
sql(q(SELECT credits_grant('n' || n, n, '2027-06-03Z') FROM generate_series(1, 3) n; SELECT credits_hold('n3', 3, '9 minutes'); SELECT credits_capture('n3', 5, 1, true)));
$other->do("SET credits.clock = '2027-06-01 12:00Z'");
$other->do("BEGIN; SELECT credits_freeze('n1')");
is(json(sql($report))->{notices}, 3, 'an account that is locked waits for the next sweep');
is_sql("SELECT string_agg(user_id || ' ' || seq || ' ' || kind || ' ' || amount, ', ' ORDER BY user_id, seq) FROM credits_take_events(NULL, '{grant_ending,hold_ending}')", 'n2 4 grant_ending 2, n3 4 grant_ending 3, n3 5 hold_ending 2', 'the others do not');
$other->do('ROLLBACK');
is(json(sql($report))->{notices}, 1, 'which announces it');
sql("SELECT credits_capture('n3', 5, 1, true)");
is(json(sql($report))->{notices}, 0, 'a hold that changes is not announced again');
sql(q(SELECT count(*) FROM credits_take_events(10000); SELECT credits_grant('n' || n, n, '2027-06-04 11:00Z') FROM generate_series(1, 3) n));
for my $n (1 .. 3)
{
	my $capped = json(sql('CALL credits_run_reset(max_accounts => 1)'));
	is($capped->{notices}, 1, "a sweep of one account announces one, $n");
}
is(json(sql($report))->{notices}, 0, 'no more are left');

# A consumer above READ COMMITTED; a consumer that wants one, while the oldest is taken.
is_sql('SELECT count(*) FROM credit_event', 3, 'three events');
sql('BEGIN ISOLATION LEVEL REPEATABLE READ');
sql('SELECT 1');
is($other->do("$take(1)"), 'n1 5 grant_ending', 'one takes the oldest');
$other->do('BEGIN');
is($other->do("$take(1)"), 'n2 5 grant_ending', 'and has the next');
is_sql("$take(1)", 'n3 8 grant_ending', 'whoever has an old snapshot gets what the others left');
is_sql("$take()", '', 'and nothing else');
sql('COMMIT');
$other->do('ROLLBACK');
is_sql("$take()", 'n2 5 grant_ending', 'what was given back comes again');

# Bulk runs and imports.
at('2027-07-01 12:00Z');
sql('CALL credits_run_reset()');
sql('SELECT count(*) FROM credits_take_events(10000)');
sql(q(CALL credits_import('SELECT * FROM (VALUES (''i1'', ''free'', 5::int8, 0::int8), (''i2'', ''free'', 50, 0), (''i3'', NULL, 0, 0)) v(user_id, plan, monthly, purchased)')));
is_sql("$take()", '', 'an import crosses nothing');
is_sql(q(SELECT string_agg(user_id || ' ' || coalesce(level, '-') || ' ' || coalesce(flags, 0), ', ' ORDER BY user_id) FROM credit_account WHERE user_id ~ '^i[123]$'), 'i1 low 1, i2 - 0, i3 empty 2', 'it says what the accounts are');
crosses("credits_deduct('i1', 1)", '-', 'a low one stays low');
crosses("credits_add_purchased('i3', 1, 'pay_i3')", 'recovered', 'an empty one recovers');
crosses("credits_set_plan('i1', 'free', restart => true)", 'recovered', 'a restart');
is_sql("SELECT string_agg(kind, ' ' ORDER BY kind) FROM credits_take_events() WHERE user_id = 'i1'", 'recovered reset', 'is a reset');
sql("SELECT credits_define_plan('free', 10)");
at('2027-07-01 12:00:01Z');
sql("CALL credits_apply_plan('free')");
is_sql("SELECT string_agg(kind, ' ' ORDER BY kind) FROM credits_take_events(10000) WHERE user_id = 'i1'", 'low plan_change', 'a plan that is applied is a change of the plan');
sql(q(DO $$ DECLARE run uuid := run_id FROM credit_reset_run WHERE kind = 'apply_plan'; report jsonb; BEGIN CALL credits_undo_run(run, report => report); END $$));
is_sql("SELECT string_agg(kind, ' ' ORDER BY kind) FROM credits_take_events(10000) WHERE user_id = 'i1'", 'recovered', 'and undoing that lets an account recover');

# An account's own threshold: keys, and any status.
sql("SELECT credits_open_account('thr', 'big')");
is_fields("credits_set_low_threshold('thr', 5, 'why', 'k1')", 'seq replayed', '2 0', 'a threshold');
is_fields("credits_set_low_threshold('thr', 5, 'another', 'k1')", 'seq replayed', '2 1', 'a replay');
fails("SELECT credits_set_low_threshold('thr', NULL, 'why', 'k1')", 'UC003');
fails("SELECT credits_set_low_threshold('thr', 0, 'why', 'k1')", 'UC003');
sql("SELECT credits_set_plan('thr', 'small', restart => true); SELECT credits_set_low_threshold('thr', NULL, idempotency_key => 'k2')");
is_sql("SELECT low_threshold, plan_threshold, level FROM credit_account WHERE user_id = 'thr'", '|30|low', "the plan's threshold");
sql("SELECT credits_freeze('thr')");
crosses("credits_set_low_threshold('thr', 20)", 'recovered', 'on a frozen account');
sql("SELECT credits_close_account('thr')");
crosses("credits_set_low_threshold('thr', 0)", '-', 'on a closed one');
is_sql("SELECT flags FROM credit_account WHERE user_id = 'thr'", 18, 'empty and closed');

# --- The lists of docs/operations.md, as support.

sql('CREATE ROLE clerk; SELECT credits_grant_role($$clerk$$, $$support$$); SET ROLE clerk');
for my $query (q(SELECT * FROM credit_balance WHERE low AND user_id > 'a' ORDER BY user_id LIMIT 50), 'SELECT * FROM credit_balance WHERE available = 0', "SELECT * FROM credit_balance WHERE status = 'frozen'",
	'SELECT * FROM credits_unknown_zones()', 'SELECT * FROM credit_open_hold ORDER BY ends_at, user_id, seq LIMIT 50', q(SELECT * FROM credit_open_grant WHERE remaining > 0 AND ends_at < now() + interval '7 days'),
	q(SELECT * FROM credit_payment WHERE user_id = 'year' ORDER BY paid_at DESC), q(SELECT * FROM credits_total_usage('user', now() - interval '1 day', top => 20)), 'SELECT * FROM credit_usage_daily LIMIT 1')
{
	fails("SELECT count(*) FROM ($query) x", '00000');
}
fails("SELECT * FROM $_", '42501') for 'credit_history', 'credit_account', 'credit_event', 'credits_take_events()', 'pg_stat_credits', 'credits_metrics()';
sql('RESET ROLE');
is_sql(q(SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM credit_balance WHERE low), sql(q(SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM credit_account, credits_balance(user_id) b WHERE (b ->> 'low')::bool)), 'WHERE low finds who is low');

# --- Roles: EXECUTE is all that is needed.

my %may = (
	app => [qw(quote balance balances set_low_threshold)],
	billing => [qw(quote balance balances)],
	server => [qw(quote balance balances usage set_low_threshold take_events explain)],
	auditor => [qw(quote balance balances usage total_usage metrics explain)],
	support => [qw(quote balance balances usage total_usage explain)],
	admin => [qw(quote balance balances usage total_usage metrics take_events stat_reset set_low_threshold explain)],
	monitor => [qw(metrics)]);
my %call = (
	quote => "('ann', 1)", balance => "('ann')", balances => "('{ann}')", usage => "('ann')", total_usage => '()', metrics => '(true)',
	take_events => '()', stat_reset => '()', set_low_threshold => "('ann', 5)", explain => "('ann')");
for my $preset (sort keys %may)
{
	my %is_allowed = map { $_ => 1 } @{ $may{$preset} };

	sql("CREATE ROLE r_$preset; SELECT credits_grant_role('r_$preset', '$preset')");
	my @wrong;
	for my $name (sort keys %call)
	{
		my ($state) = $s->run("BEGIN; SET LOCAL ROLE r_$preset; SELECT count(*) FROM credits_$name$call{$name}; ROLLBACK");
		($state) = ($s->{stderr} =~ /ERROR:  (\w{5})/);
		$state //= '00000';
		push @wrong, "$name: $state" if $state ne ($is_allowed{$name} ? '00000' : '42501');
		$s->run('ROLLBACK');
	}
	is("@wrong", '', "what $preset may call, works");
}

$other->quit;
$s->quit;
is_clean($node, $db);
$node->stop;
done_testing();
