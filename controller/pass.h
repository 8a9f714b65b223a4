// One pass over a TrusteeConfig with its KbsConfig, or over a KbsConfig alone: what the files pass_*.c share.
//
// Functions that return an int give 0, or -errno with err set where the same may work later. What the API server refuses,
// and what else won't get better by trying again, is a remark (and `failed`), so that the status says it.
#ifndef COCO_CONTROLLER_PASS_H
#define COCO_CONTROLLER_PASS_H

#include "common/trustee.h"
#include "controller/trustees_private.h"

// The longest wait before something that was refused is tried again.
#define REFUSED_AGAIN_MS 300000

struct pass {
	struct trustees *t;
	struct trustee_state *state;
	struct trustee_world world;
	json_t *tc, *kbs;             // new references; one of them may be NULL
	const json_t *object;         // the one that the pass is about
	const char *ns;               // borrowed from it
	struct trustee_spec *tc_spec; // NULL where there is no TrusteeConfig
	struct kbs_spec *kbs_spec;    // NULL where there is no KbsConfig, or it can't be read
	json_t *kbs_counted;          // what it was decoded from: new
	struct remarks remarks;
	json_t *read; // "ConfigMap/name" -> the version whose content was rendered again
	char *host;   // new: that the TrusteeConfig's certificate was rendered for; or NULL
	bool host_is_service;
	json_t *planned;                  // "Kind/name" -> digested objects that are about to be applied; or NULL
	json_t *versions;                 // of what was read and written
	json_t *reads;                    // "Kind/name" of Secrets and ConfigMaps that count, there or not
	json_t *tc_objects, *kbs_objects; // "Kind/name" of what was applied for each
	bool held_back;                   // something isn't as rendered, and a remark says so
	bool failed;                      // something was refused: try again later
	bool taking_over;                 // it was upstream's, and not all of it is ours yet
	int64_t not_after_s;
	int64_t again_ms; // 0: never
};

int64_t pass_now_s(const struct pass *p) __attribute__((nonnull));
// Look at it again after that, or sooner.
void pass_again_in(struct pass *p, int64_t ms) __attribute__((nonnull));
// Whether the same request may succeed without anyone changing anything.
bool pass_may_work_later(int rc);
// A failed request's error becomes a remark where the same won't work later: 0 then, and for 0.
int pass_refused(struct pass *p, int rc, const struct error *err) __attribute__((nonnull));

// Brings objects from..to of what was rendered to the API server, where they aren't so already.
int pass_sync(struct pass *p, const struct rendered *r, size_t from, size_t to, const json_t *owner, int policy,
			  struct error *err) __attribute__((warn_unused_result, nonnull));
// Whether it was applied for the owner once: what isn't there any more was deleted.
bool pass_was_applied(const json_t *owner, const struct kube_resource *res, const char *name)
	__attribute__((nonnull(2, 3)));
// They are still wanted, and stay as they are for now.
void pass_keep(struct pass *p, const struct rendered *r, size_t from, size_t to, const json_t *owner)
	__attribute__((nonnull));
// Deletes objects of the owner's that are ours and no longer wanted.
int pass_prune(struct pass *p, const struct rendered *wanted, const json_t *owner, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// What it says counts for the pass' objects: see trustees_look_at_readers().
void pass_note_read(struct pass *p, const struct kube_resource *res, const char *name) __attribute__((nonnull));
// Notes the versions of all that the TrusteeConfig's objects are made of, and of these objects, as they are now; of a KbsConfig
// without one, those of the Secrets with certificates.
void pass_read_versions(struct pass *p) __attribute__((nonnull));
// The API server answered a write of ours: see view_wrote(). Of the TrusteeConfig's objects the answer's version is noted in
// place of the one that was read. Other Trustees that read it look again: its event wakes nobody.
void pass_wrote(struct pass *p, const json_t *owner, const struct kube_resource *res, const char *name,
				const json_t *before, const json_t *between, const json_t *answer) __attribute__((nonnull(1, 2, 3, 4)));
// One digest over all that was noted, and what else the objects depend on. What others have written since it was read isn't in
// it, so that the next pass sees it.
void pass_version(struct pass *p, char ret[VERSION_MAX]) __attribute__((nonnull));
// profile_digests_fn; ctx is a struct pass.
int pass_find_profile(void *ctx, const char *ns, const char *name, struct initdata_digests *ret, struct error *err)
	__attribute__((warn_unused_result, nonnull));

// Whole objects that something is made of; ctx of pass_read_need() for trustee_needs() and the like. The view shares all but
// Secrets.
struct pass_reading {
	struct pass *pass;
	json_t *objects; // "Kind/name" -> whole object
	int rc;          // where one couldn't be read, why
	struct error *err;
};

void pass_read_need(void *ctx, const struct kube_resource *res, const char *name) __attribute__((nonnull));
void pass_free_read(json_t *objects); // takes them; wipes Secrets

// Renders and applies the KbsConfig's objects. 1: what it refers to isn't listed yet.
int pass_kbs(struct pass *p, struct error *err) __attribute__((warn_unused_result, nonnull));

// Where guests reach it.
struct reach {
	char *url;          // new; NULL: not known
	json_t *exposed;    // new: the live Route or the like
	bool to_be_exposed; // something is to expose it
};

// kbs_spec is there. remarks: why the URL isn't known.
struct reach pass_find_reach(struct pass *p, struct remarks *remarks) __attribute__((warn_unused_result, nonnull));
void reach_release(struct reach *r) __attribute__((nonnull));
// The name that the HTTPS certificate must be good for: the one that is asked for, or that the cluster chose. New, or NULL.
char *pass_expected_host(struct pass *p, bool *ret_is_service) __attribute__((warn_unused_result, nonnull));
// The ConfigMap that profiles find the Trustee by.
int pass_publish_endpoint(struct pass *p, const char *url, struct error *err)
	__attribute__((warn_unused_result, nonnull(1, 3)));
int pass_report(struct pass *p, const struct reach *reach, struct error *err)
	__attribute__((warn_unused_result, nonnull));

#endif
