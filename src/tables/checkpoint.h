/*
 * checkpoint.h
 *		A checkpoint replaces archived rows.  It has the account as it was after the last
 *		archived row, and everything in the archived rows that later rows and calls can
 *		refer to.
 */
#ifndef CREDITS_TABLES_CHECKPOINT_H
#define CREDITS_TABLES_CHECKPOINT_H

#include "postgres.h"

#include "core/core.h"
#include "store/writer.h"

/* An array of numbers, for a column of type int8[]. */
typedef struct Numbers
{
	int64 *values;
	int count;
	int room;
} Numbers;

/* How many numbers one item has.  A hold also has its pairs after these. */
#define GRANT_NUMBERS 8 /* seq, amount, remaining, ends_at, closed, paid, expired, elsewhere */
#define HOLD_NUMBERS \
	8					   /* seq, amount, monthly, purchased, period, ends_at, given_back,
							  * pairs */
#define PURCHASE_NUMBERS 5 /* see the enum */
#define ARCHIVED_NUMBERS 2 /* year, rows */

/* How many numbers the hold has that begins at index at. */
static inline int
hold_length(const Numbers *holds, int at)
{
	return HOLD_NUMBERS + 2 * (int) holds->values[at + HOLD_NUMBERS - 1];
}

/* The numbers of a purchase, or of another payment. */
enum
{
	PURCHASE_SEQ,
	PURCHASE_AMOUNT,
	PURCHASE_REVOKED,
	PURCHASE_REPORTED,
	PURCHASE_GRANTED
};

typedef struct Checkpoint
{
	CrAccount acc;	/* after row acc.history_seq; its lists are not set */
	Numbers grants; /* grants that had not ended */
	Numbers holds;	/* holds that can still be captured */
	Numbers purchases;
	const char **payment_refs; /* of the purchases, in the same order */
	int room_refs;
	Numbers archived;
	/* the archived row that opened the account with facts (not a purchase); 0: none */
	int64 opened_seq;
	const uint8_t *opened_digest; /* NULL: none */
	const char *opened_plan;	  /* NULL: none */
	CrLocal opened_anchor;
	const char *opened_zone;
} Checkpoint;

extern void numbers_add(Numbers *numbers, int64 value);
extern const char *checkpoint_read(Checkpoint *ckpt, TupleTableSlot *slot);
extern bool checkpoint_usable(const char *user_id, Snapshot snapshot, Checkpoint *ckpt);
extern bool checkpoint_find(const char *user_id, Snapshot snapshot, Checkpoint *ckpt);
extern bool checkpoint_covers(const char *user_id, int64 seq, Snapshot snapshot);
extern void checkpoint_save(Writer *writer, const Checkpoint *ckpt);
extern void checkpoint_digest(const Checkpoint *ckpt, uint8_t out[CR_HASH_LEN]);
extern void checkpoint_add_purchase(Checkpoint *ckpt, int64 seq, int64 amount, bool granted,
									const char *payment_ref);
extern void checkpoint_add_row(Checkpoint *ckpt, CrTime created_at);
extern int checkpoint_purchases(const Checkpoint *ckpt);
extern int64 checkpoint_time(CrTime at);
extern CrTime checkpoint_from_time(int64 value);

#endif
