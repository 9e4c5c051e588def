/*
 * fuzz_names.c
 *		Stored texts: what is parsed gives the text back, and nothing else is.
 */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char		text[300] = {0};
	CrKind		kind;
	CrStatus	status;
	CrCycle		cycle;
	CrBucket	bucket;
	CrHoldState state;

	memcpy(text, data, size < sizeof(text) - 1 ? size : sizeof(text) - 1);
	if (cr_kind_parse(text, &kind))
		REQUIRE(strcmp(cr_kind_name(kind), text) == 0, "kind %s", text);
	if (cr_status_parse(text, &status))
		REQUIRE(strcmp(cr_status_name(status), text) == 0, "status %s", text);
	if (cr_cycle_parse(text, &cycle))
		REQUIRE(strcmp(cr_cycle_name(cycle), text) == 0, "cycle %s", text);
	if (cr_hold_state_parse(text, &state))
		REQUIRE(strcmp(cr_hold_state_name(state), text) == 0, "hold state %s", text);
	if (cr_bucket_parse(text, &bucket))
		REQUIRE(bucket == CR_MONTHLY || bucket == CR_GRANTED || bucket == CR_PURCHASED,
				"bucket %s", text);
	return 0;
}
