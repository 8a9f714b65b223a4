// What the subcommands read: a Pod or an AdmissionReview, and the world to judge it in.
#ifndef COCO_CLI_INPUT_H
#define COCO_CLI_INPUT_H

#include <jansson.h>

#include "cli/cluster.h"
#include "common/arena.h"
#include "common/catalog_dir.h"
#include "common/error.h"
#include "common/options.h"
#include "webhook/review.h"

#define INPUT_MAX ((size_t)16 * 1024 * 1024)

// Options that say what is judged, and in which world: shared by inject and explain.
struct input_args {
	const char *file;
	const char *ns;
	const char *user;
	const char *profiles_dir;
	const char *system_ns;
	struct catalog_documents documents; // of --profile files
	size_t nprofile_files;
	struct cluster_args cluster;
	bool server;          // profiles come from the cluster
	const char *pod_name; // the pod too, by this name; NULL: from a file
};

#define INPUT_ARGS_INIT                      \
	{                                        \
		.system_ns = "coco-pipelines-system" \
	}
#define INPUT_OPTIONS(args)                                                                                             \
	{"file",       'f',  "FILE", NULL, "a Pod or an AdmissionReview, YAML or JSON; - for standard input",               \
	 &(args).file, NULL, NULL,   NULL},                                                                                 \
		{"profile",                                                                                                     \
		 0,                                                                                                             \
		 "FILE",                                                                                                        \
		 NULL,                                                                                                          \
		 "ConfidentialProfiles, ConfigMaps and Namespaces; may stand more than once",                                   \
		 NULL,                                                                                                          \
		 NULL,                                                                                                          \
		 input_add_profile_file,                                                                                        \
		 &(args)},                                                                                                      \
		{"profiles", 0, "DIR", "COCO_PROFILES", "a folder of them", &(args).profiles_dir, NULL, NULL, NULL},            \
		{"namespace", 'n',  "NS", NULL, "the namespace of a Pod that names none; on a cluster, default: the context's", \
		 &(args).ns,  NULL, NULL, NULL},                                                                                \
		{"as",         0,    "USER", NULL, "who creates the pod, such as system:serviceaccount:tekton-pipelines:...",   \
		 &(args).user, NULL, NULL,   NULL},                                                                             \
		{"server",       0,    NULL, NULL, "take profiles, ConfigMaps and Namespaces from the cluster", NULL,           \
		 &(args).server, NULL, NULL},                                                                                   \
		CLUSTER_OPTIONS((args).cluster),                                                                                \
	{                                                                                                                   \
		"system-namespace", 0, "NS", "COCO_SYSTEM_NAMESPACE", "namespace of the profiles that are for everyone",        \
			&(args).system_ns, NULL, NULL, NULL                                                                         \
	}
#define INPUT_OPTIONS_N 9

// For --profile: reads the file at once. Complains on stderr.
int input_add_profile_file(void *ctx, const char *path);
void input_args_release(struct input_args *args) __attribute__((nonnull));

struct input {
	json_t *tree; // what was read; new
	json_t *pod;  // the Pod in it, borrowed; NULL for a review without an object
	char *text;   // as JSON, which review's strings are borrowed from; new
	struct arena arena;
	struct review review;
	struct catalog *catalog;
	struct kube_session session; // all zero without a cluster
};

// Reads the file, or the cluster's pod, and builds the catalog; notes and problems go to stderr.
int input_read(struct input_args *args, struct input *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));
// A copy that can't control a terminal, for messages with text of a pod in them. Lives as long as in.
const char *input_printable(struct input *in, const char *text) __attribute__((nonnull, returns_nonnull));
void input_release(struct input *in) __attribute__((nonnull));
#define CLEANUP_INPUT CLEANUP(input_release)

// The one document of a file; new.
json_t *input_document(const char *path, struct error *err) __attribute__((warn_unused_result, nonnull));

#endif
