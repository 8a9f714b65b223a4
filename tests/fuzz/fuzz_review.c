// Bytes to each kind of endpoint: no crash, always an answer that is JSON; a profile that may be stored decodes; and a pod that is to be confidential is refused or
// has its protections after the patch, at which a second look has nothing left to add.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/catalog_dir.h"
#include "common/encode.h"
#include "common/json_patch.h"
#include "common/names.h"
#include "webhook/handle.h"

#define OUT_MAX ((size_t)16 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define PROFILE(name, spec)                                                                       \
	"apiVersion: " NAME_GROUP_VERSION "\nkind: ConfidentialProfile\nmetadata: {name: " name "}\n" \
	"spec: {initdata: {kbs: {url: 'http://kbs:8080'}}" spec "}\n---\n"

static const char documents[] = PROFILE("default", "") PROFILE(
	"go",
	", memory: {sizing: ContainerdGo, fillOthers: true}, cpu: {mode: Auto}, admission: {foreignAnnotations: Warn}") //
	PROFILE("rs", ", memory: {sizing: RuntimeRs, accounting: Pod}, cpu: {mode: Fixed, vcpus: 2}")                   //
	PROFILE("limits", ", memory: {mode: FromLimits, min: 256Mi}, admission: {requireImageDigest: Warn}")            //
	PROFILE("strict", ", allowedRuntimeClasses: [kata-x], memory: {mode: Fixed, vm: 4Gi}, admission: "
					  "{requireImageDigest: Deny, hostPath: Deny, subPath: Deny}")
		PROFILE("broken", ", memory: {min: 64Gi, max: 1Gi}") "apiVersion: v1\nkind: Namespace\n"
															 "metadata: {name: 'on', labels: {" LABEL_CONFIDENTIAL
															 ": enabled}}\n";

static void must(bool ok, const char *what, const char *text)
{
	if (ok)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, text);
	abort();
}

static void no_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	(void)ctx;
	must(strstr(key, "/broken") != NULL, origin, message);
}

static const struct catalog *the_catalog(void)
{
	static struct catalog *c;
	if (c != NULL)
		return c;
	CLEANUP_CATALOG_DOCUMENTS
	struct catalog_documents docs = {0};
	struct error err;
	must(catalog_documents_read(&docs, str_from(documents), "fuzz.yaml", &err) == 0, "catalog", err.msg);
	c = catalog_build(docs.v, docs.n, DEFAULT_SYSTEM_NAMESPACE, NULL, no_problem, NULL);
	return c;
}

static const char *text_at(const json_t *v, const char *a, const char *b)
{
	return json_string_value(json_object_get(json_object_get(v, a), b));
}

static bool is(const char *got, const char *want)
{
	return got != NULL && strcmp(got, want) == 0;
}

// By the text alone, with another reader than the webhook's.
static bool must_be_confidential(const json_t *request)
{
	const json_t *meta = json_object_get(json_object_get(request, "object"), "metadata");
	const char *sub = json_string_value(json_object_get(request, "subResource"));
	const char *user = text_at(request, "userInfo", "username");
	if (!is(json_string_value(json_object_get(request, "operation")), "CREATE") || (sub != NULL && sub[0] != '\0'))
		return false;
	if (is(user, USER_STATEFULSET_CONTROLLER) || is(user, USER_CONTROLLER_MANAGER))
		return false;
	return is(text_at(meta, "labels", LABEL_CONFIDENTIAL), "true");
}

static bool is_some_profiles_initdata(const char *text)
{
	size_t n = 0;
	const struct catalog_profile *all = catalog_profiles(the_catalog(), &n);
	for (size_t i = 0; i < n; i++)
		if (all[i].profile != NULL && is(text, all[i].profile->annotation))
			return true;
	return false;
}

static void check_protected(const json_t *pod)
{
	const json_t *notes = json_object_get(json_object_get(pod, "metadata"), "annotations");
	const char *class = text_at(pod, "spec", "runtimeClassName");
	const char *memory = json_string_value(json_object_get(notes, KATA_MEMORY));
	must(is(class, DEFAULT_RUNTIME_CLASS) || is(class, "kata-x"), "runtime class", class != NULL ? class : "(none)");
	must(is_some_profiles_initdata(json_string_value(json_object_get(notes, KATA_INITDATA))), "initdata", "not ours");
	must(memory != NULL && memory[0] != '\0', "memory", memory != NULL ? memory : "(none)");
}

struct outcome {
	json_t *answer; // new, NULL for HTTP 400
	bool allowed;
	const char *patch; // base64, borrowed; NULL for none
};

static struct outcome ask(enum endpoint endpoint, struct str body)
{
	CLEANUP_ARENA
	struct arena arena = {0};
	CLEANUP_BUF
	struct buf out = BUF_INIT(OUT_MAX);
	struct handled handled;
	handle_review(endpoint, the_catalog(), body, &arena, &out, &handled);
	must(buf_ok(&out), "answer", "too large");
	if (handled.status != 200) {
		must(handled.status == 400 && handled.decision.verdict == VERDICT_DENIED, "status", buf_z(&out));
		return (struct outcome){0};
	}
	struct outcome o = {.answer = json_loadb(out.p, out.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL)};
	must(o.answer != NULL, "the answer is not JSON", buf_z(&out));
	const json_t *response = json_object_get(o.answer, "response");
	const json_t *allowed = json_object_get(response, "allowed");
	must(json_is_boolean(allowed) && json_is_string(json_object_get(response, "uid")), "answer", buf_z(&out));
	o.allowed = json_is_true(allowed);
	o.patch = json_string_value(json_object_get(response, "patch"));
	must(o.patch == NULL || (o.allowed && endpoint == ENDPOINT_MUTATE), "a patch has no place here", buf_z(&out));
	must(o.allowed == (json_object_get(response, "status") == NULL), "status", buf_z(&out));
	return o;
}

static bool apply(json_t *pod, const char *patch)
{
	CLEANUP_BUF
	struct buf text = BUF_INIT(OUT_MAX);
	struct error err;
	must(base64_decode(str_from(patch), &text, &err) == 0, "patch", err.msg);
	json_auto_t *tree = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
	must(json_is_array(tree) && json_array_size(tree) > 0, "patch", buf_z(&text));
	// What the API server can't apply, it doesn't store: null among containers, say.
	return json_patch_apply(pod, tree, &err) == 0;
}

// The review again, as it would come back with the patch in it.
static void check_second(json_t *review, enum endpoint endpoint, const char *first_patch)
{
	char *text = json_dumps(review, JSON_COMPACT);
	must(text != NULL, "dump", "");
	struct outcome o = ask(endpoint, str_from(text));
	must(o.allowed && o.patch == NULL, endpoint == ENDPOINT_MUTATE ? "second pass" : "validation", first_patch);
	json_decref(o.answer);
	free(text);
}

static void check_review(json_t *review, const struct outcome *mutated, const struct outcome *validated)
{
	json_t *request = json_object_get(review, "request");
	json_t *pod = json_object_get(request, "object");
	if (!must_be_confidential(request))
		return;
	if (validated->allowed)
		check_protected(pod);
	if (!mutated->allowed || (mutated->patch != NULL && !apply(pod, mutated->patch)))
		return;
	check_protected(pod);
	check_second(review, ENDPOINT_MUTATE, mutated->patch != NULL ? mutated->patch : "");
	check_second(review, ENDPOINT_VALIDATE, mutated->patch != NULL ? mutated->patch : "");
}

// Only an object that is being deleted, or was no better before, may be stored as it is.
static void check_profile(const json_t *review, const struct outcome *stored)
{
	const json_t *request = json_object_get(review, "request");
	const char *operation = json_string_value(json_object_get(request, "operation"));
	const char *sub = json_string_value(json_object_get(request, "subResource"));
	struct profile_spec spec;
	struct error err;
	if (is(operation, "CREATE") && (sub == NULL || sub[0] == '\0') && stored->allowed)
		must(profile_decode(json_object_get(request, "object"), &spec, &err) == 0, "profile", err.msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct str body = {(const char *)data, n};
	struct outcome mutated = ask(ENDPOINT_MUTATE, body);
	struct outcome validated = ask(ENDPOINT_VALIDATE, body);
	struct outcome stored = ask(ENDPOINT_VALIDATE_RESOURCES, body);
	// Numbers that jansson can't hold are text for our reader; such a review is left to the other checks.
	json_auto_t *review = json_loadb(body.p, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	if (review != NULL && mutated.answer != NULL)
		check_review(review, &mutated, &validated);
	if (review != NULL && stored.answer != NULL)
		check_profile(review, &stored);
	json_decref(stored.answer);
	json_decref(mutated.answer);
	json_decref(validated.answer);
	return 0;
}
