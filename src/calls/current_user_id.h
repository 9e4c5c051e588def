/*
 * current_user_id.h
 *		The user that the claims of a web token name.
 */
#ifndef CREDITS_CALLS_CURRENT_USER_ID_H
#define CREDITS_CALLS_CURRENT_USER_ID_H

extern char *current_user_id(void);

#endif
