/*
 * digest.c
 *		SHA-256 from the server's library, and the digests that are made with it.
 */
#include "postgres.h"

#ifdef USE_OPENSSL
#include <openssl/sha.h>
#endif

#include "common/cryptohash.h"

#include "base/digest.h"

/*
 * In OpenSSL 3, pg_cryptohash makes a digest context and searches for the algorithm each
 * time.  That takes longer than hashing a row.  OpenSSL's plain functions do neither.
 * They are deprecated, so a library may lack them.
 */
#if defined(USE_OPENSSL) && !defined(OPENSSL_NO_DEPRECATED_3_0)
static void
sha256_parts(const void *a, size_t a_len, const void *b, size_t b_len,
			 uint8_t out[CR_HASH_LEN])
{
	SHA256_CTX ctx;

	if (SHA256_Init(&ctx) != 1 || SHA256_Update(&ctx, a, a_len) != 1 ||
		(b_len > 0 && SHA256_Update(&ctx, b, b_len) != 1) || SHA256_Final(out, &ctx) != 1)
		elog(ERROR, "could not compute SHA-256");
}
#else
static void
sha256_parts(const void *a, size_t a_len, const void *b, size_t b_len,
			 uint8_t out[CR_HASH_LEN])
{
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, a, a_len) < 0 ||
		(b_len > 0 && pg_cryptohash_update(ctx, b, b_len) < 0) ||
		pg_cryptohash_final(ctx, out, CR_HASH_LEN) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(ctx);
}
#endif

void
sha256(const void *data, size_t len, uint8_t out[CR_HASH_LEN])
{
	sha256_parts(data, len, NULL, 0, out);
}

/* The digest of a personal text, as the chain has it: SHA256(salt || text). */
void
salted_digest(const uint8_t *salt, size_t salt_len, const char *text, uint8_t out[CR_HASH_LEN])
{
	sha256_parts(salt, salt_len, text, strlen(text), out);
}

void
new_salt(uint8_t out[SALT_LEN])
{
	if (!pg_strong_random(out, SALT_LEN))
		elog(ERROR, "could not generate random bytes");
}

/* A random (version 4) UUID, RFC 9562. */
void
new_uuid(uint8_t out[CR_UUID_LEN])
{
	if (!pg_strong_random(out, CR_UUID_LEN))
		elog(ERROR, "could not generate random bytes");
	out[6] = (out[6] & 0x0f) | 0x40;
	out[8] = (out[8] & 0x3f) | 0x80;
}

/* The digest of one of a row's texts.  If the text was erased, the stored digest. */
const uint8_t *
text_digest(const CrRow *row, const char *text, const uint8_t *stored,
			uint8_t out[CR_HASH_LEN])
{
	if (text == NULL)
		return stored;
	salted_digest(row->text_salt, row->text_salt_len, text, out);
	return out;
}

/*
 * After an encoding: if the bytes did not fit, the buffer gets room for them, and true
 * asks for the encoding once more.
 */
static bool
needed_room(CrBuf *buf)
{
	if (buf->len <= buf->cap)
		return false;
	buf->cap = buf->len;
	buf->data = palloc(buf->cap);
	return true;
}

/* h(n) of a row, from the hash of the row before it. */
void
row_hash(const uint8_t prev[CR_HASH_LEN], const CrRow *row, uint8_t out[CR_HASH_LEN])
{
	uint8_t fixed[CHAIN_BUFFER_SIZE];
	uint8_t reason[CR_HASH_LEN];
	uint8_t metadata[CR_HASH_LEN];
	const uint8_t *reason_digest = text_digest(row, row->reason, row->reason_digest, reason);
	const uint8_t *metadata_digest = text_digest(row, row->metadata, row->metadata_digest,
												 metadata);
	CrBuf buf = {.data = fixed, .cap = sizeof(fixed)};

	do
		cr_chain_encode(&buf, sha256, prev, row, reason_digest, metadata_digest);
	while (needed_room(
		&buf)); /* only with many allocations, or with texts that no call accepts */
	sha256(buf.data, buf.len, out);
}

void
genesis_hash(const char *user_id, uint8_t out[CR_HASH_LEN])
{
	CrBuf buf = {.cap = strlen(user_id) + 32};

	buf.data = palloc(buf.cap);
	cr_chain_genesis(sha256, user_id, &buf, out);
}

void
audit_hash(const uint8_t prev[CR_HASH_LEN], const CrAuditRow *row, uint8_t out[CR_HASH_LEN])
{
	uint8_t fixed[CHAIN_BUFFER_SIZE];
	CrBuf buf = {.data = fixed, .cap = sizeof(fixed)};

	do
		cr_audit_encode(&buf, prev, row);
	while (needed_room(&buf));
	sha256(buf.data, buf.len, out);
}

void
audit_genesis_hash(uint8_t out[CR_HASH_LEN])
{
	sha256("credits-a0", 10, out);
}

/*
 * The hash of a leaf in an anchor's tree.  user_id NULL: the leaf of the audit log's row.
 */
void
leaf_hash(const char *user_id, int64_t seq, const uint8_t hash[CR_HASH_LEN],
		  uint8_t out[CR_HASH_LEN])
{
	uint8_t fixed[512];
	CrBuf buf = {.data = fixed, .cap = sizeof(fixed)};

	do
		cr_leaf_encode(&buf, user_id, seq, hash);
	while (needed_room(&buf));
	sha256(buf.data, buf.len, out);
}

void
anchor_hash(const CrAnchor *anchor, uint8_t out[CR_HASH_LEN])
{
	uint8_t fixed[256];
	CrBuf buf = {.data = fixed, .cap = sizeof(fixed)};

	cr_anchor_encode(&buf, anchor);
	Assert(buf.len <= buf.cap);
	sha256(buf.data, buf.len, out);
}

void
anchor_genesis_hash(uint8_t out[CR_HASH_LEN])
{
	sha256("credits-n0", 10, out);
}
