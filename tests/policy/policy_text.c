// Prints a policy as the controller makes it, for the tests that evaluate it.
//
//     policy_text resource permissive|restrictive|ibm-se [PATH [ALGORITHM:TOML]... [-- PATH ...]]
//     policy_text attestation cpu|gpu query|data
//
// PATH is bound to the initdata given after it. Exit status 1: refused, with the reason on stderr. 2: misuse.
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "common/mem.h"
#include "controller/trustee_policy.h"

static const char *const resource_policies[] = {"permissive", "restrictive", "ibm-se", NULL};
static const char *const classes[] = {"cpu", "gpu", NULL};
static const char *const references[] = {"query", "data", NULL};

static int position(const char *const *names, const char *name)
{
	for (int i = 0; names[i] != NULL; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static int hash(const char *arg, struct initdata_digests *ret, struct error *err)
{
	const char *colon = strchr(arg, ':');
	CLEANUP_FREE char *algorithm = xstrndup((struct str){arg, colon != NULL ? (size_t)(colon - arg) : 0});
	return initdata_digests(str_from(colon != NULL ? colon + 1 : ""), algorithm, ret, err);
}

static int resource(int policy, char **args, size_t n, struct buf *out, struct error *err)
{
	CLEANUP_FREE struct policy_binding *v = xcalloc(n + 1, sizeof(*v));
	CLEANUP_FREE struct initdata_digests *digests = xcalloc(n + 1, sizeof(*digests));
	size_t bindings = 0;
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || strcmp(args[i - 1], "--") == 0) {
			v[bindings++] = (struct policy_binding){.path = args[i], .digests = digests + i + 1};
		} else if (strcmp(args[i], "--") != 0) {
			if (hash(args[i], &digests[i], err) < 0)
				return -err->code;
			v[bindings - 1].n++;
		}
	}
	return trustee_policy_resource((enum trustee_resource_policy)policy, v, bindings, out, err);
}

int main(int argc, char **argv)
{
	struct error err = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(TRUSTEE_POLICY_MAX);
	int a = -1;
	int b = 0;
	if (argc >= 3 && strcmp(argv[1], "resource") == 0) {
		a = position(resource_policies, argv[2]);
		if (a >= 0 && resource(a, argv + 3, (size_t)argc - 3, &out, &err) < 0) {
			(void)fprintf(stderr, "%s\n", err.msg);
			return 1;
		}
	} else if (argc == 4 && strcmp(argv[1], "attestation") == 0) {
		a = position(classes, argv[2]);
		b = position(references, argv[3]);
		if (a >= 0 && b >= 0)
			trustee_policy_attestation((enum trustee_attestation_policy)a, (enum trustee_references)b, &out);
	}
	if (a < 0 || b < 0) {
		(void)fputs("usage: see the head of tests/policy/policy_text.c\n", stderr);
		return 2;
	}
	return fputs(buf_z(&out), stdout) >= 0 && fflush(stdout) == 0 ? 0 : 1;
}
