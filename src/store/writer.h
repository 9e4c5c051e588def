/*
 * writer.h
 *		The one file that writes table rows.
 *
 * A caller begins with writer_begin.  For each row, it fills writer->slot: writer_clear
 * makes an empty row, writer_copy a copy of a stored one, and slots.h has functions that
 * set single columns.  Then it calls writer_insert, writer_queue, writer_update or
 * writer_delete.  writer_end inserts the queued rows and fires the triggers.
 */
#ifndef CREDITS_STORE_WRITER_H
#define CREDITS_STORE_WRITER_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"

#include "store/columns.h"
#include "store/relations.h"

/*
 * A table that is prepared for writing.  This has everything that does not change from
 * call to call.  It is kept until the table or any function changes.
 */
typedef struct Writer
{
	MemoryContext memory;	  /* of this struct and all that it points to */
	MemoryContext use_memory; /* lasts until writer_end */
	StoreTable table;
	Oid relid;
	/* open while in use; indexes are opened when they are needed */
	Relation rel;
	EState *estate;
	ResultRelInfo *rri;
	Oid *indexes;
	int *partial;				 /* for each index, what it leaves out: see store_partial() */
	TupleTableSlot *slot;		 /* the row to write */
	struct Queue *queue;		 /* rows that writer_queue has taken; NULL: never used */
	struct ExprState **defaults; /* of columns that a DBA added; may be NULL */
	bool has_triggers;			 /* a DBA has AFTER ROW triggers here */
	/* the caller may not read the table, so errors must not show rows */
	bool hides_rows;
	bool has_foreign_code; /* writing runs functions that are not PostgreSQL's own */
	bool waited;		   /* the last update waited for another transaction's lock */
	bool kept;			   /* in the cache; else writer_end frees it */
	int nest_level;		   /* transaction nest level of its user; 0: not in use */
} Writer;

extern void writer_check_allowed(const char *function);
extern Writer *writer_begin(StoreTable table, MemoryContext memory);
extern Writer *writer_begin_partition(Oid relid, MemoryContext memory);
extern void writer_copy_to(Writer *writer, TupleTableSlot *row);
extern Relation writer_index(Writer *writer, StoreIndex index);
extern TupleTableSlot *writer_read_slot(Writer *writer);
extern void writer_clear(Writer *writer);
extern void writer_copy(Writer *writer, TupleTableSlot *old);
extern void writer_insert(Writer *writer);
extern void writer_queue(Writer *writer);
extern bool writer_can_update_unlocked(const Writer *writer);
extern bool writer_try_update(Writer *writer, TupleTableSlot *old);
extern void writer_update(Writer *writer, TupleTableSlot *locked);
extern void writer_delete(Writer *writer, TupleTableSlot *locked);
extern void writer_end(Writer *writer);

#endif
