# A quote says what the deduction then does: credits_quote and credits_try_deduct, side by
# side over random histories, with something due, grants, overdrafts, frozen, closed and
# unknown accounts, and time zones that the server does not know.  And a balance says how
# long it holds: the same until then, another one from then on.
#
# CREDITS_SEED repeats a run; CREDITS_ACCOUNTS makes it longer.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/lib";

use CreditsTest;
use Test::More;

my $seed = $ENV{CREDITS_SEED} || int(rand(2**31));
my $accounts = $ENV{CREDITS_ACCOUNTS} || 150;
diag("CREDITS_SEED=$seed CREDITS_ACCOUNTS=$accounts");

my $node = new_server('quote');
my $db = 'postgres';

$node->safe_psql(
	$db, q(
CREATE TABLE tally (what text);
CREATE TABLE difference (user_id text, at text, what text, quote jsonb, other jsonb);

CREATE FUNCTION clock() RETURNS timestamptz LANGUAGE sql AS $$ SELECT current_setting('credits.clock')::timestamptz $$;
CREATE FUNCTION clock_to(at timestamptz) RETURNS void LANGUAGE sql AS $$ SELECT set_config('credits.clock', at::text, false) $$;
CREATE FUNCTION one_of(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;

-- One random call.  Calls that are refused do not matter.
CREATE FUNCTION some_call(who text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    amount int8 := 1 + floor(random() * 60)::int8;
    seq int8 := (SELECT a.history_seq - floor(random() * 4)::int8 FROM credit_account a WHERE a.user_id = who);
    ends timestamptz := clock() + random() * random() * interval '50 days';
BEGIN
    CASE floor(random() * 19)::int
        WHEN 0, 1 THEN PERFORM credits_deduct(who, amount);
        WHEN 2 THEN PERFORM credits_add_purchased(who, amount, who || ' ' || ends);
        WHEN 3, 4, 5 THEN PERFORM credits_grant(who, amount, ends);
        WHEN 6 THEN PERFORM credits_grant(who, amount, ends, payment_ref => who || ' ' || ends);
        WHEN 7, 8 THEN PERFORM credits_hold(who, amount, random() * interval '30 days');
        WHEN 9 THEN PERFORM credits_capture(who, seq, amount, over => one_of('refuse', 'owe'));
        WHEN 10 THEN PERFORM credits_release(who, seq);
        WHEN 11 THEN PERFORM credits_refund(who, seq);
        WHEN 12 THEN PERFORM credits_revoke_purchase((SELECT payment_ref FROM credit_payment p WHERE p.user_id = who LIMIT 1));
        WHEN 13, 14 THEN PERFORM credits_set_overdraft(who, amount);
        WHEN 15 THEN PERFORM credits_set_plan(who, one_of('free', 'carry', 'week', NULL), one_of('now', 'next_reset'));
        WHEN 16 THEN PERFORM credits_set_cycle(who, NULL, one_of('UTC', 'Asia/Tokyo', 'America/New_York'));
        WHEN 17 THEN PERFORM credits_adjust(who, one_of('monthly', 'purchased'), amount, 'why');
        ELSE
            CASE floor(random() * 4)::int
                WHEN 0 THEN PERFORM credits_freeze(who);
                WHEN 1 THEN PERFORM credits_close_account(who);
                ELSE PERFORM credits_unfreeze(who);
            END CASE;
    END CASE;
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$;

-- What credits_try_deduct answers, and what is there then; undone, unless it is to stay.
CREATE FUNCTION try(who text, amount int8, stays bool, OUT answer jsonb, OUT state text, OUT balance jsonb, OUT parts jsonb) LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    BEGIN
        state := '00000';
        answer := credits_try_deduct(who, amount);
        balance := credits_balance(who);
        SELECT jsonb_agg(jsonb_build_object('seq', h.allocations[i * 2 - 1], 'credits', h.allocations[i * 2], 'ends_at', g.ends_at) ORDER BY i) INTO parts
          FROM credit_history h CROSS JOIN generate_series(1, cardinality(h.allocations) / 2) i
               LEFT JOIN credit_grant g ON g.user_id = h.user_id AND g.seq = h.allocations[i * 2 - 1]
         WHERE h.user_id = who AND h.seq = (answer ->> 'seq')::int8;
        IF NOT stays THEN
            RAISE SQLSTATE 'XX999';
        END IF;
    EXCEPTION
        WHEN SQLSTATE 'XX999' THEN
            NULL;
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
            state := SQLSTATE;
            answer := detail::jsonb;
    END;
END $$;

CREATE FUNCTION quote(who text, amount int8, OUT answer jsonb, OUT state text) LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    state := '00000';
    answer := credits_quote(who, amount);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    state := SQLSTATE;
    answer := detail::jsonb;
END $$;

-- Would the deduction go through after a purchase?  Undone.
CREATE FUNCTION ok_after_buying(who text, amount int8, bought int8) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    ok bool;
BEGIN
    BEGIN
        IF bought > 0 THEN
            PERFORM credits_add_purchased(who, bought, 'shortfall');
        END IF;
        ok := credits_try_deduct(who, amount) ->> 'ok';
        RAISE SQLSTATE 'XX999';
    EXCEPTION WHEN SQLSTATE 'XX999' THEN
        RETURN ok;
    END;
END $$;

-- The quote beside the deduction.
CREATE FUNCTION check_quote(who text, amount int8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before record;
    q record;
    d record;
    found text[];
    due bool := (SELECT next_event_at <= clock() FROM credit_account WHERE user_id = who);
BEGIN
    q := quote(who, amount);
    SELECT *, credits_balance(who) AS b INTO before FROM credit_balance WHERE user_id = who;
    d := try(who, amount, random() < 0.3);
    IF q.state <> '00000' THEN
        INSERT INTO tally VALUES ('raised ' || q.state);
        IF q.state <> d.state OR q.answer IS DISTINCT FROM d.answer THEN
            found := found || 'raises the same'::text;
        END IF;
    ELSIF d.state = '00000' AND (d.answer ->> 'ok')::bool THEN
        INSERT INTO tally VALUES ('ok');
        IF q.answer ->> 'ok' <> 'true' OR q.answer ?| '{error,sqlstate,required}' OR (q.answer ->> 'shortfall')::int8 <> 0 THEN
            found := found || 'ok'::text;
        END IF;
        -- each field that both the quote and the receipt have, but for seq, is the same
        IF EXISTS (SELECT FROM jsonb_each(d.answer) r WHERE q.answer ? r.key AND r.key <> 'seq' AND r.value IS DISTINCT FROM q.answer -> r.key)
           OR NOT q.answer ?& '{amount,user_id,monthly,granted,purchased,available,held,owed,monthly_delta,granted_delta,purchased_delta,next_reset_at}' THEN
            found := found || 'receipt'::text;
        END IF;
        IF EXISTS (SELECT FROM jsonb_each(d.balance) r WHERE q.answer ? r.key AND r.key NOT IN ('seq', 'valid_until') AND r.value IS DISTINCT FROM q.answer -> r.key)
           OR (q.answer ->> 'as_of')::timestamptz <> (d.answer ->> 'effective_at')::timestamptz THEN
            found := found || 'balance after'::text;
        END IF;
        IF (SELECT jsonb_agg(g || jsonb_build_object('ends_at', (g ->> 'ends_at')::timestamptz)) FROM jsonb_array_elements(q.answer -> 'grants') g) IS DISTINCT FROM d.parts THEN
            found := found || 'grants'::text;
        END IF;
        IF (q.answer ->> 'owed_delta')::int8 - (q.answer ->> 'monthly_delta')::int8 - (q.answer ->> 'granted_delta')::int8 - (q.answer ->> 'purchased_delta')::int8 <> amount
           OR (q.answer ->> 'owed')::int8 - (q.answer ->> 'owed_delta')::int8 <> coalesce(before.owed, 0) THEN
            found := found || 'sum'::text;
        END IF;
        INSERT INTO tally SELECT 'ok of ' || jsonb_array_length(q.answer -> 'grants') || ' grants';
        INSERT INTO tally SELECT 'ok with overdraft' WHERE (q.answer ->> 'owed_delta')::int8 > 0;
        INSERT INTO tally SELECT 'ok and due' WHERE due;
        INSERT INTO tally SELECT 'ok, low' WHERE (q.answer ->> 'low')::bool;
    ELSE
        INSERT INTO tally SELECT 'refused ' || coalesce(q.answer ->> 'sqlstate', '') || ' ' || coalesce(q.answer ->> 'status', '');
        INSERT INTO tally SELECT 'refused and due' WHERE due;
        IF q.answer ->> 'ok' <> 'false' OR q.answer ->> 'sqlstate' IS DISTINCT FROM (CASE WHEN d.state = '00000' THEN 'UC001' ELSE d.state END)
           OR NOT q.answer @> d.answer THEN
            found := found || 'refusal'::text;
        END IF;
        IF before.user_id IS NOT NULL AND (before.monthly, before.granted, before.purchased, before.available, before.held, before.owed, before.low, before.status, before.seq)
           IS DISTINCT FROM ((q.answer ->> 'monthly')::int8, (q.answer ->> 'granted')::int8, (q.answer ->> 'purchased')::int8, (q.answer ->> 'available')::int8,
               (q.answer ->> 'held')::int8, (q.answer ->> 'owed')::int8, (q.answer ->> 'low')::bool, q.answer ->> 'status', (q.answer ->> 'seq')::int8)
           OR NOT q.answer @> '{"monthly_delta": 0, "granted_delta": 0, "purchased_delta": 0, "owed_delta": 0}' OR q.answer -> 'grants' <> '[]' THEN
            found := found || 'nothing taken'::text;
        END IF;
        IF d.state = '00000' AND ((q.answer ->> 'shortfall')::int8 < 1 OR NOT ok_after_buying(who, amount, (q.answer ->> 'shortfall')::int8)
                                  OR ok_after_buying(who, amount, (q.answer ->> 'shortfall')::int8 - 1)) THEN
            found := found || 'shortfall'::text;
        END IF;
    END IF;
    -- of the state that credits_balance shows, at the same time
    IF q.state = '00000' AND before.user_id IS NOT NULL AND (before.b -> 'seq', before.b -> 'as_of', before.b -> 'valid_until')
       IS DISTINCT FROM (q.answer -> 'seq', q.answer -> 'as_of', q.answer -> 'valid_until') THEN
        found := found || 'order'::text;
    END IF;
    INSERT INTO difference SELECT who, clock()::text, w, q.answer, d.answer FROM unnest(found) w;
END $$;

-- The credits of a balance are the same until valid_until, and others then, if it is not
-- only valid_until that is later then.  The period of an account without a plan may change.
CREATE FUNCTION credits_of(b jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT b - CASE WHEN b ->> 'plan' IS NULL AND b ->> 'scheduled_plan' IS NULL AND b ->> 'monthly' = '0' AND b ->> 'owed_monthly' = '0'
                    THEN '{as_of,period,period_start,next_reset_at}'::text[] ELSE '{as_of}' END $$;
CREATE FUNCTION check_until(who text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    saved timestamptz := clock();
    b jsonb := credits_balance(who);
    last jsonb;
    next jsonb;
    until timestamptz := (b ->> 'valid_until')::timestamptz;
    later text := CASE WHEN b ->> 'plan' IS NULL THEN 'valid_until' ELSE '' END;
BEGIN
    IF b ? 'time_zone_unknown' THEN
        INSERT INTO tally VALUES ('until, waiting');
        -- the reset is the next event, and has been due since then
        INSERT INTO difference SELECT who, saved::text, 'until, waiting', b, NULL
         WHERE until <= (b ->> 'as_of')::timestamptz OR (until <> (b ->> 'next_reset_at')::timestamptz AND b ->> 'plan' IS NOT NULL);
        RETURN;
    END IF;
    PERFORM clock_to(coalesce(until, saved + interval '30 years') - interval '1 microsecond');
    last := credits_balance(who);
    PERFORM clock_to(clock() + interval '1 microsecond');
    next := credits_balance(who);
    PERFORM clock_to(saved);
    -- A silent end of a period can make valid_until later, and never earlier.
    INSERT INTO difference SELECT who, saved::text, 'until, too late', b, last
     WHERE credits_of(b) - later <> credits_of(last) - later OR until <= (b ->> 'as_of')::timestamptz
        OR coalesce((last ->> 'valid_until')::timestamptz, 'infinity') < coalesce(until, 'infinity');
    INSERT INTO difference SELECT who, saved::text, 'until, too early', b, next
     WHERE until IS NOT NULL AND (credits_of(b) = credits_of(next) OR (next ->> 'valid_until')::timestamptz <= until);
    INSERT INTO tally VALUES (CASE WHEN until IS NULL AND b ->> 'next_reset_at' IS NULL THEN 'until never' WHEN until IS NULL THEN 'until never, periods go on'
                                   WHEN credits_of(b) - 'valid_until' = credits_of(next) - 'valid_until' THEN 'until, asked early' ELSE 'until' END);
END $$;

CREATE FUNCTION some_amount(who text) RETURNS int8 LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN random() < 0.5 THEN greatest(1, coalesce((SELECT available + floor(random() * 3)::int8 - 1 + (random() < 0.5)::int * 40 FROM credit_balance WHERE user_id = who), 1))
                ELSE 1 + floor(random() * 80)::int8 END $$;

CREATE FUNCTION play(users int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    who text;
BEGIN
    FOR n IN 1 .. users LOOP
        who := 'u' || n;
        PERFORM clock_to(timestamptz '2026-01-10 00:00:00+00' + random() * interval '9 days');
        IF random() < 0.1 THEN
            PERFORM credits_add_purchased(who, 5, 'first ' || n);
        ELSE
            PERFORM credits_open_account(who, one_of('free', 'carry', 'week', NULL), NULL, one_of('UTC', 'Asia/Tokyo', 'America/New_York'));
        END IF;
        FOR m IN 1 .. floor(random() * 14)::int LOOP
            PERFORM clock_to(clock() + random() * random() * interval '12 days');
            IF random() < 0.7 THEN
                PERFORM some_call(who);
            END IF;
            IF random() < 0.5 THEN
                PERFORM check_quote(who, some_amount(who));
            END IF;
            PERFORM check_until(who);
        END LOOP;
    END LOOP;
END $$;
));

sub differences
{
	my ($test) = @_;
	my $found = $node->safe_psql($db, 'SELECT * FROM difference LIMIT 5');

	is($found, '', $test) or diag("CREDITS_SEED=$seed");
	$node->safe_psql($db, 'TRUNCATE difference');
	return;
}

my $fraction = ($seed % 100_000) / 100_000;
my $begin = "SET credits.clock = '2026-01-10 00:00:00+00'; SET timezone = 'UTC'; SELECT setseed($fraction);";
$node->safe_psql($db, qq($begin
SELECT credits_define_plan('free', 10, low_balance_threshold => 20), credits_define_plan('carry', 100, 'anniversary', 30, 50), credits_define_plan('week', 30, 'weekly', 5, 3);
SELECT play($accounts);));
differences('a quote says what the deduction does, and a balance how long it holds');

# Everything once more when much is due, and of all accounts at once.
for my $at ('2026-02-20 00:00:00+00', '2026-08-01 00:00:00+00')
{
	$node->safe_psql($db, qq($begin SET credits.clock = '$at';
SELECT check_quote(user_id, some_amount(user_id)), check_until(user_id) FROM credit_account;));
	differences("the same of all accounts at $at");
	is( $node->safe_psql($db, qq(SET credits.clock = '$at'; SELECT count(*) FROM
(SELECT row_number() OVER () AS n, b FROM credits_balances((SELECT array_agg(user_id ORDER BY md5(user_id)) || '{nobody}' FROM credit_account)) b) x
FULL JOIN (SELECT row_number() OVER (ORDER BY md5(user_id)) AS n, credits_balance(user_id) AS b FROM credit_account) y USING (n)
WHERE x.b IS DISTINCT FROM y.b AND x.b IS DISTINCT FROM '{"error": "account_not_found", "user_id": "nobody"}')),
		0, 'credits_balances gives each what credits_balance gives');
}

# Users without an account, with and without a default plan.
$node->safe_psql($db, qq($begin SELECT check_quote('new ' || n, n) FROM generate_series(1, 20) n;
SET credits.default_plan = 'free'; SELECT check_quote('new ' || n, n) FROM generate_series(1, 20) n;
SET credits.default_plan = 'none'; SELECT check_quote('newer ' || n, n) FROM generate_series(1, 20) n;));
differences('of users without an account');

# A hold that was released: its end is still what a balance is asked about next.
$node->safe_psql($db, qq($begin SELECT credits_open_account('early', 'free'), credits_grant('early', 5, '2026-03-01 00:00Z');
SELECT credits_release('early', (credits_hold('early', 2, '1 hour') ->> 'seq')::int8);
SELECT check_until('early');));
differences('of an account with a hold that was released');

# Resets that wait for a time zone.
$node->safe_psql($db, qq($begin SET credits.clock = '2026-09-01 00:00:00+00';
ALTER TABLE credit_account DISABLE TRIGGER credits_guard;
UPDATE credit_account SET time_zone = 'Asia/Nowhere' WHERE random() < 0.5;
ALTER TABLE credit_account ENABLE ALWAYS TRIGGER credits_guard;
SELECT check_quote(user_id, some_amount(user_id)), check_until(user_id) FROM credit_account;));
differences('while a reset waits for a time zone');

# That this was a test.
my %tally = map { $_->[0] => $_->[1] } rows($node, $db, 'SELECT what, count(*) FROM tally GROUP BY 1 ORDER BY 1');
note("$_: $tally{$_}") for sort keys %tally;
for my $what (
	'ok', 'ok of 0 grants', 'ok of 1 grants', 'ok of 2 grants', 'ok with overdraft', 'ok and due', 'ok, low',
	'refused UC001 active', 'refused UC004 frozen', 'refused UC004 closed', 'refused UC012 active', 'refused and due',
	'raised UC002', 'raised UC009', 'until', 'until never', 'until never, periods go on', 'until, asked early', 'until, waiting')
{
	cmp_ok($tally{$what} // 0, '>', 0, "there was: $what");
}

done_testing();
