/*
 * event_rows.h
 *		Events that consumers take from the queue credit_event.
 */
#ifndef CREDITS_TABLES_EVENT_ROWS_H
#define CREDITS_TABLES_EVENT_ROWS_H

#include "postgres.h"

#include "core/core.h"
#include "store/writer.h"

extern int events_of_row(const CrRow *row);
extern void event_write(Writer *writer, const CrRow *row, int kind);

#endif
