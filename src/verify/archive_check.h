/*
 * archive_check.h
 *		Verifying the archive as a whole.  The archived rows of each account are verified
 *		with the account.
 */
#ifndef CREDITS_VERIFY_ARCHIVE_CHECK_H
#define CREDITS_VERIFY_ARCHIVE_CHECK_H

#include "postgres.h"

#include "verify/findings.h"

extern void verify_archive(Findings *findings);

#endif
