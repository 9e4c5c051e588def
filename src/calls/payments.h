/*
 * payments.h
 *		Calls that credit a payment: a purchase, or a grant that is paid for.
 */
#ifndef CREDITS_CALLS_PAYMENTS_H
#define CREDITS_CALLS_PAYMENTS_H

#include "postgres.h"

#include "core/core.h"
#include "ledger/ledger.h"
#include "ledger/request.h"

/* What a payment pays for. */
typedef struct Paying
{
	int64 amount;
	CrTime ends_at; /* of a grant; CR_NEVER: it is a purchase */
} Paying;

extern Datum payment_command(const Request *request, const Paying *paying);

#endif
