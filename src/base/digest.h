/*
 * digest.h
 *		SHA-256 from the server's library, and the digests that are made with it.
 */
#ifndef CREDITS_BASE_DIGEST_H
#define CREDITS_BASE_DIGEST_H

#include "core/core.h"

#define SALT_LEN		  16
#define CHAIN_BUFFER_SIZE 16384 /* a row without allocations takes less */

extern void sha256(const void *data, size_t len, uint8_t out[CR_HASH_LEN]);
extern void salted_digest(const uint8_t *salt, size_t salt_len, const char *text,
						  uint8_t out[CR_HASH_LEN]);
extern const uint8_t *text_digest(const CrRow *row, const char *text, const uint8_t *stored,
								  uint8_t out[CR_HASH_LEN]);
extern void new_salt(uint8_t out[SALT_LEN]);
extern void new_uuid(uint8_t out[CR_UUID_LEN]);
extern void row_hash(const uint8_t prev[CR_HASH_LEN], const CrRow *row,
					 uint8_t out[CR_HASH_LEN]);
extern void audit_hash(const uint8_t prev[CR_HASH_LEN], const CrAuditRow *row,
					   uint8_t out[CR_HASH_LEN]);
extern void audit_genesis_hash(uint8_t out[CR_HASH_LEN]);
extern void leaf_hash(const char *user_id, int64_t seq, const uint8_t hash[CR_HASH_LEN],
					  uint8_t out[CR_HASH_LEN]);
extern void anchor_hash(const CrAnchor *anchor, uint8_t out[CR_HASH_LEN]);
extern void anchor_genesis_hash(uint8_t out[CR_HASH_LEN]);
extern void genesis_hash(const char *user_id, uint8_t out[CR_HASH_LEN]);

/* Is the stored digest, which may be NULL, equal to this one? */
static inline bool
digest_is(const uint8_t *stored, const uint8_t *digest)
{
	return stored != NULL && memcmp(stored, digest, CR_HASH_LEN) == 0;
}

#endif
