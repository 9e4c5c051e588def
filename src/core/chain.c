/*
 * chain.c
 *		The hash encoding of history rows (docs/audit-format.md), and nowhere
 *		else.
 *
 * A field is a presence byte (0: NULL, and nothing follows; 1), a uint32
 * big-endian length and the bytes; integers are int64 big-endian; times int64
 * microseconds since 1970-01-01 UTC.
 */
#include <string.h>

#include "core/core.h"

#define USECS_TO_2000	(10957 * CR_DAY)

/* Appends if it fits; what does not is only counted. */
void
cr_buf_raw(CrBuf *buf, const void *data, size_t len)
{
	if (buf->len <= buf->cap && len <= buf->cap - buf->len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}

static void
store_be(uint8_t *out, uint64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
	{
		out[i] = (uint8_t) value;
		value >>= 8;
	}
}

static void
put_be(CrBuf *buf, uint64_t value, int bytes)
{
	uint8_t		out[8];

	store_be(out, value, bytes);
	cr_buf_raw(buf, out, (size_t) bytes);
}

void
cr_buf_null(CrBuf *buf)
{
	cr_buf_raw(buf, "\0", 1);
}

void
cr_buf_bytes(CrBuf *buf, const void *data, size_t len)
{
	uint8_t		head[5] = {1};

	if (data == NULL)
	{
		cr_buf_null(buf);
		return;
	}
	store_be(head + 1, len, 4);
	cr_buf_raw(buf, head, sizeof(head));
	cr_buf_raw(buf, data, len);
}

void
cr_buf_text(CrBuf *buf, const char *text)
{
	cr_buf_bytes(buf, text, text ? strlen(text) : 0);
}

/* Most of what is hashed is integers: one append each. */
void
cr_buf_int(CrBuf *buf, int64_t value)
{
	uint8_t		field[13] = {1, 0, 0, 0, 8};

	store_be(field + 5, (uint64_t) value, 8);
	cr_buf_raw(buf, field, sizeof(field));
}

/* Infinities stay INT64_MIN and INT64_MAX. */
void
cr_buf_time(CrBuf *buf, CrTime value)
{
	if (value != INT64_MIN && value != INT64_MAX)
		value += USECS_TO_2000;
	cr_buf_int(buf, value);
}

static void
put_int_if(CrBuf *buf, bool present, int64_t value)
{
	if (present)
		cr_buf_int(buf, value);
	else
		cr_buf_null(buf);
}

static void
put_time_if(CrBuf *buf, bool present, CrTime value)
{
	if (present)
		cr_buf_time(buf, value);
	else
		cr_buf_null(buf);
}

static void
put_digest(CrBuf *buf, const uint8_t *digest)
{
	cr_buf_bytes(buf, digest, CR_HASH_LEN);
}

/* h(0), the hash before an account's first row. */
void
cr_chain_genesis(CrSha256 sha, const char *user_id, CrBuf *buf, uint8_t out[CR_HASH_LEN])
{
	buf->len = 0;
	cr_buf_raw(buf, "credits-g1", 10);
	cr_buf_raw(buf, user_id, strlen(user_id));
	sha(buf->data, buf->len, out);
}

void
cr_facts_encode(CrBuf *buf, const CrFacts *facts)
{
	cr_buf_raw(buf, "credits-f1", 10);
	cr_buf_text(buf, facts->plan);
	put_int_if(buf, facts->plan != NULL, facts->plan_version);
	cr_buf_text(buf, facts->scheduled_plan);
	cr_buf_time(buf, facts->cycle_anchor);
	cr_buf_text(buf, facts->time_zone);
	cr_buf_text(buf, cr_status_name(facts->status));
	cr_buf_int(buf, facts->overdraft_limit);
	cr_buf_int(buf, facts->period_granted);
}

/*
 * What h(n) is the SHA-256 of.  The digests of the two texts are the caller's:
 * SHA-256 of salt and text, or what erasing left of them, or NULL.  A buffer
 * that is too small ends with len > cap; nothing past it was written.
 */
void
cr_chain_encode(CrBuf *buf, CrSha256 sha, const uint8_t prev[CR_HASH_LEN],
				const CrRow *row, const uint8_t *reason_digest,
				const uint8_t *metadata_digest)
{
	uint8_t		facts[CR_HASH_LEN];

	if (row->has_facts)
	{
		buf->len = 0;
		cr_facts_encode(buf, &row->facts);
		if (buf->len > buf->cap)
			return;
		sha(buf->data, buf->len, facts);
	}

	buf->len = 0;
	cr_buf_raw(buf, "credits-h1", 10);
	cr_buf_raw(buf, prev, CR_HASH_LEN);
	cr_buf_text(buf, row->user_id);
	cr_buf_int(buf, row->seq);
	cr_buf_text(buf, cr_kind_name(row->kind));
	cr_buf_time(buf, row->created_at);
	cr_buf_time(buf, row->effective_at);
	cr_buf_time(buf, row->period_start);
	put_int_if(buf, row->plan_version != 0, row->plan_version);
	cr_buf_int(buf, row->delta.monthly);
	cr_buf_int(buf, row->delta.granted);
	cr_buf_int(buf, row->delta.purchased);
	cr_buf_int(buf, row->balance.monthly);
	cr_buf_int(buf, row->balance.granted);
	cr_buf_int(buf, row->balance.purchased);
	cr_buf_int(buf, row->held.monthly);
	cr_buf_int(buf, row->held.granted);
	cr_buf_int(buf, row->held.purchased);
	cr_buf_int(buf, row->owed_monthly);
	cr_buf_int(buf, row->owed_purchased);
	if (row->n_allocations > 0)
	{
		cr_buf_raw(buf, "\1", 1);
		put_be(buf, (uint64_t) row->n_allocations * 16, 4);
		for (int i = 0; i < row->n_allocations * 2; i++)
			put_be(buf, (uint64_t) row->allocations[i], 8);
	}
	else
		cr_buf_null(buf);
	put_int_if(buf, row->has_ref_seq, row->ref_seq);
	put_time_if(buf, row->has_ends_at, row->ends_at);
	put_time_if(buf, row->next_reset_at != CR_NEVER, row->next_reset_at);
	cr_buf_text(buf, row->payment_ref);
	cr_buf_text(buf, row->idempotency_key);
	put_digest(buf, row->request_digest);
	cr_buf_text(buf, row->actor);
	cr_buf_text(buf, row->spender);
	cr_buf_bytes(buf, row->run_id, CR_UUID_LEN);
	cr_buf_int(buf, row->amount);
	cr_buf_int(buf, row->expired);
	cr_buf_int(buf, row->forfeited);
	cr_buf_int(buf, row->skipped);
	put_digest(buf, row->has_facts ? facts : NULL);
	put_digest(buf, reason_digest);
	put_digest(buf, metadata_digest);
}

/* What an audit row's hash is the SHA-256 of. */
void
cr_audit_encode(CrBuf *buf, const uint8_t prev[CR_HASH_LEN], const CrAuditRow *row)
{
	buf->len = 0;
	cr_buf_raw(buf, "credits-a1", 10);
	cr_buf_raw(buf, prev, CR_HASH_LEN);
	cr_buf_int(buf, row->seq);
	cr_buf_time(buf, row->created_at);
	cr_buf_text(buf, row->action);
	cr_buf_text(buf, row->subject);
	cr_buf_text(buf, row->actor);
	cr_buf_text(buf, row->client_addr);
	cr_buf_text(buf, row->application);
	cr_buf_text(buf, row->before);
	cr_buf_text(buf, row->after);
}
