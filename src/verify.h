/*
 * verify.h
 *		What the verifying functions share.
 */
#ifndef CREDITS_VERIFY_H
#define CREDITS_VERIFY_H

#include "postgres.h"

#include "fmgr.h"

extern void verify_report(FunctionCallInfo fcinfo, const char *object,
						  const char *user_id, int64 seq, const char *problem);

#endif
