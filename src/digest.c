/*
 * digest.c
 *		SHA-256 as the server has it, and the digests that are made with it.
 */
#include "postgres.h"

#ifdef USE_OPENSSL
#include <openssl/evp.h>
#else
#include "common/cryptohash.h"
#endif

#include "utils/memutils.h"

#include "digest.h"

/*
 * The digest's context is kept for the life of the backend.  In OpenSSL 3,
 * making one and finding the algorithm, as pg_cryptohash does each time, takes
 * longer than hashing a row.
 */
#ifdef USE_OPENSSL
static void
sha256_parts(const void *a, size_t a_len, const void *b, size_t b_len,
			 uint8_t out[CR_HASH_LEN])
{
	static EVP_MD_CTX *ctx = NULL;
	bool		good = true;

	if (ctx == NULL)
	{
		ctx = EVP_MD_CTX_new();
		good = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
	}
	else
		good = EVP_DigestInit_ex(ctx, NULL, NULL) == 1;
	if (good && EVP_DigestUpdate(ctx, a, a_len) == 1 &&
		(b_len == 0 || EVP_DigestUpdate(ctx, b, b_len) == 1) &&
		EVP_DigestFinal_ex(ctx, out, NULL) == 1)
		return;
	EVP_MD_CTX_free(ctx);
	ctx = NULL;
	elog(ERROR, "could not compute SHA-256");
}
#else
static void
sha256_parts(const void *a, size_t a_len, const void *b, size_t b_len,
			 uint8_t out[CR_HASH_LEN])
{
	static pg_cryptohash_ctx *ctx = NULL;

	if (ctx == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		ctx = pg_cryptohash_create(PG_SHA256);
		MemoryContextSwitchTo(old);
	}
	if (ctx == NULL || pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, a, a_len) < 0 ||
		(b_len > 0 && pg_cryptohash_update(ctx, b, b_len) < 0) ||
		pg_cryptohash_final(ctx, out, CR_HASH_LEN) < 0)
		elog(ERROR, "could not compute SHA-256");
}
#endif

void
sha256(const void *data, size_t len, uint8_t out[CR_HASH_LEN])
{
	sha256_parts(data, len, NULL, 0, out);
}

/* The digest of personal text that the chain holds: SHA256(salt || text). */
void
salted_digest(const uint8_t *salt, size_t salt_len, const char *text,
			  uint8_t out[CR_HASH_LEN])
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

/* h(n) of a row, from the hash before it. */
void
row_hash(const uint8_t prev[CR_HASH_LEN], const CrRow *row, uint8_t out[CR_HASH_LEN])
{
	uint8_t		fixed[CHAIN_BUFFER_SIZE];
	uint8_t		reason[CR_HASH_LEN];
	uint8_t		metadata[CR_HASH_LEN];
	const uint8_t *reason_digest = row->reason_digest;
	const uint8_t *metadata_digest = row->metadata_digest;
	CrBuf		buf = {.data = fixed, .cap = sizeof(fixed)};

	if (row->reason)
	{
		salted_digest(row->text_salt, row->text_salt_len, row->reason, reason);
		reason_digest = reason;
	}
	if (row->metadata)
	{
		salted_digest(row->text_salt, row->text_salt_len, row->metadata, metadata);
		metadata_digest = metadata;
	}
	for (;;)
	{
		cr_chain_encode(&buf, sha256, prev, row, reason_digest, metadata_digest);
		if (buf.len <= buf.cap)
			break;
		/* only with many allocations, or texts that no call let in */
		buf.cap = buf.len;
		buf.data = palloc(buf.cap);
	}
	sha256(buf.data, buf.len, out);
}

void
genesis_hash(const char *user_id, uint8_t out[CR_HASH_LEN])
{
	CrBuf		buf = {.cap = strlen(user_id) + 32};

	buf.data = palloc(buf.cap);
	cr_chain_genesis(sha256, user_id, &buf, out);
}

void
audit_hash(const uint8_t prev[CR_HASH_LEN], const CrAuditRow *row, uint8_t out[CR_HASH_LEN])
{
	uint8_t		fixed[CHAIN_BUFFER_SIZE];
	CrBuf		buf = {.data = fixed, .cap = sizeof(fixed)};

	for (;;)
	{
		cr_audit_encode(&buf, prev, row);
		if (buf.len <= buf.cap)
			break;
		buf.cap = buf.len;
		buf.data = palloc(buf.cap);
	}
	sha256(buf.data, buf.len, out);
}

void
audit_genesis_hash(uint8_t out[CR_HASH_LEN])
{
	sha256("credits-a0", 10, out);
}
