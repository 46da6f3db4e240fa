/*
 * The least that a validator of OAuth can be: it knows one token by heart. A real one asks the issuer, or checks the signature, the audience,
 * the scopes and the end of the token.
 *
 * Compiled with -DTOKEN='"..."' and -DIDENTITY='"..."': the token that it takes, and whose it is. Without them it takes none.
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq/oauth.h"

PG_MODULE_MAGIC;

static bool
validate(const ValidatorModuleState *state, const char *token, const char *role, ValidatorModuleResult *result)
{
#ifdef TOKEN
	if (strcmp(token, TOKEN) == 0)
	{
		/* Whether this identity may be that role is for pg_ident.conf to say. */
		result->authn_id = pstrdup(IDENTITY);
		result->authorized = true;
	}
#endif
	/* False would be a failure of the validator itself. Who is not authorized, is refused. */
	return true;
}

static const OAuthValidatorCallbacks callbacks = {
	.magic = PG_OAUTH_VALIDATOR_MAGIC,
	.validate_cb = validate,
};

const OAuthValidatorCallbacks *
_PG_oauth_validator_module_init(void)
{
	return &callbacks;
}
