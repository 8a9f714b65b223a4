// A world to judge pods in: profiles and namespaces, and reviews, all written as YAML in a row of a table.
#ifndef COCO_TESTS_UNIT_WORLD_H
#define COCO_TESTS_UNIT_WORLD_H

#include <jansson.h>
#include <stdlib.h>

#include "cases.h"
#include "common/catalog_dir.h"
#include "common/mem.h"
#include "common/names.h"
#include "common/yaml.h"
#include "webhook/handle.h"
#include "webhook/outcome.h"

#define TEKTON "system:serviceaccount:tekton-pipelines:tekton-pipelines-controller"

struct world {
	struct catalog *catalog;
	struct arena arena;
	struct review review;
	struct decision decision;
	struct buf text; // of the review
	struct catalog_documents docs;
	char problem[1024]; // the last one that catalog_build told
};

static inline json_t *yaml_tree(const char *text)
{
	struct yaml_docs docs = {0};
	struct error err;
	if (yaml_read(str_from(text), &docs, &err) < 0 || docs.n != 1)
		fail_msg("test data: %s in: %s", docs.n == 0 ? err.msg : "not one document", text);
	json_t *root = json_incref(docs.v[0].root);
	yaml_docs_release(&docs);
	return root;
}

static inline void world_problem(void *ctx, const char *origin, const char *key, const char *message)
{
	struct world *w = ctx;
	(void)origin;
	(void)snprintf(w->problem, sizeof(w->problem), "%s: %s", key, message);
}

// The documents, on top of what the world knew before: as a reload does it.
static inline void world_load(struct world *w, const char *yaml)
{
	struct error err;
	catalog_documents_release(&w->docs);
	if (catalog_documents_read(&w->docs, str_from(yaml), "world.yaml", &err) < 0)
		fail_msg("test data: %s", err.msg);
	struct catalog *previous = w->catalog;
	w->catalog = catalog_build(w->docs.v, w->docs.n, DEFAULT_SYSTEM_NAMESPACE, previous, world_problem, w);
	catalog_unref(previous);
}

// A profile for everyone, named default. initdata and spec: further members of those mappings in flow style, such as
// "memory: {max: 4Gi}"; more: further documents. "" for none.
static inline void world_default(struct world *w, const char *initdata, const char *spec, const char *more)
{
	char *all = xasprintf("apiVersion: " NAME_GROUP_VERSION "\nkind: ConfidentialProfile\n"
						  "metadata: {name: default, namespace: " DEFAULT_SYSTEM_NAMESPACE ", generation: 3}\n"
						  "spec: {initdata: {kbs: {url: 'http://kbs:8080'}%s%s}%s%s}\n%s%s\n",
						  initdata[0] != '\0' ? ", " : "", initdata, spec[0] != '\0' ? ", " : "", spec,
						  more[0] != '\0' ? "---\n" : "", more);
	world_load(w, all);
	free(all);
}

#define NAMESPACE(name, meta) "apiVersion: v1\nkind: Namespace\nmetadata: {name: " name ", " meta "}\n"
#define PROFILE(ns, name, spec)                                                                                \
	"apiVersion: " NAME_GROUP_VERSION "\nkind: ConfidentialProfile\nmetadata: {name: " name ", namespace: " ns \
	"}\nspec: {" spec "}\n"
#define KBS "initdata: {kbs: {url: 'http://kbs:8080'}}"

// A review from what differs from a CREATE of a pod by Tekton in namespace team-a.
static inline void world_review(struct world *w, const char *request)
{
	struct error err;
	json_t *review =
		json_pack("{s:s, s:s, s:{s:s, s:{s:s, s:s, s:s}, s:{s:s, s:s, s:s}, s:s, s:s, s:{s:s}}}", "kind",
				  "AdmissionReview", "apiVersion", "admission.k8s.io/v1", "request", "uid", "uid-1", "kind", "group",
				  "", "version", "v1", "kind", "Pod", "resource", "group", "", "version", "v1", "resource", "pods",
				  "namespace", "team-a", "operation", "CREATE", "userInfo", "username", TEKTON);
	json_t *own = yaml_tree(request);
	assert_int_equal(json_object_update(json_object_get(review, "request"), own), 0);
	char *text = json_dumps(review, JSON_COMPACT);
	buf_release(&w->text);
	w->text = BUF_INIT((size_t)16 * 1024 * 1024);
	buf_addz(&w->text, text);
	free(text);
	json_decref(own);
	json_decref(review);
	if (review_read(buf_str(&w->text), &w->arena, &w->review, &err) != REVIEW_OK)
		fail_msg("test data: %s", err.msg);
}

static inline void world_judge(struct world *w, enum endpoint endpoint, const char *request)
{
	world_review(w, request);
	decide_review(endpoint, w->catalog, &w->review, &w->arena, NULL, &w->decision);
	if (w->decision.verdict == VERDICT_DENIED && denial_reason(w->decision.cause) == DENIAL_OTHER)
		fail_msg("\"%s\" is missing in DENIAL_REASONS", w->decision.cause);
}

static inline void world_release(struct world *w)
{
	catalog_unref(w->catalog);
	arena_release(&w->arena);
	buf_release(&w->text);
	catalog_documents_release(&w->docs);
	*w = (struct world){0};
}

// The value of the edit at a path, as JSON text; NULL where there is none.
static inline const char *edit_at(struct world *w, const char *path)
{
	for (size_t i = 0; i < w->decision.nedits; i++)
		if (strcmp(w->decision.edits[i].path, path) == 0)
			return arena_printf(&w->arena, "%s %.*s", w->decision.edits[i].op, (int)w->decision.edits[i].value.n,
								w->decision.edits[i].value.p);
	return NULL;
}

#endif
