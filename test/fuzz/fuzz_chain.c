/*
 * fuzz_chain.c
 *		The hash encoding: it never writes past its buffer, whatever the buffer's
 *		size says the length that it needs, and two rows that differ in any field
 *		have different bytes.
 */
#include "fuzz.h"

#define MAX_PARTS 40

/* In the place of SHA-256: quick, and different for different input. */
static void
mix(const void *data, size_t len, uint8_t out[CR_HASH_LEN])
{
	const uint8_t *bytes = data;
	uint64_t	h[4] = {1, 2, 3, 4};

	for (size_t i = 0; i < len; i++)
	{
		for (int k = 0; k < 4; k++)
			h[k] = (h[k] ^ bytes[i]) * (UINT64_C(1099511628211) + (uint64_t) k * 2);
	}
	memcpy(out, h, CR_HASH_LEN);
}

typedef struct Made
{
	CrRow		row;
	CrPart		parts[MAX_PARTS];
	uint8_t		digests[4][CR_HASH_LEN];
} Made;

static int64_t
any_number(void)
{
	return one_in(4) ? random_between(-2, 300) : (int64_t) random_bits();
}

static const uint8_t *
any_digest(uint8_t digest[CR_HASH_LEN])
{
	if (one_in(3))
		return NULL;
	memset(digest, (int) random_between(0, 255), CR_HASH_LEN);
	return digest;
}

static void
make_row(Made *made)
{
	CrRow	   *row = &made->row;

	memset(made, 0, sizeof(*made));
	row->user_id = input_text();
	if (row->user_id == NULL)
		row->user_id = "u";
	row->actor = "app";
	row->kind = (CrKind) random_between(0, CR_KIND_COUNT - 1);
	row->seq = any_number();
	row->created_at = random_between(-1000, 1000) * DAY;
	row->effective_at = one_in(9) ? INT64_MIN : row->created_at;
	row->period = any_number();
	row->next_reset_at = one_in(3) ? CR_NEVER : random_between(1, 10) * DAY;
	row->plan_version = (int32_t) random_between(0, 3);
	row->delta.monthly = any_number();
	row->balance.granted = any_number();
	row->held.purchased = any_number();
	row->owed_purchased = any_number();
	row->amount = any_number();
	row->expired = any_number();
	row->forfeited = any_number();
	row->skipped = (int32_t) random_between(0, 9);
	row->has_ref_seq = one_in(2);
	row->ref_seq = row->has_ref_seq ? any_number() : 0;
	row->n_allocations = (int) random_between(0, MAX_PARTS);
	row->allocations = made->parts;
	for (int i = 0; i < row->n_allocations; i++)
		made->parts[i] = (CrPart) {random_between(-9, 9), any_number()};
	row->payment_ref = input_text();
	row->idempotency_key = input_text();
	row->spender = input_text();
	row->request_digest = any_digest(made->digests[0]);
	row->run_id = one_in(2) ? made->digests[3] : NULL;
	row->has_facts = one_in(2);
	row->facts.plan = input_text();
	row->facts.scheduled_plan = input_text();
	row->facts.time_zone = "UTC";
	row->facts.period_granted = any_number();
	row->facts.period_share = (int32_t) random_between(1, CR_FULL_SHARE);
	row->facts.cycle = (CrCycle) random_between(0, CR_NO_CYCLE);
	row->facts.last_left = any_number();
	row->facts.last_limit = any_number();
	row->facts.last_undone = one_in(3);
}

/* Encodes into a buffer of exactly that size, so that a write past it is seen. */
static size_t
encode(const Made *made, size_t cap, uint8_t **bytes)
{
	static const uint8_t prev[CR_HASH_LEN] = {7};
	CrBuf		buf = {.cap = cap};

	buf.data = *bytes = malloc(cap > 0 ? cap : 1);
	cr_chain_encode(&buf, mix, prev, &made->row, NULL, NULL);
	return buf.len;
}

/* Changes one field; false if it happens to be as it was. */
static bool
change(Made *made)
{
	CrRow	   *row = &made->row;
	int64_t    *numbers[] = {&row->seq, &row->delta.monthly, &row->balance.granted,
		&row->held.purchased, &row->owed_purchased, &row->amount, &row->expired,
	&row->forfeited, &row->created_at, &row->period};
	const char **texts[] = {&row->user_id, &row->payment_ref, &row->idempotency_key,
	&row->spender};

	if (one_in(2))
	{
		*numbers[random_between(0, lengthof(numbers) - 1)] ^= INT64_C(1) << random_between(0, 40);
		return true;
	}
	else
	{
		const char **text = texts[random_between(0, lengthof(texts) - 1)];
		const char *was = *text;

		*text = input_text();
		if (*text == NULL && text == texts[0])
			*text = "";
		return !same_text(was, *text);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static Made made;
	uint8_t    *bytes;
	uint8_t    *again;
	size_t		needed;
	size_t		changed;
	size_t		cap;
	size_t		len;
	int			tries = 0;

	input_begin(data, size);
	make_row(&made);
	needed = encode(&made, 16384, &bytes);
	REQUIRE(needed <= 16384, "a row of %zu bytes", needed);
	/* from any size on, as who hashes a row does it; the facts may need more than it */
	for (cap = (size_t) random_between(0, (int64_t) needed); (len = encode(&made, cap, &again)) > cap;
		 cap = len)
	{
		REQUIRE(++tries <= 2, "%zu bytes, then %zu", cap, len);
		free(again);
	}
	REQUIRE(len == needed && memcmp(bytes, again, needed) == 0, "another size, other bytes");
	free(again);
	if (change(&made))
	{
		changed = encode(&made, 16384, &again);
		REQUIRE(changed != needed || memcmp(bytes, again, needed) != 0,
				"another row has the same bytes");
		free(again);
	}
	free(bytes);
	return 0;
}
