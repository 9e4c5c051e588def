/*
 * rings.h
 *		Committed changes of accounts, on their way to the worker that tells them.
 *
 * The rings are there if the library is in shared_preload_libraries.
 */
#ifndef CREDITS_LIVE_RINGS_H
#define CREDITS_LIVE_RINGS_H

#include "postgres.h"

#include "live/changes.h"

#define RING_NEVER PG_INT64_MAX /* longer than anything waits */

typedef struct Ring Ring;

extern void rings_init(void);

/* For the session that commits. */
extern void rings_push(const Changes *changes);
extern bool rings_are_wanted(void);
extern void rings_owe_resync(void);
extern void rings_send_away(Oid database);
extern void rings_call_back(Oid database);

/* For the launcher. */
extern int rings_count(void);
extern Ring *rings_nth(int nth);
extern void rings_launch(bool is_running);
extern bool rings_are_missed(void);
extern Oid ring_database(Ring *ring);
extern bool ring_has_worker(Ring *ring);
extern int64 ring_delay(Ring *ring);
extern void ring_free(Ring *ring);

/* For the worker. */
typedef void (*RingReader)(const char *user_id, int64 seq);

extern Ring *ring_attach(void);
extern bool ring_is_sent_away(Ring *ring);
extern bool ring_moves(Ring *ring);
extern bool ring_is_half_full(Ring *ring);
extern void ring_read(Ring *ring, RingReader reader);
extern int64 ring_accounts_delay(Ring *ring);
extern int64 ring_resync_delay(Ring *ring);
extern void ring_take_resync(Ring *ring);
extern void ring_is_told(Ring *ring, bool with_resync);
extern void ring_owe_resync(Ring *ring);
extern void ring_has_no_extension(Ring *ring);
extern void ring_wait(Ring *ring, bool has_accounts, int64 at_most);

#endif
