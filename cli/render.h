// What the controller makes of the Trustees in files: passes over them, as over a cluster that applies all of it and never
// reports anything, until one changes nothing. No I/O.
//
// Each pass is the reconciler's own functions, in its order (controller/trustee_pass.c): trustee_render(), the KbsConfig merged
// with what an admin keeps in it, kbs_render(), trustee_render_endpoint(). What an earlier pass has rendered is there for the
// next one, such as the endpoint that a profile's initdata names, whose digest a policy names.
#ifndef COCO_CLI_RENDER_H
#define COCO_CLI_RENDER_H

#include <stdint.h>

#include "cli/objects.h"
#include "controller/trustee_render.h"

#define RENDER_PASSES_MAX 6

struct render_input {
	const struct objects *objects;
	const struct trustee_world *world;
	int64_t now_s;
};

// A TrusteeConfig with its KbsConfig, or a KbsConfig alone.
struct render_trustee {
	const json_t *object;        // borrowed from the input
	struct trustee_rendering tc; // of a TrusteeConfig; applied first
	struct rendered kbs;         // then this
	struct rendered endpoint;    // and at last, where it is known, this
	struct remarks remarks, kbs_remarks;
	char *url;    // where guests reach it; NULL: the cluster has yet to say
	json_t *made; // names of Secrets whose keys were made anew, in whichever pass
	bool exposed; // something is to expose it
};

struct render {
	struct render_trustee *v;
	size_t n;
};

// Any earlier content of ret is overwritten, not released. -ENOENT: there is no Trustee in it.
int render_trustees(const struct render_input *in, struct render *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));
void render_release(struct render *r) __attribute__((nonnull));
#define CLEANUP_RENDER CLEANUP(render_release)

#endif
