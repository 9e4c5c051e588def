#!/usr/bin/perl
# Make the demo's data: a month and a bit in the life of an AI app.
#
#   perl generate.pl DIRECTORY
#
# The same bytes on every machine: a generator of random numbers of its own,
# integers only, no hash order, no local time.  The script knows roughly what
# each user has left, only to decide who runs dry, who then buys, and who gives
# up; the ledger under test decides what really happens.
use strict;
use warnings;
use Time::Local qw(timegm);

my $dir = shift // die "usage: generate.pl DIRECTORY\n";

# ---------------------------------------------------------------- randomness

my $state = 20260920;    # the seed

sub rnd {    # 0 .. n-1; Park and Miller's minimal standard generator
    my ($n) = @_;
    $state = $state * 48271 % 2147483647;
    return $state % $n;
}
sub between { my ($low, $high) = @_; return $low + rnd($high - $low + 1) }
sub permille { return rnd(1000) < $_[0] }
sub pick { return $_[rnd(scalar @_)] }

sub weighted {    # value, weight, value, weight ...
    my @pairs = @_;
    my $sum   = 0;
    $sum += $pairs[ 2 * $_ + 1 ] for 0 .. $#pairs / 2;
    my $at = rnd($sum);
    while (1) {
        my ($value, $weight) = splice @pairs, 0, 2;
        return $value if $at < $weight;
        $at -= $weight;
    }
}

my @base62 = (0 .. 9, 'A' .. 'Z', 'a' .. 'z');
sub token { return join '', map { $base62[ rnd(62) ] } 1 .. $_[0] }

# ---------------------------------------------------------------------- time

sub utc {    # '2026-09-30 10:58' or with seconds, in UTC
    my ($y, $mo, $d, $h, $mi, $s) = $_[0] =~ /^(\d+)-(\d+)-(\d+) (\d+):(\d+)(?::(\d+))?$/
      or die "bad time $_[0]";
    return timegm($s // 0, $mi, $h, $d, $mo - 1, $y);
}

sub iso {
    my ($s, $mi, $h, $d, $mo, $y) = gmtime $_[0];
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $y + 1900, $mo + 1, $d, $h, $mi, $s;
}

my $START = utc('2026-09-20 00:00');
my $END   = utc('2026-11-03 23:59');

# Name, weight, and minutes east of UTC in October and on 1 November.
my @zones = (
    ['America/Los_Angeles',  18, -420, -420],
    ['America/New_York',     16, -240, -240],
    ['America/Santiago',      7, -180, -180],
    ['UTC',                  14,    0,    0],
    ['Europe/London',         8,   60,    0],
    ['Europe/Berlin',        14,  120,   60],
    ['Asia/Kolkata',         12,  330,  330],
    ['Asia/Tokyo',            5,  540,  540],
    ['Australia/Lord_Howe',   1,  630,  660],
    ['Pacific/Auckland',      5,  780,  780],
);

# ----------------------------------------------------------------- the files

my (@accounts, @payments, @usage, @admin, @stories);

sub row { my ($list, $at, @fields) = @_; push @$list, [$at, scalar @$list, @fields] }

sub open_account {
    my ($at, $u) = @_;
    row(\@accounts, $at, $u->{id}, $u->{plan} // '', $u->{anchor} // '', $u->{zone}[0]);
}

sub spend {
    my ($at, $u, $credits, $reason, $key, $spender) = @_;
    row(\@usage, $at, $u->{id}, $credits, $reason, $key, $spender // '');
}

# set_plan, freeze, unfreeze, adjust, define_plan: what needs no more columns
# than these.
sub act {
    my ($at, $action, $subject, %f) = @_;
    row(\@admin, $at, $action, $subject,
        map { $f{$_} // '' } qw(plan moment bucket delta reason key));
}

sub event_id { return 'evt_1' . token(17) }

sub deliver {
    my ($received, $event, $type, $created, $ref, $id, $credits) = @_;
    row(\@payments, $received, $event, $type, $created, $ref, $id, $credits, $credits * 4);
}

# One payment: the events of it that the payment provider sends, in the order,
# number and time in which webhooks arrive.
sub pay {
    my ($at, $u, $credits, %how) = @_;
    my $invoice = $how{invoice} // permille(350);
    my $ref     = ($invoice ? 'in_1' : 'pi_3') . token(17);
    my @types   = $invoice
      ? ('invoice.paid', 'payment_intent.succeeded')
      : ('payment_intent.succeeded', 'checkout.session.completed');
    if (!$how{tidy} && permille(60)) {    # the first card was declined
        deliver($at - 30 + (permille(300) ? 4000 : 3), event_id(), 'payment_intent.payment_failed',
            $at - 30, $ref, $u->{id}, $credits);
    }
    my $first = 1;
    for my $type (@types) {
        my $event   = event_id();
        my $created = $at + ($first ? 0 : rnd(3));
        my $delay   = between(1, 6);
        if (!$how{tidy}) {
            $delay = between(600, 250_000) if permille(110);    # comes late, after newer ones
        }
        deliver($created + $delay, $event, $type, $created, $ref, $u->{id}, $credits);
        if (!$how{tidy} && permille(90)) {                      # and once more
            deliver($created + $delay + between(60, 90_000), $event, $type, $created, $ref,
                $u->{id}, $credits);
        }
        $first = 0;
    }
    return $ref;
}

# --------------------------------------------------------------------- users

my %allowance = (free => 50, pro => 1000, team => 5000);

# What a call costs: feature, credits, weight.
my %menu = (
    free => [[chat => 1, 36], [suggest => 1, 12], [code => 3, 14], [search => 2, 12],
        [image => 8, 16], [agent => 25, 12]],
    pro => [[chat => 2, 20], [suggest => 1, 8], [code => 10, 20], [search => 4, 10],
        [image => 20, 16], [agent => 80, 18], [video => 200, 8]],
);
$menu{team} = $menu{pro};

sub clerk_id { return $_[0] . '_2' . token(26) }

sub local_anchor {    # when the subscription began, on the user's own clock
    my $day = permille(200) ? between(29, 31) : between(1, 28);
    my $month = pick(1, 3, 5, 7, 8);
    return sprintf '2026-%02d-%02d %02d:%02d:%02d', $month, $day, between(7, 23), rnd(60), rnd(60);
}

my @users;
for my $n (1 .. 3000) {
    my $plan = $n % 75 == 0 ? 'team' : $n % 20 < 3 ? 'pro' : 'free';
    my $u = {
        id   => clerk_id($plan eq 'team' ? 'org' : 'user'),
        plan => $plan,
        zone => weighted(map { $_ => $_->[1] } @zones),
    };
    if ($n <= 2200) {    # the app's users on the day it adopts the ledger
        $u->{opened} = $START + $n;
        $u->{anchor} = local_anchor() if $plan eq 'pro';
    }
    else {
        $u->{opened} = $START + 7200 + rnd($END - $START - 100_000);
    }
    if ($plan eq 'team') {
        $u->{members} = [map { clerk_id('user') } 1 .. between(2, 6)];
    }
    open_account($u->{opened}, $u);
    push @users, $u;

    # Sign-up webhooks come twice, too.
    open_account($u->{opened} + between(2, 4000), $u) if $n > 2200 && permille(50);
}

# ------------------------------------------------------------------ activity

my $retries = 0;

# One request as the app's servers send it: some of them time out and are sent
# again under the same key.
sub request {
    my ($at, $u, $credits, $reason) = @_;
    my $key     = 'req_' . token(8);
    my $spender = $u->{members} ? pick(@{ $u->{members} }) : '';
    spend($at, $u, $credits, $reason, $key, $spender);
    if (permille(45)) {
        my $again = $at;
        for (1 .. weighted(1 => 70, 2 => 20, 4 => 10)) {
            $again += between(1, 8);
            # Once in a while a client computes the price anew.
            my $changed = $credits + (++$retries % 80 == 0 ? between(1, 9) : 0);
            spend($again, $u, $changed, $reason, $key, $spender);
        }
    }
    return ($key, $spender);
}

# The calendar month of a user's own clock, near enough.
sub month_of {
    my ($at, $u) = @_;
    return (gmtime($at + 60 * $u->{zone}[ $at < $START + 35 * 86400 ? 2 : 3 ]))[4];
}

sub live {
    my ($u) = @_;
    my $days = int(($END - $u->{opened}) / 86400);
    my $heavy = weighted(0 => 12, 1 => 44, 2 => 22, 4 => 14, 10 => 8);
    $heavy += 3 if $u->{plan} ne 'free';
    my $sessions = int(($heavy * 2 * $days + 43) / 88);
    my @starts;
    for (1 .. $sessions) {
        my $day  = rnd($days + 1);
        my $hour = weighted(map { $_ => ($_ < 7 ? 1 : $_ < 9 ? 6 : $_ < 23 ? 12 : 5) } 0 .. 23);
        my $midnight = $u->{opened} - $u->{opened} % 86400 + 86400 * $day;
        push @starts, $midnight + 3600 * $hour + rnd(3600) - 60 * $u->{zone}[2];
    }
    # Some work through midnight when a month ends.
    if (permille(130)) {
        push @starts, utc('2026-10-01 00:00') - 60 * $u->{zone}[2] - between(5, 200);
        push @starts, utc('2026-11-01 00:00') - 60 * $u->{zone}[3] - between(5, 200);
    }

    my $monthly   = $allowance{ $u->{plan} };
    my $purchased = 0;
    my $month     = month_of($u->{opened}, $u);
    my $busy      = $u->{opened};
    my $left_at   = $END;

    if ($u->{plan} ne 'free' && permille(120)) {    # stocks up without need
        my $credits = pick(500, 2000);
        my $at      = $u->{opened} + between(3600, 30 * 86400);
        if ($at < $END - 300_000) {
            pay($at, $u, $credits);
            $purchased += $credits;
        }
    }

  SESSION:
    for my $start (sort { $a <=> $b } @starts) {
        my $at = $start > $busy ? $start : $busy + 60;
        next if $at >= $END - 7200;
        for (1 .. weighted(1 => 20, 2 => 24, 3 => 20, 5 => 20, 8 => 10, 13 => 6)) {
            $at += weighted(between(1, 9) => 45, between(10, 60) => 45, between(60, 600) => 10);
            $busy = $at;
            if (month_of($at, $u) != $month) {
                $month   = month_of($at, $u);
                $monthly = $allowance{ $u->{plan} };
            }
            my ($reason, $credits) =
              @{ weighted(map { [@$_[0, 1]] => $_->[2] } @{ $menu{ $u->{plan} } }) };
            $credits *= 6 if $u->{plan} eq 'team';
            my ($key, $spender) = request($at, $u, $credits, $reason);
            if ($monthly + $purchased >= $credits) {
                my $part = $monthly < $credits ? $monthly : $credits;
                $monthly   -= $part;
                $purchased -= $credits - $part;
                next;
            }

            # Dry.  Buy, upgrade, try again, or go away.
            my $then = $reason eq 'suggest' ? 'go' : weighted(
                buy     => 42,
                upgrade => $u->{plan} eq 'free' ? 7 : 0,
                retry   => 26,
                go      => 25
            );
            if ($then eq 'buy') {
                my $pack = weighted(100 => 55, 500 => 35, 2000 => 10);
                $pack = 2000 if $u->{plan} eq 'team';
                pay($at + 25, $u, $pack);
                $purchased += $pack - $credits;
                $busy = $at += between(45, 120);
                spend($at, $u, $credits, $reason, $key, $spender);
            }
            elsif ($then eq 'upgrade') {
                $u->{plan} = 'pro';
                act($at + 40, 'set_plan', $u->{id}, plan => 'pro', reason => 'upgrade',
                    key => 'sub_' . token(8));
                $monthly += 950 - $credits;
                $busy = $at += between(50, 90);
                spend($at, $u, $credits, $reason, $key, $spender);
            }
            elsif ($then eq 'retry') {
                $busy = $at += between(3, 30);
                spend($at, $u, $credits, $reason, $key, $spender);
                next SESSION;
            }
            else {
                next SESSION;
            }
        }
    }
    $u->{busy} = $busy;
}
live($_) for @users;

# ------------------------------------------------------- what else goes on

# Those who were there from the first day and whom nothing else happens to.
my @quiet = grep { $_->{opened} < $START + 3600 } @users;

sub someone {    # a user on that plan, each only once
    my ($plan) = @_;
    while (1) {
        my $u = splice @quiet, rnd(scalar @quiet), 1;
        return $u if $u->{plan} eq $plan;
    }
}

# Subscriptions that end, shrink or grow without the user being short.
for (1 .. 30) {
    act($START + between(86400, 40 * 86400), 'set_plan', someone('pro')->{id},
        moment => 'next_reset', reason => 'cancelled', key => 'sub_' . token(8));
}
for (1 .. 24) {
    act($START + between(86400, 40 * 86400), 'set_plan', someone('pro')->{id},
        plan => 'free', moment => 'next_reset', reason => 'downgrade', key => 'sub_' . token(8));
}
for (1 .. 12) {
    my $u   = someone('pro');
    my $at  = $START + between(86400, 20 * 86400);
    my $key = 'sub_' . token(8);
    act($at, 'set_plan', $u->{id}, plan => 'free', moment => 'now', reason => 'downgrade', key => $key);
    act($at + 5, 'set_plan', $u->{id}, plan => 'free', moment => 'now', reason => 'downgrade', key => $key)
      if permille(400);
    act($at + between(3600, 500_000), 'set_plan', $u->{id}, plan => 'pro', moment => 'now',
        reason => 'came back', key => 'sub_' . token(8)) if permille(600);
}
for (1 .. 10) {
    act($START + between(86400, 40 * 86400), 'set_plan', someone('free')->{id},
        plan => 'pro', moment => 'now', reason => 'upgrade', key => 'sub_' . token(8));
}

# Stolen cards: a burst of spending, a freeze, more attempts, sometimes an apology.
for my $n (1 .. 6) {
    my $u  = someone($n % 2 ? 'free' : 'pro');
    my $at = $START + between(5, 38) * 86400 + rnd(86400);
    for (1 .. 14) {
        $at += between(1, 3);
        request($at, $u, between(1, 3), 'chat');
    }
    act($at + 4, 'freeze', $u->{id}, reason => 'fraud alert: 14 calls in half a minute');
    for (1 .. between(4, 9)) {
        $at += between(6, 12);
        request($at, $u, between(1, 3), 'chat');
    }
    act($at + 90_000, 'unfreeze', $u->{id}, reason => 'card holder called') if $n <= 3;
    request($at + 91_000, $u, 2, 'chat');
}

# Support makes good, and takes back what it gave by mistake.
for my $n (1 .. 24) {
    my $u     = someone($n % 3 ? 'free' : 'pro');
    my $at    = $START + between(86400, 43 * 86400);
    my $delta = pick(10, 25, 40);
    my $key   = 'ticket_' . between(1000, 9999);
    act($at, 'adjust', $u->{id}, bucket => 'purchased', delta => $delta,
        reason => 'outage of ' . substr(iso($at - 50_000), 0, 10), key => $key);
    act($at + 9, 'adjust', $u->{id}, bucket => 'purchased', delta => $delta,
        reason => 'outage of ' . substr(iso($at - 50_000), 0, 10), key => $key) if $n % 8 == 0;
    act($at + 600, 'adjust', $u->{id}, bucket => 'purchased', delta => -5000,
        reason => 'typing error', key => $key . 'b') if $n % 12 == 0;
}

# Money that comes before the sign-up does, and money from nobody known.
for my $n (1 .. 30) {
    my $at = $START + between(86400, 42 * 86400);
    my $u  = { id => clerk_id('user'), plan => 'free', zone => weighted(map { $_ => $_->[1] } @zones) };
    pay($at, $u, pick(100, 500), tidy => 1);
    next if $n > 24;
    open_account($at + between(20, 400), $u);
    request($at + 500 + $_ * 20, $u, between(1, 12), 'chat') for 1 .. between(2, 6);
}

# Mistakes.  A user id with a letter wrong, a plan that does not exist, amounts
# that are none, a sign-up that changed its mind.
my $typo = $users[41]{id};
substr($typo, 12, 1) = substr($typo, 12, 1) eq 'l' ? 'I' : 'l';
spend($START + 700_000 + $_ * 7, { id => $typo }, 3, 'chat', 'req_' . token(8)) for 1 .. 3;
act($START + 800_000, 'set_plan', $users[42]{id}, plan => 'por', moment => 'now',
    reason => 'upgrade', key => 'sub_' . token(8));
spend($START + 900_000, $users[43], 0, 'chat', 'req_' . token(8));
spend($START + 900_100, $users[44], -4, 'chat', 'req_' . token(8));
spend($START + 900_200, $users[45], '9007199254740992', 'chat', 'req_' . token(8));
open_account($users[46]{opened} + 7200, { %{ $users[46] }, plan => 'pro' });

# A price list that was changed while a webhook was under way: the same payment
# with another amount; and one claimed for another user.
{
    my ($known) = grep { $_->[3] eq 'checkout.session.completed' && $_->[7] == 500 } @payments;
    my (undef, undef, undef, undef, $created, $ref, $id, $credits) = @$known;
    deliver($created + 300_000, event_id(), 'invoice.paid', $created, $ref, $id, 2000);
    deliver($created + 300_500, event_id(), 'payment_intent.succeeded', $created, $ref, $users[47]{id}, $credits);
}

# ----------------------------------------------- three users looked at closely

{
    my ($zone) = grep { $_->[0] eq 'Pacific/Auckland' } @zones;
    my $u = { id => clerk_id('user'), plan => 'free', zone => $zone };
    row(\@stories, 1, $u->{id}, 'Ana, Auckland, on free: two month ends at midnight, one dry spell, one pack of 100');
    open_account($START + 2301, $u);
    my $use = sub { spend(utc($_[0]), $u, $_[1], $_[2], $_[3]) };
    $use->('2026-09-23 08:15:12', 15, 'agent', 'req_ana00001');
    $use->('2026-09-30 10:58:41',  5, 'image', 'req_ana00002');
    $use->('2026-09-30 11:02:07',  5, 'image', 'req_ana00003');
    $use->('2026-10-06 20:31:55', 30, 'agent', 'req_ana00004');
    $use->('2026-10-06 20:32:03', 30, 'agent', 'req_ana00004');
    $use->('2026-10-12 05:40:10', 40, 'video', 'req_ana00005');
    pay(utc('2026-10-12 05:41:30'), $u, 100, tidy => 1, invoice => 0);
    $use->('2026-10-12 05:42:20', 40, 'video', 'req_ana00005');
    $use->('2026-10-12 05:42:29', 40, 'video', 'req_ana00005');
    $use->('2026-10-20 21:10:44',  8, 'image', 'req_ana00006');
    $use->('2026-10-31 11:01:00',  5, 'image', 'req_ana00007');
}
{
    my ($zone) = grep { $_->[0] eq 'Europe/Berlin' } @zones;
    my $u = { id => clerk_id('user'), plan => 'pro', zone => $zone, anchor => '2026-01-31 02:30:00' };
    row(\@stories, 2, $u->{id}, 'Bela, Berlin, on pro since 31 January: rolls over 200, then cancels');
    open_account($START + 2302, $u);
    my $use = sub { spend(utc($_[0]), $u, $_[1], $_[2], $_[3]) };
    $use->('2026-09-21 13:05:00', 420, 'video', 'req_bela0001');
    $use->('2026-09-28 17:44:31', 200, 'agent', 'req_bela0002');
    $use->('2026-10-03 09:20:08', 900, 'video', 'req_bela0003');
    $use->('2026-10-03 09:20:15', 950, 'video', 'req_bela0003');
    $use->('2026-10-14 18:02:50', 180, 'agent', 'req_bela0004');
    act(utc('2026-10-24 08:00:00'), 'set_plan', $u->{id}, moment => 'next_reset',
        reason => 'cancelled', key => 'sub_bela0001');
    $use->('2026-10-31 01:20:00',  20, 'code', 'req_bela0005');
    $use->('2026-10-31 01:40:00',  20, 'code', 'req_bela0006');
}
{
    my ($zone) = grep { $_->[0] eq 'Asia/Kolkata' } @zones;
    my $u = { id => clerk_id('user'), plan => 'free', zone => $zone };
    row(\@stories, 3, $u->{id}, 'Chandra, Kolkata: up, down and up again in a week, then frozen for two days');
    open_account(utc('2026-09-24 12:00:00'), $u);
    my $use = sub { spend(utc($_[0]), $u, $_[1], $_[2], $_[3]) };
    $use->('2026-09-26 06:30:00', 45, 'agent', 'req_chan0001');
    act(utc('2026-10-09 04:10:00'), 'set_plan', $u->{id}, plan => 'pro', reason => 'upgrade', key => 'sub_chan0001');
    $use->('2026-10-09 04:25:00', 300, 'video', 'req_chan0002');
    act(utc('2026-10-12 15:00:00'), 'set_plan', $u->{id}, plan => 'free', reason => 'downgrade', key => 'sub_chan0002');
    act(utc('2026-10-14 07:00:00'), 'set_plan', $u->{id}, plan => 'pro', reason => 'came back', key => 'sub_chan0003');
    act(utc('2026-10-20 19:00:00'), 'freeze', $u->{id}, reason => 'card reported stolen');
    $use->('2026-10-20 19:01:00', 60, 'video', 'req_chan0003');
    pay(utc('2026-10-21 10:00:00'), $u, 500, tidy => 1, invoice => 1);
    act(utc('2026-10-22 09:00:00'), 'unfreeze', $u->{id}, reason => 'it was not');
    $use->('2026-10-22 09:05:00', 60, 'video', 'req_chan0003');
    $use->('2026-11-02 11:00:00', 10, 'code', 'req_chan0004');
}

# ------------------------------------------------------------------- writing

sub write_file {
    my ($name, $header, $list, $with_time) = @_;
    open my $out, '>:raw', "$dir/$name" or die "$dir/$name: $!\n";
    print $out "$header\n";
    for my $r (sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @$list) {
        my ($at, undef, @fields) = @$r;
        unshift @fields, iso($at) if $with_time;
        print $out join(',', map { /[",]/ ? '"' . s/"/""/gr . '"' : $_ } @fields), "\n";
    }
    close $out or die "$dir/$name: $!\n";
}

my @plans = (
    [$START, 0, 'free', 50,   'calendar',    0,   5,   ''],
    [$START, 1, 'pro',  1000, 'anniversary', 200, 50,  ''],
    [$START, 2, 'team', 5000, 'calendar',    0,   250, ''],
    # Announced on the 10th: free gets 60 from the 15th on, that is at the next boundary.
    [utc('2026-10-10 09:00'), 3, 'free', 60, 'calendar', 0, 5, '2026-10-15T00:00:00Z'],
);
write_file('plans.csv',
    'at,plan,monthly_credits,cycle,rollover_limit,low_balance_threshold,effective_from', \@plans, 1);
write_file('accounts.csv', 'at,user_id,plan,cycle_anchor,time_zone', \@accounts, 1);
write_file('payments.csv',
    'received_at,event_id,type,created,payment_ref,user_id,credits,amount_cents', \@payments, 1);
write_file('usage.csv', 'at,user_id,credits,feature,idempotency_key,spender', \@usage, 1);
write_file('admin.csv', 'at,action,user_id,plan,moment,bucket,delta,reason,idempotency_key', \@admin, 1);
write_file('stories.csv', 'user_id,title', \@stories, 0);
