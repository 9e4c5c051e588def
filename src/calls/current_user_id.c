/*
 * current_user_id.c
 *		credits_current_user_id: the user that the claims of a web token name.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "calls/current_user_id.h"

PG_FUNCTION_INFO_V1(credits_current_user_id);

/*
 * The sub claim of request.jwt.claims, which PostgREST and similar programs set.  NULL if
 * there is none.  It only limits which rows are visible.  Nothing else trusts it.
 */
char *
current_user_id(void)
{
	const char *claims = GetConfigOption("request.jwt.claims", true, false);
	Jsonb *jsonb;
	JsonbValue buffer;
	JsonbValue *sub;

	if (claims == NULL || claims[0] == '\0')
		return NULL;
	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(claims)));
	if (!JB_ROOT_IS_OBJECT(jsonb))
		return NULL;
	sub = getKeyJsonValueFromContainer(&jsonb->root, "sub", 3, &buffer);
	if (sub == NULL || sub->type != jbvString || sub->val.string.len == 0)
		return NULL;
	return pnstrdup(sub->val.string.val, sub->val.string.len);
}

Datum
credits_current_user_id(PG_FUNCTION_ARGS)
{
	char *user_id = current_user_id();

	if (user_id == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(user_id));
}
