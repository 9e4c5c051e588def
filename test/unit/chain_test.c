/*
 * chain_test.c
 *		The bytes that are hashed.  They are compared with those of a second
 *		encoder, and their hashes with hashes worked out elsewhere.  They can
 *		never change.
 */
#include <openssl/evp.h>

#include "unit.h"

#define TO_2000 INT64_C(946684800000000)	/* 2000-01-01 since 1970, in us */

static uint8_t space[8192];

static void
sha256(const void *data, size_t len, uint8_t out[CR_HASH_LEN])
{
	unsigned int n = 0;

	if (EVP_Digest(data, len, out, &n, EVP_sha256(), NULL) != 1 || n != CR_HASH_LEN)
		memset(out, 0, CR_HASH_LEN);
}

static const char *
hex(const uint8_t *bytes)
{
	static char text[2][2 * CR_HASH_LEN + 1];
	static int	next = 0;
	char	   *buf = text[next++ % 2];

	for (int i = 0; i < CR_HASH_LEN; i++)
		snprintf(buf + 2 * i, 3, "%02x", bytes[i]);
	return buf;
}

/* The second encoder, which only the tests use. */
typedef struct Bytes
{
	uint8_t		data[4096];
	size_t		len;
} Bytes;

static void
raw(Bytes *b, const void *data, size_t len)
{
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void
big_endian(Bytes *b, uint64_t value, int bytes)
{
	for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
		b->data[b->len++] = (uint8_t) (value >> shift);
}

static void
field(Bytes *b, const void *data, size_t len)
{
	b->data[b->len++] = data != NULL;
	if (data != NULL)
	{
		big_endian(b, len, 4);
		raw(b, data, len);
	}
}

static void
text(Bytes *b, const char *value)
{
	field(b, value, value ? strlen(value) : 0);
}

static void
number(Bytes *b, bool present, int64_t value)
{
	b->data[b->len++] = present;
	if (present)
	{
		big_endian(b, 8, 4);
		big_endian(b, (uint64_t) value, 8);
	}
}

static void
moment(Bytes *b, bool present, CrTime value)
{
	number(b, present, value == CR_NEVER ? INT64_MAX : value + TO_2000);
}

static void
encode_facts(Bytes *b, const CrFacts *f)
{
	raw(b, "credits-f1", 10);
	text(b, f->plan);
	number(b, f->plan_version != 0, f->plan_version);
	text(b, f->scheduled_plan);
	moment(b, true, f->cycle_anchor);
	text(b, f->time_zone);
	text(b, f->status == CR_FROZEN ? "frozen" : "active");
	number(b, true, f->overdraft_limit);
	number(b, true, f->period_granted);
	moment(b, true, f->period_start);
	number(b, true, f->period_share);
	text(b, f->cycle == CR_NO_CYCLE ? NULL : f->cycle == CR_WEEKLY ? "weekly" : "calendar");
	number(b, true, f->last_left);
	number(b, true, f->last_limit);
	number(b, true, f->last_undone);
	number(b, f->low_threshold != CR_NO_THRESHOLD, f->low_threshold);
}

static void
encode(Bytes *b, const uint8_t *prev, const CrRow *row, const char *kind,
	   const uint8_t *reason, const uint8_t *metadata)
{
	uint8_t		facts[CR_HASH_LEN];

	if (row->has_facts)
	{
		b->len = 0;
		encode_facts(b, &row->facts);
		sha256(b->data, b->len, facts);
	}
	b->len = 0;
	raw(b, "credits-h1", 10);
	raw(b, prev, CR_HASH_LEN);
	text(b, row->user_id);
	number(b, true, row->seq);
	text(b, kind);
	moment(b, true, row->created_at);
	moment(b, true, row->effective_at);
	number(b, true, row->period);
	number(b, row->plan_version != 0, row->plan_version);
	number(b, true, row->delta.monthly);
	number(b, true, row->delta.granted);
	number(b, true, row->delta.purchased);
	number(b, true, row->balance.monthly);
	number(b, true, row->balance.granted);
	number(b, true, row->balance.purchased);
	number(b, true, row->held.monthly);
	number(b, true, row->held.granted);
	number(b, true, row->held.purchased);
	number(b, true, row->owed_monthly);
	number(b, true, row->owed_purchased);
	b->data[b->len++] = row->n_allocations > 0;
	if (row->n_allocations > 0)
	{
		big_endian(b, (uint64_t) row->n_allocations * 2 * 8, 4);
		for (int i = 0; i < row->n_allocations; i++)
		{
			big_endian(b, (uint64_t) row->allocations[i].source, 8);
			big_endian(b, (uint64_t) row->allocations[i].credits, 8);
		}
	}
	number(b, row->has_ref_seq, row->ref_seq);
	moment(b, row->has_ends_at, row->ends_at);
	moment(b, row->next_reset_at != CR_NEVER, row->next_reset_at);
	text(b, row->payment_ref);
	text(b, row->idempotency_key);
	field(b, row->request_digest, CR_HASH_LEN);
	text(b, row->actor);
	text(b, row->spender);
	field(b, row->run_id, CR_UUID_LEN);
	number(b, true, row->amount);
	number(b, true, row->expired);
	number(b, true, row->forfeited);
	number(b, true, row->skipped);
	field(b, row->has_facts ? facts : NULL, CR_HASH_LEN);
	field(b, reason, CR_HASH_LEN);
	field(b, metadata, CR_HASH_LEN);
}

static const CrPart allocations[] = {{3, 25}, {7, 10}};
static const CrPart other_allocations[] = {{3, 25}, {7, 11}};
static uint8_t counting[CR_HASH_LEN];	/* 00 01 02 ... */
static uint8_t descending[CR_HASH_LEN]; /* ff fe fd ... */

/* A row that has every field, each with a different value. */
static CrRow
full_row(void)
{
	CrRow		row = {0};

	row.kind = CR_KIND_DEDUCT;
	row.effective_at = utc(2026, 2, 3, 4, 5, 6) + 789012;
	row.period = 3;
	row.next_reset_at = utc(2026, 3, 1, 0, 0, 0);
	row.amount = 37;
	row.delta = (CrBuckets) {-10, -20, -7};
	row.balance = (CrBuckets) {1, 2, INT64_C(9007199254740000)};
	row.held = (CrBuckets) {4, 5, 6};
	row.owed_monthly = 8;
	row.owed_purchased = 9;
	row.expired = 11;
	row.forfeited = 12;
	row.skipped = 13;
	row.plan_version = 14;
	row.has_ref_seq = true;
	row.ref_seq = 15;
	row.has_ends_at = true;
	row.ends_at = utc(1999, 12, 31, 23, 59, 59);
	row.n_allocations = 2;
	row.allocations = allocations;
	row.has_facts = true;
	row.facts = (CrFacts) {"pro", 14, "", utc(2026, 1, 31, 10, 30, 0), "Europe/Berlin",
		CR_FROZEN, 50, 500, utc(2026, 2, 1, 0, 0, 0), 903225, CR_WEEKLY, -40, 60, false, 75};
	row.user_id = "usr_\303\274";
	row.seq = 258;
	row.created_at = utc(2026, 2, 3, 4, 5, 7);
	row.actor = "app";
	row.spender = "user_9";
	row.payment_ref = "pi_3Q";
	row.idempotency_key = "";
	row.request_digest = counting;
	row.run_id = descending;
	return row;
}

/* A row that has as few fields as a row can have. */
static CrRow
bare_row(void)
{
	CrRow		row = {0};

	row.kind = CR_KIND_OPEN;
	row.effective_at = row.created_at = utc(2026, 1, 1, 0, 0, 0);
	row.period = 1;
	row.next_reset_at = CR_NEVER;
	row.user_id = "u";
	row.seq = 1;
	row.actor = "postgres";
	return row;
}

static void
hash_row(const CrRow *row, const uint8_t *prev, const uint8_t *reason,
		 const uint8_t *metadata, uint8_t out[CR_HASH_LEN])
{
	CrBuf		buf = {space, 0, sizeof(space)};

	cr_chain_encode(&buf, sha256, prev, row, reason, metadata);
	sha256(buf.data, buf.len, out);
}

static void
same_bytes(const CrRow *row, const char *kind, const uint8_t *reason, const uint8_t *metadata,
		   const char *name)
{
	CrBuf		buf = {space, 0, sizeof(space)};
	Bytes		want;

	encode(&want, counting, row, kind, reason, metadata);
	cr_chain_encode(&buf, sha256, counting, row, reason, metadata);
	if (!ok(buf.len == want.len && memcmp(buf.data, want.data, want.len) == 0, "%s", name))
	{
		size_t		i = 0;

		while (i < buf.len && i < want.len && buf.data[i] == want.data[i])
			i++;
		note("%d bytes, expected %d; the first difference is at %d", (int) buf.len,
			 (int) want.len, (int) i);
	}
}

static void
test_bytes(void)
{
	static const uint8_t number_bytes[] = {1, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xe2};
	static const uint8_t time_bytes[] = {1, 0, 0, 0, 8, 0, 0x06, 0x4b, 0xde, 0xff, 0x6a, 0x66,
		0x90};
	static const uint8_t old_bytes[] = {1, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff};
	static const uint8_t never_bytes[] = {1, 0, 0, 0, 8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff};
	static const uint8_t text_bytes[] = {1, 0, 0, 0, 2, 0xc3, 0xab, 1, 0, 0, 0, 0, 0, 0};
	CrBuf		buf = {space, 0, sizeof(space)};

	cr_buf_int(&buf, -30);
	ok(buf.len == sizeof(number_bytes) && memcmp(space, number_bytes, buf.len) == 0,
	   "an integer: int64, big-endian");
	buf.len = 0;
	cr_buf_time(&buf, utc(2026, 2, 28, 9, 30, 0) + 250000);
	ok(buf.len == sizeof(time_bytes) && memcmp(space, time_bytes, buf.len) == 0,
	   "a time: microseconds since 1970");
	buf.len = 0;
	cr_buf_time(&buf, -TO_2000 - 1);
	ok(buf.len == sizeof(old_bytes) && memcmp(space, old_bytes, buf.len) == 0,
	   "also before 1970");
	buf.len = 0;
	cr_buf_time(&buf, CR_NEVER);
	ok(buf.len == sizeof(never_bytes) && memcmp(space, never_bytes, buf.len) == 0,
	   "infinity is the largest integer");
	buf.len = 0;
	cr_buf_text(&buf, "\303\253");
	cr_buf_text(&buf, "");
	cr_buf_text(&buf, NULL);
	cr_buf_null(&buf);
	ok(buf.len == sizeof(text_bytes) && memcmp(space, text_bytes, buf.len) == 0,
	   "a text, an empty text, which is not NULL, and NULL");
	buf.len = 0;
	cr_buf_bytes(&buf, "\0\377", 2);
	cr_buf_bytes(&buf, NULL, 0);
	ok(buf.len == 8 && memcmp(space, "\1\0\0\0\2\0\377\0", 8) == 0, "bytes, and NULL");
}

static void
test_vectors(void)
{
	CrBuf		buf = {space, 0, sizeof(space)};
	CrRow		full = full_row();
	CrRow		bare = bare_row();
	Bytes		want = {{0}, 0};
	uint8_t		hash[CR_HASH_LEN];

	cr_chain_genesis(sha256, "user_2abc", &buf, hash);
	is_text(hex(hash), "e6b15d457bc3364e070e601025c798a80074c8ed32df6c07c6c26276da5216cc",
			"h(0) is SHA-256 of credits-g1 and the user id");
	hash_row(&bare, hash, NULL, NULL, hash);
	is_text(hex(hash), "93ff83d2a27b715c74bf66107e191a51f47037bffb7a5b71d48b9961e337ccd7",
			"h(1) of a row with almost nothing");
	hash_row(&full, counting, descending, counting, hash);
	is_text(hex(hash), "0bc8541cade1ae79c3f3d5c40bc0eff3de3ad1cb6286980ae7855de34bc38a6b",
			"h(n) of a row with everything");
	buf.len = 0;
	cr_facts_encode(&buf, &full.facts);
	encode_facts(&want, &full.facts);
	ok(buf.len == want.len && memcmp(buf.data, want.data, want.len) == 0, "the facts' bytes");

	same_bytes(&full, "deduct", descending, counting, "a row with everything, byte by byte");
	same_bytes(&bare, "open", NULL, NULL, "a row with almost nothing");
	same_bytes(&full, "deduct", NULL, counting, "metadata without a reason");
	same_bytes(&full, "deduct", descending, NULL, "a reason without metadata");
	full.ends_at = CR_NEVER;
	same_bytes(&full, "deduct", NULL, NULL, "a grant without an end: infinity, not NULL");
	full.facts.plan = NULL;
	full.facts.plan_version = 0;
	full.facts.scheduled_plan = NULL;
	full.facts.status = CR_ACTIVE;
	full.facts.cycle = CR_NO_CYCLE;
	full.facts.last_undone = true;
	full.kind = CR_KIND_CLOCK_REPAIR;
	same_bytes(&full, "clock_repair", NULL, NULL, "facts without a plan, a cycle and a limit");
}

/* Every field is hashed: if any one has another value, the hash is another. */
static void
test_every_field(void)
{
	CrRow		full = full_row();
	CrRow		row;
	uint8_t		hashes[80][CR_HASH_LEN];
	uint8_t		other[CR_HASH_LEN];
	int			n = 0;
	int			same = 0;

	memcpy(other, counting, CR_HASH_LEN);
	other[31] ^= 1;
	hash_row(&full, counting, descending, counting, hashes[n++]);
	hash_row(&full, other, descending, counting, hashes[n++]);
	hash_row(&full, counting, other, counting, hashes[n++]);
	hash_row(&full, counting, NULL, counting, hashes[n++]);
	hash_row(&full, counting, descending, other, hashes[n++]);
	hash_row(&full, counting, descending, NULL, hashes[n++]);

#define WITH(change)                                                                           \
	do                                                                                         \
	{                                                                                          \
		row = full;                                                                            \
		change;                                                                                \
		hash_row(&row, counting, descending, counting, hashes[n++]);                           \
	} while (0)

	WITH(row.user_id = "usr_u");
	WITH(row.seq++);
	WITH(row.kind = CR_KIND_ADJUST);
	WITH(row.created_at++);
	WITH(row.effective_at++);
	WITH(row.period++);
	WITH(row.plan_version++);
	WITH(row.plan_version = 0);
	WITH(row.delta.monthly++);
	WITH(row.delta.granted++);
	WITH(row.delta.purchased++);
	WITH(row.balance.monthly++);
	WITH(row.balance.granted++);
	WITH(row.balance.purchased++);
	WITH(row.held.monthly++);
	WITH(row.held.granted++);
	WITH(row.held.purchased++);
	WITH(row.owed_monthly++);
	WITH(row.owed_purchased++);
	WITH(row.n_allocations = 1);
	WITH(row.n_allocations = 0);
	WITH(row.allocations = other_allocations);
	WITH(row.ref_seq++);
	WITH(row.has_ref_seq = false);
	WITH(row.ends_at++);
	WITH(row.has_ends_at = false);
	WITH(row.next_reset_at++);
	WITH(row.next_reset_at = CR_NEVER);
	WITH(row.payment_ref = "pi_3R");
	WITH(row.payment_ref = NULL);
	WITH(row.idempotency_key = "k");
	WITH(row.idempotency_key = NULL);
	WITH(row.request_digest = other);
	WITH(row.request_digest = NULL);
	WITH(row.actor = "bpp");
	WITH(row.spender = "user_8");
	WITH(row.spender = NULL);
	WITH(row.run_id = counting);
	WITH(row.run_id = NULL);
	WITH(row.amount++);
	WITH(row.expired++);
	WITH(row.forfeited++);
	WITH(row.skipped++);
	WITH(row.has_facts = false);
	WITH(row.facts.plan = "pr");
	WITH(row.facts.plan_version++);
	WITH(row.facts.scheduled_plan = NULL);
	WITH(row.facts.cycle_anchor++);
	WITH(row.facts.time_zone = "UTC");
	WITH(row.facts.status = CR_ACTIVE);
	WITH(row.facts.overdraft_limit++);
	WITH(row.facts.period_granted++);
	WITH(row.facts.period_start++);
	WITH(row.facts.period_share++);
	WITH(row.facts.cycle = CR_CALENDAR);
	WITH(row.facts.cycle = CR_NO_CYCLE);
	WITH(row.facts.last_left++);
	WITH(row.facts.last_limit++);
	WITH(row.facts.last_undone = !row.facts.last_undone);
	/* what moves from one field to the next */
	WITH((row.payment_ref = "pi_3Qk", row.idempotency_key = ""));
	WITH((row.payment_ref = "pi_3", row.idempotency_key = "Q"));

	for (int i = 0; i < n; i++)
	{
		for (int k = 0; k < i; k++)
		{
			if (memcmp(hashes[i], hashes[k], CR_HASH_LEN) == 0)
			{
				note("variants %d and %d have one hash", k, i);
				same++;
			}
		}
	}
	ok(n == 67 && same == 0, "every field changes the hash");
}

/* Not hashed are the texts, because their digests are, and the hash itself. */
static void
test_texts_are_digests(void)
{
	CrRow		row = full_row();
	uint8_t		one[CR_HASH_LEN];
	uint8_t		two[CR_HASH_LEN];

	hash_row(&row, counting, descending, counting, one);
	row.reason = "thanks";
	row.metadata = "{}";
	row.text_salt = counting;
	row.text_salt_len = 16;
	row.reason_digest = counting;
	row.metadata_digest = counting;
	memset(row.hash, 7, CR_HASH_LEN);
	hash_row(&row, counting, descending, counting, two);
	ok(memcmp(one, two, CR_HASH_LEN) == 0,
	   "texts and salt can be erased: the hash takes their digests from the caller");
}

static void
test_small_buffer(void)
{
	CrRow		row = full_row();
	Bytes		want;
	int			wrong = 0;

	encode(&want, counting, &row, "deduct", descending, counting);
	for (size_t cap = 0; cap <= want.len; cap++)
	{
		CrBuf		buf = {space, 0, cap};

		memset(space, 0xEE, sizeof(space));
		cr_chain_encode(&buf, sha256, counting, &row, descending, counting);
		for (size_t i = cap; i < sizeof(space); i++)
			wrong += space[i] != 0xEE;
		wrong += (buf.len <= cap) != (cap == want.len);
	}
	is_int(wrong, 0, "a buffer that is too small is not written past, and says so");
}

static void
test_audit(void)
{
	CrAuditRow	row = {3, utc(2026, 2, 3, 4, 5, 6), "freeze", "user_2abc", "admin", "10.0.0.7",
		"psql", "{\"a\": 1}", "{\"a\": 2}", {0}};
	uint8_t		hashes[16][CR_HASH_LEN];
	uint8_t		hash[CR_HASH_LEN];
	CrAuditRow	changed;
	CrBuf		buf = {space, 0, sizeof(space)};
	Bytes		want = {{0}, 0};
	int			same = 0;

	raw(&want, "credits-a1", 10);
	raw(&want, counting, CR_HASH_LEN);
	number(&want, true, 3);
	moment(&want, true, row.created_at);
	text(&want, "freeze");
	text(&want, "user_2abc");
	text(&want, "admin");
	text(&want, "10.0.0.7");
	text(&want, "psql");
	text(&want, "{\"a\": 1}");
	text(&want, "{\"a\": 2}");
	cr_audit_encode(&buf, counting, &row);
	ok(buf.len == want.len && memcmp(buf.data, want.data, want.len) == 0,
	   "an audit row, byte by byte");
	sha256(buf.data, buf.len, hash);
	is_text(hex(hash), "850fc932881411cfd3c1fec50562d8556db878fc1e4932929772d344bd45633f",
			"its hash");
	for (int i = 0; i < 14; i++)
	{
		uint8_t		prev[CR_HASH_LEN];

		memcpy(prev, counting, CR_HASH_LEN);
		prev[0] ^= i == 13;
		changed = row;
		changed.seq += i == 0;
		changed.created_at += i == 1;
		changed.action = i == 2 ? "unfreeze" : row.action;
		changed.subject = i == 3 ? "user_2abd" : row.subject;
		changed.actor = i == 4 ? "owner" : row.actor;
		changed.client_addr = i == 5 ? "::1" : i == 6 ? NULL : row.client_addr;
		changed.application = i == 7 ? "" : i == 8 ? NULL : row.application;
		changed.before = i == 9 ? "{}" : i == 10 ? NULL : row.before;
		changed.after = i == 11 ? "{}" : i == 12 ? NULL : row.after;
		buf.len = 0;
		cr_audit_encode(&buf, prev, &changed);
		sha256(buf.data, buf.len, hashes[i]);
		same += memcmp(hashes[i], hash, CR_HASH_LEN) == 0;
		for (int k = 0; k < i; k++)
			same += memcmp(hashes[i], hashes[k], CR_HASH_LEN) == 0;
	}
	is_int(same, 0, "every field changes the hash of an audit row");
}

void
test_chain(void)
{
	for (int i = 0; i < CR_HASH_LEN; i++)
	{
		counting[i] = (uint8_t) i;
		descending[i] = (uint8_t) (255 - i);
	}
	test_bytes();
	test_vectors();
	test_every_field();
	test_texts_are_digests();
	test_small_buffer();
	test_audit();
}
