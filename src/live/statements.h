/*
 * statements.h
 *		Statements that the notifications have to know of.
 */
#ifndef CREDITS_LIVE_STATEMENTS_H
#define CREDITS_LIVE_STATEMENTS_H

extern void statements_init(void);

#endif
