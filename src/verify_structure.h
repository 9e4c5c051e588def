/*
 * verify_structure.h
 *		Verifying what is not about one account, and how a problem is reported.
 */
#ifndef CREDITS_VERIFY_STRUCTURE_H
#define CREDITS_VERIFY_STRUCTURE_H

#include "postgres.h"

#include "fmgr.h"

extern void verify_report(FunctionCallInfo fcinfo, const char *object,
						  const char *user_id, int64 seq, const char *problem);
extern void verify_structure(FunctionCallInfo fcinfo);

#endif
