/*
 * chain.c
 *		The bytes that are hashed (docs/audit-format.md).  No other file knows them.
 *
 * A field that is NULL is one byte 0.  Any other field is a byte 1, the length as a
 * big-endian uint32, and the bytes.  The bytes of an integer are a big-endian int64;
 * those of a time are an int64, microseconds since 1970-01-01 UTC.
 */
#include <string.h>

#include "core/core.h"

#define USECS_TO_2000 (10957 * CR_DAY)

/*
 * Appends the bytes if they fit, and counts them in any case.  Hashing a row appends
 * some fifty times, so this is inlined where the length is known.
 */
static inline void
append(CrBuf *buf, const void *data, size_t len)
{
	if (buf->len <= buf->cap && len <= buf->cap - buf->len)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}

static inline void
store_be32(uint8_t *out, uint32_t value)
{
	out[0] = (uint8_t) (value >> 24);
	out[1] = (uint8_t) (value >> 16);
	out[2] = (uint8_t) (value >> 8);
	out[3] = (uint8_t) value;
}

static inline void
store_be64(uint8_t *out, uint64_t value)
{
	store_be32(out, (uint32_t) (value >> 32));
	store_be32(out + 4, (uint32_t) value);
}

static inline void
put_null(CrBuf *buf)
{
	append(buf, "\0", 1);
}

static inline void
put_bytes(CrBuf *buf, const void *data, size_t len)
{
	uint8_t head[5] = {1};

	if (data == NULL)
	{
		put_null(buf);
		return;
	}
	store_be32(head + 1, (uint32_t) len);
	append(buf, head, sizeof(head));
	append(buf, data, len);
}

static inline void
put_text(CrBuf *buf, const char *text)
{
	put_bytes(buf, text, text ? strlen(text) : 0);
}

static inline void
put_int(CrBuf *buf, int64_t value)
{
	if (buf->len + 13 <= buf->cap)
	{
		uint8_t *out = buf->data + buf->len;

		out[0] = 1;
		store_be32(out + 1, 8);
		store_be64(out + 5, (uint64_t) value);
	}
	buf->len += 13;
}

void
cr_buf_raw(CrBuf *buf, const void *data, size_t len)
{
	append(buf, data, len);
}

void
cr_buf_null(CrBuf *buf)
{
	put_null(buf);
}

void
cr_buf_bytes(CrBuf *buf, const void *data, size_t len)
{
	put_bytes(buf, data, len);
}

void
cr_buf_text(CrBuf *buf, const char *text)
{
	put_text(buf, text);
}

void
cr_buf_int(CrBuf *buf, int64_t value)
{
	put_int(buf, value);
}

/* Infinities stay INT64_MIN and INT64_MAX. */
static inline int64_t
since_1970(CrTime value)
{
	return value == INT64_MIN || value == INT64_MAX ? value : value + USECS_TO_2000;
}

static inline void
put_time(CrBuf *buf, CrTime value)
{
	put_int(buf, since_1970(value));
}

void
cr_buf_time(CrBuf *buf, CrTime value)
{
	put_time(buf, value);
}

static inline void
put_int_if(CrBuf *buf, bool present, int64_t value)
{
	if (present)
		put_int(buf, value);
	else
		put_null(buf);
}

static inline void
put_time_if(CrBuf *buf, bool present, CrTime value)
{
	put_int_if(buf, present, since_1970(value));
}

static inline void
put_digest(CrBuf *buf, const uint8_t *digest)
{
	put_bytes(buf, digest, CR_HASH_LEN);
}

/* h(0), which an account's first row has instead of the hash of a row before it. */
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
	cr_buf_time(buf, facts->period_start);
	cr_buf_int(buf, facts->period_share);
	cr_buf_text(buf, facts->cycle == CR_NO_CYCLE ? NULL : cr_cycle_name(facts->cycle));
	cr_buf_int(buf, facts->last_left);
	cr_buf_int(buf, facts->last_limit);
	cr_buf_int(buf, facts->last_undone);
	put_int_if(buf, facts->low_threshold != CR_NO_THRESHOLD, facts->low_threshold);
}

/*
 * The bytes of a row, whose SHA-256 is h(n).  The caller gives the digests of the two
 * texts: each is the SHA-256 of salt and text, or the stored digest of a text that
 * was erased, or NULL.  If the buffer is too small, len > cap afterwards, and nothing
 * was written past its end.
 */
void
cr_chain_encode(CrBuf *buf, CrSha256 sha, const uint8_t prev[CR_HASH_LEN], const CrRow *row,
				const uint8_t *reason_digest, const uint8_t *metadata_digest)
{
	uint8_t facts[CR_HASH_LEN];
	CrBuf out;

	if (row->has_facts)
	{
		buf->len = 0;
		cr_facts_encode(buf, &row->facts);
		if (buf->len > buf->cap)
			return;
		sha(buf->data, buf->len, facts);
	}

	/* No pointer to this copy leaves the function, so it stays in registers. */
	out = *buf;
	out.len = 0;
	append(&out, "credits-h1", 10);
	append(&out, prev, CR_HASH_LEN);
	put_text(&out, row->user_id);
	put_int(&out, row->seq);
	put_text(&out, cr_kind_name(row->kind));
	put_time(&out, row->created_at);
	put_time(&out, row->effective_at);
	put_int(&out, row->period);
	put_int_if(&out, row->plan_version != 0, row->plan_version);
	put_int(&out, row->delta.monthly);
	put_int(&out, row->delta.granted);
	put_int(&out, row->delta.purchased);
	put_int(&out, row->balance.monthly);
	put_int(&out, row->balance.granted);
	put_int(&out, row->balance.purchased);
	put_int(&out, row->held.monthly);
	put_int(&out, row->held.granted);
	put_int(&out, row->held.purchased);
	put_int(&out, row->owed_monthly);
	put_int(&out, row->owed_purchased);
	if (row->n_allocations > 0)
	{
		uint8_t item[8] = {1};

		store_be32(item + 1, (uint32_t) row->n_allocations * 16);
		append(&out, item, 5);
		for (int i = 0; i < row->n_allocations; i++)
		{
			store_be64(item, (uint64_t) row->allocations[i].source);
			append(&out, item, sizeof(item));
			store_be64(item, (uint64_t) row->allocations[i].credits);
			append(&out, item, sizeof(item));
		}
	}
	else
		put_null(&out);
	put_int_if(&out, row->has_ref_seq, row->ref_seq);
	put_time_if(&out, row->has_ends_at, row->ends_at);
	put_time_if(&out, row->next_reset_at != CR_NEVER, row->next_reset_at);
	put_text(&out, row->payment_ref);
	put_text(&out, row->idempotency_key);
	put_digest(&out, row->request_digest);
	put_text(&out, row->actor);
	put_text(&out, row->spender);
	put_bytes(&out, row->run_id, CR_UUID_LEN);
	put_int(&out, row->amount);
	put_int(&out, row->expired);
	put_int(&out, row->forfeited);
	put_int(&out, row->skipped);
	put_digest(&out, row->has_facts ? facts : NULL);
	put_digest(&out, reason_digest);
	put_digest(&out, metadata_digest);
	buf->len = out.len;
}

/* The bytes of a row of the audit log. */
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

/*
 * The bytes of a leaf of an anchor's tree: a user's row, or one of the audit log
 * (user_id NULL).  The first byte is RFC 6962's mark of a leaf.
 */
void
cr_leaf_encode(CrBuf *buf, const char *user_id, int64_t seq, const uint8_t hash[CR_HASH_LEN])
{
	buf->len = 0;
	cr_buf_raw(buf, "\0", 1);
	cr_buf_text(buf, user_id);
	cr_buf_int(buf, seq);
	cr_buf_bytes(buf, hash, CR_HASH_LEN);
}

/* The bytes of an anchor.  The audit log's hash is not among them: the root covers it. */
void
cr_anchor_encode(CrBuf *buf, const CrAnchor *anchor)
{
	buf->len = 0;
	cr_buf_raw(buf, "credits-n1", 10);
	cr_buf_raw(buf, anchor->previous_hash, CR_HASH_LEN);
	cr_buf_int(buf, anchor->anchor_no);
	cr_buf_time(buf, anchor->created_at);
	cr_buf_int(buf, anchor->accounts);
	cr_buf_int(buf, anchor->changed);
	cr_buf_int(buf, anchor->audit_seq);
	cr_buf_bytes(buf, anchor->root, CR_HASH_LEN);
	cr_buf_bytes(buf, anchor->changed_root, CR_HASH_LEN);
}
